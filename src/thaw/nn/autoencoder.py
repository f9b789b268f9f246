"""The residual encoder and decoder, Eqs. 15 and 16."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thaw.nn.dropout import Dropout


class ResidualEncoder(nn.Module):
    """Three dense layers; the input enters again at the second and the third (Eq. 15).

    Args:
        in_dim: width of h.
        hidden: widths of the three layers, the last one d_h (1024-512-512 in section 4.2).
        dropout: the rate before the first two layers.
    """

    def __init__(self, *, in_dim: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        first, second, last = hidden
        self.dropout = Dropout(dropout)
        self.dense1 = nn.Linear(in_dim, first)
        self.dense2 = nn.Linear(first + in_dim, second)
        self.dense3 = nn.Linear(second + in_dim, last)

    def forward(self, h: Tensor) -> Tensor:
        """Return the hidden features p or q [U, d_h] of h [U, in_dim]."""
        z1 = F.leaky_relu(self.dense1(self.dropout(h)))
        z2 = F.leaky_relu(self.dense2(self.dropout(torch.cat([z1, h], dim=1))))
        return F.leaky_relu(self.dense3(torch.cat([z2, h], dim=1)))


class ResidualDecoder(nn.Module):
    """Three dense layers; the hidden features enter again at the second and the third (Eq. 16).

    Args:
        hidden_dim: d_h.
        hidden: widths of the first two layers (512-1024 in section 4.2).
        out_dim: d_t, the width of what is reconstructed.
        dropout: the rate before the first two layers.
    """

    def __init__(
        self, *, hidden_dim: int, hidden: Sequence[int], out_dim: int, dropout: float
    ) -> None:
        super().__init__()
        first, second = hidden
        self.dropout = Dropout(dropout)
        self.dense1 = nn.Linear(hidden_dim, first)
        self.dense2 = nn.Linear(first + hidden_dim, second)
        self.dense3 = nn.Linear(second + hidden_dim, out_dim)

    def forward(self, p: Tensor) -> Tensor:
        """Return the reconstruction [U, out_dim] from hidden features [U, d_h]."""
        z3 = F.leaky_relu(self.dense1(self.dropout(p)))
        z4 = F.leaky_relu(self.dense2(self.dropout(torch.cat([z3, p], dim=1))))
        target: Tensor = self.dense3(torch.cat([z4, p], dim=1))
        return target
