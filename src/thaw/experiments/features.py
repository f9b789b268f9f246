"""What a model makes of users: hidden features, virtual behavior, and the real beside it."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from thaw.batch import Batch
from thaw.data import Dataset
from thaw.errors import MethodError
from thaw.loader import Loader, LoaderOptions
from thaw.methods import Method
from thaw.model import Model
from thaw.nn.zero_shot import ZeroShotTower

Pooling = Literal["sum", "mean"]

_USERS = 1024  # at a time


def check_tower(what: Method) -> None:
    """Refuse a method whose models have no zero-shot tower, before they are trained.

    Raises:
        MethodError: for one.
    """
    mail = what.mail
    if mail is None or mail.trained_by == "none" or mail.attribute_side == "all":
        raise MethodError(
            f"{what.name} has no zero-shot tower that works on user attributes alone; take "
            "mail-base, or another of the mail- methods"
        )


@dataclass(frozen=True)
class Features:
    """A model's view of U users.

    Attributes:
        is_new: [U] bool, whether the user has no visible behavior (Eq. 9).
        hidden: [U, d_h], the attribute-side hidden features p.
        virtual: [U, d], behavior generated from the attributes, summed over its events.
        virtual_lengths: [U], how many events that are.
        real: [U, d], real behavior, hidden or not, summed over its events; 0 without any.
        real_lengths: [U], how many events that are.
    """

    is_new: np.ndarray
    hidden: np.ndarray
    virtual: np.ndarray
    virtual_lengths: np.ndarray
    real: np.ndarray
    real_lengths: np.ndarray

    def part(self, users: np.ndarray) -> "Features":
        """The features of some of the users, by [U] bool."""
        return replace(self, **{name: value[users] for name, value in vars(self).items()})

    def generated(self, pooling: Pooling) -> np.ndarray:
        """[U, d] virtual behavior, the sum or the mean over its events."""
        lengths = self.virtual_lengths
        return self.virtual if pooling == "sum" else self.virtual / lengths[:, None]

    def observed(self, pooling: Pooling) -> np.ndarray:
        """[U, d] real behavior, the sum or the mean over its events."""
        lengths = self.real_lengths
        return self.real if pooling == "sum" else self.real / lengths[:, None]


def sampled_rows(dataset: Dataset, most: int, seed: int, *, with_behavior: bool) -> np.ndarray:
    """[R] each sampled user's last test row: at most so many old users, and so many new ones.

    Args:
        dataset: the prepared dataset.
        most: how many of each.
        seed: of the sample.
        with_behavior: only users with behavior before that row, hidden or not.
    """
    table = dataset.splits["test"]
    last = table.last_rows
    if with_behavior:
        last = last[np.asarray(table.pointer)[last] > 0]
    is_new, random = dataset.is_new("test")[last], np.random.default_rng(seed)
    parts = [last[is_new == flag] for flag in (False, True)]
    kept = [random.choice(part, min(most, len(part)), replace=False) for part in parts]
    return np.sort(np.concatenate(kept))


@torch.inference_mode()
def features(model: Model, dataset: Dataset, rows: np.ndarray) -> Features:
    """Return a model's view of the users of some test rows, row by row.

    Attributes are as the rule shows them; real behavior is what the row's user did before it, the
    last n_v events, whether the rule hides it or not.
    """
    assert isinstance(model.tower, ZeroShotTower)
    assert not model.sees_all
    loaders = [
        Loader(dataset, "test", LoaderOptions(max_events=model.max_events, hides_behavior=h))
        for h in (True, False)
    ]
    model.eval()
    parts = []
    for low in range(0, len(rows), _USERS):
        some = rows[low : low + _USERS]
        given, shown = (loader.batch(some, 0, 0) for loader in loaders)
        parts.append(_of_batch(model, model.tower, given, shown))
    joined = [torch.cat(each).cpu().double().numpy() for each in zip(*parts, strict=True)]
    return Features(dataset.is_new("test")[rows], *joined)


def _of_batch(model: Model, tower: ZeroShotTower, given: Batch, shown: Batch) -> tuple[Tensor, ...]:
    """The features of a batch's rows: `given` as the rule has it, `shown` with nothing hidden."""
    device = model.embeddings.table.device
    as_new, as_old = (
        model.embed(batch, model.embeddings.look_up(batch))
        for batch in (given.to(device), shown.to(device))
    )
    attributes = model.seen(as_new).index_select(0, as_new.behavior.user)
    hidden = tower.encode(attributes)
    events, repeats = tower.generate(attributes)
    virtual = (events * repeats.unsqueeze(2)).sum(1)
    behavior = as_old.behavior
    lengths = behavior.lengths.index_select(0, behavior.user)
    return hidden, virtual, repeats.sum(1), behavior.pool(), lengths
