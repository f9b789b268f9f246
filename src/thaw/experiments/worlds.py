"""By attributes: what a method wins where attributes say nothing of users, or everything."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from thaw.data import Dataset
from thaw.datasets import World, simulate
from thaw.datasets.simulated import schema
from thaw.errors import DataError
from thaw.experiments.compare import compare
from thaw.experiments.comparison import CEILING, Comparison, Figure
from thaw.experiments.curves import check_makes_behavior
from thaw.experiments.references import ATTRIBUTES_ONLY
from thaw.methods import Method
from thaw.options import Training
from thaw.preparation import prepare
from thaw.progress import ProgressFactory
from thaw.run import method_facts
from thaw.statistics import UNKNOWN, Interval, ratio_interval

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
TASK = "click"


@dataclass(frozen=True)
class WorldPoint:
    """One world: AUC of new users' test rows under the strict rule, and the gap closed.

    Attributes:
        share: of interests' and of click rates' variance, what attributes determine.
        impressions: new users' test rows.
        users: new users with test rows.
        base: the ranker alone.
        method: the method.
        ceiling: the ranker alone with new users' real behavior.
        attributes_only: boosted trees without behavior: what can be learned from attributes.
        best_from_attributes: the world's own `p_attributes`, over resampled users.
        best: the world's own `p_best`, over resampled users.
        gap_closed: (method - base) / (ceiling - base); NaN where there is no gap.
        reached: (method - base) / (attributes_only - base); NaN where the trees are not
            significantly above the base.
        reached_best: (method - base) / (p_attributes - base): of what attributes allow.
        r2: of virtual behavior, summed, against what was hidden, the mean over seeds.
        r2_ridge: the same of a ridge regression from one-hot attributes.
        difference: method - base.
        p_value: of no difference, over seeds and over users.
        direction: 1 or -1 where that is significant, else 0.
    """

    share: float
    impressions: int
    users: int
    base: Interval
    method: Interval
    ceiling: Interval
    attributes_only: Interval
    best_from_attributes: Interval
    best: Interval
    gap_closed: Interval
    reached: Interval
    reached_best: Interval
    r2: float
    r2_ridge: float
    difference: float
    p_value: float
    direction: int


@dataclass(frozen=True)
class ByAttributes:
    """The curve.

    Attributes:
        base: the ranker's name.
        method: the method's name.
        points: a world for each share.
    """

    base: str
    method: str
    points: tuple[WorldPoint, ...]


def by_attributes(
    out: Path,
    world: World,
    shares: Sequence[float],
    what: Method,
    training: Training,
    *,
    seeds: int,
    jobs: int,
    progress: ProgressFactory,
) -> ByAttributes:
    """Measure a world for each share, all else being equal; a point that is there stays.

    Raises:
        DataError: when `out` holds points of other worlds or settings, or a share is none.
        MethodError: for a method that makes no virtual behavior.
    """
    check_makes_behavior("by-attributes", what)
    points = tuple(
        _point(
            out / f"share-{share:g}",
            replace(world, interest_determined=share, rate_determined=share),
            what,
            training,
            seeds=seeds,
            jobs=jobs,
            progress=progress,
        )
        for share in shares
    )
    return ByAttributes(what.ranker_name, what.name, points)


def _point(
    folder: Path,
    world: World,
    what: Method,
    training: Training,
    *,
    seeds: int,
    jobs: int,
    progress: ProgressFactory,
) -> WorldPoint:
    kept = folder / "point.json"
    settings = {
        "world": asdict(world),
        "training": asdict(training),
        "method": method_facts(what),
        "seeds": seeds,
    }
    settings = json.loads(json.dumps(settings))
    if kept.exists():
        known = json.loads(kept.read_text())
        if known["settings"] != settings:
            raise DataError(f"{kept} was measured with other settings; choose another --out")
        if {*known["point"]} == {field.name for field in fields(WorldPoint)}:
            return _read(known["point"])
    found = compare(
        _dataset(folder, world),
        [what],
        out=folder / "runs",
        seeds=seeds,
        training=training,
        jobs=jobs,
        progress=progress,
    )
    point = _measured(world.interest_determined, found, what)
    aside = kept.with_name(".point.json.partial")
    aside.write_text(json.dumps({"settings": settings, "point": asdict(point)}))
    aside.rename(kept)
    return point


def _dataset(folder: Path, world: World) -> Dataset:
    """The world, drawn and prepared if it is not yet."""
    tables, prepared = folder / "tables", folder / "dataset"
    if not tables.exists():
        folder.mkdir(parents=True, exist_ok=True)
        simulate(world, tables)
    drawn = json.loads((tables / "world.json").read_text())
    if drawn != json.loads(json.dumps(asdict(world))):
        raise DataError(f"{tables} holds another world; choose another --out")
    if not prepared.exists():
        return prepare(schema(world), data=tables, out=prepared, new_users="strict")
    return Dataset.open(prepared)


def _measured(share: float, found: Comparison, what: Method) -> WorldPoint:
    lines = {line.kind if line.kind == CEILING else line.name: line for line in found.lines}
    cells = {name: line.cell(TASK, "new") for name, line in lines.items()}
    auc = {name: cell.auc for name, cell in cells.items()}
    base, own = what.ranker_name, what.name
    test, told = auc[own].test, lines[own].foretold
    return WorldPoint(
        share=share,
        impressions=cells[base].measures[0].impressions,
        users=cells[base].measures[0].users,
        base=auc[base].interval,
        method=auc[own].interval,
        ceiling=auc[CEILING].interval,
        attributes_only=auc[ATTRIBUTES_ONLY].interval,
        best_from_attributes=auc["p_attributes"].interval,
        best=auc["p_best"].interval,
        gap_closed=auc[own].gap_closed,
        reached=auc[own].reached,
        reached_best=_reached(auc[base], auc[own], auc["p_attributes"]),
        r2=float(np.mean([each.pooled for each in told])) if told else np.nan,
        r2_ridge=float(np.mean([each.ridge_pooled for each in told])) if told else np.nan,
        difference=auc[own].interval.mean - auc[base].interval.mean,
        p_value=test.p_value if test else np.nan,
        direction=auc[own].direction,
    )


def _reached(base: Figure, method: Figure, best: Figure) -> Interval:
    """The method's way as a share of what attributes allow, over seeds."""
    own = np.array(base.values)
    if best.interval.mean <= own.mean():
        return UNKNOWN
    return ratio_interval(np.array(method.values) - own, best.interval.mean - own)


def _read(plain: dict[str, Any]) -> WorldPoint:
    """Read what `asdict` gave."""
    values: dict[str, Any] = {
        k: Interval(**v) if isinstance(v, dict) else v for k, v in plain.items()
    }
    return WorldPoint(**values)
