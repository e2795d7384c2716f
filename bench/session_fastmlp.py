"""fastmlp in the benchmark."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.engines import SEED, estimator_settings
from bench.workloads import Workload
from fastmlp import Trainer


class FastmlpSession:
    """Calls of `Trainer.fit` that go on from one another."""

    precision: str | None = None
    """None for the dtype of X."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        self._X, self._y = workload.data()
        self._n_rows = workload.n_rows
        self._n_calls = workload.n_epochs if workload.task == "predict" else 0
        self._initial = workload.initial()
        self._order = np.random.RandomState(SEED)
        settings = estimator_settings(workload, self._order) | dict(workload.settings)
        self.trainer = Trainer(**settings, loss=workload.loss, dtype=self.precision, n_threads=n_threads or None)
        self.trainer.fit(self._X, self._y)  # makes the arrays that every turn goes on from
        self.trainer.max_iter = workload.n_epochs

    def reset(self) -> None:
        self.trainer.coefs_, self.trainer.intercepts_ = self._initial
        # warm_start keeps the optimizer's state as well.
        self.trainer._fitted.fit.forget_gradients()
        self._order.seed(SEED)

    def turn(self) -> float:
        if self._n_calls:
            rows = self._X[: self._n_rows]
            for _ in range(self._n_calls):
                self._outputs = self.trainer.predict(rows)
            return 0.0
        return float(self.trainer.fit(self._X, self._y).loss_)

    def parameters(self) -> list[NDArray[Any]]:
        if self._n_calls:
            return [self._outputs]
        return [array.copy() for array in (*self.trainer.coefs_, *self.trainer.intercepts_)]


class Bfloat16Session(FastmlpSession):
    """The factors of products rounded to bfloat16, all else in float32."""

    precision = "bfloat16"
