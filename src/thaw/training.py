"""Co-training of the two towers (Algorithm 1), with checkpoints that resume bit by bit."""

import dataclasses
import json
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from thaw import checkpoint
from thaw.batch import Batch
from thaw.data import Dataset, Layout
from thaw.errors import TrainingError
from thaw.loader import Loader, LoaderOptions
from thaw.methods import Method
from thaw.metrics import auc
from thaw.model import Model, build
from thaw.optim import RowAdam
from thaw.predicting import predict
from thaw.progress import Progress

LOSSES = ("ranking", "attribute_side", "behavior_side", "alignment")
"""The four losses of Figure 4: L_rt, L_a, L_v and L_d."""


@dataclass(frozen=True)
class Training:
    """How a method is trained; the defaults are section 4.2's.

    Attributes:
        dim: d, the embeddings' width.
        learning_rate: of both Adam optimizers.
        batch_size: rows a step.
        max_events: n_v, how many of a user's last events are seen.
        max_epochs: training stops here at the latest.
        patience: training stops when validation AUC has not improved for so many epochs.
        unknown_share: the share of ids that training shows as unknown, in [0, 1).
        seed: of the initial weights, the order of rows, and dropout.
        checkpoint_seconds: time between checkpoints.
        device: 'cpu', 'cuda', or 'auto' for a GPU where there is one.
        explodes_at: training stops when a loss is above this.
    """

    dim: int = 32
    learning_rate: float = 1e-3
    batch_size: int = 1024
    max_events: int = 100
    max_epochs: int = 20
    patience: int = 2
    unknown_share: float = 0.05
    seed: int = 0
    checkpoint_seconds: float = 120.0
    device: str = "auto"
    explodes_at: float = 1e6

    def __post_init__(self) -> None:
        for name in ("dim", "batch_size", "max_events", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} (={getattr(self, name)}) must be 1 or more")
        if not 0 <= self.unknown_share < 1:
            raise TrainingError(f"unknown_share (={self.unknown_share}) must be in [0, 1)")
        if self.learning_rate <= 0:
            raise TrainingError(f"learning_rate (={self.learning_rate}) must be above 0")


@dataclass
class Optimizers:
    """G_A for the zero-shot tower; G_B for the ranker and, row by row, the embedding table."""

    tower: torch.optim.Adam | None
    ranker: torch.optim.Adam
    table: RowAdam

    @classmethod
    def of(cls, model: Model, learning_rate: float, tower_rate: float) -> "Optimizers":
        """Make them, each parameter in exactly one."""
        adam = torch.optim.Adam
        tower = model.tower
        return cls(
            tower=adam(tower.parameters(), tower_rate, fused=True) if tower is not None else None,
            ranker=adam(model.ranker.parameters(), learning_rate, fused=True),
            table=RowAdam(model.embeddings.table, learning_rate=learning_rate),
        )


def train_step(model: Model, batch: Batch, optimizers: Optimizers) -> Tensor:
    """Take one step (Algorithm 1, lines 6 to 14) and return the four LOSSES [4]."""
    rows = model.embeddings.look_up(batch, needs_gradient=True)
    inputs = model.embed(batch, rows)
    losses = rows.new_zeros(len(LOSSES))

    if optimizers.tower is not None and inputs.num_old > 0:
        zero_shot = model.zero_shot_losses(inputs)
        optimizers.tower.zero_grad()
        zero_shot.total.backward()
        optimizers.tower.step()
        losses[1:] = torch.stack(zero_shot[:3]).detach()

    output = model.rank(inputs)
    ranking = F.binary_cross_entropy_with_logits(output.logits, batch.labels)
    auxiliary = output.auxiliary_loss
    optimizers.ranker.zero_grad()
    (ranking if auxiliary is None else ranking + auxiliary).backward()
    optimizers.ranker.step()
    assert rows.grad is not None
    optimizers.table.step(batch.rows, rows.grad)
    losses[0] = ranking.detach()
    return losses


@dataclass
class State:
    """Where a run stands.

    Attributes:
        epoch: the epoch under way.
        batch: batches of it that are done.
        losses: [steps, 4] so far, in the order of LOSSES.
        epochs: what each finished epoch gave.
        best_epoch: the epoch with the best validation AUC so far.
        is_finished: whether training is over.
    """

    epoch: int = 0
    batch: int = 0
    losses: list[np.ndarray] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    is_finished: bool = False

    def finish_epoch(self, facts: dict[str, float], options: Training) -> bool:
        """Note an epoch's result; return whether it is the best so far."""
        self.epochs.append(facts)
        best = self.epochs[self.best_epoch]["validation_auc"] if self.best_epoch >= 0 else -math.inf
        is_best = facts["validation_auc"] > best
        if is_best or self.best_epoch < 0:
            self.best_epoch = self.epoch
        self.epoch, self.batch = self.epoch + 1, 0
        has_stalled = self.epoch - 1 - self.best_epoch >= options.patience
        self.is_finished = has_stalled or self.epoch >= options.max_epochs
        return self.best_epoch == self.epoch - 1


class Run:
    """One training run in a folder: model, optimizers, state, and their checkpoints.

    The parts of a step that are random draw from a generator that the seed and the step set, so
    a resumed run needs no random state and gives the same numbers.
    """

    def __init__(
        self, dataset: Dataset, method: Method, options: Training, folder: Path, hides_behavior: bool
    ) -> None:
        self.dataset, self.method, self.options, self.folder = dataset, method, options, folder
        self.device = _device(options.device)
        layout = Layout.build(dataset.schema, dataset.vocabularies, dataset.moments)
        self.model = build(
            method,
            layout,
            dim=options.dim,
            max_events=options.max_events,
            tasks=len(dataset.schema.tasks),
            seed=options.seed,
        ).to(self.device)
        ratio = method.mail.learning_rate_ratio if method.mail else 1.0
        self.optimizers = Optimizers.of(self.model, options.learning_rate, ratio * options.learning_rate)  # fmt: skip
        self.hides_behavior = hides_behavior
        self.loader = Loader(dataset, layout, "train", LoaderOptions(
            batch_size=options.batch_size,
            max_events=options.max_events,
            is_training=True,
            unknown_share=options.unknown_share,
            behavior_dropout=method.behavior_dropout,
            hides_behavior=hides_behavior,
            seed=options.seed,
        ))  # fmt: skip
        self.state = State()

    def fit(self, progress: Progress) -> None:
        """Train from where the state stands until validation stops improving."""
        with _stop_on_interrupt() as wants_stop, progress:
            while not self.state.is_finished:
                self._epoch(progress, wants_stop)
                self._finish_epoch(progress)
            self.save()

    def _epoch(self, progress: Progress, wants_stop: Callable[[], bool]) -> None:
        state, options = self.state, self.options
        progress.start_epoch(state.epoch, state.batch, len(self.loader))
        self.model.train()
        saved = time.monotonic()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            for batch in self.loader.epoch(state.epoch, state.batch):
                step = state.epoch * len(self.loader) + state.batch
                torch.manual_seed(options.seed * 1_000_003 + step)
                losses = train_step(self.model, batch.to(self.device), self.optimizers).cpu().numpy()
                self._check(losses, batch)
                state.losses.append(losses)
                state.batch += 1
                progress.step(step, batch.size, losses)
                if wants_stop():
                    self.save()
                    raise KeyboardInterrupt
                if time.monotonic() - saved > options.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()

    def _finish_epoch(self, progress: Progress) -> None:
        state = self.state
        losses = np.stack(state.losses[-len(self.loader) :]).mean(0)
        epoch = state.epoch
        found = predict(
            self.model, self.dataset, "validation", hides_behavior=self.hides_behavior
        )
        tasks = range(found.labels.shape[1])
        value = float(np.mean([auc(found.labels[:, t], found.probabilities[:, t]) for t in tasks]))
        facts = {"validation_auc": value, **dict(zip(LOSSES, losses.tolist(), strict=True))}
        is_best = state.finish_epoch(facts, self.options)
        if is_best:
            facts_of_model = {"epoch": epoch, "validation_auc": value}
            checkpoint.write(self.folder, "model", epoch, self.model.state_dict(), facts_of_model)
        progress.finish_epoch(epoch, facts, is_best=is_best)
        self.save()

    def _check(self, losses: np.ndarray, batch: Batch) -> None:
        """Stop at a loss that is no number, or explodes."""
        if np.isfinite(losses).all() and losses.max() < self.options.explodes_at:
            return
        state = self.state
        shown = ", ".join(f"{name} {value:g}" for name, value in zip(LOSSES, losses, strict=True))
        step = state.epoch * len(self.loader) + state.batch
        raise TrainingError(
            f"step {step} (epoch {state.epoch}, batch {state.batch}): the losses are no longer "
            f"sound: {shown}. Likely cause: {_cause(self.model, batch, losses, self.dataset)}. The last "
            f"checkpoint in {self.folder} is from before"
        )

    def save(self) -> None:
        """Write a checkpoint."""
        state, optimizers = self.state, self.optimizers
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        tensors |= {f"table.{key}": value for key, value in optimizers.table.state().items()}
        for name, adam in (("tower", optimizers.tower), ("ranker", optimizers.ranker)):
            tensors |= _adam_tensors(name, adam)
        losses = np.stack(state.losses) if state.losses else np.zeros((0, len(LOSSES)), np.float32)
        tensors["losses"] = torch.from_numpy(losses)
        facts = {
            "epoch": state.epoch,
            "batch": state.batch,
            "epochs": state.epochs,
            "best_epoch": state.best_epoch,
            "is_finished": state.is_finished,
        }
        checkpoint.write(self.folder, "checkpoint", len(losses), tensors, facts)

    def load(self) -> bool:
        """Read the latest checkpoint; return whether there was one."""
        found = checkpoint.read(self.folder, "checkpoint")
        if found is None:
            return False
        tensors, facts = found
        part = lambda name: {k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)}  # noqa: E731  # fmt: skip
        self.model.load_state_dict(part("model."))
        self.optimizers.table.load(part("table."))
        for name, adam in (("tower", self.optimizers.tower), ("ranker", self.optimizers.ranker)):
            _load_adam(adam, part(f"{name}."))
        self.state = State(losses=list(tensors["losses"].numpy()), **facts)
        return True


def _adam_tensors(name: str, adam: torch.optim.Adam | None) -> dict[str, Tensor]:
    if adam is None:
        return {}
    states = adam.state_dict()["state"]
    return {f"{name}.{i}.{key}": value for i, state in states.items() for key, value in state.items()}


def _load_adam(adam: torch.optim.Adam | None, tensors: dict[str, Tensor]) -> None:
    if adam is None:
        return
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        states.setdefault(int(index), {})[name] = value
    adam.load_state_dict({**adam.state_dict(), "state": states})


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _cause(model: Model, batch: Batch, losses: np.ndarray, dataset: Dataset) -> str:
    """What most likely made the losses unsound: a huge input, or weights that grew."""
    groups = (
        ("users", batch.attributes, dataset.schema.users.fields),
        ("impressions", batch.context, dataset.schema.impressions.context),
        ("items", batch.target, dataset.schema.items.fields),
    )
    for table, fields, declared in groups:
        if fields.scale is not None and float(fields.scale.abs().max()) > 1000:
            names = [each.name for each in declared if each.kind == "dense"]
            column = int(fields.scale.abs().amax(0)[-len(names) :].argmax())
            worst = float(fields.scale.abs().max())
            return f"{table}.{names[column]} is {worst:.3g} standard deviations from its mean; clip it or take its logarithm"  # fmt: skip
    largest = float(model.embeddings.look_up(batch).abs().max())
    which = LOSSES[int(np.argmax(np.where(np.isfinite(losses), losses, np.inf)))]
    return f"the {which} loss diverged (largest embedding {largest:.3g}); lower the learning rate"


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


def describe(dataset: Dataset, method: Method, options: Training, hides_behavior: bool) -> dict[str, Any]:  # fmt: skip
    """What a run is, as it is written beside its checkpoints."""
    ranker = method.ranker if isinstance(method.ranker, str) else getattr(method.ranker, "__name__", "own")  # fmt: skip
    return {
        "dataset": str(dataset.path.resolve()),
        "fingerprint": dataset.fingerprint,
        "schema": dataset.schema.model_dump(mode="json"),
        "dense": dataset.manifest["dense"],
        "method": {**dataclasses.asdict(dataclasses.replace(method, ranker="base-dnn")), "ranker": ranker},
        "training": dataclasses.asdict(options),
        "hides_behavior": hides_behavior,
    }  # fmt: skip


def start(folder: Path, facts: dict[str, Any], vocabularies: Path, *, resume: bool) -> None:
    """Make a run's folder, or check that the one to resume is of the same run.

    Raises:
        TrainingError: when the folder is taken, or belongs to another run.
    """
    path = folder / "run.json"
    facts = json.loads(json.dumps(facts))
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(vocabularies, folder / "vocabularies", dirs_exist_ok=True)
        aside = folder / ".run.json.partial"
        aside.write_text(json.dumps(facts, indent=1))
        aside.rename(path)
        return
    if not resume:
        raise TrainingError(f"{folder} holds a run; resume it (--resume), or choose another folder")
    before = json.loads(path.read_text())
    differing = [key for key in facts if key != "dataset" and before.get(key) != facts[key]]
    if differing:
        raise TrainingError(f"{folder} holds another run: {', '.join(differing)} differ; choose another folder")  # fmt: skip
