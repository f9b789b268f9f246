"""What commands share: options, the way to a dataset, and a word after Ctrl-C."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from thaw.data import Dataset
from thaw.datasets import KNOWN
from thaw.errors import DataError
from thaw.options import Training
from thaw.preparation import declared, prepare, source_files
from thaw.progress import Progress, ProgressFactory, Quiet, Terminal
from thaw.run import is_run

RULES = "'paper', 'strict' or 'natural'"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Quietly = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Data = Annotated[
    Path | None,
    typer.Option(help="The folder with the tables' files; the schema's folder by default."),
]
Rule = Annotated[
    str | None, typer.Option("--new-users", help=f"Another rule for who is new: {RULES}.")
]
Memory = Annotated[str, typer.Option(help="The limit; larger inputs spill to disk.")]
Rejects = Annotated[
    float, typer.Option("--max-rejects", help="The share of unusable rows above which it stops.")
]
Seed = Annotated[int, typer.Option(help="Of weights, order and dropout.")]
Epochs = Annotated[int, typer.Option("--max-epochs", help="Training stops here at the latest.")]
Patience = Annotated[
    int, typer.Option(help="Epochs without a better validation AUC before training stops.")
]
Events = Annotated[int, typer.Option("--max-events", help="The last events that are seen.")]
Dim = Annotated[int, typer.Option(help="The embeddings' width.")]
BatchSize = Annotated[int, typer.Option(help="Rows a step.")]
Rate = Annotated[float, typer.Option("--learning-rate", help="Of both Adam optimizers.")]
Device = Annotated[str, typer.Option(help="'cpu', 'cuda', or 'auto' for a GPU where there is one.")]

Jobs = Annotated[
    int,
    typer.Option(min=1, help="Runs at once, each in a process of its own with its share of cores."),
]

DEFAULTS = Training()


def comparison_folder(folder: Path) -> Path:
    """The folder of a comparison, which must not be that of a run or a dataset."""
    for what, is_there in (
        ("run", is_run(folder)),
        ("dataset", (folder / "manifest.json").exists()),
    ):
        if is_there:
            told = f"{folder} holds a {what}; choose another folder for the comparison (--out)"
            raise DataError(told)
    return folder


def dataset_of(
    what: str, prepared: Path, data: Path | None, new_users: str | None, memory: str, limit: float
) -> Dataset:
    """Open what is prepared, or prepare it."""
    if what not in KNOWN and (Path(what) / "manifest.json").exists():
        if new_users is not None:
            raise DataError(f"{what} is prepared already; give --new-users to 'thaw prepare'")
        return Dataset.open(what)
    note = prepared.with_name(f"{prepared.name}-sources.json")
    read_now = {path: list(facts) for path, facts in source_files(what, data).items()}
    if not prepared.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(read_now, indent=1))
        return prepare(
            what, out=prepared, data=data, new_users=new_users, memory=memory, max_rejects=limit
        )
    found = Dataset.open(prepared)
    if found.schema != declared(what, new_users, data):
        raise DataError(f"{prepared} was prepared by another schema or rule; choose another --out")
    read_then = json.loads(note.read_text()) if note.exists() else {}
    for path in read_now | read_then:
        if read_now.get(path) != read_then.get(path):
            raise DataError(
                f"{path} is not what it was when {prepared} was prepared, by size or time; "
                f"choose another --out, or give {prepared} in the place of {what} to keep it"
            )
    typer.echo(f"thaw: the dataset is {prepared}, prepared before", err=True)
    return found


@contextmanager
def hint(text: str) -> Iterator[None]:
    """After Ctrl-C, say how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"thaw: stopped; {text}", err=True)
        sys.exit(130)


def shown(quiet: bool, jobs: int = 1) -> ProgressFactory:
    """What shows each run's progress: the terminal, with bars where runs take turns; or nothing."""

    def make(name: str, seed: int) -> Progress:
        if quiet:
            return Quiet()
        console = Console(stderr=True, force_terminal=False if jobs > 1 else None)
        return Terminal(f"{name}, seed {seed}", console)

    return make
