"""The same training on a GPU; skipped where there is none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import thaw
from builders import TRAINING, mail
from thaw.data import Dataset

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]


def test_a_gpu_trains_what_the_processor_trains(dataset: Dataset, tmp_path: Path) -> None:
    found = {}
    for device in ("cpu", "cuda"):
        # Dropout draws other numbers on another device, so a single step is compared without it.
        method = replace(mail(), mail=replace(mail().mail, dropout=0.0))
        options = replace(TRAINING, device=device, max_epochs=1)
        model = thaw.train(dataset, method, options, out=tmp_path / device)
        found[device] = model.predict(dataset, "test").probabilities
    np.testing.assert_allclose(found["cuda"], found["cpu"], atol=0.2)


def test_a_run_resumes_on_a_gpu(dataset: Dataset, tmp_path: Path) -> None:
    options = replace(TRAINING, device="cuda", max_epochs=1)
    thaw.train(dataset, mail(), options, out=tmp_path / "run")
    longer = replace(options, max_epochs=2)
    model = thaw.train(dataset, mail(), longer, out=tmp_path / "run", resume=True)
    assert len(model.score(["u00"], ["i00"])) == 1
