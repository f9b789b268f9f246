import numpy as np
import pytest
import torch
from torch import nn

from thaw.nn.autoencoder import ResidualDecoder, ResidualEncoder


class Tripling(nn.Module):
    """Stands for dropout, so that its places show."""

    def forward(self, x):
        return 3 * x


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def dense(layer, x):
    return layer.weight.detach().numpy() @ x + layer.bias.detach().numpy()


def slow_encoder(encoder, h, dropped):
    """Eq. 15 for one user."""
    z1 = leaky(dense(encoder.dense1, dropped(h)))
    z2 = leaky(dense(encoder.dense2, dropped(np.concatenate([z1, h]))))
    return leaky(dense(encoder.dense3, np.concatenate([z2, h])))


def slow_decoder(decoder, p, dropped):
    """Eq. 16 for one user."""
    z3 = leaky(dense(decoder.dense1, dropped(p)))
    z4 = leaky(dense(decoder.dense2, dropped(np.concatenate([z3, p]))))
    return dense(decoder.dense3, np.concatenate([z4, p]))


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return ResidualEncoder(in_dim=4, hidden=(7, 6, 5), dropout=0.5).double()


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return ResidualDecoder(hidden_dim=4, hidden=(6, 7), out_dim=9, dropout=0.5).double()


@pytest.mark.parametrize(("name", "slow"), [("encoder", slow_encoder), ("decoder", slow_decoder)])
def test_without_dropout_it_is_the_equation(name, slow, request):
    module = request.getfixturevalue(name).eval()
    x = torch.randn(8, 4, dtype=torch.float64)
    expected = [slow(module, row, lambda value: value) for row in x.numpy()]
    np.testing.assert_allclose(module(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "slow"), [("encoder", slow_encoder), ("decoder", slow_decoder)])
def test_dropout_is_where_the_equation_has_it(name, slow, request):
    module = request.getfixturevalue(name)
    module.dropout = Tripling()
    x = torch.randn(8, 4, dtype=torch.float64)
    expected = [slow(module, row, lambda value: 3 * value) for row in x.numpy()]
    np.testing.assert_allclose(module(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_dropout_has_the_rate(encoder):
    assert encoder.dropout.rate == 0.5
    x = torch.randn(2, 4, dtype=torch.float64)
    assert not torch.equal(encoder.train()(x), encoder.eval()(x))


def test_widths_are_those_of_the_concatenations(encoder, decoder):
    shapes = [
        tuple(layer.weight.shape) for layer in (encoder.dense1, encoder.dense2, encoder.dense3)
    ]
    assert shapes == [(7, 4), (6, 7 + 4), (5, 6 + 4)]
    shapes = [
        tuple(layer.weight.shape) for layer in (decoder.dense1, decoder.dense2, decoder.dense3)
    ]
    assert shapes == [(6, 4), (7, 6 + 4), (9, 7 + 4)]
