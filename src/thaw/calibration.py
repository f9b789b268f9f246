"""How far virtual behavior departs from the mean: as far as it foretells users not learned from."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from thaw.data import Dataset
from thaw.loader import Loader, LoaderOptions
from thaw.model import Model, is_apart
from thaw.nn.zero_shot import ZeroShotTower
from thaw.predicting import embedded

MOST_USERS = 5_000


@torch.no_grad()
def calibrate(model: Model, dataset: Dataset) -> float:
    """Calibrate a model's tower by old users that it did not learn from, as their last rows are.

    Where there are fewer than two, the tower stays as it is. Its strength is returned.
    """
    tower, train = model.tower, dataset.splits["train"]
    assert isinstance(tower, ZeroShotTower)
    old = train.last_rows[~dataset.is_new("train")[train.last_rows]]
    apart = some_rows(old[is_apart(torch.from_numpy(train.user[old])).numpy()])
    if len(apart) >= 2:
        tower.forget_calibration()
        loader = Loader(dataset, "train", LoaderOptions(max_events=model.max_events))
        virtual = torch.cat([*padded_behavior(model, loader, apart, is_new=True)])
        seen = padded_behavior(model, loader, apart, is_new=False)
        real = torch.cat([part.sum(1) for part in seen])
        some = some_rows(old)
        parts = (part.sum(0) for part in padded_behavior(model, loader, some, is_new=False))
        tower.calibrate(virtual, real, sum(parts, virtual.new_zeros(())) / len(some))
    return tower.strength.item()


def filled_places(dataset: Dataset, max_events: int) -> Tensor:
    """[n_v], the share of old users who have an event so many events ago, as last rows show them.

    All ones where there is no old user.
    """
    train = dataset.splits["train"]
    old = train.last_rows[~dataset.is_new("train")[train.last_rows]]
    if len(old) == 0:
        return torch.ones(max_events)
    lengths = np.minimum(train.pointer[old], max_events)
    longer = len(old) - np.bincount(lengths, minlength=max_events + 1).cumsum()
    return torch.from_numpy(longer[:max_events] / len(old)).float()


def some_rows(rows: np.ndarray) -> np.ndarray:
    """Return the rows, or MOST_USERS drawn from them, the same in every call."""
    if len(rows) <= MOST_USERS:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MOST_USERS, replace=False))


def padded_behavior(
    model: Model, loader: Loader, rows: np.ndarray, *, is_new: bool
) -> Iterator[Tensor]:
    """Yield the users' real behavior, or as of new ones the virtual, in batches of rows.

    Each is [rows, n_v, d] events, the newest first and zeros behind the oldest.
    """
    for inputs in embedded(model, loader, rows, is_new=is_new):
        seen = model.filled(inputs) if is_new else inputs
        yield seen.behavior.pad(model.max_events, newest_first=True)[0]
