import numpy as np
import pytest
import torch

from thaw.optim import RowAdam

ROWS, DIM = 7, 3


@pytest.fixture
def table():
    return torch.randn(ROWS, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def gradients():
    return torch.randn(
        12, ROWS, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )


def dense_adam(table, gradients, rate=1e-2):
    """What torch's Adam makes of it."""
    parameter = torch.nn.Parameter(table.clone())
    adam = torch.optim.Adam([parameter], rate)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        adam.step()
    return parameter.detach()


def slow_row_adam(table, touched, gradients, rate=1e-2):
    """The documented law, number by number: moments rest in untouched rows, all steps count."""
    table = table.numpy().copy()
    mean, square = np.zeros_like(table), np.zeros_like(table)
    for step, (rows, gradient) in enumerate(zip(touched, gradients.numpy(), strict=True), start=1):
        for row in rows:
            for k in range(DIM):
                mean[row, k] = 0.9 * mean[row, k] + 0.1 * gradient[row, k]
                square[row, k] = 0.999 * square[row, k] + 0.001 * gradient[row, k] ** 2
                root = np.sqrt(square[row, k] / (1 - 0.999**step)) + 1e-8
                table[row, k] -= rate * mean[row, k] / (1 - 0.9**step) / root
    return table


def test_with_every_row_in_every_step_it_is_adam(table, gradients):
    expected = dense_adam(table, gradients)
    adam = RowAdam(table, learning_rate=1e-2)
    for gradient in gradients:
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))
        adam.step(order, gradient[order])
    torch.testing.assert_close(table, expected, rtol=1e-12, atol=1e-12)


def test_rows_in_every_step_are_adams_whatever_the_others_do(table, gradients):
    expected = dense_adam(table, gradients)
    adam = RowAdam(table, learning_rate=1e-2)
    for step, gradient in enumerate(gradients):
        rows = torch.tensor([0, 3, *([5] if step % 3 == 0 else [])])
        adam.step(rows, gradient[rows])
    torch.testing.assert_close(table[[0, 3]], expected[[0, 3]], rtol=1e-12, atol=1e-12)


def test_untouched_rows_keep_their_bits(table, gradients):
    before = table.clone()
    adam = RowAdam(table, learning_rate=1e-2)
    adam.step(torch.tensor([1, 2]), gradients[0, :2])
    moments = adam.mean.clone(), adam.square.clone()
    adam.step(torch.tensor([4]), gradients[1, :1])
    assert torch.equal(table[[0, 3, 5, 6]], before[[0, 3, 5, 6]])
    assert not adam.mean[[0, 3, 5, 6]].any()
    for now, then in zip((adam.mean, adam.square), moments, strict=True):
        assert torch.equal(now[[1, 2]], then[[1, 2]])


def test_with_gaps_it_follows_its_law(table, gradients):
    touched = [sorted({step % ROWS, (3 * step) % ROWS}) for step in range(12)]
    expected = slow_row_adam(table, touched, gradients)
    adam = RowAdam(table, learning_rate=1e-2)
    for rows, gradient in zip(touched, gradients, strict=True):
        adam.step(torch.tensor(rows), gradient[rows])
    np.testing.assert_allclose(table.numpy(), expected, rtol=1e-10)


def test_no_rows_are_a_step_that_counts(table):
    before, adam = table.clone(), RowAdam(table)
    adam.step(torch.zeros(0, dtype=torch.int64), torch.zeros(0, DIM, dtype=torch.float64))
    assert adam.steps == 1
    assert torch.equal(table, before)


def test_state_goes_into_another_optimizer_bit_by_bit(table, gradients):
    other = table.clone()
    one = RowAdam(table)
    one.step(torch.arange(ROWS), gradients[0])
    other.copy_(table)
    two = RowAdam(other)
    two.load({name: value.clone() for name, value in one.state().items()})
    for adam in (one, two):
        adam.step(torch.tensor([0, 2]), gradients[1, :2])
    assert torch.equal(table, other)
    assert two.steps == 2
