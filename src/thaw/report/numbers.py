"""All plotted numbers of the experiments as plain values for scripts."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from thaw.experiments.comparison import Figure, Line
from thaw.experiments.curves import SEGMENT, ByEvents, EventsPoint
from thaw.experiments.falls import falls
from thaw.experiments.pictures import Pair
from thaw.experiments.worlds import ByAttributes
from thaw.report.about import About
from thaw.report.figures import smoothing_window
from thaw.report.plain import without_nan
from thaw.report.rows import METRICS, figure


def losses_json(line: Line, given: About) -> dict[str, Any]:
    """Return the losses of every step, and what the table says of them."""
    curves = [{"seed": run.seed, "losses": run.losses.tolist()} for run in line.runs]
    window = smoothing_window(line)
    table = [vars(fall) for fall in falls(line.runs, window)]
    return _plain(given, smoothed_over=window, runs=curves, table=table)


def clouds_json(pairs: Sequence[Pair], given: About) -> dict[str, Any]:
    """Return the clouds: their numbers, and the drawn ones' points."""
    return _plain(given, clouds=[_pair(pair) for pair in pairs])


def by_events_json(found: ByEvents, given: About) -> dict[str, Any]:
    """Return the curve by the number of events."""
    points = [_point(point, found.tasks) for point in found.points]
    told = {"base": found.base, "impressions": found.impressions, "users": found.users}
    return _plain(given, **told, points=points)


def by_attributes_json(found: ByAttributes, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the worlds' points."""
    plain: dict[str, Any] = without_nan(facts | asdict(found))
    return plain


def _plain(given: About, **parts: Any) -> dict[str, Any]:
    told = {
        "data": given.data,
        "method": given.method,
        "seeds": given.seeds,
        "facts": dict(given.facts),
        "settings": dict(given.settings),
    }
    plain: dict[str, Any] = without_nan(told | parts)
    return plain


def _pair(pair: Pair) -> dict[str, Any]:
    drawn = None if pair.plane is None else np.round(pair.plane, 3)
    size = pair.apart.sizes[0]
    return {
        "title": pair.title,
        "names": pair.names,
        "space": pair.space,
        "seed": pair.seed,
        **asdict(pair.apart),
        "first": None if drawn is None else drawn[:size].tolist(),
        "second": None if drawn is None else drawn[size:].tolist(),
    }


def _point(point: EventsPoint, tasks: Sequence[str]) -> dict[str, Any]:
    lines = {
        "base": point.base,
        "method": point.against_base,
        "method_against_none": point.against_none,
    }
    if point.against_real is not None:
        lines["filled"] = point.against_real
    return {
        "events": point.events,
        "is_all": point.is_all,
        "cut_share": point.cut_share,
        "tasks": {
            task: {
                metric: {
                    name: _figure(figure(line.cell(task, SEGMENT), metric))
                    for name, line in lines.items()
                }
                for metric, _ in METRICS
            }
            for task in tasks
        },
    }


def _figure(this: Figure) -> dict[str, Any]:
    test = this.test
    return {
        "values": this.values,
        **asdict(this.interval),
        "difference": test.difference if test else None,
        "p_value": test.p_value if test else None,
    }
