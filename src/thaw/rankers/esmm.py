"""ESMM, the Entire Space Multi-Task Model (Ma et al., SIGIR 2018)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from thaw.errors import MethodError
from thaw.nn.inputs import Inputs, InputShape
from thaw.rankers.base_dnn import BaseDNN
from thaw.rankers.contract import Output, RankerFactory
from thaw.rankers.dmr import DMR


class ESMM(nn.Module):
    """Two towers on one embedding: one for clicks, one for conversions of what is clicked.

    The conversion tower has no loss of its own. Its probability times the click's is that of a
    click and a conversion (CTCVR), which is learned on all impressions and not on the clicked ones
    alone.

    Args:
        shape: what it is built for.
        tower: builds either tower, for one task.

    Raises:
        MethodError: with another number of tasks than two.
    """

    def __init__(self, shape: InputShape, *, tower: RankerFactory = BaseDNN) -> None:
        super().__init__()
        if shape.tasks != 2:
            raise MethodError(
                f"ESMM needs two tasks, a click and a conversion that is given it (is: "
                f"{shape.tasks}); write tasks: [click, {{name: conversion, given: click}}], or "
                "take another ranker"
            )
        self.click = tower(replace(shape, tasks=1))
        self.conversion = tower(replace(shape, tasks=1))

    def forward(self, inputs: Inputs) -> Output:
        """Return the logits [B, 2] of CTR and CTCVR, and the sum of the towers' own losses."""
        click, conversion = self.click(inputs), self.conversion(inputs)
        both = logit_of_product(click.logits, conversion.logits)
        losses = [each.auxiliary_loss for each in (click, conversion)]
        given = [loss for loss in losses if loss is not None]
        return Output(
            torch.cat([click.logits, both], dim=1), torch.stack(given).sum() if given else None
        )


def esmm_dmr(shape: InputShape) -> ESMM:
    """ESMM with DMR for both towers."""
    return ESMM(shape, tower=DMR)


def logit_of_product(one: Tensor, other: Tensor) -> Tensor:
    """The logit of sigmoid(one) sigmoid(other), elementwise.

    From 1 / p = (1 + e^-a) (1 + e^-b) follows (1 - p) / p = e^-a + e^-b + e^-(a+b). Nothing in it
    rounds to 0 or 1, and its gradient stays within [0, 1].
    """
    return -torch.logsumexp(torch.stack([-one, -other, -one - other]), dim=0)
