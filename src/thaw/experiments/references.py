"""Systems outside of thaw's protocol, scored on the same rows: what a method must be judged by."""

import importlib.util
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import sparse

from thaw.data import Dataset, Entities, Impressions
from thaw.experiments.one_hot import one_hot
from thaw.metrics import auc
from thaw.schema import NaturalRule, StrictRule

ATTRIBUTES_ONLY, NO_ATTRIBUTES, LIGHTFM = "attributes-only", "no-attributes", "lightfm"
FOLDS = 5
EVERY = slice(None)


class Reference(Protocol):
    """A system that is fitted to the training rows and scores the test rows, without behavior."""

    @property
    def name(self) -> str:
        """As reports call it."""
        ...

    def scores(self, dataset: Dataset, seed: int) -> np.ndarray:
        """Return probabilities [N, tasks] for the test rows."""
        ...


@dataclass(frozen=True)
class AttributesOnly:
    """Boosted trees on attributes, context and target features: what attributes allow.

    Virtual behavior knows nothing that attributes do not say, so no generator can be expected to
    lift a ranker further. Each field is a column with the mean label of its value, out of fold in
    training; so is each pair of a user attribute and a field of the item.

    Where the rule leaves new users' rows in training, the user's id is among the attributes.
    Elsewhere it is not, and folds part users: with the same user in several, the mean label of a
    rare attribute would tell of him what it can't tell of a new one.

    Attributes:
        rows: the most training rows that are seen; of more, a random sample.
        pairs: the most pairs of fields; with more, none are formed.
        learning_rate: of boosting.
        max_trees: boosting stops here at the latest, earlier where validation stops improving.
    """

    rows: int = 2_000_000
    pairs: int = 64
    learning_rate: float = 0.05
    max_trees: int = 500

    @property
    def name(self) -> str:
        """As reports call it."""
        return ATTRIBUTES_ONLY

    def scores(self, dataset: Dataset, seed: int) -> np.ndarray:
        """Return probabilities [N, tasks] for the test rows."""
        chosen = _sample(len(dataset.splits["train"]), self.rows, seed)
        train = self._columns(dataset, "train", chosen)
        validation, test = (self._columns(dataset, name) for name in ("validation", "test"))
        labels = np.asarray(dataset.splits["train"].labels)[chosen]
        valid_labels = np.asarray(dataset.splits["validation"].labels)
        user = np.asarray(dataset.splits["train"].user)[chosen]
        groups = None if _knows_new_users(dataset) else user
        found = [
            self._fitted(train, labels[:, k], groups, validation, valid_labels[:, k], test, seed)
            for k in range(labels.shape[1])
        ]
        return np.stack(found, axis=1).astype(np.float32)

    def _fitted(
        self,
        train: tuple[np.ndarray, np.ndarray],
        labels: np.ndarray,
        groups: np.ndarray | None,
        validation: tuple[np.ndarray, np.ndarray],
        valid_labels: np.ndarray,
        test: tuple[np.ndarray, np.ndarray],
        seed: int,
    ) -> np.ndarray:
        """[N], the test rows' probabilities for one task."""
        few = FOLDS if groups is None else len(np.unique(groups))
        if labels.min() == labels.max() or min(few, *np.bincount(labels)) < FOLDS:
            return np.full(len(test[0]), labels.mean())
        # Not at the top: these imports take a second, and few commands need them.
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
        from sklearn.preprocessing import TargetEncoder

        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        folds = kind(FOLDS, shuffle=True, random_state=seed).split(train[0], labels, groups)
        encoder = TargetEncoder(target_type="binary", cv=[*folds])
        trees = HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=self.max_trees,
            early_stopping=True,
            random_state=seed,
        )
        x = np.hstack([encoder.fit_transform(train[0], labels), train[1]])
        is_split = valid_labels.min() < valid_labels.max()
        valid = np.hstack([encoder.transform(validation[0]), validation[1]])
        known = {"X_val": valid, "y_val": valid_labels} if is_split else {}
        trees.fit(x, labels, **known)
        shown = np.hstack([encoder.transform(test[0]), test[1]])
        return np.asarray(trees.predict_proba(shown)[:, 1])

    def _columns(
        self, dataset: Dataset, split: str, chosen: np.ndarray | slice = EVERY
    ) -> tuple[np.ndarray, np.ndarray]:
        """[N, n] ids of the chosen rows' fields and of their pairs, and [N, m] numbers."""
        table, users, items = dataset.splits[split], dataset.users, dataset.items
        user, item = table.user[chosen], table.item[chosen]
        target = items.codes[item]
        ids = [users.codes[user, _first_attribute(dataset) :], table.codes[chosen], target]
        # With the id as an attribute its pairs would stand for single rows.
        no_id = users.codes[user, int(dataset.schema.users.id_attribute) :]
        if 0 < no_id.shape[1] * target.shape[1] <= self.pairs:
            ids.append(_pairs(no_id, target, items))
        numbers = [users.dense[user], table.dense[chosen], items.dense[item]]
        return np.hstack(ids), np.hstack(numbers)


@dataclass(frozen=True)
class NoAttributes(AttributesOnly):
    """The same trees without users' attributes: what the others are above it is the attributes'."""

    @property
    def name(self) -> str:
        """As reports call it."""
        return NO_ATTRIBUTES

    def _columns(
        self, dataset: Dataset, split: str, chosen: np.ndarray | slice = EVERY
    ) -> tuple[np.ndarray, np.ndarray]:
        """[N, n] ids of the chosen rows' fields, and [N, m] numbers."""
        table, items = dataset.splits[split], dataset.items
        item = table.item[chosen]
        ids = np.hstack([table.codes[chosen], items.codes[item]])
        return ids, np.hstack([table.dense[chosen], items.dense[item]])


@dataclass(frozen=True)
class LightFM:
    """LightFM with features of users and items: a factorisation of who clicks what.

    Context is not seen: LightFM scores pairs of a user and an item. It has no probabilities to
    calibrate either, its scores are squashed.

    Attributes:
        dim: the width of its embeddings.
        max_epochs: it stops here at the latest.
        patience: it stops when validation AUC has not improved for so many epochs.
        learning_rate: of Adagrad.
    """

    dim: int = 32
    max_epochs: int = 50
    patience: int = 3
    learning_rate: float = 0.05

    @property
    def name(self) -> str:
        """As reports call it."""
        return LIGHTFM

    @staticmethod
    def is_installed() -> bool:
        """Whether the optional package is there: pip install 'thaw[lightfm]'."""
        return importlib.util.find_spec("lightfm") is not None

    def scores(self, dataset: Dataset, seed: int) -> np.ndarray:
        """Return probabilities [N, tasks] for the test rows."""
        users = _features(dataset.users, _first_attribute(dataset))
        items = _features(dataset.items, 0)
        tasks = range(len(dataset.schema.tasks))
        found = [self._scores_of(dataset, task, users, items, seed) for task in tasks]
        return np.stack(found, axis=1).astype(np.float32)

    def _scores_of(
        self,
        dataset: Dataset,
        task: int,
        users: sparse.csr_matrix,
        items: sparse.csr_matrix,
        seed: int,
    ) -> np.ndarray:
        """[N], the test rows' scores for one task after the epoch that is best in validation."""
        from lightfm import LightFM as Factorisation

        model = Factorisation(
            no_components=self.dim, learning_rate=self.learning_rate, random_state=seed
        )
        signs = _signs(dataset.splits["train"], task, (len(dataset.users), len(dataset.items)))
        features = {"user_features": users, "item_features": items}
        labels = np.asarray(dataset.splits["validation"].labels)[:, task]
        best, best_epoch, scores = -math.inf, 0, np.zeros(0)
        for epoch in range(self.max_epochs):
            model.fit_partial(signs, **features)
            value = auc(labels, model.predict(*_ids(dataset.splits["validation"]), **features))
            if value > best or epoch == 0:
                best, best_epoch = value, epoch
                scores = model.predict(*_ids(dataset.splits["test"]), **features)
            if epoch - best_epoch >= self.patience:
                break
        return np.asarray(1 / (1 + np.exp(-scores)))


TREES = (AttributesOnly(), NoAttributes())
"""What every comparison asks of attributes."""


def standard_references() -> tuple[Reference, ...]:
    """What commands compare methods with: LightFM only where it is installed."""
    return (*TREES, LightFM()) if LightFM.is_installed() else TREES


def _knows_new_users(dataset: Dataset) -> bool:
    """Whether new users have rows in training."""
    return not isinstance(dataset.schema.new_users, StrictRule | NaturalRule)


def _first_attribute(dataset: Dataset) -> int:
    """0, or 1 to leave the user's id out: where new users have no rows in training."""
    return 0 if _knows_new_users(dataset) else int(dataset.schema.users.id_attribute)


def _pairs(attributes: np.ndarray, target: np.ndarray, items: Entities) -> np.ndarray:
    """[N, n_a · n_t] int64, an id for each pair of values."""
    sizes = items.codes.max(0).astype(np.int64) + 1
    pairs = attributes[:, :, None].astype(np.int64) * sizes + target[:, None, :]
    flat: np.ndarray = pairs.reshape(len(attributes), -1)
    return flat


def _sample(rows: int, most: int, seed: int) -> np.ndarray | slice:
    if rows <= most:
        return EVERY
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _features(table: Entities, first: int) -> sparse.csr_matrix:
    """[N, values], the values of the categorical fields, all with equal weight."""
    return one_hot(table, first=first) / max(table.codes.shape[1] - first, 1)


def _ids(table: Impressions) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of the rows; copies, as LightFM takes no arrays mapped from files."""
    return np.array(table.user, np.int32), np.array(table.item, np.int32)


def _signs(train: Impressions, task: int, shape: tuple[int, int]) -> sparse.coo_matrix:
    """[U, I], each training row's label as 1 or -1; a pair may stand there more than once."""
    signs = np.where(np.asarray(train.labels)[:, task] > 0, 1, -1).astype(np.float32)
    return sparse.coo_matrix((signs, _ids(train)), shape=shape)
