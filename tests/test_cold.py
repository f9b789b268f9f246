"""A second ranker for new users."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import thaw
from builders import PLAIN, TRAINING, batch_of, copies, differing, model_of, small_dnn
from conftest import make_schema
from thaw.errors import MethodError
from thaw.methods import MAIL, METHODS, Cold, Method
from thaw.nn.inputs import without_behavior
from thaw.optim import Optimizers
from thaw.training import train_step

COLD = Method("cold", ranker=small_dnn, cold=Cold(distillation=0.25))


@pytest.fixture
def model(dataset):
    return model_of(dataset, COLD).eval()


@pytest.fixture(scope="module")
def strict(tables, tmp_path_factory):
    out = tmp_path_factory.mktemp("strict") / "dataset"
    return thaw.prepare(make_schema(new_users={"rule": "strict", "share": 0.4}), tables, out=out)


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
    events = torch.randn_like(inputs.behavior.values)
    changed = replace(inputs, behavior=replace(inputs.behavior, values=events))
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
    found = model.distillation_loss(output, batch.is_new, batch.labels).item()
    old = ~batch.is_new.numpy()
    cold, answers = (
        torch.sigmoid(x).detach().numpy()[old] for x in (output.cold_logits, output.logits)
    )
    labels = batch.labels.numpy()[old]

    def entropy(learned):
        return -(learned * np.log(cold) + (1 - learned) * np.log(1 - cold)).sum() / batch.size

    assert found == pytest.approx(0.25 * entropy(answers) + 0.75 * entropy(labels), rel=1e-5)


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
