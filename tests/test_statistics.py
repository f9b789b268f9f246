"""Intervals and tests: SciPy's values, hand arithmetic, laws of resampling, and what is NaN."""

import math

import numpy as np
import pytest
from scipy import stats

from thaw.metrics import auc, gauc
from thaw.statistics import (
    _prepare,
    paired_test,
    paired_user_bootstrap,
    seed_interval,
    user_bootstrap,
)

BASE = [0.60, 0.62, 0.61, 0.59]
METHOD = [0.63, 0.64, 0.66, 0.60]


def random_rows(num_rows=1500, num_users=60):
    """Labels, scores with ties that tell something, and users with gaps between their ids."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, num_rows)
    scores = np.round(labels * 0.5 + rng.normal(size=num_rows), 1)
    return labels, scores, 10 * rng.integers(-5, num_users - 5, num_rows)


def repeated(labels, scores, users, counts):
    """The rows as a resample has them: users as often as counted, each time as another user."""
    parts = [[], [], []]
    for user, count in zip(np.unique(users), counts, strict=True):
        for _ in range(count):
            rows = users == user
            parts[0].append(labels[rows])
            parts[1].append(scores[rows])
            parts[2].append(np.full(rows.sum(), len(parts[2])))
    return [np.concatenate(part) for part in parts]


def is_impossible(result):
    return all(math.isnan(value) for value in (result.low, result.high, result.p_value))


class TestSeedInterval:
    def test_by_hand(self):
        # t is 2.776 for 4 degrees of freedom, and the standard error sqrt(2.5 / 5).
        result = seed_interval([1, 2, 3, 4, 5])
        assert result.mean == 3
        assert result.high - 3 == pytest.approx(2.776445 * math.sqrt(0.5), abs=1e-6)
        assert 3 - result.low == pytest.approx(result.high - 3)

    def test_equals_scipy(self):
        expected = stats.t.interval(0.9, 3, np.mean(BASE), stats.sem(BASE))
        result = seed_interval(BASE, level=0.9)
        assert (result.low, result.high) == pytest.approx(expected, abs=1e-12)

    def test_of_one_seed_has_no_bounds(self):
        result = seed_interval([0.6])
        assert result.mean == 0.6
        assert math.isnan(result.low)
        assert math.isnan(result.high)

    @pytest.mark.parametrize("values", [[], [0.6, math.nan, 0.7]])
    def test_is_nan_if_a_value_is_undefined(self, values):
        result = seed_interval(values)
        assert all(map(math.isnan, (result.mean, result.low, result.high)))

    def test_refuses_what_is_no_list_of_seeds(self):
        with pytest.raises(ValueError, match=r"`values` has shape \(1, 2\); pass a list of one"):
            seed_interval([[0.6, 0.7]])
        with pytest.raises(ValueError, match=r"`values` \(=\[0.6, inf\]\) must not be infinite"):
            seed_interval([0.6, math.inf])
        with pytest.raises(ValueError, match=r"`level` \(=95\) must be between 0 and 1"):
            seed_interval(BASE, level=95)


class TestPairedTest:
    def test_equals_scipy(self):
        expected = stats.ttest_rel(METHOD, BASE)
        bounds = expected.confidence_interval()
        result = paired_test(BASE, METHOD)
        assert result.difference == pytest.approx(0.0275)
        assert result.p_value == pytest.approx(expected.pvalue, abs=1e-12)
        assert (result.low, result.high) == pytest.approx((bounds.low, bounds.high), abs=1e-12)
        assert result.n == 4

    def test_swapped_is_the_same_but_for_the_sign(self):
        result, swapped = paired_test(BASE, METHOD), paired_test(METHOD, BASE)
        assert swapped.difference == -result.difference
        assert swapped.p_value == result.p_value
        assert (swapped.low, swapped.high) == pytest.approx((-result.high, -result.low))

    @pytest.mark.parametrize(
        ("base", "method"),
        [
            ([0.6], [0.7]),
            (BASE, BASE),
            ([0.1, 0.2, 0.3], [0.2, 0.3, 0.4]),
            ([0.1, math.nan, 0.3], [0.2, 0.3, 0.5]),
            ([], []),
        ],
        ids=["one seed", "no difference", "equal but for rounding", "undefined", "no seed"],
    )
    def test_is_nan_if_impossible(self, base, method):
        result = paired_test(base, method)
        assert is_impossible(result)
        assert result.n == len(base)

    def test_refuses_other_seeds(self):
        with pytest.raises(ValueError, match=r"`method` has 3 values and `base` has 4; a paired"):
            paired_test(BASE, METHOD[:3])


class TestUserBootstrap:
    @pytest.mark.parametrize("statistic", ["auc", "gauc"])
    def test_counting_users_equals_repeating_their_rows(self, statistic):
        rows = random_rows()
        metric = _prepare(statistic, *rows, "positives")
        counts = np.random.default_rng(0).integers(0, 4, metric.num_users)
        counts[0] = 300  # more than a byte holds
        labels, scores, users = repeated(*rows, counts)
        by_gauc = gauc(labels, scores, users, weights="positives").value
        expected = auc(labels, scores) if statistic == "auc" else by_gauc
        assert metric.at(counts) == pytest.approx(expected, abs=1e-12)

    def test_mean_is_the_metric_within_its_bounds(self):
        rows = random_rows()
        by_auc, by_gauc = user_bootstrap(*rows), user_bootstrap(*rows, "gauc", weights="uniform")
        assert by_auc.mean == auc(*rows[:2])
        assert by_gauc.mean == pytest.approx(gauc(*rows, weights="uniform").value, abs=1e-12)
        for interval in (by_auc, by_gauc):
            assert interval.low < interval.mean < interval.high

    def test_width_is_that_of_a_mean_over_users(self):
        # Each user has one pair, won or lost: GAUC is a mean of 400 coins, of standard error 1/40.
        users = np.repeat(np.arange(400), 2)
        scores = np.where(users % 2, 1, -1) * np.tile([1, 0], 400)
        result = user_bootstrap(np.tile([1, 0], 400), scores, users, "gauc", replicates=1000)
        assert result.mean == 0.5
        assert result.high - result.low == pytest.approx(2 * 1.96 / 40, rel=0.1)

    def test_same_seed_same_bounds_whatever_the_order_of_rows(self):
        rows = random_rows()
        result = user_bootstrap(*rows, seed=4)
        assert user_bootstrap(*(column[::-1] for column in rows), seed=4) == result
        assert user_bootstrap(*rows, seed=5) != result

    def test_higher_level_is_wider(self):
        narrow, wide = (user_bootstrap(*random_rows(), level=level) for level in (0.5, 0.99))
        assert wide.low < narrow.low < narrow.high < wide.high

    @pytest.mark.parametrize(
        ("users", "statistic"),
        [([5, 5, 5, 5], "auc"), ([5, 5, 6, 7], "gauc"), ([5, 6, 7, 8], "auc")],
        ids=["one user", "one user with both classes", "a class missing from many resamples"],
    )
    def test_has_no_bounds_for_too_few_users(self, users, statistic):
        result = user_bootstrap([0, 1, 0, 0], [0.1, 0.2, 0.3, 0.1], users, statistic)
        assert result.mean == (1 if statistic == "gauc" else 2 / 3)
        assert math.isnan(result.low)
        assert math.isnan(result.high)

    def test_of_nothing_is_nan(self):
        result = user_bootstrap([], [], [])
        assert all(map(math.isnan, (result.mean, result.low, result.high)))

    def test_refuses_what_it_cannot_do(self):
        rows = random_rows()
        with pytest.raises(ValueError, match=r"`replicates` \(=39\) must be at least 40 for a"):
            user_bootstrap(*rows, replicates=39)
        with pytest.raises(ValueError, match=r"`statistic` \(='mrr'\) must be one of 'auc', 'gau"):
            user_bootstrap(*rows, "mrr")
        with pytest.raises(ValueError, match=r"`level` \(=1\) must be between 0 and 1"):
            user_bootstrap(*rows, level=1)


class TestPairedUserBootstrap:
    @pytest.mark.parametrize("statistic", ["auc", "gauc"])
    def test_sees_a_better_method(self, statistic):
        labels, scores, users = random_rows()
        result = paired_user_bootstrap(labels, scores, scores + 0.3 * labels, users, statistic)
        assert 0 < result.low < result.difference < result.high
        assert result.p_value == pytest.approx(2 / 201)
        assert result.n == 60

    def test_sees_none_in_noise(self):
        labels, scores, users = random_rows()
        noise = np.random.default_rng(7).normal(0, 0.1, scores.size)
        result = paired_user_bootstrap(labels, scores, scores + noise, users)
        assert result.low < 0 < result.high
        assert 0.05 < result.p_value <= 1

    def test_swapped_is_the_same_but_for_the_sign(self):
        labels, scores, users = random_rows()
        other = scores + np.random.default_rng(7).normal(0, 1, scores.size)
        result = paired_user_bootstrap(labels, scores, other, users)
        swapped = paired_user_bootstrap(labels, other, scores, users)
        assert swapped.difference == -result.difference
        assert swapped.p_value == result.p_value
        assert (swapped.low, swapped.high) == pytest.approx((-result.high, -result.low))

    def test_what_both_share_cancels(self):
        labels, scores, users = random_rows()
        paired = paired_user_bootstrap(labels, scores, scores + 0.01 * labels, users)
        alone = user_bootstrap(labels, scores, users)
        assert paired.high - paired.low < 0.5 * (alone.high - alone.low)

    def test_of_scores_in_the_same_order_is_impossible(self):
        labels, scores, users = random_rows()
        result = paired_user_bootstrap(labels, scores, 2 * scores, users)
        assert result.difference == 0
        assert is_impossible(result)

    def test_of_one_user_is_impossible(self):
        result = paired_user_bootstrap([0, 1, 1], [0.3, 0.2, 0.5], [0.1, 0.2, 0.5], [4, 4, 4])
        assert result.difference == 0.5
        assert is_impossible(result)
        assert result.n == 1

    def test_names_the_scores_it_refuses(self):
        with pytest.raises(ValueError, match="`scores_method` is nan at position 1"):
            paired_user_bootstrap([0, 1], [0.1, 0.2], [0.1, math.nan], [1, 2])
