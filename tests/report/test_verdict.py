import dataclasses

from comparisons import NAN, base, ceiling, comparison, figure, line, mail

from thaw.experiments.comparison import Line
from thaw.options import Training
from thaw.report import verdict
from thaw.report.changes import LEVEL


def told(*lines: Line, **changes: object) -> str:
    return "\n".join(verdict(comparison(*lines, **changes)))


def named(name: str, other: Line) -> Line:
    return dataclasses.replace(other, name=name)


def answer(*lines: Line) -> str:
    return verdict(comparison(*lines))[0]


def test_the_answer_comes_first() -> None:
    helps = "mail-base helps new users: AUC 0.7100 in the place of 0.7000."
    cost = "AUC -0.0001, 95 %: -0.0008 to +0.0006, p = 0.600"
    assert answer().startswith(f"{helps} No cost to old users is shown ({cost}; GAUC +0.0001,")
    drop = (figure(0.69, 0.01, -0.01), figure(0.65, 0.6, -0.001))
    assert answer(base(), mail(old=drop)) == f"{helps} It costs old users something."
    unmoved = (figure(0.7, NAN, 0.0), figure(0.65, NAN, 0.0))
    assert answer(base(), mail(old=unmoved)) == f"{helps} Old users are ranked as by base-dnn."
    untested = (figure(0.7, NAN), figure(0.65, NAN))
    assert answer(base(), mail(old=untested)) == f"{helps} What it costs old users can't be tested."


def test_the_answer_is_of_the_metric_that_rose() -> None:
    order = mail(figure(0.69, 0.01, -0.01), figure(0.66, 0.01))
    said = "mail-base helps new users: GAUC 0.6600 in the place of 0.6500, with a worse AUC."
    assert answer(base(), order).startswith(said)
    level = mail(figure(0.71, 0.01), figure(0.66, 0.4))
    assert "AUC 0.7100 in the place of 0.7000." in answer(base(), level)


def test_the_answer_names_the_method_that_advice_names() -> None:
    more = named("mail-more", mail(figure(0.716, 0.001, 0.016, gap=0.8)))
    assert answer(base(), mail(), more, ceiling()).startswith(
        "mail-more helps new users: AUC 0.7160"
    )


def test_where_nothing_is_significantly_better_the_answer_is_no() -> None:
    none = mail(figure(0.71, 0.2, gap=0.5), figure(0.66, 0.2, gap=0.5))
    assert answer(base(), none) == "No method is shown to help new users beside base-dnn."


def test_rankers_that_nothing_helps_share_an_answer() -> None:
    none = mail(figure(0.71, 0.2, gap=0.5), figure(0.66, 0.2, gap=0.5))
    other = line("din", (figure(0.72), figure(0.66)))
    under_din = dataclasses.replace(none, name="mail-din", base="din")
    said = "No method is shown to help new users beside base-dnn, din."
    assert answer(base(), other, none, under_din) == said


def test_a_ranker_without_rivals_is_answered_by_its_gap() -> None:
    assert answer(base(), ceiling()).startswith("New users have a gap in AUC")


def test_what_may_be_chance_of_many_tests_is_no_help() -> None:
    lucky = mail(figure(0.71, 0.04, 0.01), figure(0.65, 0.7, 0.0001))
    found = answer(base(), lucky, ceiling())
    assert found.startswith("No method is shown to help new users beside base-dnn. What is sign")
    idle = mail(figure(0.71, 0.4, 0.01), figure(0.65, 0.7, 0.0001))
    assert "chance" not in answer(base(), idle, ceiling())


def test_what_attributes_bring_to_the_trees_is_told() -> None:
    trees = line("attributes-only", (figure(0.71), figure(0.66)), kind="reference")
    for p, said in ((0.004, "Of that, attributes bring +0.0100"), (0.4, "is not shown: +0.0100")):
        pair = dataclasses.replace(mail(figure(0.71, p, 0.01)), name=trees.name, kind="reference")
        assert said in told(base(), mail(), ceiling(), trees, against=(pair,))


def test_the_gap_comes_next() -> None:
    gap = verdict(comparison())[1]
    lift = "real behavior would lift base-dnn from 0.7000 to 0.7200 (p = 0.001)"
    assert gap.startswith(f"New users have a gap in AUC: {lift}.")
    assert "gap in GAUC" in gap


def test_a_significant_lift_is_told_with_its_share_of_the_gap() -> None:
    said = "significantly better in AUC (+0.0100, p = 0.004, 50 % (95 %: 30 to 70) of the gap)"
    assert f"New users, mail-base against base-dnn: {said}" in told()


def test_what_is_not_significant_is_no_difference() -> None:
    same = mail(figure(0.72, 0.05, 0.02, gap=1.0), figure(0.67, 0.9, 0.02, gap=1.0))
    text = told(base(), same, ceiling())
    assert "no significant difference in AUC (+0.0200, p = 0.050)" in text
    assert "better" not in text
    assert "of the gap" not in text


def test_auc_without_gauc_is_the_level_between_users() -> None:
    assert f"The change shown is {LEVEL}" in told(base(), mail(gauc=figure(0.66, 0.4)), ceiling())


def test_a_gap_in_auc_alone_is_the_level_between_users() -> None:
    assert f"The gap shown is {LEVEL}" in told(base(), ceiling(p_gauc=0.4))


def test_the_level_is_not_named_where_gauc_cannot_be_tested() -> None:
    text = told(base(), mail(gauc=figure(NAN, NAN)), ceiling(p_gauc=NAN))
    assert "GAUC can't be tested" in text
    assert LEVEL not in text


def test_old_users_pay_where_they_drop_significantly() -> None:
    drop = (figure(0.69, 0.01, -0.01), figure(0.65, 0.6, -0.001))
    text = told(base(), mail(old=drop), ceiling())
    said = "significantly worse in AUC (-0.0100, p = 0.010); no significant difference in GAUC"
    assert f"Old users pay with mail-base against base-dnn: {said}" in text


def test_old_users_who_do_not_drop_significantly_are_spared() -> None:
    assert "Old users pay" not in told()
    assert "No significant drop for old users with mail-base against base-dnn: no" in told()
    several = told(base(), mail(), named("mail-more", mail()), ceiling())
    assert "AUC at worst (95 %): mail-base (-0.0008), mail-more (-0.0008)." in several


def test_old_users_without_a_test_are_not_called_spared() -> None:
    undefined = (figure(0.7, NAN), figure(0.65, NAN))
    text = told(base(), mail(old=undefined), ceiling())
    assert "Whether old users pay can't be tested for mail-base." in text
    assert "No significant drop" not in text


def test_old_users_with_the_same_figures_are_said_to_be_ranked_as_before() -> None:
    unmoved = (figure(0.7, NAN, 0.0), figure(0.65, NAN, 0.0))
    text = told(base(), mail(old=unmoved), ceiling())
    assert "Old users are ranked as by the base alone with mail-base." in text
    assert "can't be tested" not in text


def test_new_users_with_the_same_figures_are_said_to_be_ranked_as_by_the_base() -> None:
    auc, gauc = figure(0.7, NAN, 0.0), figure(0.65, NAN, 0.0)
    text = told(base(), mail(auc, gauc), ceiling())
    assert "New users are ranked as by the base alone with mail-base." in text
    assert "can't be tested" not in text
    assert "significantly worse in AUC (-0.0100, p = 0.001); the same GAUC." in told(
        base(), mail(figure(0.69, 0.001, -0.01), gauc), ceiling()
    )


def test_many_methods_that_move_alike_share_a_sentence() -> None:
    worse = mail(figure(0.69, 0.001, -0.01), figure(0.65, 0.4, -0.001))
    lines = [named(f"good-{k}", mail()) for k in range(3)]
    text = told(base(), *lines, named("bad", worse), ceiling())
    assert "New users, significantly better in AUC and GAUC: good-0, good-1, good-2." in text
    said = "significantly worse in AUC; no significant difference in GAUC: bad."
    assert f"New users, {said}" in text
    assert "New users, good-0 against base-dnn" not in text
    assert "New users, good-0 against base-dnn" in told(base(), *lines, ceiling())


def test_without_a_ceiling_the_gap_is_not_known() -> None:
    assert told(base(), rule="natural").startswith(
        "Whether new users have a gap is not known: rule 'natural' leaves no ceiling for base-dnn."
    )


def test_of_several_methods_the_best_comes_first() -> None:
    more = named("mail-more", mail(figure(0.716, 0.001, 0.016, gap=0.8)))
    text = told(base(), mail(), more, ceiling())
    best = "mail-more 80 % (95 %: 60 to 100), mail-base 50 % (95 %: 30 to 70)"
    assert f"In AUC, of base-dnn's gap close significantly: {best}." in text


def test_of_several_methods_none_may_close_the_gap() -> None:
    none = mail(figure(0.71, 0.2, gap=0.5), figure(0.66, 0.2, gap=0.5))
    text = told(base(), none, named("mail-more", none), ceiling())
    assert "In AUC, no method closes base-dnn's gap significantly." in text
    assert "New users, no significant difference in AUC or GAUC: mail-base, mail-more." in text


def test_several_tasks_are_named() -> None:
    tasks = ("click", "conversion")
    found = verdict(comparison(base(tasks=tasks), rule="natural", tasks=tasks))
    assert [each.split(":")[0] for each in found[:2]] == ["click", "conversion"]


def test_what_the_tests_speak_for_is_told() -> None:
    assert "\nOne seed:" in told(seeds=(0,))
    assert "for other seeds and for other users at once" in told()


def test_few_seeds_are_called_few() -> None:
    said = "With 3 seeds only large differences can be told from chance: run 5 or more"
    assert said in told()
    assert "only large differences" not in told(seeds=(0, 1, 2, 3, 4))
    assert "only large differences" not in told(seeds=(0,))


def test_methods_that_had_not_stalled_at_the_limit_are_named() -> None:
    """Runs of three epochs whose second is the best, and one whose first or third is."""
    short = Training(max_epochs=3, patience=1)

    def cut(best_epoch: int) -> Line:
        last = dataclasses.replace(mail().runs[0], best_epoch=best_epoch)
        return dataclasses.replace(mail(), runs=(mail().runs[0], last))

    text = told(base(), cut(2), ceiling(), training=short)
    assert "mail-base had not stalled at the last of 3 epochs: train longer" in text
    assert "not stalled" not in told(base(), mail(), ceiling(), training=short)
    patient = dataclasses.replace(short, patience=2)
    everyone = "mail-base, ceiling of base-dnn had not stalled"
    assert everyone in told(base(), mail(), ceiling(), training=patient)
    longer = dataclasses.replace(short, max_epochs=4)
    assert "not stalled" not in told(base(), cut(2), ceiling(), training=longer)


def test_a_patience_of_few_steps_is_told() -> None:
    """The runs have a hundred steps an epoch."""
    short = told(base(), mail(), ceiling(), training=Training(patience=4))
    assert "too early by a patience of 4. See whether --patience 5 changes the order." in short
    assert "patience" not in told(base(), mail(), ceiling(), training=Training(patience=5))


def test_each_base_has_its_own_gap() -> None:
    other = line("din", (figure(0.72), figure(0.66)))
    text = told(base(), other, ceiling())
    assert "lift base-dnn" in text
    assert "no ceiling for din" in text
