"""The comparison of methods on one dataset: several seeds, new and old users apart, the ceiling."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from thaw.data import Dataset
from thaw.errors import MethodError
from thaw.experiments.measures import SEGMENTS, Measures, measure, segment
from thaw.methods import Method, method
from thaw.metrics import gap_closed, relative_improvement
from thaw.options import Training
from thaw.predicting import Predictions
from thaw.progress import Progress, Quiet
from thaw.recommender import Recommender
from thaw.run import RunFacts, facts_of
from thaw.statistics import (
    Interval,
    PairedTest,
    Statistic,
    paired_test,
    paired_user_bootstrap,
    seed_interval,
    user_bootstrap,
)
from thaw.training import train

CEILING = "ceiling"
SIGNIFICANT = 0.05

ProgressFactory = Callable[[str, int], Progress]
"""Makes what shows one run's progress, from the method's name and the seed."""


@dataclass(frozen=True)
class Figure:
    """One metric of one method: over seeds, or with one seed over resampled users.

    Attributes:
        values: one for each seed.
        interval: the mean and its 95 % interval.
        improvement: RI against the base in percent (Eq. 18); NaN for the base itself.
        test: the paired test against the base, or None for the base and for references.
        gap_closed: the share of the way from base to ceiling; NaN where there is no gap to close.
    """

    values: tuple[float, ...]
    interval: Interval
    improvement: float
    test: PairedTest | None
    gap_closed: float


@dataclass(frozen=True)
class Cell:
    """What a method reaches for one task and one segment of users.

    Attributes:
        task: the task's name.
        segment: 'new' or 'old'.
        auc: AUC.
        gauc: GAUC, weighted by impressions.
        measures: all metrics, one entry for each seed.
    """

    task: str
    segment: str
    auc: Figure
    gauc: Figure
    measures: tuple[Measures, ...]

    def mean(self, name: str) -> float:
        """The mean over seeds of one of the measures."""
        return float(np.mean([getattr(each, name) for each in self.measures]))


@dataclass(frozen=True)
class Line:
    """One method of the comparison.

    Attributes:
        name: the method's name, 'ceiling', or the reference's column.
        base: the name of the line that it is compared with; None for a base and for references.
        kind: 'method', 'ceiling' or 'reference'.
        cells: one for each task and segment.
        runs: how each seed's training went; empty for references.
    """

    name: str
    base: str | None
    kind: str
    cells: tuple[Cell, ...]
    runs: tuple[RunFacts, ...]

    def cell(self, task: str, name: str) -> Cell:
        """The cell of a task and a segment."""
        return next(c for c in self.cells if (c.task, c.segment) == (task, name))


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes:
        dataset: the data set's name.
        rule: the rule for new users, as in the schema.
        seeds: the seeds of the runs.
        tasks: the tasks' names.
        lines: the methods, bases first, then ceilings and references.
        training: how all methods were trained.
    """

    dataset: str
    rule: str
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    lines: tuple[Line, ...]
    training: Training

    def has_gap(self, line: Line, task: str, metric: Statistic) -> bool:
        """Whether the ceiling of a line's base is significantly above it for new users."""
        ceiling = next(
            (c for c in self.lines if c.kind == CEILING and c.base == (line.base or line.name)),
            None,
        )
        return ceiling is not None and _is_above(getattr(ceiling.cell(task, "new"), metric))


@dataclass(frozen=True)
class _Trained:
    """One line before it is compared: its predictions, seed by seed."""

    name: str
    base: str | None
    kind: str
    predictions: tuple[Predictions, ...]
    runs: tuple[RunFacts, ...]

    def measures(self, task: int, name: str) -> tuple[Measures, ...]:
        """A segment's measures, seed by seed."""
        return self._measured[task, name]

    @cached_property
    def _measured(self) -> dict[tuple[int, str], tuple[Measures, ...]]:
        tasks = range(self.predictions[0].labels.shape[1])
        return {
            (task, name): tuple(measure(found, name, task) for found in self.predictions)
            for task in tasks
            for name in SEGMENTS
        }


def compare(
    dataset: Dataset,
    methods: Sequence[str | Method],
    *,
    out: str | Path,
    seeds: int = 3,
    training: Training | None = None,
    progress: ProgressFactory | None = None,
) -> Comparison:
    """Train methods on several seeds and compare them with their bases and ceilings.

    The base of a method is its ranker alone; it and its ceiling are added where they are missing.
    A comparison that was stopped goes on where it stood; what has run is not run again.

    Args:
        dataset: the prepared dataset.
        methods: methods, or their names.
        out: a folder for the runs.
        seeds: how many seeds, counted from `training.seed`.
        training: how all methods are trained.
        progress: makes what shows a run's progress.

    Raises:
        MethodError: for an unknown method, a name that stands for two, or no seeds.
        TrainingError: when a run fails, or `out` holds runs of another comparison.
    """
    chosen = _with_bases([method(m) if isinstance(m, str) else m for m in methods])
    first = training or Training()
    if seeds < 1:
        raise MethodError(f"seeds (={seeds}) must be 1 or more")
    options = tuple(dataclasses.replace(first, seed=first.seed + k) for k in range(seeds))
    show = progress or (lambda name, seed: Quiet())
    study = _Study(dataset, Path(out), options, show)
    bases = {each.factory: each.name for each in chosen if _is_base(each)}
    trained = [study.line(each, None if _is_base(each) else bases[each.factory]) for each in chosen]
    trained += [study.ceiling(each) for each in chosen if _is_base(each) and dataset.has_ceiling]
    trained += _references(dataset)
    tasks = tuple(task.name for task in dataset.schema.tasks)
    lines = tuple(_line(each, trained, tasks) for each in trained)
    seeds_ = tuple(each.seed for each in options)
    return Comparison(
        dataset.schema.name, dataset.schema.new_users.rule, seeds_, tasks, lines, first
    )


def _is_base(what: Method) -> bool:
    return what.mail is None and what.behavior_dropout == 0


def _with_bases(methods: list[Method]) -> list[Method]:
    """The methods, their bases first: each ranker alone."""
    own = [each for each in methods if _is_base(each)]
    bases = {each.factory: each for each in own}
    if len(bases) < len(own):
        told = ", ".join(each.name for each in own)
        raise MethodError(f"methods: of {told}, two are the same ranker alone; leave one out")
    for each in methods:
        bases.setdefault(each.factory, Method(each.ranker_name, each.ranker))
    chosen = [*bases.values(), *(each for each in methods if not _is_base(each))]
    names = [each.name for each in chosen]
    again = sorted({name for name in names if names.count(name) > 1})
    if again:
        raise MethodError(f"methods: {', '.join(again)} stands for more than one; give each a name")
    return chosen


class _Study:
    """Trains what is missing, and reads what is there."""

    def __init__(
        self, dataset: Dataset, out: Path, options: tuple[Training, ...], show: ProgressFactory
    ) -> None:
        self.dataset, self.out, self.options, self.show = dataset, out, options, show

    def line(self, what: Method, base: str | None) -> _Trained:
        """A method's runs."""
        return self._trained(what.name, what, base, "method")

    def ceiling(self, base: Method) -> _Trained:
        """The base with new users' real behavior.

        Where the rule keeps new users out of training, hiding changes nothing there, and the base's
        own models are asked again.
        """
        return self._trained(f"{CEILING} of {base.name}", base, base.name, CEILING)

    def _trained(self, name: str, what: Method, base: str | None, kind: str) -> _Trained:
        # Strict keeps new users out of training, where hiding then changes nothing: train once, ask
        # twice.
        is_shared = kind == CEILING and self.dataset.schema.strict
        folder = self.out / (what.name if is_shared or kind != CEILING else f"{what.name}-ceiling")
        hides = kind != CEILING
        predictions, runs = [], []
        for options in self.options:
            run = folder / f"seed-{options.seed}"
            trains_hidden = hides or is_shared
            predictions.append(self._predictions(run, name, what, options, hides, trains_hidden))
            runs.append(facts_of(run))
        return _Trained(name, base, kind, tuple(predictions), tuple(runs))

    def _predictions(
        self,
        run: Path,
        name: str,
        what: Method,
        options: Training,
        hides: bool,
        trains_hidden: bool,
    ) -> Predictions:
        """The test predictions of one run, trained first if need be."""
        recommender: Recommender = train(
            self.dataset,
            what,
            options,
            out=run,
            resume=True,
            hides_behavior=trains_hidden,
            progress=self.show(name, options.seed),
        )
        epoch = recommender.facts["best"]["epoch"]
        kept = run / f"{'test' if hides else 'test-ceiling'}-of-epoch-{epoch}.npy"
        if kept.exists():
            table = self.dataset.splits["test"]
            return Predictions(
                np.asarray(table.user),
                self.dataset.is_new("test"),
                np.asarray(table.labels),
                np.load(kept),
            )
        found = recommender.predict(self.dataset, "test", hides_behavior=hides)
        aside = kept.with_name(f".{kept.stem}.partial.npy")
        np.save(aside, found.probabilities)
        aside.rename(kept)
        return found


def _references(dataset: Dataset) -> list[_Trained]:
    """Other systems' scores, as the impressions have them; rows without one are left out."""
    test = dataset.splits["test"]
    result = []
    for index, name in enumerate(dataset.schema.impressions.references):
        scores = np.asarray(test.references[:, index])
        there = ~np.isnan(scores)
        every_task = np.repeat(scores[there, None], test.labels.shape[1], axis=1)
        found = Predictions(
            test.user[there], dataset.is_new("test")[there], test.labels[there], every_task
        )
        result.append(_Trained(name, None, "reference", (found,), ()))
    return result


def _line(this: _Trained, every: list[_Trained], tasks: tuple[str, ...]) -> Line:
    base = next((each for each in every if each.name == this.base), None)
    ceiling = next(
        (each for each in every if each.kind == CEILING and each.base == (this.base or this.name)),
        None,
    )
    cells = tuple(
        _cell(this, base, ceiling, task, number, name)
        for number, task in enumerate(tasks)
        for name in SEGMENTS
    )
    return Line(this.name, this.base, this.kind, cells, this.runs)


def _cell(
    this: _Trained,
    base: _Trained | None,
    ceiling: _Trained | None,
    task: str,
    number: int,
    name: str,
) -> Cell:
    return Cell(
        task,
        name,
        auc=_figure(this, base, ceiling, number, name, "auc"),
        gauc=_figure(this, base, ceiling, number, name, "gauc"),
        measures=this.measures(number, name),
    )


def _values(line: _Trained, task: int, name: str, metric: Statistic) -> tuple[float, ...]:
    return tuple(getattr(each, metric) for each in line.measures(task, name))


def _figure(
    this: _Trained,
    base: _Trained | None,
    ceiling: _Trained | None,
    task: int,
    name: str,
    metric: Statistic,
) -> Figure:
    values = _values(this, task, name, metric)
    interval = seed_interval(values) if len(values) > 1 else _over_users(this, task, name, metric)
    if base is None:
        return Figure(values, interval, np.nan, None, np.nan)
    improvement = relative_improvement(
        seed_interval(_values(base, task, name, metric)).mean, interval.mean
    )
    test = _test(base, this, task, name, metric)
    gap = np.nan
    if this.kind == "method" and name == "new" and ceiling is not None:
        gap = _gap(this, base, ceiling, task, metric)
    return Figure(values, interval, improvement, test, gap)


def _gap(this: _Trained, base: _Trained, ceiling: _Trained, task: int, metric: Statistic) -> float:
    """The gap closed, NaN where the ceiling is not significantly above the base."""
    test = _test(base, ceiling, task, "new", metric)
    if not (test.p_value < SIGNIFICANT and test.difference > 0):
        return np.nan
    means = [float(np.mean(_values(each, task, "new", metric))) for each in (base, this, ceiling)]
    return gap_closed(*means)


def _test(base: _Trained, this: _Trained, task: int, name: str, metric: Statistic) -> PairedTest:
    """Paired over seeds, or with one seed over users."""
    if len(this.predictions) > 1:
        return paired_test(_values(base, task, name, metric), _values(this, task, name, metric))
    labels, scores, users = _columns(this.predictions[0], task, name)
    others = _columns(base.predictions[0], task, name)[1]
    return paired_user_bootstrap(labels, others, scores, users, statistic=metric)


def _over_users(line: _Trained, task: int, name: str, metric: Statistic) -> Interval:
    labels, scores, users = _columns(line.predictions[0], task, name)
    return user_bootstrap(labels, scores, users, statistic=metric)


def _columns(found: Predictions, task: int, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = segment(found, name)
    return found.labels[rows, task], found.probabilities[rows, task], found.user[rows]


def _is_above(figure: Figure) -> bool:
    test = figure.test
    return test is not None and test.p_value < SIGNIFICANT and test.difference > 0
