"""The errors that thaw raises on purpose.

ThawError
├── SchemaError      a schema with faults, all of them listed
├── DataError        tables, files or prepared datasets that can't be used
├── TrainingError    training that can't start or can't go on
└── MethodError      an unknown method, or options that don't go together
"""


class ThawError(Exception):
    """Base of every error that thaw raises on purpose; the command line prints it in one line."""


class SchemaError(ThawError):
    """A schema with faults.

    Attributes:
        faults: one line for each fault: the field's path and what would be right.
    """

    def __init__(self, faults: list[str], source: str = "schema") -> None:
        self.faults = faults
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(
            "\n".join([f"{source} has {count}:", *(f"  - {fault}" for fault in faults)])
        )


class DataError(ThawError):
    """Tables, files or prepared datasets that can't be used as they are."""


class TrainingError(ThawError):
    """Training that can't start or can't go on."""


class MethodError(ThawError):
    """An unknown method, or options that don't go together."""
