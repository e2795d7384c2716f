"""A small cluster in this process, rows, and estimators that train on it quickly."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from distributed import Client, LocalCluster

from fastmlp.dask import DaskMLPClassifier, DaskMLPRegressor

N_ROWS = 230


@contextmanager
def cluster(n_workers: int, threads_per_worker: int = 1) -> Iterator[Client]:
    """Workers that are threads of this process."""
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=threads_per_worker, processes=False, dashboard_address=":0"
        ) as workers,
        Client(workers) as client,
    ):
        yield client


def numbers(dtype: str = "float64") -> Any:
    return np.random.RandomState(0).standard_normal((N_ROWS, 5)).astype(dtype)


def classes(X: Any) -> Any:
    return np.array(["none", "one", "two"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]


def classifier(**options: Any) -> DaskMLPClassifier:
    return DaskMLPClassifier(
        **{"hidden_layer_sizes": (7,), "max_iter": 3, "random_state": 1, "batch_size": 50, "tol": 0} | options
    )


def regressor(**options: Any) -> DaskMLPRegressor:
    return DaskMLPRegressor(
        **{"hidden_layer_sizes": (7,), "max_iter": 3, "random_state": 1, "batch_size": 50, "tol": 0} | options
    )


def parameters(model: Any) -> Any:
    return np.concatenate([array.ravel() for array in (*model.coefs_, *model.intercepts_)])
