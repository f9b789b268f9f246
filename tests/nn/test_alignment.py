import numpy as np
import pytest
import torch

from thaw.nn.alignment import gaussian_kernel, mmd


def slow_kernel(x, y, sigma):
    return np.exp(-sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / (2 * sigma**2))


def slow_mmd(p, q, sigma):
    """Eq. 5 with the weight 1/n² in all three sums."""
    n, total = len(p), 0.0
    for i in range(n):
        for j in range(n):
            total += slow_kernel(p[i], p[j], sigma) + slow_kernel(q[i], q[j], sigma)
            total -= 2 * slow_kernel(p[i], q[j], sigma)
    return total / n**2


@pytest.fixture
def clouds():
    draw = torch.Generator().manual_seed(0)
    p, q = torch.randn(2, 7, 3, dtype=torch.float64, generator=draw)
    return p, q + 0.5


@pytest.mark.parametrize("sigma", [1.0, 0.3, 2.0])
def test_mmd_is_equation_5_with_a_double_loop(clouds, sigma):
    p, q = clouds
    assert mmd(p, q, sigma).item() == pytest.approx(slow_mmd(p.numpy(), q.numpy(), sigma), rel=1e-9)


def test_sigma_is_1_by_default(clouds):
    assert mmd(*clouds) == mmd(*clouds, 1.0)


def test_kernel_is_equation_6(clouds):
    p, q = clouds
    expected = [[slow_kernel(x, y, 1.5) for y in q.numpy()[:4]] for x in p.numpy()]
    np.testing.assert_allclose(gaussian_kernel(p, q[:4], 1.5).numpy(), expected, rtol=1e-9)


def test_the_same_cloud_is_at_distance_0_in_any_order(clouds):
    p, _ = clouds
    assert mmd(p, p.flip(0)).item() == pytest.approx(0, abs=1e-12)


def test_one_user_has_a_distance(clouds):
    p, q = (cloud[:1] for cloud in clouds)
    assert mmd(p, q).item() == pytest.approx(2 - 2 * slow_kernel(p[0].numpy(), q[0].numpy(), 1.0))
