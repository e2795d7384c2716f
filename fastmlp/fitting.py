"""One training, from its state to its state.

A `Fit` knows parameters, optimizer and counters, and how to go one epoch further. It does not know what targets mean,
nor why it ends: whatever watches or ends it is a `Listener`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf, nan
from threading import Lock, RLock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastmlp import lbfgs
from fastmlp._core import OPTIMIZERS, Network, Scratch, Training, aligned_empty
from fastmlp.initialization import initial_parameters, require_memory
from fastmlp.rows import Samples
from fastmlp.schedules import SCHEDULES, Place
from fastmlp.threads import PacedTraining, default_threads, step_flops

KEPT_SCRATCH = 2**24
"""Bytes of scratch at the most that are kept for the next call of `partial_fit`: to allocate them takes longer."""


class NonFiniteError(ValueError):
    """Parameters have become infinite or NaN."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the user's line: how many calls lie between, differs."""
    frame, level = sys._getframe(), 1
    inside = ("fastmlp.", "sklearn.callback.", "contextlib")
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(inside):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class Listener:
    """Whoever is told of the epochs, or the iterations of L-BFGS, of one training. It need not listen to all of it.

    Attributes
    ----------
    curves : tuple of str
        Names of the curves that it has entries for.
    """

    curves: tuple[str, ...] = ()

    def epoch_begins(self, fit: Fit) -> None:
        """Listen to the beginning of an epoch."""

    def measure(self, fit: Fit) -> dict[str, float]:
        """Return what belongs into the curves beside the loss, for an epoch that has just ended."""
        return {}

    def epoch_ended(self, fit: Fit) -> bool:
        """Listen to the end of an epoch, which the curves now hold; return whether training is to stop."""
        return False

    def survives(self, fit: Fit) -> bool:
        """Return whether training may end well though its parameters have become infinite or NaN."""
        return False

    def finished(self, fit: Fit) -> None:
        """Listen to the end of a training that has not failed."""

    def close(self, fit: Fit | None) -> None:
        """Take note that training is over, however it ended; None where it never began."""


class Fit:
    """One training of a network.

    Attributes
    ----------
    network : Network
    params : ndarray of shape (n_params,)
        All weights, then all biases.
    optimizer : str
        Name in the engine's list, or "lbfgs".
    slots : ndarray of shape (n_slots, n_params)
        The optimizer's state.
    step : int
        Updates made so far.
    rate : float
        Learning rate, lowered by the plateaus so far.
    n_iter, t : int
        Epochs of the last call; rows used in all of them.
    last_loss : float
        Of the last epoch.
    best_loss, best_validation_score : float or None
    no_improvement_count : int
        Epochs in a row that have not improved.
    loss_curve : list of float
    validation_scores, validation_loss_curve : list of float or None
    n_epochs_of_fit : int
        Entries of loss_curve that are not partial_fit's.
    busy : Lock
        Held by the one call that trains it.
    """

    COUNTERS = ("step", "n_iter", "t", "no_improvement_count", "n_epochs_of_fit")
    VALUES = (*COUNTERS, "rate", "last_loss", "best_loss", "best_validation_score")
    CURVES = ("loss_curve", "validation_scores", "validation_loss_curve")
    ARRAYS = ("params", "slots")

    def __init__(self, network: Network, params: NDArray[Any], optimizer: str) -> None:
        self.network, self.params, self.optimizer = network, params, optimizer
        self.slots = zeros((OPTIMIZERS.get(optimizer, 0), len(params)), params.dtype)
        self.step, self.rate = 0, nan
        self.n_iter, self.t, self.last_loss, self.n_epochs_of_fit = 0, 0, nan, 0
        self.best_loss: float | None = inf
        self.best_validation_score: float | None = None
        self.no_improvement_count = 0
        self.loss_curve: list[float] = []
        self.validation_scores: list[float] | None = None
        self.validation_loss_curve: list[float] | None = None
        self.busy = Lock()
        # Who wants a consistent state waits in the queue, where the training waits too between two calls of the engine.
        self._queue, self._still = Lock(), RLock()
        self._training: Training | None = None
        self._order: NDArray[np.int64] | None = None
        self._scratch: Scratch | None = None

    @classmethod
    def start(
        cls,
        n_units: tuple[int, ...],
        loss: str,
        dtype: str,
        settings: Any,
        samples: Samples,
        random_state: np.random.RandomState,
    ) -> Self:
        """A training that has not begun, at random parameters.

        Raises
        ------
        MemoryError
            If parameters and optimizer do not fit into memory.
        """
        optimizer = optimizer_name(settings)
        slots = lbfgs.VECTORS if optimizer == "lbfgs" else OPTIMIZERS[optimizer]
        require_memory(n_units, slots, "float64" if optimizer == "lbfgs" else dtype)
        network = Network(n_units, settings.activation, loss, dtype)
        params = aligned_empty(network.n_params, network.dtype)
        initial_parameters(network, params, random_state)
        return cls(network, params, optimizer)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Let no other call train it.

        Raises
        ------
        RuntimeError
            If another call does.
        """
        if not self.busy.acquire(blocking=False):
            raise RuntimeError(
                "This estimator is being fitted in another thread. Fit a clone of it (sklearn.base.clone), or wait "
                "until the other call has returned."
            )
        try:
            yield
        finally:
            self.busy.release()

    def adopt(self, settings: Any, restarts: bool) -> None:
        """Go on with these hyper-parameters: another optimizer starts anew, and the rate where a fit restarts."""
        if restarts or self.rate != self.rate:
            self.rate = float(settings.learning_rate_init)
        network = self.network
        if settings.activation != network.activation:
            self.network = Network(network.n_units, settings.activation, network.loss, network.dtype)
        # joblib may have mapped them into memory read-only.
        self.params, slots = (np.require(array, network.dtype, ["W"]) for array in (self.params, self.slots))
        optimizer = optimizer_name(settings)
        if optimizer != self.optimizer:
            slots = zeros((OPTIMIZERS.get(optimizer, 0), len(self.params)), self.params.dtype)
            self.optimizer, self.step = optimizer, 0
        self.slots = slots

    def begin(self, samples: Samples, settings: Any, random_state: np.random.RandomState, remedy: str) -> None:
        """Allocate all that training on these rows needs; the remedy is what to do where it diverges."""
        self.samples, self.settings, self.random_state, self.remedy = samples, settings, random_state, remedy
        self.n_rows, self.stopped = samples.rows.shape[0], False
        if self.optimizer == "lbfgs":
            return
        if settings.batch_size != "auto" and settings.batch_size > self.n_rows:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        n_threads = threads(settings, self.network, samples.rows, rows := batch_size(settings, samples))
        self._order = np.arange(self.n_rows, dtype=np.int64) if settings.shuffle else None
        self._scratch = self._scratch or Scratch()
        self._training = (Training if settings.n_threads or n_threads == 1 else PacedTraining)(
            self.network,
            self.params,
            self.slots,
            *samples,
            optimizer=self.optimizer,
            batch_size=rows,
            alpha=settings.alpha,
            momentum=settings.momentum,
            beta_1=settings.beta_1,
            beta_2=settings.beta_2,
            epsilon=settings.epsilon,
            step=self.step,
            n_threads=n_threads,
            scratch=self._scratch,
        )

    def end(self, keeps_scratch: bool) -> None:
        """Let go of rows and memory."""
        self._training = self._order = None
        for name in ("samples", "settings", "remedy", "n_rows", "random_state"):
            self.__dict__.pop(name, None)
        if not keeps_scratch or (self._scratch and self._scratch.nbytes > KEPT_SCRATCH):
            self._scratch = None

    @property
    def n_threads(self) -> int:
        """Threads of the training, while there is one."""
        return self._training.n_threads if self._training else 1

    def run(self, n_epochs: int, listeners: Sequence[Listener]) -> None:
        """Train for so many epochs or until a listener ends it, which `stopped` says.

        Raises
        ------
        NonFiniteError
            If parameters have become infinite or NaN; they are left as they were before.
        """
        self.n_iter = 0
        if self.optimizer == "lbfgs":
            lbfgs.minimize(self, n_epochs, listeners)
            return
        while self.n_iter < n_epochs and not self.stopped:
            for listener in listeners:
                listener.epoch_begins(self)
            self.note(self.run_epoch(), listeners, n_rows=self.n_rows)

    def run_epoch(self) -> float:
        """Use every row once; return the loss."""
        training, order = self._training, self._order
        assert training is not None
        if order is not None:
            self.random_state.shuffle(order)
        training.learning_rate = self.learning_rate()
        status = "yield"
        # Between two calls Python handles signals and lets other threads run.
        while status == "yield":
            with self._queue:
                pass
            with self._still:
                status = training.run(order)
                self.step = training.step
        if status == "not_finite":
            raise self.non_finite()
        return training.loss

    def non_finite(self) -> NonFiniteError:
        """The error of a training that has diverged."""
        return NonFiniteError(f"Solver produced non-finite parameter weights. {self.remedy}")

    def learning_rate(self) -> float:
        """The learning rate of the epoch that begins now."""
        settings = self.settings
        schedule = SCHEDULES[settings.learning_rate if settings.solver == "sgd" else "constant"]
        return schedule.rate(Place(settings.learning_rate_init, self.rate, self.t, settings.power_t))

    def note(self, loss: float, listeners: Sequence[Listener], n_rows: int) -> None:
        """Take note of an epoch, in all curves at once, and let the listeners decide whether it was the last."""
        self.last_loss = loss
        entries = {name: nan for listener in listeners for name in listener.curves} | {"loss_curve": loss}
        try:
            for listener in listeners:
                entries |= listener.measure(self)
        finally:  # of an interruption as well
            self.enter(entries, n_rows)
        answers = [listener.epoch_ended(self) for listener in listeners]
        self.stopped = any(answers)

    def enter(self, entries: dict[str, float], n_rows: int) -> None:
        """Write an epoch of so many rows down."""
        with self._still:
            self.n_iter += 1
            self.t += n_rows
            for name, value in entries.items():
                curve = getattr(self, name)
                if curve is None:
                    setattr(self, name, curve := [])
                curve.append(value)

    def forget_gradients(self) -> None:
        """Let the optimizer start anew."""
        self.slots[...], self.step = 0, 0

    def backup(self, with_arrays: bool) -> dict[str, Any]:
        """What `restore` needs."""
        copies = {name: getattr(self, name).copy() for name in self.ARRAYS if with_arrays}
        return {"attributes": self.__dict__ | self._curves(), "copies": copies}

    def restore(self, backup: dict[str, Any]) -> None:
        """Take a training back that has failed."""
        self.__dict__.update(backup["attributes"])
        for name, values in backup["copies"].items():  # in place: the user may hold views
            getattr(self, name)[...] = values

    def _curves(self) -> dict[str, list[float] | None]:
        """Copies of the curves."""
        curves = {name: getattr(self, name) for name in self.CURVES}
        return {name: None if curve is None else list(curve) for name, curve in curves.items()}

    def state(self) -> dict[str, Any]:
        """A copy of everything that training has made, of one moment between two steps; plain values and arrays."""
        with self._queue, self._still:
            network = self.network
            state: dict[str, Any] = {"n_units": network.n_units, "activation": network.activation, "loss": network.loss}
            state |= {"optimizer": self.optimizer}
            state |= {name: getattr(self, name) for name in self.VALUES}
            state |= self._curves()
            return state | {name: getattr(self, name).copy() for name in self.ARRAYS}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The training that `state` was taken of; the state has been checked."""
        params = state["params"]
        network = Network(state["n_units"], state["activation"], state["loss"], params.dtype)
        fit = cls(network, params, state["optimizer"])
        for name in (*cls.VALUES, *cls.CURVES, *cls.ARRAYS):
            setattr(fit, name, state[name])
        return fit


def batch_size(settings: Any, samples: Samples) -> int:
    """Rows of a step."""
    return min(200 if settings.batch_size == "auto" else int(settings.batch_size), samples.rows.shape[0])


def optimizer_name(settings: Any) -> str:
    """The engine's name of the optimizer, or "lbfgs"."""
    if settings.solver == "sgd" and settings.momentum > 0:
        return "sgd_nesterov" if settings.nesterovs_momentum else "sgd_momentum"
    return str(settings.solver)


def threads(settings: Any, network: Network, rows: Any, batch_size: int) -> int:
    """Number of threads for steps of that many rows."""
    return int(settings.n_threads or default_threads(step_flops(network, rows, batch_size)))


def zeros(shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that are aligned as the engine likes them."""
    array = aligned_empty(shape, dtype)
    array[...] = 0
    return array
