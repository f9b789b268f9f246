"""A trained model with all it needs to answer: from raw ids and values to probabilities."""

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from thaw import checkpoint
from thaw.batch import Assembler, Rows
from thaw.data import Dataset, Entities, Events, Layout, Moments, Vocabularies, moments
from thaw.errors import DataError, MethodError, TrainingError
from thaw.fitting import is_fitted
from thaw.methods import MAIL, Method
from thaw.methods.fitted import AFTER, After
from thaw.model import Model, build
from thaw.nn.id_generator import IdGenerator
from thaw.predicting import Predictions, device_of, predict
from thaw.rankers import RANKERS, RankerFactory
from thaw.request import Reader
from thaw.run import after_facts, read_facts
from thaw.schema import Schema

REAL, BOTH, VIRTUAL, NONE = "real", "both", "virtual", "none"
"""Which behavior a score rests on: the user's own, that and the tower's, the tower's, or none."""

BATCH = 4096


@dataclass(frozen=True)
class _Tables:
    """What the assembler reads, here for users and items that arrive with a request."""

    users: Entities
    items: Entities
    events: Events


@dataclass(frozen=True)
class Recommender:
    """A trained model, its schema and its vocabularies.

    Attributes:
        model: the towers.
        schema: what the tables look like.
        vocabularies: which values have ids.
        moments: how dense fields are standardised.
        facts: how it was trained, as in 'run.json', and how it did on validation.
        dataset: where known users' attributes and behavior are looked up, or None.
    """

    model: Model
    schema: Schema
    vocabularies: Vocabularies
    moments: Moments
    facts: Mapping[str, Any]
    dataset: Dataset | None = None

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        dataset: Dataset | None = None,
        ranker: RankerFactory | None = None,
        after: After | None = None,
        device: str = "cpu",
        fill_below: int = 1,
    ) -> Self:
        """Load a run's best model.

        Args:
            folder: the run's folder.
            dataset: where known users are looked up; by default the one that it was trained on,
                if it is still where it was.
            ranker: what builds the ranker, for one of your own.
            after: what gave new users behavior, for one of your own.
            device: where it answers: 'cpu', 'cuda', or 'auto' for a GPU where there is one.
            fill_below: users with fewer events in view than these have virtual ones before their
                own, and what a factorization machine says; 1 gives both to new users alone, as the
                paper does.

        Raises:
            TrainingError: when there is no model, or a part of your own is not given.
            DataError: when `dataset` is another one than it was trained on.
            MethodError: for another `fill_below` where the model makes no events, or an `after`
                with other options than the run's.
        """
        folder = Path(folder)
        if not (folder / "run.json").exists():
            raise TrainingError(f"{folder}: no run here; make one with 'thaw train'")
        found = checkpoint.read(folder, "model")
        if found is None:
            raise TrainingError(f"{folder}: no finished epoch yet; resume the run")
        facts = read_facts(folder)
        recommender = cls._build(folder, facts, *found, dataset, ranker, after, device)
        return recommender._filling_below(fill_below)

    @classmethod
    def _build(
        cls,
        folder: Path,
        facts: dict[str, Any],
        tensors: dict[str, Tensor],
        best: dict[str, Any],
        dataset: Dataset | None,
        ranker: RankerFactory | None,
        after: After | None,
        device: str,
    ) -> Self:
        try:
            schema = Schema.model_validate(facts["schema"])
            vocabularies = Vocabularies.open(folder / "vocabularies")
            scale = moments(facts["dense"])
            layout = Layout.build(schema, vocabularies, scale)
            dim, max_events = facts["training"]["dim"], facts["training"]["max_events"]
            method = _method(facts["method"], ranker, after)
        except (KeyError, ValueError) as error:
            raise TrainingError(f"{folder}: is damaged ({error!r}); train it again") from error
        model = build(
            method, layout, dim=dim, max_events=max_events, tasks=len(schema.tasks), seed=0
        )
        if not is_fitted(method, tensors):
            raise TrainingError(f"{folder}: its ranker is still in training; resume the run")
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            told = " ".join(str(error).split())
            raise TrainingError(
                f"{folder}: its weights do not fit ({told}); pass the `ranker` and `after` that it "
                "was trained with; of another version of thaw it is to be trained again"
            ) from error
        model.eval().to(device_of(device))
        known = _known(facts) if dataset is None else _same(facts, dataset)
        return cls(model, schema, vocabularies, scale, facts | {"best": best}, known)

    def _filling_below(self, count: int) -> Self:
        """Set which users have virtual events beside their own."""
        if count < 1:
            raise MethodError(f"fill_below (={count}) must be 1 or more")
        if count > 1 and not self.model.can_fill:
            name = self.facts["method"]["name"]
            raise MethodError(
                f"fill_below (={count}): {name} makes no events and has no factorization "
                "machine; take mail-base"
            )
        self.model.fill_below = count
        return self

    def predict(self, dataset: Dataset, split: str, *, hides_behavior: bool = True) -> Predictions:
        """Return the predictions for a split of the dataset that it was trained on.

        Raises:
            DataError: when `dataset` is another one, or has no such split.
        """
        if split not in _same(self.facts, dataset).splits:
            raise DataError(f"split: {split!r} is none of {', '.join(dataset.splits)}")
        return predict(self.model, dataset, split, hides_behavior=hides_behavior)

    def score(
        self,
        users: object,
        items: object,
        *,
        context: Mapping[str, object] | None = None,
        events: object | None = None,
    ) -> pa.Table:
        """Return a row for each pair of a user and an item, and which behavior it rests on.

        No value makes it fail: ids and values that training never saw count as unknown, columns
        that are left out as missing, and so do numbers more than a million deviations
        away. What the dataset knows of a user or an item fills in for columns that are left out.

        Args:
            users: a pandas, Polars or Arrow table or a list of dicts with the users' key and
                attributes, or a list of ids.
            items: the same for items.
            context: one value for each context field, for all pairs.
            events: a table with the users' events, in the schema's columns: all that is known of
                them, so that who has none there is new. Without it, users that the dataset knows
                have the behavior that it knows of.

        Returns:
            A table with U x I rows, user by user: 'user', 'item', a probability for each task by
            its name, and 'behavior': 'real', 'none', 'virtual' where a tower makes it or old users'
            stands in, or 'both' for users of few events below `fill_below`.

        Raises:
            DataError: when a table lacks its key column, events lack one of theirs, or a context
                field is unknown or has several values.
        """
        schema, reader = self.schema, self._reader
        given_users, given_items = reader.entities("users", users), reader.entities("items", items)
        behavior = reader.events(events, given_users.keys)
        if self.dataset is None:
            self._warn_of_what_is_missing(given_users, given_items, events)
        tables = _Tables(given_users, given_items, behavior)
        num_users, num_items = len(given_users), len(given_items)
        user = np.repeat(np.arange(num_users), num_items)
        item = np.tile(np.arange(num_items), num_users)
        counts = np.diff(behavior.offsets)
        probabilities = self._probabilities(
            tables, user, item, counts, reader.context(context or {})
        )
        makes_none = self.model.tower is None or isinstance(self.model.tower, IdGenerator)
        fallback = NONE if makes_none else VIRTUAL
        full = min(self.model.fill_below, self.model.max_events) if self.model.makes_events else 1
        tasks = {task.name: probabilities[:, index] for index, task in enumerate(schema.tasks)}
        return pa.table({
            "user": given_users.keys.take(pa.array(user)),
            "item": given_items.keys.take(pa.array(item)),
            **tasks,
            "behavior": np.select([counts[user] >= full, counts[user] > 0], [REAL, BOTH], fallback),
        })  # fmt: skip

    def _warn_of_what_is_missing(
        self, users: Entities, items: Entities, events: object | None
    ) -> None:
        """Without a dataset a request has to bring all that the model should know."""
        entities = {"users": users, "items": items}
        bare = [name for name, each in entities.items() if self._reader.is_bare(name, each)]
        if events is None:
            told = "nobody's behavior is known and all users count as new"
            remedy = "give `events`"
        elif bare:
            told = f"nothing but their ids is known of the {' and '.join(bare)}"
            remedy = "give their columns"
        else:
            return
        warnings.warn(
            f"no dataset at {self.facts['dataset']}, so {told}; load the model with `dataset`, or "
            f"{remedy}",
            stacklevel=3,
        )

    def _probabilities(
        self,
        tables: _Tables,
        user: np.ndarray,
        item: np.ndarray,
        counts: np.ndarray,
        context: tuple[np.ndarray, np.ndarray],
    ) -> np.ndarray:
        """[N, tasks] of N pairs, a batch at a time; users have `counts` [U] events each."""
        tasks = len(self.schema.tasks)
        assembler = Assembler(tables, self._layout, max_events=self.model.max_events)
        found = np.zeros((len(user), tasks), np.float32)
        for low in range(0, len(user), BATCH):
            part = slice(low, low + BATCH)
            size = len(user[part])
            codes, values = (np.repeat(each, size, axis=0) for each in context)
            rows = Rows(
                user=user[part],
                item=item[part],
                pointer=counts[user[part]],
                hidden=np.zeros(size, bool),
                codes=codes,
                dense=values,
                labels=np.zeros((size, tasks), np.float32),
            )
            with torch.inference_mode():
                batch = assembler.batch(rows).to(self.model.embeddings.table.device)
                found[part] = self.model(batch).cpu().numpy()
        return found

    def __repr__(self) -> str:
        method, epoch = self.facts["method"]["name"], self.facts["best"]["epoch"] + 1
        return f"Recommender({method!r}, {self.schema.name}, best of epoch {epoch})"

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self.schema, self.vocabularies, self.moments, self.dataset)

    @cached_property
    def _layout(self) -> Layout:
        return Layout.build(self.schema, self.vocabularies, self.moments)


def _method(facts: Mapping[str, Any], ranker: RankerFactory | None, after: After | None) -> Method:
    mail = facts["mail"]
    if mail is not None:
        tuples = {name: tuple(value) for name, value in mail.items() if isinstance(value, list)}
        mail = MAIL(**mail | tuples)
    if facts.get("after") and after is None:
        options = dict(facts["after"])
        name = options.pop("name")
        if name not in AFTER:
            raise TrainingError(f"{name!r} does not ship with thaw; pass it as `after`")
        after = AFTER[name](**options)
    if after is not None and (given := after_facts(after)) != facts.get("after"):
        raise MethodError(f"after (={given}): the run was fitted with {facts['after']}; pass that")
    if ranker is None and facts["ranker"] not in RANKERS:
        raise TrainingError(
            f"the ranker {facts['ranker']!r} does not ship with thaw; pass it as `ranker`"
        )
    return Method(
        name=facts["name"],
        ranker=ranker or facts["ranker"],
        mail=mail,
        behavior_dropout=facts["behavior_dropout"],
        after=after,
        fm=facts.get("fm", False),
    )


def _same(facts: Mapping[str, Any], dataset: Dataset) -> Dataset:
    """The dataset, if the model was trained on it: in another one the same ids mean others."""
    if dataset.fingerprint != facts["fingerprint"]:
        raise DataError(
            f"{dataset.path}: not the dataset that the model was trained on, "
            f"which was in {facts['dataset']}"
        )
    return dataset


def _known(facts: Mapping[str, Any]) -> Dataset | None:
    """The dataset that the model was trained on, if it is still where it was."""
    with contextlib.suppress(DataError):
        return _same(facts, Dataset.open(facts["dataset"]))
    return None
