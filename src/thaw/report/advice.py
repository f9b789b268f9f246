"""What to do after a comparison: a sentence for each ranker, which follows from the tests alone."""

import math

from thaw.experiments.comparison import Comparison, Line
from thaw.experiments.references import ATTRIBUTES_ONLY, NO_ATTRIBUTES
from thaw.methods import METHODS, Lookalikes, method
from thaw.methods.method import DROPOUT, MACHINE, plain_name
from thaw.report.formats import fixed
from thaw.report.notes import SIMULATED, is_significant
from thaw.report.rows import METRICS, bases, challengers, directions, perhaps_better, winner
from thaw.report.verdict import ENOUGH_SEEDS, unfinished

BASE = "{base}"
"""Stands for the names of the bases of which a sentence tells."""


def advice(comparison: Comparison) -> list[str]:
    """Say what to do next about new users.

    Returns:
        Sentences; bases of which the same is to be said share one. With several tasks each begins
        with the task's name.
    """
    told: dict[str, list[str]] = {}
    for task in comparison.tasks:
        label = f"{task}: " if len(comparison.tasks) > 1 else ""
        for base in bases(comparison):
            told.setdefault(label + _next(comparison, base, task), []).append(base.name)
    return [sentence.replace(BASE, ", ".join(names)) for sentence, names in told.items()]


def _next(comparison: Comparison, base: Line, task: str) -> str:
    """What to do about one base, which stands as BASE where others may stand beside it."""
    first = _unready(comparison, base, task)
    if first:
        return first
    best = winner(comparison, base, task)
    if best is not None:
        told = _take(best, task, is_sure=len(comparison.seeds) >= ENOUGH_SEEDS)
        return f"{told}{_not_shown_above(comparison, best, task)}"
    if len(comparison.seeds) < ENOUGH_SEEDS:
        return (
            f"Run {ENOUGH_SEEDS} seeds or more: with fewer only large differences show, and none "
            f"for new users did beside {BASE}."
        )
    perhaps = perhaps_better(comparison, base, task)
    if perhaps:
        names = ", ".join(line.name for line in perhaps)
        seed = comparison.seeds[-1] + 1
        return (
            f"Compare {names} with {BASE} alone, on other seeds (--seed {seed}): of so many tests "
            "what is significant may be chance."
        )
    if comparison.ceiling_of(base) is None:
        return (
            f"What new users miss under {BASE} is not known: compare under the rule 'strict' too, "
            "which hides the behavior of some users and shows it to a ceiling."
        )
    if not any(comparison.has_gap(base, task, metric) for metric, _ in METRICS):
        return f"Nothing to do for new users beside {BASE}: no gap was shown."
    untried = _untried(comparison, base)
    says_little = _says_little(comparison, base, task)
    if says_little:  # what is trained for attributes may cost there, what is fitted does not
        untried = [name for name in untried if not method(name).mail and DROPOUT not in name]
    if untried:
        return f"Not tried yet beside {BASE}: {', '.join(untried)}."
    if says_little:
        return (
            "Look for better attributes of new users before another method: those at hand don't "
            f"significantly lift even boosted trees above {BASE}."
        )
    return f"Nothing that was tried beside {BASE} wins for new users: stay with what you have."


def _unready(comparison: Comparison, base: Line, task: str) -> str:
    """What comes before any decision about new users; empty where nothing does."""
    if any(base.name in (line.name, line.base) for line in unfinished(comparison)):
        return f"Train longer (max_epochs) before you decide what to do beside {BASE}."
    trees = base.cell(task, "old").auc.allowed
    if trees is not None and is_significant(trees.p_value) and trees.difference > 0:
        return (
            f"Look at the training of {BASE} first: with their behavior in sight old users are "
            "ranked below what boosted trees make of attributes alone."
        )
    known = (line for line in comparison.lines if line.kind == "reference")
    # Trees are the mark of what attributes allow, and nobody serves a simulated world's truth.
    declared = [
        line
        for line in known
        if line.name not in {ATTRIBUTES_ONLY, NO_ATTRIBUTES, *SIMULATED}
        and _rows(line, task) == _rows(base, task)
    ]
    tried = [base, *(line for line in challengers(comparison) if line.base == base.name)]
    better = [line.name for line in declared if _is_above(line, tried, task)]
    if better:
        return (
            f"Look at {', '.join(better)} first: new users are ranked better by it than by {BASE} "
            "and all that was tried beside it. Rank them by it, or find out what it knows."
        )
    return ""


def _rows(line: Line, task: str) -> int:
    """How many rows of new users a line was measured on."""
    return line.cell(task, "new").measures[0].impressions


def _is_above(reference: Line, lines: list[Line], task: str) -> bool:
    """Whether a reference's AUC is above those of all lines, with no interval overlapping."""
    low = reference.cell(task, "new").auc.interval.low
    return all(low > line.cell(task, "new").auc.interval.high for line in lines)


def _take(line: Line, task: str, *, is_sure: bool) -> str:
    """What to do with a method that wins something for new users."""
    auc, gauc = directions(line, task, "new")
    is_dear = -1 in directions(line, task, "old")
    if -1 in (auc, gauc):
        better, worse = ("AUC", "GAUC") if auc > 0 else ("GAUC", "AUC")
        use = {
            "AUC": "where users are compared with each other, as in bids and thresholds",
            "GAUC": "where each user sees an ordered list",
        }
        return (
            f"{line.name} gives new users a better {better} and a worse {worse}: take it "
            f"{use[better]}, and stay with {line.base} {use[worse]}"
            f"{', and for old users, who pay' if is_dear else ''}."
        )
    if is_dear:
        return (
            f"{line.name} wins for new users and costs old ones: rank the new by {line.name} and "
            f"the old by {line.base}."
        )
    then = f"{line.name} in the place of {line.base} on a share of real users."
    if not is_sure:
        return f"Run {ENOUGH_SEEDS} seeds or more. If it wins again, try {then}"
    first = f"Try {then}"
    can_fill = line.foretold or line.name.endswith(MACHINE)
    if not can_fill or plain_name(line.name) not in METHODS:
        return first
    asked = "thaw evaluate RUN --fill-below auto"
    return f"{first} Before, ask below how many events users should be treated as new: {asked}."


def _not_shown_above(comparison: Comparison, best: Line, task: str) -> str:
    """Who is above a simpler method by a difference that is not significant."""
    tested = [each for each in comparison.against if each.has_to_win and each.base == best.name]
    figures = [(line.name, line.cell(task, "new").auc) for line in tested]
    above = [
        (this.test.difference, name)
        for name, this in figures
        if this.test is not None and this.direction == 0
    ]
    most, name = max(above, default=(0.0, ""))
    return f" {name} is {fixed(most)} above it in AUC, which is not shown." if most > 0 else ""


def _untried(comparison: Comparison, base: Line) -> list[str]:
    """The methods that are made for the same ranker and were not compared."""
    if base.name not in METHODS:
        return []
    own = {name: m for name, m in METHODS.items() if m.ranker == METHODS[base.name].ranker}
    mail = [name for name, each in own.items() if each.mail][:1]
    alike = [name for name, each in own.items() if isinstance(each.after, Lookalikes)]
    both = [f"{name}{suffix}" for name in mail for suffix in (DROPOUT, f"{DROPOUT}{MACHINE}")]
    usual = [f"{base.name}{DROPOUT}", f"{base.name}{MACHINE}", *alike, *mail, *both]
    there = {line.name for line in comparison.lines}
    return [name for name in usual if name not in there]


def _says_little(comparison: Comparison, base: Line, task: str) -> bool:
    """Whether what attributes allow was asked, and is not shown to be above the base."""
    if all(line.name != ATTRIBUTES_ONLY for line in comparison.lines):
        return False
    test = base.cell(task, "new").auc.allowed
    p = test.p_value if test else math.nan
    return test is None or not is_significant(p) or test.difference < 0
