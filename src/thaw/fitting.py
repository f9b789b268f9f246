"""Once the ranker is trained: what new users lack is fitted to the old ones."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from thaw import checkpoint
from thaw.data import Dataset
from thaw.factorization import fit_machine
from thaw.loader import Loader, LoaderOptions
from thaw.methods import After, Lookalikes, MetaEmb, Method
from thaw.model import Model, build_for
from thaw.nn.events import Vectors
from thaw.nn.fitted import Fitted
from thaw.nn.id_generator import IdGenerator
from thaw.nn.inputs import Behavior
from thaw.nn.lookalikes import LookalikeBehavior, Values
from thaw.options import Training
from thaw.progress import Progress


def is_fitted(what: Method, tensors: Iterable[str]) -> bool:
    """Whether a model with these tensors has what its method fits to a trained ranker."""
    parts = {name.split(".")[0] for name in tensors}
    return (what.after is None or "tower" in parts) and (not what.fm or "fm" in parts)


def fit_after(
    dataset: Dataset, what: Method, options: Training, folder: Path, progress: Progress
) -> None:
    """Fit what a method adds to its trained ranker, and keep it with the ranker's best model."""
    found = checkpoint.read(folder, "model")
    assert found is not None
    tensors, facts = found
    if is_fitted(what, tensors):
        return
    model = build_for(what, dataset, options)
    model.load_state_dict(tensors, strict=False)  # what is to be fitted is not in it yet
    started = time.monotonic()
    if what.after is not None:
        fit_tower(model, dataset, what.after, options.seed)
    if what.fm:
        facts |= {"fm": fit_machine(model, dataset, options, progress)}
    facts |= {"fitting_seconds": time.monotonic() - started}
    checkpoint.write(folder, "model", model.state_dict(), facts)


def fit_tower(model: Model, dataset: Dataset, how: After, seed: int) -> None:
    """Fit a model's tower to old users as training showed them last; its ranker is trained."""
    model.eval()
    loader = Loader(dataset, "train", LoaderOptions(max_events=model.max_events))
    if isinstance(how, MetaEmb):
        _learn_ids(model, loader, how, seed)
    elif isinstance(how, Lookalikes):
        assert isinstance(model.tower, LookalikeBehavior)
        model.tower.fit(*_some_users(model, loader, how.users))
    else:
        assert isinstance(model.tower, Fitted)
        model.tower.fit(*_old_users(model, loader))


def _learn_ids(model: Model, loader: Loader, how: MetaEmb, seed: int) -> None:
    """Train MetaEmb's generator, and nothing else, on old users that are shown as new."""
    generator = model.tower
    assert isinstance(generator, IdGenerator)
    random = np.random.default_rng(seed)
    adam = torch.optim.Adam(generator.parameters(), how.learning_rate)
    rows_of = _rows_of_users(loader)
    for _ in range(how.epochs):
        order = random.permutation(len(rows_of))
        for low in range(0, len(order), how.users):
            users = [rows_of[k] for k in order[low : low + how.users]]
            episodes = [random.permutation(rows)[: 2 * how.rows] for rows in users]
            is_first = np.concatenate([np.arange(len(e)) < len(e) // 2 for e in episodes])
            rows = loader.rows(np.concatenate(episodes))
            as_new = replace(rows, hidden=np.ones(len(is_first), bool))
            batch = loader.assembler.batch(as_new)
            with torch.no_grad():
                inputs = model.embed(batch, model.embeddings.look_up(batch))
            first = torch.from_numpy(is_first)
            loss = generator.meta_loss(model.ranker, inputs, batch.labels, first)
            adam.zero_grad()
            loss.backward(inputs=[*generator.parameters()])  # type: ignore[no-untyped-call]
            adam.step()


def _rows_of_users(loader: Loader) -> list[np.ndarray]:
    """The training rows with behavior before them of each user who has two or more."""
    rows = np.flatnonzero(~loader.dataset.is_new("train"))
    user = loader.impressions.user[rows]
    parts = np.split(rows, np.flatnonzero(np.diff(user)) + 1)
    return [each for each in parts if len(each) > 1]


@torch.no_grad()
def _old_users(model: Model, loader: Loader) -> tuple[Tensor, Tensor, Tensor]:
    """Each old user as the last training row shows it: attributes, summed events, their number."""
    last = loader.impressions.last_rows
    parts = []
    for low in range(0, len(last), loader.options.batch_size):
        batch = loader.batch(last[low : low + loader.options.batch_size], 0, 0)
        inputs = model.embed(batch, model.embeddings.look_up(batch))
        shown = (inputs.user_attributes, inputs.behavior.pool_users(), inputs.behavior.lengths)
        parts.append([each[: inputs.num_old] for each in shown])
    attributes, behavior, lengths = (torch.cat(each) for each in zip(*parts, strict=True))
    return attributes, behavior, lengths


@torch.no_grad()
def _some_users(model: Model, loader: Loader, count: int) -> tuple[Values, Behavior]:
    """Some old users as their last training rows show them, drawn where there are more."""
    last = loader.impressions.last_rows
    old = last[~loader.dataset.is_new("train")[last]]
    chosen = np.random.default_rng(0).permutation(old)[:count]
    values, events, lengths = [], [], []
    for low in range(0, len(chosen), loader.options.batch_size):
        batch = loader.batch(chosen[low : low + loader.options.batch_size], 0, 0)
        behavior = model.embed(batch, model.embeddings.look_up(batch)).behavior
        values.append(Values.of(batch))
        events.append(behavior.values)
        lengths.append(behavior.offsets.diff())
    together = Values(*(torch.cat(each) for each in zip(*values, strict=True)))
    offsets = F.pad(torch.cat(lengths).cumsum(0), (1, 0))
    known = Behavior(Vectors(torch.cat(events)), offsets, torch.arange(len(chosen)))
    return together, known
