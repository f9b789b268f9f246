"""Simulated files in exactly the form of the Alimama data, which nobody may pass on freely."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from thaw.datasets.alimama_world import (
    ACTIONS,
    ATTRIBUTES,
    CHUNK_USERS,
    Chunk,
    Crowd,
    Sizes,
    draw_chunk,
    moment,
)
from thaw.datasets.aside import written_aside
from thaw.datasets.effects import Ints
from thaw.datasets.known import MARKER
from thaw.datasets.population import find_truth
from thaw.datasets.world import POSITIONS, Catalog, World

USER_PROFILE = ("userid", *(each.name for each in ATTRIBUTES))
AD_FEATURE = ("adgroup_id", "cate_id", "campaign_id", "customer", "brand", "price")
RAW_SAMPLE = ("user", "time_stamp", "adgroup_id", "pid", "nonclk", "clk")
BEHAVIOR_LOG = ("user", "time_stamp", "btag", "cate", "brand")

PLACES = ("430548_1007", "430539_1007")
"""The two resource positions: the upper and the lower half of the world's positions."""

BRANDLESS_SHARE = 0.29
"""Of ads, those whose brand is NULL; events know it all the same."""

_AS_PUBLISHED = csv.WriteOptions(include_header=False, quoting_style="none", batch_size=65_536)


def simulate(folder: str | Path, scale: float, seed: int) -> Path:
    """Write raw_sample.csv, ad_feature.csv, user_profile.csv and behavior_log.csv.

    Memory is bounded by a chunk of users and the list of ads. The same scale and seed give the same
    bytes. The folder appears when all is written, with a file that says that it is simulated.

    Args:
        folder: the folder to make.
        scale: times the published sizes, from 0.0001 to 1.
        seed: of everything.

    Raises:
        DataError: if the scale is out of range, or the folder exists and isn't empty.
    """
    sizes = Sizes.at(scale)
    world = sizes.world(seed)

    def write(aside: Path) -> None:
        (aside / MARKER).write_text(_told(scale, seed))
        _write_all(sizes, world, aside)

    return written_aside(folder, write)


def _told(scale: float, seed: int) -> str:
    return (
        "These files are simulated. They have the form of the Taobao/Alimama display advertising\n"
        "data and nothing else of it: no user, ad, click or event in them is real, and no figure\n"
        "measured on them is one of that data set.\n\n"
        f"Made by: thaw simulate alimama --scale {scale} --seed {seed}\n"
        "While this file is here, thaw calls what it prepares from the folder alimama-simulated.\n"
    )


def _write_all(sizes: Sizes, world: World, folder: Path) -> None:
    truth = find_truth(world)
    rng = np.random.default_rng(np.random.SeedSequence(world.seed, spawn_key=(3,)))
    crowd = Crowd.draw(sizes, rng)
    with _csv(folder / "ad_feature.csv", AD_FEATURE, texts=("brand", "price")) as ads:
        ads.write(_ads(sizes, truth.catalog, rng))
    with (
        _csv(folder / "user_profile.csv", USER_PROFILE) as profiles,
        _csv(folder / "raw_sample.csv", RAW_SAMPLE, texts=("pid",)) as samples,
        _csv(folder / "behavior_log.csv", BEHAVIOR_LOG, texts=("btag",)) as log,
    ):
        for number in range(-(-sizes.users // CHUNK_USERS)):
            chunk = draw_chunk(world, truth, crowd, number)
            profiles.write(_profiles(chunk, sizes.profiles))
            samples.write(_samples(chunk))
            log.write(_log(chunk, truth.catalog))


@contextmanager
def _csv(path: Path, columns: Sequence[str], texts: Sequence[str] = ()) -> Iterator[csv.CSVWriter]:
    """A CSV file with its header; Arrow would put the header in quotes."""
    schema = pa.schema([(name, pa.string() if name in texts else pa.int64()) for name in columns])
    with path.open("wb") as file:
        file.write(f"{','.join(columns)}\n".encode())
        with csv.CSVWriter(file, schema, write_options=_AS_PUBLISHED) as writer:
            yield writer


def _ads(sizes: Sizes, catalog: Catalog, rng: np.random.Generator) -> pa.Table:
    """The ads; a campaign is one customer's, and every campaign and customer has some ad."""
    campaign = _covering(sizes.campaigns, sizes.ads, rng)
    customer = _covering(sizes.customers, sizes.campaigns, rng)[campaign]
    is_brandless = rng.random(sizes.ads) < BRANDLESS_SHARE
    brand = pa.array(catalog.brand + 1, mask=is_brandless).cast(pa.string())
    columns = (
        pa.array(np.arange(1, sizes.ads + 1)),
        pa.array(catalog.category + 1),
        pa.array(campaign + 1),
        pa.array(customer + 1),
        brand.fill_null("NULL"),
        pa.array([repr(price) for price in catalog.price.tolist()]),
    )
    return pa.table(columns, names=AD_FEATURE)


def _covering(values: int, count: int, rng: np.random.Generator) -> Ints:
    """(count,) int: each of the values, as far as the count goes, and then some at random."""
    more = rng.integers(values, size=max(0, count - values))
    return rng.permutation(np.append(np.arange(min(values, count)), more))


def _profiles(chunk: Chunk, profiles: int) -> pa.Table:
    """The profiles of the chunk's users; those with a number beyond have none."""
    count = int(np.clip(profiles - chunk.people.numbers.start, 0, len(chunk.people)))
    columns = [pa.array(chunk.ids[:count])]
    for k, attribute in enumerate(ATTRIBUTES):
        # code 0 is the world's own 'missing', which this one never draws
        values = chunk.people.codes[:count, k] - 1 + attribute.first
        is_empty = chunk.rng.random(count) < attribute.empty_share
        columns.append(pa.array(values, mask=is_empty))
    return pa.table(columns, names=USER_PROFILE)


def _samples(chunk: Chunk) -> pa.Table:
    shown = chunk.shown
    order = chunk.rng.permutation(len(shown.user))
    click = shown.click.astype(np.int64)[order]
    place = (shown.position > POSITIONS // 2)[order].astype(np.int64)
    columns = (
        pa.array(chunk.ids[shown.user[order]]),
        pa.array(moment(shown.time[order])),
        pa.array(shown.item[order] + 1),
        pa.array(PLACES).take(pa.array(place)),
        pa.array(1 - click),
        pa.array(click),
    )
    return pa.table(columns, names=RAW_SAMPLE)


def _log(chunk: Chunk, catalog: Catalog) -> pa.Table:
    events = chunk.events
    order = chunk.rng.permutation(len(events.user))
    item = events.item[order]
    columns = (
        pa.array(chunk.ids[events.user[order]]),
        pa.array(events.time[order]),
        pa.array(ACTIONS).take(pa.array(events.action[order])),
        pa.array(catalog.category[item] + 1),
        pa.array(catalog.brand[item] + 1),
    )
    return pa.table(columns, names=BEHAVIOR_LOG)
