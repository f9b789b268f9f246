"""Simulated files of the Alimama data's form: format, faults and counts, read again by pandas."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thaw.datasets.alimama_files import BRANDLESS_SHARE, simulate
from thaw.datasets.alimama_world import FIRST_SECOND, LAST_SECOND, SHOWN_SECOND, Sizes
from thaw.datasets.known import MARKER
from thaw.errors import DataError

SCALE = 0.0005
HEADERS = {  # as published, the space at a line's end too
    "raw_sample.csv": "user,time_stamp,adgroup_id,pid,nonclk,clk",
    "ad_feature.csv": "adgroup_id,cate_id,campaign_id,customer,brand,price",
    "user_profile.csv": "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,"
    "shopping_level,occupation,new_user_class_level ",
    "behavior_log.csv": "user,time_stamp,btag,cate,brand",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("alimama") / "files", SCALE, seed=0)


@pytest.fixture(scope="module")
def samples(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "raw_sample.csv")


@pytest.fixture(scope="module")
def log(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "behavior_log.csv")


@pytest.fixture(scope="module")
def profiles(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "user_profile.csv")


@pytest.fixture(scope="module")
def ads(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "ad_feature.csv", keep_default_na=False)


def test_headers_are_as_published_and_lines_hold_bare_cells(folder: Path) -> None:
    for name, header in HEADERS.items():
        lines = (folder / name).read_text().split("\n")
        assert lines[0] == header
        assert {line.count(",") for line in lines[:-1]} == {header.count(",")}
        assert lines[-1] == ""
        assert '"' not in "".join(lines[:100])


def test_a_marker_says_that_nothing_is_real(folder: Path) -> None:
    told = (folder / MARKER).read_text()
    assert "These files are simulated." in told
    assert "thaw simulate alimama --scale 0.0005 --seed 0" in told
    assert sorted(contents(folder)) == sorted([*HEADERS, MARKER])


def test_counts_are_the_published_ones_times_the_scale(
    samples: pd.DataFrame, log: pd.DataFrame, profiles: pd.DataFrame, ads: pd.DataFrame
) -> None:
    assert len(samples) == 13_279  # 26,557,961
    assert samples.user.nunique() == 571  # 1,141,729
    assert len(profiles) == profiles.userid.nunique() == 531  # 1,061,768
    assert len(ads) == ads.adgroup_id.nunique() == 423  # 846,811
    assert len(log) == 361_634  # 723,268,134
    assert ads.customer.nunique() == 128  # 255,876
    assert ads.campaign_id.nunique() == 212  # 423,437


def test_the_whole_scale_is_what_was_published() -> None:
    assert Sizes.at(1.0) == Sizes()
    assert Sizes.at(0.0001).cates == 10  # not 1


def test_all_users_have_impressions_and_some_no_profile(
    samples: pd.DataFrame, log: pd.DataFrame, profiles: pd.DataFrame
) -> None:
    assert set(profiles.userid) < set(samples.user)
    assert set(log.user) <= set(samples.user)


def test_impressions_are_of_eight_days_in_china(samples: pd.DataFrame) -> None:
    moments = pd.to_datetime(samples.time_stamp, unit="s", utc=True).dt.tz_convert("Asia/Shanghai")
    days = moments.dt.strftime("%Y-%m-%d")
    assert sorted(days.unique()) == [f"2017-05-{day:02}" for day in range(6, 14)]
    assert 19 <= Counter(moments.dt.hour).most_common(1)[0][0] <= 21


def test_a_click_is_no_nonclick_and_the_rate_is_five_percent(samples: pd.DataFrame) -> None:
    assert set(samples.clk) == {0, 1}
    assert (samples.nonclk == 1 - samples.clk).all()
    assert samples.clk.mean() == pytest.approx(0.05, rel=0.15)
    assert set(samples.pid) == {"430548_1007", "430539_1007"}


def test_a_few_events_lie_far_out_of_the_days(log: pd.DataFrame) -> None:
    is_odd = ~log.time_stamp.between(FIRST_SECOND, LAST_SECOND)
    assert 2 <= is_odd.sum() <= 0.0001 * len(log)
    assert (log.time_stamp[is_odd] < FIRST_SECOND).any()
    assert (log.time_stamp[is_odd] > LAST_SECOND).any()
    days = pd.to_datetime(log.time_stamp[~is_odd], unit="s", utc=True)
    assert days.min().strftime("%Y-%m-%d") == "2017-04-21"  # the 22nd in China
    assert log.time_stamp[~is_odd].max() > SHOWN_SECOND + 7 * 86_400


def test_profiles_have_the_published_values(profiles: pd.DataFrame) -> None:
    bounds = {name: (profiles[name].min(), profiles[name].max()) for name in profiles.columns[2:]}
    assert bounds["cms_group_id"] == (0, 12)
    assert bounds["final_gender_code"] == (1, 2)
    assert bounds["age_level"] == (0, 6)
    assert bounds["pvalue_level"] == bounds["shopping_level"] == (1, 3)
    assert bounds["occupation"] == (0, 1)
    assert bounds["new_user_class_level "] == (1, 4)
    empty = profiles.isna().mean()
    assert empty["pvalue_level"] == pytest.approx(0.5, abs=0.07)
    assert empty["new_user_class_level "] == pytest.approx(0.3, abs=0.07)
    assert empty.gt(0).sum() == 2


def test_brands_of_ads_may_be_null_and_of_events_never(
    ads: pd.DataFrame, log: pd.DataFrame
) -> None:
    assert (ads.brand == "NULL").mean() == pytest.approx(BRANDLESS_SHARE, abs=0.07)
    assert set(ads.brand) - {"NULL"} <= set(log.brand.astype(str))
    assert (ads.price.astype(float) > 0).all()
    assert (ads.groupby("campaign_id").customer.nunique() == 1).all()


def test_behavior_is_mostly_views_in_bursts_and_heavy_tailed(log: pd.DataFrame) -> None:
    shares = log.btag.value_counts(normalize=True)
    assert list(shares.index[:1]) == ["pv"]
    assert shares["pv"] > 0.9
    assert set(shares.index) == {"pv", "cart", "fav", "buy"}
    product = log.sort_values(["user", "time_stamp"])[["user", "cate", "brand"]]
    assert (product == product.shift()).all(axis=1).mean() > 0.6
    counts = log.groupby("user").size()
    assert counts.max() > 5 * counts.median()


def test_clicks_follow_earlier_behavior(
    samples: pd.DataFrame, log: pd.DataFrame, ads: pd.DataFrame
) -> None:
    liked = log.groupby("user").cate.apply(lambda cates: set(cates.value_counts().index[:2]))
    rows = samples[samples.user.isin(liked.index)].merge(ads, on="adgroup_id")
    is_liked = [cate in liked[user] for user, cate in zip(rows.user, rows.cate_id, strict=True)]
    rates = rows.clk.groupby(is_liked).mean()
    assert rates[True] > 1.2 * rates[False]


def told_by_attributes(shares: pd.DataFrame, profiles: pd.DataFrame) -> float:
    """The sum of squares of users' shares of categories between the values of each attribute."""
    shares = shares - shares.mean()
    names = ["cms_group_id", "final_gender_code", "age_level", "shopping_level", "occupation"]
    groups = [shares.groupby(profiles[name].to_numpy()) for name in names]
    return sum(((each.mean() ** 2).mul(each.size(), axis=0)).sum().sum() for each in groups)


def test_behavior_follows_from_attributes(log: pd.DataFrame, profiles: pd.DataFrame) -> None:
    shares = pd.crosstab(log.user, log.cate, normalize="index")
    profiles = profiles[profiles.userid.isin(shares.index)]
    shares = shares.loc[profiles.userid]
    shuffled = [
        told_by_attributes(shares, profiles.sample(frac=1, random_state=seed)) for seed in range(50)
    ]
    found = told_by_attributes(shares, profiles)
    assert found > np.mean(shuffled) + 4 * np.std(shuffled)


def test_same_seed_gives_the_same_bytes_and_another_others(folder: Path, tmp_path: Path) -> None:
    assert contents(simulate(tmp_path / "again", SCALE, seed=0)) == contents(folder)
    other = contents(simulate(tmp_path / "other", SCALE, seed=1))
    assert all(other[name] != contents(folder)[name] for name in HEADERS)


@pytest.mark.parametrize("scale", [0.0, 0.00009, 1.01, -1.0, float("nan")])
def test_a_scale_out_of_range_is_told(scale: float, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`scale` \(=.*\) must be from 0.0001 to 1"):
        simulate(tmp_path / "files", scale, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="must be new or empty; choose another, or remove it"):
        simulate(tmp_path, 0.0001, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_users_do_not_lie_in_the_order_of_their_ids(samples: pd.DataFrame) -> None:
    assert abs(np.corrcoef(np.arange(len(samples)), samples.user)[0, 1]) < 0.1
