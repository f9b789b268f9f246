"""A second ranker for new users, which learns what the first one makes of behavior."""

from dataclasses import dataclass

from torch import nn

from thaw.errors import MethodError
from thaw.nn.inputs import InputShape
from thaw.rankers import RANKERS


@dataclass(frozen=True)
class Cold:
    """A ranker that sees no behavior sees to new users, beside the one that ranks old users.

    It learns from old users' rows as if they were new, but those of every tenth user: from the
    label, softened by what the ranker that sees the behavior answers (privileged features
    distillation, Xu et al., KDD 2020). The embeddings are the same for both, and learn from both.
    New users' logits are a mixture of both, whose share the users kept apart set after each epoch,
    by their validation rows.

    Attributes:
        ranker: the name of the second ranker.
        distillation: the share of the ranker's answer in what is learned, in [0, 1]; the rest is
            the label's.

    Raises:
        MethodError: with all faults at once.
    """

    ranker: str = "base-dnn"
    distillation: float = 0.5

    def __post_init__(self) -> None:
        faults = []
        if self.ranker not in RANKERS:
            faults.append(f"Cold.ranker (={self.ranker!r}) must be one of {', '.join(RANKERS)}")
        if not 0 <= self.distillation <= 1:
            faults.append(f"Cold.distillation (={self.distillation}) must be in [0, 1]")
        if faults:
            raise MethodError("; ".join(faults))

    def tower(self, shape: InputShape) -> nn.Module:
        """Build the second ranker for a shape."""
        return RANKERS[self.ranker](shape)
