"""Tiny tables that every test may use: 60 users, 40 items, a few hundred impressions and events."""

import random
from pathlib import Path

import pytest

import thaw
from builders import TRAINING, end_of, mail
from thaw.data import Dataset
from thaw.schema import (
    Events,
    Field,
    Impressions,
    Items,
    LastSplit,
    PaperRule,
    Schema,
    Task,
    Users,
)

Tables = dict[str, list[dict[str, object]]]


def make_tables(seed: int = 0, users: int = 60, items: int = 40, each: int = 10) -> Tables:
    """Raw tables in which users click what resembles their events; times often coincide."""
    draw = random.Random(seed)
    categories = {f"i{n:02}": f"c{n % 5}" for n in range(items)}
    likes = {f"u{n:02}": f"c{draw.randrange(5)}" for n in range(users)}
    active = list(likes)[: users - users // 10]  # the last tenth has no events at all

    def liked_item(user: str) -> str:
        same = [item for item, category in categories.items() if category == likes[user]]
        return draw.choice(same if draw.random() < 0.5 else list(categories))

    def impression(user: str) -> dict[str, object]:
        item, time = liked_item(user), draw.randrange(1000, 1200)
        rate = 0.8 if categories[item] == likes[user] else 0.2
        return {
            "user": user, "item": item, "time": time, "hour": f"{time % 24}",
            "place": draw.choice(["top", "side", None]), "clicked": int(draw.random() < rate),
        }  # fmt: skip

    def event(user: str) -> dict[str, object]:
        item = liked_item(user)
        return {
            "user": user, "time": draw.randrange(900, 1200), "category": categories[item],
            "brand": f"b{hash_of(item) % 7}", "action": draw.choice(["view", "buy", None]),
        }  # fmt: skip

    return {
        "users": [
            {"user_id": user, "city": draw.choice(["Rome", "Oslo", None]),
             "age": draw.choice([None, *range(18, 60)])}
            for user in likes
        ],
        "items": [
            {"item_id": item, "category": category, "brand": f"b{hash_of(item) % 7}",
             "price": round(draw.uniform(1, 50), 2)}
            for item, category in categories.items()
        ],
        "impressions": [impression(user) for user in likes for _ in range(each)],
        "events": [event(draw.choice(active)) for _ in range(users * each)],
    }  # fmt: skip


def hash_of(text: str) -> int:
    """A number for a text, the same in every run."""
    return sum(text.encode())


def make_schema(**changes: object) -> Schema:
    """The schema of `make_tables`, with other parts where named."""
    parts = {
        "name": "tiny",
        "users": Users(key="user_id", attributes=("city", Field(name="age", kind="dense"))),
        "items": Items(key="item_id", features=("category", Field(name="price", kind="dense"))),
        "impressions": Impressions(
            user="user", item="item", time="time", context=("hour", "place")
        ),
        "events": Events(user="user", time="time", fields=("category", "brand"), action="action"),
        "tasks": (Task(name="click", column="clicked"),),
        "split": LastSplit(rule="last"),
        "new_users": PaperRule(rule="paper"),
    }
    return Schema(**{**parts, **changes})


@pytest.fixture(scope="session")
def tables() -> Tables:
    """The raw tables, by name, as lists of rows."""
    return make_tables()


@pytest.fixture(scope="session")
def schema() -> Schema:
    """The schema of the raw tables: paper rule, split by the last share."""
    return make_schema()


@pytest.fixture(scope="session")
def dataset(schema: Schema, tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The raw tables, prepared."""
    return thaw.prepare(schema, tables, out=tmp_path_factory.mktemp("prepared") / "tiny")


@pytest.fixture(scope="session")
def strict(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same tables with new users whose ids and earlier rows training never sees."""
    hidden = make_schema(new_users={"rule": "strict", "share": 0.4})
    return thaw.prepare(hidden, tables, out=tmp_path_factory.mktemp("prepared") / "strict")


@pytest.fixture(scope="session")
def finished(
    dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, object]]:
    """An uninterrupted run of MAIL on the small ranker: its folder and how it ended."""
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    thaw.train(dataset, mail(), TRAINING, out=folder)
    return folder, end_of(folder, dataset, mail(), TRAINING)
