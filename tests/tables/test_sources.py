"""Reading files and data frames: every value as written, every row with its line."""

import gzip
import uuid
from decimal import Decimal
from pathlib import Path

import ibis
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from conftest import make_schema
from thaw.errors import DataError
from thaw.schema import CsvOptions, Users
from thaw.tables.sources import parts

Row = tuple[object, ...]


def read(
    folder: Path, files: str | tuple[str, ...], tables: object = None, **options: object
) -> list[Row]:
    """The rows (values, line, fault) of all files."""
    users = Users(key="a", files=files, csv=CsvOptions(**options))
    found = parts(ibis.duckdb.connect(), make_schema(users=users), "users", folder, tables)
    rows = [row for part in found for row in part.rows.to_pyarrow().to_pylist()]
    return [tuple(row.values()) for row in rows]


def read_text(folder: Path, text: str | bytes, **options: object) -> list[Row]:
    """The rows of one text file."""
    data = text.encode() if isinstance(text, str) else text
    (folder / "a.csv").write_bytes(data)
    return read(folder, "a.csv", **options)


TWO = [("1", "x", 2, None), ("2", "y", 3, None)]
ONE_UP = [("1", "x", 1, None), ("2", "y", 2, None)]
READ = {
    "plain": ("a,b\n1,x\n2,y\n", {}, TWO),
    "no newline at the end": ("a,b\n1,x\n2,y", {}, TWO),
    "windows": ("a,b\r\n1,x\r\n2,y\r\n", {}, TWO),
    "old mac": ("a,b\r1,x\r2,y\r", {}, TWO),
    "byte order mark": (b"\xef\xbb\xbfa,b\n1,x\n2,y\n", {}, TWO),
    "quoted header": ('"a","b"\n1,x\n2,y\n', {}, TWO),
    "header only": ("a,b\n", {}, []),
    "no header": ("1,x\n2,y\n", {"columns": ("a", "b")}, ONE_UP),
    "no header, no rows": ("", {"columns": ("a", "b")}, []),
    "blank lines": ("a,b\n\n1,x\n\n\n2,y\n\n", {}, [("1", "x", 3, None), ("2", "y", 6, None)]),
    "blank lines, windows": ("a,b\r\n\r\n1,x\r\n", {}, [("1", "x", 3, None)]),
    "comma in quotes": ('a,b\n"1,5",x\n', {}, [("1,5", "x", 2, None)]),
    "comma in a quoted header": ('a,"b,c"\n1,x\n', {}, [("1", "x", 2, None)]),
    "quotes in quotes": ('a,b\n"say ""hi""",""\n', {}, [('say "hi"', None, 2, None)]),
    "quotes inside": ('a,b\n5" disk,x\n', {}, [('5" disk', "x", 2, None)]),
    "quotes that mean nothing": ('a,b\n"1,x\n', {"quote": ""}, [('"1', "x", 2, None)]),
    "another quote": ("a,b\n^1,5^,x\n", {"quote": "^"}, [("1,5", "x", 2, None)]),
    "empty cells": ("a,b\n,x\n1,\n", {}, [(None, "x", 2, None), ("1", None, 3, None)]),
    "other words for missing": ("a,b\nNA,x\n", {"null_values": ("NA",)}, [(None, "x", 2, None)]),
    "MovieLens": ("1::x\n2::y:z\n", {"columns": ("a", "b"), "delimiter": "::", "quote": ""},
                  [("1", "x", 1, None), ("2", "y:z", 2, None)]),
    "bars": ("a|b\n1|x\n", {"delimiter": "|"}, [("1", "x", 2, None)]),
    "latin-1": ("a,b\né,x\n".encode("latin-1"), {"encoding": "latin-1"}, [("é", "x", 2, None)]),
    "zero byte": ("a,b\n1\0,x\n", {}, [("1\0", "x", 2, None)]),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_text_is_read_as_written(name: str, tmp_path: Path) -> None:
    text, options, expected = READ[name]
    assert read_text(tmp_path, text, **options) == expected


FAULTY = {
    "too few": ("1", "expected 2 columns, found 1"),
    "too many": ("1,x,z", "expected 2 columns, found 3"),
    "open quote": ('"1,x', "a quote does not end in its line"),
    "text after a quote": ('"1"0,x', "a quote does not end in its line"),
    "unit separator": ("1\x1f,x", "expected 2 columns, found 3"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_line_is_told_and_the_others_are_read(name: str, tmp_path: Path) -> None:
    line, reason = FAULTY[name]
    rows = read_text(tmp_path, f"a,b\n0,w\n{line}\n2,y\n")
    assert [row[3] is None for row in rows] == [True, False, True]
    assert rows[1][2] == 3
    assert str(rows[1][3]).startswith(reason)
    assert rows[2] == ("2", "y", 4, None)


HOPELESS = {
    "empty": (b"", "is empty; the first line has the columns' names"),
    "blank first line": (b"\na,b\n", "line 1 is no header"),
    "same name twice": (b"a,b,a\n", "the columns a, a are not distinct"),
    "same name but for case": (b"a,b,A\n", "the columns a, A are not distinct"),
    "our own name": (b"a,_line\n", "the columns _line are not distinct"),
    "another encoding": ("é,b\n".encode("latin-1"), "can't be read .*check csv.encoding"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_a_file_without_a_header_is_refused(name: str, tmp_path: Path) -> None:
    data, message = HOPELESS[name]
    with pytest.raises(DataError, match=f"a.csv: {message}"):
        read_text(tmp_path, data)


def test_all_formats_hold_the_same_rows(tmp_path: Path) -> None:
    table = pa.table({"a": ["1", "2"], "b": ["x", None]})
    parquet.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "a.tsv").write_text("a\tb\n1\tx\n2\t\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n1,x\n") + gzip.compress(b"2,\n"))
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(b"a\tb\n1\tx\n2\t\n"))
    found = {name: read(tmp_path, name) for name in ("a.parquet", "a.tsv", "a.csv.gz", "a.tsv.gz")}
    assert {tuple(row[:2] for row in rows) for rows in found.values()} == {
        (("1", "x"), ("2", None))
    }
    assert [row[2] for row in found["a.parquet"]] == [1, 2]


@pytest.mark.parametrize("cut", [3, 60])
def test_a_cut_gzip_file_is_refused(cut: int, tmp_path: Path) -> None:
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,x\n" % n for n in range(999)))
    (tmp_path / "a.csv.gz").write_bytes(whole[:-cut])
    with pytest.raises(DataError, match=r"a.csv.gz: is no whole gzip file"):
        read(tmp_path, "a.csv.gz")


def test_globs_read_every_file_once_in_order(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        (tmp_path / f"day-{number}.csv").write_text(f"a,b\n{number},x\n")
    found = read(tmp_path, ("day-2.csv", "day-*.csv"))
    assert [row[0] for row in found] == ["2", "1", "3"]
    assert [row[2] for row in found] == [2, 2, 2]


def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "a[1].csv").write_text("a,b\n1,x\n")
    assert read(tmp_path, "a[1].csv") == [("1", "x", 2, None)]
    assert read(tmp_path, str(tmp_path / "a[1].csv")) == [("1", "x", 2, None)]


def test_missing_files_and_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"users.files: no file 'none-\*.csv' in"):
        read(tmp_path, "none-*.csv")
    with pytest.raises(DataError, match=r"users.files: is missing"):
        read(tmp_path, ())
    with pytest.raises(DataError, match=r"tables: no 'users'; there are \['items'\]"):
        read(tmp_path, (), tables={"items": []})


IN_MEMORY = {
    "pandas": pd.DataFrame({"a": ["1", "2"], "b": ["x", None]}),
    "pandas categories": pd.DataFrame({"a": ["1", "2"], "b": pd.Categorical(["x", None])}),
    "pandas index": pd.DataFrame({"a": ["1", "2"], "b": ["x", None]}, index=["p", "q"]),
    "polars": pl.DataFrame({"a": ["1", "2"], "b": ["x", None]}),
    "polars categories": pl.DataFrame({"a": ["1", "2"], "b": ["x", None]}).cast(pl.Categorical),
    "arrow": pa.table({"a": ["1", "2"], "b": ["x", None]}),
    "arrow views": pa.table({"a": ["1", "2"], "b": pa.array(["x", None], pa.string_view())}),
    "arrow stream": pa.table({"a": ["1", "2"], "b": ["x", None]}).to_reader(),
    "rows": [{"a": "1", "b": "x"}, {"a": "2"}],
    "rows, the first without": [{"a": "2"}, {"a": "1", "b": "x"}][::-1],
}  # fmt: skip


@pytest.mark.parametrize("name", IN_MEMORY)
def test_tables_in_memory(name: str, tmp_path: Path) -> None:
    rows = read(tmp_path, (), tables={"users": IN_MEMORY[name]})
    assert {(row[0], row[1]) for row in rows} == {("1", "x"), ("2", None)}


def test_a_column_with_nothing_in_it_is_a_text(tmp_path: Path) -> None:
    rows = read(tmp_path, (), tables={"users": pa.table({"a": ["1"], "b": pa.nulls(1)})})
    assert rows == [("1", None, 1, None)]


def test_values_of_several_types_in_a_column_are_texts(tmp_path: Path) -> None:
    given = [{"a": 1, "b": "x"}, {"a": 2.0, "b": float("nan")}, {"a": "three"}]
    rows = read(tmp_path, (), tables={"users": given})
    assert [row[:2] for row in rows] == [("1", "x"), ("2", None), ("three", None)]


KEY = uuid.UUID(int=5)
OTHER_TYPES = [
    (pa.array([KEY.bytes], pa.uuid()), str(KEY)),
    (pa.array([0.5]).cast(pa.float16()), 0.5),
    (pa.array([Decimal("1.50")]).cast(pa.decimal256(40, 2)), "1.50"),
]


@pytest.mark.parametrize(("values", "expected"), OTHER_TYPES)
def test_types_that_duckdb_lacks_are_read(
    values: pa.Array, expected: object, tmp_path: Path
) -> None:
    rows = read(tmp_path, (), tables={"users": pa.table({"a": ["1"], "b": values})})
    assert rows == [("1", expected, 1, None)]


def test_pandas_own_types_are_refused(tmp_path: Path) -> None:
    """An interval's text depends on whether others in its column are missing."""
    for values in (pd.cut([1, 3], 2), pd.period_range("2024-01", periods=2, freq="M")):
        users = pd.DataFrame({"a": ["1", "2"], "b": values})
        with pytest.raises(DataError, match=r"users .*: has pandas.\w+ in column b; cast it to"):
            read(tmp_path, (), tables={"users": users})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("users.csv", "a str is no table that Arrow can read"),
        (pl.LazyFrame({"a": [1]}), "a LazyFrame is no table"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate column names"),
        ([1, 2], "is no table that Arrow can read"),
        (pa.table({"a": [1], "A": [1]}), "the columns a, A are not distinct"),
    ],
)
def test_what_is_no_table_is_refused(table: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, (), tables={"users": table})


def test_tables_without_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tables: is a list; give a dict of tables, each by its"):
        read(tmp_path, (), tables=[pd.DataFrame({"a": [1]})])
