"""What the machine could do, and how much of it each training step reaches.

    python benchmarks/roofline.py [--steps 20]

Memory bandwidth and matrix throughput are measured, the operations of a step counted by PyTorch,
and the bytes that it cannot avoid are worked out: table rows with their moments read and written,
weights with gradients and moments. A step that did nothing else, one after the other, would take
the limit; activations and all that is not a matrix product are on top of it.
"""

import argparse
import time
from pathlib import Path

import public_shape
import torch
from measuring import show, write
from torch.utils.flop_counter import FlopCounterMode
from training import BATCH, METHODS, WARM_UP

from thaw.batch import Batch
from thaw.loader import Loader, LoaderOptions
from thaw.model import Model, build
from thaw.optim import Optimizers
from thaw.training import repeatable, train_step

FLOAT = 4
ROUNDS = 10


def main() -> None:
    """Measure the machine, then each step against it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    limits = {"gflops": matrix_throughput() / 1e9, "gigabytes": bandwidth() / 1e9,
              "gather_gigabytes": gather_bandwidth() / 1e9}  # fmt: skip
    show("The machine", ("", ""), [
        ("matrix products, GFLOP/s", f"{limits['gflops']:,.0f}"),
        ("memory, streamed, GB/s", f"{limits['gigabytes']:.1f}"),
        ("memory, rows of 128 bytes at random, GB/s", f"{limits['gather_gigabytes']:.1f}"),
    ])  # fmt: skip
    figures = {name: measure(name, args.steps, limits) for name in METHODS}
    rows = [
        (name, f"{each['gflop']:.1f}", f"{each['megabytes']:.0f}", f"{each['limit_ms']:.0f}",
         f"{each['ms']:.0f}", f"{each['limit_ms'] / each['ms']:.0%}")
        for name, each in figures.items()
    ]  # fmt: skip
    columns = ("a training step", "GFLOP", "MB", "limit ms", "ms", "share reached")
    show(f"Batch {BATCH}, public data set's shape", columns, rows)
    write("roofline", {"limits": limits, "figures": figures}, args.out)


def matrix_throughput(size: int = 2048) -> float:
    """Operations a second of a large product of float32 matrices."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / _best(lambda: a @ b)


def bandwidth(size: int = 100_000_000) -> float:
    """Bytes a second read and written by a large copy."""
    source, target = torch.ones(size), torch.empty(size)
    return 2 * FLOAT * size / _best(lambda: target.copy_(source))


def gather_bandwidth(rows: int = 3_000_000, count: int = 200_000, dim: int = 32) -> float:
    """Bytes a second read and written by fetching table rows at random."""
    table, index = torch.randn(rows, dim), torch.randint(rows, (count,))
    return 2 * FLOAT * count * dim / _best(lambda: table.index_select(0, index))


def _best(call: object) -> float:
    """The shortest time of some: what the machine can do is what it does undisturbed."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def measure(name: str, steps: int, limits: dict[str, float]) -> dict[str, float]:
    """A step's time, and the time that its products and its bytes need at least."""
    dataset = public_shape.make(BATCH * (steps + WARM_UP))
    layout = dataset.layout
    model = build(METHODS[name], layout, dim=32, max_events=100, tasks=1, seed=0).train()
    optimizers = Optimizers.of(model, 1e-3, 1e-3)
    options = LoaderOptions(batch_size=BATCH, is_training=True, unknown_share=0.05)
    batches = list(Loader(dataset, "train", options).epoch())
    with FlopCounterMode(display=False) as counted:
        train_step(model, batches[0], optimizers, step=0, seed=0)
    with repeatable(torch.device("cpu")):
        for number, batch in enumerate(batches):
            if number == WARM_UP:
                started = time.perf_counter()
            train_step(model, batch, optimizers, step=number, seed=0)
    seconds = (time.perf_counter() - started) / steps
    flop, moved = counted.get_total_flops(), _bytes(model, batches[0])
    gathered, streamed = moved
    limit = flop / limits["gflops"] / 1e9 + streamed / limits["gigabytes"] / 1e9
    limit += gathered / limits["gather_gigabytes"] / 1e9
    return {"gflop": flop / 1e9, "megabytes": sum(moved) / 1e6, "limit_ms": 1e3 * limit,
            "ms": 1e3 * seconds}  # fmt: skip


def _bytes(model: Model, batch: Batch) -> tuple[int, int]:
    """Bytes that must move: fetched row by row, and in streams."""
    dim = model.embeddings.table.shape[1]
    # Looked up; then value and two moments read and written. The gradient is read once.
    table = len(batch.rows) * dim * FLOAT * (2 + 6)
    # Each event's fields are fetched from the rows looked up, and their gradients from the sums'.
    events = batch.events.numel() * dim * FLOAT * 2
    weights = sum(each.numel() for each in model.parameters())
    # Forward, backward, gradient written and read, value and two moments read and written.
    return table + events, weights * FLOAT * (2 + 2 + 6)


if __name__ == "__main__":
    main()
