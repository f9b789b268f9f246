"""A factorization machine is fitted beside a trained ranker, for new users alone."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logit
from torch.nn import functional as F

import thaw
from builders import (
    PLAIN,
    TRAINING,
    Watching,
    copies,
    differing,
    loader_of,
    mail,
    model_of,
    small_dnn,
)
from thaw import checkpoint, factorization
from thaw.believing import believe
from thaw.data import Impressions
from thaw.datasets import World, simulate
from thaw.datasets.simulated import schema as world_schema
from thaw.errors import MethodError, TrainingError
from thaw.experiments.compare import compare
from thaw.experiments.measures import measure
from thaw.factorization import fit_machine
from thaw.methods import Lookalikes, Method
from thaw.model import is_apart
from thaw.predicting import predict
from thaw.progress import Quiet
from thaw.run_facts import facts_of
from thaw.schema import StrictRule

BESIDE = Method("beside", small_dnn, fm=True)
OPTIONS = replace(TRAINING, learning_rate=0.01, max_epochs=6)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A world in which attributes say everything of users."""
    return world(tmp_path_factory, determined=1.0)


@pytest.fixture(scope="module")
def untold(tmp_path_factory):
    """A world in which they say nothing."""
    return world(tmp_path_factory, determined=0.0)


def world(tmp_path_factory, determined):
    made = World(
        users=400,
        items=60,
        impressions_per_user=40,
        click_rate=0.4,
        conversion_rate=0.4,
        interest_strength=2.0,
        interest_determined=determined,
        rate_determined=determined,
    )
    folder = tmp_path_factory.mktemp("world")
    simulate(made, folder / "tables")
    declared = world_schema(made, conversions=True)
    strict = declared.model_copy(update={"new_users": StrictRule(rule="strict", share=0.4)})
    return thaw.prepare(strict, data=folder / "tables", out=folder / "dataset")


def trained(dataset, what, out, options=OPTIONS, **more):
    return thaw.train(dataset, what, options, out=out, **more)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder for the two runs."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def alone(told, runs):
    """The ranker alone."""
    return trained(told, PLAIN, runs / "alone")


@pytest.fixture(scope="module")
def beside(told, runs):
    """The same with a factorization machine beside it."""
    return trained(told, BESIDE, runs / "beside")


def test_new_users_are_ranked_better_and_old_ones_as_before(told, alone, beside):
    found, before = (each.predict(told, "test") for each in (beside, alone))
    is_old = ~found.is_new
    assert np.array_equal(found.probabilities[is_old], before.probabilities[is_old])
    with_it, without = (measure(each, "new", 0) for each in (found, before))
    assert with_it.auc > without.auc + 0.02
    assert with_it.gauc > without.gauc + 0.01
    assert with_it.log_loss < without.log_loss
    assert with_it.calibration == pytest.approx(without.calibration, rel=0.06)


def test_a_runs_facts_say_how_far_it_is_believed(alone, beside, runs):
    assert facts_of(runs / "alone").strengths == ()
    found = facts_of(runs / "beside").strengths
    every = [(task, part) for task in ("click", "conversion") for part in ("level", "order")]
    assert [(each.task, each.part) for each in found] == every
    expected = beside.model.fm.strength.flatten().tolist()
    assert [each.value for each in found] == pytest.approx(expected)


def test_an_epochs_steps_add_up_to_the_mean_loss_and_the_prior(told, beside, monkeypatch):
    """The gradients of all steps at one place, each row's loss and each embedding's prior once."""
    monkeypatch.setattr(factorization, "PRECISION", 50.0)
    machine, loader = copy.deepcopy(beside.model.fm), loader_of(told, batch_size=64)
    rows = np.flatnonzero(told.splits["train"].user % 10 != 9)
    counts = factorization._counts(machine, loader, rows)
    batches = [*factorization._shuffled(loader, rows, epoch=0)]
    table = machine.embeddings.table
    found, losses = torch.zeros_like(table), torch.zeros_like(table)

    class Adding:
        def step(self, places, gradient):
            found.index_add_(0, places, gradient / len(batches))

    class Standing:
        def zero_grad(self):
            machine.bias.grad = None

        def step(self):
            pass

    clicks = told.splits["train"].labels[rows, 0].sum()  # what conversions are learned from
    numbers = torch.tensor([len(rows), clicks])
    for batch in batches:
        factorization._step(machine, batch, counts, Adding(), Standing())
        each = machine.embeddings.look_up(batch, needs_gradient=True)
        weight = machine.counted(batch.labels) / numbers
        F.binary_cross_entropy_with_logits(
            machine(batch, each), batch.labels, weight, reduction="sum"
        ).backward()
        losses.index_add_(0, batch.rows, each.grad)
    touched = torch.cat([batch.rows for batch in batches]).unique()
    prior = 50.0 * table[touched].view(len(touched), 2, -1) / numbers.view(1, 2, 1)
    torch.testing.assert_close(found[touched], losses[touched] + prior.flatten(1))


def test_its_answers_foretell_as_many_labels_as_the_rankers(told, beside):
    """Of users from whom it did not learn, shown as new; conversions too, none above its click."""
    model, loader = copy.deepcopy(beside.model), loader_of(told, batch_size=4096)
    rows = np.flatnonzero(told.splits["train"].user % 10 == 9)
    as_new = replace(loader.rows(rows), hidden=np.ones(len(rows), bool))
    batch = loader.assembler.batch(as_new)
    assert model.fm.strength[0].all()
    model.fm.strength[1] = 1.0  # so few conversions tell nothing: as if they did
    with torch.inference_mode():
        beliefs = factorization._beliefs(model.fm, loader, rows)
        factorization._calibrate(model, loader, rows, beliefs)
        before, after = model.ranked(batch).double(), model(batch).double()
    torch.testing.assert_close(after.mean(0), before.mean(0), rtol=1e-3, atol=0)
    assert (after[:, 1] <= after[:, 0]).all()
    assert ((model.fm.scale > 0) & (model.fm.scale <= 1)).all()


def test_log_odds_of_new_users_are_as_sure_as_the_rankers(told, alone, beside):
    slopes = []
    for each in (alone, beside):
        found = each.predict(told, "test")
        rows = found.is_new
        p = found.probabilities[rows, 0].astype(float)
        slopes.append(believe(found.labels[rows, 0], logit(p)[:, None], found.user[rows]).slopes[0])
    assert slopes[1] > 0.75 * min(1, slopes[0])


def test_where_attributes_say_nothing_no_answer_changes(untold, tmp_path):
    before = trained(untold, PLAIN, tmp_path / "alone").predict(untold, "test")
    found = trained(untold, BESIDE, tmp_path / "beside")
    assert not found.model.fm.strength.any()
    assert np.array_equal(found.predict(untold, "test").probabilities, before.probabilities)


def test_its_epochs_are_told_and_its_strengths_for_each_task(untold, tmp_path):
    lines = []

    class Hearing(Quiet):
        def tell(self, line):
            lines.append(line)

    once = replace(OPTIONS, max_epochs=1)
    trained(untold, BESIDE, tmp_path / "run", once, progress=Hearing())
    *epochs, click, conversion = lines
    assert epochs[0].startswith("factorization machine: epoch 1  log loss 0.")
    assert epochs[0].endswith("(best so far)")
    best = [k for k, line in enumerate(epochs) if line.endswith("(best so far)")][-1]
    assert len(epochs) == best + 1 + factorization.PATIENCE
    assert f"epoch {best + 1}, click: strength 0.00" in click
    assert f"epoch {best + 1}, conversion: strength 0.00" in conversion
    kept = checkpoint.read_facts(tmp_path / "run", "model")["fm"]
    assert kept == [{"level": 0, "order": 0}] * 2


def test_it_loads_and_resumes_as_it_was(told, beside, tmp_path):
    out, before = tmp_path / "run", beside.predict(told, "test").probabilities
    trained(told, BESIDE, out)
    again = trained(told, BESIDE, out, resume=True)
    for each in (again, thaw.Recommender.load(out, ranker=small_dnn)):
        assert np.array_equal(each.predict(told, "test").probabilities, before)


def test_after_a_stop_before_it_is_fitted_the_run_goes_on(told, beside, tmp_path):
    out, last = tmp_path / "run", OPTIONS.max_epochs - 1

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(told, BESIDE, out, progress=Watching(stop, at_epoch=last))
    with pytest.raises(TrainingError, match="its ranker is still in training"):
        thaw.Recommender.load(out, ranker=small_dnn)
    resumed = trained(told, BESIDE, out, resume=True)
    assert differing(copies(beside.model), copies(resumed.model)) == []


def test_it_never_learns_from_those_who_say_how_far_it_is_believed(told):
    """Their labels turned around, its embeddings are the same, and its strengths others."""
    train = told.splits["train"]
    apart = is_apart(torch.from_numpy(train.user.copy())).numpy()
    labels = np.where(apart[:, None], 1 - train.labels, train.labels)
    columns = vars(train) | {"labels": labels.astype(np.int8)}
    turned = replace(told, splits=told.splits | {"train": Impressions(**columns)})
    once = replace(OPTIONS, max_epochs=1, learning_rate=0.1)
    found = []
    for dataset in (told, turned):
        model = model_of(dataset, BESIDE)
        fit_machine(model, dataset, once, Quiet())
        found.append(model.fm)
    one, other = found
    assert torch.equal(one.embeddings.table, other.embeddings.table)
    assert one.strength.any()
    assert not other.strength.any()


@pytest.mark.parametrize(
    "what",
    [mail(behavior_dropout=0.3), Method("alike", small_dnn, after=Lookalikes(count=3))],
    ids=["mail", "lookalikes"],
)
def test_it_stands_beside_what_makes_behavior(told, tmp_path, what):
    few = replace(OPTIONS, max_epochs=2)
    without = trained(told, what, tmp_path / "without", few)
    both = trained(told, replace(what, fm=True), tmp_path / "both", few)
    before, after = (each.predict(told, "test") for each in (without, both))
    assert np.array_equal(before.probabilities[~before.is_new], after.probabilities[~after.is_new])
    assert (before.probabilities != after.probabilities)[before.is_new].mean() > 0.99
    assert measure(after, "new", 0).auc > measure(before, "new", 0).auc


def test_a_comparison_trains_once_what_it_is_fitted_to(told, tmp_path):
    what = mail()
    methods = [PLAIN, what, replace(what, name="mail+fm", fm=True), BESIDE]
    once = replace(OPTIONS, max_epochs=1)
    found = compare(told, methods, out=tmp_path, seeds=1, training=once, references=())
    kept = {
        name: checkpoint.read_facts(tmp_path / name / "seed-0", "checkpoint")["seconds"]
        for name in ("plain", "mail", "mail+fm", "beside")
    }
    assert kept["mail"] == kept["mail+fm"]
    assert kept["plain"] == kept["beside"]
    taken = [facts_of(tmp_path / name / "seed-0").seconds for name in ("mail", "mail+fm")]
    assert taken[0] < taken[1]
    pairs = {(line.name, line.base) for line in found.against}
    assert pairs == {("mail+fm", "mail"), ("mail+fm", "beside")}


@pytest.mark.parametrize(
    ("below", "events", "has_it"), [(1, 2, False), (3, 2, True), (3, 3, False)]
)
def test_users_of_few_events_may_have_it_too(told, alone, beside, below, events, has_it):
    model = copy.deepcopy(beside.model)
    model.fill_below = below
    before, found = (
        predict(each, told, "test", shown_events=events) for each in (alone.model, model)
    )
    is_old = told.splits["test"].pointer >= events
    changed = (found.probabilities != before.probabilities)[is_old & ~told.is_new("test")]
    assert (changed.mean() > 0.99) if has_it else not changed.any()


def test_new_users_that_arrive_with_a_request_have_it_too(told, alone, beside):
    fields = [field.name for field in told.schema.users.fields if field.name != "user_id"]
    users = [{"user_id": "nobody", **dict.fromkeys(fields, f"{fields[0]}_1")}]
    items = told.items.keys[:5].to_pylist()
    before, after = (each.score(users, items)["click"].to_numpy() for each in (alone, beside))
    assert (before != after).all()


def test_without_an_attribute_beside_the_id_it_is_refused(told, tmp_path):
    bare = told.schema.model_copy(
        update={"users": told.schema.users.model_copy(update={"attributes": ()})}
    )
    tables = told.path.parent / "tables"
    dataset = thaw.prepare(bare, data=tables, out=tmp_path / "bare")
    with pytest.raises(MethodError, match="beside multiplies user attributes with items"):
        trained(dataset, BESIDE, tmp_path / "run")
    assert not (tmp_path / "run").exists()
