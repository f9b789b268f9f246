"""The report's figures as SVG: text stays text, and colors are the page's own, light or dark."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from thaw.experiments.comparison import Comparison, Figure, Line
from thaw.options import LOSSES
from thaw.report.formats import fixed
from thaw.report.rows import bases, figure
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
from thaw.resampling import Statistic

LOSS_NAMES = dict(zip(LOSSES, ("L_rt", "L_a", "L_v", "L_d"), strict=True))
"""What the paper calls the losses."""

_ROW = 26
_POINTS = 240  # of a line; more than the eye tells apart
_SMOOTHED = 50  # steps are smoothed over this part of the run


def interval_panel(comparison: Comparison, task: str, segment: str, metric: Statistic) -> Panel:
    """Each method's mean as a dot with its interval, in the order of the tables."""
    title = f"{metric.upper()}, {segment} users"
    found = [(line, figure(line.cell(task, segment), metric)) for line in comparison.lines]
    known = [v for _, f in found for v in _bounds(f)]
    if not known:
        return Panel(title, undefined(title))
    left = 12 + 6.4 * min(24, max(len(line.name) for line, _ in found))
    bottom = 6 + _ROW * len(found)
    x = Scale(*padded(known), left, WIDTH - 58)
    base_names = {line.name for line in bases(comparison)}
    marks = [
        *(_x_tick(x, tick, bottom) for tick in ticks(x.low, x.high, 4)),
        *(_base_line(x, f.interval.mean, bottom) for line, f in found if line.name in base_names),
        *(_interval(x, 6 + _ROW * (k + 0.5), line, f) for k, (line, f) in enumerate(found)),
    ]
    return Panel(title, svg(title, bottom + 24, marks))


def loss_panels(line: Line) -> list[Panel]:
    """The four losses of Figure 4 against steps, one line a seed."""
    window = smoothing_window(line)
    panels = []
    for k, name in enumerate(LOSSES):
        lines = [_smooth(run.losses[:, k].astype(float), window) for run in line.runs]
        title = f"{LOSS_NAMES[name]}, {name.replace('_', ' ')} loss"
        panels.append(_line_panel(title, "steps", lines))
    return panels


def smoothing_window(line: Line) -> int:
    """Over how many steps a line's losses are averaged."""
    return max(1, min(len(run.losses) for run in line.runs) // _SMOOTHED)


def has_mail(line: Line) -> bool:
    """Whether a line trained the zero-shot tower: its losses are not all zero then."""
    return any(bool(run.losses[:, 1:].any()) for run in line.runs)


def validation_panels(comparison: Comparison) -> list[Panel]:
    """Validation AUC after each epoch: a panel a method on one scale, a line a seed."""
    trained = [line for line in comparison.lines if line.runs]
    values = [v for line in trained for run in line.runs for v in run.validation_auc]
    values = [v for v in values if math.isfinite(v)]
    if not values:
        return []
    epochs = max(run.epochs for line in trained for run in line.runs)
    return [_validation_panel(line, padded(values), epochs) for line in trained]


def _validation_panel(line: Line, limits: tuple[float, float], epochs: int) -> Panel:
    lines = [
        (np.arange(1, len(run.validation_auc) + 1), np.array(run.validation_auc))
        for run in line.runs
    ]
    kept = [(run.best_epoch + 1, run.validation_auc[run.best_epoch]) for run in line.runs]
    kept = [(epoch, value) for epoch, value in kept if math.isfinite(value)]
    return _line_panel(line.name, "epochs", lines, limits=limits, last=epochs, dots=kept)


_Line = tuple[np.ndarray, np.ndarray]


def _line_panel(
    title: str,
    unit: str,
    lines: Sequence[_Line],
    *,
    limits: tuple[float, float] | None = None,
    last: float | None = None,
    dots: Iterable[tuple[float, float]] = (),
) -> Panel:
    """Lines against steps or epochs, counted from 1."""
    values = [v for _, line in lines for v in line[np.isfinite(line)]]
    if not values:
        return Panel(title, undefined(title))
    most = last or max(float(steps[-1]) for steps, _ in lines if len(steps))
    x = Scale(1, max(most, 2), LEFT, WIDTH - RIGHT)
    y = Scale(*(limits or padded(values)), 170, 8)
    digits = decimals(ticks(y.low, y.high, 4))
    marks = [
        *(y_tick(y, tick, digits) for tick in ticks(y.low, y.high, 4)),
        *(text_at(x(tick), 188, f"{tick:,.0f}", "tick mid") for tick in _whole_ticks(x.high)),
        text_at(WIDTH - RIGHT, 204, unit, "tick end"),
        *(_polyline(x, y, line) for line in lines),
        *(f'<circle class="dot" cx="{x(at)}" cy="{y(value)}" r="3.25"/>' for at, value in dots),
    ]
    return Panel(title, svg(title, 210, marks))


def _whole_ticks(high: float) -> list[float]:
    """1, and round numbers up to the last step or epoch."""
    found = [tick for tick in ticks(0, high, 4) if tick >= 1 and tick == round(tick)]
    return found if found and found[0] == 1 else [1, *found]


def _smooth(values: np.ndarray, window: int) -> _Line:
    """The moving average, thinned to what the eye can see; steps are counted from 1."""
    if len(values) < window:
        return np.zeros(0), np.zeros(0)
    smooth = np.convolve(values, np.full(window, 1 / window), mode="valid")
    keep = np.unique(np.linspace(0, len(smooth) - 1, min(len(smooth), _POINTS)).astype(int))
    return keep + window, smooth[keep]


def _bounds(this: Figure) -> list[float]:
    interval = this.interval
    return [v for v in (interval.mean, interval.low, interval.high) if math.isfinite(v)]


def _x_tick(x: Scale, tick: float, bottom: float) -> str:
    digits = decimals(ticks(x.low, x.high, 4))
    at = x(tick)
    line = f'<line class="grid" x1="{at}" x2="{at}" y1="4" y2="{bottom}"/>'
    return line + text_at(at, bottom + 16, f"{tick:.{digits}f}", "tick mid")


def _base_line(x: Scale, mean: float, bottom: float) -> str:
    if math.isnan(mean):
        return ""
    return f'<line class="base" x1="{x(mean)}" x2="{x(mean)}" y1="4" y2="{bottom}"/>'


def _interval(x: Scale, y: float, line: Line, this: Figure) -> str:
    """A row of the plot: name, interval, dot and the mean in figures."""
    interval, name = this.interval, line.name
    short = name if len(name) <= 24 else name[:23] + "…"
    mean = fixed(interval.mean)
    marks = [text_at(0, y + 4, short, "label"), text_at(WIDTH, y + 4, mean, "value end")]
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        low, high = x(interval.low), x(interval.high)
        marks.append(f'<line class="interval" x1="{low}" x2="{high}" y1="{y:g}" y2="{y:g}"/>')
    if math.isfinite(interval.mean):
        style = "dot" if line.kind == "method" else "dot open"
        marks.append(f'<circle class="{style}" cx="{x(interval.mean)}" cy="{y:g}" r="3.25"/>')
    return "".join(marks)


def _polyline(x: Scale, y: Scale, line: _Line) -> str:
    points = " ".join(f"{x(at)},{y(v)}" for at, v in zip(*line, strict=True) if np.isfinite(v))
    return f'<polyline class="line" points="{points}"/>'
