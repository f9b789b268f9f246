"""The events of a batch's users: as vectors, as places in the embedding table, and filled up.

Most rankers only sum a user's events. Sums come from places without a vector for each event, which
is several times quicker; vectors are made for those who ask for them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class Events(Protocol):
    """N events, those of each user one after the other."""

    @property
    def values(self) -> Tensor:
        """[N, d] float, each event's vector v_i."""

    @property
    def repeats(self) -> Tensor | None:
        """[N] int64, how many times in a row each event stands there; None for once."""

    def __len__(self) -> int:
        """N, how many there are."""

    def take(self, index: Tensor) -> "Events":
        """Return some of the events, each as often as it is named."""

    def sums(self, offsets: Tensor) -> Tensor:
        """Return each user's sum [U, d], zero without events; user u's begin at offsets[u]."""


def weighted_sums(events: Events, weights: Tensor, offsets: Tensor) -> Tensor:
    """Return each user's sum [U, d] of events that count as often as their weights [N] say.

    An event that stands there several times counts so many times its weight.
    """
    weights = weights.to(events.values.dtype)
    if events.repeats is not None:
        weights = weights * events.repeats
    sums: Tensor = _WeightedSums.apply(events.values, weights, offsets)  # type: ignore[no-untyped-call]
    return sums


@dataclass(frozen=True)
class Vectors:
    """Events as vectors.

    Attributes:
        values: [N, d] float.
        repeats: [N] int64, or None.
    """

    values: Tensor
    repeats: Tensor | None = None

    def __len__(self) -> int:
        """N."""
        return len(self.values)

    def take(self, index: Tensor) -> "Vectors":
        """Return some of the events."""
        repeats = None if self.repeats is None else self.repeats.index_select(0, index)
        return Vectors(self.values.index_select(0, index), repeats)

    def sums(self, offsets: Tensor) -> Tensor:
        """Return each user's sum [U, d]."""
        return weighted_sums(self, self.values.new_ones(len(self)), offsets)


@dataclass(frozen=True)
class LookedUp:
    """Events as places: v_i is the sum of its fields' embeddings times its action's (3.1.1).

    Attributes:
        rows: [R, d] float, the embeddings.
        fields: for each field [N] int64, its places among the rows.
        action: [N] int64, the actions' places among the rows, or None without actions.
    """

    rows: Tensor
    fields: tuple[Tensor, ...]
    action: Tensor | None

    @cached_property
    def values(self) -> Tensor:
        """[N, d], made once."""
        first, *others = self.fields
        values = self.rows.index_select(0, first)
        for field in others:
            values = values + self.rows.index_select(0, field)
        if self.action is None:
            return values
        return values * self.rows.index_select(0, self.action)

    @property
    def repeats(self) -> None:
        """Each of them stands there once."""

    def __len__(self) -> int:
        """N."""
        return len(self.fields[0])

    def take(self, index: Tensor) -> "LookedUp":
        """Return some of the events."""
        fields = tuple(field.index_select(0, index) for field in self.fields)
        action = None if self.action is None else self.action.index_select(0, index)
        return LookedUp(self.rows, fields, action)

    def sums(self, offsets: Tensor) -> Tensor:
        """Return each user's sum [U, d]: a user's events of one action share its product."""
        if self.action is None:
            return self._bags(torch.stack(self.fields, 1), offsets)
        if len(self) == 0:
            return self.rows.new_zeros(len(offsets) - 1, self.rows.shape[1])
        users = len(offsets) - 1
        # A batch's rows of one vocabulary lie together.
        low, high = (int(end) for end in self.action.aminmax())
        actions = high - low + 1
        if actions * users > len(self):
            return Vectors(self.values).sums(offsets)
        action = self.action - low
        order = _order(action, actions)
        fields = torch.stack([field.index_select(0, order) for field in self.fields], 1)
        bag = action * users + owners(offsets, len(self))
        counts = torch.bincount(bag, minlength=actions * users)
        sums = self._bags(fields, F.pad(counts.cumsum(0), (1, 0))).view(actions, users, -1)
        return (sums * self.rows[low : high + 1].unsqueeze(1)).sum(0)

    def _bags(self, fields: Tensor, offsets: Tensor) -> Tensor:
        """[bags, d], the sums of the embeddings of bags of events, by their places [N, n_f]."""
        starts = offsets * fields.shape[1]
        sums: Tensor = _BagSums.apply(self.rows, fields.flatten(), starts)  # type: ignore[no-untyped-call]
        return sums


@dataclass(frozen=True)
class Filled:
    """Real events, and before those of some users virtual ones (Eq. 10).

    Attributes:
        real: N events.
        offsets: [U + 1] int64, where each user's real events begin.
        users: [V] int64, who has virtual events.
        virtual: [V, k, d] float.
        virtual_repeats: [V, k] int64, how many times in a row each stands there; 0 for not.
    """

    real: Events
    offsets: Tensor
    users: Tensor
    virtual: Tensor
    virtual_repeats: Tensor

    @cached_property
    def values(self) -> Tensor:
        """[N + those that stand there, d], made once."""
        found = torch.cat([self.real.values, self.virtual[self._stands]])
        return found.index_select(0, self._order)

    @cached_property
    def repeats(self) -> Tensor:
        """[N + those that stand there] int64."""
        once = self.virtual_repeats.new_ones(len(self.real))
        found = torch.cat([once, self.virtual_repeats[self._stands]])
        return found.index_select(0, self._order)

    def __len__(self) -> int:
        """How many there are, real and virtual."""
        return len(self._order)

    @property
    def all_offsets(self) -> Tensor:
        """[U + 1] int64, where each user's events begin, virtual and real."""
        counts = torch.zeros_like(self.offsets[1:])
        counts = counts.index_copy(0, self.users, self._stands.sum(1))
        return self.offsets + F.pad(counts.cumsum(0), (1, 0))

    def take(self, index: Tensor) -> Vectors:
        """Return some of the events."""
        return Vectors(self.values, self.repeats).take(index)

    def sums(self, offsets: Tensor) -> Tensor:
        """Return each user's sum [U, d]; `offsets` are its own `all_offsets`."""
        real = self.real.sums(self.offsets)
        virtual = (self.virtual * self.virtual_repeats.unsqueeze(2)).sum(1)
        return real.index_add(0, self.users, virtual)

    @property
    def _stands(self) -> Tensor:
        """[V, k] bool, which virtual events stand there."""
        return self.virtual_repeats > 0

    @cached_property
    def _order(self) -> Tensor:
        """Which of the real events and, counted on, the virtual ones stands where."""
        real = owners(self.offsets, len(self.real))
        virtual = torch.repeat_interleave(self.users, self._stands.sum(1))
        keys = torch.cat([2 * real + 1, 2 * virtual])
        return _order(keys, 2 * len(self.offsets))


def owners(offsets: Tensor, count: int) -> Tensor:
    """[count] int64, the user of each of the events that begin at offsets [U + 1]."""
    return torch.repeat_interleave(offsets.diff(), output_size=count)


class _WeightedSums(torch.autograd.Function):
    """Sums of weighted vectors, without the weighted vectors themselves on the way."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
        """[U, d] sums of values [N, d] times weights [N]; user u's begin at offsets [U + 1]."""
        ctx.save_for_backward(values, weights, offsets)
        every = torch.arange(len(values), device=values.device)
        return F.embedding_bag(
            every, values, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
        )

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """[N, d] and [N]: what a sum gets, times the weights, and times the vectors."""
        values, weights, offsets = ctx.saved_tensors
        asks_values, asks_weights, _ = ctx.needs_input_grad
        each = gradient.index_select(0, owners(offsets, len(values)))
        return (
            each * weights.unsqueeze(1) if asks_values else None,
            (each * values).sum(1) if asks_weights else None,
            None,
        )


class _BagSums(torch.autograd.Function):
    """Sums of rows in bags. PyTorch's own gradient scatters; this one sums in bags as well."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor, offsets: Tensor) -> Tensor:
        """[bags, d] sums of rows [R, d] at places [M]; a bag's begin at offsets [bags + 1]."""
        ctx.save_for_backward(places, offsets)
        ctx.count = len(rows)
        return F.embedding_bag(places, rows, offsets, mode="sum", include_last_offset=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """[R, d]: each row's is the sum over the bags that it is in."""
        places, offsets = ctx.saved_tensors
        bag = owners(offsets, len(places)).index_select(0, _order(places, ctx.count))
        ends = torch.bincount(places, minlength=ctx.count).cumsum(0)
        sums = F.embedding_bag(
            bag, gradient, F.pad(ends, (1, 0)), mode="sum", include_last_offset=True
        )
        return sums, None, None


def _order(keys: Tensor, bound: int) -> Tensor:
    """[M] int64, what sorts keys [M] below a bound, equal ones staying in their order."""
    if keys.device.type != "cpu" or bound > 1 << 16:
        return torch.argsort(keys, stable=True)
    # NumPy sorts numbers of 16 bits by their digits, several times quicker than by comparison.
    return torch.from_numpy(np.argsort(keys.numpy().astype(np.uint16), kind="stable"))
