"""Further tables as texts: what attributes can tell, AUC by epoch, the paper's layout."""

import math
from dataclasses import dataclass

import numpy as np

from thaw.experiments.comparison import Comparison, Line
from thaw.experiments.foretold import Foretold
from thaw.experiments.measures import SEGMENTS
from thaw.experiments.paper_tables import Entry, PaperTable, entries
from thaw.experiments.references import ATTRIBUTES_ONLY
from thaw.report.formats import DASH, fixed, p_value, percent, signed
from thaw.report.grid import Grid
from thaw.report.rows import METRICS, challengers, figure, rivals_against

LIMITS_NOTE = (
    f"reach: of what is reachable, (method - base) / ({ATTRIBUTES_ONLY} - base), where "
    f"{ATTRIBUTES_ONLY} is significantly above the base: boosted trees that see no behavior, and "
    "virtual behavior knows no more than attributes do. R²: of virtual against real behavior of "
    "users whose behavior was hidden, 0 being their mean; of the sum that a ranker pools, and of "
    "single events, padding as zeros. ridge: the same of ridge regression from one-hot attributes."
)

BELIEF_NOTE = (
    "How far new users' scores follow what is made of attributes, from 0 to 1, as it is: as far as "
    "it foretells users whom it was not fitted to. 0: it was not shown to foretell anything, for "
    "want of such users or of anything to foretell. The mean over seeds, and in brackets the least "
    "and the most."
)

EPOCHS_NOTE = (
    "Test AUC after so many epochs, the mean over seeds that trained so long. It shows when a "
    "method leads. kept: after the epoch that validation alone chose, each seed its own."
)

SHOWN_EPOCHS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 100)
"""So many as a terminal is wide enough for."""

AGAINST_NOTE = "The difference to it, and p of the same tests as against the base."

PAPER_NOTE = "1 and 2 mark the best and the second best of a column."


@dataclass(frozen=True)
class TextTable:
    """A table with what stands around it.

    Attributes:
        title: what it shows.
        grid: the table.
        note: how to read it.
    """

    title: str
    grid: Grid
    note: str


def limits_table(comparison: Comparison, task: str) -> TextTable | None:
    """How much of the gap attributes can win back, and how well behavior is foretold from them.

    Returns:
        None where neither is known.
    """
    has_reference = any(line.name == ATTRIBUTES_ONLY for line in comparison.lines)
    found = [line for line in challengers(comparison) if has_reference or line.foretold]
    if not found:
        return None
    columns = ("method", *(f"{name} {c}" for _, name in METRICS for c in ("gap", "reach")))
    return TextTable(
        f"{task}: what attributes can tell",
        Grid(
            (*columns, "R² sum", "ridge", "R² event", "ridge"),
            tuple(_limits(line, task) for line in found),
        ),
        LIMITS_NOTE,
    )


def _limits(line: Line, task: str) -> tuple[str, ...]:
    figures = [figure(line.cell(task, "new"), metric) for metric, _ in METRICS]
    shares = [share.mean for f in figures for share in (f.gap_closed, f.reached)]
    scores = ("pooled", "ridge_pooled", "per_event", "ridge_per_event")
    r2 = [mean_r2(line.foretold, name) for name in scores]
    return (line.name, *map(percent, shares), *(signed(value, 3) for value in r2))


def mean_r2(found: tuple[Foretold, ...], name: str) -> float:
    """The mean over seeds of one of the R²; NaN without any."""
    return float(np.mean([getattr(each, name) for each in found])) if found else math.nan


def training_tables(comparison: Comparison) -> list[TextTable]:
    """What is known of training beside its effort: what came to be believed, and AUC by epoch."""
    return [*_belief_tables(comparison), *epochs_tables(comparison)]


def _belief_tables(comparison: Comparison) -> list[TextTable]:
    """How far virtual behavior and factorization machines are believed, where there are any."""
    methods = [line for line in comparison.lines if line.kind == "method"]
    found = {line.name: told for line in methods if (told := _strengths(line))}
    names = [*dict.fromkeys(name for told in found.values() for name in told)]
    cells = tuple(
        (method, *(told.get(name, "") for name in names)) for method, told in found.items()
    )
    grid = Grid(("method", *names), cells)
    return [TextTable("How far attributes are believed", grid, BELIEF_NOTE)] if found else []


def _strengths(line: Line) -> dict[str, str]:
    """Of each of its strengths, the mean over seeds, and the least and the most."""
    every = [each for run in line.runs for each in run.strengths]
    has_several = len({each.task for each in every if each.task is not None}) > 1
    told = {}
    for task, part in dict.fromkeys((each.task, each.part) for each in every):
        values = [each.value for each in every if (each.task, each.part) == (task, part)]
        name = f"{task} {part}" if task is not None and has_several else part
        low, high = fixed(min(values), 2), fixed(max(values), 2)
        span = f" ({low} to {high})" if low != high else ""
        told[name] = f"{fixed(float(np.mean(values)), 2)}{span}"
    return told


def epochs_tables(comparison: Comparison) -> list[TextTable]:
    """AUC of new and of old test users after each epoch, where that was measured."""
    found = [line for line in comparison.lines if _has_curve(line)]
    if not found:
        return []
    last = max(run.epochs for line in found for run in line.runs)
    epochs = [epoch for epoch in SHOWN_EPOCHS if epoch <= last]
    columns = ("method", *map(str, epochs), "kept")
    return [
        TextTable(
            f"AUC of {segment} users by epoch",
            Grid(columns, tuple((line.name, *_by_epoch(line, place, epochs)) for line in found)),
            EPOCHS_NOTE,
        )
        for place, segment in enumerate(SEGMENTS)
    ]


def _has_curve(line: Line) -> bool:
    return any(
        not math.isnan(value) for run in line.runs for pair in run.test_auc for value in pair
    )


def _by_epoch(line: Line, place: int, epochs: list[int]) -> list[str]:
    """After each of the epochs, and after the kept one."""
    curves = [[pair[place] for pair in run.test_auc] for run in line.runs]
    kept = [curve[run.best_epoch] for curve, run in zip(curves, line.runs, strict=True)]
    after = [[curve[epoch - 1] for curve in curves if len(curve) >= epoch] for epoch in epochs]
    return [fixed(float(np.mean(values))) if values else "" for values in (*after, kept)]


def against_tables(comparison: Comparison, task: str) -> list[TextTable]:
    """Methods against another line than their base: a table for each such line."""
    columns = [
        text for segment in SEGMENTS for _, name in METRICS for text in (f"{segment} {name}", "p")
    ]
    return [
        TextTable(
            f"{task}: against {other}",
            Grid(
                ("method", *columns),
                tuple((line.name, *_differences(line, task)) for line in rivals),
            ),
            AGAINST_NOTE,
        )
        for other, rivals in rivals_against(comparison).items()
    ]


def _differences(line: Line, task: str) -> list[str]:
    told = []
    for segment in SEGMENTS:
        for metric, _ in METRICS:
            test = figure(line.cell(task, segment), metric).test
            assert test is not None  # it is compared with another line
            told += [signed(test.difference), p_value(test.p_value)]
    return told


def paper_table(comparison: Comparison, table: PaperTable, task: str) -> TextTable:
    """A table in the paper's layout."""
    found = entries(comparison, table, task)
    columns = [
        text
        for segment, metric in found[table.names[0]]
        for text in (f"{segment} {dict(METRICS)[metric]}", "RI %")
    ]
    rows = tuple(
        (name, *(text for entry in cells.values() for text in _entry(entry)))
        for name, cells in found.items()
    )
    grid = Grid(("method", *columns), rows)
    return TextTable(f"{table.caption} ({task})", grid, PAPER_NOTE)


def _entry(entry: Entry) -> tuple[str, str]:
    place = str(entry.place) if entry.place else "\N{FIGURE SPACE}"
    mean = fixed(entry.mean)
    return mean if mean == DASH else f"{mean} {place}", signed(entry.improvement, 2)
