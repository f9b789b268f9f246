"""What a ranker sees: fields already embedded, and behavior as a small ragged type.

Rows are gathered by `index_select`: its gradient is quick and the same in every run, which that of
indexing with brackets is not.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Behavior:
    """The behavior of U users, and which of the B rows is whose.

    Attributes:
        values: [N, d] float, v_i of all users one after the other, each user's oldest first.
        offsets: [U + 1] int64, where each user's begin.
        user: [B] int64, each row's user.
    """

    values: Tensor
    offsets: Tensor
    user: Tensor

    @property
    def lengths(self) -> Tensor:
        """[U] int64, how many events each user has."""
        return self.offsets.diff()

    def pool(self) -> Tensor:
        """Return each row's sum [B, d] over its events; zero where there are none (Eq. 11)."""
        return self.pool_users().index_select(0, self.user)

    def pool_users(self) -> Tensor:
        """Return each user's sum [U, d] over the events."""
        owner = torch.repeat_interleave(self.lengths, output_size=len(self.values))
        sums = self.values.new_zeros(len(self.offsets) - 1, self.values.shape[1])
        return sums.index_add(0, owner, self.values)

    def pad(self, length: int) -> tuple[Tensor, Tensor]:
        """Return each row's last events [B, length, d], zeros behind them, and a mask [B, length].

        The mask is True at events.
        """
        values, mask = self.pad_users(length)
        return values.index_select(0, self.user), mask.index_select(0, self.user)

    def pad_users(self, length: int) -> tuple[Tensor, Tensor]:
        """Return each user's last events [U, length, d] and the mask [U, length]."""
        kept = self.lengths.clamp(max=length)
        first = self.offsets[1:] - kept
        position = torch.arange(length, device=self.values.device)
        mask = position < kept.unsqueeze(1)
        index = torch.where(mask, first.unsqueeze(1) + position, 0)
        width = self.values.shape[1]
        if len(self.values) == 0:
            return self.values.new_zeros(*mask.shape, width), mask
        values = self.values.index_select(0, index.flatten()).view(*mask.shape, width)
        return values * mask.unsqueeze(2), mask

    def select_users(self, users: Tensor) -> "Behavior":
        """Return the behavior of some users alone, as many rows as users; they must have some."""
        lengths = self.lengths[users]
        offsets = F.pad(lengths.cumsum(0), (1, 0))
        within = torch.arange(int(offsets[-1]), device=users.device)
        shift = torch.repeat_interleave(self.offsets[users] - offsets[:-1], lengths)
        values = self.values.index_select(0, within + shift)
        return Behavior(values, offsets, torch.arange(len(users), device=users.device))

    def append_virtual(self, virtual: Tensor, lengths: Tensor) -> "Behavior":
        """Give virtual behavior to the last users, who must be those without any (Eq. 10).

        Args:
            virtual: [U_new, n_v, d].
            lengths: [U_new] int64, how many of the virtual events count.
        """
        position = torch.arange(virtual.shape[1], device=virtual.device)
        kept = virtual[position < lengths.unsqueeze(1)]
        num_old = len(self.offsets) - 1 - len(virtual)
        ends = self.offsets[num_old] + lengths.cumsum(0)
        offsets = torch.cat([self.offsets[: num_old + 1], ends])
        return replace(self, values=torch.cat([self.values, kept]), offsets=offsets)


@dataclass(frozen=True)
class Inputs:
    """B embedded rows.

    Attributes:
        user_attributes: [U, n_a, d] attributes of the batch's distinct users.
        context: [B, n_c, d].
        target: [B, n_t, d].
        target_event: [B, d], the target item in the space of behavior: the sum of the embeddings
            of those fields that it shares with events, without an action.
        behavior: the users' behavior.
        num_old: the first so many of the users have behavior of their own.
    """

    user_attributes: Tensor
    context: Tensor
    target: Tensor
    target_event: Tensor
    behavior: Behavior
    num_old: int

    @property
    def attributes(self) -> Tensor:
        """[B, n_a, d] attributes, row by row."""
        return self.user_attributes.index_select(0, self.behavior.user)

    @property
    def is_new(self) -> Tensor:
        """[B] bool, the flag of Eq. 9: no behavior of its own."""
        return self.behavior.user >= self.num_old


@dataclass(frozen=True)
class InputShape:
    """What a ranker is built for.

    Attributes:
        dim: d, the embeddings' width.
        attributes: n_a, the number of user attributes.
        context: n_c, the number of context fields.
        target: n_t, the number of the target item's fields.
        max_events: n_v, the most events that are seen.
        tasks: how many labels are predicted.
    """

    dim: int
    attributes: int
    context: int
    target: int
    max_events: int
    tasks: int


def by_row(inputs: Inputs) -> Inputs:
    """Return the same inputs with every row as a user of its own, old ones first."""
    order = inputs.is_new.to(torch.int8).argsort(stable=True)
    owner = inputs.behavior.user[order]
    num_old = int((~inputs.is_new).sum())
    behavior = inputs.behavior.select_users(owner[:num_old])
    num_new = len(order) - num_old
    offsets = F.pad(behavior.offsets, (0, num_new), value=len(behavior.values))
    return replace(
        inputs,
        user_attributes=inputs.user_attributes.index_select(0, owner),
        behavior=Behavior(behavior.values, offsets, order.argsort()),
        num_old=num_old,
    )
