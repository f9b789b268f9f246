"""The runs of one method, one a seed: their options, folders and models."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from thaw.data import Dataset
from thaw.errors import MethodError
from thaw.methods import Method
from thaw.options import Training
from thaw.progress import ProgressFactory
from thaw.recommender import Recommender
from thaw.run import adopt
from thaw.training import train


def run_folder(out: Path, name: str, seed: int) -> Path:
    """The folder of one seed's run of what has this name."""
    return out / name / f"seed-{seed}"


def seeds_of(training: Training, seeds: int) -> tuple[Training, ...]:
    """The options of so many runs, seeds counted from that of the first.

    Raises:
        MethodError: with fewer than one.
    """
    if seeds < 1:
        raise MethodError(f"seeds (={seeds}) must be 1 or more")
    return tuple(replace(training, seed=training.seed + k) for k in range(seeds))


def trained(
    dataset: Dataset,
    what: Method,
    options: tuple[Training, ...],
    out: Path,
    progress: ProgressFactory,
    *,
    alone: str | None = None,
) -> Iterator[Recommender]:
    """Yield the model of each run; what has run is not run again.

    What is fitted afterwards takes the ranker of the runs that `alone` names, where they are.
    """
    for each in options:
        folder = run_folder(out, what.name, each.seed)
        if what.after is not None and alone is not None:
            adopt(run_folder(out, alone, each.seed), folder)
        yield train(
            dataset,
            what,
            each,
            out=folder,
            resume=True,
            progress=progress(what.name, each.seed),
        )
