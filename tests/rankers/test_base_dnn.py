from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from builders import SHAPE, inputs_of, with_virtual
from thaw.rankers import BaseDNN


def slow_base_dnn(model, inputs, dropped=lambda x: x):
    """Eqs. 11 and 12 in evaluation, row by row; returns the probabilities."""
    behavior, result = inputs.behavior, []
    offsets = behavior.offsets.tolist()
    for row, user in enumerate(behavior.user.tolist()):
        z_v, z_a, z_c, z_t = (np.zeros(SHAPE.dim) for _ in range(4))
        for n in range(offsets[user], offsets[user + 1]):
            z_v += behavior.values[n].numpy()
        for part, total in ((inputs.attributes, z_a), (inputs.context, z_c), (inputs.target, z_t)):
            for vector in part[row].numpy():
                total += vector
        z = np.concatenate([z_v, z_a, z_c, z_t])
        for dense, norm in zip(model.perceptron.dense, model.perceptron.norm, strict=True):
            y = dense.weight.detach().numpy() @ dropped(z) + dense.bias.detach().numpy()
            scaled = (y - norm.running_mean.numpy()) / np.sqrt(norm.running_var.numpy() + norm.eps)
            y = scaled * norm.weight.detach().numpy() + norm.bias.detach().numpy()
            z = np.where(y > 0, y, 0.01 * y)
        logits = (
            model.perceptron.out.weight.detach().numpy() @ z
            + model.perceptron.out.bias.detach().numpy()
        )
        result.append(1 / (1 + np.exp(-logits)))
    return np.array(result)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = BaseDNN(replace(SHAPE, tasks=2), hidden=(8, 6))
    for norm in model.perceptron.norm:  # batch normalisation that does something
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)
    return model.eval()


@pytest.fixture
def inputs():
    """Three old users and two new ones, whose behavior is empty."""
    return inputs_of([2, 5, 1, 0, 0], [0, 3, 1, 1, 4, 2, 0])


def test_output_is_equations_11_and_12(model, inputs):
    output = model(inputs)
    found = torch.sigmoid(output.logits).detach().numpy()
    np.testing.assert_allclose(found, slow_base_dnn(model, inputs), rtol=1e-5)
    assert output.auxiliary_loss is None


def test_dropout_is_before_each_dense_layer(model, inputs):
    class Tripling(nn.Module):
        def forward(self, x):
            return 3 * x

    model.perceptron.dropout = Tripling()
    expected = slow_base_dnn(model, inputs, lambda x: 3 * x)
    np.testing.assert_allclose(
        torch.sigmoid(model(inputs).logits).detach().numpy(), expected, rtol=1e-5
    )


def test_pooled_behavior_of_new_users_is_the_zero_vector(inputs):
    pooled = BaseDNN.pool(inputs)[:, : SHAPE.dim]
    assert not pooled[inputs.is_new].any()
    assert pooled[~inputs.is_new].any(1).all()


def test_virtual_behavior_takes_the_place_of_empty_behavior(model, inputs):
    virtual = torch.randn(2, SHAPE.max_events, SHAPE.dim)
    filled = with_virtual(inputs, virtual, [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    found = torch.sigmoid(model(filled).logits).detach().numpy()
    np.testing.assert_allclose(found, slow_base_dnn(model, filled), rtol=1e-5)
    assert np.array_equal(found[0], torch.sigmoid(model(inputs).logits)[0].detach().numpy())


def test_training_normalises_over_the_batch(inputs):
    model = BaseDNN(SHAPE, hidden=(8,), dropout=0.0).train()
    dense, out = model.perceptron.dense[0], model.perceptron.out
    z = BaseDNN.pool(inputs).detach().numpy()
    y = z @ dense.weight.detach().numpy().T + dense.bias.detach().numpy()
    y = (y - y.mean(0)) / np.sqrt(y.var(0) + 1e-5)
    expected = np.where(y > 0, y, 0.01 * y) @ out.weight.detach().numpy().T
    expected = expected + out.bias.detach().numpy()
    np.testing.assert_allclose(
        model(inputs).logits.detach().numpy(), expected, rtol=1e-4, atol=1e-5
    )


def test_widths_and_rates_are_the_papers_by_default():
    model = BaseDNN(SHAPE)
    assert [tuple(layer.weight.shape) for layer in model.perceptron.dense] == [
        (512, 16),
        (256, 512),
    ]
    assert model.perceptron.out.weight.shape == (1, 256)
    assert model.perceptron.dropout.rate == 0.5


def test_training_loss_is_equation_13_per_row(model, inputs):
    labels = (torch.rand(7, 2) < 0.5).float()
    found = F.binary_cross_entropy_with_logits(model(inputs).logits, labels).item()
    total = 0.0
    for row, y in zip(slow_base_dnn(model, inputs), labels.numpy(), strict=True):
        for probability, label in zip(row, y, strict=True):
            total -= label * np.log(probability) + (1 - label) * np.log(1 - probability)
    assert found == pytest.approx(total / 14, rel=1e-5)
