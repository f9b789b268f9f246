"""Several runs at once, each in a process of its own with its share of the cores."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from joblib import Parallel, delayed

from thaw.data import Dataset
from thaw.errors import MethodError
from thaw.experiments.lines import Trained
from thaw.experiments.study import Study
from thaw.options import Training
from thaw.progress import ProgressFactory

Ask = Callable[[Study], Trained]
"""What a line of a comparison is made by."""


def check_jobs(jobs: int) -> None:
    """Refuse a number of processes that is none.

    Raises:
        MethodError: with fewer than one.
    """
    if jobs < 1:
        raise MethodError(f"jobs (={jobs}) must be 1 or more")


def run_ahead(
    dataset: Dataset,
    out: Path,
    options: Sequence[Training],
    progress: ProgressFactory,
    asks: Sequence[Ask],
    jobs: int,
) -> None:
    """Make the runs of lines in processes, seed after seed; a study then finds them done.

    Args:
        dataset: the prepared dataset, which each process opens anew.
        out: the folder of the runs.
        options: one for each seed.
        progress: makes what shows a run's progress, in the process of the run.
        asks: what makes the lines; none may need another's runs.
        jobs: how many processes.
    """
    made = [
        delayed(_run)(dataset.path, out, each, progress, ask) for each in options for ask in asks
    ]
    # The backend by name: it gives each process its share of the cores as threads.
    Parallel(n_jobs=jobs, backend="loky", batch_size=1)(made)


def _run(path: Path, out: Path, options: Training, progress: ProgressFactory, ask: Ask) -> None:
    _end_with_parent()
    ask(Study(Dataset.open(path), out, (options,), progress))


@cache
def _end_with_parent() -> None:
    """Let this process end soon after its parent, so that its run's folder is free again."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="thaw-parent", daemon=True).start()
