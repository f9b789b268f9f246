"""What MAIL costs and what it brings: time of a step, and gap closed, of several towers.

    python benchmarks/price.py [--seeds 5] [--movielens FOLDER] [--only VARIANT ...] [--time-alone]

Time is that of a training step at the public data set's shape, over the ranker's alone. The gap
closed is that of new users under the strict rule, on a simulated world, and on MovieLens-1M where
its files are given (or THAW_DATA names their folder). Training takes hours; finished runs are kept
in benchmarks/.runs, so that it can be stopped and goes on.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import training
from measuring import HERE, in_turns, show, write

import thaw
from thaw.datasets import World, simulate
from thaw.datasets.simulated import schema as simulated_schema
from thaw.experiments.comparison import Comparison, Figure
from thaw.methods import MAIL, Method
from thaw.progress import Terminal

RUNS = HERE / ".runs"
WORLD = World(users=6000, interest_determined=0.7, rate_determined=0.7)
TOWERS = {
    "the paper's letter": MAIL.paper(),
    "128 users a step": MAIL(encoder=(1024, 512, 512), decoder=(512, 1024), virtual_events=None),
    "and 10 virtual events": MAIL(encoder=(1024, 512, 512), decoder=(512, 1024)),
    "and 256-128-128 (default)": MAIL(),
}
BASE = "BaseDNN"
METRICS = ("auc", "gauc")


def main() -> None:
    """Measure time in turns, train what is missing, print both in one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--movielens", type=Path, default=_movielens())
    parser.add_argument("--only", nargs="+", default=[*TOWERS], metavar="VARIANT", choices=TOWERS)
    parser.add_argument("--time-alone", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.one is not None:
        chosen = Method(args.one, mail=TOWERS.get(args.one))
        print(json.dumps(training.measure(chosen, steps=20)))
        return
    own = [sys.executable, __file__, "--one"]
    found = in_turns({name: [*own, name] for name in (BASE, *args.only)}, args.rounds)
    lifts = {} if args.time_alone else train(args)
    report(found, lifts, args.only)
    if not args.time_alone:
        write("price", {"seeds": args.seeds, "time": found, "gap_closed": lifts}, args.out)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """The gap closed by each tower on each data set."""
    methods = [Method(BASE), *(Method(name, mail=TOWERS[name]) for name in args.only)]
    simulated = RUNS / "tables"
    if not simulated.exists():
        simulate(WORLD, simulated)
    sources = {"simulated": (simulated_schema(WORLD), simulated)}
    if args.movielens is not None:
        sources["movielens-1m"] = ("movielens-1m", args.movielens)
    lifts = {}
    for name, (declared, data) in sources.items():
        folder = RUNS / name
        if not folder.exists():
            thaw.prepare(declared, out=folder, data=data, new_users="strict")
        found = thaw.compare(
            thaw.Dataset.open(folder),
            methods,
            out=RUNS / f"{name}-runs",
            seeds=args.seeds,
            progress=lambda method, seed: Terminal(f"{method}, seed {seed}"),
        )
        lifts[name] = figures_of(found)
    return lifts


def figures_of(found: Comparison) -> dict[str, dict[str, dict[str, float]]]:
    """By line and metric: the mean, the gap closed with its interval, and p against the base."""
    return {
        line.name: {name: _figure(getattr(line.cell("click", "new"), name)) for name in METRICS}
        for line in found.lines
    }


def _figure(figure: Figure) -> dict[str, Any]:
    closed = figure.gap_closed
    return {
        "values": figure.values,
        "mean": figure.interval.mean,
        "p_value": figure.test.p_value if figure.test else None,
        "gap_closed": [closed.mean, closed.low, closed.high],
    }


def report(found: dict[str, Any], lifts: dict[str, Any], towers: list[str]) -> None:
    """Print a row for each tower."""
    columns = ["tower", "ms a step", "time of the ranker"]
    columns += [f"{data}: {name.upper()}" for data in lifts for name in METRICS]
    rows = []
    for name in (BASE, *towers):
        seconds = found[name]["seconds"]
        row = [name, f"{1e3 * seconds:.0f}", f"{seconds / found[BASE]['seconds']:.2f} x"]
        for lift in lifts.values():
            row += [_lift(lift[name][metric]) for metric in METRICS]
        rows.append(row)
    show("What MAIL costs, and what share of new users' gap it closes", columns, rows)


def _lift(figure: dict[str, Any]) -> str:
    mean, low, high = (100 * value for value in figure["gap_closed"])
    closed = f"{mean:.0f} % ({low:.0f} to {high:.0f})" if mean == mean else "no gap"
    return f"{figure['mean']:.4f}" if figure["p_value"] is None else closed


def _movielens() -> Path | None:
    folder = Path(os.environ.get("THAW_DATA", "")) / "ml-1m"
    return folder if "THAW_DATA" in os.environ and folder.exists() else None


if __name__ == "__main__":
    main()
