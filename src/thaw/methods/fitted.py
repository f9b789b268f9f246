"""Beside MAIL: behavior for new users that is fitted to the old ones of a trained ranker."""

from dataclasses import dataclass

from thaw.errors import MethodError
from thaw.nn.fitted import LinearAutoencoder, MeanBehavior, NearestBehavior
from thaw.nn.inputs import InputShape


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


AFTER = {each.__name__: each for each in (Mean, Nearest, LLAE)}


def _without_id(shape: InputShape) -> int:
    count = shape.attributes - shape.has_id
    if count == 0:
        raise MethodError("behavior can't follow from attributes: the schema has none but the id")
    return count
