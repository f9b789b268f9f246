"""The bootstrap over users: what a metric, a difference or a ratio would be on other users.

Users are drawn with replacement, each with all their impressions, because impressions of one user
are not independent. Resamples depend on the users and the seed alone: two methods measured on the
same impressions are measured on the same resamples, and what they share cancels.
Letters in shapes: N impressions, U distinct users, M models, R replicates.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from thaw.metrics import UserAUCs, Weights, as_labels, as_scores, as_users, check_choice, user_aucs
from thaw.metrics import gap_closed as plain_gap_closed
from thaw.statistics import Interval, PairedTest, check_level

Statistic = Literal["auc", "gauc"]

MOST_REPLICATES, LEAST_REPLICATES = 2_000, 200
"""A p-value of 0.05 has a standard error of 0.007 by 2,000 resamples, of 0.022 by 200."""

MOST_PLACES = 400_000_000
"""So many impressions, resample by resample, are counted for a model: seconds."""

FEWEST_USERS = 10
"""Of fewer, resamples hold too few others, and call differences certain that are chance."""

_Array = npt.NDArray[Any]
_Bools = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Resampled:
    """A metric, the mean over models, on all users as they are and on resamples of them.

    Attributes:
        value: on all users.
        replicates: (R,) float64 on the resamples, NaN where it is undefined; none at all of fewer
            than FEWEST_USERS users: one user resampled is that user again, which looks like
            certainty and isn't.
        n: number of users that the metric rests on.
    """

    value: float
    replicates: _Floats
    n: int

    def interval(self, level: float = 0.95) -> Interval:
        """The metric with its percentile interval.

        The bounds are NaN if a class is missing from more resamples than a tail holds.
        """
        return Interval(self.value, *_percentiles(self.replicates, level))

    def against(self, base: "Resampled", level: float = 0.95) -> PairedTest:
        """The two-sided test of a metric against a base's, on the same resamples.

        The p-value is twice the smaller share of resamples on one side of zero, each count plus
        one: at least 2 / (R + 1). It speaks for these trained models, not for other seeds. Bounds
        and p-value are NaN as for `interval`, and if no resample tells the two apart.
        """
        differences = self.replicates - base.replicates
        low, high = _percentiles(differences, level)
        difference = self.value - base.value
        defined = differences[~np.isnan(differences)]
        if math.isnan(low) or not defined.any():
            return PairedTest(difference, math.nan, math.nan, math.nan, self.n)
        fewer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
        p_value = min(1.0, 2 * (fewer + 1) / (defined.size + 1))
        return PairedTest(difference, low, high, p_value, self.n, float(defined.std(ddof=1)))

    def gap_closed(self, base: "Resampled", ceiling: "Resampled", level: float = 0.95) -> Interval:
        """The share of the gap that a method closes, with its interval on the same resamples.

        Resamples in which the ceiling is not above the base have no ratio; the bounds are NaN if
        they are more than a tail holds.
        """
        gaps = ceiling.replicates - base.replicates
        ways = self.replicates - base.replicates
        ratios = np.divide(ways, gaps, out=np.full_like(gaps, math.nan), where=gaps > 0)
        mean = plain_gap_closed(base.value, self.value, ceiling.value)
        return Interval(mean, *_percentiles(ratios, level))


def resample_users(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    users: npt.ArrayLike,
    statistic: Statistic = "auc",
    *,
    weights: Weights = "impressions",
    replicates: int | None = None,
    seed: int = 0,
) -> Resampled:
    """Measure one model, or several models' mean, on all users and on resamples of them.

    Args:
        labels: (N,) 0 or 1.
        scores: (N,) finite numbers, or (M, N): a row for each model.
        users: (N,) integer ids of the users.
        statistic: "auc" or "gauc".
        weights: what a user counts for in GAUC.
        replicates: number of resamples R; by default 2,000, for more than 200,000 impressions
            fewer, down to 200.
        seed: of the resampling.

    Raises:
        ValueError: for labels, scores or users that make no sense, or no replicates.
    """
    check_choice("statistic", statistic, get_args(Statistic))
    positive, models = as_labels(labels), np.atleast_2d(np.asarray(scores))
    if replicates is None:
        few = MOST_PLACES // max(1, positive.size)
        replicates = min(max(few, LEAST_REPLICATES), MOST_REPLICATES)
    if replicates < 1:
        raise ValueError(f"`replicates` (={replicates}) must be 1 or more")
    ids = as_users(users, positive.size)
    metrics = [_prepare(statistic, positive, each, ids, weights) for each in models]
    value = float(np.mean([metric.at(metric.once()) for metric in metrics]))
    return Resampled(value, _replicate(metrics, replicates, seed), metrics[0].num_informative)


@dataclass(frozen=True)
class _UserMetric:
    """A metric as a function of how often each user counts, prepared for many resamples.

    Attributes:
        num_users: number of distinct users U.
        num_informative: number of users that the metric rests on.
        at: gives the metric, or NaN, for (U,) int64 counts of the users by ascending id.
    """

    num_users: int
    num_informative: int
    at: Callable[[_Ints], float]

    def once(self) -> _Ints:
        """(U,) counts of the data as they are."""
        return np.ones(self.num_users, np.int64)


def _prepare(
    statistic: Statistic, positive: _Bools, scores: _Array, ids: _Array, weights: Weights
) -> _UserMetric:
    values = as_scores(scores, positive.size)
    if statistic == "gauc":
        return _prepare_gauc(user_aucs(positive, values, ids), weights)
    return _prepare_auc(positive, values, ids)


def _prepare_gauc(per_user: UserAUCs, weights: Weights) -> _UserMetric:
    share = per_user.weights(weights)
    won = share * np.where(per_user.is_kept, per_user.auc, 0)

    def at(counts: _Ints) -> float:
        total = int(counts @ share)
        return float(counts @ won) / total if total else math.nan

    return _UserMetric(share.size, int(per_user.is_kept.sum()), at)


def _prepare_auc(positive: _Bools, scores: _Array, users: _Array) -> _UserMetric:
    """The AUC without a sort per resample: where each positive stands among the negatives stays.

    Only how often the negatives below it count changes, and a cumulative sum gives that.
    """
    ids, user_nums = np.unique(users, return_inverse=True)
    order = np.argsort(scores)
    positive, scores, user_nums = positive[order], scores[order], user_nums[order]
    below = np.searchsorted(scores[~positive], scores[positive], "left")
    through = np.searchsorted(scores[~positive], scores[positive], "right")
    negative_users, positive_users = user_nums[~positive], user_nums[positive]
    seen = np.zeros(negative_users.size + 1, np.int64)  # negatives before each place, in a resample

    def at(counts: _Ints) -> float:
        small = counts.astype(np.min_scalar_type(counts.max(initial=0)))  # stays in the cache
        np.cumsum(small[negative_users], dtype=np.int64, out=seen[1:])
        won = small[positive_users].astype(np.int64)
        twice_pairs = 2 * int(won.sum()) * int(seen[-1])
        return int(won @ (seen[below] + seen[through])) / twice_pairs if twice_pairs else math.nan

    return _UserMetric(ids.size, ids.size, at)


def _replicate(metrics: list[_UserMetric], replicates: int, seed: int) -> _Floats:
    """The models' mean on each resample: (R,), or (0,) for lack of users."""
    num_users = metrics[0].num_users
    if metrics[0].num_informative < FEWEST_USERS:
        return np.empty(0)
    rng = np.random.default_rng(seed)
    values = np.empty(replicates)
    for number in range(replicates):  # one resample at a time bounds the memory
        drawn = rng.integers(num_users, size=num_users)
        counts = np.bincount(drawn, minlength=num_users)
        values[number] = np.mean([metric.at(counts) for metric in metrics])
    return values


def _percentiles(values: _Floats, level: float) -> tuple[float, float]:
    """The bounds of the middle `level` of the values, NaN if more than a tail is undefined."""
    check_level(level)
    tail = (1 - level) / 2
    _check_replicates(values.size, level)
    if values.size == 0 or np.isnan(values).mean() > tail:
        return math.nan, math.nan
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _check_replicates(replicates: int, level: float) -> None:
    """Refuse a level that the percentiles of so few replicates can't show."""
    needed = math.ceil(round(2 / (1 - level), 6))
    if 0 < replicates < needed:
        raise ValueError(
            f"`replicates` (={replicates}) must be at least {needed} for a level of {level}, so "
            "that one or more fall outside each bound"
        )
