"""Random data in the shape of the public data set: sizes as published, skewed as logs are."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from thaw.data import Dataset, Entities, Events, Impressions, Moments, Vocabularies
from thaw.schema import Schema

VOCABULARIES = {
    "users.user": 1_141_730, "users.segment": 97, "users.group": 13, "users.gender": 3,
    "users.age": 7, "users.consumption": 4, "users.shopping": 4, "users.occupation": 3,
    "users.city": 5, "items.ad": 846_812, "items.cate": 12_978, "items.brand": 461_529,
    "items.campaign": 423_437, "items.customer": 255_876, "items.price_band": 50,
    "impressions.place": 3, "impressions.hour": 25, "impressions.weekday": 8,
    "impressions.position": 20, "action": 5,
}  # fmt: skip
EVENT_FIELDS = ("cate", "brand")
MAX_EVENTS, MEAN_EVENTS = 100, 63


def names(table: str) -> list[str]:
    """The fields of a table."""
    return [name.split(".")[1] for name in VOCABULARIES if name.startswith(f"{table}.")]


def schema() -> Schema:
    """Nine attributes, six item and four context features; events of two fields and an action."""
    context = names("impressions")
    return Schema.model_validate({
        "name": "public-shape",
        "users": {"key": "user", "attributes": names("users")[1:]},
        "items": {"key": "ad", "features": names("items")[1:]},
        "impressions": {"user": "user", "item": "ad", "time": "t", "context": context},
        "events": {"user": "user", "time": "t", "fields": [*EVENT_FIELDS], "action": "action"},
        "tasks": ["click"],
        "new_users": {"rule": "paper"},
    })  # fmt: skip


def make(rows: int, seed: int = 0) -> Dataset:
    """A dataset in memory: so many impressions, each by a user of its own, four in ten new."""
    random = np.random.default_rng(seed)
    count = rows
    users = _codes(random, "users", count)
    users[:, 0] = random.permutation(VOCABULARIES["users.user"] - 2)[:count] + 2
    items = _codes(random, "items", 200_000)
    lengths = np.clip(random.exponential(MEAN_EVENTS, count).astype(np.int64), 1, MAX_EVENTS)
    offsets = np.concatenate([[0], lengths.cumsum()])
    sizes = [*(VOCABULARIES[f"items.{name}"] for name in EVENT_FIELDS), 5]
    events = np.stack([_skewed(random, size, offsets[-1]) for size in sizes], axis=1)
    user = random.permutation(count).astype(np.int32)
    impressions = Impressions(
        user=user,
        item=random.integers(0, len(items), count).astype(np.int32),
        pointer=lengths[user].astype(np.int32),
        labels=(random.random((count, 1)) < 0.05).astype(np.int8),
        codes=_codes(random, "impressions", count),
        dense=np.zeros((count, 0), np.float32),
        references=np.zeros((count, 0)),
    )
    none = np.zeros((0, 2), np.float32)
    hidden = random.random(count) < 0.4
    values = {name: _texts(size - 2) for name, size in VOCABULARIES.items()}
    return Dataset(
        path=Path(),
        schema=schema(),
        manifest={},
        users=Entities(_texts(count), users, np.zeros((count, 0), np.float32)),
        items=Entities(_texts(len(items)), items, np.zeros((len(items), 0), np.float32)),
        events=Events(events, offsets),
        splits={"train": impressions},
        hidden=hidden,
        hidden_in_validation=hidden,
        vocabularies=Vocabularies(values),
        moments=Moments(none, none, none),
    )  # fmt: skip


def _texts(count: int) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(np.arange(count)).cast(pa.string())])


def _codes(random: np.random.Generator, table: str, rows: int) -> np.ndarray:
    return np.stack([_skewed(random, VOCABULARIES[f"{table}.{n}"], rows) for n in names(table)], 1)


def _skewed(random: np.random.Generator, size: int, count: int) -> np.ndarray:
    """Ids of which the first are the most frequent: log-uniform, as popularity roughly is."""
    return (np.exp(random.random(count) * np.log(size - 2)).astype(np.int32) + 1).clip(2, size - 1)
