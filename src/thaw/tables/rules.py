"""Which impressions train and which test, and which users lose their behavior."""

from typing import Any

import ibis
import numpy as np
import pyarrow as pa
from ibis import _
from ibis.expr import types as ir

from thaw.errors import DataError
from thaw.schema import (
    ColumnRule,
    ColumnSplit,
    LastSplit,
    NaturalRule,
    Schema,
    TimeSplit,
)
from thaw.tables.columns import as_time

SPLITS = ("train", "validation", "test")


def assign(con: Any, schema: Schema) -> None:
    """Write 'assigned': the impressions with their split, and 'chosen': user by user, who is new.

    Under the strict rule, new users' impressions stay in the test split only.

    Raises:
        DataError: when a split has no rows, or the rule finds nobody.
    """
    rows = con.table("impressions")
    if isinstance(schema.split, ColumnSplit):
        split = _by_column(rows, schema.split)
    elif isinstance(schema.split, LastSplit):
        split = _by_last(rows, schema.split)
    else:
        split = _by_time(con, rows, schema.split)
    _choose(con, schema)
    if schema.strict:
        chosen = con.table("chosen").select(_num="num", _hidden="hidden")
        joined = split.join(chosen, split.user == chosen._num)
        split = joined.filter(~_._hidden | (_.split == "test")).drop("_num", "_hidden")
    con.create_table("assigned", split)
    _check_splits(con, schema)


def _order(rows: ir.Table) -> list[ir.Value]:
    return [rows.time, rows._file, rows._line]


def _by_time(con: Any, rows: ir.Table, split: TimeSplit) -> ir.Table:
    if split.test_share:
        start = _last_share(rows, split.test_share)
    else:
        start = _moment(con, split.test_from)
    before = rows.filter(rows.time < start)
    validation = _last_share(before, split.validation_share)
    return rows.mutate(split=_three_ways(rows.time >= start, rows.time >= validation))


def _by_last(rows: ir.Table, split: LastSplit) -> ir.Table:
    window = ibis.window(group_by=rows.user, order_by=_order(rows))
    numbered = rows.mutate(_n=ibis.row_number().over(window), _of=_.count().over(group_by=_.user))
    # One at least of every user who has two: new users are among those with few.
    tests = ibis.greatest((_._of * split.test_share).round(), (_._of > 1).cast("int64"))
    numbered = numbered.mutate(_train=_._of - tests)
    validation = (_._train * split.validation_share).round()
    is_test = _._n >= _._train
    marked = numbered.mutate(split=_three_ways(is_test, _._n >= _._train - validation))
    return marked.drop("_n", "_of", "_train")


def _by_column(rows: ir.Table, split: ColumnSplit) -> ir.Table:
    if rows.filter(_.split == "validation").count().to_pyarrow().as_py():
        return rows
    start = _last_share(rows.filter(_.split == "train"), split.validation_share)
    is_test = rows.split == "test"
    return rows.mutate(split=_three_ways(is_test, rows.time >= start))


def _three_ways(is_test: ir.BooleanValue, is_validation: ir.BooleanValue) -> ir.StringValue:
    return ibis.cases((is_test, "test"), (is_validation, "validation"), else_="train")


def _last_share(rows: ir.Table, share: float) -> int:
    """The time from which on the last share of the rows lies."""
    total = rows.count().to_pyarrow().as_py()
    position = int(total * (1 - share))
    found = rows.order_by("time").limit(1, offset=position).time.to_pyarrow().to_pylist()
    return int(found[0]) if found else 0


def _moment(con: Any, value: str | float | None) -> int:
    """A time in the schema, as microseconds."""
    found = con.to_pyarrow(as_time(ibis.literal(value))).as_py()
    if found is None:
        raise DataError(f"split.test_from: {value!r} is neither a timestamp nor seconds")
    return int(found)


def _choose(con: Any, schema: Schema) -> None:
    """Write 'chosen': for each user, whether behavior is hidden, in test and in validation."""
    users = con.table("users").order_by("num")
    total = users.count().to_pyarrow().as_py()
    hidden, in_validation = np.zeros(total, bool), np.zeros(total, bool)
    rule = schema.new_users
    if isinstance(rule, ColumnRule):
        hidden = users.hidden.to_pyarrow().to_numpy(zero_copy_only=False).astype(bool)
    elif not isinstance(rule, NaturalRule):
        # Sorted, for the draw must follow from the seed and not from an order of DuckDB's.
        shown = con.table("impressions").select("user").distinct().order_by("user")
        candidates = shown.user.to_pyarrow().to_numpy()
        hidden[_draw(candidates, rule.share, rule.seed)] = True
        if schema.strict:
            others = candidates[~hidden[candidates]]
            in_validation[_draw(others, rule.share, rule.seed + 1)] = True
    table = {
        "num": pa.array(np.arange(total, dtype=np.int32)),
        "hidden": hidden,
        "hidden_in_validation": hidden | in_validation,
    }
    con.create_table("chosen", pa.table(table))


def _draw(candidates: np.ndarray, share: float, seed: int) -> np.ndarray:
    count = round(share * len(candidates))
    return np.random.default_rng(seed).permutation(candidates)[:count]


def _check_splits(con: Any, schema: Schema) -> None:
    counted = con.table("assigned").group_by("split").agg(n=_.count()).to_pyarrow().to_pylist()
    counts = {row["split"]: row["n"] for row in counted}
    empty = [name for name in SPLITS if not counts.get(name)]
    if empty:
        raise DataError(
            f"split: no impressions in {' and '.join(empty)} (rule {schema.split.rule!r} gave "
            f"{counts}); change the rule's shares, or give more rows"
        )
