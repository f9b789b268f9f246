"""Below how many events users are ranked better with virtual events beside their own."""

from collections.abc import Sequence

import numpy as np
import torch

from thaw.data import Dataset
from thaw.errors import MethodError
from thaw.experiments.comparison import Line
from thaw.experiments.curves import COUNTS, SEGMENT, asked
from thaw.experiments.lines import compared
from thaw.model import is_apart
from thaw.recommender import Recommender


def choose_fill_below(
    recommender: Recommender, dataset: Dataset, counts: Sequence[int] = COUNTS
) -> int:
    """Return the `fill_below` of `Recommender.load` that validation chooses for a model.

    Old users' validation rows are ranked by their last 1, 2, 5, ... events alone, and by these
    with virtual events in the places that they leave empty, and with what a factorization machine
    says, of those users whom it did not learn from. It goes on while the latter is better in AUC,
    significantly so on resampled users, and not worse in GAUC. The model stays as it is.

    Args:
        recommender: a trained model.
        dataset: the dataset that it was trained on.
        counts: the numbers of events that are tried; 0 is none of them.

    Returns:
        One more than the last number of events at which it helps; 1, new users alone, where it
        never does.

    Raises:
        MethodError: when the model makes no events.
    """
    name, every = recommender.facts["method"]["name"], recommender.model.max_events
    if not recommender.model.can_fill:
        raise MethodError(
            f"fill_below: {name} makes no events and has no factorization machine; take mail-base"
        )
    tasks = tuple(task.name for task in dataset.schema.tasks)
    asks = ~dataset.is_new("validation")
    if recommender.model.fm is not None:
        asks &= is_apart(torch.from_numpy(np.array(dataset.splits["validation"].user))).numpy()
    rows = np.flatnonzero(asks)
    below = 1
    for count in sorted({*counts} - {0}):
        if len(rows) == 0 or count >= every:
            break
        own, filled = (
            asked(dataset, "validation", [recommender], rows, count, each) for each in (1, every)
        )
        if not _helps(compared(filled, own, tasks), tasks):
            break
        below = count + 1
    return below


def _helps(filled: Line, tasks: Sequence[str]) -> bool:
    """Whether it is better for some task, and worse for none."""
    cells = [filled.cell(task, SEGMENT) for task in tasks]
    worst = min(min(cell.auc.direction, cell.gauc.direction) for cell in cells)
    return worst >= 0 and any(cell.auc.direction > 0 for cell in cells)
