"""The further tables: what attributes can tell, and AUC by epoch."""

import math
from dataclasses import replace

from comparisons import base, ceiling, comparison, figure, line, mail
from rich.console import Console

from thaw.experiments.comparison import Comparison, Line
from thaw.experiments.foretold import Foretold
from thaw.report.facts import DataFacts
from thaw.report.html import write_html
from thaw.report.terminal import print_comparison
from thaw.report.text_tables import (
    against_tables,
    epochs_tables,
    limits_table,
    training_tables,
)
from thaw.report.verdict import verdict
from thaw.run_facts import Strength
from thaw.statistics import Interval, PairedTest

R2 = Foretold(per_event=0.01, pooled=0.08, ridge_per_event=0.02, ridge_pooled=0.06, users=100)


def limited(reference_auc: float = 0.715, p: float = 0.001) -> Comparison:
    """MAIL has half of the gap, and four fifths of what trees on attributes reach."""
    difference = reference_auc - 0.70
    allowed = PairedTest(difference, difference - 0.003, difference + 0.003, p, 3)
    own = line("base-dnn", (replace(figure(0.70), allowed=allowed), figure(0.65)))
    reached = Interval(0.8, 0.6, 1.0)
    method = mail(auc=replace(figure(0.71, 0.004, gap=0.5), reached=reached))
    method = replace(method, foretold=(R2, replace(R2, pooled=0.06)))
    trees = line("attributes-only", (figure(reference_auc), figure(0.67)), kind="reference")
    return comparison(own, method, ceiling(), trees)


def with_curve(given: Line, curves: list[list[float]]) -> Line:
    """A line whose runs' new users have such AUCs after each epoch, and old ones 0.01 more."""
    runs = [
        replace(run, epochs=len(curve), best_epoch=1, test_auc=tuple((v, v + 0.01) for v in curve))
        for run, curve in zip(given.runs, curves, strict=True)
    ]
    return replace(given, runs=tuple(runs))


def test_shares_of_both_gaps_and_r2_stand_side_by_side() -> None:
    table = limits_table(limited(), "click")
    assert table is not None
    assert [row[0] for row in table.grid.rows] == ["mail-base"]
    assert table.grid.rows[0][1:3] == ("50 %", "80 %")
    assert table.grid.rows[0][5:] == ("+0.070", "+0.060", "+0.010", "+0.020")


def test_methods_against_another_line_have_a_table_for_each_such_line() -> None:
    one = replace(mail(), base="base-dnn+dropout")
    two = replace(mail(auc=figure(0.71, 0.2, -0.003)), base="mail-none")
    found = comparison(base(), mail(), against=(one, two))
    first, second = against_tables(found, "click")
    assert (first.title, second.title) == (
        "click: against base-dnn+dropout",
        "click: against mail-none",
    )
    assert first.grid.columns[1:5] == ("new AUC", "p", "new GAUC", "p")
    assert first.grid.rows[0][:4] == ("mail-base", "+0.0100", "0.004", "+0.0100")
    assert second.grid.rows[0][1:3] == ("-0.0030", "0.200")
    assert against_tables(comparison(), "click") == []
    console = Console(width=100)
    with console.capture() as shown:
        print_comparison(found, console)
    assert "click: against mail-none" in shown.get()


def test_the_verdict_says_what_a_method_adds_to_another_line() -> None:
    more = replace(mail(), base="base-dnn+dropout")
    told = " ".join(verdict(comparison(base(), mail(), against=(more,))))
    both = "AUC is significantly better with mail-base (+0.0100); GAUC is significantly better with"
    assert f"New users, against base-dnn+dropout: {both} mail-base (+0.0100)." in told
    idle = replace(mail(figure(0.7, 0.6), figure(0.65, 0.7)), base="mail-none")
    two = (idle, replace(idle, name="mail-dual"))
    told = " ".join(verdict(comparison(base(), mail(), against=two)))
    assert "difference to mail-none in AUC or GAUC: mail-base, mail-dual." in told


def test_there_is_no_such_table_where_nothing_is_known() -> None:
    assert limits_table(comparison(), "click") is None
    assert epochs_tables(comparison()) == []


def test_the_verdict_says_what_attributes_can_win_back() -> None:
    told = " ".join(verdict(limited()))
    assert "reach 0.7150 in AUC: 75 % of base-dnn's gap can be won back without behavior" in told
    more = " ".join(verdict(limited(reference_auc=0.73)))
    assert "more than base-dnn's whole gap can be won back without behavior" in more
    below = " ".join(verdict(limited(reference_auc=0.69)))
    assert "reach 0.6900 in AUC: below base-dnn without behavior, so little is left" in below
    unsure = " ".join(verdict(limited(p=0.3)))
    assert "0.7150 in AUC: not significantly other than base-dnn" in unsure
    assert "(p = 0.300)" in unsure
    assert "win back" not in unsure


def test_epochs_are_means_over_the_seeds_that_came_so_far() -> None:
    given = with_curve(base(), [[0.6, 0.7], [0.62, 0.72, 0.74], [0.64, 0.68, math.nan]])
    new, old = epochs_tables(comparison(given, mail()))
    assert new.grid.columns == ("method", "1", "2", "3", "kept")
    assert new.grid.rows[0][:3] == ("base-dnn", "0.6200", "0.7000")
    assert new.grid.rows[0][4] == "0.7000"  # the second epoch of each
    assert old.grid.rows[0][1] == "0.6300"
    assert len(new.grid.rows) == 1  # mail-base was not measured


def test_how_far_attributes_are_believed_stands_with_its_spread_over_seeds() -> None:
    def believing(given: Line, *strengths: tuple[Strength, ...]) -> Line:
        runs = tuple(replace(given.runs[0], strengths=each) for each in strengths)
        return replace(given, runs=runs)

    def parts(*tasks: str) -> tuple[Strength, ...]:
        own = ((Strength("level", task, 0.0), Strength("order", task, 1.0)) for task in tasks)
        return tuple(each for pair in own for each in pair)

    low, high = (Strength("virtual behavior", None, value) for value in (0.5, 0.6))
    virtual = believing(mail(), (low,), (high,))
    machine = believing(replace(mail(), name="base-dnn+fm"), parts("click"), parts("click"))
    (table,) = training_tables(comparison(base(), virtual, machine))
    assert table.grid.columns == ("method", "virtual behavior", "level", "order")
    assert table.grid.rows == (
        ("mail-base", "0.55 (0.50 to 0.60)", "", ""),
        ("base-dnn+fm", "", "0.00", "1.00"),
    )
    assert training_tables(comparison(base(), mail())) == []
    (table,) = training_tables(comparison(believing(base(), parts("click", "buy"))))
    assert table.grid.columns[1:] == ("click level", "click order", "buy level", "buy order")


def test_terminal_and_page_show_them(tmp_path) -> None:
    given = limited()
    curved = with_curve(given.lines[0], [[0.6, 0.7]] * 3)
    given = replace(given, lines=(curved, *given.lines[1:]))
    console = Console(width=100)
    with console.capture() as capture:
        print_comparison(given, console)
    facts = DataFacts("toy", ("click",), 1, 1, 1, 0.4, (), (), ())
    write_html(given, tmp_path / "page.html", facts=facts, command="thaw compare toy")
    page = (tmp_path / "page.html").read_text()
    for text in (capture.get(), page):
        assert "what attributes can tell" in text
        assert "+0.070" in text
        assert "AUC of new users by epoch" in text
        assert "0.7000" in text.split("AUC of new users by epoch", 1)[1]
