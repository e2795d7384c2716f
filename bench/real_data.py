"""Real data as users prepare them: rows, targets, a split, and the usual pipeline of imputer, encoder and scaler."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas
import scipy.sparse
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_digits, load_svmlight_file, make_classification
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from bench.datasets import arrays, images, path, table


class Split(NamedTuple):
    """Prepared rows and targets to fit and to score on."""

    X: Any
    X_test: Any
    y: Any
    y_test: Any


def prepared(X: Any, X_test: Any, y: Any, y_test: Any) -> Split:
    """Impute, encode and scale as the training rows say."""
    transformer = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
            make_column_selector(dtype_exclude="number"),
        ),
        remainder=make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
        sparse_threshold=0,
    )
    return Split(transformer.fit_transform(X), transformer.transform(X_test), y, y_test)


def split(X: Any, y: Any) -> Split:
    """Prepare three quarters of the rows, and a quarter to test on."""
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    return prepared(X, X_test, y, y_test)


def heart() -> Split:
    return split(*table("heart"))


def adult() -> Split:
    X, y = table("adult")
    X_test, y_test = table("adult_test")
    return prepared(X, X_test, y, y_test)


def california() -> Split:
    X, y = table("california")
    return split(X, y / 1e5)


def diamonds() -> Split:
    X, y = table("diamonds")
    return split(X, np.log(y))


def letter() -> Split:
    X, y = table("letter")
    return prepared(X[:16000], X[16000:], y[:16000], y[16000:])


def covtype() -> Split:
    X, y = arrays("covtype", "X", "y")
    return split(pandas.DataFrame(X), y)


def a9a() -> Split:
    """Sparse, as it is."""
    X, y = load_svmlight_file(path("a9a"), n_features=123)
    X_test, y_test = load_svmlight_file(path("a9a_test"), n_features=123)
    return Split(X, X_test, y, y_test)


def yeast() -> Split:
    return Split(*arrays("yeast", "X_train", "X_test", "Y_train", "Y_test"))


def bibtex() -> Split:
    """Sparse, with 159 labels."""
    parts = []
    for part in ("X_train", "X_test", "Y_train", "Y_test"):
        indices, indptr, shape = arrays("bibtex", f"{part}_indices", f"{part}_indptr", f"{part}_shape")
        csr = (np.ones(len(indices)), indices.astype(np.int32), indptr)
        parts.append(scipy.sparse.csr_matrix(csr, shape=tuple(shape)))
    X, X_test, Y, Y_test = parts
    return Split(X, X_test, Y.toarray().astype(int), Y_test.toarray().astype(int))


def digits() -> Split:
    X, y = load_digits(return_X_y=True)
    return Split(*train_test_split(X / 16, y, random_state=0)[:2], *train_test_split(y, random_state=0))


def mnist() -> Split:
    """float32 pixels from 0 to 1."""
    (X, y), (X_test, y_test) = images("mnist")
    return Split(X, X_test, y, y_test)


def twenty_features() -> Split:
    """Made up: 5000 rows of 20 columns in two classes."""
    X, y = make_classification(5000, 20, n_informative=10, random_state=0)
    return Split(X, X, y, y)


Loader = Callable[[], Split]
