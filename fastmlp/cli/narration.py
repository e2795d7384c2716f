"""A trainer that tells how it is doing, and times the same training in plain NumPy."""

from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp._core import Training, isa
from fastmlp.cli.numpy_training import NumpyTraining
from fastmlp.trainer import Trainer

Array = NDArray[Any]

PASSES = 5
"""Trainings in plain NumPy with each number of threads, of which the fastest counts; fewer once `ENOUGH` is over."""
ENOUGH = 2.0
"""Seconds after which no further pass begins."""


class NarratedTrainer(Trainer):
    """Prints a line after each epoch.

    Attributes
    ----------
    seconds_ : float
        Time that the epochs have taken, without the narration.
    """

    def watch(self, X_test: Array, y_test: Array) -> None:
        """Name the rows to score after each epoch; without any, no score is told."""
        self._X_test, self._y_test = X_test, y_test

    def summary(self) -> str:
        """The score, the epochs and the time they took, and on what."""
        threads = f"{self._used_threads} thread{'s' if self._used_threads > 1 else ''}"
        return f"{self._score(' ')}after {self.n_iter_} epochs in {self.seconds_:.3g} s on {isa()}, {threads}"

    def time_in_numpy(self, X: Array, y: Array) -> tuple[float, float, int]:
        """The same training in plain NumPy, from the same initial weights in the same batches.

        Returns
        -------
        seconds : float
            Of the fastest of several trainings, each with one BLAS thread and with all.
        loss : float
            Of the last epoch.
        n_threads : int
            Of the BLAS in the fastest; 0 where it is unknown.
        """
        from threadpoolctl import threadpool_info, threadpool_limits

        n_all = max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=0)
        best, start = (np.inf, np.nan, 0), perf_counter()
        for turn in range(PASSES):
            if turn and perf_counter() - start > ENOUGH:
                break
            for n_threads in sorted({min(1, n_all), n_all}):
                with threadpool_limits(n_threads or None, user_api="blas"):
                    best = min(best, (*self._in_numpy(X, y), n_threads))
        return best

    def _in_numpy(self, X: Array, y: Array) -> tuple[float, float]:
        """Seconds and last loss of one training."""
        names, steps = (self.activation, self.loss), (int(self.batch_size), self.learning_rate_init)
        training = NumpyTraining(*self._initial_parameters, *names, X, y, *steps)
        random_state = np.random.RandomState()
        random_state.set_state(self._initial_random_state)
        order = np.arange(len(X))
        seconds, loss = 0.0, np.nan
        for _ in range(self.n_iter_):
            random_state.shuffle(order)
            start = perf_counter()
            loss = training.epoch(order)
            seconds += perf_counter() - start
        return seconds, loss

    def _train(self, training: Training, n_rows: int, n_epochs: int | None) -> None:
        self.seconds_, self._used_threads = 0.0, training.n_threads
        self._initial_parameters = [W.copy() for W in self.coefs_], [b.copy() for b in self.intercepts_]
        self._initial_random_state = self._random_state.get_state()
        super()._train(training, n_rows, n_epochs)

    def _run_epoch(self, training: Training, order: NDArray[np.int64] | None) -> None:
        start = perf_counter()
        super()._run_epoch(training, order)
        seconds = perf_counter() - start
        self.seconds_ += seconds
        self._rows_per_second = training.position / seconds

    def _epoch_ended(self, training: Training) -> bool:
        stop = super()._epoch_ended(training)
        width = len(str(self.max_iter))
        # Written together with the end of the line, which Ctrl-C would otherwise cut off.
        print(
            f"epoch {self.n_iter_:{width}}/{self.max_iter}  loss {self.loss_:.4f}  {self._score('  ')}"
            f"{self._rows_per_second:,.0f} samples/s\n",
            end="",
            flush=True,
        )
        return stop

    def _remedy(self) -> str:
        # The command line has standardised the data, and has options rather than parameters.
        return f"Use a smaller --lr than {self.learning_rate_init:g}."

    def _score(self, separator: str) -> str:
        if not len(self._X_test):
            return ""
        outputs = self.predict(self._X_test)
        if outputs.ndim == 2:
            return f"test accuracy {100 * np.mean(outputs.argmax(axis=1) == self._y_test):.2f} %{separator}"
        residual = np.sum((outputs - self._y_test) ** 2, dtype=np.float64)
        total = np.sum((self._y_test - self._y_test.mean()) ** 2, dtype=np.float64)
        return f"test R2 {1 - residual / total:.4f}{separator}" if total else ""
