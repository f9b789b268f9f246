import json
import math
from dataclasses import replace

import numpy as np
import pytest

import thaw
from builders import TRAINING, mail, small_dnn
from thaw.experiments.measures import measure
from thaw.methods import Method
from thaw.methods.fitted import Mean
from thaw.recommender import Recommender

EPOCHS = replace(TRAINING, max_epochs=2, patience=2, tests_epochs=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def found(dataset, folder):
    methods = [mail(), Method("mean", small_dnn, after=Mean())]
    return thaw.compare(dataset, methods, out=folder, seeds=1, training=EPOCHS, references=())


def test_each_epoch_is_measured_on_the_test_split(dataset, folder, found):
    line = found.lines[1]
    best = line.runs[0].best_epoch
    model = Recommender.load(folder / "mail/seed-0", dataset=dataset, ranker=small_dnn)
    predictions = model.predict(dataset, "test")
    measured = tuple(measure(predictions, segment, 0).auc for segment in ("new", "old"))
    assert line.runs[0].test_auc[best] == pytest.approx(measured)
    assert len(line.runs[0].test_auc) == line.runs[0].epochs


def test_nothing_is_decided_by_it(dataset, found, tmp_path):
    unseen = replace(EPOCHS, tests_epochs=False)
    again = thaw.compare(dataset, [mail()], out=tmp_path, seeds=1, training=unseen, references=())
    assert str(again.lines[1].cells) == str(found.lines[1].cells)
    assert all(math.isnan(value) for pair in again.lines[1].runs[0].test_auc for value in pair)


def test_what_is_fitted_afterwards_has_no_epochs_of_its_own(found):
    assert [len(line.runs[0].test_auc) for line in found.lines] == [2, 2, 0, 2]


def test_r2_is_measured_once_and_kept(dataset, folder, found):
    kept = next((folder / "mail/seed-0").glob("foretold-*.json"))
    facts = json.loads(kept.read_text()) | {"users": 12345}
    kept.write_text(json.dumps(facts))
    again = thaw.compare(dataset, [mail()], out=folder, seeds=1, training=EPOCHS, references=())
    assert again.lines[1].foretold[0].users == 12345
    assert found.lines[0].foretold == ()


def test_a_reference_is_asked_once_for_each_dataset_and_its_options(dataset, tmp_path):
    asked = []

    class Noise:
        name = "noise"

        def __init__(self, strength):
            self.strength = strength

        def scores(self, dataset, seed):
            asked.append(seed)
            return np.random.default_rng(seed).random((len(dataset.splits["test"]), 1))

    for strength in (1, 1, 2):
        found = thaw.compare(
            dataset,
            [mail()],
            out=tmp_path,
            seeds=2,
            training=TRAINING,
            references=[Noise(strength)],
        )
    assert asked == [0, 1, 0, 1]
    assert len(found.lines[-1].cells[0].measures) == 2
