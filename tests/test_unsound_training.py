"""Training that is no longer sound: it stops, says where and why, and keeps nothing of it."""

import math
from dataclasses import replace

import numpy as np
import pytest

import thaw
from builders import PLAIN, TRAINING, mail
from thaw import checkpoint, training
from thaw.data import Moments
from thaw.errors import TrainingError
from thaw.rankers import BaseDNN
from thaw.training import train_step


def broken_after(calls):
    """A ranker whose logits are NaN from a call on."""

    class Broken(BaseDNN):
        def __init__(self, shape):
            super().__init__(shape, hidden=(8, 4))
            self.calls = 0

        def forward(self, inputs):
            self.calls += 1
            output = super().forward(inputs)
            return output._replace(logits=output.logits * (math.nan if self.calls > calls else 1))

    return Broken


def test_nan_stops_with_step_batch_and_cause(dataset, tmp_path):
    what = replace(PLAIN, ranker=broken_after(4))
    message = r"step 4 \(epoch 0, batch 4\): .* ranking nan, .*: the ranking loss diverged"
    with pytest.raises(TrainingError, match=message):
        thaw.train(dataset, what, TRAINING, out=tmp_path / "run")
    assert checkpoint.read(tmp_path / "run", "checkpoint") is None


def test_nan_never_comes_into_a_checkpoint(dataset, tmp_path):
    what, options = (
        replace(PLAIN, ranker=broken_after(4)),
        replace(TRAINING, checkpoint_seconds=0.0),
    )
    with pytest.raises(TrainingError, match="step 4"):
        thaw.train(dataset, what, options, out=tmp_path / "run")
    tensors, facts = checkpoint.read(tmp_path / "run", "checkpoint")
    assert facts["batch"] == 4
    assert all(value.isfinite().all() for value in tensors.values())


def test_weights_that_are_no_numbers_never_come_into_a_checkpoint(dataset, tmp_path):
    """The loss of a step is that of the weights before it."""
    options = replace(TRAINING, checkpoint_seconds=0.0, learning_rate=1e38)
    with pytest.raises(TrainingError, match=r"some weight is no number\. Lower the learning rate"):
        thaw.train(dataset, PLAIN, options, out=tmp_path / "run")
    assert checkpoint.read(tmp_path / "run", "checkpoint") is None


def test_embeddings_that_are_no_numbers_never_come_into_a_checkpoint(
    dataset, tmp_path, monkeypatch
):
    def spoiling(model, batch, *more):
        losses = train_step(model, batch, *more)
        model.embeddings.table[batch.rows[:1]] = math.nan
        return losses

    monkeypatch.setattr(training, "train_step", spoiling)
    with pytest.raises(TrainingError, match=r"some weight is no number"):
        thaw.train(dataset, PLAIN, replace(TRAINING, checkpoint_seconds=0.0), out=tmp_path / "run")
    assert checkpoint.read(tmp_path / "run", "checkpoint") is None


def test_probabilities_that_are_no_numbers_stop_it(dataset, tmp_path):
    what = replace(
        PLAIN, ranker=broken_after(-(-len(dataset.splits["train"]) // TRAINING.batch_size))
    )
    with pytest.raises(TrainingError, match="some probability in validation is no number"):
        thaw.train(dataset, what, TRAINING, out=tmp_path / "run")


def test_exploding_losses_stop_it(dataset, tmp_path):
    options = replace(TRAINING, learning_rate=1e3)
    with pytest.raises(
        TrainingError, match=r"Likely cause: the \w+ loss diverged \(largest embedding"
    ):
        thaw.train(dataset, mail(), options, out=tmp_path / "run")


def test_a_huge_value_is_named_as_the_cause(dataset, tmp_path):
    tiny = np.array([[0.0, 1e-30]], np.float32)
    moments = Moments(tiny, dataset.moments.items, dataset.moments.context)
    message = (
        r"users.age is [\d.]+e\+31 standard deviations from its mean; clip it or take its logarithm"
    )
    with pytest.raises(TrainingError, match=message):
        thaw.train(replace(dataset, moments=moments), mail(), TRAINING, out=tmp_path / "run")
