"""The loader alone: rows a second, and its share of a training step that hides it.

    python benchmarks/loader.py [--batches 60] [--rounds 3]

The loader works in a thread beside the step. Its share is its own time over the step's; what it
costs is the step with the loader over the same step with batches that lie ready.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import public_shape
import torch
from measuring import in_turns, peak_megabytes, show, write

from thaw.data import Dataset
from thaw.loader import Loader, LoaderOptions
from thaw.methods import Method
from thaw.model import build
from thaw.optim import Optimizers
from thaw.training import repeatable, train_step

BATCH, WARM_UP = 1024, 20


def main() -> None:
    """Measure in turns, or in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=("alone", "hidden", "ready"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(measure(args.one, args.batches)))
        return
    own = [sys.executable, __file__, "--batches", str(args.batches), "--one"]
    found = in_turns({name: [*own, name] for name in ("alone", "hidden", "ready")}, args.rounds)
    alone, hidden, ready = (found[name]["seconds"] for name in ("alone", "hidden", "ready"))
    figures = {
        "rows_per_second": BATCH / alone,
        "share_of_a_step": alone / hidden,
        "cost_of_a_step": hidden / ready - 1,
    }
    rows = [
        ("rows/s, alone", f"{figures['rows_per_second']:,.0f}"),
        ("its time over a BaseDNN step", f"{figures['share_of_a_step']:.1%}"),
        ("what it adds to the step", f"{figures['cost_of_a_step']:+.1%}"),
        ("peak MB, alone", f"{found['alone']['peak_mb']:,.0f}"),
    ]
    show(f"Loader, public data set's shape, batch {BATCH}, up to 100 events", ("", ""), rows)
    write("loader", {"batches": args.batches, **figures, "figures": found}, args.out)


def measure(what: str, batches: int) -> dict[str, float]:
    """Seconds a batch of the loader alone, or of steps with it or with batches that lie ready."""
    dataset = public_shape.make(BATCH * (batches + WARM_UP))
    options = LoaderOptions(batch_size=BATCH, is_training=True, unknown_share=0.05)
    loader = Loader(dataset, "train", options)
    found = _alone(loader) if what == "alone" else _steps(dataset, loader, what)
    return {"seconds": found / batches, "peak_mb": peak_megabytes()}


def _alone(loader: Loader) -> float:
    started = 0.0
    for number, _ in enumerate(loader.epoch()):
        if number == WARM_UP:
            started = time.perf_counter()
    return time.perf_counter() - started


def _steps(dataset: Dataset, loader: Loader, what: str) -> float:
    model = build(
        Method("BaseDNN"), dataset.layout, dim=32, max_events=100, tasks=1, seed=0
    ).train()
    optimizers = Optimizers.of(model, 1e-3, 1e-3)
    batches = list(loader.epoch()) if what == "ready" else loader.epoch()
    started = 0.0
    with repeatable(torch.device("cpu")):
        for number, batch in enumerate(batches):
            if number == WARM_UP:
                started = time.perf_counter()
            train_step(model, batch, optimizers, step=number, seed=0)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
