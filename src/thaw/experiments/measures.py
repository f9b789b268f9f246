"""What one run's predictions are worth, for new and for old users apart."""

import math
from dataclasses import dataclass

import numpy as np

from thaw.metrics import auc, calibration, gauc, log_loss
from thaw.predicting import Predictions

SEGMENTS = ("new", "old")


@dataclass(frozen=True)
class Measures:
    """The metrics of one run, one task and one segment of users.

    Attributes:
        auc: over all impressions of the segment.
        gauc: the mean of users' AUCs, weighted by impressions.
        log_loss: in nats.
        calibration: predicted over observed clicks.
        kept_share: the share of users that GAUC keeps: those with both classes.
        impressions: rows in the segment.
        users: users in the segment.
    """

    auc: float
    gauc: float
    log_loss: float
    calibration: float
    kept_share: float
    impressions: int
    users: int


def segment(predictions: Predictions, name: str) -> np.ndarray:
    """[N] bool, the rows of new or of old users."""
    return predictions.is_new if name == "new" else ~predictions.is_new


def measure(found: Predictions, name: str, task: int) -> Measures:
    """Measure a segment; metrics that are undefined on it are NaN."""
    rows = segment(found, name)
    labels, scores = found.labels[rows, task], found.probabilities[rows, task]
    grouped = gauc(labels, scores, found.user[rows])
    # A reference may be any score; as a probability it is judged where it can be one.
    is_probability = bool(((scores >= 0) & (scores <= 1)).all())
    return Measures(
        auc=auc(labels, scores),
        gauc=grouped.value,
        log_loss=log_loss(labels, scores) if is_probability else math.nan,
        calibration=calibration(labels, scores).ratio if is_probability else math.nan,
        kept_share=grouped.kept_share,
        impressions=int(rows.sum()),
        users=grouped.users,
    )
