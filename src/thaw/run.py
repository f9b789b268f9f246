"""A training run in its folder: where it stands, and its checkpoints."""

import dataclasses
import json
import math
import os
import platform
import shutil
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thaw import checkpoint
from thaw.data import Dataset
from thaw.errors import TrainingError
from thaw.methods import After, Method
from thaw.model import Model
from thaw.optim import Optimizers
from thaw.options import LOSSES, Training
from thaw.schema import Schema


@dataclass
class State:
    """Where a run stands.

    Attributes:
        epoch: the epoch under way.
        batch: batches of it that are done.
        losses: [steps, 4] so far, in the order of LOSSES.
        epochs: what each finished epoch gave.
        best_epoch: the epoch with the best validation AUC so far.
        seconds: time spent in training steps, summed over interruptions.
        rows: rows trained on in that time.
    """

    epoch: int = 0
    batch: int = 0
    losses: list[np.ndarray] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    seconds: float = 0.0
    rows: int = 0

    def loss_history(self) -> np.ndarray:
        """The losses [steps, 4] float32."""
        if not self.losses:
            return np.zeros((0, len(LOSSES)), np.float32)
        return np.stack(self.losses)

    def finish_epoch(self, facts: dict[str, float]) -> bool:
        """Note an epoch's result; return whether it is the best so far."""
        best = self.epochs[self.best_epoch]["validation_auc"] if self.epochs else -math.inf
        is_best = facts["validation_auc"] > best
        if is_best:
            self.best_epoch = self.epoch
        self.epochs.append(facts)
        self.epoch, self.batch = self.epoch + 1, 0
        return is_best

    def has_ended(self, options: Training) -> bool:
        """Whether training is over: by its last epoch, or because validation has stalled."""
        if self.batch > 0 or self.epoch == 0:
            return False
        has_stalled = self.epoch - 1 - self.best_epoch >= options.patience
        return has_stalled or self.epoch >= options.max_epochs

    def outlasts(self, options: Training) -> bool:
        """Whether it went on where a run of these options would have ended."""
        then = State()
        for facts in self.epochs:
            if then.has_ended(options):
                return True
            then.finish_epoch(facts)
        return self.batch > 0 and then.has_ended(options)


def save(folder: Path, model: Model, optimizers: Optimizers, state: State) -> None:
    """Write a checkpoint."""
    tensors = {f"model.{key}": value for key, value in model.state_dict().items()}
    tensors |= {f"table.{key}": value for key, value in optimizers.table.state().items()}
    for name, adam in (("tower", optimizers.tower), ("ranker", optimizers.ranker)):
        tensors |= _adam_tensors(name, adam)
    tensors["losses"] = torch.from_numpy(state.loss_history())
    facts = {
        "epoch": state.epoch,
        "batch": state.batch,
        "epochs": state.epochs,
        "best_epoch": state.best_epoch,
        "seconds": state.seconds,
        "rows": state.rows,
    }
    checkpoint.write(folder, "checkpoint", tensors, facts)


def adopt(other: Path, folder: Path) -> None:
    """Take another run's checkpoint and model, if this folder has none: the same files twice."""
    if checkpoint.read_facts(other, "checkpoint") is None or is_run(folder):
        return
    for name in ("checkpoint", "model"):
        for path in other.glob(f"{name}-*"):
            shutil.copytree(path, folder / path.name, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> str:
    """A second name for a file, or a copy where there can be none."""
    try:
        os.link(source, target)
    except FileExistsError:
        return target
    except OSError:
        shutil.copy2(source, target)
    return target


def restore(folder: Path, model: Model, optimizers: Optimizers) -> State | None:
    """Set model and optimizers to the latest checkpoint; return its state, None without one."""
    found = checkpoint.read(folder, "checkpoint")
    if found is None:
        return None
    tensors, facts = found
    model.load_state_dict(_part(tensors, "model."))
    optimizers.table.load(_part(tensors, "table."))
    for name, adam in (("tower", optimizers.tower), ("ranker", optimizers.ranker)):
        if adam is not None:
            _load_adam(adam, _part(tensors, f"{name}."))
    return replace(state_of(folder, facts), losses=list(tensors["losses"].numpy()))


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(name): value for key, value in tensors.items() if key.startswith(name)}


def _adam_tensors(name: str, adam: torch.optim.Adam | None) -> dict[str, Tensor]:
    states = adam.state_dict()["state"] if adam is not None else {}
    return {
        f"{name}.{i}.{key}": value for i, state in states.items() for key, value in state.items()
    }


def _load_adam(adam: torch.optim.Adam, tensors: dict[str, Tensor]) -> None:
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        states.setdefault(int(index), {})[name] = value
    adam.load_state_dict({**adam.state_dict(), "state": states})


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return (folder / "run.json").exists()


def has_ended(folder: Path) -> bool:
    """Whether a run's training is over, and not only interrupted."""
    return _state(folder).has_ended(Training(**read_facts(folder)["training"]))


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what a run is, as `describe` said.

    Raises:
        TrainingError: when 'run.json' is damaged.
    """
    path = folder / "run.json"
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: can't be read ({error}); train in another folder") from error
    parts = ("schema", "dense", "method", "training")
    if not isinstance(facts, dict) or not all(isinstance(facts.get(part), dict) for part in parts):
        raise TrainingError(f"{path}: lacks a part of {', '.join(parts)}; train in another folder")
    return facts


def describe(
    dataset: Dataset,
    method: Method,
    options: Training,
    hides_behavior: bool,
    device: torch.device,
) -> dict[str, Any]:
    """What a run is, as it is written beside its checkpoints."""
    return {
        "dataset": str(dataset.path.resolve()),
        "fingerprint": dataset.fingerprint,
        "schema": dataset.schema.model_dump(mode="json"),
        "dense": dataset.manifest["dense"],
        "method": method_facts(method),
        "training": dataclasses.asdict(options),
        "hides_behavior": hides_behavior,
        "device": _name_of(device),
        "versions": versions(),
    }  # fmt: skip


def _name_of(device: torch.device) -> str:
    """What a run is trained on: 'cpu', or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def method_facts(method: Method) -> dict[str, Any]:
    """A method's options as plain values."""
    facts = dataclasses.asdict(dataclasses.replace(method, ranker="base-dnn", after=None))
    after = method.after and after_facts(method.after)
    return facts | {"ranker": method.ranker_name, "after": after}


def after_facts(after: After) -> dict[str, Any]:
    """The name and the options of what gave new users behavior, as JSON has them."""
    options: dict[str, Any] = json.loads(json.dumps(vars(after)))
    return {"name": type(after).__name__, **options}


def versions() -> dict[str, str]:
    """The versions that a run's numbers may depend on."""
    return {"Python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed as a package"


PACKAGES = ("thaw", "torch", "numpy")

# What may change when a run is resumed: how long it goes, not what a step does.
CHANGEABLE = ("max_epochs", "patience", "checkpoint_seconds", "device", "tests_epochs")


def check_free(folder: Path) -> None:
    """Refuse a folder that holds something else than a run, before anything is written there.

    Raises:
        TrainingError: for a dataset's folder, a comparison's, or any with other files in it.
    """
    if is_run(folder) or not folder.is_dir():
        return
    known = ("run.lock", "vocabularies", "events", "checkpoint-*", "model-*", ".*")
    other = sorted(
        path.name
        for path in folder.iterdir()
        if not any(fnmatch(path.name, pattern) for pattern in known)
    )
    if other:
        raise TrainingError(f"{folder} holds something else ({other[0]}); choose another folder")


def start(folder: Path, facts: dict[str, Any], vocabularies: Path, *, resume: bool) -> None:
    """Make a run's folder, or check that the one to resume is of the same run.

    Raises:
        TrainingError: when the folder is taken, or belongs to another run.
    """
    path = folder / "run.json"
    facts = json.loads(json.dumps(facts))
    if path.exists():
        _check_same(folder, read_facts(folder), facts)
        if not resume:
            message = f"{folder} holds this run; resume it (--resume), or choose another folder"
            raise TrainingError(message)
        if _state(folder).has_ended(Training(**facts["training"])):
            return  # nothing is trained, and what it was stands
    else:
        if not resume and checkpoint.read_facts(folder, "checkpoint") is not None:
            message = f"{folder} holds a checkpoint of an unknown run, without run.json"
            raise TrainingError(f"{message}; remove it, or choose another folder")
        # A finished run's vocabularies stay as they are: a model may have them mapped.
        shutil.rmtree(folder / "vocabularies", ignore_errors=True)  # a start may have been killed
        shutil.copytree(vocabularies, folder / "vocabularies")
    aside = folder / ".run.json.partial"
    aside.write_text(json.dumps(facts, indent=1))
    checkpoint.sync(aside)
    aside.rename(path)
    checkpoint.sync(folder)


def _check_same(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with another run, or with limits that would have ended this one before."""
    differing = _differing(before, now)
    if differing:
        message = f"{folder} holds another run: {', '.join(differing)} differ"
        raise TrainingError(f"{message}; give the same options, or choose another folder")
    state, options = _state(folder), Training(**now["training"])
    if state.outlasts(options):
        limits = f"max_epochs={options.max_epochs}, patience={options.patience}"
        message = f"{folder} holds a run of {state.epoch} epochs, longer than with {limits}"
        raise TrainingError(f"{message}; choose another folder")


def _state(folder: Path) -> State:
    """Where a run stands, but for its losses."""
    known = checkpoint.read_facts(folder, "checkpoint")
    return state_of(folder, known) if known is not None else State()


def state_of(folder: Path, facts: dict[str, Any]) -> State:
    """The state that a checkpoint's facts tell, but for its losses."""
    names = {each.name for each in dataclasses.fields(State)} - {"losses"}
    if facts.keys() != names:
        lacking = ", ".join(sorted(names ^ facts.keys()))
        raise TrainingError(
            f"{folder}: its checkpoint is damaged or another version's ({lacking}); remove it and "
            "start again"
        )
    return State(**facts)


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The facts that make it another run."""
    apart = ("dataset", "training", "device", "versions")
    # What a later version added to schemas stands at its default.
    schema = Schema.model_validate(before["schema"]).model_dump(mode="json")
    before = before | {"schema": schema, "method": {"fm": False} | before["method"]}
    others = [key for key in now if key not in apart and before.get(key) != now[key]]
    options, former = now["training"], before["training"]
    return others + [
        f"training.{name} ({former.get(name)}, now {value})"
        for name, value in options.items()
        if name not in CHANGEABLE and former.get(name) != value
    ]
