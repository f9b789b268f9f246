import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import thaw
from builders import PLAIN, batch_of, loader_of, model_of
from conftest import make_schema, make_tables
from thaw.nn.embeddings import Embeddings
from thaw.schema import Events, Impressions
from thaw.tables.vocabularies import FIRST, MISSING


@pytest.fixture(scope="module")
def embeddings(dataset):
    return model_of(dataset, PLAIN).embeddings


def vector(dataset, embeddings, vocabulary, text):
    """The vector of one value, by the definition of the layout: one vocabulary after the other."""
    names = list(dataset.vocabularies.values)
    start = sum(dataset.vocabularies.rows(name) for name in names[: names.index(vocabulary)])
    values = dataset.vocabularies.values[vocabulary].to_pylist()
    code = MISSING if text is None else FIRST + values.index(text) if text in values else 1
    return embeddings.table[start + code].numpy()


def test_every_vocabulary_has_xaviers_bounds(dataset, embeddings):
    sizes, start = dataset.layout.sizes, 0
    for size in sizes:
        part = embeddings.table[start : start + size].abs().max().item()
        bound = math.sqrt(6 / (size + 4))
        assert 0 < part <= bound
        start += size
    assert start == len(embeddings.table)


def test_large_tables_fill_xaviers_bounds():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        table = Embeddings([1000], 8, []).table
    bound = math.sqrt(6 / 1008)
    assert 0.99 * bound < table.abs().max() <= bound
    assert table.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)


def test_the_table_is_no_parameter(embeddings):
    assert not list(embeddings.parameters())


def test_an_event_is_its_fields_sum_times_its_action(dataset, embeddings, tables):
    """v_i of section 3.1.1, from the raw events of one user."""
    loader = loader_of(dataset)
    row = int(np.flatnonzero(~dataset.is_new("train"))[-1])
    inputs = embeddings(batch := loader.batch(np.array([row]), 0, 0), embeddings.look_up(batch))
    key = dataset.users.keys[int(loader.impressions.user[row])].as_py()
    events = sorted((e for e in tables["events"] if e["user"] == key), key=lambda e: e["time"])
    pointer = int(loader.impressions.pointer[row])
    last = events[max(0, pointer - 5) : pointer]
    expected = [
        (
            vector(dataset, embeddings, "items.category", event["category"])
            + vector(dataset, embeddings, "events.brand", event["brand"])
        )
        * vector(dataset, embeddings, "action", event["action"])
        for event in last
    ]
    np.testing.assert_allclose(inputs.behavior.values.numpy(), expected, rtol=1e-6)


def test_attributes_are_ids_vectors_and_scaled_vectors(dataset, embeddings, tables):
    batch = batch_of(dataset)
    inputs = embeddings(batch, embeddings.look_up(batch))
    rows = np.random.default_rng(0).permutation(len(dataset.splits["train"]))[:48]
    mean, deviation = dataset.moments.users[0]
    for row, shown in zip(rows, inputs.attributes.numpy(), strict=True):
        user = tables["users"][int(dataset.splits["train"].user[row])]
        age = 0.0 if user["age"] is None else (user["age"] - mean) / deviation
        dense = embeddings.table[int(dataset.layout.attributes.dense_rows[0])].numpy()
        np.testing.assert_allclose(
            shown[0], vector(dataset, embeddings, "users.user_id", user["user_id"])
        )
        np.testing.assert_allclose(
            shown[1], vector(dataset, embeddings, "users.city", user["city"])
        )
        np.testing.assert_allclose(shown[2], age * dense, rtol=1e-4, atol=1e-6)


def test_target_event_is_the_sum_of_the_shared_fields(dataset, embeddings):
    batch = batch_of(dataset)
    inputs = embeddings(batch, embeddings.look_up(batch))
    category = [field.name for field in dataset.schema.items.fields].index("category")
    torch.testing.assert_close(inputs.target_event, inputs.target[:, category])


def test_every_distinct_row_is_looked_up_once(dataset, embeddings):
    batch = batch_of(dataset)
    assert len(batch.rows.unique()) == len(batch.rows)
    assert embeddings.look_up(batch).shape == (len(batch.rows), 4)


def test_work_of_users_is_done_once_for_each(dataset, embeddings):
    batch = loader_of(dataset).batch(slice(0, 48), 0, 0)
    inputs = embeddings(batch, embeddings.look_up(batch))
    assert batch.num_users < 48 == batch.size
    assert len(inputs.user_attributes) == len(inputs.behavior.lengths) == batch.num_users


def test_without_context_and_actions_it_still_embeds(tmp_path):
    schema = make_schema(
        impressions=Impressions(user="user", item="item", time="time"),
        events=Events(user="user", time="time", fields=("category",)),
    )
    dataset = thaw.prepare(schema, make_tables(users=20), out=tmp_path / "bare")
    batch = batch_of(dataset)
    model = model_of(dataset, PLAIN).eval()
    inputs = model.embed(batch, model.embeddings.look_up(batch))
    assert inputs.context.shape == (48, 0, 4)
    assert torch.equal(inputs.behavior.values, model.embeddings.look_up(batch)[batch.events[:, 0]])
    assert model(replace(batch)).isfinite().all()
