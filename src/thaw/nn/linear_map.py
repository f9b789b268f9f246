"""MAIL-None's way from attributes to behavior (section 4.3)."""

import torch
from torch import Tensor, nn


class LinearMap(nn.Module):
    """A linear map from all attributes to all events. It has no loss but the ranker's.

    Args:
        attributes: how many attributes it sees.
        events: n_v, how many events it makes.
        dim: d.
    """

    def __init__(self, *, attributes: int, events: int, dim: int) -> None:
        super().__init__()
        self.events = events
        self.dense = nn.Linear(attributes * dim, events * dim)

    def generate(self, attributes: Tensor) -> tuple[Tensor, Tensor]:
        """Return virtual behavior [U, n_v, d] of attributes [U, n_a, d], and [U, n_v] ones."""
        virtual = self.dense(attributes.flatten(1)).view(len(attributes), self.events, -1)
        repeats = torch.ones(virtual.shape[:2], dtype=torch.int64, device=virtual.device)
        return virtual, repeats
