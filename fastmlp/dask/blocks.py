"""Training of the plain estimators on collections that are larger than memory, block by block, without a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import inf
from types import SimpleNamespace
from typing import Any

import dask
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import unique_labels

from fastmlp import advice
from fastmlp.dask.placement import partitions_of
from fastmlp.listener import warn


def fit_blocks(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> Any:
    """Train a plain estimator on dask collections, of which two blocks are in memory at a time.

    Each epoch takes the blocks in a random order, and the rows of each block in a random order. The next block is
    computed while the estimator trains on one. Training ends where the mean loss of an epoch has not improved by `tol`
    for more than `n_iter_no_change` epochs, or after `max_iter` of them.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Trainer
        With solver "adam" or "sgd". What it has been fitted to before is forgotten.
    X : dask array or data frame
    y, sample_weight : dask array, series or data frame
        In the same number of blocks as X.

    Returns
    -------
    estimator
        The same, fitted; its `loss_curve_` has an entry for each block.

    Raises
    ------
    ValueError
        If the collections have different numbers of blocks, or a hyper-parameter or a block is invalid.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` epochs were not enough.

    Examples
    --------
    >>> import dask.array
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.dask import fit_blocks
    >>> X = dask.array.from_array([[0.0], [1.0], [2.0], [3.0]] * 25, chunks=(50, 1))
    >>> y = dask.array.from_array([0, 0, 1, 1] * 25, chunks=50)
    >>> model = fit_blocks(MLPClassifier((8,), learning_rate_init=0.1, max_iter=50, random_state=0), X, y)
    >>> model.predict([[0.0], [3.0]])
    array([0, 1])
    """
    columns = [partitions_of(X, "X"), partitions_of(y, "y")]
    columns += [partitions_of(sample_weight, "sample_weight")] if sample_weight is not None else []
    n_blocks, *others = map(len, columns)
    if set(others) != {n_blocks}:
        raise ValueError(f"X, y and sample_weight have {[n_blocks, *others]} blocks: rechunk them alike.")
    random_state, n_epochs = check_random_state(estimator.random_state), estimator.max_iter
    given, estimator._fitted = estimator.random_state, None
    options = {"classes": _classes(columns[1])} if hasattr(type(estimator), "predict_proba") else {}
    try:
        # A schedule counts each block as an epoch.
        estimator.set_params(random_state=random_state, max_iter=n_epochs * n_blocks)
        orders = (random_state.permutation(n_blocks).tolist() for _ in range(n_epochs))
        _epochs(estimator, columns, orders, n_epochs, options)
    finally:
        estimator.set_params(random_state=given, max_iter=n_epochs)
    return estimator


def _epochs(
    estimator: Any,
    columns: Sequence[Sequence[Any]],
    orders: Iterable[list[int]],
    n_epochs: int,
    options: dict[str, Any],
) -> None:
    best, without, curve = inf, 0, list[float]()
    for order in orders:
        losses, n_rows = 0.0, 0
        for rows, *targets in _computed(columns, order):
            if n_new := rows.shape[0]:
                estimator.partial_fit(rows, *targets, **options)
                losses, n_rows = losses + n_new * estimator.loss_, n_rows + n_new
        if not n_rows:
            raise ValueError("Found array with 0 sample(s): no block of X has rows.")
        loss = losses / n_rows
        without = 0 if loss <= best - estimator.tol else without + 1
        best = min(best, loss)
        curve.append(loss)
        if without > estimator.n_iter_no_change:
            return
    settings = SimpleNamespace(**estimator.get_params() | {"max_iter": n_epochs})
    if words := advice.about_max_iter(settings, curve, None):
        warn(words, ConvergenceWarning)


def _computed(columns: Sequence[Sequence[Any]], order: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """The blocks in this order, each computed while the one before is used."""

    def compute(number: int) -> tuple[Any, ...]:
        found: tuple[Any, ...] = dask.compute(*(parts[number] for parts in columns))
        return found

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(compute, order[0])
        for number in (*order[1:], None):
            block = coming.result()
            if number is not None:
                coming = pool.submit(compute, number)
            yield block


def _classes(y: Sequence[Any]) -> Any:
    """The labels of all blocks; of several labels their numbers."""
    found = [np.asarray(each) for (each,) in _computed([y], range(len(y)))]
    found = [each for each in found if len(each)]
    if found and found[0].ndim == 2 and found[0].shape[1] > 1:
        return np.arange(found[0].shape[1])
    return unique_labels(*(np.unique(each) for each in found))
