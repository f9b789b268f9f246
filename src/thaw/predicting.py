"""Probabilities for a split, with what metrics need beside them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from thaw.data import Dataset
from thaw.errors import TrainingError
from thaw.loader import Loader, LoaderOptions
from thaw.metrics import auc
from thaw.model import Model
from thaw.nn.inputs import Inputs


@dataclass(frozen=True)
class Predictions:
    """A model's answers for one split, row by row.

    Attributes:
        user: [N] user numbers.
        is_new: [N] bool, whether the row's user is new (Eq. 9): has no visible behavior. It follows
            from the dataset's rule, whatever the model was shown.
        labels: [N, tasks] int8.
        probabilities: [N, tasks] float32.
        counted: [N, tasks] bool, the rows that each task is measured on; None means all.
    """

    user: np.ndarray
    is_new: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    counted: np.ndarray | None = None


def embedded(model: Model, loader: Loader, rows: np.ndarray, *, is_new: bool) -> Iterator[Inputs]:
    """Yield some rows as a model embeds them, all as old or all as new, in batches."""
    model.eval()
    device = model.embeddings.table.device
    for low in range(0, len(rows), loader.options.batch_size):
        shown = loader.rows(rows[low : low + loader.options.batch_size])
        shown = replace(shown, hidden=np.full(len(shown.user), is_new))
        batch = loader.assembler.batch(shown).to(device)
        yield model.embed(batch, model.embeddings.look_up(batch))


def predict(
    model: Model,
    dataset: Dataset,
    split: str,
    *,
    hides_behavior: bool = True,
    shown_events: int | None = None,
    batch_size: int = 4096,
) -> Predictions:
    """Return a model's predictions for a split.

    Args:
        model: a trained model; it is set to evaluation.
        dataset: the prepared dataset.
        split: 'train', 'validation' or 'test'.
        hides_behavior: False shows new users' real behavior: the ceiling.
        shown_events: shows everyone as if they had come with their last so many events alone.
        batch_size: rows at a time.
    """
    options = LoaderOptions(
        batch_size=batch_size,
        max_events=model.max_events,
        hides_behavior=hides_behavior,
        shown_events=shown_events,
    )
    loader = Loader(dataset, split, options)
    device = model.embeddings.table.device
    model.eval()
    with torch.inference_mode():
        parts = [model(batch.to(device)).float().cpu().numpy() for batch in loader.epoch()]
    table = dataset.splits[split]
    return Predictions(
        user=np.asarray(table.user),
        is_new=dataset.is_new(split),
        labels=np.asarray(table.labels),
        probabilities=np.concatenate(parts),
    )


def mean_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean over tasks of the AUC, without tasks whose labels are all the same; NaN for none.

    Args:
        labels: [N, tasks].
        scores: [N, tasks].
    """
    each = [auc(*pair) for pair in zip(labels.T, scores.T, strict=True)]
    known = [value for value in each if not np.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def device_of(name: str) -> torch.device:
    """Return the device of a name; 'auto' is a GPU where there is one.

    Raises:
        TrainingError: when a GPU is asked for and there is none that PyTorch can use.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError(f"device (={name!r}): no GPU here that PyTorch can use; take 'cpu'")
    return torch.device(name)
