"""What MAIL costs and what it brings: the default tower and the paper's beside the ranker alone.

    python benchmarks/price.py [--seeds 5] [--movielens FOLDER] [--only VARIANT ...]
                               [--part time|lift]

Time is that of a training step at the public data set's shape, over the ranker's alone. The gap
closed is that of new users under the strict rule, on a simulated world, and on MovieLens-1M where
its files are given (or THAW_DATA names their folder). Training takes hours: seed after seed, and
what each run reached is written to results/price.json at once, so that it can be stopped and goes
on. A run that is in that file is not run again.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import training
from measuring import HERE, RESULTS, in_turns, show, write

import thaw
from thaw.datasets import World, simulate
from thaw.datasets.simulated import schema as simulated_schema
from thaw.experiments.foretold import foretold
from thaw.experiments.measures import measure
from thaw.methods import MAIL, Method
from thaw.progress import Terminal
from thaw.statistics import paired_test, ratio_interval

RUNS = HERE / ".runs"
WORLD = World(users=6000, interest_determined=0.7, rate_determined=0.7)
TOWERS = {
    "the default": MAIL(),
    "the default, not calibrated": MAIL(calibrated=False),
    "the paper's letter": MAIL.paper(),
}
BASE, CEILING = "BaseDNN", "ceiling"
METRICS = ("auc", "gauc")
R2 = "new r2"

Runs = dict[str, dict[str, dict[str, dict[str, float]]]]
"""By data set, by line, by seed: what a run reached, as '<new or old> <metric>'; of a tower's run
also how well its virtual behavior foretells the real."""


def main() -> None:
    """Measure time in turns, train what is missing, print both in one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--movielens", type=Path, default=_movielens())
    parser.add_argument("--only", nargs="+", default=[*TOWERS], metavar="VARIANT", choices=TOWERS)
    parser.add_argument("--part", choices=("time", "lift"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "price.json")
    args = parser.parse_args()
    if args.one is not None:
        chosen = Method(args.one, mail=TOWERS.get(args.one))
        print(json.dumps(training.measure(chosen, steps=20)))
        return
    known = json.loads(args.out.read_text()) if args.out.exists() else {}
    seconds, runs = known.get("time", {}), known.get("runs", {})
    if args.part != "lift":
        own = [sys.executable, __file__, "--one"]
        seconds = in_turns({name: [*own, name] for name in (BASE, *args.only)}, args.rounds)
        write("price", {"time": seconds, "runs": runs}, args.out)
    if args.part != "time":
        for _ in train(runs, args):
            write("price", {"time": seconds, "runs": runs}, args.out)
    report(seconds, runs)


def train(runs: Runs, args: argparse.Namespace) -> Iterator[None]:
    """Add what is missing to the runs, one after the other."""
    methods = {BASE: Method(BASE), **{name: Method(name, mail=TOWERS[name]) for name in args.only}}
    for seed in range(args.seeds):
        for data, dataset in datasets(args.movielens).items():
            for name, method in methods.items():
                lines = runs.setdefault(data, {})
                if str(seed) not in lines.setdefault(name, {}):
                    lines[name][str(seed)] = run(dataset, data, method, seed, hides_behavior=True)
                    yield
            if str(seed) not in lines.setdefault(CEILING, {}):
                # Under the strict rule it is the base's own model, shown what is hidden.
                found = run(dataset, data, methods[BASE], seed, hides_behavior=False)
                lines[CEILING][str(seed)] = found
                yield


def datasets(movielens: Path | None) -> dict[str, thaw.Dataset]:
    """The prepared data sets, by name."""
    if not (RUNS / "tables").exists():
        simulate(WORLD, RUNS / "tables")
    sources = {"simulated": (simulated_schema(WORLD), RUNS / "tables")}
    if movielens is not None:
        sources["movielens-1m"] = ("movielens-1m", movielens)
    for name, (declared, data) in sources.items():
        if not (RUNS / name).exists():
            thaw.prepare(declared, out=RUNS / name, data=data, new_users="strict")
    return {name: thaw.Dataset.open(RUNS / name) for name in sources}


def run(
    dataset: thaw.Dataset, data: str, method: Method, seed: int, *, hides_behavior: bool
) -> dict[str, float]:
    """Train to the end, or open what is trained, and measure new and old users."""
    recommender = thaw.train(
        dataset,
        method,
        thaw.Training(seed=seed),
        out=RUNS / f"{data}-runs" / method.name / str(seed),
        resume=True,
        progress=Terminal(f"{data}, {method.name}, seed {seed}"),
    )
    found = recommender.predict(dataset, "test", hides_behavior=hides_behavior)
    figures = {
        f"{segment} {name}": value
        for segment in ("new", "old")
        for name, value in asdict(measure(found, segment, 0)).items()
        if name in METRICS
    }
    found = foretold(recommender.model, dataset)
    return figures if found is None else {**figures, R2: found.pooled}


def report(seconds: dict[str, Any], runs: Runs) -> None:
    """Print a row for each tower."""
    columns = ["tower", "ms a step", "time of the ranker", "seeds"]
    columns += [f"{data}: new {name.upper()}" for data in runs for name in METRICS]
    columns += [f"{data}: old AUC" for data in runs]
    columns += [f"{data}: R² of virtual behavior" for data in runs]
    rows = []
    for name in (BASE, *TOWERS, CEILING):
        row = [name]
        if name in seconds:
            own, base = seconds[name]["seconds"], seconds[BASE]["seconds"]
            row += [f"{1e3 * own:.0f}", f"{own / base:.2f} x"]
        else:
            row += ["", ""]
        row.append(", ".join(str(len(lines.get(name, {}))) for lines in runs.values()))
        row += [
            _lift(lines, name, f"new {metric}") for lines in runs.values() for metric in METRICS
        ]
        row += [_change(lines, name, "old auc") for lines in runs.values()]
        row += [_mean(lines, name, R2, "+.3f") for lines in runs.values()]
        rows.append(row)
    show("What MAIL costs, and what share of new users' gap it closes", columns, rows, width=200)
    default, *others = TOWERS
    metrics = [f"{segment} {metric}" for segment in ("new", "old") for metric in METRICS]
    for other in others:
        rows = [
            [data, *(_difference(lines, other, default, metric) for metric in metrics)]
            for data, lines in runs.items()
            if lines.get(default) and lines.get(other)
        ]
        show(f"{default} less {other}, on the seeds of both", ["", *metrics], rows, width=160)


def _lift(lines: dict[str, Any], name: str, metric: str) -> str:
    """The mean; of a tower also the gap closed with its 95 % interval over seeds."""
    if name in (BASE, CEILING) or not lines.get(name):
        return _mean(lines, name, metric)
    own, base, ceiling = _paired(lines, (name, BASE, CEILING), metric)
    gap = paired_test(base, ceiling)
    if not (gap.p_value < 0.05 and gap.difference > 0):
        return f"{_mean(lines, name, metric)}, no gap"
    closed = ratio_interval(own - base, ceiling - base)
    told = f"{closed.mean:.0%} ({closed.low:.0%} to {closed.high:.0%})"
    return f"{_mean(lines, name, metric)}, {told}"


def _change(lines: dict[str, Any], name: str, metric: str) -> str:
    """The mean, and the difference to the base."""
    if name in (BASE, CEILING) or not lines.get(name):
        return _mean(lines, name, metric)
    return f"{_mean(lines, name, metric)}, {_difference(lines, BASE, name, metric)}"


def _difference(lines: dict[str, Any], base: str, name: str, metric: str) -> str:
    """A line less another, with its 95 % interval and p-value over seeds."""
    test = paired_test(*_paired(lines, (base, name), metric))
    return f"{test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f}; p {test.p_value:.3f})"


def _mean(lines: dict[str, Any], name: str, metric: str, form: str = ".4f") -> str:
    values = [each[metric] for each in lines.get(name, {}).values() if metric in each]
    return f"{np.mean(values):{form}}" if values else ""


def _paired(lines: dict[str, Any], names: tuple[str, ...], metric: str) -> list[np.ndarray]:
    """The values of some lines on the seeds that all of them have."""
    seeds = [seed for seed in lines[names[0]] if all(seed in lines[name] for name in names)]
    return [np.array([lines[name][seed][metric] for seed in seeds]) for name in names]


def _movielens() -> Path | None:
    folder = Path(os.environ.get("THAW_DATA", "")) / "ml-1m"
    return folder if "THAW_DATA" in os.environ and folder.exists() else None


if __name__ == "__main__":
    main()
