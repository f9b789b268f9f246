"""DIN against a loop over rows and events."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import SHAPE, inputs_of
from thaw.rankers import DIN

LENGTHS, USER = [2, 5, 1, 0, 0], [0, 3, 1, 1, 4, 2, 0]


@pytest.fixture(params=[(6,), (6, 3)], ids=["one layer", "two layers"])
def model(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DIN(SHAPE, attention=request.param, hidden=(8, 4)).eval()


@pytest.fixture
def inputs():
    return inputs_of(LENGTHS, USER)


def values(module):
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


def slow_weight(unit, event, target):
    """The activation unit on one event and one target."""
    w = values(unit)
    hidden = w["event.weight"] @ event + w["event.bias"]
    hidden = hidden + w["target.weight"] @ target + w["product.weight"] @ (event * target)
    for layer in range(len(unit.activation)):
        if layer:
            hidden = w[f"dense.{layer - 1}.weight"] @ hidden + w[f"dense.{layer - 1}.bias"]
        hidden = np.where(hidden > 0, hidden, w[f"activation.{layer}.weight"] * hidden)
    return (w["out.weight"] @ hidden + w["out.bias"])[0]


def slow_interest(model, inputs, row):
    behavior, target = inputs.behavior, inputs.target_event[row].numpy()
    low, high = behavior.offsets[USER[row]], behavior.offsets[USER[row] + 1]
    total = np.zeros(SHAPE.dim)
    for event in behavior.values[low:high].numpy():
        total += slow_weight(model.unit, event, target) * event
    return total


def test_interest_is_the_weighted_sum_of_events(model, inputs):
    found = model.interest(inputs.behavior.by_row(), inputs.target_event)
    for row in range(len(USER)):
        expected = slow_interest(model, inputs, row)
        np.testing.assert_allclose(found[row].detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_all_fields_and_the_interest_enter_the_perceptron(model, inputs):
    seen = []
    model.perceptron.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model(inputs)
    for row, user in enumerate(USER):
        expected = np.concatenate([
            inputs.user_attributes[user].flatten(), inputs.context[row].flatten(),
            inputs.target[row].flatten(), slow_interest(model, inputs, row),
        ])  # fmt: skip
        np.testing.assert_allclose(seen[0][row].detach(), expected, rtol=1e-4, atol=1e-6)


def test_the_target_decides_what_an_event_weighs(model, inputs):
    other = replace(inputs, target_event=-inputs.target_event)
    found, changed = (
        model.interest(inputs.behavior.by_row(), each.target_event) for each in (inputs, other)
    )
    has_events = ~inputs.is_new
    assert (found[has_events] != changed[has_events]).any(1).all()
    assert not found[inputs.is_new].any()
