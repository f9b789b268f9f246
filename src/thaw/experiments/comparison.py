"""What a comparison found: lines of methods, cells of tasks and segments, figures with tests."""

import math
from dataclasses import dataclass

import numpy as np

from thaw.experiments.foretold import Foretold
from thaw.experiments.measures import Measures
from thaw.options import Training
from thaw.resampling import Statistic
from thaw.run_facts import RunFacts
from thaw.statistics import UNKNOWN, Interval, PairedTest, over_both, stricter

CEILING = "ceiling"
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Figure:
    """One metric of one method: over seeds, or with one seed over resampled users.

    Attributes:
        values: one for each seed.
        interval: the mean and its 95 % interval.
        improvement: RI against the base in percent (Eq. 18); NaN for the base itself.
        over_seeds: the test against the base paired by seed; None for the base, for references,
            and with one seed.
        over_users: the test against the base on resampled users; None for the base and for
            references.
        gap_closed: the share of the way from base to ceiling with its 95 % interval; NaN where
            there is no gap to close.
        reached: the share of the way from base to what attributes allow, of which virtual
            behavior can know no more; NaN where that is not significantly above the base.
        allowed: for a base, the test of what attributes allow against it; else None.
    """

    values: tuple[float, ...]
    interval: Interval
    improvement: float = math.nan
    over_seeds: PairedTest | None = None
    over_users: PairedTest | None = None
    gap_closed: Interval = UNKNOWN
    reached: Interval = UNKNOWN
    allowed: PairedTest | None = None

    @property
    def test(self) -> PairedTest | None:
        """What shows over seeds, and for other seeds and other users at once; else over users."""
        if self.over_seeds is None or self.over_users is None:
            return self.over_users
        return stricter(self.over_seeds, over_both(self.over_seeds, self.over_users))

    @property
    def direction(self) -> int:
        """1 or -1 for a significant rise or drop against the base, else 0."""
        test = self.test
        if test is None or not test.p_value < SIGNIFICANT:
            return 0
        return 1 if test.difference > 0 else -1


@dataclass(frozen=True)
class Cell:
    """What a method reaches for one task and one segment of users.

    Attributes:
        task: the task's name.
        segment: 'new' or 'old'.
        auc: AUC.
        gauc: GAUC, weighted by impressions.
        measures: all metrics, one entry for each seed.
    """

    task: str
    segment: str
    auc: Figure
    gauc: Figure
    measures: tuple[Measures, ...]

    def mean(self, name: str) -> float:
        """The mean over seeds of one of the measures."""
        return float(np.mean([getattr(each, name) for each in self.measures]))


@dataclass(frozen=True)
class Line:
    """One method of the comparison.

    Attributes:
        name: the method's name, 'ceiling', or the reference's column.
        base: the name of the line that it is compared with; None for a base and for references.
        kind: 'method', 'ceiling' or 'reference'.
        cells: one for each task and segment.
        runs: how each seed's training went; empty for references.
        foretold: how well virtual behavior foretells the real, for each seed; empty where nothing
            makes any, or none was hidden.
        has_to_win: of a line among `Comparison.against`, whether it is worth its while only where
            it is better than its base there, which is simpler.
    """

    name: str
    base: str | None
    kind: str
    cells: tuple[Cell, ...]
    runs: tuple[RunFacts, ...]
    foretold: tuple[Foretold, ...] = ()
    has_to_win: bool = False

    def cell(self, task: str, name: str) -> Cell:
        """The cell of a task and a segment."""
        return next(c for c in self.cells if (c.task, c.segment) == (task, name))


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes:
        dataset: the data set's name.
        rule: the rule for new users, as in the schema.
        seeds: the seeds of the runs.
        tasks: the names of what is measured: the tasks, then those that are given another, given
            it.
        lines: the methods, bases first, then ceilings and references.
        training: how all methods were trained.
        against: lines compared with another one than their base: methods with simpler ones of their
            ranker and with the line that was asked for; and what attributes allow with the same
            trees without attributes.
    """

    dataset: str
    rule: str
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    lines: tuple[Line, ...]
    training: Training
    against: tuple[Line, ...] = ()

    def ceiling_of(self, line: Line) -> Line | None:
        """The ceiling of a line's base, or None where the rule for new users allows none."""
        base = line.base or line.name
        return next((c for c in self.lines if c.kind == CEILING and c.base == base), None)

    def has_gap(self, line: Line, task: str, metric: Statistic) -> bool:
        """Whether the ceiling of a line's base is significantly above it for new users."""
        ceiling = self.ceiling_of(line)
        return ceiling is not None and getattr(ceiling.cell(task, "new"), metric).direction > 0
