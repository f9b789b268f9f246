"""Hand-made comparisons: every number in them is chosen, none is computed."""

import math
from dataclasses import replace

import numpy as np
from scipy.special import stdtrit

from thaw.experiments.comparison import Cell, Comparison, Figure, Line
from thaw.experiments.measures import Measures
from thaw.options import Training
from thaw.run_facts import RunFacts
from thaw.statistics import Interval, PairedTest

NAN = math.nan


def figure(
    mean: float, p: float | None = None, difference: float = 0.01, gap: float = NAN, seeds: int = 3
) -> Figure:
    """A figure with an interval of ±0.002; without a p-value it was compared with nothing."""
    interval = Interval(mean, mean - 0.002, mean + 0.002)
    if p is None:
        return Figure((mean,) * seeds, interval)
    improvement = 100 * difference / (mean - difference)
    closed = Interval(gap, gap - 0.2, gap + 0.2)
    tests = paired(difference, p, seeds), replace(paired(difference, p, seeds), error=0.0)
    return Figure((mean,) * seeds, interval, improvement, *tests, closed)


def paired(difference: float, p: float, seeds: int) -> PairedTest:
    """A test over seeds with a p-value and the interval that belongs to it."""
    error = abs(difference) / float(stdtrit(seeds - 1, 1 - p / 2)) if difference and p < 1 else NAN
    half = error * float(stdtrit(seeds - 1, 0.975))
    return PairedTest(difference, difference - half, difference + half, p, seeds, error)


def cell(task: str, segment: str, auc: Figure, gauc: Figure, **changes: float) -> Cell:
    """A cell that rests on 9,000 impressions of 300 users, of whom GAUC keeps two thirds."""
    facts = {
        "log_loss": 0.6, "calibration": 1.04, "kept_share": 2 / 3, "impressions": 9000, "users": 300
    } | changes  # fmt: skip
    each = Measures(auc.interval.mean, gauc.interval.mean, **facts)
    return Cell(task, segment, auc, gauc, (each,) * len(auc.values))


def run(seed: int = 0, *, mail: bool = False) -> RunFacts:
    """A run of three epochs and 300 steps whose losses fall; alone, a ranker has but one loss."""
    falling = np.linspace(1, 0.5, 300, dtype=np.float32)[:, None]
    losses = falling * np.array([1, 4, 5, 0.1] if mail else [1, 0, 0, 0], np.float32)
    return RunFacts(seed, 3, 1, 12.5, 24000.0, losses, (0.70, 0.72, 0.71))


def line(
    name: str,
    new: tuple[Figure, Figure],
    old: tuple[Figure, Figure] | None = None,
    *,
    base: str | None = None,
    kind: str = "method",
    tasks: tuple[str, ...] = ("click",),
    **changes: float,
) -> Line:
    """A line with the same (AUC, GAUC) for every task."""
    figures = {"new": new, "old": old or new}
    cells = tuple(cell(t, s, *figures[s], **changes) for t in tasks for s in ("new", "old"))
    runs = tuple(run(k, mail="mail" in name) for k in range(len(new[0].values)))
    return Line(name, base, kind, cells, () if kind == "reference" else runs)


def base(**options: object) -> Line:
    """The base: AUC 0.70 and GAUC 0.65."""
    return line("base-dnn", (figure(0.70), figure(0.65)), **options)


def ceiling(p_auc: float = 0.001, p_gauc: float = 0.002, *, sign: int = 1) -> Line:
    """The base's ceiling: two points above it, or with sign -1 below it."""
    auc, gauc = 0.70 + 0.02 * sign, 0.65 + 0.02 * sign
    new = (figure(auc, p_auc, 0.02 * sign), figure(gauc, p_gauc, 0.02 * sign))
    return line("ceiling of base-dnn", new, base="base-dnn", kind="ceiling")


def mail(
    auc: Figure | None = None, gauc: Figure | None = None, old: tuple[Figure, Figure] | None = None
) -> Line:
    """A method with MAIL: by default it closes half of both gaps and costs nothing."""
    new = (auc or figure(0.71, 0.004, gap=0.5), gauc or figure(0.66, 0.005, gap=0.5))
    same = (figure(0.70, 0.6, -0.0001), figure(0.65, 0.7, 0.0001))
    return line("mail-base", new, old or same, base="base-dnn")


def comparison(*lines: Line, **changes: object) -> Comparison:
    """A comparison over three seeds."""
    facts = {
        "dataset": "toy", "rule": "paper", "seeds": (0, 1, 2), "tasks": ("click",),
        "training": Training(),
    } | changes  # fmt: skip
    return Comparison(lines=lines or (base(), mail(), ceiling()), **facts)
