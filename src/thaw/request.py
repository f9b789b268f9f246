"""The tables of a request, read by the rules of preparation; no value in them is refused."""

import dataclasses
import difflib
import threading
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from thaw.data import Dataset, Entities, Events, Moments, Vocabularies
from thaw.errors import DataError
from thaw.schema import Field, Schema
from thaw.tables.columns import Column, read
from thaw.tables.lookup import Lookup
from thaw.tables.memory import is_list, to_array, to_arrow, to_texts
from thaw.tables.vocabularies import ACTION, MISSING, categorical, dense

FARTHEST = 1e6
"""A number so many standard deviations from the mean says nothing, and counts as missing."""

REQUEST = "request"
"""The name that a request's table has for DuckDB."""

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


@dataclass(frozen=True)
class Reader:
    """Reads users, items, events and context that arrive with a request.

    Attributes:
        schema: what the tables look like.
        vocabularies: which values have ids.
        moments: how dense fields are standardised.
        dataset: where known users and items are looked up, or None.
    """

    schema: Schema
    vocabularies: Vocabularies
    moments: Moments
    dataset: Dataset | None
    # Several threads may score at once; one connection serves one at a time.
    _alone: threading.Lock = dataclasses.field(
        default_factory=threading.Lock, repr=False, compare=False
    )

    @cached_property
    def _engine(self) -> Any:
        """DuckDB types the values of a request by the rules of preparation."""
        # One thread: requests are small, and a server has threads of its own.
        return ibis.duckdb.connect(threads=1).con

    def entities(self, table: str, given: object) -> Entities:
        """Return the users or items of a request; the dataset fills columns that are left out.

        Raises:
            DataError: when `given` is no table, or lacks its key column.
        """
        declared = getattr(self.schema, table)
        key, fields = declared.key, declared.fields
        given = _rows(given)
        rows = _arrow(table, given, [key])
        _warn_of_misspelt(table, rows.column_names, [key, *(field.name for field in fields)])
        columns = [Column(key, "text", "key")]
        columns += [
            _column(field)
            for field in fields
            if field.name in rows.column_names and field.name != key
        ]
        values = self._typed(rows, columns)
        keys = values.column("key")
        stored: Entities | None = getattr(self.dataset, table) if self.dataset is not None else None
        place = np.full(len(keys), -1) if stored is None else stored.places.find(keys)
        codes = np.zeros((len(rows), len(categorical(fields))), np.int32)
        numbers = np.full((len(rows), len(dense(fields))), np.nan)
        for index, field in enumerate(categorical(fields)):
            name = "key" if field.name == key else f"field_{field.name}"
            if name in values.column_names:
                vocabulary = self.schema.vocabulary(table, field)
                codes[:, index] = self.vocabularies.encode(vocabulary, values.column(name))
            if stored is not None:
                is_filled = _is_left_out(given, field.name, rows) & (place >= 0)
                codes[:, index] = np.where(is_filled, stored.codes[place, index], codes[:, index])
        for index, field in enumerate(dense(fields)):
            name = f"field_{field.name}"
            if name in values.column_names:
                numbers[:, index] = values.column(name).to_numpy()
                _warn_of_no_numbers(table, field.name, rows, numbers[:, index])
            if stored is not None:
                is_filled = _is_left_out(given, field.name, rows) & (place >= 0)
                stored_numbers = stored.dense[place, index]
                numbers[:, index] = np.where(is_filled, stored_numbers, numbers[:, index])
        return Entities(keys, codes, _near(numbers, getattr(self.moments, table)))

    def is_bare(self, table: str, found: Entities) -> bool:
        """Whether nothing but ids is known of users or items that could have more."""
        declared = getattr(self.schema, table)
        names = [field.name for field in categorical(declared.fields)]
        others = found.codes[:, [name != declared.key for name in names]]
        could_have = others.size + found.dense.size > 0
        return could_have and bool((others == MISSING).all() and np.isnan(found.dense).all())

    def events(self, given: object | None, keys: pa.ChunkedArray) -> Events:
        """Return the behavior of the users with these keys: as given, or as the dataset knows it.

        Raises:
            DataError: when `given` is no table, or lacks a column.
        """
        if given is not None:
            stored, owners = self._given_events(given)
        elif self.dataset is not None:
            stored, owners = self.dataset.events, self.dataset.users.places
        else:
            width = len(self.schema.events.fields) + (self.schema.events.action is not None)
            return Events(np.zeros((0, width), np.int32), np.zeros(len(keys) + 1, np.int64))
        place = owners.find(keys)
        starts = np.where(place >= 0, stored.offsets[place], 0)
        lengths = np.where(place >= 0, stored.offsets[place + 1] - starts, 0)
        offsets = np.concatenate([[0], lengths.cumsum()])
        index = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Events(stored.codes[index], offsets)

    def _given_events(self, given: object) -> tuple[Events, Lookup]:
        """A request's events by user and time, and where the users they are of stand."""
        declared = self.schema.events
        by_item = declared.item is not None
        columns = [
            Column(declared.user, "text", "user"),
            Column(declared.time, "event time", "time"),
        ]
        columns += [Column(declared.item, "text", "item")] if declared.item is not None else []
        columns += [] if by_item else [_column(field) for field in declared.fields]
        columns += [Column(declared.action, "text", "action")] if declared.action else []
        rows = _arrow("events", _rows(given), [column.name for column in columns])
        values = self._typed(rows, columns).sort_by("time")
        is_whole = pc.and_(pc.is_valid(values.column("user")), pc.is_valid(values.column("time")))
        values = values.filter(is_whole)
        if len(values) < len(rows):
            warnings.warn(
                f"events: {len(rows) - len(values)} of {len(rows)} are left out, for lack of a "
                f"{declared.user!r}, or of a {declared.time!r} that is a timestamp or seconds",
                stacklevel=4,
            )
        owners = Lookup(values.column("user").unique())
        owner = owners.find(values.column("user"))
        counts = np.bincount(owner, minlength=len(owners.values))
        codes = self._event_codes(values)[np.argsort(owner, kind="stable")]
        return Events(codes, np.concatenate([[0], counts.cumsum()])), owners

    def _event_codes(self, values: pa.Table) -> np.ndarray:
        declared = self.schema.events
        if declared.item is not None:
            own = {field.name for field in declared.fields} - {self.schema.items.key}
            if self.dataset is None and own:
                raise DataError(
                    "events: their fields are looked up in the dataset, which is no longer where "
                    "it was; load the model with `dataset`"
                )
            item = pa.table({self.schema.items.key: values.column("item")})
            entities = self.entities("items", item)
            names = [field.name for field in categorical(self.schema.items.fields)]
            parts = [entities.codes[:, names.index(field.name)] for field in declared.fields]
        else:
            parts = [self._codes("events", field, values) for field in declared.fields]
        if declared.action is not None:
            parts.append(self.vocabularies.encode(ACTION, values.column("action")))
        return np.stack(parts, axis=1)

    def context(self, given: Mapping[str, object]) -> tuple[np.ndarray, np.ndarray]:
        """Return one row of context: ids [1, fields] and values [1, fields].

        Raises:
            DataError: for a field that the schema does not have.
        """
        fields = self.schema.impressions.context
        names = [field.name for field in fields]
        if not isinstance(given, Mapping):
            raise DataError(f"context: {given!r} is no dict of one value for each field")
        unknown = [name for name in given if name not in names]
        if unknown:
            raise DataError(
                f"context: no field {', '.join(unknown)}; there are {', '.join(names) or 'none'}"
            )
        several = [name for name, value in given.items() if is_list(value)]
        if several:
            raise DataError(f"context: {', '.join(several)}: one value, for all pairs")
        row = pa.table({name: to_array([value]) for name, value in given.items()} | {"_": [0]})
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
        })  # fmt: skip
        if not columns:
            return table
        reading = _reading(table.schema, tuple(columns))
        with self._alone:
            self._engine.register(REQUEST, table)
            try:
                return self._engine.execute(reading).fetch_arrow_table()
            finally:
                self._engine.unregister(REQUEST)


@lru_cache(maxsize=256)
def _reading(types: pa.Schema, columns: tuple[Column, ...]) -> str:
    """The SQL that reads columns of some types: to write it takes longer than to run it."""
    rows = ibis.table(ibis.Schema.from_pyarrow(types), name=REQUEST)
    return str(ibis.to_sql(rows.order_by("_line").select(**read(rows, columns)), dialect="duckdb"))


def _warn_of_misspelt(table: str, given: list[str], declared: list[str]) -> None:
    """Other columns than the declared are ignored; one that looks like a missing one is told."""
    missing = {name.casefold(): name for name in declared if name not in given}
    for name in set(given) - set(declared):
        for close in difflib.get_close_matches(name.casefold(), missing, n=1):
            warnings.warn(
                f"{table}: column {name!r} is ignored, and {missing[close]!r} counts as missing; "
                f"if they are the same, rename it",
                stacklevel=4,
            )


def _warn_of_no_numbers(table: str, name: str, rows: pa.Table, numbers: np.ndarray) -> None:
    """Texts that are no numbers count as missing; a column of nothing else is told."""
    if not np.isnan(numbers).all():
        return
    texts = [each for each in rows.column(name).to_pylist() if isinstance(each, str) and each]
    if texts:
        warnings.warn(
            f"{table}: no value of {name!r} is a number, as {texts[0]!r}; all count as missing",
            stacklevel=4,
        )


def _is_left_out(given: object, name: str, rows: pa.Table) -> np.ndarray:
    """[N] bool, the rows that say nothing of a column: in a list of dicts each for itself."""
    if is_list(given):
        return np.array([not isinstance(row, Mapping) or name not in row for row in given], bool)
    return np.full(len(rows), name not in rows.column_names)


def _is_record(given: object) -> bool:
    """Whether a mapping is one row, not a table of columns."""
    return isinstance(given, Mapping) and not any(
        hasattr(value, "__len__") and not isinstance(value, str | bytes) for value in given.values()
    )


def _arrow(name: str, given: Any, needed: list[str]) -> pa.Table:
    """The rows of a request as an Arrow table with the columns that it needs, the key first."""
    if isinstance(given, str | bytes):
        raise DataError(f"{name}: {given!r} is one value; pass a list, [{given!r}]")
    if is_list(given):
        records = [value if isinstance(value, Mapping) else {needed[0]: value} for value in given]
        given = records or {column: [] for column in needed}
    try:
        rows = to_arrow(given)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"{name}: a {type(given).__name__} is no table that Arrow can read ({error}); pass a "
            "pandas, Polars or Arrow table, a list of dicts, or a list of ids"
        ) from None
    again = [column for column, count in Counter(rows.column_names).items() if count > 1]
    if again:
        raise DataError(f"{name}: column {', '.join(again)} stands there twice; keep one of each")
    missing = [column for column in needed if column not in rows.column_names]
    if missing:
        there = ", ".join(rows.column_names)
        raise DataError(f"{name}: no column {', '.join(missing)}; there are {there}")
    return rows


def _rows(given: Any) -> Any:
    """One dict as a list of it, and a column of ids, from whatever library, as a list."""
    if _is_record(given):
        return [given]
    if isinstance(given, pa.Array | pa.ChunkedArray):
        return given.to_pylist()
    if getattr(given, "ndim", None) == 1 and hasattr(given, "tolist"):  # NumPy, pandas
        return given.tolist()
    return given.to_list() if hasattr(given, "to_list") else given  # Polars


def _readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as it is if DuckDB reads its type, as texts if not."""
    if any(is_kind(column.type) for is_kind in READABLE):
        return column
    return pa.chunked_array([to_texts(column.to_pylist())])


def _near(numbers: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Numbers [N, fields] as float32, those that would drown all else as missing."""
    mean, deviation = moments.astype(np.float64).T
    is_near = np.abs(numbers - mean) <= FARTHEST * deviation
    return np.where(is_near, numbers, np.nan).astype(np.float32)


def _column(field: Field) -> Column:
    role = "text" if field.kind == "categorical" else "number"
    return Column(field.name, role, f"field_{field.name}")
