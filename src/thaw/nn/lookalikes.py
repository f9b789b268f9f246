"""New users ranked as old users of like attributes are, by the real behavior of those."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thaw.batch import Batch
from thaw.nn.events import Vectors
from thaw.nn.inputs import Behavior, Inputs

BLOCK = 1_000
"""So many users are compared with those that are known at a time."""


class Values(NamedTuple):
    """The values of U users' attributes.

    Attributes:
        ids: [U, n_a] int64, rows of the embedding table: of the value, or of a dense attribute.
        scale: [U, n_a] float, a dense attribute's value, 1 for others.
    """

    ids: Tensor
    scale: Tensor

    @classmethod
    def of(cls, batch: Batch) -> "Values":
        """Return those of a batch's distinct users."""
        index, scale = batch.attributes.index, batch.attributes.scale
        ids = batch.rows.index_select(0, index.flatten()).view_as(index)
        return cls(ids, torch.ones_like(ids, dtype=torch.float32) if scale is None else scale)

    def blocks(self) -> Iterator["Values"]:
        """Yield them in blocks of users."""
        for ids, scale in zip(
            torch.split(self.ids, BLOCK), torch.split(self.scale, BLOCK), strict=True
        ):
            yield Values(ids, scale)


class LookalikeBehavior(nn.Module):
    """Old users whose behavior stands in for a new user's, one after the other.

    The click probability of a user of whom attributes alone are known is the mean over the behavior
    that such users have. A ranker is not linear in behavior: its answer to a mean behavior is not
    the mean of its answers, and training has shown it no such behavior. So it is asked about each.

    Some who stand in share the most attributes; the others are drawn once, the same for everyone
    but for those who stand in already.
    The share of the former is how far the mean behavior of those who share the most foretells an
    old user's, by least squares: 0 where attributes foretell nothing.

    Args:
        attributes: how many attributes are compared, the last ones.
        count: how many old users stand in for a new one; of fewer, all.
    """

    ids: Tensor
    scale: Tensor
    events: Tensor
    offsets: Tensor
    alike_share: Tensor

    def __init__(self, *, attributes: int, count: int) -> None:
        super().__init__()
        self.attributes, self.count = attributes, count
        self.register_buffer("ids", torch.zeros(0, attributes, dtype=torch.int64))
        self.register_buffer("scale", torch.zeros(0, attributes))
        self.register_buffer("events", torch.zeros(0, 0))
        self.register_buffer("offsets", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("alike_share", torch.zeros(()))

    def fit(self, values: Values, behavior: Behavior) -> None:
        """Keep the values and the behavior of U old users, in an order that is drawn."""
        order = torch.randperm(len(values.ids), generator=torch.Generator().manual_seed(0))
        order = order.to(values.ids.device)
        values = Values(*(each.index_select(0, order) for each in values))
        behavior = behavior.select_users(order)
        self.ids, self.scale = self._compared(values)
        self.events, self.offsets = behavior.values, behavior.offsets
        count, parts = min(self.count, len(order) - 1), []
        for number, block in enumerate(values.blocks()):
            likeness = self._likeness(block)
            likeness[:, number * BLOCK :].fill_diagonal_(-torch.inf)  # nobody is his own
            parts.append(likeness.topk(count).indices)
        alike, real = torch.cat(parts), behavior.pool_users()
        if alike.shape[1] == 0:
            return
        foretold = real[alike].mean(1)
        away = foretold - foretold.mean(0)
        slope = (away * (real - real.mean(0))).sum() / away.square().sum().clamp(min=1e-12)
        self.alike_share.copy_(slope.clamp(0, 1))

    def answers(self, ranker: nn.Module, inputs: Inputs, values: Values) -> Tensor:
        """Return a ranker's probabilities [B, tasks], new users' the mean over who stands in.

        Args:
            ranker: in evaluation.
            inputs: B rows of U users.
            values: these users'.
        """
        whole = torch.sigmoid(ranker(inputs).logits)
        rows = inputs.is_new.nonzero().squeeze(1)
        if len(rows) == 0:
            return whole
        new = _new_users(inputs, rows)
        users = self.chosen(Values(*(each[inputs.num_old :] for each in values)))
        total = torch.zeros_like(whole[rows])
        for user in users.T:
            total += torch.sigmoid(ranker(self._as_users(new, user)).logits)
        return whole.index_copy(0, rows, total / users.shape[1])

    def chosen(self, values: Values) -> Tensor:
        """Return which of the kept users stand in for new users with some values, [U, count]."""
        count = min(self.count, len(self.ids))
        num_alike = round(self.alike_share.item() * count)
        parts = []
        for block in values.blocks():
            likeness = self._likeness(block)
            alike = likeness.topk(num_alike).indices
            # Kept users lie in a drawn order: the first of the others are drawn.
            others = self._earlier().repeat(len(likeness), 1).scatter_(1, alike, -torch.inf)
            parts.append(torch.cat([alike, others.topk(count - num_alike).indices], dim=1))
        return torch.cat(parts)

    def _earlier(self) -> Tensor:
        """[kept] float64, the greater the earlier, and less than any difference in likeness."""
        places = torch.arange(len(self.ids), device=self.ids.device, dtype=torch.float64)
        return -places / (1e6 * max(1, len(places)))

    def _likeness(self, values: Values) -> Tensor:
        """[U, kept], how many attributes users share; of dense ones less the farther they are."""
        ids, scale = self._compared(values)
        shared = self._earlier().expand(len(ids), -1)  # of those who share as many the earlier
        for k in range(self.attributes):
            is_same = ids[:, k, None] == self.ids[:, k]
            shared = shared + is_same / (1 + (scale[:, k, None] - self.scale[:, k]).abs())
        return shared

    def _compared(self, values: Values) -> Values:
        first = values.ids.shape[1] - self.attributes
        return Values(values.ids[:, first:], values.scale[:, first:])

    def _as_users(self, new: Inputs, users: Tensor) -> Inputs:
        """New users' inputs, with the behavior of kept users [U], one for each."""
        known = Behavior(Vectors(self.events), self.offsets, users)
        behavior = replace(known.select_users(users), user=new.behavior.user)
        return replace(new, behavior=behavior, num_old=len(users))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self.named_buffers():
            if (kept := state.get(prefix + name)) is not None:  # as large as what it was fitted to
                setattr(self, name, torch.empty_like(kept, device=buffer.device))
        super()._load_from_state_dict(state, prefix, *rest)


def _new_users(inputs: Inputs, rows: Tensor) -> Inputs:
    """The rows of new users, and these users alone."""
    behavior = inputs.behavior
    user = behavior.user.index_select(0, rows) - inputs.num_old
    return Inputs(
        user_attributes=inputs.user_attributes[inputs.num_old :],
        context=inputs.context.index_select(0, rows),
        target=inputs.target.index_select(0, rows),
        target_event=inputs.target_event.index_select(0, rows),
        behavior=replace(behavior, offsets=behavior.offsets[inputs.num_old :], user=user),
        num_old=0,
    )
