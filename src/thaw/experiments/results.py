"""What a comparison found as one Parquet file: a row for each seed, task and segment of a line."""

import dataclasses
import json
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from thaw.experiments.comparison import Cell, Comparison, Line
from thaw.run import versions
from thaw.run_facts import RunFacts

FORETOLD = ("per_event", "pooled", "ridge_per_event", "ridge_pooled")


def write_results(comparison: Comparison, path: Path) -> None:
    """Write a comparison's results, each row with the full configuration of its run.

    Columns of a line that was not trained by thaw are null where training would have filled them.
    """
    table = pa.Table.from_pylist([*_rows(comparison)], schema=_schema())
    aside = path.with_name(f".{path.name}.partial")
    pq.write_table(table, aside)
    aside.rename(path)


def _rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    common = {
        "dataset": comparison.dataset,
        "rule": comparison.rule,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": json.dumps(versions()),
    }
    for line in comparison.lines:
        for cell in line.cells:
            for number in range(len(cell.measures)):
                seed = comparison.seeds[number] if line.runs or len(cell.measures) > 1 else None
                yield common | {"seed": seed} | _row(line, cell, number)


def _row(line: Line, cell: Cell, number: int) -> dict[str, Any]:
    run = line.runs[number] if line.runs else None
    known = line.foretold[number] if line.foretold else None
    foretold = dataclasses.asdict(known) if known else {}
    return {
        "method": line.name,
        "kind": line.kind,
        "base": line.base,
        "task": cell.task,
        "segment": cell.segment,
        **dataclasses.asdict(cell.measures[number]),
        **(_training(run) if run else {}),
        **{f"r2_{name}": foretold.get(name) for name in FORETOLD},
    }


def _training(run: RunFacts) -> dict[str, Any]:
    return {
        "epochs": run.epochs,
        "best_epoch": run.best_epoch + 1,
        "seconds": run.seconds,
        "rows_per_second": run.rows_per_second,
        "configuration": run.configuration,
    }


def _schema() -> pa.Schema:
    texts = ("dataset", "rule", "method", "kind", "base", "task", "segment")
    numbers = ("auc", "gauc", "log_loss", "calibration", "kept_share")
    counts = ("impressions", "users", "epochs", "best_epoch")
    more = ("seconds", "rows_per_second", *(f"r2_{name}" for name in FORETOLD))
    facts = ("configuration", "versions", "machine", "written")
    return pa.schema([
        *((name, pa.string()) for name in texts),
        ("seed", pa.int64()),
        *((name, pa.float64()) for name in numbers),
        *((name, pa.int64()) for name in counts),
        *((name, pa.float64()) for name in more),
        *((name, pa.string()) for name in facts),
    ])  # fmt: skip
