"""Users times candidates a second of `Recommender.score`, raw ids in and probabilities out.

    python benchmarks/scoring.py [--users 200] [--candidates 1000] [--rounds 3]

Four in ten users are new; all are known to the dataset by their ids. Served are calls of a new user
with a hundred candidates, from one thread and from four, PyTorch in one thread.
"""

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import public_shape
import torch
from measuring import in_turns, peak_megabytes, show, write

from thaw.fitting import fit_tower
from thaw.methods import MAIL, Lookalikes, Method
from thaw.model import build
from thaw.recommender import Recommender

METHODS = {
    "BaseDNN": Method("BaseDNN"),
    "MAIL-Base": Method("MAIL-Base", mail=MAIL()),
    "DIN": Method("DIN", "din"),
    "MAIL-DIN": Method("MAIL-DIN", "din", MAIL()),
    "Lookalike-Base": Method("Lookalike-Base", after=Lookalikes()),
    "BaseDNN+fm": Method("BaseDNN+fm", fm=True),
}
BASES = {
    "MAIL-Base": "BaseDNN",
    "MAIL-DIN": "DIN",
    "Lookalike-Base": "BaseDNN",
    "BaseDNN+fm": "BaseDNN",
}
CALLS = 5


def main() -> None:
    """Measure in turns, or one method in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(measure(METHODS[args.one], args.users, args.candidates)))
        return
    sizes = ["--users", str(args.users), "--candidates", str(args.candidates)]
    own = [sys.executable, __file__, *sizes, "--one"]
    found = in_turns({name: [*own, name] for name in METHODS}, args.rounds)
    pairs = args.users * args.candidates
    rows = [
        (name, f"{pairs / figures['seconds']:,.0f}", f"{figures['one_user_ms']:.1f}",
         f"{figures['served_by_1']:.0f}, {figures['served_by_4']:.0f}",
         f"{figures['peak_mb']:,.0f}",
         *(f"{figures[key] / found[BASES[name]][key]:.2f} x" if name in BASES else ""
           for key in ("seconds", "one_user_ms")))
        for name, figures in found.items()
    ]  # fmt: skip
    title = f"Scoring {args.users} users x {args.candidates} candidates a call"
    columns = (
        "", "pairs/s", "ms for one user", "calls/s served", "peak MB", "time of its ranker",
        "for one user",
    )  # fmt: skip
    show(title, columns, rows)
    facts = {"users": args.users, "candidates": args.candidates, "figures": found}
    write("scoring", facts, args.out)


def measure(method: Method, users: int, candidates: int) -> dict[str, float]:
    """Seconds a call, and milliseconds of a call with one new user."""
    dataset = public_shape.make(20_000)
    # A new user has no behavior in the log, as it would be in service.
    pointers = np.where(dataset.hidden, 0, np.diff(dataset.events.offsets))
    layout = dataset.layout
    model = build(method, layout, dim=32, max_events=100, tasks=1, seed=0).eval()
    if method.after is not None:
        fit_tower(model, dataset, method.after, seed=0)
    if model.fm is not None:
        model.fm.strength.fill_(1)  # at 0 nothing would be computed
    parts = dataset.schema, dataset.vocabularies, dataset.moments
    offsets = np.concatenate([[0], pointers.cumsum()])
    starts = np.repeat(dataset.events.offsets[:-1] - offsets[:-1], pointers)
    codes = dataset.events.codes[starts + np.arange(offsets[-1])]
    known = replace(dataset, events=replace(dataset.events, codes=codes, offsets=offsets))
    recommender = Recommender(model, *parts, {}, known)
    ids = [str(k) for k in range(users)]
    items = [str(k) for k in range(candidates)]
    new = [str(np.flatnonzero(dataset.hidden)[0])]
    figures = {
        "seconds": _seconds(recommender, ids, items),
        "one_user_ms": 1e3 * _seconds(recommender, new, items),
    }
    torch.set_num_threads(1)
    for threads in (1, 4):
        figures[f"served_by_{threads}"] = _served(recommender, new, items[:100], threads)
    return {**figures, "peak_mb": peak_megabytes()}


def _seconds(recommender: Recommender, users: list[str], items: list[str]) -> float:
    recommender.score(users, items)
    started = time.perf_counter()
    for _ in range(CALLS):
        recommender.score(users, items)
    return (time.perf_counter() - started) / CALLS


def _served(recommender: Recommender, users: list[str], items: list[str], threads: int) -> float:
    """Calls a second, from so many threads at once."""
    recommender.score(users, items)
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        calls = [pool.submit(recommender.score, users, items) for _ in range(100)]
        for call in calls:
            call.result()
    return len(calls) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
