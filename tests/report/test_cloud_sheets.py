"""The sentences and tables of Figures 4 to 6, on hand-made clouds and runs."""

from dataclasses import replace

import numpy as np
import pytest
from comparisons import run

from thaw.experiments.clouds import Apart
from thaw.experiments.comparison import Line
from thaw.experiments.pictures import Pair, Sample
from thaw.report.about import About
from thaw.report.cloud_sheets import figure_5_sheet, figure_6_sheet, loss_sheet

ABOUT = About("toy", "mail-base", (0, 1), (("users", "300"),), (("dim", "32"),))
RULE = ("new users", "by rule")
APART = Apart((3, 3), 0.1234, 2.5, 0.001, 999, True, 0.5, (0.25, 0.75), 10, 0.2)


def pair(seed: int, p: float) -> Pair:
    plane = np.arange(12.0).reshape(6, 2) if seed == 0 else None
    found = replace(APART, p_value=p)
    return Pair("old users", ("generated", "real"), "behavior", seed, found, plane)


def test_a_picture_and_its_numbers_say_the_same() -> None:
    sheet = figure_5_sheet([pair(0, 0.001), pair(1, 0.4)], ABOUT, RULE, Sample())
    assert len(sheet.parts[0].panels) == len(sheet.verdict) == 1
    assert "can be told apart on 1 of 2 seeds" in sheet.verdict[0]
    assert "MMD² 0.1234, p = 0.001" in sheet.verdict[0]
    assert [row[1] for row in sheet.parts[0].grid.rows] == ["0, drawn", "1"]
    assert "swaps the two points" in dict(sheet.legend)["p"]


@pytest.mark.parametrize(("p", "word"), [(0.001, "can be"), (0.4, "can't be")])
def test_one_seed_is_said_plainly(p: float, word: str) -> None:
    sheet = figure_6_sheet([pair(0, p)], ABOUT, RULE, Sample())
    assert f"generated and real {word} told apart. Seed 0" in sheet.verdict[0]


def test_losses_that_fall_are_said_to_fall() -> None:
    line = Line("mail-base", None, "method", (), (run(0, mail=True), run(1, mail=True)))
    sheet = loss_sheet(line, ABOUT, RULE)
    assert "L_rt, L_a, L_v, L_d ended below where they began." in sheet.verdict[0]
    assert sheet.verdict[1].startswith("Of the fall, 100 steps have done: L_rt 32 %, L_a 32 %")
    assert sheet.verdict[2] == "In the last tenth of the steps: still falling L_rt, L_a, L_v, L_d."
    # 300 steps from 1 to 0.5, smoothed over 6: from 0.9958 to 0.5042, at step 100 on 0.8386.
    ranking = sheet.parts[0].grid.rows[0]
    assert ranking == ("L_rt, ranking", "0.9958", "0.8386", "0.5042", "32 %", "-8.7 %", "falls")
