"""New users ranked as old users of like attributes are, by the real behavior of those."""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thaw.batch import Batch
from thaw.nn.events import Vectors
from thaw.nn.inputs import Behavior, Inputs


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


class LookalikeBehavior(nn.Module):
    """Old users whose behavior stands in for a new user's, one after the other.

    The click probability of a user of whom attributes alone are known is the mean over the behavior
    that such users have. A ranker is not linear in behavior: its answer to a mean behavior is not
    the mean of its answers, and training has shown it no such behavior. So it is asked about each.

    Some who stand in share the most attributes; the others are drawn once, the same for everyone.
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
        likeness = self._likeness(values).fill_diagonal_(-torch.inf)
        alike = likeness.topk(min(self.count, len(likeness) - 1)).indices
        real = behavior.pool_users()
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
        likeness = self._likeness(values)
        count = min(self.count, likeness.shape[1])
        alike = likeness.topk(round(self.alike_share.item() * count)).indices
        drawn = torch.arange(count - alike.shape[1], device=alike.device)
        return torch.cat([alike, drawn.expand(len(alike), -1)], dim=1)

    def _likeness(self, values: Values) -> Tensor:
        """[U, kept], how many attributes users share; of dense ones less the farther they are."""
        ids, scale = self._compared(values)
        # Of those who share as many the earlier is nearer, on every device.
        places = torch.arange(len(self.ids), device=ids.device)
        shared = (places / -(1e3 * max(1, len(places)))).expand(len(ids), -1)
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
        for name, buffer in self.named_buffers():  # as large as what they were fitted to
            kept = state.get(prefix + name, buffer)
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
