"""Fits the factorization machine beside a trained ranker, and how far it is believed."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from thaw.batch import Batch
from thaw.believing import Belief, believe
from thaw.calibration import some_rows
from thaw.data import Dataset
from thaw.loader import Loader, LoaderOptions
from thaw.model import Model, is_apart
from thaw.nn.factorization_machine import EDGE, FactorizationMachine
from thaw.optim import RowAdam
from thaw.options import Training
from thaw.progress import Progress

BATCH = 4096
HALVINGS, WIDEST = 60, 30.0


def fit_machine(
    model: Model, dataset: Dataset, options: Training, progress: Progress
) -> list[dict[str, float]]:
    """Fit a model's factorization machine to training rows; return each task's strengths.

    Every tenth user is kept from them, as from MAIL's tower. These users' rows say after each epoch
    how far its parts are to be believed, and which epoch is best. The ranker stays as it is.
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
        return []
    some = some_rows(loader.impressions.last_rows)
    machine.bias.data.copy_(_log_odds(loader.impressions.labels[learned], machine))
    adams = (
        RowAdam(machine.embeddings.table, learning_rate=options.learning_rate),
        torch.optim.Adam([machine.bias], options.learning_rate),
    )
    best, best_epoch, kept, believed = math.inf, 0, {}, []
    for epoch in range(options.max_epochs):
        for batch in _shuffled(loader, learned, epoch):
            _step(machine, batch, *adams)
        with torch.no_grad():
            machine.center(_as_new(loader, some))
            beliefs = _beliefs(machine, loader, asked)
        loss = float(np.mean([each.log_loss for each in beliefs]))
        if loss < best:
            best, best_epoch, believed = loss, epoch, beliefs
            kept = {name: value.clone() for name, value in machine.state_dict().items()}
        if epoch - best_epoch >= options.patience:
            break
    machine.load_state_dict(kept)
    machine.strength.copy_(torch.tensor(np.stack([each.strengths[1:] for each in believed])))
    with torch.inference_mode():
        machine.shift.copy_(_shift(model, loader, asked))
    told = []
    for task, (level, order) in zip(dataset.schema.tasks, machine.strength.tolist(), strict=True):
        progress.tell(
            f"factorization machine of epoch {best_epoch + 1}, {task.name}: strength {level:.2f} "
            f"of users' level, {order:.2f} of their order of items"
        )
        told.append({"level": level, "order": order})
    return told


def _rows_of_some(loader: Loader, rows: np.ndarray) -> np.ndarray:
    """The rows of so many users at most, the same in every call."""
    user = loader.impressions.user
    some = user[some_rows(rows[np.diff(user[rows], prepend=-1) != 0])]
    return rows[np.isin(user[rows], some)]


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
    """[tasks], of a label 1 in training."""
    ones = torch.from_numpy(np.asarray(labels, np.float64))
    counted = machine.counted(ones).sum(0)
    share: Tensor = (ones.sum(0) + 0.5) / (counted + 1)
    return torch.logit(share).float()


def _step(
    machine: FactorizationMachine, batch: Batch, table: RowAdam, bias: torch.optim.Adam
) -> None:
    rows = machine.embeddings.look_up(batch, needs_gradient=True)
    weight = machine.counted(batch.labels)
    losses = F.binary_cross_entropy_with_logits(
        machine(batch, rows), batch.labels, weight, reduction="none"
    )
    bias.zero_grad()
    (losses.sum(0) / weight.sum(0).clamp(min=1)).sum().backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None
    table.step(batch.rows, rows.grad)
    bias.step()


def _beliefs(machine: FactorizationMachine, loader: Loader, asked: np.ndarray) -> list[Belief]:
    """How far the parts foretell the labels of users whom they were not fitted to, by task."""
    found = [machine.parts(batch) for batch in _in_turn(loader, asked)]
    parts = torch.stack([torch.cat(each) for each in zip(*found, strict=True)], dim=2).numpy()
    user = loader.impressions.user[asked]
    labels = torch.from_numpy(np.asarray(loader.impressions.labels[asked], np.float32))
    counted = machine.counted(labels).numpy() == 1
    return [
        believe(labels.numpy()[rows, task], parts[rows, task], user[rows])
        for task, rows in enumerate(counted.T)
    ]


def _shift(model: Model, loader: Loader, asked: np.ndarray) -> Tensor:
    """[tasks], what the log-odds have to lose so that as many labels are foretold as without."""
    machine = model.fm
    assert machine is not None
    before, added = [], []
    for batch in _in_turn(loader, asked):
        before.append(machine.conditional(model.ranked(batch)))
        added.append(machine.added(batch))
    probabilities = torch.cat(before).double()
    logits = torch.logit(probabilities, EDGE) + torch.cat(added)
    high = torch.full_like(logits[0], WIDEST)
    low = -high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_much = torch.sigmoid(logits + middle).mean(0) > probabilities.mean(0)
        low, high = torch.where(is_much, low, middle), torch.where(is_much, middle, high)
    return middle
