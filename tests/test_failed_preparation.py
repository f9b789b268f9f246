"""Preparations that can't end well: rejected, refused, killed; nothing is left half done."""

import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import thaw
from builders import contents, with_files
from conftest import Tables, make_schema, make_tables
from thaw.data import Dataset
from thaw.errors import DataError, SchemaError
from thaw.schema import Schema


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_few_rejects_are_counted_and_kept_to_read(
    schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    bad = [{**tables["events"][0], "user": "nobody"}, *tables["events"]]
    dataset = thaw.prepare(schema, {**tables, "events": bad}, out=tmp_path / "out")
    assert dataset.manifest["rejects"]["events"] == {"read": 601, "rejected": 1}
    assert dataset.manifest["days"]["events"] == ["1970-01-01", "1970-01-01"]
    assert parquet.read_table(dataset.path / "rejects.parquet").to_pylist() == [
        {"table": "events", "file": "events (in memory)", "line": 1,
         "reason": "user 'nobody' has no good row in the users table"}
    ]  # fmt: skip


def test_what_is_no_schema_is_told(tables: Tables, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"schema: is a dict; pass a thaw\.Schema, the path"):
        thaw.prepare({"name": "shop"}, tables, out=tmp_path / "out")  # type: ignore[arg-type]


def test_too_many_rejects_leave_no_dataset_but_the_rejects(
    schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    bad = {**tables, "items": tables["items"][1:]}
    with pytest.raises(
        DataError, match=r"rejects, more than the limit of 1.00%\n.*item 'i00' has no good row"
    ):
        thaw.prepare(schema, bad, out=tmp_path / "out")
    assert left_over(tmp_path) == ["out-rejects.parquet"]
    told = parquet.read_table(tmp_path / "out-rejects.parquet")
    dataset = thaw.prepare(schema, bad, out=tmp_path / "out", max_rejects=0.5)
    assert left_over(tmp_path) == ["out"]
    assert dataset.manifest["rejects"]["impressions"]["rejected"] == told.num_rows > 6


def test_the_rejects_shown_are_those_of_the_table_over_the_limit(
    schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    few = [{**event, "user": "nobody"} for event in tables["events"][:5]]
    bad = {**tables, "events": [*few, *tables["events"]], "items": tables["items"][1:]}
    with pytest.raises(DataError, match="item 'i00' has no good row") as found:
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
        "memory: 4 is no size": lambda: thaw.prepare(schema, tables, out=out, memory=4),
        "max_rejects (=None)": lambda: thaw.prepare(schema, tables, out=out, max_rejects=None),
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
