import numpy as np
import pytest
import torch

from builders import PLAIN, loader_of, mail, model_of
from thaw.data import Dataset
from thaw.errors import MethodError
from thaw.experiments.features import check_tower, features, sampled_rows
from thaw.methods import Method


def test_a_sample_has_each_users_last_row_once(dataset: Dataset) -> None:
    rows = sampled_rows(dataset, 1000, 0, with_behavior=False)
    user = np.asarray(dataset.splits["test"].user)
    last = {number: row for row, number in enumerate(user.tolist())}  # later rows overwrite
    assert sorted(last.values()) == rows.tolist()


def test_a_sample_is_limited_seeded_and_of_both_kinds(dataset: Dataset) -> None:
    rows = sampled_rows(dataset, 7, 3, with_behavior=True)
    is_new = dataset.is_new("test")[rows]
    assert (is_new.sum(), (~is_new).sum()) == (7, 7)
    assert np.array_equal(rows, sampled_rows(dataset, 7, 3, with_behavior=True))
    assert not np.array_equal(rows, sampled_rows(dataset, 7, 4, with_behavior=True))
    assert (np.asarray(dataset.splits["test"].pointer)[rows] > 0).all()


def test_real_behavior_is_the_sum_of_the_events_in_view(dataset: Dataset) -> None:
    model = model_of(dataset, mail())
    rows = sampled_rows(dataset, 5, 0, with_behavior=True)
    found = features(model, dataset, rows)
    table, layout = model.embeddings.table.detach().numpy(), loader_of(dataset).assembler.layout
    starts = np.concatenate([layout.events.starts, layout.action.starts])
    impressions = dataset.splits["test"]
    for k, row in enumerate(rows):
        first = dataset.events.offsets[impressions.user[row]]
        end = first + impressions.pointer[row]
        ids = np.asarray(dataset.events.codes)[max(first, end - model.max_events) : end] + starts
        category, brand, action = table[ids].transpose(1, 0, 2)
        assert found.real_lengths[k] == len(ids)
        assert found.real[k] == pytest.approx(((category + brand) * action).sum(0), abs=1e-5)


def test_virtual_behavior_and_hidden_features_are_the_towers(dataset: Dataset) -> None:
    model = model_of(dataset, mail(virtual_events=2))
    rows = sampled_rows(dataset, 5, 0, with_behavior=False)
    found = features(model, dataset, rows)
    with torch.inference_mode():
        batch = loader_of(dataset, "test").batch(rows, 0, 0)
        attributes = model.embed(batch, model.embeddings.look_up(batch)).attributes
        events, repeats = model.tower.generate(attributes)
        assert found.hidden == pytest.approx(model.tower.encode(attributes).numpy(), abs=1e-6)
    # Two events stand for five positions: the older, which is first, for two of them.
    expected = 2 * events[:, 0] + 3 * events[:, 1]
    assert repeats[0].tolist() == [2, 3]
    assert found.generated("sum") == pytest.approx(expected.numpy(), abs=1e-5)
    assert found.generated("mean") == pytest.approx(expected.numpy() / 5, abs=1e-5)


@pytest.mark.parametrize("what", [PLAIN, mail(trained_by="none"), mail(attribute_side="all")])
def test_a_method_without_such_a_tower_is_refused(what: Method) -> None:
    with pytest.raises(MethodError, match="no zero-shot tower"):
        check_tower(what)
    check_tower(mail())
