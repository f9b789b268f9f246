"""The loader: every row once, in an order that the seed alone decides, from any batch on."""

import dataclasses
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import thaw
from conftest import Tables, make_schema, make_tables
from thaw.batch import Batch, Fields
from thaw.data import Dataset
from thaw.loader import Loader, LoaderOptions
from thaw.tables.vocabularies import FIRST, MISSING, UNKNOWN


def loader(dataset: Dataset, split: str = "train", **options: object) -> Loader:
    options = {"batch_size": 64, "is_training": split == "train", **options}
    return Loader(dataset, split, LoaderOptions(**options))


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches hold the same numbers."""

    def flat(batch: Batch) -> list[torch.Tensor]:
        values = [getattr(batch, field.name) for field in dataclasses.fields(batch)]
        parts = [
            part
            for value in values
            for part in ((value.index, value.scale) if isinstance(value, Fields) else (value,))
        ]
        return [part for part in parts if part is not None]

    return all(torch.equal(*pair) for pair in zip(flat(one), flat(other), strict=True))


def shown(batches: list[Batch], loader: Loader) -> Counter[tuple[object, ...]]:
    """How often (user's id row, target's item row, label) is shown."""
    found: Counter[tuple[object, ...]] = Counter()
    for batch in batches:
        users = batch.rows[batch.attributes.index[batch.user, 0]]
        items = batch.rows[batch.target.index[:, 0]]
        found.update(zip(users.tolist(), items.tolist(), batch.labels[:, 0].tolist(), strict=True))
    return found


@pytest.mark.parametrize("batch_size", [1, 64, 419, 420, 10_000])
def test_an_epoch_shows_every_row_once(batch_size: int, dataset: Dataset) -> None:
    train = loader(dataset, batch_size=batch_size)
    batches = list(train.epoch())
    sizes = [batch.size for batch in batches]
    assert len(batches) == len(train)
    assert sum(sizes) == len(dataset.splits["train"]) == 420
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size
    in_order = loader(dataset, is_training=False)
    assert shown(batches, train) == shown(list(in_order.epoch()), in_order)


def test_the_seed_and_the_epoch_decide_the_order(dataset: Dataset) -> None:
    first = next(loader(dataset, seed=1).epoch(0))
    assert same(first, next(loader(dataset, seed=1).epoch(0)))
    assert not torch.equal(first.labels, next(loader(dataset, seed=1).epoch(1)).labels)
    assert not torch.equal(first.labels, next(loader(dataset, seed=2).epoch(0)).labels)


@pytest.mark.parametrize("start", [0, 1, 4, 6, 7])
def test_reading_from_a_batch_on_gives_the_same_batches(start: int, dataset: Dataset) -> None:
    train = loader(dataset, unknown_share=0.2)
    whole = list(train.epoch(2, behavior_dropout=0.3))
    rest = list(train.epoch(2, start, behavior_dropout=0.3))
    assert len(whole) == 7
    assert len(rest) == 7 - start
    assert all(same(*pair) for pair in zip(whole[start:], rest, strict=True))


def test_two_loaders_do_not_disturb_each_other(dataset: Dataset) -> None:
    alone = list(loader(dataset).epoch())
    pairs = zip(loader(dataset).epoch(), loader(dataset).epoch(), strict=True)
    for expected, (one, other) in zip(alone, pairs, strict=True):
        assert same(expected, one)
        assert same(expected, other)


def test_one_loader_read_twice_at_once_gives_the_same_batches(dataset: Dataset) -> None:
    train = loader(dataset, batch_size=8, ahead=1)
    alone = list(train.epoch())
    readers = [train.epoch() for _ in range(4)]
    for expected, *found in zip(alone, *readers, strict=True):
        assert all(same(expected, batch) for batch in found)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "thaw-loader"]


@pytest.mark.parametrize("read", [0, 1, 3, 7])
def test_closing_an_epoch_early_leaves_no_thread(read: int, dataset: Dataset) -> None:
    epoch = loader(dataset, ahead=1).epoch()
    for _ in range(read):
        next(epoch)
    epoch.close()
    assert threads() == []


def test_an_error_in_the_thread_is_raised_where_batches_are_read(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = loader(dataset)
    monkeypatch.setattr(train.assembler, "batch", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(train.epoch())
    assert threads() == []


def test_a_share_of_ids_is_replaced_in_training_only(dataset: Dataset) -> None:
    def shown(code: int, **options: object) -> float:
        train = loader(dataset, **options)
        batches = [batch for number in range(8) for batch in train.epoch(number)]
        touched = torch.cat([batch.rows[batch.context.index[:, 0]] for batch in batches])
        return float((touched == hour + code).float().mean())

    layout = dataset.layout
    hour = int(layout.context.starts[0])

    for code in (MISSING, UNKNOWN):
        assert shown(code) == 0
        assert shown(code, is_training=False, unknown_share=0.3) == 0
        assert shown(code, unknown_share=0.3) == pytest.approx(0.15, abs=0.03)


def test_an_actions_id_is_replaced_too(dataset: Dataset) -> None:
    layout = dataset.layout
    batches = list(loader(dataset, unknown_share=0.3).epoch())
    touched = torch.cat([batch.rows[batch.actions[:, 0]] for batch in batches])
    assert (touched == int(layout.action.starts[0]) + UNKNOWN).any()


def test_missing_values_stay_missing(dataset: Dataset) -> None:
    layout = dataset.layout
    start = int(layout.context.starts[1])
    batches = list(loader(dataset, unknown_share=0.999).epoch())
    places = torch.cat([batch.rows[batch.context.index[:, 1]] for batch in batches]) - start
    raw = dataset.splits["train"].codes[:, 1]
    assert int((places == MISSING).sum()) > int((raw == MISSING).sum()) > 0
    assert int((places == UNKNOWN).sum()) < int((raw >= FIRST).sum())
    assert int((places >= FIRST).sum()) < 10


def test_a_share_of_old_rows_loses_its_behavior(dataset: Dataset) -> None:
    def new(share: float) -> float:
        train = loader(dataset)
        epochs = [train.epoch(number, behavior_dropout=share) for number in range(8)]
        flags = [batch.is_new for batches in epochs for batch in batches]
        return float(torch.cat(flags).float().mean())

    base = float(dataset.is_new("train").mean())
    assert new(0.0) == pytest.approx(base)
    assert new(0.25) == pytest.approx(base + 0.25 * (1 - base), abs=0.02)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("strict")
    return thaw.prepare(make_schema().with_new_users("strict"), make_tables(), out=folder / "out")


def ids(batches: list[Batch], *, is_new: bool) -> set[int]:
    """The table rows of the ids of new users, or of old ones."""
    found = [
        batch.rows[batch.attributes.index[batch.user, 0]][batch.is_new == is_new]
        for batch in batches
    ]
    return set(torch.cat(found).tolist())


def test_strict_new_users_have_an_unknown_id(strict: Dataset) -> None:
    layout = strict.layout
    unknown = int(layout.attributes.starts[0]) + UNKNOWN
    test = list(loader(strict, "test").epoch())
    assert unknown in ids(test, is_new=True)
    assert unknown not in ids(test, is_new=False)
    validation = list(loader(strict, "validation").epoch())
    assert unknown in ids(validation, is_new=True)
    assert len(ids(validation, is_new=False)) > 1
    dropped = list(loader(strict).epoch(behavior_dropout=0.5))
    assert unknown in ids(dropped, is_new=True)
    assert unknown not in ids(dropped, is_new=False)


def test_under_the_paper_rule_new_users_keep_their_id(dataset: Dataset) -> None:
    layout = dataset.layout
    unknown = int(layout.attributes.starts[0]) + UNKNOWN
    batches = list(loader(dataset, "test").epoch())
    assert unknown not in ids(batches, is_new=True) | ids(batches, is_new=False)


def test_fields_without_anything_in_them(tables: Tables, tmp_path: Path) -> None:
    events = {"user": "user", "time": "time", "fields": ["brand"]}
    impressions = {"user": "user", "item": "item", "time": "time"}
    schema = make_schema(events=events, impressions=impressions)
    bare = thaw.prepare(schema, tables, out=tmp_path / "out")
    batch = next(loader(bare).epoch())
    assert batch.context.index.shape == (batch.size, 0)
    assert batch.actions.shape == (len(batch.events), 0)
    assert batch.events.shape[1] == 1


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_shown_events_are_the_last_so_many(limit: int, dataset: Dataset) -> None:
    test = loader(dataset, "test", max_events=100, shown_events=limit)
    rows = np.flatnonzero(~dataset.is_new("test"))[:40]
    batch = test.batch(rows, 0, 0)
    table, offsets = test.impressions, dataset.events.offsets
    layout = test.assembler.layout
    for row, user in zip(rows, batch.user.tolist(), strict=True):
        begin = offsets[table.user[row]]
        end = begin + table.pointer[row]
        expected = np.asarray(dataset.events.codes)[max(begin, end - limit) : end]
        places = batch.events[batch.offsets[user] : batch.offsets[user + 1]]
        width = len(layout.events)
        assert (batch.rows[places].numpy() == expected[:, :width] + layout.events.starts).all()


def test_who_is_shown_no_events_is_new(dataset: Dataset) -> None:
    batch = next(loader(dataset, "test", shown_events=0).epoch())
    assert batch.is_new.all()
    assert batch.num_old == len(batch.events) == 0


@pytest.mark.parametrize("limit", [0, 3])
def test_under_the_strict_rule_who_is_shown_some_events_has_no_id(
    limit: int, tables: Tables, tmp_path: Path
) -> None:
    strict = make_schema().with_new_users("strict")
    found = thaw.prepare(strict, tables, out=tmp_path / "strict")
    test = loader(found, "test", shown_events=limit)
    batch = next(test.epoch())
    ids = batch.rows[batch.attributes.index[:, 0]] - int(test.assembler.layout.attributes.starts[0])
    assert set(ids.tolist()) == {UNKNOWN}
