"""What the commands print: tables and lines for people, JSON for scripts."""

import dataclasses
import json
import math
import shlex
import sys
from pathlib import Path
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table

from thaw.data import Dataset
from thaw.experiments.comparison import Comparison
from thaw.experiments.paper_tables import PaperTable
from thaw.experiments.results import write_results
from thaw.recommender import Recommender
from thaw.report.facts import FEW, data_facts
from thaw.report.html import write_html
from thaw.report.plain import comparison_json, without_nan
from thaw.report.sheet import Sheet, print_sheet, write_sheet
from thaw.report.terminal import print_comparison
from thaw.run import has_ended


def show_comparison(
    result: Comparison,
    dataset: Dataset,
    folder: Path,
    *,
    report: bool,
    as_json: bool,
    layout: PaperTable | None = None,
) -> None:
    """Print a comparison, and leave it in a folder: as JSON, as Parquet, and as a report."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = comparison_json(result)
    (folder / "comparison.json").write_text(json.dumps(plain, indent=1))
    write_results(result, folder / "results.parquet")
    if as_json:
        show_json(plain)
    else:
        print_comparison(result, Console(), layout)
    if report:
        command = shlex.join(["thaw", *sys.argv[1:]])
        path, facts = folder / "report.html", data_facts(dataset)
        write_html(result, path, facts=facts, command=command, layout=layout)
        typer.echo(f"report: {folder / 'report.html'}", err=as_json)


def show_sheet(sheet: Sheet, numbers: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    """Print an experiment, and leave it in a folder as JSON and as a page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(json.dumps(numbers))
    if as_json:
        show_json(numbers)
    else:
        print_sheet(sheet, Console())
    write_sheet(sheet, folder / "report.html", shlex.join(["thaw", *sys.argv[1:]]))
    typer.echo(f"report: {folder / 'report.html'}", err=as_json)


def show_dataset(dataset: Dataset, *, as_json: bool) -> None:
    """Print what is in a prepared dataset."""
    facts = dataclasses.asdict(data_facts(dataset))
    rule = dataset.schema.new_users.rule
    facts = {"dataset": str(dataset.path), "new_users": rule, **facts}
    splits, tables = facts["splits"], facts["tables"]
    rare, constant = facts["rare_attributes"], facts["constant_fields"]
    if not as_json:
        apart = ("splits", "tables", "rare_attributes", "constant_fields")
        facts = {name: value for name, value in facts.items() if name not in apart}
    _show(facts, as_json)
    if not as_json:
        show_table("Impressions", splits)
        show_table("Rows read and rejected", tables)
        if any(table["rejected"] for table in tables):
            typer.echo(
                f"note: the rejected rows, each with its reason: {dataset.path}/rejects.parquet"
            )
        if splits[0]["new_share"] == 1:
            typer.echo(
                "note: no training row has behavior before it, so nothing can be learned of how "
                "behavior follows from attributes; look at the events' user and time columns"
            )
        if constant:
            typer.echo(
                f"note: {', '.join(constant)}: all rows have the same value, or none, of which "
                "nothing can be learned; look at the column, or leave it out"
            )
        for name, share in rare:
            typer.echo(
                f"note: {share:.0%} of the training users have a value of {name} that fewer than "
                f"{FEW} of them have. It tells who they are, and of new users nothing: give the "
                "attribute a min_count"
            )


def show_run(found: Recommender, folder: Path, *, as_json: bool) -> None:
    """Print what is in a run."""
    facts = found.facts
    _show(
        {
            "run": str(folder),
            "method": facts["method"]["name"],
            "dataset": facts["dataset"],
            "finished": has_ended(folder),
            "best_epoch": facts["best"]["epoch"] + 1,
            "validation_auc": facts["best"]["validation_auc"],
            "weights": sum(value.numel() for value in found.model.state_dict().values()),
            "training": facts["training"],
        },
        as_json,
    )


def show_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows of the same columns; what is undefined is a dash."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=0)
    for name, value in rows[0].items():
        justify: JustifyMethod = "left" if isinstance(value, str) else "right"
        table.add_column(name.replace("_", " "), justify=justify)
    for row in rows:
        table.add_row(*map(_line, row.values()))
    Console().print(table)


def show_json(value: object) -> None:
    """Print JSON; what is undefined is null."""
    typer.echo(json.dumps(without_nan(value), indent=1))


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(facts)
        return
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' ')}: {_line(value)}")


def _line(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_line(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        pairs = all(isinstance(each, list | tuple) for each in value)
        return ", ".join(" ".join(map(_text, each)) if pairs else _line(each) for each in value)
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return (
            "-" if math.isnan(value) else f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"
        )
    return str(value)
