"""A second ranker for new users."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import thaw
from builders import (
    PLAIN,
    TRAINING,
    batch_of,
    copies,
    differing,
    loader_of,
    model_of,
    small_dnn,
)
from thaw.blending import SHARES, fit_share
from thaw.errors import MethodError
from thaw.methods import MAIL, METHODS, Cold, Method
from thaw.nn.events import Vectors
from thaw.nn.inputs import without_behavior
from thaw.optim import Optimizers
from thaw.predicting import mean_auc
from thaw.training import train_step

COLD = Method("cold", ranker=small_dnn, cold=Cold(distillation=0.25))


@pytest.fixture
def model(dataset):
    return model_of(dataset, COLD).eval()


def embedded(model, batch):
    return model.embed(batch, model.embeddings.look_up(batch))


def test_each_ranker_ranks_its_own_users(dataset, model):
    batch = batch_of(dataset)
    inputs = embedded(model, batch)
    found, own = model.rank(inputs).logits, model.ranker(inputs).logits
    cold = model.cold(without_behavior(inputs)).logits
    assert 0 < batch.is_new.sum() < batch.size
    assert torch.equal(found[~batch.is_new], own[~batch.is_new])
    assert torch.equal(found[batch.is_new], cold[batch.is_new])
    assert not torch.equal(own[batch.is_new], cold[batch.is_new])


def test_nothing_of_behavior_reaches_the_second_one(dataset, model):
    batch = batch_of(dataset, "old")
    inputs = embedded(model, batch)
    events = Vectors(torch.randn_like(inputs.behavior.values))
    changed = replace(inputs, behavior=replace(inputs.behavior, events=events))
    assert torch.equal(model.rank(inputs).cold_logits, model.rank(changed).cold_logits)
    assert not torch.equal(model.rank(inputs).logits, model.rank(changed).logits)


@pytest.mark.parametrize("rule", ["paper", "strict"])
def test_it_knows_ids_where_those_of_new_users_are_known(dataset, strict, rule):
    prepared = strict if rule == "strict" else dataset
    model, batch = model_of(prepared, COLD).eval(), batch_of(prepared, "old")
    inputs = embedded(model, batch)
    attributes = inputs.user_attributes.clone()
    attributes[:, 0] = 1.0
    changed = replace(inputs, user_attributes=attributes)
    found = [model.rank(each).cold_logits for each in (inputs, changed)]
    assert torch.equal(*found) is (rule == "strict")


def test_its_loss_is_against_labels_and_answers_of_old_users(dataset, model):
    batch = batch_of(dataset)
    output = model.rank(embedded(model, batch))
    found = model.cold_loss(output, batch).item()
    cold, answers = (
        torch.sigmoid(x).detach().numpy() for x in (output.cold_logits, output.own_logits)
    )
    labels, is_new = batch.labels.numpy(), batch.is_new.numpy()[:, None]

    def entropy(learned):
        return -(learned * np.log(cold) + (1 - learned) * np.log(1 - cold))

    old = 0.25 * entropy(answers) + 0.75 * entropy(labels)
    counts = batch.users[batch.user].numpy()[:, None] % 10 != 9
    expected = np.where(is_new, entropy(labels), old)
    expected = np.where(counts, expected, 0).mean()
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_new_users_logits_are_mixed_by_the_share(dataset, model, share):
    batch = batch_of(dataset)
    model.cold_share.fill_(share)
    found = model.rank(embedded(model, batch))
    mixed = (1 - share) * found.own_logits + share * found.cold_logits
    expected = torch.where(batch.is_new[:, None], mixed, found.own_logits)
    torch.testing.assert_close(found.logits, expected)


def rank_by_nothing(ranker):
    """Let a ranker give every row the same."""
    for parameter in ranker.parameters():
        parameter.data.zero_()


def as_new_to(dataset, model):
    """Labels and answers of the kept users' validation rows, shown as new ones', by hand."""
    everyone = np.ones(len(dataset.users), bool)
    shown = replace(dataset, hidden=everyone, hidden_in_validation=everyone)
    table = dataset.splits["validation"]
    rows = np.array([row for row, user in enumerate(table.user) if user % 10 == 9])
    batch = loader_of(shown, "validation").batch(rows, 0, 0)
    assert batch.num_old == 0
    return np.asarray(table.labels)[rows], model.rank(embedded(model, batch)).logits


@pytest.mark.parametrize("which", ["ranker", "cold"])
def test_who_knows_nothing_of_kept_users_is_not_heard(dataset, tmp_path, which):
    run = thaw.train(dataset, COLD, replace(TRAINING, max_epochs=3), out=tmp_path / "run")
    model, train = run.model, dataset.splits["train"]
    dataset = replace(dataset, splits={**dataset.splits, "validation": train})  # has more of them
    rank_by_nothing(getattr(model, which))
    values = {}
    for share in SHARES:
        model.cold_share.fill_(share)
        labels, logits = as_new_to(dataset, model)
        values[share] = mean_auc(labels, logits.detach().numpy())
    kept = fit_share(model, dataset)
    assert kept == model.cold_share.item()
    assert values[kept] == pytest.approx(max(values.values()), abs=1e-6)
    assert (kept == 0) is (which == "cold")


def test_without_kept_users_in_validation_the_share_stays(dataset, model):
    model.cold_share.fill_(0.6)
    table = dataset.splits["validation"]
    few = replace(table, user=np.zeros_like(table.user))
    fit_share(model, replace(dataset, splits={**dataset.splits, "validation": few}))
    assert model.cold_share.item() == pytest.approx(0.6)


def test_the_second_one_never_learns_from_those_users(dataset, model):
    batch = batch_of(dataset)
    apart = batch.users[batch.user] % 10 == 9
    assert 0 < apart.sum() < len(apart)
    ranked = model.rank(embedded(model, batch))
    flipped = replace(batch, labels=torch.where(apart[:, None], 1 - batch.labels, batch.labels))
    assert model.cold_loss(ranked, batch).item() == model.cold_loss(ranked, flipped).item()


def test_a_step_trains_both_and_the_answers_are_taken_as_they_are(dataset):
    model, batch = model_of(dataset, COLD).train(), batch_of(dataset, "old")
    alone = model_of(dataset, PLAIN).train()
    before = {name: copies(part) for name, part in model.named_children()}
    for each in (model, alone):
        train_step(each, batch, Optimizers.of(each, 1e-3, 1e-3), 0, 0)
    assert differing(before["cold"], copies(model.cold))
    # The embeddings learn from both, so that the second step would be another.
    assert not differing(copies(alone.ranker), copies(model.ranker))
    assert differing(copies(alone.embeddings), copies(model.embeddings))


def test_a_run_is_loaded_with_both(dataset, tmp_path):
    what = Method("cold", cold=Cold("emblr", 0.75))
    trained = thaw.train(dataset, what, replace(TRAINING, max_epochs=1), out=tmp_path / "run")
    loaded = thaw.Recommender.load(tmp_path / "run")
    assert loaded.model.distillation == 0.75
    found, again = (each.predict(dataset, "test").probabilities for each in (trained, loaded))
    assert np.array_equal(found, again)


def test_every_epoch_has_a_share_and_the_best_ones_is_kept(dataset, tmp_path):
    trained = thaw.train(dataset, COLD, replace(TRAINING, max_epochs=3), out=tmp_path)
    state = json.loads(max(tmp_path.glob("checkpoint-*/facts.json")).read_text())
    shares = [epoch["cold_share"] for epoch in state["epochs"]]
    assert len(shares) == 3
    assert set(shares) <= set(SHARES)
    assert trained.model.cold_share.item() == shares[state["best_epoch"]]


def test_one_way_sees_to_new_users():
    with pytest.raises(MethodError, match="both: mail and cold each see to new users; take one"):
        Method("both", mail=MAIL(), cold=Cold())


def test_faults_are_named_at_once():
    with pytest.raises(MethodError, match=r"Cold.ranker \(='svd'\).*Cold.distillation \(=2\)"):
        Cold("svd", 2)


@pytest.mark.parametrize("name", [name for name in METHODS if name.startswith("cold-")])
def test_methods_by_name(name):
    base = METHODS[name.removeprefix("cold-")] if name != "cold-base" else METHODS["base-dnn"]
    assert replace(METHODS[name], name=base.name, cold=None) == base
