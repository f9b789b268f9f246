"""The rows of a report's tables as texts; terminal and HTML only lay them out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thaw.experiments.comparison import SIGNIFICANT, Cell, Comparison, Figure, Line
from thaw.report.formats import DASH, count, fixed, half_width, p_value, percent, signed
from thaw.resampling import Statistic
from thaw.run_facts import RunFacts
from thaw.statistics import holm

METRICS: tuple[tuple[Statistic, str], ...] = (("auc", "AUC"), ("gauc", "GAUC"))
"""The two metrics that stand side by side, and what reports call them."""

NO_GAP = "no gap"


@dataclass(frozen=True)
class Number:
    """A table's entry, and whether it is the best of its column."""

    text: str
    is_best: bool = False


@dataclass(frozen=True)
class Scores:
    """What a row says of one metric.

    Attributes:
        mean: the mean over seeds.
        half: '±' and half of the interval's width.
        improvement: RI in percent.
        p_value: of the paired test.
        gap: the gap closed, or 'no gap'.
    """

    mean: Number
    half: str
    improvement: str
    p_value: str
    gap: str


@dataclass(frozen=True)
class Row:
    """One line of the comparison, for one task and one segment.

    Attributes:
        name: the line's name.
        kind: 'method', 'ceiling' or 'reference'.
        auc: AUC.
        gauc: GAUC.
        calibration: predicted over observed.
    """

    name: str
    kind: str
    auc: Scores
    gauc: Scores
    calibration: Number


@dataclass(frozen=True)
class Effort:
    """What a line's training took, over its seeds.

    Attributes:
        name: the line's name.
        epochs: trained, the least and the most.
        best_epochs: the epochs whose models are kept, counted from 1.
        seconds: of training, the mean.
        speed: rows a second, the mean.
    """

    name: str
    epochs: str
    best_epochs: str
    seconds: str
    speed: str


def figure(cell: Cell, metric: Statistic) -> Figure:
    """A cell's figure for a metric."""
    return cell.auc if metric == "auc" else cell.gauc


def directions(line: Line, task: str, segment: str) -> list[int]:
    """For AUC and for GAUC: 1 or -1 for a significant rise or drop against the base, else 0."""
    return [figure(line.cell(task, segment), metric).direction for metric, _ in METRICS]


def bases(comparison: Comparison) -> list[Line]:
    """The methods that others are compared with."""
    return [line for line in comparison.lines if line.kind == "method" and line.base is None]


def challengers(comparison: Comparison) -> list[Line]:
    """The methods that are compared with a base."""
    return [line for line in comparison.lines if line.kind == "method" and line.base is not None]


def rivals_against(comparison: Comparison) -> dict[str | None, list[Line]]:
    """By the line that they are compared with, methods that are compared with no base of theirs."""
    found: dict[str | None, list[Line]] = {}
    for line in comparison.against:
        if line.kind == "method":
            found.setdefault(line.base, []).append(line)
    return found


def winner(comparison: Comparison, base: Line, task: str) -> Line | None:
    """The method to take beside a base: shown to be better for new users in AUC or in GAUC.

    Of several, one that costs new users nothing, then old ones nothing, then of the highest AUC;
    none that adds nothing that shows to a simpler one that is left.
    """
    rivals = [line for line in challengers(comparison) if line.base == base.name]
    better = _better(rivals, task)
    found: dict[str, Line] = {}
    for line in sorted(rivals, key=lambda line: len(_to_beat(comparison, line))):
        idle = [
            found[test.base]
            for test in _to_beat(comparison, line)
            if test.base in found and 1 not in directions(test, task, "new")
        ]
        costs = _costs(line, task)
        if line.name in better and not any(costs >= _costs(each, task) for each in idle):
            found[line.name] = line
    return min(
        found.values(),
        key=lambda line: (*_costs(line, task), -line.cell(task, "new").auc.interval.mean),
        default=None,
    )


def _to_beat(comparison: Comparison, line: Line) -> list[Line]:
    """The line against simpler ones, which it has to beat: the simplest has none."""
    return [each for each in comparison.against if each.has_to_win and each.name == line.name]


def perhaps_better(comparison: Comparison, base: Line, task: str) -> list[Line]:
    """Who is significantly better for new users where, of so many tests, nobody is."""
    rivals = [line for line in challengers(comparison) if line.base == base.name]
    if _better(rivals, task):
        return []
    return [line for line in rivals if 1 in directions(line, task, "new")]


def _better(rivals: list[Line], task: str) -> set[str]:
    """Who is better for new users in AUC or GAUC, by p-values adjusted for all of these tests."""
    tested = [
        (line.name, figure(line.cell(task, "new"), metric))
        for line in rivals
        for metric, _ in METRICS
    ]
    tests = [this.test for _, this in tested]
    adjusted = holm([test.p_value if test else math.nan for test in tests])
    return {
        name
        for (name, this), p in zip(tested, adjusted, strict=True)
        if this.direction > 0 and p < SIGNIFICANT
    }


def _costs(line: Line, task: str) -> tuple[bool, bool]:
    """Whether a method costs new users something, and whether it costs old ones."""
    new, old = (-1 in directions(line, task, segment) for segment in ("new", "old"))
    return new, old


def rows(comparison: Comparison, task: str, segment: str) -> list[Row]:
    """The rows of one table: methods, then ceilings, then references, as compared."""
    methods = [line for line in comparison.lines if line.kind == "method"]
    rivals = [line.cell(task, segment) for line in methods]
    return [_row(comparison, line, line.cell(task, segment), rivals) for line in comparison.lines]


def efforts(comparison: Comparison) -> list[Effort]:
    """What training took, for each line that was trained."""
    return [_effort(line.name, line.runs) for line in comparison.lines if line.runs]


def _row(comparison: Comparison, line: Line, cell: Cell, rivals: list[Cell]) -> Row:
    value = cell.mean("calibration")
    closest = _best([abs(rival.mean("calibration") - 1) for rival in rivals], min)
    is_best = line.kind == "method" and abs(value - 1) == closest
    return Row(
        line.name,
        line.kind,
        auc=_scores(comparison, line, cell, rivals, "auc"),
        gauc=_scores(comparison, line, cell, rivals, "gauc"),
        calibration=Number(fixed(value, 2), is_best),
    )


def _scores(
    comparison: Comparison, line: Line, cell: Cell, rivals: list[Cell], metric: Statistic
) -> Scores:
    this = figure(cell, metric)
    highest = _best([figure(rival, metric).interval.mean for rival in rivals], max)
    is_best = line.kind == "method" and this.interval.mean == highest
    is_gap = not _has_no_gap(comparison, line, cell, metric)
    return Scores(
        mean=Number(fixed(this.interval.mean), is_best),
        half=half_width(this.interval),
        improvement=signed(this.improvement, 2),
        p_value=DASH if this.test is None else p_value(this.test.p_value),
        gap=percent(this.gap_closed.mean) if is_gap else NO_GAP,
    )


def _has_no_gap(comparison: Comparison, line: Line, cell: Cell, metric: Statistic) -> bool:
    """Whether a ceiling shows that there is no gap to close; without one, nothing is known."""
    if line.kind != "method" or line.base is None or cell.segment != "new":
        return False
    known = comparison.ceiling_of(line) is not None
    return known and not comparison.has_gap(line, cell.task, metric)


def _best(values: Sequence[float], choose: Callable[[Sequence[float]], float]) -> float:
    """The best of numbers that differ, else NaN: to be the only one is no praise."""
    known = [value for value in values if not math.isnan(value)]
    return choose(known) if len(set(known)) > 1 else math.nan


def _effort(name: str, runs: tuple[RunFacts, ...]) -> Effort:
    return Effort(
        name,
        epochs=_span([run.epochs for run in runs]),
        best_epochs=_span([run.best_epoch + 1 for run in runs]),
        seconds=f"{sum(run.seconds for run in runs) / len(runs):,.1f}",
        speed=count(sum(run.rows_per_second for run in runs) / len(runs)),
    )


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
