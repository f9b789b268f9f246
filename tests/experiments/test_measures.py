import numpy as np
import pytest

from thaw import metrics
from thaw.experiments.measures import measure, measured_names, segment, with_conditionals
from thaw.predicting import Predictions
from thaw.schema import Task

TASKS = (Task(name="click"), Task(name="conversion", given="click"))


@pytest.fixture
def found():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, (60, 2)).astype(np.int8)
    probabilities = draw.random((60, 2), np.float32)
    return Predictions(draw.integers(0, 9, 60), draw.random(60) < 0.4, labels, probabilities)


def test_segments_part_the_rows(found):
    assert (segment(found, "new", 0) ^ segment(found, "old", 0)).all()
    assert segment(found, "new", 0).tolist() == found.is_new.tolist()


@pytest.mark.parametrize("name", ["new", "old"])
@pytest.mark.parametrize("task", [0, 1])
def test_measures_are_the_metrics_of_the_segments_rows(found, name, task):
    rows = found.is_new if name == "new" else ~found.is_new
    labels, scores = found.labels[rows, task], found.probabilities[rows, task]
    grouped = metrics.gauc(labels, scores, found.user[rows])
    result = measure(found, name, task)
    assert result.auc == metrics.auc(labels, scores)
    assert (result.gauc, result.kept_share) == (grouped.value, grouped.kept_share)
    assert result.log_loss == metrics.log_loss(labels, scores)
    assert result.calibration == metrics.calibration(labels, scores).ratio
    assert (result.impressions, result.users) == (rows.sum(), len(set(found.user[rows])))


def test_an_empty_segment_is_nan(found):
    nobody = Predictions(found.user, np.zeros(60, bool), found.labels, found.probabilities)
    result = measure(nobody, "new", 0)
    assert np.isnan([result.auc, result.gauc, result.log_loss, result.calibration]).all()
    assert (result.impressions, result.users) == (0, 0)


def conditional(*rows: tuple[int, int, float, float]) -> Predictions:
    """Rows of one new user: click and conversion, and what is said of both."""
    labels, probabilities = np.array(rows)[:, :2], np.array(rows, np.float32)[:, 2:]
    one, is_new = np.zeros(len(rows), int), np.ones(len(rows), bool)
    found = Predictions(one, is_new, labels.astype(np.int8), probabilities)
    return with_conditionals(found, TASKS)


def test_what_is_measured_is_each_task_and_each_given_another():
    assert measured_names(TASKS) == ("click", "conversion", "conversion given click")
    assert measured_names(TASKS[:1]) == ("click",)


def test_cvr_is_the_quotient_where_there_was_a_click():
    found = conditional(
        (1, 1, 0.50, 0.20),  # 0.4
        (1, 0, 0.80, 0.24),  # 0.3, although its conversion is the likelier
        (1, 1, 0.25, 0.05),  # 0.2, below the row that did not convert
        (0, 0, 0.50, 0.45),  # no click: not measured
    )
    result = measure(found, "new", 2)
    assert result.auc == result.gauc == 0.5
    assert (result.impressions, result.users) == (3, 1)
    assert result.calibration == pytest.approx((0.4 + 0.3 + 0.2) / 2)
    assert result.log_loss == pytest.approx(-np.log([0.4, 0.7, 0.2]).mean())


def test_the_tasks_themselves_are_measured_on_all_rows():
    found = conditional((1, 1, 0.5, 0.2), (1, 0, 0.8, 0.24), (0, 0, 0.5, 0.45))
    # of the two pairs the conversion's score wins none; of the clicks' pairs one is won, one tied
    assert measure(found, "new", 1).auc == 0
    assert measure(found, "new", 0).auc == 0.75
    assert measure(found, "new", 0).impressions == measure(found, "new", 1).impressions == 3


def test_a_quotient_above_one_counts_as_one():
    found = conditional((1, 1, 0.2, 0.3), (1, 0, 0.0, 0.0))
    assert found.probabilities[:, 2].tolist() == [1, 0]
