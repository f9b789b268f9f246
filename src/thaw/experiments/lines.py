"""From the predictions of runs to the lines of a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from thaw.experiments.comparison import CEILING, Cell, Figure, Line
from thaw.experiments.foretold import Foretold
from thaw.experiments.measures import SEGMENTS, Measures, measure, segment
from thaw.experiments.references import ATTRIBUTES_ONLY
from thaw.metrics import relative_improvement
from thaw.predicting import Predictions
from thaw.resampling import Resampled, Statistic, resample_users
from thaw.run_facts import RunFacts
from thaw.statistics import UNKNOWN, Interval, paired_test, ratio_interval, seed_interval, wider


@dataclass(frozen=True)
class Trained:
    """One line before it is compared: its predictions and its runs, seed by seed."""

    name: str
    base: str | None
    kind: str
    predictions: tuple[Predictions, ...]
    runs: tuple[RunFacts, ...]
    foretold: tuple[Foretold, ...] = ()

    def measures(self, task: int, name: str) -> tuple[Measures, ...]:
        """A segment's measures, seed by seed."""
        return self._measured[task, name]

    def values(self, task: int, name: str, metric: Statistic) -> np.ndarray:
        """[S] one metric of a segment, seed by seed."""
        return np.array([getattr(each, metric) for each in self.measures(task, name)])

    def resampled(self, task: int, name: str, metric: Statistic) -> Resampled:
        """The mean over seeds of one metric of a segment, on resampled users."""
        key = task, name, metric
        if key not in self._resampled:
            first = self.predictions[0]
            rows = segment(first, name, task)
            scores = np.stack([each.probabilities[rows, task] for each in self.predictions])
            self._resampled[key] = resample_users(
                first.labels[rows, task], scores, first.user[rows], metric
            )
        return self._resampled[key]

    @cached_property
    def _measured(self) -> dict[tuple[int, str], tuple[Measures, ...]]:
        tasks = range(self.predictions[0].labels.shape[1])
        return {
            (task, name): tuple(measure(found, name, task) for found in self.predictions)
            for task in tasks
            for name in SEGMENTS
        }

    @cached_property
    def _resampled(self) -> dict[tuple[int, str, Statistic], Resampled]:
        return {}


def lines(trained: Sequence[Trained], tasks: Sequence[str]) -> tuple[Line, ...]:
    """Compare each line with its base and its base's ceiling, task by task."""
    return tuple(_among(this, trained, tasks) for this in trained)


def compared(this: Trained, base: Trained | None, tasks: Sequence[str]) -> Line:
    """Compare a line with another one, or with none, whatever its own base is."""
    return _line(this, base.name if base is not None else None, base, (None, None), tasks)


def _among(this: Trained, every: Sequence[Trained], tasks: Sequence[str]) -> Line:
    base = next((each for each in every if each.name == this.base), None)
    own = [each for each in every if each.kind == CEILING and each.base == this.base]
    # What it may reach: the base's ceiling, and what attributes allow.
    goals = next(iter(own), None), next((e for e in every if e.name == ATTRIBUTES_ONLY), None)
    return _line(this, this.base, base, goals, tasks)


def _line(
    this: Trained,
    base_name: str | None,
    base: Trained | None,
    goals: tuple[Trained | None, Trained | None],
    tasks: Sequence[str],
) -> Line:
    cells = tuple(
        Cell(
            task,
            name,
            auc=_figure(this, base, goals, number, name, "auc"),
            gauc=_figure(this, base, goals, number, name, "gauc"),
            measures=this.measures(number, name),
        )
        for number, task in enumerate(tasks)
        for name in SEGMENTS
    )
    return Line(this.name, base_name, this.kind, cells, this.runs, this.foretold)


def _figure(
    this: Trained,
    base: Trained | None,
    goals: tuple[Trained | None, Trained | None],
    task: int,
    name: str,
    metric: Statistic,
) -> Figure:
    values, resampled = this.values(task, name, metric), this.resampled(task, name, metric)
    is_single = len(values) == 1
    interval = resampled.interval() if is_single else seed_interval(values)
    if base is None:
        figure = Figure(tuple(values), interval)
        if this.kind != "method" or goals[1] is None:
            return figure
        allowed = _figure(goals[1], this, (None, None), task, name, metric).test
        return replace(figure, allowed=allowed)
    # A reference from the data has one value for all seeds.
    own = np.broadcast_to(base.values(task, name, metric), values.shape)
    figure = Figure(
        tuple(values),
        interval,
        improvement=relative_improvement(float(own.mean()), interval.mean),
        over_seeds=None if is_single else paired_test(own, values),
        over_users=resampled.against(base.resampled(task, name, metric)),
    )
    if this.kind == CEILING or name != "new":
        return figure
    closed, reached = (_share(this, base, goal, task, metric) for goal in goals)
    return replace(figure, gap_closed=closed, reached=reached)


def _share(
    this: Trained, base: Trained, goal: Trained | None, task: int, metric: Statistic
) -> Interval:
    """The share of the way from base to goal on new users.

    It is unknown where the goal is not significantly above the base. With several seeds its
    interval holds the one over seeds and the one over users.
    """
    if goal is None or _figure(goal, base, (None, None), task, "new", metric).direction <= 0:
        return UNKNOWN
    values, own, best = (each.values(task, "new", metric) for each in (this, base, goal))
    low, high = (each.resampled(task, "new", metric) for each in (base, goal))
    over_users = this.resampled(task, "new", metric).gap_closed(low, high)
    if len(values) == 1:
        return over_users
    return wider(ratio_interval(values - own, best - own), over_users)
