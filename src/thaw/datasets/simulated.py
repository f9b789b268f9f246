"""A simulated world with a known answer: the true click probabilities are kept beside the clicks.

Users have latent interests u and an overall rate r, of which their attributes determine stated
shares; what attributes leave open drifts from day to day. A click on item i in context c has

    log-odds = intercept + interest_strength <u_day, v_i> + rate_spread r + quality_i + context_c.

`p_best` is that probability: the best reachable with perfect knowledge of the behavior.
`p_attributes` is its expectation given attributes, item and context: the best reachable without,
for a user whose id tells nothing either.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from thaw.datasets.aside import written_aside
from thaw.datasets.effects import Ints
from thaw.datasets.known import Known
from thaw.datasets.population import (
    ACTIONS,
    DAY_SECONDS,
    START_SECONDS,
    Happened,
    Population,
    Shown,
    draw_events,
    draw_impressions,
    draw_population,
    find_truth,
)
from thaw.datasets.world import Truth, World
from thaw.errors import DataError
from thaw.schema import Events, Field, Impressions, Items, Schema, Task, TimeSplit, Users

CHUNK_USERS = 10_000
"""Users drawn and written at once. Part of what a seed means: chunks have seeds of their own."""


LARGEST_SCALE = 10_000
"""Times the default world's users that `thaw simulate` writes at most."""


def _names(prefix: str, numbers: range, width: int = 1) -> pa.Array:
    return pa.array([f"{prefix}{number:0{width}d}" for number in numbers], pa.string())


def _items_table(world: World, truth: Truth) -> pa.Table:
    catalog = truth.catalog
    return pa.table(
        {
            "item_id": _names("i", range(world.items), width=5),
            "category": _names("c", range(world.categories), width=3).take(
                pa.array(catalog.category)
            ),
            "brand": _names("b", range(world.brands), width=4).take(pa.array(catalog.brand)),
            "price": pa.array(catalog.price, from_pandas=True),
            **_values(world.more_features, catalog.features),
        }
    )


def _users_table(world: World, people: Population) -> pa.Table:
    return pa.table({"user_id": _user_ids(people), **_values(world.attributes, people.codes)})


def _values(fields: tuple[tuple[str, int], ...], codes: Ints) -> dict[str, pa.Array]:
    """Columns of values by their codes (N, fields), null for 0."""
    columns = {}
    for (name, values), code in zip(fields, codes.T, strict=True):
        index = pa.array(code - 1, mask=code == 0)
        columns[name] = _names(f"{name}_", range(values)).take(index)
    return columns


def _user_ids(people: Population) -> pa.Array:
    return _names("u", people.numbers, width=6)


def _impressions_table(world: World, items: pa.Table, people: Population, shown: Shown) -> pa.Table:
    more = zip(world.more_context, shown.more_context.T, strict=True)
    return pa.table(
        {
            "user_id": _user_ids(people).take(pa.array(shown.user)),
            "item_id": items["item_id"].take(pa.array(shown.item)),
            "time": shown.time,
            "position": shown.position.astype(np.int32),
            "hour": shown.hour.astype(np.int32),
            **{name: code for (name, _), code in more},
            "click": shown.click.astype(np.int32),
            "conversion": shown.conversion.astype(np.int32),
            "p_best": shown.p_best,
            "p_attributes": shown.p_attributes,
        }
    )


def _events_table(items: pa.Table, people: Population, events: Happened) -> pa.Table:
    fields = items.select(["item_id", "category", "brand"]).take(pa.array(events.item))
    return pa.table(
        {
            "user_id": _user_ids(people).take(pa.array(events.user)),
            **{name: fields[name] for name in fields.column_names},
            "action": pa.array(ACTIONS).take(pa.array(events.action)),
            "time": events.time,
        }
    )


def _write_chunk(world: World, truth: Truth, items: pa.Table, chunk: int, folder: Path) -> None:
    """Write one chunk of users; it depends on the seed and its own number alone."""
    # users, impressions and events have a seed each: more events leave the impressions as they are
    seeds = np.random.SeedSequence(world.seed, spawn_key=(2, chunk)).spawn(3)
    for_users, for_impressions, for_events = (np.random.default_rng(seed) for seed in seeds)
    first = chunk * CHUNK_USERS
    people = draw_population(
        world, truth, range(first, min(first + CHUNK_USERS, world.users)), for_users
    )
    shown = draw_impressions(world, truth, people, for_impressions)
    events = draw_events(world, truth, people, for_events)
    _write(_users_table(world, people), folder / f"users-{chunk:05d}.parquet")
    rows = _impressions_table(world, items, people, shown)
    _write(rows, folder / f"impressions-{chunk:05d}.parquet")
    _write(_events_table(items, people, events), folder / f"events-{chunk:05d}.parquet")


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")


def simulate(world: World, folder: str | Path) -> Path:
    """Write a world's tables as Parquet, and return their folder.

    Users, impressions and events come in one file per chunk of users (`users-00000.parquet`, ...)
    and memory is bounded by the chunk; the items are in `items.parquet`, the parameters in
    `world.json`. The same world gives the same bytes. The folder appears when all is written.

    Raises:
        DataError: if the folder exists and isn't empty.
    """
    return written_aside(folder, lambda aside: _write_all(world, aside))


def _write_all(world: World, folder: Path) -> None:
    truth = find_truth(world)
    items = _items_table(world, truth)
    _write(items, folder / "items.parquet")
    for chunk in range(-(-world.users // CHUNK_USERS)):
        _write_chunk(world, truth, items, chunk, folder)
    (folder / "world.json").write_text(json.dumps(asdict(world), indent=2) + "\n")


def schema(world: World, conversions: bool = False) -> Schema:
    """The schema of a simulated world: the last day tests.

    Args:
        world: the world.
        conversions: whether conversions, given a click, are a task beside clicks.
    """
    tasks = [Task(name="click")]
    if conversions:
        tasks.append(Task(name="conversion", given="click"))
    return Schema(
        name="simulated",
        users=Users(
            files=("users-*.parquet",),
            key="user_id",
            attributes=tuple(Field(name=name) for name, _ in world.attributes),
        ),
        items=Items(
            files=("items.parquet",),
            key="item_id",
            features=(
                Field(name="category"),
                Field(name="brand"),
                Field(name="price", kind="dense"),
                *(Field(name=name) for name, _ in world.more_features),
            ),
        ),
        impressions=Impressions(
            files=("impressions-*.parquet",),
            user="user_id",
            item="item_id",
            time="time",
            context=(
                Field(name="position"),
                Field(name="hour"),
                *(Field(name=name) for name, _ in world.more_context),
            ),
            references=("p_best", "p_attributes"),
        ),
        events=Events(
            files=("events-*.parquet",),
            user="user_id",
            time="time",
            fields=(Field(name="item_id"), Field(name="category"), Field(name="brand")),
            action="action",
        ),
        tasks=tuple(tasks),
        split=TimeSplit(rule="time", test_from=START_SECONDS + (world.days - 1) * DAY_SECONDS),
    )


def _simulate_scaled(folder: Path, scale: float, seed: int) -> Path:
    """Simulate the default world with so many times its users."""
    if not 0 < scale <= LARGEST_SCALE:
        raise DataError(f"`scale` (={scale}) must be above 0 and at most {LARGEST_SCALE}")
    return simulate(World(users=max(1, round(scale * World.users)), seed=seed), folder)


SIMULATED = Known(
    name="simulated",
    about="20,000 users whose interests depend on their attributes to a stated degree; the true "
    "click probabilities are known",
    schema=lambda: schema(World()),
    simulate=_simulate_scaled,
)
