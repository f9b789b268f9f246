"""A trained model with all it needs to answer: from raw ids and values to probabilities."""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import ibis
import numpy as np
import pyarrow as pa
import torch
from pyarrow import compute as pc

from thaw import checkpoint
from thaw.batch import Assembler, Rows
from thaw.data import Dataset, Entities, Events, Layout, Moments, Vocabularies, moments
from thaw.errors import DataError, TrainingError
from thaw.methods import MAIL, Method
from thaw.model import Model, build
from thaw.predicting import Predictions, predict
from thaw.rankers import RANKERS, RankerFactory
from thaw.schema import Field, Schema
from thaw.tables.columns import Column, typed
from thaw.tables.vocabularies import ACTION, MISSING, categorical, dense

REAL, VIRTUAL, NONE = "real", "virtual", "none"
"""Which behavior a score rests on: the user's own, the tower's, or none."""

BATCH = 4096

FARTHEST = 1e6
"""A number so many standard deviations from the mean says nothing, and counts as missing."""

READABLE = (
    pa.types.is_integer,
    pa.types.is_float32,
    pa.types.is_float64,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_timestamp,
    pa.types.is_date,
)
"""The types of columns that DuckDB reads as preparation does."""

UNREADABLE = (pa.ArrowException, OverflowError)
"""What Arrow raises for values whose types it can't read, or can't read together."""


@dataclass(frozen=True)
class _Tables:
    """What the assembler reads, here for users and items that arrive with a request."""

    schema: Schema
    users: Entities
    items: Entities
    events: Events


@dataclass(frozen=True)
class Recommender:
    """A trained model, its schema and its vocabularies.

    Attributes:
        model: the towers.
        schema: what the tables look like.
        vocabularies: which values have ids.
        moments: how dense fields are standardised.
        facts: how it was trained, as in 'run.json', and how it did on validation.
        dataset: where known users' attributes and behavior are looked up, or None.
    """

    model: Model
    schema: Schema
    vocabularies: Vocabularies
    moments: Moments
    facts: Mapping[str, Any]
    dataset: Dataset | None = None

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        dataset: Dataset | None = None,
        ranker: RankerFactory | None = None,
    ) -> Self:
        """Load a run's best model.

        Args:
            folder: the run's folder.
            dataset: where known users are looked up; by default the one that it was trained on,
                if it is still where it was.
            ranker: what builds the ranker, for one of your own.

        Raises:
            TrainingError: when there is no model, or its ranker is not known.
            DataError: when `dataset` is another one than it was trained on.
        """
        folder = Path(folder)
        if not (folder / "run.json").exists():
            raise TrainingError(f"{folder}: no run here; make one with 'thaw train'")
        facts = json.loads((folder / "run.json").read_text())
        found = checkpoint.read(folder, "model")
        if found is None:
            raise TrainingError(f"{folder}: no finished epoch yet; resume the run")
        tensors, best = found
        schema = Schema.model_validate(facts["schema"])
        vocabularies = Vocabularies.open(folder / "vocabularies")
        layout = Layout.build(schema, vocabularies, moments(facts["dense"]))
        options = facts["training"]
        model = build(
            _method(facts["method"], ranker),
            layout,
            dim=options["dim"],
            max_events=options["max_events"],
            tasks=len(schema.tasks),
            seed=0,
        )
        model.load_state_dict(tensors)
        model.eval()
        known = _known(facts) if dataset is None else _same(facts, dataset)
        return cls(
            model, schema, vocabularies, moments(facts["dense"]), facts | {"best": best}, known
        )

    def predict(self, dataset: Dataset, split: str, *, hides_behavior: bool = True) -> Predictions:
        """Return the predictions for a split of the dataset that it was trained on.

        Raises:
            DataError: when `dataset` is another one.
        """
        return predict(self.model, _same(self.facts, dataset), split, hides_behavior=hides_behavior)

    def score(
        self,
        users: object,
        items: object,
        *,
        context: Mapping[str, object] | None = None,
        events: object | None = None,
    ) -> pa.Table:
        """Return a row for each pair of a user and an item, and which behavior it rests on.

        No value makes it fail: ids and values that training never saw count as unknown, columns
        that are left out as missing, and so do numbers more than FARTHEST standard deviations
        away. What the dataset knows of a user or an item fills in for columns that are left out.

        Args:
            users: a pandas, Polars or Arrow table or a list of dicts with the users' key and
                attributes, or a list of ids.
            items: the same for items.
            context: one value for each context field, for all pairs.
            events: a table with the users' events, in the schema's columns; without it, users that
                the dataset knows have the behavior that it knows of.

        Returns:
            A table with U x I rows, user by user: 'user', 'item', a probability for each task by
            its name, and 'behavior': 'real', 'virtual' or 'none'.

        Raises:
            DataError: when a table lacks its key column, or events lack one of theirs.
        """
        schema, known = self.schema, self.dataset
        given_users = self._entities("users", users, known)
        given_items = self._entities("items", items, known)
        behavior = self._events(events, given_users.keys)
        tables = _Tables(schema, given_users, given_items, behavior)
        num_users, num_items = len(given_users), len(given_items)
        user = np.repeat(np.arange(num_users), num_items)
        item = np.tile(np.arange(num_items), num_users)
        codes, values = self._context(context or {})
        assembler = Assembler(tables, self._layout, max_events=self.model.max_events)
        probabilities = np.zeros((len(user), len(schema.tasks)), np.float32)
        count = behavior.offsets[1:] - behavior.offsets[:-1]
        for low in range(0, len(user), BATCH):
            part = slice(low, low + BATCH)
            size = len(user[part])
            rows = Rows(
                user=user[part],
                item=item[part],
                pointer=count[user[part]],
                hidden=np.zeros(size, bool),
                codes=np.repeat(codes, size, axis=0),
                dense=np.repeat(values, size, axis=0),
                labels=np.zeros((size, len(schema.tasks)), np.float32),
            )
            with torch.inference_mode():
                probabilities[part] = self.model(assembler.batch(rows)).numpy()
        fallback = NONE if self.model.tower is None else VIRTUAL
        tasks = {task.name: probabilities[:, index] for index, task in enumerate(schema.tasks)}
        return pa.table({
            "user": given_users.keys.take(pa.array(user)),
            "item": given_items.keys.take(pa.array(item)),
            **tasks,
            "behavior": np.where(count[user] > 0, REAL, fallback),
        })  # fmt: skip

    @cached_property
    def _layout(self) -> Layout:
        return Layout.build(self.schema, self.vocabularies, self.moments)

    @cached_property
    def _engine(self) -> Any:
        """DuckDB types the values of a request by the rules of preparation."""
        return ibis.duckdb.connect()

    def _entities(self, table: str, given: object, known: Dataset | None) -> Entities:
        declared = getattr(self.schema, table)
        key, fields = declared.key, declared.fields
        rows = _arrow(table, given, [key])
        columns = [Column(key, "text", "key")]
        columns += [
            _column(field)
            for field in fields
            if field.name in rows.column_names and field.name != key
        ]
        values = self._typed(rows, columns)
        keys = values.column("key")
        stored: Entities | None = getattr(known, table) if known is not None else None
        place = _places(keys, stored.keys if stored is not None else None)
        codes = np.zeros((len(rows), len(categorical(fields))), np.int32)
        numbers = np.full((len(rows), len(dense(fields))), np.nan)
        for index, field in enumerate(categorical(fields)):
            name = "key" if field.name == key else f"field_{field.name}"
            if name in values.column_names:
                vocabulary = self.schema.vocabulary(table, field)
                codes[:, index] = self.vocabularies.encode(vocabulary, values.column(name))
            elif stored is not None:
                codes[:, index] = np.where(place >= 0, stored.codes[place, index], MISSING)
        for index, field in enumerate(dense(fields)):
            name = f"field_{field.name}"
            if name in values.column_names:
                numbers[:, index] = values.column(name).to_numpy()
            elif stored is not None:
                numbers[:, index] = np.where(place >= 0, stored.dense[place, index], np.nan)
        return Entities(keys, codes, _near(numbers, getattr(self.moments, table)))

    def _events(self, given: object | None, keys: pa.ChunkedArray) -> Events:
        """The users' behavior: as given, or as the dataset knows it."""
        if given is not None:
            stored, owners = self._given_events(given)
        elif self.dataset is not None:
            stored, owners = self.dataset.events, self.dataset.users.keys
        else:
            width = len(self.schema.events.fields) + (self.schema.events.action is not None)
            return Events(np.zeros((0, width), np.int32), np.zeros(len(keys) + 1, np.int64))
        place = _places(keys, owners)
        starts = np.where(place >= 0, stored.offsets[place], 0)
        lengths = np.where(place >= 0, stored.offsets[place + 1] - starts, 0)
        offsets = np.concatenate([[0], lengths.cumsum()])
        index = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Events(stored.codes[index], offsets)

    def _given_events(self, given: object) -> tuple[Events, pa.Array]:
        """A request's events by user and time, and the users they are of."""
        declared = self.schema.events
        by_item = declared.item is not None
        columns = [Column(declared.user, "text", "user"), Column(declared.time, "time", "time")]
        columns += [Column(declared.item, "text", "item")] if declared.item is not None else []
        columns += [] if by_item else [_column(field) for field in declared.fields]
        columns += [Column(declared.action, "text", "action")] if declared.action else []
        rows = _arrow("events", given, [column.name for column in columns])
        values = self._typed(rows, columns).sort_by("time")
        values = values.filter(pc.is_valid(values.column("user")))
        owners = values.column("user").unique()
        owner = _places(values.column("user"), owners)
        counts = np.bincount(owner, minlength=len(owners))
        codes = self._event_codes(values)[np.argsort(owner, kind="stable")]
        return Events(codes, np.concatenate([[0], counts.cumsum()])), owners

    def _event_codes(self, values: pa.Table) -> np.ndarray:
        declared = self.schema.events
        if declared.item is not None:
            item = pa.table({self.schema.items.key: values.column("item")})
            entities = self._entities("items", item, self.dataset)
            names = [field.name for field in categorical(self.schema.items.fields)]
            parts = [entities.codes[:, names.index(field.name)] for field in declared.fields]
        else:
            parts = [self._codes("events", field, values) for field in declared.fields]
        if declared.action is not None:
            parts.append(self.vocabularies.encode(ACTION, values.column("action")))
        return np.stack(parts, axis=1)

    def _context(self, given: Mapping[str, object]) -> tuple[np.ndarray, np.ndarray]:
        """One row of context: ids [1, fields] and values [1, fields]."""
        fields = self.schema.impressions.context
        names = [field.name for field in fields]
        unknown = [name for name in given if name not in names]
        if unknown:
            raise DataError(f"context: no field {', '.join(unknown)}; there are {', '.join(names)}")
        row = pa.table({name: _array([value]) for name, value in given.items()} | {"_": [0]})
        values = self._typed(row, [_column(field) for field in fields if field.name in given])
        codes = [
            int(self._codes("impressions", field, values)[0]) if field.name in given else MISSING
            for field in categorical(fields)
        ]
        numbers = [
            values.column(f"field_{field.name}")[0].as_py() if field.name in given else None
            for field in dense(fields)
        ]
        near = _near(np.array([numbers], np.float64), self.moments.context)
        return np.array([codes], np.int32), near

    def _codes(self, table: str, field: Field, values: pa.Table) -> np.ndarray:
        """The ids of a field's values, which `_typed` has read."""
        vocabulary = self.schema.vocabulary(table, field)
        return self.vocabularies.encode(vocabulary, values.column(f"field_{field.name}"))

    def _typed(self, rows: pa.Table, columns: list[Column]) -> pa.Table:
        """Read columns by the rules of preparation; what breaks a rule is missing."""
        table = pa.table({
            **{column.name: _readable(rows.column(column.name)) for column in columns},
            "_line": np.arange(len(rows)),
            "_fault": pa.nulls(len(rows), pa.string()),
        })  # fmt: skip
        name = ibis.util.gen_name("request")
        try:
            staged = self._engine.create_table(name, table)
            return typed(staged, columns).order_by("_line").to_pyarrow()
        finally:
            self._engine.drop_table(name, force=True)


def _method(facts: Mapping[str, Any], ranker: RankerFactory | None) -> Method:
    mail = facts["mail"]
    if mail is not None:
        tuples = {name: tuple(value) for name, value in mail.items() if isinstance(value, list)}
        mail = MAIL(**mail | tuples)
    if ranker is None and facts["ranker"] not in RANKERS:
        raise TrainingError(
            f"the ranker {facts['ranker']!r} does not ship with thaw; pass it as `ranker`"
        )
    return Method(facts["name"], ranker or facts["ranker"], mail, facts["behavior_dropout"])


def _arrow(name: str, given: object, needed: list[str]) -> pa.Table:
    """The rows of a request as an Arrow table with the columns that it needs, the key first."""
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        records = [value if isinstance(value, Mapping) else {needed[0]: value} for value in given]
        names = dict.fromkeys(name for record in records for name in record)
        given = {name: [record.get(name) for record in records] for name in names or needed}
    try:
        rows = _table(given)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"{name}: a {type(given).__name__} is no table that Arrow can read ({error})"
        ) from None
    missing = [column for column in needed if column not in rows.column_names]
    if missing:
        there = ", ".join(rows.column_names)
        raise DataError(f"{name}: no column {', '.join(missing)}; there are {there}")
    return rows


def _table(given: Any) -> pa.Table:
    try:
        return pa.table(given)
    except UNREADABLE:
        if not isinstance(given, Mapping) and not hasattr(given, "columns"):
            raise
        return pa.table({str(name): _array(given[name]) for name in given})


def _array(values: Any) -> pa.Array:
    """Values of any types: ids are texts in the end, so a mixture is read as texts."""
    try:
        return pa.array(values)
    except UNREADABLE:
        return _texts(values)


def _texts(values: Iterable[Any]) -> pa.Array:
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    """The text of a value as preparation has it: 5, 5.0 and '5' are the same."""
    with contextlib.suppress(*UNREADABLE):
        value = pa.scalar(value, from_pandas=True).as_py()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else str(value)


def _readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as it is if DuckDB reads its type, as texts if not."""
    if any(is_kind(column.type) for is_kind in READABLE):
        return column
    return pa.chunked_array([_texts(column.to_pylist())])


def _near(numbers: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Numbers [N, fields] as float32, those that would drown all else as missing."""
    mean, deviation = moments.astype(np.float64).T
    is_near = np.abs(numbers - mean) <= FARTHEST * deviation
    return np.where(is_near, numbers, np.nan).astype(np.float32)


def _column(field: Field) -> Column:
    role = "text" if field.kind == "categorical" else "number"
    return Column(field.name, role, f"field_{field.name}")


def _places(keys: pa.ChunkedArray, stored: pa.ChunkedArray | pa.Array | None) -> np.ndarray:
    """[N] where each key stands among the stored ones, -1 where it does not."""
    if stored is None:
        return np.full(len(keys), -1)
    if isinstance(stored, pa.ChunkedArray):
        stored = stored.combine_chunks()
    return np.asarray(pc.fill_null(pc.index_in(keys, value_set=stored), -1))


def _same(facts: Mapping[str, Any], dataset: Dataset) -> Dataset:
    """The dataset, if the model was trained on it: in another one the same ids mean others."""
    if dataset.fingerprint != facts["fingerprint"]:
        raise DataError(
            f"{dataset.path}: not the dataset that the model was trained on, "
            f"which was in {facts['dataset']}"
        )
    return dataset


def _known(facts: Mapping[str, Any]) -> Dataset | None:
    """The dataset that the model was trained on, if it is still where it was."""
    with contextlib.suppress(DataError):
        return _same(facts, Dataset.open(facts["dataset"]))
    return None
