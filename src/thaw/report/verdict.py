"""What a comparison shows, in a few plain sentences that never say more than the tests do."""

import math

from thaw.experiments.comparison import Comparison, Line
from thaw.experiments.references import ATTRIBUTES_ONLY
from thaw.report.changes import (
    LEVEL,
    against_other,
    is_level,
    is_unmoved,
    names,
    new_users,
    old_users,
    tested,
    with_interval,
)
from thaw.report.formats import fixed, p_phrase, percent, share
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
    told += new_users(challengers(comparison), task)
    told += [against_other(*each, task) for each in rivals_against(comparison).items()]
    told += old_users(challengers(comparison), task)
    return [sentence for sentence in told if sentence]


def _answers(comparison: Comparison, task: str) -> str:
    """Does it help new users, and does it cost old ones? In short, for each base with rivals."""
    compared = {line.base for line in challengers(comparison)}
    asked = [base for base in bases(comparison) if base.name in compared]
    best = [(base, winner(comparison, base, task)) for base in asked]
    told = [_helps(base, line, task) for base, line in best if line is not None]
    alone = [base for base, line in best if line is None]
    if alone:
        told.append(f"No method is shown to help new users beside {names(alone)}.")
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
    if is_unmoved(line, task, "old"):
        return f"Old users are ranked as by {line.base}."
    if any(tested(line, task, "old")):
        told = [
            f"{name} {with_interval(test)}"
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
            f"{names(cut)} had not stalled at the last of {limit} epochs: train longer "
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
    in_level = is_level(ceiling.cell(task, "new"), is_move=comparison.has_gap(base, task, "auc"))
    return " ".join([*told, f"The gap shown is {LEVEL}"] if in_level else told)


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
        return f" Of that, attributes bring {with_interval(test)}."
    return f" That attributes bring anything to them is not shown: {with_interval(test)}."


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
