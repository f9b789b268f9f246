"""Beside MAIL: behavior for new users that is fitted to the old ones of a trained ranker."""

from dataclasses import dataclass
from typing import Protocol

from thaw.errors import MethodError
from thaw.nn.fitted import Fitted, LinearAutoencoder, MeanBehavior, NearestBehavior
from thaw.nn.id_generator import IdGenerator
from thaw.nn.inputs import InputShape
from thaw.nn.lookalikes import LookalikeBehavior
from thaw.options import kind_faults, range_faults


class After(Protocol):
    """What gives new users behavior once the ranker is trained; a dataclass of its options."""

    def tower(self, shape: InputShape) -> Fitted | IdGenerator | LookalikeBehavior:
        """Build it for a shape; what it is fitted to must lie in buffers, as runs keep these."""
        ...


@dataclass(frozen=True)
class Mean:
    """New users get the mean behavior of old ones."""

    def tower(self, shape: InputShape) -> MeanBehavior:
        """Build it for a shape."""
        return MeanBehavior(dim=shape.dim)


@dataclass(frozen=True)
class Nearest:
    """New users get the mean behavior of the old ones with the nearest attributes.

    Attributes:
        neighbours: how many.
        users: among how many old users they are looked for.
    """

    neighbours: int = 100
    users: int = 20_000

    def __post_init__(self) -> None:
        _check(self, neighbours=1, users=1)

    def tower(self, shape: InputShape) -> NearestBehavior:
        """Build it for a shape.

        Raises:
            MethodError: without attributes beside the user's id.
        """
        return NearestBehavior(
            attributes=_without_id(shape),
            dim=shape.dim,
            neighbours=self.neighbours,
            users=self.users,
        )


@dataclass(frozen=True)
class LLAE:
    """The low-rank linear autoencoder (Li et al., AAAI 2019), for any ranker; the paper has Emblr.

    Behavior is the sum of the events' embeddings, because that is what the ranker sees; attributes
    are their embeddings, without the user's id, which says nothing of a user not met before.

    Attributes:
        reconstruction_weight: λ, of attributes from behavior.
        low_rank_weight: β; 30 in the MAIL paper.
        corrupted: the share of the behavior's coordinates that is hidden from that.
        rank: how many singular directions are free.
        alternations: how often the map and its rank are solved in turn.
    """

    reconstruction_weight: float = 1.0
    low_rank_weight: float = 30.0
    corrupted: float = 0.1
    rank: int = 16
    alternations: int = 5

    def __post_init__(self) -> None:
        _check(
            self, reconstruction_weight=0, low_rank_weight=0, corrupted=0, rank=1, alternations=1
        )

    def tower(self, shape: InputShape) -> LinearAutoencoder:
        """Build it for a shape.

        Raises:
            MethodError: without attributes beside the user's id.
        """
        return LinearAutoencoder(
            attributes=_without_id(shape),
            dim=shape.dim,
            reconstruction_weight=self.reconstruction_weight,
            low_rank_weight=self.low_rank_weight,
            corrupted=self.corrupted,
            rank=self.rank,
            alternations=self.alternations,
        )


@dataclass(frozen=True)
class MetaEmb:
    """A generated id for new users, learned so that a step on it helps (Pan et al., SIGIR 2019).

    Behavior stays empty. The generator learns from old users that are shown as new. It replaces
    every new user's id, also one that training learned, as the paper's rule lets it.

    Attributes:
        first_weight: alpha, the weight of the loss before the step on the generated id.
        step: the size of that step.
        learning_rate: of the generator.
        epochs: how often each old user is seen.
        users: how many users a step of the generator sees.
        rows: the most rows of a user that each of its two losses sees.
    """

    first_weight: float = 0.1
    step: float = 1e-4
    learning_rate: float = 1e-3
    epochs: int = 3
    users: int = 64
    rows: int = 10

    def __post_init__(self) -> None:
        _check(self, first_weight=0, step=0, learning_rate=0, epochs=0, users=1, rows=1)

    def tower(self, shape: InputShape) -> IdGenerator:
        """Build it for a shape.

        Raises:
            MethodError: without the user's id, or without another attribute.
        """
        if not shape.has_id:
            raise MethodError("MetaEmb makes users' ids, which the schema leaves out: "
                              "set users.id_attribute")  # fmt: skip
        _without_id(shape)
        return IdGenerator(
            attributes=shape.attributes,
            dim=shape.dim,
            step=self.step,
            first_weight=self.first_weight,
        )


@dataclass(frozen=True)
class Lookalikes:
    """New users are ranked as old ones of like attributes are, and the answers are averaged.

    Each answer rests on one old user's real behavior. A new user's row costs the ranker
    `count` answers beside its own, and the model keeps `users` users' events.

    Attributes:
        count: how many old users stand in for a new one.
        users: how many old users it knows, drawn where there are more.
    """

    count: int = 20
    users: int = 5_000

    def __post_init__(self) -> None:
        _check(self, count=1, users=1)

    def tower(self, shape: InputShape) -> LookalikeBehavior:
        """Build it for a shape.

        Raises:
            MethodError: without attributes beside the user's id.
        """
        return LookalikeBehavior(attributes=_without_id(shape), count=self.count)


AFTER = {each.__name__: each for each in (Mean, Nearest, LLAE, MetaEmb, Lookalikes)}


SHARES = ("corrupted", "first_weight")


def _check(options: After, **least: float) -> None:
    """Refuse options of another kind than their defaults, or below their least values."""
    prefix = f"{type(options).__name__}."
    shares = [name for name in least if name in SHARES]
    faults = [*kind_faults(options, prefix)] or [
        *range_faults(options, prefix, least=least, at_most_1=shares)
    ]
    if faults:
        raise MethodError("; ".join(faults))


def _without_id(shape: InputShape) -> int:
    count = shape.attributes - shape.has_id
    if count == 0:
        raise MethodError("behavior can't follow from attributes: the schema has none but the id")
    return count
