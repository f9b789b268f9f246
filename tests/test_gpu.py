"""The same training and answers on a GPU; skipped where there is none."""

from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

import thaw
from builders import PLAIN, TOWER, TRAINING, loader_of, mail
from thaw.data import Dataset
from thaw.experiments.foretold import foretold
from thaw.methods import METHODS, Method
from thaw.model import build
from thaw.optim import Optimizers
from thaw.rankers import DIN, DMR, BaseDNN, Emblr
from thaw.run_facts import facts_of
from thaw.training import repeatable, train_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]
CPU, GPU = torch.device("cpu"), torch.device("cuda")
ON_GPU = replace(TRAINING, device="cuda")

# Another device draws other numbers: steps are compared without dropout, and without a draw of
# users for the tower.
TOWERS = {
    "alone": None,
    "MAIL": replace(TOWER, dropout=0.0, users_per_step=None),
    "the paper's letter": replace(
        thaw.MAIL.paper(), encoder=(16, 8, 8), decoder=(8, 16), attention_dim=4, dropout=0.0
    ),
}
RANKERS = {
    "Emblr": Emblr,
    "BaseDNN": partial(BaseDNN, dropout=0.0),
    "DIN": partial(DIN, dropout=0.0),
    "DMR": partial(DMR, dropout=0.0),
}


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("ranker", RANKERS)
def test_steps_on_a_gpu_are_those_on_the_processor(
    dataset: Dataset, ranker: str, tower: str
) -> None:
    what = Method("what", ranker=RANKERS[ranker], mail=TOWERS[tower])
    losses = {device.type: steps(dataset, what, device) for device in (CPU, GPU)}
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=2e-3, atol=2e-4)


def steps(dataset: Dataset, what: Method, device: torch.device, count: int = 6) -> np.ndarray:
    """The losses [steps, 4] of steps that are large enough for the last to depend on the first."""
    model = build(what, dataset.layout, dim=4, max_events=5, tasks=1, seed=0).to(device).train()
    optimizers = Optimizers.of(model, 1e-2, 1e-2)
    found = []
    with repeatable(device):
        for step, batch in islice(enumerate(loader_of(dataset, batch_size=64).epoch()), count):
            losses = train_step(model, batch.to(device), optimizers, step, seed=0)
            found.append(losses.cpu().numpy())
    assert len(found) == count
    return np.stack(found)


@pytest.mark.parametrize("name", [name for name in METHODS if "esmm" not in name])
def test_every_method_trains_on_a_gpu_and_answers_as_on_the_processor(
    dataset: Dataset, name: str, tmp_path: Path
) -> None:
    options = replace(ON_GPU, max_epochs=1)
    there = thaw.train(dataset, name, options, out=tmp_path / "run")
    here = thaw.Recommender.load(tmp_path / "run", dataset=dataset, device="cpu")
    assert there.model.embeddings.table.device.type == "cuda"
    for hides_behavior in (True, False):
        found = there.predict(dataset, "test", hides_behavior=hides_behavior).probabilities
        same = here.predict(dataset, "test", hides_behavior=hides_behavior).probabilities
        np.testing.assert_allclose(found, same, atol=1e-4)
    pairs = ["u00", "u59", "nobody"], ["i00", "i01"]
    found, same = (model.score(*pairs)["click"].to_numpy() for model in (there, here))
    np.testing.assert_allclose(found, same, atol=1e-4)


def test_what_virtual_behavior_foretells_is_the_same(dataset: Dataset, tmp_path: Path) -> None:
    there = thaw.train(dataset, mail(), ON_GPU, out=tmp_path / "run")
    here = thaw.Recommender.load(
        tmp_path / "run", dataset=dataset, ranker=mail().factory, device="cpu"
    )
    found, same = foretold(there.model, dataset), foretold(here.model, dataset)
    assert found is not None
    assert same is not None
    assert found.pooled == pytest.approx(same.pooled, abs=1e-3)


@pytest.mark.parametrize("first", ["cuda", "cpu"])
def test_a_run_goes_on_on_either_device(dataset: Dataset, tmp_path: Path, first: str) -> None:
    then = {"cuda": "cpu", "cpu": "cuda"}[first]
    options = replace(TRAINING, max_epochs=1, device=first)
    thaw.train(dataset, mail(), options, out=tmp_path / "run")
    longer = replace(options, max_epochs=2, device=then)
    thaw.train(dataset, mail(), longer, out=tmp_path / "run", resume=True)
    found = facts_of(tmp_path / "run")
    assert found.epochs == 2
    assert np.isfinite(found.losses).all()


def test_the_global_random_state_is_left_as_it_was(dataset: Dataset, tmp_path: Path) -> None:
    before = torch.cuda.get_rng_state()
    thaw.train(dataset, mail(), ON_GPU, out=tmp_path / "run")
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_the_run_says_what_trained_it(dataset: Dataset, tmp_path: Path) -> None:
    thaw.train(dataset, PLAIN, ON_GPU, out=tmp_path / "run")
    assert torch.cuda.get_device_name() in (tmp_path / "run" / "run.json").read_text()
