"""Figures 5 and 6: clouds of users' behavior and features, each beside another."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from thaw.data import Dataset
from thaw.errors import DataError
from thaw.experiments.clouds import Apart, Floats, apart, plane
from thaw.experiments.features import Features, Pooling, features, sampled_rows
from thaw.recommender import Recommender

FEWEST = 10
"""Users, below which a cloud says nothing."""


@dataclass(frozen=True)
class Pair:
    """Two clouds of one model.

    Attributes:
        title: what both are of.
        names: of the first and of the second cloud.
        space: what a point is.
        seed: of the run.
        apart: how far they are apart in that space.
        plane: [N, 2] their points by t-SNE, the first cloud's first; None where none is drawn.
    """

    title: str
    names: tuple[str, str]
    space: str
    seed: int
    apart: Apart
    plane: Floats | None


@dataclass(frozen=True)
class Sample:
    """Whom the clouds are drawn from.

    Attributes:
        most: users of each kind, old and new, at most.
        seed: of the sample, the permutations and t-SNE.
        permutations: of the p-values.
        neighbours: how many nearest neighbours are asked.
    """

    most: int = 1000
    seed: int = 0
    permutations: int = 999
    neighbours: int = 10


SPACES: dict[Pooling, str] = {
    "sum": "behavior, summed over its events",
    "mean": "behavior, mean over its events",
}


def generated_and_real(
    runs: list[Recommender], dataset: Dataset, sample: Sample
) -> tuple[Pair, ...]:
    """Figure 5: generated against real behavior, of old users and of new ones.

    New users' real behavior is what the rule hides. The first run's sums are drawn.

    Raises:
        DataError: when there are too few users of both kinds.
    """
    rows = sampled_rows(dataset, sample.most, sample.seed, with_behavior=True)
    pairs: list[Pair] = []
    for run in runs:
        found = features(run.model, dataset, rows)
        for kind, is_new in (("old users", False), ("new users", True)):
            users = found.part(found.is_new == is_new)
            if len(users.is_new) >= FEWEST:
                pairs += _of_behavior(kind, users, run, sample, draws=run is runs[0])
    if not pairs:
        raise DataError(
            f"figure 5: {dataset.schema.name} has fewer than {FEWEST} old and fewer than {FEWEST} "
            "new users with behavior before their last test row"
        )
    return tuple(pairs)


def new_and_old(runs: list[Recommender], dataset: Dataset, sample: Sample) -> tuple[Pair, ...]:
    """Figure 6: new against old users, by hidden features and by generated behavior.

    Raises:
        DataError: when there are too few users of one kind.
    """
    rows = sampled_rows(dataset, sample.most, sample.seed, with_behavior=False)
    is_new = dataset.is_new("test")[rows]
    if min(is_new.sum(), (~is_new).sum()) < FEWEST:
        raise DataError(
            f"figure 6: {dataset.schema.name} has {is_new.sum()} new and {(~is_new).sum()} old "
            f"users with test rows; it needs {FEWEST} of each"
        )
    pairs: list[Pair] = []
    for run in runs:
        found = features(run.model, dataset, rows)
        pairs += _of_kinds(found, run, sample, draws=run is runs[0])
    return tuple(pairs)


def _of_behavior(
    kind: str, users: Features, run: Recommender, sample: Sample, *, draws: bool
) -> Iterator[Pair]:
    """Both ways of pooling; the sum is what BaseDNN sees, and what is drawn."""
    for pooling, space in SPACES.items():
        clouds = users.generated(pooling), users.observed(pooling)
        names = ("generated", "real")
        yield _pair(
            kind,
            names,
            space,
            clouds,
            run,
            sample,
            is_paired=True,
            draws=draws and pooling == "sum",
        )


def _of_kinds(found: Features, run: Recommender, sample: Sample, *, draws: bool) -> Iterator[Pair]:
    new, old = found.part(found.is_new), found.part(~found.is_new)
    names = ("new users", "old users")
    hidden = new.hidden, old.hidden
    space = "attribute-side hidden features p"
    yield _pair("hidden features", names, space, hidden, run, sample, draws=draws)
    behavior = new.generated("sum"), old.generated("sum")
    yield _pair("generated behavior", names, SPACES["sum"], behavior, run, sample, draws=draws)


def _pair(
    title: str,
    names: tuple[str, str],
    space: str,
    clouds: tuple[np.ndarray, np.ndarray],
    run: Recommender,
    sample: Sample,
    *,
    is_paired: bool = False,
    draws: bool,
) -> Pair:
    found = apart(
        *clouds,
        is_paired=is_paired,
        permutations=sample.permutations,
        neighbours=sample.neighbours,
        seed=sample.seed,
    )
    drawn = plane(np.concatenate(clouds), sample.seed) if draws else None
    return Pair(title, names, space, run.facts["training"]["seed"], found, drawn)
