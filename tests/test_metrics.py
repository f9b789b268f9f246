"""The metrics: hand arithmetic, scikit-learn's values, laws, and what is undefined or refused."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from thaw import metrics
from thaw.metrics import (
    auc,
    calibration,
    gap_closed,
    gauc,
    log_loss,
    relative_improvement,
    user_aucs,
)

# User -2 has one pair, a tie; user 30 has no positive.
LABELS = [1, 0, 1, 0, 0, 1, 0, 0]
SCORES = [0.9, 0.5, 0.5, 0.1, 0.3, 0.3, 0.2, 0.8]
USERS = [7, 7, 7, 7, -2, -2, 30, 30]
# Of 7's four pairs, 0.9 wins two, 0.5 wins one and ties one: 3.5 of 4.
AUC_OF_7 = 3.5 / 4

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(-2, 2)), min_size=1, max_size=40
)

LAW = settings(deadline=None)  # a busy machine is no fault


def random_rows(scores_dtype=np.float64, num_rows=3000, num_users=400):
    """Labels, scores with many ties of both signs, and users, of whom some have one class."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, num_rows) * rng.integers(0, 2, num_rows)
    scores = (rng.integers(-6, 6, num_rows) / 3).astype(scores_dtype)
    return labels, scores, rng.integers(-200, num_users - 200, num_rows)


def sklearn_aucs(labels, scores, users):
    """Each user's AUC by scikit-learn, NaN where it has a single class."""

    def one(rows):
        mixed = np.unique(labels[rows]).size == 2
        return sklearn_metrics.roc_auc_score(labels[rows], scores[rows]) if mixed else math.nan

    return np.array([one(users == user) for user in np.unique(users)])


def columns(rows):
    return tuple(np.array(column) for column in zip(*rows, strict=True))


class TestAUC:
    def test_counts_won_pairs(self):
        assert auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 3 / 4

    def test_a_tie_is_half_a_win(self):
        assert auc([0, 1, 1], [0.5, 0.5, 0.6]) == 1.5 / 2

    def test_more_positives_than_negatives(self):
        assert auc([1, 1, 1, 0], [3, 2, 1, 2]) == 1.5 / 3

    def test_of_constant_scores_is_half(self):
        assert auc([0, 1, 0, 1, 1], np.zeros(5)) == 0.5

    @pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]])
    def test_is_nan_without_both_classes(self, labels):
        assert math.isnan(auc(labels, np.arange(len(labels))))

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_equals_sklearn(self, dtype):
        labels, scores, _ = random_rows(dtype)
        expected = sklearn_metrics.roc_auc_score(labels, scores)
        assert auc(labels, scores) == pytest.approx(expected, abs=1e-12)

    @LAW
    @given(ROWS)
    def test_of_turned_labels_is_the_rest(self, rows):
        labels, scores, _ = columns(rows)
        expected = 1 - auc(labels, scores)
        assert auc(1 - labels, scores) == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert auc(labels, -scores) == pytest.approx(expected, abs=1e-12, nan_ok=True)


class TestUserAUCs:
    def test_by_hand(self):
        result = user_aucs(LABELS, SCORES, USERS)
        assert result.users.tolist() == [-2, 7, 30]
        np.testing.assert_array_equal(result.auc, [0.5, AUC_OF_7, math.nan])
        assert result.impressions.tolist() == [2, 4, 2]
        assert result.positives.tolist() == [1, 2, 0]

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_equals_sklearn_for_every_user(self, dtype):
        labels, scores, users = random_rows(dtype)
        expected = sklearn_aucs(labels, scores, users)
        assert 0 < np.isnan(expected).sum() < expected.size
        result = user_aucs(labels, scores, users)
        np.testing.assert_allclose(result.auc, expected, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(result.users, np.unique(users))

    def test_equals_sklearn_where_float32_would_make_ties(self):
        labels, scores, users = random_rows()
        scores = 1 + scores * 1e-12
        expected = sklearn_aucs(labels, scores, users)
        result = user_aucs(labels, scores, users).auc
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12)

    def test_tells_large_integer_scores_apart(self):
        assert user_aucs([0, 1], [2**60, 2**60 + 1], [0, 0]).auc.tolist() == [1.0]

    @LAW
    @given(ROWS)
    def test_is_the_same_when_rows_do_not_fit_a_key(self, rows):
        labels, scores, users = columns(rows)
        expected = user_aucs(labels, scores, users)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(metrics, "_FLOAT32_BITS", 62)  # leaves one bit for the user
            result = user_aucs(labels, scores.astype(np.float32), users)
        for name in ("users", "auc", "impressions", "positives"):
            np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))

    @pytest.mark.parametrize(
        "ids",
        [
            np.array([-(2**63), 0, 2**63 - 1]),
            np.array([0, 1, 2**64 - 1], np.uint64),
            np.array([-128, 0, 127], np.int8),
            np.array([2**63 - 2, 2**63, 2**63 + 1], np.uint64),
        ],
        ids=["all of int64", "all of uint64", "int8", "high uint64"],
    )
    def test_gives_extreme_ids_back(self, ids):
        result = user_aucs([1, 1, 1, 0, 0, 0], [1, 2, 1, 2, 1, 1], np.tile(ids, 2))
        assert result.users.dtype == ids.dtype
        assert result.users.tolist() == ids.tolist()
        assert result.auc.tolist() == [0, 1, 0.5]

    def test_zero_of_either_sign_is_one_score(self):
        scores = np.array([0.0, -0.0], np.float32)
        assert user_aucs([1, 0], scores, [1, 1]).auc.tolist() == [0.5]
        assert user_aucs([0, 1], scores, [1, 1]).auc.tolist() == [0.5]

    def test_of_nothing_is_empty(self):
        result = user_aucs([], [], [])
        assert [len(column) for column in dataclasses.astuple(result)] == [0, 0, 0, 0]

    @LAW
    @given(ROWS, st.randoms(use_true_random=False))
    def test_order_of_rows_has_no_say(self, rows, random):
        shuffled = random.sample(rows, len(rows))
        result, expected = user_aucs(*columns(shuffled)), user_aucs(*columns(rows))
        np.testing.assert_array_equal(result.auc, expected.auc)
        np.testing.assert_array_equal(result.positives, expected.positives)
        assert auc(*columns(shuffled)[:2]) == pytest.approx(auc(*columns(rows)[:2]), nan_ok=True)

    @LAW
    @given(ROWS)
    def test_only_the_order_of_scores_has_a_say(self, rows):
        labels, scores, users = columns(rows)
        expected = user_aucs(labels, scores, users).auc
        for increasing in (np.exp(scores), 3.0 * scores - 100, (scores**3).astype(np.float32)):
            np.testing.assert_array_equal(user_aucs(labels, increasing, users).auc, expected)

    @LAW
    @given(ROWS)
    def test_one_user_has_the_auc_of_all_rows(self, rows):
        labels, scores, _ = columns(rows)
        result = user_aucs(labels, scores, np.full(len(rows), 9)).auc.item()
        assert result == pytest.approx(auc(labels, scores), abs=1e-12, nan_ok=True)


class TestGAUC:
    @pytest.mark.parametrize(
        ("weights", "expected"),
        [
            ("impressions", (4 * AUC_OF_7 + 2 * 0.5) / 6),
            ("positives", (2 * AUC_OF_7 + 1 * 0.5) / 3),
            ("uniform", (AUC_OF_7 + 0.5) / 2),
        ],
    )
    def test_by_hand(self, weights, expected):
        result = gauc(LABELS, SCORES, USERS, weights=weights)
        assert result.value == pytest.approx(expected, abs=1e-15)
        assert result.weights == weights
        assert (result.users, result.users_kept) == (3, 2)
        assert (result.kept_share, result.impressions_kept_share) == (2 / 3, 6 / 8)

    def test_equals_the_weighted_mean_of_sklearn(self):
        labels, scores, users = random_rows()
        per_user = sklearn_aucs(labels, scores, users)
        kept = ~np.isnan(per_user)
        impressions = np.unique(users, return_counts=True)[1]
        expected = np.average(per_user[kept], weights=impressions[kept])
        assert gauc(labels, scores, users).value == pytest.approx(expected, abs=1e-12)

    def test_is_nan_and_counted_if_no_user_is_left(self):
        result = gauc([1, 0], [0.5, 0.6], [1, 2])
        assert math.isnan(result.value)
        assert (result.users, result.users_kept, result.impressions_kept_share) == (2, 0, 0)

    def test_of_nothing_is_nan(self):
        result = gauc([], [], [])
        shares = (result.value, result.kept_share, result.impressions_kept_share)
        assert all(math.isnan(share) for share in shares)

    def test_refuses_unknown_weights(self):
        with pytest.raises(ValueError, match=r"`weights` \(='clicks'\) must be one of 'impressio"):
            gauc(LABELS, SCORES, USERS, weights="clicks")


class TestLogLoss:
    def test_by_hand(self):
        expected = -(math.log(0.8) + math.log(1 - 0.4)) / 2
        assert log_loss([1, 0], [0.8, 0.4]) == pytest.approx(expected, abs=1e-15)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_equals_sklearn_even_when_surely_wrong(self, dtype):
        labels = [1, 0, 1, 0, 1]
        probabilities = np.array([0, 1, 0.25, 0.5, 1], dtype)
        expected = sklearn_metrics.log_loss(labels, probabilities)
        assert log_loss(labels, probabilities) == pytest.approx(expected, rel=1e-6)

    def test_is_nan_without_rows(self):
        assert math.isnan(log_loss([], []))


class TestCalibration:
    def test_by_hand(self):
        result = calibration([0, 1, 1, 0], [0.1, 0.3, 0.8, 0.9], num_bins=2)
        assert result.ratio == pytest.approx(2.1 / 2)
        # Means of the bins: 0.2 against 0.5, and 0.85 against 0.5.
        assert result.expected_calibration_error == pytest.approx((0.3 + 0.35) / 2)

    def test_bins_hold_equal_shares_and_ties_stay_together(self):
        bins = metrics._equal_mass_bins(np.array([0.1, 0.2, 0.2, 0.2, 0.3, 0.4]), 3)
        assert bins.tolist() == [0, 1, 1, 1, 2, 2]

    def test_of_true_rates_is_perfect(self):
        result = calibration([0, 0, 0, 1, 1, 1], [0.25] * 4 + [1, 1])
        assert dataclasses.astuple(result) == (1, 0)

    @LAW
    @given(ROWS)
    def test_order_of_rows_has_no_say(self, rows):
        labels, scores, _ = columns(rows)
        result = calibration(labels, (scores + 3) / 6, num_bins=3)
        turned = calibration(labels[::-1], (scores[::-1] + 3) / 6, num_bins=3)
        assert dataclasses.astuple(turned) == pytest.approx(
            dataclasses.astuple(result), abs=1e-12, nan_ok=True
        )

    def test_ratio_is_nan_when_nothing_was_observed(self):
        result = calibration([0, 0], [0.1, 0.3])
        assert math.isnan(result.ratio)
        assert result.expected_calibration_error == pytest.approx(0.2)

    def test_is_nan_without_rows(self):
        assert all(map(math.isnan, dataclasses.astuple(calibration([], []))))

    def test_refuses_no_bins(self):
        with pytest.raises(ValueError, match=r"`num_bins` \(=0\) must be at least 1"):
            calibration([0, 1], [0.1, 0.3], num_bins=0)


class TestComparisons:
    def test_relative_improvement_is_in_percent(self):
        assert relative_improvement(0.5, 0.51) == pytest.approx(2)
        assert relative_improvement(0.5, 0.49) == pytest.approx(-2)

    @pytest.mark.parametrize(("base", "value"), [(0, 0.5), (math.nan, 0.5), (0.5, math.nan)])
    def test_relative_improvement_is_nan_if_undefined(self, base, value):
        assert math.isnan(relative_improvement(base, value))

    @pytest.mark.parametrize(
        ("method", "expected"), [(0.60, 0), (0.65, 0.5), (0.70, 1), (0.72, 1.2), (0.59, -0.1)]
    )
    def test_gap_closed_is_a_plain_ratio(self, method, expected):
        assert gap_closed(0.60, method, 0.70) == pytest.approx(expected)

    @pytest.mark.parametrize("ceiling", [0.60, 0.55, math.nan])
    def test_gap_closed_is_nan_without_a_gap(self, ceiling):
        assert math.isnan(gap_closed(0.60, 0.65, ceiling))


class TestDoor:
    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ([0, 3, 2], r"`labels` is 3 at position 1 \(2 such of 3\) and must be 0 or 1; make"),
            ([0, 1, math.nan], r"`labels` is nan at position 2 \(1 such of 3\) and must be 0 or 1"),
            (["a", "b", "c"], r"`labels` has type <U1 and must hold 0 or 1; encode it"),
            ([[0], [1], [0]], r"`labels` has shape \(3, 1\) and must be \(N,\); call"),
        ],
    )
    def test_refuses_labels(self, labels, message):
        with pytest.raises(ValueError, match=message):
            auc(labels, [0.1, 0.2, 0.3])

    @pytest.mark.parametrize(
        ("scores", "message"),
        [
            ([0.1, math.nan, math.nan], r"`scores` is nan at position 1 \(2 such of 3\) and must"),
            ([math.inf, 0.1, 0.2], r"is inf at position 0 .* must be finite; look for a diverged"),
            ([0.1, 0.2], r"`scores` has 2 rows and `labels` has 3; pass one per impression"),
        ],
    )
    def test_refuses_scores(self, scores, message):
        for metric in (auc, lambda labels, scores: gauc(labels, scores, [1, 1, 1])):
            with pytest.raises(ValueError, match=message):
                metric([0, 1, 0], scores)

    @pytest.mark.parametrize(
        ("users", "message"),
        [
            ([1, 2], r"`users` has 2 rows and `labels` has 3"),
            ([1.0, 2.0, math.nan], r"`users` has type float64 and must hold integer ids; encode"),
        ],
    )
    def test_refuses_users(self, users, message):
        with pytest.raises(ValueError, match=message):
            user_aucs([0, 1, 0], [0.1, 0.2, 0.3], users)

    @pytest.mark.parametrize("metric", [log_loss, calibration])
    def test_refuses_what_is_no_probability(self, metric):
        message = r"`probabilities` is -2\.5 at position 1 \(2 such of 3\) .*; put logits through"
        with pytest.raises(ValueError, match=message):
            metric([0, 1, 0], [0.1, -2.5, 1.5])

    def test_takes_bools_and_whole_floats_as_labels(self):
        scores = [0.1, 0.2, 0.15]
        assert auc([False, True, True], scores) == auc([0.0, 1.0, 1.0], scores) == 1
