"""A comparison as plain values for scripts: lists, dicts, numbers, and None for NaN."""

import dataclasses
import math
from typing import Any

from thaw.experiments.comparison import Cell, Comparison, Figure, Line
from thaw.report.rows import METRICS, figure
from thaw.run_facts import RunFacts


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return all that a comparison found, ready for `json.dumps`; NaN and infinity are None."""
    plain: dict[str, Any] = without_nan({
        "dataset": comparison.dataset,
        "rule": comparison.rule,
        "seeds": comparison.seeds,
        "tasks": comparison.tasks,
        "training": dataclasses.asdict(comparison.training),
        "lines": [_line(comparison, line) for line in comparison.lines],
        "against": [_against(line) for line in comparison.against],
    })  # fmt: skip
    return plain


def _line(comparison: Comparison, line: Line) -> dict[str, Any]:
    return {
        "name": line.name,
        "base": line.base,
        "kind": line.kind,
        "cells": [_cell(comparison, line, cell) for cell in line.cells],
        "runs": [_run(run) for run in line.runs],
        "foretold": [dataclasses.asdict(each) for each in line.foretold],
    }


def _against(line: Line) -> dict[str, Any]:
    cells = [
        {"task": cell.task, "segment": cell.segment}
        | {metric: _difference(figure(cell, metric)) for metric, _ in METRICS}
        for cell in line.cells
    ]
    return {"name": line.name, "against": line.base, "cells": cells}


def _cell(comparison: Comparison, line: Line, cell: Cell) -> dict[str, Any]:
    first = cell.measures[0]
    return {
        "task": cell.task,
        "segment": cell.segment,
        "impressions": first.impressions,
        "users": first.users,
        "gauc_kept_share": first.kept_share,
        **{metric: _figure(figure(cell, metric)) for metric, _ in METRICS},
        "log_loss": _measure(cell, "log_loss"),
        "calibration": _measure(cell, "calibration"),
        "has_gap": _has_gap(comparison, line, cell),
    }


def _figure(this: Figure) -> dict[str, Any]:
    return {
        "values": this.values,
        **dataclasses.asdict(this.interval),
        "improvement_percent": this.improvement,
        **_difference(this),
        "gap_closed": this.gap_closed.mean,
        "gap_closed_low": this.gap_closed.low,
        "gap_closed_high": this.gap_closed.high,
        "reached": this.reached.mean,
        "reached_low": this.reached.low,
        "reached_high": this.reached.high,
    }


def _difference(this: Figure) -> dict[str, Any]:
    test = this.test
    return {
        "difference": test.difference if test else None,
        "difference_low": test.low if test else None,
        "difference_high": test.high if test else None,
        "p_value": test.p_value if test else None,
        "p_over_seeds": this.over_seeds.p_value if this.over_seeds else None,
        "p_over_users": this.over_users.p_value if this.over_users else None,
    }


def _measure(cell: Cell, name: str) -> dict[str, Any]:
    return {"values": [getattr(each, name) for each in cell.measures], "mean": cell.mean(name)}


def _has_gap(comparison: Comparison, line: Line, cell: Cell) -> dict[str, bool] | None:
    """By metric, whether the base leaves a gap; None where that is no question."""
    is_asked = line.kind == "method" and cell.segment == "new"
    if not is_asked or comparison.ceiling_of(line) is None:
        return None
    return {metric: comparison.has_gap(line, cell.task, metric) for metric, _ in METRICS}


def _run(run: RunFacts) -> dict[str, Any]:
    """A run without its losses: they are as many as its steps."""
    return {
        "seed": run.seed,
        "epochs": run.epochs,
        "best_epoch": run.best_epoch + 1,
        "steps": len(run.losses),
        "seconds": run.seconds,
        "rows_per_second": run.rows_per_second,
        "validation_auc": run.validation_auc,
        "test_auc": [{"new": new, "old": old} for new, old in run.test_auc],
        "strengths": [dataclasses.asdict(each) for each in run.strengths],
    }


def without_nan(value: Any) -> Any:
    """The value with null in the place of every number that is none, for JSON."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    if isinstance(value, float):  # NumPy's float64 is one of these
        return float(value) if math.isfinite(value) else None
    return value
