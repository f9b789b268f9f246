"""Vocabularies against counts by hand: from training rows only, missing and unknown apart."""

from collections import Counter
from pathlib import Path

import thaw
from conftest import Tables, make_schema
from reference import decode, hidden_users, last_split, visible_events, vocabulary
from thaw.data import Dataset
from thaw.schema import Field, Impressions, Items, TimeSplit, Users
from thaw.tables.vocabularies import MISSING, UNKNOWN


def test_values_count_by_the_training_rows_that_show_them(dataset: Dataset, tables: Tables) -> None:
    train = last_split(tables["impressions"])["train"]
    city = {user["user_id"]: user["city"] for user in tables["users"]}
    expected = {
        "users.user_id": [row["user"] for row in train],
        "users.city": [city[row["user"]] for row in train],
        "items.item_id": [row["item"] for row in train],
        "impressions.hour": [row["hour"] for row in train],
        "impressions.place": [row["place"] for row in train],
    }
    for name, values in expected.items():
        assert dataset.vocabularies.values[name].to_pylist() == vocabulary(values), name


def test_events_count_where_a_training_row_could_see_them(dataset: Dataset, tables: Tables) -> None:
    train = last_split(tables["impressions"])["train"]
    events = visible_events(tables, train, hidden_users(dataset))
    categories = {item["item_id"]: item["category"] for item in tables["items"]}
    shared = [categories[row["item"]] for row in train] + [event["category"] for event in events]
    values = dataset.vocabularies.values
    assert values["events.brand"].to_pylist() == vocabulary([event["brand"] for event in events])
    assert values["action"].to_pylist() == vocabulary([event["action"] for event in events])
    assert values["items.category"].to_pylist() == vocabulary(shared)


def test_codes_decode_to_the_raw_values(dataset: Dataset, tables: Tables) -> None:
    raw = {user["user_id"]: user for user in tables["users"]}
    for key, codes in zip(dataset.users.keys.to_pylist(), dataset.users.codes, strict=True):
        assert decode(dataset, "users.user_id", codes[0]) == key
        assert decode(dataset, "users.city", codes[1]) == raw[key]["city"]
    cities = {raw[key]["city"] for key in raw}
    assert None in cities  # so that missing was put to the test


def test_rare_and_later_values_are_unknown_and_missing_ones_are_not(
    tables: Tables, tmp_path: Path
) -> None:
    rows = [{**row, "hour": "99"} if row["time"] >= 1150 else row for row in tables["impressions"]]
    context = (Field(name="hour", min_count=20), "place")
    schema = make_schema(
        impressions=Impressions(user="user", item="item", time="time", context=context),
        items=Items(key="item_id", features=("category",), id_min_count=12),
        split=TimeSplit(rule="time", test_from=1150),
    )
    dataset = thaw.prepare(schema, {**tables, "impressions": rows}, out=tmp_path / "out")
    train = [row for row in rows if row["time"] < 1150]
    train = sorted(train, key=lambda row: row["time"])[: len(dataset.splits["train"])]
    values = dataset.vocabularies.values
    assert values["impressions.hour"].to_pylist() == vocabulary([row["hour"] for row in train], 20)
    assert values["items.item_id"].to_pylist() == vocabulary([row["item"] for row in train], 12)
    assert set(dataset.splits["test"].codes[:, 0]) == {UNKNOWN}
    places = dataset.splits["test"].codes[:, 1]
    assert (places == MISSING).sum() == sum(
        row["place"] is None for row in rows if row["time"] >= 1150
    )


def test_attributes_need_as_many_users_and_not_as_many_rows(tables: Tables, tmp_path: Path) -> None:
    users = [
        {**user, "city": "Paris" if k < 3 else user["city"]}
        for k, user in enumerate(tables["users"])
    ]
    attributes = (Field(name="city", min_count=4),)
    schema = make_schema(users=Users(key="user_id", attributes=attributes))
    dataset = thaw.prepare(schema, {**tables, "users": users}, out=tmp_path / "out")
    train = last_split(tables["impressions"])["train"]
    city = {user["user_id"]: user["city"] for user in users}
    rows = Counter(city[row["user"]] for row in train)
    holders = Counter(city[user] for user in {row["user"] for row in train})
    assert holders["Paris"] == 3 < 4 < rows["Paris"]
    expected = [city for city in rows if city is not None and holders[city] >= 4]
    assert set(dataset.vocabularies.values["users.city"].to_pylist()) == set(expected)
    assert len(expected) > 0
