"""Methods whose behavior for new users is fitted once the ranker is trained."""

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import thaw
from builders import PLAIN, TOWER, TRAINING, small_dnn
from thaw import checkpoint
from thaw.errors import MethodError, TrainingError
from thaw.experiments.measures import measure
from thaw.methods import Method
from thaw.methods.fitted import LLAE, Lookalikes, Mean, MetaEmb, Nearest
from thaw.metrics import log_loss
from thaw.nn.fitted import Fitted, as_event
from thaw.nn.inputs import InputShape
from thaw.progress import Quiet
from thaw.recommender import Recommender

WAYS = [
    Mean(),
    Nearest(neighbours=3, users=50),
    LLAE(rank=2),
    MetaEmb(users=16, rows=3),
    Lookalikes(count=3, users=50),
]
ways = pytest.mark.parametrize(
    "after", WAYS, ids=["mean", "nearest", "llae", "meta-emb", "lookalikes"]
)


def fitted(after):
    return Method("fitted", small_dnn, after=after)


@ways
def test_old_users_are_ranked_as_by_the_ranker_alone(dataset, tmp_path, after):
    alone = thaw.train(dataset, PLAIN, TRAINING, out=tmp_path / "alone").predict(dataset, "test")
    found = thaw.train(dataset, fitted(after), TRAINING, out=tmp_path / "run")
    filled = found.predict(dataset, "test")
    is_same = (filled.probabilities == alone.probabilities).all(1)
    assert is_same[~filled.is_new].all()
    assert not is_same[filled.is_new].any()


@ways
def test_it_loads_and_resumes_as_it_was(dataset, tmp_path, after):
    out = tmp_path / "run"
    before = thaw.train(dataset, fitted(after), TRAINING, out=out).predict(dataset, "test")
    loaded = thaw.Recommender.load(out, ranker=small_dnn)
    again = thaw.train(dataset, fitted(after), TRAINING, out=out, resume=True)
    for each in (loaded, again):
        found = each.predict(dataset, "test")
        assert np.array_equal(found.probabilities, before.probabilities)


class Last(Fitted):
    """The behavior of the last old user, for everyone."""

    def __init__(self, dim):
        super().__init__()
        self.register_buffer("behavior", torch.zeros(dim))

    def fit(self, attributes, behavior, lengths):
        self.behavior.copy_(behavior[-1])

    def generate(self, attributes):
        return as_event(self.behavior.expand(len(attributes), -1), torch.ones((), dtype=int))


@dataclass(frozen=True)
class OfMine:
    users: int = 3

    def tower(self, shape):
        return Last(shape.dim)


def test_one_of_your_own_takes_no_other_change(dataset, tmp_path):
    trained = thaw.train(dataset, fitted(OfMine()), TRAINING, out=tmp_path / "run")
    loaded = thaw.Recommender.load(tmp_path / "run", ranker=small_dnn, after=OfMine())
    expected = trained.predict(dataset, "test")
    assert np.array_equal(loaded.predict(dataset, "test").probabilities, expected.probabilities)
    assert loaded.facts["method"]["after"] == {"name": "OfMine", "users": 3}
    with pytest.raises(TrainingError, match="'OfMine' does not ship with thaw; pass it as `after`"):
        thaw.Recommender.load(tmp_path / "run", ranker=small_dnn)
    with pytest.raises(MethodError, match=r"'users': 4}\): the run was fitted with .*'users': 3}"):
        thaw.Recommender.load(tmp_path / "run", ranker=small_dnn, after=OfMine(users=4))


def test_a_kill_before_the_fit_is_made_good(dataset, tmp_path):
    out, what = tmp_path / "run", fitted(Mean())
    expected = thaw.train(dataset, what, TRAINING, out=out).predict(dataset, "test")
    tensors, facts = checkpoint.read(out, "model")
    alone = {name: each for name, each in tensors.items() if not name.startswith("tower.")}
    checkpoint.write(out, "model", alone, facts)
    found = thaw.train(dataset, what, TRAINING, out=out, resume=True).predict(dataset, "test")
    assert np.array_equal(found.probabilities, expected.probabilities)


@ways
def test_scores_say_what_they_rest_on(dataset, tmp_path, after):
    found = thaw.train(dataset, fitted(after), TRAINING, out=tmp_path / "run")
    table = found.score([{"user_id": "nobody", "city": "Rome"}], ["i00", "i01"])
    behavior = "none" if isinstance(after, MetaEmb) else "virtual"
    assert table["behavior"].to_pylist() == [behavior] * 2


def test_meta_emb_learns_ids_that_help(dataset, tmp_path):
    all_new, old = replace(dataset, hidden=np.ones_like(dataset.hidden)), ~dataset.is_new("train")

    def loss_of_old_users_as_new(epochs):
        after = MetaEmb(epochs=epochs, users=16, rows=3, learning_rate=0.1)
        found = thaw.train(dataset, fitted(after), TRAINING, out=tmp_path / str(epochs))
        shown = found.predict(all_new, "train")
        return log_loss(shown.labels[old, 0], shown.probabilities[old, 0])

    assert loss_of_old_users_as_new(20) < loss_of_old_users_as_new(0)


def test_lookalikes_know_so_many_users_and_all_where_there_are_fewer(dataset, tmp_path):
    old = np.unique(dataset.splits["train"].user[~dataset.is_new("train")])
    for users, expected in ((7, 7), (5_000, len(old))):
        after = Lookalikes(count=3, users=users)
        found = thaw.train(dataset, fitted(after), TRAINING, out=tmp_path / str(users))
        assert len(found.model.tower.offsets) == expected + 1
        assert len(found.model.tower.ids) == expected


def test_lookalikes_see_the_last_training_rows_behavior(dataset, tmp_path):
    found = thaw.train(dataset, fitted(Lookalikes(count=3)), TRAINING, out=tmp_path / "run")
    train = dataset.splits["train"]
    last = train.last_rows[~dataset.is_new("train")[train.last_rows]]
    tower = found.model.tower
    expected = np.minimum(train.pointer[last], TRAINING.max_events)
    assert sorted(tower.offsets.diff().tolist()) == sorted(expected.tolist())


def test_meta_emb_wants_the_users_id():
    shape = InputShape(dim=4, attributes=2, context=0, target=2, max_events=5, tasks=1)
    with pytest.raises(MethodError, match=r"set users\.id_attribute"):
        MetaEmb().tower(shape)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_comparison_trains_its_ranker_once(dataset, tmp_path, share):
    steps = Counter()

    class Counting(Quiet):
        def __init__(self, name, seed):
            self.name = name

        def step(self, step, rows, losses):
            steps[self.name] += 1

    method = replace(fitted(Mean()), behavior_dropout=share)
    ranker = Method("ranker", small_dnn, behavior_dropout=share)
    result = thaw.compare(
        dataset, [method, ranker], out=tmp_path / "both", seeds=1, training=TRAINING,
        progress=Counting,
    )  # fmt: skip
    base = result.lines[0]
    found = next(line for line in result.lines if line.name == "fitted")
    assert base.base is None
    assert found.base == base.name
    assert steps["ranker"] > 0
    assert steps["fitted"] == 0
    alone = thaw.train(dataset, method, TRAINING, out=tmp_path / "alone")
    expected = measure(alone.predict(dataset, "test"), "new", 0)
    assert found.cell("click", "new").auc.values == (expected.auc,)


def test_without_old_users_there_is_nothing_to_fit(dataset, tmp_path):
    rows = dataset.splits["train"]
    splits = {**dataset.splits, "train": replace(rows, pointer=np.zeros_like(rows.pointer))}
    with pytest.raises(TrainingError, match="so fitted has nothing to learn from"):
        thaw.train(replace(dataset, splits=splits), fitted(Mean()), TRAINING, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Nearest, "neighbours"), (Nearest, "users"), (LLAE, "rank"), (LLAE, "alternations"),
     (MetaEmb, "users"), (MetaEmb, "rows")],
)  # fmt: skip
def test_none_of_what_a_fit_needs_is_refused(kind, name):
    with pytest.raises(MethodError, match=rf"{kind.__name__}\.{name} \(=0\) must be 1 or more"):
        kind(**{name: 0})


@pytest.mark.parametrize(
    ("kind", "name", "value", "rule"),
    [
        (LLAE, "corrupted", 2.0, "at most 1"),
        (LLAE, "reconstruction_weight", -1.0, "0 or more"),
        (MetaEmb, "epochs", -1, "0 or more"),
        (MetaEmb, "learning_rate", math.nan, "0 or more"),
        (Lookalikes, "count", np.int64(3), "a whole number"),
    ],
)
def test_options_out_of_range_are_refused(kind, name, value, rule):
    with pytest.raises(MethodError, match=rf"{kind.__name__}\.{name} \(=.*\) must be {rule}"):
        kind(**{name: value})


def test_one_of_your_own_gives_a_tower_that_can_be_fitted(dataset, tmp_path):
    @dataclass(frozen=True)
    class Wrong:
        def tower(self, shape):
            return MetaEmb().tower(shape)

    with pytest.raises(MethodError, match=r"Wrong\.tower gives IdGenerator, which is no thaw"):
        thaw.train(dataset, fitted(Wrong()), TRAINING, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_whose_ranker_is_in_training_says_so(dataset, tmp_path):
    thaw.train(dataset, fitted(Mean()), TRAINING, out=tmp_path)
    tensors, facts = checkpoint.read(tmp_path, "model")
    ranker = {name: value for name, value in tensors.items() if not name.startswith("tower.")}
    checkpoint.write(tmp_path, "model", ranker, facts)
    with pytest.raises(TrainingError, match="its ranker is still in training; resume the run"):
        Recommender.load(tmp_path, dataset=dataset, ranker=small_dnn)


def test_two_ways_to_make_behavior_are_one_too_many():
    with pytest.raises(MethodError, match="two: mail and after each see to new users"):
        Method("two", mail=TOWER, after=Mean())


def test_what_has_no_tower_gives_nobody_behavior():
    with pytest.raises(MethodError, match="after: a dict has no `tower`"):
        Method("mine", after={"users": 3})


@pytest.mark.parametrize("after", [Nearest(), LLAE(), Lookalikes()])
def test_the_id_alone_is_no_attribute(after):
    shape = InputShape(dim=4, attributes=1, context=0, target=2, max_events=5, tasks=1, has_id=True)
    with pytest.raises(MethodError, match="the schema has none but the id"):
        after.tower(shape)
