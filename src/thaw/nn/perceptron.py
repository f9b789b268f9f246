"""The perceptron on top of ranking towers, Eq. 12."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from thaw.nn.dropout import Dropout


class Perceptron(nn.Module):
    """Dense layers with dropout before, batch normalisation and leaky ReLU behind each.

    Args:
        in_dim: width of what is fed in.
        hidden: widths of the hidden layers.
        out_dim: how many logits.
        dropout: the rate before each hidden layer.
    """

    def __init__(self, *, in_dim: int, hidden: Sequence[int], out_dim: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.dense = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise([in_dim, *hidden]))
        self.norm = nn.ModuleList(nn.BatchNorm1d(width) for width in hidden)
        self.out = nn.Linear([in_dim, *hidden][-1], out_dim)

    def forward(self, z: Tensor) -> Tensor:
        """Return the logits [B, out_dim] of z [B, in_dim] (Eq. 12, before the sigmoid)."""
        for dense, norm in zip(self.dense, self.norm, strict=True):
            z = F.leaky_relu(norm(dense(self.dropout(z))))
        logits: Tensor = self.out(z)
        return logits
