"""Emblr, logistic regression on embeddings (section 4.1.2)."""

import torch
from torch import nn

from thaw.nn.inputs import Inputs, InputShape
from thaw.rankers.contract import Output


class Emblr(nn.Module):
    """One linear layer on all fields side by side and the sum of the behavior.

    Args:
        shape: what it is built for.
    """

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        fields = shape.attributes + shape.context + shape.target
        self.out = nn.Linear((fields + 1) * shape.dim, shape.tasks)

    def forward(self, inputs: Inputs) -> Output:
        """Return the logits [B, tasks]."""
        fields = torch.cat([inputs.attributes, inputs.context, inputs.target], dim=1)
        return Output(self.out(torch.cat([fields.flatten(1), inputs.behavior.pool()], dim=1)))
