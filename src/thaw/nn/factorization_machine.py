"""A factorization machine of attributes and items: what stands beside the ranker for new users."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from thaw.batch import Batch
from thaw.nn.embeddings import Embeddings
from thaw.nn.inputs import Inputs

SPREAD = 0.1
"""The length of an embedding before training, about."""
EDGE = 1e-6
"""Probabilities are kept so far from 0 and 1 where their log-odds are asked for."""


class Parts(NamedTuple):
    """The log-odds of rows in three parts, each [B, tasks].

    Attributes:
        rest: what item and context say, for a user of mean attributes.
        level: how much more the user's attributes make of the mean item.
        order: how much more they make of this item than of the mean one.
    """

    rest: Tensor
    level: Tensor
    order: Tensor


class FactorizationMachine(nn.Module):
    """Log-odds of a row from who the user is and what the item is (Rendle, 2010; Kula, 2015).

    For each task b + Σ w + <Σ_a v_a, Σ_t v_t>, with weights w of attributes, context and item, and
    products of attributes a with the item's fields t alone. The embeddings are its own, and the
    user's id is left out, which says nothing of new users.

    What it says beyond item and context is added to the ranker's log-odds for new users: `strength`
    times `Parts.level` and `Parts.order`. The sum is times `scale`, plus `shift`. A task that is
    given another has the log-odds where the other label is 1.

    Args:
        sizes: rows of each vocabulary.
        dim: the width of the factors.
        given: for each task the place of the one that it is given, or None.
        has_id: whether the first attribute is the user's id.
    """

    mean_user: Tensor
    mean_item: Tensor
    strength: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(
        self, *, sizes: Sequence[int], dim: int, given: Sequence[int | None], has_id: bool
    ) -> None:
        super().__init__()
        tasks = len(given)
        self.given, self.first = tuple(given), int(has_id)
        self.embeddings = Embeddings(sizes, tasks * (1 + dim), ())
        table = self.embeddings.table.view(-1, tasks, 1 + dim)
        nn.init.normal_(table[:, :, 1:], std=SPREAD / dim**0.5)
        nn.init.zeros_(table[:, :, :1])
        self.bias = nn.Parameter(torch.zeros(tasks))
        self.register_buffer("mean_user", torch.zeros(tasks, 1 + dim))
        self.register_buffer("mean_item", torch.zeros(tasks, 1 + dim))
        self.register_buffer("strength", torch.zeros(tasks, 2))
        self.register_buffer("scale", torch.ones(tasks))
        self.register_buffer("shift", torch.zeros(tasks))

    def forward(self, batch: Batch, rows: Tensor) -> Tensor:
        """Return log-odds [B, tasks].

        Args:
            batch: the ids.
            rows: [R, tasks · (1 + dim)], what `embeddings.look_up` returned for it.
        """
        user, item, context = self._sums(self.embeddings(batch, rows))
        products = (user[..., 1:] * item[..., 1:]).sum(2)
        logits: Tensor = self.bias + (user + item + context)[..., 0] + products
        return logits

    def parts(self, batch: Batch) -> Parts:
        """Return the same in parts, for users and items less and more than the mean ones."""
        user, item, context = self._sums(self.embeddings(batch, self.embeddings.look_up(batch)))
        away = user - self.mean_user
        mean_item = self.mean_item[:, 1:]
        rest = self.bias + (self.mean_user + item + context)[..., 0]
        return Parts(
            rest=rest + (self.mean_user[:, 1:] * item[..., 1:]).sum(2),
            level=away[..., 0] + (away[..., 1:] * mean_item).sum(2),
            order=(away[..., 1:] * (item[..., 1:] - mean_item)).sum(2),
        )

    def squares(self, rows: Tensor) -> Tensor:
        """Return the squared lengths [R, tasks] of table rows [R, tasks · (1 + dim)]."""
        return rows.square().view(len(rows), len(self.given), -1).sum(2)

    def center(self, batch: Batch) -> None:
        """Take the users and items of a batch's rows for the mean ones."""
        user, item, _ = self._sums(self.embeddings(batch, self.embeddings.look_up(batch)))
        self.mean_user.copy_(user.mean(0))
        self.mean_item.copy_(item.mean(0))

    def added(self, batch: Batch) -> Tensor:
        """Return what is added to a new user's log-odds [B, tasks]."""
        parts = self.parts(batch)
        return self.strength[:, 0] * parts.level + self.strength[:, 1] * parts.order

    def answers(self, probabilities: Tensor, batch: Batch, is_meant: Tensor) -> Tensor:
        """Return a ranker's probabilities [B, tasks], with what attributes say of some rows [B].

        Probabilities of old users' rows stay as they are, to the bit.
        """
        rows = is_meant.nonzero().squeeze(1)
        if len(rows) == 0 or not self.strength.any():
            return probabilities
        before = self.conditional(probabilities.index_select(0, rows))
        logits = torch.logit(before, EDGE) + self.added(batch).index_select(0, rows)
        after = self._joint(torch.sigmoid(self.scale * logits + self.shift))
        return probabilities.index_copy(0, rows, after)

    def conditional(self, probabilities: Tensor) -> Tensor:
        """Return probabilities [B, tasks], of given tasks where the other label is 1."""
        given = self._given(probabilities)
        return torch.where(given > 0, probabilities / given.clamp(min=EDGE), 0).clamp(max=1)

    def _joint(self, conditional: Tensor) -> Tensor:
        """The inverse of `conditional`: an earlier task comes before those that are given it."""
        found: list[Tensor] = []
        for task, given in enumerate(self.given):
            own = conditional[:, task]
            found.append(own if given is None else own * found[given])
        return torch.stack(found, dim=1)

    def _given(self, values: Tensor) -> Tensor:
        """[B, tasks], the values of the task that each is given, 1 where it is given none."""
        ones = torch.ones_like(values[:, 0])
        return torch.stack([ones if g is None else values[:, g] for g in self.given], dim=1)

    def counted(self, labels: Tensor) -> Tensor:
        """Return which labels [B, tasks] each task learns from: where the one it is given is 1."""
        return self._given(labels)

    def _sums(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """Each [B, tasks, 1 + dim], the sums over a row's attributes, item fields and context."""
        users = self._sum(inputs.user_attributes[:, self.first :])
        user = users.index_select(0, inputs.behavior.user)
        return user, self._sum(inputs.target), self._sum(inputs.context)

    def _sum(self, fields: Tensor) -> Tensor:
        return fields.sum(1).view(len(fields), len(self.given), -1)
