"""DIN, the Deep Interest Network (Zhou et al., KDD 2018)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thaw.nn.inputs import Behavior, Inputs, InputShape
from thaw.nn.perceptron import Perceptron
from thaw.rankers.contract import Output


class ActivationUnit(nn.Module):
    """How much each event of a row says of its target: a small perceptron on both.

    It sees the event k, the target q and their product. Their difference, which is often fed in
    as well, is in the span of k and q.

    Args:
        dim: d, the width of events and target.
        hidden: widths of the hidden layers.
    """

    def __init__(self, *, dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        first, *_ = hidden
        self.event = nn.Linear(dim, first)
        self.target = nn.Linear(dim, first, bias=False)
        self.product = nn.Linear(dim, first, bias=False)
        self.dense = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(hidden))
        self.activation = nn.ModuleList(nn.PReLU(width) for width in hidden)
        self.out = nn.Linear(hidden[-1], 1)

    def forward(self, events: Tensor, target: Tensor, owner: Tensor) -> Tensor:
        """Return the weights [M] of the events of B rows.

        Args:
            events: [M, d], the rows' events one after the other.
            target: [B, d], in the space of events.
            owner: [M] int64, each event's row.
        """
        product = events * target.index_select(0, owner)
        # The three terms are added up in place: each is as large as the events of a whole batch.
        hidden = F.linear(target, self.target.weight, self.event.bias).index_select(0, owner)
        hidden = hidden.addmm_(events, self.event.weight.t())
        hidden = hidden.addmm_(product, self.product.weight.t())
        hidden = self.activation[0](hidden)
        for dense, activation in zip(self.dense, self.activation[1:], strict=True):
            hidden = activation(dense(hidden))
        weights: Tensor = self.out(hidden)
        return weights.squeeze(1)


class DIN(nn.Module):
    """A row's interest is the sum of its events, each weighed by what it says of the target.

    The weights are not normalised, as in the paper, so that the strength of an interest stays. All
    fields enter the perceptron side by side, beside the interest. Where the paper has Dice,
    the activation unit has PReLU and the perceptron leaky ReLU.

    Args:
        shape: what it is built for.
        attention: widths of the activation unit's hidden layers.
        hidden: widths of the perceptron's hidden layers.
        dropout: the rate before each of the perceptron's hidden layers.
    """

    def __init__(
        self,
        shape: InputShape,
        *,
        attention: Sequence[int] = (64,),
        hidden: Sequence[int] = (512, 256),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.unit = ActivationUnit(dim=shape.dim, hidden=attention)
        fields = shape.attributes + shape.context + shape.target
        self.perceptron = Perceptron(
            in_dim=(fields + 1) * shape.dim, hidden=hidden, out_dim=shape.tasks, dropout=dropout
        )

    def forward(self, inputs: Inputs) -> Output:
        """Return the logits [B, tasks]."""
        interest = self.interest(inputs.behavior.by_row(), inputs.target_event)
        fields = torch.cat([inputs.attributes, inputs.context, inputs.target], dim=1)
        return Output(self.perceptron(torch.cat([fields.flatten(1), interest], dim=1)))

    def interest(self, behavior: Behavior, target: Tensor) -> Tensor:
        """Return each row's interest [B, d] in its target [B, d]; zero without events."""
        weights = self.unit(behavior.values, target, behavior.owner)
        return behavior.pool(weights)
