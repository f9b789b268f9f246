"""Attention pooling, Eqs. 1 and 2."""

import torch
from torch import Tensor, nn


class AttentionPooling(nn.Module):
    """Weights vectors by what they are, and sums them.

    Args:
        dim: d, the vectors' width.
        attention_dim: d_r, the width in which they are compared.
    """

    def __init__(self, *, dim: int, attention_dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, attention_dim)
        self.score = nn.Linear(attention_dim, 1, bias=False)

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return h [U, d], the weighted sum (Eq. 1) with softmax weights (Eq. 2).

        Args:
            values: [U, n, d].
            mask: [U, n] bool, True where there is a vector; each row needs one.
        """
        score = self.score(torch.tanh(self.project(values))).squeeze(2)
        if mask is not None:
            score = score.masked_fill(~mask, -torch.inf)
        weight = torch.softmax(score, dim=1)
        return (weight.unsqueeze(1) @ values).squeeze(1)
