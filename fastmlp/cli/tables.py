"""What the command line trains on and predicts for, from a file, or one error that says what is wrong where."""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.cli.csv_table import TableError, first_too_large, read_csv, target_values, too_large
from fastmlp.model_file import HEADER

Array = NDArray[Any]


@dataclass(frozen=True)
class Data:
    """What to train on.

    Attributes
    ----------
    title : str
        Where it comes from.
    X, X_test : ndarray of shape (n_rows, n_features)
        Finite numbers; X_test may have no rows.
    y, y_test : ndarray of shape (n_rows,)
        Integers or text for classes, floats for values.
    features : list of str or None
        Names of the columns of X, where they have names.
    target : str
        Name of y.
    """

    title: str
    X: Array
    y: Array
    X_test: Array
    y_test: Array
    features: list[str] | None
    target: str


def read_data(path: Path | None, target: str | None, task: str | None, test_fraction: float, seed: int) -> Data:
    """Read the rows to train on and to test on.

    Parameters
    ----------
    path : Path or None
        ``.npz`` file with the arrays X, y and perhaps X_test, y_test; or CSV file; None for scikit-learn's digits.
    target : str or None
        Column of the CSV file to predict.
    task : {"classification", "regression"} or None
        As for `target_values`.
    test_fraction : float
        Of the rows, drawn at random by the seed, to keep out of the training where there is no X_test.
    seed : int

    Raises
    ------
    TableError
        If the data are not what they must be.
    OSError
        If the file cannot be read.
    """
    features = None
    if path is None:
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
    elif path.suffix == ".npz":
        arrays = _read_npz(path)
        X, y = _rows(path, arrays, "X"), _labels(path, arrays, "y")
        if "X_test" in arrays or "y_test" in arrays:
            X_test, y_test = _rows(path, arrays, "X_test"), _labels(path, arrays, "y_test")
            if X_test.shape[1] != X.shape[1]:
                raise TableError(f"{path}: X has {X.shape[1]} columns, X_test has {X_test.shape[1]}")
            return Data(str(path), X, y, X_test, y_test, None, target or "y")
    else:
        assert target is not None, "a CSV file needs a target"
        table = read_csv(path, target=target)
        X, features, y = table.X, table.names, target_values(path, table, target, task)
    order = np.random.RandomState(seed).permutation(len(X))
    test, rest = np.split(order, [int(test_fraction * len(X))])
    return Data(str(path or "handwritten digits"), X[rest], y[rest], X[test], y[test], features, target or "y")


def read_rows(path: Path, features: Sequence[str] | None) -> Array:
    """Read rows to predict: X of an ``.npz`` file, or these (by default all) columns of a CSV file.

    Errors are those of `read_data`.
    """
    return _rows(path, _read_npz(path), "X") if path.suffix == ".npz" else read_csv(path, features=features).X


def _read_npz(path: Path) -> dict[str, Array]:
    """The arrays of an .npz file by name; none of them may hold Python objects."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            return {name.removesuffix(".npy"): _read_npy(archive, name) for name in names}
    except TableError as error:
        raise TableError(f"{path}: {error}") from error
    except (ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise TableError(f"{path}: not an .npz file of arrays: {error}") from error


def _read_npy(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(name) as file:
        try:
            values: Array = np.lib.format.read_array(file, allow_pickle=False)
        except ValueError as error:
            if "Object arrays" not in str(error):
                raise
            what = f"{name.removesuffix('.npy')} holds Python objects, which can run code and are not read"
            raise TableError(f"{what}: save it as numbers or text, such as X.astype(float) or y.astype(str)") from error
    return values


def _rows(path: Path, arrays: dict[str, Array], name: str) -> Array:
    """The array of that name as a matrix (n_rows, n_features); images become rows."""
    values = _finite(path, arrays, name)
    if values.ndim < 2 or not values.size or values.dtype.kind not in "biuf":
        raise TableError(f"{path}: {name} must be a matrix of numbers; it is {values.dtype} of shape {values.shape}")
    return values.reshape(len(values), -1)


def _labels(path: Path, arrays: dict[str, Array], name: str) -> Array:
    """The array of that name as a vector, one element for each row of the X or X_test beside it."""
    values, n_rows = _finite(path, arrays, name), len(arrays[name.replace("y", "X")])
    if values.shape != (n_rows,) or values.dtype.kind not in "biufU":
        raise TableError(
            f"{path}: {name} must hold a number or a text for each of {n_rows} rows; "
            f"it is {values.dtype} of shape {values.shape}"
        )
    return values


def _finite(path: Path, arrays: dict[str, Array], name: str) -> Array:
    if name not in arrays and HEADER in arrays:
        raise TableError(f"{path}: a model, not data; fastmlp predict MODEL.npz DATA reads models")
    if name not in arrays:
        raise TableError(f"{path}: no array {name}; it holds {', '.join(arrays) or 'nothing'}")
    values = arrays[name]
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        place = np.argwhere(~np.isfinite(values))[0]
        raise TableError(f"{path}: {name}{place.tolist()} is {values[tuple(place)]}; all must be finite")
    if values.dtype.kind == "f" and (at := first_too_large(values)):
        raise TableError(f"{path}: {name}{list(at)}: {too_large(values[at])}")
    return values
