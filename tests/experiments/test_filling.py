"""The number of events below which users have virtual ones beside their own, by validation."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import thaw
from builders import PLAIN, TOWER, TRAINING
from conftest import make_schema
from thaw.errors import MethodError
from thaw.experiments import filling
from thaw.experiments.curves import asked
from thaw.experiments.filling import choose_fill_below
from thaw.methods import Method
from thaw.nn.inputs import Inputs, InputShape
from thaw.rankers import Output
from thaw.schema import Field, Impressions


class Telling(nn.Module):
    """Answers with the label, which is in its context, if behavior is long enough; else not so."""

    def __init__(self, shape: InputShape, *, enough: int, sign: int = 1) -> None:
        super().__init__()
        self.enough, self.sign = enough, sign
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Inputs) -> Output:
        lengths = inputs.behavior.lengths.index_select(0, inputs.behavior.user)
        label: Tensor = self.sign * inputs.context[:, -1].sum(1)
        answer = torch.where(lengths >= self.enough, label, -label)
        return Output(answer.unsqueeze(1) + self.bias)


@pytest.fixture(scope="module")
def telling(tables, tmp_path_factory):
    """The tables, with the label among the context."""
    rows = [{**row, "label": row["clicked"]} for row in tables["impressions"]]
    context = ("hour", Field(name="label", kind="dense"))
    impressions = Impressions(user="user", item="item", time="time", context=context)
    return thaw.prepare(
        make_schema(impressions=impressions),
        {**tables, "impressions": rows},
        out=tmp_path_factory.mktemp("telling") / "dataset",
    )


@pytest.mark.parametrize(
    ("enough", "sign", "below"),
    [
        (5, 1, 3),  # full behavior alone is answered rightly: it helps at 1 and at 2 events
        (2, 1, 2),  # so is that of two events: nothing to win there
        (1, 1, 1),
        (5, -1, 1),  # full behavior is answered wrongly
    ],
)
def test_it_grows_as_long_as_virtual_events_help_in_validation(
    telling, tmp_path, enough, sign, below
):
    ranker = partial(Telling, enough=enough, sign=sign)
    what = Method("telling", ranker=ranker, mail=TOWER)
    model = thaw.train(telling, what, TRAINING, out=tmp_path / "run")
    model.model.embeddings.table.data.fill_(1.0)  # whatever was learned
    assert choose_fill_below(model, telling) == below
    assert model.model.fill_below == 1


def test_a_factorization_machine_is_asked_about_users_whom_it_did_not_learn_from(
    telling, tmp_path, monkeypatch
):
    what = Method("telling", ranker=partial(Telling, enough=5), mail=TOWER, fm=True)
    model = thaw.train(telling, what, TRAINING, out=tmp_path / "run")
    asked_of = []

    def asking(dataset, split, runs, rows, *events):
        asked_of.append(dataset.splits[split].user[rows])
        return asked(dataset, split, runs, rows, *events)

    monkeypatch.setattr(filling, "asked", asking)
    choose_fill_below(model, telling)
    assert asked_of
    assert {*np.concatenate(asked_of) % 10} == {9}


def test_a_model_without_virtual_events_is_refused(dataset, tmp_path):
    model = thaw.train(dataset, PLAIN, TRAINING, out=tmp_path / "run")
    with pytest.raises(MethodError, match="plain makes no events and has no factorization machine"):
        choose_fill_below(model, dataset)
