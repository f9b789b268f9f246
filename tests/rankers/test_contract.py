"""What every ranking tower that ships must do."""

from dataclasses import replace

import pytest
import torch

from builders import SHAPE, TOWER, batch_of, copies, differing, inputs_of, same, with_virtual
from thaw.errors import MethodError
from thaw.methods import Method
from thaw.model import build as build_model
from thaw.nn.inputs import by_row
from thaw.optim import Optimizers
from thaw.rankers import RANKERS, Output
from thaw.training import train_step

BATCHES = {
    "mixed": ([2, 5, 1, 0, 0], [0, 3, 1, 1, 4, 2, 0]),
    "all old": ([3, 1], [1, 0, 1]),
    "all new": ([0, 0], [1, 0, 1]),
    "one row": ([2], [0]),
}
SHIFT = "user_to_item.unit.out.bias"
"""DMR's shift of all scores of a softmax, which changes nothing; its gradient is rounding."""

SHAPES = [SHAPE, replace(SHAPE, context=0), replace(SHAPE, attributes=0)]


def build(ranker, shape):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ranker(shape).eval()


def cases():
    """Each ranker with one task and with two, where it takes so many."""
    for name, ranker in RANKERS.items():
        for tasks in (1, 2):
            try:
                build(ranker, replace(SHAPE, tasks=tasks))
            except MethodError:
                continue
            yield pytest.param(ranker, tasks, id=f"{name}, {tasks}")


CASES = list(cases())
rankers = pytest.mark.parametrize(("ranker", "tasks"), CASES)
batches = pytest.mark.parametrize(("lengths", "user"), BATCHES.values(), ids=BATCHES)


@rankers
@batches
@pytest.mark.parametrize("shape", SHAPES, ids=["usual", "no context", "no attributes"])
def test_logits_are_finite_for_every_batch(ranker, tasks, lengths, user, shape):
    shape = replace(shape, tasks=tasks)
    output = build(ranker, shape)(inputs_of(lengths, user, shape))
    assert isinstance(output, Output)
    assert output.logits.shape == (len(user), shape.tasks)
    assert output.logits.isfinite().all()


@rankers
@batches
def test_rows_do_not_depend_on_how_users_are_shared(ranker, tasks, lengths, user):
    model, inputs = build(ranker, replace(SHAPE, tasks=tasks)), inputs_of(lengths, user)
    torch.testing.assert_close(model(by_row(inputs)).logits, model(inputs).logits)


def test_every_ranker_is_among_the_cases():
    assert {case.values[0] for case in CASES} == set(RANKERS.values())


@rankers
def test_virtual_behavior_is_seen(ranker, tasks):
    model, inputs = build(ranker, replace(SHAPE, tasks=tasks)), inputs_of(*BATCHES["mixed"])
    behavior = with_virtual(inputs, torch.ones(2, 2, 4), [[3, 2], [1, 0]]).behavior
    change = model(replace(inputs, behavior=behavior)).logits - model(inputs).logits
    assert (change.abs() > 1e-5).any(1).tolist() == inputs.is_new.tolist()


@rankers
def test_an_event_that_repeats_is_seen_as_often(ranker, tasks):
    model, inputs = build(ranker, replace(SHAPE, tasks=tasks)), inputs_of(*BATCHES["mixed"])
    virtual = torch.randn(2, 2, 4)
    counted = with_virtual(inputs, virtual, [[3, 2], [1, 0]])
    rows = [virtual[0, 0]] * 3 + [virtual[0, 1]] * 2 + [virtual[1, 0]]
    written_out = torch.stack([*rows, *[torch.zeros(4)] * 4]).view(2, 5, 4)
    once = with_virtual(inputs, written_out, [[1] * 5, [1, 0, 0, 0, 0]])
    found, expected = (model(each).logits for each in (counted, once))
    torch.testing.assert_close(found, expected)


@rankers
def test_with_old_users_only_it_trains_under_mail_as_alone(dataset, ranker, tasks):
    batch = batch_of(dataset, "old")
    batch = replace(batch, labels=batch.labels.repeat(1, tasks))
    layout, trained = dataset.layout, []
    for tower in (None, TOWER):
        model = build_model(
            Method("one", ranker, tower), layout, dim=4, max_events=5, tasks=tasks, seed=0
        ).train()
        optimizers = Optimizers.of(model, 1e-3, 1e-3)
        for step in range(3):
            train_step(model, batch, optimizers, step, 0)
        trained.append((copies(model.ranker), model.embeddings.table, model.eval()(batch)))
    (ranker_alone, *alone), (ranker_below, *below) = trained
    assert differing(ranker_alone, ranker_below) == []
    assert all(same(one, other) for one, other in zip(alone, below, strict=True))


@rankers
def test_gradients_reach_every_parameter_and_every_role(ranker, tasks):
    model, inputs = build(ranker, replace(SHAPE, tasks=tasks)), inputs_of(*BATCHES["mixed"])
    roles = [inputs.user_attributes, inputs.context, inputs.target, inputs.behavior.values]
    for role in roles:
        role.requires_grad_()
    model(inputs).logits.sum().backward()
    assert all(role.grad is not None and role.grad.any() for role in roles)
    unmoved = [
        name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()
    ]
    assert [name for name in unmoved if not name.endswith(SHIFT)] == []
