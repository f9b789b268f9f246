import json
from dataclasses import replace

import numpy as np
import pytest

from thaw.data import Dataset
from thaw.printing import show_dataset
from thaw.report import data_facts


def test_facts_add_up(dataset: Dataset) -> None:
    facts = data_facts(dataset)
    assert (facts.name, facts.users, facts.items, facts.events) == ("tiny", 60, 40, 600)
    assert sum(split.impressions for split in facts.splits) == 600
    assert {table.name: table.read for table in facts.tables}["impressions"] == 600
    assert all(table.rejected == 0 for table in facts.tables)


def test_shares_are_those_of_the_dataset(dataset: Dataset) -> None:
    facts = data_facts(dataset)
    test = next(split for split in facts.splits if split.name == "test")
    assert facts.hidden_share == dataset.hidden.mean()
    assert test.new_share == dataset.is_new("test").mean()
    assert test.click_rates == (dataset.splits["test"].labels.mean(),)


def test_vocabularies_count_missing_and_unknown(dataset: Dataset) -> None:
    assert dict(data_facts(dataset).vocabularies)["users.city"] == 4


def test_a_field_with_one_value_or_none_is_named(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data_facts(dataset).constant_fields == ()
    codes, numbers = np.array(dataset.users.codes), np.array(dataset.users.dense)
    codes[:, 1], numbers[:] = 3, np.nan
    flat = replace(dataset, users=replace(dataset.users, codes=codes, dense=numbers))
    assert data_facts(flat).constant_fields == ("users.city", "users.age")
    show_dataset(flat, as_json=False)
    assert "users.city, users.age: all rows have the same value, or none" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.fixture
def rare(dataset: Dataset) -> Dataset:
    """The dataset with cities of four users each, and eight users without a known one."""
    codes = np.array(dataset.users.codes)
    train = np.unique(dataset.splits["train"].user)
    codes[train, 1] = np.arange(len(train)) // 4 + 2
    codes[train[:8], 1] = 1
    return replace(dataset, users=replace(dataset.users, codes=codes))


def test_an_attribute_whose_values_have_few_users_is_named(dataset: Dataset, rare: Dataset) -> None:
    train = np.unique(dataset.splits["train"].user)
    assert data_facts(dataset).rare_attributes == ()
    assert data_facts(rare).rare_attributes == (("city", 1 - 8 / len(train)),)


def test_it_is_said_with_a_remedy(
    dataset: Dataset, rare: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    show_dataset(dataset, as_json=False)
    assert "note:" not in capsys.readouterr().out
    show_dataset(rare, as_json=False)
    said = capsys.readouterr().out
    assert "of the training users have a value of city that fewer than 5 of them have" in said
    assert "min_count" in said
    show_dataset(rare, as_json=True)
    assert json.loads(capsys.readouterr().out)["rare_attributes"][0][0] == "city"
