"""The schema: read from YAML and Python alike, and all of its faults told at once."""

from copy import deepcopy
from datetime import date
from pathlib import Path

import pytest
import yaml

from conftest import make_schema
from thaw.data import Dataset
from thaw.errors import SchemaError
from thaw.schema import Field, Schema

YAML = """
name: tiny
users: {key: user_id, attributes: [city, {name: age, kind: dense}]}
items: {key: item_id, features: [category, {name: price, kind: dense}]}
impressions: {user: user, item: item, time: time, context: [hour, place]}
events: {user: user, time: time, fields: [category, brand], action: action}
tasks: [{name: click, column: clicked}]
split: {rule: last}
new_users: {rule: paper}
"""


def with_(path: str, value: object) -> dict[str, object]:
    """The schema as a dict, with another value in one place."""
    whole = deepcopy(yaml.safe_load(YAML))
    *folders, last = path.split(".")
    part = whole
    for folder in folders:
        part = part[folder]
    part[last] = value
    return whole


def test_yaml_and_python_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(YAML)
    assert Schema.read(path) == make_schema()


def test_a_schema_survives_being_written(schema: Schema) -> None:
    text = yaml.safe_dump(schema.model_dump(mode="json"))
    assert Schema.model_validate(yaml.safe_load(text)) == schema


def test_the_dataset_holds_its_schema(dataset: Dataset, schema: Schema) -> None:
    assert Dataset.open(dataset.path).schema == schema


def test_the_user_id_is_an_attribute_unless_told_otherwise(schema: Schema) -> None:
    assert [field.name for field in schema.users.fields] == ["user_id", "city", "age"]
    without = make_schema(users=schema.users.model_copy(update={"id_attribute": False}))
    assert [field.name for field in without.users.fields] == ["city", "age"]


def test_event_fields_share_the_items_vocabulary(schema: Schema) -> None:
    category, brand = schema.events.fields
    assert schema.vocabulary("events", category) == "items.category"
    assert schema.vocabulary("events", brand) == "events.brand"
    assert schema.vocabulary("events", Field(name="kind", shares="category")) == "items.category"


FAULTS = [
    ("users.attribut", ["city"], "users.attribut: unknown key; known keys: files, csv, key"),
    ("users.attributes", ["a", "a"], "users.attributes[1].name: 'a' stands there twice"),
    ("users.attributes", ["a", "A"], "users.attributes[1].name: 'A' stands there twice"),
    ("users.attributes", ["user_id"], "users.attributes[0].name: 'user_id' is the key"),
    ("users.attributes", [{"name": "a", "min_count": 0}], "users.attributes[0].min_count: "),
    ("users.attributes", [{"name": "a", "sort": 1}], "users.attributes[0].sort: unknown key"),
    ("users.key", "", "users.key: string should have at least 1 character"),
    ("users.csv", {"columns": ["a", "a"]}, "users.csv.columns[1]: 'a' stands there twice"),
    ("users.csv", {"quote": "|", "delimiter": "|"}, "users.csv.quote: is the delimiter too"),
    ("users.csv", {"encoding": "cp1252"}, "users.csv.encoding: input should be 'utf-8' or"),
    ("items.features", [{"name": "a", "shares": "item_id"}], "items.features[0].shares: no cat"),
    ("impressions.context", ["clicked"], "impressions.context[0].name: 'clicked' is a task"),
    ("impressions.references", ["p", "p"], "impressions.references[1]: 'p' stands there twice"),
    ("impressions.references", ["clicked"], "references[0]: 'clicked' is a task's label"),
    ("users.attributes", "city", "users.attributes: should be a list (is 'city')"),
    ("users", "u", "users: should be keys with values (is 'u')"),
    ("split", "time", "split: should be keys with values, such as {rule: ...} (is 'time')"),
    ("impressions.context", [{"name": "a", "kind": "dense", "shares": "category"}], "a dense"),
    ("events.fields", [], "events.fields: tuple should have at least 1 item"),
    ("events.fields", ["price"], "events.fields[0].name: the items' field so named is dense"),
    ("events.fields", [{"name": "a", "kind": "dense"}], "events.fields[0].kind: an event"),
    ("events.fields", [{"name": "a", "shares": "price"}], "events.fields[0].shares: no cat"),
    ("events.item", "item", "events.fields[1].name: with events.item, fields are items' fields"),
    ("events.table", "clicks", "events.table: input should be 'events' or 'impressions'"),
    ("tasks", [], "tasks: tuple should have at least 1 item"),
    ("tasks", ["a", "a"], "tasks[1].name: 'a' stands there twice"),
    ("tasks", ["a", {"name": "b", "given": "c"}], "tasks[1].given: no earlier task 'c'; there are"),
    ("tasks", [{"name": "a", "given": "b"}, "b"], "tasks[0].given: no earlier task 'b'; there is"),
    ("tasks", ["a", {"name": "b", "given": "b"}], "tasks[1].given: no earlier task 'b'"),
    ("split", {"rule": "tim"}, "split.rule: 'tim' is none of 'time', 'last', 'column'"),
    ("split", {}, "split.rule: is missing"),
    ("split", {"rule": "time"}, "split: give one of test_from and test_share (there are 0)"),
    ("split", {"rule": "time", "test_from": 1, "test_share": 0.2}, "(there are 2)"),
    ("split", {"rule": "last", "test_share": 1}, "split.test_share: input should be less than 1"),
    ("new_users", {"rule": "paper", "shares": 0.5}, "new_users.shares: unknown key; known"),
    ("new_users", {"rule": "column"}, "new_users.column: is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "fault"), FAULTS)
def test_a_fault_names_its_path_and_what_would_be_right(
    path: str, value: object, fault: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        Schema.model_validate(with_(path, value))
    assert any(fault in line for line in caught.value.faults), caught.value.faults


def test_all_faults_are_told_at_once() -> None:
    whole = with_("split", {"rule": "time"})
    del whole["users"]["key"]
    whole["items"]["colour"] = 1
    whole["tasks"].append({"name": 3})
    whole["events"]["fields"] = ["brand", "brand"]
    with pytest.raises(SchemaError, match="schema has 5 faults") as caught:
        Schema.model_validate(whole)
    paths = {fault.split(":")[0] for fault in caught.value.faults}
    assert paths == {"users.key", "items.colour", "tasks[1].name", "events.fields[1].name", "split"}


def test_python_gets_the_same_faults_as_yaml() -> None:
    with pytest.raises(SchemaError, match=r"events\.fields\[1\]\.name: 'brand' stands there twice"):
        make_schema(
            events=make_schema().events.model_copy(update={"fields": (Field(name="brand"),) * 2})
        )


def test_an_unreadable_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="No such file or directory; give the path of a YAML"):
        Schema.read(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("name: [")
    with pytest.raises(SchemaError, match=r"bad.yaml has 1 fault:\n  - not YAML"):
        Schema.read(tmp_path / "bad.yaml")
    (tmp_path / "twice.yaml").write_text("tasks: [a]\nname: x\ntasks: [b]\n")
    with pytest.raises(SchemaError, match="not YAML: the key 'tasks' stands there twice"):
        Schema.read(tmp_path / "twice.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(SchemaError, match="the schema: should be keys with values"):
        Schema.read(tmp_path / "empty.yaml")


def test_another_rule_for_new_users(schema: Schema) -> None:
    strict = schema.with_new_users("strict", share=0.2)
    assert strict.strict
    assert strict.new_users.share == 0.2
    assert strict.model_copy(update={"new_users": schema.new_users}) == schema
    with pytest.raises(SchemaError, match=r"new_users.rule: 'none' is none of"):
        schema.with_new_users("none")


def test_another_rule_keeps_share_and_seed() -> None:
    schema = make_schema(new_users={"rule": "paper", "share": 0.3, "seed": 7})
    strict = schema.with_new_users("strict")
    assert (strict.new_users.share, strict.new_users.seed) == (0.3, 7)
    assert schema.with_new_users("strict", share=0.1).new_users.share == 0.1
    assert schema.with_new_users("natural").new_users.rule == "natural"


def test_a_date_in_yaml_is_taken_as_written(tmp_path: Path) -> None:
    plain = make_schema().model_dump(mode="json", exclude_unset=True)
    text = yaml.safe_dump(plain | {"split": {"rule": "time", "test_from": date(2026, 2, 23)}})
    assert "test_from: 2026-02-23" in text
    (tmp_path / "schema.yaml").write_text(text)
    assert Schema.read(tmp_path / "schema.yaml").split.test_from == "2026-02-23"
