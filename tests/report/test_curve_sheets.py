"""The sentences of the curves follow the tests; hand-made points, every number chosen."""

from dataclasses import replace

from comparisons import NAN, figure, line

from thaw.datasets import World
from thaw.experiments.curves import ByEvents, EventsPoint
from thaw.experiments.worlds import ByAttributes, WorldPoint
from thaw.options import Training
from thaw.report.about import About
from thaw.report.events_sheet import by_events_sheet
from thaw.report.world_sheet import by_attributes_sheet
from thaw.statistics import UNKNOWN, Interval

ABOUT = About("toy", "mail-base", (0, 1, 2), (("users", "300"),), (("dim", "32"),))
COUNTS = (0, 1, 2, 5)


def curve(*points: tuple[float, float, float]) -> ByEvents:
    """A mean, a p-value and a difference against no event for each count after 0."""
    virtual = line("mail-base", (figure(0.6),) * 2)
    filled = line("mail-base", (figure(0.6, 0.01, 0.05),) * 2, base="base-dnn")
    shown = [line("m", (figure(mean, p, d),) * 2, base="m0") for mean, p, d in points]
    base = line("base-dnn", (figure(0.55),) * 2)
    steps = tuple(
        EventsPoint(count, count == 5, 0.5, base, filled, own)
        for count, own in zip(COUNTS, [virtual, *shown], strict=True)
    )
    return ByEvents("base-dnn", "mail-base", ("click",), 900, 90, (0, 1, 2), steps)


def verdict(found: ByEvents) -> str:
    return " ".join(by_events_sheet(found, ABOUT, ("new users", "by rule")).verdict)


def test_real_events_take_over_where_they_stay_better() -> None:
    told = verdict(curve((0.58, 0.01, -0.02), (0.63, 0.02, 0.03), (0.66, 0.001, 0.06)))
    assert "with 1 real events significantly worse; from 2 real events on" in told


def test_better_once_is_not_better_from_there_on() -> None:
    told = verdict(curve((0.63, 0.01, 0.03), (0.61, 0.4, 0.01), (0.61, 0.5, 0.01)))
    assert "with 1 significantly better, but not from there on" in told


def test_no_difference_is_said() -> None:
    told = verdict(curve((0.61, 0.4, 0.01), (0.61, 0.3, 0.01), (0.62, 0.2, 0.02)))
    assert "at no number of real events significantly better" in told


def test_what_virtual_behavior_brings_stands_first() -> None:
    told = verdict(curve((0.61, 0.4, 0.01), (0.61, 0.3, 0.01), (0.62, 0.2, 0.02)))
    assert told.startswith("AUC: with no event shown, mail-base reaches 0.6000")
    assert "base-dnn 0.5500 (+0.0500, p = 0.010)" in told


def with_filled(*each: tuple[float, float]) -> ByEvents:
    """A difference and a p-value of filled places for each count after 0."""
    found = curve(*[(0.61, 0.4, 0.01)] * 3)
    filled = [line("f", (figure(0.6, p, d),) * 2, base="m") for d, p in each]
    steps = zip(found.points[1:], filled, strict=True)
    points = (found.points[0], *(replace(step, against_real=one) for step, one in steps))
    return replace(found, points=points)


def test_virtual_events_beside_real_ones_are_advised_up_to_where_they_stop_to_help() -> None:
    told = verdict(with_filled((0.02, 0.001), (0.01, 0.01), (0.001, 0.4)))
    where = "AUC: what new users get, beside real events, is significantly better"
    assert f"{where} with 1 (+0.0200), 2 (+0.0100)." in told
    assert "users of up to 2 events gains by what new users get" in told
    assert "thaw evaluate RUN --fill-below auto" in told


def test_virtual_events_that_harm_are_not_advised() -> None:
    told = verdict(with_filled((-0.02, 0.001), (0.01, 0.01), (0.001, 0.4)))
    assert "significantly better with 2 (+0.0100); significantly worse with 1 (-0.0200)." in told
    assert "fill-below" not in told


def test_without_virtual_events_beside_real_ones_nothing_is_said_of_them() -> None:
    told = verdict(curve(*[(0.61, 0.4, 0.01)] * 3))
    assert "places" not in told


def point(share: float, direction: int, gap: Interval) -> WorldPoint:
    flat = Interval(0.6, 0.59, 0.61)
    return WorldPoint(
        share, 900, 90, flat, flat, flat, flat, flat, flat, gap, UNKNOWN, UNKNOWN, 0.2, 0.1, 0.01,
        0.5, direction,
    )  # fmt: skip


def worlds(*points: WorldPoint) -> ByAttributes:
    return ByAttributes("base-dnn", "mail-base", points)


def test_worlds_say_where_mail_is_better_and_what_it_closes() -> None:
    points = [point(0.0, -1, UNKNOWN), point(0.5, 0, UNKNOWN), point(1.0, 1, Interval(0.3, 0, 1))]
    sheet = by_attributes_sheet(worlds(*points), World(users=300), Training(), (0, 1, 2))
    assert sheet.verdict[0].endswith("for new users at 1 and significantly worse at 0.")
    assert sheet.verdict[1] == "Of the gap it closes 30 % at 1."
    assert "only large differences" in sheet.verdict[2]
    led = replace(points[2], reached=Interval(0.9, 0.5, 1.3))
    told = by_attributes_sheet(worlds(led), World(users=300), Training(), (0, 1, 2)).verdict
    assert told[2] == "Of the lead that boosted trees have it reaches 90 % at 1."


def test_worlds_without_a_gap_and_without_a_difference_say_so() -> None:
    nothing = replace(point(0.5, 0, UNKNOWN), p_value=NAN)
    told = by_attributes_sheet(
        worlds(nothing), World(users=300), Training(), tuple(range(5))
    ).verdict
    assert told == (
        "mail-base is at no share significantly different from base-dnn for new users.",
    )
