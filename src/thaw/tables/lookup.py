"""Where texts stand in a long list: what Arrow would hash at every call is hashed once."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

_BASE = np.uint64(0x9E3779B97F4A7C15)


class Lookup:
    """Finds texts in a list of distinct ones.

    It holds the list's hashes in order, 16 bytes a text. What they find is compared with what was
    asked for: texts whose hashes are equal are not confused.

    Args:
        values: [N] distinct texts.
    """

    def __init__(self, values: pa.Array | pa.ChunkedArray) -> None:
        self.values = _whole(values)
        hashes = hash_texts(self.values)
        self.order = np.argsort(hashes)
        self.hashes = hashes[self.order]
        self.is_distinct = bool((self.hashes[1:] != self.hashes[:-1]).all())

    def find(self, texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Return the place [M] int64 of each of the texts; -1 where it is null or not there."""
        texts = _whole(texts)
        if not self.is_distinct:
            return np.asarray(pc.fill_null(pc.index_in(texts, value_set=self.values), -1), np.int64)
        if len(self.values) == 0:
            return np.full(len(texts), -1)
        near = np.searchsorted(self.hashes, hash_texts(texts))
        place = self.order[np.minimum(near, len(self.order) - 1)]
        is_there = pc.fill_null(pc.equal(self.values.take(pa.array(place)), texts), False)
        return np.where(np.asarray(is_there), place, -1)


def hash_texts(texts: pa.Array) -> np.ndarray:
    """Return a polynomial in each text's bytes modulo 2^64 [N] uint64; any number for a null."""
    parts = [_hash(part) for part in _parts(texts)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _hash(texts: pa.Array) -> np.ndarray:
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    low, high = bounds[0], bounds[-1]
    codes = np.frombuffer(data or b"", np.uint8)[low:high].astype(np.uint64) + np.uint64(1)
    bounds = bounds - low
    lengths = np.diff(bounds)
    position = np.arange(high - low) - np.repeat(bounds[:-1], lengths)
    powers = np.cumprod(np.full(lengths.max(initial=0), _BASE))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(codes * powers[position])])
    hashes: np.ndarray = sums[bounds[1:]] - sums[bounds[:-1]]  # both wrap around alike
    return hashes


def _parts(texts: pa.Array, size: int = 100_000) -> Iterator[pa.Array]:
    for start in range(0, len(texts), size):
        yield texts.slice(start, size)


def _whole(texts: pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return whole.cast(pa.large_string())
