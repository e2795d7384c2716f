"""What the command line trains on and predicts for: rows and their target, from any file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.cli.files import TableError, UsageError, read_file, title_of
from fastmlp.cli.target import as_asked, hint, target_values, task_of

Array = NDArray[Any]
Rows = Any
"""A data frame, or an ndarray of shape (n_rows, n_columns)."""


@dataclass
class Data:
    """What to train on.

    Attributes
    ----------
    title : str
        Where it comes from.
    X, X_test : data frame, or ndarray of shape (n_rows, n_columns)
        X_test may have no rows.
    y, y_test : ndarray of shape (n_rows,)
        Integers, truth values or text for classes, float64 for values.
    target : str
        Name of y.
    has_names : bool
        Whether the columns and the target have names of their own.
    task : {"classification", "regression"}
    reason : str
        Why that task; empty where the user has chosen it.
    n_dropped : int
        Rows that were left out because they had no target.
    hints : list of str
        What else the user should know.
    """

    title: str
    X: Rows
    y: Array
    X_test: Rows
    y_test: Array
    target: str
    has_names: bool
    task: str = ""
    reason: str = ""
    n_dropped: int = 0
    hints: list[str] = field(default_factory=list)


def read_data(path: Path, target: str | None, drop: Sequence[str]) -> Data:
    """Read the rows to train on, and those to test on where the file holds them apart.

    Parameters
    ----------
    path : Path
        As for `read_file`. An .npz file holds X and y, or X_train and y_train, and perhaps X_test and y_test.
    target : str or None
        Column to predict.
    drop : sequence of str
        Columns to leave out: names, or several with commas between them.

    Raises
    ------
    UsageError
        If the target has not been named.
    TableError
        If the data are not what they must be.
    """
    title, (table, note) = title_of(path), read_file(path, target)
    data = _of_arrays(title, table) if isinstance(table, dict) else _of_frame(title, table, target, drop)
    if not data.has_names and (target or drop):
        raise UsageError("--target and --drop name columns; in an .npz file they have no names, and the target is y")
    data.hints += [note] if note else []
    n_rows = len(data.y) + len(data.y_test)
    data.X, data.y = _with_target(title, data.X, data.y, data.target)
    if len(data.y_test):
        data.X_test, data.y_test = _with_target(title, data.X_test, data.y_test, data.target)
    data.n_dropped = n_rows - len(data.y) - len(data.y_test)
    return data


def choose_task(data: Data, task: str | None) -> None:
    """Settle what is to be learned: what the user has asked for, or what fits the target."""
    data.task, data.reason = (task, "") if task else task_of(data.y, data.target)
    if task is None and (said := hint(data.y, data.target)):
        data.hints.append(said)
    data.y, data.y_test = (as_asked(values, data.task, data.target) for values in (data.y, data.y_test))


def hold_out(data: Data, fraction: float, seed: int) -> None:
    """Keep a part of the rows, drawn at random, out of the training, unless the file holds rows to test on."""
    if not len(data.y_test):
        order = np.random.RandomState(seed).permutation(len(data.y))
        test, rest = np.split(order, [int(fraction * len(order))])
        data.X_test, data.y_test = _some(data.X, test), data.y[test]
        data.X, data.y = _some(data.X, rest), data.y[rest]
    _check_test_rows(data)
    if data.task == "classification" and len(classes := np.unique(data.y)) < 2:
        raise TableError(f"{data.title}: all rows to train on are of the class {classes[0]}")


def read_rows(path: Path, names: Sequence[str] | None, text: Sequence[str] = ()) -> Rows:
    """Read rows to predict: X of an .npz file, or these (by default all) columns of a table.

    Parameters
    ----------
    path : Path
    names : sequence of str or None
        Columns of the training, where they had names.
    text : sequence of str, optional
        Those that held text, and are to be read as text be they numbers or not.

    Raises
    ------
    TableError
        If columns are missing.
    """
    title, (table, _) = title_of(path), read_file(path, text=text)
    if isinstance(table, dict):
        return _matrix(title, table, "X" if "X" in table or "X_test" not in table else "X_test")
    if names is None:
        return table
    if missing := [repr(name) for name in names if name not in table.columns]:
        raise TableError(f"{title}: it lacks {_listed(missing)}, which the model was trained on")
    return table[list(names)]


def _of_frame(title: str, table: Any, target: str | None, drop: Sequence[str]) -> Data:
    names = list(table.columns)
    if target is None:
        raise UsageError(f"name the column to predict with --target: {_listed(names)}")
    left_out = [name for item in drop for name in ([item] if item in names else item.split(","))]
    for name in (target, *left_out):
        if name not in names:
            raise TableError(f"{title}: no column {name!r}{_guess(name, names)}; its columns are {_listed(names, 30)}")
    X = table.drop(columns=[target, *left_out])
    if target in left_out:
        raise TableError(f"{title}: --drop names the target")
    if not len(X.columns):
        raise TableError(f"{title}: no column but the target")
    return Data(title, X, table[target], X.iloc[:0], np.empty(0), target, has_names=True)


def _of_arrays(title: str, arrays: dict[str, Array]) -> Data:
    name = "X_train" if "X" not in arrays and "X_train" in arrays else "X"
    X, y = _matrix(title, arrays, name), _vector(title, arrays, name)
    X_test, y_test = X[:0], y[:0]
    if "X_test" in arrays or "y_test" in arrays:
        X_test, y_test = _matrix(title, arrays, "X_test"), _vector(title, arrays, "X_test")
        if X_test.shape[1] != X.shape[1]:
            raise TableError(f"{title}: {name} has {X.shape[1]} columns, X_test has {X_test.shape[1]}")
    return Data(title, X, y, X_test, y_test, "y", has_names=False)


def _matrix(title: str, arrays: dict[str, Array], name: str) -> Array:
    """The array of that name as rows; images become rows."""
    if name not in arrays:
        raise TableError(f"{title}: no array {name}; it holds {', '.join(arrays) or 'nothing'}")
    values = arrays[name]
    if values.ndim < 2 or not values.size or values.dtype.kind not in "biufU":
        raise TableError(f"{title}: {name} must be a matrix with rows; it is {values.dtype} of shape {values.shape}")
    return values.reshape(len(values), -1)


def _vector(title: str, arrays: dict[str, Array], rows: str) -> Array:
    """The target of the rows of that name: an element for each."""
    name, n_rows = rows.replace("X", "y"), len(arrays[rows])
    if name not in arrays:
        raise TableError(f"{title}: no array {name}; it holds {', '.join(arrays)}")
    values = arrays[name]
    values = values[:, 0] if values.shape == (n_rows, 1) else values
    if values.shape != (n_rows,) or values.dtype.kind not in "biufU":
        said = f"{name} must hold a number or a text for each of {n_rows} rows"
        raise TableError(f"{title}: {said}; it is {values.dtype} of shape {values.shape}")
    return values


def _with_target(title: str, X: Rows, cells: Any, target: str) -> tuple[Rows, Array]:
    """The rows that have a target, and their target."""
    values, present = target_values(cells, target)
    if not len(values):
        raise TableError(f"{title}: no row has a value in the column {target!r}")
    return (X if len(values) == len(present) else X[present]), values


def _check_test_rows(data: Data) -> None:
    """Refuse before the training, in columns of numbers, what could not be predicted after it."""
    if not data.has_names and data.X.dtype.kind == "U":
        return
    numbers = data.X_test.select_dtypes("float") if data.has_names else data.X_test
    names = list(numbers.columns) if data.has_names else [f"x{j}" for j in range(numbers.shape[1])]
    try:
        infinite = np.isinf(np.asarray(numbers, np.float64)).any(axis=0)
    except ValueError as error:
        raise TableError(f"{data.title}: X holds numbers, X_test does not: {error}") from error
    if infinite.any():
        raise TableError(f"{data.title}: the rows to test on hold infinity in column {names[infinite.argmax()]!r}")


def _some(X: Rows, rows: NDArray[np.intp]) -> Rows:
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def _listed(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _guess(name: str, names: Sequence[str]) -> str:
    """Which of the names may have been meant."""
    by_lower = {each.lower(): each for each in names}
    close = get_close_matches(name.lower(), by_lower)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""
