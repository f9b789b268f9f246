"""MetaEmb's generator and its second-order loss, against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from builders import SHAPE, inputs_of
from thaw.nn.events import Vectors
from thaw.nn.id_generator import IdGenerator
from thaw.rankers import BaseDNN

LENGTHS, USER = [0, 0, 0], [0, 1, 0, 2, 1, 2, 0, 2]
FIRST = torch.tensor([1, 1, 0, 1, 0, 0, 1, 0], dtype=torch.bool)
STEP, ALPHA = 4.0, 0.3  # a large step, so that what is of second order shows


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return IdGenerator(attributes=3, dim=4, step=STEP, first_weight=ALPHA).double()


@pytest.fixture
def ranker():
    torch.manual_seed(1)
    return BaseDNN(SHAPE, hidden=(8, 4)).double().eval()


@pytest.fixture
def inputs():
    found = inputs_of(LENGTHS, USER)
    doubled = {
        name: getattr(found, name).double()
        for name in ("user_attributes", "context", "target", "target_event")
    }
    events = Vectors(found.behavior.values.double())
    behavior = replace(found.behavior, events=events)
    return replace(found, behavior=behavior, **doubled)


@pytest.fixture
def labels():
    return torch.tensor([[1], [0], [0], [1], [1], [0], [1], [0]], dtype=torch.float64)


def user_loss(ranker, inputs, labels, user, embedding, first):
    """The mean over some rows of one user, whose id has an embedding."""
    attributes = inputs.user_attributes.clone()
    attributes[user, 0] = torch.as_tensor(embedding)
    with torch.no_grad():
        logits = ranker(replace(inputs, user_attributes=attributes)).logits
    rows = [row for row in range(len(USER)) if USER[row] == user and FIRST[row] == first]
    return np.mean([
        F.binary_cross_entropy_with_logits(logits[row], labels[row]).item() for row in rows
    ])  # fmt: skip


def slow_meta_loss(generator, ranker, inputs, labels):
    """User by user, the step by central differences."""
    losses = []
    for user in range(len(LENGTHS)):
        embedding = generator(inputs.user_attributes)[user].detach().numpy()

        def before(at, user=user):
            return user_loss(ranker, inputs, labels, user, at, first=True)

        moved = embedding - STEP * slow_gradient(before, embedding)
        after = user_loss(ranker, inputs, labels, user, moved, first=False)
        losses.append(ALPHA * before(embedding) + (1 - ALPHA) * after)
    return np.mean(losses)


def slow_gradient(function, at, h=1e-5):
    found = np.zeros_like(at)
    for k in np.ndindex(at.shape):
        bump = np.zeros_like(at)
        bump[k] = h
        found[k] = (function(at + bump) - function(at - bump)) / (2 * h)
    return found


def test_an_id_is_made_from_the_other_attributes(generator, inputs):
    made = generator(inputs.user_attributes)
    weight, bias = generator.dense.weight, generator.dense.bias
    for user, attributes in enumerate(inputs.user_attributes):
        expected = torch.tanh(weight @ attributes[1:].flatten() + bias) / 5
        torch.testing.assert_close(made[user], expected)


def test_new_users_alone_get_one(generator):
    inputs = inputs_of([2, 1, 0, 0], [0, 1, 2, 3])
    found, before = generator.float().filled(inputs).user_attributes, inputs.user_attributes
    assert torch.equal(found[:2], before[:2])
    assert torch.equal(found[:, 1:], before[:, 1:])
    torch.testing.assert_close(found[2:, 0], generator(before)[2:])


def test_meta_loss_is_before_and_after_a_step(generator, ranker, inputs, labels):
    found = generator.meta_loss(ranker, inputs, labels, FIRST).item()
    assert found == pytest.approx(slow_meta_loss(generator, ranker, inputs, labels), rel=1e-7)


def test_its_gradient_is_of_second_order(generator, ranker, inputs, labels):
    loss = generator.meta_loss(ranker, inputs, labels, FIRST)
    loss.backward(inputs=[*generator.parameters()])
    weight = generator.dense.weight

    def at(value):
        with torch.no_grad():
            weight.copy_(torch.from_numpy(value))
        return generator.meta_loss(ranker, inputs, labels, FIRST).item()

    expected = slow_gradient(at, weight.detach().numpy().copy())
    np.testing.assert_allclose(weight.grad, expected, rtol=1e-4, atol=1e-9)
    assert all(parameter.grad is None for parameter in ranker.parameters())
