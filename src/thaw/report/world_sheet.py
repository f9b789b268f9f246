"""The page of the simulated worlds: the curve by what attributes determine."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from thaw.datasets import World
from thaw.experiments.comparison import SIGNIFICANT
from thaw.experiments.worlds import ByAttributes, WorldPoint
from thaw.options import Training
from thaw.report.about import settings
from thaw.report.events_sheet import caution
from thaw.report.formats import count, fixed, half_width, p_value, percent, share, signed
from thaw.report.grid import Grid
from thaw.report.scatter import Series, curve_panel
from thaw.report.sheet import Part, Sheet
from thaw.statistics import Interval


def by_attributes_sheet(
    found: ByAttributes, world: World, training: Training, seeds: tuple[int, ...]
) -> Sheet:
    """Return the page of the simulated worlds."""
    left_out = ("interest_determined", "rate_determined", "attributes")
    attributes = ", ".join(f"{name} ({values} values)" for name, values in world.attributes)
    facts = {k: str(v) for k, v in asdict(world).items() if k not in left_out}
    told = f"{len(seeds)} seed" + ("" if len(seeds) == 1 else "s")
    return Sheet(
        "Simulated worlds: by what attributes determine",
        f"{found.method} and {found.base}, {told} in each of {len(found.points)} worlds of "
        f"{count(world.users)} users; new users by rule 'strict'",
        (*_worlds_verdict(found), *caution(len(seeds))),
        (_auc_part(found), _gap_part(found.points)),
        (("base, method", f"{found.base}, {found.method}"), *_WORLDS_LEGEND),
        (("new users", "strict"), ("attributes", attributes), *facts.items()),
        settings(training, seeds),
    )


def _auc_part(found: ByAttributes) -> Part:
    points = found.points
    places = [f"{point.share:g}" for point in points]
    series = (
        Series(found.method, "", tuple(point.method for point in points)),
        Series(found.base, "plain", tuple(point.base for point in points)),
        Series("trees", "trees", tuple(point.attributes_only for point in points)),
        Series("allowed", "other", tuple(point.best_from_attributes for point in points)),
        Series("ceiling", "top", tuple(point.ceiling for point in points)),
        Series("best", "best", tuple(point.best for point in points)),
    )
    panel = curve_panel("AUC, new users", "share that attributes determine", places, series, 2)
    rows = tuple(_world_row(point) for point in points)
    columns = (
        "share", "base", "±", "method", "±", "ceiling", "trees", "allowed", "best", "less base",
        "p",
    )  # fmt: skip
    caption = (
        "One world a place, alike in all but the share of interests' and of click rates' variance "
        "that attributes determine. Vertical strokes are 95 % intervals."
    )
    return Part("AUC of new users", (panel,), caption, Grid(columns, rows))


def _world_row(point: WorldPoint) -> tuple[str, ...]:
    return (
        f"{point.share:g}",
        fixed(point.base.mean),
        half_width(point.base),
        fixed(point.method.mean),
        half_width(point.method),
        fixed(point.ceiling.mean),
        fixed(point.attributes_only.mean),
        fixed(point.best_from_attributes.mean),
        fixed(point.best.mean),
        signed(point.difference),
        p_value(point.p_value),
    )


def _gap_part(points: Sequence[WorldPoint]) -> Part:
    places = [f"{point.share:g}" for point in points]
    series = (
        Series("of the gap", "", tuple(point.gap_closed for point in points)),
        Series("of what is allowed", "other", tuple(point.reached_best for point in points)),
    )
    panel = curve_panel(
        "share closed, new users", "share that attributes determine", places, series
    )
    rows = tuple(
        (
            f"{point.share:g}",
            share(point.gap_closed),
            share(point.reached),
            share(point.reached_best),
            signed(point.r2, 3),
            signed(point.r2_ridge, 3),
            count(point.impressions),
            count(point.users),
        )
        for point in points
    )
    columns = (
        "share",
        "gap closed",
        "of the trees' lead",
        "of what is allowed",
        "R²",
        "ridge",
        "test rows",
        "users",
    )
    caption = "Vertical strokes are 95 % intervals; a world without a gap to close has no point."
    return Part("Gap closed", (panel,), caption, Grid(columns, rows))


def _worlds_verdict(found: ByAttributes) -> tuple[str, ...]:
    points, base, method = found.points, found.base, found.method

    def at(direction: int) -> str:
        return ", ".join(f"{point.share:g}" for point in points if point.direction == direction)

    better = f"significantly better than {base} for new users at {at(1)}" if at(1) else ""
    worse = f"significantly worse at {at(-1)}" if at(-1) else ""
    told = " and ".join(each for each in (better, worse) if each)
    won = [point for point in points if point.direction > 0]
    closed = _shares((point.share, point.gap_closed) for point in won)
    reached = _shares((point.share, point.reached) for point in won)
    return (
        f"By the share that attributes determine, {method} is {told}."
        if told
        else f"{method} is at no share significantly different from {base} for new users.",
        *([f"Of the gap it closes {closed}."] if closed else []),
        *([f"Of the lead that boosted trees have it reaches {reached}."] if reached else []),
    )


def _shares(found: Iterable[tuple[float, Interval]]) -> str:
    return ", ".join(
        f"{percent(part.mean)} at {share:g}" for share, part in found if not math.isnan(part.mean)
    )


_WORLDS_LEGEND = (
    ("share", "interest_determined = rate_determined of the world: of the variance of interests "
     "and of overall click rates, what attributes determine"),
    ("AUC", "of new users' test rows under the strict rule: behavior hidden, id unknown, no rows "
     "in training"),
    ("ceiling", "the base with new users' real behavior"),
    ("trees", "boosted trees without behavior, trained on the same rows: what can be learned "
     "from attributes"),
    ("allowed", "p_attributes: the world's own best from attributes, item and context "
     "alone: no method without behavior can do better, but by chance"),
    ("best", "p_best: the world's own best by who knows the true interests"),
    ("±", "half of the 95 % interval: over seeds by Student's t, with one seed over users"),
    ("less base, p", "the difference and its p-value: the larger of the test over seeds and that "
     f"over seeds and users at once; significant below {SIGNIFICANT}, not adjusted"),
    ("gap closed", "(method - base) / (ceiling - base), where the ceiling is significantly above "
     "the base; its interval holds the one over seeds and the one over users"),
    ("of the trees' lead", "(method - base) / (trees - base), where the trees are significantly "
     "above the base"),
    ("of what is allowed", "(method - base) / (p_attributes - base), its interval over "
     "seeds; none where p_attributes can't be told from the base"),
    ("R², ridge", "of virtual behavior against the real behavior of users whose behavior was "
     "hidden, summed as a ranker pools it, 0 being their mean; and of a ridge regression"),
)  # fmt: skip
