"""The columns of a table as users have it: a pandas, polars or other data frame, an array, or lists of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from itertools import islice
from numbers import Integral, Number
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

DATES = (
    "dates and times are not numbers that a network could learn of: turn them into numbers first, for example into "
    "days since a date, month and weekday, or drop the column."
)
DATE = re.compile(r"\d{4}-\d\d?-\d\d?|\d\d?([./])\d\d?\1\d{4}")
"""How a text begins that is a date."""
FEW_TEXTS = 50
"""So many different texts of a column cause no doubt that they are categories."""


@dataclass(frozen=True)
class Column:
    """A column: numbers with NaN for what is missing, or values of any other kind with None for it.

    Attributes
    ----------
    name : str
    values : ndarray of shape (n_rows,)
        Numbers, or objects.
    is_category : bool
        Whether its type says that it holds categories.
    """

    name: str
    values: NDArray[Any]
    is_category: bool


@dataclass(frozen=True)
class Table:
    """Columns of the same length, and whether they have names."""

    columns: list[Column]
    n_rows: int
    has_names: bool

    def like(self, names: Sequence[str] | None, n_columns: int, estimator: str) -> Table:
        """The same with the columns of the fit of an estimator, in their order where both have names.

        Raises
        ------
        ValueError
            If columns are missing or there are others.
        """
        table = self if names is None or not self.has_names else self._in_order(names)
        if (n_here := len(table.columns)) != n_columns:
            raise ValueError(f"X has {n_here} features, but {estimator} is expecting {n_columns} features as input.")
        return table

    def _in_order(self, names: Sequence[str]) -> Table:
        by_name = {column.name: column for column in self.columns}
        missing = [name for name in names if name not in by_name]
        others = [name for name in by_name if name not in names]
        if missing or others:
            words = [f"{', '.join(map(repr, missing))} missing"] if missing else []
            words += [f"{', '.join(map(repr, others))} unknown"] if others else []
            raise ValueError(
                f"The feature names should match those that were passed during fit: {' and '.join(words)}. X has "
                f"{len(by_name)} columns, fit had {len(names)}."
            )
        return replace(self, columns=[by_name[name] for name in names])

    def rows(self, start: int, stop: int) -> Table:
        """Some of the rows, without a copy."""
        columns = [replace(column, values=column.values[start:stop]) for column in self.columns]
        return Table(columns, min(stop, self.n_rows) - start, self.has_names)


def read_table(X: Any) -> Table:
    """The columns of X, of which only those of other kinds than numbers are copied.

    Raises
    ------
    TypeError
        If a column holds what is neither number nor category.
    ValueError
        If X is not a table with rows and columns.
    """
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        _require_rows(frame.shape)
        names = _names_of(frame.columns)
        columns = [
            _of_frame(name, series)
            for name, series in zip(names or _numbered(frame.shape[1]), frame.iter_columns(), strict=True)
        ]
        return Table(columns, frame.shape[0], has_names=names is not None)
    array = check_array(X, dtype=None, ensure_all_finite=False, input_name="X")
    if array.dtype.kind in "US" and isinstance(X, (list, tuple)):  # NumPy makes text of the numbers beside text
        array = np.array(X, dtype=object)
    if array.dtype.kind in "Mm":
        raise TypeError("X: " + DATES)
    if array.dtype.kind in "OUS":
        array = array.astype(object)
    make = _of_objects if array.dtype == object else partial(Column, is_category=False)
    columns = [make(name, values) for name, values in zip(_numbered(array.shape[1]), array.T, strict=True)]
    return Table(columns, len(array), has_names=False)


def _numbered(n_columns: int) -> list[str]:
    """Names of columns that have none."""
    return [f"x{j}" for j in range(n_columns)]


def _names_of(labels: Sequence[Any]) -> list[str] | None:
    """Names of the columns of a frame; None where whole numbers stand for their places."""
    if all(isinstance(label, Integral) for label in labels):
        return None
    kinds = sorted({type(label).__name__ for label in labels})
    names = [str(label) for label in labels]
    if len(kinds) > 1 and (any(isinstance(label, str) for label in labels) or len(set(names)) < len(names)):
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{kinds} as feature name / column name types: convert them, as by X.columns = X.columns.astype(str)."
        )
    return names


def _is_missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA, which equals neither itself nor another
        return True
    except ValueError:  # an array
        return False


def _require_rows(shape: tuple[int, int]) -> None:
    if shape[0] == 0:
        raise ValueError(f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required.")
    if shape[1] == 0:
        raise ValueError(f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required.")


def _of_frame(name: str, series: nw.Series[Any]) -> Column:
    dtype = series.dtype
    if dtype.is_temporal():
        raise TypeError(f"column {name!r}: {DATES}")
    if dtype.is_numeric():
        numbers = series.to_numpy()  # no copy, where the frame holds an array without gaps
        if numbers.dtype.kind not in "iuf":
            numbers = np.asarray(series.cast(nw.Float64).to_numpy(), np.float64)
        return Column(name, numbers, is_category=False)
    native = getattr(series.to_native(), "dtype", dtype)
    # What narwhals says of pandas' objects is what the first of them are.
    is_object = isinstance(dtype, nw.Object) or str(native) == "object"
    is_category = not is_object and isinstance(dtype, (nw.Boolean, nw.Categorical, nw.Enum, nw.String))
    cells = series.to_list()
    if is_category:  # a look at each category, not at each cell
        kept = {value: _category(name, value) for value in set(cells)}
        return Column(name, np.fromiter(map(kept.__getitem__, cells), object, len(cells)), is_category=True)
    if not is_object and series.null_count() < len(series):
        raise TypeError(f"column {name!r} is of {native}, which is neither numbers nor categories: drop or encode it")
    return _of_objects(name, np.fromiter(cells, object, len(cells)))


def _of_objects(name: str, values: NDArray[Any]) -> Column:
    """Numbers where all values are, or objects in which all that is missing is None."""
    missing = np.array([_is_missing(value) for value in values], dtype=bool)
    present = values[~missing]
    if all(isinstance(value, Number) and not isinstance(value, bool) for value in present):
        numbers = np.full(len(values), np.nan)
        numbers[~missing] = present.astype(np.float64)
        return Column(name, numbers, is_category=False)
    categories = np.fromiter((_category(name, value) for value in values), object, len(values))
    return Column(name, categories, is_category=True)


def _category(name: str, value: Any) -> Any:
    """A value of this column as a model file can hold it; None where it is missing."""
    if _is_missing(value):
        return None
    if hasattr(value, "year"):
        raise TypeError(f"column {name!r}: {DATES}")
    if not isinstance(value, (str, bytes, bool, np.bool_, Number)):
        raise TypeError(
            f"column {name!r} holds {value!r}: every argument must be a string or a number, or missing. Drop or "
            "encode the column."
        )
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return float(value) if isinstance(value, Decimal) else value


def doubt(column: Column) -> str:
    """What to say of a column of text that hardly holds categories; empty of any other."""
    present = [value for value in column.values if value is not None] if column.is_category else []
    first = list(islice(present, 100))
    if not first or not all(isinstance(value, str) for value in first):
        return ""
    if all(DATE.match(value) for value in first):
        return (
            f"column {column.name!r} holds dates as text, which are taken as categories: turn them into numbers, for "
            "example into days since a date, or drop the column."
        )
    n_texts = len(set(present))
    if n_texts <= max(FEW_TEXTS, len(present) / 2):
        return ""
    return (
        f"column {column.name!r} holds {n_texts} different texts in {len(column.values)} rows, which are taken as "
        "categories: drop it if it only names the rows."
    )
