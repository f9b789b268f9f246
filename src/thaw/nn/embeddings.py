"""The embedding lookup table, which all fields of all roles share (section 3.1.1)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thaw.batch import Batch, Fields
from thaw.nn.events import LookedUp
from thaw.nn.inputs import Behavior, Inputs


class Embeddings(nn.Module):
    """One table [rows, d] with the vectors of every id, and of every dense field.

    The table is a buffer, not a parameter: a step's gradient is that of the few rows which
    `look_up` hands out, and RowAdam applies it to them.

    Args:
        sizes: rows of each vocabulary, for Xavier's bounds.
        dim: d.
        shared: for each event field the position of its owner among the target's fields.
    """

    table: Tensor

    def __init__(self, sizes: Sequence[int], dim: int, shared: Sequence[int | None]) -> None:
        super().__init__()
        self.shared = [position for position in shared if position is not None]
        table = torch.empty(sum(sizes), dim)
        start = 0
        for size in sizes:
            bound = math.sqrt(6 / (size + dim))  # Xavier's, as Algorithm 1 asks
            table[start : start + size].uniform_(-bound, bound)
            start += size
        self.register_buffer("table", table)

    def look_up(self, batch: Batch, *, needs_gradient: bool = False) -> Tensor:
        """Return the batch's table rows [R, d]; with a gradient, a leaf of their own."""
        return self.table.index_select(0, batch.rows).requires_grad_(needs_gradient)

    def forward(self, batch: Batch, rows: Tensor) -> Inputs:
        """Embed a batch.

        Args:
            batch: the ids.
            rows: [R, d], what `look_up` returned for it.
        """
        target = _embed(rows, batch.target)
        event = sum((target[:, k] for k in self.shared), start=torch.zeros_like(target[:, 0]))
        action = batch.actions[:, 0] if batch.actions.shape[1] else None
        events = LookedUp(rows, batch.events.unbind(1), action)
        behavior = Behavior(events, _offsets(batch), batch.user)
        return Inputs(
            user_attributes=_embed(rows, batch.attributes),
            context=_embed(rows, batch.context),
            target=target,
            target_event=event,
            behavior=behavior,
            num_old=batch.num_old,
        )


def _embed(rows: Tensor, fields: Fields) -> Tensor:
    """[B, n, d]: an id's vector, or a dense field's vector times its value."""
    vectors = rows.index_select(0, fields.index.flatten()).view(*fields.index.shape, rows.shape[1])
    return vectors if fields.scale is None else vectors * fields.scale.unsqueeze(2)


def _offsets(batch: Batch) -> Tensor:
    """[U + 1]: new users, who come last, have no events."""
    return F.pad(batch.offsets, (0, batch.num_users - batch.num_old), value=len(batch.events))
