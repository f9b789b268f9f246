"""A table of texts, as terminal and pages lay it out."""

from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    Attributes:
        columns: the headers; the first column names the rows.
        rows: as many texts each.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def for_terminal(self, *, breaks_headers: bool = False) -> Table:
        """Lay it out; headers of several words may take a line for each."""
        table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0, header_style="")
        for number, name in enumerate(self.columns):
            header = name.replace(" ", "\n") if breaks_headers else name
            table.add_column(header, justify="right" if number else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table
