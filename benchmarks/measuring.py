"""What the benchmarks share: processes that take turns, tables, and files of figures."""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PEERS = HERE / ".peers"
PACKAGES = ("torch==2.13.0", "fuxictr==2.3.10", "deepctr-torch==0.3.0")

Command = Sequence[str | Path]


def in_turns(commands: Mapping[str, Command], rounds: int) -> dict[str, dict[str, float]]:
    """Run each command as a process of its own, all of them once a round; return medians.

    A command prints figures as JSON in its last line. What else the machine does then hits all of
    them alike, and the peak memory of one is its own.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            found[name].append(run(command))
    return {name: medians(figures) for name, figures in found.items()}


def run(command: Command) -> dict[str, float]:
    """Run a command and read the JSON in its last line."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def medians(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over rounds."""
    return {name: statistics.median(each[name] for each in figures) for name in figures[0]}


def peak_megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peers_python() -> Path:
    """The Python of an environment with the other libraries, installed where it is missing."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", PEERS], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def show(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], width: int = 120
) -> None:
    """Print a table: names first, then numbers."""
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=width).print(table)


def write(name: str, figures: Mapping[str, Any], path: Path | None = None) -> None:
    """Write figures with the machine and the date to benchmarks/results."""
    path = path or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **figures}, indent=1) + "\n")
    print(f"written to {path}")


def machine() -> dict[str, Any]:
    """CPU model, cores, date and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    versions = {name: metadata.version(name) for name in ("thaw", "torch", "numpy")}
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        **versions,
    }
