"""Rejects: each bad row once, with its file, line and reason; the good ones typed and numbered."""

from datetime import datetime, timedelta
from pathlib import Path

import ibis
import pyarrow as pa
import pytest

from conftest import Tables, make_schema
from thaw.errors import DataError
from thaw.schema import Events, Field, Impressions, Schema
from thaw.tables.staging import Inputs, stage

Told = list[tuple[object, ...]]


def run(
    schema: Schema, tables: Tables | None, folder: Path = Path()
) -> tuple[ibis.BaseBackend, Told]:
    """The staged tables, and the rejects (table, file, line, reason)."""
    con = ibis.duckdb.connect()
    stage(con, Inputs(schema, folder, tables))
    rows = con.table("rejects").order_by("table", "file", "line").to_pyarrow().to_pylist()
    return con, [tuple(row.values()) for row in rows]


SHOWN = {"user": "u1", "item": "i1", "time": 5, "hour": "1", "place": None, "clicked": 1}
DONE = {"user": "u1", "time": 1, "category": "c", "brand": "b", "action": "buy"}
GOOD: Tables = {
    "users": [{"user_id": "u1", "city": "Rome", "age": "30"}],
    "items": [{"item_id": "i1", "category": "c", "price": "2.5"}],
    "impressions": [SHOWN],
    "events": [DONE],
}
BAD = [
    ("users", {"user_id": None, "city": "x", "age": "1"}, "user_id: is missing"),
    ("users", {"user_id": "u2", "city": "x", "age": "old"}, "age: 'old' is no finite number"),
    ("users", {"user_id": "u1", "city": "x", "age": "1"}, "key 'u1' stands there before"),
    ("items", {"item_id": "i1", "category": "x", "price": "1"}, "key 'i1' stands there before"),
    (
        "impressions",
        {**SHOWN, "user": "u9"},
        "user 'u9' has no good row in the users table",
    ),
    (
        "impressions",
        {**SHOWN, "item": "i9"},
        "item 'i9' has no good row in the items table",
    ),
    ("impressions", {**SHOWN, "time": None}, "time: is missing"),
    ("impressions", {**SHOWN, "clicked": 2}, "clicked: '2' is not 0 or 1"),
    ("events", {**DONE, "user": "u9"}, "user 'u9' has no good row in the users table"),
    ("events", {**DONE, "time": None}, "time: is missing"),
]


@pytest.mark.parametrize(("table", "row", "reason"), BAD)
def test_a_bad_row_is_told_and_left_out(table: str, row: dict[str, object], reason: str) -> None:
    con, told = run(make_schema(), {**GOOD, table: [*GOOD[table], row]})
    assert [each[:3] for each in told] == [(table, f"{table} (in memory)", 2)]
    assert told[0][3].startswith(reason)
    assert con.table(table).count().to_pyarrow().as_py() == 1
    counts = {row["table"]: row["rows"] for row in con.table("read").to_pyarrow().to_pylist()}
    assert counts == {name: 1 + (name == table) for name in GOOD}


def test_good_rows_have_no_rejects_and_users_are_numbered_by_key() -> None:
    users = [{"user_id": key, "city": None, "age": None} for key in ("u3", "u1", "é", "u20")]
    con, told = run(make_schema(), {**GOOD, "users": users})
    assert told == []
    assert con.table("users").order_by("num").to_pyarrow()["key"].to_pylist() == [
        "u1",
        "u20",
        "u3",
        "é",
    ]


def test_a_label_without_the_one_that_it_is_given_is_a_reject() -> None:
    labels = [(1, 1), (1, 0), (0, 0), (0, 1)]
    shown = [{**SHOWN, "clicked": click, "bought": buy} for click, buy in labels]
    bought = {"name": "conversion", "column": "bought", "given": "click"}
    schema = make_schema(tasks=({"name": "click", "column": "clicked"}, bought))
    con, told = run(schema, {**GOOD, "impressions": shown})
    reason = "bought: '1' where clicked is '0'; the task is given 'click'"
    assert told == [("impressions", "impressions (in memory)", 4, reason)]
    assert con.table("impressions").count().to_pyarrow().as_py() == 3


FILES = {
    "users.csv": "user_id,city,age\nu1,Rome,30\n",
    "items.csv": "item_id,category,price\n\ni1,c\ni1,c,5\n",
    "day-1.csv": "user,item,time,hour,place,clicked\nu1,i1,5,1,,1\n",
    "day-2.csv": "user,item,time,hour,place,clicked\n\nu1,i1,5,1,,yes\n",
    "events.csv": 'user,time,category,brand,action\nu1,1,"c,b,buy\n',
}
UNBALANCED = "a quote does not end in its line; Parquet files may hold line breaks"


def test_rejects_of_many_files_name_the_file_and_its_line(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    parts = make_schema().model_dump()
    for table in GOOD:
        parts[table]["files"] = "day-*.csv" if table == "impressions" else f"{table}.csv"
    _, told = run(Schema.model_validate(parts), None, tmp_path)
    assert told == [
        ("events", "events.csv", 2, UNBALANCED),
        ("impressions", "day-2.csv", 3, "clicked: 'yes' is not 0 or 1"),
        ("items", "items.csv", 3, "expected 3 columns, found 2"),
    ]


def test_a_missing_column_is_named_with_those_that_are_there() -> None:
    users = [{"user_id": "u1", "town": "Rome"}]
    with pytest.raises(
        DataError, match=r"users: users \(in memory\) has no column city, age; it has user_id, town"
    ):
        run(make_schema(), {**GOOD, "users": users})


DAY = 86_400
MIDNIGHTS = [
    [datetime(2024, 1, 1), datetime(2024, 1, 2)],
    ["2024-01-01 00:00:00", "2024-01-02T00:00:00Z"],
    ["2024-01-01", "2024-01-02 00:00"],
    [1_704_067_200, 1_704_153_600],
]


def staged(times: list[object]) -> list[int]:
    """When events are, once staged: seconds since 2024-01-01, rounded up, in order."""
    con, _ = run(make_schema(), {
        **GOOD,
        "events": [{**DONE, "time": time} for time in times],
        "impressions": [{**SHOWN, "time": 1_704_067_200}],
    })  # fmt: skip
    found = con.table("events").to_pyarrow()["time"].to_pylist()
    return sorted(-(-time // 1_000_000) - 1_704_067_200 for time in found)


@pytest.mark.parametrize("times", MIDNIGHTS, ids=str)
def test_events_that_are_all_at_midnight_are_dated_by_days(times: list[object]) -> None:
    """A date that was read as a timestamp must not be seen by what was shown on its day."""
    tables = {**GOOD, "events": [{**DONE, "time": time} for time in times]}
    tables["impressions"] = [{**SHOWN, "time": 1_704_067_200 + DAY // 2}]
    con, _ = run(make_schema(), tables)
    found = sorted(row["time"] for row in con.table("events").to_pyarrow().to_pylist())
    assert found == [(1_704_067_200 + n * DAY) * 1_000_000 - 1 for n in (1, 2)]


@pytest.mark.parametrize(("at_midnight", "others", "later"), [(9, 1, DAY), (1, 20, 0)])
def test_a_stray_time_changes_nothing_of_how_events_are_dated(
    at_midnight: int, others: int, later: int
) -> None:
    times = [1_704_067_200] * at_midnight + [1_704_067_201] * others
    tables = {**GOOD, "events": [{**DONE, "time": time} for time in times]}
    tables["impressions"] = [{**SHOWN, "time": 1_704_067_202}]
    con, _ = run(make_schema(), tables)
    found = sorted(row["time"] for row in con.table("events").to_pyarrow().to_pylist())
    first = (1_704_067_200 + later) * 1_000_000 - (later > 0)
    assert found == sorted([first] * at_midnight + [1_704_067_201_000_000] * others)


HOUR = 3_600


def test_a_local_midnight_dates_events_too_and_summer_time_moves_it() -> None:
    """Midnight in Berlin is at 23:00 UTC, in summer at 22:00: a twentieth of the events here."""
    found = staged(["2024-01-01T00:00:00+01:00"] * 19 + ["2024-07-01T00:00:00+02:00"])
    assert found == [23 * HOUR] * 19 + [182 * DAY + 22 * HOUR]  # the ends of these days


def test_the_fullest_hour_is_no_midnight() -> None:
    by_the_hour = sorted([*range(1_704_067_200, 1_704_067_200 + DAY, HOUR)] + [1_704_139_200] * 8)
    assert staged(by_the_hour) == [time - 1_704_067_200 for time in by_the_hour]


@pytest.mark.parametrize("value", [["a", "b"], b"a", {"a": 1}, timedelta(hours=1)], ids=str)
def test_what_is_no_single_value_is_refused(value: object) -> None:
    """Scoring would read it as another text than preparation does."""
    items = pa.table({"item_id": ["i1"], "category": [value], "price": [2.5]})
    with pytest.raises(DataError, match=r"items \(in memory\) has .* in column category; cast it"):
        run(make_schema(), {**GOOD, "items": items})


def test_a_single_column_asks_for_the_delimiter() -> None:
    users = [{"user_id;city;age": "u1;Rome;30"}]
    with pytest.raises(DataError, match=r"a single one: is users.csv.delimiter right\?"):
        run(make_schema(), {**GOOD, "users": users})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"u1,Rome,30\n\xff\xfe,Oslo,4\n", "users.csv: .*Line: 3 .*Invalid unicode"),
        (b"u1,Rome,30\r\nu2,Oslo,4\n", "users.csv: .*check .* that all lines end alike"),
        (b"u1," + b"x" * 3_000_000 + b",30\n", "users.csv: .*Line: 2 .*Maximum line size"),
    ],
)
def test_text_that_is_no_text_is_told_with_its_file(text: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_bytes(b"user_id,city,age\n" + text)
    users = make_schema().users.model_copy(update={"files": ("users.csv",)})
    with pytest.raises(DataError, match=told) as caught:
        run(make_schema(users=users), None, tmp_path)
    assert len(str(caught.value)) < 500


IMPRESSIONS_AS_EVENTS = Events(
    table="impressions", user="user", time="clicked_at", item="item",
    fields=("category", "item_id"), action="place",
)  # fmt: skip


def test_impressions_as_events_have_the_items_fields() -> None:
    rows = [{**SHOWN, "clicked_at": 7, "place": "top"}]
    con, told = run(make_schema(events=IMPRESSIONS_AS_EVENTS), {**GOOD, "impressions": rows})
    found = con.table("events").to_pyarrow().to_pylist()[0]
    assert told == []
    assert (found["field_category"], found["field_item_id"], found["action"]) == ("c", "i1", "top")
    assert found["time"] == 7_000_000


def test_a_row_that_is_impression_and_event_is_told_once_but_told() -> None:
    rows = [
        {**SHOWN, "clicked_at": at, "user": user}
        for at, user in ((7, "u1"), (7, "u9"), (None, "u1"))
    ]
    _, told = run(make_schema(events=IMPRESSIONS_AS_EVENTS), {**GOOD, "impressions": rows})
    assert [(table, line) for table, _, line, _ in told] == [("events", 3), ("impressions", 2)]


def test_a_split_column_holds_the_three_words() -> None:
    schema = make_schema(split={"rule": "column", "column": "part"})
    rows = [{**SHOWN, "part": part} for part in ("train", "Test", None)]
    _, told = run(schema, {**GOOD, "impressions": rows})
    assert [each[3] for each in told] == [
        "part: 'Test' is no split; use train, validation or test",
        "part: 'nothing' is no split; use train, validation or test",
    ]


def test_columns_that_the_schema_does_not_name_do_not_matter() -> None:
    context = (Field(name="hour"),)
    schema = make_schema(
        impressions=Impressions(user="user", item="item", time="time", context=context)
    )
    con, told = run(
        schema, {**GOOD, "impressions": [{**SHOWN, "odd": float("inf"), "user.1": b"\xff"}]}
    )
    assert told == []
    assert "field_hour" in con.table("impressions").columns


LATER = [SHOWN, {**SHOWN, "user": "u9"}, {**SHOWN, "user": "u9"}, {**SHOWN, "user": None}]
COMPLETE = make_schema().users.model_copy(update={"complete": True})


def test_a_complete_users_table_has_those_of_the_impressions_too() -> None:
    done = [{**DONE, "user": "u9"}, {**DONE, "user": "u8"}]
    tables = {**GOOD, "impressions": LATER, "events": done}
    con, told = run(make_schema(users=COMPLETE), tables)
    assert [each[3] for each in told] == [
        "user 'u8' has no good row in the users table",  # an event alone makes no user
        "user: is missing",
    ]
    users = con.table("users").order_by("num").to_pyarrow().to_pylist()
    assert [(row["key"], row["field_city"], row["num"]) for row in users] == [
        ("u1", "Rome", 0),
        ("u9", None, 1),
    ]
    read = {row["table"]: row["rows"] for row in con.table("read").to_pyarrow().to_pylist()}
    assert read["users"] == 1


def test_a_user_whose_row_is_a_reject_is_completed() -> None:
    users = [{"user_id": "u1", "city": "Rome", "age": "old"}]
    con, told = run(make_schema(users=COMPLETE), {**GOOD, "users": users})
    assert [each[:3] for each in told] == [("users", "users (in memory)", 1)]
    assert con.table("users").to_pyarrow()["field_city"].to_pylist() == [None]
    assert con.table("impressions").count().to_pyarrow().as_py() == 1


def test_added_users_are_not_hidden_by_a_column() -> None:
    users = [{"user_id": "u1", "city": "Rome", "age": "30", "pilot": 1}]
    schema = make_schema(users=COMPLETE, new_users={"rule": "column", "column": "pilot"})
    con, _ = run(schema, {**GOOD, "users": users, "impressions": LATER})
    rows = con.table("users").order_by("num").to_pyarrow()
    assert rows["hidden"].to_pylist() == [1, 0]
