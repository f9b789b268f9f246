"""Old users' behavior in the place of new users', against a loop over users and rows."""

from dataclasses import replace

import pytest
import torch

from builders import SHAPE, behavior_of, inputs_of, same, small_dnn
from thaw.errors import MethodError
from thaw.methods import Lookalikes
from thaw.nn.events import Vectors
from thaw.nn.inputs import Behavior
from thaw.nn.lookalikes import Values

LENGTHS = [3, 1, 2, 4, 2, 1]


@pytest.fixture
def old():
    """Values of six old users' attributes, and their behavior."""
    return values_of(len(LENGTHS), seed=2), behavior_of(LENGTHS, [*range(len(LENGTHS))], dim=4)


@pytest.fixture
def ranker():
    return small_dnn(SHAPE).eval()


def values_of(users, seed, kinds=3):
    """Three attributes, the last of them dense."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(kinds, (users, 3), generator=draw) + torch.tensor([0, 10, 20])
    ids[:, 2] = 20
    scale = torch.ones(users, 3)
    scale[:, 2] = torch.randn(users, generator=draw)
    return Values(ids, scale)


def fitted(old, count=3, alike_share=None):
    tower = Lookalikes(count=count).tower(SHAPE)
    tower.fit(*old)
    if alike_share is not None:
        tower.alike_share.fill_(alike_share)
    return tower


def following(noise, users=200):
    """Users whose one event is what their attributes say, and noise."""
    values = values_of(users, seed=3)
    draw = torch.Generator().manual_seed(3)
    events = values.ids @ torch.eye(3, 4, dtype=torch.int64)
    events = events + noise * torch.randn(users, 4, generator=draw)
    return values, Behavior(Vectors(events), torch.arange(users + 1), torch.arange(users))


def likeness(one, other):
    """Of two users, each a pair of ids and scales."""
    each = zip(*one, *other, strict=True)
    return sum((i == j) / (1 + abs(s - t)) for i, s, j, t in each)


def users_of(values):
    """Each user's ids and scales."""
    return [*zip(values.ids.tolist(), values.scale.tolist(), strict=True)]


def test_those_who_share_most_come_first_and_then_the_same_for_everyone(old):
    tower, new = fitted(old, count=4, alike_share=0.5), values_of(3, seed=4)
    for user, chosen in zip(users_of(new), tower.chosen(new), strict=True):
        found = [likeness(user, other) for other in users_of(tower)]
        alike = sorted(range(6), key=lambda k: -found[k])[:2]
        assert chosen[:2].tolist() == alike
        assert chosen[2:].tolist() == [k for k in range(6) if k not in alike][:2]


def test_of_those_who_share_as_much_the_earlier_stands_in():
    values, _ = values_of(3000, seed=2, kinds=1)
    behavior = behavior_of([1] * 3000, [*range(3000)], dim=4)
    same_values = Values(values, torch.ones(3000, 3))
    tower = fitted((same_values, behavior), count=20, alike_share=0.5)
    chosen = tower.chosen(Values(values[:1500], torch.ones(1500, 3)))
    assert chosen.tolist() == [[*range(20)]] * 1500


def test_it_keeps_each_users_own_values_and_behavior_in_a_drawn_order(old):
    values, behavior = old
    tower = fitted(old)
    order = [users_of(tower).index(user) for user in users_of(values)]
    assert sorted(order) == [*range(6)]
    assert order != [*range(6)]
    for user, place in enumerate(order):
        found = tower.events[tower.offsets[place] : tower.offsets[place + 1]]
        assert same(found, behavior.values[behavior.offsets[user] : behavior.offsets[user + 1]])


@pytest.mark.parametrize("alike_share", [0, 0.4, 1])
def test_a_new_users_answer_is_the_mean_over_who_stands_in(old, ranker, alike_share):
    tower, inputs = fitted(old, alike_share=alike_share), inputs_of([2, 3, 0, 0], [0, 2, 3, 1, 2])
    values = values_of(4, seed=5)
    chosen = tower.chosen(values)
    with torch.no_grad():
        found = tower.answers(ranker, inputs, values)
        for row in (1, 2, 4):
            user = int(inputs.behavior.user[row])
            answers = []
            for other in chosen[user].tolist():
                events = tower.events[tower.offsets[other] : tower.offsets[other + 1]]
                shown = replace(
                    inputs,
                    user_attributes=inputs.user_attributes[user : user + 1],
                    context=inputs.context[row : row + 1],
                    target=inputs.target[row : row + 1],
                    target_event=inputs.target_event[row : row + 1],
                    behavior=Behavior(
                        Vectors(events), torch.tensor([0, len(events)]), torch.tensor([0])
                    ),
                    num_old=1,
                )
                answers.append(torch.sigmoid(ranker(shown).logits))
            torch.testing.assert_close(found[row], torch.stack(answers).mean(0)[0])


def test_old_users_are_answered_as_by_the_ranker_alone(old, ranker):
    inputs = inputs_of([2, 3, 0, 0], [0, 2, 3, 1, 2])
    with torch.no_grad():
        found = fitted(old).answers(ranker, inputs, values_of(4, seed=5))
        alone = torch.sigmoid(ranker(inputs).logits)
    is_same = [same(*pair) for pair in zip(found, alone, strict=True)]
    assert is_same == [True, False, False, True, False]


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 0.9, 1.0), (50.0, 0.0, 0.3)])
def test_those_alike_are_believed_as_far_as_they_foretell(noise, low, high):
    assert low <= fitted(following(noise), count=20).alike_share.item() <= high


def test_of_fewer_old_users_all_stand_in(old, ranker):
    inputs, values = inputs_of([2, 0], [0, 1]), values_of(2, seed=5)
    one = values_of(1, seed=2), behavior_of([3], [0], dim=4)
    for few, expected in ((old, len(LENGTHS)), (one, 1)):
        tower = fitted(few, count=100, alike_share=0)
        assert tower.chosen(values).tolist() == [[*range(expected)]] * 2
        assert torch.isfinite(tower.answers(ranker, inputs, values)).all()


def test_the_only_old_user_foretells_nobody():
    assert fitted((values_of(1, seed=2), behavior_of([3], [0], dim=4))).alike_share == 0


def test_it_loads_as_large_as_it_was(old, ranker):
    tower, inputs, values = fitted(old), inputs_of([2, 0], [0, 1]), values_of(2, seed=5)
    loaded = Lookalikes(count=3).tower(SHAPE)
    loaded.load_state_dict({}, strict=False)  # as before the fit
    assert loaded.alike_share == 0
    loaded.load_state_dict(tower.state_dict())
    with torch.no_grad():
        found, expected = (each.answers(ranker, inputs, values) for each in (loaded, tower))
    assert same(found, expected)


@pytest.mark.parametrize("options", [{"count": 0}, {"users": 0}])
def test_nobody_is_no_lookalike(options):
    (name,) = options
    with pytest.raises(MethodError, match=rf"Lookalikes\.{name} \(=0\) must be 1 or more"):
        Lookalikes(**options)
