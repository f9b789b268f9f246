"""A batch: ids and pointers, no padding, work that depends on the user alone once per user."""

import math
import threading
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from thaw.data import Entities, Events, Group, Layout
from thaw.tables.vocabularies import FIRST, MISSING, UNKNOWN

# The bits of the number that two rows share when the model sees the same user: from low to high
# how much behavior is visible (or all ones: hidden), the user, and whether none is visible.
POINTER_BITS, USER_BITS = 30, 31


@dataclass(frozen=True)
class Fields:
    """The fields of one role.

    Attributes:
        index: [B, n] int64, each field's place among the batch's table rows.
        scale: [B, n] float or None: a dense field's value, 1 for ids; None where all are ids.
    """

    index: Tensor
    scale: Tensor | None


@dataclass(frozen=True)
class Batch:
    """One batch of B rows by U distinct users with N events in view.

    A user stands once for each state in which the batch shows it: with the behavior before one
    time, or with that before another. Old users come first, new ones (Eq. 9) last.

    Attributes:
        rows: [R] int64, the rows of the embedding table that the batch touches, each once.
        attributes: [U, n_a] the users' attributes.
        context: [B, n_c] the context.
        target: [B, n_t] the target items.
        events: [N, n_f] int64 places among `rows` of the events' fields, oldest first.
        actions: [N, 1] int64 places of the events' actions; [N, 0] where they have none.
        offsets: [U_old + 1] int64, where each old user's events begin.
        user: [B] int64, each row's user.
        users: [U] int64, the users' numbers in the dataset.
        labels: [B, tasks] float.
    """

    rows: Tensor
    attributes: Fields
    context: Fields
    target: Fields
    events: Tensor
    actions: Tensor
    offsets: Tensor
    user: Tensor
    users: Tensor
    labels: Tensor

    @property
    def size(self) -> int:
        """B, the number of rows."""
        return len(self.user)

    @property
    def num_users(self) -> int:
        """U, the number of distinct users."""
        return len(self.attributes.index)

    @property
    def num_old(self) -> int:
        """How many of the users are old: have visible behavior."""
        return len(self.offsets) - 1

    @property
    def is_new(self) -> Tensor:
        """[B] bool, the flag of Eq. 9."""
        return self.user >= self.num_old

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return Batch(
            **{field.name: _to(getattr(self, field.name), device) for field in fields(self)}
        )


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Fields):
        return Fields(_to(value.index, device), _to(value.scale, device))
    return None if value is None else value.to(device, non_blocking=True)


@dataclass(frozen=True)
class Rows:
    """What a batch is made from, as numbers of the dataset.

    Attributes:
        user: [B] user numbers.
        item: [B] item numbers.
        pointer: [B] how many of the user's events are before the row.
        hidden: [B] bool, whose behavior is not to be seen.
        codes: [B, fields] context ids.
        dense: [B, fields] context values.
        labels: [B, tasks].
    """

    user: np.ndarray
    item: np.ndarray
    pointer: np.ndarray
    hidden: np.ndarray
    codes: np.ndarray
    dense: np.ndarray
    labels: np.ndarray


class Tables(Protocol):
    """What batches are read from: a prepared dataset, or a request's users and items."""

    @property
    def users(self) -> Entities:
        """The users."""

    @property
    def items(self) -> Entities:
        """The items."""

    @property
    def events(self) -> Events:
        """The users' behavior."""


class Assembler:
    """Makes batches from rows of a dataset.

    Args:
        tables: users, items and events.
        layout: where the fields' embeddings lie.
        max_events: n_v, how many of the last events are seen.
        unknown_share: the share of ids that training replaces, half by 'unknown' and half by
            'missing', so that these rows mean something where no training row lacks a value.
        knows_ids: whether users whose behavior is seen have their id; where not, the strict rule
            hides everyone's.
    """

    def __init__(
        self,
        tables: Tables,
        layout: Layout,
        *,
        max_events: int,
        unknown_share: float = 0.0,
        knows_ids: bool = True,
    ) -> None:
        self.tables, self.layout = tables, layout
        self.max_events, self.unknown_share = max_events, unknown_share
        self.hides_ids, self.knows_ids = layout.hides_id, knows_ids
        self._place = np.zeros(layout.rows, np.int32)
        self._alone = threading.Lock()

    def batch(self, rows: Rows, random: np.random.Generator | None = None) -> Batch:
        """Return the batch of rows; with a random generator some ids become unknown."""
        states = _states(rows)
        # Sorted by the state, whose highest bit is newness: old users come first by themselves.
        _, first, user = np.unique(states, return_index=True, return_inverse=True)
        num_old = int(((states[first] >> (POINTER_BITS + USER_BITS)) == 0).sum())
        events, offsets = self._events(rows, first[:num_old])
        layout, data = self.layout, self.tables
        shown = rows.user[first]
        attributes = data.users.codes.take(shown, axis=0)
        if self.hides_ids and layout.id_attribute is not None:
            is_unknown = rows.hidden[first] | (not self.knows_ids)
            attributes[is_unknown, layout.id_attribute] = UNKNOWN
        codes = [attributes, rows.codes, data.items.codes.take(rows.item, axis=0), events]
        if random is not None and self.unknown_share > 0:
            codes = [_with_unknowns(part, self.unknown_share, random) for part in codes]
        *codes, events = codes
        groups = (layout.attributes, layout.context, layout.target)
        ids = [_ids(part, group) for part, group in zip(codes, groups, strict=True)]
        # Field by field, as the model looks them up.
        starts = np.concatenate([layout.events.starts, layout.action.starts])
        touched, places = self._distinct([*ids, np.add(events.T, starts[:, None], order="C")])
        *places, event_places = places
        dense = (data.users.dense[shown], rows.dense, data.items.dense[rows.item])
        used = [
            _fields(place, values, group)
            for place, values, group in zip(places, dense, groups, strict=True)
        ]
        num_fields = len(layout.events)
        return Batch(
            rows=touched,
            attributes=used[0],
            context=used[1],
            target=used[2],
            events=event_places[:num_fields].T,
            actions=event_places[num_fields:].T,
            offsets=torch.from_numpy(offsets),
            user=torch.from_numpy(user),
            users=torch.from_numpy(shown.astype(np.int64)),
            labels=torch.from_numpy(rows.labels.astype(np.float32)),
        )

    def _events(self, rows: Rows, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The last events before each user's pointer, and where each user's begin."""
        pointer = rows.pointer[first].astype(np.int64)
        lengths = np.minimum(pointer, self.max_events)
        starts = self.tables.events.offsets[rows.user[first]] + pointer - lengths
        offsets = np.concatenate([[0], lengths.cumsum()])
        index = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return self.tables.events.codes.take(index, axis=0), offsets

    def _distinct(self, ids: list[np.ndarray]) -> tuple[Tensor, list[Tensor]]:
        """The distinct table rows, and each id's place among them.

        Whoever writes last into the scratch array wins its place: linear, where sorting is not.
        """
        flat = np.concatenate([part.ravel() for part in ids])
        count = np.arange(len(flat), dtype=np.int32)
        with self._alone:  # two epochs of one loader may be read at once
            # Never cleared: only places that were just written are read.
            self._place[flat] = count
            touched = flat.compress(self._place.take(flat, mode="clip") == count)
            self._place[touched] = count[: len(touched)]
            places = self._place.take(flat, mode="clip").astype(np.int64)
        cuts = np.cumsum([part.size for part in ids])[:-1]
        parts = np.split(places, cuts)
        shaped = [
            torch.from_numpy(p.reshape(part.shape)) for p, part in zip(parts, ids, strict=True)
        ]
        return torch.from_numpy(touched), shaped


def _ids(codes: np.ndarray, group: Group) -> np.ndarray:
    """Table rows of a role's fields, the dense ones' vectors last."""
    ids: np.ndarray = codes + group.starts
    if not len(group.dense_rows):
        return ids
    vectors = np.broadcast_to(group.dense_rows, (len(ids), len(group.dense_rows)))
    return np.concatenate([ids, vectors], axis=1)


def _with_unknowns(codes: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """The codes, a share of them replaced by 'unknown' and 'missing', which stay where they are.

    Places are drawn with repetition, so that nothing is drawn for codes that stay. Where their
    number is Poisson's, each code is hit or not independently of the others.
    """
    changed = codes.flatten()
    drawn = random.integers(0, 2 * changed.size, random.poisson(-math.log1p(-share) * changed.size))
    places, instead = drawn >> 1, np.where(drawn & 1, UNKNOWN, MISSING)
    changed[places] = np.where(changed[places] < FIRST, changed[places], instead)
    return changed.reshape(codes.shape)


def _states(rows: Rows) -> np.ndarray:
    """[B] int64, the same number where the model sees the same user; new users' are the largest."""
    visible = np.where(rows.hidden, 0, rows.pointer).astype(np.int64)
    is_new = (visible == 0).astype(np.int64)
    # Hidden is not the same as empty: under the strict rule a hidden user's id is unknown too.
    state = np.where(rows.hidden, (1 << POINTER_BITS) - 1, visible)
    user = rows.user.astype(np.int64) << POINTER_BITS
    found: np.ndarray = (is_new << (POINTER_BITS + USER_BITS)) | user | state
    return found


def _fields(place: Tensor, dense: np.ndarray, group: Group) -> Fields:
    if dense.shape[1] == 0:
        return Fields(place, None)
    mean, deviation = group.moments.T
    values = np.nan_to_num((dense - mean) / deviation, nan=0.0).astype(np.float32)
    ones = np.ones((len(values), len(group.starts)), np.float32)
    return Fields(place, torch.from_numpy(np.concatenate([ones, values], axis=1)))
