"""Pointers against a count by hand, and arrays written row by row."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thaw.tables.arrays import Column, Sink, load, pointers

Timed = list[tuple[int, int]]
timed = st.lists(st.tuples(st.integers(0, 4), st.integers(-6, 6)), max_size=40)


def find(events: Timed, rows: Timed) -> list[int]:
    """The pointers of rows (user, time) into events (user, time)."""
    ordered = sorted(events)
    users = [user for user, _ in ordered]
    offsets = np.searchsorted(users, np.arange(6)).astype(np.int64)
    clock = np.array([time for _, time in ordered], np.int64)
    user, time = np.array(rows, np.int64).reshape(-1, 2).T
    return pointers(user, time, offsets, clock).tolist()


@given(events=timed, rows=timed)
def test_a_pointer_counts_the_users_strictly_earlier_events(events: Timed, rows: Timed) -> None:
    counted = [sum(u == user and t < time for u, t in events) for user, time in rows]
    assert find(events, rows) == counted


def test_an_event_at_the_rows_own_time_is_not_seen() -> None:
    assert find([(1, 5), (1, 5), (1, 6)], [(1, 5), (1, 6), (1, 7), (2, 9)]) == [0, 2, 3, 0]


def test_times_of_64_bits_are_told_apart() -> None:
    late = 2**62
    assert find([(0, late), (0, late + 1)], [(0, late + 1), (0, late + 2)]) == [1, 2]


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_a_sink_writes_what_numpy_reads(rows: int, tmp_path: Path) -> None:
    batch = pa.record_batch({"a": np.arange(rows), "b": np.arange(rows) * 2.0})
    columns = [
        Column("both", ("a", "b"), np.float32),
        Column("none", (), np.int32),
        Column("flat", ("a",), np.int32, is_flat=True),
    ]
    with Sink(tmp_path, columns, 2 * rows) as sink:
        sink.write(batch)
        sink.write(batch)
    both, none, flat = (load(tmp_path / f"{column.name}.npy") for column in columns)
    assert both.tolist() == [[n, 2 * n] for n in range(rows)] * 2
    assert (none.shape, flat.dtype) == ((2 * rows, 0), np.int32)
    assert flat.tolist() == list(range(rows)) * 2


def test_a_missing_number_is_nan(tmp_path: Path) -> None:
    batch = pa.record_batch({"a": pa.array([1.5, None])})
    with Sink(tmp_path, [Column("a", ("a",), np.float32)], 2) as sink:
        sink.write(batch)
    np.testing.assert_array_equal(load(tmp_path / "a.npy"), [[1.5], [np.nan]])
