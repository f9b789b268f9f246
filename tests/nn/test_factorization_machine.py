"""What attributes say of clicks, against the formula as loops."""

import pytest
import torch

from builders import batch_of
from thaw.nn.factorization_machine import FactorizationMachine

DIM = 3


def machine_of(dataset, given=(None,), seed=0):
    """Random machine: after training no embedding is small."""
    layout = dataset.layout
    found = FactorizationMachine(sizes=layout.sizes, dim=DIM, given=given, has_id=True)
    draw = torch.Generator().manual_seed(seed)
    found.embeddings.table.normal_(generator=draw)
    found.bias.data.normal_(generator=draw)
    return found


@pytest.fixture
def batch(dataset):
    return batch_of(dataset)


def fields_of(batch, table, role, row, first=0):
    """The vectors of one row's fields of a role, a dense one's times its value."""
    fields = getattr(batch, role)
    index = fields.index[row][first:]
    scale = torch.ones(len(index)) if fields.scale is None else fields.scale[row][first:]
    return [table[batch.rows[place]] * by for place, by in zip(index, scale, strict=True)]


def slow_logit(machine, batch, row, task):
    """b + the sum of weights + the product of sums."""
    table = machine.embeddings.table.view(-1, len(machine.given), 1 + DIM)[:, task]
    user = fields_of(batch, table, "attributes", batch.user[row], first=1)
    item = fields_of(batch, table, "target", row)
    context = fields_of(batch, table, "context", row)
    weights = sum(vector[0] for vector in (*user, *item, *context))
    products = sum(a[1:] @ t[1:] for a in user for t in item)
    return (machine.bias[task] + weights + products).item()


@pytest.mark.parametrize("given", [(None,), (None, 0)], ids=["one task", "two tasks"])
def test_log_odds_are_the_sum_of_weights_and_of_products(dataset, batch, given):
    machine = machine_of(dataset, given)
    found = machine(batch, machine.embeddings.look_up(batch))
    expected = [
        [slow_logit(machine, batch, row, task) for task in range(len(given))]
        for row in range(batch.size)
    ]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_the_parts_add_up_and_are_about_mean_users_and_mean_items(dataset, batch):
    machine = machine_of(dataset)
    machine.center(batch)
    parts = machine.parts(batch)
    whole = machine(batch, machine.embeddings.look_up(batch))
    torch.testing.assert_close(parts.rest + parts.level + parts.order, whole)
    torch.testing.assert_close(parts.level.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    of_a_user = [torch.unique(parts.level[batch.user == u]) for u in range(batch.num_users)]
    assert all(len(levels) == 1 for levels in of_a_user)


def test_the_users_id_says_nothing(dataset, batch):
    machine = machine_of(dataset)
    before = machine.parts(batch)
    ids = batch.rows[batch.attributes.index[:, 0]]
    machine.embeddings.table[ids] += 1
    assert all(torch.equal(*pair) for pair in zip(before, machine.parts(batch), strict=True))


def test_rows_that_are_meant_have_the_parts_times_the_strengths(dataset, batch):
    machine = machine_of(dataset)
    machine.center(batch)
    machine.strength.copy_(torch.tensor([[0.3, 0.7]]))
    machine.shift.fill_(-0.2)
    before = torch.rand(batch.size, 1) * 0.98 + 0.01
    is_meant = torch.arange(batch.size) % 3 == 0
    after = machine.answers(before, batch, is_meant)
    assert torch.equal(after[~is_meant], before[~is_meant])
    parts = machine.parts(batch)
    logits = torch.logit(before) + 0.3 * parts.level + 0.7 * parts.order - 0.2
    torch.testing.assert_close(after[is_meant], torch.sigmoid(logits)[is_meant])


def test_what_is_not_believed_changes_no_bit(dataset, batch):
    machine = machine_of(dataset)
    machine.shift.fill_(1)
    before = torch.rand(batch.size, 1)
    assert torch.equal(machine.answers(before, batch, torch.ones(batch.size).bool()), before)


def test_a_task_that_is_given_another_never_comes_above_it(dataset, batch):
    machine = machine_of(dataset, given=(None, 0))
    machine.strength.fill_(1)
    clicks = torch.rand(batch.size)
    before = torch.stack([clicks, clicks * torch.rand(batch.size)], dim=1)
    before[0] = 0  # nobody clicks: nobody buys
    found = machine.answers(before, batch, torch.ones(batch.size).bool())
    assert (found[:, 1] <= found[:, 0]).all()
    rates = torch.logit(machine.conditional(before), 1e-6)
    said = machine.added(batch)
    torch.testing.assert_close(found[:, 0], torch.sigmoid(rates + said)[:, 0])
    torch.testing.assert_close(found[:, 1] / found[:, 0], torch.sigmoid(rates + said)[:, 1])


def test_a_task_that_is_given_another_learns_where_that_has_a_label(dataset):
    machine = machine_of(dataset, given=(None, 0, None))
    labels = torch.tensor([[1.0, 0, 1], [1, 1, 0], [0, 0, 0]])
    assert machine.counted(labels).tolist() == [[1, 1, 1], [1, 1, 1], [1, 0, 1]]
