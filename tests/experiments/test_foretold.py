from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import TRAINING, mail
from thaw.experiments.foretold import _attributes, foretold, r2, ridge
from thaw.methods import Method
from thaw.methods.fitted import Mean
from thaw.model import build_for

# A model as it is built: its embeddings are random, but behavior is behavior.


def built(dataset, method):
    return build_for(method, dataset, TRAINING)


def test_r2_is_one_for_the_truth_and_zero_for_its_mean():
    real = torch.tensor([[1.0, 2.0], [3.0, 0.0], [5.0, 1.0]])
    assert r2(real, real) == 1
    assert r2(real, real.mean(0).expand(3, 2)) == pytest.approx(0)
    # Errors 1 + 4 + 1 against deviations 4 + 0 + 4 and 1 + 1 + 0.
    made = real + torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    assert r2(real, made) == pytest.approx(1 - 6 / 10)


def test_the_mean_behavior_of_old_users_is_about_as_good_as_the_mean(dataset):
    model = built(dataset, Method("mean", after=Mean()))
    behavior = torch.zeros(1, TRAINING.dim)
    model.tower.fit(behavior, behavior, torch.ones(1))
    found = foretold(model, dataset)
    assert found.users == held_out(dataset)
    assert found.pooled < 0  # nothing is worse than the mean
    assert found.pooled == pytest.approx(nothing_against_mean(model, dataset))


def test_what_makes_no_behavior_foretells_none(dataset):
    assert foretold(built(dataset, Method("base-dnn")), dataset) is None


def test_it_asks_for_users_whose_behavior_was_hidden(dataset):
    visible = replace(dataset, hidden=np.zeros_like(dataset.hidden))
    assert foretold(built(dataset, mail()), visible) is None


def test_ridge_finds_what_attributes_decide(dataset):
    features = _attributes(dataset)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(features.shape[1], 6))
    y = torch.from_numpy(features @ weights).view(-1, 3, 2)
    found = ridge(features[:50], y[:50], features[50:])
    assert r2(y[50:], found) > 0.7


def held_out(dataset):
    test = dataset.splits["test"]
    is_asked = dataset.hidden[test.user] & (test.pointer > 0)
    return len(np.unique(test.user[is_asked]))


def nothing_against_mean(model, dataset):
    """R² of nothing at all, from the events themselves."""
    test, dim = dataset.splits["test"], TRAINING.dim
    layout = dataset.layout
    sums = {}
    for user, pointer in zip(test.user, test.pointer, strict=True):
        if dataset.hidden[user] and pointer > 0:
            start = dataset.events.offsets[user]
            codes = dataset.events.codes[start : start + pointer][-model.max_events :]
            sums[user] = _summed(model, layout, codes)
    real = np.stack([*sums.values()])
    assert real.shape[1] == dim
    return 1 - np.square(real).sum() / np.square(real - real.mean(0)).sum()


def _summed(model, layout, codes):
    """The sum of events' vectors: their fields' embeddings, scaled by the action's."""
    table = model.embeddings.table.detach().numpy()
    total = np.zeros(TRAINING.dim)
    for row in codes:
        fields = table[layout.events.starts + row[: len(layout.events)]].sum(0)
        total += fields * table[layout.action.starts[0] + row[-1]]
    return total
