"""Vocabularies: which values of a categorical field have an id, learned from training rows only."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import ibis
from ibis import _
from ibis.expr import types as ir

from thaw.schema import Field, Schema

MISSING, UNKNOWN, FIRST = 0, 1, 2
"""The ids of a missing value, of a value outside the vocabulary, and of the first value in it."""

ACTION = "action"
"""The vocabulary of actions; a field's has its table's name and a dot before it."""


def categorical(fields: tuple[Field, ...]) -> list[Field]:
    """The fields that have ids."""
    return [field for field in fields if field.kind == "categorical"]


def dense(fields: tuple[Field, ...]) -> list[Field]:
    """The fields that are numbers."""
    return [field for field in fields if field.kind == "dense"]


def count(con: Any, schema: Schema) -> list[str]:
    """Write a table 'vocabulary <name>' (value, code) for each vocabulary; return their names.

    A value's count is the number of training rows that show it: impressions for the fields of
    users, items and context, and for events those that a training impression could see. Ids are
    given by falling count, then by value. Of users' fields `min_count` asks for users instead.
    """
    con.create_table("seen_users", _seen(con, "user"))
    con.create_table("seen_items", _seen(con, "item"))
    uses: dict[str, list[ir.Table]] = {}
    least: dict[str, int] = {}
    of_users = {f"users.{field.name}" for field in schema.users.fields}
    for table, field, rows in _uses(con, schema):
        name = schema.vocabulary(table, field)
        uses.setdefault(name, []).append(rows)
        if field.shares is None and name == f"{table}.{field.name}":
            least[name] = field.min_count
    if schema.events.action is not None:
        uses[ACTION] = [_values(_visible_events(con), "action")]
    for name, tables in uses.items():
        _write(con, name, tables, least.get(name, 1), "users" if name in of_users else "n")
    return list(uses)


class Coding(NamedTuple):
    """A column of texts, the vocabulary that it is looked up in, and what its codes are called."""

    source: str
    vocabulary: str
    target: str


def encode(con: Any, rows: ir.Table, codings: Sequence[Coding]) -> ir.Table:
    """Replace columns of texts by their codes.

    It is one query: a query for each would name all columns again, and nest.
    """
    joined = rows
    for k, coding in enumerate(codings):
        vocabulary = con.table(f"vocabulary {coding.vocabulary}")
        codes = vocabulary.select(**{f"_value{k}": "value", f"_code{k}": "code"})
        joined = joined.left_join(codes, [(coding.source, f"_value{k}")])
    found = {}
    for k, coding in enumerate(codings):
        known = ibis.coalesce(joined[f"_code{k}"], ibis.literal(UNKNOWN, "int32"))
        is_missing = joined[coding.source].isnull()
        code = ibis.ifelse(is_missing, ibis.literal(MISSING, "int32"), known)
        found[coding.target] = code.cast("int32")
    sources = {coding.source for coding in codings}
    return joined.select(*(name for name in rows.columns if name not in sources), **found)


def _seen(con: Any, column: str) -> ir.Table:
    """How often training impressions show each user or item, and until when."""
    train = con.table("assigned").filter(_.split == "train")
    return train.group_by(num=train[column]).agg(seen=_.count(), last=_.time.max())


def _uses(con: Any, schema: Schema) -> Iterator[tuple[str, Field, ir.Table]]:
    """Every categorical field with its values and their counts."""
    train = con.table("assigned").filter(_.split == "train")
    users = con.table("users").join(con.table("seen_users"), "num")
    items = con.table("items").join(con.table("seen_items"), "num")
    for field in categorical(schema.users.fields):
        yield "users", field, _values(users, _source(field, schema.users.key), users.seen)
    for field in categorical(schema.items.fields):
        yield "items", field, _values(items, _source(field, schema.items.key), items.seen)
    for field in categorical(schema.impressions.context):
        yield "impressions", field, _values(train, f"field_{field.name}")
    for field in schema.events.fields:
        yield "events", field, _values(_visible_events(con), f"field_{field.name}")


def _source(field: Field, key: str) -> str:
    return "key" if field.name == key else f"field_{field.name}"


def _visible_events(con: Any) -> ir.Table:
    """The events that some training impression could see: none of new users, none from later."""
    seen, chosen = con.table("seen_users"), con.table("chosen")
    old = seen.join(chosen.filter(~_.hidden), "num").select(_user="num", _last="last")
    events = con.table("events")
    return events.join(old, (events.user == old._user) & (events.time < old._last))


def _values(rows: ir.Table, column: str, weight: ir.IntegerColumn | None = None) -> ir.Table:
    n = rows.count() if weight is None else weight.sum()
    return rows.group_by(value=rows[column]).agg(n=n, users=rows.count())


def _write(con: Any, name: str, tables: list[ir.Table], least: int, counted: str) -> None:
    every = ibis.union(*tables) if len(tables) > 1 else tables[0]
    known = every.filter(_.value.notnull()).group_by("value")
    total = known.agg(n=_.n.sum(), users=_.users.sum())
    kept = total.filter(total[counted] >= least)
    order = ibis.row_number().over(order_by=[ibis.desc("n"), "value"])
    con.create_table(f"vocabulary {name}", kept.select("value", code=(order + FIRST).cast("int32")))
