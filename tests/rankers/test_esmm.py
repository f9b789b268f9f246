"""ESMM against NumPy, at the ends of float32, and the whole way with two tasks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

import thaw
from builders import SHAPE, TRAINING, inputs_of
from thaw.cli import app
from thaw.data import Dataset
from thaw.datasets import World, simulate
from thaw.datasets.simulated import schema
from thaw.errors import MethodError
from thaw.experiments.compare import compare
from thaw.experiments.comparison import Line
from thaw.methods import METHODS
from thaw.rankers import DMR, ESMM, RANKERS
from thaw.rankers.esmm import logit_of_product

TWO = replace(SHAPE, tasks=2)
INPUTS = ([2, 5, 1, 0, 0], [0, 3, 1, 1, 4, 2, 0])
ENDS = [-200.0, -90.0, -20.0, -1.0, 0.0, 1.0, 20.0, 90.0, 200.0]


def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Every pair of ends, with gradients."""
    one, other = torch.meshgrid(torch.tensor(ENDS), torch.tensor(ENDS), indexing="ij")
    return one.clone().requires_grad_(), other.clone().requires_grad_()


def test_probabilities_are_multiplied() -> None:
    model, inputs = ESMM(TWO).eval(), inputs_of(*INPUTS, TWO)
    click, conversion = (
        tower(inputs).logits.detach().double().numpy() for tower in (model.click, model.conversion)
    )
    ctr, cvr = 1 / (1 + np.exp(-click)), 1 / (1 + np.exp(-conversion))
    found = torch.sigmoid(model(inputs).logits).detach()
    np.testing.assert_allclose(found, np.concatenate([ctr, ctr * cvr], axis=1), rtol=1e-5)


def test_the_logit_is_exact_at_both_ends() -> None:
    one, other = pairs()
    a, b = (each.detach().numpy().astype(np.longdouble) for each in (one, other))
    expected = -np.log(np.exp(-a) + np.exp(-b) + np.exp(-a - b))
    found = logit_of_product(one, other).detach().numpy()
    np.testing.assert_allclose(found, expected.astype(float), rtol=1e-6, atol=1e-6)


def test_the_gradient_of_the_loss_is_that_of_the_product() -> None:
    one, other = (each.detach().double().requires_grad_() for each in pairs())
    label = (torch.arange(81).view(9, 9) % 2).double()
    F.binary_cross_entropy_with_logits(logit_of_product(one, other), label).backward()
    a, b = (each.detach().numpy().astype(np.longdouble) for each in (one, other))
    # d/da of -log(p) is -(1 - sigmoid(a)); of -log(1 - p) it is p (1 - sigmoid(a)) / (1 - p),
    # with p / (1 - p) written as 1 / ((1 - p) / p) lest it round
    odds = 1 / (np.exp(-a) + np.exp(-b) + np.exp(-a - b))
    expected = np.where(label.numpy() == 1, -1, odds) / (1 + np.exp(a)) / 81
    np.testing.assert_allclose(one.grad.numpy(), expected.astype(float), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_loss_and_gradient_are_finite_in_float32(label: float) -> None:
    one, other = pairs()
    logits = logit_of_product(one, other)
    loss = F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
    loss.backward()
    assert loss.isfinite()
    for grad in (one.grad, other.grad):
        assert grad is not None
        assert (grad.isfinite() & (grad.abs() < 1.0001 / 81)).all()


def test_the_towers_own_losses_are_added() -> None:
    model, inputs = ESMM(TWO, tower=DMR).train(), inputs_of(*INPUTS, TWO)
    torch.manual_seed(0)
    found = model(inputs).auxiliary_loss
    torch.manual_seed(0)
    each = [tower(inputs).auxiliary_loss for tower in (model.click, model.conversion)]
    torch.testing.assert_close(found, each[0] + each[1])
    assert ESMM(TWO).train()(inputs).auxiliary_loss is None


@pytest.mark.parametrize("tasks", [1, 3])
def test_another_number_of_tasks_is_refused(tasks: int) -> None:
    with pytest.raises(MethodError, match=rf"two tasks, a click and .* \(is: {tasks}\)"):
        ESMM(replace(SHAPE, tasks=tasks))


def test_a_schema_with_one_task_is_refused_before_anything_is_written(
    dataset: Dataset, tmp_path
) -> None:
    for call in (lambda out: thaw.train(dataset, "mail-esmm", TRAINING, out=out),
                 lambda out: compare(dataset, ["base-dnn", "esmm-dmr"], out=out)):  # fmt: skip
        with pytest.raises(MethodError, match="write tasks:"):
            call(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["esmm", "esmm-dmr"])
def test_each_has_a_method_alone_and_one_with_mail(name: str) -> None:
    assert METHODS[name].factory is METHODS[f"mail-{name}"].factory is RANKERS[name]
    assert METHODS[name].mail is None
    assert METHODS[f"mail-{name}"].mail is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("esmm")


@pytest.fixture(scope="module")
def lines(folder: Path) -> tuple[Line, ...]:
    """ESMM alone and under MAIL on a small world with conversions."""
    world = World(users=200, items=50, impressions_per_user=20, click_rate=0.4, conversion_rate=0.4)
    tables = simulate(world, folder / "tables")
    dataset = thaw.prepare(schema(world, conversions=True), data=tables, out=folder / "dataset")
    return compare(dataset, "mail-esmm", out=folder / "runs", seeds=1, training=TRAINING).lines


def test_the_whole_way_each_line_has_ctr_ctcvr_and_cvr(lines: tuple[Line, ...]) -> None:
    tasks = ["click", "conversion", "conversion given click"]
    own = [line.name for line in lines if line.kind != "reference"]
    assert own == ["esmm", "mail-esmm", "ceiling of esmm"]
    references = {line.name for line in lines if line.kind == "reference"}
    assert references >= {"attributes-only", "no-attributes", "p_best", "p_attributes"}
    for line in lines:
        assert [cell.task for cell in line.cells[::2]] == tasks
        assert all(0 < cell.auc.interval.mean < 1 for cell in line.cells)


def test_cvr_rests_on_the_clicked_impressions(lines: tuple[Line, ...]) -> None:
    click, given = (lines[0].cell(task, "old") for task in ("click", "conversion given click"))
    clicked, every = given.measures[0].impressions, click.measures[0].impressions
    assert 0.2 * every < clicked < 0.6 * every


def test_evaluate_says_the_same(lines: tuple[Line, ...], folder: Path) -> None:
    call = ["evaluate", str(folder / "runs/mail-esmm/seed-0"), "--json"]
    told = json.loads(CliRunner().invoke(app, call).stdout)["results"]
    assert [(each["task"], each["segment"], each["auc"]) for each in told] == [
        (cell.task, cell.segment, cell.auc.values[0]) for cell in lines[1].cells
    ]
