"""The comparison of methods on one dataset: several seeds, new and old users apart, the ceiling."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from thaw.data import Dataset
from thaw.errors import MethodError
from thaw.experiments.ahead import Ask, check_jobs, run_ahead
from thaw.experiments.comparison import Comparison
from thaw.experiments.lines import Trained, compared, lines
from thaw.experiments.measures import measured_names, with_conditionals
from thaw.experiments.references import AttributesOnly, Reference
from thaw.experiments.runs import seeds_of
from thaw.experiments.study import Study
from thaw.methods import Method, method
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
    references: Sequence[Reference] = (AttributesOnly(),),
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
        references: what is scored beside them; by default what attributes alone allow.
        against: one of the methods, which all others are tested against besides their bases.
        jobs: how many runs at once, each in a process of its own with its share of the cores.
        progress: makes what shows a run's progress; with several jobs, in their processes.

    Raises:
        MethodError: for an unknown method or one that can't be built for the dataset, a name that
            stands for two, `against` none of them, no seeds or no jobs.
        TrainingError: when a run fails, or `out` holds runs of another comparison.
    """
    dataset = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    named = [methods] if isinstance(methods, str) else methods
    if not named:
        raise MethodError("methods: is empty; name one or more")
    chosen = _with_bases([method(m) if isinstance(m, str) else m for m in named])
    pairs = _pairs(chosen, against)
    first = training or Training()
    check_jobs(jobs)
    options = seeds_of(first, seeds)
    for each in chosen:
        check_buildable(each, dataset, first)
    show = progress or (lambda name, seed: Quiet())
    bases = {each.factory: each.name for each in chosen if _is_base(each)}
    alone = {_training(each): each.name for each in chosen if each.for_new_users is None}
    # What is fitted after training, and the ceiling, may take runs of rankers alone: these first.
    firsts: list[Ask] = [
        partial(Study.line, what=each, base=None if _is_base(each) else bases[each.factory])
        for each in chosen
        if each.for_new_users is None
    ]
    seconds: list[Ask] = [
        partial(Study.line, what=m, base=bases[m.factory], alone=alone.get(_training(m)))
        for m in chosen
        if m.for_new_users is not None
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
    found = {each.name: each for each in trained}
    return Comparison(
        dataset=dataset.schema.name,
        rule=dataset.schema.new_users.rule,
        seeds=tuple(each.seed for each in options),
        tasks=tasks,
        lines=lines(trained, tasks),
        training=first,
        against=tuple(compared(found[this], found[other], tasks) for this, other in pairs),
    )


def _is_base(what: Method) -> bool:
    return what.for_new_users is None and what.behavior_dropout == 0


def _training(what: Method) -> tuple[RankerFactory, float]:
    """What the training of a ranker alone depends on: methods of one are trained as one."""
    return what.factory, what.behavior_dropout


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


def _pairs(chosen: list[Method], against: str | None) -> list[tuple[str, str]]:
    """The names of methods, each with another line than its base to be tested against."""
    names = [each.name for each in chosen]
    if against is not None and against not in names:
        raise MethodError(f"against: {against!r} is none of the methods: {', '.join(names)}")
    alone = {_training(each): each.name for each in chosen if each.for_new_users is None}
    trained_so = [
        (each.name, alone[_training(each)])
        for each in chosen
        if each.for_new_users is not None and each.behavior_dropout and _training(each) in alone
    ]
    asked = [(name, against) for name in names if against not in (None, name)]
    ranker = {each.name: each.factory for each in chosen}
    bases = {each.name for each in chosen if _is_base(each)}
    return [
        (this, other)
        for this, other in dict.fromkeys([*trained_so, *asked])
        # Methods are compared with their bases as it is.
        if ranker[this] != ranker[other] or not bases & {this, other}
    ]


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
