"""By events: how well a user is ranked whose last 0, 1, 2, ... events are known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from thaw.data import Dataset
from thaw.errors import DataError, MethodError
from thaw.experiments.comparison import Line
from thaw.experiments.lines import Trained, compared
from thaw.experiments.runs import trained
from thaw.methods import MetaEmb, Method
from thaw.options import Training
from thaw.predicting import Predictions, predict
from thaw.progress import ProgressFactory
from thaw.recommender import Recommender

COUNTS = (0, 1, 2, 5, 10, 20, 50)
SEGMENT = "old"
"""All measured rows are old users', whatever the models are shown of them."""


@dataclass(frozen=True)
class EventsPoint:
    """What base and method reach when so many events of each user are shown.

    Attributes:
        events: the last so many; at 0 the method takes the users for new.
        is_all: whether that is all that a model ever sees, n_v.
        cut_share: the share of the rows that have more events than are shown.
        base: the ranker alone.
        against_base: the method, compared with that.
        against_none: the method, compared with itself with no event shown.
        against_real: the method with what new users have beside the events shown, such as virtual
            ones in the places that these leave empty, compared with itself without; None where
            nothing can stand beside them, or none is shown.
    """

    events: int
    is_all: bool
    cut_share: float
    base: Line
    against_base: Line
    against_none: Line
    against_real: Line | None = None


@dataclass(frozen=True)
class ByEvents:
    """The curve.

    Attributes:
        base: the ranker's name.
        method: the method's name.
        tasks: the tasks' names.
        impressions: rows measured: test rows of users whose behavior is known.
        users: whose rows they are.
        seeds: of the runs.
        points: from no events to all.
    """

    base: str
    method: str
    tasks: tuple[str, ...]
    impressions: int
    users: int
    seeds: tuple[int, ...]
    points: tuple[EventsPoint, ...]


def by_events(
    dataset: Dataset,
    what: Method,
    options: tuple[Training, ...],
    out: Path,
    progress: ProgressFactory,
    counts: Sequence[int] = COUNTS,
) -> ByEvents:
    """Train a method and its ranker alone, and measure both by the number of events shown.

    Args:
        dataset: the prepared dataset.
        what: a method that has something for new users.
        options: one for each seed.
        out: a folder for the runs.
        progress: makes what shows a run's progress.
        counts: numbers of events; all of n_v comes after them.

    Raises:
        DataError: when no test row has visible behavior.
        MethodError: when the method does nothing for users of whom no event is known.
    """
    check_makes_behavior("by-events", what)
    rows = np.flatnonzero(~dataset.is_new("test"))
    if len(rows) == 0:
        raise DataError(f"by-events: no test row of {dataset.path} has visible behavior before it")
    base = Method(what.ranker_name, what.ranker)
    every = options[0].max_events
    shown = [*(count for count in sorted({0, *counts}) if count < every), every]
    alone = base.name if what.trained == replace(base, name=what.name) else None
    runs = [
        list(trained(dataset, each, options, out, progress, alone=alone)) for each in (base, what)
    ]
    found = [[asked(dataset, "test", each, rows, count) for count in shown] for each in runs]
    can_fill = runs[1][0].model.can_fill
    filled = [
        asked(dataset, "test", runs[1], rows, count, every) if can_fill and count > 0 else None
        for count in shown
    ]
    tasks = tuple(task.name for task in dataset.schema.tasks)
    table = dataset.splits["test"]
    pointer = np.asarray(table.pointer)[rows]
    return ByEvents(
        base=base.name,
        method=what.name,
        tasks=tasks,
        impressions=len(rows),
        users=len(np.unique(np.asarray(table.user)[rows])),
        seeds=tuple(each.seed for each in options),
        points=tuple(
            _point(
                count, every, float((pointer > count).mean()), own, there, both, found[1][0], tasks
            )
            for count, own, there, both in zip(shown, *found, filled, strict=True)
        ),
    )


def check_makes_behavior(experiment: str, what: Method) -> None:
    """Refuse a method that has nothing for new users.

    Raises:
        MethodError: for it.
    """
    if what.fm:
        return
    if what.for_new_users is None or isinstance(what.after, MetaEmb):
        raise MethodError(f"{experiment}: {what.name} makes no virtual behavior; take mail-base")


def asked(
    dataset: Dataset,
    split: str,
    runs: Sequence[Recommender],
    rows: np.ndarray,
    events: int,
    fill_below: int = 1,
) -> Trained:
    """Return a method's predictions for some rows, seed by seed, when so many events are shown."""
    found = []
    for run in runs:
        before, run.model.fill_below = run.model.fill_below, fill_below
        found.append(_only(predict(run.model, dataset, split, shown_events=events), rows))
        run.model.fill_below = before
    name = f"{runs[0].facts['method']['name']}, {events} events"
    return Trained(name, None, "method", tuple(found), ())


def _only(found: Predictions, rows: np.ndarray) -> Predictions:
    arrays = {name: value for name, value in vars(found).items() if value is not None}
    return replace(found, **{name: value[rows] for name, value in arrays.items()})


def _point(
    events: int,
    every: int,
    cut_share: float,
    base: Trained,
    method: Trained,
    filled: Trained | None,
    none: Trained,
    tasks: tuple[str, ...],
) -> EventsPoint:
    return EventsPoint(
        events=events,
        is_all=events == every,
        cut_share=cut_share,
        base=compared(base, None, tasks),
        against_base=compared(method, base, tasks),
        against_none=compared(method, None if method is none else none, tasks),
        against_real=None if filled is None else compared(filled, method, tasks),
    )
