"""Intervals and tests for metrics over training seeds, and how two tests are read as one.

What can't be computed (one seed, no spread) is NaN, never a made-up number. S is the number of
seeds in shapes.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

MIN_REPEATS = 2
"""Seeds or users, below which nothing is known of the spread."""

_ROUNDING = 8  # machine epsilons within which differences are taken for equal

_Floats = npt.NDArray[np.float64]


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


UNKNOWN = Interval(math.nan, math.nan, math.nan)
"""The interval of what can't be computed."""


@dataclass(frozen=True)
class PairedTest:
    """A difference, method minus base, with its interval and two-sided p-value.

    Attributes:
        difference: the mean over seeds, or the difference on all users as they are.
        low: lower bound of the difference, NaN where the test is impossible.
        high: upper bound of the difference, NaN where the test is impossible.
        p_value: of "no difference", in (0, 1]; NaN where the test is impossible.
        n: number of pairs of seeds, or of users that the statistic rests on.
        error: the difference's standard error, NaN where the test is impossible.
    """

    difference: float
    low: float
    high: float
    p_value: float
    n: int
    error: float = math.nan


def seed_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """The mean of one value per seed and its interval by Student's t.

    Args:
        values: (S,) one metric value per seed.
        level: confidence level in (0, 1).

    Returns:
        The bounds are NaN with a single seed; all is NaN with none or with a NaN among them.
    """
    check_level(level)
    seeds = _as_seeds("values", values)
    if seeds.size == 0 or np.isnan(seeds).any():
        return UNKNOWN
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
    check_level(level)
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
    if n < MIN_REPEATS or not np.ptp(differences) > rounding * scale:
        return PairedTest(difference, math.nan, math.nan, math.nan, n)
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    half = _half_width(differences, level)
    p_value = 2 * float(stdtr(n - 1, -abs(difference / error)))
    return PairedTest(difference, difference - half, difference + half, p_value, n, error)


def ratio_interval(
    numerators: npt.ArrayLike, denominators: npt.ArrayLike, level: float = 0.95
) -> Interval:
    """The ratio of two means over the same seeds, with its interval by Fieller's theorem.

    Averaging before dividing, it is not thrown by a seed whose denominator happens to be small.
    Its bounds are known where the denominators' mean differs from zero at the same level.

    Args:
        numerators: (S,) one value per seed.
        denominators: (S,) one value per seed, in the same order.
        level: confidence level in (0, 1).

    Returns:
        All is NaN with fewer than two seeds, a NaN among the values, or a denominator that can't
        be told from zero.
    """
    check_level(level)
    a, b = _as_seeds("numerators", numerators), _as_seeds("denominators", denominators)
    if a.size != b.size:
        raise ValueError(
            f"`numerators` has {a.size} values and `denominators` has {b.size}; a ratio needs the "
            "same seeds in both, in the same order"
        )
    if a.size < MIN_REPEATS or np.isnan(a).any() or np.isnan(b).any():
        return UNKNOWN
    (var_a, both), (_, var_b) = np.cov(a, b) / a.size
    mean_a, mean_b = float(a.mean()), float(b.mean())
    t2 = _quantile(a.size, level) ** 2
    # The ratios r for which a - r b has a mean of zero within the level are those between the
    # roots of (b^2 - t2 var_b) r^2 - 2 (a b - t2 cov) r + (a^2 - t2 var_a).
    square, half = mean_b**2 - t2 * var_b, mean_a * mean_b - t2 * both
    if square <= 0:
        return UNKNOWN
    root = math.sqrt(max(0.0, half**2 - square * (mean_a**2 - t2 * var_a)))
    return Interval(mean_a / mean_b, (half - root) / square, (half + root) / square)


def over_both(seeds: PairedTest, users: PairedTest, level: float = 0.95) -> PairedTest:
    """The test of one difference for other seeds and other users at once.

    Each of the two tests holds still what the other varies. Their variances add up; the degrees of
    freedom are Satterthwaite's, with the bootstrap's variance taken as known.

    Args:
        seeds: the test over seeds.
        users: the test over users, of the mean over the same seeds.
        level: confidence level of the interval, in (0, 1).

    Returns:
        The test with the seeds' difference and `n`; impossible where one of the two is.
    """
    check_level(level)
    if math.isnan(seeds.p_value) or math.isnan(users.p_value):
        return PairedTest(seeds.difference, math.nan, math.nan, math.nan, seeds.n)
    variance = seeds.error**2 + users.error**2
    freedom, error = (seeds.n - 1) * (variance / seeds.error**2) ** 2, math.sqrt(variance)
    p_value = 2 * float(stdtr(freedom, -abs(seeds.difference) / error))
    half = float(stdtrit(freedom, (1 + level) / 2)) * error
    low, high = seeds.difference - half, seeds.difference + half
    return PairedTest(seeds.difference, low, high, p_value, seeds.n, error)


def stricter(*tests: PairedTest) -> PairedTest:
    """Several tests of one difference read as one that shows only what all of them show.

    It has the largest p-value and error, and the bounds that hold them all: where one of them is
    impossible, so is this. Its difference and `n` are those of the first.
    """
    low = float(np.min([test.low for test in tests]))
    high = float(np.max([test.high for test in tests]))
    p_value = float(np.max([test.p_value for test in tests]))
    error = float(np.max([test.error for test in tests]))
    return PairedTest(tests[0].difference, low, high, p_value, tests[0].n, error)


def wider(*intervals: Interval) -> Interval:
    """Several intervals of one value as one that holds them all, around the first one's mean."""
    low = float(np.min([each.low for each in intervals]))
    high = float(np.max([each.high for each in intervals]))
    return Interval(intervals[0].mean, low, high)


def holm(p_values: npt.ArrayLike) -> _Floats:
    """p-values of several tests adjusted for how many they are, by Holm's method.

    One of them is below a level by chance alone no more often than that level says.

    Args:
        p_values: (T,) of the tests; NaN counts for no test, and stays.
    """
    found = np.array(p_values, np.float64)
    known = np.flatnonzero(~np.isnan(found))
    order = known[np.argsort(found[known])]
    times = found[order] * np.arange(order.size, 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(times), 1)
    return found


def _half_width(values: _Floats, level: float) -> float:
    """Half the width of Student's t interval of the mean, NaN with a single value."""
    if values.size < MIN_REPEATS:
        return math.nan
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return _quantile(values.size, level) * error


def _quantile(seeds: int, level: float) -> float:
    """How many standard errors Student's t interval of a mean over seeds reaches to each side."""
    return float(stdtrit(seeds - 1, (1 + level) / 2))


def _as_seeds(name: str, values: npt.ArrayLike) -> _Floats:
    """The values as (S,) float64; NaN may be among them, as an undefined metric."""
    seeds = np.asarray(values, np.float64)
    if seeds.ndim != 1:
        raise ValueError(f"`{name}` has shape {seeds.shape}; pass a list of one value per seed")
    if np.isinf(seeds).any():
        raise ValueError(f"`{name}` (={seeds.tolist()}) must not be infinite; leave that seed out")
    return seeds


def check_level(level: float) -> None:
    """Refuse a confidence level outside (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"`level` (={level}) must be between 0 and 1; 0.95 is the default")
