"""Training steps at the public data set's shape: thaw beside FuxiCTR, as ratios of one run.

    python benchmarks/training.py [--steps 20] [--rounds 3] [--out benchmarks/results/training.json]

FuxiCTR is installed in an environment of its own (benchmarks/.fuxictr) and put together from its
own layers, with the same widths, batch and rows, and its dense Adam. It sees two fields of each
event; thaw sees these two and the action.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import public_shape
import torch
from rich.console import Console
from rich.table import Table

from thaw.data import Layout
from thaw.loader import Loader, LoaderOptions
from thaw.methods import MAIL, Method
from thaw.model import build
from thaw.optim import Optimizers
from thaw.training import train_step

HERE = Path(__file__).parent
BATCH = 1024
WARM_UP = 20  # steps; the first ones touch memory for the first time
METHODS = (
    Method("BaseDNN"),
    Method("MAIL-Base (default)", mail=MAIL()),
    Method("MAIL-Base (the paper's letter)", mail=MAIL.paper()),
)


def main() -> None:
    """Measure in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-peers", action="store_true", help="measure thaw alone")
    parser.add_argument("--out", type=Path, default=HERE / "results/training.json")
    args = parser.parse_args()
    dataset = public_shape.make(BATCH * (args.steps + WARM_UP))
    seconds: dict[str, list[float]] = {}
    peer = None if args.without_peers else install_peer(dataset, args.steps)
    for _ in range(args.rounds):
        for method in METHODS:
            seconds.setdefault(method.name, []).append(measure(dataset, method, args.steps))
        if peer is not None:
            seconds.setdefault("FuxiCTR DNN", []).append(run_peer(*peer))
    report({name: statistics.median(values) for name, values in seconds.items()}, args)


def measure(dataset: Any, method: Method, steps: int) -> float:
    """Seconds a step, the loader's work included, after some steps to warm up."""
    layout = Layout.build(dataset.schema, dataset.vocabularies, dataset.moments)
    model = build(method, layout, dim=32, max_events=100, tasks=1, seed=0).train()
    optimizers = Optimizers.of(model, 1e-3, 1e-3)
    options = LoaderOptions(batch_size=BATCH, is_training=True, unknown_share=0.05)
    started = 0.0
    for number, batch in enumerate(Loader(dataset, layout, "train", options).epoch()):
        if number == WARM_UP:
            started = time.perf_counter()
        train_step(model, batch, optimizers, seed=number)
    return (time.perf_counter() - started) / steps


def install_peer(dataset: Any, steps: int) -> tuple[Path, Path]:
    """Install FuxiCTR aside and write the rows for it."""
    folder = HERE / ".fuxictr"
    python = folder / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "torch==2.13.0", "fuxictr==2.3.10"]
        subprocess.run(pip, check=True)
    rows = dataset.splits["train"]
    arrays = {
        f"user_{n}": c
        for n, c in zip(public_shape.names("users"), dataset.users.codes[rows.user].T, strict=True)
    }
    arrays |= {
        f"item_{n}": c
        for n, c in zip(public_shape.names("items"), dataset.items.codes[rows.item].T, strict=True)
    }
    arrays |= {
        f"context_{n}": c
        for n, c in zip(public_shape.names("impressions"), rows.codes.T, strict=True)
    }
    for field, name in enumerate(public_shape.EVENT_FIELDS):
        padded = np.zeros((len(rows), public_shape.MAX_EVENTS), np.int32)
        for row, (user, length) in enumerate(zip(rows.user, rows.pointer, strict=True)):
            first = dataset.events.offsets[user]
            if not dataset.hidden[user]:
                padded[row, :length] = dataset.events.codes[first : first + length, field]
        arrays[f"event_{name}"] = padded
    path = folder / f"rows-{steps}.npz"
    np.savez(path, labels=rows.labels[:, 0], **arrays)
    return python, path  # fmt: skip


def run_peer(python: Path, rows: Path) -> float:
    """Seconds a step of FuxiCTR, measured by itself in its environment."""
    command = [python, HERE / "fuxictr_dnn.py", rows, json.dumps(public_shape.VOCABULARIES)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(found.stdout.split()[-1])


def report(seconds: dict[str, float], args: argparse.Namespace) -> None:
    """Print a table, and write the figures with machine, date and versions."""
    table = Table(title=f"Training at the public data set's shape, batch {BATCH}, d = 32")
    for name in ("", "ms a step", "rows/s", "times FuxiCTR's DNN", "times BaseDNN's step"):
        table.add_column(name, justify="left" if not name else "right")
    peer, base = seconds.get("FuxiCTR DNN", np.nan), seconds["BaseDNN"]
    for name, value in seconds.items():
        ratios = (f"{peer / value:.1f}", f"{value / base:.2f}")
        table.add_row(name, f"{value * 1e3:.0f}", f"{BATCH / value:,.0f}", *ratios)
    Console(width=110).print(table)
    facts = {
        "seconds_per_step": seconds,
        "rows_per_second": {name: BATCH / value for name, value in seconds.items()},
        "steps": args.steps, "rounds": args.rounds, "threads": torch.get_num_threads(),
        "cpu": cpu_model(), "date": date.today().isoformat(), "torch": torch.__version__,
    }  # fmt: skip
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(json.dumps(facts, indent=1))


def cpu_model() -> str:
    """The processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


if __name__ == "__main__":
    main()
