"""The pages of Figures 4, 5 and 6: training losses, and clouds of users."""

import math
from collections.abc import Sequence

import numpy as np

from thaw.experiments.comparison import SIGNIFICANT, Line
from thaw.experiments.falls import EARLY, Fall, falls
from thaw.experiments.pictures import SPACES, Pair, Sample
from thaw.report.about import About
from thaw.report.figures import LOSS_NAMES, loss_panels, smoothing_window
from thaw.report.formats import count, fixed, p_phrase, p_value, percent
from thaw.report.grid import Grid
from thaw.report.scatter import cloud_panel
from thaw.report.sheet import Part, Sheet

Pairs = tuple[tuple[str, str], ...]


def loss_sheet(line: Line, given: About, rule: tuple[str, str]) -> Sheet:
    """Return the page of Figure 4."""
    window = smoothing_window(line)
    found = falls(line.runs, window)
    steps = ", ".join(count(len(run.losses)) for run in line.runs)
    part = Part(
        "The four training losses",
        tuple(loss_panels(line)),
        f"One line a seed, against steps; a moving average over {window} steps. Each panel has its "
        "own scale.",
        Grid(
            ("loss", "first", f"step {EARLY}", "last", f"done by {EARLY}", "last tenth", "at last"),
            tuple(_fall_row(each) for each in found),
        ),
    )
    legend = (
        rule,
        ("first, last", f"the mean over the first and over the last {window} steps; over seeds"),
        (f"step {EARLY}", f"the mean over the {window} steps that end there"),
        (
            f"done by {EARLY}",
            f"the share of the fall from first to last that step {EARLY} has seen",
        ),
        ("last tenth", "the mean over the last tenth of the steps against the tenth before it"),
        ("at last", "whether that is a fall, or a rise, of more than 1 % on every seed"),
        ("steps", f"{steps} by seed; training stops when validation AUC no longer rises"),
    )
    return Sheet(
        f"{given.data}: the training losses (Figure 4)",
        f"{given.method}, {given.seeds_told}",
        _loss_verdict(found, given),
        (part,),
        legend,
        given.facts,
        given.settings,
    )


def figure_5_sheet(
    pairs: Sequence[Pair], given: About, rule: tuple[str, str], sample: Sample
) -> Sheet:
    """Return the page of Figure 5."""
    caption = (
        "Each point is a user, twice: behavior as the tower generates it from the attributes, and "
        "as it was. t-SNE of both clouds together; distances on it mean little, and its axes "
        "nothing. Drawn is the sum over events, as BaseDNN sees behavior, of the first seed's run."
    )
    return _cloud_sheet(
        f"{given.data}: generated and real behavior (Figure 5)", pairs, given, rule, sample, caption
    )


def figure_6_sheet(
    pairs: Sequence[Pair], given: About, rule: tuple[str, str], sample: Sample
) -> Sheet:
    """Return the page of Figure 6."""
    caption = (
        "Each point is a user. Left: the attribute-side hidden features p, of new and of old users "
        "(section 4.4.2 writes h_s^a and h_o^v, and means the attributes of both). Right: the "
        "behavior that the tower generates for new and for old users, summed over events. t-SNE of "
        "both clouds together; distances on it mean little, and its axes nothing. Drawn is the "
        "first seed's run."
    )
    return _cloud_sheet(
        f"{given.data}: new and old users (Figure 6)", pairs, given, rule, sample, caption
    )


def _cloud_sheet(
    title: str,
    pairs: Sequence[Pair],
    given: About,
    rule: tuple[str, str],
    sample: Sample,
    caption: str,
) -> Sheet:
    drawn = [pair for pair in pairs if pair.plane is not None]
    first, second = pairs[0].names
    grid = Grid(
        ("clouds", "seed", "points", "MMD²", "width", "p", "mixed", first, second, "spread"),
        tuple(_cloud_row(pair) for pair in pairs),
    )
    part = Part("Pictures and numbers", tuple(map(cloud_panel, drawn)), caption, grid)
    return Sheet(
        title,
        f"{given.method}, {given.seeds_told}; {sample.most:,} users of each kind at most",
        tuple(_cloud_verdict(pair, pairs) for pair in drawn),
        (part,),
        (rule, *_cloud_legend(pairs[0], sample)),
        given.facts,
        given.settings,
    )


def _cloud_legend(pair: Pair, sample: Sample) -> Pairs:
    first, second = pair.names
    dealt = (
        "a permutation swaps the two points of users at random, for both clouds are of the same "
        "users"
        if pair.apart.is_paired
        else "a permutation deals all points to the two clouds anew"
    )
    return (
        ("numbers", "measured in the original space, in all dimensions; never on the plane"),
        ("MMD²", "mean kernel within each cloud, less twice that between them; 0 for equal clouds"),
        ("width", "sigma of the Gaussian kernel: the median of all distances above 0"),
        (
            "p",
            f"(1 + permutations that reach this MMD²) / (1 + {pair.apart.permutations}); {dealt}",
        ),
        (
            "mixed",
            f"of a point's {pair.apart.neighbours} nearest neighbours, the share from the other "
            "cloud over what chance would give; 1 is fully mixed, 0 is apart",
        ),
        (f"{first}, {second}", "the same for the points of that cloud alone"),
        ("spread", f"total variance of {first} over that of {second}"),
        *(_POOLED if pair.apart.is_paired else ()),
        (
            "users",
            f"at most {sample.most:,} old and {sample.most:,} new ones, drawn with seed "
            f"{sample.seed} from the test split; each as its last test row shows it",
        ),
    )


_POOLED = (
    ("sum, mean", "of a user's events. The tower reconstructs the zeros behind short behavior too: "
     "the sum is what compares; the mean leaves out how many events there are"),
    ("generated", "follows from attributes alone, so that a tower that is right on average still "
     "makes a narrower cloud than real behavior is"),
)  # fmt: skip


def _cloud_row(pair: Pair) -> tuple[str, ...]:
    found = pair.apart
    pooling = next((name for name, space in SPACES.items() if space == pair.space), "")
    return (
        pair.title if not pooling else f"{pair.title}, {pooling}",
        f"{pair.seed}, drawn" if pair.plane is not None else str(pair.seed),
        " + ".join(count(size) for size in found.sizes),
        fixed(found.mmd),
        f"{found.width:.3g}",
        p_value(found.p_value),
        fixed(found.mixing, 2),
        *(fixed(each, 2) for each in found.mixing_of),
        fixed(found.spread, 2),
    )


def _cloud_verdict(drawn: Pair, pairs: Sequence[Pair]) -> str:
    """What the numbers say of one picture, on all seeds."""
    alike = [p for p in pairs if (p.title, p.space) == (drawn.title, drawn.space)]
    told_apart = sum(pair.apart.p_value < SIGNIFICANT for pair in alike)
    found, (first, second) = drawn.apart, drawn.names
    can = f"can be told apart on {told_apart} of {len(alike)} seeds"
    if len(alike) == 1:
        can = "can be told apart" if told_apart else "can't be told apart"
    return (
        f"{drawn.title[0].upper()}{drawn.title[1:]}: {first} and {second} {can}. Seed "
        f"{drawn.seed}: MMD² {fixed(found.mmd)}, {p_phrase(found.p_value)}; the neighbours of "
        f"{first} are mixed to {fixed(found.mixing_of[0], 2)}, those of {second} to "
        f"{fixed(found.mixing_of[1], 2)}, where 1 is chance; the spread of {first} is "
        f"{fixed(found.spread, 2)} times that of {second}."
    )


def _fall_row(fall: Fall) -> tuple[str, ...]:
    means = (fall.first, fall.early, fall.last, fall.change)
    first, early, last, change = (float(np.mean(each)) for each in means)
    return (
        f"{LOSS_NAMES[fall.name]}, {fall.name.replace('_', ' ')}",
        *(f"{value:.4g}" for value in (first, early, last)),
        percent(_done(fall)),
        f"{100 * change:+.1f} %",
        _at_last(fall),
    )


def _done(fall: Fall) -> float:
    """The share of the fall that the first steps have seen; NaN where there is none."""
    first, early, last = (float(np.mean(each)) for each in (fall.first, fall.early, fall.last))
    return (first - early) / (first - last) if first > last else math.nan


def _at_last(fall: Fall) -> str:
    seeds = len(fall.change)
    if fall.falling == seeds:
        return "falls"
    if fall.rising == seeds:
        return "rises"
    return "level" if fall.falling == fall.rising == 0 else "differs"


def _loss_verdict(found: Sequence[Fall], given: About) -> tuple[str, ...]:
    fell = [LOSS_NAMES[f.name] for f in found if np.mean(f.last) < np.mean(f.first)]
    rest = [LOSS_NAMES[f.name] for f in found if LOSS_NAMES[f.name] not in fell]
    ends = {word: [LOSS_NAMES[f.name] for f in found if _at_last(f) == word] for word in _ENDS}
    told = "; ".join(f"{_ENDS[word]} {', '.join(names)}" for word, names in ends.items() if names)
    done = [(LOSS_NAMES[f.name], _done(f)) for f in found]
    early = ", ".join(f"{name} {percent(share)}" for name, share in done if not math.isnan(share))
    opposite = f", not {', '.join(rest)}" if rest else ""
    return (
        f"Of the four losses of {given.method}, {', '.join(fell) or 'none'} ended below where they "
        f"began{opposite}.",
        *([f"Of the fall, {EARLY} steps have done: {early}."] if early else []),
        f"In the last tenth of the steps: {told}.",
    )


_ENDS = {
    "falls": "still falling",
    "level": "level",
    "rises": "rising",
    "differs": "different from seed to seed",
}
