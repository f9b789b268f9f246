from thaw.data import Dataset
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
