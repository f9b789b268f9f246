import math
from dataclasses import astuple, replace

import numpy as np
import pytest

import thaw
from builders import TRAINING, mail, small_dnn
from conftest import make_schema, make_tables
from thaw import metrics, statistics
from thaw.errors import DataError, MethodError, TrainingError
from thaw.experiments.compare import compare
from thaw.experiments.measures import measure
from thaw.methods import Method
from thaw.progress import Quiet
from thaw.run_facts import facts_of
from thaw.schema import Impressions, NaturalRule, StrictRule

ONCE = replace(TRAINING, max_epochs=1)


class Counting:
    """Makes silent progress, and counts the steps of every run."""

    def __init__(self):
        self.runs, self.steps = [], 0

    def __call__(self, name, seed):
        self.runs.append((name, seed))
        counting, quiet = self, Quiet()
        quiet.step = lambda *_: setattr(counting, "steps", counting.steps + 1)
        return quiet


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture(scope="module")
def result(dataset, folder):
    return compare(dataset, [mail()], out=folder, seeds=2, training=ONCE, references=())


def prepared(rule, path, *, gaps=True):
    impressions = Impressions(user="user", item="item", time="time", references=("ours",))
    tables = make_tables(seed=1, users=40)
    for number, row in enumerate(tables["impressions"]):
        row["ours"] = None if gaps and number % 11 == 0 else (number * 37 % 100) / 100
    return thaw.prepare(make_schema(new_users=rule, impressions=impressions), tables, out=path)


def cells_of(comparison):
    """All cells as text, in which a NaN is like another."""
    return [str(line.cells) for line in comparison.lines]


def test_base_and_ceiling_are_added(result):
    lines = [(line.name, line.base, line.kind) for line in result.lines]
    assert lines == [
        ("small_dnn", None, "method"),
        ("mail", "small_dnn", "method"),
        ("ceiling of small_dnn", "small_dnn", "ceiling"),
    ]
    assert (result.seeds, result.tasks, result.rule) == ((0, 1), ("click",), "paper")


def test_every_line_has_every_cell_and_run(result):
    for line in result.lines:
        assert [(cell.task, cell.segment) for cell in line.cells] == [
            ("click", "new"),
            ("click", "old"),
        ]
        assert [run.seed for run in line.runs] == [0, 1]
        for cell in line.cells:
            assert len(cell.measures) == len(cell.auc.values) == len(cell.gauc.values) == 2


def test_cells_are_the_metrics_of_the_predictions(result, dataset, folder):
    for line, name in zip(result.lines, ("small_dnn", "mail", "small_dnn-ceiling"), strict=True):
        for seed in (0, 1):
            run = folder / name / f"seed-{seed}"
            model = thaw.Recommender.load(run, dataset=dataset, ranker=small_dnn)
            found = model.predict(dataset, "test", hides_behavior=line.kind != "ceiling")
            for cell in line.cells:
                assert cell.measures[seed] == measure(found, cell.segment, 0)
                assert cell.auc.values[seed] == cell.measures[seed].auc
                assert cell.gauc.values[seed] == cell.measures[seed].gauc


def test_figures_compare_with_the_base(result):
    base, line = result.lines[0].cell("click", "new").auc, result.lines[1].cell("click", "new").auc
    assert base.test is None
    assert np.isnan(base.improvement)
    assert line.interval == statistics.seed_interval(line.values)
    means = np.mean(base.values), np.mean(line.values)
    assert line.improvement == pytest.approx(metrics.relative_improvement(*means))
    assert line.over_seeds == statistics.paired_test(base.values, line.values)


def test_runs_are_those_of_the_folders(result, folder):
    run, facts = result.lines[1].runs[0], facts_of(folder / "mail" / "seed-0")
    assert np.array_equal(run.losses, facts.losses)
    assert run.validation_auc == facts.validation_auc


def test_resuming_trains_nothing_and_says_the_same(result, dataset, folder):
    count = Counting()
    again = compare(
        dataset, [mail()], out=folder, seeds=2, training=ONCE, references=(), progress=count
    )
    assert len(count.runs) == 6
    assert count.steps == 0
    assert cells_of(again) == cells_of(result)


def test_an_interrupted_comparison_goes_on(result, dataset, folder, tmp_path):
    class Stopping(Counting):
        def __call__(self, name, seed):
            if (name, seed) == ("mail", 1):
                raise KeyboardInterrupt
            return super().__call__(name, seed)

    with pytest.raises(KeyboardInterrupt):
        compare(dataset, [mail()], out=tmp_path, seeds=2, training=ONCE, progress=Stopping())
    again = compare(dataset, [mail()], out=tmp_path, seeds=2, training=ONCE, references=())
    assert cells_of(again) == cells_of(result)


def test_another_comparison_in_the_same_folder_is_refused(result, dataset, folder):
    other = replace(ONCE, learning_rate=0.5)
    with pytest.raises(TrainingError, match=r"holds another run: training.learning_rate \("):
        compare(dataset, [mail()], out=folder, seeds=1, training=other)


def test_a_longer_comparison_goes_on_and_asks_the_new_best_models(dataset, tmp_path):
    compare(dataset, [mail()], out=tmp_path / "grown", seeds=1, training=ONCE, references=())
    longer = replace(ONCE, max_epochs=3, patience=3)
    grown = compare(dataset, [mail()], out=tmp_path / "grown", seeds=1, training=longer)
    fresh = compare(dataset, [mail()], out=tmp_path / "fresh", seeds=1, training=longer)
    assert [run.epochs for line in grown.lines for run in line.runs] == [3, 3, 3]
    assert cells_of(grown) == cells_of(fresh)


def test_a_name_stands_for_one_method(dataset, tmp_path):
    other = Method("small_dnn", ranker=lambda shape: small_dnn(shape))
    with pytest.raises(MethodError, match="small_dnn stands for more than one"):
        compare(dataset, [mail(), other], out=tmp_path)


def test_a_base_of_another_name_is_trained_once(dataset, tmp_path):
    own = Method("my-dnn", ranker=small_dnn)
    found = compare(dataset, [own, mail()], out=tmp_path, seeds=1, training=ONCE, references=())
    assert [(line.name, line.base) for line in found.lines] == [
        ("my-dnn", None),
        ("mail", "my-dnn"),
        ("ceiling of my-dnn", "my-dnn"),
    ]


def test_the_strict_rules_ceiling_asks_the_bases_own_models(tmp_path):
    dataset = prepared(StrictRule(rule="strict"), tmp_path / "strict")
    result = compare(dataset, [mail()], out=tmp_path / "out", seeds=2, training=ONCE, references=())
    base, _, ceiling, _ = result.lines
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["mail", "small_dnn"]
    assert ceiling.kind == "ceiling"
    assert [run.losses.tobytes() for run in ceiling.runs] == [
        run.losses.tobytes() for run in base.runs
    ]
    assert ceiling.cell("click", "old").auc.values == base.cell("click", "old").auc.values
    assert ceiling.cell("click", "new").auc.values != base.cell("click", "new").auc.values
    old = ceiling.cell("click", "old").auc.over_users  # not a bit of difference to test
    assert (old.difference, math.isnan(old.p_value)) == (0, True)


def test_the_natural_rule_has_no_ceiling_and_one_seed_resamples_users(tmp_path):
    dataset = prepared(NaturalRule(rule="natural"), tmp_path / "natural")
    result = compare(dataset, [mail()], out=tmp_path / "out", seeds=1, training=ONCE, references=())
    assert [line.kind for line in result.lines] == ["method", "method", "reference"]
    figure = result.lines[1].cell("click", "old").auc
    assert figure.interval.low <= figure.values[0] <= figure.interval.high
    assert np.isnan(figure.gap_closed.mean)
    assert figure.over_seeds is None
    shown, expected = astuple(figure.test), astuple(figure.over_users)
    assert np.array_equal(shown, expected, equal_nan=True)
    assert not result.has_gap(result.lines[1], "click", "auc")


def test_references_are_measured_on_the_rows_that_have_them(tmp_path):
    dataset = prepared(NaturalRule(rule="natural"), tmp_path / "natural")
    result = compare(
        dataset, [Method("small_dnn", small_dnn)], out=tmp_path / "out", seeds=1, training=ONCE
    )
    test, line = dataset.splits["test"], result.lines[-1]
    for cell in line.cells:
        is_new = dataset.is_new("test") == (cell.segment == "new")
        rows = is_new & ~np.isnan(test.references[:, 0])
        expected = metrics.auc(test.labels[rows, 0], test.references[rows, 0])
        assert cell.auc.values == (expected,)
        assert cell.measures[0].impressions == rows.sum()
    assert (line.name, line.base, line.runs) == ("ours", None, ())


def test_a_name_may_stand_there_once(dataset, tmp_path):
    with pytest.raises(MethodError, match="mail stands for more than one"):
        compare(dataset, [mail(), mail()], out=tmp_path)


def test_methods_are_tested_against_another_line_than_their_base(dataset, tmp_path):
    alone = Method("dropped", small_dnn, behavior_dropout=0.3)
    both = replace(mail(), name="both", behavior_dropout=0.3)
    found = compare(
        dataset,
        [alone, mail(), both],
        out=tmp_path,
        seeds=2,
        training=ONCE,
        references=(),
        against="mail",
    )
    pairs = [(line.name, line.base) for line in found.against]
    assert pairs == [("mail", "dropped"), ("both", "dropped"), ("both", "mail")]
    lines = {line.name: line for line in found.lines}
    for line in found.against:
        for cell in line.cells:
            own, other = (
                lines[name].cell(cell.task, cell.segment).auc.values
                for name in (line.name, line.base)
            )
            assert cell.auc.over_seeds == statistics.paired_test(other, own)


def test_what_all_are_tested_against_is_one_of_the_methods(dataset, tmp_path):
    with pytest.raises(MethodError, match="against: 'small' is none of small_dnn, mail"):
        compare(dataset, [mail()], out=tmp_path / "out", against="small")
    assert not (tmp_path / "out").exists()


def test_methods_are_tested_against_the_scores_in_production(tmp_path):
    dataset = prepared(NaturalRule(rule="natural"), tmp_path / "natural", gaps=False)
    found = compare(
        dataset, [mail()], out=tmp_path, seeds=2, training=ONCE, references=(), against="ours"
    )
    assert [(line.name, line.base) for line in found.against] == [
        ("small_dnn", "ours"),
        ("mail", "ours"),
    ]
    (ours,) = found.lines[-1].cell("click", "old").auc.values
    own = found.lines[0].cell("click", "old").auc.values
    test = found.against[0].cell("click", "old").auc.over_seeds
    assert test == statistics.paired_test([ours, ours], own)


def test_scores_with_gaps_or_a_methods_name_are_refused_before_anything_runs(tmp_path):
    dataset = prepared(NaturalRule(rule="natural"), tmp_path / "natural")
    with pytest.raises(
        DataError, match=r"against: 'ours' has no score for \d+ of the \d+ test rows"
    ):
        compare(dataset, [mail()], out=tmp_path / "out", against="ours")
    with pytest.raises(DataError, match="the column 'ours' has the name of a method"):
        compare(dataset, [replace(mail(), name="ours")], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_methods_are_refused_before_anything_runs(dataset, tmp_path):
    with pytest.raises(MethodError, match="no method 'nobody'"):
        compare(dataset, [mail(), "nobody"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
