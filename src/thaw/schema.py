"""The declaration of a team's tables: fields, roles, tasks, split and who counts as new.

The schema is the only place that knows column names. It reads from YAML or is written in Python,
and travels with every prepared dataset, checkpoint and artifact.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic import Field as Described

from thaw.errors import SchemaError
from thaw.schema_checks import cross_faults, fault_line, named, plain

Share = Annotated[float, Described(gt=0, lt=1)]


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


class Declaration(BaseModel):
    """What all parts of a schema have in common: they don't change, and unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Field(Declaration):
    """One column that the model sees. In YAML its name alone stands for a categorical field."""

    name: str = Described(min_length=1, description="The column's name.")
    kind: Literal["categorical", "dense"] = Described(
        "categorical",
        description="'categorical' values get an id and an embedding; 'dense' ones are numbers, "
        "standardised and multiplied with a learned vector.",
    )
    shares: str | None = Described(
        None,
        description="The items' field (or the items' key) whose vocabulary and embeddings this "
        "field uses. It is what ties an event's category to the target item's category.",
    )
    min_count: int = Described(
        1,
        ge=1,
        description="Values that fewer training rows show are treated as unknown; of users' "
        "attributes, those of fewer training users. With 'shares', the owner's decides, and the "
        "rows of all that share it count together.",
    )


class Task(Declaration):
    """One label to predict. In YAML its name alone stands for a column of that name."""

    name: str = Described(min_length=1, description="The task's name, as reports print it.")
    column: str | None = Described(
        None, description="The impressions' column with labels 0 and 1; the task's name by default."
    )
    given: str | None = Described(
        None,
        description="An earlier task that this one follows from, as a conversion from a click: no "
        "row has this label without the other. Comparisons then also measure the probability of "
        "this label where the other is 1 (CVR).",
    )

    @property
    def label(self) -> str:
        """The column with the labels."""
        return self.column or self.name


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | Path) else value


def _dated(value: object) -> object:
    """A date that YAML or Python knows as one, as a text."""
    return value.isoformat() if isinstance(value, date) else value


Fields = Annotated[tuple[Annotated[Field, BeforeValidator(named)], ...], Described(default=())]
EventFields = Annotated[
    tuple[Annotated[Field, BeforeValidator(named)], ...], Described(min_length=1)
]
Tasks = tuple[Annotated[Task, BeforeValidator(named)], ...]
Files = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class CsvOptions(Declaration):
    """How text files are written, where that differs from a plain CSV with a header."""

    delimiter: str | None = Described(
        None, min_length=1, max_length=4, description="Up to four characters; ',' by default, "
        "a tab for files that end in .tsv."
    )  # fmt: skip
    columns: tuple[str, ...] | None = Described(
        None, description="The columns' names, for files without a header."
    )
    quote: str = Described(
        '"', max_length=1, description="The quote character; empty where quotes mean nothing."
    )
    encoding: Literal["utf-8", "latin-1"] = Described("utf-8", description="The files' encoding.")
    null_values: tuple[str, ...] = Described(
        (), description="Texts that mean 'missing', besides the empty one."
    )


class Table(Declaration):
    """Where a table's rows come from."""

    files: Files = Described(
        default=(),
        description="Paths or globs, relative to the data folder: CSV, TSV or Parquet, text also "
        "gzipped. Left out when tables are passed in memory.",
    )
    csv: CsvOptions = Described(CsvOptions(), description="How text files are written.")


class Users(Table):
    """One row for each user."""

    key: str = Described(min_length=1, description="The column with the user's id.")
    attributes: Fields = Described((), description="The user attributes.")
    id_attribute: bool = Described(
        True, description="Whether the id itself is an attribute too, as in the paper."
    )
    complete: bool = Described(
        False,
        description="Whether users of the impressions that are not in this table are added to it, "
        "with their id alone. Otherwise their rows are rejects.",
    )

    @property
    def fields(self) -> tuple[Field, ...]:
        """All attributes, the id first where it is one."""
        return ((Field(name=self.key),) if self.id_attribute else ()) + self.attributes


class Items(Table):
    """One row for each item."""

    key: str = Described(min_length=1, description="The column with the item's id.")
    features: Fields = Described((), description="The features of the target item.")
    id_min_count: int = Described(
        1,
        ge=1,
        description="Items that fewer training rows and visible events show have an unknown id.",
    )

    @property
    def fields(self) -> tuple[Field, ...]:
        """All features, the id first."""
        return (Field(name=self.key, min_count=self.id_min_count), *self.features)


class Impressions(Table):
    """One row for each item shown to a user."""

    user: str = Described(min_length=1, description="The column with the user's id.")
    item: str = Described(min_length=1, description="The column with the item's id.")
    time: str = Described(
        min_length=1, description="The column with the time: seconds, or a timestamp."
    )
    context: Fields = Described((), description="The context fields.")
    references: tuple[str, ...] = Described(
        (),
        description="Columns with another system's scores, such as the model in production. They "
        "are never shown to a model; comparisons print them beside the methods.",
    )


class Events(Table):
    """One row for each thing that a user did: the behavior."""

    table: Literal["events", "impressions"] = Described(
        "events", description="'impressions' takes the impressions themselves as events."
    )
    user: str = Described(min_length=1, description="The column with the user's id.")
    time: str = Described(min_length=1, description="The column with the time.")
    item: str | None = Described(
        None,
        description="The column with the item's id. With it, the fields are read from the items "
        "table; without it, from the events themselves.",
    )
    fields: EventFields = Described(
        description="The categorical fields of an event. A field named as an items' field shares "
        "its vocabulary by itself."
    )
    action: str | None = Described(
        None, description="The column with what the user did (viewed, liked, bought)."
    )


class TimeSplit(Declaration):
    """Test rows are those from a point in time on; validation is the last share of training."""

    rule: Literal["time"]
    test_from: Annotated[str | float | None, BeforeValidator(_dated)] = Described(
        None, description="The first time of the test rows, written as in the time column."
    )
    test_share: Share | None = Described(None, description="Or: the last share of all rows.")
    validation_share: Share = Described(0.1, description="The share of training rows.")


class LastSplit(Declaration):
    """Test rows are the last share of every user's impressions, one at least of two or more."""

    rule: Literal["last"]
    test_share: Share = Described(0.2, description="The share of every user's rows.")
    validation_share: Share = Described(0.1, description="The share of every user's training rows.")


class ColumnSplit(Declaration):
    """A column says 'train', 'validation' or 'test'."""

    rule: Literal["column"]
    column: str = Described(min_length=1, description="The impressions' column.")
    validation_share: Share = Described(
        0.1, description="The last share of training rows by time, where no row says 'validation'."
    )


class PaperRule(Declaration):
    """A seeded random share of users loses its behavior, in training and test alike (4.1.1)."""

    rule: Literal["paper"]
    share: Share = Described(0.4, description="The share of users.")
    seed: int = Described(0, ge=0, description="The seed of the draw.")


class StrictRule(Declaration):
    """As 'paper', and these users' impressions are out of training, their id unknown at test."""

    rule: Literal["strict"]
    share: Share = Described(0.4, description="The share of users.")
    seed: int = Described(0, ge=0, description="The seed of the draw.")


class NaturalRule(Declaration):
    """New is whoever has no behavior before the impression; nothing is hidden."""

    rule: Literal["natural"]


class ColumnRule(Declaration):
    """The users with 1 in a column of the users table lose their behavior, as under 'paper'."""

    rule: Literal["column"]
    column: str = Described(min_length=1, description="The users' column with 0 and 1.")


Split = Annotated[TimeSplit | LastSplit | ColumnSplit, Described(discriminator="rule")]
NewUsers = Annotated[
    PaperRule | StrictRule | NaturalRule | ColumnRule, Described(discriminator="rule")
]


class Schema(Declaration):
    """A data set's declaration.

    Raises:
        SchemaError: with all faults at once, each with its path and what would be right.
    """

    name: str = Described(min_length=1, description="The data set's name.")
    users: Users
    items: Items
    impressions: Impressions
    events: Events
    tasks: Tasks = Described(min_length=1, description="What to predict.")
    split: Split = Described(
        LastSplit(rule="last"), description="Which impressions train and which test."
    )
    new_users: NewUsers = Described(
        PaperRule(rule="paper"), description="Who counts as a new user."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _all_faults(cls, data: Any, handler: ModelWrapValidatorHandler["Schema"]) -> "Schema":
        faults: list[str] = []
        schema = None
        try:
            schema = handler(data)
        except ValidationError as error:
            faults += [fault_line(each, cls) for each in error.errors()]
        faults += list(cross_faults(plain(data)))
        if faults or schema is None:
            raise SchemaError(faults)
        return schema

    @property
    def strict(self) -> bool:
        """Whether new users are out of training, their id unknown."""
        return isinstance(self.new_users, StrictRule)

    @property
    def given(self) -> tuple[int | None, ...]:
        """For each task the place of the one that it is given, or None."""
        places = {task.name: place for place, task in enumerate(self.tasks)}
        return tuple(places[task.given] if task.given else None for task in self.tasks)

    def vocabulary(self, table: str, field: Field) -> str:
        """The name of the vocabulary that a field's ids come from."""
        if field.shares is not None:
            return f"items.{field.shares}"
        if table == "events" and any(field.name == item.name for item in self.items.fields):
            return f"items.{field.name}"
        return f"{table}.{field.name}"

    @classmethod
    def read(cls, path: str | Path) -> "Schema":
        """Read a schema from a YAML file.

        Raises:
            SchemaError: with the faults of the file, or why it could not be read.
        """
        try:
            data = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
        except OSError as error:
            raise SchemaError(
                [f"{error.strerror}; give the path of a YAML file"], str(path)
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise SchemaError([f"not YAML: {' '.join(str(error).split())}"], str(path)) from None
        try:
            return cls.model_validate(data)
        except SchemaError as error:
            raise SchemaError(error.faults, str(path)) from None

    def with_new_users(self, rule: str, **options: Any) -> "Schema":
        """A copy with another rule for who is new; share and seed stay where both rules have them.

        Raises:
            SchemaError: for an unknown rule or option.
        """
        plain = self.model_dump(exclude_unset=True)
        if rule in ("paper", "strict") and isinstance(self.new_users, PaperRule | StrictRule):
            options = {"share": self.new_users.share, "seed": self.new_users.seed, **options}
        return Schema.model_validate(plain | {"new_users": {"rule": rule, **options}})
