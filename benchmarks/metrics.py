"""Time AUC and GAUC on many rows; against FuxiCTR's gAUC and a loop over scikit-learn on fewer.

    python benchmarks/metrics.py [--rows 26_000_000] [--users 1_000_000] [--out FILE.json]

FuxiCTR's gAUC runs in an environment of its own (benchmarks/.peers) on a million rows and takes a
minute.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measuring import HERE, PEERS, peak_megabytes, peers_python, run, show, write
from sklearn.metrics import roc_auc_score

from thaw.metrics import auc, gauc, user_aucs

ROUNDS = 5
SMALL_ROWS, SMALL_USERS = 200_000, 20_000
PEER_ROWS, PEER_USERS = 1_000_000, 100_000


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
    """Seconds for AUC and GAUC, with float32 scores as models give them."""
    data = make_impressions(rows, users)
    return {
        "rows": rows,
        "users": users,
        "auc_seconds": median_seconds(lambda: auc(data.labels, data.scores)),
        "gauc_seconds": median_seconds(lambda: gauc(*data)),
        "peak_mb": peak_megabytes(),
    }


def compare_with_fuxictr() -> dict[str, float]:
    """How much faster than FuxiCTR's gAUC, and how far apart the values are."""
    data = make_impressions(PEER_ROWS, PEER_USERS)
    python, path = peers_python(), PEERS / "impressions.npz"
    np.savez(path, **data._asdict())
    theirs = run([python, HERE / "peers" / "fuxictr_gauc.py", path])
    seconds = median_seconds(lambda: gauc(*data))
    return {
        "rows": PEER_ROWS,
        "users": PEER_USERS,
        "thaw_seconds": seconds,
        "fuxictr_seconds": theirs["seconds"],
        "speedup": theirs["seconds"] / seconds,
        "absolute_difference": abs(theirs["gauc"] - gauc(*data).value),
    }


def compare_with_sklearn() -> dict[str, float]:
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


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=26_000_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result = {
        "rounds": ROUNDS,
        "large": measure_large(args.rows, args.users),
        "against_fuxictr": compare_with_fuxictr(),
        "against_sklearn_loop": compare_with_sklearn(),
    }
    for title in ("large", "against_fuxictr", "against_sklearn_loop"):
        rows = [(name, f"{value:,.4g}" if isinstance(value, float) else f"{value:,}")
                for name, value in result[title].items()]  # fmt: skip
        show(title.replace("_", " "), ("", ""), rows)
    write("metrics", result, args.out)


if __name__ == "__main__":
    main()
