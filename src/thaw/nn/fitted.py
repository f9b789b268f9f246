"""Behavior for new users that is fitted to old ones, once the ranker is trained."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from scipy import linalg
from torch import Tensor, nn


class Fitted(nn.Module, ABC):
    """Makes behavior without weights to train: its buffers are set by `fit`."""

    @abstractmethod
    def fit(self, attributes: Tensor, behavior: Tensor, lengths: Tensor) -> None:
        """Fit to old users: attributes [U, n_a, d], summed events [U, d], their number [U]."""

    @abstractmethod
    def generate(self, attributes: Tensor) -> tuple[Tensor, Tensor]:
        """Return virtual behavior [U, 1, d] and how often it stands there [U, 1]."""


class MeanBehavior(Fitted):
    """The mean behavior of old users, for everyone.

    Args:
        dim: d.
    """

    behavior: Tensor
    length: Tensor

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.register_buffer("behavior", torch.zeros(dim))
        self.register_buffer("length", torch.ones((), dtype=torch.int64))

    def fit(self, attributes: Tensor, behavior: Tensor, lengths: Tensor) -> None:
        """Take the mean."""
        self.behavior.copy_(behavior.mean(0))
        self.length.copy_(mean_length(lengths))

    def generate(self, attributes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean for each of the users, as `Fitted` has it."""
        return as_event(self.behavior.expand(len(attributes), -1), self.length)


class NearestBehavior(Fitted):
    """The mean behavior of those old users whose attributes are nearest.

    Attributes are compared where training has put them: by the distance of their embeddings.

    Args:
        attributes: how many attributes are compared, the last ones.
        dim: d.
        neighbours: how many old users are asked.
        users: of how many old users it can know; of more it keeps so many drawn at random.
    """

    keys: Tensor
    behavior: Tensor
    count: Tensor
    length: Tensor

    def __init__(self, *, attributes: int, dim: int, neighbours: int, users: int) -> None:
        super().__init__()
        self.attributes, self.neighbours = attributes, neighbours
        self.register_buffer("keys", torch.zeros(users, attributes * dim))
        self.register_buffer("behavior", torch.zeros(users, dim))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("length", torch.ones((), dtype=torch.int64))

    def fit(self, attributes: Tensor, behavior: Tensor, lengths: Tensor) -> None:
        """Keep the users; of too many the same draw in every run."""
        count = min(len(attributes), len(self.keys))
        draw = torch.Generator().manual_seed(0)
        kept = torch.randperm(len(attributes), generator=draw)[:count].sort().values
        self.keys[:count] = self._key(attributes[kept])
        self.behavior[:count] = behavior[kept]
        self.count.fill_(count)
        self.length.copy_(mean_length(lengths))

    def generate(self, attributes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean over each user's neighbours, as `Fitted` has it."""
        count = int(self.count)
        distance = torch.cdist(self._key(attributes), self.keys[:count])
        nearest = distance.topk(min(self.neighbours, count), largest=False).indices
        return as_event(self.behavior[nearest].mean(1), self.length)

    def _key(self, attributes: Tensor) -> Tensor:
        return attributes[:, attributes.shape[1] - self.attributes :].flatten(1)


class LinearAutoencoder(Fitted):
    """LLAE, the low-rank linear autoencoder from attributes to behavior (Li et al., AAAI 2019).

    With X the behavior and S the attributes of old users, both standardised, W minimises
    ‖X - Wᵀ S‖² + λ ‖W X_c - S‖² + β ‖U W‖². X_c is X with a share of its entries at zero, and U
    projects on what lies outside W's leading singular directions.

    Args:
        attributes: how many attributes it sees, the last ones.
        dim: d.
        reconstruction_weight: λ.
        low_rank_weight: β.
        corrupted: the share of X_c's entries that is zero.
        rank: how many singular directions are free.
        alternations: how often W and U are solved in turn.
    """

    weight: Tensor
    attribute_moments: Tensor
    behavior_moments: Tensor
    length: Tensor

    def __init__(
        self,
        *,
        attributes: int,
        dim: int,
        reconstruction_weight: float,
        low_rank_weight: float,
        corrupted: float,
        rank: int,
        alternations: int,
    ) -> None:
        super().__init__()
        self.attributes = attributes
        self.reconstruction_weight, self.low_rank_weight = reconstruction_weight, low_rank_weight
        self.corrupted, self.rank, self.alternations = corrupted, rank, alternations
        self.register_buffer("weight", torch.zeros(attributes * dim, dim))
        self.register_buffer("attribute_moments", torch.ones(2, attributes * dim))
        self.register_buffer("behavior_moments", torch.ones(2, dim))
        self.register_buffer("length", torch.ones((), dtype=torch.int64))

    def fit(self, attributes: Tensor, behavior: Tensor, lengths: Tensor) -> None:
        """Solve for W; the entries of X_c are drawn from a seed of their own."""
        s, self.attribute_moments[:] = _standardised(self._seen(attributes))
        x, self.behavior_moments[:] = _standardised(behavior)
        is_kept = np.random.default_rng(0).random(x.shape) >= self.corrupted
        weight = low_rank_autoencoder(
            x, s, x * is_kept, self.reconstruction_weight, self.low_rank_weight, self.rank,
            self.alternations,
        )  # fmt: skip
        self.weight.copy_(torch.from_numpy(weight))
        self.length.copy_(mean_length(lengths))

    def generate(self, attributes: Tensor) -> tuple[Tensor, Tensor]:
        """Return Wᵀ s of each user, as `Fitted` has it."""
        mean, deviation = self.attribute_moments
        standard = (self._seen(attributes) - mean) / deviation
        mean, deviation = self.behavior_moments
        return as_event(standard @ self.weight * deviation + mean, self.length)

    def _seen(self, attributes: Tensor) -> Tensor:
        return attributes[:, attributes.shape[1] - self.attributes :].flatten(1)


def low_rank_autoencoder(
    x: np.ndarray,
    s: np.ndarray,
    corrupted: np.ndarray,
    reconstruction_weight: float,
    low_rank_weight: float,
    rank: int,
    alternations: int,
) -> np.ndarray:
    """Return W [a, b] of LLAE for behavior X [b, users], attributes S [a, users] and X_c.

    For a fixed U the best W solves (S Sᵀ + β U) W + W λ X_c X_cᵀ = S Xᵀ + λ S X_cᵀ.
    """
    outside = np.zeros((len(s), len(s)))
    right = reconstruction_weight * corrupted @ corrupted.T
    both = s @ x.T + reconstruction_weight * s @ corrupted.T
    for _ in range(alternations):
        weight = linalg.solve_sylvester(s @ s.T + low_rank_weight * outside, right, both)
        leading = linalg.svd(weight, full_matrices=False)[0][:, :rank]
        outside = np.eye(len(s)) - leading @ leading.T
    return np.asarray(weight)


def _standardised(values: Tensor) -> tuple[np.ndarray, Tensor]:
    """Values [U, n] as [n, U] with mean 0 and deviation 1, and both as they were [2, n]."""
    exact = values.double()
    mean, deviation = exact.mean(0), exact.std(0, correction=0)
    deviation = torch.where(deviation > 1e-9, deviation, 1.0)  # what never varies stays small
    return ((exact - mean) / deviation).T.numpy(), torch.stack([mean, deviation]).to(values.dtype)


def mean_length(lengths: Tensor) -> Tensor:
    """The mean number of events, rounded, and at least one."""
    return lengths.double().mean().round().clamp(min=1).long()


def as_event(behavior: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Virtual behavior that sums up to [U, d]: one event that stands there `length` times."""
    return (behavior / length).unsqueeze(1), length.expand(len(behavior), 1)
