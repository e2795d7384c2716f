"""What the estimators share: scikit-learn's contract, fitted attributes, a call of fit from its checks to its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import is_
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from fastmlp import estimator_file
from fastmlp._core import LOSSES, MAX_THREADS
from fastmlp.callbacks import CallbackSupportMixin, Narration, callback_management_context, listeners_of
from fastmlp.fitting import Fit, Listener, NonFiniteError, batch_size, warn
from fastmlp.initialization import ParameterViews, hidden_units
from fastmlp.rows import Samples, compute_dtype, feature_names, first_rows, is_readable, rows_like_first
from fastmlp.stopping import Divergence, EarlyStopping, Plateau
from fastmlp.targets import check_weights, some_weight
from fastmlp.threads import prediction_threads
from fastmlp.validation import Validation, naming

HeldOut = tuple[Any, Any, Any]


@dataclass(frozen=True)
class Fitted:
    """All that a fit has made, replaced at once: who predicts meanwhile has the old network or the new one.

    Attributes
    ----------
    fit : Fit
    n_features : int
    feature_names : ndarray of str or None
    labels : object
        What the estimator knows of the meaning of y.
    """

    fit: Fit
    n_features: int
    feature_names: NDArray[Any] | None
    labels: Any = None


def _fitted_attribute(read: Callable[[Fitted], Any], documentation: str) -> Any:
    """A read-only attribute that an unfitted estimator does not have."""

    def get(self: BaseMLP) -> Any:
        return read(self._require_fitted())

    return property(get, doc=documentation)


class BaseMLP(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A multi-layer perceptron and its training; what targets mean and what is predicted is up to the subclasses."""

    _parameter_constraints: ClassVar[dict[str, Any]]
    _fitted: Fitted | None = None
    _valid: list[Any] | None = None  # hyper-parameters that were found valid

    loss: str
    solver: str
    dtype: str | type | None
    n_threads: int | None
    verbose: bool | int | str

    loss_ = _fitted_attribute(lambda fitted: fitted.fit.last_loss, "Loss of the last epoch.")
    loss_curve_ = _fitted_attribute(lambda fitted: fitted.fit.loss_curve, "Loss of each epoch.")
    best_loss_ = _fitted_attribute(lambda fitted: fitted.fit.best_loss, "The lowest loss.")
    validation_scores_ = _fitted_attribute(lambda fitted: fitted.fit.validation_scores, "Score of each epoch.")
    validation_loss_curve_ = _fitted_attribute(
        lambda fitted: fitted.fit.validation_loss_curve, "Validation loss of each epoch."
    )
    best_validation_score_ = _fitted_attribute(lambda fitted: fitted.fit.best_validation_score, "The highest score.")
    n_iter_ = _fitted_attribute(lambda fitted: fitted.fit.n_iter, "Epochs or iterations of the last call.")
    t_ = _fitted_attribute(lambda fitted: fitted.fit.t, "Rows used in all calls.")
    n_features_in_ = _fitted_attribute(lambda fitted: fitted.n_features, "Number of inputs.")
    n_outputs_ = _fitted_attribute(lambda fitted: fitted.fit.network.n_units[-1], "Number of outputs.")
    n_layers_ = _fitted_attribute(lambda fitted: len(fitted.fit.network.n_units), "Number of layers of units.")
    out_activation_ = _fitted_attribute(
        lambda fitted: LOSSES[fitted.fit.network.loss].output, "Function of the outputs."
    )

    _no_improvement_count = _fitted_attribute(  # scikit-learn's own tests read it
        lambda fitted: fitted.fit.no_improvement_count, "Epochs in a row that have not improved."
    )

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the columns, where X had string names."""
        names = self._require_fitted().feature_names
        if names is None:
            raise AttributeError(f"This {type(self).__name__} was fitted without feature names.")
        return names

    @property
    def coefs_(self) -> ParameterViews:
        """Weight matrices of shape (fan_in, fan_out)."""
        fit = self._require_fitted().fit
        return ParameterViews(fit.network.coefs(fit.params))

    @coefs_.setter
    def coefs_(self, values: Iterable[ArrayLike]) -> None:
        self.coefs_[:] = list(map(np.asarray, values))

    @property
    def intercepts_(self) -> ParameterViews:
        """Bias vectors of shape (fan_out,)."""
        fit = self._require_fitted().fit
        return ParameterViews(fit.network.intercepts(fit.params))

    @intercepts_.setter
    def intercepts_(self, values: Iterable[ArrayLike]) -> None:
        self.intercepts_[:] = list(map(np.asarray, values))

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
            Read in place, without copying, if float32, float64 or uint8 with contiguous rows, or CSR of these.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs), or 0/1 sparse matrix
            Labels of a classifier, 0/1 columns for several labels; values of a regressor; class numbers from 0, one-hot
            rows, probabilities, 0/1 labels or values of a `Trainer`, as its loss takes them.
        sample_weight : array-like of shape (n_rows,), default=None
            Not negative; None for ones.
        X_val, y_val, sample_weight_val : like X, y and sample_weight, default=None
            Rows to validate on. `early_stopping` then keeps none of X back; without it they are only monitored. In a
            ``Pipeline(..., transform_input=["X_val"])`` X_val is transformed as X is.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a hyper-parameter or an input is invalid, or if the parameters have become infinite or NaN. The estimator
            is left as it was.
        MemoryError
            If the network does not fit in the memory of this machine. The estimator is left as it was.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` epochs were not enough, or if the loss diverges.
        UserWarning
            If training was interrupted from the keyboard: the steps so far are kept.
        """
        with self._training(X, y, sample_weight, (X_val, y_val, sample_weight_val)) as (fit, n_epochs, listeners):
            fit.run(n_epochs, listeners)
        return self

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

    def __sklearn_is_fitted__(self) -> bool:
        return self._fitted is not None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_valid", None)
        if self._fitted is not None:
            state["_fitted"] = self._state()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        names = self._parameter_constraints
        if "_params" in state:  # of version 0.1.0
            old = {name: value for name, value in state.items() if name not in names}
            state = {name: state[name] for name in names if name in state} | {"_fitted": estimator_file.migrate(old)}
        if "_fitted" in state:
            state = state | {"_fitted": self._fitted_from(state["_fitted"])}
        super().__setstate__(state)

    # -- what the subclasses say --

    def _understand(self, y: Any, classes: Any) -> tuple[NDArray[Any], int, str, Any]:
        """Targets as the engine reads them, the number of outputs, the engine's loss, and what y means."""
        raise NotImplementedError

    def _encode(self, y: Any, fitted: Fitted, exact: bool = False) -> NDArray[Any]:
        """Targets of the kind that the fit has seen, as the engine reads them; all of its classes where exact."""
        raise NotImplementedError

    def _decode(self, targets: NDArray[Any], fitted: Fitted) -> NDArray[Any]:
        """Checked targets as the user knows them."""
        return targets

    def _check_call(self, before: Fitted | None, settings: Any, classes: Any) -> None:
        """Refuse a call of `partial_fit` that cannot be."""
        if settings.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")

    def _weigh(self, sample_weight: Any, rows: Any, targets: NDArray[Any], labels: Any) -> NDArray[np.float64] | None:
        """Weights of the rows."""
        return check_weights(sample_weight, rows)

    def _stratify(self, targets: NDArray[Any], fitted: Fitted) -> NDArray[Any] | None:
        """Strata of the rows that the validation rows are drawn from."""
        return None

    def _labels_state(self, labels: Any) -> dict[str, Any]:
        """What y means, as plain values."""
        return {}

    def _labels_from(self, state: dict[str, Any]) -> Any:
        """And back."""
        return None

    def _memory_error(self, error: MemoryError, n_units: tuple[int, ...]) -> MemoryError:
        """The error to raise for a network that does not fit in memory."""
        return error

    def _has_partial_fit(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    # -- hyper-parameters and state --

    def _set_parameters(self, parameters: dict[str, Any]) -> None:
        """Keep the arguments of `__init__` under their names, as scikit-learn's estimators do."""
        self.__dict__.update((name, value) for name, value in parameters.items() if name not in ("self", "__class__"))

    def _settings(self) -> Any:
        """The hyper-parameters, found valid: a look takes longer than a small step, unless they are the last call's."""
        values = [getattr(self, name) for name in self._parameter_constraints]
        if self._valid is None or not all(map(is_, values, self._valid)):
            self._validate_params()
        return SimpleNamespace(**dict(zip(self._parameter_constraints, values, strict=True)))

    def _require_fitted(self) -> Fitted:
        if self._fitted is None:
            raise AttributeError(f"This {type(self).__name__} instance is not fitted yet.")
        return self._fitted

    def _state(self) -> dict[str, Any]:
        """A consistent copy of what has been fitted, in plain values and arrays."""
        fitted = self._require_fitted()
        state = fitted.fit.state()
        # Or else a pickle would grow with each partial_fit.
        state["loss_curve"] = state["loss_curve"][: state["n_epochs_of_fit"]]
        state |= {"n_features": fitted.n_features, "feature_names": fitted.feature_names}
        return state | self._labels_state(fitted.labels)

    def _fitted_from(self, state: dict[str, Any]) -> Fitted:
        """What `_state` was taken of."""
        return Fitted(Fit.from_state(state), state["n_features"], state["feature_names"], self._labels_from(state))

    @classmethod
    def _from_state(cls, parameters: dict[str, Any], state: dict[str, Any]) -> Self:
        """The estimator with these hyper-parameters that `_state` was taken of."""
        estimator = cls(**parameters)
        estimator._fitted = estimator._fitted_from(state)
        return estimator

    def _view(self, fitted: Fitted, **changes: Any) -> Self:
        """An estimator with the same hyper-parameters that shares what has been fitted."""
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__ | {"_fitted": fitted} | changes)
        return view

    # -- one call of fit --

    @contextmanager
    def _training(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        held_out: HeldOut = (None, None, None),
        classes: Any = None,
        resumes: bool = False,
    ) -> Iterator[tuple[Fit, int, list[Listener]]]:
        """Check and prepare everything; train in the body of the with statement; keep the result, or what was before.

        Yields the training, the largest number of its epochs, and its listeners.
        """
        settings, before = self._settings(), self._fitted
        with callback_management_context(self):
            outside = [] if resumes else listeners_of(self, X, y, sample_weight)
            fit = before.fit if before else None
            try:
                fitted, samples, random_state = self._checked(settings, before, X, y, sample_weight, classes, resumes)
                fit = fitted.fit
                with fit.claimed(), self._unchanged_if_it_fails(fitted, before, samples, settings):
                    samples, listeners = self._listening(fitted, samples, held_out, settings, random_state, resumes)
                    listeners += outside
                    fit.adopt(settings, restarts=not resumes)
                    fit.begin(samples, settings, random_state, self._remedy(fit))
                    self._fitted, self._valid = fitted, list(vars(settings).values())
                    with self._outcome(fit, listeners, None if resumes else settings.max_iter):
                        yield fit, 1 if resumes else settings.max_iter, listeners
            finally:
                for listener in outside:
                    listener.close(fit)

    def _checked(
        self, settings: Any, before: Fitted | None, X: Any, y: Any, sample_weight: Any, classes: Any, resumes: bool
    ) -> tuple[Fitted, Samples, np.random.RandomState]:
        """The training to go on with, or a new one; its samples; its source of random numbers."""
        continues = before is not None and (resumes or settings.warm_start)
        if resumes:
            self._check_call(before, settings, classes)
        if continues:
            assert before is not None
            rows, labels = self._rows(X, before), before.labels
            targets = self._encode(y, before, exact=not resumes)
            n_outputs, loss = before.fit.network.n_units[-1], before.fit.network.loss
        else:
            rows = first_rows(X, settings.dtype, self)
            targets, n_outputs, loss, labels = self._understand(y, classes)
        check_consistent_length(rows, targets)
        weights = self._weigh(sample_weight, rows, targets, labels)
        random_state = check_random_state(settings.random_state)
        n_units = (rows.shape[1], *hidden_units(settings.hidden_layer_sizes), n_outputs)
        samples = Samples(rows, targets, weights)
        if not continues:
            try:
                fit = Fit.start(n_units, loss, compute_dtype(rows, settings.dtype), settings, samples, random_state)
            except MemoryError as error:
                raise self._memory_error(error, n_units) from error
            return Fitted(fit, rows.shape[1], feature_names(X), labels), samples, random_state
        assert before is not None
        if n_units != before.fit.network.n_units:
            raise ValueError(
                f"The fitted network has layers of {before.fit.network.n_units} units, but now {n_units} are asked "
                "for: a fit that goes on from the last one needs the same."
            )
        return before, samples, random_state

    @contextmanager
    def _unchanged_if_it_fails(
        self, fitted: Fitted, before: Fitted | None, samples: Samples, settings: Any
    ) -> Iterator[None]:
        """Take everything back that a training has done which ends in an error; let go of what only it needed."""
        fit = fitted.fit
        # What fails within one step has changed no parameter.
        several_steps = samples.rows.shape[0] > batch_size(settings, samples)
        backup = fit.backup(with_arrays=several_steps) if fitted is before else None
        try:
            yield
        except BaseException:
            if backup is not None:
                fit.restore(backup)
            elif self._fitted is fitted:  # another thread may have fitted it since then
                self.__dict__.pop("_fitted")
                if before is not None:
                    self._fitted = before
            raise
        finally:
            fit.end()

    def _listening(
        self,
        fitted: Fitted,
        samples: Samples,
        held_out: HeldOut,
        settings: Any,
        random_state: np.random.RandomState,
        resumes: bool,
    ) -> tuple[Samples, list[Listener]]:
        """The samples to train on, and the listeners that the hyper-parameters ask for."""
        fit, validation = fitted.fit, None
        early = settings.early_stopping and settings.solver != "lbfgs"
        if any(given is not None for given in held_out):
            validation = self._held_out(fitted, *held_out)
        elif early:
            samples, validation = self._split(fitted, samples, settings, random_state)
        tell: Callable[[str], None] = print if settings.verbose not in (False, 0, "progress") else lambda message: None
        listeners: list[Listener] = [Narration(tell, validation is not None)]
        if settings.solver != "lbfgs":
            listeners += [EarlyStopping(settings, tell, fit) if early else Plateau(settings, tell)]
            listeners += [Divergence(samples, settings, resumes)]
        if validation is not None:
            scorer = settings.scoring
            scorer = scorer if scorer in (None, "loss") else check_scoring(self, scorer)
            # Rows that were checked have lost their names.
            view = self._view(replace(fitted, feature_names=None))
            listeners += [Validation(view, fit, validation, self._decode(validation.targets, fitted), scorer)]
        return samples, listeners

    def _held_out(self, fitted: Fitted, X_val: Any, y_val: Any, sample_weight_val: Any) -> Samples:
        """Rows to validate on that the user has given."""
        given = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
        for name in ("X_val", "y_val"):
            if given[name] is None:
                other = next(key for key, value in given.items() if value is not None)
                raise ValueError(f"{other} is provided, but {name} was not provided.")
        with naming("X"):
            rows = self._rows(X_val, fitted)
        with naming("y"):
            targets = self._encode(y_val, fitted)
            check_consistent_length(rows, targets)
        with naming("sample_weight"):
            return Samples(rows, targets, self._weigh(sample_weight_val, rows, targets, fitted.labels))

    def _split(
        self, fitted: Fitted, samples: Samples, settings: Any, random_state: np.random.RandomState
    ) -> tuple[Samples, Samples]:
        """Samples to train on and to validate on."""
        if settings.validation_fraction == 0:
            raise ValueError(
                "early_stopping needs rows to validate on, but validation_fraction is 0: make it larger, or pass X_val "
                "and y_val to fit."
            )
        parts = train_test_split(
            *(array for array in samples if array is not None),
            random_state=random_state,
            test_size=settings.validation_fraction,
            stratify=self._stratify(samples.targets, fitted),
        )
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        weights = parts[4:] or (None, None)
        if weights[1] is not None:
            some_weight(weights[1])
        return Samples(parts[0], parts[2], weights[0]), Samples(parts[1], parts[3], weights[1])

    @contextmanager
    def _outcome(self, fit: Fit, listeners: list[Listener], max_iter: int | None) -> Iterator[None]:
        """Say how a training has ended."""
        try:
            yield
            if max_iter is not None and not fit.stopped:
                warn(
                    f"Stochastic Optimizer: Maximum iterations ({max_iter}) reached and the optimization hasn't "
                    "converged yet.",
                    ConvergenceWarning,
                )
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
        except NonFiniteError as error:
            if not any(listener.survives(fit) for listener in listeners):
                raise
            warn(f"Training stops at its best parameters so far. {error}", ConvergenceWarning)
        if max_iter is not None:
            fit.n_epochs_of_fit = len(fit.loss_curve)
        for listener in listeners:
            listener.finished(fit)

    def _remedy(self, fit: Fit) -> str:
        """What to do where training diverges."""
        large = "X and y" if LOSSES[fit.network.loss].threshold is None else "X"
        return (
            f"The input data may contain large values and need to be preprocessed. Scale {large}, for example with "
            "StandardScaler or to the range 0 to 1, or use a smaller learning_rate_init."
        )

    # -- predictions --

    def _rows(self, X: Any, fitted: Fitted, finite: bool = True) -> Any:
        """X as the engine reads it, with the columns of the fit; values that are not finite pass without ``finite``."""
        if fitted.feature_names is None and is_readable(X, finite) and X.shape[1] == fitted.n_features:
            return X
        return rows_like_first(X, self.dtype, self._view(fitted))

    def _predict(self, X: Any) -> tuple[NDArray[Any], Fitted]:
        """Outputs of the network for the user's X, of shape (n_rows, n_outputs), and what has been fitted."""
        fitted = self._fitted
        if fitted is None:
            check_is_fitted(self)
            raise AssertionError("unreachable")
        if self.n_threads is not None and not (type(self.n_threads) is int and 1 <= self.n_threads <= MAX_THREADS):
            self._validate_params()
        rows, fit = self._rows(X, fitted, finite=False), fitted.fit
        network = fit.network
        outputs = np.empty((rows.shape[0], network.n_units[-1]), network.dtype)
        if not network.predict(fit.params, rows, outputs, self.n_threads or prediction_threads(network, rows)):
            self._rows(X, fitted)
            # Its own values are finite: they are too large for the parameters' dtype.
            raise ValueError(f"Input X contains infinity or a value too large for {fit.params.dtype!r}.")
        return outputs, fitted
