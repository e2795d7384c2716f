"""Partitions of the user's data, where they lie: looked at once, and cut into the shards of the plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, check_non_negative

from fastmlp.dask.plan import Plan
from fastmlp.rows import feature_names, first_rows


@dataclass(frozen=True)
class About:
    """What the plan must know of some partitions.

    Attributes
    ----------
    rows : tuple of int
        Of each partition.
    shape : tuple of int or None
        Of a row; None where there are no rows.
    dtype : dtype or None
    names : ndarray of str or None
        Of the columns.
    classes, counts : ndarray or None
        The labels, and how many rows have each; of several labels two rows that tell their kind, and None.
    highest : float
        Of the weights.
    square : float
        Sum of the squares of the targets.
    """

    rows: tuple[int, ...]
    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] | None = None
    names: NDArray[Any] | None = None
    classes: NDArray[Any] | None = None
    counts: NDArray[np.int64] | None = None
    highest: float = 0.0
    square: float = 0.0


@dataclass(frozen=True)
class Group:
    """Consecutive partitions, checked.

    Attributes
    ----------
    parts : list of matrices
    about : About
    """

    parts: list[Any]
    about: About


@contextmanager
def _naming(number: int, name: str) -> Iterator[None]:
    """Let an error say which partition it is of."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"partition {number} of {name}: {error}") from None


def check_rows(parts: Sequence[Any], first: int, name: str, estimator: Any) -> Group:
    """Partitions of X as the engine reads them.

    Parameters
    ----------
    parts : sequence of array-like, sparse matrix or data frame
    first : int
        Number of the first among all partitions, for messages.
    name : str
        Of the argument.
    estimator : BaseMLP
        Of this machine.

    Raises
    ------
    TypeError, ValueError
        If a partition holds what is not a finite number; its number is named.
    """
    checked, found = [], None
    for number, part in enumerate(parts, first):
        with _naming(number, name):
            if part.ndim != 2:
                raise ValueError(f"Expected 2D array, got {part.ndim}D array instead.")
            if part.shape[0]:
                rows = first_rows(part, estimator.dtype, estimator)
                if hasattr(part, "columns") and isinstance(rows, np.ndarray):
                    rows = np.ascontiguousarray(rows)  # columns lie one after the other, a row's values far apart
                found = found or About((), rows.shape[1:], rows.dtype, feature_names(part))
                if rows.shape[1:] != found.shape:
                    raise ValueError(f"it has rows of the shape {rows.shape[1:]}, those before it of {found.shape}")
                checked.append(rows)
            else:
                checked.append(None)
    rows_of_each = tuple(0 if rows is None else rows.shape[0] for rows in checked)
    about = found or About(())
    dtypes = [rows.dtype for rows in checked if rows is not None]
    dtype = np.result_type(*dtypes) if dtypes else None
    return Group(checked, About(rows_of_each, about.shape, dtype, about.names))


def check_labels(parts: Sequence[Any], first: int, name: str, estimator: Any) -> Group:
    """Partitions of the labels of a classifier; parameters and errors are those of `check_rows`."""
    checked, classes, shape = [], [], None
    for number, part in enumerate(parts, first):
        with _naming(number, name):
            y = _vector(part)
            if len(y):
                y = estimator._check_labels(y)
                shape = y.shape[1:]
                classes.append(np.unique(y, return_counts=True) if y.ndim == 1 else (y[:2], None))
            checked.append(y)
    rows = tuple(map(len, checked))
    if not classes or shape:
        return Group(checked, About(rows, shape, classes=classes[0][0] if classes else None))
    found, inverse = np.unique(np.concatenate([labels for labels, _ in classes]), return_inverse=True)
    counts = np.bincount(inverse, np.concatenate([counts for _, counts in classes])).astype(np.int64)
    return Group(checked, About(rows, shape, classes=found, counts=counts))


def check_values(parts: Sequence[Any], first: int, name: str, estimator: Any) -> Group:
    """Partitions of the targets of a regressor; parameters and errors are those of `check_rows`."""
    checked, shape, square = [], None, 0.0
    for number, part in enumerate(parts, first):
        with _naming(number, name):
            y = _vector(part)
            if len(y):
                values, _, _, _ = estimator._understand(y, None)
                shape = y.shape[1:]
                square += float(np.square(values, dtype=np.float64).mean(axis=1).sum())
            checked.append(y)
    return Group(checked, About(tuple(map(len, checked)), shape, square=square))


def check_weights(parts: Sequence[Any], first: int, name: str, estimator: Any) -> Group:
    """Partitions of the weights; parameters and errors are those of `check_rows`."""
    checked, highest = [], 0.0
    for number, part in enumerate(parts, first):
        with _naming(number, name):
            weights = np.asarray(part, np.float64)
            if len(weights):
                weights = check_array(weights, ensure_2d=False, input_name=name)
                check_non_negative(weights, f"`{name}`")
                if weights.ndim != 1:
                    raise ValueError("weights must be 1D")
                highest = max(highest, float(weights.max()))
            checked.append(weights)
    return Group(checked, About(tuple(map(len, checked)), (), highest=highest))


CHECKS = {"X": check_rows, "labels": check_labels, "values": check_values, "sample_weight": check_weights}


def about(group: Group) -> About:
    """What is known of a group, without its partitions."""
    return group.about


def checksum(group: Group) -> int:
    """The sum of the bits of all rows of X as integers, which does not depend on how they are partitioned."""
    total = 0
    for rows in group.parts:
        if rows is not None:
            values = rows.data if scipy.sparse.issparse(rows) else np.ravel(rows, order="K")
            total += int(values.view(f"u{values.itemsize}").sum(dtype=np.uint64))
    return total % 2**64


def cut(group: Group, plan: Plan, block: int, begin: int) -> list[Any]:
    """The rows of a shard that a group has, which begins at this row: views where they are consecutive."""
    pieces = []
    for part, n_rows in zip(group.parts, group.about.rows, strict=True):
        rows = plan.shard_in(block, begin, begin + n_rows)
        begin += n_rows
        if rows.stop > rows.start if isinstance(rows, slice) else len(rows):
            pieces.append(part[rows])
    return pieces


def joined(pieces: Sequence[Sequence[Any]]) -> Any:
    """All rows of the pieces of several groups, as one matrix or vector."""
    parts = [part for each in pieces for part in each if part is not None and part.shape[0]]
    if len(parts) == 1:
        return parts[0]
    return scipy.sparse.vstack(parts, "csr") if any(map(scipy.sparse.issparse, parts)) else np.concatenate(parts)


def _vector(part: Any) -> Any:
    """A partition of targets as an array; a data frame of one column as a vector."""
    if scipy.sparse.issparse(part):
        raise TypeError("a sparse matrix of targets is for one machine: use toarray().")
    y = np.asarray(part)
    return y[:, 0] if y.shape[1:] == (1,) else y
