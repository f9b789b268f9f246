"""From raw tables to a dataset: the right rows, the same bytes, whole or not at all."""

import fcntl
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

import thaw
from conftest import Tables, make_schema, make_tables
from reference import behavior, by_user, decode, hidden_users, in_order, last_split
from thaw.data import Dataset
from thaw.errors import DataError
from thaw.schema import Impressions, Schema


def arrow(tables: Tables) -> dict[str, pa.Table]:
    return {name: pa.Table.from_pylist(rows) for name, rows in tables.items()}


def contents(dataset: Dataset, *, arrays: bool = False) -> dict[str, bytes]:
    """Every file's bytes; of the arrays only, where the schemas name different files."""
    files = [path for path in dataset.path.rglob("*") if path.is_file()]
    found = {str(path.relative_to(dataset.path)): path.read_bytes() for path in files}
    return {name: data for name, data in found.items() if not arrays or name != "manifest.json"}


def with_files(schema: Schema, files: Mapping[str, str], **csv_options: object) -> Schema:
    parts = schema.model_dump()
    own = {name: parts[name] | {"files": file, "csv": csv_options} for name, file in files.items()}
    return Schema.model_validate(parts | own)


def test_each_split_holds_its_rows_in_order(dataset: Dataset, tables: Tables) -> None:
    users, items = (each.keys.to_pylist() for each in (dataset.users, dataset.items))
    for name, rows in last_split(tables["impressions"]).items():
        found = dataset.splits[name]
        expected = in_order(rows)
        assert [users[user] for user in found.user] == [row["user"] for row in expected]
        assert [items[item] for item in found.item] == [row["item"] for row in expected]
        assert found.labels[:, 0].tolist() == [row["clicked"] for row in expected]
        for column, field in enumerate(("hour", "place")):
            texts = [
                decode(dataset, f"impressions.{field}", code) for code in found.codes[:, column]
            ]
            assert all(text in ("?", row[field]) for text, row in zip(texts, expected, strict=True))


def test_a_pointer_counts_the_events_strictly_before(dataset: Dataset, tables: Tables) -> None:
    for name, rows in last_split(tables["impressions"]).items():
        expected = [len(behavior(tables, row)) for row in in_order(rows)]
        assert dataset.splits[name].pointer.tolist() == expected
    times = {(event["user"], event["time"]) for event in tables["events"]}
    assert any((row["user"], row["time"]) in times for row in tables["impressions"])


def test_events_lie_by_user_and_time(dataset: Dataset, tables: Tables) -> None:
    raw, events = by_user(tables["events"]), dataset.events
    names = ("items.category", "events.brand", "action")
    for num, key in enumerate(dataset.users.keys.to_pylist()):
        codes = events.codes[events.offsets[num] : events.offsets[num + 1]]
        assert len(codes) == len(raw[key])
        for row, event in zip(codes, raw[key], strict=True):
            texts = [decode(dataset, *pair) for pair in zip(names, row, strict=True)]
            expected = [event["category"], event["brand"], event["action"]]
            assert all(text in ("?", right) for text, right in zip(texts, expected, strict=True))


def test_dense_fields_keep_their_values_and_gaps(dataset: Dataset, tables: Tables) -> None:
    ages = {user["user_id"]: user["age"] for user in tables["users"]}
    expected = [
        np.nan if ages[key] is None else ages[key] for key in dataset.users.keys.to_pylist()
    ]
    np.testing.assert_array_equal(dataset.users.dense[:, 0], expected)
    mean, deviation = dataset.moments.users[0]
    assert mean == pytest.approx(np.nanmean(expected))
    assert deviation == pytest.approx(np.nanstd(expected))


def test_moments_are_of_what_training_shows_and_equal_values_stay_finite(
    tables: Tables, tmp_path: Path
) -> None:
    never = {"item_id": "i99", "category": "c0", "price": 1e9}
    items = [{**item, "price": 0.1} for item in tables["items"]]
    dataset = thaw.prepare(
        make_schema(), {**tables, "items": [*items, never]}, out=tmp_path / "out"
    )
    mean, deviation = dataset.moments.items[0]
    assert mean == pytest.approx(0.1)
    assert deviation == 1


def test_who_is_new_is_saved_user_by_user(dataset: Dataset) -> None:
    saved = parquet.read_table(dataset.path / "new_users.parquet").to_pylist()
    assert {row["user"] for row in saved if row["hidden"]} == hidden_users(dataset)
    assert len(hidden_users(dataset)) == round(0.4 * 60)
    assert [row["user"] for row in saved] == dataset.users.keys.to_pylist()


def test_the_same_input_gives_the_same_bytes(
    dataset: Dataset, schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    again = thaw.prepare(schema, arrow(tables), out=tmp_path / "again", memory="2GB")
    assert contents(again) == contents(dataset)


def test_the_order_of_the_rows_does_not_matter(
    schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    moments = {
        name: {(row["user"], row["time"]): row for row in tables[name]}
        for name in ("impressions", "events")
    }
    untied = {**tables, **{name: list(rows.values()) for name, rows in moments.items()}}
    shuffled = {name: random.Random(1).sample(rows, len(rows)) for name, rows in untied.items()}
    one = thaw.prepare(schema, untied, out=tmp_path / "one")
    other = thaw.prepare(schema, shuffled, out=tmp_path / "other")
    assert contents(one) == contents(other)


def test_every_format_gives_the_same_dataset(
    dataset: Dataset, schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    raw = arrow(tables)
    csv.write_csv(raw["users"], tmp_path / "users.csv")
    csv.write_csv(raw["items"], tmp_path / "items.tsv", csv.WriteOptions(delimiter="\t"))
    for number, start in enumerate(range(0, 600, 250)):
        parquet.write_table(
            raw["impressions"][start : start + 250], tmp_path / f"day-{number}.parquet"
        )
    with pa.CompressedOutputStream(str(tmp_path / "events.csv.gz"), "gzip") as file:
        csv.write_csv(raw["events"], file)
    files = {
        "users": "users.csv",
        "items": "items.tsv",
        "impressions": "day-*.parquet",
        "events": "events.csv.gz",
    }
    read = thaw.prepare(with_files(schema, files), data=tmp_path, out=tmp_path / "out")
    assert contents(read, arrays=True) == contents(dataset, arrays=True)


def test_pandas_and_polars_give_the_same_dataset(
    dataset: Dataset, schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    frames = {
        "users": pd.DataFrame(tables["users"]),  # ages with gaps are floats
        "items": pl.DataFrame(tables["items"]),
        "impressions": pd.DataFrame(tables["impressions"]).astype(
            {"clicked": bool, "place": "category"}
        ),
        "events": pl.DataFrame(tables["events"]).cast({"action": pl.Categorical}),
    }  # fmt: skip
    read = thaw.prepare(schema, frames, out=tmp_path / "out")
    assert contents(read) == contents(dataset)


def test_ids_with_gaps_are_the_same_in_pandas_and_in_text(tables: Tables, tmp_path: Path) -> None:
    floor = [
        {**row, "hour": None if n % 9 == 0 else n % 7}
        for n, row in enumerate(tables["impressions"])
    ]
    frame = pd.DataFrame(floor)
    assert frame["hour"].dtype == float
    one = thaw.prepare(make_schema(), {**tables, "impressions": frame}, out=tmp_path / "one")
    csv.write_csv(pa.Table.from_pylist(floor), tmp_path / "impressions.csv")
    parts = arrow(tables) | {"impressions": csv.read_csv(tmp_path / "impressions.csv")}
    other = thaw.prepare(make_schema(), parts, out=tmp_path / "other")
    assert contents(one) == contents(other)


def test_a_schema_file_finds_its_data_beside_it(tables: Tables, tmp_path: Path) -> None:
    for name, table in arrow(tables).items():
        csv.write_csv(table, tmp_path / f"{name}.csv")
    schema = with_files(make_schema(), {name: f"{name}.csv" for name in tables})
    text = schema.model_dump_json()  # JSON is YAML
    (tmp_path / "tiny.yaml").write_text(text)
    dataset = thaw.prepare(tmp_path / "tiny.yaml", out=tmp_path / "out", new_users="natural")
    assert dataset.schema == schema.with_new_users("natural")
    assert not dataset.hidden.any()
    assert not dataset.has_ceiling


def test_strict_users_are_unknown_and_untrained(tables: Tables, tmp_path: Path) -> None:
    schema = make_schema().with_new_users("strict")
    dataset = thaw.prepare(schema, tables, out=tmp_path / "out")
    hidden = np.flatnonzero(dataset.hidden)
    known = set(dataset.vocabularies.values["users.user_id"].to_pylist())
    assert not known & hidden_users(dataset)
    for name in ("train", "validation"):
        assert not set(hidden) & set(dataset.splits[name].user)
    assert set(hidden) <= set(dataset.splits["test"].user)
    assert dataset.is_new("validation").any()


def test_names_with_a_slash_and_references(tables: Tables, tmp_path: Path) -> None:
    rows = [
        {**row, "a/b ü": row["hour"], "score": n / 7} for n, row in enumerate(tables["impressions"])
    ]
    table = Impressions(
        user="user", item="item", time="time", context=("a/b ü",), references=("score",)
    )
    dataset = thaw.prepare(
        make_schema(impressions=table), {**tables, "impressions": rows}, out=tmp_path / "out"
    )
    assert "impressions.a/b ü" in dataset.vocabularies.values
    total = sum(part.references.sum() for part in dataset.splits.values())
    assert total == pytest.approx(sum(n / 7 for n in range(600)))


# --- what can't be used -------------------------------------------------------------------------


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_few_rejects_are_counted_and_kept_to_read(
    schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    bad = [{**tables["events"][0], "user": "nobody"}, *tables["events"]]
    dataset = thaw.prepare(schema, {**tables, "events": bad}, out=tmp_path / "out")
    assert dataset.manifest["rejects"]["events"] == {"read": 601, "rejected": 1}
    assert parquet.read_table(dataset.path / "rejects.parquet").to_pylist() == [
        {"table": "events", "file": "events (in memory)", "line": 1,
         "reason": "user 'nobody' is not in the users table"}
    ]  # fmt: skip


def test_too_many_rejects_leave_no_dataset_but_the_rejects(
    schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    bad = {**tables, "items": tables["items"][1:]}
    with pytest.raises(
        DataError, match=r"rejects, more than the limit of 1.00%\n.*item 'i00' is not"
    ):
        thaw.prepare(schema, bad, out=tmp_path / "out")
    assert left_over(tmp_path) == ["out-rejects.parquet"]
    dataset = thaw.prepare(schema, bad, out=tmp_path / "out", max_rejects=0.5)
    told = parquet.read_table(tmp_path / "out-rejects.parquet")
    assert dataset.manifest["rejects"]["impressions"]["rejected"] == told.num_rows > 6


def test_the_rejects_shown_are_those_of_the_table_over_the_limit(
    schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    few = [{**event, "user": "nobody"} for event in tables["events"][:5]]
    bad = {**tables, "events": [*few, *tables["events"]], "items": tables["items"][1:]}
    with pytest.raises(DataError, match="item 'i00' is not") as found:
        thaw.prepare(schema, bad, out=tmp_path / "out")
    assert "nobody" not in str(found.value)


def test_the_rejects_of_every_table_over_the_limit_are_shown_the_cause_first(
    tables: Tables, tmp_path: Path
) -> None:
    plain = make_schema().model_dump(mode="json", exclude_unset=True)
    plain["users"]["attributes"] = [{"name": "city", "kind": "dense"}]
    with pytest.raises(DataError) as found:
        thaw.prepare(thaw.Schema.model_validate(plain), tables, out=tmp_path / "out")
    shown = [line for line in str(found.value).splitlines() if line.startswith("  ")]
    assert "is no finite number" in shown[0]
    assert [line.split()[0] for line in shown] == ["users"] * 3 + ["impressions"] * 3 + [
        "events"
    ] * 3


@pytest.mark.parametrize("table", ["users", "items", "impressions"])
def test_an_empty_table_is_an_error(
    table: str, schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    empty = pa.Table.from_pylist(tables[table])[:0]
    with pytest.raises(DataError, match=f"{table}.*: no rows; give at least"):
        thaw.prepare(schema, {**tables, table: empty}, out=tmp_path / "out", max_rejects=1)
    assert left_over(tmp_path) == []


def test_no_events_make_everybody_new(schema: Schema, tables: Tables, tmp_path: Path) -> None:
    empty = pa.Table.from_pylist(tables["events"])[:0]
    dataset = thaw.prepare(schema, {**tables, "events": empty}, out=tmp_path / "out")
    assert all(dataset.is_new(name).all() for name in dataset.splits)


def test_what_can_not_start_says_so_and_leaves_nothing(
    schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    out = tmp_path / "x"
    nowhere = with_files(schema, dict.fromkeys(tables, "no.csv"))
    cases = {
        "tables: no 'users'": lambda: thaw.prepare(schema, {"items": []}, out=out),
        "users.files: no file 'no.csv'": lambda: thaw.prepare(nowhere, data=tmp_path, out=out),
        "memory: '512MB' is no size": lambda: thaw.prepare(schema, tables, out=out, memory="512MB"),
        "movielens-1m: no data folder": lambda: thaw.prepare("movielens-1m", out=out),
    }
    for message, prepare in cases.items():
        with pytest.raises(DataError, match=re.escape(message)):
            prepare()
    assert left_over(tmp_path) == []


def test_an_existing_folder_is_left_alone(dataset: Dataset, schema: Schema, tables: Tables) -> None:
    before = contents(dataset)
    with pytest.raises(DataError, match="exists; remove it, or choose another folder"):
        thaw.prepare(schema, tables, out=dataset.path)
    assert contents(dataset) == before


def test_a_folder_that_can_not_be_written_is_told(
    schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"was not made: .*Not a directory"):
        thaw.prepare(schema, tables, out=tmp_path / "file" / "out")


def test_a_failure_in_the_middle_leaves_nothing(
    schema: Schema, tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thaw.tables.arrays.write_impressions", full)
    with pytest.raises(DataError, match=r"out was not made: .*No space left on device"):
        thaw.prepare(schema, tables, out=tmp_path / "out")
    assert left_over(tmp_path) == []


def test_a_query_that_ctrl_c_interrupts_leaves_nothing(
    schema: Schema, tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise RuntimeError("Query interrupted")  # what DuckDB raises

    monkeypatch.setattr("thaw.tables.rules.assign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        thaw.prepare(schema, tables, out=tmp_path / "out")
    assert left_over(tmp_path) == []


def test_a_folder_is_no_file(tables: Tables, tmp_path: Path) -> None:
    plain = make_schema().model_dump(mode="json", exclude_unset=True)
    for name in ("users", "items", "impressions", "events"):
        plain[name]["files"] = "."
    with pytest.raises(DataError, match=r"users.files: '\.' is a folder; name its files"):
        thaw.prepare(thaw.Schema.model_validate(plain), data=tmp_path, out=tmp_path / "out")


def test_two_runs_do_not_make_the_same_dataset(
    schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    (tmp_path / ".out.partial").mkdir()
    with (tmp_path / ".out.partial" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another run is making it"):
            thaw.prepare(schema, tables, out=tmp_path / "out")
    assert (tmp_path / ".out.partial").is_dir()


KILLED = """
import sys, time
import thaw, thaw.tables.arrays
from conftest import make_schema, make_tables
def wait(*_):
    print("there", flush=True)
    time.sleep(60)
setattr(thaw.tables.arrays, sys.argv[2], wait)
thaw.prepare(make_schema(), make_tables(), out=sys.argv[1])
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The folder in which a run was killed while it wrote impressions."""
    python_path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out"), "write_impressions"]
    environment = os.environ | {"PYTHONPATH": python_path}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        process.send_signal(signal.SIGKILL)
    return tmp_path


def test_a_killed_run_leaves_no_dataset_and_the_next_one_cleans_up(
    killed: Path, dataset: Dataset
) -> None:
    assert left_over(killed) == [".out.partial"]
    for folder in (killed / "out", *killed.rglob("whole")):
        with pytest.raises(DataError, match="no prepared dataset here"):
            Dataset.open(folder)
    again = thaw.prepare(make_schema(), make_tables(), out=killed / "out")
    assert left_over(killed) == ["out"]
    assert contents(again) == contents(dataset)


def test_tables_in_different_units_of_time_are_refused(tables: Tables, tmp_path: Path) -> None:
    late = [{**row, "time": row["time"] + 1_700_000_000} for row in tables["impressions"]]
    with pytest.raises(
        DataError, match=r"impressions.time from 2023.* events.time from 1970.*unit"
    ):
        thaw.prepare(make_schema(), {**tables, "impressions": late}, out=tmp_path / "out")
