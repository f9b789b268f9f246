"""How far something is to be believed: as far as it foretells users whom it did not learn from."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, stdtrit

MOST_STEPS = 30
TINY = 1e-6


@dataclass(frozen=True)
class Belief:
    """A logistic regression of labels on parts of their log-odds.

    Attributes:
        slopes: [parts + 1], of each, and the constant.
        errors: [parts + 1], their standard errors; users are independent, and their rows are not.
        users: how many these are.
        log_loss: the mean, in nats.
    """

    slopes: np.ndarray
    errors: np.ndarray
    users: int
    log_loss: float

    @property
    def strengths(self) -> np.ndarray:
        """[parts], the slopes as far as they are to be believed."""
        return believed(self.slopes, self.errors, self.users - len(self.slopes))[:-1]


def believed(slopes: np.ndarray, errors: np.ndarray, freedom: int) -> np.ndarray:
    """Return slopes as far as they are to be believed, between 0 and 1.

    One that is not significantly above 0 (Student's t, 5 %, both sides) is not believed at all.
    Others are shrunk by their noise (James and Stein).

    Args:
        slopes: least-squares or logistic ones, of labels or behavior on what foretells them.
        errors: their standard errors.
        freedom: the degrees of freedom of the errors.
    """
    if freedom < 1:
        return np.zeros_like(slopes)
    is_sure = slopes > stdtrit(freedom, 0.975) * errors
    slopes = np.where(is_sure, slopes, 1)
    return np.where(is_sure, np.clip(slopes - errors**2 / slopes, 0, 1), 0)


def believe(labels: np.ndarray, parts: np.ndarray, users: np.ndarray) -> Belief:
    """Regress labels [N] on parts [N, parts] of their log-odds and a constant, by Newton's method.

    Errors are a jackknife's that leaves out one user at a time, to first order (CR3). Where labels
    are all the same, or the regression has no end, nothing is to be learned, and slopes are 0.

    Args:
        labels: between 0 and 1.
        parts: columns.
        users: [N], whose row each is.
    """
    size = parts.shape[1] + 1
    nothing = Belief(np.zeros(size), np.zeros(size), 0, 0.0)
    if labels.size == 0 or labels.min() == labels.max():
        return nothing
    x = np.column_stack([parts, np.ones(len(parts))]).astype(np.float64)
    slopes = np.zeros(size)
    slopes[-1] = np.log((labels.mean() + TINY) / (1 - labels.mean() + TINY))
    ridge = TINY * len(x) * np.eye(size)
    for _ in range(MOST_STEPS):
        found = expit(x @ slopes)
        weighted = x * (found * (1 - found))[:, None]
        step = np.linalg.solve(weighted.T @ x + ridge, x.T @ (labels - found))
        slopes = slopes + step
        if np.abs(step).max() < TINY:
            break
    else:
        return nothing
    logits = x @ slopes
    found = expit(logits)
    count, away, curvature = _by_user(x, labels - found, found * (1 - found), users)
    inverse = np.linalg.inv(curvature.sum(0) + ridge)
    # What each user's labels would move the slopes by, were they left out.
    without = np.eye(size) - curvature @ inverse
    moves = np.linalg.solve(without + TINY * np.eye(size), away[:, :, None])[:, :, 0] @ inverse
    errors = np.sqrt(np.square(moves).sum(0) * (count - 1) / count)
    log_loss = float((np.logaddexp(0, logits) - labels * logits).mean())
    return Belief(slopes, errors, count, log_loss)


def _by_user(
    x: np.ndarray, residuals: np.ndarray, weights: np.ndarray, users: np.ndarray
) -> tuple[int, np.ndarray, np.ndarray]:
    """The number of users, each one's gradient [U, n], and its curvature [U, n, n]."""
    order = np.argsort(users, kind="stable")
    _, starts = np.unique(users[order], return_index=True)
    x, residuals, weights = x[order], residuals[order], weights[order]
    away = np.add.reduceat(x * residuals[:, None], starts)
    pairs = (x * weights[:, None])[:, :, None] * x[:, None, :]
    return len(starts), away, np.add.reduceat(pairs, starts)
