"""From a raw row to typed columns: ids, times, labels and numbers, or the reason for a reject."""

from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import numpy as np
from ibis import _
from ibis.expr import datatypes as dt
from ibis.expr import types as ir

MICROSECONDS = 1_000_000
DAY = 86_400 * MICROSECONDS
# The year 5138. Numbers beyond are milliseconds or finer, which beside a table in seconds would let
# every event lie before every impression, unseen.
LAST_SECOND = 1e11
# Numbers are stored with 32 bits.
LARGEST = float(np.finfo(np.float32).max)


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def epoch_us(moment: dt.timestamp) -> int:  # type: ignore[empty-body]
    """DuckDB's function of this name: microseconds since 1970."""


@dataclass(frozen=True)
class Column:
    """A column to read and the rule that its values follow.

    Attributes:
        name: the source's column.
        role: 'key' (a text, required), 'text' (a text or missing), 'time', 'event time' (a date
            alone is its end), 'label' (0 or 1),
            'number' (finite or missing), 'flag' (0 or 1, as a split or user rule has them).
        target: its name in the typed table.
    """

    name: str
    role: str
    target: str


def read(rows: ir.Table, columns: Sequence[Column]) -> dict[str, ir.Value]:
    """Return the columns' values by target, null where one breaks its rule or is missing."""
    return {column.target: _READ[column.role](rows[column.name]) for column in columns}


def typed(rows: ir.Table, columns: Sequence[Column]) -> ir.Table:
    """Return the columns typed, with '_line' and '_reason' (null where the row is good)."""
    values = read(rows, columns)
    faults = [
        (_is_fault(rows[column.name], values[column.target], column.role), _reason(rows, column))
        for column in columns
        if column.role != "text"
    ]
    reason = ibis.cases((rows._fault.notnull(), rows._fault), *faults, else_=ibis.null(str))
    return rows.select(**values, _line=rows._line, _reason=reason)


def as_text(value: ir.Value) -> ir.StringValue:
    """The text of an id: 5, 5.0 (an integer column with gaps, in pandas) and '5' are the same.

    So are '5.0' and 'True', as pandas writes integers with gaps and booleans, and 5 and true.
    """
    if value.type().is_floating():
        # The cast is tried: infinity and numbers beyond 64 bits keep their own text.
        integer = value.try_cast("int64")
        is_whole = (integer.cast("float64") == value).fill_null(False)
        text = ibis.ifelse(is_whole, integer.cast("string"), value.cast("string"))
        return ibis.ifelse(value.isnan(), ibis.null(str), text)
    text = value.cast("string")
    whole = text.re_replace(r"^(-?\d+)\.0$", r"\1")  # asked for few: it takes its time
    return ibis.cases(
        (text == "", ibis.null(str)),
        (text.endswith(".0"), whole),
        (text.isin(("True", "False")), text.lower()),
        else_=text,
    )


def as_number(value: ir.Value) -> ir.FloatingValue:
    """The number, or null; NaN is missing."""
    number = value.try_cast("float64")
    return ibis.ifelse(number.isnan(), ibis.null("float64"), number)


def as_time(value: ir.Value) -> ir.IntegerValue:
    """Microseconds since 1970; numbers are taken as seconds, a date as its first moment."""
    kind = value.type()
    if kind.is_timestamp() or kind.is_date():
        return epoch_us(value.cast("timestamp"))
    seconds = as_number(value)
    fits = seconds.abs() <= LAST_SECOND
    number = ibis.ifelse(fits, (seconds * MICROSECONDS).round().cast("int64"), ibis.null("int64"))
    if not kind.is_string():
        return number
    # With a time zone, or an offset in the text would be ignored; without one it means UTC.
    moment = epoch_us(value.try_cast(dt.Timestamp(timezone="UTC")).cast("timestamp"))
    return ibis.ifelse(seconds.isnull(), moment, number)


def as_event_time(value: ir.Value) -> ir.IntegerValue:
    """As a time, but a date as its last moment: an event of that day may be later than any row."""
    kind = value.type()
    if kind.is_date():
        return as_time(value) + (DAY - 1)
    if not kind.is_string():
        return as_time(value)
    is_date = value.re_search(r"^\s*\d+[-/\\ ]\d+[-/\\ ]\d+\s*$")
    return as_time(value) + ibis.ifelse(is_date, DAY - 1, 0)


def as_label(value: ir.Value) -> ir.IntegerValue:
    """0 or 1, or null; true and false count as these."""
    if value.type().is_string():  # as pandas writes booleans
        value = value.lower().substitute({"true": "1", "false": "0"})
    number = value.cast("int8") if value.type().is_boolean() else value.try_cast("float64")
    return ibis.ifelse(number.isin((0, 1)), number.cast("int8"), ibis.null("int8"))


_READ = {
    "key": as_text,
    "text": as_text,
    "time": as_time,
    "event time": as_event_time,
    "label": as_label,
    "flag": as_label,
    "number": as_number,
}
_NO_TIME = "is neither a timestamp nor a number of seconds (milliseconds are to be divided by 1000)"
_RULES = {
    "key": "is missing",
    "time": _NO_TIME,
    "event time": _NO_TIME,
    "label": "is not 0 or 1",
    "flag": "is not 0 or 1",
    "number": "is no finite number of at most 3.4e38",
}


def _is_fault(raw: ir.Value, value: ir.Value, role: str) -> ir.BooleanValue:
    if role == "number":
        given = as_text(raw).notnull() if not raw.type().is_numeric() else raw.notnull()
        is_nan = raw.try_cast("float64").isnan().fill_null(False)
        return (given & value.isnull() & ~is_nan) | (value.abs() > LARGEST).fill_null(False)
    return value.isnull()


def _reason(rows: ir.Table, column: Column) -> ir.StringValue:
    shown = rows[column.name].cast("string").substr(0, 60)
    told = ibis.literal(f"{column.name}: '") + shown + ibis.literal(f"' {_RULES[column.role]}")
    return ibis.coalesce(told, ibis.literal(f"{column.name}: is missing"))


def reject(table: ir.Table, condition: ir.BooleanValue, reason: ir.StringValue) -> ir.Table:
    """Mark the good rows that meet a condition as rejects."""
    return table.mutate(_reason=ibis.ifelse(_._reason.isnull() & condition, reason, _._reason))
