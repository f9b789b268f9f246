"""MAIL's options (Feng et al., CIKM 2021), and the zero-shot tower that they describe."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

from torch import nn

from thaw.errors import MethodError
from thaw.nn.attention import AttentionPooling
from thaw.nn.autoencoder import ResidualDecoder, ResidualEncoder
from thaw.nn.inputs import InputShape
from thaw.nn.linear_map import LinearMap
from thaw.nn.zero_shot import ZeroShotTower
from thaw.options import kind_faults, range_faults

CHOICES = {
    "reconstruction": ("sum", "mean"),
    "alignment": ("mmd", "mse"),
    "length": ("full", "predicted"),
    "padding": ("mask", "reconstruct"),
    "attribute_side": ("attributes", "all"),
    "trained_by": ("none", "single", "dual", "full"),
}


@dataclass(frozen=True)
class MAIL:
    """A zero-shot tower beside a ranker. `paper` gives section 4.2's; the defaults cost a tenth.

    Attributes:
        encoder: widths of the encoders' three layers (Eq. 15); 1024-512-512 in the paper.
        decoder: widths of the decoders' first two layers (Eq. 16); 512-1024 in the paper.
        attention_dim: d_r of Eq. 2; the paper gives no value.
        dropout: the rate in encoders and decoders, in [0, 1); 0.5 in the paper.
        reconstruction: 'sum' over coordinates (Eqs. 3-4) or 'mean' (the authors' code).
        alignment: 'mmd' (Eq. 5) or 'mse' between a user's two sides (the authors' code).
        bandwidth: sigma of Eq. 6.
        length: 'full' generates n_v events; 'predicted' lets a head say how many count (the
            authors' code).
        padding: 'mask' the places behind short behavior, which are then none of the tower's loss,
            or 'reconstruct' their zeros (Eqs. 3-4 as they read).
        fill_in_training: whether the ranker sees virtual behavior in training too (Algorithm 1);
            the authors' code fills at inference only.
        attribute_side: what virtual behavior is made from: the user's 'attributes', or 'all' but
            behavior (the authors' code), which costs the tower's work once per row.
        trained_by: which of its losses train the tower, as in Table 3: 'single' L_a, 'dual' L_a and
            L_v, 'full' those and L_d; 'none' puts a linear map in its place, which the ranker's
            loss trains.
        learning_rate_ratio: the tower's learning rate over the ranker's; 0.5 in the authors' code.
        virtual_events: k, how many different virtual events stand for the n_v, neighbours sharing
            one; None gives each position its own (Eq. 8).
        learns_every: at every so many-th step the tower learns; at each in Algorithm 1.
        users_per_step: how many of a batch's old users it then learns from, drawn at random; None
            means all of them, as in Algorithm 1.
        calibrated: whether virtual behavior is believed as far as it foretells the behavior of
            every tenth old user, from whom the tower does not learn; the paper believes it wholly.

    Raises:
        MethodError: with all faults at once.
    """

    encoder: tuple[int, int, int] = (256, 128, 128)
    decoder: tuple[int, int] = (128, 256)
    attention_dim: int = 32
    dropout: float = 0.0
    reconstruction: Literal["sum", "mean"] = "sum"
    alignment: Literal["mmd", "mse"] = "mmd"
    bandwidth: float = 1.0
    length: Literal["full", "predicted"] = "full"
    padding: Literal["mask", "reconstruct"] = "mask"
    fill_in_training: bool = True
    attribute_side: Literal["attributes", "all"] = "attributes"
    trained_by: Literal["none", "single", "dual", "full"] = "full"
    learning_rate_ratio: float = 1.0
    virtual_events: int | None = 10
    learns_every: int = 2
    users_per_step: int | None = 128
    calibrated: bool = True

    def __post_init__(self) -> None:
        optional = ("virtual_events", "users_per_step")
        faults = [*kind_faults(self, "MAIL.", optional)] or [*self._range_faults()]
        if faults:
            raise MethodError("; ".join(faults))

    def _range_faults(self) -> Iterator[str]:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                yield f"MAIL.{name} (={getattr(self, name)!r}) must be one of {choices}"
        if not 0 <= self.dropout < 1:
            yield f"MAIL.dropout (={self.dropout}) must be in [0, 1)"
        for name, layers in (("encoder", 3), ("decoder", 2)):
            widths = getattr(self, name)
            if len(widths) != layers or min(widths) < 1:
                yield f"MAIL.{name} (={widths}) must have {layers} widths of 1 or more"
        counts = ("attention_dim", "virtual_events", "learns_every", "users_per_step")
        above_0 = ("bandwidth", "learning_rate_ratio")
        yield from range_faults(self, "MAIL.", least=dict.fromkeys(counts, 1), above_0=above_0)
        if self.trained_by == "none" and not self.fill_in_training:
            yield "MAIL.fill_in_training (=False) leaves the map of trained_by='none' untrained"

    @classmethod
    def paper(cls) -> Self:
        """The letter of the paper."""
        return cls(
            encoder=(1024, 512, 512),
            decoder=(512, 1024),
            dropout=0.5,
            padding="reconstruct",
            virtual_events=None,
            learns_every=1,
            users_per_step=None,
            calibrated=False,
        )

    def tower(self, shape: InputShape) -> ZeroShotTower | LinearMap:
        """Build the tower for a shape.

        Raises:
            MethodError: when there are no user attributes.
        """
        if shape.attributes == 0:
            raise MethodError("MAIL makes behavior from user attributes; the schema has none")
        seen = shape.attributes
        if self.attribute_side == "all":
            seen += shape.context + shape.target
        if self.trained_by == "none":
            return LinearMap(attributes=seen, events=shape.max_events, dim=shape.dim)
        width, hidden_dim, rate = shape.dim, self.encoder[-1], self.dropout
        each = math.ceil(shape.max_events / (self.virtual_events or shape.max_events))
        virtual_events = math.ceil(shape.max_events / each)
        return ZeroShotTower(
            dim=width,
            attribute_pooling=AttentionPooling(dim=width, attention_dim=self.attention_dim),
            behavior_pooling=AttentionPooling(dim=width, attention_dim=self.attention_dim),
            attribute_encoder=ResidualEncoder(in_dim=width, hidden=self.encoder, dropout=rate),
            behavior_encoder=ResidualEncoder(in_dim=width, hidden=self.encoder, dropout=rate),
            attribute_decoder=self._decoder(hidden_dim, seen * width),
            behavior_decoder=self._decoder(hidden_dim, virtual_events * width),
            num_events=shape.max_events,
            length_head=nn.Linear(hidden_dim, 1) if self.length == "predicted" else None,
            reconstruction=self.reconstruction,
            alignment=self.alignment,
            bandwidth=self.bandwidth,
            padding=self.padding,
            trained_by=self.trained_by,
        )

    def _decoder(self, hidden_dim: int, out_dim: int) -> ResidualDecoder:
        return ResidualDecoder(
            hidden_dim=hidden_dim, hidden=self.decoder, out_dim=out_dim, dropout=self.dropout
        )
