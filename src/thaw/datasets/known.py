"""What thaw knows of a public data set: its schema, where its files come from, what is allowed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from thaw.errors import DataError
from thaw.schema import Schema
from thaw.tables.staging import Derive

MARKER = "SIMULATED.txt"
"""A file that says, beside files of a public set's form, that they are not the public set."""


@dataclass(frozen=True)
class Known:
    """A data set that ships as a schema.

    Attributes:
        name: as commands call it.
        about: what it is, in a line.
        schema: makes its schema.
        source: where to download it by hand; empty where nothing is downloaded.
        unpack: what to unpack, and what must lie in the folder then.
        licence: what its licence allows.
        files: the files that must be there, as names or globs, one file for each.
        derive: adds columns to its raw tables.
        simulate: writes files of its form into a folder, given a scale and a seed.
        scale: the scale by default, in times the real size.
    """

    name: str
    about: str
    schema: Callable[[], Schema]
    source: str = ""
    unpack: str = ""
    licence: str = ""
    files: tuple[str, ...] = ()
    derive: Derive | None = None
    simulate: Callable[[Path, float, int], Path] | None = None
    scale: float = 1.0

    def folder(self, data: str | Path | None) -> Path:
        """The folder with the files; those of a set without a source are written into it first.

        Raises:
            DataError: when no folder is given or files are missing; it says where to get them.
        """
        folder = Path(data) if data is not None else None
        if self.simulate is not None and not self.source:
            folder = folder or Path(f"{self.name}-tables")
            if not folder.exists():
                self.simulate(folder, self.scale, 0)
            return folder
        missing = [name for name in self.files if folder is None or not _found(folder, name)]
        if folder is None or missing:
            what = f"{folder} lacks {', '.join(missing)}" if folder else "no data folder is given"
            raise DataError(
                f"{self.name}: {what}. Download {self.source}, {self.unpack}, and give the folder "
                f"with --data. Licence: {self.licence}"
            )
        for name in self.files:
            if len(found := _found(folder, name)) > 1:
                raise DataError(
                    f"{self.name}: {folder} holds {' and '.join(found)}, of which one is read; "
                    "move the others away"
                )
        return folder

    def schema_of(self, data: str | Path | None) -> Schema:
        """The schema, named after what lies in the folder: simulated files never pass as real."""
        schema = self.schema()
        if data is None or not (Path(data) / MARKER).exists():
            return schema
        return schema.model_copy(update={"name": f"{self.name}-simulated"})


def _found(folder: Path, name: str) -> list[str]:
    return sorted(path.name for path in folder.glob(name) if path.is_file())
