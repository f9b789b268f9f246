from itertools import pairwise

import pytest
import torch

from thaw.nn.events import Filled, LookedUp, Vectors

DIM = 3
LENGTHS = [2, 40, 0, 3, 11, 0]  # more events than users times actions: sums are made in bags


def looked_up(lengths, *, fields=2, actions=3, rows=20, dtype=torch.float64):
    """Events at random places; the actions' are the last of the rows."""
    draw, count = torch.Generator().manual_seed(0), sum(lengths)
    table = torch.randn(rows, DIM, generator=draw, dtype=dtype).requires_grad_()
    places = [torch.randint(rows - actions, (count,), generator=draw) for _ in range(fields)]
    action = torch.randint(rows - actions, rows, (count,), generator=draw) if actions else None
    return LookedUp(table, tuple(places), action)


def offsets_of(lengths):
    return torch.tensor([0, *torch.tensor(lengths).cumsum(0)])


def written_out(events, lengths):
    """Each user's sum, by the definition of v_i (section 3.1.1)."""
    sums, offsets = [], offsets_of(lengths).tolist()
    for start, end in pairwise(offsets):
        total = torch.zeros(DIM, dtype=events.rows.dtype)
        for n in range(start, end):
            vector = sum(events.rows[field[n]] for field in events.fields)
            total = total + (
                vector if events.action is None else vector * events.rows[events.action[n]]
            )
        sums.append(total)
    return torch.stack(sums)


CASES = {
    "actions": (LENGTHS, {}),
    "one field": (LENGTHS, {"fields": 1}),
    "no actions": (LENGTHS, {"actions": 0}),
    "one action": (LENGTHS, {"actions": 1}),
    "few events": ([1, 2, 0], {}),
    "one user": ([30], {}),
    "no events": ([0, 0], {}),
    "no events and no actions": ([0, 0], {"actions": 0}),
    "no users": ([], {}),
    "many rows": (LENGTHS, {"rows": (1 << 16) + 9}),
    "single precision": (LENGTHS, {"dtype": torch.float32}),
}


@pytest.mark.parametrize(("lengths", "options"), CASES.values(), ids=CASES)
def test_sums_and_their_gradients_are_those_of_each_event_by_itself(lengths, options):
    events = looked_up(lengths, **options)
    found = events.sums(offsets_of(lengths))
    assert found.shape == (len(lengths), DIM)
    if sum(lengths) == 0:
        assert not found.any()
        return
    expected = written_out(events, lengths)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(found.shape, dtype=found.dtype)
    gradients = [
        torch.autograd.grad((sums * weight).sum(), events.rows)[0] for sums in (found, expected)
    ]
    torch.testing.assert_close(*gradients)


def test_sums_are_the_same_whether_vectors_are_made_or_not():
    events = looked_up(LENGTHS)
    offsets = offsets_of(LENGTHS)
    torch.testing.assert_close(Vectors(events.values).sums(offsets), events.sums(offsets))


def test_sums_have_the_same_bits_in_every_run_and_for_any_number_of_threads():
    events, offsets = looked_up(LENGTHS * 50, dtype=torch.float32), offsets_of(LENGTHS * 50)
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3, 1):
        torch.set_num_threads(threads)
        sums = events.sums(offsets)
        (gradient,) = torch.autograd.grad(sums.square().sum(), events.rows)
        found.append((sums.detach(), gradient))
    torch.set_num_threads(before)
    for sums, gradient in found[1:]:
        assert torch.equal(sums, found[0][0])
        assert torch.equal(gradient, found[0][1])


def test_no_event_gets_a_vector_where_only_sums_are_asked_for():
    events = looked_up(LENGTHS)
    events.sums(offsets_of(LENGTHS))
    assert "values" not in vars(events)
    assert events.values is events.values


@pytest.mark.parametrize("index", [[3, 0, 3], [], [55]])
@pytest.mark.parametrize("kind", ["looked up", "vectors", "filled"])
def test_take_gives_those_that_are_named(kind, index):
    events = looked_up(LENGTHS)
    if kind == "vectors":
        events = Vectors(events.values, torch.arange(len(events)))
    if kind == "filled":
        offsets, users = offsets_of(LENGTHS), torch.tensor([0, len(LENGTHS) - 1])
        virtual = torch.randn(2, 2, DIM).double()
        events = Filled(events, offsets, users, virtual, torch.tensor([[3, 0], [1, 2]]))
    index = torch.tensor(index, dtype=torch.int64)
    taken = events.take(index)
    assert len(taken) == len(index)
    assert torch.equal(taken.values, events.values[index])
    if events.repeats is None:
        assert taken.repeats is None
    else:
        assert torch.equal(taken.repeats, events.repeats[index])


@pytest.mark.parametrize("users", [(0, 1), (1, 3), (3, 4), (2, 5)])
def test_filled_events_are_each_users_virtual_ones_and_behind_them_the_real(users):
    lengths = [3, 1, 0, 2, 0, 0]
    real, offsets = looked_up(lengths), offsets_of(lengths)
    virtual, repeats = torch.randn(2, 3, DIM).double(), torch.tensor([[2, 0, 5], [0, 0, 1]])
    filled = Filled(real, offsets, torch.tensor(users), virtual, repeats)
    before = {users[0]: [(virtual[0, 0], 2), (virtual[0, 2], 5)], users[1]: [(virtual[1, 2], 1)]}
    expected = [
        before.get(user, [])
        + [(event, 1) for event in real.values[offsets[user] : offsets[user + 1]]]
        for user in range(len(lengths))
    ]
    flat = [pair for own in expected for pair in own]
    assert len(filled) == len(flat) == len(real) + 3
    assert torch.equal(filled.values, torch.stack([event for event, _ in flat]))
    assert filled.repeats.tolist() == [count for _, count in flat]
    assert torch.equal(filled.all_offsets, offsets_of([len(own) for own in expected]))
    found = filled.sums(filled.all_offsets)
    written_out = Vectors(filled.values, filled.repeats).sums(filled.all_offsets)
    torch.testing.assert_close(found, written_out)
