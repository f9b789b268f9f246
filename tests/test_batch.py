"""A batch, row by row, against the raw tables it came from."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from conftest import Tables
from reference import behavior, decode, hidden_users, in_order, last_split
from thaw.batch import Batch, Fields
from thaw.data import Dataset
from thaw.loader import Loader, LoaderOptions

Meaning = tuple[str, str | None]


class Reader:
    """Reads a batch back: what each of its numbers means."""

    def __init__(self, dataset: Dataset) -> None:
        self.layout = dataset.layout
        self.meanings: list[Meaning] = [
            (name, decode(dataset, name, code))
            for name in dataset.vocabularies.values
            for code in range(dataset.vocabularies.rows(name))
        ]
        self.meanings += [("users.age", "dense"), ("items.price", "dense")]

    def texts(self, batch: Batch, places: torch.Tensor) -> list[Meaning]:
        return [self.meanings[row] for row in batch.rows[places].tolist()]

    def fields(self, batch: Batch, fields: Fields, row: int) -> dict[str, object]:
        """The fields of a row by vocabulary: texts, and the numbers of dense ones."""
        scale = None if fields.scale is None else fields.scale[row].tolist()
        return {
            name: scale[column] if text == "dense" and scale else text
            for column, (name, text) in enumerate(self.texts(batch, fields.index[row]))
        }

    def behavior(self, batch: Batch, row: int) -> list[list[Meaning]]:
        """The events in a row's view: category, brand, action."""
        user = int(batch.user[row])
        if user >= batch.num_old:
            return []
        span = range(int(batch.offsets[user]), int(batch.offsets[user + 1]))
        places = torch.cat([batch.events, batch.actions], dim=1)
        return [self.texts(batch, places[event]) for event in span]


class Read(NamedTuple):
    batch: Batch
    row: int
    raw: dict[str, object]


def read(dataset: Dataset, tables: Tables, split: str = "test", **options: object) -> list[Read]:
    """Each row of a split as some batch has it, with the raw row."""
    batches = Loader(dataset, split, LoaderOptions(batch_size=50, **options)).epoch()
    rows = [(batch, row) for batch in batches for row in range(batch.size)]
    raw = in_order(last_split(tables["impressions"])[split])
    return [Read(*pair, own) for pair, own in zip(rows, raw, strict=True)]


@pytest.fixture(scope="module")
def reader(dataset: Dataset) -> Reader:
    return Reader(dataset)


def test_attributes_context_and_target_are_the_raw_ones(
    dataset: Dataset, tables: Tables, reader: Reader
) -> None:
    users = {user["user_id"]: user for user in tables["users"]}
    items = {item["item_id"]: item for item in tables["items"]}
    known = set(dataset.vocabularies.values["items.item_id"].to_pylist())
    for batch, row, raw in read(dataset, tables):
        found = reader.fields(batch, batch.attributes, int(batch.user[row]))
        assert found["users.user_id"] == raw["user"]
        assert found["users.city"] == users[raw["user"]]["city"]
        found = reader.fields(batch, batch.context, row)
        assert found == {"impressions.hour": raw["hour"], "impressions.place": raw["place"]}
        found = reader.fields(batch, batch.target, row)
        assert found["items.item_id"] == (raw["item"] if raw["item"] in known else "?")
        assert found["items.category"] == items[raw["item"]]["category"]
        assert batch.labels[row].tolist() == [raw["clicked"]]


def test_dense_fields_are_standardised_and_gaps_are_average(
    dataset: Dataset, tables: Tables, reader: Reader
) -> None:
    ages = {user["user_id"]: user["age"] for user in tables["users"]}
    prices = {item["item_id"]: item["price"] for item in tables["items"]}
    known = [age for age in ages.values() if age is not None]
    shown = [
        prices[key] for key in {row["item"] for row in last_split(tables["impressions"])["train"]}
    ]
    for batch, row, raw in read(dataset, tables):
        age = ages[raw["user"]]
        z = 0 if age is None else (age - np.mean(known)) / np.std(known)
        found = reader.fields(batch, batch.attributes, int(batch.user[row]))
        assert found["users.age"] == pytest.approx(z, abs=1e-5)
        z = (prices[raw["item"]] - np.mean(shown)) / np.std(shown)
        found = reader.fields(batch, batch.target, row)
        assert found["items.price"] == pytest.approx(z, abs=1e-5)


@pytest.mark.parametrize("max_events", [3, 100])
def test_behavior_is_the_last_events_before_the_row(
    max_events: int, dataset: Dataset, tables: Tables, reader: Reader
) -> None:
    hidden = hidden_users(dataset)
    names = ("items.category", "events.brand", "action")
    known = {name: set(dataset.vocabularies.values[name].to_pylist()) | {None} for name in names}
    for batch, row, raw in read(dataset, tables, max_events=max_events):
        events = [] if raw["user"] in hidden else behavior(tables, raw)[-max_events:]
        values = [(event["category"], event["brand"], event["action"]) for event in events]
        expected = [
            [(n, text if text in known[n] else "?") for n, text in zip(names, texts, strict=True)]
            for texts in values
        ]  # fmt: skip
        assert reader.behavior(batch, row) == expected
        assert bool(batch.is_new[row]) == (not events)


def test_the_ceiling_shows_what_the_rule_hides(
    dataset: Dataset, tables: Tables, reader: Reader
) -> None:
    for batch, row, raw in read(dataset, tables, hides_behavior=False):
        assert len(reader.behavior(batch, row)) == len(behavior(tables, raw))


def test_a_user_stands_once_for_each_state(dataset: Dataset, tables: Tables) -> None:
    hidden = hidden_users(dataset)
    whole = read(dataset, tables)
    first = whole[0].batch
    states = {
        (raw["user"], 0 if raw["user"] in hidden else len(behavior(tables, raw)))
        for batch, _, raw in whole
        if batch is first
    }
    assert first.num_users == len(states) < first.size


def test_rows_are_those_touched_each_once(dataset: Dataset, tables: Tables) -> None:
    for batch in {id(each.batch): each.batch for each in read(dataset, tables)}.values():
        assert len(batch.rows.unique()) == len(batch.rows)
        parts = [batch.attributes.index, batch.context.index, batch.target.index, batch.events]
        used = torch.cat([part.flatten() for part in (*parts, batch.actions)]).unique()
        assert used.tolist() == list(range(len(batch.rows)))


def test_moving_a_batch_keeps_it(dataset: Dataset, tables: Tables) -> None:
    batch = read(dataset, tables)[0].batch
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.rows, batch.rows)
    assert torch.equal(moved.target.index, batch.target.index)
    assert moved.context.scale is None
