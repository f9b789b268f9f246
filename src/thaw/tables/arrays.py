"""From staged tables to the dataset's arrays: sorted, encoded, with point-in-time pointers."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote

import ibis
import numpy as np
import pyarrow as pa
from ibis.expr import types as ir

from thaw.schema import Schema
from thaw.tables.rules import SPLITS
from thaw.tables.vocabularies import ACTION, Coding, categorical, dense, encode

ROWS_AT_A_TIME = 100_000
FIELDS_AT_A_TIME = 16  # as many vocabularies are in memory at once


@dataclass(frozen=True)
class Column:
    """One array of the dataset: its file's name, the staged columns side by side, and its type."""

    name: str
    sources: tuple[str, ...]
    dtype: type
    is_flat: bool = False


class Sink:
    """Arrays of one folder, written row by row from start to end; used as a context manager.

    Plain appending keeps memory flat: mapped output would count as the process's own.
    """

    def __init__(self, folder: Path, columns: Sequence[Column], rows: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.columns, self.rows = folder, columns, rows
        self.stack = ExitStack()
        self.files: dict[str, IO[bytes]] = {}

    def __enter__(self) -> Self:
        for column in self.columns:
            shape = (self.rows,) if column.is_flat else (self.rows, len(column.sources))
            file = self.stack.enter_context((self.folder / f"{column.name}.npy").open("wb"))
            header = {"descr": np.dtype(column.dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            self.files[column.name] = file
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def write(self, batch: pa.RecordBatch, **computed: np.ndarray) -> None:
        """Append a batch's rows."""
        for column in self.columns:
            values = computed.get(column.name)
            if values is None:
                values = _matrix(batch, column)
            self.files[column.name].write(np.ascontiguousarray(values, column.dtype).tobytes())


def _matrix(batch: pa.RecordBatch, column: Column) -> np.ndarray:
    """The batch's columns side by side; a missing number is NaN."""
    parts = [batch.column(source).to_numpy(zero_copy_only=False) for source in column.sources]
    return np.stack(parts, axis=1) if parts else np.zeros((batch.num_rows, 0), column.dtype)


def write_users(con: Any, schema: Schema, folder: Path) -> None:
    """Write the users' keys and attributes, and whose behavior is hidden."""
    fields = schema.users.fields
    rows = con.table("users")
    if "hidden" in rows.columns:
        rows = rows.drop("hidden")
    rows = rows.join(con.table("chosen"), "num")
    rows, columns = _encoded(con, schema, "users", rows, fields, "key")
    flags = [
        Column(name, (name,), np.bool_, is_flat=True) for name in ("hidden", "hidden_in_validation")
    ]
    _write(rows.order_by("num"), folder, [*columns, *flags])
    _write_keys(con, "users", folder)


def write_items(con: Any, schema: Schema, folder: Path) -> None:
    """Write the items' keys and features."""
    rows, columns = _encoded(con, schema, "items", con.table("items"), schema.items.fields, "key")
    _write(rows.order_by("num"), folder, columns)
    _write_keys(con, "items", folder)


def write_events(con: Any, schema: Schema, folder: Path, times: Path) -> None:
    """Write all events by user and time, where each user's begin, and (aside) their times."""
    rows, columns = _encoded(con, schema, "events", con.table("events"), schema.events.fields, None)
    sources = columns[0].sources
    if schema.events.action is not None:
        rows = encode(con, rows, [Coding("action", ACTION, "action_code")])
        sources = (*sources, "action_code")
    users = con.table("users").count().to_pyarrow().as_py()
    counts = np.zeros(users + 1, np.int64)
    kept = Column("codes", sources, np.int32)
    aside = Column("time", ("time",), np.int64, is_flat=True)
    ordered = rows.order_by("user", "time", "_file", "_line")
    total = _count(rows)
    with Sink(folder, [kept], total) as sink, Sink(times, [aside], total) as clock:
        for batch in _batches(ordered.select("user", "time", *sources)):
            sink.write(batch)
            clock.write(batch)
            user = batch.column("user").to_numpy()
            found = np.bincount(user - user[0])
            counts[user[0] + 1 :][: len(found)] += found
    np.save(folder / "offsets.npy", counts.cumsum())


def write_impressions(con: Any, schema: Schema, folder: Path, events: Path, times: Path) -> None:
    """Write each split's impressions by user and time, with their pointers into the events."""
    offsets = np.load(events / "offsets.npy")
    clock = load(times / "time.npy")
    for split in SPLITS:
        rows = con.table("assigned")
        rows = rows.filter(rows.split == split)
        rows, columns = _encoded(con, schema, "impressions", rows, schema.impressions.context, None)
        labels = tuple(f"label_{task.name}" for task in schema.tasks)
        references = tuple(f"reference_{name}" for name in schema.impressions.references)
        columns = [
            Column("user", ("user",), np.int32, is_flat=True),
            Column("item", ("item",), np.int32, is_flat=True),
            Column("pointer", (), np.int32, is_flat=True),
            Column("labels", labels, np.int8),
            Column("references", references, np.float64),
            *columns,
        ]
        ordered = rows.order_by("user", "time", "_file", "_line")
        with Sink(folder / split, columns, _count(rows)) as sink:
            for batch in _batches(ordered):
                user, time = (batch.column(name).to_numpy() for name in ("user", "time"))
                sink.write(batch, pointer=pointers(user, time, offsets, clock))


def pointers(
    user: np.ndarray, time: np.ndarray, offsets: np.ndarray, clock: np.ndarray
) -> np.ndarray:
    """Return, for each row, how many of the user's events lie strictly before its time.

    A bisection of all rows at once, each within its user's part of the events.

    Args:
        user: [B] user numbers.
        time: [B] microseconds.
        offsets: [U + 1], where each user's events begin.
        clock: [E] the events' times, sorted within each user.
    """
    first = offsets[user]
    low, high = first.copy(), offsets[user + 1]
    while (open_ := low < high).any():
        middle = (low + high) // 2
        earlier = np.zeros(len(user), bool)
        earlier[open_] = clock[middle[open_]] < time[open_]
        low = np.where(open_ & earlier, middle + 1, low)
        high = np.where(open_ & ~earlier, middle, high)
    found: np.ndarray = low - first
    return found


def load(path: Path) -> np.ndarray:
    """Open an array memory-mapped; one without rows or columns can't be mapped and is read."""
    is_empty = path.stat().st_size <= 128  # the header alone
    return np.load(path, mmap_mode=None if is_empty else "r")  # type: ignore[no-any-return]


def _encoded(
    con: Any, schema: Schema, table: str, rows: ir.Table, fields: Any, key: str | None
) -> tuple[ir.Table, list[Column]]:
    """Put codes for the categorical fields; return also the two arrays that hold the fields."""
    codings = []
    for field in categorical(fields):
        is_key = key is not None and field.name == getattr(schema, table).key
        source = key if is_key and key else f"field_{field.name}"
        codings.append(Coding(source, schema.vocabulary(table, field), f"code_{field.name}"))
    for start in range(0, len(codings), FIELDS_AT_A_TIME):
        if start > 0:  # so many look-ups nested are deeper than SQL can be written
            rows = con.create_table(f"encoded_{table}_{start}", rows, overwrite=True)
        rows = encode(con, rows, codings[start : start + FIELDS_AT_A_TIME])
    codes = tuple(f"code_{field.name}" for field in categorical(fields))
    numbers = tuple(f"field_{field.name}" for field in dense(fields))
    return rows, [Column("codes", codes, np.int32), Column("dense", numbers, np.float32)]


def _write(rows: ir.Table, folder: Path, columns: list[Column]) -> None:
    with Sink(folder, columns, _count(rows)) as sink:
        for batch in _batches(rows):
            sink.write(batch)


def _write_keys(con: Any, table: str, folder: Path) -> None:
    write_arrow(folder / "keys.arrow", con.table(table).order_by("num").select("key"))


def write_vocabularies(con: Any, names: list[str], folder: Path) -> None:
    """Write each vocabulary's values in the order of their ids."""
    folder.mkdir()
    for name in names:
        rows = con.table(f"vocabulary {name}").order_by("code").select("value")
        write_arrow(folder / f"{quote(name, safe=' ')}.arrow", rows)


def write_arrow(path: Path, rows: ir.Table) -> None:
    """Write rows as an Arrow file, which opens memory-mapped."""
    schema = rows.schema().to_pyarrow()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in _batches(rows):
            writer.write_batch(batch)


def read_arrow(path: Path) -> pa.Table:
    """Open an Arrow file memory-mapped."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _batches(rows: ir.Table) -> Iterator[pa.RecordBatch]:
    yield from rows.to_pyarrow_batches(chunk_size=ROWS_AT_A_TIME)


def _count(rows: ir.Table) -> int:
    return int(rows.aggregate(n=ibis._.count()).to_pyarrow().column("n")[0].as_py())
