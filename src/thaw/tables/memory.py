"""Tables that arrive in memory, from whatever library, as Arrow tables."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import pyarrow as pa

UNREADABLE = (pa.ArrowException, OverflowError)
"""What Arrow raises for values whose types it can't read, or can't read together."""


def to_arrow(given: Any) -> pa.Table:
    """Return a pandas, Polars or Arrow table, a dict of columns, or a list of dicts as Arrow.

    A column whose values are of types that Arrow can't read together is read as texts: ids and
    values are texts in the end.

    Raises:
        TypeError, ValueError, pa.ArrowException: for what is no table.
    """
    if is_list(given):
        names = dict.fromkeys(name for row in given for name in row)
        given = {name: [row.get(name) for row in given] for name in names}
    try:
        return pa.table(given)
    except UNREADABLE:
        if not isinstance(given, Mapping) and not hasattr(given, "columns"):
            raise
        return pa.table({str(name): to_array(given[name]) for name in given})


def is_list(given: object) -> TypeGuard[Sequence[Any]]:
    """Whether it is a list of rows or ids, not a table or one text."""
    return isinstance(given, Sequence) and not isinstance(given, str | bytes)


def to_array(values: Any) -> pa.Array:
    """Return values of any types as an array, mixtures as texts."""
    try:
        return pa.array(values)
    except UNREADABLE:
        return to_texts(values)


def to_texts(values: Iterable[Any]) -> pa.Array:
    """Return values as preparation has them as texts: 5, 5.0 and '5' are the same."""
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    with contextlib.suppress(*UNREADABLE):
        value = pa.scalar(value, from_pandas=True).as_py()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else str(value)
