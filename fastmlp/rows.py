"""Rows of X as the engine reads them: checked once, and converted only where it cannot read them as they are."""

from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import _get_feature_names, check_array, validate_data

READABLE = (np.float32, np.float64, np.uint8)
"""Dtypes of a matrix that the engine reads."""


class Samples(NamedTuple):
    """Checked rows, targets and weights, as the engine reads them."""

    rows: Any
    targets: NDArray[Any]
    weights: NDArray[np.float64] | None


def first_rows(X: Any, dtype: str | type | None, estimator: Any) -> Any:
    """X as the engine reads it.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_rows, n_features)
    dtype : {"float32", "float64", "bfloat16"}, type or None
        What to compute in.
    estimator : object
        Named in error messages.

    Raises
    ------
    TypeError, ValueError
        If X is not a matrix of finite numbers.
    """
    try:
        _require_numbers(X)
        return _readable(check_array(X, estimator=estimator, input_name="X", **_checks(dtype)), dtype)
    except ValueError as error:
        if any(words in str(error) for words in ("contains NaN", "bytes/strings", "could not convert string")):
            text = str(error).rstrip(".")
            error.args = (f"{text}. TabularClassifier and TabularRegressor take text and missing values as they are.",)
        raise


def feature_names(X: Any) -> NDArray[Any] | None:
    """Names of the columns, where X is a data frame whose names are text."""
    names: NDArray[Any] | None = _get_feature_names(X)
    return names


def rows_like_first(X: Any, dtype: str | type | None, estimator: Any) -> Any:
    """X as the engine reads it, with the columns that the fitted estimator knows.

    Parameters and errors are those of `first_rows`.
    """
    _require_numbers(X)
    return _readable(validate_data(estimator, X, reset=False, **_checks(dtype)), dtype)


def is_readable(X: Any, finite: bool) -> bool:
    """Whether the engine reads X as it is, seen without the cost of scikit-learn's checks; they decide where not.

    With ``finite`` its values are looked at, too.
    """
    if type(X) is not np.ndarray or X.ndim != 2 or X.dtype not in READABLE or not len(X):
        return False
    if (X.shape[1] != 1 and X.strides[1] != X.itemsize) or not X.flags.aligned:
        return False
    return not finite or _is_finite(X)


def is_sound(y: Any) -> bool:
    """Whether y is an array of finite numbers, seen without the cost of scikit-learn's checks."""
    return type(y) is np.ndarray and y.ndim in (1, 2) and y.size > 0 and y.dtype.kind in "biuf" and _is_finite(y)


def _is_finite(A: NDArray[Any]) -> bool:
    """Whether all values are finite; false for some that are but whose sum is not."""
    if A.dtype.kind != "f":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return isfinite(np.add.reduce(A, axis=None))


def compute_dtype(X: Any, dtype: str | type | None) -> str:
    """The dtype to compute in: the one asked for, or that of X as scikit-learn chooses it."""
    if dtype is not None:
        return "bfloat16" if dtype == "bfloat16" else np.dtype(dtype).name
    return "float32" if X.dtype in (np.float32, np.uint8) else "float64"


def _converted(dtype: str | type | None) -> np.dtype[Any]:
    """What values are converted to where the engine does not read them: NumPy has no bfloat16."""
    return np.dtype("float32" if dtype == "bfloat16" else dtype or "float64")


def contiguous_rows(A: NDArray[Any]) -> NDArray[Any]:
    """A itself if the elements of a row are adjacent in memory and aligned, else a copy in C order."""
    adjacent = A.shape[1] == 1 or A.strides[1] == A.itemsize
    return A if adjacent and A.flags.aligned else np.array(A, order="C")


def _checks(dtype: str | type | None) -> dict[str, Any]:
    """The arguments of scikit-learn's checks of X: numbers of other dtypes than `READABLE` are converted to dtype."""
    return {"accept_sparse": "csr", "dtype": (_converted(dtype), *READABLE)}


def _require_numbers(X: Any) -> None:
    """Raise where X holds text or dates: scikit-learn's checks with `_checks` would convert them."""
    dtype: Any = getattr(X, "dtype", None)
    if isinstance(X, (list, tuple)):  # any row may hold it
        dtype = np.asarray(X).dtype
    elif hasattr(X, "dtypes"):
        dtype = np.asarray(X[:1]).dtype
    kind = getattr(dtype, "kind", None)
    if kind in ("U", "S"):
        raise ValueError(
            "dtype='numeric' is not compatible with arrays of bytes/strings. Convert your data to numeric values "
            f"explicitly instead: X has the dtype {dtype}."
        )
    if kind in ("M", "m"):
        raise TypeError(
            f"X has the dtype {dtype}: dates and durations are not numbers. Convert them explicitly, for example to "
            "days since a date."
        )


def _readable(X: Any, dtype: str | type | None) -> Any:
    """X as scikit-learn's checks return it, or a view or copy of it that the engine reads."""
    if not issparse(X):
        return contiguous_rows(X)
    # SciPy remembers what it once found out of a matrix, whatever has been written into its arrays since then.
    X = type(X)((X.data, X.indices, X.indptr), shape=X.shape)
    X.check_format(full_check=True)  # the engine follows the indices without looking
    if not X.has_canonical_format:
        X = X.astype(_converted(compute_dtype(X, dtype)), copy=True)  # in which repeated entries are summed
        X.sum_duplicates()
    parts = (X.data, X.indices, X.indptr)
    if not all(part.flags.c_contiguous and part.flags.aligned for part in parts):
        X = type(X)(tuple(np.array(part, order="C") for part in parts), shape=X.shape)
    return X
