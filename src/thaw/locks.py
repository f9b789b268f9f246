"""A lock on a folder that the system lets go of when its holder is killed."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(path: Path, taken: Exception) -> Iterator[None]:
    """Hold the lock in a file.

    Raises:
        Exception: `taken`, when another process holds it.
    """
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise taken from None
        yield
