"""Clouds of points, and curves with their intervals, as SVG."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from thaw.experiments.pictures import Pair
from thaw.report.svg import (
    LEFT,
    RIGHT,
    WIDTH,
    Panel,
    Scale,
    decimals,
    padded,
    svg,
    text_at,
    ticks,
    undefined,
    y_tick,
)
from thaw.statistics import Interval

_TOP, _HEIGHT = 30, 300  # of the frame that a cloud is drawn in
_LAYERS = 8  # in which the two clouds are laid over each other, so that neither hides the other
_DODGE = 3.0  # between neighbouring series, whose intervals would lie on each other


@dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        name: as the key has it.
        style: 'plain', 'other', 'trees', 'top', 'best', or '' for the one that it is about.
        values: one for each place, NaN where there is none.
    """

    name: str
    style: str
    values: tuple[Interval, ...]

    @property
    def is_level(self) -> bool:
        """Whether no value has an interval: a level that others are compared with."""
        return all(math.isnan(value.low) for value in self.values)


def cloud_panel(pair: Pair) -> Panel:
    """Two clouds on the plane that t-SNE gave them; its axes mean nothing and are left out."""
    title = f"{pair.title}: {pair.names[0]} and {pair.names[1]}"
    if pair.plane is None:
        return Panel(title, undefined(title))
    size = pair.apart.sizes[0]
    across = Scale(*padded(pair.plane[:, 0].tolist()), 0, WIDTH)
    down = Scale(*padded(pair.plane[:, 1].tolist()), _TOP + _HEIGHT, _TOP)
    layers = [
        (style, _path(across, down, part))
        for parts in zip(_dealt(pair.plane[size:]), _dealt(pair.plane[:size]), strict=True)
        for style, part in zip(("cloud second", "cloud"), parts, strict=True)
    ]
    marks = [
        f'<rect class="frame" x="0.5" y="{_TOP}" width="{WIDTH - 1}" height="{_HEIGHT}"/>',
        *(f'<path class="{style}" d="{path}"/>' for style, path in layers if path),
        *_key(pair),
    ]
    return Panel(title, svg(title, _TOP + _HEIGHT + 2, marks))


def curve_panel(
    title: str, axis: str, places: Sequence[str], series: Sequence[Series], digits: int = 0
) -> Panel:
    """Curves over places that are equally far from each other, with their intervals.

    Args:
        title: what is measured.
        axis: what the places are.
        places: their names.
        series: the curves.
        digits: the fewest decimals of the values' axis.
    """
    known = [bound for each in series for value in each.values for bound in _bounds(value)]
    if not known:
        return Panel(title, undefined(title))
    rows = math.ceil(len(series) / 2)
    top = 18 * rows + 8
    x = Scale(0, max(len(places) - 1, 1), LEFT + 14, WIDTH - RIGHT - 14)
    y = Scale(*padded(known), top + 190, top + 4)
    marked = ticks(y.low, y.high, 5)
    shown = max(digits, decimals(marked))
    marks = [
        *(y_tick(y, tick, shown) for tick in marked),
        *(text_at(x(k), top + 210, name, "tick mid") for k, name in enumerate(places)),
        text_at(WIDTH - RIGHT, top + 227, axis, "tick end"),
        *(mark for k, each in enumerate(series) for mark in _series(x, y, each, k, len(series))),
        *(mark for k, each in enumerate(series) for mark in _series_key(each, k)),
    ]
    return Panel(title, svg(title, top + 234, marks))


def _series(x: Scale, y: Scale, this: Series, number: int, count: int) -> Iterator[str]:
    """A curve: its intervals, its line and its dots; one without intervals is a line alone."""
    shift = 0 if this.is_level else _DODGE * (number - (count - 1) / 2)
    known = [(round(x(k) + shift, 1), v) for k, v in enumerate(this.values) if not _is_nan(v.mean)]
    for at, value in known:
        if not (_is_nan(value.low) or _is_nan(value.high)):
            low, high = y(value.low), y(value.high)
            place = f'x1="{at}" x2="{at}" y1="{low}" y2="{high}"'
            yield f'<line class="series whisker {this.style}" {place}/>'
    points = " ".join(f"{at},{y(value.mean)}" for at, value in known)
    yield f'<polyline class="series {this.style}" points="{points}"/>'
    for at, value in () if this.is_level else known:
        yield f'<circle class="mark {this.style}" cx="{at}" cy="{y(value.mean)}" r="3"/>'


def _series_key(this: Series, number: int) -> Iterator[str]:
    """What a curve is, above the drawing, two in a row."""
    x, y = (number % 2) * WIDTH / 2, 18 * (number // 2) + 8
    yield f'<line class="series {this.style}" x1="{x:g}" x2="{x + 22:g}" y1="{y}" y2="{y}"/>'
    if not this.is_level:
        yield f'<circle class="mark {this.style}" cx="{x + 11:g}" cy="{y}" r="3"/>'
    yield text_at(x + 28, y + 4, this.name, "label")


def _key(pair: Pair) -> Iterator[str]:
    for number, (name, size) in enumerate(zip(pair.names, pair.apart.sizes, strict=True)):
        x = number * WIDTH / 2 + 6
        style = "cloud second" if number else "cloud"
        yield f'<path class="{style}" d="M{x:g},12h0"/>'
        yield text_at(x + 9, 16, f"{name} ({size:,})", "label")


def _dealt(points: np.ndarray) -> list[np.ndarray]:
    """The points in layers."""
    return [points[k::_LAYERS] for k in range(_LAYERS)]


def _path(across: Scale, down: Scale, points: np.ndarray) -> str:
    """Points as strokes without length: an engine draws them as dots."""
    return "".join(f"M{across(a)},{down(b)}h0" for a, b in points.tolist())


def _bounds(value: Interval) -> list[float]:
    return [v for v in (value.mean, value.low, value.high) if math.isfinite(v)]


def _is_nan(value: float) -> bool:
    return math.isnan(value)
