"""The four tables, typed, in one DuckDB file: good rows apart from rejects."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import ibis
import numpy as np
import pyarrow as pa
from ibis import _
from ibis.expr import types as ir

from thaw.errors import DataError
from thaw.schema import ColumnRule, ColumnSplit, Field, Schema
from thaw.tables.columns import DAY, Column, as_text, reject, typed
from thaw.tables.sources import TABLES, parts

AGES = 10 * 365 * DAY
"""So far apart, events and impressions are not of one log."""

DATED = 0.1
"""A share of events at midnight that times by the hour, or finer, do not have."""

ALONE = 0.75
"""A local midnight's share of the events at whole quarters of an hour, which no hour has."""

CLOCK = f"(time % {DAY} + {DAY}) % {DAY}"
"""The time of day in UTC, in microseconds; times before 1970 are negative."""

ADDED = -1
"""The file's number of rows that stand in no file."""

Derive = Callable[[str, ir.Table], ir.Table]
"""What a known data set adds to its raw tables: (table's name, rows) to rows."""


@dataclass(frozen=True)
class Inputs:
    """What preparation starts from: the schema, and either a data folder or tables in memory."""

    schema: Schema
    data: Path
    tables: Mapping[str, object] | None = None
    derive: Derive | None = None


def stage(con: Any, inputs: Inputs) -> None:
    """Fill the tables 'users', 'items', 'impressions', 'events' and 'rejects'.

    Raises:
        DataError: when a file or a column is not there.
    """
    con.create_table("rejects", schema=ibis.schema(
        {"table": "string", "file": "string", "line": "int64", "reason": "string"}
    ))  # fmt: skip
    counts = {name: _stage_table(con, inputs, name) for name in TABLES}
    con.create_table("read", pa.table({"table": list(counts), "rows": list(counts.values())}))
    _date_events(con)
    _check_clocks(con, inputs.schema)


def _date_events(con: Any) -> None:
    """Where many events are at a midnight these are dated by days: each counts as its day's end.

    Dates alone do so already, but many tools write them as timestamps; as such they would be seen
    by what was shown earlier on their day. A few times among them, of another source, change
    nothing of that.
    """
    found = ", ".join(map(str, _midnights(con)))
    if found:
        con.raw_sql(f"UPDATE events SET time = time + {DAY - 1} WHERE {CLOCK} IN ({found})")


def _midnights(con: Any) -> set[int]:
    """The midnights in UTC, as CLOCK, that events are dated by: UTC's own, or a place's.

    A place's lies at a whole quarter of an hour, and an hour away in another season. Where times
    are by the hour, the fullest hour may have as many events; but then other hours have some too.
    """
    least = DATED * con.table("events").count().to_pyarrow().as_py()
    quarters = f"SELECT {CLOCK} AS clock, count(*) FROM events WHERE time % {DAY // 96} = 0"
    counts = dict(con.raw_sql(f"{quarters} GROUP BY clock").fetchall())
    found = {0} if counts.get(0, 0) > least else set()
    fullest = max(counts, key=lambda clock: (counts[clock], -clock), default=0)
    if counts.get(fullest, 0) > least:
        place = {(fullest + hours * DAY // 24) % DAY for hours in (-1, 0, 1)}
        if sum(counts.get(clock, 0) for clock in place) > ALONE * sum(counts.values()):
            found |= place
    return found


def _check_clocks(con: Any, schema: Schema) -> None:
    """Refuse events and impressions that are ages apart: their times are in different units."""
    found = spans(con)
    if len(found) < 2:
        return
    (first_shown, last_shown), (first_done, last_done) = found["impressions"], found["events"]
    if max(first_shown - last_done, first_done - last_shown) > AGES:
        clocks = {"impressions": schema.impressions.time, "events": schema.events.time}
        told = " and ".join(
            f"{name}.{clocks[name]} from {date(first)} to {date(last)}"
            for name, (first, last) in found.items()
        )
        raise DataError(f"times: {told}; one of the two columns is in another unit")


def spans(con: Any) -> dict[str, tuple[int, int]]:
    """Return the first and the last time of the good impressions, and of the good events."""
    found = {}
    for name in ("impressions", "events"):
        ends = con.table(name).aggregate(first=_.time.min(), last=_.time.max()).to_pyarrow()
        found[name] = tuple(ends.to_pylist()[0].values())
    return {name: ends for name, ends in found.items() if ends[0] is not None}


def date(time: int) -> str:
    """The day of a time in microseconds, as 2024-12-31."""
    return str(np.datetime64(time, "us").astype("datetime64[D]"))


def columns(schema: Schema, name: str) -> list[Column]:
    """The columns that the schema reads from one of its tables."""
    if name == "users":
        rule = schema.new_users
        flag = [Column(rule.column, "flag", "hidden")] if isinstance(rule, ColumnRule) else []
        own = [Column(schema.users.key, "key", "key"), *flag]
        return own + _fields(schema.users.attributes)
    if name == "items":
        return [Column(schema.items.key, "key", "key"), *_fields(schema.items.features)]
    if name == "events":
        return _event_columns(schema)
    table = schema.impressions
    split = schema.split
    return [
        Column(table.user, "key", "user"),
        Column(table.item, "key", "item"),
        Column(table.time, "time", "time"),
        *(Column(task.label, "label", f"label_{task.name}") for task in schema.tasks),
        *(Column(name, "number", f"reference_{name}") for name in table.references),
        *([Column(split.column, "text", "split")] if isinstance(split, ColumnSplit) else []),
        *_fields(table.context),
    ]


def _event_columns(schema: Schema) -> list[Column]:
    events = schema.events
    result = [Column(events.user, "key", "user"), Column(events.time, "event time", "time")]
    if events.item is not None:
        result.append(Column(events.item, "key", "item"))
    else:
        result += _fields(events.fields)
    if events.action is not None:
        result.append(Column(events.action, "text", "action"))
    return result


def _fields(fields: tuple[Field, ...]) -> list[Column]:
    roles = {"categorical": "text", "dense": "number"}
    return [Column(field.name, roles[field.kind], f"field_{field.name}") for field in fields]


def _stage_table(con: Any, inputs: Inputs, name: str) -> int:
    """Stage one table; return how many rows were read."""
    source = name if name != "events" else inputs.schema.events.table
    wanted = columns(inputs.schema, name)
    for number, part in enumerate(parts(con, inputs.schema, source, inputs.data, inputs.tables)):
        rows = inputs.derive(source, part.rows) if inputs.derive else part.rows
        _check_columns(name, part.origin, wanted, rows)
        found = typed(rows, wanted).mutate(_file=ibis.literal(number, "int32"))
        if number == 0:
            _fill(con.create_table, f"raw_{name}", found, part.origin)
            con.create_table(
                f"files_{name}", schema=ibis.schema({"_file": "int32", "file": "string"})
            )
        else:
            _fill(con.insert, f"raw_{name}", found, part.origin)
        con.insert(
            f"files_{name}",
            pa.table({"_file": pa.array([number], pa.int32()), "file": [part.origin]}),
        )
    if name == "users" and inputs.schema.users.complete:
        _complete_users(con, inputs)
    checked = _checked(con, inputs.schema, name, con.table(f"raw_{name}"))
    con.create_table(f"checked_{name}", checked)
    con.drop_table(f"raw_{name}")
    return _part_from_rejects(con, name, is_copy=source != name)


def _complete_users(con: Any, inputs: Inputs) -> None:
    """Add the users of the impressions who have no good row, with their key alone."""
    schema = inputs.schema
    column = schema.impressions.user
    for part in parts(con, schema, "impressions", inputs.data, inputs.tables):
        rows = inputs.derive("impressions", part.rows) if inputs.derive else part.rows
        _check_columns("impressions", part.origin, [Column(column, "key", "user")], rows)
        users = con.table("raw_users")
        keys = rows.filter(_._fault.isnull()).select(key=as_text(rows[column])).distinct()
        known = users.filter(_._reason.isnull())
        added = keys.filter(_.key.notnull()).anti_join(known, "key")
        # Who has no row has no flag either, and is not hidden.
        own = {"_file": ibis.literal(ADDED), "hidden": ibis.literal(0)}
        blank = {
            name: own.get(name, ibis.null()).cast(kind)
            for name, kind in users.schema().items()
            if name != "key"
        }
        rows = added.mutate(**blank).select(users.columns)
        _fill(con.insert, "raw_users", rows, part.origin)


def _fill(fill: Callable[[str, ir.Table], object], name: str, rows: ir.Table, origin: str) -> None:
    """Read a file's rows into a table; text that is not even lines is told with its file."""
    try:
        fill(name, rows)
    except duckdb.InvalidInputException as error:
        lines = itertools.takewhile(str.strip, str(error).splitlines())
        told = " ".join(line[:100] for line in lines if not line.startswith(("Possible", "*")))
        raise DataError(
            f"{origin}: {told}; check csv.encoding, and that all lines end alike"
        ) from None


def _check_columns(name: str, origin: str, wanted: list[Column], rows: ir.Table) -> None:
    """Refuse a table that lacks columns, or whose columns hold what is no single value."""
    missing = [column.name for column in wanted if column.name not in rows.columns]
    if missing:
        there = [column for column in rows.columns if not column.startswith("_")]
        told = f"{name}: {origin} has no column {', '.join(missing)}; it has {', '.join(there)}"
        if len(there) == 1 and len(wanted) > 1:
            told += f", a single one: is {name}.csv.delimiter right?"
        raise DataError(told)
    for column in wanted:
        kind = rows[column.name].type()
        if kind.is_nested() or kind.is_binary() or kind.is_interval():
            raise DataError(
                f"{name}: {origin} has {kind} in column {column.name}; cast it to text or a number"
            )


def _checked(con: Any, schema: Schema, name: str, rows: ir.Table) -> ir.Table:
    """Mark rows whose key stands there twice, or points nowhere."""
    if name in ("users", "items"):
        window = ibis.window(group_by=_.key, order_by=[_._reason.notnull(), _._file, _._line])
        again = ibis.row_number().over(window) > 0
        text = ibis.literal("key '") + rows.key + "' stands there before"
        return reject(rows.mutate(_again=again), _._again & _.key.notnull(), text).drop("_again")
    rows = _pointing(con, rows, "user", "users")
    if "item" in rows.columns:
        rows = _pointing(con, rows, "item", "items")
    if name == "events" and schema.events.item is not None:
        rows = _with_item_fields(con, schema, rows)
    if name == "impressions" and isinstance(schema.split, ColumnSplit):
        known = _.split.isin(("train", "validation", "test")).fill_null(False)
        shown = ibis.coalesce(rows.split, "nothing")
        text = (
            ibis.literal(f"{schema.split.column}: '")
            + shown
            + "' is no split; use train, validation or test"
        )
        rows = reject(rows, ~known, text)
    return _nested(schema, rows) if name == "impressions" else rows


def _nested(schema: Schema, rows: ir.Table) -> ir.Table:
    """Mark rows with a task's label and without the one that it is given."""
    labels = {task.name: task.label for task in schema.tasks}
    for task in schema.tasks:
        if task.given is not None:
            is_alone = (rows[f"label_{task.name}"] == 1) & (rows[f"label_{task.given}"] == 0)
            other = labels[task.given]
            text = f"{task.label}: '1' where {other} is '0'; the task is given {task.given!r}"
            rows = reject(rows, is_alone.fill_null(False), ibis.literal(text))
    return rows


def _pointing(con: Any, rows: ir.Table, column: str, table: str) -> ir.Table:
    keys = con.table(table).select(_key="key", _num="num")
    joined = rows.left_join(keys, rows[column] == keys._key).drop("_key")
    text = ibis.literal(f"{column} '") + joined[column] + f"' has no good row in the {table} table"
    joined = reject(joined, _._num.isnull(), text)
    return joined.drop(column).rename({column: "_num"})


def _with_item_fields(con: Any, schema: Schema, rows: ir.Table) -> ir.Table:
    items = con.table("items")
    values = {
        f"field_{name}": items["key" if name == schema.items.key else f"field_{name}"]
        for name in (field.name for field in schema.events.fields)
    }
    looked_up = items.select(_item=items.num, **values)
    return rows.left_join(looked_up, rows.item == looked_up._item).drop("_item", "item")


def _part_from_rejects(con: Any, name: str, *, is_copy: bool) -> int:
    """Keep the good rows, numbered where they have a key, and tell the others."""
    rows, files = con.table(f"checked_{name}"), con.table(f"files_{name}")
    good = rows.filter(_._reason.isnull()).drop("_reason")
    if "key" in good.columns:
        good = good.mutate(num=ibis.row_number().over(order_by=_.key).cast("int32"))
    con.create_table(name, good)
    bad = rows.filter(_._reason.notnull()).join(files, "_file")
    bad = bad.select(table=ibis.literal(name), file=_.file, line=_._line, reason=_._reason)
    if is_copy:  # a row that is an impression and an event at once is told once
        bad = bad.anti_join(con.table("rejects"), ["file", "line"])
    con.insert("rejects", bad)
    count = int(rows.filter(_._file != ADDED).count().to_pyarrow().as_py())
    con.drop_table(f"checked_{name}")
    return count
