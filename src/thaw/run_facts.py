"""How a training run went, as tables and reports tell it."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thaw import checkpoint
from thaw.errors import TrainingError
from thaw.run import State, read_facts, state_of

PATIENT = 500
"""So many steps that bring nothing better are enough to stop at."""


@dataclass(frozen=True)
class Strength:
    """How far something is believed.

    Attributes:
        part: 'virtual behavior', or of a factorization machine 'level' or 'order'.
        task: the task that it is of; None for virtual behavior, which is of all.
        value: between 0 and 1.
    """

    part: str
    task: str | None
    value: float


@dataclass(frozen=True)
class RunFacts:
    """How a run went.

    Attributes:
        seed: its seed.
        epochs: epochs trained.
        best_epoch: the epoch whose model is kept, counted from 0.
        seconds: in training steps, and in fitting what is fitted after them.
        rows_per_second: of training.
        losses: [steps, 4] in the order of LOSSES.
        validation_auc: after each epoch.
        configuration: what was run, as JSON: method, training, versions and data, but not where
            the data lay.
        test_auc: after each epoch the AUC of new and of old users in the test split, the mean over
            tasks; NaN where `tests_epochs` was off.
        strengths: how far the kept model believes what attributes say; empty where nothing of that
            is fitted.
    """

    seed: int
    epochs: int
    best_epoch: int
    seconds: float
    rows_per_second: float
    losses: np.ndarray
    validation_auc: tuple[float, ...]
    configuration: str = "{}"
    test_auc: tuple[tuple[float, float], ...] = ()
    strengths: tuple[Strength, ...] = ()

    def more_patience(self, patience: int) -> int | None:
        """Return what patience would give slow learners time, where a given one does not.

        An epoch of few steps gains less than validation varies by, so that training stops by chance
        as much as by the criterion.
        """
        steps = max(1, len(self.losses) // self.epochs)
        return math.ceil(PATIENT / steps) if steps * patience < PATIENT else None


def facts_of(folder: Path) -> RunFacts:
    """Read how a run went from its last checkpoint.

    Raises:
        TrainingError: when there is none.
    """
    found = checkpoint.read(folder, "checkpoint")
    if found is None:
        raise TrainingError(f"{folder}: no checkpoint here")
    tensors, facts = found
    state, written = state_of(folder, facts), read_facts(folder)
    kept = checkpoint.read_facts(folder, "model") or {}
    return RunFacts(
        seed=written["training"]["seed"],
        epochs=len(state.epochs),
        best_epoch=state.best_epoch,
        seconds=state.seconds + kept.get("fitting_seconds", 0.0),
        rows_per_second=state.rows / max(state.seconds, 1e-9),
        losses=tensors["losses"].numpy(),
        validation_auc=tuple(epoch["validation_auc"] for epoch in state.epochs),
        configuration=json.dumps({key: written[key] for key in written if key != "dataset"}),
        test_auc=tuple(
            (epoch.get("new_auc", math.nan), epoch.get("old_auc", math.nan))
            for epoch in state.epochs
        ),
        strengths=_strengths(state, kept, [task["name"] for task in written["schema"]["tasks"]]),
    )


def _strengths(state: State, kept: dict[str, Any], tasks: list[str]) -> tuple[Strength, ...]:
    best = state.epochs[state.best_epoch] if state.epochs else {}
    virtual = [Strength("virtual behavior", None, best["strength"])] if "strength" in best else []
    machine = [
        Strength(part, task, value)
        for task, parts in zip(tasks, kept.get("fm", ()), strict=False)
        for part, value in parts.items()
    ]
    return (*virtual, *machine)
