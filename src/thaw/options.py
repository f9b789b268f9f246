"""How a method is trained: the paper's hyper-parameters, and what the paper leaves open."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

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
        faults = [*kind_faults(self)] or [*self._range_faults()]
        if faults:
            raise TrainingError("; ".join(faults))

    def _range_faults(self) -> Iterator[str]:
        yield from range_faults(self, least=LEAST, above_0=("learning_rate", "explodes_at"))
        if self.seed >= 1 << 32:
            yield f"seed (={self.seed}) must be below 2 ** 32"
        if not 0 <= self.unknown_share < 1:
            yield f"unknown_share (={self.unknown_share}) must be in [0, 1)"
        if self.device not in ("auto", "cpu") and not self.device.startswith("cuda"):
            yield f"device (={self.device!r}) must be 'auto', 'cpu' or 'cuda'"


def kind_faults(options: Any, prefix: str = "", optional: Iterable[str] = ()) -> Iterator[str]:
    """Yield the fields of a dataclass whose values are of another kind than their defaults.

    Args:
        options: an instance; every field has a default.
        prefix: stands before the fields' names.
        optional: fields that may be None.
    """
    for field in fields(options):
        value, kind = getattr(options, field.name), type(field.default)
        if value is None and field.name in optional:
            continue
        told = f"{prefix}{field.name} (={value!r}) must be"
        if kind is float and not (_is_whole(value) or isinstance(value, float)):
            yield f"{told} a number"
        if kind is int and not _is_whole(value):
            yield f"{told} a whole number"
        if kind is str and not isinstance(value, str):
            yield f"{told} a text"
        if kind is bool and not isinstance(value, bool):
            yield f"{told} true or false"
        if kind is tuple and not (isinstance(value, tuple | list) and all(map(_is_whole, value))):
            yield f"{told} whole numbers"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def range_faults(
    options: Any,
    prefix: str = "",
    *,
    least: Mapping[str, float],
    above_0: Iterable[str] = (),
    at_most_1: Iterable[str] = (),
) -> Iterator[str]:
    """Yield the fields whose numbers are out of range, as NaN always is; None is none."""
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    for name, bound in least.items():
        if values[name] is not None and not values[name] >= bound:
            yield f"{prefix}{name} (={values[name]}) must be {bound} or more"
    for name in above_0:
        if not values[name] > 0:
            yield f"{prefix}{name} (={values[name]}) must be above 0"
    for name in at_most_1:
        if not values[name] <= 1:
            yield f"{prefix}{name} (={values[name]}) must be at most 1"
