"""What the command line tells of a training, and the same training timed in plain NumPy."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp import MLPClassifier
from fastmlp._core import isa
from fastmlp.call import Call
from fastmlp.cli.numpy_training import NumpyTraining
from fastmlp.fitting import Fit
from fastmlp.listener import Listener

Array = NDArray[Any]

PASSES = 5
"""Trainings in plain NumPy with each number of threads, of which the fastest counts; fewer once `ENOUGH` is over."""
ENOUGH = 2.0
"""Seconds after which no further pass begins."""


class Report(Listener):
    """Prints a line after each epoch.

    Parameters
    ----------
    classifier : MLPClassifier
    X_test, y_test : ndarray
        Rows to score after each epoch; without any, no score is told.
    speaks : bool
        Whether to print at all.

    Attributes
    ----------
    seconds : float
        Time that the epochs have taken, without the narration.
    n_threads : int
    """

    def __init__(self, classifier: MLPClassifier, X_test: Array, y_test: Array, speaks: bool) -> None:
        self._classifier, self._X_test, self._y_test, self._speaks = classifier, X_test, y_test, speaks
        self.seconds = 0.0

    def train(self, X: Array, y: Array) -> None:
        """Train, telling it."""
        with Call(self._classifier, (X, y, None)) as (fit, n_epochs, listeners):
            assert isinstance(fit, Fit)
            # The command line has standardised the data, and has options rather than parameters.
            fit.remedy = f"Use a smaller --lr than {fit.settings.learning_rate_init:g}."
            listeners.append(self)
            fit.run(n_epochs, listeners)

    def summary(self) -> str:
        """The score, the epochs and the time they took, and on what."""
        threads = f"{self.n_threads} thread{'s' if self.n_threads > 1 else ''}"
        n_epochs = self._classifier.n_iter_
        epochs = f"{n_epochs} epoch{'s' if n_epochs > 1 else ''}"
        return f"{self._score(' ')}after {epochs} in {self.seconds:.3g} s on {isa()}, {threads}"

    def epoch_begins(self, fit: Fit) -> None:
        """Start the clock; remember the beginning for `time_in_numpy`."""
        if fit.n_iter == 0:
            classifier = self._classifier
            self._initial = [W.copy() for W in classifier.coefs_], [b.copy() for b in classifier.intercepts_]
            self._initial_random_state = fit.random_state.get_state()
            self.n_threads = fit.n_threads
        self._start = perf_counter()

    def measure(self, fit: Fit) -> dict[str, float]:
        """Stop the clock."""
        self._epoch_seconds = perf_counter() - self._start
        self.seconds += self._epoch_seconds
        return {}

    def epoch_ended(self, fit: Fit) -> bool:
        """Print a line."""
        if not self._speaks:
            return False
        n_epochs = self._classifier.max_iter
        # Written together with the end of the line, which Ctrl-C would otherwise cut off.
        print(
            f"epoch {fit.n_iter:{len(str(n_epochs))}}/{n_epochs}  loss {fit.last_loss:.4f}  {self._score('  ')}"
            f"{fit.n_rows / self._epoch_seconds:,.0f} samples/s\n",
            end="",
            flush=True,
        )
        return False

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
        timed, start = list[tuple[float, float, int]](), perf_counter()
        for turn in range(PASSES):
            if turn and perf_counter() - start > ENOUGH:
                break
            for n_threads in sorted({min(1, n_all), n_all}):
                with threadpool_limits(n_threads or None, user_api="blas"):
                    timed.append((*self._in_numpy(X, y), n_threads))
        return min(timed)

    def _in_numpy(self, X: Array, y: Array) -> tuple[float, float]:
        """Seconds and last loss of one training."""
        classifier = self._classifier
        steps = int(classifier.batch_size), classifier.learning_rate_init
        training = NumpyTraining(*self._initial, classifier.activation, "log_loss", X, y, *steps)
        random_state = np.random.RandomState()
        random_state.set_state(self._initial_random_state)
        order = np.arange(len(X))
        seconds, loss = 0.0, np.nan
        for _ in range(classifier.n_iter_):
            random_state.shuffle(order)
            start = perf_counter()
            loss = training.epoch(order)
            seconds += perf_counter() - start
        return seconds, loss

    def _score(self, separator: str) -> str:
        if not len(self._X_test):
            return ""
        right = np.mean(self._classifier.predict(self._X_test) == self._y_test)
        return f"test accuracy {100 * right:.2f} %{separator}"
