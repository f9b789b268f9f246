import dataclasses

from comparisons import base, ceiling, comparison, figure, line, mail

from thaw.experiments.comparison import Line
from thaw.experiments.foretold import Foretold
from thaw.experiments.references import ATTRIBUTES_ONLY
from thaw.options import Training
from thaw.report import advice
from thaw.statistics import PairedTest

TRIED = (
    "base-dnn+dropout",
    "base-dnn+fm",
    "lookalike-base",
    "mail-base",
    "mail-base+dropout",
    "mail-base+dropout+fm",
)
NOTHING = (figure(0.70, 0.8, 0.0001), figure(0.65, 0.7, 0.0001))


def told(*lines: Line, **changes: object) -> str:
    (sentence,) = advice(comparison(*lines, **{"seeds": (0, 1, 2, 3, 4)} | changes))
    return sentence


def rival(name: str, auc: object, gauc: object = NOTHING[1], old: object = NOTHING) -> Line:
    return line(name, (auc, gauc), old, base="base-dnn")


def idle(*names: str) -> list[Line]:
    return [rival(name, NOTHING[0]) for name in names]


def with_reference(p: float, difference: float) -> tuple[Line, Line]:
    """The base with the test of what attributes allow, and what they allow."""
    allowed = PairedTest(difference, difference - 0.001, difference + 0.001, p, 3)
    own = dataclasses.replace(figure(0.70), allowed=allowed)
    reached = reference(ATTRIBUTES_ONLY, 0.70 + difference, 0.69)
    return line("base-dnn", (own, figure(0.65)), (figure(0.70), figure(0.65))), reached


def reference(name: str, new: float, old: float) -> Line:
    """A reference with these AUCs of new and of old users."""
    cells = ((figure(each), figure(0.65)) for each in (new, old))
    return line(name, *cells, kind="reference")


def test_who_wins_at_no_cost_is_to_be_tried_on_real_users() -> None:
    assert told() == "Try mail-base in the place of base-dnn on a share of real users."


def test_who_wins_by_virtual_behavior_is_asked_about_users_of_few_events_too() -> None:
    wins = dataclasses.replace(mail(), foretold=(Foretold(0.0, 0.1, 0.0, 0.1, 90),))
    asked = "below how many events users should be treated as new: thaw evaluate RUN"
    assert told(base(), wins, ceiling()).endswith(f"{asked} --fill-below auto.")
    machine = rival("base-dnn+fm", figure(0.71, 0.001, 0.01))
    assert told(base(), machine, ceiling()).endswith(f"{asked} --fill-below auto.")


def test_of_several_the_highest_at_no_cost_is_named() -> None:
    drop = (figure(0.69, 0.01, -0.01), figure(0.65, 0.6, -0.001))
    good, better = (rival(n, figure(v, 0.001, 0.01)) for n, v in (("a", 0.71), ("b", 0.712)))
    best_but_dear = rival("c", figure(0.72, 0.001, 0.02), old=drop)
    assert told(base(), good, better, best_but_dear, ceiling()).startswith("Try b ")


def beaten(line: Line, by: Line, p: float, difference: float = 0.002) -> Line:
    """A line against a simpler one, which it has to beat."""
    tested = rival(line.name, figure(line.cells[0].auc.interval.mean, p, difference))
    return dataclasses.replace(tested, base=by.name, has_to_win=True)


def test_who_adds_nothing_to_dropout_alone_is_left_for_it() -> None:
    alone = rival("dropout", figure(0.71, 0.001, 0.01))
    best = rival("mail-base+dropout", figure(0.712, 0.001, 0.012))
    adds = {p: beaten(best, alone, p) for p in (0.2, 0.01)}
    lines = (base(), alone, best, ceiling())
    idle = told(*lines, against=(adds[0.2],))
    assert idle.startswith("Try dropout ")
    assert idle.endswith("mail-base+dropout is 0.0020 above it in AUC, which is not shown.")
    assert told(*lines, against=(adds[0.01],)).startswith("Try mail-base+dropout ")
    asked = dataclasses.replace(adds[0.2], has_to_win=False)
    assert told(*lines, against=(asked,)).startswith("Try mail-base+dropout ")
    drop = (figure(0.69, 0.01, -0.01), figure(0.65, 0.6, -0.001))
    costly = rival(best.name, figure(0.712, 0.001, 0.012), old=drop)
    shown = told(base(), alone, costly, ceiling(), against=(adds[0.01],))
    assert shown == "Try dropout in the place of base-dnn on a share of real users."
    cells = rival(alone.name, figure(0.71, 0.001, 0.01), old=drop).cells
    dear = dataclasses.replace(alone, cells=cells)
    assert "Try mail-base+dropout" in told(base(), dear, best, ceiling(), against=(adds[0.2],))


def test_who_is_left_for_a_simpler_one_makes_nobody_leave() -> None:
    """The best is above dropout, and not above the machine, which is not above dropout."""
    dropout = rival("base-dnn+dropout", figure(0.705, 0.001, 0.005))
    machine = rival("base-dnn+fm", figure(0.7075, 0.001, 0.0075))
    best = rival("mail-base+dropout+fm", figure(0.71, 0.001, 0.01))
    tests = (
        beaten(machine, dropout, 0.3),
        beaten(best, dropout, 0.001),
        beaten(best, machine, 0.3),
    )
    for lines in ((dropout, machine, best), (best, machine, dropout)):
        found = told(base(), *lines, ceiling(), against=tests)
        assert found.startswith("Try mail-base+dropout+fm ")


def test_what_is_added_has_to_be_worth_it() -> None:
    mail = rival("mail-base", figure(0.7099, 0.001, 0.0099))
    both = rival("mail-base+fm", figure(0.71, 0.001, 0.01))
    lines = (base(), mail, both, ceiling())
    assert told(*lines, against=(beaten(both, mail, 0.8),)).startswith("Try mail-base in ")
    assert told(*lines, against=(beaten(both, mail, 0.01),)).startswith("Try mail-base+fm in ")


def test_one_of_many_tests_is_no_winner() -> None:
    lucky = rival("mail-base", figure(0.71, 0.04, 0.01))
    others = idle("base-dnn+dropout", "lookalike-base", "mail-base+dropout")
    found = told(base(), lucky, *others, ceiling())
    assert found.startswith("Compare mail-base with base-dnn alone, on other seeds (--seed 5)")


def test_who_costs_old_users_ranks_new_ones_alone() -> None:
    drop = (figure(0.69, 0.01, -0.01), figure(0.65, 0.6, -0.001))
    found = told(base(), mail(old=drop), ceiling())
    assert found.endswith("rank the new by mail-base and the old by base-dnn.")


def test_auc_for_gauc_is_a_matter_of_use() -> None:
    mixed = mail(figure(0.71, 0.01, 0.01), figure(0.64, 0.01, -0.01))
    found = told(base(), mixed, ceiling())
    assert found.startswith(
        "mail-base gives new users a better AUC and a worse GAUC: take it where"
    )
    other = mail(figure(0.69, 0.01, -0.01), figure(0.66, 0.01, 0.01))
    assert "a better GAUC and a worse AUC: take it where each user sees" in told(
        base(), other, ceiling()
    )


def test_with_few_seeds_and_no_winner_more_come_first() -> None:
    for seeds in ((0,), (0, 1, 2, 3)):
        found = told(base(), *idle(*TRIED), ceiling(p_auc=0.4, p_gauc=0.4), seeds=seeds)
        assert found.startswith("Run 5 seeds or more")
        found = told(base(), mail(), ceiling(), seeds=seeds)
        assert found.startswith("Run 5 seeds or more. If it wins again, try mail-base in the place")


def test_runs_that_had_not_stalled_are_trained_on_before_anything_else() -> None:
    patient = Training(max_epochs=3, patience=2)
    found = told(base(), mail(), ceiling(), training=patient)
    assert found.startswith(
        "Train longer (max_epochs) before you decide what to do beside base-dnn"
    )


def test_a_ranker_below_trees_on_old_users_is_mended_first() -> None:
    def below(p: float, difference: float) -> Line:
        allowed = PairedTest(difference, difference - 0.001, difference + 0.001, p, 3)
        old = (dataclasses.replace(figure(0.70), allowed=allowed), figure(0.65))
        return line("base-dnn", (figure(0.70), figure(0.65)), old)

    found = told(below(0.01, 0.01), mail(), ceiling())
    assert found.startswith("Look at the training of base-dnn first: with their behavior in sight")
    assert told(below(0.2, 0.01), mail(), ceiling()).startswith("Try mail-base")
    assert told(below(0.01, -0.01), mail(), ceiling()).startswith("Try mail-base")


def test_scores_of_ones_own_that_are_better_are_named_first() -> None:
    found = told(base(), mail(), ceiling(), reference("ours", 0.725, 0.6))  # the ceiling is above
    assert found.startswith("Look at ours first: new users are ranked better by it than by base")
    found = told(base(), mail(), ceiling(), reference("lightfm", 0.725, 0.6))
    assert found.startswith("Look at lightfm first")
    for known in ("p_best", "no-attributes"):
        assert told(base(), mail(), ceiling(), reference(known, 0.8, 0.6)).startswith("Try mail")
    cells = ((figure(0.725), figure(0.65)), (figure(0.6), figure(0.65)))
    partly = line("ours", *cells, kind="reference", impressions=4500)
    assert told(base(), mail(), ceiling(), partly).startswith("Try mail")


def test_who_pays_is_named_where_auc_stands_against_gauc() -> None:
    drop = (figure(0.69, 0.01, -0.01), figure(0.65, 0.6, -0.001))
    mixed = mail(figure(0.71, 0.01, 0.01), figure(0.64, 0.01, -0.01), old=drop)
    assert told(base(), mixed, ceiling()).endswith("an ordered list, and for old users, who pay.")


def test_without_a_gap_nothing_is_to_be_done() -> None:
    found = told(base(), *idle("mail-base"), ceiling(p_auc=0.4, p_gauc=0.4))
    assert found == "Nothing to do for new users beside base-dnn: no gap was shown."


def test_what_was_not_tried_is_named() -> None:
    found = told(base(), *idle("mail-base"), ceiling())
    assert found == (
        "Not tried yet beside base-dnn: base-dnn+dropout, base-dnn+fm, lookalike-base, "
        "mail-base+dropout, mail-base+dropout+fm."
    )


def test_where_all_was_tried_the_ranker_stays() -> None:
    found = told(base(), *idle(*TRIED), ceiling())
    assert found.startswith("Nothing that was tried beside base-dnn wins")


def test_attributes_that_say_little_come_before_another_method() -> None:
    for p, difference in ((0.4, 0.001), (0.001, -0.01)):
        own, reached = with_reference(p, difference)
        tried = idle("mail-base", "lookalike-base", "base-dnn+fm")
        found = told(own, *tried, ceiling(), reached)
        assert found.startswith("Look for better attributes of new users")
    own, reached = with_reference(0.001, 0.01)
    assert told(own, *idle(*TRIED), ceiling(), reached).startswith("Nothing that was tried")


def test_what_costs_nothing_is_to_be_tried_where_attributes_say_little() -> None:
    own, reached = with_reference(0.4, 0.001)
    found = told(own, *idle("mail-base"), ceiling(), reached)
    assert found == "Not tried yet beside base-dnn: base-dnn+fm, lookalike-base."


def test_without_a_ceiling_the_gap_is_to_be_learnt_first() -> None:
    found = told(base(), *idle("mail-base"), rule="natural")
    assert "under the rule 'strict' too" in found


def test_of_a_ranker_of_ones_own_no_method_is_named() -> None:
    own = line("own", (figure(0.70), figure(0.65)))
    top = dataclasses.replace(ceiling(), base="own")
    same = dataclasses.replace(rival("mine", NOTHING[0]), base="own")
    found = told(own, same, top)
    assert found.startswith("Nothing that was tried beside own")


def test_rankers_with_the_same_advice_share_a_sentence() -> None:
    other = line("din", (figure(0.72), figure(0.66)))
    found = told(base(), other, *idle("mail-base"), rule="natural")
    assert found.startswith("What new users miss under base-dnn, din is not known")


def test_each_ranker_and_task_has_its_own() -> None:
    tasks = ("click", "conversion")
    found = advice(comparison(base(tasks=tasks), rule="natural", tasks=tasks))
    assert [each.split(":")[0] for each in found] == ["click", "conversion"]
