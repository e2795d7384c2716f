"""Plain NumPy in the benchmark."""

from typing import Any

from numpy.typing import NDArray

from bench.engines import MOMENTUM, Orders
from bench.workloads import Workload
from fastmlp.cli.numpy_training import NumpyTraining


class NumpySession:
    """Epochs of `NumpyTraining`, in the order in which `fit` uses the rows."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        self._workload = workload
        self._initial = workload.initial()
        self._orders = Orders(workload.n_rows)
        self._training = NumpyTraining(
            *self._initial,
            workload.activation,
            workload.loss,
            *workload.data(),
            workload.batch_size,
            workload.learning_rate,
            MOMENTUM if workload.optimizer == "sgd_momentum" else 0.0,
        )

    def reset(self) -> None:
        arrays = (*self._training.coefs, *self._training.intercepts)
        for array, values in zip(arrays, (*self._initial[0], *self._initial[1]), strict=True):
            array[...] = values
        if self._training._velocity is not None:
            self._training._velocity[:] = 0
        self._orders.reset()

    def turn(self) -> float:
        loss = 0.0
        for order in self._orders.epochs(self._workload.n_epochs):
            loss = self._training.epoch(order)
        return loss

    def parameters(self) -> list[NDArray[Any]]:
        return [array.copy() for array in (*self._training.coefs, *self._training.intercepts)]
