"""From raw tables to a dataset: the right rows, the same bytes, whole or not at all."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

import thaw
from builders import contents, with_files
from conftest import Tables, make_schema
from reference import behavior, by_user, decode, hidden_users, in_order, last_split
from thaw.data import Dataset
from thaw.schema import Impressions, Schema


def arrow(tables: Tables) -> dict[str, pa.Table]:
    return {name: pa.Table.from_pylist(rows) for name, rows in tables.items()}


def test_each_split_holds_its_rows_in_order(dataset: Dataset, tables: Tables) -> None:
    users, items = (each.keys.to_pylist() for each in (dataset.users, dataset.items))
    for name, rows in last_split(tables["impressions"]).items():
        found = dataset.splits[name]
        expected = in_order(rows)
        assert [users[user] for user in found.user] == [row["user"] for row in expected]
        assert [items[item] for item in found.item] == [row["item"] for row in expected]
        assert found.labels[:, 0].tolist() == [row["clicked"] for row in expected]
        for column, field in enumerate(("hour", "place")):
            texts = [
                decode(dataset, f"impressions.{field}", code) for code in found.codes[:, column]
            ]
            assert all(text in ("?", row[field]) for text, row in zip(texts, expected, strict=True))


def test_a_pointer_counts_the_events_strictly_before(dataset: Dataset, tables: Tables) -> None:
    for name, rows in last_split(tables["impressions"]).items():
        expected = [len(behavior(tables, row)) for row in in_order(rows)]
        assert dataset.splits[name].pointer.tolist() == expected
    times = {(event["user"], event["time"]) for event in tables["events"]}
    assert any((row["user"], row["time"]) in times for row in tables["impressions"])


def test_events_lie_by_user_and_time(dataset: Dataset, tables: Tables) -> None:
    raw, events = by_user(tables["events"]), dataset.events
    names = ("items.category", "events.brand", "action")
    for num, key in enumerate(dataset.users.keys.to_pylist()):
        codes = events.codes[events.offsets[num] : events.offsets[num + 1]]
        assert len(codes) == len(raw[key])
        for row, event in zip(codes, raw[key], strict=True):
            texts = [decode(dataset, *pair) for pair in zip(names, row, strict=True)]
            expected = [event["category"], event["brand"], event["action"]]
            assert all(text in ("?", right) for text, right in zip(texts, expected, strict=True))


def test_dense_fields_keep_their_values_and_gaps(dataset: Dataset, tables: Tables) -> None:
    ages = {user["user_id"]: user["age"] for user in tables["users"]}
    expected = [
        np.nan if ages[key] is None else ages[key] for key in dataset.users.keys.to_pylist()
    ]
    np.testing.assert_array_equal(dataset.users.dense[:, 0], expected)
    mean, deviation = dataset.moments.users[0]
    assert mean == pytest.approx(np.nanmean(expected))
    assert deviation == pytest.approx(np.nanstd(expected))


def test_moments_are_of_what_training_shows_and_equal_values_stay_finite(
    tables: Tables, tmp_path: Path
) -> None:
    never = {"item_id": "i99", "category": "c0", "price": 1e9}
    items = [{**item, "price": 0.1} for item in tables["items"]]
    dataset = thaw.prepare(
        make_schema(), {**tables, "items": [*items, never]}, out=tmp_path / "out"
    )
    mean, deviation = dataset.moments.items[0]
    assert mean == pytest.approx(0.1)
    assert deviation == 1


def test_who_is_new_is_saved_user_by_user(dataset: Dataset) -> None:
    saved = parquet.read_table(dataset.path / "new_users.parquet").to_pylist()
    assert {row["user"] for row in saved if row["hidden"]} == hidden_users(dataset)
    assert len(hidden_users(dataset)) == round(0.4 * 60)
    assert [row["user"] for row in saved] == dataset.users.keys.to_pylist()


def test_the_same_input_gives_the_same_bytes(
    dataset: Dataset, schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    again = thaw.prepare(schema, arrow(tables), out=tmp_path / "again", memory="2GB")
    assert contents(again) == contents(dataset)


def test_the_order_of_the_rows_does_not_matter(
    schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    moments = {
        name: {(row["user"], row["time"]): row for row in tables[name]}
        for name in ("impressions", "events")
    }
    untied = {**tables, **{name: list(rows.values()) for name, rows in moments.items()}}
    shuffled = {name: random.Random(1).sample(rows, len(rows)) for name, rows in untied.items()}
    one = thaw.prepare(schema, untied, out=tmp_path / "one")
    other = thaw.prepare(schema, shuffled, out=tmp_path / "other")
    assert contents(one) == contents(other)


def test_every_format_gives_the_same_dataset(
    dataset: Dataset, schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    raw = arrow(tables)
    csv.write_csv(raw["users"], tmp_path / "users.csv")
    csv.write_csv(raw["items"], tmp_path / "items.tsv", csv.WriteOptions(delimiter="\t"))
    for number, start in enumerate(range(0, 600, 250)):
        parquet.write_table(
            raw["impressions"][start : start + 250], tmp_path / f"day-{number}.parquet"
        )
    with pa.CompressedOutputStream(str(tmp_path / "events.csv.gz"), "gzip") as file:
        csv.write_csv(raw["events"], file)
    files = {
        "users": "users.csv",
        "items": "items.tsv",
        "impressions": "day-*.parquet",
        "events": "events.csv.gz",
    }
    read = thaw.prepare(with_files(schema, files), data=tmp_path, out=tmp_path / "out")
    assert contents(read, arrays=True) == contents(dataset, arrays=True)


def test_pandas_and_polars_give_the_same_dataset(
    dataset: Dataset, schema: Schema, tables: Tables, tmp_path: Path
) -> None:
    frames = {
        "users": pd.DataFrame(tables["users"]),  # ages with gaps are floats
        "items": pl.DataFrame(tables["items"]),
        "impressions": pd.DataFrame(tables["impressions"]).astype(
            {"clicked": bool, "place": "category"}
        ),
        "events": pl.DataFrame(tables["events"]).cast({"action": pl.Categorical}),
    }  # fmt: skip
    read = thaw.prepare(schema, frames, out=tmp_path / "out")
    assert contents(read) == contents(dataset)


def test_ids_with_gaps_are_the_same_in_pandas_and_in_text(tables: Tables, tmp_path: Path) -> None:
    floor = [
        {**row, "hour": None if n % 9 == 0 else n % 7}
        for n, row in enumerate(tables["impressions"])
    ]
    frame = pd.DataFrame(floor)
    assert frame["hour"].dtype == float
    one = thaw.prepare(make_schema(), {**tables, "impressions": frame}, out=tmp_path / "one")
    csv.write_csv(pa.Table.from_pylist(floor), tmp_path / "impressions.csv")
    parts = arrow(tables) | {"impressions": csv.read_csv(tmp_path / "impressions.csv")}
    other = thaw.prepare(make_schema(), parts, out=tmp_path / "other")
    assert contents(one) == contents(other)


def test_a_schema_file_finds_its_data_beside_it(tables: Tables, tmp_path: Path) -> None:
    for name, table in arrow(tables).items():
        csv.write_csv(table, tmp_path / f"{name}.csv")
    schema = with_files(make_schema(), {name: f"{name}.csv" for name in tables})
    text = schema.model_dump_json()  # JSON is YAML
    (tmp_path / "tiny.yaml").write_text(text)
    dataset = thaw.prepare(tmp_path / "tiny.yaml", out=tmp_path / "out", new_users="natural")
    assert dataset.schema == schema.with_new_users("natural")
    assert not dataset.hidden.any()
    assert not dataset.has_ceiling


def test_strict_users_are_unknown_and_untrained(tables: Tables, tmp_path: Path) -> None:
    schema = make_schema().with_new_users("strict")
    dataset = thaw.prepare(schema, tables, out=tmp_path / "out")
    hidden = np.flatnonzero(dataset.hidden)
    known = set(dataset.vocabularies.values["users.user_id"].to_pylist())
    assert not known & hidden_users(dataset)
    for name in ("train", "validation"):
        assert not set(hidden) & set(dataset.splits[name].user)
    assert set(hidden) <= set(dataset.splits["test"].user)
    assert dataset.is_new("validation").any()


def test_names_with_a_slash_and_references(tables: Tables, tmp_path: Path) -> None:
    rows = [
        {**row, "a/b ü": row["hour"], "score": n / 7} for n, row in enumerate(tables["impressions"])
    ]
    table = Impressions(
        user="user", item="item", time="time", context=("a/b ü",), references=("score",)
    )
    dataset = thaw.prepare(
        make_schema(impressions=table), {**tables, "impressions": rows}, out=tmp_path / "out"
    )
    assert "impressions.a/b ü" in dataset.vocabularies.values
    total = sum(part.references.sum() for part in dataset.splits.values())
    assert total == pytest.approx(sum(n / 7 for n in range(600)))
