"""The prepared dataset: memory-mapped arrays, vocabularies and the schema they came from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from thaw.errors import DataError
from thaw.schema import Field, NaturalRule, Schema
from thaw.tables.arrays import load, read_arrow
from thaw.tables.lookup import Lookup
from thaw.tables.rules import SPLITS
from thaw.tables.vocabularies import ACTION, FIRST, MISSING, UNKNOWN, categorical, dense

FORMAT = 2


@dataclass(frozen=True)
class Entities:
    """The users, or the items.

    Attributes:
        keys: [N] their ids as texts, sorted.
        codes: [N, fields] int32 ids of the categorical fields.
        dense: [N, fields] float32 values of the dense fields, NaN where missing.
    """

    keys: pa.ChunkedArray
    codes: np.ndarray
    dense: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def places(self) -> Lookup:
        """Where each key stands."""
        return Lookup(self.keys)


@dataclass(frozen=True)
class Events:
    """All behavior, stored once: sorted by user and time.

    Attributes:
        codes: [E, fields (+ 1 for the action)] int32.
        offsets: [U + 1] int64, where each user's events begin.
    """

    codes: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class Impressions:
    """One split's impressions, by user and time.

    Attributes:
        user: [N] int32 user numbers.
        item: [N] int32 item numbers.
        pointer: [N] int32, how many of the user's events happened strictly before.
        labels: [N, tasks] int8.
        codes: [N, fields] int32 context ids.
        dense: [N, fields] float32 context values, NaN where missing.
        references: [N, references] float64 scores of other systems, NaN where missing.
    """

    user: np.ndarray
    item: np.ndarray
    pointer: np.ndarray
    labels: np.ndarray
    codes: np.ndarray
    dense: np.ndarray
    references: np.ndarray

    def __len__(self) -> int:
        return len(self.user)

    @property
    def last_rows(self) -> np.ndarray:
        """[U] each user's last row, the one that sees most of the behavior."""
        return np.flatnonzero(np.diff(self.user, append=-1))


@dataclass(frozen=True)
class Vocabularies:
    """The values that have ids, by vocabulary.

    Attributes:
        values: for each vocabulary its texts; the first one has the id FIRST.
    """

    values: Mapping[str, pa.ChunkedArray]

    def rows(self, name: str) -> int:
        """How many ids a vocabulary has, missing and unknown included."""
        return len(self.values[name]) + FIRST

    def encode(self, name: str, texts: pa.Array) -> np.ndarray:
        """Return the ids [N] int32 of texts; null is MISSING, what is not there UNKNOWN."""
        if name not in self._lookups:
            self._lookups[name] = Lookup(self.values[name])
        place = self._lookups[name].find(texts)
        codes = np.where(place < 0, UNKNOWN, place + FIRST)
        return np.where(np.asarray(pc.is_null(texts)), MISSING, codes).astype(np.int32)

    @cached_property
    def _lookups(self) -> dict[str, Lookup]:
        """By vocabulary, made when it is first asked for."""
        return {}

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the vocabularies in a folder."""
        paths = sorted(folder.glob("*.arrow"))
        return cls({unquote(path.stem): read_arrow(path).column("value") for path in paths})


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each dense field: pairs by field.

    Of users and items those that training shows count once; context is over training rows.
    """

    users: np.ndarray
    items: np.ndarray
    context: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset on disk.

    Attributes:
        path: its folder.
        schema: the schema that it was prepared by.
        manifest: counts, rejects and checksums, as in 'manifest.json'.
        users: every user of the users table.
        items: every item of the items table.
        events: all behavior.
        splits: the impressions of 'train', 'validation' and 'test'.
        hidden: [U] bool, whose behavior the rule for new users hides.
        hidden_in_validation: [U] bool, the same when validation is scored. Under the strict rule
            new users have no rows before test; users drawn among the old ones stand in for them.
        vocabularies: which values have ids.
        moments: how dense fields are standardised.
    """

    path: Path
    schema: Schema
    manifest: Mapping[str, Any]
    users: Entities
    items: Entities
    events: Events
    splits: Mapping[str, Impressions]
    hidden: np.ndarray
    hidden_in_validation: np.ndarray
    vocabularies: Vocabularies
    moments: Moments

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a prepared dataset; arrays are mapped, not read.

        Raises:
            DataError: when the folder holds no dataset, a damaged one or one of another format.
        """
        path = Path(path)
        if not (path / "manifest.json").is_file():
            raise DataError(f"{path}: no prepared dataset here; make one with 'thaw prepare'")
        try:
            return cls._read(path, json.loads((path / "manifest.json").read_text()))
        except (OSError, EOFError, TypeError, ValueError, KeyError, pa.ArrowException) as error:
            raise DataError(f"{path}: is damaged ({error}); prepare it again") from error

    @classmethod
    def _read(cls, path: Path, manifest: Mapping[str, Any]) -> Self:
        if manifest["format"] != FORMAT:
            found = manifest["format"]
            raise DataError(f"{path}: format {found}, this thaw reads {FORMAT}; prepare it again")
        return cls(
            path=path,
            schema=Schema.model_validate(manifest["schema"]),
            manifest=manifest,
            users=_entities(path / "users"),
            items=_entities(path / "items"),
            events=Events(load(path / "events/codes.npy"), np.load(path / "events/offsets.npy")),
            splits={name: _impressions(path / name) for name in SPLITS},
            hidden=np.load(path / "users/hidden.npy"),
            hidden_in_validation=np.load(path / "users/hidden_in_validation.npy"),
            vocabularies=Vocabularies.open(path / "vocabularies"),
            moments=moments(manifest["dense"]),
        )

    def __repr__(self) -> str:
        rows = ", ".join(f"{len(split):,} {name}" for name, split in self.splits.items())
        return f"Dataset({str(self.path)!r}: {self.schema.name}, {rows} impressions)"

    @cached_property
    def fingerprint(self) -> str:
        """A text that changes with any of the dataset's files."""
        return json.dumps(self.manifest["files"], sort_keys=True)

    @cached_property
    def layout(self) -> "Layout":
        """Where its fields' embeddings lie."""
        return Layout.build(self.schema, self.vocabularies, self.moments)

    def verify(self) -> None:
        """Read all files and compare them with their checksums.

        Raises:
            DataError: with the files that are not as they were written.
        """
        files = self.manifest["files"].items()
        changed = [name for name, digest in files if checksum(self.path / name) != digest]
        if changed:
            raise DataError(
                f"{self.path}: {', '.join(changed)} differ from their checksums; prepare it again"
            )

    @property
    def has_ceiling(self) -> bool:
        """Whether new users were made by hiding behavior, which can then be shown."""
        return not isinstance(self.schema.new_users, NaturalRule)

    def is_hidden(self, split: str) -> np.ndarray:
        """[U] bool, whose behavior is not shown in a split."""
        return self.hidden_in_validation if split == "validation" else self.hidden

    def is_new(self, split: str) -> np.ndarray:
        """[N] bool, the rows of a split whose user has no visible behavior (Eq. 9)."""
        table = self.splits[split]
        is_new: np.ndarray = (table.pointer == 0) | self.is_hidden(split)[table.user]
        return is_new


def checksum(path: Path) -> str:
    """Return the checksum of a file, as the manifest has it; of no file an empty one."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def moments(dense_: Mapping[str, list[list[float]]]) -> Moments:
    """Read the moments of a manifest."""
    arrays = {name: np.array(value, np.float32).reshape(-1, 2) for name, value in dense_.items()}
    return Moments(users=arrays["users"], items=arrays["items"], context=arrays["train"])


def _entities(folder: Path) -> Entities:
    keys = read_arrow(folder / "keys.arrow").column("key")
    return Entities(keys, load(folder / "codes.npy"), load(folder / "dense.npy"))


def _impressions(folder: Path) -> Impressions:
    names = ("user", "item", "pointer", "labels", "codes", "dense", "references")
    return Impressions(**{name: load(folder / f"{name}.npy") for name in names})


@dataclass(frozen=True)
class Group:
    """The fields of one role and where their embeddings lie in the one table of all.

    Attributes:
        names: the fields, categorical ones first.
        starts: [categorical fields] the row of each one's id 0.
        dense_rows: [dense fields] the row with each one's vector.
        moments: [dense fields, 2] mean and standard deviation.
    """

    names: tuple[str, ...]
    starts: np.ndarray
    dense_rows: np.ndarray
    moments: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Layout:
    """Where each field's embeddings lie in one table [rows, d]; built once for a schema.

    One table makes one look-up and one sparse update a step, however many fields there are.

    Attributes:
        attributes: the user attributes.
        context: the context.
        target: the target item's fields.
        events: an event's fields, the action left out.
        action: the event's action; of no fields where there is none.
        shared: for each event field the position of its owner among the target's, or None.
        sizes: rows of each vocabulary, in the table's order, for the initialisation.
        id_attribute: the position of the user's id among the attributes, or None.
        hides_id: whether the rule hides new users' id.
        given: for each task the place of the one that it is given, or None.
    """

    attributes: Group
    context: Group
    target: Group
    events: Group
    action: Group
    shared: tuple[int | None, ...]
    sizes: tuple[int, ...]
    id_attribute: int | None
    hides_id: bool
    given: tuple[int | None, ...]

    @property
    def rows(self) -> int:
        """The table's rows."""
        return sum(self.sizes)

    @classmethod
    def build(cls, schema: Schema, vocabularies: Vocabularies, moments: Moments) -> Self:
        """Lay out one vocabulary after the other, then a row for each dense field."""
        names = list(vocabularies.values)
        sizes = [vocabularies.rows(name) for name in names]
        starts = dict(zip(names, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
        free = sum(sizes)
        groups: dict[str, Group] = {}
        none = np.zeros((0, 2), np.float32)
        for role, table, fields, moment in (
            ("attributes", "users", schema.users.fields, moments.users),
            ("context", "impressions", schema.impressions.context, moments.context),
            ("target", "items", schema.items.fields, moments.items),
            ("events", "events", schema.events.fields, none),
        ):
            groups[role] = _group(schema, table, fields, starts, free, moment)
            free += len(dense(fields))
        targets = [schema.vocabulary("items", field) for field in categorical(schema.items.fields)]
        actions = (schema.events.action,) if schema.events.action is not None else ()
        action_starts = np.array([starts[ACTION] for _ in actions], np.int64)
        owners = [schema.vocabulary("events", field) for field in schema.events.fields]
        return cls(
            attributes=groups["attributes"],
            context=groups["context"],
            target=groups["target"],
            events=groups["events"],
            action=Group(actions, action_starts, np.zeros(0, np.int64), none),
            shared=tuple(targets.index(name) if name in targets else None for name in owners),
            sizes=(*sizes, *(1 for group in groups.values() for _ in group.dense_rows)),
            id_attribute=0 if schema.users.id_attribute else None,
            hides_id=schema.strict,
            given=schema.given,
        )


def _group(
    schema: Schema,
    table: str,
    fields: tuple[Field, ...],
    starts: Mapping[str, int],
    free: int,
    moment: np.ndarray,
) -> Group:
    ids, numbers = categorical(fields), dense(fields)
    return Group(
        names=tuple(field.name for field in (*ids, *numbers)),
        starts=np.array([starts[schema.vocabulary(table, field)] for field in ids], np.int64),
        dense_rows=np.arange(free, free + len(numbers)),
        moments=moment,
    )
