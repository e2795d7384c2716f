"""fastmlp in the benchmark."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.engines import SEED, estimator_settings
from bench.workloads import Workload
from fastmlp import Trainer


class FastmlpSession:
    """Calls of `Trainer.fit` that go on from one another."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        self._X, self._y = workload.data()
        self._n_rows = workload.n_rows
        self._predict = workload.task == "predict"
        self._initial = workload.initial()
        self._order = np.random.RandomState(SEED)
        settings = estimator_settings(workload, self._order) | dict(workload.settings)
        dtype = "bfloat16" if workload.dtype == "bfloat16" else None
        self._trainer = Trainer(**settings, loss=workload.loss, n_threads=n_threads or None, dtype=dtype)
        self._trainer.fit(self._X, self._y)  # makes the arrays that every turn goes on from
        self._trainer.max_iter = workload.n_epochs

    def reset(self) -> None:
        self._trainer.coefs_, self._trainer.intercepts_ = self._initial
        # warm_start keeps the optimizer's state as well.
        self._trainer._fitted.fit.forget_gradients()
        self._order.seed(SEED)

    def turn(self) -> float:
        if self._predict:
            self._trainer.predict(self._X[: self._n_rows])
            return 0.0
        return float(self._trainer.fit(self._X, self._y).loss_)

    def parameters(self) -> list[NDArray[Any]]:
        return [array.copy() for array in (*self._trainer.coefs_, *self._trainer.intercepts_)]
