import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from builders import PLAIN, batch_of, copies, differing, mail, model_of, small_dnn
from thaw.optim import Optimizers
from thaw.training import train_step


@pytest.fixture
def model(dataset):
    return model_of(dataset, mail()).train()


@pytest.fixture(autouse=True)
def _own_randomness():
    with torch.random.fork_rng():
        yield


def parts_of(model):
    return {
        "tower": copies(model.tower),
        "ranker": copies(model.ranker),
        "table": {"": model.embeddings.table.clone()},
    }


def changed(before, after):
    return {name for name in before if differing(before[name], after[name])}


def test_zero_shot_loss_reaches_the_tower_alone(dataset, model):
    batch = batch_of(dataset)
    rows = model.embeddings.look_up(batch, needs_gradient=True)
    model.zero_shot_losses(model.embed(batch, rows), model.learned_users(batch)).total.backward()
    assert rows.grad is None
    assert all(p.grad is None for p in model.ranker.parameters())
    assert all(p.grad is not None and p.grad.any() for p in model.tower.parameters())


@pytest.mark.parametrize("kind", ["all", "new"])
@pytest.mark.parametrize("side", ["attributes", "all"])
def test_ranking_loss_reaches_the_ranker_and_the_rows_alone(dataset, kind, side):
    model = model_of(dataset, mail(attribute_side=side)).train()
    batch = batch_of(dataset, kind)
    rows = model.embeddings.look_up(batch, needs_gradient=True)
    logits = model.rank(model.embed(batch, rows)).logits
    F.binary_cross_entropy_with_logits(logits, batch.labels).backward()
    assert rows.grad is not None
    assert rows.grad.any()
    assert all(p.grad is None for p in model.tower.parameters())
    assert all(p.grad is not None for p in model.ranker.parameters())


def test_the_towers_step_leaves_ranker_and_table_as_they_are(dataset, model):
    optimizers, batch = Optimizers.of(model, 1e-3, 1e-3), batch_of(dataset)
    before = parts_of(model)
    rows = model.embeddings.look_up(batch, needs_gradient=True)
    model.zero_shot_losses(model.embed(batch, rows), model.learned_users(batch)).total.backward()
    optimizers.tower.step()
    assert changed(before, parts_of(model)) == {"tower"}


def test_the_rankers_loss_trains_the_map_of_mail_none(dataset):
    model = model_of(dataset, mail(trained_by="none")).train()
    optimizers = Optimizers.of(model, 1e-3, 1e-3)
    before = parts_of(model)
    losses = train_step(model, batch_of(dataset, "new"), optimizers, 0, 0)
    assert changed(before, parts_of(model)) == {"tower", "ranker", "table"}
    assert not losses[1:].any()


def test_a_step_on_new_users_leaves_the_tower_as_it_is(dataset, model):
    before = parts_of(model)
    losses = train_step(model, batch_of(dataset, "new"), Optimizers.of(model, 1e-3, 1e-3), 0, 0)
    assert changed(before, parts_of(model)) == {"ranker", "table"}
    assert losses[0] > 0
    assert not losses[1:].any()


def test_a_step_changes_both_towers_and_the_batchs_rows_alone(dataset, model):
    batch, before = batch_of(dataset, size=8), parts_of(model)
    train_step(model, batch, Optimizers.of(model, 1e-3, 1e-3), 0, 0)
    assert changed(before, parts_of(model)) == {"tower", "ranker", "table"}
    moved = (model.embeddings.table != before["table"][""]).any(1)
    assert set(moved.nonzero().squeeze(1).tolist()) <= set(batch.rows.tolist())
    assert moved.sum() < len(moved)


@pytest.mark.parametrize(
    "what",
    [PLAIN, mail(), mail(length="predicted"), mail(trained_by="none")],
    ids=["plain", "mail", "length", "none"],
)
def test_each_parameter_is_in_exactly_one_optimizer(dataset, what):
    model = model_of(dataset, what)
    optimizers = Optimizers.of(model, 1e-3, 1e-3)
    adams = [each for each in (optimizers.tower, optimizers.ranker) if each is not None]
    held = [id(p) for adam in adams for group in adam.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    assert optimizers.table.table is model.embeddings.table
    assert id(model.embeddings.table) not in held


def test_optimizers_have_the_papers_betas_and_their_rates(model):
    optimizers = Optimizers.of(model, 1e-3, 5e-4)
    groups = [optimizers.tower.param_groups[0], optimizers.ranker.param_groups[0]]
    assert [group["betas"] for group in groups] == [(0.9, 0.999)] * 2
    assert [group["lr"] for group in groups] == [5e-4, 1e-3]
    assert optimizers.table.learning_rate == 1e-3


def test_weights_start_by_xaviers_method(model):
    for linear in (m for m in model.modules() if isinstance(m, nn.Linear)):
        bound = math.sqrt(6 / (linear.in_features + linear.out_features))
        fullness = 0.9 if linear.weight.numel() > 100 else 0.4
        assert fullness * bound < linear.weight.abs().max() <= bound
        assert linear.bias is None or not linear.bias.any()


def test_the_same_seed_gives_the_same_ranker_with_a_tower_and_without(dataset, model):
    alone = model_of(dataset, PLAIN)
    assert differing(copies(alone.ranker), copies(model.ranker)) == []
    assert torch.equal(alone.embeddings.table, model.embeddings.table)
    assert not torch.equal(
        alone.embeddings.table, model_of(dataset, PLAIN, seed=1).embeddings.table
    )


def test_building_leaves_the_global_random_state(dataset):
    before = torch.get_rng_state()
    model_of(dataset, mail())
    assert torch.equal(torch.get_rng_state(), before)


def test_with_old_users_only_steps_are_those_of_the_ranker_alone(dataset, model):
    alone = model_of(dataset, PLAIN).train()
    batch = batch_of(dataset, "old")
    for each in (alone, model):
        optimizers = Optimizers.of(each, 1e-3, 1e-3)
        for step in range(4):
            train_step(each, batch, optimizers, step, 0)
    assert differing(copies(alone.ranker), copies(model.ranker)) == []
    assert torch.equal(alone.embeddings.table, model.embeddings.table)
    assert torch.equal(alone.eval()(batch), model.eval()(batch))


def test_new_users_are_filled_by_equation_8(dataset, model):
    batch = batch_of(dataset)
    inputs = model.eval().embed(batch, model.embeddings.look_up(batch))
    seen = []
    model.ranker.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model.rank(inputs)
    virtual, _ = model.tower.generate(inputs.user_attributes[inputs.num_old :])
    filled = seen[0].behavior
    assert torch.equal(filled.values[-virtual.shape[0] * 5 :], virtual.flatten(0, 1))
    assert torch.equal(filled.values[: len(inputs.behavior.values)], inputs.behavior.values)
    assert torch.equal(seen[0].is_new, batch.is_new)


def test_users_of_few_events_are_filled_in_serving_alone(dataset, model):
    batch = batch_of(dataset)
    inputs = model.eval().embed(batch, model.embeddings.look_up(batch))
    real, model.fill_below = inputs.behavior, 4
    filled = model.filled(inputs).behavior
    virtual, _ = model.tower.generate(inputs.user_attributes)
    lengths = real.lengths.tolist()
    assert {0, 1, 2, 3, 4, 5} == set(lengths)
    for user, length in enumerate(lengths):
        own = real.values[real.offsets[user] : real.offsets[user + 1]]
        left = virtual[user, : 5 - length] if length < 4 else virtual[user, :0]
        found = filled.values[filled.offsets[user] : filled.offsets[user + 1]]
        torch.testing.assert_close(found, torch.cat([left, own]))
    new_alone = model.train().filled(inputs).behavior
    assert torch.equal(new_alone.lengths[: inputs.num_old], real.lengths[: inputs.num_old])
    assert new_alone.lengths[inputs.num_old :].tolist() == [5] * (len(lengths) - inputs.num_old)


def test_virtual_behavior_is_made_without_dropout_in_training_too(dataset, model):
    batch = batch_of(dataset, "new")
    inputs = model.embed(batch, model.embeddings.look_up(batch))
    one, other = (model.filled(inputs).behavior.values for _ in range(2))
    assert torch.equal(one, other)
    assert model.tower.training


def test_outputs_are_probabilities_row_by_row(dataset, model):
    batch = batch_of(dataset)
    found = model.eval()(batch)
    assert found.shape == (batch.size, 1)
    assert ((found > 0) & (found < 1)).all()


def test_an_auxiliary_loss_is_added_and_not_told_as_ranking_loss(dataset):
    class Assisted(nn.Module):
        def __init__(self, shape):
            super().__init__()
            self.inner, self.extra = small_dnn(shape), nn.Parameter(torch.ones(()))

        def forward(self, inputs):
            return self.inner(inputs)._replace(auxiliary_loss=100 * self.extra)

    model = model_of(dataset, replace(PLAIN, ranker=Assisted)).train()
    losses = train_step(model, batch_of(dataset), Optimizers.of(model, 1e-3, 1e-3), 0, 0)
    assert losses[0] < 10
    assert model.ranker.extra < 1
