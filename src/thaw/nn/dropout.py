"""Dropout at a fourth of the random numbers, which are what dropout costs on a CPU."""

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Sets elements to zero at random, and scales the others so that the mean stays.

    Four elements share the bits of one random number: each has 16 of its own.

    Args:
        rate: the share of zeros in [0, 1), rounded to 1/65536 but below 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.dropped = min(round(rate * _LEVELS), _LEVELS - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x with elements dropped in training, as it is otherwise."""
        if not self.training or self.dropped == 0:
            return x
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        bits.random_(-(1 << 63), None)
        drawn = bits.view(torch.int16)[: x.numel()].view_as(x)
        is_kept = drawn >= self.dropped - _LEVELS // 2
        # Scaled before it meets x, so that x is multiplied once, and its gradient too.
        return x * is_kept.to(x.dtype).mul_(_LEVELS / (_LEVELS - self.dropped))
