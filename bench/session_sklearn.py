"""scikit-learn in the benchmark."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier, MLPRegressor

from bench.engines import SEED, estimator_settings
from bench.workloads import Workload


class SklearnSession:
    """Calls of `MLPClassifier.fit` or `MLPRegressor.fit` that go on from given weights."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        self._X, self._y = workload.data()
        self._n_rows = workload.n_rows
        self._n_calls = workload.n_epochs if workload.task == "predict" else 0
        self._initial = workload.initial()
        self._order = np.random.RandomState(SEED)
        model = MLPClassifier if workload.loss == "log_loss" else MLPRegressor
        self._model = model(**estimator_settings(workload, self._order))
        self._model.fit(self._X, self._y)
        self._model.max_iter = workload.n_epochs

    def reset(self) -> None:
        coefs, intercepts = self._initial
        if self._model.n_outputs_ != len(intercepts[-1]):
            # One logistic output for two classes: what its training costs does not depend on the weights.
            coefs, intercepts = [*coefs[:-1], coefs[-1][:, :1]], [*intercepts[:-1], intercepts[-1][:1]]
        self._model.coefs_ = [W.copy() for W in coefs]
        self._model.intercepts_ = [b.copy() for b in intercepts]
        self._order.seed(SEED)

    def turn(self) -> float:
        if self._n_calls:
            predict, rows = getattr(self._model, "predict_proba", self._model.predict), self._X[: self._n_rows]
            for _ in range(self._n_calls):
                self._outputs = predict(rows)
            return 0.0
        return float(self._model.fit(self._X, self._y).loss_)

    def parameters(self) -> list[NDArray[Any]]:
        if self._n_calls:
            return [self._outputs]
        return [*self._model.coefs_, *self._model.intercepts_]
