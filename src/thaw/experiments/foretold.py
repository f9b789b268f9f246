"""How well virtual behavior foretells the real: R² on users whose behavior the rule hides."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import linalg, sparse
from torch import Tensor

from thaw.calibration import padded_behavior, some_rows
from thaw.data import Dataset, Impressions
from thaw.experiments.one_hot import one_hot
from thaw.loader import Loader, LoaderOptions
from thaw.model import Model
from thaw.nn.id_generator import IdGenerator
from thaw.nn.lookalikes import LookalikeBehavior

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
"""Ridge's, of which held-out old users choose one."""


@dataclass(frozen=True)
class Foretold:
    """R² against the mean behavior: 1 is perfect, 0 no better than the mean, below it worse.

    Attributes:
        per_event: of the events one by one, padding as zeros: what the tower learns to make.
        pooled: of their sum, which a ranker with sum pooling sees.
        ridge_per_event: the same for a ridge regression from one-hot attributes.
        ridge_pooled: the same.
        users: how many users it was measured on.
    """

    per_event: float
    pooled: float
    ridge_per_event: float
    ridge_pooled: float
    users: int


def foretold(model: Model, dataset: Dataset) -> Foretold | None:
    """Compare the virtual behavior of test users with what the rule hid of theirs.

    A model's own embeddings are the space; each user counts once, with his last test row.

    Returns:
        None where nothing makes behavior, or the rule hides none.
    """
    test, train = dataset.splits["test"], dataset.splits["train"]
    if model.tower is None or isinstance(model.tower, IdGenerator | LookalikeBehavior):
        return None
    # Whose last row has no behavior before it had none before any.
    held_out = _some(test, (test.pointer > 0) & dataset.hidden[test.user])
    old = _some(train, ~dataset.is_new("train"))
    if len(held_out) < 2 or len(old) < 2:
        return None
    shown = LoaderOptions(hides_behavior=False, max_events=model.max_events)
    testing = Loader(dataset, "test", shown)
    virtual = _behavior(model, testing, held_out, is_virtual=True)
    real = _behavior(model, testing, held_out, is_virtual=False)
    learned = _behavior(model, Loader(dataset, "train", shown), old, is_virtual=False)
    attributes = _attributes(dataset)
    by_ridge = ridge(attributes[train.user[old]], learned, attributes[test.user[held_out]])
    return Foretold(
        per_event=r2(real, virtual),
        pooled=r2(_pooled(real), _pooled(virtual)),
        ridge_per_event=r2(real, by_ridge),
        ridge_pooled=r2(_pooled(real), _pooled(by_ridge)),
        users=len(held_out),
    )


def _some(table: Impressions, chosen: np.ndarray) -> np.ndarray:
    """The last rows of the users whose last row is chosen, of at most so many users."""
    return some_rows(table.last_rows[chosen[table.last_rows]])


@torch.no_grad()
def _behavior(model: Model, loader: Loader, rows: np.ndarray, *, is_virtual: bool) -> Tensor:
    """[N, n_v, d], the events of the rows' users, padded with zeros."""
    shown = padded_behavior(model, loader, rows, is_new=is_virtual)
    return torch.cat([events.cpu() for events in shown])


def _pooled(events: Tensor) -> Tensor:
    return events.sum(1)


def r2(real: Tensor, made: Tensor) -> float:
    """How much of the real values' spread around their mean the made ones explain."""
    error = (real - made).double().square().sum()
    spread = (real - real.mean(0)).double().square().sum()
    return float(1 - error / spread)


def _attributes(dataset: Dataset) -> sparse.csr_matrix:
    """[U, n], the users' attributes without the id: values as ones, numbers standardised."""
    users = dataset.users
    mean, deviation = dataset.moments.users.T
    numbers = np.nan_to_num((np.asarray(users.dense) - mean) / deviation)
    ids = one_hot(users, first=int(dataset.schema.users.id_attribute))
    return sparse.hstack([ids, numbers], format="csr")


def ridge(x: sparse.csr_matrix, y: Tensor, asked: sparse.csr_matrix) -> Tensor:
    """Predict events [N, n_v, d] for some users from others'; every tenth chooses the strength."""
    flat = y.flatten(1).double().numpy()
    is_apart = np.arange(len(flat)) % 10 == 9
    errors = []
    for strength in STRENGTHS:
        found = _solved(x[~is_apart], flat[~is_apart], x[is_apart], strength)
        errors.append(np.square(found - flat[is_apart]).sum())
    found = _solved(x, flat, asked, STRENGTHS[int(np.argmin(errors))])
    return torch.from_numpy(found).to(y.dtype).view(-1, *y.shape[1:])


def _solved(
    x: sparse.csr_matrix, y: np.ndarray, asked: sparse.csr_matrix, strength: float
) -> np.ndarray:
    mean = y.mean(0)
    square = (x.T @ x).toarray() + strength * np.eye(x.shape[1])
    weights = linalg.solve(square.astype(np.float64), x.T @ (y - mean), assume_a="pos")
    return np.asarray(asked @ weights + mean)
