"""Intervals and tests for metrics: over training seeds, and over users within one seed.

What can't be computed (one seed, no spread, too few users) is NaN, never a made-up number.
Letters in shapes: N impressions, U distinct users, S seeds, R replicates.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from thaw.metrics import UserAUCs, Weights, as_labels, as_scores, as_users, check_choice, user_aucs

Statistic = Literal["auc", "gauc"]

_MIN_REPEATS = 2  # seeds or users, below which nothing is known of the spread
_PAIRED_LEVEL = 0.95  # of the paired bootstrap's interval
_ROUNDING = 8  # machine epsilons within which differences are taken for equal

_Array = npt.NDArray[Any]
_Bools = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval.

    Attributes:
        mean: the mean over seeds, or the metric on all users as they are for a bootstrap.
        low: lower bound, NaN where the spread can't be known.
        high: upper bound, NaN where the spread can't be known.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """A difference, method minus base, with its interval and two-sided p-value.

    Attributes:
        difference: the mean over seeds, or the difference on all users as they are.
        low: lower bound of the difference, NaN where the test is impossible.
        high: upper bound of the difference, NaN where the test is impossible.
        p_value: of "no difference", in (0, 1]; NaN where the test is impossible.
        n: number of pairs of seeds, or of users that the statistic rests on.
    """

    difference: float
    low: float
    high: float
    p_value: float
    n: int


def seed_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """The mean of one value per seed and its interval by Student's t.

    Args:
        values: (S,) one metric value per seed.
        level: confidence level in (0, 1).

    Returns:
        The bounds are NaN with a single seed; all is NaN with none or with a NaN among them.
    """
    _check_level(level)
    seeds = _as_seeds("values", values)
    if seeds.size == 0 or np.isnan(seeds).any():
        return Interval(math.nan, math.nan, math.nan)
    mean = float(seeds.mean())
    half = _half_width(seeds, level)
    return Interval(mean, mean - half, mean + half)


def paired_test(base: npt.ArrayLike, method: npt.ArrayLike, level: float = 0.95) -> PairedTest:
    """The two-sided paired t-test of a method against a base over the same seeds.

    It is impossible with fewer than two seeds, with a NaN among the values, and with differences
    that are all equal but for rounding (zero or not): t has no denominator then, which points to
    a seed without effect and not to certainty. Bounds and p-value are NaN in these cases.

    Args:
        base: (S,) the base's metric, one value per seed.
        method: (S,) the method's metric, for the same seeds in the same order.
        level: confidence level of the interval, in (0, 1).
    """
    _check_level(level)
    base_seeds, method_seeds = _as_seeds("base", base), _as_seeds("method", method)
    if base_seeds.size != method_seeds.size:
        raise ValueError(
            f"`method` has {method_seeds.size} values and `base` has {base_seeds.size}; a paired "
            "test needs the same seeds in both, in the same order"
        )
    differences = method_seeds - base_seeds
    n = differences.size
    difference = float(differences.mean()) if n else math.nan
    rounding = _ROUNDING * np.finfo(np.float64).eps
    scale = np.abs(np.concatenate((base_seeds, method_seeds))).max(initial=0)
    if n < _MIN_REPEATS or not np.ptp(differences) > rounding * scale:
        return PairedTest(difference, math.nan, math.nan, math.nan, n)
    t = difference / (float(differences.std(ddof=1)) / math.sqrt(n))
    half = _half_width(differences, level)
    p_value = 2 * float(stdtr(n - 1, -abs(t)))
    return PairedTest(difference, difference - half, difference + half, p_value, n)


def user_bootstrap(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    users: npt.ArrayLike,
    statistic: Statistic = "auc",
    *,
    weights: Weights = "impressions",
    replicates: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The metric with its percentile interval over resampled users, within one training seed.

    Users are drawn with replacement, each with all their impressions, because impressions of
    one user are not independent.

    Args:
        labels: (N,) 0 or 1.
        scores: (N,) finite numbers.
        users: (N,) integer ids of the users.
        statistic: "auc" or "gauc".
        weights: what a user counts for in GAUC.
        replicates: number of resamples R, at least 2 / (1 - level).
        seed: of the resampling.
        level: confidence level in (0, 1).

    Returns:
        The bounds are NaN if the statistic rests on fewer than two users (with both classes for
        GAUC), or if a class is missing from more resamples than a tail holds.
    """
    _check_replicates(replicates, level)
    metric = _prepare(statistic, labels, scores, users, weights)
    values = _replicate([metric], replicates, seed)[:, 0]
    return Interval(metric.at(metric.once()), *_percentiles(values, level))


def paired_user_bootstrap(
    labels: npt.ArrayLike,
    scores_base: npt.ArrayLike,
    scores_method: npt.ArrayLike,
    users: npt.ArrayLike,
    statistic: Statistic = "auc",
    *,
    weights: Weights = "impressions",
    replicates: int = 200,
    seed: int = 0,
) -> PairedTest:
    """The 95 % interval and two-sided p-value of a method against a base over resampled users.

    Both are measured on the same resamples, so what they share cancels. The p-value is twice the
    smaller share of resamples on one side of zero, each count plus one: at least 2 / (R + 1). It
    speaks for these two trained models, not for other training seeds.

    Args:
        labels: (N,) 0 or 1.
        scores_base: (N,) finite numbers.
        scores_method: (N,) finite numbers for the same impressions.
        users: (N,) integer ids of the users.
        statistic: "auc" or "gauc".
        weights: what a user counts for in GAUC.
        replicates: number of resamples R, at least 40.
        seed: of the resampling.

    Returns:
        Bounds and p-value are NaN as for `user_bootstrap`, and if no resample tells the two apart.
    """
    _check_replicates(replicates, _PAIRED_LEVEL)
    base = _prepare(statistic, labels, scores_base, users, weights, "scores_base")
    method = _prepare(statistic, labels, scores_method, users, weights, "scores_method")
    values = _replicate([base, method], replicates, seed)
    differences = values[:, 1] - values[:, 0]
    low, high = _percentiles(differences, _PAIRED_LEVEL)
    difference = method.at(method.once()) - base.at(base.once())
    defined = differences[~np.isnan(differences)]
    if math.isnan(low) or not defined.any():
        return PairedTest(difference, math.nan, math.nan, math.nan, base.num_informative)
    fewer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    p_value = min(1.0, 2 * (fewer + 1) / (defined.size + 1))
    return PairedTest(difference, low, high, p_value, base.num_informative)


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
    statistic: Statistic,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    users: npt.ArrayLike,
    weights: Weights,
    name: str = "scores",
) -> _UserMetric:
    check_choice("statistic", statistic, get_args(Statistic))
    positive = as_labels(labels)
    values = as_scores(scores, positive.size, name)
    ids = as_users(users, positive.size)
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
    """Each metric on the same resamples of the users: (R, metrics), or no rows for lack of users.

    A single user resampled is that user again, which looks like certainty and isn't.
    """
    num_users = metrics[0].num_users
    if metrics[0].num_informative < _MIN_REPEATS:
        return np.empty((0, len(metrics)))
    rng = np.random.default_rng(seed)
    values = np.empty((replicates, len(metrics)))
    for row in values:  # one resample at a time bounds the memory
        drawn = rng.integers(num_users, size=num_users)
        counts = np.bincount(drawn, minlength=num_users)
        row[:] = [metric.at(counts) for metric in metrics]
    return values


def _percentiles(values: _Floats, level: float) -> tuple[float, float]:
    """The bounds of the middle `level` of the values, NaN if more than a tail is undefined."""
    tail = (1 - level) / 2
    if values.size == 0 or np.isnan(values).mean() > tail:
        return math.nan, math.nan
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _half_width(values: _Floats, level: float) -> float:
    """Half the width of Student's t interval of the mean, NaN with a single value."""
    if values.size < _MIN_REPEATS:
        return math.nan
    quantile = float(stdtrit(values.size - 1, (1 + level) / 2))
    return quantile * float(values.std(ddof=1)) / math.sqrt(values.size)


def _as_seeds(name: str, values: npt.ArrayLike) -> _Floats:
    """The values as (S,) float64; NaN may be among them, as an undefined metric."""
    seeds = np.asarray(values, np.float64)
    if seeds.ndim != 1:
        raise ValueError(f"`{name}` has shape {seeds.shape}; pass a list of one value per seed")
    if np.isinf(seeds).any():
        raise ValueError(f"`{name}` (={seeds.tolist()}) must not be infinite; leave that seed out")
    return seeds


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"`level` (={level}) must be between 0 and 1; 0.95 is the default")


def _check_replicates(replicates: int, level: float) -> None:
    """Refuse a level that the percentiles of so few replicates can't show."""
    _check_level(level)
    needed = math.ceil(round(2 / (1 - level), 6))
    if replicates < needed:
        raise ValueError(
            f"`replicates` (={replicates}) must be at least {needed} for a level of {level}, so "
            "that one or more fall outside each bound; 200 is the default"
        )
