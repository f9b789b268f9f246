"""The figures' commands, in process, on tiny tables and tiny worlds."""

import json
import math
from pathlib import Path

import pytest

import thaw
from conftest import Tables, make_schema
from test_cli import thaw_
from thaw.data import Dataset
from thaw.experiments.filling import choose_fill_below
from thaw.recommender import Recommender

SHORT = ["--seeds", 1, "--max-epochs", 1, "--quiet"]


@pytest.fixture(scope="module")
def runs(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of one experiment, which the others take over."""
    out = tmp_path_factory.mktemp("events")
    thaw_("experiment", "by-events", dataset.path, "--out", out, *SHORT)
    return out / "runs"


def page_and_numbers(folder: Path) -> tuple[str, dict[str, object]]:
    page = (folder / "report.html").read_text()
    for link in ("http:", "https:", "src=", "href=", "url(", "@import", "<script"):
        assert link not in page
    return page, json.loads((folder / "figures.json").read_text())


@pytest.mark.parametrize("name", ["figure-5", "figure-6"])
def test_clouds_stand_beside_their_numbers(
    name: str, dataset: Dataset, runs: Path, tmp_path: Path
) -> None:
    command = ["experiment", name, dataset.path, "--runs", runs, "--out", tmp_path, *SHORT]
    text = thaw_(*command, "--permutations", 99, "--neighbours", 3)
    page, numbers = page_and_numbers(tmp_path)
    drawn = [cloud for cloud in numbers["clouds"] if cloud["first"] is not None]
    assert len(drawn) == page.count("<svg") == 2
    for cloud in drawn:
        assert [len(cloud["first"]), len(cloud["second"])] == cloud["sizes"]
        assert f"<td>{cloud['mmd']:.4f}</td>" in page
        assert f"{cloud['mmd']:.4f}" in text
        assert 1 / 100 <= cloud["p_value"] <= 1
    assert "(1 + 99)" in page
    assert page.index("Verdict") < page.index("<svg") < page.index("<table")
    assert not (tmp_path / "runs").exists()  # nothing was trained again


def test_losses_stand_beside_their_numbers(dataset: Dataset, runs: Path, tmp_path: Path) -> None:
    text = thaw_("experiment", "figure-4", dataset.path, "--runs", runs, "--out", tmp_path, *SHORT)
    page, numbers = page_and_numbers(tmp_path)
    assert page.count("<svg") == 4
    assert [fall["name"] for fall in numbers["table"]] == list(thaw.training.LOSSES)
    first = f"{numbers['table'][0]['first'][0]:.4g}"
    assert f"<td>{first}</td>" in page
    assert first in text


def test_by_events_asks_the_same_rows_with_more_and_more_events(
    dataset: Dataset, runs: Path
) -> None:
    page, numbers = page_and_numbers(runs.parent)
    assert [point["events"] for point in numbers["points"]] == [0, 1, 2, 5, 10, 20, 50, 100]
    assert numbers["impressions"] == int((~dataset.is_new("test")).sum())
    shares = [point["cut_share"] for point in numbers["points"]]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    for point in numbers["points"]:
        found = point["tasks"]["click"]["auc"]
        assert f"<td>{found['base']['mean']:.4f}</td>" in page
        assert f"<td>{found['method']['mean']:.4f}</td>" in page


def test_all_events_of_by_events_are_what_evaluation_shows(dataset: Dataset, runs: Path) -> None:
    numbers = json.loads((runs.parent / "figures.json").read_text())
    evaluated = json.loads(thaw_("evaluate", runs / "mail-base/seed-0", "--json"))["results"]
    old = next(row for row in evaluated if row["segment"] == "old")
    found = numbers["points"][-1]["tasks"]["click"]
    assert found["auc"]["method"]["mean"] == pytest.approx(old["auc"], abs=1e-6)
    assert found["gauc"]["method"]["mean"] == pytest.approx(old["gauc"], abs=1e-6)


def test_filled_places_of_by_events_are_what_evaluation_shows(dataset: Dataset, runs: Path) -> None:
    page, numbers = page_and_numbers(runs.parent)
    each = [point["tasks"]["click"]["auc"] for point in numbers["points"]]
    assert ["filled" in found for found in each] == [False] + [True] * (len(each) - 1)
    # Tiny users have few events: whether virtual ones stand before them makes a difference.
    assert any(found["filled"]["mean"] != found["method"]["mean"] for found in each[1:])
    assert all(f"<td>{found['filled']['mean']:.4f}</td>" in page for found in each[1:])
    command = ["evaluate", runs / "mail-base/seed-0", "--fill-below", 100, "--json"]
    new, old = json.loads(thaw_(*command))["results"]
    assert each[-1]["filled"]["mean"] == pytest.approx(old["auc"], abs=1e-6)
    usual = json.loads(thaw_("evaluate", runs / "mail-base/seed-0", "--json"))["results"]
    assert new == usual[0]


def test_evaluate_takes_as_many_events_as_validation_chooses(runs: Path) -> None:
    run = runs / "mail-base/seed-0"
    found = json.loads(thaw_("evaluate", run, "--fill-below", "auto", "--json"))
    recommender = Recommender.load(run)
    assert recommender.dataset is not None
    assert found["fill_below"] == choose_fill_below(recommender, recommender.dataset)
    same = thaw_("evaluate", run, "--fill-below", found["fill_below"], "--json")
    assert json.loads(same) == found


def test_evaluate_refuses_a_number_of_events_that_is_none(runs: Path) -> None:
    thaw_("evaluate", runs / "mail-base/seed-0", "--fill-below", "few", code=2)


def test_by_attributes_keeps_its_points(tmp_path: Path) -> None:
    command = ["experiment", "by-attributes", "--users", 300, "--shares", "0,1", "--seeds", 1,
               "--max-epochs", 1, "--max-events", 5, "--out", tmp_path, "--quiet",
               "--method", "mail-base+dropout"]  # fmt: skip
    text = thaw_(*command)
    page, numbers = page_and_numbers(tmp_path)
    assert "mail-base+dropout and base-dnn, 1 seed in each of 2 worlds of 300 users" in page
    assert [point["share"] for point in numbers["points"]] == [0, 1]
    for point in numbers["points"]:
        for name in ("base", "method", "ceiling", "best_from_attributes", "best"):
            assert f"<td>{point[name]['mean']:.4f}</td>" in page
        for name in ("r2", "r2_ridge"):
            assert f"{abs(point[name]):.3f}</td>" in page
    # Where attributes determine all, the best from them is the best there is.
    assert numbers["points"][1]["best"] == numbers["points"][1]["best_from_attributes"]
    (tmp_path / "share-0/runs").rename(tmp_path / "away")
    assert thaw_(*command) == text
    with pytest.raises(thaw.DataError, match=r"point.json was measured with other settings"):
        thaw_(*command, "--max-epochs", 2)


def test_shares_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(thaw.DataError, match="'a,b' is no list of numbers"):
        thaw_("experiment", "by-attributes", "--shares", "a,b", "--out", tmp_path)
    with pytest.raises(thaw.DataError, match=r"`interest_determined` \(=2.0\)"):
        thaw_("experiment", "by-attributes", "--shares", "2", "--out", tmp_path)


@pytest.mark.parametrize(
    ("name", "method", "match"),
    [
        ("by-events", "base-dnn", "no virtual behavior"),
        ("by-events", "meta-emb", "no virtual behavior"),
        ("by-attributes", "base-dnn+dropout", "no virtual behavior"),
        ("figure-4", "base-dnn", "no zero-shot tower"),
        ("figure-5", "mail-none", "no zero-shot tower"),
    ],
)
def test_methods_without_what_is_drawn_are_refused_before_training(
    name: str, method: str, match: str, dataset: Dataset, tmp_path: Path
) -> None:
    what = [] if name == "by-attributes" else [dataset.path]
    call = ["experiment", name, *what, "--out", tmp_path, "--method", method, *SHORT]
    with pytest.raises(thaw.MethodError, match=match):
        thaw_(*call)
    assert not (tmp_path / "runs").exists()


def test_nobody_hidden_leaves_new_users_out(tables: Tables, tmp_path: Path) -> None:
    natural = make_schema().with_new_users("natural")
    found = thaw.prepare(natural, tables, out=tmp_path / "natural")
    out = tmp_path / "out"
    thaw_("experiment", "figure-5", found.path, "--out", out, "--permutations", 99, *SHORT)
    _, numbers = page_and_numbers(out)
    assert {cloud["title"] for cloud in numbers["clouds"]} == {"old users"}
    assert all(math.isfinite(cloud["mmd"]) for cloud in numbers["clouds"])
    with pytest.raises(thaw.DataError, match="it needs 10 of each"):
        thaw_("experiment", "figure-6", found.path, "--runs", out / "runs", "--out", out, *SHORT)
