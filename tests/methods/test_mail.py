from dataclasses import replace

import pytest
import torch

import thaw
from builders import (
    PLAIN,
    SHAPE,
    TOWER,
    TRAINING,
    batch_of,
    behavior_of,
    copies,
    differing,
    mail,
    model_of,
)
from conftest import make_schema
from thaw.errors import MethodError
from thaw.methods import MAIL
from thaw.model import check_buildable
from thaw.optim import Optimizers
from thaw.training import train_step

DEPARTURES = [
    {"reconstruction": "mean"},
    {"alignment": "mse"},
    {"bandwidth": 2.0},
    {"length": "predicted"},
    {"padding": "reconstruct"},
    {"fill_in_training": False},
    {"attribute_side": "all"},
    {"learning_rate_ratio": 0.5},
    {"virtual_events": 2},
    {"users_per_step": 3},
    {"users_per_step": None},
    {"dropout": 0.5},
]


def trained(dataset, what, steps=3, ratio=1.0):
    """A model after some steps."""
    with torch.random.fork_rng():
        model = model_of(dataset, what).train()
        optimizers = Optimizers.of(model, 1e-3, ratio * 1e-3)
        losses = [train_step(model, batch_of(dataset), optimizers, k, 0) for k in range(steps)]
    return model, torch.stack(losses)


@pytest.mark.parametrize("options", DEPARTURES, ids=str)
def test_every_departure_trains(dataset, options):
    model, losses = trained(dataset, mail(**options), ratio=options.get("learning_rate_ratio", 1.0))
    assert losses.isfinite().all()
    assert (losses > 0).all()
    assert model.eval()(batch_of(dataset)).isfinite().all()


CHANGES = [o for o in DEPARTURES if o != {"users_per_step": None}]
ABLATIONS = [{"trained_by": by} for by in ("none", "single", "dual")]


@pytest.mark.parametrize("options", [*CHANGES, *ABLATIONS], ids=str)
def test_every_departure_changes_the_towers(dataset, options):
    ratio = options.get("learning_rate_ratio", 1.0)
    one, _ = trained(dataset, mail())
    other, _ = trained(dataset, mail(**options), ratio=ratio)
    batch = batch_of(dataset, "new")
    assert not torch.equal(one.eval()(batch), other.eval()(batch))


def test_the_letter_of_the_paper_is_section_4_2():
    paper = MAIL.paper()
    assert (paper.encoder, paper.decoder, paper.dropout) == ((1024, 512, 512), (512, 1024), 0.5)
    assert (paper.reconstruction, paper.alignment, paper.bandwidth) == ("sum", "mmd", 1.0)
    assert (paper.length, paper.padding, paper.attribute_side) == (
        "full",
        "reconstruct",
        "attributes",
    )
    assert (paper.fill_in_training, paper.learning_rate_ratio) == (True, 1.0)
    assert (paper.virtual_events, paper.learns_every, paper.users_per_step) == (None, 1, None)


def test_the_default_is_a_smaller_calibrated_tower_and_otherwise_the_paper():
    letter = MAIL.paper()
    cheaper = replace(
        letter,
        encoder=(256, 128, 128),
        decoder=(128, 256),
        dropout=0.0,
        padding="mask",
        virtual_events=10,
        learns_every=2,
        users_per_step=128,
        calibrated=True,
    )
    assert MAIL() == cheaper


@pytest.mark.parametrize(
    "name", ["reconstruction", "alignment", "length", "padding", "attribute_side", "trained_by"]
)
def test_unknown_choices_are_refused(name):
    with pytest.raises(MethodError, match=rf"MAIL.{name} \(='x'\) must be one of"):
        replace(TOWER, **{name: "x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("users_per_step", 0),
        ("learns_every", 0),
        ("virtual_events", 0),
        ("bandwidth", 0),
        ("learning_rate_ratio", -1),
    ],
)
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(MethodError, match=rf"MAIL.{name} \(={value}\)"):
        replace(TOWER, **{name: value})


def test_a_map_that_nothing_would_train_is_refused():
    with pytest.raises(MethodError, match=r"fill_in_training \(=False\) leaves the map"):
        replace(TOWER, trained_by="none", fill_in_training=False)


@pytest.mark.parametrize(("name", "layers"), [("encoder", 3), ("decoder", 2)])
def test_other_numbers_of_layers_are_refused(name, layers):
    with pytest.raises(MethodError, match=rf"MAIL.{name} \(=\(8,\)\) must have {layers} widths"):
        replace(TOWER, **{name: (8,)})


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("encoder", (16, 8.0, 8), "whole numbers"),
        ("encoder", (0, 8, 8), "3 widths of 1 or more"),
        ("users_per_step", 2.5, "a whole number"),
        ("bandwidth", "1", "a number"),
        ("calibrated", None, "true or false"),
    ],
)
def test_options_of_another_kind_are_refused(name, value, rule):
    with pytest.raises(MethodError, match=rf"MAIL.{name} \(=.*\) must (be|have) {rule}"):
        replace(TOWER, **{name: value})


def test_all_faults_are_told_at_once():
    with pytest.raises(MethodError, match=r"MAIL.padding .* MAIL.dropout .* MAIL.attention_dim "):
        MAIL(padding="x", dropout=2.0, attention_dim=0)


def test_decoders_give_attributes_and_behavior():
    tower = TOWER.tower(SHAPE)
    assert tower.attribute_decoder.dense3.out_features == 3 * 4
    assert tower.behavior_decoder.dense3.out_features == 5 * 4
    fewer = replace(TOWER, virtual_events=2).tower(SHAPE)
    assert fewer.behavior_decoder.dense3.out_features == 2 * 4


def test_with_attribute_side_all_the_tower_sees_context_and_target():
    tower = replace(TOWER, attribute_side="all").tower(SHAPE)
    assert tower.attribute_decoder.dense3.out_features == (3 + 2 + 3) * 4


def test_without_user_attributes_there_is_nothing_to_make_behavior_from():
    with pytest.raises(MethodError, match="from user attributes; the schema has none"):
        TOWER.tower(replace(SHAPE, attributes=0))


def test_an_id_that_the_strict_rule_hides_is_nothing_to_make_behavior_from(tables, tmp_path):
    rule = {"rule": "strict", "share": 0.4}
    schema = make_schema(users={"key": "user_id"}, new_users=rule)
    bare = thaw.prepare(schema, tables, out=tmp_path / "bare")
    with pytest.raises(
        MethodError, match=r"mail makes behavior from user attributes; .* none that"
    ):
        check_buildable(mail(), bare, TRAINING)
    check_buildable(mail(attribute_side="all"), bare, TRAINING)


def virtual_of(model, batch):
    """The behavior that the ranker sees, pooled row by row."""
    inputs = model.embed(batch, model.embeddings.look_up(batch))
    return model.filled(inputs).behavior.pool()


def test_attributes_alone_give_one_virtual_behavior_for_a_user(dataset):
    batch = batch_of(dataset, "new")
    pooled = virtual_of(model_of(dataset, mail()).eval(), batch)
    for user in batch.user.unique():
        rows = pooled[batch.user == user]
        assert torch.equal(rows, rows[:1].expand_as(rows))


def test_attribute_side_all_gives_virtual_behavior_for_each_row(dataset):
    batch = batch_of(dataset, "new")
    pooled = virtual_of(model_of(dataset, mail(attribute_side="all")).eval(), batch)
    assert len(pooled.unique(dim=0)) == batch.size > batch.num_users


def test_filling_at_inference_only_trains_the_ranker_as_alone(dataset):
    alone, _ = trained(dataset, PLAIN)
    other, _ = trained(dataset, mail(fill_in_training=False))
    assert differing(copies(alone.ranker), copies(other.ranker)) == []
    assert torch.equal(alone.embeddings.table, other.embeddings.table)


def test_filling_in_training_trains_the_ranker_otherwise(dataset):
    alone, _ = trained(dataset, PLAIN)
    other, _ = trained(dataset, mail())
    assert not torch.equal(alone.embeddings.table, other.embeddings.table)


def test_the_tower_learns_at_every_so_many_th_step(dataset):
    model = model_of(dataset, mail(learns_every=3)).train()
    optimizers, batch = Optimizers.of(model, 1e-3, 1e-3), batch_of(dataset)
    learned = []
    for step in range(7):
        before = copies(model.tower)
        losses = train_step(model, batch, optimizers, step, 0)
        assert losses[0] > 0
        assert bool(losses[1:].all()) == bool(losses[1:].any()) == (step % 3 == 0)
        if differing(before, copies(model.tower)):
            learned.append(step)
    assert learned == [0, 3, 6]


def test_users_per_step_bounds_the_towers_work(dataset):
    seen = []
    model = model_of(dataset, mail(users_per_step=4)).train()
    model.tower.register_forward_pre_hook(lambda _, arguments: seen.append(len(arguments[0])))
    batch = batch_of(dataset)
    inputs = model.embed(batch, model.embeddings.look_up(batch))
    model.zero_shot_losses(inputs, model.learned_users(batch))
    assert seen == [4]


@pytest.mark.parametrize("rule", ["paper", "strict"])
@pytest.mark.parametrize("side", ["attributes", "all"])
def test_the_tower_learns_from_ids_where_those_of_new_users_are_known(dataset, strict, rule, side):
    prepared = strict if rule == "strict" else dataset
    model = model_of(prepared, mail(attribute_side=side, users_per_step=None))
    batch = batch_of(prepared, "old")
    inputs = model.embed(batch, model.embeddings.look_up(batch))
    attributes = inputs.user_attributes.clone()
    attributes[:, 0] = 1.0
    found = [
        model.zero_shot_losses(each, model.learned_users(batch)).total
        for each in (inputs, replace(inputs, user_attributes=attributes))
    ]
    assert torch.equal(*found) is (rule == "strict")


@pytest.mark.parametrize("virtual_events", [None, 2])
def test_short_behavior_that_is_foretold_perfectly_ends_where_the_real_does(virtual_events):
    """Rankers that see the last events alone must not see the zeros behind short behavior."""
    tower = replace(TOWER, virtual_events=virtual_events).tower(SHAPE).eval()
    real = behavior_of([2], [0], SHAPE.dim)
    events, _ = real.pad_users(SHAPE.max_events, newest_first=True)
    blocks = torch.split(events[0], -(-SHAPE.max_events // len(tower.shift)))
    with torch.no_grad():  # the decoder says the same to everyone
        last = tower.behavior_decoder.dense3
        last.weight.zero_()
        last.bias.copy_(torch.cat([block.mean(0) for block in blocks]))
    virtual, repeats = tower.generate(torch.randn(1, SHAPE.attributes, SHAPE.dim))
    nobody = behavior_of([0], [0], SHAPE.dim)
    filled, _ = nobody.fill(torch.tensor([0]), virtual, repeats).pad_users(2, newest_first=True)
    expected = events[:, :2] if virtual_events is None else events[:, :3].mean(1, keepdim=True)
    torch.testing.assert_close(filled, expected.expand(1, 2, -1))
