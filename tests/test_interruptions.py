"""Runs that are stopped at any moment, and go on."""

import multiprocessing
import random
import signal
import threading
import time
from dataclasses import replace

import pytest

import thaw
from builders import (
    PLAIN,
    TRAINING,
    Watching,
    assert_same_end,
    end_of,
    mail,
    train_at,
)
from thaw import checkpoint


@pytest.mark.parametrize("step", [0, 3, 6, 7, 12])
def test_ctrl_c_leaves_a_checkpoint_and_resuming_ends_with_the_same_bits(
    dataset, finished, tmp_path, step
):
    handler = signal.getsignal(signal.SIGINT)
    stop = Watching(lambda: signal.raise_signal(signal.SIGINT), at_step=step)
    with pytest.raises(KeyboardInterrupt):
        thaw.train(dataset, mail(), TRAINING, out=tmp_path / "run", progress=stop)
    assert stop.steps[-1] == step
    assert len(checkpoint.read(tmp_path / "run", "checkpoint")[0]["losses"]) == step + 1
    assert signal.getsignal(signal.SIGINT) is handler
    seen = Watching()
    thaw.train(dataset, mail(), TRAINING, out=tmp_path / "run", resume=True, progress=seen)
    assert seen.steps == list(range(step + 1, 14))
    assert_same_end(tmp_path / "run", dataset, finished)


@pytest.mark.parametrize("epoch", [0, 1])
def test_ctrl_c_between_epochs_stops_too(dataset, finished, tmp_path, epoch):
    stop = Watching(lambda: signal.raise_signal(signal.SIGINT), at_epoch=epoch)
    with pytest.raises(KeyboardInterrupt):
        thaw.train(dataset, mail(), TRAINING, out=tmp_path / "run", progress=stop)
    thaw.train(dataset, mail(), TRAINING, out=tmp_path / "run", resume=True)
    assert_same_end(tmp_path / "run", dataset, finished)


def test_a_second_ctrl_c_stops_at_once(dataset, tmp_path):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        thaw.train(
            dataset, PLAIN, TRAINING, out=tmp_path / "run", progress=Watching(twice, at_step=1)
        )
    assert checkpoint.read(tmp_path / "run", "checkpoint") is None


def test_training_runs_in_a_thread(dataset, finished, tmp_path):
    arguments = {"out": tmp_path / "run"}
    thread = threading.Thread(target=thaw.train, args=(dataset, mail(), TRAINING), kwargs=arguments)
    thread.start()
    thread.join()
    assert_same_end(tmp_path / "run", dataset, finished)


def killed_after(seconds, folder, arguments):
    """Kill a process that trains, so long after its first checkpoint; return its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["builders", "torch._dynamo"])
    process = context.Process(target=train_at, args=arguments)
    before = sorted(folder.glob("checkpoint-*"))
    process.start()
    while process.is_alive() and sorted(folder.glob("checkpoint-*")) == before:
        time.sleep(0.001)
    time.sleep(seconds)
    process.kill()
    process.join()
    return process.exitcode


def test_killed_at_any_moment_it_resumes_with_the_same_bits(dataset, tmp_path):
    options = replace(TRAINING, max_epochs=6, patience=6, checkpoint_seconds=0.0)
    draw, folder = random.Random(0), tmp_path / "killed"
    arguments = (str(dataset.path), str(folder), mail(), options)
    exits = [killed_after(draw.random() * 0.03, folder, arguments) for _ in range(4)]
    assert exits[0] == -signal.SIGKILL
    thaw.train(dataset, mail(), options, out=folder, resume=True)
    thaw.train(dataset, mail(), options, out=tmp_path / "whole")
    ends = [end_of(each, dataset, mail(), options) for each in (folder, tmp_path / "whole")]
    assert [name for name in ends[0] if ends[0][name] != ends[1][name]] == []


def test_a_run_killed_before_its_first_checkpoint_starts_again(dataset, finished, tmp_path):
    class Killed(BaseException):
        pass

    def die():
        raise Killed

    for step in (0, 4):
        with pytest.raises(Killed):
            thaw.train(
                dataset,
                mail(),
                TRAINING,
                out=tmp_path / "run",
                resume=True,
                progress=Watching(die, at_step=step),
            )
    thaw.train(dataset, mail(), TRAINING, out=tmp_path / "run", resume=True)
    assert_same_end(tmp_path / "run", dataset, finished)


def test_a_run_killed_before_it_said_what_it_is_starts_again(dataset, finished, tmp_path):
    folder = tmp_path / "run"
    (folder / "vocabularies").mkdir(parents=True)
    (folder / "vocabularies" / "users.city.arrow").write_bytes(b"half")
    (folder / ".run.json.partial").write_text("{")
    thaw.train(dataset, mail(), TRAINING, out=folder)
    assert_same_end(folder, dataset, finished)
