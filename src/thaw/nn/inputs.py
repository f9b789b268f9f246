"""What a ranker sees: fields already embedded, and behavior as a small ragged type.

Rows are gathered by `index_select`: its gradient is quick and the same in every run, which that of
indexing with brackets is not.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from thaw.nn.events import Events, Filled, Vectors, owners, weighted_sums


@dataclass(frozen=True)
class Behavior:
    """The behavior of U users, and which of the B rows is whose.

    Attributes:
        events: N events of all users one after the other, each user's oldest first.
        offsets: [U + 1] int64, where each user's begin.
        user: [B] int64, each row's user.
    """

    events: Events
    offsets: Tensor
    user: Tensor

    @property
    def values(self) -> Tensor:
        """[N, d] float, the events' vectors v_i."""
        return self.events.values

    @property
    def repeats(self) -> Tensor | None:
        """[N] int64, how many times in a row each event stands there, or None for once.

        Only virtual events stand there more than once.
        """
        return self.events.repeats

    @property
    def lengths(self) -> Tensor:
        """[U] int64, how many events each user has, repeats counted."""
        if self.repeats is None:
            return self.offsets.diff()
        return F.pad(self.repeats.cumsum(0), (1, 0)).index_select(0, self.offsets).diff()

    @property
    def owner(self) -> Tensor:
        """[N] int64, the user of each event."""
        return owners(self.offsets, len(self.events))

    def pool(self, weights: Tensor | None = None) -> Tensor:
        """Return each row's sum [B, d] over its events; zero where there are none (Eq. 11).

        Args:
            weights: [N], what each event's vector is multiplied with; None for 1.
        """
        return self.pool_users(weights).index_select(0, self.user)

    def pool_users(self, weights: Tensor | None = None) -> Tensor:
        """Return each user's sum [U, d] over the events: quicker than over `values`."""
        if weights is None:
            return self.events.sums(self.offsets)
        return weighted_sums(self.events, weights, self.offsets)

    def pad(self, length: int, *, newest_first: bool = False) -> tuple[Tensor, Tensor]:
        """Return each row's last events [B, length, d], zeros behind them, and a mask [B, length].

        The mask is True at events. With `newest_first` a place says how many events ago.
        """
        values, mask = self.pad_users(length, newest_first=newest_first)
        return values.index_select(0, self.user), mask.index_select(0, self.user)

    def pad_users(self, length: int, *, newest_first: bool = False) -> tuple[Tensor, Tensor]:
        """Return each user's last events [U, length, d] and the mask [U, length].

        With `newest_first` a place says how many events ago.
        """
        values, lengths = self.values, self.lengths
        kept = lengths.clamp(max=length)
        ends = lengths.cumsum(0)
        position = torch.arange(length, device=values.device)
        mask = position < kept.unsqueeze(1)
        if len(values) == 0:
            return values.new_zeros(*mask.shape, values.shape[1]), mask
        if newest_first:
            place = ends.unsqueeze(1) - 1 - position
        else:
            place = (ends - kept).unsqueeze(1) + position
        index = torch.where(mask, place, 0).flatten()
        if self.repeats is not None:
            index = torch.repeat_interleave(self.repeats).index_select(0, index)
        padded = values.index_select(0, index).view(*mask.shape, values.shape[1])
        return padded * mask.unsqueeze(2), mask

    def select_users(self, users: Tensor) -> "Behavior":
        """Return the behavior of some users, each as often as it is named and with a row each."""
        lengths = self.offsets.diff().index_select(0, users)
        offsets = F.pad(lengths.cumsum(0), (1, 0))
        shift = torch.repeat_interleave(self.offsets.index_select(0, users) - offsets[:-1], lengths)
        index = torch.arange(len(shift), device=users.device) + shift
        rows = torch.arange(len(users), device=users.device)
        return Behavior(self.events.take(index), offsets, rows)

    def by_row(self) -> "Behavior":
        """Return the behavior with a user for each of the B rows, in their order."""
        # As vectors, which are made once for a user and not for each of its rows.
        each = replace(self, events=Vectors(self.values, self.repeats))
        return each.select_users(self.user)

    def fill(self, users: Tensor, virtual: Tensor, repeats: Tensor) -> "Behavior":
        """Give users virtual events, in the places that their real ones leave empty (Eq. 10).

        The newest events are the real ones; who has none has the virtual ones alone.

        Args:
            users: [V] int64, ascending.
            virtual: [V, k, d], oldest first.
            repeats: [V, k] int64, how many times each virtual event stands there; 0 for not.
        """
        taken = self.offsets.diff().index_select(0, users).unsqueeze(1)
        newer = repeats.flip(1).cumsum(1).flip(1) - repeats
        left = (newer + repeats - torch.maximum(newer, taken)).clamp(min=0)
        filled = Filled(self.events, self.offsets, users, virtual, left)
        return Behavior(filled, filled.all_offsets, self.user)


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
        has_id: whether the first attribute is the user's id.
    """

    dim: int
    attributes: int
    context: int
    target: int
    max_events: int
    tasks: int
    has_id: bool = False


def without_attribute(attributes: Tensor, hidden: int | None) -> Tensor:
    """Return attributes [U, n, d], one of them zeros; None hides none."""
    if hidden is None:
        return attributes
    shown = attributes.new_ones(attributes.shape[1], 1)
    shown[hidden] = 0
    return attributes * shown


def by_row(inputs: Inputs) -> Inputs:
    """Return the same inputs with every row as a user of its own, old ones first."""
    order = inputs.is_new.to(torch.int8).argsort(stable=True)
    owner = inputs.behavior.user[order]
    num_old = int((~inputs.is_new).sum())
    behavior = inputs.behavior.select_users(owner[:num_old])
    num_new = len(order) - num_old
    offsets = F.pad(behavior.offsets, (0, num_new), value=len(behavior.events))
    return replace(
        inputs,
        user_attributes=inputs.user_attributes.index_select(0, owner),
        behavior=Behavior(behavior.events, offsets, order.argsort()),
        num_old=num_old,
    )
