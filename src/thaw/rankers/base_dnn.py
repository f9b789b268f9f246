"""BaseDNN, the ranking tower of Figure 2 and Eqs. 11 and 12."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thaw.nn.inputs import Inputs, InputShape
from thaw.rankers.contract import Output


class BaseDNN(nn.Module):
    """Sum pooling of each of the four roles, and a perceptron on the four sums.

    Args:
        shape: what it is built for.
        hidden: widths of the hidden layers (512-256 in section 4.2).
        dropout: the rate before each hidden layer.
    """

    def __init__(
        self, shape: InputShape, *, hidden: Sequence[int] = (512, 256), dropout: float = 0.5
    ) -> None:
        super().__init__()
        widths = [4 * shape.dim, *hidden]
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))
        self.norm = nn.ModuleList(nn.BatchNorm1d(width) for width in hidden)
        self.out = nn.Linear(widths[-1], shape.tasks)

    def forward(self, inputs: Inputs) -> Output:
        """Return the logits [B, tasks]."""
        return Output(self.perceptron(self.pool(inputs)))

    @staticmethod
    def pool(inputs: Inputs) -> Tensor:
        """Return z = [z^v, z^a, z^c, z^t] [B, 4d] (Eq. 11)."""
        user = torch.cat([inputs.behavior.pool_users(), inputs.user_attributes.sum(1)], dim=1)
        rows = user.index_select(0, inputs.behavior.user)
        return torch.cat([rows, inputs.context.sum(1), inputs.target.sum(1)], dim=1)

    def perceptron(self, z: Tensor) -> Tensor:
        """Return the logits [B, tasks] of z (Eq. 12, before the sigmoid)."""
        for dense, norm in zip(self.dense, self.norm, strict=True):
            z = F.leaky_relu(norm(dense(self.dropout(z))))
        logits: Tensor = self.out(z)
        return logits
