"""What a prepared dataset holds, in numbers that a report can print."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from thaw.data import Dataset
from thaw.tables.vocabularies import FIRST, categorical, dense

FEW, RARE = 5, 0.05


@dataclass(frozen=True)
class SplitFacts:
    """One split.

    Attributes:
        name: 'train', 'validation' or 'test'.
        impressions: rows.
        users: users with rows.
        new_share: the share of rows whose user is new.
        click_rates: for each task, in the dataset's order, the share of rows with label 1.
    """

    name: str
    impressions: int
    users: int
    new_share: float
    click_rates: tuple[float, ...]


@dataclass(frozen=True)
class TableFacts:
    """One of the tables that the dataset was prepared from.

    Attributes:
        name: 'users', 'items', 'impressions' or 'events'.
        read: rows read.
        rejected: rows that could not be used.
        first: the day of the first row in use, as 2024-12-31; empty for users and items.
        last: that of the last.
    """

    name: str
    read: int
    rejected: int
    first: str = ""
    last: str = ""


@dataclass(frozen=True)
class DataFacts:
    """A prepared dataset in numbers.

    Attributes:
        name: the data set's name.
        tasks: the tasks' names.
        users: rows of the users table.
        items: rows of the items table.
        events: events of all users.
        hidden_share: the share of users whose behavior the rule for new users hides.
        splits: train, validation and test.
        tables: what was read and what was rejected.
        vocabularies: pairs of a vocabulary and its ids, missing and unknown included.
        rare_attributes: pairs of an attribute and the share of training users whose value fewer
            than FEW of them hold, where that is more than a twentieth.
        constant_fields: fields of users, items and impressions, as 'users.age', that have one value
            in all rows (of impressions: of training), or none.
    """

    name: str
    tasks: tuple[str, ...]
    users: int
    items: int
    events: int
    hidden_share: float
    splits: tuple[SplitFacts, ...]
    tables: tuple[TableFacts, ...]
    vocabularies: tuple[tuple[str, int], ...]
    rare_attributes: tuple[tuple[str, float], ...] = ()
    constant_fields: tuple[str, ...] = ()


def data_facts(dataset: Dataset) -> DataFacts:
    """Count what a prepared dataset holds."""
    names = dataset.vocabularies.values
    rejects, days = dataset.manifest["rejects"], dataset.manifest.get("days", {})
    return DataFacts(
        name=dataset.schema.name,
        tasks=tuple(task.name for task in dataset.schema.tasks),
        users=len(dataset.users),
        items=len(dataset.items),
        events=len(dataset.events.codes),
        hidden_share=_share(dataset.hidden),
        splits=tuple(_split(dataset, name) for name in dataset.splits),
        tables=tuple(
            TableFacts(name, counts["read"], counts["rejected"], *days.get(name, ()))
            for name, counts in rejects.items()
        ),
        vocabularies=tuple((name, dataset.vocabularies.rows(name)) for name in names),
        rare_attributes=tuple(_rare_attributes(dataset)),
        constant_fields=tuple(_constant_fields(dataset)),
    )


def _rare_attributes(dataset: Dataset) -> Iterator[tuple[str, float]]:
    users = np.unique(dataset.splits["train"].user)
    of_users = dataset.schema.users
    for column, field in enumerate(categorical(of_users.fields)):
        codes = dataset.users.codes[users, column]
        held = np.bincount(codes)[codes]
        share = _share((held < FEW) & (codes >= FIRST))
        if field.name != of_users.key and share > RARE:
            yield field.name, share


def _constant_fields(dataset: Dataset) -> Iterator[str]:
    schema, train = dataset.schema, dataset.splits["train"]
    for table, fields, rows in (
        ("users", schema.users.fields, dataset.users),
        ("items", schema.items.fields, dataset.items),
        ("impressions", schema.impressions.context, train),
    ):
        columns = zip(
            (*categorical(fields), *dense(fields)), (*rows.codes.T, *rows.dense.T), strict=True
        )
        for field, values in columns:
            known = values[~np.isnan(values)]
            if len(rows) > 1 and (not len(known) or known.min() == known.max()):
                yield f"{table}.{field.name}"


def _split(dataset: Dataset, name: str) -> SplitFacts:
    table = dataset.splits[name]
    return SplitFacts(
        name,
        impressions=len(table),
        users=len(np.unique(table.user)),
        new_share=_share(dataset.is_new(name)),
        click_rates=tuple(_share(column) for column in table.labels.T),
    )


def _share(flags: np.ndarray) -> float:
    return float(flags.mean()) if len(flags) else math.nan
