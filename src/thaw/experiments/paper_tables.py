"""The paper's tables and one of our own: which methods stand in them, against which baseline."""

import math
from dataclasses import dataclass, replace
from typing import Any

from thaw.data import Dataset
from thaw.experiments.comparison import Comparison, Line
from thaw.experiments.measures import SEGMENTS
from thaw.methods import MAIL, Method
from thaw.methods.method import DROPOUT
from thaw.metrics import relative_improvement
from thaw.resampling import Statistic

METRICS: tuple[Statistic, ...] = ("auc", "gauc")


@dataclass(frozen=True)
class PaperTable:
    """One table of section 4.

    Attributes:
        caption: what it is called.
        methods: the methods or their names, in the paper's order.
        baseline: the method that RI is against; None for each one's own base.
        beside: what a practitioner would try, and further rankers: trained and compared as the
            others, but no rows of the paper's table.
    """

    caption: str
    methods: tuple[str | Method, ...]
    baseline: str | None = None
    beside: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The methods' names."""
        return tuple(each if isinstance(each, str) else each.name for each in self.methods)

    def on(self, dataset: Dataset) -> "PaperTable":
        """The table as a dataset allows it.

        Where no training row is without behavior, MAIL-None has nothing to learn its map from, and
        stands with behavior dropout.
        """
        if dataset.is_new("train").any():
            return self
        hides = f"mail-none{DROPOUT}"
        return replace(self, methods=tuple(hides if m == "mail-none" else m for m in self.methods))


def _departing(name: str, **options: Any) -> Method:
    return Method(f"mail-{name}", mail=MAIL(**options))


DEPARTURES = (
    _departing("mean", reconstruction="mean"),
    _departing("mse", alignment="mse"),
    _departing("predicted", length="predicted"),
    _departing("reconstruct", padding="reconstruct"),
    _departing("unfilled", fill_in_training=False),
    _departing("half-rate", learning_rate_ratio=0.5),
    _departing("all", attribute_side="all"),
    _departing("dropout-0.5", dropout=0.5),
    _departing("uncalibrated", calibrated=False),
)
"""MAIL-Base with one of its options as the authors' code or the paper's letter has it."""

TABLES = {
    "table-2": PaperTable(
        "Table 2: the compared methods, RI against each one's base",
        ("emblr", "llae", "base-dnn", "meta-emb", "mail-base", "dmr", "mail-dmr"),
        beside=(
            "base-dnn+dropout",
            "mean-base",
            "nearest-base",
            "lookalike-base",
            "lookalike-dmr",
            "mail-base+dropout",
            "base-dnn+fm",
            "mail-base+dropout+fm",
            "din",
            "lookalike-din",
            "mail-din",
            "din+fm",
            "dmr+fm",
        ),
    ),
    "table-3": PaperTable(
        "Table 3: the ablations, RI against MAIL-Base",
        ("base-dnn", "mail-none", "mail-single", "mail-dual", "mail-base"),
        baseline="mail-base",
    ),
    "defaults": PaperTable(
        "MAIL's defaults, and each with one option as the authors or the paper have it",
        ("base-dnn", "mail-base", *DEPARTURES),
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
        method: {key: column[method] for key, column in columns.items()} for method in table.names
    }


def _column(
    lines: dict[str, Line], table: PaperTable, task: str, segment: str, metric: Statistic
) -> dict[str, Entry]:
    def mean(name: str) -> float:
        found: float = getattr(lines[name].cell(task, segment), metric).interval.mean
        return found

    means = {name: mean(name) for name in table.names}
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
