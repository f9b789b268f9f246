"""Folders of files that appear whole or not at all."""

import shutil
from collections.abc import Callable
from pathlib import Path

from thaw.errors import DataError


def written_aside(folder: str | Path, write: Callable[[Path], None]) -> Path:
    """Write into a sibling and rename it at the end, so that no folder is ever half full.

    Args:
        folder: the folder to make.
        write: fills the folder that it is given.

    Returns:
        The folder's whole path.

    Raises:
        DataError: if the folder exists and isn't empty.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"`folder` (={folder}) must be new or empty; choose another, or remove it")
    aside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)  # what a killed run left
    aside.mkdir(parents=True)
    try:
        write(aside)
        aside.replace(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return folder
