"""The industrial world has the paper's shape, and can be prepared."""

from pathlib import Path

import pytest
from pyarrow import parquet

import thaw
from thaw.data import Dataset
from thaw.datasets import KNOWN, industrial_schema, industrial_world, simulate

WORLD = industrial_world(users=150, items=200, impressions_per_user=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(WORLD, tmp_path_factory.mktemp("industrial") / "tables")


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return thaw.prepare(industrial_schema(WORLD), data=folder, out=folder.parent / "dataset")


def test_it_has_the_shape_of_table_1() -> None:
    schema = KNOWN["industrial"].schema()
    assert schema.name == "industrial"
    assert len(schema.users.fields) == 21
    assert len(schema.impressions.context) == 75
    assert len(schema.items.fields) == 105
    assert (industrial_world().items, industrial_world().events_per_user) == (52_831, 79)
    assert [(task.name, task.given) for task in schema.tasks] == [
        ("click", None),
        ("conversion", "click"),
    ]


def test_nearly_half_of_the_users_are_new(dataset: Dataset) -> None:
    assert dataset.hidden.mean() == pytest.approx(282_081 / 613_221, abs=0.01)


def test_every_field_is_prepared_with_its_values(dataset: Dataset, folder: Path) -> None:
    assert dataset.users.codes.shape[1] == 21
    assert dataset.items.codes.shape[1] + dataset.items.dense.shape[1] == 105
    raw = parquet.read_table(folder / "items.parquet").sort_by("item_id")
    assert dataset.items.keys.to_pylist() == raw["item_id"].to_pylist()
    fields = [field.name for field in dataset.schema.items.fields if field.kind == "categorical"]
    for name in ("feature_5", "feature_25", "feature_60", "feature_105"):
        values = dataset.vocabularies.values[f"items.{name}"]
        codes = dataset.items.codes[:, fields.index(name)]
        known = {code: values[int(code) - 2].as_py() for code in set(codes.tolist()) if code > 1}
        told = zip(codes.tolist(), raw[name].to_pylist(), strict=True)
        assert all(
            text is None if code == 0 else code == 1 or known[code] == text for code, text in told
        )
