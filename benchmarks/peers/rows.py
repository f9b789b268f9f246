"""What the scripts of the other libraries share: the rows, the clock and the memory."""

import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

BATCH, WARM_UP = 1024, 20
DIM = 32
EVENT_FIELDS = ("cate", "brand")
TABLES = {"user": "users", "item": "items", "context": "impressions", "event": "items"}

Rows = dict[str, torch.Tensor]


def arguments() -> tuple[str, Rows, dict[str, int]]:
    """The model's name, the rows by column, and each column's vocabulary size."""
    model, path, text = sys.argv[1:]
    loaded, sizes = np.load(path), json.loads(text)
    rows = {name: torch.from_numpy(loaded[name]) for name in loaded.files}
    columns = [name for name in rows if "_" in name]
    return model, rows, {name: sizes[_vocabulary(name)] for name in columns}


def _vocabulary(column: str) -> str:
    role, name = column.split("_", 1)
    return f"{TABLES[role]}.{name}"


def time_steps(rows: Rows, step: Callable[[Rows], object]) -> None:
    """Take all steps, and print the seconds of one after the warm-up, and the peak memory."""
    batches = len(rows["labels"]) // BATCH
    started = 0.0
    for number in range(batches):
        if number == WARM_UP:
            started = time.perf_counter()
        part = slice(number * BATCH, (number + 1) * BATCH)
        step({name: values[part] for name, values in rows.items()})
    seconds = (time.perf_counter() - started) / (batches - WARM_UP)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))
