"""The zero-shot tower: from attributes to behavior by cross-modal reconstruction (3.2.2)."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thaw.believing import believed
from thaw.nn.alignment import mmd
from thaw.nn.attention import AttentionPooling
from thaw.nn.autoencoder import ResidualDecoder, ResidualEncoder

TINY = 1e-12
"""The least sum of squares that virtual behavior is divided by."""


class ZeroShotLosses(NamedTuple):
    """The parts of Eq. 7, scalars, averaged over users.

    Attributes:
        attribute_side: L_a, Eq. 3.
        behavior_side: L_v, Eq. 4.
        alignment: L_d, Eq. 5.
        length: of the head that predicts how long the behavior is; 0 without one.
    """

    attribute_side: Tensor
    behavior_side: Tensor
    alignment: Tensor
    length: Tensor

    @property
    def total(self) -> Tensor:
        """L_zst, Eq. 7."""
        return self.attribute_side + self.behavior_side + self.alignment + self.length


class ZeroShotTower(nn.Module):
    """Two attention poolings, two encoders into one hidden space, two decoders shared by both.

    Args:
        dim: d.
        attribute_pooling: from attributes to h^a (Eqs. 1-2).
        behavior_pooling: from behavior to h^v.
        attribute_encoder: E1 (Eq. 15).
        behavior_encoder: E2.
        attribute_decoder: D1 (Eq. 16), out of width n_a · d.
        behavior_decoder: D2, out of width k · d for k different virtual events.
        num_events: n_v; each virtual event stands for ⌈n_v / k⌉ positions in a row.
        length_head: from d_h to 1, the share of n_v that is predicted to be filled; None generates
            all n_v events.
        reconstruction: 'sum' over coordinates as Eqs. 3-4 have it, or their 'mean'.
        alignment: 'mmd' (Eq. 5), or 'mse' between the two sides of one user.
        bandwidth: sigma of Eq. 6.
        padding: 'reconstruct' the zeros behind short behavior too, as Eqs. 3-4 read, or 'mask'
            them: their error counts as 0.
        trained_by: which losses count: 'single' Eq. 3, 'dual' Eqs. 3 and 4, 'full' Eq. 7.

    Behavior has its newest event first: so a place means the same for whoever has few events as for
    whoever has many, and the zeros behind short behavior lie where events would be oldest.

    Three buffers say how far virtual behavior is believed: its events are `strength` times `filled`
    [k, 1] times what Eq. 8 makes of them, plus `shift` [k, d]. They are 1, 1 and 0 until
    `fill_places` and `calibrate` are called.
    """

    strength: Tensor
    filled: Tensor
    shift: Tensor

    def __init__(
        self,
        *,
        dim: int,
        attribute_pooling: AttentionPooling,
        behavior_pooling: AttentionPooling,
        attribute_encoder: ResidualEncoder,
        behavior_encoder: ResidualEncoder,
        attribute_decoder: ResidualDecoder,
        behavior_decoder: ResidualDecoder,
        num_events: int,
        length_head: nn.Linear | None = None,
        reconstruction: Literal["sum", "mean"] = "sum",
        alignment: Literal["mmd", "mse"] = "mmd",
        bandwidth: float = 1.0,
        padding: Literal["reconstruct", "mask"] = "reconstruct",
        trained_by: Literal["single", "dual", "full"] = "full",
    ) -> None:
        super().__init__()
        self.attribute_pooling, self.behavior_pooling = attribute_pooling, behavior_pooling
        self.attribute_encoder, self.behavior_encoder = attribute_encoder, behavior_encoder
        self.attribute_decoder, self.behavior_decoder = attribute_decoder, behavior_decoder
        self.num_events, self.length_head = num_events, length_head
        self.reconstruction, self.alignment = reconstruction, alignment
        self.bandwidth, self.padding, self.trained_by = bandwidth, padding, trained_by
        self.register_buffer("strength", torch.ones(()))
        events = behavior_decoder.dense3.out_features // dim
        self.register_buffer("filled", torch.ones(events, 1))
        self.register_buffer("shift", torch.zeros(events, dim))

    def forward(self, attributes: Tensor, behavior: Tensor, mask: Tensor) -> ZeroShotLosses:
        """Return the losses of old users (Eqs. 3-7); 0 for those that the tower is not trained by.

        Args:
            attributes: [U, n_a, d], constants: no gradient may go back into the embeddings.
            behavior: [U, n_v, d], constants, the newest event first and zeros behind the oldest.
            mask: [U, n_v] bool, True at events; each user needs one.
        """
        p = self.encode(attributes)
        none, length = p.new_zeros(()), self._length_loss(p, mask)
        if self.trained_by == "single":
            (loss_a,) = self._reconstruction_losses([p], attributes, behavior, mask)
            return ZeroShotLosses(loss_a, none, none, length)
        q = self.behavior_encoder(self.behavior_pooling(behavior, mask))
        loss_a, loss_v = self._reconstruction_losses([p, q], attributes, behavior, mask)
        loss_d = self._alignment_loss(p, q) if self.trained_by == "full" else none
        return ZeroShotLosses(loss_a, loss_v, loss_d, length)

    def encode(self, attributes: Tensor) -> Tensor:
        """Return the attribute-side hidden features p [U, d_h] of attributes [U, n_a, d]."""
        hidden: Tensor = self.attribute_encoder(self.attribute_pooling(attributes))
        return hidden

    def generate(self, attributes: Tensor) -> tuple[Tensor, Tensor]:
        """Return virtual behavior [U, k, d] (Eq. 8), and how often each event stands there [U, k].

        The oldest event is the first, as rankers have it. Where every event stands there once, k is
        n_v.
        """
        p = self.encode(attributes)
        virtual = self._virtual(p, attributes.shape[2]) * self.filled * self.strength + self.shift
        if self.length_head is None:
            lengths = torch.full((len(p), 1), self.num_events, device=p.device)
        else:
            lengths = (torch.relu(self.length_head(p)) * self.num_events).round().long()
            lengths = lengths.clamp(1, self.num_events)
        each = self._each(virtual)
        before = each * torch.arange(virtual.shape[1], device=p.device)
        return virtual.flip(1), (lengths - before).clamp(0, each).flip(1)

    def forget_calibration(self) -> None:
        """Believe virtual behavior as it is made."""
        self.strength.fill_(1)
        self.shift.zero_()

    def fill_places(self, filled: Tensor) -> None:
        """Let what is made for a masked place count as often as old users have an event there.

        It stands for an event if there is one. Where padding is reconstructed, what is made has the
        zeros in it, and a predicted length leaves out what is not there: it counts as it is.

        Args:
            filled: [n_v], the share of all old users who have an event at each place, the newest
                first.
        """
        if self.padding == "mask" and self.length_head is None:
            self.filled.copy_(self._by_event(filled.unsqueeze(1)))

    def calibrate(self, virtual: Tensor, real: Tensor, mean: Tensor) -> None:
        """Believe virtual behavior as far as it foretells the sum of the real, by least squares.

        A slope that is not significantly above 0 counts as 0, others are shrunk by their noise.
        Where it foretells nothing the strength is 0, and everyone gets the mean real behavior,
        place by place: its sum is the mean sum where all n_v events are generated.

        Args:
            virtual: [U, n_v, d], virtual events of users that the tower did not learn from, the
                newest first, as they are with a strength of 1 and no shift.
            real: [U, d], the summed real events of the same users.
            mean: [n_v, d], the mean event of all old users at each place, the newest first, zeros
                counted.
        """
        sums = virtual.sum(1)
        away, aim = sums - sums.mean(0), real - real.mean(0)
        weight = away.square().sum(1)
        spread = weight.sum().clamp(min=TINY)
        slope = (away * aim).sum() / spread
        # What each user would move the slope by, were he left out (CR3).
        moves = (away * (aim - slope * away)).sum(1) / (spread - weight).clamp(min=TINY)
        users = len(sums)
        error = (moves.square().sum() * (users - 1) / users).sqrt()
        found = believed(slope.cpu().numpy(), error.cpu().numpy(), users - 1)
        self.strength.fill_(float(found))
        self.shift.copy_(self._by_event(mean - self.strength * virtual.mean(0)))

    def _by_event(self, places: Tensor) -> Tensor:
        """[k, n], the means over the places that each virtual event stands for, of [n_v, n]."""
        blocks = torch.split(places, self._each(self.shift.unsqueeze(0)))
        return torch.stack([block.mean(0) for block in blocks])

    def _virtual(self, hidden: Tensor, dim: int) -> Tensor:
        """[U, k, d], the different virtual events."""
        decoded: Tensor = self.behavior_decoder(hidden)
        return decoded.view(len(decoded), -1, dim)

    def _each(self, virtual: Tensor) -> int:
        """How many of the n_v positions an event of virtual behavior [U, k, d] stands for."""
        return math.ceil(self.num_events / virtual.shape[1])

    def _reconstruction_losses(
        self, sides: list[Tensor], attributes: Tensor, behavior: Tensor, mask: Tensor
    ) -> Tensor:
        """L_a of p (Eq. 3) and L_v of q (Eq. 4), [sides]; the decoders work once for all."""
        hidden = torch.cat(sides)
        decoded = self.attribute_decoder(hidden).view(len(sides), len(attributes), -1)
        error_a = (decoded - attributes.flatten(1)).square().sum(2)
        virtual = self._virtual(hidden, behavior.shape[2])
        error_v = self._behavior_error(virtual, behavior, mask)
        if self.reconstruction == "mean":
            error_a, error_v = error_a / attributes[0].numel(), error_v / behavior[0].numel()
        losses: Tensor = (error_a + error_v).mean(1)
        return losses

    def _behavior_error(self, virtual: Tensor, behavior: Tensor, mask: Tensor) -> Tensor:
        """[sides, U], squared errors of virtual [sides · U, k, d] against behavior [U, n_v, d].

        The error of one vector against those that it stands for is their number times its error
        against their mean, plus how far they are spread around that.
        """
        users, length, dim = behavior.shape
        each = self._each(virtual)
        fill = each * virtual.shape[1] - length
        counted = mask if self.padding == "mask" else torch.ones_like(mask)
        count = F.pad(counted, (0, fill)).view(users, -1, each).sum(2).unsqueeze(2)
        total = F.pad(behavior, (0, 0, 0, fill)).view(users, -1, each, dim).sum(2)
        mean = total / count.clamp(min=1)
        spread = behavior.square().sum((1, 2)) - (count * mean.square()).sum((1, 2))
        error = (virtual.view(-1, *mean.shape) - mean).square() * count
        summed: Tensor = error.sum((2, 3)) + spread
        return summed

    def _alignment_loss(self, p: Tensor, q: Tensor) -> Tensor:
        if self.alignment == "mse":
            return F.mse_loss(p, q)
        return mmd(p, q, self.bandwidth)

    def _length_loss(self, p: Tensor, mask: Tensor) -> Tensor:
        if self.length_head is None:
            return p.new_zeros(())
        predicted = torch.relu(self.length_head(p)).squeeze(1)
        return (predicted - mask.float().mean(1)).square().mean()
