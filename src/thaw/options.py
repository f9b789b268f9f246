"""How a method is trained: the paper's hyper-parameters, and what the paper leaves open."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from thaw.errors import TrainingError

LOSSES = ("ranking", "attribute_side", "behavior_side", "alignment")
"""The four losses of Figure 4: L_rt, L_a, L_v and L_d."""


# Four rows a batch, because the rows of an epoch are spread evenly over its batches and batch
# normalisation needs more than one in each.
LEAST = {"dim": 1, "batch_size": 4, "max_events": 1, "max_epochs": 1, "patience": 1, "seed": 0,
         "checkpoint_seconds": 0}  # fmt: skip


@dataclass(frozen=True)
class Training:
    """How a method is trained; the defaults are section 4.2's where the paper gives a value.

    Attributes:
        dim: d, the embeddings' width.
        learning_rate: of both Adam optimizers.
        batch_size: rows a step.
        max_events: n_v, how many of a user's last events are seen.
        max_epochs: training stops here at the latest.
        patience: training stops when validation AUC has not improved for so many epochs.
        unknown_share: the share of ids that training shows as another, half of them as unknown and
            half as missing, in [0, 1); the paper has none.
        seed: of the initial weights, the order of rows, and dropout.
        checkpoint_seconds: time between checkpoints.
        device: 'cpu', 'cuda', or 'auto' for a GPU where there is one.
        explodes_at: training stops when a loss is above this.
        tests_epochs: whether every epoch's AUC is measured on the test split as well. It is for
            curves alone: nothing is decided by it.

    Raises:
        TrainingError: with all faults at once.
    """

    dim: int = 32
    learning_rate: float = 1e-3
    batch_size: int = 1024
    max_events: int = 100
    max_epochs: int = 50
    patience: int = 3
    unknown_share: float = 0.05
    seed: int = 0
    checkpoint_seconds: float = 120.0
    device: str = "auto"
    explodes_at: float = 1e6
    tests_epochs: bool = False

    def __post_init__(self) -> None:
        faults = [*self._kind_faults()] or [*self._range_faults()]
        if faults:
            raise TrainingError("; ".join(faults))

    def _kind_faults(self) -> Iterator[str]:
        for field in fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if kind is float and not is_number:
                yield f"{field.name} (={value!r}) must be a number"
            if kind is int and not (is_number and isinstance(value, int)):
                yield f"{field.name} (={value!r}) must be a whole number"
            if kind is str and not isinstance(value, str):
                yield f"{field.name} (={value!r}) must be a text"
            if kind is bool and not isinstance(value, bool):
                yield f"{field.name} (={value!r}) must be true or false"

    def _range_faults(self) -> Iterator[str]:
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                yield f"{name} (={getattr(self, name)}) must be {least} or more"
        if self.seed >= 1 << 32:
            yield f"seed (={self.seed}) must be below 2 ** 32"
        if not 0 <= self.unknown_share < 1:
            yield f"unknown_share (={self.unknown_share}) must be in [0, 1)"
        if self.device not in ("auto", "cpu") and not self.device.startswith("cuda"):
            yield f"device (={self.device!r}) must be 'auto', 'cpu' or 'cuda'"
        for name in ("learning_rate", "explodes_at"):
            if not getattr(self, name) > 0:
                yield f"{name} (={getattr(self, name)}) must be above 0"
