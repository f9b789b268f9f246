"""Reading a team's files and data frames as Ibis tables; every row knows where it is from."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
from ibis import _
from ibis.expr import datatypes as dt
from ibis.expr import types as ir

from thaw.errors import DataError
from thaw.schema import CsvOptions, Schema, Table
from thaw.tables.memory import to_arrow, to_texts

TABLES = ("users", "items", "impressions", "events")

# Text is read line by line and split here: line numbers are exact and no row is lost unseen.
SEPARATOR = "\x1f"
# No text holds this, so that DuckDB takes every line for one column.
NEVER = "\x1d\x1e\x1f\x1d"
# Columns that every part gets.
OWN = ("_line", "_fault")
PARQUET = (".parquet", ".pq")


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def regexp_extract_all(text: str, pattern: str, group: int) -> dt.Array(dt.string):  # type: ignore[valid-type]
    """DuckDB's function of this name."""


@dataclass(frozen=True)
class Part:
    """One file, or one table in memory.

    Attributes:
        origin: what rejects call it: the path, or '<table> (in memory)'.
        rows: its rows: its own columns, '_line' (int64, the first line or row is 1) and '_fault'
            (string, why a row could not be split into columns).
    """

    origin: str
    rows: ir.Table


def parts(
    con: Any, schema: Schema, name: str, data: Path, tables: Mapping[str, object] | None
) -> Iterator[Part]:
    """Yield the files of one of the schema's tables, or the table in memory.

    Raises:
        DataError: when there is no such file, or it can't be read.
    """
    if tables is not None:
        if not isinstance(tables, Mapping):
            kind = type(tables).__name__
            raise DataError(f"tables: is a {kind}; give a dict of tables, each by its name")
        if name not in tables:
            raise DataError(f"tables: no {name!r}; there are {sorted(tables)}")
        if f"memory_{name}" not in con.list_tables():  # impressions may be read as events again
            _in_memory(con, name, tables[name])
        rows = con.table(f"memory_{name}").mutate(_fault=ibis.null(str))
        yield Part(f"{name} (in memory)", rows)
        return
    table: Table = getattr(schema, name)
    for path in paths(name, table, data):
        if path.suffix in PARQUET:
            rows = con.read_parquet(path).mutate(_line=ibis.row_number() + 1, _fault=ibis.null(str))
        else:
            rows = _text(con, path, table.csv)
        yield Part(str(path.relative_to(data) if path.is_relative_to(data) else path), rows)


def _in_memory(con: Any, name: str, table: object) -> None:
    try:
        arrow = to_arrow(table)
    except (TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise DataError(
            f"{name}: a {type(table).__name__} is no table that Arrow can read ({error}); "
            "pass a pandas, Polars or Arrow table, or a list of dicts"
        ) from None
    _check_distinct(f"{name} (in memory)", arrow.column_names)
    for index, field in enumerate(arrow.schema):
        arrow = arrow.set_column(index, field.name, _readable(name, field, arrow.column(index)))
    arrow = arrow.append_column("_line", pa.array(np.arange(1, len(arrow) + 1)))
    con.create_table(f"memory_{name}", arrow)


def _readable(table: str, field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column in a type that DuckDB has; as text where nothing is in it."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return pa.chunked_array([to_texts(column.to_pylist())])
        raise DataError(
            f"{table} (in memory): has {kind.extension_name} in column {field.name}; cast it to "
            "text, and to the same text in what is scored"
        )
    if pa.types.is_null(kind) or pa.types.is_decimal256(kind):
        return column.cast(pa.string())
    return column.cast(pa.float64()) if pa.types.is_float16(kind) else column


def _check_distinct(origin: str, columns: Sequence[str]) -> None:
    """DuckDB does not tell names apart that differ in case only."""
    folded = [column.casefold() for column in (*columns, *OWN)]
    again = [name for name in columns if folded.count(name.casefold()) > 1]
    if again:
        raise DataError(
            f"{origin}: the columns {', '.join(again)} are not distinct, case aside, from each "
            f"other or from thaw's own ({', '.join(OWN)}); rename them"
        )


def paths(name: str, table: Table, data: Path) -> list[Path]:
    """Return the files of one of the schema's tables, globs expanded, in a fixed order.

    Raises:
        DataError: when there are none.
    """
    if not table.files:
        raise DataError(f"{name}.files: is missing; name the files, or pass tables in memory")
    found: list[Path] = []
    for pattern in table.files:
        base = Path(pattern).anchor or data
        relative = Path(pattern).relative_to(base) if Path(pattern).anchor else Path(pattern)
        literal = Path(base) / relative
        if literal.is_dir():
            raise DataError(f"{name}.files: {pattern!r} is a folder; name its files, as '*.csv'")
        matches = [literal] if literal.is_file() else sorted(Path(base).glob(str(relative)))
        matches = [path for path in matches if path.is_file()]
        if not matches:
            raise DataError(f"{name}.files: no file {pattern!r} in {data}; check the data folder")
        found += [path for path in matches if path not in found]
    return found


def _text(con: Any, path: Path, options: CsvOptions) -> ir.Table:
    """A text file's rows: split lines, where quotes are respected and faults are told."""
    delimiter = options.delimiter or ("\t" if ".tsv" in path.suffixes else ",")
    columns = options.columns or _header(path, options, delimiter)
    if path.suffix == ".gz":
        _check_gzip(path)
    lines = con.read_csv(
        path, auto_detect=False, columns={"text": "VARCHAR"}, header=False, delim=NEVER,
        quote="", escape="", encoding=options.encoding,
    )  # fmt: skip
    lines = lines.mutate(_line=ibis.row_number() + 1).filter(_.text.notnull())
    if options.columns is None:
        lines = lines.filter(_._line > 1)
    lines = lines.mutate(text=_.text.replace(delimiter, SEPARATOR))
    rows = _split(lines, options.quote)
    rows = rows.mutate(_fault=_fault(rows, len(columns)))
    values = {
        column: _value(rows.cells[index].replace(SEPARATOR, delimiter), options)
        for index, column in enumerate(columns)
    }
    return rows.select(**values, _line=rows._line, _fault=rows._fault)


def _header(path: Path, options: CsvOptions, delimiter: str) -> tuple[str, ...]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            start = file.readline(2**20).decode(options.encoding)
            first = start.lstrip("\ufeff").partition("\r")[0].rstrip("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: can't be read ({error}); check csv.encoding") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: can't be read ({error})") from None
    if not start:
        raise DataError(f"{path}: is empty; the first line has the columns' names")
    quoting = {"quotechar": options.quote} if options.quote else {"quoting": csv.QUOTE_NONE}
    cells = csv.reader([first.replace(delimiter, SEPARATOR)], delimiter=SEPARATOR, **quoting)
    columns = tuple(cell.replace(SEPARATOR, delimiter).strip() for row in cells for cell in row)
    if not all(columns) or not columns:
        raise DataError(f"{path}: line 1 is no header; name the columns in csv.columns")
    _check_distinct(str(path), columns)
    return columns


def _check_gzip(path: Path) -> None:
    """DuckDB takes the end of a cut file for the end of its rows."""
    try:
        with gzip.open(path) as file:
            while file.read(2**20):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: is no whole gzip file ({error}); copy it again") from None


def _split(lines: ir.Table, quote: str) -> ir.Table:
    """Add 'cells' (list of strings) and 'rest' (characters of the line that fit no cell)."""
    plain = lines.text.split(SEPARATOR)
    if not quote:
        return lines.mutate(cells=plain, rest=ibis.literal(0))
    q, s = re.escape(quote), SEPARATOR
    cell = f"{s}({q}(?:[^{q}]|{q}{q})*{q}|[^{q}{s}][^{s}]*|)"
    whole = regexp_extract_all(ibis.literal(s) + lines.text, cell, 0)
    parts_ = regexp_extract_all(ibis.literal(s) + lines.text, cell, 1)
    bare = parts_.map(
        lambda value: ibis.ifelse(
            value.startswith(quote),
            value.substr(1, value.length() - 2).replace(quote + quote, quote),
            value,
        )
    )
    quoted = lines.text.contains(quote)
    rest = lines.text.length() + 1 - whole.join("").length()
    return lines.mutate(cells=ibis.ifelse(quoted, bare, plain), rest=ibis.ifelse(quoted, rest, 0))


def _fault(rows: ir.Table, columns: int) -> ir.StringValue:
    count = rows.cells.length()
    counted = ibis.literal(f"expected {columns} columns, found ") + count.cast("string")
    unbalanced = "a quote does not end in its line; Parquet files may hold line breaks"
    return ibis.cases(
        (rows.rest != 0, unbalanced), (count != columns, counted), else_=ibis.null(str)
    )


def _value(cell: ir.StringValue, options: CsvOptions) -> ir.StringValue:
    return ibis.ifelse(cell.isin(("", *options.null_values)), ibis.null(str), cell)
