"""The commands, in process, on tiny tables."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pyarrow import Table, parquet
from typer.testing import CliRunner

import thaw
from conftest import Tables, make_schema
from thaw import cli
from thaw.data import Dataset
from thaw.experiments.paper_tables import TABLES

SHORT = ["--max-epochs", "1", "--dim", "4", "--batch-size", "64", "--max-events", "5", "--quiet"]


def thaw_(*arguments: object, code: int = 0) -> str:
    """Run a command, check its exit code, and return what it printed."""
    found = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == code, found.output
    return found.stdout


@pytest.fixture(scope="module")
def yaml_schema(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("yaml")
    plain = make_schema().model_dump(mode="json", exclude_unset=True)
    for name, rows in tables.items():
        parquet.write_table(Table.from_pylist(rows), folder / f"{name}.parquet")
        plain[name]["files"] = f"{name}.parquet"
    (folder / "schema.yaml").write_text(yaml.safe_dump(plain))
    return folder / "schema.yaml"


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    thaw_("train", dataset.path, "--out", out, "--method", "base-dnn", *SHORT)
    return out


def test_prepare_makes_a_dataset_and_says_what_is_in_it(yaml_schema: Path, tmp_path: Path) -> None:
    found = json.loads(thaw_("prepare", yaml_schema, "--out", tmp_path / "out", "--json"))
    assert found["users"] == 60
    assert Dataset.open(tmp_path / "out").schema == thaw.Schema.read(yaml_schema)


def test_prepare_takes_another_rule_for_new_users(yaml_schema: Path, tmp_path: Path) -> None:
    thaw_("prepare", yaml_schema, "--out", tmp_path / "out", "--new-users", "strict")
    assert Dataset.open(tmp_path / "out").schema.new_users.rule == "strict"


def test_train_prints_what_was_trained(run: Path) -> None:
    found = json.loads(thaw_("inspect", run, "--json"))
    assert found["method"] == "base-dnn"
    assert found["best_epoch"] == 1


def test_train_resumes_only_when_asked(dataset: Dataset, run: Path) -> None:
    again = ["train", dataset.path, "--out", run, "--method", "base-dnn", *SHORT]
    with pytest.raises(thaw.TrainingError, match="--resume"):
        thaw_(*again)
    assert "best epoch: 1" in thaw_(*again, "--resume")


def test_training_that_was_cut_short_is_told(dataset: Dataset, tmp_path: Path) -> None:
    call = ["train", dataset.path, "--out", tmp_path / "run", "--method", "base-dnn", *SHORT]
    found = CliRunner().invoke(cli.app, [str(each) for each in call])
    assert "validation had not stalled; go on with --resume --max-epochs 7" in found.stderr


def test_train_writes_tensorboard_events(dataset: Dataset, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    thaw_("train", dataset.path, "--out", tmp_path / "run", "--tensorboard", *SHORT)
    events = EventAccumulator(str(tmp_path / "run/events")).Reload()
    tags = events.Tags()["scalars"]
    assert {"loss/ranking", "loss/attribute_side", "loss/behavior_side", "loss/alignment"} < set(
        tags
    )
    assert len(events.Scalars("loss/ranking")) > 1


def test_evaluate_measures_new_and_old_users_apart(run: Path) -> None:
    found = json.loads(thaw_("evaluate", run, "--json"))
    assert [row["segment"] for row in found["results"]] == ["new", "old"]
    assert all(0 <= row["auc"] <= 1 for row in found["results"])
    assert "new" in thaw_("evaluate", run, "--split", "validation")


def test_evaluate_says_when_the_split_is_none(run: Path) -> None:
    with pytest.raises(thaw.DataError, match=r"'tests'.*train, validation, test"):
        thaw_("evaluate", run, "--split", "tests")


def test_compare_goes_the_whole_way_and_goes_on(yaml_schema: Path, tmp_path: Path) -> None:
    command = ["compare", yaml_schema, "--methods", "base-dnn,base-dnn+dropout", "--seeds", 2,
               "--out", tmp_path / "out", *SHORT]  # fmt: skip
    text = thaw_(*command)
    assert "ceiling" in text
    assert "GAUC" in text
    assert "<html" in (tmp_path / "out/report.html").read_text()
    first = json.loads((tmp_path / "out/comparison.json").read_text())
    assert json.loads(thaw_(*command, "--json", "--no-report")) == first


def test_experiment_prints_the_papers_table_and_goes_on(yaml_schema: Path, tmp_path: Path) -> None:
    command = ["experiment", "table-3", yaml_schema, "--seeds", 1, "--out", tmp_path / "out",
               "--max-epochs", 1, "--quiet"]  # fmt: skip
    text = thaw_(*command)
    below = text[text.index("Table 3") :]
    assert [name in below for name in TABLES["table-3"].methods] == [True] * 5
    assert thaw_(*command) == text


def test_a_table_takes_over_the_runs_of_another(yaml_schema: Path, tmp_path: Path) -> None:
    short = ["--seeds", 1, "--max-epochs", 1, "--quiet"]
    methods = ",".join([*TABLES["table-3"].methods])
    thaw_("compare", yaml_schema, "--methods", methods, "--out", tmp_path / "one", *short)
    before = times_of(tmp_path / "one/runs")
    taken = ["--runs", tmp_path / "one/runs", "--out", tmp_path / "two", *short]
    thaw_("experiment", "table-3", tmp_path / "one/dataset", *taken)
    assert not (tmp_path / "two/runs").exists()
    assert times_of(tmp_path / "one/runs") == before


def times_of(runs: Path) -> dict[Path, int]:
    """When each model was written."""
    return {path: path.stat().st_mtime_ns for path in runs.rglob("*.safetensors")}


def test_compare_refuses_a_folder_of_another_rule(yaml_schema: Path, tmp_path: Path) -> None:
    thaw_("prepare", yaml_schema, "--out", tmp_path / "out/dataset")
    with pytest.raises(thaw.DataError, match="another schema or rule"):
        thaw_("compare", yaml_schema, "--out", tmp_path / "out", "--new-users", "natural", *SHORT)


def test_compare_refuses_a_dataset_of_files_that_changed_since(
    yaml_schema: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(yaml_schema.parent, tmp_path / "tables")
    call = ["compare", folder / "schema.yaml", "--methods", "base-dnn", "--seeds", "1"]
    call += ["--out", tmp_path / "out", *SHORT, "--no-report"]
    thaw_(*call)
    users = parquet.read_table(folder / "users.parquet")
    parquet.write_table(users.slice(0, 55), folder / "users.parquet")
    with pytest.raises(thaw.DataError, match=r"users\.parquet is not what it was.*choose another"):
        thaw_(*call)


def test_compare_leaves_a_dataset_alone(dataset: Dataset) -> None:
    with pytest.raises(thaw.DataError, match="holds a dataset; choose another folder"):
        thaw_("compare", dataset.path, "--out", dataset.path, *SHORT)


def test_compare_leaves_a_run_alone(dataset: Dataset, run: Path) -> None:
    with pytest.raises(thaw.DataError, match="holds a run; choose another folder"):
        thaw_("compare", dataset.path, "--out", run, *SHORT)


def test_an_unfinished_run_is_told_apart(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    assert json.loads(thaw_("inspect", run, "--json"))["finished"] is True
    copy = shutil.copytree(run, tmp_path / "copy")
    facts = json.loads((copy / "run.json").read_text())
    facts["training"]["max_epochs"] = 5
    (copy / "run.json").write_text(json.dumps(facts))
    assert json.loads(thaw_("inspect", copy, "--json"))["finished"] is False
    found = CliRunner().invoke(cli.app, ["evaluate", str(copy)])
    assert f"{copy} is not finished; this is its best epoch so far" in found.stderr


def test_resuming_where_there_is_no_run_is_told(dataset: Dataset, tmp_path: Path) -> None:
    call = ["train", dataset.path, "--out", tmp_path / "new", "--resume", "--method", "base-dnn"]
    found = CliRunner().invoke(cli.app, [str(each) for each in [*call, *SHORT]])
    assert f"{tmp_path / 'new'} holds no run to resume; a new one starts" in found.stderr


def test_inspect_verifies_a_dataset(dataset: Dataset, tmp_path: Path) -> None:
    copy = shutil.copytree(dataset.path, tmp_path / "copy")
    thaw_("inspect", copy, "--verify")
    (copy / "users/hidden.npy").write_bytes(b"")
    shutil.copy(dataset.path / "users/hidden_in_validation.npy", copy / "users/hidden.npy")
    with (copy / "users/hidden.npy").open("ab") as file:
        file.write(b"0")
    with pytest.raises(thaw.DataError, match=r"users/hidden.npy differ from their checksums"):
        thaw_("inspect", copy, "--verify")


def test_datasets_says_where_from_and_what_is_allowed() -> None:
    found = {each["name"]: each for each in json.loads(thaw_("datasets", "--json"))}
    assert "grouplens" in found["movielens-1m"]["source"]
    assert "no redistribution" in thaw_("datasets")


def test_simulate_writes_the_files_of_a_named_data_set(tmp_path: Path) -> None:
    text = thaw_("simulate", "alimama", "--scale", 0.0001, "--seed", 3, "--out", tmp_path / "ads")
    assert all(f"{name}.csv" in text for name in ("raw_sample", "ad_feature", "behavior_log"))
    assert "--scale 0.0001 --seed 3" in (tmp_path / "ads/SIMULATED.txt").read_text()


def test_simulate_scales_the_users_of_the_simulated_world(tmp_path: Path) -> None:
    thaw_("simulate", "simulated", "--scale", 0.003, "--seed", 7, "--out", tmp_path / "world")
    world = json.loads((tmp_path / "world/world.json").read_text())
    assert (world["users"], world["seed"]) == (60, 7)
    with pytest.raises(thaw.DataError, match=r"`scale` \(=0.0\) must be above 0 and at most"):
        thaw_("simulate", "simulated", "--scale", 0, "--out", tmp_path / "none")


def test_simulate_knows_what_can_be_simulated(tmp_path: Path) -> None:
    thaw_("simulate", "movielens-1m", "--out", tmp_path / "out", code=2)
    thaw_("simulate", "alimama", code=2)
    assert "thaw simulate alimama --out DIR" in thaw_("datasets")


def test_compare_goes_on_with_simulated_files_under_their_own_name(tmp_path: Path) -> None:
    thaw_("simulate", "alimama", "--scale", 0.0001, "--out", tmp_path / "ads")
    call = ["compare", "alimama", "--data", tmp_path / "ads", "--methods", "base-dnn"]
    call += ["--seeds", 1, "--out", tmp_path / "out", *SHORT, "--no-report"]
    assert thaw_(*call) == thaw_(*call)
    assert Dataset.open(tmp_path / "out/dataset").schema.name == "alimama-simulated"


def test_an_error_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["thaw", "inspect", "nowhere"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("thaw: nowhere: no prepared dataset here")


def test_so_is_one_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("sys.argv", ["thaw", "simulate", "alimama", "--out", f"{tmp_path}/file/x"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert re.fullmatch(r"thaw: .*Not a directory: .*\n", capsys.readouterr().err)


def test_a_wrong_call_is_exit_code_2() -> None:
    thaw_("train", code=2)
    thaw_("compare", "x", "--seeds", 0, code=2)


@pytest.mark.parametrize("command", ["prepare", "train", "evaluate", "compare", "demo", "simulate"])
def test_help_teaches(command: str) -> None:
    text = thaw_(command, "--help")
    assert len(text.splitlines()) > 8
    assert "--out" in text or command == "evaluate"


def test_the_demo_goes_the_whole_way(tmp_path: Path) -> None:
    found = thaw_("demo", "--out", tmp_path, "--users", 500)
    for told in ("mail-base+dropout", "ceiling of base-dnn", "p_attributes", "Verdict"):
        assert told in found
    assert Dataset.open(tmp_path / "dataset").schema.new_users.rule == "strict"
    assert "mail-base+dropout" in (tmp_path / "report.html").read_text()
    with pytest.raises(thaw.DataError, match="holds a demo with 500 users; choose another --out"):
        thaw_("demo", "--out", tmp_path, "--users", 600)


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"thaw \d+\.\d+\S*, torch 2\.\S+\n", thaw_("--version"))


def test_the_package_is_the_command() -> None:
    found = subprocess.run([sys.executable, "-m", "thaw"], capture_output=True, text=True)
    assert "Usage: " in found.stdout + found.stderr


def test_threads_spin_shortly_unless_told_otherwise() -> None:
    asked = "import thaw, os; print(os.environ['GOMP_SPINCOUNT'])"
    for own, expected in (({}, "2000"), ({"GOMP_SPINCOUNT": "7"}, "7")):
        environment = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"} | own
        found = subprocess.run(
            [sys.executable, "-c", asked], env=environment, capture_output=True, text=True
        )
        assert found.stdout.strip() == expected
