"""What an experiment shows, ready to be laid out: one page, one print-out, one file of numbers."""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.text import Text

from thaw.report.grid import Grid
from thaw.report.page import render, write_page
from thaw.report.svg import Panel
from thaw.run import versions


@dataclass(frozen=True)
class Part:
    """A section of the page.

    Attributes:
        title: its headline.
        panels: its drawings.
        caption: what they show.
        grid: the numbers that say the same.
        notes: sentences below the numbers.
    """

    title: str
    panels: tuple[Panel, ...]
    caption: str
    grid: Grid
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """An experiment's page.

    Attributes:
        title: its headline.
        lead: what it is of, in a line.
        verdict: what it shows, in sentences.
        parts: drawings and numbers.
        legend: how to read them: pairs of a word and its explanation.
        facts: pairs of a name and a value: data, rule, seeds.
        settings: pairs of a setting and its value.
    """

    title: str
    lead: str
    verdict: tuple[str, ...]
    parts: tuple[Part, ...]
    legend: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]


def write_sheet(sheet: Sheet, path: Path, command: str) -> None:
    """Write the page that needs nothing else.

    Raises:
        ThawError: when the optional packages for reports are not installed.
    """
    used = versions() | {"scikit-learn": metadata.version("scikit-learn")}
    page = render("sheet.html.j2", sheet=sheet, versions=used, command=command)
    write_page(page, path)


def print_sheet(sheet: Sheet, console: Console) -> None:
    """Print the numbers, and the verdict last, where the eye is when a command ends."""
    for part in sheet.parts:
        console.print()
        console.print(Text(part.title, style="bold"))
        console.print(part.grid.for_terminal())
        for note in part.notes:
            console.print(Text(note))
    console.print()
    console.print(Text("Verdict", style="bold"))
    for sentence in sheet.verdict:
        console.print(Text(sentence))
