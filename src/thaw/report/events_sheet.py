"""The page of the curve by the number of events shown."""

import itertools
import math
from collections.abc import Sequence

from thaw.experiments.comparison import SIGNIFICANT, Figure
from thaw.experiments.curves import SEGMENT, ByEvents, EventsPoint
from thaw.report.about import About
from thaw.report.formats import count, fixed, half_width, p_phrase, p_value, percent, signed
from thaw.report.grid import Grid
from thaw.report.rows import METRICS, figure
from thaw.report.scatter import Series, curve_panel
from thaw.report.sheet import Part, Sheet
from thaw.report.verdict import ENOUGH_SEEDS
from thaw.resampling import Statistic
from thaw.statistics import Interval


def by_events_sheet(found: ByEvents, given: About, rule: tuple[str, str]) -> Sheet:
    """Return the page of the curve by the number of events."""
    parts = tuple(
        part
        for task in found.tasks
        for metric, name in METRICS
        for part in _events_parts(found, task, metric, name)
    )
    verdict = tuple(
        sentence
        for task in found.tasks
        for sentence in (
            *(told for each in METRICS for told in _events_verdict(found, task, *each)),
            *_advice(found, task),
        )
    )
    return Sheet(
        f"{given.data}: by the number of real events",
        f"{found.method} and {found.base}, {given.seeds_told}; {count(found.impressions)} test "
        f"rows of {count(found.users)} old users",
        (*verdict, *caution(len(found.seeds))),
        parts,
        (rule, *_events_legend(found)),
        given.facts,
        given.settings,
    )


def _events_parts(found: ByEvents, task: str, metric: Statistic, name: str) -> tuple[Part, ...]:
    points = found.points
    own = [_figures(point, task, metric) for point in points]
    filled = _filled(found, task, metric)
    top = own[-1][0].interval
    also = (
        Series("filled", "other", (own[0][1].interval, *(each.interval for _, each in filled))),
    )
    series = (
        Series(found.method, "", tuple(method.interval for _, method, _ in own)),
        *(also if filled else ()),
        Series(found.base, "plain", tuple(base.interval for base, _, _ in own)),
        Series("ceiling", "top", tuple(Interval(top.mean, math.nan, math.nan) for _ in own)),
    )
    title = f"{task}: {name}"
    panel = curve_panel(
        f"{name} by events shown", "events shown", [_shown(point) for point in points], series, 2
    )
    grid = Grid(
        ("events shown", "rows cut", "base", "±", "method", "±", "less base", "p",
         "less at 0", "p"),
        tuple(_events_row(point, *three) for point, three in zip(points, own, strict=True)),
    )  # fmt: skip
    caption = (
        "The same test rows at every place: old users, whose models are shown no more than so many "
        "of the last events. At 0 the method takes them for new. The ceiling is the base with all "
        "events."
    )
    first = Part(title, (panel,), caption, grid)
    return (first, _filled_part(f"{title}, filled", filled, own)) if filled else (first,)


def _filled_part(
    title: str, filled: Sequence[tuple[str, Figure]], own: Sequence[tuple[Figure, Figure, Figure]]
) -> Part:
    grid = Grid(
        ("events shown", "method", "filled", "±", "less method", "p"),
        tuple(
            (place, fixed(method.interval.mean), fixed(each.interval.mean),
             half_width(each.interval), *_tested(each))
            for (place, each), (_, method, _) in zip(filled, own[1:], strict=True)
        ),
    )  # fmt: skip
    caption = (
        "Filled: the same models, which give users what new ones get, beside the events shown. "
        "Nothing is trained anew."
    )
    return Part(title, (), caption, grid)


def _filled(found: ByEvents, task: str, metric: Statistic) -> list[tuple[str, Figure]]:
    """By the number shown, the method with what new users have beside it; empty if it can't."""
    return [
        (_shown(point), figure(point.against_real.cell(task, SEGMENT), metric))
        for point in found.points
        if point.against_real is not None
    ]


def _figures(point: EventsPoint, task: str, metric: Statistic) -> tuple[Figure, Figure, Figure]:
    """The base, the method against it, and the method against itself with no event shown."""
    every = (point.base, point.against_base, point.against_none)
    base, method, more = (figure(line.cell(task, SEGMENT), metric) for line in every)
    return base, method, more


def _events_row(point: EventsPoint, base: Figure, method: Figure, more: Figure) -> tuple[str, ...]:
    return (
        _shown(point),
        percent(point.cut_share),
        fixed(base.interval.mean),
        half_width(base.interval),
        fixed(method.interval.mean),
        half_width(method.interval),
        *_tested(method),
        *_tested(more),
    )


def _tested(this: Figure) -> tuple[str, str]:
    if this.test is None:
        return "", ""
    return signed(this.test.difference), p_value(this.test.p_value)


def _shown(point: EventsPoint) -> str:
    return "all" if point.is_all else str(point.events)


def _events_verdict(found: ByEvents, task: str, metric: Statistic, name: str) -> list[str]:
    """What attributes bring, and from where on real events are better."""
    own = [_figures(point, task, metric) for point in found.points]
    base, method, _ = own[0]
    difference, p = _tested(method)
    told = f" ({difference}, {p_phrase(method.test.p_value)})" if method.test and p else ""
    which = f"{task}, {name}" if len(found.tasks) > 1 else name
    first = (
        f"{which}: with no event shown, {found.method} reaches {fixed(method.interval.mean)} and "
        f"{found.base} {fixed(base.interval.mean)}{told}; with all events {found.base} reaches "
        f"{fixed(own[-1][0].interval.mean)}."
    )
    means = [other.interval.mean for _, other, _ in own]
    directions = [more.direction for _, _, more in own]
    second = f"{_turn(found, directions, name)} {_turn_of_means(found, means)}"
    filled = _filled(found, task, metric)
    return [first, second, _filling(filled, which)] if filled else [first, second]


def _filling(filled: Sequence[tuple[str, Figure]], which: str) -> str:
    """Whether what new users have helps beside real events."""

    def at(direction: int) -> str:
        return ", ".join(
            f"{place} ({signed(each.test.difference)})"
            for place, each in filled
            if each.direction == direction and each.test is not None
        )

    better = f"significantly better with {at(1)}" if at(1) else ""
    worse = f"significantly worse with {at(-1)}" if at(-1) else ""
    told = "; ".join(each for each in (better, worse) if each)
    where = f"{which}: what new users get, beside real events, is"
    return f"{where} {told or 'at no number of these significantly different'}."


def _advice(found: ByEvents, task: str) -> list[str]:
    """Up to how many events a user should have what new ones have: better, never worse."""
    own, within = (_filled(found, task, metric) for metric, _ in METRICS)
    helps = [
        one.direction > 0 and other.direction >= 0
        for (_, one), (_, other) in zip(own, within, strict=True)
    ]
    lasting = len([*itertools.takewhile(bool, helps)])
    if lasting == 0:
        return []
    events = found.points[lasting].events
    of = f" of {task}" if len(found.tasks) > 1 else ""
    return [
        f"The ranking{of} for users of up to {events} events gains by what new users get, beside "
        "their events. How many are few, validation says: thaw evaluate RUN --fill-below auto."
    ]


def _turn(found: ByEvents, directions: Sequence[int], name: str) -> str:
    """From how many real events on they are significantly better than none."""
    places = [_shown(point) for point in found.points]
    worse = [place for place, direction in zip(places, directions, strict=True) if direction < 0]
    better = [place for place, direction in zip(places, directions, strict=True) if direction > 0]
    lasting = next(
        (places[k] for k in range(1, len(places)) if all(d > 0 for d in directions[k:])), None
    )
    told = []
    if worse:
        told.append(f"with {', '.join(worse)} real events significantly worse")
    if lasting is not None:
        told.append(f"from {lasting} real events on significantly better")
    elif better:
        told.append(f"with {', '.join(better)} significantly better, but not from there on")
    else:
        told.append("at no number of real events significantly better")
    return f"{found.method} against itself with no event shown, {name}: {'; '.join(told)}."


def _turn_of_means(found: ByEvents, means: Sequence[float]) -> str:
    """The same by the means alone, whatever chance has to do with them."""
    above = [mean > means[0] for mean in means]
    place = next((_shown(found.points[k]) for k in range(1, len(above)) if all(above[k:])), None)
    if place is None:
        return "Its mean with all events is not above that with none."
    return f"By the means alone, it is better with events than with none from {place} on."


def _events_legend(found: ByEvents) -> tuple[tuple[str, str], ...]:
    return (
        ("base, method", f"{found.base}, {found.method}"),
        ("events shown", "the last so many before the row, or all there are where they are fewer; "
         "'all' is the last n_v that models ever see"),
        ("rows", "the same at every place: test rows whose user has visible behavior; users whose "
         "behavior the rule hides are left out"),
        ("0 events", f"behavior is hidden as the rule hides a new user's: {found.base} sees none, "
         f"{found.method} gives what new users get"),
        ("ids", "as they are; under the strict rule everyone's is unknown at every place, as a new "
         "user's is"),
        ("training", "as always: the models are trained once, on all that the rule lets them see"),
        ("rows cut", "the share of the rows with more events than are shown"),
        ("±", _half(len(found.seeds))),
        ("less base", "method less base at the same place, with the p-value"),
        ("filled", "what new users get, beside the events shown: virtual ones in the places, "
         "of n_v, that these leave empty, and what a factorization machine says"),
        ("less at 0", "method at this place less method with no event shown, with the p-value"),
        ("p", "the larger of two: of a t-test paired by seed, and of a test for other seeds and "
         "other users at once; with one seed of a paired bootstrap over users alone; significant "
         f"below {SIGNIFICANT}, not adjusted"),
    )  # fmt: skip


def _half(seeds: int) -> str:
    if seeds > 1:
        return f"half of the mean's 95 % interval, by Student's t over {seeds} seeds"
    return "half of the 95 % interval, by bootstrap over users; of other seeds it says nothing"


def caution(seeds: int) -> tuple[str, ...]:
    """What to say of few seeds."""
    if seeds >= ENOUGH_SEEDS:
        return ()
    told = f"{seeds} seed" + ("" if seeds == 1 else "s")
    return (f"With {told} only large differences can be told from chance.",)
