"""Tables in files: CSV and Parquet, which pandas reads, and .npz; or one error that says what is wrong."""

from __future__ import annotations

import gzip
import re
import sys
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastmlp.model_file import HEADER

Array = NDArray[Any]
Table = Any
"""A data frame of pandas, which is imported when one is read, or the arrays of an .npz file by name."""

KINDS = {".csv": "csv", ".csv.gz": "csv", ".tsv": "csv", ".tsv.gz": "csv", ".parquet": "parquet", ".npz": "npz"}
"""What a file holds, by the end of its name."""
MISSING = {"", "?", "NA", "N/A", "n/a", "NaN", "nan", "None", "NULL", "null", "<NA>", "#N/A", "#NA", "#N/A N/A"}
MISSING |= {"-NaN", "-nan", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN"}
"""Cells that are taken as missing: those of pandas, and the question mark of many public tables."""
UNCLOSED = 'a quote (") is not closed'


class TableError(ValueError):
    """The file does not hold what it must."""


class UsageError(ValueError):
    """The command was called in a way that does not fit the file."""


def title_of(path: Path) -> str:
    """How messages call the file."""
    return "standard input" if str(path) == "-" else str(path)


def read_file(path: Path, target: str | None = None, text: Collection[str] = ()) -> tuple[Table, str]:
    """Read a table, or the arrays of an .npz file.

    Parameters
    ----------
    path : Path
        "-" is standard input, whose first bytes say what it is.
    target : str, optional
        Column of a CSV file whose integers and names are to be kept as they are written.
    text : collection of str, optional
        Columns of a CSV file to be read as text, be they numbers or not.

    Returns
    -------
    table : data frame or dict of str to ndarray
    note : str
        What has been left out of the table; empty where nothing was.

    Raises
    ------
    TableError
        If the file does not hold a table.
    ImportError
        If pandas, or what reads Parquet, is not installed.
    OSError
        If the file cannot be read.
    """
    title = title_of(path)
    with _opened(path) as (kind, file):
        if kind == "npz":
            return _npz(title, file), ""
        pandas = _pandas()
        table = _csv(pandas, title, file, target, text) if kind == "csv" else _parquet(pandas, title, file)
    if not len(table):
        raise TableError(f"{title}: no rows below the header")
    nameless = [name for name in table.columns if name.startswith("\0")]
    return table.drop(columns=nameless), f"columns without a name are left out: {len(nameless)}" if nameless else ""


@contextmanager
def _opened(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """The kind of data, and a file of them that can be rewound."""
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read()
            content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
            yield {b"PAR1": "parquet", b"PK\3\4": "npz"}.get(content[:4], "csv"), BytesIO(content)
            return
        ending = max((ending for ending in KINDS if path.name.lower().endswith(ending)), key=len, default="")
        if not ending:
            raise TableError(f"{path}: a file of unknown kind; the name must end in {', '.join(KINDS)}")
        opener: Any = gzip.open if ending.endswith(".gz") else open
        with opener(path, "rb") as file:
            yield KINDS[ending], file
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise TableError(f"{title_of(path)}: not a gzip file, or a damaged one: {error}") from error


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(f'reading tables needs pandas ({error}): pip install "fastmlp[cli]"') from error
    return pandas


def _csv(pandas: Any, title: str, file: BinaryIO, target: str | None, text: Collection[str]) -> Any:
    """A CSV file whose first row names the columns; commas, semicolons or tabs."""
    first, *lines = (file.readline().decode("utf-8", "replace") for _ in range(20))
    delimiter = max(",;\t", key=first.count)
    # Where the comma is the decimal point, semicolons are between the cells.
    comma = delimiter == ";" and any(re.search(r"(^|;) *-?\d+,\d+ *(;|\s*$)", line) for line in lines)
    options = {"sep": delimiter, "encoding": "utf-8-sig", "skipinitialspace": True, "keep_default_na": False}
    try:
        file.seek(0)
        header = pandas.read_csv(file, header=None, nrows=1, dtype=str, **options).iloc[0]
        names = _checked_names(title, [str(name).strip() for name in header])
        missing = {name: MISSING - {"None"} if name == target else MISSING for name in names}
        as_text = {name: str for name in names if name in text or name == target}
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # of cells beyond the last column
            table = pandas.read_csv(
                file, header=0, names=names, index_col=False, dtype=as_text, na_values=missing, low_memory=False,
                decimal="," if comma else ".", **options,
            )  # fmt: skip
    except pandas.errors.EmptyDataError:
        raise TableError(f"{title}: empty; the first row must name the columns") from None
    except pandas.errors.ParserWarning:
        raise TableError(f"{title}: the rows have more cells than the first one, which must name the columns") from None
    except UnicodeDecodeError as error:
        raise TableError(f"{title}: not a CSV file in UTF-8: {error}: save it as UTF-8") from error
    except pandas.errors.ParserError as error:
        said = str(error).rpartition("C error: ")[2].strip()
        raise TableError(f"{title}: {UNCLOSED}: {said}" if "EOF inside" in said else f"{title}: {said}") from error
    if target in as_text:
        table[target] = _typed(pandas, table[target], delimiter == ";")
    if delimiter == ";" and not comma:  # the first lines have no decimal comma, others may have
        for name in table.columns.drop(list(as_text)):
            table[name] = _with_decimal_commas(pandas, table[name])
    return table


def _with_decimal_commas(pandas: Any, cells: Any) -> Any:
    """A column as numbers where it came as text, and all of its cells are numbers if a comma is the decimal point."""
    if cells.dtype.kind in "biuf":
        return cells
    numbers = pandas.to_numeric(cells.astype("string").str.replace(",", "."), errors="coerce").astype("float64")
    return numbers if numbers.notna().equals(cells.notna()) else cells


def _typed(pandas: Any, cells: Any, comma: bool) -> Any:
    """A column of text as integers, numbers or truth values, where all of its cells are; as pandas would, but that
    integers stay such beside missing cells, and None may be the name of a class."""
    cells = cells.str.strip()
    named = cells[cells.notna() & (cells != "None")]
    numbers = pandas.to_numeric(named.str.replace(",", ".") if comma else named, errors="coerce")
    if len(named) and numbers.notna().all():
        return numbers.astype("Int64" if numbers.dtype.kind in "iu" else "float64").reindex(cells.index)
    if set(named.unique()) <= {"True", "TRUE", "true", "False", "FALSE", "false"}:
        return (named.str.lower() == "true").astype("boolean").reindex(cells.index)
    return cells


def _checked_names(title: str, names: list[str]) -> list[str]:
    """The names, all of them different; with others, which begin with NUL, for columns without a name."""
    for name, n_columns in Counter(names).items():
        if name and n_columns > 1:
            raise TableError(f"{title}: column {name!r} is there twice")
    return [name or f"\0{number}" for number, name in enumerate(names)]


def _parquet(pandas: Any, title: str, file: BinaryIO) -> Any:
    try:
        table = pandas.read_parquet(file)
    except ImportError as error:
        raise ImportError('reading Parquet needs pyarrow: pip install "fastmlp[cli]"') from error
    except (ValueError, OSError, NotImplementedError) as error:
        raise TableError(f"{title}: not a Parquet file, or a damaged one: {error}") from error
    table.columns = _checked_names(title, [str(name) for name in table.columns])
    return table


def _npz(title: str, file: BinaryIO) -> dict[str, Array]:
    """The arrays of an .npz file by name; none of them may hold Python objects."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            arrays = {name.removesuffix(".npy"): _npy(archive, name) for name in names}
    except TableError as error:
        raise TableError(f"{title}: {error}") from error
    except (ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise TableError(f"{title}: not an .npz file of arrays: {error}") from error
    if HEADER in arrays:
        raise TableError(f"{title}: a model, not data; fastmlp predict MODEL DATA reads models")
    return arrays


def _npy(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(name) as file:
        try:
            values: Array = np.lib.format.read_array(file, allow_pickle=False)
        except ValueError as error:
            if "Object arrays" not in str(error):
                raise
            what = f"{name.removesuffix('.npy')} holds Python objects, which can run code and are not read"
            raise TableError(f"{what}: save it as numbers or text, such as X.astype(float) or y.astype(str)") from error
    return values
