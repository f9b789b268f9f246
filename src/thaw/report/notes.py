"""The sentences around a report's tables: what the numbers rest on and how to read them."""

import math

from thaw.experiments.comparison import SIGNIFICANT, Comparison, Line
from thaw.experiments.measures import Measures, conditional_name
from thaw.experiments.references import ATTRIBUTES_ONLY, LIGHTFM, NO_ATTRIBUTES
from thaw.report.formats import DASH, count, p_phrase, percent
from thaw.report.rows import METRICS, bases, challengers, figure
from thaw.resampling import Statistic

RULES = {
    "paper": "a random share of all users lost its behavior, in training and test alike; "
    "attributes and impressions stay",
    "strict": "a random share of all users lost its behavior; their impressions are out of "
    "training and their id is unknown at test",
    "natural": "whoever has no behavior before the impression; nothing is hidden",
    "column": "the users marked in a column of the users table lost their behavior",
}

SIMULATED = {
    "p_attributes": "the best reachable for clicks from attributes alone",
    "p_best": "the best reachable for clicks by who knows the true interests",
}
"""What the references of the simulated worlds are."""

OWN = {
    ATTRIBUTES_ONLY: "boosted trees on attributes, context and item, without behavior",
    NO_ATTRIBUTES: "the same trees on context and item alone",
    LIGHTFM: "LightFM with features of users and items, without behavior",
}
"""What the references are that thaw makes itself."""

UNDEFINED = (
    "no such number: a base and a reference are compared with nothing; GAUC needs users with both "
    "labels; p needs differences that vary, and intervals and p over users ten users"
)

TRAINING_NOTE = "Means over seeds; seconds and rows/s are those of the machine that trained."


def segment_note(comparison: Comparison, task: str, segment: str) -> str:
    """How many impressions and users a table rests on."""
    found = _measures(comparison.lines[0], task, segment)
    if found.impressions == 0:
        return "No impressions."
    note = f"{count(found.impressions)} impressions of {count(found.users)} users."
    if math.isnan(found.auc):
        return f"{note} All have the same label, so AUC and GAUC are undefined."
    kept = percent(found.kept_share)
    return f"{note} GAUC keeps {kept} of the users: those with both labels among their impressions."


def partial_notes(comparison: Comparison, task: str, segment: str) -> list[str]:
    """Which references rest on fewer impressions than the methods do."""
    whole = _measures(comparison.lines[0], task, segment).impressions
    found = [
        (line.name, _measures(line, task, segment).impressions)
        for line in comparison.lines
        if line.kind == "reference"
    ]
    return [
        f"{name} has scores for {count(rows)} of these impressions; its row rests on them alone."
        for name, rows in found
        if rows < whole
    ]


def gap_notes(comparison: Comparison, task: str) -> list[str]:
    """Why there is no gap to close for new users, for each base and metric without one."""
    every = [(base, metric) for base in bases(comparison) for metric, _ in METRICS]
    notes = [gap_note(comparison, base, task, metric) for base, metric in every]
    return [note for note in notes if note]


def gap_note(comparison: Comparison, base: Line, task: str, metric: Statistic) -> str:
    """Why a base has no gap to close in a metric; empty where it has one, or has no ceiling."""
    ceiling = comparison.ceiling_of(base)
    if ceiling is None or comparison.has_gap(base, task, metric):
        return ""
    test = figure(ceiling.cell(task, "new"), metric).test
    name = dict(METRICS)[metric]
    if test is None or math.isnan(test.p_value):
        return f"No gap shows in {name}: the ceiling can't be tested against {base.name}."
    p = p_phrase(test.p_value)
    if is_significant(test.p_value) and test.difference < 0:
        hurts = f"real behavior hurts {base.name} there"
        return f"No gap to close in {name}: {hurts}, the ceiling is significantly below it ({p})."
    return f"No gap shows in {name}: the ceiling is not significantly above {base.name} ({p})."


def legend(comparison: Comparison) -> list[tuple[str, str]]:
    """How to read the tables: pairs of a word and its explanation."""
    is_single = len(comparison.seeds) == 1
    rule = RULES.get(comparison.rule, "as the schema says")
    if comparison.rule != "natural":
        rule += "; new is also whoever has no behavior before the impression"
    return [
        ("new users", f"{rule} (rule {comparison.rule!r})"),
        ("seed" if is_single else "seeds", ", ".join(map(str, comparison.seeds))),
        ("±", _over_users() if is_single else _over_seeds(len(comparison.seeds))),
        *_conditionals(comparison),
        *_bases(comparison),
        ("RI %", "improvement over the base in percent of the base's value (Eq. 18)"),
        ("p", _test(is_single)),
        *_gap(comparison),
        ("calib.", "calibration: predicted over observed labels 1, at best 1"),
        ("bold", "the best of the methods in its column, significant or not"),
        *_references(comparison),
        (DASH, UNDEFINED),
    ]


def is_significant(p: float) -> bool:
    """Whether a p-value is below the level of the comparison; NaN is not."""
    return p < SIGNIFICANT


def _measures(line: Line, task: str, segment: str) -> Measures:
    return line.cell(task, segment).measures[0]


def _over_seeds(seeds: int) -> str:
    return f"half of the mean's 95 % interval, by Student's t over {seeds} seeds"


def _over_users() -> str:
    return (
        "half of the 95 % interval, by bootstrap over users; with one seed nothing is known of "
        "what another seed would give"
    )


def _test(is_single: bool) -> str:
    over_users = "by a paired bootstrap over users"
    over_seeds = (
        "the larger of two p-values against the base: of a t-test paired by seed, and of a test "
        f"for other seeds and other users at once, whose variance over users is {over_users}"
    )
    how = f"against the base, {over_users}" if is_single else over_seeds
    level = f"significant below {SIGNIFICANT}"
    return f"{how}; {level}, not adjusted for the number of methods"


def _bases(comparison: Comparison) -> list[tuple[str, str]]:
    """Whose base is which, where there are several."""
    found = bases(comparison)
    if len(found) < 2:
        return []
    rivals = {
        base.name: [line.name for line in challengers(comparison) if line.base == base.name]
        for base in found
    }
    told = [f"{', '.join(names)} against {base}" for base, names in rivals.items() if names]
    return [("base", "; ".join(["each method's own ranker alone", *told]))]


def _conditionals(comparison: Comparison) -> list[tuple[str, str]]:
    """What is measured on another task's rows alone."""
    pairs = [(task, given) for task in comparison.tasks for given in comparison.tasks]
    return [
        (
            conditional_name(task, given),
            f"the probability of {task} over that of {given}, at most 1, on the impressions whose "
            f"label {given} is 1; {task} itself counts all impressions",
        )
        for task, given in pairs
        if conditional_name(task, given) in comparison.tasks
    ]


def _gap(comparison: Comparison) -> list[tuple[str, str]]:
    if not any(comparison.ceiling_of(base) for base in bases(comparison)):
        return [("gap closed", f"not known: rule {comparison.rule!r} leaves no ceiling")]
    share = "(method - base) / (ceiling - base), where the ceiling is significantly above the base"
    return [("ceiling", "the base with new users' real behavior"), ("gap closed", share)]


def _references(comparison: Comparison) -> list[tuple[str, str]]:
    names = [line.name for line in comparison.lines if line.kind == "reference"]
    if not names:
        return []
    known = OWN | (SIMULATED if comparison.dataset in ("simulated", "industrial") else {})
    told = [(name, f"reference: {known[name]}") for name in names if name in known]
    others = [name for name in names if name not in known]
    if others:
        told.append((", ".join(others), "reference: another system's scores"))
    is_single = any(
        line.kind == "reference" and len(line.cells[0].auc.values) < len(comparison.seeds)
        for line in comparison.lines
    )
    own = "references from the data have one set of scores: their ± is by bootstrap over users"
    return [*told, ("", own)] if is_single else told
