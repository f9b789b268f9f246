"""What a person sees of training, and what TensorBoard does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from thaw.errors import TrainingError


class Progress(Protocol):
    """Is told how training goes; used as a context manager around it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def start_epoch(self, epoch: int, batch: int, batches: int) -> None:
        """An epoch starts, or goes on, at a batch."""

    def step(self, step: int, rows: int, losses: np.ndarray) -> None:
        """A step was taken on so many rows, with these four losses."""

    def finish_epoch(self, epoch: int, facts: dict[str, float], *, is_best: bool) -> None:
        """An epoch is over, with its mean losses, what was fitted, and its validation AUC."""

    def tell(self, line: str) -> None:
        """What is fitted after training says how it went."""


ProgressFactory = Callable[[str, int], Progress]
"""Makes what shows one run's progress, from the method's name and the seed."""


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def start_epoch(self, epoch: int, batch: int, batches: int) -> None:
        """Show nothing."""

    def step(self, step: int, rows: int, losses: np.ndarray) -> None:
        """Show nothing."""

    def finish_epoch(self, epoch: int, facts: dict[str, float], *, is_best: bool) -> None:
        """Show nothing."""

    def tell(self, line: str) -> None:
        """Show nothing."""


class Terminal:
    """A bar with losses, rows a second and time left, and a line for each epoch."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.title = title
        self.console = console or Console(stderr=True)
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=self.console,
            transient=True,
        )
        self.task = TaskID(0)
        self.rows = 0

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def start_epoch(self, epoch: int, batch: int, batches: int) -> None:
        """Start a bar for the epoch."""
        for task in self.bar.task_ids:
            self.bar.remove_task(task)
        title = f"{self.title}, epoch {epoch + 1}"
        self.task = self.bar.add_task(title, total=batches, completed=batch, speed="", losses="")
        self.rows = 0

    def step(self, step: int, rows: int, losses: np.ndarray) -> None:
        """Move the bar."""
        self.rows += rows
        seconds = self.bar.tasks[-1].elapsed or 1e-9
        shown = f"loss {losses[0]:.4f}"
        if losses[1:].any():
            shown += f"  L_a {losses[1]:.3g}  L_v {losses[2]:.3g}  L_d {losses[3]:.3g}"
        speed = f"{self.rows / seconds:,.0f} rows/s"
        self.bar.update(self.task, advance=1, speed=speed, losses=shown)

    def finish_epoch(self, epoch: int, facts: dict[str, float], *, is_best: bool) -> None:
        """Leave a line."""
        best = "  (best so far)" if is_best else ""
        strength = f"  virtual strength {facts['strength']:.2f}" if "strength" in facts else ""
        line = (
            f"{self.title}: epoch {epoch + 1}  loss {facts['ranking']:.4f}{strength}  "
            f"validation AUC {facts['validation_auc']:.4f}{best}"
        )
        self.console.print(line, highlight=False, soft_wrap=True)

    def tell(self, line: str) -> None:
        """Leave a line."""
        self.console.print(f"{self.title}: {line}", highlight=False, soft_wrap=True)


class TensorBoard:
    """Writes the losses and the validation AUC as TensorBoard events, and passes everything on.

    Raises:
        TrainingError: where TensorBoard is not installed.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], inner: Progress) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            message = f"TensorBoard is not installed ({error}); pip install 'thaw[tensorboard]'"
            raise TrainingError(message) from None
        self.folder, self.names, self.inner = folder, names, inner
        self.open: Any = SummaryWriter
        self.writer: Any = None

    def __enter__(self) -> Self:
        self.inner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.writer is not None:
            self.writer.close()
        self.inner.__exit__(*error)

    def start_epoch(self, epoch: int, batch: int, batches: int) -> None:
        """Open the events; those of steps that will be taken again are purged."""
        if self.writer is None:
            self.writer = self.open(str(self.folder), purge_step=epoch * batches + batch)
        self.inner.start_epoch(epoch, batch, batches)

    def step(self, step: int, rows: int, losses: np.ndarray) -> None:
        """Write the losses."""
        for name, value in zip(self.names, losses, strict=True):
            self.writer.add_scalar(f"loss/{name}", float(value), step)
        self.inner.step(step, rows, losses)

    def finish_epoch(self, epoch: int, facts: dict[str, float], *, is_best: bool) -> None:
        """Write the validation AUC."""
        self.writer.add_scalar("validation/auc", facts["validation_auc"], epoch)
        self.inner.finish_epoch(epoch, facts, is_best=is_best)

    def tell(self, line: str) -> None:
        """Pass it on."""
        self.inner.tell(line)
