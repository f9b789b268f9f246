"""A simulated world in the sizes of the Alimama data: who, what, when, a chunk of users at a time.

It is the world of `world.py`, in which interests follow from attributes by half, with the published
sizes times a scale. Behavior comes in bursts, as browsing does: a burst stays with one product, and
its last event may be more than a view.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.datasets.effects import Ints
from thaw.datasets.population import (
    DAY_SECONDS,
    START_SECONDS,
    Happened,
    Population,
    Shown,
    draw_events,
    draw_impressions,
    draw_population,
)
from thaw.datasets.world import Truth, World
from thaw.errors import DataError

DAYS, HISTORY_DAYS = 8, 14
SHOWN_SECOND = 1_494_000_000
"""The impressions' first second: 2017-05-06 in China."""

FIRST_SECOND = SHOWN_SECOND - HISTORY_DAYS * DAY_SECONDS
LAST_SECOND = SHOWN_SECOND + DAYS * DAY_SECONDS - 1
TEST_SECOND = SHOWN_SECOND + (DAYS - 1) * DAY_SECONDS

SMALLEST_SCALE = 0.0001
CHUNK_USERS = 2_000
"""Users drawn and written at once. Part of what a seed means: chunks have seeds of their own."""

BURST_EVENTS = 5
SILENT_SHARE = 0.005
"""Of users, those without behavior."""

ACTIONS = ("pv", "cart", "fav", "buy")
_VIEW, _LIKE, _BUY = range(3)  # the actions of `population.py`
_ODD_TIME_EVERY = 40_000


@dataclass(frozen=True)
class Attribute:
    """A column of the profiles: its values are whole numbers from `first` on.

    `empty_share` of them are empty, whoever it is.
    """

    name: str
    values: int
    first: int = 0
    empty_share: float = 0.0


ATTRIBUTES = (
    Attribute("cms_segid", 97),
    Attribute("cms_group_id", 13),
    Attribute("final_gender_code", 2, first=1),
    Attribute("age_level", 7),
    Attribute("pvalue_level", 3, first=1, empty_share=0.5),
    Attribute("shopping_level", 3, first=1),
    Attribute("occupation", 2),
    Attribute("new_user_class_level ", 4, first=1, empty_share=0.3),  # so published, with the space
)


@dataclass(frozen=True)
class Sizes:
    """How many there are of what; the published sizes, or those times a scale.

    Everything shrinks alike, so that an ad keeps its impressions and a brand its events.
    """

    users: int = 1_141_729
    profiles: int = 1_061_768
    impressions: int = 26_557_961
    events: int = 723_268_134
    ads: int = 846_811
    cates: int = 12_978
    brands: int = 461_529
    campaigns: int = 423_437
    customers: int = 255_876

    @classmethod
    def at(cls, scale: float) -> "Sizes":
        """The sizes at a scale; of nothing fewer than ten.

        Raises:
            DataError: for a scale out of range.
        """
        if not SMALLEST_SCALE <= scale <= 1:
            raise DataError(f"`scale` (={scale}) must be from {SMALLEST_SCALE} to 1")
        published = asdict(cls())
        return cls(**{name: max(10, round(scale * size)) for name, size in published.items()})

    def world(self, seed: int) -> World:
        """The world of these sizes."""
        return World(
            users=self.users,
            items=self.ads,
            days=DAYS,
            history_days=HISTORY_DAYS,
            attributes=tuple((each.name, each.values) for each in ATTRIBUTES),
            categories=self.cates,
            brands=self.brands,
            click_rate=0.05,
            missing_share=0.0,
            seed=seed,
        )


@dataclass(frozen=True)
class Crowd:
    """All users: their ids, in an order that tells nothing, and how much they do.

    Attributes:
        ids: (users,) int, from 1.
        impressions: (users,) int, at least 1 each; they add up to the size.
        events: (users,) int, heavy-tailed; they add up to the size.
    """

    ids: Ints
    impressions: Ints
    events: Ints

    @classmethod
    def draw(cls, sizes: Sizes, rng: np.random.Generator) -> "Crowd":
        """Random users; shares of a total, so that the total is exact."""
        count = sizes.users
        shown = 1 + _divided(sizes.impressions - count, rng.gamma(2, 0.5, count), rng)
        is_silent = rng.random(count) < SILENT_SHARE
        done = _divided(sizes.events, rng.lognormal(-0.5, 1, count) * ~is_silent, rng)
        return cls(rng.permutation(count) + 1, shown, done)


def _divided(total: int, weights: NDArray[np.float64], rng: np.random.Generator) -> Ints:
    return rng.multinomial(total, weights / weights.sum())


@dataclass(frozen=True)
class Chunk:
    """Some users and all that they saw and did.

    Attributes:
        ids: (N,) int, the users' ids.
        people: who they are.
        shown: their impressions.
        events: their events at the log's own times; an action is a row of `ACTIONS`.
        rng: for what files add: empty cells, and the order of the rows.
    """

    ids: Ints
    people: Population
    shown: Shown
    events: Happened
    rng: np.random.Generator


def draw_chunk(world: World, truth: Truth, crowd: Crowd, number: int) -> Chunk:
    """One chunk of users; it depends on the crowd, the seed and its own number alone."""
    seeds = np.random.SeedSequence(world.seed, spawn_key=(4, number)).spawn(4)
    for_users, for_impressions, for_events, rng = (np.random.default_rng(seed) for seed in seeds)
    first = number * CHUNK_USERS
    numbers = range(first, min(first + CHUNK_USERS, world.users))
    here = slice(numbers.start, numbers.stop)
    people = draw_population(world, truth, numbers, for_users)
    shown = draw_impressions(world, truth, people, for_impressions, crowd.impressions[here])
    bursts = _burst_counts(crowd.events[here], for_events)
    begun = draw_events(world, truth, people, for_events, bursts)
    events = _browsed(begun, bursts, crowd.events[here], for_events)
    return Chunk(crowd.ids[here], people, shown, events, rng)


def moment(time: Ints) -> Ints:
    """A time of the world as one of the log's days."""
    return time + (SHOWN_SECOND - START_SECONDS)


def _burst_counts(events: Ints, rng: np.random.Generator) -> Ints:
    """(N,) int, in how many bursts each user's events come."""
    more = rng.binomial(np.maximum(events - 1, 0), 1 / BURST_EVENTS)
    return np.minimum(events, 1) + more


def _browsed(begun: Happened, bursts: Ints, events: Ints, rng: np.random.Generator) -> Happened:
    """Bursts as their events: views of one product some seconds apart, and what they led to.

    Args:
        begun: one event for each burst.
        bursts: (N,) int, each user's number of them.
        events: (N,) int, each user's number of events.
        rng: draws how long bursts are.
    """
    extra = np.repeat(np.arange(len(events)), events - bursts)
    first = np.cumsum(bursts) - bursts
    joined = first[extra] + (rng.random(len(extra)) * bursts[extra]).astype(np.int64)
    lengths = 1 + np.bincount(joined, minlength=len(begun.user))
    burst = np.repeat(np.arange(len(lengths)), lengths)
    step = np.arange(len(burst)) - (np.cumsum(lengths) - lengths)[burst]
    is_last = step == lengths[burst] - 1
    action = np.where(is_last, _actions(begun.action, rng)[burst], ACTIONS.index("pv"))
    seconds = moment(begun.time)[burst] + step * rng.integers(1, 60, len(lengths))[burst]
    time = _some_odd(np.minimum(seconds, LAST_SECOND), rng)
    return Happened(begun.user[burst], begun.item[burst], action, time)


def _actions(action: Ints, rng: np.random.Generator) -> Ints:
    """Rows of `ACTIONS` for the world's views, likes and buys; a like is either of two."""
    liked = rng.choice([ACTIONS.index("cart"), ACTIONS.index("fav")], len(action))
    bought = np.where(action == _BUY, ACTIONS.index("buy"), ACTIONS.index("pv"))
    return np.where(action == _LIKE, liked, bought)


def _some_odd(time: Ints, rng: np.random.Generator) -> Ints:
    """The times with a few of them decades off, as in the published log."""
    count = min(len(time), max(2, len(time) // _ODD_TIME_EVERY))
    rows = rng.choice(len(time), count, replace=False)
    early, late = rng.integers(0, 1_000_000_000, count), rng.integers(1_600_000_000, 2**31, count)
    odd = time.copy()
    odd[rows] = np.where(np.arange(count) % 2, early, late)
    return odd
