"""How far apart two clouds of points are, in numbers of the space that they live in.

A plane that t-SNE draws says what the eye may see, and not how far anything is. What is measured
here is measured in all dimensions. N = n + m counts the points of both clouds.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

Floats = npt.NDArray[np.float64]

PERMUTATIONS = 999
NEIGHBOURS = 10
_AT_ONCE = 100  # permutations, which bounds the memory
_TIED = 5  # decimals of the kernel's width to which equal points are equal


@dataclass(frozen=True)
class Apart:
    """Two clouds of points beside each other.

    Attributes:
        sizes: how many points the first and the second have.
        mmd: MMD², 0 for equal clouds: the mean kernel within the first, plus that within the
            second, minus twice that between them. Pairs of a point with itself count (Eq. 5).
        width: sigma of the Gaussian kernel (Eq. 6): the median of all distances above 0.
        p_value: the chance of such an MMD² or a larger one if it did not matter which cloud a point
            is from: (1 + those of the permutations that reach it) / (1 + permutations).
        permutations: how many were drawn.
        is_paired: whether a permutation swaps the two points of a user, as two clouds of the same
            users need it, or shuffles all points.
        mixing: the share of the other cloud among a point's nearest neighbours over what chance
            would give; the mean over all points. 1 is fully mixed, 0 is apart.
        mixing_of: the same for the points of the first and of the second cloud alone.
        neighbours: how many nearest neighbours are asked.
        spread: the first cloud's total variance over the second's; NaN where that has none.
    """

    sizes: tuple[int, int]
    mmd: float
    width: float
    p_value: float
    permutations: int
    is_paired: bool
    mixing: float
    mixing_of: tuple[float, float]
    neighbours: int
    spread: float


def apart(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    is_paired: bool = False,
    permutations: int = PERMUTATIONS,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
) -> Apart:
    """Measure how far two clouds [n, D] and [m, D] are apart.

    Args:
        first: one cloud.
        second: the other.
        is_paired: whether row k of both is the same user's.
        permutations: of the p-value.
        neighbours: how many of a point's nearest are asked; all others where there are fewer.
        seed: of the permutations.

    Raises:
        ValueError: with fewer than two points in a cloud, or pairs that are none.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    sizes = len(one), len(other)
    if min(sizes) < 2 or (is_paired and sizes[0] != sizes[1]):
        raise ValueError(f"clouds of {sizes[0]} and {sizes[1]} points: needs two, pairs as many")
    distances = pairwise(np.concatenate([one, other]))
    width = median_width(distances)
    kernel = np.exp(-np.square(distances / width) / 2)
    found = _weights(sizes) @ kernel @ _weights(sizes)
    drawn = _permuted(kernel, sizes, is_paired, permutations, np.random.default_rng(seed))
    # Rounding must not decide whether a permutation that changes nothing reaches the same value.
    reached = int((drawn >= found - 1e-12).sum())
    asked = min(neighbours, sum(sizes) - 1)
    each = mixing(np.round(distances / width, _TIED), sizes[0], asked)
    return Apart(
        sizes=sizes,
        mmd=max(float(found), 0.0),
        width=width,
        p_value=(1 + reached) / (1 + permutations),
        permutations=permutations,
        is_paired=is_paired,
        mixing=float(each.mean()),
        mixing_of=(float(each[: sizes[0]].mean()), float(each[sizes[0] :].mean())),
        neighbours=asked,
        spread=_ratio(float(one.var(0).sum()), float(other.var(0).sum())),
    )


def pairwise(points: Floats) -> Floats:
    """The distances [N, N] between points [N, D]."""
    return np.asarray(cdist(points, points))


def median_width(distances: Floats) -> float:
    """The median of the distances above 0 between different points; 1 where there are none."""
    above = distances[np.triu_indices(len(distances), 1)]
    above = above[above > 0]
    return float(np.median(above)) if len(above) else 1.0


def mixing(distances: Floats, size: int, neighbours: int) -> Floats:
    """[N] the share of the other cloud among each point's neighbours over the share by chance.

    Where several points are equally far at the edge of the neighbourhood, each counts in part.

    Args:
        distances: [N, N] between all points, the first cloud's first.
        size: n, how many are of the first cloud.
        neighbours: how many nearest ones count, the point itself left out.
    """
    total = len(distances)
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    edge = np.partition(others, neighbours - 1, axis=1)[:, neighbours - 1 : neighbours]
    is_closer, is_tied = others < edge, others == edge
    is_first = np.arange(total) < size
    is_other = is_first[:, None] != is_first
    open_places = neighbours - is_closer.sum(1)
    tied = (is_tied & is_other).sum(1) * open_places / is_tied.sum(1)
    shares = ((is_closer & is_other).sum(1) + tied) / neighbours
    by_chance = np.where(is_first, total - size, size) / (total - 1)
    return np.asarray(shares / by_chance)


def plane(points: Floats, seed: int = 0) -> Floats:
    """Points [N, D] on a plane [N, 2] by t-SNE (van der Maaten and Hinton, 2008).

    Where all are the same, as generated behavior of strength 0 is, they are at one place.
    """
    from sklearn.manifold import TSNE

    if not np.ptp(points, axis=0).any():
        return np.zeros((len(points), 2))
    perplexity = min(30.0, (len(points) - 1) / 3)
    drawn = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    return np.asarray(drawn, np.float64)


def _weights(sizes: tuple[int, int]) -> Floats:
    """[N], 1 / n for the first cloud's points and -1 / m for the second's."""
    return np.repeat([1 / sizes[0], -1 / sizes[1]], sizes)


def _permuted(
    kernel: Floats,
    sizes: tuple[int, int],
    is_paired: bool,
    permutations: int,
    random: np.random.Generator,
) -> Floats:
    """[permutations] MMD² where points are dealt to the clouds at random."""
    weights, found = _weights(sizes), []
    for low in range(0, permutations, _AT_ONCE):
        count = min(_AT_ONCE, permutations - low)
        if is_paired:
            signs = random.choice([-1.0, 1.0], (sizes[0], count))
            dealt = np.concatenate([signs, -signs]) / sizes[0]
        else:
            dealt = random.permuted(np.repeat(weights[:, None], count, axis=1), axis=0)
        found.append((dealt * (kernel @ dealt)).sum(0))
    return np.concatenate(found) if found else np.zeros(0)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
