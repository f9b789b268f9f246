import numpy as np
import pytest
import torch

from thaw.nn.attention import AttentionPooling


def slow_pooling(values, w, b, z, mask):
    """Eqs. 1 and 2, user by user and vector by vector."""
    result = np.zeros((len(values), values.shape[2]))
    for u, vectors in enumerate(values):
        e = {i: z @ np.tanh(w @ a + b) for i, a in enumerate(vectors) if mask[u, i]}
        total = sum(np.exp(score) for score in e.values())
        for i, score in e.items():
            result[u] += np.exp(score) / total * vectors[i]
    return result


@pytest.fixture
def pooling():
    torch.manual_seed(0)
    return AttentionPooling(dim=3, attention_dim=5).double()


@pytest.fixture
def values():
    return torch.randn(4, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def weights(pooling):
    project, score = pooling.project, pooling.score
    return (
        project.weight.detach().numpy(),
        project.bias.detach().numpy(),
        score.weight[0].detach().numpy(),
    )


def test_pooling_is_equations_1_and_2(pooling, values):
    everything = np.ones((4, 6), bool)
    expected = slow_pooling(values.numpy(), *weights(pooling), everything)
    np.testing.assert_allclose(pooling(values).detach().numpy(), expected, rtol=1e-12)


def test_pooling_with_a_mask_is_equations_1_and_2_of_what_is_there(pooling, values):
    mask = torch.arange(6) < torch.tensor([6, 1, 3, 2]).unsqueeze(1)
    expected = slow_pooling(values.numpy(), *weights(pooling), mask.numpy())
    np.testing.assert_allclose(pooling(values, mask).detach().numpy(), expected, rtol=1e-12)


def test_what_the_mask_hides_has_no_effect(pooling, values):
    mask = torch.arange(6) < torch.tensor([6, 1, 3, 2]).unsqueeze(1)
    other = torch.where(mask.unsqueeze(2), values, 1e6)
    assert torch.equal(pooling(values, mask), pooling(other, mask))


def test_scores_have_no_bias(pooling):
    assert {name for name, _ in pooling.named_parameters()} == {
        "project.weight",
        "project.bias",
        "score.weight",
    }
