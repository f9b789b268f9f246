"""What thaw knows of a public data set: its schema, where its files come from, what is allowed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from thaw.errors import DataError
from thaw.schema import Schema
from thaw.tables.staging import Derive


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
        files: the files that must be there.
        derive: adds columns to its raw tables.
        make: writes its files into a folder, for a set that is simulated.
    """

    name: str
    about: str
    schema: Callable[[], Schema]
    source: str = ""
    unpack: str = ""
    licence: str = ""
    files: tuple[str, ...] = ()
    derive: Derive | None = None
    make: Callable[[Path], object] | None = None

    def folder(self, data: str | Path | None) -> Path:
        """The folder with the files; those of a simulated set are written into it first.

        Raises:
            DataError: when no folder is given or files are missing; it says where to get them.
        """
        folder = Path(data) if data is not None else None
        if self.make is not None:
            folder = folder or Path(f"{self.name}-tables")
            if not folder.exists():
                self.make(folder)
            return folder
        missing = [name for name in self.files if folder is None or not (folder / name).is_file()]
        if folder is None or missing:
            what = f"{folder} lacks {', '.join(missing)}" if folder else "no data folder is given"
            raise DataError(
                f"{self.name}: {what}. Download {self.source}, {self.unpack}, and give the folder "
                f"with --data. Licence: {self.licence}"
            )
        return folder
