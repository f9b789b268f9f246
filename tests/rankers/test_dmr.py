"""DMR's two networks and its auxiliary loss, against loops over users and events."""

import numpy as np
import pytest
import torch

from builders import SHAPE, inputs_of, with_virtual
from thaw.rankers import DMR

LENGTHS, USER = [2, 5, 1, 4, 0, 0], [0, 4, 1, 1, 5, 2, 0, 3]


@pytest.fixture(params=[3, 50], ids=["last three", "all"])
def model(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DMR(SHAPE, last=request.param, attention=(6, 3), hidden=(8, 4)).eval()


@pytest.fixture
def inputs():
    return inputs_of(LENGTHS, USER)


class Slow:
    """DMR on one user, or one row, at a time, in NumPy."""

    def __init__(self, model, inputs):
        self.w = {name: value.detach().numpy() for name, value in model.state_dict().items()}
        self.last, self.inputs = model.last, inputs

    def linear(self, name, x):
        return self.w[f"{name}.weight"] @ x + self.w.get(f"{name}.bias", 0)

    def prelu(self, name, x):
        return np.where(x > 0, x, self.w[f"{name}.weight"] * x)

    def score(self, unit, query, event):
        """80-40-1 on query, event and product; sigmoid between."""
        hidden = self.linear(f"{unit}.event", event) + self.linear(f"{unit}.query", query)
        hidden = hidden + self.linear(f"{unit}.product", query * event)
        hidden = self.linear(f"{unit}.dense", sigmoid(hidden))
        return self.linear(f"{unit}.out", sigmoid(hidden))[0]

    def events(self, user):
        """A user's last events, and each one's position from the end."""
        offsets = self.inputs.behavior.offsets
        events = self.inputs.behavior.values[offsets[user] : offsets[user + 1]].numpy()
        events = events[-self.last :]
        return [(event, len(events) - 1 - k) for k, event in enumerate(events)]

    def state(self, events):
        """The user-to-item network's user vector after some events."""
        scores = [self.user_score(event, position) for event, position in events]
        mean = sum(w * event for w, (event, _) in zip(softmax(scores), events, strict=True))
        mean = mean if len(events) else np.zeros(SHAPE.dim)
        return self.prelu("user_to_item.state.1", self.linear("user_to_item.state.0", mean))

    def user_score(self, event, position):
        query = self.linear("user_to_item.query.0", self.w["position"][position])
        return self.score("user_to_item.unit", self.prelu("user_to_item.query.1", query), event)

    def target(self, event):
        return self.linear("user_to_item.target", event)

    def item_to_item(self, events, target):
        scores = []
        for event, position in events:
            query = self.linear("item_query", target)
            query = query + self.linear("position_query", self.w["position"][position])
            scores.append(self.score("item_to_item", self.prelu("activation", query), event))
        interest = sum(w * e for w, (e, _) in zip(softmax(scores), events, strict=True))
        return sum(scores), interest if len(events) else np.zeros(SHAPE.dim)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(scores):
    exponents = np.exp(np.array(scores))
    return exponents / exponents.sum()


def test_both_matches_the_interest_and_all_fields_enter_the_perceptron(model, inputs):
    seen, slow = [], Slow(model, inputs)
    model.perceptron.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model(inputs)
    for row, user in enumerate(USER):
        target, events = inputs.target_event[row].numpy(), slow.events(user)
        item_match, interest = slow.item_to_item(events, target)
        pooled = inputs.behavior.pool()[row].numpy()
        expected = np.concatenate([
            inputs.user_attributes[user].flatten(), inputs.context[row].flatten(),
            inputs.target[row].flatten(), pooled, pooled * target,
            [slow.state(events) @ slow.target(target)], [item_match], interest,
        ])  # fmt: skip
        np.testing.assert_allclose(seen[0][row].detach(), expected, rtol=1e-4, atol=1e-6)


def test_the_auxiliary_loss_foretells_the_last_event_among_the_others(model, inputs):
    model.match_weight = 0.25
    inputs.behavior.values[2] = inputs.behavior.values[1]  # one user's oldest is another's last
    slow, losses = Slow(model, inputs), []
    every = [event for user in range(len(LENGTHS)) for event, _ in slow.events(user)]
    for user, length in enumerate(LENGTHS):
        if length > 1:
            *before, (last, _) = slow.events(user)
            state = slow.state(before)
            others = [event for event in every if (event != last).any()]
            logits = np.array([state @ slow.target(event) for event in (last, *others)])
            losses.append(np.log(np.exp(logits).sum()) - logits[0])
    found = model.train()(inputs).auxiliary_loss
    np.testing.assert_allclose(found.item(), 0.25 * np.mean(losses), rtol=1e-5)


def test_the_auxiliary_loss_draws_at_most_so_many_negatives(model, inputs):
    model.train()
    all_of_them = model(inputs).auxiliary_loss
    model.negatives = 2
    torch.manual_seed(0)
    assert model(inputs).auxiliary_loss < all_of_them


@pytest.mark.parametrize("lengths", [[1, 1], [0, 0]], ids=["one event", "none"])
def test_without_a_user_of_two_events_there_is_no_auxiliary_loss(model, lengths):
    output = model.train()(inputs_of(lengths, [0, 1]))
    assert output.auxiliary_loss is None
    assert output.logits.isfinite().all()


def test_serving_has_no_auxiliary_loss(model, inputs):
    assert model(inputs).auxiliary_loss is None


def test_virtual_behavior_is_not_foretold(model, inputs):
    filled = with_virtual(inputs, torch.randn(2, 2, SHAPE.dim), [[1, 1], [1, 1]])
    model.train()
    torch.testing.assert_close(model(filled).auxiliary_loss, model(inputs).auxiliary_loss)
