"""From a team's tables to a dataset on disk: whole or not at all."""

import contextlib
import dataclasses
import hashlib
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

from thaw.data import FORMAT, Dataset
from thaw.datasets import KNOWN
from thaw.errors import DataError
from thaw.schema import Schema
from thaw.tables import arrays, rules, staging, vocabularies
from thaw.tables.staging import Inputs

# What Python, Arrow and the batches under way need beside DuckDB.
OWN_MEMORY = 600 * 2**20


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
    inputs = _inputs(schema, tables, data)
    schema = inputs.schema if new_users is None else inputs.schema.with_new_users(new_users)
    inputs = dataclasses.replace(inputs, schema=schema)
    target = Path(out if out is not None else f"{schema.name}-prepared")
    if target.exists():
        raise DataError(f"{target} exists; remove it, or choose another folder")
    with _aside(target) as folder, _engine(folder / "stage", memory) as con:
        staging.stage(con, inputs)
        rejects = _tell_rejects(con, target, max_rejects)
        rules.assign(con, schema)
        names = vocabularies.count(con, schema)
        whole = folder / "whole"
        _write_arrays(con, schema, names, whole, folder / "times")
        _write_manifest(whole, schema, rejects)
        whole.rename(target)
    return Dataset.open(target)


def _inputs(
    schema: Schema | str | Path, tables: Mapping[str, object] | None, data: str | Path | None
) -> Inputs:
    if isinstance(schema, Schema):
        return Inputs(schema, Path(data or "."), tables)
    if str(schema) in KNOWN:
        known = KNOWN[str(schema)]
        return Inputs(known.schema(), known.folder(data), tables, known.derive)
    return Inputs(Schema.read(schema), Path(data or Path(schema).parent), tables)


@contextlib.contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A folder beside the target, removed at the end; what killed runs left there goes first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.partial-*"):
        if not _is_running(int(left.name.rsplit("-", 1)[1])):
            shutil.rmtree(left, ignore_errors=True)
    folder = target.parent / f".{target.name}.partial-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    except (OSError, duckdb.Error) as error:
        raise DataError(f"{target} was not made: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _engine(folder: Path, memory: str) -> Iterator[Any]:
    """DuckDB with its tables and its spill on disk."""
    folder.mkdir()
    limit = _bytes(memory) - OWN_MEMORY
    con = ibis.duckdb.connect(
        folder / "stage.duckdb", memory_limit=f"{limit >> 20}MiB", temp_directory=str(folder)
    )
    try:
        yield con
    finally:
        con.disconnect()


def _bytes(memory: str) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([MG])i?B?\s*", memory, re.IGNORECASE)
    size = float(match[1]) * 2 ** {"M": 20, "G": 30}[match[2].upper()] if match else 0
    if size < 2**30:
        raise DataError(f"memory: {memory!r} is no size of at least 1GB; write it as '4GB'")
    return int(size)


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
    worst = [name for name, each in summary.items() if each["rejected"] > limit * each["read"]]
    if worst:
        path = target.with_name(f"{target.name}-rejects.parquet")
        parquet.write_table(_rejects(con), path)
        raise DataError("\n".join([
            *(f"{name}: {summary[name]['rejected']:,} of {summary[name]['read']:,} rows are rejects, "
              f"more than the limit of {limit:.2%}" for name in worst),
            *(f"  {line}" for line in _examples(con)),
            f"all of them: {path}; mend the rows, or raise the limit (--max-rejects)",
        ]))  # fmt: skip
    return summary


def _rejects(con: Any) -> pa.Table:
    return con.table("rejects").order_by("table", "file", "line").to_pyarrow()


def _examples(con: Any, count: int = 5) -> list[str]:
    rows = con.table("rejects").order_by("table", "file", "line").limit(count)
    return [
        f"{row['file']}:{row['line']}: {row['reason']}" for row in rows.to_pyarrow().to_pylist()
    ]


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


def _write_manifest(folder: Path, schema: Schema, rejects: dict[str, Any]) -> None:
    """Write the manifest, last of all: a folder without it is no dataset."""
    manifest = {
        "format": FORMAT,
        "schema": schema.model_dump(mode="json"),
        "rejects": rejects,
        "dense": _moments(folder),
        "files": {str(path.relative_to(folder)): _checksum(path) for path in sorted(folder.rglob("*.*"))},
    }  # fmt: skip
    with (folder / "manifest.json").open("w") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _moments(folder: Path) -> dict[str, list[list[float]]]:
    """Mean and standard deviation of each dense field over what training shows, by table."""
    user, item = (arrays.load(folder / "train" / f"{name}.npy") for name in ("user", "item"))
    shown = {"users": np.unique(user), "items": np.unique(item), "train": slice(None)}
    return {name: _moment(arrays.load(folder / name / "dense.npy")[rows]) for name, rows in shown.items()}  # fmt: skip


def _moment(values: np.ndarray) -> list[list[float]]:
    result = []
    for column in values.T.astype(np.float64):
        known = column[~np.isnan(column)]
        mean, deviation = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        result.append([mean, deviation or 1.0])
    return result


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
