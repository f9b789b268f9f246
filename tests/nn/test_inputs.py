import pytest
import torch

from builders import behavior_of, inputs_of
from thaw.nn.events import Vectors
from thaw.nn.inputs import Behavior, by_row

WORLDS = {
    "mixed": ([2, 7, 3, 0, 0], [0, 3, 1, 1, 4, 2, 0]),
    "all old": ([4, 1], [1, 0, 1]),
    "all new": ([0, 0, 0], [2, 2, 0, 1]),
    "batch of one": ([3], [0]),
    "batch of one new user": ([0], [0]),
}
worlds = pytest.mark.parametrize(("lengths", "user"), WORLDS.values(), ids=WORLDS)


def events_of(behavior, user):
    """One user's events, by the definition of offsets."""
    return behavior.values[behavior.offsets[user] : behavior.offsets[user + 1]]


@worlds
def test_pool_is_each_rows_sum(lengths, user):
    behavior = behavior_of(lengths, user)
    for row, pooled in zip(user, behavior.pool(), strict=True):
        expected = torch.zeros(3)
        for event in events_of(behavior, row):
            expected = expected + event
        torch.testing.assert_close(pooled, expected)


@worlds
def test_pool_of_no_events_is_exactly_zero(lengths, user):
    pooled = behavior_of(lengths, user).pool_users()
    for length, sums in zip(lengths, pooled, strict=True):
        assert length > 0 or not sums.any()


@worlds
@pytest.mark.parametrize("length", [1, 4, 9])
def test_pad_keeps_the_last_events_and_zeros_behind(lengths, user, length):
    behavior = behavior_of(lengths, user)
    padded, mask = behavior.pad(length)
    assert padded.shape == (len(user), length, 3)
    for row, values, there in zip(user, padded, mask, strict=True):
        kept = events_of(behavior, row)[-length:]
        assert there.tolist() == [i < len(kept) for i in range(length)]
        assert torch.equal(values[: len(kept)], kept)
        assert not values[len(kept) :].any()


@pytest.mark.parametrize("users", [[0], [2, 0], [1, 1, 2]])
def test_select_users_keeps_their_events(users):
    behavior = behavior_of([2, 7, 3, 0], [0, 1])
    chosen = behavior.select_users(torch.tensor(users))
    assert chosen.user.tolist() == list(range(len(users)))
    for place, user in enumerate(users):
        assert torch.equal(events_of(chosen, place), events_of(behavior, user))


REPEATS = [
    ([2, 3, 0, 0], [[1, 1, 1, 1], [1, 0, 0, 0]]),
    ([2, 3, 0, 0], [[3, 3], [2, 0]]),
    ([0, 0], [[2], [5]]),
    ([0], [[0, 4, 1]]),
]


def written_out(behavior):
    """The same behavior, each event as often as it stands there."""
    users = [events_of(behavior, user) for user in range(len(behavior.offsets) - 1)]
    counts = [
        behavior.repeats[behavior.offsets[user] : behavior.offsets[user + 1]]
        for user in range(len(users))
    ]
    each = [
        [event for event, count in zip(*pair, strict=True) for _ in range(int(count))]
        for pair in zip(users, counts, strict=True)
    ]
    values = [event for own in each for event in own]
    offsets = torch.tensor([0, *torch.tensor([len(own) for own in each]).cumsum(0)])
    return Behavior(Vectors(torch.stack(values)), offsets, behavior.user)


@pytest.mark.parametrize(("lengths", "repeats"), REPEATS)
def test_fill_gives_new_users_virtual_behavior_and_leaves_old_ones(lengths, repeats):
    behavior = behavior_of(lengths, [0])
    virtual = torch.randn(len(repeats), len(repeats[0]), 3)
    filled = written_out(fill_new(behavior, virtual, repeats))
    num_old = len(lengths) - len(repeats)
    for user in range(num_old):
        assert torch.equal(events_of(filled, user), events_of(behavior, user))
    for place, counts in enumerate(repeats):
        expected = torch.repeat_interleave(virtual[place], torch.tensor(counts), dim=0)
        assert torch.equal(events_of(filled, num_old + place), expected)


def fill_new(behavior, virtual, repeats):
    """Fill the last users, who have no behavior."""
    users = torch.arange(len(behavior.offsets) - 1)[-len(repeats) :]
    return behavior.fill(users, virtual, torch.tensor(repeats))


@pytest.mark.parametrize("repeats", [[1, 1, 1, 1, 1], [5], [2, 3], [0, 2, 0, 3], [1, 0, 2, 0]])
@pytest.mark.parametrize("lengths", [[0, 2], [2, 0, 5], [1], [3, 9, 1], [4, 5, 6]])
def test_fill_leaves_the_newest_places_to_the_real_events(lengths, repeats):
    behavior = behavior_of(lengths, [0])
    virtual = torch.randn(len(lengths), len(repeats), 3)
    filled = written_out(
        behavior.fill(torch.arange(len(lengths)), virtual, torch.tensor([repeats for _ in lengths]))
    )
    for user, length in enumerate(lengths):
        long = torch.repeat_interleave(virtual[user], torch.tensor(repeats), dim=0)
        left = long[: max(len(long) - length, 0)]
        assert torch.equal(events_of(filled, user), torch.cat([left, events_of(behavior, user)]))


@pytest.mark.parametrize(("lengths", "repeats"), REPEATS)
def test_events_that_repeat_are_as_if_written_out(lengths, repeats):
    users = [0, *range(len(lengths)), 0]
    virtual = torch.randn(len(repeats), len(repeats[0]), 3)
    short = fill_new(behavior_of(lengths, users), virtual, repeats)
    long = written_out(short)
    assert torch.equal(short.lengths, long.lengths)
    torch.testing.assert_close(short.pool(), long.pool())
    for length in (1, 3, 9):
        for found, expected in zip(short.pad(length), long.pad(length), strict=True):
            assert torch.equal(found, expected)
    torch.testing.assert_close(short.by_row().pool(), long.by_row().pool())


@worlds
def test_by_row_gives_each_row_its_own_events(lengths, user):
    behavior = behavior_of(lengths, user)
    rows = behavior.by_row()
    assert rows.user.tolist() == list(range(len(user)))
    for row, owner in enumerate(user):
        assert torch.equal(events_of(rows, row), events_of(behavior, owner))
    assert rows.owner.tolist() == [row for row, own in enumerate(user) for _ in range(lengths[own])]


@worlds
def test_by_row_shows_every_row_the_same_as_before(lengths, user):
    before = inputs_of(lengths, user)
    after = by_row(before)
    assert torch.equal(after.attributes, before.attributes)
    assert torch.equal(after.is_new, before.is_new)
    for row, owner in enumerate(user):
        own = int(after.behavior.user[row])
        assert torch.equal(events_of(after.behavior, own), events_of(before.behavior, owner))
    assert sorted(after.behavior.user.tolist()) == list(range(len(user)))
    assert after.num_old == sum(lengths[owner] > 0 for owner in user)


@worlds
def test_attributes_and_the_flag_are_row_by_row(lengths, user):
    inputs = inputs_of(lengths, user)
    for row, owner in enumerate(user):
        assert torch.equal(inputs.attributes[row], inputs.user_attributes[owner])
        assert bool(inputs.is_new[row]) == (lengths[owner] == 0)


@pytest.mark.parametrize("repeats", [None, [1, 3, 2, 1, 0, 2]])
def test_pool_with_weights_counts_each_event_so_many_times(repeats):
    values = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, dtype=torch.float64, requires_grad=True)
    offsets, user = torch.tensor([0, 2, 2, 6]), torch.tensor([2, 0, 1, 2])
    given = None if repeats is None else torch.tensor(repeats)

    def pooled(values, weights):
        return Behavior(Vectors(values, given), offsets, user).pool(weights)

    each = values * (weights if given is None else weights * given).unsqueeze(1)
    sums = torch.stack([each[:2].sum(0), each[2:2].sum(0), each[2:].sum(0)])
    torch.testing.assert_close(pooled(values, weights), sums[user])
    torch.testing.assert_close(pooled(values, weights > 0), pooled(values, (weights > 0).double()))
    assert torch.autograd.gradcheck(pooled, (values, weights))
    assert torch.autograd.gradgradcheck(pooled, (values, weights))
