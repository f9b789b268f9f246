"""Numbered folders of safetensors and JSON: written aside, renamed into place, without pickle."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from thaw.errors import TrainingError

TENSORS, FACTS = "tensors.safetensors", "facts.json"

T = TypeVar("T")


def write(folder: Path, name: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write '<name>-<number>' whole or not at all, then remove those with lower numbers.

    Raises:
        TrainingError: when it can't be written, such as on a full disk; the former one stays.
    """
    try:
        _write(folder, name, tensors, facts)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(folder / f".{name}.partial", ignore_errors=True)
        raise TrainingError(f"{folder}: no {name} could be written ({error})") from error


def _write(
    folder: Path, name: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    others = sorted(folder.glob(f"{name}-*"))
    number = int(others[-1].name.rsplit("-", 1)[1]) + 1 if others else 0
    aside = folder / f".{name}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    # Cloned: weights that are tied share memory, and safetensors has no word for that.
    save_file({key: value.clone().contiguous() for key, value in tensors.items()}, aside / TENSORS)
    (aside / FACTS).write_text(json.dumps(facts, indent=1))
    for path in (*aside.iterdir(), aside):
        sync(path)
    aside.rename(folder / f"{name}-{number:012d}")
    sync(folder)
    for other in others:
        shutil.rmtree(other, ignore_errors=True)


def read(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and facts with the highest number, or None where there are none.

    Raises:
        TrainingError: when they can't be read.
    """
    return _read(folder, name, lambda path: (load_file(path / TENSORS), _facts(path)))


def read_facts(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the facts with the highest number alone, or None where there are none.

    Raises:
        TrainingError: when they can't be read.
    """
    return _read(folder, name, _facts)


def _read(folder: Path, name: str, load: Callable[[Path], T]) -> T | None:
    """Load what has the highest number, once more where a run that goes on has replaced it."""
    while (path := _latest(folder, name)) is not None:
        try:
            return load(path)
        except Exception as error:
            if path == _latest(folder, name):
                raise TrainingError(
                    f"{path}: can't be read ({error}); remove it and start again"
                ) from error
    return None


def _facts(path: Path) -> dict[str, Any]:
    facts = json.loads((path / FACTS).read_text())
    if not isinstance(facts, dict):
        raise ValueError(f"{FACTS} holds a {type(facts).__name__}, no dict")
    return facts


def _latest(folder: Path, name: str) -> Path | None:
    return max(folder.glob(f"{name}-*"), default=None)


def sync(path: Path) -> None:
    """Return once a file's bytes, or a folder's names, are on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
