"""Fits the factorization machine beside a trained ranker, and how far it is believed."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import expit, logit
from torch import Tensor
from torch.nn import functional as F

from thaw.batch import Batch
from thaw.believing import Belief, believe
from thaw.calibration import some_rows
from thaw.data import Dataset
from thaw.errors import TrainingError
from thaw.loader import Loader, LoaderOptions
from thaw.model import Model, is_apart
from thaw.nn.factorization_machine import EDGE, FactorizationMachine
from thaw.optim import RowAdam
from thaw.options import Training
from thaw.progress import Progress

# Of its own: a run that is resumed for longer keeps the machine that it has.
MOST_EPOCHS, PATIENCE = 50, 3
BATCH = 4096
MOST_ROWS = 100
"""Of a user who is asked, the last ones."""
HALVINGS, WIDEST = 60, 30.0
PRECISION = 20.0
"""Of the normal prior of each coordinate of an embedding: its deviation is 0.22."""


def fit_machine(
    model: Model, dataset: Dataset, options: Training, progress: Progress
) -> list[dict[str, float]]:
    """Fit a model's factorization machine to training rows; return each task's strengths.

    Every tenth user is kept from it, as from MAIL's tower. These users' rows say after each epoch
    how far its parts are to be believed, and which epoch is best. The ranker stays as it is.

    Raises:
        TrainingError: when its losses are no numbers.
    """
    machine = model.fm
    assert machine is not None
    model.eval()
    loader = Loader(dataset, "train", LoaderOptions(
        batch_size=options.batch_size,
        max_events=model.max_events,
        is_training=True,
        unknown_share=options.unknown_share,
        seed=options.seed,
    ))  # fmt: skip
    apart = is_apart(torch.from_numpy(np.array(loader.impressions.user))).numpy()
    learned, asked = np.flatnonzero(~apart), _rows_of_some(loader, np.flatnonzero(apart))
    if len(learned) == 0 or len(asked) == 0:
        progress.tell("factorization machine: too few users to say how far it is to be believed")
        return []
    epoch, beliefs = _fit(machine, loader, learned, asked, options.learning_rate, progress)
    machine.strength.copy_(torch.tensor(np.stack([each.strengths[1:] for each in beliefs])))
    if machine.strength.any():
        _calibrate(model, loader, asked, beliefs)
    told = []
    for task, (level, order) in zip(dataset.schema.tasks, machine.strength.tolist(), strict=True):
        progress.tell(
            f"factorization machine of epoch {epoch + 1}, {task.name}: strength {level:.2f} "
            f"of users' level, {order:.2f} of their order of items"
        )
        told.append({"level": level, "order": order})
    return told


def _fit(
    machine: FactorizationMachine,
    loader: Loader,
    learned: np.ndarray,
    asked: np.ndarray,
    learning_rate: float,
    progress: Progress,
) -> tuple[int, list[Belief]]:
    """Fit a machine to some rows; keep the epoch that others choose, and return what they say."""
    some = some_rows(loader.impressions.last_rows)
    counts = _counts(machine, loader, learned)
    machine.bias.data.copy_(_log_odds(loader.impressions.labels[learned], machine))
    adams = (
        RowAdam(machine.embeddings.table, learning_rate=learning_rate),
        torch.optim.Adam([machine.bias], learning_rate),
    )
    best, best_epoch = math.inf, -1
    kept = {name: value.clone() for name, value in machine.state_dict().items()}
    beliefs: list[Belief] = []
    for epoch in range(MOST_EPOCHS):
        for batch in _shuffled(loader, learned, epoch):
            _step(machine, batch, counts, *adams)
        with torch.no_grad():
            machine.center(_as_new(loader, some))
            found = _beliefs(machine, loader, asked)
        loss = float(np.mean([each.log_loss for each in found]))
        if loss < best:
            best, best_epoch, beliefs = loss, epoch, found
            for name, value in machine.state_dict().items():
                kept[name].copy_(value)
        told = "  (best so far)" if epoch == best_epoch else ""
        progress.tell(f"factorization machine: epoch {epoch + 1}  log loss {loss:.4f}{told}")
        if epoch - best_epoch >= PATIENCE:
            break
    if not beliefs:
        raise TrainingError(
            f"the factorization machine's log loss is {loss} after its first epochs; lower the "
            "learning rate"
        )
    machine.load_state_dict(kept)
    return best_epoch, beliefs


def _rows_of_some(loader: Loader, rows: np.ndarray) -> np.ndarray:
    """The last rows of so many users at most, the same in every call."""
    user = loader.impressions.user
    some = user[some_rows(rows[np.diff(user[rows], prepend=-1) != 0])]
    rows = rows[np.isin(user[rows], some)]
    ends = np.flatnonzero(np.diff(user[rows], append=-1))
    from_end = np.repeat(ends, np.diff(ends, prepend=-1)) - np.arange(len(rows))
    return rows[from_end < MOST_ROWS]


def _as_new(loader: Loader, chosen: np.ndarray, random: np.random.Generator | None = None) -> Batch:
    """A batch of rows, their users shown as new ones."""
    rows = replace(loader.rows(chosen), hidden=np.ones(len(chosen), bool))
    return loader.assembler.batch(rows, random)


def _shuffled(loader: Loader, rows: np.ndarray, epoch: int) -> Iterator[Batch]:
    random = np.random.default_rng((loader.options.seed, epoch))
    order = random.permutation(rows)
    for part in np.array_split(order, math.ceil(len(order) / loader.options.batch_size)):
        yield _as_new(loader, part, random)


def _in_turn(loader: Loader, rows: np.ndarray) -> Iterator[Batch]:
    for low in range(0, len(rows), BATCH):
        yield _as_new(loader, rows[low : low + BATCH])


def _log_odds(labels: np.ndarray, machine: FactorizationMachine) -> Tensor:
    """[tasks], of a label 1 in rows [N, tasks]."""
    ones = labels.sum(0, dtype=np.int64)
    return torch.from_numpy(logit((ones + 0.5) / (_numbers(labels, machine) + 1))).float()


def _numbers(labels: np.ndarray, machine: FactorizationMachine) -> np.ndarray:
    """[tasks], of how many rows [N, tasks] each task learns."""
    ones = labels.sum(0, dtype=np.int64)
    return np.array([len(labels) if given is None else ones[given] for given in machine.given])


class Counts(NamedTuple):
    """What the sum over an epoch's steps is made of.

    Attributes:
        row: [tasks], what a row's loss counts in a step: over an epoch, their mean.
        steps: [R], how many steps of an epoch touch an embedding, about.
    """

    row: Tensor
    steps: Tensor


def _counts(machine: FactorizationMachine, loader: Loader, rows: np.ndarray) -> Counts:
    steps = torch.zeros(len(machine.embeddings.table))
    batches = 0
    for batch in _shuffled(loader, rows, epoch=0):
        steps[batch.rows] += 1
        batches += 1
    numbers = torch.from_numpy(_numbers(loader.impressions.labels[rows], machine)).clamp(min=1)
    return Counts(batches / numbers, steps.clamp(min=1))


def _step(
    machine: FactorizationMachine,
    batch: Batch,
    counts: Counts,
    table: RowAdam,
    bias: torch.optim.Adam,
) -> None:
    """Step towards the mode of the posterior.

    An epoch has each row's loss once, and each embedding's prior, spread over the steps that touch
    it: what few rows touch stays near 0.
    """
    rows = machine.embeddings.look_up(batch, needs_gradient=True)
    losses = F.binary_cross_entropy_with_logits(
        machine(batch, rows), batch.labels, machine.counted(batch.labels), reduction="none"
    )
    squares = machine.squares(rows) / counts.steps.index_select(0, batch.rows).unsqueeze(1)
    loss = (counts.row * (losses.sum(0) + PRECISION / 2 * squares.sum(0))).sum()
    bias.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None
    table.step(batch.rows, rows.grad)
    bias.step()


def _beliefs(machine: FactorizationMachine, loader: Loader, asked: np.ndarray) -> list[Belief]:
    """How far the parts foretell the labels of users whom they were not fitted to, by task."""
    parts = np.concatenate([_parts(machine, batch) for batch in _in_turn(loader, asked)])
    labels, user = loader.impressions.labels[asked], loader.impressions.user[asked]
    return [
        believe(labels[rows, task], parts[rows, task], user[rows])
        for task, rows in enumerate(_counted(machine, labels))
    ]


def _parts(machine: FactorizationMachine, batch: Batch) -> np.ndarray:
    """[B, tasks, 3], the rest, the level and the order."""
    return torch.stack([*machine.parts(batch)], dim=2).numpy()


def _counted(machine: FactorizationMachine, labels: np.ndarray) -> Iterator[np.ndarray]:
    """Yield which rows [N] bool each task is measured on."""
    for given in machine.given:
        yield np.ones(len(labels), bool) if given is None else labels[:, given] == 1


@torch.inference_mode()
def _calibrate(model: Model, loader: Loader, asked: np.ndarray, beliefs: list[Belief]) -> None:
    """Let new users' log-odds be as sure as the ranker's are, and foretell as many labels.

    What the ranker makes of attributes itself stands twice in the sum, which spreads too far. How
    sure log-odds are, their slope, is asked against what the machine foretells of users whom it did
    not learn from: their labels the ranker knows.
    """
    machine = model.fm
    assert machine is not None
    found, sums, parts = [], [], []
    for batch in _in_turn(loader, asked):
        before = model.ranked(batch)
        logits = torch.logit(machine.conditional(before), EDGE)
        found.append(np.stack([before.double(), logits.double()]))
        sums.append((logits + machine.added(batch)).double().numpy())
        parts.append(_parts(machine, batch))
    (before, alone), both = np.concatenate(found, axis=1), np.concatenate(sums)
    said, labels = np.concatenate(parts), loader.impressions.labels[asked]
    user = loader.impressions.user[asked]
    after = np.ones_like(before)
    for task, rows in enumerate(_counted(machine, labels)):
        foretold = expit(said[rows, task] @ beliefs[task].slopes[:-1] + beliefs[task].slopes[-1])
        own, other = (
            believe(foretold, each[rows, task, None], user[rows]).slopes[0]
            for each in (alone, both)
        )
        scale = min(1.0, other / own) if own > 0 and other > 0 else 1.0
        given = machine.given[task]
        weight = 1.0 if given is None else after[:, given]
        shift = _shift(scale * both[:, task], weight, before[:, task].mean())
        after[:, task] = weight * expit(scale * both[:, task] + shift)
        machine.scale[task], machine.shift[task] = scale, shift


def _shift(logits: np.ndarray, weight: np.ndarray | float, mean: float) -> float:
    """What to add to log-odds for their probabilities, weighted, to have a mean; by halving."""
    low, high = -WIDEST, WIDEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_much = (weight * expit(logits + middle)).mean() > mean
        low, high = (low, middle) if is_much else (middle, high)
    return middle
