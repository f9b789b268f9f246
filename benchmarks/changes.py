"""What made training fast, each change undone: a step as it is, and without one of them.

    python benchmarks/changes.py [--steps 20] [--rounds 3]

At the public data set's shape; each measurement is a process of its own, and all take turns.
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import public_shape
import torch
from measuring import in_turns, peak_megabytes, show, write
from torch import Tensor, nn
from training import BATCH, METHODS, WARM_UP

from thaw.loader import Loader, LoaderOptions
from thaw.methods import MAIL, Method
from thaw.model import build
from thaw.nn.events import LookedUp, Vectors
from thaw.optim import BETAS, EPSILON, Optimizers, RowAdam
from thaw.training import repeatable, train_step

BASE, TOWER = METHODS["BaseDNN"], METHODS["MAIL-Base"]
EVERY_STEP = Method("every step", mail=MAIL(learns_every=1))
DROPOUT = Method("dropout", mail=MAIL(dropout=0.5))


class TableAdam:
    """The table's rows by an optimizer of PyTorch's, in the place of RowAdam."""

    def __init__(self, table: Tensor, *, is_sparse: bool) -> None:
        self.table, self.is_sparse = nn.Parameter(table), is_sparse
        adam = torch.optim.SparseAdam if is_sparse else torch.optim.Adam
        self.adam = adam([self.table], 1e-3)

    def step(self, rows: Tensor, gradient: Tensor) -> None:
        """Update the table."""
        sparse = torch.sparse_coo_tensor(
            rows[None], gradient, self.table.shape, check_invariants=False
        )
        self.table.grad = sparse if self.is_sparse else sparse.to_dense()
        self.adam.step()


def dense_adam(of: Optimizers) -> Optimizers:
    """Every row of the table in every step."""
    return replace(of, table=TableAdam(of.table.table, is_sparse=False))


def sparse_adam(of: Optimizers) -> Optimizers:
    """PyTorch's own optimizer for sparse gradients."""
    return replace(of, table=TableAdam(of.table.table, is_sparse=True))


class SettingAdam(RowAdam):
    """RowAdam that sets the rows of its moments; it adds to them otherwise."""

    @torch.no_grad()
    def step(self, rows: Tensor, gradient: Tensor) -> None:
        """Update the table."""
        self.steps += 1
        beta1, beta2 = BETAS
        rate = self.learning_rate / (1 - beta1**self.steps)
        scale = (1 - beta2**self.steps) ** -0.5
        mean = self.mean.index_select(0, rows).lerp_(gradient, 1 - beta1)
        square = self.square.index_select(0, rows).lerp_(gradient.square(), 1 - beta2)
        self.mean.index_copy_(0, rows, mean)
        self.square.index_copy_(0, rows, square)
        step = mean.div_(square.sqrt_().mul_(scale).add_(EPSILON)).mul_(-rate)
        self.table.index_add_(0, rows, step)


def setting_rows(of: Optimizers) -> Optimizers:
    """The moments' rows set by `index_copy_`."""
    return replace(of, table=SettingAdam(of.table.table))


def unfused(of: Optimizers) -> Optimizers:
    """The towers' Adam as PyTorch has it by default."""
    plain = [
        adam and torch.optim.Adam(adam.param_groups[0]["params"], adam.param_groups[0]["lr"])
        for adam in (of.tower, of.ranker)
    ]
    return replace(of, tower=plain[0], ranker=plain[1])


@contextlib.contextmanager
def filled_memory() -> Iterator[None]:
    """PyTorch's guard against reading what was never written, on as it is by default."""
    guard = torch.utils.deterministic
    before, guard.fill_uninitialized_memory = guard.fill_uninitialized_memory, True
    try:
        yield
    finally:
        guard.fill_uninitialized_memory = before


@contextlib.contextmanager
def plain_dropout() -> Iterator[None]:
    """A random number for each element."""
    with (
        mock.patch("thaw.nn.perceptron.Dropout", nn.Dropout),
        mock.patch("thaw.nn.autoencoder.Dropout", nn.Dropout),
    ):
        yield


@contextlib.contextmanager
def every_device_seeded() -> Iterator[None]:
    """The seed of dropout set by `torch.manual_seed`, which looks for every kind of device."""
    with mock.patch("thaw.training._seed", lambda device, seed: torch.manual_seed(seed)):
        yield


@contextlib.contextmanager
def summed_vectors() -> Iterator[None]:
    """A vector for each event, and then their sums."""

    def sums(self: LookedUp, offsets: Tensor) -> Tensor:
        return Vectors(self.values).sums(offsets)

    with mock.patch.object(LookedUp, "sums", sums):
        yield


Change = Callable[[Optimizers], Optimizers]
AS_IT_IS = "as it is"
UNDONE: dict[str, tuple[Method, Change | None, Callable[[], object]]] = {
    f"BaseDNN, {AS_IT_IS}": (BASE, None, contextlib.nullcontext),
    "BaseDNN, the table by dense Adam": (BASE, dense_adam, contextlib.nullcontext),
    "BaseDNN, the table by SparseAdam": (BASE, sparse_adam, contextlib.nullcontext),
    "BaseDNN, the moments' rows set": (BASE, setting_rows, contextlib.nullcontext),
    "BaseDNN, a vector for each event": (BASE, None, summed_vectors),
    "BaseDNN, memory filled before use": (BASE, None, filled_memory),
    "BaseDNN, nn.Dropout": (BASE, None, plain_dropout),
    "BaseDNN, Adam unfused": (BASE, unfused, contextlib.nullcontext),
    f"MAIL-Base, {AS_IT_IS}": (TOWER, None, contextlib.nullcontext),
    "MAIL-Base, the tower at every step": (EVERY_STEP, None, contextlib.nullcontext),
    "MAIL-Base, a dropout of 0.5 in the tower": (DROPOUT, None, contextlib.nullcontext),
    "MAIL-Base, every device seeded": (TOWER, None, every_device_seeded),
    "MAIL-Base, a vector for each event": (TOWER, None, summed_vectors),
    "MAIL-Base, memory filled before use": (TOWER, None, filled_memory),
    "MAIL-Base, nn.Dropout": (TOWER, None, plain_dropout),
    "MAIL-Base, Adam unfused": (TOWER, unfused, contextlib.nullcontext),
}


def main() -> None:
    """Measure in turns, or one in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=UNDONE, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(measure(*UNDONE[args.one], args.steps)))
        return
    own = [sys.executable, __file__, "--steps", str(args.steps), "--one"]
    found = in_turns({name: [*own, name] for name in UNDONE}, args.rounds)
    rows = []
    for name, figures in found.items():
        whole = found[f"{name.split(',')[0]}, {AS_IT_IS}"]["seconds"]
        seconds = figures["seconds"]
        rows.append((name, f"{1e3 * seconds:.0f}", f"{seconds / whole:.2f} x"))
    show("A training step with one change undone", ("", "ms a step", "time"), rows)
    write("changes", {"steps": args.steps, "rounds": args.rounds, "figures": found}, args.out)


def measure(
    method: Method, change: Change | None, undone: Callable[[], object], steps: int
) -> dict[str, float]:
    """Seconds a step with one thing undone."""
    dataset = public_shape.make(BATCH * (steps + WARM_UP))
    layout = dataset.layout
    with undone():
        model = build(method, layout, dim=32, max_events=100, tasks=1, seed=0).train()
    optimizers = Optimizers.of(model, 1e-3, 1e-3)
    optimizers = change(optimizers) if change else optimizers
    options = LoaderOptions(batch_size=BATCH, is_training=True, unknown_share=0.05)
    started = 0.0
    with repeatable(torch.device("cpu")), undone():
        for number, batch in enumerate(Loader(dataset, "train", options).epoch()):
            if number == WARM_UP:
                started = time.perf_counter()
            train_step(model, batch, optimizers, step=number, seed=0)
    return {"seconds": (time.perf_counter() - started) / steps, "peak_mb": peak_megabytes()}


if __name__ == "__main__":
    main()
