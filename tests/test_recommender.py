import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import thaw
from builders import PLAIN, TRAINING, mail, small_dnn
from conftest import make_schema
from thaw.errors import DataError, MethodError, TrainingError
from thaw.schema import Events


@pytest.fixture(scope="module")
def folder(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mail"
    thaw.train(dataset, mail(), TRAINING, out=folder)
    return folder


@pytest.fixture(scope="module")
def model(folder, dataset):
    return thaw.Recommender.load(folder, dataset=dataset, ranker=small_dnn)


@pytest.fixture(scope="module")
def alone(folder):
    """The model without any dataset: it knows nobody."""
    return replace(thaw.Recommender.load(folder, ranker=small_dnn), dataset=None)


knows_nobody = pytest.mark.filterwarnings("ignore:no dataset at")


def clicks(scores):
    return np.array(scores.column("click").to_pylist())


def raw_test_rows(tables):
    """The raw impressions of the test split, in the dataset's order: each user's last two."""
    rows = sorted(
        enumerate(tables["impressions"]),
        key=lambda each: (each[1]["user"], each[1]["time"], each[0]),
    )
    return [row for at, (_, row) in enumerate(rows) if at % 10 >= 8]


def test_scores_agree_with_predictions_on_test_rows(model, dataset, tables):
    """Raw attributes, context and the events before the impression, against the prepared rows."""
    predicted, shown = model.predict(dataset, "test"), raw_test_rows(tables)
    for k in range(0, len(shown), 7):
        row = shown[k]
        user = next(u for u in tables["users"] if u["user_id"] == row["user"])
        item = next(i for i in tables["items"] if i["item_id"] == row["item"])
        seen = [e for e in tables["events"] if e["user"] == row["user"] and e["time"] < row["time"]]
        context = {"hour": row["hour"], "place": row["place"]}
        events = [] if predicted.is_new[k] else seen
        scores = model.score([user], [item], context=context, events=events)
        assert row["clicked"] == predicted.labels[k, 0]
        assert clicks(scores)[0] == pytest.approx(predicted.probabilities[k, 0], rel=1e-5)
        assert scores["behavior"].to_pylist() == ["virtual" if predicted.is_new[k] else "real"]


def test_known_ids_are_looked_up(model, tables):
    users, items = tables["users"][:4], tables["items"][:6]
    by_id = model.score([u["user_id"] for u in users], [i["item_id"] for i in items])
    assert by_id.equals(model.score(users, items))
    assert by_id.column_names == ["user", "item", "click", "behavior"]
    assert by_id["user"].to_pylist() == [u["user_id"] for u in users for _ in items]
    assert by_id["item"].to_pylist() == [i["item_id"] for i in items] * 4


def test_given_columns_come_before_what_is_known(model, tables):
    user, city = tables["users"][0]["user_id"], tables["users"][0]["city"]
    known = clicks(model.score([user], ["i00"]))
    other = "Oslo" if city != "Oslo" else "Rome"
    assert not np.array_equal(
        known, clicks(model.score([{"user_id": user, "city": other}], ["i00"]))
    )
    assert np.array_equal(known, clicks(model.score([{"user_id": user, "city": city}], ["i00"])))


@knows_nobody
def test_each_row_says_which_behavior_was_used(model, alone, dataset, tables, tmp_path):
    plain = thaw.train(dataset, PLAIN, TRAINING, out=tmp_path / "plain")
    users = ["u00", "u59", "nobody"]  # the last tenth of the users has no events
    assert model.score(users, ["i00"])["behavior"].to_pylist() == ["real", "virtual", "virtual"]
    assert plain.score(users, ["i00"])["behavior"].to_pylist() == ["real", "none", "none"]
    assert alone.score(users, ["i00"])["behavior"].to_pylist() == ["virtual"] * 3


def test_users_of_few_events_may_have_virtual_ones_beside_theirs(model, folder, dataset, tables):
    filling = thaw.Recommender.load(folder, dataset=dataset, ranker=small_dnn, fill_below=3)
    events = [event for event in tables["events"] if event["user"] == "u00"]
    given = [{**e, "user": f"has {n}"} for n in range(1, 5) for e in events[:n]]
    users = [f"has {n}" for n in range(5)]
    found = filling.score(users, ["i00"], events=given)
    usual = model.score(users, ["i00"], events=given)
    assert usual["behavior"].to_pylist() == ["virtual", *["real"] * 4]
    assert found["behavior"].to_pylist() == ["virtual", "both", "both", "real", "real"]
    assert (clicks(found) != clicks(usual)).tolist() == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("what", "count", "told"),
    [
        (mail(), 0, r"fill_below \(=0\) must be 1"),
        (PLAIN, 2, "plain makes no events and has no factorization machine"),
    ],
)
def test_filling_that_makes_no_sense_is_refused(dataset, tmp_path, what, count, told):
    thaw.train(dataset, what, replace(TRAINING, max_epochs=1), out=tmp_path / "run")
    with pytest.raises(MethodError, match=told):
        thaw.Recommender.load(tmp_path / "run", dataset=dataset, ranker=small_dnn, fill_below=count)


def test_given_events_take_the_place_of_known_ones(model, tables):
    events = [event for event in tables["events"] if event["user"] == "u00"]
    given = [{**event, "user": "nobody"} for event in events]
    scores = model.score(["u00", "nobody"], ["i00"], events=given)
    assert scores["behavior"].to_pylist() == ["virtual", "real"]
    known = model.score(["u00"], ["i00", "i01"])
    assert (
        clicks(model.score(["u00"], ["i00", "i01"], events=events)).tolist()
        == clicks(known).tolist()
    )


def test_events_may_come_in_any_order(model, tables):
    events = {e["time"]: e for e in tables["events"] if e["user"] in ("u00", "u01")}
    events = list(events.values())
    one = model.score(["u00", "u01"], ["i00", "i01"], events=events)
    assert one.equals(model.score(["u00", "u01"], ["i00", "i01"], events=events[::-1]))


def test_a_user_who_stands_there_twice_has_the_behavior_twice(model, tables):
    scores = model.score(["u00", "u00"], ["i00"], events=tables["events"])
    assert scores["behavior"].to_pylist() == ["real", "real"]
    assert clicks(scores)[0] == clicks(scores)[1]


@pytest.mark.parametrize(
    "users",
    [
        [None],
        [math.nan, "u00", 3, 2.5],
        [{"user_id": None, "city": None, "age": None}],
        [{"user_id": "x"}, {"city": "Rome"}, {}],
        [{"user_id": "u00", "age": "old"}, {"user_id": "u01", "age": 30}],
        [{"user_id": "u00", "age": math.inf}, {"user_id": "u01", "age": -1e300}],
        [{"user_id": "u00", "age": 1e38}, {"user_id": "u01", "age": math.nan}],
        [{"user_id": "u00", "age": Decimal("3.5"), "city": date(2020, 1, 1)}],
        [{"user_id": "u00", "city": [1, 2]}, {"user_id": "u01", "city": {"a": 1}}],
        [{"user_id": b"bytes", "city": True}],
        [{"user_id": 2**80, "city": 2**80}],
        [{"user_id": "u00", "_line": 1, "_fault": "x", "odd": object()}],
        [{"user_id": "u00", "User_ID": "other", "CITY": 5}],
        {"user_id": ["u00", 5, None], "city": [1, "Rome", 2.5]},
        pd.DataFrame({"user_id": ["u00", 5, None], "city": [1, "Rome", np.nan]}),
        pd.DataFrame(
            {"user_id": pd.Categorical(["u00", "x"]), "age": pd.array([1, None], "Int64")}
        ),
        pl.DataFrame({"user_id": [1, 2], "city": pl.Series(["a", None], dtype=pl.Categorical)}),
        pa.table(
            {
                "user_id": pa.array(["u00", "x"], pa.string_view()),
                "age": pa.array([1, 2], pa.float16()),
            }
        ),
        pa.table({"user_id": pa.array(["u00"]).dictionary_encode(), "city": pa.nulls(1)}),
        ["it's", 'a "quote"', "\x00", "", " "],
    ],
    ids=str,
)
@knows_nobody
@pytest.mark.filterwarnings("ignore:users. column 'CITY' is ignored")
@pytest.mark.parametrize("knows", [True, False])
def test_no_user_makes_it_fail(model, alone, users, knows):
    scores = (model if knows else alone).score(users, ["i00", "unseen", None])
    found = clicks(scores)
    assert len(found) in (3, 6, 9, 12, 15)
    assert ((found > 0) & (found < 1)).all()
    assert set(scores["behavior"].to_pylist()) <= {"real", "virtual"}


@pytest.mark.parametrize(
    "items",
    [
        [{"item_id": "i00", "price": "cheap", "category": 7}],
        [{"item_id": None, "price": math.inf}, {"item_id": 1.0, "price": -math.inf}],
        pd.DataFrame({"item_id": [1, "i01"], "price": [None, "x"]}),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:items. no value of 'price' is a number:UserWarning")
def test_no_item_makes_it_fail(model, items):
    assert np.isfinite(clicks(model.score(["u00", "new"], items))).all()


@pytest.mark.parametrize(
    "context",
    [
        {"hour": None},
        {"hour": 5},
        {"place": b"x", "hour": 2**70},
        {"hour": math.nan},
    ],
    ids=str,
)
def test_no_context_makes_it_fail(model, context):
    assert np.isfinite(clicks(model.score(["u00", "new"], ["i00"], context=context))).all()


def test_odd_events_do_not_make_it_fail(model):
    events = [
        {"user": "u00", "time": "never", "category": None, "brand": 5, "action": "unheard of"},
        {"user": None, "time": None, "category": [1], "brand": "b1", "action": None},
        {"user": 7, "time": 3.5, "category": "c1", "brand": "b1", "action": "view"},
    ]
    with pytest.warns(
        UserWarning, match="events: 2 of 3 are left out, for lack of a 'user', or of"
    ):
        scores = model.score(["u00", 7, None], ["i00"], events=events)
    assert np.isfinite(clicks(scores)).all()
    assert scores["behavior"].to_pylist() == ["virtual", "real", "virtual"]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.Table.from_pylist, list])
def test_tables_of_all_kinds_give_the_same_scores(model, tables, make):
    users, items, events = tables["users"][:3], tables["items"][:3], tables["events"][:200]
    found = model.score(make(users), make(items), events=make(events))
    assert found.equals(model.score(users, items, events=events))


@pytest.mark.parametrize("ids", [[5, 7], [5.0, 7.0], ["5", "7"], [5, "7"]], ids=str)
def test_ids_are_the_same_as_number_and_as_text(model, ids):
    assert model.score(ids, ["i00"]).equals(model.score(["5", "7"], ["i00"]))


@knows_nobody
def test_unseen_values_are_unknown_and_left_out_ones_missing(alone):
    def score(**attributes):
        return clicks(alone.score([{"user_id": "new", **attributes}], ["i00"]))[0]

    assert score(city="Atlantis") == score(city="Utopia") != score()
    assert score() == score(city=None) == score(age=math.nan)


def test_no_users_or_items_give_no_rows(model):
    for users, items in (([], ["i00"]), (["u00"], []), ([], [])):
        scores = model.score(users, items)
        assert scores.column_names == ["user", "item", "click", "behavior"]
        assert len(scores) == 0


def test_many_pairs_are_scored_as_few(model, monkeypatch):
    users, items = [f"u{n:02}" for n in range(9)] + ["x"], ["i00", "i01", "y"]
    whole = model.score(users, items)
    monkeypatch.setattr("thaw.recommender.BATCH", 4)
    parts = model.score(users, items)
    np.testing.assert_allclose(clicks(parts), clicks(whole), rtol=1e-5)
    assert parts.drop("click").equals(whole.drop("click"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([{"id": 1}], ["i00"]), "users: no column user_id; there are id"),
        (("u00", ["i00"]), r"users: 'u00' is one value; pass a list, \['u00'\]"),
        ((["u00"], 5), "items: a int is no table that Arrow can read"),
        (({"user_id": ["a"], "age": [1, 2]}, ["i00"]), "users: a dict is no table"),
    ],
)
def test_what_is_no_table_is_told(model, arguments, message):
    with pytest.raises(DataError, match=message):
        model.score(*arguments)


def test_events_without_a_column_are_told(model):
    with pytest.raises(DataError, match="events: no column time, action; there are user, category"):
        model.score(["u00"], ["i00"], events=[{"user": "u00", "category": "c1", "brand": "b"}])


def test_unknown_context_is_told(model):
    with pytest.raises(DataError, match="context: no field weather; there are hour, place"):
        model.score(["u00"], ["i00"], context={"weather": "rain"})


def test_a_loaded_model_gives_the_same_scores(model, folder, dataset):
    users, items = ["u00", "u59", "new"], ["i00", "i05", "unseen"]
    again = thaw.Recommender.load(folder, ranker=small_dnn)
    assert again.dataset is not None
    assert again.score(users, items).equals(model.score(users, items))
    one, other = (each.predict(dataset, "test").probabilities for each in (model, again))
    assert np.array_equal(one, other)


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(TrainingError, match="no run here; make one with 'thaw train'"):
        thaw.Recommender.load(tmp_path)


def test_what_a_row_leaves_out_is_looked_up_for_that_row(model):
    alone = clicks(model.score([{"user_id": "u00"}], ["i00"]))
    beside = model.score(
        [{"user_id": "u00"}, {"user_id": "new", "city": "Oslo", "age": 5}], ["i00"]
    )
    assert clicks(beside)[0] == pytest.approx(alone[0])


def test_one_dict_is_one_row(model):
    found = model.score({"user_id": "u00"}, ["i00", "i01"])
    assert found["user"].to_pylist() == ["u00", "u00"]


def test_a_misspelt_column_is_told_and_others_are_not(model):
    with pytest.warns(UserWarning, match="users: column 'citty' is ignored, and 'city' counts"):
        model.score([{"user_id": "u1", "citty": "Rome"}], ["i1"])
    with pytest.warns(UserWarning, match="users: column 'CITY' is ignored, and 'city' counts"):
        model.score([{"user_id": "u1", "CITY": "Rome"}], ["i1"])
    model.score([{"user_id": "u1", "city": "Rome", "city_2": "Oslo", "name": "Ada"}], ["i1"])


def test_several_threads_score_as_one_does(folder, dataset, tables):
    model = thaw.Recommender.load(folder, dataset=dataset, ranker=small_dnn)
    users = [[user] for user in tables["users"]]
    one_by_one = [clicks(model.score(each, tables["items"])) for each in users]
    fresh = thaw.Recommender.load(folder, dataset=dataset, ranker=small_dnn)
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(lambda each: clicks(fresh.score(each, tables["items"])), users))
    assert np.array_equal(one_by_one, at_once)


def test_without_dataset_and_events_it_says_that_nobody_is_known(alone, dataset):
    with pytest.warns(UserWarning, match=f"no dataset at {dataset.path}, so nobody's behavior"):
        alone.score(["u00"], ["i00"])
    users, items = [{"user_id": "u00", "city": "Oslo"}], [{"item_id": "i00", "price": 5}]
    assert alone.score(users, items, events=[])["behavior"].to_pylist() == ["virtual"]


def test_without_dataset_it_says_of_whom_nothing_but_ids_is_known(alone):
    """A run that was copied without its dataset, to where events come with the request."""
    with pytest.warns(UserWarning, match="nothing but their ids is known of the users and items;"):
        alone.score(["u00"], ["i00"], events=[])
    with pytest.warns(UserWarning, match="nothing but their ids is known of the items; load the"):
        alone.score([{"user_id": "u00", "age": 30}], ["i00"], events=[])


def test_a_column_of_texts_that_are_no_numbers_is_told(model):
    items = [{"item_id": f"i{n}", "price": "12,000.00"} for n in range(2)]
    with pytest.warns(UserWarning, match="items: no value of 'price' is a number, as '12,000.00'"):
        model.score(["u00"], items)
    model.score(["u00"], [{"item_id": "i0", "price": "5"}, *items])


def test_events_by_item_need_the_dataset_even_for_a_single_field(alone):
    by_item = make_schema(
        events=Events(user="user", time="time", item="item", fields=("category",))
    )
    given = [{"user": "u00", "time": 5, "item": "i00"}]
    with pytest.raises(DataError, match="their fields are looked up in the dataset"):
        replace(alone, schema=by_item).score(["u00"], ["i00"], events=given)


@pytest.mark.parametrize(
    "make",
    [np.array, pd.Series, pl.Series, pa.array, lambda ids: pa.chunked_array([ids]), tuple],
    ids=["NumPy", "pandas", "Polars", "Arrow", "chunks", "tuple"],
)
def test_ids_come_as_columns_of_all_kinds(model, make):
    ids = ["u00", "nobody"]
    assert model.score(make(ids), make(["i00"])).equals(model.score(ids, ["i00"]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"context": "home"}, "context: 'home' is no dict"),
        ({"context": {"hour": [5, 6]}}, "context: hour: one value, for all pairs"),
        ({"users": "u00"}, "users: 'u00' is one value; pass a list"),
        (
            {"items": pa.table([["i1"], [1.0], [2.0]], ["item_id", "price", "price"])},
            "items: column price stands there twice; keep one of each",
        ),
        ({"users": 5}, "users: a int is no table .* or a list of ids"),
    ],
)
def test_a_wrong_call_is_told(model, given, message):
    with pytest.raises(DataError, match=message):
        model.score(**{"users": ["u00"], "items": ["i00"]} | given)


def test_a_damaged_run_is_told(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    next(copy.glob("vocabularies/*.arrow")).unlink()
    with pytest.raises(TrainingError, match=r"copy: is damaged .*; train it again"):
        thaw.Recommender.load(copy, ranker=small_dnn)


def test_an_unknown_split_is_told(model, dataset):
    with pytest.raises(DataError, match="split: 'tset' is none of train, validation, test"):
        model.predict(dataset, "tset")


def test_an_error_in_an_own_rankers_constructor_stays_what_it_is(folder):
    def mine(shape):
        raise ValueError("heads must divide dim")

    with pytest.raises(ValueError, match="heads must divide dim"):
        thaw.Recommender.load(folder, ranker=mine)


def test_a_run_of_before_factorization_machines_loads_and_goes_on(dataset, tmp_path):
    out = tmp_path / "run"
    before = thaw.train(dataset, PLAIN, TRAINING, out=out).predict(dataset, "test")
    facts = json.loads((out / "run.json").read_text())
    del facts["method"]["fm"]
    (out / "run.json").write_text(json.dumps(facts))
    again = thaw.train(dataset, PLAIN, TRAINING, out=out, resume=True)
    for each in (again, thaw.Recommender.load(out, ranker=small_dnn)):
        found = each.predict(dataset, "test").probabilities
        assert np.array_equal(found, before.probabilities)
