"""Who is measured: every way to train the same network. Sessions live in a worker process of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.workloads import Workload

SEED = 0
"""Of the order of the rows, which every engine draws from scikit-learn's generator."""
MOMENTUM = 0.9


class Session(Protocol):
    """A workload on one engine."""

    def reset(self) -> None:
        """Go back to the initial weights and the first order of the rows: every turn is the same training."""

    def turn(self) -> float:
        """Do the epochs of one turn, or predict once; return the mean loss of the last epoch."""

    def parameters(self) -> list[NDArray[Any]]:
        """Weights, then biases, as they are now."""


class FastmlpSession:
    """Calls of `Trainer.fit` that go on from one another."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        from fastmlp import Trainer

        self._X, self._y = workload.data()
        self._predict = workload.task == "predict"
        self._initial = workload.initial()
        self._order = np.random.RandomState(SEED)
        self._trainer = Trainer(
            hidden_layer_sizes=workload.n_units[1:-1],
            activation=workload.activation,
            loss="log_loss",
            solver="adam" if workload.optimizer == "adam" else "sgd",
            alpha=0.0,
            batch_size=workload.batch_size,
            learning_rate_init=workload.learning_rate,
            max_iter=1,
            random_state=self._order,
            warm_start=True,
            momentum=MOMENTUM if workload.optimizer == "sgd_momentum" else 0.0,
            nesterovs_momentum=False,
            n_iter_no_change=np.inf,
            n_threads=n_threads or None,
        )
        self._trainer.fit(self._X, self._y)  # makes the arrays that every turn goes on from
        self._trainer.max_iter = workload.n_epochs

    def reset(self) -> None:
        self._trainer.coefs_, self._trainer.intercepts_ = self._initial
        self._order.seed(SEED)

    def turn(self) -> float:
        if self._predict:
            self._trainer.predict(self._X)
            return 0.0
        return float(self._trainer.fit(self._X, self._y).loss_)

    def parameters(self) -> list[NDArray[Any]]:
        return [array.copy() for array in (*self._trainer.coefs_, *self._trainer.intercepts_)]


class NumpySession:
    """Epochs of `NumpyTraining`, in the order in which `fit` uses the rows."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        from fastmlp.numpy_training import NumpyTraining

        if workload.optimizer != "sgd":
            raise ValueError(f"plain NumPy is not measured with {workload.optimizer}")
        self._workload = workload
        self._initial = workload.initial()
        self._order = np.random.RandomState(SEED)
        self._training = NumpyTraining(
            *self._initial,
            workload.activation,
            "log_loss",
            *workload.data(),
            workload.batch_size,
            workload.learning_rate,
        )

    def reset(self) -> None:
        arrays = (*self._training.coefs, *self._training.intercepts)
        for array, values in zip(arrays, (*self._initial[0], *self._initial[1]), strict=True):
            array[...] = values
        self._order.seed(SEED)

    def turn(self) -> float:
        n_rows = self._workload.n_rows
        order = np.arange(n_rows)
        loss = 0.0
        for _ in range(self._workload.n_epochs):
            order = order[self._order.permutation(n_rows)]
            loss = self._training.epoch(order)
        return loss

    def parameters(self) -> list[NDArray[Any]]:
        return [array.copy() for array in (*self._training.coefs, *self._training.intercepts)]


@dataclass(frozen=True)
class Engine:
    """A way to train.

    `environment` holds the variables that must be set before its worker process loads NumPy; `needs_isa` is the
    instruction set without which it is left out.
    """

    title: str
    session: Callable[[Workload, int], Session]
    environment: dict[str, str]
    needs_isa: str = ""


ENGINES = {
    "fastmlp": Engine("fastmlp", FastmlpSession, {}),
    "numpy": Engine("NumPy", NumpySession, {}),
    # NumPy's OpenBLAS does not know every CPU with AVX-512, and then multiplies at half speed: measured as NumPy comes,
    # and with the kernels it could have had.
    "numpy-avx512": Engine("NumPy, AVX-512", NumpySession, {"OPENBLAS_CORETYPE": "SkylakeX"}, "x86-64-v4"),
}
