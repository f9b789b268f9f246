import pytest

import thaw
from conftest import make_schema, make_tables
from report.comparisons import base, comparison, figure, line
from thaw.experiments.paper_tables import DEPARTURES, TABLES, PaperTable, entries
from thaw.methods import MAIL, method
from thaw.report.text_tables import paper_table
from thaw.schema import StrictRule


@pytest.fixture
def found():
    new = {"one": 0.72, "two": 0.66}
    lines = [line(n, (figure(v), figure(v - 0.1)), base="base-dnn") for n, v in new.items()]
    return comparison(base(), *lines)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_papers_tables_name_methods_that_there_are(table):
    given = {each for each in (*table.methods, *table.beside) if isinstance(each, str)}
    assert [method(name).name for name in given] == [*given]
    assert table.baseline is None or table.baseline in table.names


def test_each_row_of_the_defaults_departs_in_one_option():
    for each in DEPARTURES:
        default, own = vars(MAIL()), vars(each.mail)
        assert sum(own[name] != default[name] for name in default) == 1


def test_improvement_is_against_each_ones_base(found):
    table = entries(found, PaperTable("", ("base-dnn", "one", "two")), "click")
    assert table["base-dnn"]["new", "auc"].improvement == 0
    assert table["one"]["new", "auc"].improvement == pytest.approx(100 * 0.02 / 0.70)
    assert table["two"]["old", "gauc"].improvement == pytest.approx(100 * -0.09 / 0.65)


def test_a_table_may_have_one_baseline_for_all(found):
    table = entries(found, PaperTable("", ("base-dnn", "one", "two"), baseline="one"), "click")
    assert table["one"]["new", "auc"].improvement == 0
    assert table["base-dnn"]["new", "auc"].improvement == pytest.approx(100 * -0.02 / 0.72)


def test_best_and_second_best_of_each_column_are_marked(found):
    table = entries(found, PaperTable("", ("base-dnn", "one", "two")), "click")
    places = {key: [row[key].place for row in table.values()] for key in table["one"]}
    assert places["new", "auc"] == [2, 1, 0]
    assert places["new", "gauc"] == [1, 2, 0]


def test_it_is_laid_out_as_in_the_paper(found):
    table = paper_table(found, PaperTable("Table 9", ("base-dnn", "one", "two")), "click")
    assert table.title == "Table 9 (click)"
    assert table.grid.columns[:3] == ("method", "new AUC", "RI %")
    one, two = (" ".join(row).replace("\N{FIGURE SPACE}", "") for row in table.grid.rows[1:])
    assert one == "one 0.7200 1 +2.86 0.6200 2 -4.62 0.7200 1 +2.86 0.6200 2 -4.62"
    assert two == "two 0.6600  -5.71 0.5600  -13.85 0.6600  -5.71 0.5600  -13.85"


def test_where_all_training_rows_have_behavior_mail_none_hides_some(dataset, tmp_path):
    assert TABLES["table-3"].on(dataset) == TABLES["table-3"]
    schema = make_schema(new_users=StrictRule(rule="strict"))
    tables = make_tables()
    known = {row["user"] for row in tables["events"] if row["time"] < 1000}
    tables["impressions"] = [row for row in tables["impressions"] if row["user"] in known]
    strict = thaw.prepare(schema, tables, out=tmp_path / "strict")
    assert "mail-none+dropout" in TABLES["table-3"].on(strict).methods
