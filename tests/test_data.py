"""A prepared dataset, opened."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from conftest import Tables
from thaw.data import Dataset
from thaw.errors import DataError
from thaw.tables.vocabularies import FIRST, MISSING, UNKNOWN


def test_what_is_no_dataset_is_told(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "none", tmp_path / "file"):
        with pytest.raises(
            DataError, match="no prepared dataset here; make one with 'thaw prepare'"
        ):
            Dataset.open(path)
    copy = shutil.copytree(dataset.path, tmp_path / "copy")
    (copy / "manifest.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(DataError, match="format 99, this thaw reads 2; prepare it again"):
        Dataset.open(copy)


def test_a_dataset_can_be_moved(tmp_path: Path, dataset: Dataset) -> None:
    moved = Dataset.open(shutil.copytree(dataset.path, tmp_path / "elsewhere"))
    assert moved.fingerprint == dataset.fingerprint
    np.testing.assert_array_equal(moved.splits["test"].codes, dataset.splits["test"].codes)


def test_arrays_are_mapped_and_nothing_is_padded(dataset: Dataset, tables: Tables) -> None:
    train = dataset.splits["train"]
    assert isinstance(train.codes, np.memmap)
    assert isinstance(dataset.events.codes, np.memmap)
    assert dataset.events.codes.shape == (len(tables["events"]), 3)
    assert (train.codes.dtype, train.labels.dtype) == (np.int32, np.int8)
    with pytest.raises(ValueError, match="read-only"):
        train.codes[0, 0] = 1


def test_a_vocabulary_gives_the_ids_of_texts(dataset: Dataset) -> None:
    values = dataset.vocabularies.values["users.city"].to_pylist()
    texts = pa.array([*values, None, "Atlantis", ""])
    found = dataset.vocabularies.encode("users.city", texts)
    expected = [*range(FIRST, FIRST + len(values)), MISSING, UNKNOWN, UNKNOWN]
    assert found.tolist() == expected
    assert dataset.vocabularies.rows("users.city") == len(values) + FIRST


def test_new_is_who_shows_no_behavior(dataset: Dataset) -> None:
    for name, rows in dataset.splits.items():
        expected = [
            rows.pointer[row] == 0 or dataset.hidden[rows.user[row]] for row in range(len(rows))
        ]
        assert dataset.is_new(name).tolist() == expected
    assert 0.4 < dataset.is_new("test").mean() < 0.6


def test_the_layout_gives_every_field_its_own_rows(dataset: Dataset) -> None:
    layout = dataset.layout
    assert layout.rows == sum(layout.sizes)
    assert layout.attributes.names == ("user_id", "city", "age")
    assert layout.target.names == ("item_id", "category", "price")
    assert layout.shared == (1, None)  # an event's category is the target's
    assert layout.events.starts[0] == layout.target.starts[1]
    dense = [*layout.attributes.dense_rows, *layout.target.dense_rows]
    assert dense == [layout.rows - 2, layout.rows - 1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", b"{"),
        ("manifest.json", b"[]"),
        ("users/hidden.npy", b""),
        ("train/user.npy", None),
        ("train/codes.npy", b"\x93NUMPY\x01\x00"),
        ("users/keys.arrow", b"ARROW1"),
    ],
)
def test_a_damaged_dataset_is_told(
    name: str, content: bytes | None, dataset: Dataset, tmp_path: Path
) -> None:
    copy = shutil.copytree(dataset.path, tmp_path / "copy")
    (copy / name).unlink() if content is None else (copy / name).write_bytes(content)
    with pytest.raises(DataError, match=r"copy: is damaged \(.*\); prepare it again"):
        Dataset.open(copy)


def test_a_file_that_changed_is_told(tmp_path: Path, dataset: Dataset) -> None:
    copy = shutil.copytree(dataset.path, tmp_path / "copy")
    Dataset.open(copy).verify()
    with (copy / "train/pointer.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    (copy / "test/item.npy").unlink()
    with pytest.raises(DataError, match=r"test/item.npy, train/pointer.npy differ from their"):
        dataclasses.replace(dataset, path=copy).verify()
