"""Intervals and tests over seeds: SciPy's values, hand arithmetic, and what is NaN."""

import math

import numpy as np
import pytest
from scipy import stats

from thaw.statistics import (
    Interval,
    PairedTest,
    holm,
    over_both,
    paired_test,
    ratio_interval,
    seed_interval,
    stricter,
    wider,
)

BASE = [0.60, 0.62, 0.61, 0.59]
METHOD = [0.63, 0.64, 0.66, 0.60]


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


class TestRatioInterval:
    def test_by_hand(self):
        # t is 12.706 for one degree of freedom; both means have a variance of 0.5 * 0.02 ** 2 / 2.
        result = ratio_interval([0.49, 0.51], [1.01, 0.99])
        t2, var, cov = 12.7062047**2, 0.0001, -0.0001
        square, half = 1 - t2 * var, 0.5 - t2 * cov
        root = math.sqrt(half**2 - square * (0.25 - t2 * var))
        assert result.mean == pytest.approx(0.5)
        bounds = ((half - root) / square, (half + root) / square)
        assert (result.low, result.high) == pytest.approx(bounds)

    def test_of_a_known_denominator_is_the_interval_of_the_mean(self):
        expected = seed_interval(np.array(METHOD) / 2)
        result = ratio_interval(METHOD, [2, 2, 2, 2])
        assert (result.mean, result.low, result.high) == pytest.approx(
            (expected.mean, expected.low, expected.high)
        )

    def test_a_bound_is_the_ratio_that_a_test_just_refuses(self):
        denominators = [1.0, 1.1, 0.9, 1.05]
        result = ratio_interval(METHOD, denominators)
        for bound in (result.low, result.high):
            test = paired_test(bound * np.array(denominators), METHOD)
            assert test.p_value == pytest.approx(0.05)

    def test_covers_the_true_ratio_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        hits = 0
        for _ in range(2000):
            low, high = rng.normal([0.3, 1.0], [0.1, 0.1], (3, 2)).T
            result = ratio_interval(low, high)
            hits += bool(result.low <= 0.3 <= result.high) or math.isnan(result.low)
        assert hits / 2000 == pytest.approx(0.95, abs=0.015)

    @pytest.mark.parametrize(
        ("numerators", "denominators"),
        [([0.1], [0.2]), ([0.1, math.nan], [0.2, 0.3]), ([0.1, 0.2], [-0.1, 0.2]), ([], [])],
        ids=["one seed", "undefined", "a denominator like zero", "no seed"],
    )
    def test_is_nan_if_unknown(self, numerators, denominators):
        result = ratio_interval(numerators, denominators)
        assert all(map(math.isnan, (result.mean, result.low, result.high)))

    def test_refuses_other_seeds(self):
        with pytest.raises(ValueError, match="`numerators` has 4 values and `denominators` has 3"):
            ratio_interval(BASE, METHOD[:3])


class TestOverBoth:
    def test_variances_add_up(self):
        seeds, users = paired_test(BASE, METHOD), PairedTest(0.1, 0.0, 0.2, 0.04, 90, 0.05)
        found = over_both(seeds, users)
        assert found.difference == seeds.difference
        assert found.error == pytest.approx(math.hypot(seeds.error, 0.05))
        assert found.p_value > max(seeds.p_value, 0.04) or seeds.n > 30
        assert found.low < seeds.difference - 1.96 * found.error

    def test_without_a_spread_over_users_it_is_the_test_over_seeds(self):
        seeds = paired_test(BASE, METHOD)
        found = over_both(seeds, PairedTest(0.1, 0.0, 0.2, 0.04, 90, 1e-12))
        assert found.p_value == pytest.approx(seeds.p_value)
        assert (found.low, found.high) == pytest.approx((seeds.low, seeds.high))

    @pytest.mark.parametrize("ratio", [0.1, 1.0, 4.0])
    def test_chance_alone_is_significant_as_often_as_it_says(self, ratio):
        rng = np.random.default_rng(0)
        hits = 0
        for _ in range(3000):
            differences = rng.normal() + rng.normal(size=5) * math.sqrt(5 * ratio)
            seeds = paired_test(np.zeros(5), differences)
            users = PairedTest(seeds.difference, math.nan, math.nan, 0.5, 90, 1.0)
            hits += stricter(seeds, over_both(seeds, users)).p_value < 0.05
        assert hits / 3000 < 0.065

    def test_is_impossible_where_one_is(self):
        known, unknown = paired_test(BASE, METHOD), PairedTest(0.1, *[math.nan] * 3, 5)
        assert is_impossible(over_both(known, unknown))
        assert is_impossible(over_both(unknown, known))


class TestHolm:
    def test_is_that_of_the_textbook(self):
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_counts_what_is_known(self):
        found = holm([math.nan, 0.04, 0.6])
        assert math.isnan(found[0])
        assert found[1:] == pytest.approx([0.08, 0.6])
        assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


class TestReadAsOne:
    def test_the_stricter_test_is_the_weakest_evidence(self):
        found = stricter(PairedTest(0.1, 0.05, 0.15, 0.01, 5), PairedTest(0.1, -0.1, 0.12, 0.3, 90))
        assert (found.difference, found.low, found.high) == (0.1, -0.1, 0.15)
        assert (found.p_value, found.n) == (0.3, 5)

    def test_an_impossible_test_makes_both_impossible(self):
        known = PairedTest(0.1, 0.05, 0.15, 0.01, 5)
        unknown = PairedTest(0.1, math.nan, math.nan, math.nan, 5)
        assert is_impossible(stricter(known, unknown))
        assert is_impossible(stricter(unknown, known))

    def test_the_wider_interval_holds_both(self):
        assert wider(Interval(0.5, 0.4, 0.6), Interval(0.5, 0.45, 0.7)) == Interval(0.5, 0.4, 0.7)
