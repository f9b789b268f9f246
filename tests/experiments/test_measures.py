import numpy as np
import pytest

from thaw import metrics
from thaw.experiments.measures import measure, segment
from thaw.predicting import Predictions


@pytest.fixture
def found():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, (60, 2)).astype(np.int8)
    probabilities = draw.random((60, 2), np.float32)
    return Predictions(draw.integers(0, 9, 60), draw.random(60) < 0.4, labels, probabilities)


def test_segments_part_the_rows(found):
    assert (segment(found, "new") ^ segment(found, "old")).all()
    assert segment(found, "new").tolist() == found.is_new.tolist()


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
