"""The comparison of methods on one dataset: several seeds, new and old users apart, the ceiling."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from thaw.data import Dataset
from thaw.errors import MethodError
from thaw.experiments.comparison import CEILING, Comparison
from thaw.experiments.lines import Trained, lines
from thaw.experiments.measures import measured_names, with_conditionals
from thaw.methods import Method, method
from thaw.model import check_buildable
from thaw.options import Training
from thaw.predicting import Predictions
from thaw.progress import Progress, Quiet
from thaw.recommender import Recommender
from thaw.run import adopt, facts_of
from thaw.training import train

ProgressFactory = Callable[[str, int], Progress]
"""Makes what shows one run's progress, from the method's name and the seed."""


def compare(
    dataset: Dataset | str | Path,
    methods: str | Sequence[str | Method],
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
        dataset: the prepared dataset, or its folder.
        methods: methods, or their names; one of them will do.
        out: a folder for the runs.
        seeds: how many seeds, counted from `training.seed`.
        training: how all methods are trained.
        progress: makes what shows a run's progress.

    Raises:
        MethodError: for an unknown method or one that can't be built for the dataset, a name that
            stands for two, or no seeds.
        TrainingError: when a run fails, or `out` holds runs of another comparison.
    """
    dataset = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    named = [methods] if isinstance(methods, str) else methods
    if not named:
        raise MethodError("methods: is empty; name one or more")
    chosen = _with_bases([method(m) if isinstance(m, str) else m for m in named])
    first = training or Training()
    if seeds < 1:
        raise MethodError(f"seeds (={seeds}) must be 1 or more")
    for each in chosen:
        check_buildable(each, dataset, first)
    options = tuple(dataclasses.replace(first, seed=first.seed + k) for k in range(seeds))
    show = progress or (lambda name, seed: Quiet())
    study = _Study(dataset, Path(out), options, show)
    bases = {each.factory: each.name for each in chosen if _is_base(each)}
    trained = [study.line(each, None if _is_base(each) else bases[each.factory]) for each in chosen]
    trained += [study.ceiling(each) for each in chosen if _is_base(each) and dataset.has_ceiling]
    trained += _references(dataset)
    tasks = measured_names(dataset.schema.tasks)
    return Comparison(
        dataset=dataset.schema.name,
        rule=dataset.schema.new_users.rule,
        seeds=tuple(each.seed for each in options),
        tasks=tasks,
        lines=lines(trained, tasks),
        training=first,
    )


def _is_base(what: Method) -> bool:
    return what.mail is None and what.after is None and what.behavior_dropout == 0


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

    def line(self, what: Method, base: str | None) -> Trained:
        """A method's runs."""
        return self._trained(what.name, what, base, "method")

    def ceiling(self, base: Method) -> Trained:
        """The base with new users' real behavior.

        Where the rule keeps new users out of training, hiding changes nothing there, and the base's
        own models are asked again.
        """
        return self._trained(f"{CEILING} of {base.name}", base, base.name, CEILING)

    def _trained(self, name: str, what: Method, base: str | None, kind: str) -> Trained:
        # Strict keeps new users out of training, where hiding then changes nothing: train once, ask
        # twice.
        is_shared = kind == CEILING and self.dataset.schema.strict
        folder = self.out / (what.name if is_shared or kind != CEILING else f"{what.name}-ceiling")
        hides = kind != CEILING
        predictions, runs = [], []
        for options in self.options:
            run = folder / f"seed-{options.seed}"
            trains_hidden = hides or is_shared
            predictions.append(
                self._predictions(run, name, what, options, hides, trains_hidden, base)
            )
            runs.append(facts_of(run))
        measured = [with_conditionals(each, self.dataset.schema.tasks) for each in predictions]
        return Trained(name, base, kind, tuple(measured), tuple(runs))

    def _predictions(
        self,
        run: Path,
        name: str,
        what: Method,
        options: Training,
        hides: bool,
        trains_hidden: bool,
        base: str | None,
    ) -> Predictions:
        """The test predictions of one run, trained first if need be."""
        if what.after is not None and what.behavior_dropout == 0 and base is not None:
            # Its ranker is trained as the base is, so the base's own is taken.
            adopt(self.out / base / run.name, run)
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


def _references(dataset: Dataset) -> list[Trained]:
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
