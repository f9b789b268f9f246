"""Parts of log-odds are believed as far as they foretell labels; users are what is independent."""

import numpy as np
import pytest
from scipy.special import expit

from thaw.believing import believe, believed


def drawn(users=400, rows=20, slopes=(0.5, -0.3), seed=0):
    """Labels that follow two parts by slopes, and whose rows they are."""
    random = np.random.default_rng(seed)
    parts = random.normal(size=(users * rows, 2))
    labels = random.random(len(parts)) < expit(parts @ slopes - 1)
    return labels.astype(float), parts, np.repeat(np.arange(users), rows)


def test_slopes_are_those_that_labels_follow():
    labels, parts, users = drawn()
    found = believe(labels, parts, users)
    assert found.slopes[:2] == pytest.approx([0.5, -0.3], abs=0.1)
    assert found.errors[:2] == pytest.approx([0.026, 0.026], abs=0.004)  # 1 / sqrt(N p (1 - p))


def test_no_other_slopes_have_a_lower_log_loss():
    labels, parts, users = drawn()
    found = believe(labels, parts, users)

    def log_loss(slopes, constant):
        logits = parts @ slopes + constant
        return (np.logaddexp(0, logits) - labels * logits).mean()

    constants = np.linspace(-1.5, -0.5, 1001)
    assert found.log_loss == pytest.approx(
        min(log_loss(found.slopes[:2], c) for c in constants), abs=1e-6
    )
    for change in ([0.02, 0], [-0.02, 0], [0, 0.02], [0, -0.02]):
        assert min(log_loss(found.slopes[:2] + change, c) for c in constants) > found.log_loss


def test_rows_of_one_user_are_no_evidence_of_their_own():
    """Each user's row ten times over says as little as once."""
    labels, parts, users = drawn(rows=1)
    once = believe(labels, parts, users)
    often = believe(np.repeat(labels, 10), np.repeat(parts, 10, axis=0), np.repeat(users, 10))
    assert often.slopes == pytest.approx(once.slopes, abs=1e-5)
    assert often.errors == pytest.approx(once.errors, rel=1e-3)


@pytest.mark.parametrize("count", [3, 6, 20])
def test_of_few_users_chance_is_seldom_believed(count):
    """Users differ in how often they click, and in a part that has nothing to do with it."""
    found = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        users = np.repeat(np.arange(count), random.integers(5, 60, count))
        own, part = random.normal(size=(2, count))[:, users]
        labels = (random.random(len(users)) < expit(own / 2 - 1)).astype(float)
        found.append(strengths(believe(labels, part[:, None], users))[0] > 0)
    assert sum(found) <= 14  # of 200, where 5 are expected


def test_labels_that_nothing_limits_are_not_believed():
    parts = np.linspace(-1, 1, 100)
    found = believe((parts > 0).astype(float), parts[:, None], np.arange(100))
    assert strengths(found).tolist() == [0]


def test_labels_that_are_all_the_same_teach_nothing():
    _, parts, users = drawn(users=5)
    for labels in (np.zeros(len(users)), np.ones(len(users))):
        found = believe(labels, parts, users)
        assert found.slopes.tolist() == [0, 0, 0]
        assert strengths(found).tolist() == [0, 0]
    none = believe(np.zeros(0), np.zeros((0, 2)), np.zeros(0, int))
    assert strengths(none).tolist() == [0, 0]


def test_a_part_that_never_varies_is_not_believed():
    labels, parts, users = drawn()
    parts[:, 1] = 0
    found = believe(labels, parts, users)
    assert found.slopes[:2] == pytest.approx([0.5, 0], abs=0.1)
    assert strengths(found)[0] > 0.4
    assert strengths(found)[1] == 0


@pytest.mark.parametrize(
    ("slope", "error", "freedom", "strength"),
    [
        (0.5, 0.1, 1000, 0.48),  # 0.5 - 0.1² / 0.5
        (1.3, 0.1, 1000, 1.0),
        (0.19, 0.1, 1000, 0.0),
        (0.2, 0.1, 1000, 0.15),
        (0.2, 0.1, 9, 0.0),  # Student's t of 9 degrees of freedom is 2.26
        (0.3, 0.0, 2, 0.3),
        (0.5, 0.01, 0, 0.0),
        (-0.5, 0.1, 1000, 0.0),
        (0.0, 0.0, 1000, 0.0),
    ],
)
def test_slopes_are_believed_as_far_as_they_are_above_their_noise(slope, error, freedom, strength):
    found = believed(np.array([slope]), np.array([error]), freedom)
    assert found == pytest.approx([strength])


def strengths(belief):
    return belief.strengths
