"""What happens once the ranker is trained: behavior for new users is fitted to the old ones."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thaw import checkpoint
from thaw.data import Dataset, Layout
from thaw.loader import Loader, LoaderOptions
from thaw.methods import Method
from thaw.model import Model, build
from thaw.nn.fitted import LinearAutoencoder, MeanBehavior, NearestBehavior
from thaw.options import Training


def fit_after(dataset: Dataset, what: Method, options: Training, folder: Path) -> None:
    """Fit what gives new users behavior, and keep it with the ranker's best model."""
    found = checkpoint.read(folder, "model")
    assert found is not None
    tensors, facts = found
    if any(name.startswith("tower.") for name in tensors):
        return
    layout = Layout.build(dataset.schema, dataset.vocabularies, dataset.moments)
    model = build(
        what,
        layout,
        dim=options.dim,
        max_events=options.max_events,
        tasks=len(dataset.schema.tasks),
        seed=options.seed,
    )
    model.load_state_dict(tensors, strict=False)  # there is no tower in it yet
    assert isinstance(model.tower, MeanBehavior | NearestBehavior | LinearAutoencoder)
    model.tower.fit(*_old_users(model.eval(), dataset, layout))
    checkpoint.write(folder, "model", model.state_dict(), facts)


@torch.no_grad()
def _old_users(model: Model, dataset: Dataset, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """Each old user as the last training row shows it: attributes, summed events, their number."""
    user = np.asarray(dataset.splits["train"].user)
    last = np.flatnonzero(np.diff(user, append=-1))  # rows lie by user and time
    loader = Loader(dataset, layout, "train", LoaderOptions(max_events=model.max_events))
    parts = []
    for low in range(0, len(last), loader.options.batch_size):
        batch = loader.batch(last[low : low + loader.options.batch_size], 0, 0)
        inputs = model.embed(batch, model.embeddings.look_up(batch))
        shown = (inputs.user_attributes, inputs.behavior.pool_users(), inputs.behavior.lengths)
        parts.append([each[: inputs.num_old] for each in shown])
    attributes, behavior, lengths = (torch.cat(each) for each in zip(*parts, strict=True))
    return attributes, behavior, lengths
