"""Time AUC and GAUC on many rows, and against scikit-learn in a loop over users on fewer.

    python benchmarks/metrics.py [--rows 10_000_000] [--users 1_000_000] [--out FILE.json]

The default takes about a minute and 1 GB of memory.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn
from sklearn.metrics import roc_auc_score

from thaw.metrics import auc, gauc, user_aucs

ROUNDS = 5
SMALL_ROWS, SMALL_USERS = 200_000, 20_000
RESULTS = Path(__file__).parent / "results" / "metrics.json"


class Impressions(NamedTuple):
    """Impressions in random order: (N,) labels, float32 scores and user ids."""

    labels: np.ndarray
    scores: np.ndarray
    users: np.ndarray


def make_impressions(rows: int, users: int, seed: int = 0) -> Impressions:
    """About 5 % clicks, drawn from probabilities that differ between users and items."""
    rng = np.random.default_rng(seed)
    user = rng.integers(users, size=rows)
    logits = rng.normal(-3.5, 0.8, users)[user] + rng.normal(0, 0.8, rows)
    probability = 1 / (1 + np.exp(-logits))
    labels = (rng.random(rows) < probability).astype(np.int8)
    return Impressions(labels, probability.astype(np.float32), user)


def median_seconds(call: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """The median wall time of the call over some rounds, after one that is not counted."""
    call()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def loop_over_users(data: Impressions) -> np.ndarray:
    """Each user's AUC by scikit-learn, NaN for a single class, by ascending user."""
    order = np.argsort(data.users, kind="stable")
    ends = np.flatnonzero(np.diff(data.users[order])) + 1
    values = []
    for rows in np.split(order, ends):
        labels = data.labels[rows]
        mixed = 0 < labels.sum() < labels.size
        values.append(roc_auc_score(labels, data.scores[rows]) if mixed else np.nan)
    return np.array(values)


def measure_large(rows: int, users: int) -> dict[str, float]:
    """Seconds for AUC and GAUC with float32 scores, as models give them, and with float64."""
    data = make_impressions(rows, users)
    noise = np.random.default_rng(1).normal(0, 1e-9, rows)  # so that float32 can't hold them
    wide = data._replace(scores=data.scores + noise)
    return {
        "rows": rows,
        "users": users,
        "auc_seconds": median_seconds(lambda: auc(data.labels, data.scores)),
        "gauc_seconds": median_seconds(lambda: gauc(*data)),
        "auc_float64_seconds": median_seconds(lambda: auc(wide.labels, wide.scores)),
        "gauc_float64_seconds": median_seconds(lambda: gauc(*wide)),
    }


def compare_small() -> dict[str, float]:
    """How much faster than the loop all users' AUCs come, and how far apart the values are."""
    data = make_impressions(SMALL_ROWS, SMALL_USERS)
    ours, theirs = user_aucs(*data).auc, loop_over_users(data)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    thaw_seconds = median_seconds(lambda: user_aucs(*data))
    sklearn_seconds = median_seconds(lambda: loop_over_users(data), rounds=3)
    return {
        "rows": SMALL_ROWS,
        "users": SMALL_USERS,
        "thaw_seconds": thaw_seconds,
        "sklearn_seconds": sklearn_seconds,
        "speedup": sklearn_seconds / thaw_seconds,
        "max_absolute_difference": float(np.nanmax(np.abs(ours - theirs))),
        "auc_absolute_difference": abs(
            auc(data.labels, data.scores) - float(roc_auc_score(data.labels, data.scores))
        ),
    }


def describe_machine() -> dict[str, str | int | None]:
    """CPU model, cores, date and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    result = {
        "machine": describe_machine(),
        "rounds": ROUNDS,
        "large": measure_large(args.rows, args.users),
        "against_sklearn_loop": compare_small(),
    }
    for title in ("machine", "large", "against_sklearn_loop"):
        print(title)
        for name, value in result[title].items():
            shown = f"{value:.4g}" if isinstance(value, float) else value
            print(f"  {name:<24} {shown}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
