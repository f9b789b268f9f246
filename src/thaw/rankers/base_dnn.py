"""BaseDNN, the ranking tower of Figure 2 and Eqs. 11 and 12."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thaw.nn.inputs import Inputs, InputShape
from thaw.nn.perceptron import Perceptron
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
        self.perceptron = Perceptron(
            in_dim=4 * shape.dim, hidden=hidden, out_dim=shape.tasks, dropout=dropout
        )

    def forward(self, inputs: Inputs) -> Output:
        """Return the logits [B, tasks]."""
        return Output(self.perceptron(self.pool(inputs)))

    @staticmethod
    def pool(inputs: Inputs) -> Tensor:
        """Return z = [z^v, z^a, z^c, z^t] [B, 4d] (Eq. 11)."""
        user = torch.cat([inputs.behavior.pool_users(), inputs.user_attributes.sum(1)], dim=1)
        rows = user.index_select(0, inputs.behavior.user)
        return torch.cat([rows, inputs.context.sum(1), inputs.target.sum(1)], dim=1)
