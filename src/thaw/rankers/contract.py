"""The whole contract of a ranking tower."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from thaw.nn.inputs import Inputs, InputShape


class Output(NamedTuple):
    """What a ranker returns.

    Attributes:
        logits: [B, tasks], before the sigmoid.
        auxiliary_loss: a scalar that is added to the ranking loss, or None.
    """

    logits: Tensor
    auxiliary_loss: Tensor | None = None


class Ranker(Protocol):
    """An `nn.Module` from embedded inputs to logits; it never sees an id."""

    def forward(self, inputs: Inputs) -> Output:
        """Return the logits [B, tasks] of a batch."""
        ...


RankerFactory = Callable[[InputShape], nn.Module]
"""Builds a ranker for a shape: a class whose constructor takes the shape will do."""
