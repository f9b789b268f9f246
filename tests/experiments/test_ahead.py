"""Several runs at once."""

import multiprocessing
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

import thaw
from builders import TRAINING, mail, small_dnn
from thaw import checkpoint
from thaw.experiments.references import AttributesOnly
from thaw.methods import Method
from thaw.methods.fitted import Mean
from thaw.progress import Quiet

ONCE = replace(TRAINING, max_epochs=1, patience=1)
FOREVER = replace(TRAINING, max_epochs=100_000, patience=100_000)
METHODS = [mail(), Method("mean", small_dnn, after=Mean())]


class Telling(Quiet):
    """Leaves the number of its process in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def step(self, step, rows, losses):
        self.file.write_text(str(os.getpid()))


class Failing(Quiet):
    def step(self, step, rows, losses):
        raise thaw.errors.TrainingError("the third law")


def telling(folder: Path):
    return lambda name, seed: Telling(folder / f"{name}-{seed}")


def compared(dataset, out, jobs, progress=None, training=ONCE):
    return thaw.compare(
        dataset,
        METHODS,
        out=out,
        seeds=2,
        training=training,
        references=(AttributesOnly(max_trees=3),),
        jobs=jobs,
        progress=progress,
    )


def test_runs_in_processes_say_what_runs_in_turn_say(dataset, tmp_path):
    (tmp_path / "told").mkdir()
    found = compared(dataset, tmp_path / "at-once", 2, telling(tmp_path / "told"))
    expected = compared(dataset, tmp_path / "in-turn", 1)
    assert [line.name for line in found.lines] == [line.name for line in expected.lines]
    for one, other in zip(found.lines, expected.lines, strict=True):
        for own, alone in zip(one.cells, other.cells, strict=True):
            assert own.auc.values == pytest.approx(alone.auc.values, abs=1e-6)
    told = {file.name: int(file.read_text()) for file in (tmp_path / "told").iterdir()}
    assert set(told) == {
        f"{n}-{s}" for n in ("small_dnn", "mail", "ceiling of small_dnn") for s in (0, 1)
    }
    assert os.getpid() not in told.values()


def test_what_has_run_is_not_run_again(dataset, tmp_path):
    compared(dataset, tmp_path / "runs", 2)
    told = tmp_path / "told"
    told.mkdir()
    compared(dataset, tmp_path / "runs", 2, telling(told))
    assert not list(told.iterdir())


def test_a_failed_run_fails_the_comparison(dataset, tmp_path):
    with pytest.raises(thaw.errors.TrainingError, match="the third law"):
        compared(dataset, tmp_path, 2, lambda name, seed: Failing())


def test_there_is_at_least_one_process(dataset, tmp_path):
    with pytest.raises(thaw.errors.MethodError, match=r"jobs \(=0\) must be 1 or more"):
        compared(dataset, tmp_path, 0)
    assert not list(tmp_path.iterdir())


def compare_for_long(dataset: str, out: str, told: str) -> None:
    """What a process does that will be killed."""
    compared(thaw.Dataset.open(dataset), out, 2, telling(Path(told)), FOREVER)


def test_processes_end_with_a_parent_that_is_killed(dataset, tmp_path):
    told = tmp_path / "told"
    told.mkdir()
    given = (str(dataset.path), str(tmp_path / "runs"), str(told))
    parent = multiprocessing.get_context("spawn").Process(target=compare_for_long, args=given)
    parent.start()
    pids = wait_for(lambda: {int(text) for f in told.iterdir() if (text := f.read_text())}, 2)
    parent.kill()
    parent.join()
    gone = wait_for(lambda: [pid for pid in pids if not is_running(pid)], 2)
    assert set(gone) == pids
    runs = (tmp_path / "runs").glob("*/seed-*")
    epochs = [facts["epoch"] for run in runs if (facts := checkpoint.read_facts(run, "checkpoint"))]
    longer = replace(FOREVER, max_epochs=max(epochs, default=0) + 1)
    compared(dataset, tmp_path / "runs", 2, training=longer)


def wait_for(look, count: int):
    """What there is, as soon as it is as many as that."""
    until = time.monotonic() + 60
    while len(found := look()) < count:
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().split()[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
