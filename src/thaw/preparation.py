"""From a team's tables to a dataset on disk: whole or not at all."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import ibis
import numpy as np
import pyarrow as pa
from ibis import _
from pyarrow import parquet

from thaw.data import FORMAT, Dataset, checksum
from thaw.datasets import KNOWN
from thaw.errors import DataError, SchemaError
from thaw.locks import alone
from thaw.schema import Schema
from thaw.tables import arrays, rules, staging, vocabularies
from thaw.tables.sources import TABLES, paths
from thaw.tables.staging import Inputs

# What Python, Arrow and the batches under way need beside DuckDB.
OWN_MEMORY = 720 * 2**20


def prepare(
    schema: Schema | str | Path,
    tables: Mapping[str, object] | None = None,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    new_users: str | None = None,
    memory: str = "4GB",
    max_rejects: float = 0.01,
) -> Dataset:
    """Prepare a dataset from tables in memory or from the files that the schema names.

    The same input gives a byte-identical dataset. Rows that can't be used go to rejects, with
    file, line and reason. An interrupted run leaves nothing that looks like a dataset.

    Args:
        schema: the schema, the path of its YAML, or the name of a known data set.
        tables: pandas, Polars or Arrow tables by name (users, items, impressions, events).
        out: the folder to make; '<schema's name>-prepared' by default.
        data: the folder that the schema's files lie in; the YAML's folder by default.
        new_users: another rule than the schema's for who is new: 'paper', 'strict' or 'natural'.
        memory: the limit, such as '4GB'; larger inputs spill to disk beside `out`.
        max_rejects: the share of a table's rows above which preparation stops.

    Raises:
        SchemaError: when the YAML has faults.
        DataError: when files or columns are missing, too many rows are rejects, or `out` exists.
    """
    if not isinstance(max_rejects, int | float) or not 0 <= max_rejects <= 1:
        raise DataError(f"max_rejects (={max_rejects!r}) must be a share in [0, 1]")
    inputs = _inputs(schema, new_users, tables, data)
    schema = inputs.schema
    target = Path(out if out is not None else f"{schema.name}-prepared")
    if target.exists():
        raise DataError(f"{target} exists; remove it, or choose another folder")
    with _aside(target) as folder, _engine(folder / "stage", memory) as con:
        staging.stage(con, inputs)
        spans = staging.spans(con)
        rejects = _tell_rejects(con, target, max_rejects)
        rules.assign(con, schema)
        names = vocabularies.count(con, schema)
        whole = folder / "whole"
        _write_arrays(con, schema, names, whole, folder / "times")
        _write_manifest(whole, schema, rejects, spans)
        whole.rename(target)
    _rejects_beside(target).unlink(missing_ok=True)  # of a preparation that stopped before
    return Dataset.open(target)


def declared(
    schema: Schema | str | Path, new_users: str | None = None, data: str | Path | None = None
) -> Schema:
    """Return a schema, given itself, the path of its YAML, or the name of a known data set.

    Args:
        schema: the schema, its path or its name.
        new_users: another rule for who is new.
        data: the folder with a known data set's files; simulated ones are called so.

    Raises:
        SchemaError: when the YAML has faults, or there is no such rule.
    """
    if not isinstance(schema, Schema | str | Path):
        kind = type(schema).__name__
        told = "pass a thaw.Schema, the path of its YAML, or a data set's name"
        raise SchemaError([f"schema: is a {kind}; {told}"])
    if not isinstance(schema, Schema):
        name = str(schema)
        schema = KNOWN[name].schema_of(data) if name in KNOWN else Schema.read(schema)
    return schema if new_users is None else schema.with_new_users(new_users)


def source_files(
    schema: Schema | str | Path, data: str | Path | None = None
) -> dict[str, tuple[int, int]]:
    """Return size and time of change of each file that a schema names, by its path.

    Raises:
        SchemaError: when the YAML has faults.
        DataError: when a file is missing.
    """
    inputs = _inputs(schema, None, None, data)
    names = [name for name in TABLES if getattr(inputs.schema, name).files]
    files = [
        path.resolve()
        for name in names
        for path in paths(name, getattr(inputs.schema, name), inputs.data)
    ]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def _inputs(
    schema: Schema | str | Path,
    new_users: str | None,
    tables: Mapping[str, object] | None,
    data: str | Path | None,
) -> Inputs:
    found = declared(schema, new_users, data)
    if isinstance(schema, Schema):
        return Inputs(found, Path(data or "."), tables)
    if str(schema) in KNOWN:
        known = KNOWN[str(schema)]
        return Inputs(found, known.folder(data), tables, known.derive)
    return Inputs(found, Path(data or Path(schema).parent), tables)


@contextlib.contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A folder beside the target, removed at the end; what a killed run left there goes first."""
    aside = target.with_name(f".{target.name}.partial")
    taken = DataError(f"{target}: another run is making it; wait, or choose another folder")
    try:
        aside.mkdir(parents=True, exist_ok=True)
        with alone(aside / "lock", taken):
            shutil.rmtree(aside / "work", ignore_errors=True)
            try:
                (aside / "work").mkdir()
                yield aside / "work"
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except (duckdb.InterruptException, RuntimeError) as error:
        if "interrupted" in str(error).lower():  # what DuckDB makes of Ctrl-C
            raise KeyboardInterrupt from None
        raise
    except (OSError, duckdb.Error, pa.ArrowException) as error:
        told = str(error).partition("\n")[0]  # what follows in DuckDB's errors is our own SQL
        raise DataError(f"{target} was not made: {told}") from error


@contextlib.contextmanager
def _engine(folder: Path, memory: str) -> Iterator[Any]:
    """DuckDB with its tables and its spill on disk."""
    folder.mkdir()
    limit = _bytes(memory) - OWN_MEMORY
    con = ibis.duckdb.connect(
        folder / "stage.duckdb", memory_limit=f"{limit >> 20}MiB", temp_directory=str(folder)
    )
    con.raw_sql("SET enable_progress_bar = false")  # it would be printed amid our own output
    try:
        yield con
    finally:
        con.disconnect()


def _bytes(memory: str) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([MG])i?B?\s*", str(memory), re.IGNORECASE)
    size = float(match[1]) * 2 ** {"M": 20, "G": 30}[match[2].upper()] if match else 0
    if size < 2**30:
        raise DataError(f"memory: {memory!r} is no size of at least 1GB; write it as '4GB'")
    return int(size)


def _rejects_beside(target: Path) -> Path:
    """Where rejects are left of a preparation that stopped for them."""
    return target.with_name(f"{target.name}-rejects.parquet")


def _tell_rejects(con: Any, target: Path, limit: float) -> dict[str, Any]:
    """Count rejects by table and reason; stop above the limit, with the rejects left to read."""
    read = {row["table"]: row["rows"] for row in con.table("read").to_pyarrow().to_pylist()}
    counts = con.table("rejects").group_by("table").agg(n=_.count()).to_pyarrow().to_pylist()
    counted = {row["table"]: row["n"] for row in counts}
    summary = {
        name: {"read": rows, "rejected": counted.get(name, 0)} for name, rows in read.items()
    }
    empty = [name for name, each in summary.items() if name != "events" and each["read"] == 0]
    if empty:
        raise DataError(f"{', '.join(empty)}: no rows; give at least a training and a test row")
    worst = {
        name: each for name, each in summary.items() if each["rejected"] > limit * each["read"]
    }
    if worst:
        path = _rejects_beside(target)
        parquet.write_table(_rejects(con), path)
        raise DataError("\n".join([
            *(f"{name}: {each['rejected']:,} of {each['read']:,} rows are rejects, "
              f"more than the limit of {limit:.2%}" for name, each in worst.items()),
            *(f"  {line}" for line in _examples(con, list(worst))),
            f"all of them: {path}; mend the rows, or raise the limit (max_rejects)",
        ]))  # fmt: skip
    return summary


def _rejects(con: Any) -> pa.Table:
    return con.table("rejects").order_by("table", "file", "line").to_pyarrow()


def _examples(con: Any, tables: list[str], count: int = 3) -> list[str]:
    """Some rejects of each table; those of users and items, which can be others' cause, first."""
    rejects = con.table("rejects")
    found = [
        rejects.filter(rejects.table == name).order_by("file", "line").limit(count).to_pyarrow()
        for name in tables
    ]
    rows = [row for part in found for row in part.to_pylist()]
    return [f"{row['file']}:{row['line']}: {row['reason']}" for row in rows]


def _write_arrays(con: Any, schema: Schema, names: list[str], folder: Path, times: Path) -> None:
    folder.mkdir()
    arrays.write_vocabularies(con, names, folder / "vocabularies")
    arrays.write_users(con, schema, folder / "users")
    arrays.write_items(con, schema, folder / "items")
    arrays.write_events(con, schema, folder / "events", times)
    arrays.write_impressions(con, schema, folder, folder / "events", times)
    parquet.write_table(_rejects(con), folder / "rejects.parquet")
    chosen = con.table("users").select("num", user="key").join(con.table("chosen"), "num")
    chosen = chosen.order_by("num").select("user", "hidden", "hidden_in_validation")
    parquet.write_table(chosen.to_pyarrow(), folder / "new_users.parquet")


def _write_manifest(
    folder: Path, schema: Schema, rejects: dict[str, Any], spans: dict[str, tuple[int, int]]
) -> None:
    """Write the manifest, last of all: a folder without it is no dataset."""
    files = sorted(folder.rglob("*.*"))
    manifest = {
        "format": FORMAT,
        "schema": schema.model_dump(mode="json"),
        "rejects": rejects,
        "days": {name: [*map(staging.date, ends)] for name, ends in spans.items()},
        "dense": _moments(folder),
        "files": {str(path.relative_to(folder)): _checksum(path) for path in files},
    }
    with (folder / "manifest.json").open("w") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _moments(folder: Path) -> dict[str, list[list[float]]]:
    """Mean and standard deviation of each dense field over what training shows, by table."""
    values = {
        name: arrays.load(folder / name / "dense.npy") for name in ("users", "items", "train")
    }
    is_shown = {name: np.zeros(len(values[name]), bool) for name in ("users", "items")}
    is_shown["users"][arrays.load(folder / "train/user.npy")] = True
    is_shown["items"][arrays.load(folder / "train/item.npy")] = True
    return {name: _moment(values[name], is_shown.get(name)) for name in values}


def _moment(values: np.ndarray, is_shown: np.ndarray | None) -> list[list[float]]:
    """Mean and deviation of each column's known values, read a part at a time."""

    def average(power: int, center: np.ndarray) -> np.ndarray:
        total, count = np.zeros(values.shape[1]), np.zeros(values.shape[1], np.int64)
        for start in range(0, len(values), arrays.ROWS_AT_A_TIME):
            rows = slice(start, start + arrays.ROWS_AT_A_TIME)
            part = values[rows] if is_shown is None else values[rows][is_shown[rows]]
            total += np.nansum((part.astype(np.float64) - center) ** power, axis=0)
            count += (~np.isnan(part)).sum(axis=0)
        return total / np.maximum(count, 1)

    mean = average(1, np.zeros(values.shape[1]))
    deviation = np.sqrt(average(2, mean))
    # Equal values differ from their mean by rounding alone.
    is_constant = deviation <= np.finfo(np.float32).eps * np.abs(mean)
    pairs: list[list[float]] = np.stack([mean, np.where(is_constant, 1.0, deviation)], 1).tolist()
    return pairs


def _checksum(path: Path) -> str:
    """The checksum of a file that is on the disk, whatever happens next."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return checksum(path)
