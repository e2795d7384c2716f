"""What every trainer of perceptrons shares: its parameters, one call of fit from the checks to the last epoch."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import inf, nan
from numbers import Integral, Real
from operator import is_
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, validate_data

from fastmlp import estimator_file, estimator_state
from fastmlp._core import ACTIVATIONS, MAX_THREADS, OPTIMIZERS, Network, Training
from fastmlp.data import TASKS, check_weights, compute_dtype, is_readable, readable, require_numbers, row_checks
from fastmlp.parameters import ParameterViews, hidden_units, initial_parameters, require_memory
from fastmlp.schedules import SCHEDULES, Schedule
from fastmlp.threads import PacedTraining, default_threads, prediction_threads, step_flops

DIVERGED = 10.0
"""A mean loss so many times that of guessing is worth a warning."""


class NonFiniteError(ValueError):
    """Parameters have become infinite or NaN."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the user's line: how many calls lie between, differs."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        ("fastmlp.", "sklearn.callback.")
    ):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class ThreadCounts(Interval):  # type: ignore[misc]  # scikit-learn has no types
    """Numbers of threads; who knows -1 for all of them from scikit-learn is told how to say so."""

    def __str__(self) -> str:
        return f"{super().__str__()}, where None is all that this process may use"


class Samples(NamedTuple):
    """Checked rows, targets and weights, as the engine reads them."""

    rows: Any
    targets: NDArray[Any]
    weights: NDArray[np.float64] | None


class Perceptron(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A multi-layer perceptron and its training; what targets mean and what is predicted is up to the subclasses."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "solver": [StrOptions({"sgd", "adam"})],
        "alpha": [Interval(Real, 0, inf, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions(set(SCHEDULES))],
        "learning_rate_init": [Interval(Real, 0, inf, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, inf, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {inf})],
        "n_threads": [None, ThreadCounts(Integral, 1, MAX_THREADS, closed="both")],
        "dtype": [None, StrOptions({"float32", "float64"}), Options(type, {np.float32, np.float64})],
    }

    hidden_layer_sizes: int | Sequence[int]
    activation: str
    loss: str
    solver: str
    alpha: float
    batch_size: int | str
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: int | np.random.RandomState | None
    tol: float
    verbose: bool | int | str
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: int | float
    n_threads: int | None
    dtype: str | type | None

    loss_: float
    loss_curve_: list[float]
    best_loss_: float | None
    n_iter_: int
    t_: int
    n_features_in_: int
    n_outputs_: int
    n_layers_: int
    out_activation_: str
    _params: NDArray[Any]  # all weights, then all biases
    _n_units: tuple[int, ...]
    _slots: NDArray[Any]  # the optimizer's state: (n_slots, n_params)
    _optimizer: str
    _step: int
    _rate: float
    _random_state: np.random.RandomState
    _no_improvement_count: int
    _valid: list[Any] | None = None  # parameters that were found valid

    def _set_parameters(self, parameters: dict[str, Any]) -> None:
        """Keep the arguments of `__init__` under their names, as scikit-learn's estimators do."""
        self.__dict__.update((name, value) for name, value in parameters.items() if name not in ("self", "__class__"))

    def _parameter_values(self) -> list[Any]:
        return [getattr(self, name) for name in self._parameter_constraints]

    def _validate_params(self) -> None:
        """Look at the parameters, which takes longer than a small step: unless they are those of the last call."""
        if self._valid is None or not all(map(is_, self._parameter_values(), self._valid)):
            super()._validate_params()

    @property
    def coefs_(self) -> ParameterViews:
        """Weight matrices of shape (fan_in, fan_out)."""
        return ParameterViews(self._network().coefs(self._params))

    @coefs_.setter
    def coefs_(self, values: Iterable[ArrayLike]) -> None:
        self.coefs_[:] = list(map(np.asarray, values))

    @property
    def intercepts_(self) -> ParameterViews:
        """Bias vectors of shape (fan_out,)."""
        return ParameterViews(self._network().intercepts(self._params))

    @intercepts_.setter
    def intercepts_(self, values: Iterable[ArrayLike]) -> None:
        self.intercepts_[:] = list(map(np.asarray, values))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a file without pickle, which `fastmlp.load` reads: an ``.npz`` with JSON in it.

        Parameters
        ----------
        path : str or path-like
            Used as it is: no suffix is added.

        Raises
        ------
        NotFittedError
            If the estimator has not been fitted.
        TypeError
            If a parameter cannot be written, such as a function given as `scoring`.
        OSError
            If the file cannot be written.
        """
        check_is_fitted(self)
        estimator_file.save(self, path)

    def _state(self) -> dict[str, Any]:
        """What has been fitted, in plain values and arrays."""
        state: dict[str, Any] = self.__getstate__()  # type: ignore[assignment]
        return estimator_state.migrate(state)

    @classmethod
    def _from_state(cls, parameters: dict[str, Any], state: dict[str, Any]) -> Self:
        """The estimator with these hyper-parameters that `_state` was taken of."""
        estimator = cls(**parameters)
        estimator.__dict__.update(estimator_state.attributes(state))
        return estimator

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_params")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags

    def _loss(self) -> str:
        """The engine's loss."""
        return self.loss

    def _check_targets(self, y: Any, first: bool, resume: bool, classes: Any) -> tuple[NDArray[Any], int]:
        """Return y as the engine reads it, and the number of outputs; take note of its meaning if first."""
        raise NotImplementedError

    def _check_weights(self, sample_weight: Any, rows: Any, targets: NDArray[Any]) -> NDArray[np.float64] | None:
        return check_weights(sample_weight, rows)

    def _fit(self, X: Any, y: Any, sample_weight: Any, n_epochs: int | None, **details: Any) -> Self:
        """Check data, then train: n_epochs epochs over these rows, or where None until it stops improving."""
        with self._unchanged_if_refused():
            samples = self._prepare(X, y, sample_weight, resume=n_epochs is not None, **details)
        self._optimize(samples, n_epochs)
        return self

    @contextmanager
    def _unchanged_if_refused(self) -> Iterator[None]:
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _prepare(self, X: Any, y: Any, sample_weight: Any, resume: bool, classes: Any = None) -> Samples:
        """Check the data; bring parameters and optimizer into the state that training starts from."""
        first = not hasattr(self, "_params") or not (resume or self.warm_start)
        rows = self._check_first_rows(X) if first else self._check_rows(X)
        targets, n_outputs = self._check_targets(y, first, resume, classes)
        check_consistent_length(rows, targets)
        weights = self._check_weights(sample_weight, rows, targets)
        n_units = (rows.shape[1], *hidden_units(self.hidden_layer_sizes), n_outputs)
        self._random_state = check_random_state(self.random_state)
        if first:
            self._initialize(n_units, compute_dtype(rows, self.dtype))
            validate_data(self, X, reset=True, skip_check_array=True)
        elif n_units != self._n_units:
            raise ValueError(
                f"The fitted network has layers of {self._n_units} units, but now {n_units} are asked for: "
                "a fit that goes on from the last one needs the same."
            )
        else:  # joblib may have mapped them into memory read-only
            self._params = np.require(self._params, self.dtype, ["W"])
            self._slots = np.require(self._slots, self.dtype, ["W"])
        self._prepare_optimizer(fresh=first, resume=resume)
        self._valid = self._parameter_values()
        return Samples(rows, targets, weights)

    def _check_first_rows(self, X: Any) -> Any:
        """X as the engine reads it."""
        require_numbers(X)
        X = check_array(X, estimator=self, input_name="X", **row_checks(self.dtype))
        return readable(X, self.dtype)

    def _check_rows(self, X: Any, finite: bool = True) -> Any:
        """X as the engine reads it, with the columns of the fit; values that are not finite pass without ``finite``."""
        check_is_fitted(self)
        if is_readable(X, finite) and X.shape[1] == self.n_features_in_ and not hasattr(self, "feature_names_in_"):
            return X
        require_numbers(X)
        return readable(validate_data(self, X, reset=False, **row_checks(self.dtype)), self.dtype)

    def _initialize(self, n_units: tuple[int, ...], dtype: str) -> None:
        """Draw the first parameters and forget all earlier training."""
        require_memory(n_units, self._n_slots(), dtype)
        self._n_units = n_units
        self._params = initial_parameters(Network(n_units, self.activation, self._loss(), dtype), self._random_state)
        self.n_layers_, self.n_outputs_ = len(n_units), n_units[-1]
        self.out_activation_ = TASKS[self._loss()].out_activation
        self.n_iter_, self.t_, self.loss_, self.loss_curve_ = 0, 0, nan, []
        self.best_loss_, self._no_improvement_count = inf, 0

    def _optimizer_name(self) -> str:
        if self.solver == "sgd" and self.momentum > 0:
            return "sgd_nesterov" if self.nesterovs_momentum else "sgd_momentum"
        return self.solver

    def _n_slots(self) -> int:
        return OPTIMIZERS[self._optimizer_name()]

    def _schedule(self) -> Schedule:
        return SCHEDULES[self.learning_rate if self.solver == "sgd" else "constant"]

    def _prepare_optimizer(self, fresh: bool, resume: bool) -> None:
        """Keep the optimizer's state unless fresh or of another optimizer; the learning rate too where we resume."""
        name = self._optimizer_name()
        if fresh or name != self._optimizer:
            self._slots = np.zeros((self._n_slots(), self._params.size), self._params.dtype)
            self._optimizer, self._step = name, 0
        if fresh or not resume:
            self._rate = float(self.learning_rate_init)
        self._rate = self._schedule().after_epoch(self._rate, self.learning_rate_init, self.t_, self.power_t)

    def _optimize(self, samples: Samples, n_epochs: int | None) -> None:
        n_rows = samples.rows.shape[0]
        batch_size = min(200, n_rows) if self.batch_size == "auto" else int(self.batch_size)
        if batch_size > n_rows:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
            batch_size = n_rows
        network = self._network()
        n_threads = self._threads(network, samples.rows, batch_size)
        training = (Training if self.n_threads or n_threads == 1 else PacedTraining)(
            network,
            self._params,
            self._slots,
            *samples,
            optimizer=self._optimizer,
            batch_size=batch_size,
            alpha=self.alpha,
            learning_rate=self._rate,
            momentum=self.momentum,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            step=self._step,
            n_threads=n_threads,
        )
        self._train(training, n_rows, n_epochs)
        # Rows that are not scaled often begin with a loss like that of a divergence, and recover: the end of training
        # tells, which for calls of partial_fit is where one of fit would have ended.
        if n_epochs is None or self._no_improvement_count > self.n_iter_no_change:
            self._warn_if_diverged(samples.targets)

    def _train(self, training: Training, n_rows: int, n_epochs: int | None) -> None:
        """The loop over epochs."""
        order = np.arange(n_rows, dtype=np.int64) if self.shuffle else None
        self.n_iter_ = 0
        try:
            while self.n_iter_ < (n_epochs or self.max_iter):
                if order is not None:
                    self._random_state.shuffle(order)
                self._run_epoch(training, order)
                self.n_iter_ += 1
                self.t_ += n_rows
                self.loss_ = training.loss
                if self._epoch_ended(training):
                    return
            if n_epochs is None:
                warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                    "hasn't converged yet.",
                    ConvergenceWarning,
                )
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
        finally:
            self._step = training.step

    def _run_epoch(self, training: Training, order: NDArray[np.int64] | None) -> None:
        # Between two calls Python handles signals and lets other threads run.
        while (status := training.run(order)) != "epoch":
            if status == "not_finite":
                raise self._non_finite()

    def _epoch_ended(self, training: Training) -> bool:
        """Take note of the epoch; return whether training is to stop."""
        self.loss_curve_.append(self.loss_)
        self._tell(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        self._count_no_improvement()
        schedule = self._schedule()
        self._rate = schedule.after_epoch(self._rate, self.learning_rate_init, self.t_, self.power_t)
        stop = False
        if self._no_improvement_count > self.n_iter_no_change:
            rate, message = schedule.on_plateau(self._rate)
            self._tell(f"{self._no_improvement_message()} {message}")
            if rate is None:
                stop = True
            else:
                self._rate, self._no_improvement_count = rate, 0
        training.learning_rate = self._rate
        return stop

    def _tell(self, message: str) -> None:
        if self.verbose:
            print(message)

    def _count_no_improvement(self) -> None:
        best = inf if self.best_loss_ is None else self.best_loss_
        self._no_improvement_count = self._no_improvement_count + 1 if self.loss_ > best - self.tol else 0
        self.best_loss_ = min(best, self.loss_)

    def _no_improvement_message(self) -> str:
        return (
            f"Training loss did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        )

    def _warn_if_diverged(self, targets: NDArray[Any]) -> None:
        task = TASKS[self._loss()]
        # What outputs of zero cost is at most 1 for each output of a loss of classes. Nor does less than 1 count where
        # the targets are small values: the penalty may be more than they are.
        guess = 1.0 if task.classifies else max(1.0, float(np.square(targets, dtype=np.float64).mean()) / 2)
        guess *= 1 if task.mean_over_outputs else self.n_outputs_
        if self.loss_ > DIVERGED * guess:
            warn(
                f"Training diverges: the loss of epoch {self.n_iter_} is {self.loss_:.6g}, where guessing costs "
                f"{guess:.6g} at most. {self._remedy()}",
                ConvergenceWarning,
            )

    def _non_finite(self) -> NonFiniteError:
        return NonFiniteError(f"Solver produced non-finite parameter weights. {self._remedy()}")

    def _remedy(self) -> str:
        """What to do where training diverges."""
        large = "X" if TASKS[self._loss()].classifies else "X and y"
        return (
            f"The input data may contain large values and need to be preprocessed. Scale {large}, for example with "
            "StandardScaler or to the range 0 to 1, or use a smaller learning_rate_init."
        )

    def _network(self) -> Network:
        if not hasattr(self, "_params"):
            raise AttributeError(f"This {type(self).__name__} instance is not fitted yet.")
        return Network(self._n_units, self.activation, self._loss(), self._params.dtype)

    def _threads(self, network: Network, rows: Any, batch_size: int) -> int:
        return self.n_threads or default_threads(step_flops(network, rows, batch_size))

    def _predict(self, X: Any) -> NDArray[Any]:
        """Outputs of the network for the user's X, of shape (n_rows, n_outputs)."""
        try:
            return self._outputs(self._check_rows(X, finite=False))
        except NonFiniteError:
            self._check_rows(X)
            # Its own values are finite: they are too large for the parameters' dtype.
            raise ValueError(f"Input X contains infinity or a value too large for {self._params.dtype!r}.") from None

    def _outputs(self, rows: Any) -> NDArray[Any]:
        """Outputs of the network for checked rows, of shape (n_rows, n_outputs)."""
        # The outputs are those of the fit, whatever `loss` has been set to since then.
        loss = next(loss for loss, task in TASKS.items() if task.out_activation == self.out_activation_)
        network = Network(self._n_units, self.activation, loss, self._params.dtype)
        outputs = np.empty((rows.shape[0], self.n_outputs_), network.dtype)
        if not network.predict(self._params, rows, outputs, self.n_threads or prediction_threads(network, rows)):
            raise NonFiniteError
        return outputs
