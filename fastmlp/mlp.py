"""What MLPClassifier and MLPRegressor share: early stopping, validation curves, L-BFGS, callbacks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import inf, nan
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import check_consistent_length

from fastmlp import lbfgs
from fastmlp._core import Network, Training
from fastmlp.callbacks import CallbackSupportMixin, Listener, listeners_of, with_callbacks
from fastmlp.data import TASKS, some_weight
from fastmlp.parameters import require_memory
from fastmlp.perceptron import NonFiniteError, Perceptron, Samples, warn
from fastmlp.validation import Validation


@contextmanager
def _named(argument: str) -> Iterator[None]:
    """Let errors of checks name this argument's fellow of the validation, for which scikit-learn's have no word."""
    try:
        yield
    except (TypeError, ValueError) as error:
        message, found = re.subn(rf"^(Input |`?){argument}\b", rf"\g<1>{argument}_val", str(error))
        error.args = (message if found else f"{argument}_val: {message}",)
        raise


class BaseMLP(CallbackSupportMixin, Perceptron):  # type: ignore[misc]  # scikit-learn has no types
    """Early stopping, validation curves, L-BFGS and callbacks."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Perceptron._parameter_constraints,
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "verbose": ["verbose", StrOptions({"progress"})],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "scoring": [str, callable, None],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
    }

    early_stopping: bool
    validation_fraction: float
    scoring: Any
    max_fun: int

    validation_scores_: Any  # list of float, or None as in scikit-learn
    validation_loss_curve_: Any
    best_validation_score_: Any
    _n_epochs_of_fit: int  # entries of loss_curve_ that are not partial_fit's
    # For the duration of a call of fit.
    _validation: Validation | None = None
    _best_params: NDArray[Any] | None = None
    _listeners: tuple[Listener, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        # Or else a pickle would grow with each partial_fit.
        state: dict[str, Any] = super().__getstate__()
        if "_n_epochs_of_fit" in state:
            state = state | {"loss_curve_": self.loss_curve_[: self._n_epochs_of_fit]}
        return state

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train until the loss, or the validation score, stops improving, or for `max_iter` epochs.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)
            Read where it lies, without a copy, if float32, float64 or uint8 with contiguous rows, or CSR of these.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs), or 0/1 sparse matrix
            Labels of a classifier, 0/1 columns for several labels; values of a regressor.
        sample_weight : array-like of shape (n_rows,), default=None
            Not negative; None for ones.
        X_val, y_val, sample_weight_val : like X, y and sample_weight, default=None
            Rows to validate on. `early_stopping` then keeps none of X back; without it they are only watched. In a
            ``Pipeline(..., transform_input=["X_val"])`` X_val is transformed as X is.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a hyper-parameter or an input is invalid, or if the parameters have become infinite or NaN.
        MemoryError
            If the network does not fit in the memory of this machine.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` epochs were not enough, or if the loss diverges.
        UserWarning
            If training was interrupted from the keyboard: the steps so far are kept.
        """
        self._validate_params()
        try:
            self._listeners = listeners_of(self, X, y, sample_weight)
            return self._fit(X, y, sample_weight, None, held_out=(X_val, y_val, sample_weight_val))
        finally:
            for listener in self._listeners:
                listener.close()
            for name in ("_listeners", "_validation", "_best_params"):
                self.__dict__.pop(name, None)

    def _has_partial_fit(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def _encode(self, y: Any) -> NDArray[Any]:
        """Targets of the kind that the fit has seen, as the engine reads them."""
        raise NotImplementedError

    def _decode(self, targets: NDArray[Any]) -> NDArray[Any]:
        """Checked targets as the user knows them."""
        raise NotImplementedError

    def _stratify(self, targets: NDArray[Any]) -> NDArray[Any] | None:
        """Strata of the rows that the validation rows are drawn from."""
        return None

    def _prepare(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        resume: bool,
        classes: Any = None,
        held_out: tuple[Any, Any, Any] = (None, None, None),
    ) -> Samples:
        if resume and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        samples = super()._prepare(X, y, sample_weight, resume, classes)
        return samples if resume else self._hold_out(samples, *held_out)

    def _hold_out(self, samples: Samples, X_val: Any, y_val: Any, sample_weight_val: Any) -> Samples:
        """Set the validation up, where there is to be one; return the samples to train on."""
        given = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
        if any(value is not None for value in given.values()):
            for name in ("X_val", "y_val"):
                if given[name] is None:
                    other = next(key for key, value in given.items() if value is not None)
                    raise ValueError(f"{other} is provided, but {name} was not provided.")
            with _named("X"):
                rows = self._check_rows(X_val)
            with _named("y"):
                targets = self._encode(y_val)
                check_consistent_length(rows, targets)
            with _named("sample_weight"):
                validation = Samples(rows, targets, self._check_weights(sample_weight_val, rows, targets))
        elif self.early_stopping and self.solver != "lbfgs":
            samples, validation = self._split(samples)
            if validation.weights is not None:
                some_weight(validation.weights)
        else:
            return samples
        if self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_, self.best_validation_score_ = [], [], -inf
        if self.early_stopping:
            self.best_loss_ = None
        scorer = self.scoring if self.scoring in (None, "loss") else check_scoring(self, self.scoring)
        self._validation = Validation(self, validation, self._decode(validation.targets), scorer)
        return samples

    def _split(self, samples: Samples) -> tuple[Samples, Samples]:
        """Samples to train on and to validate on."""
        if self.validation_fraction == 0:
            raise ValueError(
                "early_stopping needs rows to validate on, but validation_fraction is 0: make it larger, or pass X_val "
                "and y_val to fit."
            )
        parts = train_test_split(
            *(array for array in samples if array is not None),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._stratify(samples.targets),
        )
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        weights = parts[4:] or (None, None)
        return Samples(parts[0], parts[2], weights[0]), Samples(parts[1], parts[3], weights[1])

    def _initialize(self, n_units: tuple[int, ...], dtype: str) -> None:
        if self.solver == "lbfgs":
            require_memory(n_units, lbfgs.VECTORS, "float64")
        super()._initialize(n_units, dtype)
        self.validation_scores_ = self.validation_loss_curve_ = self.best_validation_score_ = None
        self._n_epochs_of_fit = 0

    def _n_slots(self) -> int:
        return 0 if self.solver == "lbfgs" else super()._n_slots()

    def _optimize(self, samples: Samples, n_epochs: int | None) -> None:
        if self.solver == "lbfgs":
            self._minimize(samples)
        else:
            super()._optimize(samples, n_epochs)
        if n_epochs is None:
            self._n_epochs_of_fit = len(self.loss_curve_)

    def _train(self, training: Training, n_rows: int, n_epochs: int | None) -> None:
        if self._validation is None or not self.early_stopping:
            super()._train(training, n_rows, n_epochs)
            return
        self._best_params = self._params.copy()
        n_scores = len(self.validation_scores_ or ())
        try:
            super()._train(training, n_rows, n_epochs)
        except NonFiniteError:
            if not np.isfinite(self.validation_scores_[n_scores:]).any():
                raise
            self._note_broken_epoch(n_rows)
        finally:
            self._params[:] = self._best_params

    def _note_broken_epoch(self, n_rows: int) -> None:
        """The parameters before it are kept, and the optimizer starts anew from there."""
        self.n_iter_ += 1
        self.t_ += n_rows
        self.loss_ = nan
        for curve in (self.loss_curve_, self.validation_scores_, self.validation_loss_curve_):
            curve.append(nan)
        self._slots[:], self._step = 0, 0
        warn(f"Training stops at its best parameters so far. {self._non_finite()}", ConvergenceWarning)

    def _run_epoch(self, training: Training, order: NDArray[np.int64] | None) -> None:
        for listener in self._listeners:
            listener.epoch_begins()
        super()._run_epoch(training, order)

    def _epoch_ended(self, training: Training) -> bool:
        stop = super()._epoch_ended(training)
        return self._is_asked_to_stop() or stop

    def _is_asked_to_stop(self) -> bool:
        """Tell the listeners, all of them, that an epoch has ended."""
        answers = [listener.epoch_ended() for listener in self._listeners]
        return any(answers)

    def _tell(self, message: str) -> None:
        if self.verbose != "progress":
            super()._tell(message)

    def _count_no_improvement(self) -> None:
        improves = self._note_validation()
        if not self.early_stopping or self._validation is None:
            super()._count_no_improvement()
        else:
            self._no_improvement_count = 0 if improves else self._no_improvement_count + 1

    def _note_validation(self) -> bool:
        """Take note of score and loss of the validation rows; return whether the score is better by tol."""
        if self._validation is None:
            return False
        score, loss = self._validation()
        self.validation_scores_.append(score)
        self.validation_loss_curve_.append(loss)
        self._tell(f"Validation score: {score:f}")
        improves = score >= self.best_validation_score_ + self.tol  # never where it is NaN
        if score > self.best_validation_score_:
            self.best_validation_score_ = score
            if self._best_params is not None:
                self._best_params[:] = self._params
        return bool(improves)

    def _no_improvement_message(self) -> str:
        message = super()._no_improvement_message()
        return message.replace("Training loss", "Validation score") if self.early_stopping else message

    def _minimize(self, samples: Samples) -> None:
        """Train with L-BFGS."""
        network = Network(self._n_units, self.activation, self._loss(), "float64")
        self.n_iter_ = 0
        try:
            for listener in self._listeners:
                listener.epoch_begins()
            result = lbfgs.minimize(
                network,
                self._params,
                samples,
                partial(self._iteration_ended, samples),
                alpha=self.alpha,
                n_threads=self._threads(network, samples.rows, samples.rows.shape[0]),
                maxfun=self.max_fun,
                maxiter=self.max_iter,
                gtol=self.tol,
            )
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
            return
        self._params[:] = result.x
        self.loss_ = self._reported_loss(samples, result.x, result.fun)
        if not (np.isfinite(self.loss_) and np.isfinite(self._params).all()):
            raise self._non_finite()
        if not result.stopped:
            self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)

    def _iteration_ended(self, samples: Samples, params: NDArray[np.float64], loss: float) -> bool:
        """Take note of an iteration of L-BFGS; return whether training is to stop."""
        self._params[:] = params
        self.n_iter_ += 1
        self.loss_ = self._reported_loss(samples, params, loss)
        self.loss_curve_.append(self.loss_)
        self.best_loss_ = min(self.loss_, inf if self.best_loss_ is None else self.best_loss_)
        self._tell(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        self._note_validation()
        stop = self._is_asked_to_stop()
        for listener in self._listeners:
            listener.epoch_begins()
        return stop

    def _reported_loss(self, samples: Samples, params: NDArray[np.float64], loss: float) -> float:
        """The loss as the other solvers report it: where they take the mean over the outputs, so does this."""
        if self.n_outputs_ == 1 or not TASKS[self._loss()].mean_over_outputs:
            return float(loss)
        weights = params[: -sum(self._n_units[1:])]
        n = samples.rows.shape[0] if samples.weights is None else samples.weights.sum()
        penalty = 0.5 * self.alpha * (weights @ weights) / n
        return float((loss - penalty) / self.n_outputs_ + penalty)
