"""'thaw demo': the whole way on a simulated world."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from thaw.cli_parts import hint, shown
from thaw.data import Dataset
from thaw.datasets import World, simulate
from thaw.datasets.simulated import schema as simulated_schema
from thaw.errors import DataError
from thaw.experiments.compare import compare
from thaw.options import Training
from thaw.preparation import prepare
from thaw.printing import show_comparison


def demo_command(
    out: Annotated[Path, typer.Option(help="A folder for everything that the demo makes.")] = Path(
        "demo"
    ),
    users: Annotated[int, typer.Option(min=500, help="Users of the simulated world.")] = 3000,
) -> None:
    """Go the whole way on a simulated world.

    Simulates, prepares, trains BaseDNN alone, with MAIL, and with MAIL and behavior dropout,
    compares them with the ceiling, and writes a report. Some minutes on two cores.
    """
    console = Console()
    world = World(
        users=users,
        interest_determined=0.9,
        rate_determined=0.9,
        interest_strength=1.2,
        rate_spread=1.0,
    )
    console.print(
        f"Simulating {users:,} users whose interests and click rates depend on their attributes to "
        "nine tenths ..."
    )
    tables = out / "tables"
    if not tables.exists():
        simulate(world, tables)
    if not (out / "dataset").exists():
        with hint("the same command goes on where it stopped"):
            declared = simulated_schema(world)
            prepare(declared, data=tables, out=out / "dataset", new_users="strict")
    dataset = Dataset.open(out / "dataset")
    if len(dataset.users) != users:
        raise DataError(
            f"{out} holds a demo with {len(dataset.users):,} users; choose another --out"
        )
    # A small world has few steps an epoch: a larger rate reaches the end in a demo's time, and
    # epochs that vary by more than they gain want patience.
    options = Training(max_events=50, learning_rate=4e-3, patience=5)
    result = compare(
        dataset,
        ["base-dnn", "base-dnn+fm", "mail-base", "mail-base+dropout", "mail-base+dropout+fm"],
        out=out / "runs",
        seeds=1,
        training=options,
        progress=shown(quiet=False),
    )
    show_comparison(result, dataset, out, report=True, as_json=False)
    console.print(
        "\nA demo shows the way, not the method's worth: one small world that suits MAIL, one "
        "seed. Your own tables are next: docs/your-own-tables.md, then 'thaw compare schema.yaml'."
    )
