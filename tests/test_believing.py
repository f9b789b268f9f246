"""Parts of log-odds are believed as far as they foretell labels; users are what is independent."""

import numpy as np
import pytest
from scipy.special import expit

from thaw.believing import Belief, believe


def drawn(users=400, rows=20, slopes=(0.5, -0.3), seed=0):
    """Labels that follow two parts by slopes, and whose rows they are."""
    random = np.random.default_rng(seed)
    parts = random.normal(size=(users * rows, 2))
    labels = random.random(len(parts)) < expit(parts @ slopes - 1)
    return labels.astype(float), parts, np.repeat(np.arange(users), rows)


def test_slopes_are_those_that_labels_follow():
    labels, parts, users = drawn()
    found = believe(labels, parts, users)
    assert found.slopes == pytest.approx([0.5, -0.3], abs=4 * found.errors.max())
    assert found.errors == pytest.approx([0.026, 0.026], abs=0.004)  # 1 / sqrt(N p (1 - p))


def test_no_other_slopes_have_a_lower_log_loss():
    labels, parts, users = drawn()
    found = believe(labels, parts, users)

    def log_loss(slopes, constant):
        logits = parts @ slopes + constant
        return (np.logaddexp(0, logits) - labels * logits).mean()

    constants = np.linspace(-1.5, -0.5, 1001)
    assert found.log_loss == pytest.approx(
        min(log_loss(found.slopes, c) for c in constants), abs=1e-6
    )
    for change in ([0.02, 0], [-0.02, 0], [0, 0.02], [0, -0.02]):
        assert min(log_loss(found.slopes + change, c) for c in constants) > found.log_loss


def test_rows_of_one_user_are_no_evidence_of_their_own():
    """Each user's row ten times over says as little as once."""
    labels, parts, users = drawn(rows=1)
    once = believe(labels, parts, users)
    often = believe(np.repeat(labels, 10), np.repeat(parts, 10, axis=0), np.repeat(users, 10))
    assert often.slopes == pytest.approx(once.slopes, abs=1e-5)
    assert often.errors == pytest.approx(once.errors, rel=1e-3)


def test_labels_that_are_all_the_same_teach_nothing():
    _, parts, users = drawn(users=5)
    for labels in (np.zeros(len(users)), np.ones(len(users))):
        found = believe(labels, parts, users)
        assert found.slopes.tolist() == [0, 0]
        assert found.strengths.tolist() == [0, 0]
    none = believe(np.zeros(0), np.zeros((0, 2)), np.zeros(0, int))
    assert none.strengths.tolist() == [0, 0]


def test_a_part_that_never_varies_is_not_believed():
    labels, parts, users = drawn()
    parts[:, 1] = 0
    found = believe(labels, parts, users)
    assert found.slopes == pytest.approx([0.5, 0], abs=0.1)
    assert found.strengths[1] == 0


@pytest.mark.parametrize(
    ("slope", "error", "strength"),
    [
        (0.5, 0.1, 0.48),  # 0.5 - 0.1² / 0.5
        (1.3, 0.1, 1.0),
        (0.19, 0.1, 0.0),
        (0.2, 0.1, 0.15),
        (-0.5, 0.1, 0.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_strengths_are_slopes_shrunk_by_their_noise(slope, error, strength):
    belief = Belief(np.array([slope]), np.array([error]), 0.5)
    assert belief.strengths == pytest.approx([strength])
