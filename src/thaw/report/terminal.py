"""A comparison as tables in a terminal; bold marks what plain text says as well."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from thaw.experiments.comparison import Comparison
from thaw.experiments.measures import SEGMENTS
from thaw.experiments.paper_tables import PaperTable
from thaw.report.advice import advice
from thaw.report.notes import TRAINING_NOTE, gap_notes, legend, partial_notes, segment_note
from thaw.report.rows import METRICS, Number, Row, Scores, efforts, rows
from thaw.report.text_tables import (
    TextTable,
    against_tables,
    limits_table,
    paper_table,
    training_tables,
)
from thaw.report.verdict import verdict

_NAME_WIDTH = 6  # below which names are cut no further
_GROUP_WIDTH = 15  # of a metric's first column: a space more than its text, to set groups apart


def print_comparison(
    comparison: Comparison, console: Console, layout: PaperTable | None = None
) -> None:
    """Print a comparison: tables by task and segment, how to read them, training, the verdict.

    With a layout its table stands before the verdict, task by task. Verdict and advice stand last,
    where the eye is when a command ends. Where the console is too narrow for one line a method,
    each takes two.
    """
    _heading(console, _title(comparison))
    is_wide = _is_wide(comparison, console)
    for task in comparison.tasks:
        for segment in SEGMENTS:
            _print_segment(comparison, task, segment, console, is_wide=is_wide)
        limits = limits_table(comparison, task)
        if limits is not None:
            _print_table(limits, console)
        for table in against_tables(comparison, task):
            _print_table(table, console)
    _heading(console, "How to read this")
    console.print(_pairs(legend(comparison)))
    _heading(console, "Training")
    console.print(_training_table(comparison))
    _print_lines(console, [TRAINING_NOTE])
    for table in training_tables(comparison):
        _print_table(table, console)
    if layout is not None:
        for task in comparison.tasks:
            _print_table(paper_table(comparison, layout, task), console)
    _heading(console, "Verdict")
    _print_lines(console, verdict(comparison))
    _heading(console, "Next")
    _print_lines(console, advice(comparison))


def _print_table(table: TextTable, console: Console) -> None:
    _heading(console, table.title)
    console.print(table.grid.for_terminal(breaks_headers=True))
    _print_lines(console, [table.note])


def _title(comparison: Comparison) -> str:
    methods = sum(line.kind == "method" for line in comparison.lines)
    seeds = len(comparison.seeds)
    return f"{comparison.dataset}: {_plural(methods, 'method')}, {_plural(seeds, 'seed')}"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _is_wide(comparison: Comparison, console: Console) -> bool:
    """Whether all tables fit with a line a method, so that all look alike."""
    free = console.options.update(max_width=1000)
    tables = [
        _scores_table(rows(comparison, task, segment), has_gap=segment == "new", is_wide=True)
        for task in comparison.tasks
        for segment in SEGMENTS
    ]
    return all(Measurement.get(console, free, each).maximum <= console.width for each in tables)


def _print_segment(
    comparison: Comparison, task: str, segment: str, console: Console, *, is_wide: bool
) -> None:
    _heading(console, f"{task}, {segment} users")
    has_gap = segment == "new"
    console.print(_scores_table(rows(comparison, task, segment), has_gap=has_gap, is_wide=is_wide))
    notes = [segment_note(comparison, task, segment), *partial_notes(comparison, task, segment)]
    _print_lines(console, notes + (gap_notes(comparison, task) if has_gap else []))


def _scores_table(found: list[Row], *, has_gap: bool, is_wide: bool) -> Table:
    """AUC and GAUC side by side; intervals and p-values below their numbers where it is narrow."""
    table = _table()
    for _, name in METRICS:
        _add(
            table,
            f"{name} (±)" if is_wide else f"{name}\n±",
            min_width=_GROUP_WIDTH if is_wide else 8,
        )
        for header in ("RI %", "p") if is_wide else ("RI %\np",):
            _add(table, header)
        if has_gap:
            _add(table, "gap\nclosed")
    _add(table, "calib.")
    kind = "method"
    for row in found:
        if row.kind != kind:
            table.add_section()
        kind = row.kind
        cells = [cell for s in (row.auc, row.gauc) for cell in _cells(s, has_gap, is_wide)]
        table.add_row(Text(row.name), *cells, _text(row.calibration))
    return table


def _cells(scores: Scores, has_gap: bool, is_wide: bool) -> list[Text]:
    """One metric's part of a row."""
    mean, improvement, p_value = _text(scores.mean), Text(scores.improvement), Text(scores.p_value)
    gap = [Text(scores.gap)] if has_gap else []
    if is_wide:
        return [Text.assemble(mean, f" {scores.half:>7}"), improvement, p_value, *gap]
    below = Text.assemble(improvement, "\n", p_value)
    return [Text.assemble(mean, f"\n{scores.half}"), below, *gap]


def _text(number: Number) -> Text:
    return Text(number.text, style="bold" if number.is_best else "")


def _table() -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0, header_style="")
    table.add_column("method", overflow="fold", min_width=_NAME_WIDTH)
    return table


def _add(table: Table, header: str, min_width: int | None = None) -> None:
    table.add_column(header, justify="right", no_wrap=True, min_width=min_width)


def _training_table(comparison: Comparison) -> Table:
    table = _table()
    for header in ("epochs", "best epoch", "seconds", "rows/s"):
        _add(table, header, min_width=11)
    for effort in efforts(comparison):
        texts = (effort.epochs, effort.best_epochs, effort.seconds, effort.speed)
        table.add_row(Text(effort.name), *map(Text, texts))
    return table


def _pairs(told: list[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for word, explanation in told:
        grid.add_row(Text(word), Text(explanation))
    return grid


def _print_lines(console: Console, lines: Iterable[str]) -> None:
    """Print sentences, each on lines of its own; names in them are no markup."""
    for line in lines:
        console.print(Text(line))
