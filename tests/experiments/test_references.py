import importlib.util

import numpy as np
import pytest

import thaw
from builders import TRAINING, mail
from conftest import make_schema, make_tables
from thaw.data import Entities
from thaw.experiments.references import (
    AttributesOnly,
    LightFM,
    _features,
    _pairs,
    standard_references,
)
from thaw.metrics import auc
from thaw.schema import StrictRule


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A data set in which a click follows from the pair of city and category, and nothing else."""
    tables = make_tables(seed=3, users=90)
    cities = {row["user_id"]: row["city"] for row in tables["users"]}
    categories = {row["item_id"]: row["category"] for row in tables["items"]}
    for row in tables["impressions"]:
        city, category = cities[row["user"]], categories[row["item"]]
        row["clicked"] = int((city == "Rome") == (category in ("c0", "c2")))
    schema = make_schema(new_users=StrictRule(rule="strict"))
    return thaw.prepare(schema, tables, out=tmp_path_factory.mktemp("told") / "dataset")


def new_auc(dataset, scores):
    rows = dataset.is_new("test")
    return auc(np.asarray(dataset.splits["test"].labels)[rows, 0], scores[rows, 0])


def test_trees_find_what_pairs_of_attributes_and_features_decide(told):
    with_pairs = AttributesOnly().scores(told, 0)
    assert with_pairs.shape == (len(told.splits["test"]), 1)
    assert new_auc(told, with_pairs) > 0.95


def test_what_a_rare_attribute_tells_of_a_known_user_is_not_believed_of_a_new_one(tmp_path):
    """Two users a street, who click as often as they like; items of two categories are better."""
    tables, random = make_tables(seed=5, users=200), np.random.default_rng(0)
    categories = {row["item_id"]: row["category"] for row in tables["items"]}
    level = {row["user_id"]: 2 * random.normal() for row in tables["users"]}
    for number, row in enumerate(tables["users"]):
        row["city"] = f"street {number // 2}"
    for row in tables["impressions"]:
        quality = 1 if categories[row["item"]] in ("c0", "c2") else -1
        row["clicked"] = int(random.logistic() < level[row["user"]] + quality)
    schema = make_schema(new_users=StrictRule(rule="strict"))
    dataset = thaw.prepare(schema, tables, out=tmp_path / "dataset")
    found = [new_auc(dataset, AttributesOnly().scores(dataset, seed)) for seed in range(3)]
    assert np.mean(found) > 0.61  # 0.57 with the same user in several folds, 0.64 by category alone


def test_scores_follow_from_the_seed_alone(told):
    again = [AttributesOnly(rows=200).scores(told, seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(again[0], again[1])
    assert (again[0] != again[2]).any()


def test_test_labels_are_not_seen(told, monkeypatch):
    before = AttributesOnly().scores(told, 0)
    test = told.splits["test"]
    monkeypatch.setitem(
        told.splits, "test", type(test)(**{**vars(test), "labels": 1 - np.asarray(test.labels)})
    )
    np.testing.assert_array_equal(before, AttributesOnly().scores(told, 0))


def test_a_task_that_nobody_does_has_its_rate_for_a_score(told, monkeypatch):
    train = told.splits["train"]
    nothing = np.zeros_like(train.labels)
    monkeypatch.setitem(told.splits, "train", type(train)(**{**vars(train), "labels": nothing}))
    assert (AttributesOnly().scores(told, 0) == 0).all()


def test_a_pair_has_an_id_of_its_own():
    items = Entities(None, np.array([[0, 4], [2, 1]]), np.zeros((2, 0)))
    found = _pairs(np.array([[0], [1], [1]]), np.array([[0, 4], [0, 4], [2, 1]]), items)
    np.testing.assert_array_equal(found, [[0, 4], [3, 9], [5, 6]])


def test_features_are_one_for_each_value():
    table = Entities(None, np.array([[0, 1], [1, 0]]), np.zeros((2, 0)))
    np.testing.assert_array_equal(
        _features(table, 0).toarray(), [[0.5, 0, 0, 0.5], [0, 0.5, 0.5, 0]]
    )
    np.testing.assert_array_equal(_features(table, 1).toarray(), [[0, 1], [1, 0]])
    assert _features(table, 2).shape == (2, 1)


def test_a_comparison_measures_the_share_of_what_attributes_allow(told, tmp_path):
    found = thaw.compare(told, [mail()], out=tmp_path, seeds=1, training=TRAINING)
    base, method, _, reference, without = found.lines
    assert (reference.name, reference.kind) == ("attributes-only", "reference")
    assert (without.name, without.kind) == ("no-attributes", "reference")
    (pair,) = found.against
    assert (pair.name, pair.base) == ("attributes-only", "no-attributes")
    assert pair.cell("click", "new").auc.test.difference > 0.05  # attributes tell all there is
    values = [line.cell("click", "new").auc.interval.mean for line in (base, method, reference)]
    reached = method.cell("click", "new").auc.reached
    assert reached.mean == pytest.approx((values[1] - values[0]) / (values[2] - values[0]))
    assert reached.low <= reached.mean <= reached.high


@pytest.mark.skipif(not LightFM.is_installed(), reason="needs the extra 'lightfm'")
def test_lightfm_scores_every_row(told):
    scores = LightFM(max_epochs=2).scores(told, 0)
    assert scores.shape == (len(told.splits["test"]), 1)
    assert ((scores > 0) & (scores < 1)).all()


def test_lightfm_stands_among_the_references_where_it_is_installed():
    names = [each.name for each in standard_references()]
    is_there = importlib.util.find_spec("lightfm") is not None
    assert names == ["attributes-only", "no-attributes", "lightfm"][: 2 + is_there]
