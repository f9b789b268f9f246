import json
from dataclasses import replace
from typing import Any

from comparisons import NAN, base, ceiling, comparison, figure, line, mail

from thaw.experiments.comparison import Comparison
from thaw.report import comparison_json


def cell_of(given: Comparison, name: str, segment: str = "new") -> dict[str, Any]:
    """What a script reads of one line after a trip through a file."""
    found = json.loads(json.dumps(comparison_json(given), allow_nan=False))
    lines = {each["name"]: each for each in found["lines"]}
    return next(each for each in lines[name]["cells"] if each["segment"] == segment)


def test_a_metric_has_all_that_the_tables_have() -> None:
    auc = cell_of(comparison(), "mail-base")["auc"]
    assert auc["values"] == [0.71, 0.71, 0.71]
    assert (auc["mean"], auc["low"], auc["high"]) == (0.71, 0.708, 0.712)
    assert round(auc["improvement_percent"], 2) == 1.43
    assert (auc["difference"], round(auc["p_value"], 6)) == (0.01, 0.004)
    assert (auc["p_over_seeds"], auc["p_over_users"]) == (0.004, 0.004)
    assert (auc["gap_closed"], auc["gap_closed_low"], auc["gap_closed_high"]) == (0.5, 0.3, 0.7)


def test_what_is_undefined_is_null() -> None:
    found = cell_of(comparison(line("own", (figure(NAN), figure(0.6)), calibration=NAN)), "own")
    assert found["auc"]["mean"] is None
    assert found["auc"]["values"] == [None, None, None]
    assert found["gauc"]["p_value"] is None
    assert found["calibration"] == {"values": [None, None, None], "mean": None}


def test_a_cell_says_what_it_rests_on() -> None:
    found = cell_of(comparison(), "base-dnn", "old")
    assert (found["impressions"], found["users"]) == (9000, 300)
    assert found["gauc_kept_share"] == 2 / 3
    assert found["log_loss"]["mean"] == 0.6


def test_a_missing_gap_is_told_from_an_unknown_one() -> None:
    given = comparison(base(), mail(), ceiling(p_gauc=0.3))
    assert cell_of(given, "mail-base")["has_gap"] == {"auc": True, "gauc": False}
    assert cell_of(given, "mail-base", "old")["has_gap"] is None
    assert cell_of(comparison(base(), mail()), "mail-base")["has_gap"] is None


def test_differences_to_another_line_than_the_base_are_there() -> None:
    given = comparison(base(), mail(), against=(replace(mail(), base="mail-none"),))
    (found,) = comparison_json(given)["against"]
    assert (found["name"], found["against"]) == ("mail-base", "mail-none")
    first = found["cells"][0]
    assert (first["task"], first["segment"]) == ("click", "new")
    assert (first["auc"]["difference"], round(first["auc"]["p_value"], 6)) == (0.01, 0.004)


def test_runs_and_settings_are_there() -> None:
    found = comparison_json(comparison())
    assert found["training"]["batch_size"] == 1024
    assert found["seeds"] == [0, 1, 2]
    assert found["lines"][1]["runs"][2] == {
        "seed": 2, "epochs": 3, "best_epoch": 2, "steps": 300, "seconds": 12.5,
        "rows_per_second": 24000.0, "validation_auc": [0.70, 0.72, 0.71], "test_auc": [],
        "strengths": [],
    }  # fmt: skip
