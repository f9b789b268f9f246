"""What training shows."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from thaw.progress import Quiet, Terminal

FACTS = {"ranking": 0.5, "validation_auc": 0.71234}


def test_an_epoch_leaves_a_line_with_its_validation_auc() -> None:
    console = Console(file=StringIO(), width=100)
    with Terminal("mail-base", console) as progress:
        progress.start_epoch(2, 0, 5)
        progress.step(10, 64, np.array([0.5, 1.0, 2.0, 0.1], np.float32))
        progress.finish_epoch(2, FACTS, is_best=True)
    text = console.file.getvalue()
    assert "mail-base: epoch 3" in text
    assert "validation AUC 0.7123  (best so far)" in text


@pytest.mark.parametrize(
    ("fitted", "told"),
    [
        ({}, ""),
        ({"strength": 0.4071}, "  virtual strength 0.41"),
    ],
)
def test_an_epoch_says_what_was_fitted_after_it(fitted: dict[str, float], told: str) -> None:
    console = Console(file=StringIO(), width=120)
    with Terminal("mail-base", console) as progress:
        progress.start_epoch(0, 0, 5)
        progress.finish_epoch(0, {**FACTS, **fitted}, is_best=False)
    assert f"epoch 1  loss 0.5000{told}  validation AUC" in console.file.getvalue()


def test_a_bar_shows_losses_and_speed_while_a_step_is_taken() -> None:
    console = Console(file=StringIO(), width=140, force_terminal=True)
    with Terminal("mail-base", console) as progress:
        progress.start_epoch(0, 3, 5)
        progress.step(3, 64, np.array([0.5, 1.0, 2.0, 0.1], np.float32))
        progress.bar.refresh()
    text = console.file.getvalue()
    assert "rows/s" in text
    assert "L_d 0.1" in text
    assert "4/5" in text


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Quiet() as progress:
        progress.start_epoch(0, 0, 1)
        progress.step(0, 1, np.zeros(4, np.float32))
        progress.finish_epoch(0, FACTS, is_best=False)
    assert capsys.readouterr() == ("", "")
