"""The checks of a schema: all its faults at once, each with its path and what would be right."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel


def plain(data: object) -> Any:
    """The data as dicts and lists, whether it came from YAML or from Python."""
    if isinstance(data, BaseModel):
        return plain(data.model_dump())
    if isinstance(data, Mapping):
        return {key: plain(value) for key, value in data.items()}
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return [plain(value) for value in data]
    return data


def named(value: object) -> object:
    """A name alone stands for a field or task of that name."""
    return {"name": value} if isinstance(value, str) else value


_KINDS = {
    "tuple_type": "should be a list",
    "model_type": "should be keys with values",
    "model_attributes_type": "should be keys with values, such as {rule: ...}",
}
"""What pydantic says in Python's words."""


def fault_line(error: Any, schema: type[BaseModel]) -> str:
    """One line for one of pydantic's errors."""
    location = list(error["loc"])
    if location[:1] in (["split"], ["new_users"]):
        del location[1:2]  # the rule, which pydantic adds to the path
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    path = path.lstrip(".") or "the schema"
    if error["type"] == "union_tag_invalid":
        return f"{path}.rule: {error['ctx']['tag']!r} is none of {error['ctx']['expected_tags']}"
    if error["type"] == "union_tag_not_found":
        return f"{path}.rule: is missing"
    if error["type"] == "missing":
        return f"{path}: is missing"
    if error["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(schema, error["loc"][:-1])) or "none here"
        return f"{path}: unknown key; known keys: {known}"
    shown = error["input"]
    text = _KINDS.get(error["type"]) or error["msg"][0].lower() + error["msg"][1:]
    return f"{path}: {text} (is {str(shown)[:60]!r})"


def _known_keys(schema: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys that a part of the schema knows, by its path."""
    definitions = schema.model_json_schema()
    node: Any = definitions
    for part in location:
        node = _resolve(node, definitions)
        if "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"].get(part, "")}
        elif isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part, {})
    return list(_resolve(node, definitions).get("properties", {}))


def _resolve(node: Any, definitions: Any) -> Any:
    if "$ref" in node:
        return definitions["$defs"].get(node["$ref"].rsplit("/", 1)[-1], {})
    return node


def _names(part: Any, key: str, kind: str | None = None) -> list[str]:
    """The names in a list of fields, as far as they can be read; of one kind, or all."""
    values = part.get(key) if isinstance(part, dict) else None
    fields = [named(value) for value in values] if isinstance(values, list) else []
    return [
        str(field.get("name"))
        for field in fields
        if isinstance(field, dict) and kind in (None, field.get("kind", "categorical"))
    ]


_FIELD_LISTS = (
    ("users", "attributes"),
    ("items", "features"),
    ("impressions", "context"),
    ("events", "fields"),
)


def cross_faults(data: Any) -> Iterator[str]:
    """Faults between fields, found even where other parts of the schema are wrong."""
    if not isinstance(data, dict):
        return
    yield from _name_faults(data)
    yield from _text_faults(data)
    yield from _sharing_faults(data)
    yield from _leak_faults(data)
    yield from _task_faults(data)
    yield from _split_faults(data)
    events = data.get("events")
    if isinstance(events, dict) and events.get("table") == "impressions" and events.get("files"):
        yield "events.files: the events are the impressions (events.table); remove one of the two"


def _name_faults(data: dict[str, Any]) -> Iterator[str]:
    keyed = {"users": "attributes", "items": "features"}
    for table, key in (*_FIELD_LISTS, ("", "tasks")):
        part = data.get(table) if table else data
        names = _names(part, key)
        own = part.get("key") if table in keyed and isinstance(part, dict) else None
        path = f"{table}.{key}" if table else key
        for index, name in enumerate(names):
            if _stands_before(names, index):
                yield f"{path}[{index}].name: {name!r} stands there twice; remove one"
            if str(own).casefold() == name.casefold():
                yield f"{path}[{index}].name: {name!r} is the key, a field already; remove it"


def _stands_before(names: Sequence[Any], index: int) -> bool:
    """Whether a name stands there before; databases do not tell 'City' from 'city'."""
    return str(names[index]).casefold() in [str(name).casefold() for name in names[:index]]


def _text_faults(data: dict[str, Any]) -> Iterator[str]:
    lists = {("impressions", "references"): data.get("impressions")}
    for table in ("users", "items", "impressions", "events"):
        part = data.get(table)
        csv = part.get("csv") if isinstance(part, dict) else None
        lists[f"{table}.csv", "columns"] = csv
        if isinstance(csv, dict) and csv.get("quote") and csv["quote"] == csv.get("delimiter"):
            yield f"{table}.csv.quote: is the delimiter too; leave it empty where nothing is quoted"
    for (path, key), part in lists.items():
        given = part.get(key) if isinstance(part, dict) else None
        names = given if isinstance(given, list) else []
        for index, name in enumerate(names):
            if _stands_before(names, index):
                yield f"{path}.{key}[{index}]: {name!r} stands there twice; rename one"


def _sharing_faults(data: dict[str, Any]) -> Iterator[str]:
    items = data.get("items")
    owners = _names(items, "features", "categorical")
    if isinstance(items, dict) and isinstance(items.get("key"), str):
        owners = [items["key"], *owners]
    numbers = _names(items, "features", "dense")
    for table, key in _FIELD_LISTS:
        part = data.get(table)
        values = part.get(key) if isinstance(part, dict) else None
        for index, value in enumerate(values if isinstance(values, list) else []):
            shares = value.get("shares") if isinstance(value, dict) else None
            path = f"{table}.{key}[{index}]"
            if shares is not None and (shares not in owners or table == "items"):
                there = ", ".join(owners)
                yield f"{path}.shares: no categorical items' field {shares!r}; there are: {there}"
            if shares is not None and value.get("kind") == "dense":
                yield f"{path}.shares: a dense field has no vocabulary to share; remove 'shares'"
            name = value.get("name") if isinstance(value, dict) else value
            if table == "events" and shares is None and name in numbers:
                yield f"{path}.name: the items' field so named is dense; rename it or leave it out"
            if table == "events" and isinstance(value, dict) and value.get("kind") == "dense":
                yield f"{path}.kind: an event's fields are categorical; leave it out or bucket it"
    events = data.get("events")
    if isinstance(events, dict) and isinstance(events.get("item"), str):
        for index, name in enumerate(_names(events, "fields")):
            if name not in owners:
                yield (
                    f"events.fields[{index}].name: with events.item, fields are items' fields; "
                    f"{name!r} is none of: {', '.join(owners)}"
                )


# Columns that scoring adds beside one for each task.
TAKEN = ("user", "item", "behavior")


def _leak_faults(data: dict[str, Any]) -> Iterator[str]:
    """Labels and other systems' scores must not be features."""
    impressions = data.get("impressions")
    values = data.get("tasks")
    tasks = [named(value) for value in values] if isinstance(values, list) else []
    labels = {str(t.get("column") or t.get("name")) for t in tasks if isinstance(t, dict)}
    references = impressions.get("references") if isinstance(impressions, dict) else None
    for index, name in enumerate(references if isinstance(references, list) else ()):
        if name in labels:
            yield (
                f"impressions.references[{index}]: {name!r} is a task's label, which foretells "
                "itself; remove it"
            )
    for index, name in enumerate(_names(data, "tasks")):
        if name in TAKEN:
            yield f"tasks[{index}].name: scores have a column {name!r} already; choose another"
    for index, name in enumerate(_names(impressions, "context")):
        path = f"impressions.context[{index}].name"
        if name in labels:
            yield f"{path}: {name!r} is a task's label, which would leak; remove it"
        if name in (references or ()):
            yield f"{path}: {name!r} is a reference; another system's score is no feature"


def _task_faults(data: dict[str, Any]) -> Iterator[str]:
    names = _names(data, "tasks")
    values = data.get("tasks")
    for index, value in enumerate(values if isinstance(values, list) else []):
        given = value.get("given") if isinstance(value, dict) else None
        earlier = names[:index]
        if given is not None and given not in earlier:
            there = f"there are: {', '.join(earlier)}" if earlier else "there is none"
            yield f"tasks[{index}].given: no earlier task {given!r}; {there}"


def _split_faults(data: dict[str, Any]) -> Iterator[str]:
    split = data.get("split")
    if isinstance(split, dict) and split.get("rule") == "time":
        given = [key for key in ("test_from", "test_share") if split.get(key) is not None]
        if len(given) != 1:
            yield f"split: give one of test_from and test_share (there are {len(given)})"
