import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from thaw import checkpoint
from thaw.errors import TrainingError


class Killed(BaseException):
    """Stands for the end of the process."""


def write(folder, number):
    """A checkpoint in which everything says `number`."""
    tensors = {"a": torch.full((3, 2), float(number)), "b": torch.tensor(number)}
    checkpoint.write(folder, "checkpoint", tensors, {"number": number, "list": [1.5, None]})


def number_of(found):
    """The number that all of a checkpoint says."""
    tensors, facts = found
    numbers = {*tensors["a"].flatten().tolist(), float(tensors["b"]), float(facts["number"])}
    assert len(numbers) == 1
    return int(numbers.pop())


def test_what_is_written_is_read(tmp_path):
    assert checkpoint.read(tmp_path, "checkpoint") is None
    write(tmp_path, 7)
    tensors, facts = checkpoint.read(tmp_path, "checkpoint")
    assert torch.equal(tensors["a"], torch.full((3, 2), 7.0))
    assert facts == {"number": 7, "list": [1.5, None]}


def test_weights_that_are_tied_are_written_twice(tmp_path):
    tied = torch.ones(2)
    checkpoint.write(tmp_path, "model", {"one": tied, "other": tied}, {})
    tensors, _ = checkpoint.read(tmp_path, "model")
    assert torch.equal(tensors["one"], tensors["other"])


def test_the_latest_replaces_all_others(tmp_path):
    for number in (3, 1, 1, 2):
        write(tmp_path, number)
        assert number_of(checkpoint.read(tmp_path, "checkpoint")) == number
        assert len(list(tmp_path.iterdir())) == 1


def test_names_are_kept_apart(tmp_path):
    write(tmp_path, 1)
    checkpoint.write(tmp_path, "model", {"w": torch.ones(1)}, {})
    write(tmp_path, 2)
    assert checkpoint.read(tmp_path, "model")[0]["w"] == 1


def test_files_are_safetensors_and_json(tmp_path):
    write(tmp_path, 1)
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["facts.json", "tensors.safetensors"]
    assert load_file(folder / "tensors.safetensors").keys() == {"a", "b"}
    assert json.loads((folder / "facts.json").read_text())["number"] == 1


def interrupted(monkeypatch, after):
    """Let the process end at the file operation of that number; return how many were asked for."""
    counted = []

    def dying(call):
        def operation(*arguments, **options):
            counted.append(call)
            if len(counted) > after:
                raise Killed
            return call(*arguments, **options)

        return operation

    monkeypatch.setattr(os, "fsync", dying(os.fsync))
    monkeypatch.setattr(os, "mkdir", dying(os.mkdir))
    monkeypatch.setattr(shutil, "rmtree", dying(shutil.rmtree))
    monkeypatch.setattr(checkpoint, "save_file", dying(checkpoint.save_file))
    for name in ("rename", "write_text"):
        monkeypatch.setattr(Path, name, dying(getattr(Path, name)))
    return counted


@pytest.mark.parametrize("after", range(11))
def test_killed_anywhere_it_leaves_the_former_or_the_new_one(tmp_path, monkeypatch, after):
    write(tmp_path, 1)
    with monkeypatch.context() as patch:
        counted = interrupted(patch, after)
        try:
            write(tmp_path, 2)
        except Killed:
            assert len(counted) == after + 1
        else:
            assert after >= len(counted) > 8
    assert number_of(checkpoint.read(tmp_path, "checkpoint")) in (1, 2)
    write(tmp_path, 3)
    assert number_of(checkpoint.read(tmp_path, "checkpoint")) == 3
    assert len(list(tmp_path.iterdir())) == 1


def test_half_a_removal_hurts_nobody(tmp_path):
    write(tmp_path, 1)
    (first,) = tmp_path.iterdir()
    shutil.copytree(first, tmp_path / "aside")
    write(tmp_path, 2)
    (tmp_path / "aside").rename(first)
    (first / "facts.json").unlink()
    assert number_of(checkpoint.read(tmp_path, "checkpoint")) == 2


def test_a_full_disk_leaves_the_former_one(tmp_path, monkeypatch):
    write(tmp_path, 1)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(TrainingError, match="No space left"):
        write(tmp_path, 2)
    assert number_of(checkpoint.read(tmp_path, "checkpoint")) == 1


def test_broken_files_are_told(tmp_path):
    write(tmp_path, 1)
    (folder,) = tmp_path.iterdir()
    (folder / "tensors.safetensors").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=r"can't be read .* remove it and start again"):
        checkpoint.read(tmp_path, "checkpoint")


def test_one_that_is_replaced_while_it_is_read_is_no_error(tmp_path, monkeypatch):
    write(tmp_path, 1)
    (first,) = tmp_path.iterdir()
    read_text = Path.read_text

    def replaced(path):
        if path.parent == first:
            write(tmp_path, 2)
        return read_text(path)

    monkeypatch.setattr(Path, "read_text", replaced)
    assert number_of(checkpoint.read(tmp_path, "checkpoint")) == 2


def test_tensors_that_are_views_are_written(tmp_path):
    table = torch.arange(12.0).view(3, 4)
    checkpoint.write(tmp_path, "model", {"t": table.T}, {})
    assert torch.equal(checkpoint.read(tmp_path, "model")[0]["t"], table.T)


def test_what_can_not_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="no model could be written"):
        checkpoint.write(tmp_path / "file", "model", {"x": torch.zeros(1)}, {})
