"""Training steps at the public data set's shape: thaw beside FuxiCTR and DeepCTR-Torch.

    python benchmarks/training.py [--steps 20] [--rounds 3] [--only NAME ...] [--device cuda]

Every measurement is a process of its own with the same rows; all take turns. The other libraries
are installed in an environment of their own (benchmarks/.peers) and train with their dense Adam,
with the same widths, batch and rows. They see two fields of each event side by side; thaw sees the
two and the action, as one vector.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import public_shape
import torch
from measuring import HERE, Command, in_turns, peak_megabytes, peers_python, show, write

from thaw.data import Dataset
from thaw.loader import Loader, LoaderOptions
from thaw.methods import MAIL, Method
from thaw.model import build
from thaw.optim import Optimizers
from thaw.training import repeatable, train_step

BATCH = 1024
WARM_UP = 20  # steps; the first ones touch memory for the first time
METHODS = {
    "BaseDNN": Method("BaseDNN"),
    "MAIL-Base": Method("MAIL-Base", mail=MAIL()),
    "MAIL-Base, the paper's letter": Method("letter", mail=MAIL.paper()),
    "DIN": Method("DIN", "din"),
    "MAIL-DIN": Method("MAIL-DIN", "din", MAIL()),
    "DMR": Method("DMR", "dmr"),
    "MAIL-DMR": Method("MAIL-DMR", "dmr", MAIL()),
}
BASES = {
    "MAIL-Base": "BaseDNN",
    "MAIL-Base, the paper's letter": "BaseDNN",
    "MAIL-DIN": "DIN",
    "MAIL-DMR": "DMR",
}
PEERS = {
    "FuxiCTR DNN": ("fuxictr", "DNN"),
    "FuxiCTR DIN": ("fuxictr", "DIN"),
    "DeepCTR-Torch DNN": ("deepctr", "DNN"),
    "DeepCTR-Torch DIN": ("deepctr", "DIN"),
}


def main() -> None:
    """Measure in turns and print medians, or measure one method in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[*METHODS, *PEERS], metavar="NAME")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(measure(METHODS[args.one], args.steps, args.device)))
        return
    on_gpu = args.device == "cuda"
    # The other libraries' environment is a processor's.
    names = [name for name in args.only if name in METHODS or not on_gpu]
    found = in_turns(commands(names, args.steps, args.device), args.rounds)
    report(found)
    facts = {"batch": BATCH, "steps": args.steps, "rounds": args.rounds, "figures": found}
    if on_gpu:
        facts["gpu"] = torch.cuda.get_device_name()
    write("training-gpu" if on_gpu else "training", facts, args.out)


def commands(names: list[str], steps: int, device: str) -> dict[str, Command]:
    """How each is measured."""
    own = [sys.executable, __file__, "--device", device, "--steps", str(steps), "--one"]
    chosen: dict[str, Command] = {name: [*own, name] for name in names if name in METHODS}
    others = [name for name in names if name in PEERS]
    if others:
        python, rows = peers_python(), write_rows(public_shape.make(BATCH * (steps + WARM_UP)))
        sizes = json.dumps(public_shape.VOCABULARIES)
        for name in others:
            library, model = PEERS[name]
            chosen[name] = [python, HERE / "peers" / f"{library}_step.py", model, rows, sizes]
    return chosen


def measure(method: Method, steps: int, on: str = "cpu") -> dict[str, float]:
    """Seconds a step, the loader's work and the losses' way back included, after a warm-up."""
    device = torch.device(on)
    dataset = public_shape.make(BATCH * (steps + WARM_UP))
    model = build(method, dataset.layout, dim=32, max_events=100, tasks=1, seed=0)
    model.to(device).train()
    optimizers = Optimizers.of(model, 1e-3, 1e-3)
    options = LoaderOptions(batch_size=BATCH, is_training=True, unknown_share=0.05)
    started = 0.0
    with repeatable(device):
        for number, batch in enumerate(Loader(dataset, "train", options).epoch()):
            if number == WARM_UP:
                started = time.perf_counter()
            train_step(model, batch.to(device), optimizers, step=number, seed=0).cpu()
    seconds = (time.perf_counter() - started) / steps
    figures = {"seconds": seconds, "peak_mb": peak_megabytes()}
    if device.type == "cuda":
        figures["peak_gpu_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return figures


def write_rows(dataset: Dataset) -> Path:
    """The rows as the other libraries want them: padded, each event field a column."""
    rows = dataset.splits["train"]
    columns = {
        "user": dataset.users.codes[rows.user],
        "item": dataset.items.codes[rows.item],
        "context": rows.codes,
    }
    arrays = {
        f"{role}_{name}": column
        for role, table in (("user", "users"), ("item", "items"), ("context", "impressions"))
        for name, column in zip(public_shape.names(table), columns[role].T, strict=True)
    }
    shown = np.where(dataset.hidden[rows.user], 0, rows.pointer)
    for field, name in enumerate(public_shape.EVENT_FIELDS):
        padded = np.zeros((len(rows), public_shape.MAX_EVENTS), np.int32)
        for row, (user, length) in enumerate(zip(rows.user, shown, strict=True)):
            first = dataset.events.offsets[user]
            padded[row, :length] = dataset.events.codes[first : first + length, field]
        arrays[f"event_{name}"] = padded
    path = HERE / ".peers" / "rows.npz"
    np.savez(path, labels=rows.labels[:, 0], lengths=shown, **arrays)
    return path


def report(found: dict[str, dict[str, float]]) -> None:
    """Print time, memory and ratios."""

    def ratio(name: str, other: str | None) -> str:
        known = other in found and other != name
        return f"{found[other]['seconds'] / found[name]['seconds']:.1f} x" if known else ""

    def price(name: str) -> str:
        base = BASES.get(name)
        return f"{found[name]['seconds'] / found[base]['seconds']:.2f} x" if base in found else ""

    rows = []
    for name, figures in found.items():
        kind = "DIN" if "DIN" in name else "DNN"
        seconds = figures["seconds"]
        rows.append((
            name, f"{seconds * 1e3:.0f}", f"{BATCH / seconds:,.0f}", f"{figures['peak_mb']:,.0f}",
            ratio(name, f"FuxiCTR {kind}"), ratio(name, f"DeepCTR-Torch {kind}"), price(name),
        ))  # fmt: skip
    columns = ("", "ms a step", "rows/s", "peak MB", "faster than FuxiCTR's",
               "than DeepCTR-Torch's", "time of its ranker")  # fmt: skip
    show(f"Training at the public data set's shape, batch {BATCH}, d = 32", columns, rows)


if __name__ == "__main__":
    main()
