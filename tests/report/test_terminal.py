import pytest
from comparisons import NAN, base, ceiling, comparison, figure, line, mail
from rich.console import Console

from thaw.experiments.comparison import Comparison
from thaw.report import print_comparison
from thaw.report.formats import DASH


def printed(given: Comparison, width: int = 100, *, terminal: bool = False) -> str:
    colors = "standard" if terminal else None
    console = Console(width=width, force_terminal=terminal, color_system=colors)
    with console.capture() as capture:
        print_comparison(given, console)
    return capture.get()


def row(text: str, name: str, below: int = 0) -> str:
    """The entries of a name's first row, or of a line below it, with 'x' for a dash."""
    lines = text.splitlines()
    first = next(k for k, each in enumerate(lines) if each.startswith(name))
    return " ".join(lines[first + below].split()).replace(DASH, "x")


def test_a_row_has_auc_and_gauc_side_by_side_with_all_that_belongs_to_them() -> None:
    expected = "mail-base 0.7100 ±0.0020 +1.43 0.004 50 % 0.6600 ±0.0020 +1.54 0.005 50 % 1.04"
    assert row(printed(comparison()), "mail-base") == expected


def test_old_users_have_no_gap_column() -> None:
    old = printed(comparison()).split("click, old users")[1].split("How to read")[0]
    expected = "mail-base 0.7000 ±0.0020 -0.01 0.600 0.6500 ±0.0020 +0.02 0.700 1.04"
    assert row(old, "mail-base") == expected
    assert "closed" not in old


@pytest.mark.parametrize("width", [100, 80, 60])
def test_nothing_is_wider_than_the_console_or_cut(width: int) -> None:
    text = printed(comparison(), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert text.count("1.04") == 6


def test_a_narrow_console_shows_the_same_numbers_on_two_lines() -> None:
    text = printed(comparison(), 80)
    assert row(text, "mail-base") == "mail-base 0.7100 +1.43 50 % 0.6600 +1.54 50 % 1.04"
    assert row(text, "mail-base", below=1) == "±0.0020 0.004 ±0.0020 0.005"


def test_what_is_undefined_is_a_dash_and_explained() -> None:
    nan = figure(NAN)
    text = printed(comparison(line("base-dnn", (nan, nan), kept_share=0.0)))
    assert row(text, "base-dnn") == "base-dnn x x x x x x x x 1.04"
    assert "AUC and GAUC are undefined" in text
    assert "no such number" in text
    assert "nan" not in text.lower()


def test_where_there_is_no_gap_a_sentence_says_why() -> None:
    text = printed(comparison(base(), mail(gauc=figure(0.66, 0.005)), ceiling(p_gauc=0.31)))
    assert row(text, "mail-base").count("no gap") == 1
    said = "No gap shows in GAUC: the ceiling is not significantly above base-dnn (p = 0.310)"
    assert said in text


def test_real_behavior_that_hurts_is_said_plainly() -> None:
    text = " ".join(printed(comparison(base(), mail(), ceiling(sign=-1))).split())
    said = "real behavior hurts base-dnn there, the ceiling is significantly below it (p = 0.002)"
    assert said in text


def test_a_ceiling_that_cannot_be_tested_is_not_called_a_gap() -> None:
    text = " ".join(printed(comparison(base(), mail(), ceiling(p_auc=NAN))).split())
    assert "No gap shows in AUC: the ceiling can't be tested against base-dnn." in text


def test_the_rule_without_ceilings_says_that_the_gap_is_not_known() -> None:
    text = printed(comparison(base(), mail(figure(0.71, 0.004)), rule="natural"))
    assert "not known: rule 'natural' leaves no ceiling" in text
    assert "no gap" not in text


@pytest.mark.parametrize(
    ("seeds", "said"),
    [((0,), "by bootstrap over users"), ((0, 1, 2), "by Student's t over 3 seeds")],
)
def test_the_interval_is_explained_by_the_number_of_seeds(seeds: tuple[int], said: str) -> None:
    assert said in printed(comparison(seeds=seeds))


def test_a_segment_says_what_it_rests_on() -> None:
    assert "9,000 impressions of 300 users. GAUC keeps 67 % of the users" in printed(comparison())


def test_references_stand_apart_and_are_explained() -> None:
    best = (figure(0.8, seeds=1), figure(0.75, seeds=1))
    reference = line("p_best", best, kind="reference", impressions=8000)
    text = printed(comparison(base(), mail(), ceiling(), reference, dataset="simulated"))
    assert row(text, "p_best") == "p_best 0.8000 ±0.0020 x x x 0.7500 ±0.0020 x x x 1.04"
    assert "by who knows the true interests" in text
    assert "p_best has scores for 8,000 of these impressions" in text


def test_every_task_has_its_tables() -> None:
    tasks = ("click", "conversion")
    text = printed(comparison(base(tasks=tasks), tasks=tasks))
    for heading in ("click, new", "click, old", "conversion, new", "conversion, old"):
        assert f"{heading} users" in text


def test_bold_marks_the_best_method_and_no_ceiling() -> None:
    text = printed(comparison(), terminal=True)
    assert "\x1b[1m0.7100\x1b[0m" in text
    assert "\x1b[1m0.7200\x1b[0m" not in text
    assert "\x1b[1m 1.04" not in text  # all are equal


def test_training_is_summed_up() -> None:
    training = printed(comparison()).split("Training\n")[1]
    assert row(training, "mail-base") == "mail-base 3 2 12.5 24,000"


def test_several_bases_are_told_apart() -> None:
    text = printed(comparison(base(), line("din", (figure(0.72), figure(0.66))), mail()))
    assert "each method's own ranker alone; mail-base against base-dnn" in text


def test_names_are_no_markup() -> None:
    own = line("[bold]own[/bold]", (figure(0.7), figure(0.6)))
    assert row(printed(comparison(own)), "[bold]own[/bold]")


def test_a_p_value_is_never_insignificant_by_rounding() -> None:
    text = printed(comparison(base(), mail(auc=figure(0.71, 0.04997, gap=0.5)), ceiling()))
    assert "<0.050" in row(text, "mail-base")


def test_a_task_given_another_is_a_task_of_its_own_and_explained() -> None:
    tasks = ("click", "conversion", "conversion given click")
    text = printed(comparison(base(tasks=tasks), tasks=tasks))
    for segment in ("new", "old"):
        assert f"conversion given click, {segment} users" in text
    told = " ".join(text.split())
    assert "the probability of conversion over that of click, at most 1, on the" in told
    assert "the probability of click over" not in told
