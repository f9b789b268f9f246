"""A comparison as one HTML file that needs nothing else: styles and figures are inside."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from thaw.experiments.comparison import Comparison
from thaw.experiments.measures import SEGMENTS
from thaw.report import notes
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


@dataclass(frozen=True)
class LossPart:
    """The figure of the training losses."""

    name: str
    window: int
    panels: list[Panel]


def write_html(comparison: Comparison, path: str | Path, *, facts: DataFacts, command: str) -> None:
    """Write a comparison as one self-contained HTML page.

    Args:
        comparison: what `compare` found.
        path: the file to write; its folder is made where it is missing.
        facts: what the dataset holds, from `data_facts`.
        command: the command that repeats the comparison.

    Raises:
        ThawError: when the optional packages for reports are not installed.
    """
    write_page(_render(comparison, facts, command), path)


def _render(comparison: Comparison, facts: DataFacts, command: str) -> str:
    return render(
        "report.html.j2",
        comparison=comparison,
        caveats=caveats(comparison),
        tasks=[_task(comparison, task) for task in comparison.tasks],
        legend=notes.legend(comparison),
        training_note=notes.TRAINING_NOTE,
        efforts=efforts(comparison),
        losses=_losses(comparison),
        validation=validation_panels(comparison),
        facts=facts,
        settings=dataclasses.asdict(comparison.training),
        versions=versions(),
        command=command,
    )


def _task(comparison: Comparison, task: str) -> TaskPart:
    panels = [
        interval_panel(comparison, task, segment, metric)
        for segment in SEGMENTS
        for metric, _ in METRICS
    ]
    segments = [_segment(comparison, task, name) for name in SEGMENTS]
    return TaskPart(task, task_verdict(comparison, task), segments, panels)


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
