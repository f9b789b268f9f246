"""The runs of one method, one a seed: their options, folders and models."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from thaw.data import Dataset
from thaw.errors import MethodError
from thaw.methods import Method
from thaw.options import Training
from thaw.progress import Progress, ProgressFactory
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
    """Yield the model of each run, as `train_run` gives it; `alone` names runs to fit to."""
    for each in options:
        yield train_run(
            dataset,
            what,
            each,
            run_folder(out, what.name, each.seed),
            progress(what.name, each.seed),
            alone=run_folder(out, alone, each.seed) if alone is not None else None,
        )


def train_run(
    dataset: Dataset,
    what: Method,
    options: Training,
    folder: Path,
    progress: Progress,
    *,
    alone: Path | None = None,
    hides_behavior: bool = True,
) -> Recommender:
    """Train one run, or open what has run in its folder.

    What is fitted afterwards takes the run in `alone` that it is fitted to, where there is one.
    """
    if what != what.trained and alone is not None:
        adopt(alone, folder)
    return train(
        dataset,
        what,
        options,
        out=folder,
        resume=True,
        hides_behavior=hides_behavior,
        progress=progress,
    )
