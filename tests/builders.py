"""Small towers, models and batches for the tests of towers and of training."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import thaw
from thaw.batch import Batch
from thaw.data import Dataset, Impressions
from thaw.loader import Loader, LoaderOptions
from thaw.methods import MAIL, Method
from thaw.model import Model, build
from thaw.nn.events import Vectors
from thaw.nn.inputs import Behavior, Inputs, InputShape
from thaw.options import Training
from thaw.progress import Quiet
from thaw.rankers import BaseDNN
from thaw.run import restore
from thaw.schema import Schema
from thaw.training import Trainer

torch.set_num_threads(1)  # models are so small that threads cost more than they bring

TOWER = MAIL(
    encoder=(16, 8, 8),
    decoder=(8, 16),
    attention_dim=4,
    virtual_events=None,
    learns_every=1,
    users_per_step=4,
)
"""It draws users at every step, which must not move what the ranker draws."""

TRAINING = Training(dim=4, batch_size=64, max_events=5, max_epochs=2)
SHAPE = InputShape(dim=4, attributes=3, context=2, target=3, max_events=5, tasks=1)


def small_dnn(shape: InputShape) -> nn.Module:
    """BaseDNN with narrow layers."""
    return BaseDNN(shape, hidden=(8, 4))


PLAIN = Method("plain", ranker=small_dnn)


def mail(behavior_dropout: float = 0.0, **options: object) -> Method:
    """MAIL on the small ranker, with other options where named."""
    tower = replace(TOWER, **options)
    return Method("mail", ranker=small_dnn, mail=tower, behavior_dropout=behavior_dropout)


def model_of(dataset: Dataset, what: Method, seed: int = 0) -> Model:
    tasks = len(dataset.schema.tasks)
    return build(
        what,
        dataset.layout,
        dim=TRAINING.dim,
        max_events=TRAINING.max_events,
        tasks=tasks,
        seed=seed,
    )


def loader_of(dataset: Dataset, split: str = "train", **options: object) -> Loader:
    return Loader(dataset, split, LoaderOptions(max_events=5, **options))


def batch_of(dataset: Dataset, kind: str = "all", size: int = 48) -> Batch:
    """A training batch of 'all', 'old' or 'new' users' rows."""
    is_new = dataset.is_new("train")
    wanted = {"all": np.ones(len(is_new), bool), "old": ~is_new, "new": is_new}[kind]
    rows = np.random.default_rng(0).permutation(np.flatnonzero(wanted))[:size]
    return loader_of(dataset).batch(rows, 0, 0)


def only_old(dataset: Dataset) -> Dataset:
    """The dataset without the impressions of new users."""
    splits = {
        name: Impressions(
            **{key: value[~dataset.is_new(name)] for key, value in vars(rows).items()}
        )
        for name, rows in dataset.splits.items()
    }
    return replace(dataset, splits=splits)


def behavior_of(lengths: list[int], user: list[int], dim: int = 3) -> Behavior:
    """Random behavior of users with so many events."""
    values = torch.randn(sum(lengths), dim, generator=torch.Generator().manual_seed(0))
    offsets = torch.tensor([0, *np.cumsum(lengths)])
    return Behavior(Vectors(values), offsets, torch.tensor(user))


def inputs_of(lengths: list[int], user: list[int], shape: InputShape = SHAPE) -> Inputs:
    """Random inputs; the users without events come last."""
    draw = torch.Generator().manual_seed(1)

    def random(rows: int, fields: int) -> Tensor:
        return torch.randn(rows, fields, shape.dim, generator=draw)

    return Inputs(
        user_attributes=random(len(lengths), shape.attributes),
        context=random(len(user), shape.context),
        target=random(len(user), shape.target),
        target_event=random(len(user), 1)[:, 0],
        behavior=behavior_of(lengths, user, shape.dim),
        num_old=sum(length > 0 for length in lengths),
    )


def with_virtual(inputs: Inputs, virtual: Tensor, repeats: list[list[int]]) -> Inputs:
    """The inputs, new users filled with virtual behavior [U_new, k, d]."""
    users = torch.arange(inputs.num_old, len(inputs.user_attributes))
    return replace(inputs, behavior=inputs.behavior.fill(users, virtual, torch.tensor(repeats)))


def copies(module: nn.Module) -> dict[str, Tensor]:
    """Copies of a module's parameters and buffers."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def weights_of(dataset, what, out, options=TRAINING, **more):
    """The weights of a method that was trained."""
    return copies(thaw.train(dataset, what, options, out=out, **more).model)


def differing(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    """The names of those that are not bitwise the same."""
    assert before.keys() == after.keys()
    return [name for name, value in before.items() if not same(value, after[name])]


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same bits, but that a NaN is as good as another."""
    return torch.equal(one.nan_to_num(123.0), other.nan_to_num(123.0))


def end_of(folder: Path, dataset: Dataset, what: Method, options: Training) -> dict[str, object]:
    """All that a finished run leaves, to be compared: weights, moments, losses, epochs."""
    trainer = Trainer(dataset, what, options, folder, hides_behavior=True)
    state = restore(folder, trainer.model, trainer.optimizers)
    assert state is not None
    found = thaw.Recommender.load(folder, dataset=dataset, ranker=what.factory)
    kept = {f"best.{name}": value.numpy().tobytes() for name, value in copies(found.model).items()}
    kept |= {
        f"last.{name}": value.numpy().tobytes() for name, value in copies(trainer.model).items()
    }
    kept |= {
        name: value.numpy().tobytes() for name, value in trainer.optimizers.table.state().items()
    }
    kept["losses"] = state.loss_history().tobytes()
    kept["predictions"] = found.predict(dataset, "test").probabilities.tobytes()
    return kept | {"epochs": state.epochs, "best_epoch": state.best_epoch}


def train_at(dataset: str, out: str, what: Method, options: Training) -> None:
    """Train, or go on; what a process does that will be killed."""
    thaw.train(Dataset.open(dataset), what, options, out=out, resume=True)


class Watching(Quiet):
    """Does something after a step, or after an epoch, of that number."""

    def __init__(self, action=lambda: None, *, at_step=None, at_epoch=None):
        self.action, self.at_step, self.at_epoch, self.steps = action, at_step, at_epoch, []

    def step(self, step, rows, losses):
        self.steps.append(step)
        if step == self.at_step:
            self.action()

    def finish_epoch(self, epoch, facts, *, is_best):
        if epoch == self.at_epoch:
            self.action()


def assert_same_end(folder, dataset, finished):
    found = end_of(folder, dataset, mail(), TRAINING)
    assert [name for name in found if found[name] != finished[1][name]] == []


def contents(dataset: Dataset, *, arrays: bool = False) -> dict[str, bytes]:
    """Every file's bytes; of the arrays only, where the schemas name different files."""
    files = [path for path in dataset.path.rglob("*") if path.is_file()]
    found = {str(path.relative_to(dataset.path)): path.read_bytes() for path in files}
    return {name: data for name, data in found.items() if not arrays or name != "manifest.json"}


def with_files(schema: Schema, files: Mapping[str, str], **csv_options: object) -> Schema:
    parts = schema.model_dump()
    own = {name: parts[name] | {"files": file, "csv": csv_options} for name, file in files.items()}
    return Schema.model_validate(parts | own)
