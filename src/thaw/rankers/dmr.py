"""DMR, the Deep Match to Rank model (Lyu et al., AAAI 2020)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thaw.nn.inputs import Behavior, Inputs, InputShape
from thaw.nn.perceptron import Perceptron
from thaw.rankers.contract import Output


class AttentionUnit(nn.Module):
    """How well an event answers a query: a small perceptron on both and their product.

    Their difference, which DMR feeds in as well, is in the span of query and event.

    Args:
        dim: d, the width of events and queries.
        hidden: widths of the two hidden layers.
    """

    def __init__(self, *, dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        first, second = hidden
        self.event = nn.Linear(dim, first)
        self.query = nn.Linear(dim, first, bias=False)
        self.product = nn.Linear(dim, first, bias=False)
        self.dense = nn.Linear(first, second)
        self.out = nn.Linear(second, 1)

    def forward(self, query: Tensor, events: Tensor) -> Tensor:
        """Return the scores [U, T] of events [U, T, d].

        Args:
            query: [U, T, d], or [T, d] where all users share them.
            events: padded.
        """
        # One product of all three side by side: quicker than three, and two sums.
        query = query.expand_as(events)
        weight = torch.cat([self.event.weight, self.query.weight, self.product.weight], dim=1)
        seen = torch.cat([events, query, query * events], dim=-1)
        hidden = F.linear(seen, weight, self.event.bias)
        scores: Tensor = self.out(torch.sigmoid(self.dense(torch.sigmoid(hidden))))
        return scores.squeeze(-1)


class UserToItem(nn.Module):
    """What a user's events, weighed by how long ago they were, say of an item.

    Args:
        dim: d.
        positions: the width of the position embeddings.
        attention: widths of the attention unit's hidden layers.
    """

    def __init__(self, *, dim: int, positions: int, attention: Sequence[int]) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Linear(positions, dim), nn.PReLU())
        self.unit = AttentionUnit(dim=dim, hidden=attention)
        self.state = nn.Sequential(nn.Linear(dim, dim), nn.PReLU())
        self.target = nn.Linear(dim, dim, bias=False)

    def scores(self, events: Tensor, position: Tensor) -> Tensor:
        """Return the scores [U, T] of events [U, T, d], the newest first.

        Args:
            events: padded.
            position: [T, width], the embedding of each place.
        """
        found: Tensor = self.unit(self.query(position), events)
        return found

    def user(self, events: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
        """Return the users' vectors [U, d] from the events in a mask [U, T]."""
        found: Tensor = self.state(_weighted(events, scores, mask))
        return found

    def match_loss(
        self, events: Tensor, scores: Tensor, mask: Tensor, negatives: int
    ) -> Tensor | None:
        """Return how badly a user's state before the last event foretells that event, or None.

        A softmax over it and a sample of the batch's other events, of which those of the same
        fields and action don't count; None where no user has two events.
        """
        has_two = (mask.sum(1) > 1).nonzero().squeeze(1)
        if len(has_two) == 0:
            return None
        last, before = events[:, 0], mask & (torch.arange(mask.shape[1], device=mask.device) > 0)
        state = self.user(events, scores, before).index_select(0, has_two)
        last, others = last.index_select(0, has_two), events.flatten(0, 1)
        others = others.index_select(0, _sample(mask, negatives))
        is_same = last[:, :1] == others[:, 0]  # equal events are equal in every coordinate
        right = (state * self.target(last)).sum(1, keepdim=True)
        wrong = (state @ self.target(others).T).masked_fill(is_same, -torch.inf)
        return F.cross_entropy(torch.cat([right, wrong], dim=1), torch.zeros_like(has_two))


class DMR(nn.Module):
    """A ranker that is told how well user and item match, by two networks on behavior.

    The user-to-item network matches a user's state with the target in a space of its own, and an
    auxiliary loss makes it foretell the next event; the item-to-item network matches each event
    with the target. Actions are within the events here, whose vectors they scale.

    Args:
        shape: what it is built for.
        last: how many of the last events are seen.
        position_dim: the width of the position embeddings; a position counts from the last event.
        attention: widths of the attention units' hidden layers.
        hidden: widths of the perceptron's hidden layers.
        dropout: the rate before each of the perceptron's hidden layers.
        negatives: events that the auxiliary loss draws from the batch.
        match_weight: the weight of the auxiliary loss.
    """

    def __init__(
        self,
        shape: InputShape,
        *,
        last: int = 50,
        position_dim: int = 8,
        attention: Sequence[int] = (80, 40),
        hidden: Sequence[int] = (512, 256),
        dropout: float = 0.5,
        negatives: int = 2000,
        match_weight: float = 0.1,
    ) -> None:
        super().__init__()
        dim = shape.dim
        self.last = min(last, shape.max_events)
        self.negatives, self.match_weight = negatives, match_weight
        self.position = nn.Parameter(torch.empty(self.last, position_dim))
        nn.init.xavier_uniform_(self.position)
        self.user_to_item = UserToItem(dim=dim, positions=position_dim, attention=attention)
        self.item_query = nn.Linear(dim, dim)
        self.position_query = nn.Linear(position_dim, dim, bias=False)
        self.activation = nn.PReLU()
        self.item_to_item = AttentionUnit(dim=dim, hidden=attention)
        fields = shape.attributes + shape.context + shape.target
        self.perceptron = Perceptron(
            in_dim=(fields + 3) * dim + 2, hidden=hidden, out_dim=shape.tasks, dropout=dropout
        )

    def forward(self, inputs: Inputs) -> Output:
        """Return the logits [B, tasks], and in training the auxiliary match loss of old users."""
        behavior, target = inputs.behavior, inputs.target_event
        events, mask = behavior.pad_users(self.last, newest_first=True)
        scores = self.user_to_item.scores(events, self.position)
        user = self.user_to_item.user(events, scores, mask).index_select(0, behavior.user)
        user_match = (user * self.user_to_item.target(target)).sum(1, keepdim=True)
        item_match, interest = self._item_to_item(behavior, events, mask, target)
        pooled = behavior.pool()
        fields = torch.cat([inputs.attributes, inputs.context, inputs.target], dim=1)
        z = [fields.flatten(1), pooled, pooled * target, user_match, item_match, interest]
        return Output(
            self.perceptron(torch.cat(z, dim=1)), self._auxiliary_loss(inputs, events, scores, mask)
        )

    def _item_to_item(
        self, behavior: Behavior, events: Tensor, mask: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """[B, 1], the sum of the events' scores, and [B, d], the events weighed by them."""
        events, mask = (each.index_select(0, behavior.user) for each in (events, mask))
        query = self.item_query(target).unsqueeze(1) + self.position_query(self.position)
        scores = self.item_to_item(self.activation(query), events)
        return (scores * mask).sum(1, keepdim=True), _weighted(events, scores, mask)

    def _auxiliary_loss(
        self, inputs: Inputs, events: Tensor, scores: Tensor, mask: Tensor
    ) -> Tensor | None:
        if not self.training:
            return None
        old = slice(inputs.num_old)
        loss = self.user_to_item.match_loss(events[old], scores[old], mask[old], self.negatives)
        return None if loss is None else self.match_weight * loss


def _weighted(events: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """[U, d], events [U, T, d] weighed by the softmax of scores [U, T]; zero without any."""
    # Not minus infinity: a softmax over nothing would be NaN. Padding is zero and adds nothing.
    weight = torch.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), dim=1)
    return ((weight * mask).unsqueeze(1) @ events).squeeze(1)


def _sample(mask: Tensor, count: int) -> Tensor:
    """Places of some of the events of a mask [U, T], drawn at random and each once."""
    places = mask.flatten().nonzero().squeeze(1)
    return places[torch.randperm(len(places), device=mask.device)[:count]]
