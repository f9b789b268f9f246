"""Virtual behavior is believed as far as it foretells users that the tower did not learn from."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import thaw
from builders import PLAIN, SHAPE, TRAINING, batch_of, loader_of, mail, model_of
from thaw.calibration import calibrate
from thaw.methods import MAIL

ALWAYS = torch.ones(SHAPE.max_events)
"""Every old user has an event at every place."""


@pytest.fixture
def tower():
    return small_tower()


def small_tower(**options):
    """Two virtual events for five places."""
    tower = MAIL(encoder=(16, 8, 8), decoder=(8, 16), virtual_events=2, **options)
    return tower.tower(SHAPE).eval()


@pytest.mark.parametrize(
    ("truth", "strength"), [(0.3, 0.3), (1.0, 1.0), (4.0, 1.0), (-2.0, 0.0), (0.0, 0.0)]
)
def test_the_strength_is_the_slope_of_real_on_virtual_sums_between_0_and_1(tower, truth, strength):
    users = torch.randn(7, SHAPE.attributes, SHAPE.dim)
    mean = torch.randn(SHAPE.max_events, SHAPE.dim)
    sums = (events := places(tower, users)).sum(1)
    tower.calibrate(events, 3.0 + truth * (sums - sums.mean(0)), mean, ALWAYS)
    assert tower.strength.item() == pytest.approx(strength, abs=1e-5)
    expected = mean.sum(0) + strength * (sums - sums.mean(0))
    torch.testing.assert_close(places(tower, users).sum(1), expected, rtol=1e-4, atol=1e-4)


def test_virtual_behavior_that_is_the_same_for_all_becomes_the_mean_of_its_places(tower):
    """Two events stand for five places: the newer one for three of them."""
    same = torch.ones(4, SHAPE.max_events, SHAPE.dim)
    mean = torch.randn(SHAPE.max_events, SHAPE.dim)
    tower.calibrate(same, torch.randn(4, SHAPE.dim), mean, ALWAYS)
    assert tower.strength.item() == 0
    newer, older = mean[:3].mean(0), mean[3:].mean(0)
    found = places(tower, torch.randn(1, SHAPE.attributes, SHAPE.dim))[0]
    torch.testing.assert_close(found, torch.stack([newer, newer, newer, older, older]))


def test_what_is_made_for_a_masked_place_counts_as_often_as_old_users_have_an_event_there():
    """And the strength is the slope on what is left of it; padding that is learned counts whole."""
    users, filled = torch.randn(7, SHAPE.attributes, SHAPE.dim), torch.tensor([1, 0.8, 0.6, 0.4, 0])
    mean = torch.randn(SHAPE.max_events, SHAPE.dim)
    for padding, share in (("mask", [0.8, 0.2]), ("reconstruct", [1, 1])):
        tower = small_tower(padding=padding)
        made = places(tower, users)
        by_place = torch.tensor([share[0]] * 3 + [share[1]] * 2).unsqueeze(1)
        sums = (made * by_place).sum(1)
        tower.calibrate(made, 0.5 * sums, mean, filled)
        torch.testing.assert_close(tower.filled.squeeze(1), torch.tensor(share).float())
        assert tower.strength.item() == pytest.approx(0.5, abs=1e-5)
        away = places(tower, users) - places(tower, users).mean(0)
        expected = 0.5 * by_place * (made - made.mean(0))
        torch.testing.assert_close(away, expected, rtol=1e-4, atol=1e-5)
        tower.forget_calibration()
        torch.testing.assert_close(places(tower, users), made)


def places(tower, users):
    """[U, n_v, d], virtual behavior written out, the newest event first."""
    virtual, repeats = tower.generate(users)
    written = [v.repeat_interleave(r, 0).flip(0) for v, r in zip(virtual, repeats, strict=True)]
    return torch.stack(written).detach()


def test_it_is_least_squares_on_every_tenth_old_user(dataset):
    """By hand, from what the ranker would sum."""
    model = model_of(dataset, mail()).eval()
    found = calibrate(model, dataset)
    train = dataset.splits["train"]
    rows = {int(user): row for row, user in enumerate(train.user)}  # the last row stands
    is_new = dataset.is_new("train")
    old = {user: row for user, row in rows.items() if not is_new[row]}
    apart = [row for user, row in old.items() if user % 10 == 9]
    assert 3 < len(apart) < len(old)
    shift = model.tower.shift.double().numpy()
    model.tower.strength.fill_(1)
    model.tower.shift.zero_()

    def sums(rows, *, hidden):
        whole, found = np.full(len(dataset.users), hidden), []
        shown = replace(dataset, hidden=whole, hidden_in_validation=whole)
        for row in rows:
            batch = loader_of(shown).batch(np.array([row]), 0, 0)
            inputs = model.embed(batch, model.embeddings.look_up(batch))
            found.append(model.filled(inputs).behavior.pool()[0].detach().double().numpy())
        return np.array(found)

    x, y, every = (
        sums(apart, hidden=True),
        sums(apart, hidden=False),
        sums(old.values(), hidden=False),
    )
    products = (x - x.mean(0)) * (y - y.mean(0))
    assert found == pytest.approx(
        np.clip(products.sum() / np.square(x - x.mean(0)).sum(), 0, 1), abs=1e-4
    )
    np.testing.assert_allclose(shift.sum(0) + found * x.mean(0), every.mean(0), atol=1e-4)


@pytest.mark.parametrize("side", ["attributes", "all"])
def test_the_tower_never_learns_from_those_users(dataset, side):
    batch = batch_of(dataset)
    model = model_of(dataset, mail(attribute_side=side))
    inputs = model.embed(batch, model.embeddings.look_up(batch))
    numbers = batch.users if side == "attributes" else batch.users[batch.user][~batch.is_new]
    learned = model.learned_users(batch)
    kept = [place for place in range(inputs.num_old) if numbers[place] % 10 != 9]
    assert learned.tolist() == kept
    assert 0 < len(kept) < inputs.num_old


def test_the_letter_of_the_paper_learns_from_all_and_believes_all(dataset, tmp_path):
    assert not MAIL.paper().calibrated
    what = mail(calibrated=False)
    batch, model = batch_of(dataset), model_of(dataset, what)
    assert model.learned_users(batch).tolist() == list(range(batch.num_old))
    trained = thaw.train(dataset, what, TRAINING, out=tmp_path / "run")
    assert trained.model.tower.strength.item() == 1
    assert not trained.model.tower.shift.any()
    assert "strength" not in epochs_of(tmp_path / "run")[0]


def test_each_epoch_has_its_own_and_the_best_epochs_is_kept(dataset, tmp_path):
    trained = thaw.train(dataset, mail(), TRAINING, out=tmp_path / "run")
    epochs = epochs_of(tmp_path / "run")
    best = max(epochs, key=lambda epoch: epoch["validation_auc"])
    assert trained.model.tower.strength.item() == best["strength"]
    assert all(0 <= epoch["strength"] <= 1 for epoch in epochs)
    assert trained.model.tower.shift.any()


def test_without_enough_such_users_all_is_believed(dataset):
    model = model_of(dataset, mail())
    train = dataset.splits["train"]
    few = replace(dataset, splits={**dataset.splits, "train": replace(train, user=train.user * 0)})
    assert calibrate(model, few) == 1
    assert not model.tower.shift.any()


def test_a_map_that_the_ranker_trains_is_not_calibrated(dataset):
    assert not model_of(dataset, mail(trained_by="none")).calibrated
    assert not model_of(dataset, PLAIN).calibrated


def epochs_of(folder):
    newest = max(folder.glob("checkpoint-*/facts.json"))
    return json.loads(newest.read_text())["epochs"]
