"""The tables of the paper: which methods stand in them, and what each is compared with."""

import math
from dataclasses import dataclass

from thaw.experiments.comparison import Comparison, Line
from thaw.experiments.measures import SEGMENTS
from thaw.metrics import relative_improvement
from thaw.resampling import Statistic

METRICS: tuple[Statistic, ...] = ("auc", "gauc")


@dataclass(frozen=True)
class PaperTable:
    """One table of section 4.

    Attributes:
        caption: what it is called.
        methods: the methods' names, in the paper's order.
        baseline: the method that RI is against; None for each one's own base.
    """

    caption: str
    methods: tuple[str, ...]
    baseline: str | None = None


TABLES = {
    "table-2": PaperTable(
        "Table 2: the compared methods, RI against each one's base",
        ("emblr", "llae", "base-dnn", "meta-emb", "mail-base", "dmr", "mail-dmr"),
    ),
    "table-3": PaperTable(
        "Table 3: the ablations, RI against MAIL-Base",
        ("base-dnn", "mail-none", "mail-single", "mail-dual", "mail-base"),
        baseline="mail-base",
    ),
}


@dataclass(frozen=True)
class Entry:
    """A metric of a method on a segment of users.

    Attributes:
        mean: over seeds.
        improvement: RI in percent (Eq. 18); 0 for a baseline itself.
        place: 1 for the best of the column's methods, 2 for the second, else 0.
    """

    mean: float
    improvement: float
    place: int


def entries(
    comparison: Comparison, table: PaperTable, task: str
) -> dict[str, dict[tuple[str, Statistic], Entry]]:
    """Return a table's entries, by method, by segment and metric."""
    lines = {line.name: line for line in comparison.lines}
    columns = {
        (segment, metric): _column(lines, table, task, segment, metric)
        for segment in SEGMENTS
        for metric in METRICS
    }
    return {
        method: {key: column[method] for key, column in columns.items()} for method in table.methods
    }


def _column(
    lines: dict[str, Line], table: PaperTable, task: str, segment: str, metric: Statistic
) -> dict[str, Entry]:
    def mean(name: str) -> float:
        found: float = getattr(lines[name].cell(task, segment), metric).interval.mean
        return found

    means = {name: mean(name) for name in table.methods}
    order = sorted({value for value in means.values() if not math.isnan(value)}, reverse=True)
    places = {value: place for place, value in enumerate(order[:2], start=1)}
    return {
        name: Entry(
            value,
            relative_improvement(mean(table.baseline or lines[name].base or name), value),
            places.get(value, 0),
        )
        for name, value in means.items()
    }
