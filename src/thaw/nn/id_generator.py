"""MetaEmb's generator of embeddings for new ids (Pan et al., SIGIR 2019)."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thaw.nn.inputs import Inputs

SCALE = 5.0
"""What its authors divide the generated embedding by."""


class IdGenerator(nn.Module):
    """From a user's other attributes to the embedding of its id: one dense layer, tanh, scaled.

    Args:
        attributes: n_a, the id included, which is the first of them.
        dim: d.
        step: the size of the step that an embedding takes between the two losses.
        first_weight: alpha, the weight of the loss before that step.
    """

    def __init__(self, *, attributes: int, dim: int, step: float, first_weight: float) -> None:
        super().__init__()
        self.step, self.first_weight = step, first_weight
        self.dense = nn.Linear((attributes - 1) * dim, dim)

    def forward(self, attributes: Tensor) -> Tensor:
        """Return the ids' embeddings [U, d] for attributes [U, n_a, d], whose ids it ignores."""
        return torch.tanh(self.dense(attributes[:, 1:].flatten(1))) / SCALE

    def filled(self, inputs: Inputs) -> Inputs:
        """Return the inputs with a generated id for each new user."""
        old, new = inputs.user_attributes.tensor_split([inputs.num_old])
        attributes = torch.cat([old, _with_id(new, self(new))])
        return replace(inputs, user_attributes=attributes)

    def meta_loss(self, ranker: nn.Module, inputs: Inputs, labels: Tensor, first: Tensor) -> Tensor:
        """Return the loss of generated ids before and after a step on rows of their users.

        The step is part of the loss: its gradient is of second order.

        Args:
            ranker: the trained ranker, in evaluation.
            inputs: B rows of U users, all as new.
            labels: [B, tasks].
            first: [B] bool, the rows that the step is taken on; each user needs some of both kinds.
        """

        def loss(embedding: Tensor, rows: Tensor) -> Tensor:
            """[U], the mean over each user's rows."""
            shown = replace(inputs, user_attributes=_with_id(inputs.user_attributes, embedding))
            logits = ranker(shown).logits
            each = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
            owner = inputs.behavior.user
            sums = torch.zeros(len(embedding), 2, dtype=each.dtype, device=each.device)
            weighted = torch.stack([each * rows, rows.to(each.dtype)], dim=1)
            total, count = sums.index_add(0, owner, weighted).unbind(1)
            return total / count

        embedding = self(inputs.user_attributes)
        before = loss(embedding, first)
        # Each user's loss depends on its own embedding alone, so one gradient has all of theirs.
        (gradient,) = torch.autograd.grad(before.sum(), embedding, create_graph=True)
        after = loss(embedding - self.step * gradient, ~first)
        weight = self.first_weight
        return (weight * before + (1 - weight) * after).mean()


def _with_id(attributes: Tensor, embedding: Tensor) -> Tensor:
    """Attributes [U, n_a, d] with other ids [U, d]."""
    return torch.cat([embedding.unsqueeze(1), attributes[:, 1:]], dim=1)
