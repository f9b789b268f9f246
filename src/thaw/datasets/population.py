"""The users of a simulated world and what they do, drawn a chunk at a time."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from thaw.datasets.effects import Floats, Ints, determined
from thaw.datasets.world import HOUR_SHARES, POSITIONS, Truth, World

START_SECONDS = 1_704_067_200
"""The first impressions' day, 2024-01-01 in UTC."""

DAY_SECONDS = 86_400

ACTIONS = ("view", "like", "buy")
_ACTION_BOUNDS = (2.5, 4.5)
_EVENT_CANDIDATES = 10
_CALIBRATION_USERS, _CALIBRATION_ROWS = 10_000, 8  # rates come out within about 1 %


@dataclass(frozen=True)
class Population:
    """A chunk of users.

    Attributes:
        numbers: the users' numbers in the world.
        codes: (N, attributes) int, their attributes, 0 where missing.
        expected: (N, interests + 1) float, interests and rate as far as attributes tell them.
        interests: (all days, N, interests) float, from the first day of history on.
        rate: (N,) float.
    """

    numbers: range
    codes: Ints
    expected: Floats
    interests: Floats
    rate: Floats

    def __len__(self) -> int:
        return len(self.rate)


@dataclass(frozen=True)
class Shown:
    """A chunk's impressions, by user and time: what is shown, what follows, the true odds.

    Attributes:
        user: (rows,) int, the user's row in the population.
        item: (rows,) int.
        time: (rows,) int, seconds since 1970.
        position: (rows,) int, from 1, the top.
        hour: (rows,) int, 0 to 23.
        more_context: (rows, fields) int, the further context fields.
        click: (rows,) bool.
        conversion: (rows,) bool, never without a click.
        p_best: (rows,) float, the true click probability.
        p_attributes: (rows,) float, its expectation given attributes, item and context.
    """

    user: Ints
    item: Ints
    time: Ints
    position: Ints
    hour: Ints
    more_context: NDArray[np.int32]
    click: NDArray[np.bool_]
    conversion: NDArray[np.bool_]
    p_best: Floats
    p_attributes: Floats


@dataclass(frozen=True)
class Happened:
    """A chunk's events, by user and time.

    Attributes:
        user: (rows,) int, the user's row in the population.
        item: (rows,) int.
        action: (rows,) int, a row of `ACTIONS`.
        time: (rows,) int, seconds since 1970.
    """

    user: Ints
    item: Ints
    action: Ints
    time: Ints


@dataclass(frozen=True)
class _Slots:
    """When something happens and to whom; day 0 is the first one of the history."""

    user: Ints
    day: Ints
    hour: Ints
    time: Ints


def draw_population(
    world: World, truth: Truth, numbers: range, rng: np.random.Generator
) -> Population:
    """Draw users. Interests are stationary: on every day they have the stated variances.

    With f what attributes determine and e_0, e_1, ... standard normal noise,

        u_t = sqrt(determined) f + sqrt(1 - determined) e_t,
        e_{t+1} = k e_t + sqrt(1 - k²) noise,  k = 1 - drift² / 2,

    so that the step e_{t+1} - e_t has the variance drift². The rate is the same without drift.
    """
    count = len(numbers)
    codes = np.stack(
        [rng.choice(len(effect.shares), count, p=effect.shares) for effect in truth.effects], axis=1
    )
    shares = np.append(np.full(world.interests, world.interest_determined), world.rate_determined)
    expected = np.sqrt(shares) * determined(truth.effects, codes, world.fading)
    rate = expected[:, -1] + np.sqrt(1 - world.rate_determined) * rng.standard_normal(count)
    noise = _drifting(world, count, rng)
    interests = expected[:, :-1] + np.sqrt(1 - world.interest_determined) * noise
    return Population(numbers, codes, expected, interests, rate)


def _drifting(world: World, count: int, rng: np.random.Generator) -> Floats:
    """(all days, count, interests) float, standard normal on each day."""
    path = rng.standard_normal((world.history_days + world.days, count, world.interests))
    keep = 1 - world.drift**2 / 2
    for day in range(1, len(path)):
        path[day] = keep * path[day - 1] + np.sqrt(1 - keep**2) * path[day]
    return path


def _draw_slots(world: World, counts: Ints, days: range, rng: np.random.Generator) -> _Slots:
    user = np.repeat(np.arange(len(counts)), counts)
    day = rng.integers(days.start, days.stop, len(user))
    hour = rng.choice(24, len(user), p=HOUR_SHARES)
    start = START_SECONDS - world.history_days * DAY_SECONDS
    time = start + day * DAY_SECONDS + hour * 3600 + rng.integers(3600, size=len(user))
    order = np.lexsort((time, user))
    return _Slots(user, day[order], hour[order], time[order])


def _affinity(vectors: Floats, interests: Floats) -> Floats:
    """(rows,) float, the inner products, row by row."""
    return np.asarray(np.einsum("nd,nd->n", vectors, interests))


@dataclass(frozen=True)
class _Odds:
    """The parts of a click's log-odds, (rows,) each, and what they were computed from."""

    item: Ints
    position: Ints
    more_context: NDArray[np.int32]
    common: Floats
    interest: Floats
    rate: Floats

    @property
    def total(self) -> Floats:
        return self.common + self.interest + self.rate


def _draw_odds(
    world: World, truth: Truth, people: Population, slots: _Slots, rng: np.random.Generator
) -> _Odds:
    """Draw items by their popularity alone, and positions; then add up what decides the click."""
    item = truth.catalog.draw_items(len(slots.user), rng)
    position = rng.integers(1, POSITIONS + 1, len(slots.user))
    affinity = _affinity(truth.catalog.vectors[item], people.interests[slots.day, slots.user])
    common = truth.intercept + truth.catalog.quality[item] + truth.context[position - 1, slots.hour]
    more_context = np.zeros((len(item), len(truth.more_context)), np.int32, order="F")
    for k, effect in enumerate(truth.more_context):
        more_context[:, k] = rng.choice(len(effect.shares), len(item), p=effect.shares)
        common += effect.log_odds[more_context[:, k]]
    return _Odds(
        item=item,
        position=position,
        more_context=more_context,
        common=common,
        interest=world.interest_strength * affinity,
        rate=world.rate_spread * people.rate[slots.user],
    )


def _shown_days(world: World) -> range:
    return range(world.history_days, world.history_days + world.days)


def draw_impressions(
    world: World,
    truth: Truth,
    people: Population,
    rng: np.random.Generator,
    counts: Ints | None = None,
) -> Shown:
    """Draw a chunk's impressions.

    Where the users' numbers of them are not given, they are gamma mixtures of Poisson draws.
    """
    if counts is None:
        counts = rng.poisson(world.impressions_per_user * rng.gamma(2, 0.5, len(people)))
    slots = _draw_slots(world, counts, _shown_days(world), rng)
    odds = _draw_odds(world, truth, people, slots, rng)
    p_best = expit(odds.total)
    click = rng.random(len(p_best)) < p_best
    buys = rng.random(len(p_best)) < expit(truth.conversion_intercept + odds.interest)
    return Shown(
        user=slots.user,
        item=odds.item,
        time=slots.time,
        position=odds.position,
        hour=slots.hour,
        more_context=odds.more_context,
        click=click,
        conversion=click & buys,
        p_best=p_best,
        p_attributes=_given_attributes(world, truth, odds, people.expected[slots.user]),
    )


def _given_attributes(world: World, truth: Truth, odds: _Odds, expected: Floats) -> Floats:
    """The click probability given attributes, item and context.

    What attributes leave open of the log-odds is normal with the variance

        interest_strength² (1 - interest_determined) |v_i|² + rate_spread² (1 - rate_determined)

    on every day, because the drift is stationary.
    """
    vectors = truth.catalog.vectors[odds.item]
    told = world.interest_strength * _affinity(vectors, expected[:, :-1])
    told += world.rate_spread * expected[:, -1]
    interest_open = world.interest_strength**2 * (1 - world.interest_determined)
    rate_open = world.rate_spread**2 * (1 - world.rate_determined)
    open_std = np.sqrt(interest_open * _affinity(vectors, vectors) + rate_open)
    return mean_probability(odds.common + told, open_std)


def mean_probability(mean: Floats, std: Floats, nodes: int = 32) -> Floats:
    """E[sigmoid(x)] for normal x, by Gauss-Hermite quadrature.

    Args:
        mean: (N,) float, of the log-odds.
        std: (N,) float, of the log-odds.
        nodes: of the quadrature; with 32 the error is below 0.0003 up to a std of 4.

    Returns:
        (N,) float.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    total = np.zeros_like(mean)
    for point, weight in zip(points, weights / weights.sum(), strict=True):
        total += weight * expit(mean + std * point)
    return total


def find_truth(world: World) -> Truth:
    """The world's effects and items, with the intercepts that give its click and conversion rates.

    They are found on users of their own, so that they don't depend on how many the world has.
    """
    truth = Truth.draw(world)
    rng = np.random.default_rng(np.random.SeedSequence(world.seed, spawn_key=(1,)))
    people = draw_population(world, truth, range(_CALIBRATION_USERS), rng)
    counts = np.full(_CALIBRATION_USERS, _CALIBRATION_ROWS)
    slots = _draw_slots(world, counts, _shown_days(world), rng)
    odds = _draw_odds(world, truth, people, slots, rng)
    click = _intercept(odds.total, np.ones(len(odds.total)), world.click_rate)
    conversion = _intercept(odds.interest, expit(odds.total + click), world.conversion_rate)
    return replace(truth, intercept=click, conversion_intercept=conversion)


def _intercept(logits: Floats, weights: Floats, rate: float) -> float:
    """What to add to the log-odds so that their weighted mean probability is the rate."""

    def excess(intercept: float) -> float:
        return float(np.average(expit(logits + intercept), weights=weights)) - rate

    return float(brentq(excess, -50, 50, xtol=1e-10))


def draw_events(
    world: World,
    truth: Truth,
    people: Population,
    rng: np.random.Generator,
    counts: Ints | None = None,
) -> Happened:
    """Draw a chunk's events.

    Where the users' numbers of them are not given, they are log-normal mixtures of Poisson draws.
    The item is drawn among popular candidates with probabilities ~ exp(event_focus <u_day, v_i>).
    Actions are stronger with a stronger interest and for users with a higher rate, so that
    behavior tells both.
    """
    if counts is None:
        counts = rng.poisson(world.events_per_user * rng.lognormal(-0.5, 1, len(people)))
    slots = _draw_slots(world, counts, range(world.history_days + world.days), rng)
    item, affinity = _chosen(world, truth, people.interests[slots.day, slots.user], rng)
    strength = affinity + people.rate[slots.user] + rng.logistic(size=len(item))
    return Happened(slots.user, item, np.digitize(strength, _ACTION_BOUNDS), slots.time)


def _chosen(
    world: World, truth: Truth, interests: Floats, rng: np.random.Generator
) -> tuple[Ints, Floats]:
    """One item for each row of interests, and the affinity to it.

    The largest of score + Gumbel noise is a draw from the softmax of the scores; one candidate at
    a time, memory doesn't grow with their number.
    """
    count = len(interests)
    item, affinity = np.zeros(count, dtype=np.int64), np.zeros(count)
    best = np.full(count, -np.inf)
    for _ in range(_EVENT_CANDIDATES):
        candidate = truth.catalog.draw_items(count, rng)
        likes = _affinity(truth.catalog.vectors[candidate], interests)
        score = world.event_focus * likes + rng.gumbel(size=count)
        better = score > best
        item, affinity = np.where(better, candidate, item), np.where(better, likes, affinity)
        best = np.maximum(best, score)
    return item, affinity
