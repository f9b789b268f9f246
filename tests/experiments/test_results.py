import json

import pytest
from pyarrow import parquet as pq

import thaw
from builders import TRAINING, mail
from thaw.experiments.results import write_results


@pytest.fixture(scope="module")
def written(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    found = thaw.compare(dataset, [mail()], out=folder / "runs", seeds=2, training=TRAINING)
    write_results(found, folder / "results.parquet")
    return found, pq.read_table(folder / "results.parquet").to_pylist()


def test_there_is_a_row_for_each_seed_task_and_segment(written):
    found, rows = written
    keys = [(row["method"], row["seed"], row["task"], row["segment"]) for row in rows]
    assert len(set(keys)) == len(keys) == len(found.lines) * 2 * 2
    assert {seed for name, seed, *_ in keys if name == "attributes-only"} == {0, 1}
    first = found.lines[1].cell("click", "old").measures[1]
    row = next(r for r in rows if (r["method"], r["seed"], r["segment"]) == ("mail", 1, "old"))
    assert (row["auc"], row["users"]) == (first.auc, first.users)


def test_a_row_says_how_it_came_about(written):
    rows = [row for row in written[1] if row["method"] == "mail"]
    configuration = json.loads(rows[0]["configuration"])
    assert configuration["method"]["mail"]["users_per_step"] == mail().mail.users_per_step
    assert configuration["training"]["dim"] == TRAINING.dim
    assert "dataset" not in configuration  # a path, which says nothing elsewhere
    assert "torch" in json.loads(rows[0]["versions"])
    assert rows[0]["rows_per_second"] > 0
    assert rows[0]["r2_pooled"] == pytest.approx(written[0].lines[1].foretold[0].pooled)


def test_what_was_not_trained_is_null(written):
    reference = next(row for row in written[1] if row["kind"] == "reference")
    assert reference["configuration"] is None
    assert reference["epochs"] is None
    assert reference["auc"] > 0
