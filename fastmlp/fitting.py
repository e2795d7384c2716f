"""One training, from its state to its state.

A `Fit` knows parameters, optimizer and counters, and how to go one epoch further. It does not know what targets mean,
nor why it ends: whatever watches or ends it is a `Listener`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastmlp import engine_settings, lbfgs
from fastmlp._core import OPTIMIZERS, Network, Scratch, Training, aligned_empty
from fastmlp.estimator_state import COUNTERS, CURVES
from fastmlp.guard import Guard
from fastmlp.initialization import initial_parameters
from fastmlp.listener import Listener, NonFiniteError, warn
from fastmlp.memory import require_memory
from fastmlp.rows import Samples
from fastmlp.schedules import Place, learning_rates
from fastmlp.threads import PacedTraining

KEPT_MEMORY = 2**31
"""Bytes of scratch and copies that are kept for the next call that goes on, at the most."""


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
        The optimizer's state; written to through `guard.write`, as the guard's scratch may hold it too.
    step : int
        Updates made so far.
    rate : float
        Learning rate, lowered by the plateaus so far.
    n_iter, t : int
        Epochs of the last call; rows used in all of them.
    best_epoch : int
        Number of the epoch, from 1, with the best validation score or else loss; 0 before the first.
    last_loss : float
        Of the last epoch.
    best_loss, best_validation_score : float or None
    no_improvement_count : int
        Epochs in a row that have not improved.
    loss_curve : list of float
    validation_scores, validation_loss_curve : list of float or None
    n_epochs_of_fit : int
        Entries of loss_curve that are not partial_fit's.
    guard : Guard
        Lets one call train it, and others read it meanwhile.
    """

    VALUES = (*COUNTERS, "rate", "last_loss", "best_loss", "best_validation_score")
    ARRAYS = ("params", "slots")

    def __init__(self, network: Network, params: NDArray[Any], optimizer: str) -> None:
        self.network, self.params, self.optimizer = network, params, optimizer
        self.slots = engine_settings.zeros((OPTIMIZERS.get(optimizer, 0), len(params)), params.dtype)
        self.step, self.rate = 0, nan
        self.n_iter, self.t, self.last_loss, self.n_epochs_of_fit = 0, 0, nan, 0
        self.epochs_scheduled, self.best_epoch, self.seed = 0, 0, 0
        self.best_loss: float | None = inf
        self.best_validation_score: float | None = None
        self.no_improvement_count = 0
        self.loss_curve: list[float] = []
        self.validation_scores: list[float] | None = None
        self.validation_loss_curve: list[float] | None = None
        self.guard = Guard()
        self.best_params: NDArray[Any] | None = None  # while early stopping keeps them
        self.spare_generator: np.random.RandomState | None = None  # of the last call of `partial_fit`
        self._training: Training | None = None
        self._options: dict[str, Any] | None = None  # that the network was made with
        self._order: NDArray[np.int64] | None = None
        self._copies: dict[str, NDArray[Any]] = {}  # of the arrays, before the last call that went on from them

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
        network = engine_settings.network_of(n_units, settings, loss, dtype)
        require_memory(network, settings, samples)
        params = aligned_empty(network.n_params, network.dtype)
        initial_parameters(network, params, settings.weight_init, random_state)
        return cls(network, params, engine_settings.optimizer_name(settings))

    def predict(self, rows: Any, outputs: NDArray[Any], n_threads: int) -> bool:
        """Write the outputs of the parameters of one moment, or return False where a value of the rows is too large."""
        return bool(self.guard.read(self.network.predict, self.params, rows, outputs, n_threads))

    def replace_params(self, values: NDArray[Any]) -> None:
        """Write other parameters, which nobody reads meanwhile."""
        with self.guard.still:
            self.guard.write(self.params, values)

    def adopt(self, settings: Any, restarts: bool) -> None:
        """Go on with these hyper-parameters: another optimizer starts anew, and the rate where a fit restarts."""
        if restarts or self.rate != self.rate:
            self.rate, self.epochs_scheduled = float(settings.learning_rate_init), 0
        network = self.network
        options = engine_settings.network_options(network.n_units, settings, network.loss)
        if options != self._options:
            self.network = Network(network.n_units, loss=network.loss, dtype=network.precision, **options)
            self._options = options
        # joblib may have mapped them into memory read-only.
        self.params, slots = (each if each.flags.writeable else each.copy() for each in (self.params, self.slots))
        optimizer = engine_settings.optimizer_name(settings)
        if optimizer != self.optimizer:
            slots = engine_settings.zeros((OPTIMIZERS.get(optimizer, 0), len(self.params)), self.params.dtype)
            self.optimizer, self.step = optimizer, 0
        self.slots = slots

    @property
    def gradient_norm(self) -> float | None:
        """Norm of the last step's gradient, where it is clipped."""
        return self._training.gradient_norm if self._training and self.settings.clip_norm else None

    def begin(
        self,
        samples: Samples,
        settings: Any,
        random_state: np.random.RandomState,
        remedy: str,
        progress: dict[str, Any] | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """Allocate all that training on these rows needs.

        Parameters
        ----------
        samples : Samples
        settings : namespace
            The hyper-parameters.
        random_state : RandomState
        remedy : str
            What to do where it diverges.
        progress : dict or None
            State and progress of a training on the same rows to go on from.
        rows : ndarray of shape (n_rows,) or None
            Numbers of the samples to train on; all of them by default.
        """
        self.samples, self.settings, self.random_state, self.remedy = samples, settings, random_state, remedy
        self.n_rows, self.n_iter = samples.rows.shape[0] if rows is None else len(rows), 0
        self.stopped = self.ended = self.in_epoch = False
        self.deadline = inf if settings.max_time is None else perf_counter() + settings.max_time
        if self.optimizer == "lbfgs":
            return
        if settings.batch_size != "auto" and settings.batch_size > self.n_rows:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        self._batch_size = size = engine_settings.batch_size(settings, self.n_rows)
        n_threads = engine_settings.threads(settings, self.network, samples.rows, size)
        self._n_used = self.n_rows // size * size if getattr(settings, "drop_last", False) else self.n_rows
        self._shuffles = bool(settings.shuffle)
        if rows is not None:
            self._order = rows.astype(np.int64)
        elif self._shuffles:
            self._order = np.arange(self.n_rows, dtype=np.int64)
        if progress is not None:
            self._go_on(progress)
        regular = engine_settings.regularisation(settings, self.network.n_units)
        regular |= engine_settings.parametrisation(settings, self.network.n_units)
        if "dropout" in regular or "input_noise" in regular:
            self.seed = self.seed or int(random_state.randint(1, 2**62, dtype=np.int64))
            regular["seed"] = self.seed
        self.guard.scratch = self.guard.scratch or Scratch()
        self._training = (Training if settings.n_threads or n_threads == 1 else PacedTraining)(
            self.network,
            self.params,
            self.slots,
            *samples,
            optimizer=self.optimizer,
            batch_size=size,
            **regular,
            momentum=settings.momentum,
            beta_1=settings.beta_1,
            beta_2=settings.beta_2,
            epsilon=settings.epsilon,
            step=self.step,
            n_threads=n_threads,
            scratch=self.guard.scratch,
            n_rows=self._n_used,
        )

    def end(self, keeps_scratch: bool) -> None:
        """Let go of rows and memory."""
        self._training = self._order = self.best_params = None
        for name in ("samples", "settings", "remedy", "n_rows", "random_state"):
            self.__dict__.pop(name, None)
        scratch = self.guard.scratch
        n_bytes = sum(copy.nbytes for copy in self._copies.values()) + (scratch.nbytes if scratch else 0)
        if not keeps_scratch or n_bytes > KEPT_MEMORY:
            self.guard.scratch, self._copies = None, {}

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
        if self.optimizer == "lbfgs":
            lbfgs.minimize(self, n_epochs, listeners)
            return
        while self.n_iter < n_epochs and not self.stopped:
            for listener in listeners:
                listener.epoch_begins(self)
            self.note(self.run_epoch(), listeners)

    def run_epoch(self) -> float:
        """Use every row once; return the loss."""
        training, order = self._training, self._order
        assert training is not None
        if order is not None and self._shuffles:
            self.random_state.shuffle(order)
        self.in_epoch = True
        status, rates, first_step = "yield", self._rates(training), self.step
        # Between two calls Python handles signals and lets other threads run.
        while status == "yield":
            with self.guard.writing():
                try:
                    status = training.run(None if order is None else order[: self._n_used], rates=rates)
                finally:  # Ctrl-C is heard as the call returns
                    self.step = training.step
            if status == "yield" and perf_counter() > self.deadline and self.step > first_step:
                break
        if status == "not_finite":
            raise self.non_finite()
        return training.loss

    def non_finite(self) -> NonFiniteError:
        """The error of a training that has diverged."""
        return NonFiniteError(f"Solver produced non-finite parameter weights. {self.remedy}")

    def _rates(self, training: Training) -> NDArray[np.float64] | None:
        """The learning rates of the epoch's steps; None where all have the training's."""
        n_steps = -(-self._n_used // self._batch_size)
        first, total = self.epochs_scheduled * n_steps, self.settings.max_iter * n_steps
        rates = learning_rates(Place(self.settings, self.rate, self.t, first, n_steps, total))
        if isinstance(rates, float):
            training.learning_rate = self.learning_rate = rates
            return None
        self.learning_rate = float(rates[-1])
        return rates

    def note(self, loss: float, listeners: Sequence[Listener]) -> None:
        """Take note of an epoch, in all curves at once, and let the listeners decide whether it was the last."""
        self.last_loss = loss
        n_rows, n_used = (self._training.position, self._n_used) if self._training else (0, 0)
        cut = n_rows < n_used
        entries = {name: nan for listener in listeners for name in listener.curves} | {"loss_curve": loss}
        try:
            for listener in listeners:
                entries |= listener.measure(self)
        finally:  # of an interruption as well
            self.enter(entries, n_rows - n_rows % self._batch_size if cut else n_rows)  # rows of steps that were made
        answers = [listener.epoch_ended(self) for listener in listeners]
        ended = any(answers)
        # At once: an interruption between two of these would leave what is no place to go on from.
        vars(self).update(stopped=ended or perf_counter() > self.deadline, ended=ended, in_epoch=cut)

    def enter(self, entries: dict[str, float], n_rows: int) -> None:
        """Write an epoch of so many rows down."""
        with self.guard.still:
            for name in entries:
                if getattr(self, name) is None:
                    setattr(self, name, [])
            curves = [getattr(self, name) for name in entries]
            counters = {"n_iter": self.n_iter + 1, "t": self.t + n_rows, "epochs_scheduled": self.epochs_scheduled + 1}
            if self._is_best(entries):
                counters["best_epoch"] = len(self.loss_curve) + 1
            # Ctrl-C is heard between two lines of Python's, and may not come between two curves.
            list(map(list.append, curves, entries.values())), vars(self).update(counters)

    def _is_best(self, entries: dict[str, float]) -> bool:
        """Whether an epoch is better than all that are written down, of those with a score where there are any."""
        if "validation_scores" in entries:
            return entries["validation_scores"] > (-inf if (best := self.best_validation_score) is None else best)
        best = inf if self.best_loss is None else self.best_loss
        return self.validation_scores is None and entries["loss_curve"] < best

    def forget_gradients(self) -> None:
        """Let the optimizer start anew."""
        self.guard.write(self.slots, 0)
        self.step = 0

    def backup(self, with_arrays: bool) -> dict[str, Any]:
        """What `restore` needs."""
        copies: dict[str, NDArray[Any]] = {}
        for name in self.ARRAYS if with_arrays else ():
            array, copy = getattr(self, name), self._copies.get(name)
            # In the memory of the last call's: to touch new memory takes longer than a step may.
            copies[name] = np.empty_like(array) if copy is None or copy.shape != array.shape else copy
            np.copyto(copies[name], array)
        self._copies = copies
        return {"attributes": self.__dict__ | self._curves(), "copies": copies}

    def restore(self, backup: dict[str, Any]) -> None:
        """Take a training back that has failed."""
        self.__dict__.update(backup["attributes"])
        with self.guard.writing():
            for name, values in backup["copies"].items():
                if getattr(self, name).flags.writeable:  # else it is as it was: `adopt` has trained a copy
                    self.guard.write(getattr(self, name), values)

    def _curves(self) -> dict[str, list[float] | None]:
        """Copies of the curves."""
        curves = {name: getattr(self, name) for name in CURVES}
        return {name: None if curve is None else list(curve) for name, curve in curves.items()}

    def state(self) -> dict[str, Any]:
        """A copy of everything that training has made, of one moment between two steps; plain values and arrays."""
        with self.guard.reading():
            network = self.network
            state: dict[str, Any] = {"n_units": network.n_units, "activation": network.activation, "loss": network.loss}
            state |= {"optimizer": self.optimizer}
            if network.precision != network.dtype.name:
                state["precision"] = network.precision
            state |= {name: getattr(self, name) for name in self.VALUES}
            state |= self._curves()
            return state | {name: getattr(self, name).copy() for name in self.ARRAYS}

    def progress(self) -> dict[str, Any]:
        """What `begin` needs beside the state to go on between two epochs."""
        arrays = {"order": self._order, "best_params": self.best_params}
        return {name: array.copy() for name, array in arrays.items() if array is not None} | {
            "random_state": engine_settings.copy_of(self.random_state),
            "ended": self.ended,
        }

    def take_over(self, other: Fit) -> None:
        """Take what another training of the same network has reached."""
        self.__dict__.update({name: getattr(other, name) for name in (*self.VALUES, *CURVES, "stopped")})
        with self.guard.writing():
            for name in (*self.ARRAYS, "best_params"):
                if getattr(other, name) is not None:
                    self.guard.write(getattr(self, name), getattr(other, name))

    def _go_on(self, progress: dict[str, Any]) -> None:
        for name in (*self.ARRAYS, "_order", "best_params"):
            if getattr(self, name) is not None:
                self.guard.write(getattr(self, name), progress[name.removeprefix("_")])
        for name in (*self.VALUES, *CURVES):
            setattr(self, name, progress[name])
        self.stopped = self.ended = progress["ended"]
        self.random_state.set_state(progress["random_state"].get_state())

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The training that `state` was taken of; the state has been checked."""
        params = state["params"]
        network = Network(state["n_units"], state["activation"], state["loss"], state.get("precision", params.dtype))
        fit = cls(network, params, state["optimizer"])
        for name in (*cls.VALUES, *CURVES, *cls.ARRAYS):
            setattr(fit, name, state[name])
        return fit
