"""Behavior dropout: which rows training shows as a new user's, and how many of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import thaw
from builders import PLAIN, TRAINING, differing, loader_of, mail, weights_of
from thaw.loader import Loader


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_behavior_dropout_shows_the_share_of_old_users_rows_as_new(dataset, share):
    is_new = dataset.is_new("train")
    loader = loader_of(dataset, is_training=True)
    every = np.arange(len(is_new))
    batches = [loader.batch(every, 0, index, share) for index in range(20)]
    shown = np.mean([batch.is_new.numpy() for batch in batches], axis=0)
    assert (shown[is_new] == 1).all()
    count = 20 * (~is_new).sum()
    assert abs(shown[~is_new].mean() - share) <= 4 * math.sqrt(share * (1 - share) / count)


def test_behavior_dropout_is_drawn_anew_and_in_training_only(dataset):
    loader = loader_of(dataset, is_training=True)
    every = np.arange(len(dataset.splits["train"]))
    one, other = (loader.batch(every, epoch, 0, 0.5).is_new for epoch in range(2))
    assert not torch.equal(one, other)
    quiet = loader_of(dataset).batch(every, 0, 0, 0.5)
    assert quiet.is_new.tolist() == dataset.is_new("train").tolist()


@pytest.fixture
def half_believed(monkeypatch):
    """Calibration finds a strength of one half, wherever it looks."""

    def calibrate(model, dataset):
        return model.tower.strength.fill_(0.5).item()

    monkeypatch.setattr("thaw.training.calibrate", calibrate)


@pytest.fixture
def shares(monkeypatch):
    """The shares of behavior dropout that training asks for, epoch by epoch."""
    asked, epoch = [], Loader.epoch

    def spy(self, *args, behavior_dropout=0.0):
        if self.options.is_training:
            asked.append(behavior_dropout)
        return epoch(self, *args, behavior_dropout=behavior_dropout)

    monkeypatch.setattr(Loader, "epoch", spy)
    return asked


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (replace(PLAIN, behavior_dropout=0.4), [0.4, 0.4, 0.4]),
        (mail(behavior_dropout=0.4), [0.0, 0.2, 0.2]),
        (mail(behavior_dropout=0.4, calibrated=False), [0.4, 0.4, 0.4]),
        (mail(behavior_dropout=0.4, trained_by="none"), [0.4, 0.4, 0.4]),
        (mail(), [0.0, 0.0, 0.0]),
    ],
)
@pytest.mark.usefixtures("half_believed")
def test_behavior_dropout_goes_as_far_as_virtual_behavior_is_believed(
    dataset, what, expected, shares, tmp_path
):
    options = replace(TRAINING, max_epochs=3, patience=3)
    thaw.train(dataset, what, options, out=tmp_path / "run")
    assert shares == expected


@pytest.mark.usefixtures("half_believed")
def test_a_resumed_run_hides_the_same_rows(dataset, tmp_path):
    what = mail(behavior_dropout=0.5)
    one = weights_of(dataset, what, tmp_path / "one")
    weights_of(dataset, what, tmp_path / "other", replace(TRAINING, max_epochs=1))
    other = weights_of(dataset, what, tmp_path / "other", resume=True)
    assert differing(one, other) == []
    assert differing(one, weights_of(dataset, mail(), tmp_path / "without"))


def test_behavior_dropout_reaches_training(dataset, tmp_path):
    one = weights_of(dataset, PLAIN, tmp_path / "one")
    other = weights_of(dataset, replace(PLAIN, behavior_dropout=0.5), tmp_path / "other")
    assert differing(one, other)
