"""AUC, GAUC, log loss and calibration of scored impressions, and Eq. 18's comparison of two models.

Everything rests on one sort, is exact with ties, and is NaN, never 0, where it is undefined.
Letters in shapes: N impressions, U distinct users.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Weights = Literal["impressions", "positives", "uniform"]  # what a user counts for in GAUC

_KEY_BITS = 64  # what one sort key holds: user, score and label
_FLOAT32_BITS = 32
_SIGN_BIT = np.uint32(1 << 31)

_Array = npt.NDArray[Any]
_Bools = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Codes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class UserAUCs:
    """The AUC of each user's impressions, one row per distinct user, by ascending id.

    Attributes:
        users: (U,) integer ids, in the type they came in.
        auc: (U,) float64, NaN for a user with only positives or only negatives.
        impressions: (U,) int64, the user's rows.
        positives: (U,) int64, those of them with label 1.
    """

    users: _Array
    auc: _Floats
    impressions: _Ints
    positives: _Ints

    @property
    def is_kept(self) -> _Bools:
        """(U,) bool, True for users with both classes, the ones that GAUC is made of."""
        return (self.positives > 0) & (self.positives < self.impressions)

    def weights(self, kind: Weights = "impressions") -> _Ints:
        """What each user counts for in GAUC: (U,) int64, 0 for users who are left out."""
        check_choice("weights", kind, get_args(Weights))
        if kind == "uniform":
            return self.is_kept.astype(np.int64)
        return self.is_kept * (self.impressions if kind == "impressions" else self.positives)


@dataclass(frozen=True)
class GAUC:
    """The weighted mean of the users' AUCs, with how many of them it could be made of.

    Attributes:
        value: the GAUC, NaN if no user has both classes.
        weights: what a user counted for.
        users: number of distinct users.
        users_kept: number of users with both classes; the others are left out.
        kept_share: users_kept / users, NaN without users.
        impressions_kept_share: the kept users' share of all impressions, NaN without any.
    """

    value: float
    weights: Weights
    users: int
    users_kept: int
    kept_share: float
    impressions_kept_share: float


@dataclass(frozen=True)
class Calibration:
    """How far predicted probabilities are from what was observed.

    Attributes:
        ratio: sum predicted / sum observed, 1 at best; NaN when nothing was observed.
        expected_calibration_error: mean distance of predicted and observed rate over the bins,
            weighted by impressions, 0 at best; NaN without impressions.
    """

    ratio: float
    expected_calibration_error: float


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The chance that a positive scores above a negative, ties counting half (mid-ranks).

    Args:
        labels: (N,) 0 or 1.
        scores: (N,) finite numbers on any scale, higher for likelier positives.

    Returns:
        The area under the ROC curve in [0, 1]; NaN if a class is missing.
    """
    positive = as_labels(labels)
    values = as_scores(scores, positive.size)
    above, below = values[positive], values[~positive]
    pairs = above.size * below.size
    if pairs == 0:
        return math.nan
    above.sort()
    below.sort()
    # Looking up the rarer class is less work; the other class's wins are what remains.
    rare, common = (above, below) if above.size <= below.size else (below, above)
    twice_wins = sum(int(np.searchsorted(common, rare, side).sum()) for side in ("left", "right"))
    if rare is below:
        twice_wins = 2 * pairs - twice_wins
    return twice_wins / (2 * pairs)


def user_aucs(labels: npt.ArrayLike, scores: npt.ArrayLike, users: npt.ArrayLike) -> UserAUCs:
    """The AUC within each user's impressions, all users in one sort.

    Args:
        labels: (N,) 0 or 1.
        scores: (N,) finite numbers; float32 sorts fastest.
        users: (N,) integer ids of the users, any values in any order.

    Returns:
        One row per distinct user, by ascending id; NaN where the user has a single class.
    """
    positive = as_labels(labels)
    rows = _sort_rows(positive, as_scores(scores, positive.size), as_users(users, positive.size))
    twice_wins, positives = _twice_wins(rows)
    impressions = np.diff(rows.starts)
    twice_pairs = 2 * positives * (impressions - positives)
    values = np.full(impressions.size, math.nan)
    np.divide(twice_wins, twice_pairs, out=values, where=twice_pairs > 0)
    return UserAUCs(rows.users, values, impressions, positives)


def gauc(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    users: npt.ArrayLike,
    *,
    weights: Weights = "impressions",
) -> GAUC:
    """The weighted mean of the users' AUCs; users with a single class are left out and counted.

    Args:
        labels: (N,) 0 or 1.
        scores: (N,) finite numbers; float32 sorts fastest.
        users: (N,) integer ids of the users, any values in any order.
        weights: what a user counts for; "impressions" is the DIN paper's GAUC.

    Returns:
        The value, NaN if no user is left, with the shares of users and impressions it rests on.
    """
    per_user = user_aucs(labels, scores, users)
    share = per_user.weights(weights)
    kept = per_user.is_kept
    users_kept, total = int(kept.sum()), int(share.sum())
    impressions = per_user.impressions
    return GAUC(
        value=float(share[kept] @ per_user.auc[kept]) / total if total else math.nan,
        weights=weights,
        users=kept.size,
        users_kept=users_kept,
        kept_share=_ratio(users_kept, kept.size),
        impressions_kept_share=_ratio(int(impressions[kept].sum()), int(impressions.sum())),
    )


def log_loss(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """The mean negative log likelihood of the labels, in nats; NaN without impressions.

    Probabilities are kept one machine epsilon of their type away from 0 and 1, so that a
    saturated sigmoid costs a lot (16 nats in float32) and not infinity.

    Args:
        labels: (N,) 0 or 1.
        probabilities: (N,) in [0, 1], of label 1.
    """
    positive = as_labels(labels)
    predicted = as_probabilities(probabilities, positive.size)
    if positive.size == 0:
        return math.nan
    epsilon = float(np.finfo(predicted.dtype).eps)
    predicted = predicted.astype(np.float64)
    likelihoods = np.where(positive, predicted, 1 - predicted)
    return float(-np.log(np.clip(likelihoods, epsilon, 1 - epsilon)).mean())


def calibration(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, num_bins: int = 20
) -> Calibration:
    """The ratio of predicted to observed positives, and the expected calibration error.

    The bins hold equal shares of the impressions, but equal probabilities share a bin (that of
    their mid-rank), so that the order of the rows has no say.

    Args:
        labels: (N,) 0 or 1.
        probabilities: (N,) in [0, 1], of label 1.
        num_bins: number of equal-mass bins, at least 1.
    """
    if num_bins < 1:
        raise ValueError(f"`num_bins` (={num_bins}) must be at least 1; 20 is the default")
    positive = as_labels(labels)
    predicted = as_probabilities(probabilities, positive.size).astype(np.float64)
    if positive.size == 0:
        return Calibration(math.nan, math.nan)
    order = np.argsort(predicted)
    bins = _equal_mass_bins(predicted[order], num_bins)
    gaps = np.bincount(bins, weights=predicted[order] - positive[order])
    return Calibration(
        ratio=_ratio(float(predicted.sum()), int(positive.sum())),
        expected_calibration_error=float(np.abs(gaps).sum()) / positive.size,
    )


def relative_improvement(base: float, value: float) -> float:
    """RI of `value` over `base` in percent, Eq. 18: (b - a) / a * 100; NaN if the base is 0."""
    return 100 * _ratio(value - base, base)


def gap_closed(base: float, method: float, ceiling: float) -> float:
    """The share of the way from base to ceiling that a method goes, as a plain ratio.

    Above 1 the method is past the ceiling, below 0 it is worse than the base. NaN where the
    ceiling is not above the base: there is no gap then, and a ratio would praise what is worse.
    """
    return (method - base) / (ceiling - base) if ceiling > base else math.nan


def as_labels(labels: npt.ArrayLike) -> _Bools:
    """The labels as (N,) bool, after checking that there are only 0 and 1."""
    values = _as_column("labels", labels, "biuf", "0 or 1")
    positive: _Bools = values == 1
    remedy = "make it 1 for a positive and 0 for a negative, and leave out rows without a label"
    _refuse("labels", values, ~positive & (values != 0), f"must be 0 or 1; {remedy}")
    return positive


def as_scores(scores: npt.ArrayLike, num_rows: int, name: str = "scores") -> _Array:
    """The scores as (N,) numbers, after checking that they are finite and N is `num_rows`."""
    values = _as_column(name, scores, "biuf", "numbers", num_rows)
    remedy = "look for a diverged model or missing inputs, or leave those rows out of all arrays"
    _refuse(name, values, ~np.isfinite(values), f"must be finite; {remedy}")
    return values


def as_probabilities(probabilities: npt.ArrayLike, num_rows: int) -> _Array:
    """The probabilities as (N,) floats, after checking that they lie in [0, 1]."""
    values = as_scores(probabilities, num_rows, "probabilities")
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    outside = (values < 0) | (values > 1)
    _refuse("probabilities", values, outside, "must be in [0, 1]; put logits through a sigmoid")
    return values


def as_users(users: npt.ArrayLike, num_rows: int) -> _Array:
    """The user ids as (N,) integers, after checking their type and that N is `num_rows`."""
    return _as_column("users", users, "iu", "integer ids", num_rows)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not among the choices."""
    if value not in choices:
        raise ValueError(f"`{name}` (={value!r}) must be one of {', '.join(map(repr, choices))}")


def _as_column(
    name: str, values: npt.ArrayLike, kinds: str, what: str, num_rows: int | None = None
) -> _Array:
    """The values as an (N,) array whose NumPy kind is among `kinds`."""
    column = np.asarray(values)
    if column.ndim != 1:
        raise ValueError(f"`{name}` has shape {column.shape} and must be (N,); call .ravel() on it")
    if column.size == 0:
        column = column.astype(np.float64 if "f" in kinds else np.int64)
    if column.dtype.kind not in kinds:
        raise ValueError(f"`{name}` has type {column.dtype} and must hold {what}; encode it")
    if num_rows is not None and column.size != num_rows:
        raise ValueError(
            f"`{name}` has {column.size} rows and `labels` has {num_rows}; pass one per impression"
        )
    return column


def _refuse(name: str, values: _Array, is_wrong: _Bools, rule: str) -> None:
    """Raise an error that names the first wrong value and counts them all, if there is one."""
    if is_wrong.any():
        first = int(is_wrong.argmax())
        count = f"{is_wrong.sum()} such of {values.size}"
        raise ValueError(f"`{name}` is {values[first]} at position {first} ({count}) and {rule}")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _equal_mass_bins(ordered: _Floats, num_bins: int) -> _Ints:
    """The bin of each of (N,) ascending values by its mid-rank, so that ties share one."""
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.diff(starts, append=ordered.size)
    bins: _Ints = (2 * starts + counts) * num_bins // (2 * ordered.size)
    return np.repeat(bins, counts)


@dataclass(frozen=True)
class _SortedRows:
    """Rows by user, then score, then label; so a tie's negatives come before its positives."""

    users: _Array  # (U,) ids
    starts: _Ints  # (U + 1,) each user's first row, and N
    positive: _Bools  # (N,)
    is_tie_start: _Bools  # (N,) True where the user or the score differs from the row before


def _twice_wins(rows: _SortedRows) -> tuple[_Ints, _Ints]:
    """Twice each user's won pairs, a tie being half a win, and their positives: (U,) int64 both.

    In sorted rows a positive beats the user's negatives before its tie and half of those in it;
    with row numbers and counts of positives, negatives need no counting of their own.
    """
    at = np.flatnonzero(rows.positive)
    ties = np.flatnonzero(rows.is_tie_start)
    tie_start = ties[np.searchsorted(ties, at, "right") - 1]
    negatives_through_tie = at - np.arange(at.size)
    negatives_before_tie = tie_start - np.searchsorted(at, tie_start)
    totals = np.concatenate(([0], np.cumsum(negatives_through_tie + negatives_before_tie)))
    first = np.searchsorted(at, rows.starts)
    positives = np.diff(first)
    negatives_of_earlier_users = (rows.starts - first)[:-1]
    return np.diff(totals[first]) - 2 * positives * negatives_of_earlier_users, positives


def _sort_rows(positive: _Bools, scores: _Array, users: _Array) -> _SortedRows:
    """Sort the rows by one 64-bit key where user, score and label fit, or by three columns.

    Sorting keys and reading the columns back out of them is several times faster than finding
    an order and applying it.
    """
    if positive.size == 0:
        nothing = np.zeros(0, np.bool_)
        return _SortedRows(users, np.zeros(1, np.int64), nothing, nothing)
    score_codes, score_bits = _code_scores(scores)
    shift = score_bits + 1
    user_codes, user_bits, ids_of = _code_users(users, _KEY_BITS - shift)
    if user_bits + shift > _KEY_BITS:
        return _sort_columns(positive, score_codes, users)
    keys = (user_codes << np.uint64(shift)) | (score_codes << np.uint64(1)) | positive
    keys.sort()
    changes = keys[1:] ^ keys[:-1]
    starts = np.concatenate(([0], np.flatnonzero(changes >> np.uint64(shift)) + 1))
    return _SortedRows(
        users=ids_of(keys[starts] >> np.uint64(shift)),
        starts=np.append(starts, keys.size),
        positive=(keys & np.uint64(1)).astype(np.bool_),
        is_tie_start=np.concatenate(([True], changes > 1)),  # the label is the lowest bit
    )


def _sort_columns(positive: _Bools, score_codes: _Codes, users: _Array) -> _SortedRows:
    """Sort rows of any size, whose user, score and label don't fit one key together."""
    order = np.lexsort((positive, score_codes, users))
    users, score_codes = users[order], score_codes[order]
    is_new_user = np.concatenate(([True], users[1:] != users[:-1]))
    is_new_score = np.concatenate(([True], score_codes[1:] != score_codes[:-1]))
    starts = np.flatnonzero(is_new_user)
    ends = np.append(starts, users.size)
    return _SortedRows(users[starts], ends, positive[order], is_new_user | is_new_score)


def _code_scores(scores: _Array) -> tuple[_Codes, int]:
    """(N,) uint64 codes in the order of the scores, and the bits they need."""
    with np.errstate(over="ignore"):
        narrow = scores.astype(np.float32)
    if scores.dtype.kind != "f" or not np.array_equal(narrow, scores):
        values, ranks = np.unique(scores, return_inverse=True)
        return ranks.astype(np.uint64), (values.size - 1).bit_length()
    # What float32 holds without loss needs no ranks: floats compare like their bits, once
    # negatives are flipped and put below, and -0 is made 0.
    bits = (narrow + np.float32(0)).view(np.uint32)
    bits ^= np.where(bits & _SIGN_BIT, ~np.uint32(0), _SIGN_BIT)
    return bits.astype(np.uint64), _FLOAT32_BITS


def _code_users(users: _Array, bits: int) -> tuple[_Codes, int, Callable[[_Codes], _Array]]:
    """(N,) uint64 codes in the order of the ids, the bits they need, and the way back.

    The distance from the lowest id is enough if it fits the bits; else the ids' ranks.
    """
    low, high = int(users.min()), int(users.max())
    if (high - low).bit_length() <= bits:
        offset = np.uint64(low % 2**64)  # unsigned arithmetic wraps, so negative ids come out right
        codes = users.astype(np.uint64) - offset
        return codes, (high - low).bit_length(), lambda code: (code + offset).astype(users.dtype)
    ids, ranks = np.unique(users, return_inverse=True)
    return ranks.astype(np.uint64), (ids.size - 1).bit_length(), lambda code: ids[code]
