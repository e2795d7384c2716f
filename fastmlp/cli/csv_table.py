"""CSV files as columns of numbers and of labels, or one error that names the row and the column."""

import csv
import gzip
import itertools
import math
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LARGEST = float(np.finfo(np.float32).max) / 2
"""Magnitude up to which the difference of two numbers is finite in float32."""


class TableError(ValueError):
    """The file does not hold what it must; the message names the place."""


@dataclass(frozen=True)
class Table:
    """Columns of a CSV file.

    Attributes
    ----------
    names : list of str
        Names of the columns of X.
    X : float64 ndarray of shape (n_rows, n_columns)
        All of it finite.
    labels : list of str
        The cells of the target column as they stand in the file; empty when there is no target.
    rows : list of int
        Where each row stands in the file; the header is row 1.
    """

    names: list[str]
    X: NDArray[np.float64]
    labels: list[str]
    rows: list[int]


def read_csv(path: Path, target: str | None = None, features: Sequence[str] | None = None) -> Table:
    """Read a CSV file whose first row names the columns; commas, semicolons or tabs; ``.gz`` is unpacked.

    Parameters
    ----------
    path : Path
    target : str, optional
        Column to be read as labels.
    features : sequence of str, optional
        Columns to be read as numbers, in this order; all but the target by default.

    Returns
    -------
    Table

    Raises
    ------
    TableError
        If a column is unknown, nameless or there twice, a row is ragged, a cell is missing or not a finite number.
    OSError
        If the file cannot be read.
    """
    with _reader(path) as (numbered_rows, header):
        wanted = [*(features or []), *([] if target is None else [target])]
        for name in wanted:
            if name not in header:
                raise TableError(f"{path}: no column {name!r} in row 1, which must name the columns: {_some(header)}")
        names = list(features) if features is not None else [name for name in header if name != target]
        if not names:
            raise TableError(f"{path}: no column but the target")
        if features is None and "" in names:
            advice = "give it one, or leave it out, in pandas with to_csv(index=False)"
            raise TableError(f"{path}: column {header.index('') + 1} has no name in row 1: {advice}")
        picks = [header.index(name) for name in names]
        target_at = None if target is None else header.index(target)
        numbers, labels, rows = array("d"), [], []
        for number, row in numbered_rows:
            if not row:
                continue
            if len(row) != len(header):
                raise TableError(f"{path}, row {number}: {_raggedness(row, header)}")
            cells = [row[i] for i in picks]
            numbers.extend(_numbers(cells) or _refuse(path, number, names, cells))
            rows.append(number)
            if target_at is not None:
                if not row[target_at].strip():
                    raise TableError(f"{path}, row {number}, column {target!r}: the cell is missing")
                labels.append(row[target_at].strip())
    if not rows:
        raise TableError(f"{path}: no rows below the header")
    X = np.frombuffer(numbers).reshape(len(rows), len(names))
    if place := first_too_large(X):
        raise TableError(f"{path}, row {rows[place[0]]}, column {names[place[1]]!r}: {too_large(X[place])}")
    return Table(names, X, labels, rows)


def target_values(path: Path, table: Table, target: str, task: str | None) -> Array:
    """The target column: int64 where every cell is an integer, float64 where every cell is a number, else text.

    Parameters
    ----------
    path, table, target
        As given to and returned by `read_csv`.
    task : {"classification", "regression"} or None
        For a regression every cell must be a number. Without a task all cells must be numbers or none.

    Returns
    -------
    ndarray of shape (n_rows,)

    Raises
    ------
    TableError
        If a cell is not a finite number where it must be one.
    """
    is_number = [bool(_numbers([label])) for label in table.labels]
    if not all(is_number):
        if task == "regression" or (task is None and any(is_number)):
            at = is_number.index(False)
            reason = "" if task else ", as others of the column are; --task classification takes them all as names"
            label = table.labels[at]
            raise TableError(f"{path}, row {table.rows[at]}, column {target!r}: {label!r} is not a number{reason}")
        return np.array(table.labels)
    try:
        return np.array([int(label) for label in table.labels], dtype=np.int64)
    except (ValueError, OverflowError):
        values = np.array([float(label) for label in table.labels])
    place = first_too_large(values)
    if place and task != "classification":
        raise TableError(f"{path}, row {table.rows[place[0]]}, column {target!r}: {too_large(values[place])}")
    return values


def first_too_large(values: Array) -> tuple[int, ...]:
    """Place of the first of these finite numbers whose magnitude is beyond `LARGEST`; empty where there is none."""
    if max(float(values.max(initial=0)), -float(values.min(initial=0))) <= LARGEST:
        return ()
    return tuple(map(int, np.argwhere(np.abs(values) > LARGEST)[0]))


def too_large(value: float) -> str:
    """What is wrong with that number, and what to do."""
    return f"{value:g} is too large for float32 (at most {LARGEST:.2g}): correct it, or give the column a larger unit"


@contextmanager
def _reader(path: Path) -> Iterator[tuple[Iterator[tuple[int, list[str]]], list[str]]]:
    """The rows below the header, as `_numbered` yields them, and the header."""
    file: TextIO
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        try:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)
            rows = _numbered(path, csv.reader(itertools.chain([first], file), delimiter=delimiter, strict=True))
            header = [name.strip() for name in next(rows, (1, []))[1]]
            if not header:
                raise TableError(f"{path}: empty; the first row must name the columns")
            twice = [name for name in header if name and header.count(name) > 1]
            if twice:
                raise TableError(f"{path}: column {twice[0]!r} is there twice")
            yield rows, header
        except UnicodeDecodeError as error:
            raise TableError(f"{path}: not a CSV file in UTF-8: {error}: save it as UTF-8") from error
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise TableError(f"{path}: not a gzip file, or a damaged one: {error}") from error


def _numbered(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The rows of a csv reader, each with the number of the line in which it ends."""
    number = 0
    try:
        for row in reader:
            number = reader.line_num
            yield number, row
    except csv.Error as error:
        said = 'a quote (") is not closed, or not at the end of its cell'
        raise TableError(f"{path}, row {number + 1}: {said}: {error}") from error


def _numbers(cells: list[str]) -> list[float]:
    """The cells as finite numbers; empty when one is not."""
    try:
        values = list(map(float, cells))
    except ValueError:
        return []
    # float() reads "1_000" as a thousand, where it is more likely a name. An infinite or NaN sum betrays a cell.
    return values if math.isfinite(sum(values)) and "_" not in "".join(cells) else []


def _refuse(path: Path, row: int, names: Sequence[str], cells: Sequence[str]) -> list[float]:
    """Raise the error for the first cell that is no number to compute with."""
    for name, cell in zip(names, cells, strict=True):
        values = _numbers([cell])
        if not values or abs(values[0]) > LARGEST:
            said = f"{cell!r} is not a finite number" if cell.strip() else "the cell is missing"
            raise TableError(f"{path}, row {row}, column {name!r}: {too_large(values[0]) if values else said}")
    raise AssertionError("cells that are fine one by one must be so together")


def _raggedness(row: list[str], header: list[str]) -> str:
    if len(row) < len(header):
        return f"ends before column {header[len(row)]!r} ({len(row)} cells, the header has {len(header)})"
    return f"goes on after the last column {header[-1]!r} ({len(row)} cells, the header has {len(header)})"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
