"""A simulated world in the shape of the paper's second data set (Table 1), which is not public.

It has the table's numbers of attributes, context fields, item features and items, its share of new
users and its length of behavior, and two tasks. Names, values and effects are made up: most fields
say little, and each says less than the one before. Users are fewer, so that two cores can train on
them, and are shown more, so that items are not met once each.
"""

from itertools import cycle, islice
from pathlib import Path

from thaw.datasets.known import Known
from thaw.datasets.simulated import LARGEST_SCALE, schema, simulate
from thaw.datasets.world import World
from thaw.errors import DataError
from thaw.schema import Schema

USERS, NEW_USERS = 613_221, 282_081
ITEMS = 52_831
ATTRIBUTES, CONTEXT, FEATURES = 21, 75, 105  # the ids count, as the public set's in Table 1 do
EVENTS_PER_USER = 79.0
IMPRESSIONS_PER_USER = 3.3  # 2 million in the paper

_SIZES = (2, 3, 5, 10, 20, 50, 100, 500)
_PEOPLE = (("age", 7), ("gender", 3), ("city", 300), ("occupation", 20))
_CONTEXT = ("position", "hour")
_FEATURES = ("item_id", "category", "brand", "price")


def industrial_world(
    users: int = World.users, items: int = ITEMS, impressions_per_user: float = 20.0, seed: int = 0
) -> World:
    """The world of the industrial data set; the paper's size is `USERS`, `IMPRESSIONS_PER_USER`."""
    first = len(_PEOPLE) + 1
    return World(
        users=users,
        items=items,
        impressions_per_user=impressions_per_user,
        events_per_user=EVENTS_PER_USER,
        attributes=(*_PEOPLE, *_more("attribute", first, ATTRIBUTES)),
        categories=100,
        brands=3_000,
        more_context=_more("context", len(_CONTEXT), CONTEXT),
        more_features=_more("feature", len(_FEATURES), FEATURES),
        fading=0.5,
        seed=seed,
    )


def _more(name: str, there: int, total: int) -> tuple[tuple[str, int], ...]:
    """Fields of mixed sizes, numbered on from those that are there."""
    sizes = islice(cycle(_SIZES), total - there)
    return tuple((f"{name}_{k}", size) for k, size in enumerate(sizes, start=there + 1))


def industrial_schema(world: World) -> Schema:
    """Its schema: clicks, conversions given a click, and as many new users as in the paper."""
    own = schema(world, conversions=True).model_copy(update={"name": "industrial"})
    return own.with_new_users("paper", share=round(NEW_USERS / USERS, 2))


def _simulate_scaled(folder: Path, scale: float, seed: int) -> Path:
    """Simulate the default with so many times its users; the items stay."""
    if not 0 < scale <= LARGEST_SCALE:
        raise DataError(f"`scale` (={scale}) must be above 0 and at most {LARGEST_SCALE}")
    return simulate(industrial_world(users=max(1, round(scale * World.users)), seed=seed), folder)


INDUSTRIAL = Known(
    name="industrial",
    about="the shape of the paper's industrial data set, simulated: 20,000 users with 21 "
    "attributes, 75 context fields, 52,831 items with 105 features; clicks and conversions",
    schema=lambda: industrial_schema(industrial_world()),
    simulate=_simulate_scaled,
)
