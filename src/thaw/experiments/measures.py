"""What one run's predictions are worth, for new and for old users apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from thaw.metrics import auc, calibration, gauc, log_loss
from thaw.predicting import Predictions
from thaw.schema import Task

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


def segment(predictions: Predictions, name: str, task: int) -> np.ndarray:
    """[N] bool, the rows of new or of old users that a task is measured on."""
    rows = predictions.is_new if name == "new" else ~predictions.is_new
    return rows if predictions.counted is None else rows & predictions.counted[:, task]


def conditional_name(task: str, given: str) -> str:
    """What a task is called where it is measured on the rows with another one's label."""
    return f"{task} given {given}"


def measured_names(tasks: Sequence[Task]) -> tuple[str, ...]:
    """The names of what is measured: the tasks, then each that is given another, given it."""
    given = [conditional_name(task.name, task.given) for task in tasks if task.given is not None]
    return (*(task.name for task in tasks), *given)


def with_conditionals(found: Predictions, tasks: Sequence[Task]) -> Predictions:
    """Add a column for each task that is given another: CVR, where CTCVR and CTR are predicted.

    Its probability is the quotient of the two, and it is measured where the other label is 1. A
    model whose tasks know nothing of each other may give a quotient above 1, which counts as 1.
    """
    labels, scores = [found.labels], [found.probabilities]
    counted = [np.ones(found.labels.shape, bool)]
    columns = {task.name: column for column, task in enumerate(tasks)}
    for column, task in enumerate(tasks):
        if task.given is not None:
            given = columns[task.given]
            part, whole = found.probabilities[:, [column]], found.probabilities[:, [given]]
            quotient = part / np.maximum(whole, np.finfo(whole.dtype).tiny)
            labels.append(found.labels[:, [column]])
            scores.append(np.minimum(quotient, 1))
            counted.append(found.labels[:, [given]] == 1)
    return replace(
        found,
        labels=np.concatenate(labels, axis=1),
        probabilities=np.concatenate(scores, axis=1),
        counted=np.concatenate(counted, axis=1),
    )


def measure(found: Predictions, name: str, task: int) -> Measures:
    """Measure a segment; metrics that are undefined on it are NaN."""
    rows = segment(found, name, task)
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
