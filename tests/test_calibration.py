"""Virtual behavior is believed as far as it foretells users that the tower did not learn from."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import thaw
from builders import PLAIN, SHAPE, TRAINING, batch_of, loader_of, mail, model_of
from thaw.calibration import calibrate, filled_places
from thaw.methods import MAIL
from thaw.run_facts import Strength, facts_of


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
    tower.calibrate(events, 3.0 + truth * (sums - sums.mean(0)), mean)
    assert tower.strength.item() == pytest.approx(strength, abs=1e-5)
    expected = mean.sum(0) + strength * (sums - sums.mean(0))
    torch.testing.assert_close(places(tower, users).sum(1), expected, rtol=1e-4, atol=1e-4)


def test_a_slope_that_few_users_give_by_chance_is_not_believed(tower):
    """Behavior that has nothing to do with what is made: in 5 % of cases or less it is believed."""
    strengths = []
    for seed in range(60):
        draw = torch.Generator().manual_seed(seed)
        made = places(tower, torch.randn(20, SHAPE.attributes, SHAPE.dim, generator=draw))
        real = torch.randn(20, SHAPE.dim, generator=draw)
        tower.forget_calibration()
        tower.calibrate(made, real, made.mean(0))
        strengths.append(tower.strength.item())
    assert sum(strength > 0 for strength in strengths) <= 6
    tower.forget_calibration()
    made = places(tower, torch.randn(200, SHAPE.attributes, SHAPE.dim))
    sums = made.sum(1)
    noise = sums.std(0) * torch.randn(200, SHAPE.dim)
    tower.calibrate(made, sums + noise, made.mean(0))
    assert tower.strength.item() == pytest.approx(1, abs=0.2)


def test_virtual_behavior_that_is_the_same_for_all_becomes_the_mean_of_its_places(tower):
    """Two events stand for five places: the newer one for three of them."""
    same = torch.ones(4, SHAPE.max_events, SHAPE.dim)
    mean = torch.randn(SHAPE.max_events, SHAPE.dim)
    tower.calibrate(same, torch.randn(4, SHAPE.dim), mean)
    assert tower.strength.item() == 0
    newer, older = mean[:3].mean(0), mean[3:].mean(0)
    found = places(tower, torch.randn(1, SHAPE.attributes, SHAPE.dim))[0]
    torch.testing.assert_close(found, torch.stack([newer, newer, newer, older, older]))


def test_what_is_made_for_a_masked_place_counts_as_often_as_old_users_have_an_event_there():
    """Padding that is learned counts as it is made, and so does a length that is predicted."""
    users, filled = torch.randn(7, SHAPE.attributes, SHAPE.dim), torch.tensor([1, 0.8, 0.6, 0.4, 0])
    for options, share in (
        ({}, [0.8, 0.2]),
        ({"padding": "reconstruct"}, [1, 1]),
        ({"length": "predicted"}, [1, 1]),
    ):
        tower = small_tower(**options)
        made = tower._virtual(tower.encode(users), SHAPE.dim)
        tower.fill_places(filled)
        found, _ = tower.generate(users)
        expected = made * torch.tensor(share).unsqueeze(1)
        torch.testing.assert_close(found, expected.flip(1))


def test_places_are_filled_as_often_as_old_users_have_so_many_events(dataset):
    train = dataset.splits["train"]
    last = [
        rows[-1]
        for rows in np.split(np.arange(len(train)), np.flatnonzero(np.diff(train.user)) + 1)
    ]
    lengths = [train.pointer[row] for row in last if not dataset.is_new("train")[row]]
    expected = [np.mean([length > place for length in lengths]) for place in range(8)]
    assert filled_places(dataset, 8).tolist() == pytest.approx(expected)


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
    expected = (Strength("virtual behavior", None, best["strength"]),)
    assert facts_of(tmp_path / "run").strengths == expected
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
