"""Which impressions train and test, and who is new, against the rules worked out by hand."""

import random
from typing import Any

import ibis
import pyarrow as pa
import pytest

from conftest import make_schema
from reference import last_split
from thaw.errors import DataError
from thaw.tables.rules import assign

USERS = 50
Rows = list[dict[str, object]]


def impressions(seed: int = 0, count: int = 400, users: int = USERS) -> Rows:
    """Rows as staging leaves them, some of them at the same time."""
    draw = random.Random(seed)
    return [
        {"user": draw.randrange(users), "item": 0, "time": draw.randrange(300), "_file": 0,
         "_line": line, "split": draw.choice(["train", "train", "test"])}
        for line in range(1, count + 1)
    ]  # fmt: skip


def run(
    rows: Rows, users: int = USERS, **changes: object
) -> tuple[dict[str, Rows], dict[str, list[Any]]]:
    """The splits' rows, and 'chosen' as columns."""
    con = ibis.duckdb.connect()
    schema = make_schema(**changes)
    types = {
        "user": pa.int32(),
        "item": pa.int32(),
        "time": pa.int64(),
        "_file": pa.int32(),
        "_line": pa.int64(),
        "split": pa.string(),
    }
    table = pa.Table.from_pylist(rows, pa.schema(types))
    con.create_table(
        "impressions", table if changes["split"]["rule"] == "column" else table.drop("split")
    )
    flags = {
        "num": pa.array(range(users), pa.int32()),
        "hidden": [n % 3 == 0 for n in range(users)],
    }
    con.create_table(
        "users", pa.table(flags).cast(pa.schema({"num": pa.int32(), "hidden": pa.int8()}))
    )
    assign(con, schema)
    found: dict[str, Rows] = {"train": [], "validation": [], "test": []}
    for row in con.table("assigned").to_pyarrow().to_pylist():
        found[row["split"]].append(row)
    return found, con.table("chosen").order_by("num").to_pyarrow().to_pydict()


def lines(rows: Rows) -> list[object]:
    return sorted(row["_line"] for row in rows)


NATURAL = {"new_users": {"rule": "natural"}}


def test_by_the_last_share_of_every_users_rows() -> None:
    rows = impressions()
    found, _ = run(
        rows, split={"rule": "last", "test_share": 0.3, "validation_share": 0.2}, **NATURAL
    )
    expected = last_split(rows, 0.3, 0.2)
    assert {name: lines(part) for name, part in found.items()} == {
        name: lines(part) for name, part in expected.items()
    }


@pytest.mark.parametrize(("count", "tested"), [(1, 0), (2, 1), (3, 1), (7, 1), (8, 2)])
def test_by_the_last_share_whoever_has_two_rows_has_one_in_test(count: int, tested: int) -> None:
    rows = [*impressions(users=40), *impressions(1, count=count, users=1)]
    rows = [
        {**row, "user": row["user"] if place < 400 else 45, "_line": place}
        for place, row in enumerate(rows)
    ]
    split = {"rule": "last", "test_share": 0.2, "validation_share": 0.1}
    found, _ = run(rows, split=split, **NATURAL)
    assert sum(row["user"] == 45 for row in found["test"]) == tested


@pytest.mark.parametrize("share", [0.1, 0.2, 0.29, 0.5])
def test_the_last_share_is_a_share_of_all(share: float) -> None:
    rows = [{**row, "user": n % 4} for n, row in enumerate(impressions())]
    found, _ = run(rows, split={"rule": "last", "test_share": share}, **NATURAL)
    assert len(found["test"]) == pytest.approx(share * 400)


def test_by_time_from_a_moment_on() -> None:
    rows = impressions()
    found, _ = run(rows, split={"rule": "time", "test_from": 200e-6}, **NATURAL)
    assert lines(found["test"]) == lines([row for row in rows if row["time"] >= 200])
    start = min(row["time"] for row in found["validation"])
    assert max(row["time"] for row in found["train"]) < start
    assert len(found["validation"]) == pytest.approx(0.1 * (400 - len(found["test"])), abs=4)


def test_by_time_the_last_share_of_all_rows() -> None:
    found, _ = run(impressions(), split={"rule": "time", "test_share": 0.25}, **NATURAL)
    assert len(found["test"]) == pytest.approx(100, abs=4)
    ends = [max(row["time"] for row in found[name]) for name in ("train", "validation")]
    starts = [min(row["time"] for row in found[name]) for name in ("validation", "test")]
    assert ends[0] < starts[0] <= ends[1] < starts[1]


def test_by_a_column() -> None:
    rows = impressions()
    found, _ = run(rows, split={"rule": "column", "column": "split"}, **NATURAL)
    assert lines(found["test"]) == lines([row for row in rows if row["split"] == "test"])
    assert max(row["time"] for row in found["train"]) < min(
        row["time"] for row in found["validation"]
    )
    rows[0]["split"] = "validation"
    found, _ = run(rows, split={"rule": "column", "column": "split"}, **NATURAL)
    assert lines(found["validation"]) == [1]


def test_a_split_without_rows_is_an_error() -> None:
    with pytest.raises(DataError, match=r"split: no impressions in test .*rule 'time'"):
        run(impressions(), split={"rule": "time", "test_from": 1e6}, **NATURAL)
    with pytest.raises(DataError, match=r"split.test_from: 'soon' is neither a timestamp nor"):
        run(impressions(), split={"rule": "time", "test_from": "soon"}, **NATURAL)


LAST = {"split": {"rule": "last"}}


def test_the_paper_hides_a_share_of_the_users_who_are_shown_anything() -> None:
    rows = impressions(users=40)  # ten more have no impressions
    found, chosen = run(rows, **LAST, new_users={"rule": "paper"})
    hidden = {user for user, flag in enumerate(chosen["hidden"]) if flag}
    assert len(hidden) == 16
    assert max(hidden) < 40
    assert chosen["hidden_in_validation"] == chosen["hidden"]
    assert hidden & {row["user"] for row in found["train"]}


def test_the_draw_depends_on_the_seed_alone() -> None:
    rule = {"rule": "paper", "share": 0.3}
    first, again, other = (
        run(rows, **LAST, new_users={**rule, "seed": seed})[1]["hidden"]
        for rows, seed in ((impressions(), 1), (impressions()[::-1], 1), (impressions(), 2))
    )
    assert first == again
    assert first != other
    assert sum(first) == sum(other) == 15


def test_strict_leaves_new_users_out_of_training() -> None:
    found, chosen = run(impressions(), **LAST, new_users={"rule": "strict"})
    hidden = {user for user, flag in enumerate(chosen["hidden"]) if flag}
    stand_in = {user for user, flag in enumerate(chosen["hidden_in_validation"]) if flag} - hidden
    trained = {row["user"] for name in ("train", "validation") for row in found[name]}
    assert len(hidden) == 20
    assert trained == set(range(USERS)) - hidden
    assert len(stand_in) == 12
    assert hidden & {row["user"] for row in found["test"]}


def test_natural_hides_nothing_and_a_column_whom_it_names() -> None:
    assert not any(run(impressions(), **LAST, **NATURAL)[1]["hidden"])
    _, chosen = run(impressions(), **LAST, new_users={"rule": "column", "column": "flag"})
    assert chosen["hidden"] == [n % 3 == 0 for n in range(USERS)]
