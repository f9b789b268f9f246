"""What a dataset should hold, worked out from the raw tables slowly and plainly."""

from collections import Counter, defaultdict
from itertools import pairwise

from conftest import Tables
from thaw.data import Dataset
from thaw.tables.vocabularies import FIRST, MISSING, UNKNOWN

Row = dict[str, object]


def decode(dataset: Dataset, vocabulary: str, code: int) -> str | None:
    """The text that an id stands for; '?' where it is unknown."""
    if code in (MISSING, UNKNOWN):
        return None if code == MISSING else "?"
    return dataset.vocabularies.values[vocabulary][int(code) - FIRST].as_py()


def in_order(rows: list[Row]) -> list[Row]:
    """Rows by user and time; those of one moment as they stand in the table."""
    return sorted(rows, key=lambda row: (row["user"], row["time"]))


def by_user(rows: list[Row]) -> dict[str, list[Row]]:
    """Each user's rows in order."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in in_order(rows):
        found[row["user"]].append(row)
    return found


def last_split(rows: list[Row], test: float = 0.2, validation: float = 0.1) -> dict[str, list[Row]]:
    """The split by the last share of every user's impressions."""
    found: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    for own in by_user(rows).values():
        train = len(own) - max(round(test * len(own)), int(len(own) > 1))
        cuts = (0, train - round(validation * train), train, len(own))
        for name, (low, high) in zip(found, pairwise(cuts), strict=True):
            found[name] += own[low:high]
    return found


def behavior(tables: Tables, row: Row) -> list[Row]:
    """All events of the row's user strictly before it, oldest first."""
    return [
        event for event in by_user(tables["events"])[row["user"]] if event["time"] < row["time"]
    ]


def vocabulary(values: list[object], min_count: int = 1) -> list[str]:
    """The values by falling count, then by text."""
    counts = Counter(str(value) for value in values if value is not None)
    kept = [value for value in counts if counts[value] >= min_count]
    return sorted(kept, key=lambda value: (-counts[value], value))


def visible_events(tables: Tables, train: list[Row], hidden: set[str]) -> list[Row]:
    """The events that some training row could see."""
    last = {row["user"]: row["time"] for row in in_order(train)}
    return [
        event
        for event in tables["events"]
        if event["user"] not in hidden and event["time"] < last.get(event["user"], -1)
    ]


def hidden_users(dataset: Dataset) -> set[str]:
    """The users whose behavior the rule hides."""
    keys = dataset.users.keys.to_pylist()
    return {key for key, hidden in zip(keys, dataset.hidden, strict=True) if hidden}
