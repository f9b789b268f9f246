"""What a comparison shows, in a few plain sentences that never say more than the tests do."""

import math

from thaw.experiments.compare import Comparison, Figure, Line
from thaw.report.formats import fixed, p_phrase, percent, signed
from thaw.report.notes import gap_note, is_significant
from thaw.report.rows import METRICS, bases, ceiling_of, challengers, figure
from thaw.statistics import Statistic

LEVEL = "in the level between users (calibration), not in the order within a user."


def verdict(comparison: Comparison) -> list[str]:
    """Say whether new users have a gap, which method closes it, and what old users pay.

    Returns:
        Sentences, task by task; with several tasks each begins with the task's name.
    """
    sentences = []
    for task in comparison.tasks:
        told = [_gap(comparison, base, task) for base in bases(comparison)]
        told += [_closest(comparison, base, task) for base in bases(comparison)]
        for line in challengers(comparison):
            told += [_new_users(line, task), _old_users(line, task)]
        label = f"{task}: " if len(comparison.tasks) > 1 else ""
        sentences += [label + sentence for sentence in told if sentence]
    return [*sentences, *_caveats(comparison)]


def _gap(comparison: Comparison, base: Line, task: str) -> str:
    ceiling = ceiling_of(comparison, base)
    if ceiling is None:
        return f"Whether new users have a gap is not known: rule {comparison.rule!r} leaves no ceiling for {base.name}."  # fmt: skip
    told = [
        gap_note(comparison, base, task, metric) or _lift(base, ceiling, task, metric, name)
        for metric, name in METRICS
    ]
    is_level = comparison.has_gap(base, task, "auc") and not comparison.has_gap(base, task, "gauc")
    return " ".join([*told, f"The gap shown is {LEVEL}"] if is_level else told)


def _lift(base: Line, ceiling: Line, task: str, metric: Statistic, name: str) -> str:
    low = figure(base.cell(task, "new"), metric).interval.mean
    high = figure(ceiling.cell(task, "new"), metric)
    p = p_phrase(high.test.p_value if high.test else math.nan)
    return f"New users have a gap in {name}: real behavior would lift {base.name} from {fixed(low)} to {fixed(high.interval.mean)} ({p})."  # fmt: skip


def _closest(comparison: Comparison, base: Line, task: str) -> str:
    """Who closes the gap, best first; worth a sentence where several methods try."""
    rivals = [line for line in challengers(comparison) if line.base == base.name]
    if len(rivals) == 1:
        return ""
    gaps = [(metric, name) for metric, name in METRICS if comparison.has_gap(base, task, metric)]
    told = [f"In {name}, {_winners(rivals, task, metric)}." for metric, name in gaps]
    return " ".join(told)


def _winners(rivals: list[Line], task: str, metric: Statistic) -> str:
    found = [(line.name, figure(line.cell(task, "new"), metric)) for line in rivals]
    winners = [(name, this) for name, this in found if _direction(this) > 0]
    winners.sort(key=lambda pair: -pair[1].gap_closed)
    named = [f"{name} {percent(this.gap_closed)}" for name, this in winners]
    return f"of the gap close significantly: {', '.join(named)}" if named else "no method closes the gap significantly"  # fmt: skip


def _new_users(line: Line, task: str) -> str:
    cell = line.cell(task, "new")
    is_level = _direction(cell.auc) != 0 and _is_tested(cell.gauc) and _direction(cell.gauc) == 0
    told = _against_base(line, task, "new")
    return f"{told} The change shown is {LEVEL}" if is_level else told


def _old_users(line: Line, task: str) -> str:
    cell = line.cell(task, "old")
    told = _against_base(line, task, "old")
    is_drop = _direction(cell.auc) < 0 or _direction(cell.gauc) < 0
    return f"{told} So it costs the old users." if is_drop else told


def _against_base(line: Line, task: str, segment: str) -> str:
    cell = line.cell(task, segment)
    changes = "; ".join(_change(figure(cell, metric), name) for metric, name in METRICS)
    return f"{line.name} against {line.base}, {segment} users: {changes}."


def _change(this: Figure, name: str) -> str:
    """What one paired test shows, in words that follow its p-value alone."""
    if this.test is None or not _is_tested(this):
        return f"{name} can't be tested"
    direction = _direction(this)
    word = {1: "significantly better", -1: "significantly worse", 0: "no significant difference"}
    told = [signed(this.test.difference), p_phrase(this.test.p_value)]
    if direction > 0 and not math.isnan(this.gap_closed):
        told.append(f"{percent(this.gap_closed)} of the gap")
    return f"{word[direction]} in {name} ({', '.join(told)})"


def _is_tested(this: Figure) -> bool:
    return this.test is not None and not math.isnan(this.test.p_value)


def _direction(this: Figure) -> int:
    """1 or -1 for a significant rise or drop against the base, else 0."""
    if this.test is None or not is_significant(this.test.p_value):
        return 0
    return 1 if this.test.difference > 0 else -1


def _caveats(comparison: Comparison) -> list[str]:
    if len(comparison.seeds) > 1:
        return []
    return ["One seed: these tests resample users and speak for the trained models, not for another seed."]  # fmt: skip
