"""How far a part of some log-odds is to be believed: as far as it foretells others' labels."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

MOST_STEPS = 30
TINY = 1e-6
SURE = 1.96
"""So many standard errors above 0 a slope must be, or nothing is believed."""


@dataclass(frozen=True)
class Belief:
    """A logistic regression of labels on parts of their log-odds.

    Attributes:
        slopes: [parts], of each.
        errors: [parts], their standard errors, users being independent and their rows not.
        log_loss: the mean, in nats.
    """

    slopes: np.ndarray
    errors: np.ndarray
    log_loss: float

    @property
    def strengths(self) -> np.ndarray:
        """[parts] between 0 and 1: slopes shrunk by their noise (James and Stein).

        A slope that is not significantly above 0 is not believed at all.
        """
        is_sure = self.slopes > SURE * self.errors
        slopes = np.where(is_sure, self.slopes, 1)
        return np.where(is_sure, np.clip(slopes - self.errors**2 / slopes, 0, 1), 0)


def believe(labels: np.ndarray, parts: np.ndarray, users: np.ndarray) -> Belief:
    """Regress labels [N] on parts [N, parts] of their log-odds and a constant, by Newton's method.

    Where all labels are the same, nothing is to be learned, and the slopes are 0.

    Args:
        labels: 0 or 1.
        parts: columns.
        users: [N], whose row each is.
    """
    if labels.size == 0 or labels.min() == labels.max():
        return Belief(np.zeros(parts.shape[1]), np.zeros(parts.shape[1]), 0.0)
    x = np.column_stack([parts, np.ones(len(parts))]).astype(np.float64)
    slopes = np.zeros(x.shape[1])
    slopes[-1] = np.log((labels.mean() + TINY) / (1 - labels.mean() + TINY))
    ridge = TINY * len(x) * np.eye(x.shape[1])
    for _ in range(MOST_STEPS):
        away, curvature = _derivatives(x, labels, slopes, ridge)
        step = np.linalg.solve(curvature, away.sum(0))
        slopes += step
        if np.abs(step).max() < TINY:
            break
    away, curvature = _derivatives(x, labels, slopes, ridge)
    _, place = np.unique(users, return_inverse=True)
    by_user = np.zeros((place.max() + 1, x.shape[1]))
    np.add.at(by_user, place, away)
    inverse = np.linalg.inv(curvature)
    spread = inverse @ (by_user.T @ by_user) @ inverse
    logits = x @ slopes
    log_loss = float((np.logaddexp(0, logits) - labels * logits).mean())
    return Belief(slopes[:-1], np.sqrt(np.diag(spread))[:-1], log_loss)


def _derivatives(
    x: np.ndarray, labels: np.ndarray, slopes: np.ndarray, ridge: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of the log-likelihood: each row's gradient [N, n], and the curvature [n, n]."""
    found = expit(x @ slopes)
    return x * (labels - found)[:, None], (x * (found * (1 - found))[:, None]).T @ x + ridge
