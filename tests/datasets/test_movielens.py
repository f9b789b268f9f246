"""MovieLens: its odd files as they are, and the real ones where THAW_DATA names their folder."""

import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import thaw
from reference import decode
from thaw.data import Dataset
from thaw.errors import DataError

RATINGS = [
    (user, movie, 1 + (user * movie + hour) % 5, 978_300_000 + 3600 * hour + user)
    for user in range(1, 13)
    for hour, movie in enumerate((user % 4 + 1, user % 3 + 2, 5, 1))
]


def write_1m(folder: Path) -> None:
    ratings = (f"{user}::{movie}::{rating}::{time}" for user, movie, rating, time in RATINGS)
    (folder / "ratings.dat").write_text("\n".join(ratings) + "\n")
    (folder / "users.dat").write_text(
        "".join(f"{n}::F::25::{n % 3}::1024{n}\n" for n in range(1, 13))
    )
    titles = [
        "Alice: a Life (1995)",
        'The "Quoted" (1980)',
        "Misérables, Les (1995)",
        "None",
        "E (1999)",
    ]
    movies = (f"{n}::{title}::Drama|War\n" for n, title in enumerate(titles, 1))
    (folder / "movies.dat").write_text("".join(movies), encoding="latin-1")


def test_the_files_are_read_as_they_are(tmp_path: Path) -> None:
    write_1m(tmp_path)
    dataset = thaw.prepare("movielens-1m", data=tmp_path, out=tmp_path / "out")
    assert dataset.manifest["rejects"]["impressions"] == {"read": len(RATINGS), "rejected": 0}
    clicks = sum(part.labels.sum() for part in dataset.splits.values())
    assert clicks == sum(rating >= 4 for _, _, rating, _ in RATINGS)
    years = [decode(dataset, "items.year", code) for code in dataset.items.codes[:, 3]]
    assert years[0] == "1995"
    assert years[2] == "1995"
    assert decode(dataset, "users.zip_area", dataset.users.codes[0, 4]) == "102"
    assert len(dataset.events.codes) == len(RATINGS)


def test_context_is_hour_and_weekday_in_utc(tmp_path: Path) -> None:
    write_1m(tmp_path)
    dataset = thaw.prepare("movielens-1m", data=tmp_path, out=tmp_path / "out")
    hours = Counter(str(datetime.fromtimestamp(time, UTC).hour) for *_, time in RATINGS)
    known = dataset.vocabularies.values["impressions.hour"].to_pylist()
    train = Counter(
        decode(dataset, "impressions.hour", code) for code in dataset.splits["train"].codes[:, 0]
    )
    assert set(known) <= set(hours)
    assert all(train[hour] <= hours[hour] for hour in known)


def test_a_folder_without_the_files_says_where_to_get_them(tmp_path: Path) -> None:
    message = r"lacks ratings.dat, users.dat, movies.dat. Download https://grouplens.org/.*Licence"
    with pytest.raises(DataError, match=message):
        thaw.prepare("movielens-1m", data=tmp_path, out=tmp_path / "out")


def real(name: str) -> Path:
    """The folder with the real files, or a skipped test."""
    if "THAW_DATA" not in os.environ:
        pytest.skip(f"THAW_DATA is not set to a folder with {name}/")
    return Path(os.environ["THAW_DATA"]) / name


def check_real(dataset: Dataset, ratings: int, users: int, movies: int) -> None:
    """The figures of the data set's README, and laws of the schema."""
    counts = {name: len(part) for name, part in dataset.splits.items()}
    assert sum(counts.values()) == ratings == len(dataset.events.codes)
    assert (len(dataset.users), len(dataset.items)) == (users, movies)
    assert counts["test"] == pytest.approx(0.2 * ratings, rel=0.01)
    assert dataset.hidden.sum() == round(0.4 * users)
    assert all(each["rejected"] == 0 for each in dataset.manifest["rejects"].values())
    pointers = dataset.splits["test"].pointer
    assert (pointers < np.diff(dataset.events.offsets)[dataset.splits["test"].user]).all()


def test_the_real_100k(tmp_path: Path) -> None:
    dataset = thaw.prepare("movielens-100k", data=real("ml-100k"), out=tmp_path / "out")
    check_real(dataset, 100_000, 943, 1682)
    ages = {decode(dataset, "users.age", code) for code in dataset.users.codes[:, 2]}
    assert ages <= {"0", "10", "20", "30", "40", "50", "60", "70", "?"}
    assert sum(part.labels.sum() for part in dataset.splits.values()) == 55_375


@pytest.mark.slow
def test_the_real_1m(tmp_path: Path) -> None:
    dataset = thaw.prepare("movielens-1m", data=real("ml-1m"), out=tmp_path / "out")
    check_real(dataset, 1_000_209, 6040, 3883)
    assert sum(part.labels.sum() for part in dataset.splits.values()) == 575_281
