"""Real data, read from a folder beside the checkout or the one that FASTMLP_DATA names; made-up data where absent.

This is the one place that reads the files. What the engines train on is prepared here; `bench.real_data` prepares for
the estimators, with missing values, text and rows to test on.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(os.environ.get("FASTMLP_DATA", Path(__file__).parents[2] / "shared" / "data"))

Data = tuple[NDArray[Any], NDArray[Any]]


def load(name: str, n_rows: int, n_features: int, n_outputs: int) -> Data:
    """X (n_rows, n_features) and y (n_rows,) of a data set, the usual way prepared; X is float64.

    Where the file is absent, X is uniform noise of the same shape, and y classes or, for one output, values drawn at
    random.
    """
    if is_real(name):
        X, y = LOADERS[name]()
        if X.shape[1] != n_features or len(X) < n_rows:
            raise ValueError(f"{FILES[name]} has the shape {X.shape}, not ({n_rows} or more, {n_features})")
        # A frame's values lie column by column, in which no engine can gather rows fast.
        return np.ascontiguousarray(X[:n_rows]), y[:n_rows]
    rng = np.random.default_rng(0)
    X = rng.random((n_rows, n_features))
    return X, rng.standard_normal(n_rows) if n_outputs == 1 else rng.integers(0, n_outputs, n_rows)


def is_real(name: str) -> bool:
    """Whether the file of this data set is there."""
    return path(name).exists()


def path(name: str) -> Path:
    """The file of this data set."""
    return FOLDER / FILES[name]


def table(name: str) -> tuple[Any, NDArray[Any]]:
    """The columns of a CSV file as a frame, without its target, and the target."""
    import pandas

    frame = pandas.read_csv(path(name))
    y: NDArray[Any] = frame.pop(TARGETS[name]).to_numpy()
    return frame, y


def arrays(name: str, *parts: str) -> list[NDArray[Any]]:
    """These arrays of an .npz file."""
    with np.load(path(name)) as content:
        return [content[part] for part in parts]


def images(name: str) -> tuple[Data, Data]:
    """Training and test part of "mnist" or "fashion": float32 pixels from 0 to 1 and class numbers."""
    X, y, X_test, y_test = arrays(name, "X_train", "y_train", "X_test", "y_test")
    return (X / np.float32(255), y.astype(np.int64)), (X_test / np.float32(255), y_test.astype(np.int64))


def _images(name: str) -> Callable[[], Data]:
    return lambda: images(name)[0]


def _adult() -> Data:
    """The training part."""
    X, y = _complete_rows("adult")
    return X, np.unique(y, return_inverse=True)[1].astype(np.int64)


def _california() -> Data:
    X, y = _complete_rows("california")
    y = y.astype(np.float64) / 1e5
    return X, y - y.mean()


def _complete_rows(name: str) -> Data:
    """Rows of a table without missing values: one-hot columns and standardised numbers; and their targets."""
    import pandas

    frame, y = table(name)
    complete = frame.notna().all(axis=1).to_numpy()
    return _standardised(pandas.get_dummies(frame[complete]).to_numpy(np.float64)), y[complete]


def _covtype() -> Data:
    X, y = arrays("covtype", "X", "y")
    X = X.astype(np.float64)
    X[:, :10] = _standardised(X[:, :10])  # the others are 0 and 1
    return X, y.astype(np.int64) - 1


def _higgs() -> Data:
    X, y = arrays("higgs", "X_train", "y_train")
    return _standardised(X.astype(np.float64)), y.astype(np.int64)


def _standardised(X: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = X.std(axis=0)
    scaled: NDArray[np.float64] = (X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return scaled


FILES = {
    "mnist": "mnist.npz",
    "fashion": "fashion_mnist.npz",
    "adult": "adult_train.csv.gz",
    "adult_test": "adult_test.csv.gz",
    "california": "california_housing.csv.gz",
    "covtype": "covtype_20k.npz",
    "higgs": "higgs_7k.npz",
    "heart": "heart.csv.gz",
    "diamonds": "diamonds.csv.gz",
    "letter": "letter.csv.gz",
    "a9a": "a9a.svm.gz",
    "a9a_test": "a9a.t.svm.gz",
    "yeast": "yeast_multilabel.npz",
    "bibtex": "bibtex_multilabel.npz",
}
TARGETS = {
    "adult": "income",
    "adult_test": "income",
    "california": "median_house_value",
    "heart": "AHD",
    "diamonds": "price",
    "letter": "letter",
}
"""Column to predict of each table."""
LOADERS: dict[str, Callable[[], Data]] = {
    "mnist": _images("mnist"),
    "fashion": _images("fashion"),
    "adult": _adult,
    "california": _california,
    "covtype": _covtype,
    "higgs": _higgs,
}
