"""The comparison of methods on one dataset: several seeds, new and old users apart, the ceiling."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from thaw.data import Dataset
from thaw.errors import DataError, MethodError
from thaw.experiments.ahead import Ask, check_jobs, run_ahead
from thaw.experiments.comparison import CEILING, Comparison
from thaw.experiments.lines import Trained, compared, lines
from thaw.experiments.measures import measured_names, with_conditionals
from thaw.experiments.references import ATTRIBUTES_ONLY, NO_ATTRIBUTES, TREES, Reference
from thaw.experiments.runs import seeds_of
from thaw.experiments.study import Study
from thaw.methods import MAIL, Method, method
from thaw.model import check_buildable
from thaw.options import Training
from thaw.predicting import Predictions
from thaw.progress import ProgressFactory, Quiet
from thaw.rankers import RankerFactory


def compare(
    dataset: Dataset | str | Path,
    methods: str | Sequence[str | Method],
    *,
    out: str | Path,
    seeds: int = 3,
    training: Training | None = None,
    references: Sequence[Reference] = TREES,
    against: str | None = None,
    jobs: int = 1,
    progress: ProgressFactory | None = None,
) -> Comparison:
    """Train methods on several seeds and compare them with their bases and ceilings.

    The base of a method is its ranker alone; it and its ceiling are added where they are missing.
    A comparison that was stopped goes on where it stood; what has run is not run again.

    Args:
        dataset: the prepared dataset, or its folder.
        methods: methods, or their names; one of them will do.
        out: a folder for the runs.
        seeds: how many seeds, counted from `training.seed`.
        training: how all methods are trained.
        references: what is scored beside them; by default what attributes alone allow, and the same
            without attributes.
        against: one of the methods, or a column of other scores, such as those in production, which
            all other methods are tested against besides their bases.
        jobs: how many runs at once, each in a process of its own with its share of the cores.
        progress: makes what shows a run's progress; with several jobs, in their processes.

    Raises:
        MethodError: for an unknown method or one that can't be built for the dataset, a name that
            stands for two, `against` none of them, no seeds or no jobs.
        DataError: when a column of other scores has a method's name, or `against` is one without a
            score for every test row.
        TrainingError: when a run fails, or `out` holds runs of another comparison.
    """
    dataset = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    named = [methods] if isinstance(methods, str) else methods
    if not named:
        raise MethodError("methods: is empty; name one or more")
    chosen = _with_bases([method(m) if isinstance(m, str) else m for m in named])
    _check_names(chosen, references, dataset)
    _check_against(chosen, against, dataset)
    simpler = _simpler(chosen)
    pairs = dict.fromkeys([*simpler, *_others(chosen, references, against, simpler)])
    first = training or Training()
    check_jobs(jobs)
    options = seeds_of(first, seeds)
    for each in chosen:
        check_buildable(each, dataset, first)
    show = progress or (lambda name, seed: Quiet())
    bases = {each.factory: each.name for each in chosen if _is_base(each)}
    trained_alone = {_training(each): each.name for each in chosen if each == each.trained}
    # What is fitted after training, and the ceiling, may take runs of what is trained: these first.
    firsts: list[Ask] = [
        partial(Study.line, what=each, base=None if _is_base(each) else bases[each.factory])
        for each in chosen
        if each == each.trained
    ]
    seconds: list[Ask] = [
        partial(Study.line, what=m, base=bases[m.factory], alone=trained_alone.get(_training(m)))
        for m in chosen
        if m != m.trained
    ]
    if dataset.has_ceiling:
        seconds += [partial(Study.ceiling, base=each) for each in chosen if _is_base(each)]
    seconds += [partial(Study.reference, what=each) for each in references]
    if jobs > 1:
        for asks in (firsts, seconds):
            run_ahead(dataset, Path(out), options, show, asks, jobs)
    study = Study(dataset, Path(out), options, show)
    trained = [ask(study) for ask in (*firsts, *seconds)]
    trained += _given_references(dataset)
    tasks = measured_names(dataset.schema.tasks)
    found = {each.name: each for each in trained if each.kind != CEILING}
    return Comparison(
        dataset=dataset.schema.name,
        rule=dataset.schema.new_users.rule,
        seeds=tuple(each.seed for each in options),
        tasks=tasks,
        lines=lines(trained, tasks),
        training=first,
        against=tuple(
            dataclasses.replace(
                compared(found[this], found[other], tasks), has_to_win=(this, other) in simpler
            )
            for this, other in pairs
        ),
    )


def _is_base(what: Method) -> bool:
    return what.for_new_users is None and what.behavior_dropout == 0 and not what.fm


def _training(what: Method) -> tuple[RankerFactory, float, MAIL | None]:
    """What training depends on: methods of one are trained as one, and differ in what is fitted."""
    return what.factory, what.behavior_dropout, what.mail


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


def _check_names(chosen: list[Method], references: Sequence[Reference], dataset: Dataset) -> None:
    """Refuse a column of other scores that is called as something else is."""
    taken = {each.name for each in chosen} | {each.name for each in references}
    for column in dataset.schema.impressions.references:
        if column in taken:
            raise DataError(
                f"impressions.references: the column {column!r} has the name of a method or "
                "reference of the comparison; rename it in the table and in the schema"
            )


def _check_against(chosen: list[Method], against: str | None, dataset: Dataset) -> None:
    """Refuse what nothing can be tested against, row by row."""
    columns = dataset.schema.impressions.references
    names = [each.name for each in chosen]
    if against in columns:
        scores = dataset.splits["test"].references[:, columns.index(against)]
        if np.isnan(scores).any():
            raise DataError(
                f"against: {against!r} has no score for {np.isnan(scores).sum():,} of the "
                f"{len(scores):,} test rows, and paired tests need all; fill the column, or leave "
                "--against out"
            )
    elif against is not None and against not in names:
        raise MethodError(f"against: {against!r} is none of {', '.join([*names, *columns])}")


def _simpler(chosen: list[Method]) -> list[tuple[str, str]]:
    """The names of methods, each with a simpler one of the same ranker than its base."""
    return [
        (each.name, other.name)
        for each in chosen
        for other in chosen
        if other.factory == each.factory and _is_simpler(other, each)
    ]


def _others(
    chosen: list[Method],
    references: Sequence[Reference],
    against: str | None,
    simpler: list[tuple[str, str]],
) -> list[tuple[str, str]]:
    """The names of lines, each with what it is to be tested against beside its base."""
    own = {each.name: each for each in chosen}
    asked = [
        (name, against)
        for name, each in own.items()
        if against is not None and (against, name) not in simpler
        if not _are_compared(each, own.get(against))
    ]
    both = {ATTRIBUTES_ONLY, NO_ATTRIBUTES} <= {each.name for each in references}
    return [*asked, (ATTRIBUTES_ONLY, NO_ATTRIBUTES)] if both else asked


def _is_simpler(one: Method, other: Method) -> bool:
    """Whether the other has to win more than this one, of the same ranker, to be worth its while.

    This one is the ranker with behavior dropout alone, with a factorization machine alone or with
    both, or it is the other without its factorization machine.
    """
    if _is_base(one) or one is other or not _adds(one, other):
        return False
    return one.for_new_users is None or one == dataclasses.replace(other, name=one.name, fm=False)


def _adds(one: Method, other: Method) -> bool:
    """Whether a method has something that this one has not, and all that this one fits."""
    if one.fm and not other.fm:
        return False
    has_tower = other.for_new_users is not None and one.for_new_users is None
    has_dropout = other.behavior_dropout > 0 and one.fm and one.behavior_dropout == 0
    return has_tower or has_dropout or (other.fm and not one.fm)


def _are_compared(one: Method, other: Method | None) -> bool:
    """Whether two methods need no further test: one is the other, or its base."""
    if other is None or one.factory != other.factory:
        return False
    return one is other or _is_base(one) or _is_base(other)


def _given_references(dataset: Dataset) -> list[Trained]:
    """Other systems' scores, as the impressions have them; rows without one are left out."""
    test = dataset.splits["test"]
    result = []
    for index, name in enumerate(dataset.schema.impressions.references):
        scores = np.asarray(test.references[:, index])
        there = ~np.isnan(scores)
        labels, is_new = test.labels[there], dataset.is_new("test")[there]
        blank = Predictions(test.user[there], is_new, labels, np.ones(labels.shape))
        found = with_conditionals(blank, dataset.schema.tasks)
        # A score stands for each task as it is; its quotient with itself would say nothing.
        every_task = np.repeat(scores[there, None], found.labels.shape[1], axis=1)
        found = dataclasses.replace(found, probabilities=every_task)
        result.append(Trained(name, None, "reference", (found,), ()))
    return result
