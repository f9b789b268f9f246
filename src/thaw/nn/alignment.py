"""How far apart two clouds of hidden features are, Eqs. 5 and 6."""

import torch
from torch import Tensor


def mmd(p: Tensor, q: Tensor, bandwidth: float = 1.0) -> Tensor:
    """Return the squared maximum mean discrepancy of p [n, d_h] and q [n, d_h], a scalar.

    All three sums have the weight 1/n², as the definition in Eq. 5 needs it; the expansion that
    is printed there has 1/n in the first two.
    """
    both = torch.cat([p, q])
    weight = torch.cat([p.new_ones(len(p)), -p.new_ones(len(q))]) / len(p)
    return weight @ gaussian_kernel(both, both, bandwidth) @ weight


def gaussian_kernel(p: Tensor, q: Tensor, bandwidth: float) -> Tensor:
    """Return k [n, m] of p [n, d_h] and q [m, d_h] (Eq. 6)."""
    squares = p.square().sum(1).unsqueeze(1) + q.square().sum(1) - 2 * p @ q.T
    return torch.exp(-squares.clamp(min=0) / (2 * bandwidth**2))
