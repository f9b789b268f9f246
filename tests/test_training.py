import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import thaw
from builders import (
    PLAIN,
    TOWER,
    TRAINING,
    Watching,
    assert_same_end,
    differing,
    end_of,
    loader_of,
    mail,
    only_old,
    small_dnn,
    weights_of,
)
from thaw import checkpoint
from thaw.errors import DataError, MethodError, TrainingError
from thaw.locks import alone
from thaw.methods import Method
from thaw.rankers import BaseDNN, Output
from thaw.run import State, has_ended
from thaw.run_facts import facts_of


def test_two_runs_end_with_the_same_bits(dataset, finished, tmp_path):
    thaw.train(dataset, mail(), TRAINING, out=tmp_path / "run")
    assert_same_end(tmp_path / "run", dataset, finished)


def test_another_seed_ends_elsewhere(dataset, finished, tmp_path):
    options = replace(TRAINING, seed=1)
    thaw.train(dataset, mail(), options, out=tmp_path / "run")
    found = end_of(tmp_path / "run", dataset, mail(), options)
    assert found["losses"] != finished[1]["losses"]
    assert found["predictions"] != finished[1]["predictions"]


def test_the_global_random_state_is_left_as_it_was(dataset, tmp_path):
    before, other = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    thaw.train(dataset, mail(), replace(TRAINING, max_epochs=1), out=tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], other)  # noqa: NPY002
    assert not torch.are_deterministic_algorithms_enabled()


def test_pytorchs_settings_are_left_as_they_were(dataset, tmp_path):
    thaw.train(dataset, PLAIN, replace(TRAINING, max_epochs=1), out=tmp_path / "run")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_the_global_random_state_has_no_say(dataset, finished, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(12345)
        thaw.train(dataset, mail(), TRAINING, out=tmp_path / "run")
    assert_same_end(tmp_path / "run", dataset, finished)


def test_with_old_users_only_the_ranker_is_trained_as_alone(dataset, tmp_path):
    dataset = only_old(dataset)
    alone = weights_of(dataset, PLAIN, tmp_path / "alone")
    beside = weights_of(dataset, mail(), tmp_path / "beside")
    shared = {name: value for name, value in beside.items() if not name.startswith("tower.")}
    assert differing(alone, shared) == []
    one, other = (facts_of(tmp_path / name) for name in ("alone", "beside"))
    assert one.validation_auc == other.validation_auc
    assert np.array_equal(one.losses[:, 0], other.losses[:, 0])


def test_training_never_reads_the_test_split(dataset, tmp_path):
    test = dataset.splits["test"]
    garbage = replace(test, labels=1 - test.labels, item=test.item * 0, user=test.user[::-1])
    other = replace(dataset, splits={**dataset.splits, "test": garbage})
    one = weights_of(dataset, mail(), tmp_path / "one")
    assert differing(one, weights_of(other, mail(), tmp_path / "other")) == []


def test_the_towers_losses_stand_until_it_learns_again(dataset, tmp_path):
    thaw.train(dataset, mail(learns_every=3), TRAINING, out=tmp_path / "run")
    losses = facts_of(tmp_path / "run").losses
    assert (np.diff(losses[:, 0]) != 0).all()
    assert np.flatnonzero(np.diff(losses[:, 2])).tolist() == list(range(2, len(losses) - 1, 3))


def test_the_four_losses_of_every_step_are_kept(dataset, finished):
    facts = facts_of(finished[0])
    assert facts.losses.shape == (2 * len(loader_of(dataset, batch_size=64)), 4)
    assert (facts.losses > 0).all()
    assert facts.losses.dtype == np.float32
    assert facts.rows_per_second > 0


def test_a_ranker_alone_has_the_ranking_loss_alone(dataset, tmp_path):
    thaw.train(dataset, PLAIN, replace(TRAINING, max_epochs=1), out=tmp_path / "run")
    losses = facts_of(tmp_path / "run").losses
    assert (losses[:, 0] > 0).all()
    assert not losses[:, 1:].any()


def test_training_learns(dataset, tmp_path):
    options = replace(TRAINING, max_epochs=8, patience=8, learning_rate=5e-3, batch_size=32)
    thaw.train(dataset, mail(), options, out=tmp_path / "run")
    losses = facts_of(tmp_path / "run").losses
    steps = len(losses) // 8
    assert (losses[-steps:, :3].mean(0) < losses[:steps, :3].mean(0)).all()


def test_a_finished_run_is_resumed_without_a_step(dataset, finished):
    seen = Watching()
    thaw.train(dataset, mail(), TRAINING, out=finished[0], resume=True, progress=seen)
    assert seen.steps == []
    assert_same_end(finished[0], dataset, finished)


def test_a_taken_folder_is_refused(dataset, finished):
    with pytest.raises(TrainingError, match=r"holds this run; resume it \(--resume\)"):
        thaw.train(dataset, mail(), TRAINING, out=finished[0])
    with pytest.raises(TrainingError, match="holds another run: method differ; give the same"):
        thaw.train(dataset, PLAIN, TRAINING, out=finished[0])


def test_a_checkpoint_of_nobody_knows_what_run_is_not_gone_on_with(dataset, finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    (folder / "run.json").unlink()
    with pytest.raises(TrainingError, match=r"checkpoint of an unknown run, .*; remove it, or"):
        thaw.train(dataset, mail(), TRAINING, out=folder)


def test_vocabularies_of_a_start_that_was_killed_are_replaced(dataset, tmp_path):
    folder = tmp_path / "run/vocabularies"
    shutil.copytree(dataset.path / "vocabularies", folder)
    (folder / "users.city.arrow").rename(folder / "users.country.arrow")
    thaw.train(dataset, PLAIN, replace(TRAINING, max_epochs=1), out=tmp_path / "run")
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in (dataset.path / "vocabularies").iterdir()}


def test_what_is_no_method_and_no_options_is_refused(dataset, tmp_path):
    with pytest.raises(MethodError, match="how: is a MAIL; give a method's name, as 'mail-base'"):
        thaw.train(dataset, TOWER, TRAINING, out=tmp_path / "run")
    with pytest.raises(TrainingError, match=r"options: is a dict; give a thaw\.Training"):
        thaw.train(dataset, PLAIN, {"dim": 4}, out=tmp_path / "run")


def test_a_folder_of_something_else_is_left_alone(dataset, tmp_path):
    other = shutil.copytree(dataset.path, tmp_path / "dataset")
    before = {path: path.stat().st_mtime_ns for path in other.rglob("*")}
    with pytest.raises(TrainingError, match=r"dataset holds something else \(items\); choose"):
        thaw.train(dataset, PLAIN, TRAINING, out=other)
    assert {path: path.stat().st_mtime_ns for path in other.rglob("*")} == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/note.txt").write_text("mine")
    with pytest.raises(TrainingError, match=r"holds something else \(note.txt\)"):
        thaw.train(dataset, PLAIN, TRAINING, out=tmp_path / "notes")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda logits: Output(logits.squeeze(1)), r"logits \[\d+\]"),
        (lambda logits: Output(logits.unsqueeze(1)), r"logits \[\d+, 1, 1\]"),
        (lambda logits: logits, "Tensor"),
    ],
    ids=["one dimension", "three", "no Output"],
)
def test_a_ranker_that_breaks_the_contract_is_named(dataset, tmp_path, answer, told):
    class Mine(BaseDNN):
        def forward(self, inputs):
            return answer(super().forward(inputs).logits)

    message = rf"ranker Mine returned {told}; it must return an Output with logits \[\d+, 1\]"
    with pytest.raises(MethodError, match=message):
        thaw.train(dataset, Method("mine", Mine), TRAINING, out=tmp_path / "run")


def test_a_ranker_without_parameters_learns_by_its_embeddings(dataset, finished, tmp_path):
    class Dot(torch.nn.Module):
        def __init__(self, shape):
            super().__init__()

        def forward(self, inputs):
            users = inputs.user_attributes.sum(1).index_select(0, inputs.behavior.user)
            return Output((users * inputs.target.sum(1)).sum(1, keepdim=True))

    thaw.train(dataset, Method("dot", Dot), TRAINING, out=tmp_path / "run")
    losses = facts_of(tmp_path / "run").losses[:, 0]
    assert losses[-7:].mean() < losses[:7].mean()
    thaw.train(dataset, Method("dot", Dot, TOWER), TRAINING, out=tmp_path / "mail")


def test_a_ranker_that_is_built_already_is_refused():
    with pytest.raises(MethodError, match="ranker: is a Linear; give what builds one"):
        Method("built", torch.nn.Linear(2, 2))


def test_resuming_another_run_is_refused(dataset, finished):
    with pytest.raises(TrainingError, match=r"another run: method, training.seed \(0, now 3\)"):
        thaw.train(dataset, PLAIN, replace(TRAINING, seed=3), out=finished[0], resume=True)


def test_a_finished_run_stays_what_it_was(dataset, finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    written = json.loads((folder / "run.json").read_text())
    written["versions"]["torch"] = "of then"
    (folder / "run.json").write_text(json.dumps(written))
    thaw.train(dataset, mail(), TRAINING, out=folder, resume=True)
    assert json.loads((folder / "run.json").read_text()) == written


@pytest.mark.parametrize("limit", ["max_epochs", "patience"])
def test_a_run_that_outlasted_the_limits_is_another(dataset, tmp_path, limit):
    long = replace(TRAINING, max_epochs=4, patience=4)
    thaw.train(dataset, PLAIN, long, out=tmp_path / "run")
    state = State(**checkpoint.read_facts(tmp_path / "run", "checkpoint"))
    worst = [facts | {"validation_auc": -k} for k, facts in enumerate(state.epochs)]
    tensors, facts = checkpoint.read(tmp_path / "run", "checkpoint")
    facts |= {"epochs": worst, "best_epoch": 0}
    checkpoint.write(tmp_path / "run", "checkpoint", tensors, facts)
    with pytest.raises(
        TrainingError, match=rf"holds a run of 4 epochs, longer than with .*{limit}=2"
    ):
        thaw.train(dataset, PLAIN, replace(long, **{limit: 2}), out=tmp_path / "run", resume=True)
    thaw.train(dataset, PLAIN, long, out=tmp_path / "run", resume=True)


def test_a_run_from_before_schemas_could_say_more_is_resumed(dataset, finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    facts = json.loads(path.read_text())
    for task in facts["schema"]["tasks"]:
        del task["given"]
    path.write_text(json.dumps(facts))
    thaw.train(dataset, mail(), TRAINING, out=tmp_path / "run", resume=True)
    assert_same_end(tmp_path / "run", dataset, finished)


def test_folders_hold_no_pickles(finished):
    files = [path for path in finished[0].rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json", ".arrow", ".lock"}
    assert not [path for path in files if path.read_bytes()[:2] in (b"\x80\x04", b"PK")]


def test_validation_with_one_class_is_refused(dataset, tmp_path):
    rows = dataset.splits["validation"]
    splits = {**dataset.splits, "validation": replace(rows, labels=np.zeros_like(rows.labels))}
    with pytest.raises(TrainingError, match="validation: every label of its 60 rows is the same"):
        thaw.train(replace(dataset, splits=splits), PLAIN, TRAINING, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_mail_without_old_users_is_refused(dataset, tmp_path):
    rows = dataset.splits["train"]
    splits = {**dataset.splits, "train": replace(rows, pointer=np.zeros_like(rows.pointer))}
    nobody = replace(dataset, splits=splits)
    with pytest.raises(TrainingError, match="train: no row has behavior before it"):
        thaw.train(nobody, mail(), TRAINING, out=tmp_path / "run")
    thaw.train(nobody, PLAIN, replace(TRAINING, max_epochs=1), out=tmp_path / "alone")


def test_mail_none_without_new_users_is_refused(dataset, tmp_path):
    rows = dataset.splits["train"]
    has_behavior = rows.pointer > 0
    old = {name: array[has_behavior] for name, array in vars(rows).items()}
    splits = {**dataset.splits, "train": replace(rows, **old)}
    all_old = replace(dataset, splits=splits, hidden=np.zeros_like(dataset.hidden))
    none = mail(trained_by="none")
    with pytest.raises(TrainingError, match=r"nothing to learn from; train mail\+dropout"):
        thaw.train(all_old, none, TRAINING, out=tmp_path / "run")
    thaw.train(
        all_old, replace(none, behavior_dropout=0.3), replace(TRAINING, max_epochs=1),
        out=tmp_path / "dropout",
    )  # fmt: skip


def slow_stop(aucs, patience, max_epochs):
    """The law of early stopping: how many epochs are trained, and which is the best."""
    best = 0
    for epoch, value in enumerate(aucs):
        best = epoch if value > aucs[best] else best
        if epoch - best >= patience or epoch + 1 == max_epochs:
            return epoch + 1, best
    raise AssertionError


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_early_stopping_follows_its_law(seed, patience):
    aucs = [round(value, 1) for value in random.Random(seed).choices([0.5, 0.6, 0.7, 0.8], k=6)]
    options, state, told = replace(TRAINING, patience=patience, max_epochs=6), State(), []
    while not state.has_ended(options):
        told.append(state.finish_epoch({"validation_auc": aucs[state.epoch]}))
    epochs, best = slow_stop(aucs, patience, 6)
    assert (state.epoch, state.best_epoch, state.batch) == (epochs, best, 0)
    assert max(index for index, is_best in enumerate(told) if is_best) == best


def test_the_best_epochs_model_is_kept(dataset, tmp_path):
    options = replace(TRAINING, max_epochs=6, patience=6, learning_rate=0.03)
    found = thaw.train(dataset, mail(), options, out=tmp_path / "run")
    facts = facts_of(tmp_path / "run")
    assert facts.best_epoch == int(np.argmax(facts.validation_auc))
    predictions = found.predict(dataset, "validation")
    assert thaw.metrics.auc(predictions.labels[:, 0], predictions.probabilities[:, 0]) == max(
        facts.validation_auc
    )


def test_without_hiding_the_ceiling_sees_real_behavior(dataset, tmp_path):
    hiding = weights_of(dataset, PLAIN, tmp_path / "one")
    showing = weights_of(dataset, PLAIN, tmp_path / "other", hides_behavior=False)
    assert differing(hiding, showing)


def test_a_model_is_not_taken_for_another_dataset(dataset, finished):
    other = replace(dataset, manifest={**dataset.manifest, "files": {"another": "one"}})
    with pytest.raises(DataError, match="not the dataset that the model was trained on"):
        thaw.Recommender.load(finished[0], dataset=other, ranker=small_dnn)


def test_a_model_of_another_version_says_so(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    tensors, facts = checkpoint.read(tmp_path / "run", "model")
    del tensors["tower.shift"]
    checkpoint.write(tmp_path / "run", "model", tensors, facts)
    with pytest.raises(TrainingError, match=r"its weights do not fit .*shift"):
        thaw.Recommender.load(tmp_path / "run", ranker=small_dnn)


def test_a_run_where_a_file_is_says_so(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(TrainingError, match=r"file.*: no run can be there"):
            thaw.train(dataset, PLAIN, TRAINING, out=out)


def test_own_rankers_must_be_given_again(finished):
    with pytest.raises(TrainingError, match="'small_dnn' does not ship with thaw; pass it"):
        thaw.Recommender.load(finished[0])


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("run.json", "", r"run.json: can't be read \(.*\); train in another folder"),
        ("run.json", "{}", "run.json: lacks a part of schema, dense, method, training; train in"),
        ("checkpoint-*/facts.json", "[]", r"can't be read \(.*holds a list, no dict\); remove it"),
        ("checkpoint-*/facts.json", "{}", r"checkpoint is damaged .*\(batch, .*\); remove it"),
    ],
)
def test_a_damaged_run_is_told(dataset, finished, tmp_path, name, text, told):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    next(folder.glob(name)).write_text(text)
    for ask in (facts_of, has_ended):
        with pytest.raises(TrainingError, match=told):
            ask(folder)
    with pytest.raises(TrainingError, match=told):
        thaw.train(dataset, mail(), TRAINING, out=folder, resume=True)


def test_run_json_says_how_it_was_trained(finished):
    facts = json.loads((finished[0] / "run.json").read_text())
    assert facts["method"]["mail"]["encoder"] == list(TOWER.encoder)
    assert facts["method"]["ranker"] == "small_dnn"
    assert facts["training"]["learning_rate"] == 0.001
    assert facts["versions"]["torch"] == torch.__version__


def test_defaults_are_section_4_2s():
    options = thaw.Training()
    assert (options.dim, options.learning_rate, options.batch_size) == (32, 0.001, 1024)
    assert options.max_events == 100


def test_a_folder_is_trained_in_by_one_process(dataset, tmp_path):
    (tmp_path / "run").mkdir()
    held = alone(tmp_path / "run/run.lock", AssertionError("taken"))
    with held, pytest.raises(TrainingError, match="another process is training here"):
        thaw.train(dataset, PLAIN, TRAINING, out=tmp_path / "run")
