"""Texts are found where they stand, whatever they are."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thaw.tables import lookup
from thaw.tables.lookup import Lookup, hash_texts

TEXTS = st.lists(st.text(max_size=8), max_size=30)


def places(values: list[str], texts: list[str | None]) -> list[int]:
    return [values.index(text) if text in values else -1 for text in texts]


@given(TEXTS, st.lists(st.none() | st.text(max_size=8), max_size=30))
def test_texts_are_found_where_they_stand(values: list[str], texts: list[str | None]) -> None:
    values = list(dict.fromkeys(values))
    asked = [*texts, *values[::-1]]
    found = Lookup(pa.array(values, pa.string())).find(pa.array(asked, pa.string()))
    assert found.tolist() == places(values, asked)


def test_chunks_and_slices_make_no_difference() -> None:
    values = [f"user {k}" for k in range(1000)]
    chunked = pa.chunked_array([values[:10], values[10:999], values[999:]])
    texts = pa.array(["x", *values[::7], None]).slice(1)
    found = Lookup(chunked).find(texts)
    assert found.tolist() == [*range(0, 1000, 7), -1]


def test_parts_of_a_long_list_are_hashed_as_the_whole() -> None:
    texts = pa.array([f"{k:x}" for k in range(250_001)], pa.large_string())
    hashes = hash_texts(texts)
    np.testing.assert_array_equal(hashes[-3:], hash_texts(texts.slice(249_998)))
    assert len(np.unique(hashes)) == len(texts)


def test_equal_hashes_are_not_confused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "hash_texts", lambda texts: np.zeros(len(texts), np.uint64))
    one = Lookup(pa.array(["a"]))
    assert one.find(pa.array(["a", "b"])).tolist() == [0, -1]
    two = Lookup(pa.array(["a", "b"]))
    assert two.find(pa.array(["b", "c", None, "a"])).tolist() == [1, -1, -1, 0]
