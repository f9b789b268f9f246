"""What a comparison shows, in a few plain sentences that never say more than the tests do."""

import math

from thaw.experiments.comparison import Cell, Comparison, Figure, Line
from thaw.experiments.references import ATTRIBUTES_ONLY
from thaw.report.formats import fixed, p_phrase, percent, share, signed
from thaw.report.notes import gap_note, is_significant
from thaw.report.rows import (
    METRICS,
    bases,
    challengers,
    directions,
    figure,
    perhaps_better,
    rivals_against,
    winner,
)
from thaw.resampling import Statistic
from thaw.statistics import PairedTest

LEVEL = (
    "in AUC, which sees the level between users too; in GAUC, which sees the order within a user "
    "alone, none was shown."
)

ONE_SEED = (
    "One seed: the tests resample users and speak for these trained models, not for another seed."
)

SEVERAL_SEEDS = "Significant is what would show for other seeds and for other users at once."

ENOUGH_SEEDS = 5
"""Below so many, only a large difference can be told from chance."""


def verdict(comparison: Comparison) -> list[str]:
    """Say what helps new users and costs old ones; then what it rests on, gap and methods.

    Returns:
        Sentences, task by task; with several tasks each begins with the task's name.
    """
    sentences = []
    for task in comparison.tasks:
        label = f"{task}: " if len(comparison.tasks) > 1 else ""
        sentences += [label + sentence for sentence in task_verdict(comparison, task)]
    return [*sentences, *caveats(comparison)]


def task_verdict(comparison: Comparison, task: str) -> list[str]:
    """The sentences of one task."""
    told = [_answers(comparison, task)]
    told += [_gap(comparison, base, task) for base in bases(comparison)]
    told.append(_reachable(comparison, task))
    told += [_closest(comparison, base, task) for base in bases(comparison)]
    told += _new_users(challengers(comparison), task)
    told += [_against(*each, task) for each in rivals_against(comparison).items()]
    told += _old_users(challengers(comparison), task)
    return [sentence for sentence in told if sentence]


def _answers(comparison: Comparison, task: str) -> str:
    """Does it help new users, and does it cost old ones? In short, for each base with rivals."""
    compared = {line.base for line in challengers(comparison)}
    asked = [base for base in bases(comparison) if base.name in compared]
    best = [(base, winner(comparison, base, task)) for base in asked]
    told = [_helps(base, line, task) for base, line in best if line is not None]
    alone = [base for base, line in best if line is None]
    if alone:
        told.append(f"No method is shown to help new users beside {_names(alone)}.")
    if any(perhaps_better(comparison, base, task) for base in alone):
        told.append("What is significant for them below may be chance, of so many tests (Holm).")
    return " ".join(told)


def _helps(base: Line, best: Line, task: str) -> str:
    auc, gauc = directions(best, task, "new")
    (metric, name), (_, other) = METRICS if auc > 0 else reversed(METRICS)
    was, now = (
        fixed(figure(line.cell(task, "new"), metric).interval.mean) for line in (base, best)
    )
    worse = f", with a worse {other}" if -1 in (auc, gauc) else ""
    change = f"{name} {now} in the place of {was}{worse}"
    return f"{best.name} helps new users: {change}. {_cost(best, task)}"


def _cost(line: Line, task: str) -> str:
    """What one method costs old users, in short."""
    if -1 in directions(line, task, "old"):
        return "It costs old users something."
    if _is_unmoved(line, task):
        return f"Old users are ranked as by {line.base}."
    if any(_tested(line, task, "old")):
        told = [
            f"{name} {_with_interval(test)}"
            for metric, name in METRICS
            if (test := figure(line.cell(task, "old"), metric).test) is not None
        ]
        return f"No cost to old users is shown ({'; '.join(told)})."
    return "What it costs old users can't be tested."


def caveats(comparison: Comparison) -> list[str]:
    """What limits all of the verdict."""
    seeds = len(comparison.seeds)
    told = [ONE_SEED if seeds == 1 else SEVERAL_SEEDS]
    if 1 < seeds < ENOUGH_SEEDS:
        few = f"With {seeds} seeds only large differences can be told from chance"
        told.append(f"{few}: run {ENOUGH_SEEDS} or more before deciding on a small one.")
    cut = unfinished(comparison)
    if cut:
        limit = comparison.training.max_epochs
        told.append(
            f"{_names(cut)} had not stalled at the last of {limit} epochs: train longer "
            "(max_epochs) before comparing."
        )
    patience = comparison.training.patience
    asked = [run.more_patience(patience) for line in comparison.lines for run in line.runs]
    more = max((each for each in asked if each is not None), default=None)
    if more is not None:
        told.append(
            "Epochs are short: methods that learn slowly may be stopped too early by a patience "
            f"of {patience}. See whether --patience {more} changes the order."
        )
    return told


def unfinished(comparison: Comparison) -> list[Line]:
    """Which lines were stopped by the limit of epochs before validation had stalled."""
    limit, patience = comparison.training.max_epochs, comparison.training.patience
    return [
        line
        for line in comparison.lines
        if any(run.epochs == limit < run.best_epoch + 1 + patience for run in line.runs)
    ]


def _gap(comparison: Comparison, base: Line, task: str) -> str:
    ceiling = comparison.ceiling_of(base)
    if ceiling is None:
        known = f"rule {comparison.rule!r} leaves no ceiling for {base.name}"
        return f"Whether new users have a gap is not known: {known}."
    told = [
        gap_note(comparison, base, task, metric) or _lift(base, ceiling, task, metric, name)
        for metric, name in METRICS
    ]
    is_level = _is_level(ceiling.cell(task, "new"), is_move=comparison.has_gap(base, task, "auc"))
    return " ".join([*told, f"The gap shown is {LEVEL}"] if is_level else told)


def _lift(base: Line, ceiling: Line, task: str, metric: Statistic, name: str) -> str:
    low = figure(base.cell(task, "new"), metric).interval.mean
    high = figure(ceiling.cell(task, "new"), metric)
    p = p_phrase(high.test.p_value if high.test else math.nan)
    lift = f"would lift {base.name} from {fixed(low)} to {fixed(high.interval.mean)} ({p})"
    return f"New users have a gap in {name}: real behavior {lift}."


def _reachable(comparison: Comparison, task: str) -> str:
    """How much of the bases' gaps in AUC attributes can win back, where there are gaps."""
    reference = next((line for line in comparison.lines if line.name == ATTRIBUTES_ONLY), None)
    asked = [base for base in bases(comparison) if comparison.has_gap(base, task, "auc")]
    if reference is None or not asked:
        return ""
    best = reference.cell(task, "new").auc.interval.mean
    told = [_allowed(comparison, base, task, best) for base in asked]
    reach = f"Boosted trees without behavior reach {fixed(best)} in AUC: {'; '.join(told)}."
    return f"{reach}{_of_attributes(comparison, task)}"


def _of_attributes(comparison: Comparison, task: str) -> str:
    """What of that is the attributes', where the same trees were fitted without them."""
    pair = next((line for line in comparison.against if line.name == ATTRIBUTES_ONLY), None)
    test = pair.cell(task, "new").auc.test if pair is not None else None
    if test is None:
        return ""
    if is_significant(test.p_value):
        return f" Of that, attributes bring {_with_interval(test)}."
    return f" That attributes bring anything to them is not shown: {_with_interval(test)}."


def _allowed(comparison: Comparison, base: Line, task: str, best: float) -> str:
    """What attributes allow of one base's gap, in words that follow the test."""
    own, ceiling = base.cell(task, "new").auc, comparison.ceiling_of(base)
    assert ceiling is not None  # a gap is one to a ceiling
    test, low = own.allowed, own.interval.mean
    if test is None or not is_significant(test.p_value):
        p = p_phrase(test.p_value if test else math.nan)
        return f"not significantly other than {base.name} without behavior ({p})"
    if test.difference < 0:
        return f"below {base.name} without behavior, so little is left for virtual behavior to win"
    part = (best - low) / (ceiling.cell(task, "new").auc.interval.mean - low)
    if part > 1:
        return f"more than {base.name}'s whole gap can be won back without behavior"
    return f"{percent(part)} of {base.name}'s gap can be won back without behavior"


def _closest(comparison: Comparison, base: Line, task: str) -> str:
    """Who closes the gap, best first; worth a sentence where several methods try."""
    rivals = [line for line in challengers(comparison) if line.base == base.name]
    if len(rivals) < 2:
        return ""
    gaps = [(metric, name) for metric, name in METRICS if comparison.has_gap(base, task, metric)]
    told = [f"In {name}, {_winners(base, rivals, task, metric)}." for metric, name in gaps]
    return " ".join(told)


def _winners(base: Line, rivals: list[Line], task: str, metric: Statistic) -> str:
    found = [(line.name, figure(line.cell(task, "new"), metric)) for line in rivals]
    winners = [(name, this) for name, this in found if this.direction > 0]
    winners.sort(key=lambda pair: -pair[1].gap_closed.mean)
    named = [f"{name} {share(this.gap_closed)}" for name, this in winners]
    if not named:
        return f"no method closes {base.name}'s gap significantly"
    return f"of {base.name}'s gap close significantly: {', '.join(named)}"


def _new_users(lines: list[Line], task: str) -> list[str]:
    """What each method does for new users; where several do nothing, they share a sentence."""
    idle = [line for line in lines if _is_idle(line, task)]
    if len(idle) < 2:
        return [_new_users_of(line, task) for line in lines]
    told = [_new_users_of(line, task) for line in lines if line not in idle]
    return [*told, f"New users, no significant difference in AUC or GAUC: {_names(idle)}."]


def _against(other: str | None, rivals: list[Line], task: str) -> str:
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
    return f"New users, no significant difference to {other} in AUC or GAUC: {_names(rivals)}."


def _is_idle(line: Line, task: str) -> bool:
    """Whether both metrics are tested and neither differs significantly from the base."""
    return all(_tested(line, task, "new")) and not any(directions(line, task, "new"))


def _new_users_of(line: Line, task: str) -> str:
    cell = line.cell(task, "new")
    told = f"New users, {_against_base(line, task, 'new')}"
    is_level = _is_level(cell, is_move=cell.auc.direction != 0)
    return f"{told} The change shown is {LEVEL}" if is_level else told


def _is_level(cell: Cell, *, is_move: bool) -> bool:
    """Whether AUC moved and GAUC, as far as its test can tell, did not."""
    return is_move and _is_tested(cell.gauc) and cell.gauc.direction == 0


def _old_users(lines: list[Line], task: str) -> list[str]:
    """Which methods cost the old users something, each in full; the others by their names."""
    payers = [line for line in lines if -1 in directions(line, task, "old")]
    spared = [line for line in lines if line not in payers and any(_tested(line, task, "old"))]
    untested = [line for line in lines if not any(_tested(line, task, "old"))]
    unmoved = [line for line in untested if _is_unmoved(line, task)]
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
        told.append(f"Old users are ranked as by the base alone with {_names(unmoved)}.")
    if unknown:
        told.append(f"Whether old users pay can't be tested for {_names(unknown)}.")
    return told


def _at_worst(line: Line, task: str) -> str:
    test = line.cell(task, "old").auc.test
    return signed(test.low if test else math.nan)


def _is_unmoved(line: Line, task: str) -> bool:
    """Whether old users have the base's figures, seed by seed."""
    figures = [figure(line.cell(task, "old"), metric) for metric, _ in METRICS]
    return all(each.test is not None and each.test.difference == 0 for each in figures)


def _names(lines: list[Line]) -> str:
    return ", ".join(line.name for line in lines)


def _tested(line: Line, task: str, segment: str) -> list[bool]:
    return [_is_tested(figure(line.cell(task, segment), metric)) for metric, _ in METRICS]


def _against_base(line: Line, task: str, segment: str) -> str:
    cell = line.cell(task, segment)
    changes = "; ".join(_change(figure(cell, metric), name) for metric, name in METRICS)
    return f"{line.name} against {line.base}: {changes}."


def _change(this: Figure, name: str) -> str:
    """What one paired test shows, in words that follow its p-value alone."""
    if this.test is None or not _is_tested(this):
        return f"{name} can't be tested"
    direction = this.direction
    word = {1: "significantly better", -1: "significantly worse", 0: "no significant difference"}
    told = [signed(this.test.difference), p_phrase(this.test.p_value)]
    if direction > 0 and not math.isnan(this.gap_closed.mean):
        told.append(f"{share(this.gap_closed)} of the gap")
    return f"{word[direction]} in {name} ({', '.join(told)})"


def _with_interval(test: PairedTest) -> str:
    """A difference with its interval and p-value, as far as they are known."""
    if math.isnan(test.p_value):
        return signed(test.difference)
    bounds = f"95 %: {signed(test.low)} to {signed(test.high)}"
    return f"{signed(test.difference)}, {bounds}, {p_phrase(test.p_value)}"


def _is_tested(this: Figure) -> bool:
    return this.test is not None and not math.isnan(this.test.p_value)
