"""The bootstrap over users: against repeated rows, hand arithmetic, its laws, and what is NaN."""

import math

import numpy as np
import pytest

from thaw.metrics import auc, gauc
from thaw.resampling import _prepare, resample_users
from thaw.statistics import Interval


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


def interval(*rows, level=0.95, **options):
    return resample_users(*rows, **options).interval(level)


def against(labels, base, method, users, *options):
    """The test of a method against a base on the same rows."""
    found = [resample_users(labels, scores, users, *options) for scores in (base, method)]
    return found[1].against(found[0])


class TestInterval:
    @pytest.mark.parametrize("statistic", ["auc", "gauc"])
    def test_counting_users_equals_repeating_their_rows(self, statistic):
        rows = random_rows()
        labels, scores, users = rows
        metric = _prepare(statistic, labels == 1, scores, users, "positives")
        counts = np.random.default_rng(0).integers(0, 4, metric.num_users)
        counts[0] = 300  # more than a byte holds
        labels, scores, users = repeated(*rows, counts)
        by_gauc = gauc(labels, scores, users, weights="positives").value
        expected = auc(labels, scores) if statistic == "auc" else by_gauc
        assert metric.at(counts) == pytest.approx(expected, abs=1e-12)

    def test_mean_is_the_metric_within_its_bounds(self):
        rows = random_rows()
        by_auc, by_gauc = interval(*rows), interval(*rows, "gauc", weights="uniform")
        assert by_auc.mean == auc(*rows[:2])
        assert by_gauc.mean == pytest.approx(gauc(*rows, weights="uniform").value, abs=1e-12)
        for found in (by_auc, by_gauc):
            assert found.low < found.mean < found.high

    def test_width_is_that_of_a_mean_over_users(self):
        # Each user has one pair, won or lost: GAUC is a mean of 400 coins, of standard error 1/40.
        users = np.repeat(np.arange(400), 2)
        scores = np.where(users % 2, 1, -1) * np.tile([1, 0], 400)
        result = interval(np.tile([1, 0], 400), scores, users, "gauc", replicates=1000)
        assert result.mean == 0.5
        assert result.high - result.low == pytest.approx(2 * 1.96 / 40, rel=0.1)

    def test_same_seed_same_bounds_whatever_the_order_of_rows(self):
        rows = random_rows()
        result = interval(*rows, seed=4)
        assert interval(*(column[::-1] for column in rows), seed=4) == result
        assert interval(*rows, seed=5) != result

    def test_higher_level_is_wider(self):
        narrow, wide = (interval(*random_rows(), level=level) for level in (0.5, 0.99))
        assert wide.low < narrow.low < narrow.high < wide.high

    @pytest.mark.parametrize(
        ("users", "statistic"),
        [([5, 5, 5, 5], "auc"), ([5, 5, 6, 7], "gauc"), ([5, 6, 7, 8], "auc")],
        ids=["one user", "one user with both classes", "a class missing from many resamples"],
    )
    def test_has_no_bounds_for_too_few_users(self, users, statistic):
        result = interval([0, 1, 0, 0], [0.1, 0.2, 0.3, 0.1], users, statistic)
        assert result.mean == (1 if statistic == "gauc" else 2 / 3)
        assert math.isnan(result.low)
        assert math.isnan(result.high)

    def test_of_nothing_is_nan(self):
        result = interval([], [], [])
        assert all(map(math.isnan, (result.mean, result.low, result.high)))

    def test_draws_fewer_resamples_of_many_impressions(self):
        labels, scores, users = random_rows()
        many = [np.tile(each, 400_000 // len(labels)) for each in (labels, scores, users)]
        assert len(resample_users(labels, scores, users).replicates) == 2000
        assert len(resample_users(*many, "gauc").replicates) == 400_000_000 // len(many[0])
        assert len(resample_users(labels, scores, users, replicates=7).replicates) == 7

    def test_refuses_what_it_cannot_do(self):
        rows = random_rows()
        with pytest.raises(ValueError, match=r"`replicates` \(=39\) must be at least 40 for a"):
            interval(*rows, replicates=39)
        with pytest.raises(ValueError, match=r"`statistic` \(='mrr'\) must be one of 'auc', 'gau"):
            interval(*rows, "mrr")
        with pytest.raises(ValueError, match=r"`level` \(=1\) must be between 0 and 1"):
            interval(*rows, level=1)


class TestAgainst:
    @pytest.mark.parametrize("statistic", ["auc", "gauc"])
    def test_sees_a_better_method(self, statistic):
        labels, scores, users = random_rows()
        result = against(labels, scores, scores + 0.3 * labels, users, statistic)
        assert 0 < result.low < result.difference < result.high
        assert result.p_value == pytest.approx(2 / 2001)
        assert result.n == 60

    def test_sees_none_in_noise(self):
        labels, scores, users = random_rows()
        noise = np.random.default_rng(7).normal(0, 0.1, scores.size)
        result = against(labels, scores, scores + noise, users)
        assert result.low < 0 < result.high
        assert 0.05 < result.p_value <= 1

    def test_swapped_is_the_same_but_for_the_sign(self):
        labels, scores, users = random_rows()
        other = scores + np.random.default_rng(7).normal(0, 1, scores.size)
        result = against(labels, scores, other, users)
        swapped = against(labels, other, scores, users)
        assert swapped.difference == -result.difference
        assert swapped.p_value == result.p_value
        assert (swapped.low, swapped.high) == pytest.approx((-result.high, -result.low))

    def test_what_both_share_cancels(self):
        labels, scores, users = random_rows()
        paired = against(labels, scores, scores + 0.01 * labels, users)
        alone = interval(labels, scores, users)
        assert paired.high - paired.low < 0.5 * (alone.high - alone.low)

    def test_of_scores_in_the_same_order_is_impossible(self):
        labels, scores, users = random_rows()
        result = against(labels, scores, 2 * scores, users)
        assert result.difference == 0
        assert is_impossible(result)

    def test_of_one_user_is_impossible(self):
        result = against([0, 1, 1], [0.3, 0.2, 0.5], [0.1, 0.2, 0.5], [4, 4, 4])
        assert result.difference == 0.5
        assert is_impossible(result)
        assert result.n == 1


class TestSeveralModels:
    def test_are_their_mean_on_the_same_resamples(self):
        labels, scores, users = random_rows()
        models = [scores, scores + np.random.default_rng(1).normal(0, 1, scores.size)]
        alone = [resample_users(labels, model, users) for model in models]
        both = resample_users(labels, np.stack(models), users)
        assert both.value == pytest.approx(np.mean([each.value for each in alone]))
        expected = np.mean([each.replicates for each in alone], axis=0)
        assert np.allclose(both.replicates, expected, rtol=0, atol=1e-12)

    def test_refuse_scores_that_are_none(self):
        with pytest.raises(ValueError, match="`scores` is nan at position 1"):
            resample_users([0, 1], [[0.1, 0.2], [0.1, math.nan]], [1, 2])


class TestGapClosed:
    def test_is_the_ratio_within_its_bounds(self):
        labels, scores, users = random_rows()
        base, method, ceiling = (
            resample_users(labels, scores + lift * labels, users) for lift in (0, 0.3, 0.9)
        )
        result = method.gap_closed(base, ceiling)
        expected = (method.value - base.value) / (ceiling.value - base.value)
        assert result.mean == pytest.approx(expected)
        assert 0 < result.low < result.mean < result.high < 1

    def test_of_the_ends_is_certain(self):
        labels, scores, users = random_rows()
        base, ceiling = (resample_users(labels, scores + x * labels, users) for x in (0, 0.5))
        assert base.gap_closed(base, ceiling) == Interval(0, 0, 0)
        assert ceiling.gap_closed(base, ceiling) == Interval(1, 1, 1)

    def test_without_a_gap_is_nan(self):
        labels, scores, users = random_rows()
        base, ceiling = (resample_users(labels, scores + x * labels, users) for x in (0.5, 0))
        result = base.gap_closed(base, ceiling)
        assert all(map(math.isnan, (result.mean, result.low, result.high)))
