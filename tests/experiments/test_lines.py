"""What the lines say of chosen predictions: which test counts, and when there is a gap."""

import numpy as np
import pytest

from thaw.experiments.comparison import CEILING, Line
from thaw.experiments.lines import Trained, lines
from thaw.predicting import Predictions
from thaw.statistics import over_both

USERS, ROWS = 80, 30


def trained(name: str, lifts: list[float], *, kind: str = "method", of_user: int = 0) -> Trained:
    """Runs whose scores are noise and, by a lift for each seed, the labels.

    Args:
        name: the line's name.
        lifts: what each seed knows of the labels.
        kind: what the line is.
        of_user: how many users alone are lifted; all of them for 0.
    """
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(USERS), ROWS)
    labels = rng.integers(0, 2, user.size)
    knows = user < (of_user or USERS)
    found = []
    for lift in lifts:
        score = rng.normal(size=user.size) + lift * labels * knows
        probabilities = 1 / (1 + np.exp(-score[:, None]))
        everyone = np.ones(user.size, bool)
        found.append(Predictions(user, everyone, labels[:, None], probabilities))
    base = None if name == "base" else "base"
    return Trained(name, base, kind, tuple(found), ())


def compared(*others: Trained, base: list[float]) -> list[Line]:
    return list(lines([trained("base", base), *others], ["click"]))


def test_significant_is_what_shows_over_seeds_and_over_users() -> None:
    strong = trained("strong", [0.5, 0.52, 0.48])
    figure = compared(strong, base=[0.1, 0.11, 0.09])[1].cell("click", "new").auc
    assert figure.over_seeds is not None
    assert figure.over_users is not None
    assert figure.test is not None
    both = over_both(figure.over_seeds, figure.over_users)
    assert figure.test.p_value == max(figure.over_seeds.p_value, both.p_value)
    assert figure.direction == 1


def test_a_lift_of_one_user_is_not_significant_however_equal_the_seeds() -> None:
    lucky = trained("lucky", [9.0, 9.01, 8.99], of_user=1)
    figure = compared(lucky, base=[0.0, 0.0, 0.0])[1].cell("click", "new").gauc
    assert figure.over_users is not None
    assert figure.over_users.p_value > 0.05
    assert figure.direction == 0


def test_a_lift_of_one_seed_is_not_significant_however_many_users() -> None:
    uneven = trained("uneven", [2.0, 0.1, 0.1])
    figure = compared(uneven, base=[0.1, 0.1, 0.1])[1].cell("click", "new").auc
    assert figure.over_users is not None
    assert figure.over_users.p_value < 0.05
    assert figure.direction == 0


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_gap_closed_has_an_interval(seeds: int) -> None:
    ceiling = trained("ceiling", [0.9, 0.92, 0.88][:seeds], kind=CEILING)
    method = trained("method", [0.5, 0.52, 0.48][:seeds])
    found = compared(method, ceiling, base=[0.1, 0.11, 0.09][:seeds])
    closed = found[1].cell("click", "new").auc.gap_closed
    assert closed.low < closed.mean < closed.high
    means = [line.cell("click", "new").auc.interval.mean for line in found]
    assert closed.mean == pytest.approx((means[1] - means[0]) / (means[2] - means[0]))


def test_without_a_significant_gap_nothing_is_divided() -> None:
    ceiling = trained("ceiling", [0.9, 0.1, -0.3], kind=CEILING)
    found = compared(trained("method", [0.5, 0.52, 0.48]), ceiling, base=[0.1, 0.11, 0.09])
    assert np.isnan(found[1].cell("click", "new").auc.gap_closed.mean)
