import math

import numpy as np
import pytest

from thaw.experiments.falls import falls
from thaw.run_facts import RunFacts


def run(losses: np.ndarray, seed: int = 0) -> RunFacts:
    return RunFacts(seed, 1, 0, 1.0, 1.0, losses.astype(np.float32), (0.5,))


def test_first_early_last_and_change_by_hand() -> None:
    steps = np.arange(1, 201.0)
    losses = np.stack([300 - steps, np.ones(200), steps, np.zeros(200)], axis=1)
    ranking, attributes, behavior, alignment = falls([run(losses)], window=2)
    assert ranking.first == (298.5,)  # the mean of 299 and 298
    assert ranking.early == (200.5,)  # steps 99 and 100: 201 and 200
    assert ranking.last == (100.5,)
    # The last tenth is 119 to 100, the one before it 139 to 120.
    assert ranking.change[0] == pytest.approx(109.5 / 129.5 - 1)
    assert (ranking.falling, ranking.rising) == (1, 0)
    assert (attributes.falling, attributes.rising) == (0, 0)
    assert (behavior.falling, behavior.rising) == (0, 1)
    assert math.isnan(alignment.change[0])


def test_seeds_stand_side_by_side_and_short_runs_have_no_early_value() -> None:
    found = falls([run(np.full((50, 4), 2.0)), run(np.full((50, 4), 3.0), 1)], window=5)[0]
    assert found.first == (2.0, 3.0)
    assert all(math.isnan(value) for value in found.early)
