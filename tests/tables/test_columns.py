"""Raw values to ids, times, labels and numbers, or the reason for a reject."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from thaw.tables.columns import DAY, Column, typed

MIDNIGHT = 1_704_067_200_000_000  # 2024-01-01 in microseconds


def read(values: object, role: str) -> list[object]:
    """Each value as typed, or the reason why not."""
    raw = pa.table({"x": values, "_fault": pa.nulls(len(values), pa.string())})
    raw = raw.append_column("_line", pa.array(range(len(raw))))
    rows = typed(ibis.memtable(raw), [Column("x", role, "value")])
    found = ibis.duckdb.connect().to_pyarrow(rows).to_pylist()
    return [row["value"] if row["_reason"] is None else row["_reason"] for row in found]


@pytest.mark.parametrize(
    "values",
    [
        ["5", "7", None],
        pa.array([5, 7, None]),
        pa.array([5.0, 7.0, float("nan")]),
        pa.array(pd.Series([5, 7, None])),  # integers with gaps are floats in pandas
        pa.array(["5", "7", ""]),
        ["5.0", "7.0", None],  # and so they stand in its CSV files
        pa.array(["5", "7", None]).dictionary_encode(),
        pa.array(["5", "7", None], pa.string_view()),
    ],
)
def test_an_id_is_the_same_text_however_it_is_stored(values: object) -> None:
    assert read(values, "text") == ["5", "7", None]


def test_ids_that_are_no_whole_numbers_keep_their_text() -> None:
    assert read(pa.array([1.5, float("inf"), 1e300, -0.0]), "text") == ["1.5", "inf", "1e+300", "0"]
    assert read(pa.array([True, False]), "text") == ["true", "false"]
    assert read(["True", "False", "true"], "text") == ["true", "false", "true"]
    assert read(["1.50", "v1.0", "1.0.0", ".0"], "text") == ["1.50", "v1.0", "1.0.0", ".0"]
    assert read(pa.array([2**64 - 1], pa.uint64()), "text") == ["18446744073709551615"]


def test_a_key_must_be_there() -> None:
    assert read(["a", "", None], "key") == ["a", "x: '' is missing", "x: is missing"]


def test_every_way_to_write_a_time() -> None:
    two_hours = timezone(timedelta(hours=2))
    assert read(["2024-01-01", "2024-01-01T02:00:00+02:00"], "time") == [MIDNIGHT] * 2
    assert read(["1704067200", "1704067200.0", " 1704067200"], "time") == [MIDNIGHT] * 3
    assert read([1_704_067_200], "time") == [MIDNIGHT]
    assert read([date(2024, 1, 1)], "time") == [MIDNIGHT]
    assert read([datetime(2024, 1, 1)], "time") == [MIDNIGHT]
    assert read([datetime(2024, 1, 1, 2, tzinfo=two_hours).astimezone(UTC)], "time") == [MIDNIGHT]
    assert read(pa.array([MIDNIGHT * 1000], pa.timestamp("ns", "America/New_York")), "time") == [
        MIDNIGHT
    ]


@pytest.mark.parametrize("bad", ["soon", "", "nan", "infinity", "-inf", "1e15", "2024-13-01"])
def test_what_is_no_time(bad: str) -> None:
    assert read(["5", bad], "time") == [
        5_000_000,
        f"x: '{bad}' is neither a timestamp nor a number of seconds (milliseconds are to be "
        "divided by 1000)",
    ]


def test_numbers_that_are_no_time() -> None:
    found = read(pa.array([1.5, float("inf"), float("nan"), 1e300]), "time")
    assert found[0] == 1_500_000
    assert all("is neither a timestamp" in str(reason) for reason in found[1:])


def test_labels_are_0_or_1() -> None:
    assert read(["0", "1", "1.0"], "label") == [0, 1, 1]
    assert read([True, False], "label") == [1, 0]
    assert read([0.0, 1.0], "label") == [0, 1]
    assert read(["True", "false", "TRUE"], "label") == [1, 0, 1]
    for bad in ([2, -1], ["yes", "", "0.5"], [0.5, float("nan"), float("inf")]):
        assert all("is not 0 or 1" in str(reason) for reason in read(bad, "label"))
    assert read(["1", None], "label") == [1, "x: is missing"]


def test_numbers_are_finite_or_missing() -> None:
    assert read(["1.5", "", "nan", None], "number") == [1.5, None, None, None]
    assert read([1.5, float("nan")], "number") == [1.5, None]
    assert read([Decimal("5.25")], "number") == [5.25]
    for bad in (["many", "inf", "1e400", "1e39"], [float("inf"), -np.inf, -1e300]):
        assert all("is no finite number" in str(reason) for reason in read(bad, "number"))


def test_a_reason_shows_no_more_than_sixty_characters() -> None:
    assert read(["y" * 1000], "label") == [f"x: '{'y' * 60}' is not 0 or 1"]


def test_an_event_dated_by_a_day_is_at_its_end() -> None:
    last = (MIDNIGHT + DAY) - 1
    assert read(pa.array([date(2024, 1, 1)]), "event time") == [last]
    dates = ["2024-01-01", "2024/01/01", "2024-1-1"]
    assert read(dates, "event time") == [last] * 3
    assert read(["2024-01-01 00:00:00"], "event time") == [MIDNIGHT]
    assert read(pa.array([date(2024, 1, 1)]), "time") == [MIDNIGHT]
