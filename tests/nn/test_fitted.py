"""Behavior that is fitted to old users, against slow and obvious ways to the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize

from builders import SHAPE
from thaw.methods.fitted import LLAE, Mean, Nearest
from thaw.nn.fitted import low_rank_autoencoder

USERS, LENGTHS = 30, torch.arange(30) % 5 + 1
FITTED = [Mean(), Nearest(neighbours=3), LLAE(rank=2)]
fitted = pytest.mark.parametrize("what", FITTED, ids=["mean", "nearest", "llae"])


@pytest.fixture
def old():
    """Attributes and summed behavior of old users; behavior follows from the attributes."""
    draw = torch.Generator().manual_seed(0)
    attributes = torch.randn(USERS, 3, 4, generator=draw)
    follows = torch.randn(12, 4, generator=draw)
    noise = torch.randn(USERS, 4, generator=draw)
    return attributes, attributes.flatten(1) @ follows + 0.1 * noise, LENGTHS


@pytest.fixture
def new():
    return torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1))


def made(what, old, new, shape=SHAPE):
    """The sum of the virtual behavior of new users."""
    tower = what.tower(shape)
    tower.fit(*old)
    virtual, repeats = tower.generate(new)
    return (virtual * repeats.unsqueeze(2)).sum(1)


def test_the_mean_is_that_of_all_old_users(old, new):
    expected = np.mean([row.numpy() for row in old[1]], axis=0)
    for row in made(Mean(), old, new):
        np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_nearest_is_the_mean_over_the_nearest_attributes(old, new):
    attributes, behavior, _ = old
    for row, user in zip(made(Nearest(neighbours=3), old, new), new, strict=True):
        order = np.argsort([((user - other) ** 2).sum().item() for other in attributes])
        np.testing.assert_allclose(row, behavior[order[:3].copy()].mean(0), rtol=1e-5)


def test_nearest_keeps_so_many_users_drawn_from_all(old, new):
    """They lie in the order of their ids: the first would be a choice by age."""
    what = Nearest(neighbours=3, users=10)
    tower = what.tower(SHAPE)
    tower.fit(*old)
    kept = [
        next(user for user in range(USERS) if torch.equal(old[1][user], row))
        for row in tower.behavior
    ]
    assert len(set(kept)) == 10
    assert max(kept) >= 20
    few = tuple(part[kept] for part in old)
    torch.testing.assert_close(
        made(what, old, new), made(Nearest(neighbours=3), few, new), rtol=1e-5, atol=1e-6
    )


def slow_objective(flat, x, s, corrupted, outside, weights):
    """The three terms, as they stand in the docstring of LinearAutoencoder."""
    w, (reconstruction, low_rank) = flat.reshape(len(s), len(x)), weights
    behavior = ((x - w.T @ s) ** 2).sum()
    attributes = ((w @ corrupted - s) ** 2).sum()
    return behavior + reconstruction * attributes + low_rank * ((outside @ w) ** 2).sum()


@pytest.mark.parametrize(("alternations", "weights"), [(1, (1.0, 30.0)), (3, (0.5, 5.0))])
def test_llae_is_the_minimum_of_its_objective(alternations, weights):
    draw = np.random.default_rng(0)
    s, x = draw.normal(size=(5, 40)), draw.normal(size=(3, 40))
    corrupted = x * (draw.random(x.shape) > 0.2)
    found = low_rank_autoencoder(x, s, corrupted, *weights, rank=1, alternations=alternations)
    outside = np.zeros((5, 5))
    if alternations > 1:
        before = low_rank_autoencoder(x, s, corrupted, *weights, 1, alternations - 1)
        leading = np.linalg.eigh(before @ before.T)[1][:, -1:]
        outside = np.eye(5) - leading @ leading.T
    slow = optimize.minimize(
        slow_objective, np.zeros(15), (x, s, corrupted, outside, weights), tol=1e-12
    )
    np.testing.assert_allclose(found, slow.x.reshape(5, 3), atol=1e-5)


def test_llae_foretells_what_is_linear(old, new):
    attributes, behavior, _ = old
    free = LLAE(reconstruction_weight=0.0, low_rank_weight=0.0, rank=12)
    found = made(free, old, attributes)
    assert (found - behavior).square().mean() < 0.05 * behavior.var()


def test_llae_keeps_what_never_varies_small(old, new):
    attributes, behavior, lengths = old
    attributes[:, 0] = 0.5
    assert made(LLAE(), (attributes, behavior, lengths), new).abs().max() < 100


@fitted
def test_the_users_id_is_not_looked_at(what, old, new):
    shape = replace(SHAPE, has_id=True)
    changed = new.clone()
    changed[:, 0] += 1
    assert torch.equal(made(what, old, new, shape), made(what, old, changed, shape))


@fitted
def test_virtual_behavior_is_as_long_as_the_mean(what, old, new):
    tower = what.tower(SHAPE)
    tower.fit(*old)
    virtual, repeats = tower.generate(new)
    assert virtual.shape == (5, 1, 4)
    assert repeats.tolist() == [[3]] * 5
