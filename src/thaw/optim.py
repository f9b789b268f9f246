"""The two optimizers, and Adam for an embedding table: a step costs what the batch touches."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from thaw.model import Model
from thaw.nn.linear_map import LinearMap

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""The decay of the two moments, and what is added to the root of the second: PyTorch's defaults."""


class RowAdam:
    """Adam (Kingma and Ba) on the rows of a table that have a gradient.

    A row that no batch touches keeps its value and its moments; bias is corrected by the number of
    all steps. On a row that every step touches this is Adam.

    Args:
        table: [rows, d], changed in place.
        learning_rate: the step size.
    """

    def __init__(self, table: Tensor, *, learning_rate: float = 1e-3) -> None:
        self.table, self.learning_rate = table, learning_rate
        self.mean = torch.zeros_like(table)
        self.square = torch.zeros_like(table)
        self.steps = 0

    @torch.no_grad()
    def step(self, rows: Tensor, gradient: Tensor) -> None:
        """Update some rows.

        Args:
            rows: [R] int64, each row once.
            gradient: [R, d].
        """
        self.steps += 1
        beta1, beta2 = BETAS
        rate = self.learning_rate / (1 - beta1**self.steps)
        scale = (1 - beta2**self.steps) ** -0.5
        mean, square = self.mean.index_select(0, rows), self.square.index_select(0, rows)
        # Moments move by a difference: to add to rows is quicker than to set them, which PyTorch
        # does in one thread.
        mean_change = (gradient - mean).mul_(1 - beta1)
        square_change = gradient.square().sub_(square).mul_(1 - beta2)
        self.mean.index_add_(0, rows, mean_change)
        self.square.index_add_(0, rows, square_change)
        mean.add_(mean_change)
        square.add_(square_change)
        step = mean.div_(square.sqrt_().mul_(scale).add_(EPSILON)).mul_(-rate)
        self.table.index_add_(0, rows, step)

    def state(self) -> dict[str, Tensor]:
        """The moments and the number of steps."""
        return {"mean": self.mean, "square": self.square, "steps": torch.tensor(self.steps)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Set what `state` returned."""
        self.mean.copy_(state["mean"])
        self.square.copy_(state["square"])
        self.steps = int(state["steps"])


@dataclass
class Optimizers:
    """G_A for the zero-shot tower; G_B for the ranker and, row by row, the embedding table.

    A linear map in the tower's place has no loss of its own: it is G_B's. A ranker without
    parameters, such as a dot product, learns by its embeddings alone.
    """

    tower: torch.optim.Adam | None
    ranker: torch.optim.Adam | None
    table: RowAdam

    @classmethod
    def of(cls, model: Model, learning_rate: float, tower_rate: float) -> "Optimizers":
        """Make them, each parameter in exactly one."""
        tower, ranker = model.tower, [*model.ranker.parameters()]
        if isinstance(tower, LinearMap):
            ranker += tower.parameters()
            tower = None
        return cls(
            tower=_adam(tower.parameters(), tower_rate) if tower is not None else None,
            ranker=_adam(ranker, learning_rate) if ranker else None,
            table=RowAdam(model.embeddings.table, learning_rate=learning_rate),
        )


def _adam(parameters: Iterable[torch.nn.Parameter], rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, rate, fused=True)
