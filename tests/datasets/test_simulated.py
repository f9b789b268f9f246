import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import norm

from thaw.datasets import simulated
from thaw.datasets.population import DAY_SECONDS, START_SECONDS, mean_probability
from thaw.datasets.simulated import CHUNK_USERS, schema, simulate
from thaw.datasets.world import World
from thaw.errors import DataError
from thaw.metrics import auc, gauc

SMALL = World(users=4_000, items=300, history_days=4, impressions_per_user=30, events_per_user=15)
# nothing but interests and rates decides a click
BARE = replace(SMALL, quality_spread=0, context_spread=0, drift=0, missing_share=0.1)


def read(folder: Path, table: str) -> pd.DataFrame:
    parts = [pq.read_table(path) for path in sorted(folder.glob(f"{table}*.parquet"))]
    return pa.concat_tables(parts).to_pandas()


def impressions(world: World, folder: Path) -> pd.DataFrame:
    rows = read(simulate(world, folder / "world"), "impressions")
    return rows.assign(log_odds=logit(rows["p_best"]))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(SMALL, tmp_path_factory.mktemp("simulated") / "small")


@pytest.fixture(scope="module")
def rows(small: Path) -> pd.DataFrame:
    return read(small, "impressions")


def test_same_world_gives_the_same_bytes(small, tmp_path):
    assert contents(simulate(SMALL, tmp_path / "again")) == contents(small)


def test_another_seed_gives_other_clicks(small, tmp_path):
    other = contents(simulate(replace(SMALL, seed=1), tmp_path / "other"))
    assert other["impressions-00000.parquet"] != contents(small)["impressions-00000.parquet"]


def test_first_users_do_not_depend_on_how_many_follow(tmp_path):
    world = World(users=CHUNK_USERS, items=50, impressions_per_user=1, events_per_user=1)
    first = contents(simulate(world, tmp_path / "first"))
    more = contents(simulate(replace(world, users=CHUNK_USERS + 300), tmp_path / "more"))
    assert {name: more[name] for name in first if name != "world.json"} == {
        name: data for name, data in first.items() if name != "world.json"
    }
    users = read(tmp_path / "more", "users")
    assert len(users) == users["user_id"].nunique() == CHUNK_USERS + 300
    assert users["age"][:300].tolist() != users["age"][CHUNK_USERS:].tolist()


def test_more_events_leave_the_impressions_alone(small, tmp_path):
    other = contents(simulate(replace(SMALL, events_per_user=5), tmp_path / "fewer"))
    assert other["impressions-00000.parquet"] == contents(small)["impressions-00000.parquet"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    assert (simulate(replace(SMALL, users=5), tmp_path / "empty") / "items.parquet").exists()


def test_a_folder_with_files_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match=re.escape(f"`folder` (={tmp_path}) must be new or empty")):
        simulate(SMALL, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(simulated, "draw_events", interrupt)
    with pytest.raises(KeyboardInterrupt):
        simulate(SMALL, tmp_path / "world")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_replaced(tmp_path):
    (tmp_path / ".world.partial").mkdir()
    (tmp_path / ".world.partial" / "users-00099.parquet").write_text("half")
    simulate(replace(SMALL, users=5), tmp_path / "world")
    assert not list(tmp_path.rglob("users-00099.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["world"]


def test_mean_numbers_of_rows_and_rates_are_as_stated(small, rows):
    assert len(rows) / SMALL.users == pytest.approx(SMALL.impressions_per_user, rel=0.06)
    assert len(read(small, "events")) / SMALL.users == pytest.approx(SMALL.events_per_user, rel=0.1)
    assert rows["click"].mean() == pytest.approx(SMALL.click_rate, rel=0.06)
    converted = rows.loc[rows["click"] == 1, "conversion"].mean()
    assert converted == pytest.approx(SMALL.conversion_rate, rel=0.15)
    assert not (rows["conversion"] > rows["click"]).any()


@pytest.mark.parametrize("reference", ["p_best", "p_attributes"])
def test_references_are_calibrated(rows, reference):
    tenth = pd.qcut(rows[reference], 10, labels=False)
    by_tenth = rows.groupby(tenth).agg(
        clicked=("click", "mean"), said=(reference, "mean"), count=("click", "size")
    )
    error = np.sqrt(by_tenth["said"] * (1 - by_tenth["said"]) / by_tenth["count"])
    # clicks of one user go together, which widens the error a little beyond the binomial one
    assert (abs(by_tenth["clicked"] - by_tenth["said"]) < 5 * error).all()


def test_attributes_alone_reach_the_mean_over_users_alike(tmp_path):
    world = replace(
        BARE, attributes=(("age", 3),), items=20, interests=4, interest_strength=2,
        users=9_000, impressions_per_user=15,
    )  # fmt: skip
    rows = impressions(world, tmp_path)
    ages = read(tmp_path / "world", "users").set_index("user_id")["age"].fillna("missing")
    alike = rows.groupby([rows["item_id"], rows["user_id"].map(ages)])
    assert alike["p_attributes"].std().max() == pytest.approx(0, abs=1e-9)
    surprise = (rows["p_best"] - rows["p_attributes"]).groupby(alike.ngroup())
    off = surprise.mean() / (surprise.std() / np.sqrt(surprise.size()))
    assert off.abs().median() < 1.2


def test_behavior_reaches_further_than_attributes(rows):
    users = rows["user_id"].factorize()[0]
    for reach in (auc, lambda labels, scores: gauc(labels, scores, users).value):
        best = reach(rows["click"].to_numpy(), rows["p_best"].to_numpy())
        attributes = reach(rows["click"].to_numpy(), rows["p_attributes"].to_numpy())
        assert best - 0.02 > attributes > 0.6


def test_interest_strength_is_the_spread_within_users(tmp_path):
    world = replace(BARE, interest_strength=0.7, rate_spread=0, impressions_per_user=60)
    within = impressions(world, tmp_path).groupby("user_id")["log_odds"].agg(["var", "size"])
    mean = np.average(within["var"].fillna(0), weights=(within["size"] - 1).clip(0))
    assert np.sqrt(mean) == pytest.approx(0.7, rel=0.04)


def test_rate_spread_is_the_spread_between_users(tmp_path):
    world = replace(BARE, interest_strength=0, rate_spread=0.6, impressions_per_user=3)
    by_user = impressions(world, tmp_path).groupby("user_id")["log_odds"]
    assert by_user.mean().std() == pytest.approx(0.6, rel=0.05)
    assert by_user.std().max() == pytest.approx(0, abs=1e-9)


def between_groups(values: pd.Series, groups: list[pd.Series]) -> float:
    """The share of the variance that lies between groups, free of the groups' sampling noise."""
    stats = values.groupby(groups).agg(["var", "size"]).query("size > 1")
    return 1 - np.average(stats["var"], weights=stats["size"] - 1) / values.var()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_attributes_determine_the_stated_share_of_rates(tmp_path, share):
    world = replace(
        BARE,
        attributes=(("age", 7), ("gender", 3)),
        interest_strength=0,
        rate_determined=share,
        users=9_000,
        impressions_per_user=3,
    )
    rows = impressions(world, tmp_path).drop_duplicates("user_id")
    users = read(tmp_path / "world", "users").fillna("missing").set_index("user_id")
    known = users.loc[rows["user_id"]].reset_index(drop=True)
    between = between_groups(
        rows["log_odds"].reset_index(drop=True), [known["age"], known["gender"]]
    )
    assert between == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_attributes_determine_the_stated_share_of_interests(tmp_path, share):
    world = replace(
        BARE, attributes=(("age", 4),), items=20, interests=4, rate_spread=0,
        interest_determined=share, users=9_000, impressions_per_user=20,
    )  # fmt: skip
    rows = impressions(world, tmp_path)
    ages = read(tmp_path / "world", "users").set_index("user_id")["age"].fillna("missing")
    rows["centred"] = rows["log_odds"] - rows.groupby("item_id")["log_odds"].transform("mean")
    between = between_groups(rows["centred"], [rows["item_id"], rows["user_id"].map(ages)])
    assert between == pytest.approx(share, abs=0.04)


def test_with_all_determined_attributes_are_enough(tmp_path):
    rows = impressions(replace(BARE, interest_determined=1, rate_determined=1), tmp_path)
    np.testing.assert_allclose(rows["p_attributes"], rows["p_best"])


def test_with_nothing_determined_attributes_say_nothing(tmp_path):
    world = replace(BARE, interest_determined=0, rate_determined=0, interests=1, items=2)
    rows = impressions(world, tmp_path)
    assert rows.groupby("item_id")["p_attributes"].std().max() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("drift", [0.0, 0.2])
def test_interests_move_by_the_drift_each_day(tmp_path, drift):
    world = replace(BARE, items=2, interests=1, interest_determined=0, rate_spread=0, drift=drift)
    rows = impressions(world, tmp_path)
    rows["day"] = (rows["time"] - START_SECONDS) // DAY_SECONDS
    days = rows.pivot_table(index=["user_id", "item_id"], columns="day", values="log_odds")
    steps = np.diff(days.to_numpy(), axis=1)
    level = days.sub(days.groupby("item_id").transform("mean")).to_numpy()
    moved = np.sqrt(np.nanmean(steps**2)) / np.nanstd(level)
    assert moved == pytest.approx(drift, abs=0.01)


@pytest.mark.parametrize("std", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("mean", [-5.0, -2.0, 1.0])
def test_mean_probability_agrees_with_slow_integration(mean, std):
    slow = quad(lambda z: expit(mean + std * z) * norm.pdf(z), -12, 12, points=[0])[0]
    assert mean_probability(np.array([mean]), np.array([std]))[0] == pytest.approx(slow, abs=3e-4)


def test_events_tell_interests(small, rows):
    events = read(small, "events")
    favorite = events.groupby("user_id")["category"].agg(lambda names: names.mode()[0])
    category = read(small, "items").set_index("item_id")["category"]
    is_favorite = rows["item_id"].map(category) == rows["user_id"].map(favorite)
    assert rows.loc[is_favorite, "p_best"].mean() > 1.3 * rows["p_best"].mean()


def test_users_with_higher_rates_act_more_strongly(small, rows):
    events = read(small, "events")
    buys = (events["action"] == "buy").groupby(events["user_id"]).mean()
    rates = rows.groupby("user_id")["p_best"].mean()
    assert buys.corr(rates) > 0.2
    assert events["action"].value_counts().index.tolist() == ["view", "like", "buy"]


def test_events_lie_before_and_among_the_impressions(small, rows):
    days = (read(small, "events")["time"] - START_SECONDS) // DAY_SECONDS
    assert sorted(days.unique()) == list(range(-SMALL.history_days, SMALL.days))
    shown_days = (rows["time"] - START_SECONDS) // DAY_SECONDS
    assert sorted(shown_days.unique()) == list(range(SMALL.days))
    assert (rows["time"] % DAY_SECONDS // 3600 == rows["hour"]).all()


def test_events_carry_their_items_fields(small):
    merged = read(small, "events").merge(read(small, "items"), on="item_id", how="left")
    assert (merged["category_x"] == merged["category_y"]).all()
    assert (merged["brand_x"] == merged["brand_y"]).all()


def test_a_share_of_attributes_and_prices_is_missing(tmp_path):
    world = replace(SMALL, missing_share=0.2, items=3_000, impressions_per_user=1)
    folder = simulate(world, tmp_path / "gaps")
    missing = read(folder, "users").isna().mean()
    np.testing.assert_allclose(missing[["age", "gender", "city", "occupation"]], 0.2, atol=0.03)
    assert read(folder, "items")["price"].isna().mean() == pytest.approx(0.2, abs=0.03)


WIDE = replace(
    SMALL,
    users=3_000,
    attributes=(("age", 7), ("gender", 3), ("city", 30), ("last", 4)),
    more_context=(("device", 3), ("place", 40), ("version", 12)),
    more_features=(("colour", 5), ("maker", 20)),
    fading=1.0,
)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(WIDE, tmp_path_factory.mktemp("wide") / "wide")


def test_the_defaults_give_what_they_always_gave(tmp_path):
    folder = simulate(World(users=50), tmp_path / "default")
    rows = read(folder, "impressions")
    assert (len(rows), rows["click"].sum(), rows["conversion"].sum()) == (1970, 220, 21)
    assert rows["item_id"][:3].tolist() == ["i01182", "i00902", "i01209"]
    expected = [0.07902308238883941, 0.0749802966664135, 0.09955211434866072]
    assert rows["p_attributes"][:3].tolist() == pytest.approx(expected)


def test_more_fields_are_written_with_all_their_values(wide):
    rows, items = read(wide, "impressions"), read(wide, "items")
    for table, fields in ((rows, WIDE.more_context), (items, WIDE.more_features)):
        for name, values in fields:
            assert table[name].nunique() == values
    missing = items[["colour", "maker"]].isna().mean()
    np.testing.assert_allclose(missing, WIDE.missing_share, atol=0.03)


def test_references_stay_calibrated_with_more_fields(wide):
    test_references_are_calibrated(read(wide, "impressions"), "p_attributes")


def test_more_context_decides_half_of_the_contexts_share(tmp_path):
    world = replace(
        BARE, interest_strength=0, rate_spread=0, context_spread=1, fading=0.5, users=500,
        more_context=WIDE.more_context,
    )  # fmt: skip
    rows = impressions(world, tmp_path)
    rest = rows["log_odds"] - rows.groupby(["position", "hour"])["log_odds"].transform("mean")
    assert rows["log_odds"].std() == pytest.approx(1, abs=0.05)
    assert rest.std() ** 2 == pytest.approx(0.5, abs=0.05)


def test_fields_fade(tmp_path):
    world = replace(BARE, attributes=WIDE.attributes, interest_strength=0, rate_determined=1,
                    fading=1.0, missing_share=0, users=9_000, impressions_per_user=2)  # fmt: skip
    rows = impressions(world, tmp_path).drop_duplicates("user_id").set_index("user_id")
    users = read(tmp_path / "world", "users").set_index("user_id").loc[rows.index]
    shares = [between_groups(rows["log_odds"], [users[name]]) for name, _ in world.attributes]
    # of the weights 1, 1/2, 1/3 and 1/4; pairs of attributes decide three tenths
    expected = 0.7 / np.arange(1, 5) ** 2 / (1 + 1 / 4 + 1 / 9 + 1 / 16)
    assert shares == pytest.approx(expected, abs=0.05)


def test_more_features_tell_of_what_items_are_liked_for(tmp_path):
    world = replace(BARE, rate_spread=0, users=2_000, items=2_000, impressions_per_user=30,
                    fading=2.0, more_features=(("colour", 5),))  # fmt: skip
    rows = impressions(world, tmp_path)
    items = read(tmp_path / "world", "items").set_index("item_id")
    mean = rows.groupby("user_id")["log_odds"].transform("mean")
    colour = items["colour"].fillna("missing").loc[rows["item_id"]].to_numpy()
    found = (rows["log_odds"] - mean).groupby([rows["user_id"], colour]).mean()
    chance = np.random.default_rng(0).permutation(colour)
    other = (rows["log_odds"] - mean).groupby([rows["user_id"], chance]).mean()
    assert found.var() > 1.1 * other.var()


@pytest.mark.parametrize("conversions", [False, True])
def test_schema_names_what_the_files_hold(wide, conversions):
    declared = schema(WIDE, conversions)
    tables = {name: getattr(declared, name) for name in ("users", "items", "impressions", "events")}
    columns = {name: set(read(wide, name).columns) for name in tables}
    for name, table in tables.items():
        assert list(wide.glob(table.files[0])), name
    assert {field.name for field in declared.users.fields} == columns["users"]
    assert {field.name for field in declared.items.fields} == columns["items"]
    shown = {field.name for field in declared.impressions.context}
    labels = {task.label for task in declared.tasks} | set(declared.impressions.references)
    assert shown | labels <= columns["impressions"]
    assert {field.name for field in declared.events.fields} | {"action"} <= columns["events"]
    assert ("conversion" in labels) == conversions


def test_the_last_day_tests(rows):
    is_test = rows["time"] >= schema(SMALL).split.test_from
    assert is_test.mean() == pytest.approx(1 / SMALL.days, rel=0.05)
    assert (rows["time"].max() - rows.loc[is_test, "time"].min()) < DAY_SECONDS


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"users": 0}, "`users` (=0) must be a whole number from 1 to 1000000000"),
        ({"days": 2.5}, "`days` (=2.5) must be a whole number from 2 to 366"),
        ({"drift": float("nan")}, "`drift` (=nan) must be a number from 0 to 1"),
        ({"interest_determined": 1.2}, "`interest_determined` (=1.2) must be a number from 0 to 1"),
        ({"items": 7}, "`items` (=7) must be at least twice `interests` (=4)"),
        ({"attributes": ()}, "`attributes` (=()) must name at least one"),
        ({"attributes": (("age", 1),)}, "'age' (=1) must have 2 to 1000000 values"),
        ({"attributes": (("age", 2), ("age", 3))}, "`attributes` has 'age' twice"),
        ({"attributes": (("user_id", 2),)}, "`attributes` must not be named 'user_id'"),
        ({"more_context": (("hour", 2),)}, "`more_context` must not be named 'hour'"),
        ({"more_features": (("a", 1),)}, "`more_features`: 'a' (=1) must have 2 to 1000000"),
        ({"fading": -1}, "`fading` (=-1) must be a number from 0 to 3"),
    ],
)
def test_impossible_worlds_are_refused(fault, message):
    with pytest.raises(DataError, match=re.escape(message)):
        World(**fault)


def test_all_faults_are_told_at_once():
    with pytest.raises(DataError, match=r"`users` \(=-1\).*`click_rate` \(=2\)"):
        World(users=-1, click_rate=2)
