"""What the values of a simulated world's categorical fields do to its users, items and clicks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

INTERACTION_SHARE = 0.3  # of what attributes determine, by pairs of them
VALUE_SKEW = 0.5  # the exponent of Zipf's law by which values are frequent


def standardised(values: Floats, shares: Floats) -> Floats:
    """The values with mean 0 and variance 1, by column, under a distribution over the rows."""
    centred: Floats = values - shares @ values
    return np.asarray(centred / np.sqrt(shares @ centred**2))


def zipf(count: int, exponent: float) -> Floats:
    """Shares that fall with the rank, by Zipf's law."""
    weights = fading_weights(count, exponent)
    return np.asarray(weights / weights.sum())


def fading_weights(count: int, fading: float) -> Floats:
    """1, and what falls from there with the rank's power `fading`."""
    return np.asarray(np.arange(1, count + 1) ** -float(fading))


def with_missing(values: int, missing_share: float) -> Floats:
    """(values + 1,) float, how frequent 'missing', the first, and each value are."""
    return np.append(missing_share, (1 - missing_share) * zipf(values, VALUE_SKEW))


@dataclass(frozen=True)
class AttributeEffect:
    """One attribute's values and what they do; the first value, 0, is 'missing'.

    Attributes:
        shares: (values,) float, how frequent each value is.
        main: (values, interests + 1) float, the effect of each value by itself.
        factor: (values, interests + 1) float, its factor in the effect of pairs.
    """

    shares: Floats
    main: Floats
    factor: Floats

    @classmethod
    def draw(
        cls, values: int, missing_share: float, columns: int, rng: np.random.Generator
    ) -> "AttributeEffect":
        """Random effects. Missing is a value of its own: who leaves a field empty differs."""
        shares = with_missing(values, missing_share)
        main, factor = rng.standard_normal((2, values + 1, columns))
        return cls(shares, standardised(main, shares), standardised(factor, shares))


def determined(effects: tuple[AttributeEffect, ...], codes: Ints, fading: float = 0.0) -> Floats:
    """What attributes determine of users' interests and rate, with variance 1 in each column.

    With main effects m_k, factors a_k, weights w_k = k^-fading and the share s of pairs,

        f = sqrt(1 - s) sum_k w_k m_k / |w| + sqrt(s) sum_{j<k} w_j w_k a_j a_k / W,
        W² = sum_{j<k} w_j² w_k².

    All m_k and a_k have mean 0 and variance 1 under independent attributes, so that the terms are
    uncorrelated and the variance is exactly 1.

    Args:
        effects: one for each attribute.
        codes: (N, K) int, the users' values.
        fading: how fast attributes lose in weight.

    Returns:
        (N, interests + 1) float, the rate last.
    """
    weights = fading_weights(len(effects), fading)
    squares = weights**2
    each = list(zip(weights, effects, codes.T, strict=True))
    main = sum(weight * effect.main[code] for weight, effect, code in each)
    main /= np.sqrt(squares.sum())
    if len(effects) == 1:
        return np.asarray(main)
    factors = [weight * effect.factor[code] for weight, effect, code in each]
    # sum_{j<k} a_j a_k = ((sum a)^2 - sum a^2) / 2, without a loop over pairs
    pairs = (sum(factors) ** 2 - sum(factor**2 for factor in factors)) / 2
    pairs /= np.sqrt((squares.sum() ** 2 - (squares**2).sum()) / 2)
    return np.asarray(np.sqrt(1 - INTERACTION_SHARE) * main + np.sqrt(INTERACTION_SHARE) * pairs)


@dataclass(frozen=True)
class ContextEffect:
    """One context field's values and what they do.

    Attributes:
        shares: (values,) float, how frequent each value is.
        log_odds: (values,) float, what each adds to the click's log-odds.
    """

    shares: Floats
    log_odds: Floats

    @classmethod
    def draw_all(
        cls, fields: Sequence[tuple[str, int]], spread: float, fading: float,
        rng: np.random.Generator,
    ) -> "tuple[ContextEffect, ...]":  # fmt: skip
        """Random effects of independent fields, which together have a standard deviation."""
        weights = fading_weights(len(fields), fading)
        weights = spread * weights / np.sqrt((weights**2).sum())
        result = []
        for weight, (_, values) in zip(weights, fields, strict=True):
            shares = zipf(values, VALUE_SKEW)
            effect = weight * standardised(rng.standard_normal(values), shares)
            result.append(cls(shares, effect))
        return tuple(result)


def feature_vectors(
    fields: Sequence[tuple[str, int]], codes: Ints, columns: int, fading: float,
    rng: np.random.Generator,
) -> Floats:  # fmt: skip
    """(items, columns) float, what items' features say of their vectors, with variance about 1.

    Args:
        fields: names and numbers of values.
        codes: (items, fields) int, 0 where missing.
        columns: the vectors' width.
        fading: how fast fields lose in weight.
        rng: draws a vector for each value.
    """
    weights = fading_weights(len(fields), fading)
    weights /= np.sqrt((weights**2).sum())
    total = np.zeros((len(codes), columns))
    for weight, (_, values), code in zip(weights, fields, codes.T, strict=True):
        total += weight * rng.standard_normal((values + 1, columns))[code]
    return total
