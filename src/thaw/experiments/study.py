"""The runs of a comparison: trains what is missing, and reads what is there."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from thaw.data import Dataset
from thaw.experiments.comparison import CEILING
from thaw.experiments.foretold import Foretold, foretold
from thaw.experiments.lines import Trained
from thaw.experiments.measures import with_conditionals
from thaw.experiments.references import Reference
from thaw.experiments.runs import run_folder, train_run
from thaw.methods import Method
from thaw.options import Training
from thaw.predicting import Predictions
from thaw.progress import ProgressFactory
from thaw.recommender import Recommender
from thaw.run_facts import RunFacts, facts_of


class Study:
    """Trains what is missing, and reads what is there."""

    def __init__(
        self, dataset: Dataset, out: Path, options: tuple[Training, ...], show: ProgressFactory
    ) -> None:
        self.dataset, self.out, self.options, self.show = dataset, out, options, show

    def line(self, what: Method, base: str | None, alone: str | None = None) -> Trained:
        """A method's runs; `alone` names the line whose runs are what it is fitted to."""
        return self._trained(what.name, what, base, "method", alone)

    def ceiling(self, base: Method) -> Trained:
        """The base with new users' real behavior.

        Where the rule keeps new users out of training, hiding changes nothing there, and the base's
        own models are asked again.
        """
        return self._trained(f"{CEILING} of {base.name}", base, base.name, CEILING)

    def reference(self, what: Reference) -> Trained:
        """A reference's scores, seed by seed."""
        of = f"{self.dataset.fingerprint}{vars(what)}"
        tag = f"test-of-{hashlib.sha256(of.encode()).hexdigest()[:12]}"
        predictions = tuple(
            self._kept(
                run_folder(self.out, what.name, options.seed),
                tag,
                partial(what.scores, self.dataset, options.seed),
            )
            for options in self.options
        )
        return Trained(what.name, None, "reference", predictions, ())

    def _trained(
        self, name: str, what: Method, base: str | None, kind: str, alone: str | None = None
    ) -> Trained:
        # Strict keeps new users out of training, where hiding then changes nothing: train once, ask
        # twice.
        is_shared = kind == CEILING and self.dataset.schema.strict
        stem = what.name if is_shared or kind != CEILING else f"{what.name}-ceiling"
        hides = kind != CEILING
        predictions, runs, found = [], [], []
        for options in self.options:
            run = run_folder(self.out, stem, options.seed)
            recommender = train_run(
                self.dataset,
                what,
                options,
                run,
                self.show(name, options.seed),
                alone=run_folder(self.out, alone, options.seed) if alone else None,
                hides_behavior=hides or is_shared,
            )
            epoch = recommender.facts["best"]["epoch"]
            ask = partial(_probabilities, recommender, self.dataset, hides)
            tag = f"{'test' if hides else 'test-ceiling'}-of-epoch-{epoch}"
            answers = self._kept(run, tag, ask)
            if is_shared:
                ask = partial(_probabilities, recommender, self.dataset, True)
                usual = self._kept(run, f"test-of-epoch-{epoch}", ask)
                answers = _for_new_users(answers, usual)
            predictions.append(answers)
            runs.append(_own_curve(facts_of(run), what))
            if hides:
                found.append(_foretold(run / f"foretold-of-epoch-{epoch}.json", recommender))
        foretold = tuple(each for each in found if each is not None)
        return Trained(name, base, kind, tuple(predictions), tuple(runs), foretold)

    def _kept(self, folder: Path, tag: str, ask: Callable[[], np.ndarray]) -> Predictions:
        """The test predictions that lie in a folder; asked for and put there if they do not."""
        kept = folder / f"{tag}.npy"
        if not kept.exists():
            folder.mkdir(parents=True, exist_ok=True)
            aside = kept.with_name(f".{tag}.partial.npy")
            np.save(aside, ask())
            aside.rename(kept)
        table = self.dataset.splits["test"]
        found = Predictions(
            np.asarray(table.user),
            self.dataset.is_new("test"),
            np.asarray(table.labels),
            np.load(kept),
        )
        return with_conditionals(found, self.dataset.schema.tasks)


def _own_curve(facts: RunFacts, what: Method) -> RunFacts:
    """What is fitted after training has no epochs of its own, but its base's."""
    return dataclasses.replace(facts, test_auc=()) if what != what.trained else facts


def _foretold(kept: Path, recommender: Recommender) -> Foretold | None:
    """How well a model's virtual behavior foretells the real, from a file where it is known."""
    if kept.exists():
        known = json.loads(kept.read_text())
        return known and Foretold(**known)
    assert recommender.dataset is not None
    found = foretold(recommender.model, recommender.dataset)
    aside = kept.with_name(f".{kept.name}.partial")
    aside.write_text(json.dumps(found and dataclasses.asdict(found)))
    aside.rename(kept)
    return found


def _for_new_users(these: Predictions, others: Predictions) -> Predictions:
    """These for new users, the others for old ones.

    What a batch holds beside a row moves its last bits, and old users are to have one answer.
    """
    is_new = these.is_new[:, None]
    return dataclasses.replace(
        these, probabilities=np.where(is_new, these.probabilities, others.probabilities)
    )


def _probabilities(recommender: Recommender, dataset: Dataset, hides: bool) -> np.ndarray:
    return recommender.predict(dataset, "test", hides_behavior=hides).probabilities
