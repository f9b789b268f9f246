"""How far the training losses of Figure 4 fall, and whether they still do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thaw.options import LOSSES
from thaw.run_facts import RunFacts

EARLY = 100
"""Steps after which the paper sees most of the fall done."""

LEVEL = 0.01
"""A change by less than this share is none."""


@dataclass(frozen=True)
class Fall:
    """One loss over a run, seed by seed.

    Attributes:
        name: as in LOSSES.
        first: the mean over the first steps, as many as are smoothed over.
        early: the mean over as many steps that end at step EARLY; NaN in a shorter run.
        last: the mean over the last of them.
        change: from the tenth of the steps before the last tenth to the last one, as a share.
    """

    name: str
    first: tuple[float, ...]
    early: tuple[float, ...]
    last: tuple[float, ...]
    change: tuple[float, ...]

    @property
    def falling(self) -> int:
        """On how many seeds it still falls."""
        return sum(change < -LEVEL for change in self.change)

    @property
    def rising(self) -> int:
        """On how many seeds it rises in the end."""
        return sum(change > LEVEL for change in self.change)


def falls(runs: Sequence[RunFacts], window: int) -> tuple[Fall, ...]:
    """Return each of the four losses' fall, smoothed over so many steps."""
    every = [run.losses.astype(np.float64) for run in runs]
    return tuple(
        Fall(
            name,
            first=tuple(float(losses[:window, k].mean()) for losses in every),
            early=tuple(_early(losses[:, k], window) for losses in every),
            last=tuple(float(losses[-window:, k].mean()) for losses in every),
            change=tuple(_change(losses[:, k]) for losses in every),
        )
        for k, name in enumerate(LOSSES)
    )


def _early(loss: np.ndarray, window: int) -> float:
    if len(loss) < EARLY:
        return float("nan")
    return float(loss[max(0, EARLY - window) : EARLY].mean())


def _change(loss: np.ndarray) -> float:
    """The last tenth of the steps against the one before it; NaN where that is 0."""
    tenth = max(1, len(loss) // 10)
    before, last = loss[-2 * tenth : -tenth], loss[-tenth:]
    level = before.mean() if len(before) else 0.0
    return float(last.mean() / level - 1) if level else float("nan")
