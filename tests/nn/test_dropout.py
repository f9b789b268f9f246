import pytest
import torch

from thaw.nn.dropout import Dropout


def dropped(rate, size=(301, 203), seed=0):
    torch.manual_seed(seed)
    return Dropout(rate).train()(torch.ones(size))


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_a_share_is_zero_and_the_mean_stays(rate):
    found = dropped(rate)
    assert (found == 0).float().mean().item() == pytest.approx(rate, abs=0.01)
    assert found[found != 0].unique().tolist() == pytest.approx([1 / (1 - rate)], rel=1e-4)
    assert found.mean().item() == pytest.approx(1, abs=0.02)


def test_elements_are_dropped_independently():
    """Neighbours share a random number, yet every pattern of eight is as frequent as another."""
    zeros = (dropped(0.5, (100_000, 8)) == 0).long()
    patterns = (zeros * 2 ** torch.arange(8)).sum(1).bincount(minlength=256)
    assert ((patterns / 100_000 * 256 - 1).abs() < 0.25).all()


def test_the_seed_decides():
    assert torch.equal(dropped(0.5), dropped(0.5))
    assert not torch.equal(dropped(0.5), dropped(0.5, seed=1))


def test_the_gradient_is_that_of_what_is_kept():
    x = torch.ones(50, 50, requires_grad=True)
    found = Dropout(0.4).train()(x)
    found.sum().backward()
    assert torch.equal(x.grad, found.detach())


@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (3, 5), (7,)])
def test_any_shape_is_kept(shape):
    assert dropped(0.5, shape).shape == shape


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero():
    x = torch.randn(9, 9)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


def test_a_rate_next_to_1_keeps_some():
    assert Dropout(1 - 1e-9)(torch.ones(4, 100_000)).isfinite().all()
