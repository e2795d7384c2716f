"""Real data, read from a folder beside the checkout or the one that FASTMLP_DATA names; made-up data where absent."""

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
    if (FOLDER / FILES[name]).exists():
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
    return (FOLDER / FILES[name]).exists()


def images(name: str) -> tuple[Data, Data]:
    """Training and test part of "mnist" or "fashion": float32 pixels from 0 to 1 and class numbers."""
    with np.load(FOLDER / FILES[name]) as arrays:
        parts = [(arrays[f"X_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")]
    (X, y), (X_test, y_test) = [((X / np.float32(255)), y.astype(np.int64)) for X, y in parts]
    return (X, y), (X_test, y_test)


def _images(name: str) -> Callable[[], Data]:
    return lambda: images(name)[0]


def _adult() -> Data:
    """One-hot columns and standardised numbers of the training part."""
    import pandas

    frame = pandas.read_csv(FOLDER / FILES["adult"]).dropna()
    y = frame.pop("income").astype("category").cat.codes.to_numpy(np.int64)
    return _standardised(pandas.get_dummies(frame).to_numpy(np.float64)), y


def _california() -> Data:
    import pandas

    frame = pandas.read_csv(FOLDER / FILES["california"]).dropna()
    y = frame.pop("median_house_value").to_numpy(np.float64) / 1e5
    return _standardised(pandas.get_dummies(frame).to_numpy(np.float64)), y - y.mean()


def _covtype() -> Data:
    with np.load(FOLDER / FILES["covtype"]) as arrays:
        X, y = arrays["X"].astype(np.float64), arrays["y"].astype(np.int64) - 1
    X[:, :10] = _standardised(X[:, :10])  # the others are 0 and 1
    return X, y


def _higgs() -> Data:
    with np.load(FOLDER / FILES["higgs"]) as arrays:
        return _standardised(arrays["X_train"].astype(np.float64)), arrays["y_train"].astype(np.int64)


def _standardised(X: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = X.std(axis=0)
    scaled: NDArray[np.float64] = (X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return scaled


FILES = {
    "mnist": "mnist.npz",
    "fashion": "fashion_mnist.npz",
    "adult": "adult_train.csv.gz",
    "california": "california_housing.csv.gz",
    "covtype": "covtype_20k.npz",
    "higgs": "higgs_7k.npz",
}
LOADERS: dict[str, Callable[[], Data]] = {
    "mnist": _images("mnist"),
    "fashion": _images("fashion"),
    "adult": _adult,
    "california": _california,
    "covtype": _covtype,
    "higgs": _higgs,
}
