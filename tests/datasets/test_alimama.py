"""The Alimama schema on simulated files of its form, end to end, and on hand-made odd ones."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

import thaw
from reference import decode
from thaw.data import Dataset
from thaw.datasets import KNOWN
from thaw.datasets.alimama import TEST_SECOND
from thaw.datasets.alimama_files import simulate
from thaw.datasets.alimama_world import FIRST_SECOND, LAST_SECOND
from thaw.datasets.known import MARKER
from thaw.errors import DataError

FILES = {
    "user_profile.csv": "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,"
    "shopping_level,occupation,new_user_class_level \n1,0,5,2,5,,3,0,3\n2,7,5,1,2,1,3,0,\n",
    "ad_feature.csv": "adgroup_id,cate_id,campaign_id,customer,brand,price\n"
    "10,6406,1,1,95471,170.0\n11,6406,2,1,NULL,199.0\n12,7,3,2,88,-5\n",
    "raw_sample.csv": "user,time_stamp,adgroup_id,pid,nonclk,clk\n"
    "1,1494003600,10,430548_1007,1,0\n"  # Saturday 2017-05-06, 1 o'clock in China
    "1,1494137644,10,430548_1007,1,0\n"  # Sunday the 7th, 14 o'clock
    "2,1494500000,11,430539_1007,0,1\n"
    "3,1494604799,10,430539_1007,1,0\n"  # the last second before the test day
    "3,1494604800,10,430539_1007,0,1\n"
    "1,1494650000,11,430539_1007,1,0\n",
    "behavior_log.csv": "user,time_stamp,btag,cate,brand\n"
    "1,1494003600,pv,6406,95471\n1,1494003601,buy,6406,95471\n3,1494000000,pv,6406,88\n"
    "1,-5,pv,6406,1\n1,1494691200,pv,6406,1\n1,99999999999999,pv,6406,1\n9,1494000000,pv,1,1\n"
    "2,1494100000,cart,6406,NULL\n",
}  # fmt: skip


def write(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = write(tmp_path_factory.mktemp("odd"))
    return thaw.prepare("alimama", data=folder, out=folder / "out", max_rejects=0.6)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("alimama") / "files", 0.0003, seed=0)


@pytest.fixture(scope="module")
def dataset(files: Path) -> Dataset:
    return thaw.prepare("alimama", data=files, out=files.parent / "out")


@pytest.fixture(scope="module")
def samples(files: Path) -> pd.DataFrame:
    return pd.read_csv(files / "raw_sample.csv", dtype={"user": str})


@pytest.fixture(scope="module")
def log(files: Path) -> pd.DataFrame:
    """The events that may be used, by user and time."""
    rows = pd.read_csv(files / "behavior_log.csv", dtype={"user": str, "cate": str, "brand": str})
    rows = rows[rows.time_stamp.between(FIRST_SECOND, LAST_SECOND)]
    return rows.sort_values(["user", "time_stamp"], kind="stable")


def keys(dataset: Dataset) -> np.ndarray:
    return np.array(dataset.users.keys.to_pylist())


def context(dataset: Dataset, split: str) -> list[list[str | None]]:
    names = [field.name for field in dataset.schema.impressions.context]
    return [
        [
            decode(dataset, f"impressions.{name}", code)
            for name, code in zip(names, row, strict=True)
        ]
        for row in dataset.splits[split].codes
    ]


def test_the_schema_counts_as_the_paper_does() -> None:
    schema = KNOWN["alimama"].schema()
    assert len(schema.users.fields) == 9
    assert len(schema.items.fields) == 6
    assert len(schema.impressions.context) == 4
    assert schema.new_users.share == 0.4
    assert schema.vocabulary("events", schema.events.fields[0]) == "items.cate_id"
    assert schema.vocabulary("events", schema.events.fields[1]) == "items.brand"


def test_odd_rows_are_told_with_their_reasons(odd: Dataset) -> None:
    rejects = parquet.read_table(odd.path / "rejects.parquet").to_pylist()
    told = {(row["file"], row["line"]): row["reason"] for row in rejects}
    outside = "lies outside of the log's days, 2017-04-22 to 2017-05-13"
    assert told == {
        ("ad_feature.csv", 4): "price: '-5' is no price",
        ("behavior_log.csv", 5): f"time_stamp: '-5' {outside}",
        ("behavior_log.csv", 6): f"time_stamp: '1494691200' {outside}",
        ("behavior_log.csv", 7): f"time_stamp: '99999999999999' {outside}",
        ("behavior_log.csv", 8): "user '9' has no good row in the users table",
    }


def test_users_are_those_of_profiles_and_impressions(odd: Dataset) -> None:
    assert list(keys(odd)) == ["1", "2", "3"]
    assert odd.manifest["rejects"]["users"] == {"read": 2, "rejected": 0}
    assert (odd.users.codes[2, 1:] == 0).all()  # user 3 has no profile: all is missing
    assert odd.users.codes[0, 5] == 0  # pvalue_level was empty


def test_null_brands_are_missing(odd: Dataset) -> None:
    brands = [decode(odd, "items.brand", row[4]) for row in odd.items.codes]
    assert brands == ["95471", None]
    assert "NULL" not in odd.vocabularies.values["items.brand"].to_pylist()
    assert odd.items.dense[:, 0] == pytest.approx(np.log([171, 200]))


def test_days_and_hours_are_those_of_china(odd: Dataset) -> None:
    assert context(odd, "train")[:2] == [
        ["430548_1007", "5", "1", "1"],
        ["430548_1007", "6", "1", "14"],
    ]


def test_the_last_day_in_china_tests(odd: Dataset) -> None:
    test = odd.splits["test"]
    assert list(zip(keys(odd)[test.user], test.labels[:, 0], strict=True)) == [("1", 0), ("3", 1)]


def test_either_name_of_the_log_is_read_and_never_both(tmp_path: Path) -> None:
    write(tmp_path)
    shutil.copy(tmp_path / "behavior_log.csv", tmp_path / "raw_behavior_log.csv")
    with pytest.raises(DataError, match=r"behavior_log.csv and raw_behavior_log.csv, of which one"):
        thaw.prepare("alimama", data=tmp_path, out=tmp_path / "out", max_rejects=0.6)
    (tmp_path / "behavior_log.csv").unlink()
    found = thaw.prepare("alimama", data=tmp_path, out=tmp_path / "out", max_rejects=0.6)
    assert len(found.events.codes) == 4


def test_a_missing_file_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    (write(tmp_path) / "ad_feature.csv").unlink()
    message = r"lacks ad_feature.csv. Download https://tianchi.aliyun.com/.* CC BY-NC-SA 4.0"
    with pytest.raises(DataError, match=message):
        thaw.prepare("alimama", data=tmp_path, out=tmp_path / "out")


def test_simulated_files_are_called_so(files: Path, dataset: Dataset, odd: Dataset) -> None:
    assert (files / MARKER).exists()
    assert dataset.schema.name == "alimama-simulated"
    assert odd.schema.name == "alimama"


def test_counts_agree_with_pandas(
    dataset: Dataset, samples: pd.DataFrame, log: pd.DataFrame
) -> None:
    assert len(dataset.users) == samples.user.nunique()
    assert len(dataset.events.codes) == len(log)
    test = samples[samples.time_stamp >= TEST_SECOND]
    assert len(dataset.splits["test"]) == len(test)
    assert dataset.splits["test"].labels.sum() == test.clk.sum()
    counts = log.groupby("user").size().reindex(keys(dataset), fill_value=0)
    assert (np.diff(dataset.events.offsets) == counts).all()


def test_four_in_ten_users_are_new(dataset: Dataset) -> None:
    assert dataset.hidden.sum() == round(0.4 * len(dataset.users))


def test_behavior_ends_before_the_impression(
    dataset: Dataset, samples: pd.DataFrame, log: pd.DataFrame
) -> None:
    test = samples[samples.time_stamp >= TEST_SECOND]
    test = test.sort_values(["user", "time_stamp"], kind="stable")
    times = {user: rows.time_stamp.to_numpy() for user, rows in log.groupby("user")}
    none = np.zeros(0)
    before = [
        (times.get(user, none) < time).sum()
        for user, time in zip(test.user, test.time_stamp, strict=True)
    ]
    assert dataset.splits["test"].pointer.tolist() == before


def test_events_are_the_logs_in_the_ads_vocabularies(dataset: Dataset, log: pd.DataFrame) -> None:
    known = set(dataset.vocabularies.values["items.cate_id"].to_pylist())
    cates = [decode(dataset, "items.cate_id", code) for code in dataset.events.codes[:, 0]]
    # of one second in any order, so by user and time only
    expected = [cate if cate in known else "?" for cate in log.cate]
    assert sorted(cates) == sorted(expected)
    assert np.mean(np.array(cates) == np.array(expected)) > 0.98
