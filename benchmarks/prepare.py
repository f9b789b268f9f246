"""Preparing a large log under several memory limits: seconds, rows a second, peak memory.

    python benchmarks/prepare.py [--memory 1GB 2GB 4GB] [--users 1_000_000] [--events 12_000_000]

A million impressions come as CSV, users and events as Parquet. Each limit is a process of its own,
and the datasets of all of them must be the same, byte by byte.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from measuring import peak_megabytes, run, show, write
from pyarrow import csv, parquet

import thaw

ITEMS = 200_000
PART = 2_000_000  # events a file


def main() -> None:
    """Make the tables, prepare them under each limit, compare what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", nargs="+", default=["1GB", "2GB", "4GB"])
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--impressions", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=12_000_000)
    parser.add_argument("--one", nargs=3, metavar=("DATA", "OUT", "LIMIT"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(measure(*args.one)))
        return
    with tempfile.TemporaryDirectory(dir=".") as folder:
        data = Path(folder) / "tables"
        make(data, args.users, args.impressions, args.events)
        found, files = {}, []
        for limit in args.memory:
            out = Path(folder) / f"dataset-{limit}"
            found[limit] = run([sys.executable, __file__, "--one", data, out, limit])
            files.append(json.loads((out / "manifest.json").read_text())["files"])
            shutil.rmtree(out)
    is_same = all(each == files[0] for each in files)
    rows = args.users + args.impressions + args.events
    lines = [
        (limit, f"{each['seconds']:.0f}", f"{rows / each['seconds']:,.0f}",
         f"{each['peak_mb']:,.0f}")
        for limit, each in found.items()
    ]  # fmt: skip
    told = f"{args.events:,} events, {args.impressions:,} impressions, {args.users:,} users"
    show(f"Preparing {told}", ("limit", "seconds", "rows/s", "peak MiB"), lines)
    print(f"the same bytes under all limits: {is_same}")
    facts = {"users": args.users, "impressions": args.impressions, "events": args.events}
    write("prepare", {**facts, "same_bytes": is_same, "figures": found}, args.out)


def measure(data: str, out: str, limit: str) -> dict[str, float]:
    """Seconds and peak memory of preparing in this process."""
    started = time.perf_counter()
    thaw.prepare(schema(), data=data, out=out, memory=limit)
    return {"seconds": time.perf_counter() - started, "peak_mb": peak_megabytes()}


def schema() -> thaw.Schema:
    """Users with three attributes, items with two features, events of items with an action."""
    return thaw.Schema(
        name="large",
        users={"files": "users.parquet", "key": "user", "attributes": ["age", "city", "segment"]},
        items={
            "files": "items.parquet",
            "key": "item",
            "features": ["category", {"name": "price", "kind": "dense"}],
        },
        impressions={
            "files": "impressions.csv", "user": "user", "item": "item", "time": "time",
            "context": ["position"],
        },
        events={
            "files": "events-*.parquet", "user": "user", "time": "time", "item": "item",
            "fields": ["item", "category"], "action": "action",
        },
        tasks=["click"],
        split={"rule": "time", "test_share": 0.1},
    )  # fmt: skip


def make(folder: Path, users: int, impressions: int, events: int) -> None:
    """Write the tables; ids are skewed as logs are."""
    folder.mkdir()
    random = np.random.default_rng(0)

    def texts(prefix: str, numbers: np.ndarray) -> pa.Array:
        return pa.array([f"{prefix}{number}" for number in numbers.tolist()])

    def codes(size: int, count: int) -> np.ndarray:
        return random.integers(0, size, count)

    def items(count: int) -> np.ndarray:
        return np.exp(random.random(count) * np.log(ITEMS)).astype(np.int64)

    parquet.write_table(pa.table({
        "user": texts("u", random.permutation(users)),
        "age": codes(8, users), "city": codes(300, users), "segment": codes(97, users),
    }), folder / "users.parquet")  # fmt: skip
    parquet.write_table(pa.table({
        "item": texts("i", np.arange(ITEMS + 1)), "category": codes(4_000, ITEMS + 1),
        "price": random.exponential(20, ITEMS + 1),
    }), folder / "items.parquet")  # fmt: skip
    csv.write_csv(pa.table({
        "user": texts("u", codes(users, impressions)), "item": texts("i", items(impressions)),
        "time": codes(8 * 86_400, impressions) + 22 * 86_400, "position": codes(10, impressions),
        "click": (random.random(impressions) < 0.05).astype(np.int8),
    }), folder / "impressions.csv")  # fmt: skip
    for number, first in enumerate(range(0, events, PART)):
        count = min(PART, events - first)
        parquet.write_table(pa.table({
            "user": texts("u", codes(users, count)), "item": texts("i", items(count)),
            "time": codes(30 * 86_400, count),
            "action": pa.array(np.array(["view", "like", "buy"])[codes(3, count)]),
        }), folder / f"events-{number:03d}.parquet")  # fmt: skip


if __name__ == "__main__":
    main()
