"""Co-training of the two towers (Algorithm 1)."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from thaw import checkpoint, run
from thaw.batch import Batch
from thaw.calibration import calibrate, filled_places
from thaw.data import Dataset
from thaw.errors import MethodError, TrainingError
from thaw.fitting import fit_after
from thaw.loader import Loader, LoaderOptions
from thaw.locks import alone
from thaw.methods import Method, method
from thaw.model import Model, build_for, check_buildable
from thaw.nn.zero_shot import ZeroShotTower
from thaw.optim import Optimizers
from thaw.options import LOSSES, Training
from thaw.predicting import device_of, mean_auc, predict
from thaw.progress import Progress, Quiet
from thaw.rankers import Output
from thaw.recommender import Recommender
from thaw.run import State
from thaw.training_checks import cause, check_learnable, check_validation


def train(
    dataset: Dataset | str | Path,
    how: str | Method,
    options: Training | None = None,
    *,
    out: str | Path,
    resume: bool = False,
    hides_behavior: bool = True,
    progress: Progress | None = None,
) -> Recommender:
    """Train a method until validation stops improving; return the model of the best epoch.

    After a kill at any moment, training with `resume` ends with the same bits as without the kill:
    on one machine's processor, with as many threads and the same versions.

    Args:
        dataset: the prepared dataset, or its folder.
        how: a method, or its name.
        options: how it is trained.
        out: the run's folder, for checkpoints, the model and TensorBoard events.
        resume: go on where the run in `out` stands, for longer if the options say so; without a
            run there, start.
        hides_behavior: False shows new users' real behavior: the ceiling.
        progress: is told how it goes; nothing is shown by default.

    Raises:
        DataError: when `dataset` is the folder of none.
        MethodError: for an unknown method, or one that can't be built for the dataset.
        TrainingError: when `out` is taken, validation can't tell when to stop, MAIL has no old
            users to learn from, or the losses are no longer sound.
        KeyboardInterrupt: after Ctrl-C, with a checkpoint written.
    """
    dataset = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    what = method(how) if isinstance(how, str) else how
    options = options or Training()
    if not isinstance(what, Method):
        kind = type(what).__name__
        raise MethodError(f"how: is a {kind}; give a method's name, as 'mail-base', or a Method")
    if not isinstance(options, Training):
        raise TrainingError(f"options: is a {type(options).__name__}; give a thaw.Training")
    folder = Path(out)
    device = device_of(options.device)  # errors before the folder is made
    check_buildable(what, dataset, options)
    check_validation(dataset)
    if what.for_new_users is not None:
        check_learnable(dataset, what)
    facts = run.describe(dataset, what, options, hides_behavior, device)
    run.check_free(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{folder}: no run can be there ({error.strerror})") from error
    taken = TrainingError(f"{folder}: another process is training here; wait for it")
    with alone(folder / "run.lock", taken):
        run.start(folder, facts, dataset.path / "vocabularies", resume=resume)
        show = progress or Quiet()
        Trainer(dataset, what.trained, options, folder, hides_behavior).fit(show)
        fit_after(dataset, what, options, folder, show)
    return Recommender.load(
        folder, dataset=dataset, ranker=what.factory, after=what.after, device=options.device
    )


def train_step(model: Model, batch: Batch, optimizers: Optimizers, step: int, seed: int) -> Tensor:
    """Take one step (Algorithm 1, lines 6 to 14) and return the four LOSSES [4].

    The tower's are 0 at steps at which it does not learn. The towers draw their dropout from seeds
    of their own: a ranker trains on old users as it would without the zero-shot tower, bit by bit.
    """
    seed = seed * 1_000_003 + step
    rows = model.embeddings.look_up(batch, needs_gradient=True)
    inputs = model.embed(batch, rows)
    losses = rows.new_zeros(len(LOSSES))

    if (
        model.mail is not None
        and optimizers.tower is not None
        and step % model.mail.learns_every == 0
        and len(users := model.learned_users(batch)) > 0
    ):
        _seed(rows.device, 2 * seed + 1)
        zero_shot = model.zero_shot_losses(inputs, users)
        optimizers.tower.zero_grad()
        zero_shot.total.backward()  # type: ignore[no-untyped-call]
        optimizers.tower.step()
        losses[1:] = torch.stack(zero_shot[:3]).detach()

    # Seeded anew: what the tower drew leaves the ranker's dropout as it is without a tower.
    _seed(rows.device, 2 * seed)
    output = model.rank(inputs)
    _check_output(model, output, batch.labels)
    # The mean of Eq. 13's sum: Adam's steps are the same, and batches can be compared.
    ranking = F.binary_cross_entropy_with_logits(output.logits, batch.labels)
    loss = ranking if output.auxiliary_loss is None else ranking + output.auxiliary_loss
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if optimizers.ranker is not None:
        optimizers.ranker.step()
    assert rows.grad is not None
    optimizers.table.step(batch.rows, rows.grad)
    losses[0] = ranking.detach()
    return losses


def _check_output(model: Model, output: Output, labels: Tensor) -> None:
    """Say what is wrong with the answer of a ranker of one's own."""
    logits = getattr(output, "logits", None)
    if logits is None or logits.shape != labels.shape:
        answer = type(output).__name__ if logits is None else f"logits {list(logits.shape)}"
        raise MethodError(
            f"ranker {type(model.ranker).__name__} returned {answer}; it must return an Output "
            f"with logits {list(labels.shape)}, of rows and tasks"
        )


def _seed(device: torch.device, seed: int) -> None:
    """Seed dropout; on a CPU without a look at every other kind of device, which takes longer."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


class Trainer:
    """One run: model, optimizers, loader, and the state that checkpoints keep.

    What is random in a step follows from the seed and the step's number, so a resumed run needs no
    random state and gives the same numbers.
    """

    def __init__(
        self,
        dataset: Dataset,
        method: Method,
        options: Training,
        folder: Path,
        hides_behavior: bool,
    ) -> None:
        self.dataset, self.method, self.options, self.folder = dataset, method, options, folder
        self.device = device_of(options.device)
        self.model = build_for(method, dataset, options).to(self.device)
        if isinstance(self.model.tower, ZeroShotTower):
            self.model.tower.fill_places(filled_places(dataset, options.max_events).to(self.device))
        ratio = method.mail.learning_rate_ratio if method.mail else 1.0
        self.optimizers = Optimizers.of(
            self.model, options.learning_rate, ratio * options.learning_rate
        )
        self.hides_behavior = hides_behavior
        self.loader = Loader(dataset, "train", LoaderOptions(
            batch_size=options.batch_size,
            max_events=options.max_events,
            is_training=True,
            unknown_share=options.unknown_share,
            hides_behavior=hides_behavior,
            seed=options.seed,
        ))  # fmt: skip
        self.state = run.restore(folder, self.model, self.optimizers) or State()

    def fit(self, progress: Progress) -> None:
        """Train from where the state stands until validation stops improving."""
        with _stop_on_interrupt() as wants_stop, progress:
            while not self.state.has_ended(self.options):
                self._epoch(progress, wants_stop)
                self._finish_epoch(progress)
                if wants_stop():
                    raise KeyboardInterrupt

    def _epoch(self, progress: Progress, wants_stop: Callable[[], bool]) -> None:
        state, options = self.state, self.options
        progress.start_epoch(state.epoch, state.batch, len(self.loader))
        self.model.train()
        saved = counted = time.monotonic()
        with repeatable(self.device):
            dropout = self._behavior_dropout()
            for batch in self.loader.epoch(state.epoch, state.batch, behavior_dropout=dropout):
                step = state.epoch * len(self.loader) + state.batch
                found = train_step(
                    self.model, batch.to(self.device), self.optimizers, step, options.seed
                )
                losses = found.cpu().numpy()
                if state.losses and not losses[1:].any():
                    losses[1:] = state.losses[-1][1:]  # the tower did not learn: they stand
                self._check(losses, batch)
                state.losses.append(losses)
                state.batch += 1
                state.rows += batch.size
                now = time.monotonic()
                state.seconds, counted = state.seconds + now - counted, now
                progress.step(step, batch.size, losses)
                if wants_stop():
                    self.save()
                    raise KeyboardInterrupt
                if now - saved > options.checkpoint_seconds:
                    self.save()
                    saved = counted = time.monotonic()

    def _behavior_dropout(self) -> float:
        """The share of old users' rows that the epoch shows as a new user's.

        It follows the strength: where attributes foretell no behavior, rankers that learn to do
        without know the users of training by their attributes, and rank new ones worse.
        """
        share = self.method.behavior_dropout
        if not self.model.calibrated:
            return share
        assert isinstance(self.model.tower, ZeroShotTower)
        return share * self.model.tower.strength.item() if self.state.epoch > 0 else 0.0

    def _finish_epoch(self, progress: Progress) -> None:
        state = self.state
        losses = np.stack(state.losses[-len(self.loader) :]).mean(0)
        epoch = state.epoch
        self._check_weights()  # as `save` does, but before they are measured and kept
        fitted = {"strength": calibrate(self.model, self.dataset)} if self.model.calibrated else {}
        found = predict(self.model, self.dataset, "validation", hides_behavior=self.hides_behavior)
        if not np.isfinite(found.probabilities).all():
            raise self._unsound("some probability in validation is no number")
        value = mean_auc(found.labels, found.probabilities)
        facts = {
            "validation_auc": value,
            **dict(zip(LOSSES, losses.tolist(), strict=True)),
            **fitted,
        }
        if self.options.tests_epochs:
            facts |= self._tested()
        is_best = state.finish_epoch(facts)
        if is_best:
            facts_of_model = {"epoch": epoch, "validation_auc": value}
            # Before the checkpoint: a kill between them repeats the epoch. The other way round a
            # best epoch would stand without its model.
            checkpoint.write(self.folder, "model", self.model.state_dict(), facts_of_model)
        progress.finish_epoch(epoch, facts, is_best=is_best)
        self.save()

    def _tested(self) -> dict[str, float]:
        """The AUC of new and of old users in the test split, which decides nothing."""
        found = predict(self.model, self.dataset, "test", hides_behavior=self.hides_behavior)
        segments = {"new": found.is_new, "old": ~found.is_new}
        return {
            f"{name}_auc": mean_auc(found.labels[rows], found.probabilities[rows])
            for name, rows in segments.items()
        }

    def _check(self, losses: np.ndarray, batch: Batch) -> None:
        """Stop at a loss that is no number, or explodes."""
        if np.isfinite(losses).all() and losses.max() < self.options.explodes_at:
            return
        state = self.state
        shown = ", ".join(f"{name} {value:g}" for name, value in zip(LOSSES, losses, strict=True))
        step = state.epoch * len(self.loader) + state.batch
        raise TrainingError(
            f"step {step} (epoch {state.epoch}, batch {state.batch}): the losses are no longer "
            f"sound: {shown}. Likely cause: {cause(self.model, batch, losses, self.dataset)}. "
            f"Models and checkpoints in {self.folder} are from before"
        )

    def _check_weights(self) -> None:
        """Stop at weights that are no numbers, which a last step may leave behind sound losses."""
        weights = (*self.model.parameters(), self.model.embeddings.table)
        # A ranker of one's own may have masks of infinities among its buffers.
        if not all(bool(each.isfinite().all()) for each in weights) or any(
            bool(each.isnan().any()) for each in self.model.buffers()
        ):
            raise self._unsound("some weight is no number")

    def _unsound(self, what: str) -> TrainingError:
        return TrainingError(
            f"epoch {self.state.epoch}: {what}. Lower the learning rate. Models and checkpoints in "
            f"{self.folder} are from before"
        )

    def save(self) -> None:
        """Write a checkpoint."""
        self._check_weights()
        run.save(self.folder, self.model, self.optimizers, self.state)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Let every run of a step give the same bits, and leave the global random state as it was."""
    before = torch.are_deterministic_algorithms_enabled()
    guard: Any = torch.utils.deterministic  # its attribute is a property that mypy can't see
    fills = guard.fill_uninitialized_memory
    # On a GPU this needs settings from before the process started: it is the user's to switch on.
    torch.use_deterministic_algorithms(before or device.type == "cpu")
    # A guard against reading what was never written. Nothing here does, and it costs a tenth.
    guard.fill_uninitialized_memory = False
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        torch.use_deterministic_algorithms(before)
        guard.fill_uninitialized_memory = fills


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C into a wish that the loop fulfils between two steps; a second one is at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def handle(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
