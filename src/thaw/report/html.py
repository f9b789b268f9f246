"""A comparison as one HTML file that needs nothing else: styles and figures are inside."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from thaw.experiments.comparison import Comparison
from thaw.experiments.measures import SEGMENTS
from thaw.experiments.paper_tables import PaperTable
from thaw.report import notes
from thaw.report.advice import advice
from thaw.report.facts import DataFacts
from thaw.report.figures import (
    has_mail,
    interval_panel,
    loss_panels,
    smoothing_window,
    validation_panels,
)
from thaw.report.page import render, write_page
from thaw.report.rows import METRICS, Row, efforts, rows
from thaw.report.svg import Panel
from thaw.report.text_tables import (
    TextTable,
    against_tables,
    limits_table,
    paper_table,
    training_tables,
)
from thaw.report.verdict import caveats, task_verdict
from thaw.run import versions


@dataclass(frozen=True)
class SegmentPart:
    """A table of the page, with what stands below it."""

    name: str
    rows: list[Row]
    notes: list[str]
    has_gap: bool


@dataclass(frozen=True)
class TaskPart:
    """The verdict, the tables and the dot plots of a task."""

    name: str
    verdict: list[str]
    segments: list[SegmentPart]
    panels: list[Panel]
    further: list[TextTable]


@dataclass(frozen=True)
class LossPart:
    """The figure of the training losses."""

    name: str
    window: int
    panels: list[Panel]


def write_html(
    comparison: Comparison,
    path: str | Path,
    *,
    facts: DataFacts,
    command: str,
    layout: PaperTable | None = None,
) -> None:
    """Write a comparison as one self-contained HTML page.

    Args:
        comparison: what `compare` found.
        path: the file to write; its folder is made where it is missing.
        facts: what the dataset holds, from `data_facts`.
        command: the command that repeats the comparison.
        layout: a table of the paper to lay the comparison out as, beside its own tables.

    Raises:
        ThawError: when the optional packages for reports are not installed.
    """
    write_page(_render(comparison, facts, command, layout), path)


def _render(
    comparison: Comparison, facts: DataFacts, command: str, layout: PaperTable | None
) -> str:
    subject = "new and old users" if layout is None else layout.caption.partition(",")[0]
    return render(
        "report.html.j2",
        title=f"{comparison.dataset}: {subject}",
        comparison=comparison,
        caveats=caveats(comparison),
        advice=advice(comparison),
        tasks=[_task(comparison, task, layout) for task in comparison.tasks],
        legend=notes.legend(comparison),
        training_note=notes.TRAINING_NOTE,
        efforts=efforts(comparison),
        losses=_losses(comparison),
        validation=validation_panels(comparison),
        training=training_tables(comparison),
        facts=facts,
        settings=dataclasses.asdict(comparison.training),
        versions=versions(),
        command=command,
    )


def _task(comparison: Comparison, task: str, layout: PaperTable | None) -> TaskPart:
    panels = [
        interval_panel(comparison, task, segment, metric)
        for segment in SEGMENTS
        for metric, _ in METRICS
    ]
    segments = [_segment(comparison, task, name) for name in SEGMENTS]
    further = [limits_table(comparison, task), *against_tables(comparison, task)]
    if layout is not None:
        further.insert(0, paper_table(comparison, layout, task))
    known = [table for table in further if table is not None]
    return TaskPart(task, task_verdict(comparison, task), segments, panels, known)


def _segment(comparison: Comparison, task: str, name: str) -> SegmentPart:
    is_new = name == "new"
    told = [
        notes.segment_note(comparison, task, name),
        *notes.partial_notes(comparison, task, name),
        *(notes.gap_notes(comparison, task) if is_new else []),
    ]
    return SegmentPart(name, rows(comparison, task, name), told, is_new)


def _losses(comparison: Comparison) -> LossPart | None:
    """The losses of the first method with MAIL, None without one."""
    line = next((line for line in comparison.lines if has_mail(line)), None)
    if line is None:
        return None
    return LossPart(line.name, smoothing_window(line), loss_panels(line))
