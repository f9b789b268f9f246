"""Drawings of clouds and curves: well formed, complete, and true to scale."""

import math
import re
from xml.etree import ElementTree

import numpy as np

from thaw.experiments.clouds import apart
from thaw.experiments.pictures import Pair
from thaw.report.scatter import Series, cloud_panel, curve_panel
from thaw.statistics import UNKNOWN, Interval


def pair(first: int, second: int) -> Pair:
    points = np.random.default_rng(0).standard_normal((first + second, 2))
    found = apart(points[:first], points[first:], permutations=99)
    return Pair("old <users>", ("generated", "real"), "behavior", 0, found, points)


def test_every_point_of_both_clouds_is_drawn() -> None:
    drawing = ElementTree.fromstring(cloud_panel(pair(21, 34)).svg)
    found = {"cloud": 0, "cloud second": 0}
    for path in drawing.iter("path"):
        found[path.attrib["class"]] += len(re.findall("M", path.attrib["d"]))
    assert found == {"cloud": 22, "cloud second": 35}  # one of each in the key


def test_a_curve_is_true_to_scale_and_skips_what_is_undefined() -> None:
    values = (Interval(0.5, 0.4, 0.6), UNKNOWN, Interval(0.7, 0.6, 0.8))
    panel = curve_panel("AUC", "share", ("0", "1", "2"), [Series("mail", "", values)])
    drawing = ElementTree.fromstring(panel.svg)
    line = next(iter(drawing.iter("polyline"))).attrib["points"].split()
    heights = [float(point.split(",")[1]) for point in line]
    whiskers = [each.attrib for each in drawing.iter("line") if "whisker" in each.attrib["class"]]
    assert len(line) == len(whiskers) == 2
    low, high = (float(whiskers[0][end]) for end in ("y1", "y2"))
    # 0.7 is as far above 0.5 as the interval of 0.4 to 0.6 is long.
    assert math.isclose(heights[0] - heights[1], low - high, abs_tol=0.2)
    assert math.isclose(heights[0], (low + high) / 2, abs_tol=0.2)


def test_a_level_has_no_dots_and_nothing_at_all_is_said() -> None:
    level = Series("ceiling", "top", (Interval(0.7, math.nan, math.nan),) * 2)
    drawing = ElementTree.fromstring(curve_panel("AUC", "events", ("0", "1"), [level]).svg)
    assert not list(drawing.iter("circle"))
    assert "undefined" in curve_panel("AUC", "x", ("0",), [Series("m", "", (UNKNOWN,))]).svg
