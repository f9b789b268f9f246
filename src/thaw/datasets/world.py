"""The simulated world: its parameters, and what its users and items are drawn from.

Everything here is the same for any number of users; `population.py` draws the users.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thaw.datasets.effects import (
    AttributeEffect,
    ContextEffect,
    Floats,
    Ints,
    feature_vectors,
    standardised,
    with_missing,
    zipf,
)
from thaw.errors import DataError

POSITIONS = 10
CATEGORY_SHARE, BRAND_SHARE = 0.5, 0.3  # of an item vector's variance; the rest is its own
MORE_FEATURES_SHARE = 0.15  # of it by more features, where there are any
POSITION_SHARE = 0.8  # of the variance of position and hour; the rest is the hour
MORE_CONTEXT_SHARE = 0.5  # of the context's variance by more fields, where there are any

_EVENING = np.cos(2 * np.pi * (np.arange(24) - 20) / 24)
HOUR_SHARES: Floats = (1 + 0.8 * _EVENING) / 24

_WHOLE = {
    "users": (1, 10**9),
    "items": (2, 10**8),
    "days": (2, 366),
    "history_days": (0, 366),
    "interests": (1, 64),
    "categories": (1, 10**6),
    "brands": (1, 10**6),
    "seed": (0, 2**63 - 1),
}
_REAL = {
    "impressions_per_user": (0.1, 10_000),
    "events_per_user": (0, 10_000),
    "interest_strength": (0, 3),
    "rate_spread": (0, 3),
    "quality_spread": (0, 2),
    "context_spread": (0, 2),
    "interest_determined": (0, 1),
    "rate_determined": (0, 1),
    "drift": (0, 1),
    "event_focus": (0, 10),
    "click_rate": (0.001, 0.5),
    "conversion_rate": (0.001, 0.5),
    "popularity_skew": (0, 1),
    "missing_share": (0, 0.9),
    "fading": (0, 3),
}
_TAKEN = {
    "attributes": ("user_id",),
    "more_context": (
        "user_id", "item_id", "time", "position", "hour", "click", "conversion", "p_best",
        "p_attributes",
    ),
    "more_features": ("item_id", "category", "brand", "price"),
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """The parameters of a simulated world.

    A "spread" or "strength" is a standard deviation in the click's log-odds.

    Attributes:
        users: How many users, at least 1.
        items: How many items, at least twice `interests`.
        days: Days with impressions, at least 2; the last one is the test day.
        history_days: Days before those, with events alone.
        impressions_per_user: Mean over users and all days; the number itself is overdispersed.
        events_per_user: Mean over users and all days; the number itself is heavy-tailed.
        attributes: The users' attributes, as (column, number of values).
        categories: How many item categories.
        brands: How many item brands, each in any category.
        interests: The number of latent interests of a user, 1 to 64.
        interest_strength: How much interests decide a click within a user (what GAUC sees): the
            log-odds' standard deviation over the items shown, in mean square over users.
        rate_spread: How much users differ in their overall click rate (what AUC sees besides).
        interest_determined: The share of the interests' variance, in [0, 1], that attributes
            determine.
        rate_determined: The share of the overall rate's variance, in [0, 1], that attributes
            determine.
        quality_spread: How much items differ for everybody.
        context_spread: How much position, hour and more context decide.
        drift: How far interests move from one day to the next, in [0, 1]: the root mean square of
            the step in what attributes leave open, as a share of its standard deviation.
        event_focus: How strongly interest decides which item an event is about; at 0, events
            tell nothing of interests.
        click_rate: The mean click rate of the impressions.
        conversion_rate: The mean conversion rate of the clicks.
        popularity_skew: The exponent, in [0, 1], of Zipf's law by which items are shown.
        missing_share: The share of the values of attributes, prices and more features that are
            missing.
        more_context: Context fields beside position and hour, as (column, number of values).
        more_features: Item features beside category, brand and price, in the same form.
        fading: How fast fields lose in weight, from 0: of the attributes, of more context and of
            more features, the k-th's effect is that of the first by k^-fading.
        seed: The seed of everything.

    Raises:
        DataError: with all parameters that are out of range.
    """

    users: int = 20_000
    items: int = 2_000
    days: int = 8
    history_days: int = 14
    impressions_per_user: float = 40.0
    events_per_user: float = 30.0
    attributes: tuple[tuple[str, int], ...] = (
        ("age", 7),
        ("gender", 3),
        ("city", 30),
        ("occupation", 20),
    )
    categories: int = 40
    brands: int = 200
    interests: int = 4
    interest_strength: float = 0.9
    rate_spread: float = 0.7
    interest_determined: float = 0.5
    rate_determined: float = 0.3
    quality_spread: float = 0.2
    context_spread: float = 0.2
    drift: float = 0.1
    event_focus: float = 2.0
    click_rate: float = 0.12
    conversion_rate: float = 0.1
    popularity_skew: float = 0.7
    missing_share: float = 0.03
    more_context: tuple[tuple[str, int], ...] = ()
    more_features: tuple[tuple[str, int], ...] = ()
    fading: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        faults = self._range_faults()
        for name in _TAKEN:
            faults += self._field_faults(name)
        if not self.attributes:
            faults.append("`attributes` (=()) must name at least one")
        if not faults and self.items < 2 * self.interests:
            rule = f"must be at least twice `interests` (={self.interests})"
            faults.append(f"`items` (={self.items}) {rule}")
        if faults:
            raise DataError("no such world: " + "; ".join(faults))

    def _range_faults(self) -> list[str]:
        faults = []
        for name, (low, high) in (_WHOLE | _REAL).items():
            value = getattr(self, name)
            kinds = int if name in _WHOLE else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                kind = "a whole number" if name in _WHOLE else "a number"
                faults.append(f"`{name}` (={value!r}) must be {kind} from {low} to {high}")
        return faults

    def _field_faults(self, what: str) -> list[str]:
        fields = getattr(self, what)
        names = sorted(name for name, _ in fields)
        faults = [f"`{what}` has {a!r} twice" for a, b in pairwise(names) if a == b]
        faults += [f"`{what}` must not be named {name!r}" for name in names if name in _TAKEN[what]]
        for name, values in fields:
            if not 2 <= values <= 10**6:
                faults.append(f"`{what}`: {name!r} (={values}) must have 2 to 1000000 values")
        return faults


@dataclass(frozen=True)
class Catalog:
    """The items.

    Attributes:
        shares: (items,) float, how often each is shown.
        vectors: (items, interests) float, with mean 0 and covariance I / interests over what is
            shown, so that a user's affinities have mean square 1 in the mean over users.
        quality: (items,) float, what each adds to the log-odds for everybody.
        category: (items,) int.
        brand: (items,) int.
        price: (items,) float, NaN where missing.
        features: (items, more features) int, 0 where missing.
    """

    shares: Floats
    vectors: Floats
    quality: Floats
    category: Ints
    brand: Ints
    price: Floats
    features: Ints

    @classmethod
    def draw(cls, world: World, rng: np.random.Generator) -> "Catalog":
        """Random items, clustered by category and brand."""
        count = world.items
        shares = rng.permutation(zipf(count, world.popularity_skew))
        category = rng.choice(world.categories, count, p=zipf(world.categories, 0.5))
        brand = rng.choice(world.brands, count, p=zipf(world.brands, 0.8))
        quality = world.quality_spread * standardised(rng.standard_normal(count), shares)
        level = rng.normal(3, 0.7, world.categories)
        price: Floats = np.exp(level[category] + rng.normal(0, 0.5, count)).round(2)
        price[rng.random(count) < world.missing_share] = np.nan
        features = _draw_features(world, rng)
        vectors = _whitened(_clustered(world, category, brand, features, rng), shares)
        return cls(shares, vectors, quality, category, brand, price, features)

    def draw_items(self, count: int, rng: np.random.Generator) -> Ints:
        """Items as they are shown, by their shares."""
        bounds = np.cumsum(self.shares)
        return np.searchsorted(bounds[:-1], rng.random(count), side="right")


def _draw_features(world: World, rng: np.random.Generator) -> Ints:
    codes = np.zeros((world.items, len(world.more_features)), dtype=np.int64)
    for k, (_, values) in enumerate(world.more_features):
        codes[:, k] = rng.choice(
            values + 1, world.items, p=with_missing(values, world.missing_share)
        )
    return codes


def _clustered(
    world: World, category: Ints, brand: Ints, features: Ints, rng: np.random.Generator
) -> Floats:
    by_category = rng.standard_normal((world.categories, world.interests))[category]
    by_brand = rng.standard_normal((world.brands, world.interests))[brand]
    own = rng.standard_normal((len(category), world.interests))
    own_share = 1 - CATEGORY_SHARE - BRAND_SHARE
    if world.more_features:
        more = feature_vectors(world.more_features, features, world.interests, world.fading, rng)
        share = MORE_FEATURES_SHARE / own_share
        own = np.sqrt(share) * more + np.sqrt(1 - share) * own
    return np.asarray(
        np.sqrt(CATEGORY_SHARE) * by_category
        + np.sqrt(BRAND_SHARE) * by_brand
        + np.sqrt(own_share) * own
    )


def _whitened(vectors: Floats, shares: Floats) -> Floats:
    """The vectors with mean 0 and covariance I / columns under the shares."""
    centred = vectors - shares @ vectors
    covariance = (centred * shares[:, None]).T @ centred
    root = np.linalg.cholesky(covariance)
    return np.asarray(np.linalg.solve(root, centred.T).T / np.sqrt(vectors.shape[1]))


def context_effects(world: World) -> Floats:
    """(positions, hours) float, what they add to the log-odds: top and evening are best."""
    position = standardised(-np.log(np.arange(1, POSITIONS + 1)), np.full(POSITIONS, 1 / POSITIONS))
    hour = standardised(_EVENING, HOUR_SHARES)
    both = np.sqrt(POSITION_SHARE) * position[:, None] + np.sqrt(1 - POSITION_SHARE) * hour
    share = 1 - MORE_CONTEXT_SHARE if world.more_context else 1
    return np.asarray(world.context_spread * np.sqrt(share) * both)


@dataclass(frozen=True)
class Truth:
    """What decides a world's clicks.

    Attributes:
        effects: one for each attribute.
        catalog: the items.
        context: (positions, hours) float, see `context_effects`.
        more_context: one for each further context field.
        intercept: of a click's log-odds.
        conversion_intercept: of a conversion's log-odds, given the click.
    """

    effects: tuple[AttributeEffect, ...]
    catalog: Catalog
    context: Floats
    more_context: tuple[ContextEffect, ...]
    intercept: float = 0.0
    conversion_intercept: float = 0.0

    @classmethod
    def draw(cls, world: World) -> "Truth":
        """Random effects and items, the intercepts not yet set."""
        rng = np.random.default_rng(np.random.SeedSequence(world.seed, spawn_key=(0,)))
        columns = world.interests + 1
        effects = [
            AttributeEffect.draw(values, world.missing_share, columns, rng)
            for _, values in world.attributes
        ]
        catalog = Catalog.draw(world, rng)
        spread = world.context_spread * float(np.sqrt(MORE_CONTEXT_SHARE))
        more = ContextEffect.draw_all(world.more_context, spread, world.fading, rng)
        return cls(tuple(effects), catalog, context_effects(world), more)
