"""What stands on every experiment's page beside its figures: data, rule, seeds, settings."""

from dataclasses import asdict, dataclass

from thaw.data import Dataset
from thaw.methods import Method
from thaw.options import Training
from thaw.report.formats import count
from thaw.report.notes import RULES

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class About:
    """What an experiment was made with.

    Attributes:
        data: the data set's name.
        method: the method's name.
        seeds: of the runs.
        facts: pairs of a name and a value, of the data.
        settings: pairs of a setting and its value, of training.
    """

    data: str
    method: str
    seeds: tuple[int, ...]
    facts: Pairs
    settings: Pairs

    @property
    def seeds_told(self) -> str:
        """'1 seed', '3 seeds'."""
        return f"{len(self.seeds)} seed" + ("" if len(self.seeds) == 1 else "s")


def about(dataset: Dataset, what: Method, options: tuple[Training, ...]) -> About:
    """Gather it from a prepared dataset, a method and the options of its runs."""
    rule = dataset.schema.new_users.rule
    rows = ((f"{name} impressions", count(len(table))) for name, table in dataset.splits.items())
    facts = (
        ("data set", dataset.schema.name),
        ("new users", rule),
        ("users", count(len(dataset.users))),
        ("items", count(len(dataset.items))),
        ("events", count(len(dataset.events.codes))),
        *rows,
    )
    seeds = tuple(each.seed for each in options)
    return About(dataset.schema.name, what.name, seeds, facts, settings(options[0], seeds))


def settings(training: Training, seeds: tuple[int, ...]) -> Pairs:
    """The settings of the runs, all their seeds in the place of the first."""
    told = {**asdict(training), "seed": ", ".join(map(str, seeds))}
    return tuple((name, str(value)) for name, value in told.items())


def rule_of(dataset: Dataset) -> tuple[str, str]:
    """The rule for new users with its meaning, for a page's legend."""
    rule = dataset.schema.new_users.rule
    return "new users", f"{RULES.get(rule, 'as the schema says')} (rule {rule!r})"
