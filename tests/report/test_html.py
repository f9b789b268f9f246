import dataclasses
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from comparisons import NAN, base, ceiling, comparison, figure, line, mail

from thaw.errors import ThawError
from thaw.experiments.comparison import Comparison
from thaw.experiments.paper_tables import PaperTable
from thaw.report import DataFacts, write_html
from thaw.report.facts import SplitFacts, TableFacts
from thaw.statistics import Interval

FACTS = DataFacts(
    name="toy", tasks=("click",), users=300, items=40, events=5000, hidden_share=0.4,
    splits=(SplitFacts("train", 20000, 300, 0.39, (0.0512,)),),
    tables=(TableFacts("events", 5003, 3),), vocabularies=(("users.city", 12),),
)  # fmt: skip


def page(given: Comparison, folder: Path) -> str:
    path = folder / "reports" / "report.html"
    write_html(given, path, facts=FACTS, command="thaw compare toy mail-base --seeds 3")
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_the_heading_says_what_the_page_is_of(tmp_path: Path) -> None:
    assert "<h1>toy: new and old users</h1>" in page(comparison(), tmp_path)
    table = PaperTable("Table 2: the compared methods, RI against each", ("base-dnn", "mail-base"))
    path = tmp_path / "table.html"
    write_html(comparison(), path, facts=FACTS, command="thaw experiment table-2 toy", layout=table)
    assert "<title>toy: Table 2: the compared methods</title>" in path.read_text("utf-8")


def drawings(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", text, re.S)]


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    text = page(comparison(), tmp_path)
    for link in ("http:", "https:", "src=", "href=", "url(", "@import", "<script"):
        assert link not in text


def test_the_verdict_comes_before_the_tables_and_the_command_last(tmp_path: Path) -> None:
    text = page(comparison(), tmp_path)
    order = ["New users have a gap", "<table", "<svg", "5,003", "batch_size", "thaw compare toy"]
    places = [text.index(each) for each in order]
    assert places == sorted(places)


def test_a_table_shows_the_numbers_and_marks_the_best(tmp_path: Path) -> None:
    text = page(comparison(), tmp_path)
    assert "<b>0.7100</b>" in text
    assert "<b>0.7200</b>" not in text
    assert "±0.0020" in text


def test_figures_are_well_formed_and_name_every_method(tmp_path: Path) -> None:
    found = drawings(page(comparison(), tmp_path))
    dots, losses, validation = found[:4], found[4:8], found[8:]
    for each in dots:
        words = [text.text for text in each.iter("text")]
        assert {"base-dnn", "mail-base", "ceiling of base-dnn"} <= set(words)
    assert [len(list(each.iter("polyline"))) for each in losses] == [3, 3, 3, 3]
    assert len(validation) == 3


def test_smoothing_is_said(tmp_path: Path) -> None:
    assert "moving average over 6 steps" in page(comparison(), tmp_path)


def test_without_mail_there_is_no_figure_of_its_losses(tmp_path: Path) -> None:
    assert "L_d" not in page(comparison(base(), ceiling()), tmp_path)


def test_names_from_the_data_are_escaped(tmp_path: Path) -> None:
    own = line("<i>own</i>", (figure(0.7), figure(0.6)))
    text = page(comparison(own, dataset="<u>toy</u>"), tmp_path)
    assert "<i>" not in text
    assert "<u>" not in text
    assert drawings(text)


def test_undefined_numbers_are_dashes(tmp_path: Path) -> None:
    nan = (figure(NAN), figure(NAN))
    text = page(comparison(line("base-dnn", nan, impressions=0, calibration=NAN)), tmp_path)
    assert "No impressions." in text
    assert "undefined: no values" in text
    assert ">nan<" not in text


def test_one_seed_and_an_interval_that_is_not_known_are_drawn(tmp_path: Path) -> None:
    known = figure(0.7, seeds=1)
    unknown = dataclasses.replace(known, interval=Interval(0.7, NAN, NAN))
    found = drawings(page(comparison(line("own", (known, unknown)), seeds=(0,)), tmp_path))
    intervals = [len(each.findall("line[@class='interval']")) for each in found[:4]]
    assert intervals == [1, 0, 1, 0]


def test_references_are_rows_without_training(tmp_path: Path) -> None:
    scores = line("in_production", (figure(0.8, seeds=1), figure(0.7, seeds=1)), kind="reference")
    text = page(comparison(base(), mail(), ceiling(), scores), tmp_path)
    assert text.count('<th scope="row">in_production</th>') == 2


def test_data_settings_and_versions_are_told(tmp_path: Path) -> None:
    text = page(comparison(), tmp_path)
    for fact in ("5,003", "5.12", "40\N{NO-BREAK SPACE}%", "users.city", "torch", "numpy"):
        assert fact in text


def test_without_the_extra_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ThawError, match=r"pip install 'thaw\[report\]'"):
        page(comparison(), tmp_path)
