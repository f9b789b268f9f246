"""What a comparison says of each method: for new users, against another line, for old users."""

import math

from thaw.experiments.comparison import Cell, Figure, Line
from thaw.report.formats import p_phrase, share, signed
from thaw.report.rows import METRICS, directions, figure
from thaw.statistics import PairedTest

MANY = 3
"""Of more methods than these a sentence each is no summary."""

LEVEL = (
    "in AUC, which sees the level between users too; in GAUC, which sees the order within a user "
    "alone, none was shown."
)


def new_users(lines: list[Line], task: str) -> list[str]:
    """What each method does for new users.

    Those that do nothing share a sentence, and where many do something, those that do the same.
    """
    idle = [line for line in lines if _is_idle(line, task)]
    idle = idle if len(idle) > 1 else []
    unmoved = [line for line in lines if is_unmoved(line, task, "new")]
    moved = [line for line in lines if line not in (*idle, *unmoved)]
    if len(moved) > MANY:
        told = _in_groups(moved, task)
    else:
        told = [_new_users_of(line, task) for line in moved]
    if idle:
        told.append(f"New users, no significant difference in AUC or GAUC: {names(idle)}.")
    if unmoved:
        told.append(f"New users are ranked as by the base alone with {names(unmoved)}.")
    return told


def _in_groups(lines: list[Line], task: str) -> list[str]:
    """The names of those that move alike; by how much, the tables say."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        cell = line.cell(task, "new")
        in_auc, in_gauc = (_direction(figure(cell, metric)) for metric, _ in METRICS)
        told = f"{in_auc} AUC and GAUC" if in_auc == in_gauc else f"{in_auc} AUC; {in_gauc} GAUC"
        groups.setdefault(told, []).append(line)
    return [f"New users, {told}: {names(alike)}." for told, alike in groups.items()]


def against_other(other: str | None, rivals: list[Line], task: str) -> str:
    """Who is better or worse for new users than a line that is not their base, in short."""
    words = {1: "better", -1: "worse"}
    told = []
    for metric, name in METRICS:
        found = [(line, figure(line.cell(task, "new"), metric)) for line in rivals]
        for direction, word in words.items():
            named = ", ".join(
                f"{line.name} ({signed(this.test.difference)})"
                for line, this in found
                if this.direction == direction and this.test is not None
            )
            told += [f"{name} is significantly {word} with {named}"] if named else []
    if told:
        return f"New users, against {other}: {'; '.join(told)}."
    return f"New users, no significant difference to {other} in AUC or GAUC: {names(rivals)}."


def _is_idle(line: Line, task: str) -> bool:
    """Whether both metrics are tested and neither differs significantly from the base."""
    return all(tested(line, task, "new")) and not any(directions(line, task, "new"))


def _new_users_of(line: Line, task: str) -> str:
    cell = line.cell(task, "new")
    told = f"New users, {_against_base(line, task, 'new')}"
    in_level = is_level(cell, is_move=cell.auc.direction != 0)
    return f"{told} The change shown is {LEVEL}" if in_level else told


def is_level(cell: Cell, *, is_move: bool) -> bool:
    """Whether AUC moved and GAUC, as far as its test can tell, did not."""
    return is_move and _is_tested(cell.gauc) and cell.gauc.direction == 0


def old_users(lines: list[Line], task: str) -> list[str]:
    """Which methods cost the old users something, each in full; the others by their names."""
    payers = [line for line in lines if -1 in directions(line, task, "old")]
    spared = [line for line in lines if line not in payers and any(tested(line, task, "old"))]
    untested = [line for line in lines if not any(tested(line, task, "old"))]
    unmoved = [line for line in untested if is_unmoved(line, task, "old")]
    unknown = [line for line in untested if line not in unmoved]
    told = [f"Old users pay with {_against_base(line, task, 'old')}" for line in payers]
    if len(spared) == 1:
        change = _against_base(spared[0], task, "old")
        told.append(f"No significant drop for old users with {change}")
    elif spared:
        named = ", ".join(f"{line.name} ({_at_worst(line, task)})" for line in spared)
        told.append(
            f"No significant drop for old users' AUC or GAUC; AUC at worst (95 %): {named}."
        )
    if unmoved:
        told.append(f"Old users are ranked as by the base alone with {names(unmoved)}.")
    if unknown:
        told.append(f"Whether old users pay can't be tested for {names(unknown)}.")
    return told


def _at_worst(line: Line, task: str) -> str:
    test = line.cell(task, "old").auc.test
    return signed(test.low if test else math.nan)


def is_unmoved(line: Line, task: str, segment: str) -> bool:
    """Whether a segment's users have the base's figures, seed by seed."""
    return all(_is_same(figure(line.cell(task, segment), metric)) for metric, _ in METRICS)


def names(lines: list[Line]) -> str:
    """Several lines' names, with commas between."""
    return ", ".join(line.name for line in lines)


def tested(line: Line, task: str, segment: str) -> list[bool]:
    """For AUC and for GAUC, whether the difference to the base could be tested."""
    return [_is_tested(figure(line.cell(task, segment), metric)) for metric, _ in METRICS]


def _against_base(line: Line, task: str, segment: str) -> str:
    cell = line.cell(task, segment)
    changes = "; ".join(_change(figure(cell, metric), name) for metric, name in METRICS)
    return f"{line.name} against {line.base}: {changes}."


def _change(this: Figure, name: str) -> str:
    """What one paired test shows, in words that follow its p-value alone."""
    if this.test is None or not _is_tested(this):
        return f"the same {name}" if _is_same(this) else f"{name} can't be tested"
    told = [signed(this.test.difference), p_phrase(this.test.p_value)]
    if this.direction > 0 and not math.isnan(this.gap_closed.mean):
        told.append(f"{share(this.gap_closed)} of the gap")
    return f"{_direction(this)} {name} ({', '.join(told)})"


def _direction(this: Figure) -> str:
    """What a test shows, as words before a metric's name."""
    if not _is_tested(this):
        return "the same" if _is_same(this) else "no test of"
    return {
        1: "significantly better in",
        -1: "significantly worse in",
        0: "no significant difference in",
    }[this.direction]


def with_interval(test: PairedTest) -> str:
    """A difference with its interval and p-value, as far as they are known."""
    if math.isnan(test.p_value):
        return signed(test.difference)
    bounds = f"95 %: {signed(test.low)} to {signed(test.high)}"
    return f"{signed(test.difference)}, {bounds}, {p_phrase(test.p_value)}"


def _is_same(this: Figure) -> bool:
    """Whether it is the base's, which leaves nothing to test."""
    return this.test is not None and not _is_tested(this) and this.test.difference == 0


def _is_tested(this: Figure) -> bool:
    return this.test is not None and not math.isnan(this.test.p_value)
