"""What the estimators share: scikit-learn's contract, the fitted attributes, predictions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from operator import is_
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from fastmlp import estimator_file
from fastmlp._core import LOSSES, MAX_THREADS
from fastmlp.call import Asked, Call
from fastmlp.callbacks import CallbackSupportMixin
from fastmlp.documentation import PAGE_OF_CLASS
from fastmlp.estimator_state import CURVES, migrate
from fastmlp.fitted import Fitted
from fastmlp.fitting import Fit
from fastmlp.initialization import ParameterViews
from fastmlp.rows import is_readable, rows_like_first
from fastmlp.suggestions import suggestion
from fastmlp.targets import check_weights
from fastmlp.threads import prediction_threads


def _fitted_attribute(read: Callable[[Fitted], Any], documentation: str) -> Any:
    """A read-only attribute that an unfitted estimator does not have."""

    def get(self: BaseMLP) -> Any:
        return read(self._require_fitted())

    return property(get, doc=documentation)


class BaseMLP(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A multi-layer perceptron and its training; what targets mean and what is predicted is up to the subclasses."""

    _doc_link_module = "fastmlp"
    _doc_link_template = PAGE_OF_CLASS
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
    best_epoch_ = _fitted_attribute(
        lambda fitted: fitted.fit.best_epoch or None,
        "Number of the epoch, from 1, with the best validation score or else loss.",
    )
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
        callbacks: Iterable[Callable[..., Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_seconds: float = 0.0,
    ) -> Self:
        """Train until the loss, or the validation score, stops improving, or for `max_iter` epochs.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)
            Read in place, without copying, if float32, float64 or uint8 with contiguous rows, or CSR of these.
            `early_stopping` without X_val copies the rows that it keeps back to validate on.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs), or 0/1 sparse matrix
            Labels of a classifier, 0/1 columns for several labels; values of a regressor; class numbers from 0, one-hot
            rows, probabilities, 0/1 labels or values of a `Trainer`, as its loss takes them.
        sample_weight : array-like of shape (n_rows,), default=None
            Not negative; None for ones.
        X_val, y_val, sample_weight_val : like X, y and sample_weight, default=None
            Rows to validate on. `early_stopping` then keeps none of X back; without it they are only monitored. In a
            ``Pipeline(..., transform_input=["X_val"])`` X_val is transformed as X is.
        callbacks : iterable of callable, default=()
            Functions that are called after each epoch, with those of the keyword arguments ``estimator``, ``epoch``,
            ``losses``, ``scores``, ``learning_rate``, ``gradient_norm`` (None without `clip_norm`) and
            ``samples_per_second`` that they name. One that returns True ends the training.
        checkpoint : str or path-like, default=None
            File that the whole state is written to after an epoch. Where it is there already, and belongs to a fit
            with these hyper-parameters and data, that fit goes on, and ends with the bits of one that was never
            interrupted; `n_threads`, `verbose` and `max_time` may be others. Not with ``solver="lbfgs"`` or
            `n_restarts`.
        checkpoint_seconds : float, default=0.0
            Least time between two writings of the checkpoint.

        Returns
        -------
        self : estimator
            The same, fitted.

        Raises
        ------
        ValueError
            If a hyper-parameter or an input is invalid, if the checkpoint belongs to another fit, or if the parameters
            have become infinite or NaN. The estimator is left as it was.
        ModelFileError
            If the checkpoint is something else, or damaged. The estimator is left as it was.
        MemoryError
            If the network does not fit in the memory of this machine. The estimator is left as it was.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` epochs were not enough, or if the loss diverges.
        UserWarning
            If training was interrupted from the keyboard: the steps so far are kept.
        """
        held_out = (X_val, y_val, sample_weight_val)
        if callable(callbacks):
            raise TypeError(f"callbacks must be a list: write callbacks=[{getattr(callbacks, '__name__', callbacks)}]")
        asked = Asked(tuple(callbacks), checkpoint, checkpoint_seconds)
        with Call(self, (X, y, sample_weight), held_out, asked=asked) as (fit, n_epochs, listeners):
            fit.run(n_epochs, listeners)
        return self

    def initialize(self, X: Any, y: Any) -> Self:
        """Draw the first weights without training, as `fit` would for these data: `coefs_` may then be set.

        Parameters
        ----------
        X, y
            As for `fit`, which goes on from these weights with ``warm_start=True``, as `partial_fit` does always.

        Returns
        -------
        self : estimator
            The same, fitted.
        """
        with Call(self, (X, y, None), asked=Asked(trains=False)):
            pass
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

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted network as an ONNX file, which runtimes on many systems and languages read.

        It has one input, ``X`` of shape (n_rows, n_features) in the dtype of the parameters. Its outputs are those of
        `predict`: ``label`` of a classifier, with ``probabilities`` or, with the losses of margins, ``scores`` beside
        it; ``variable`` of a regressor; ``outputs`` of a `Trainer`. A network of bfloat16 becomes one of float32,
        without the rounding of its factors.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        ImportError
            If onnx is not installed: ``pip install "fastmlp[onnx]"``.
        NotFittedError
            If the estimator has not been fitted.
        ValueError
            If a parameter is not finite, or classes are of kinds that ONNX does not know.
        """
        from fastmlp.export import onnx_file

        onnx_file.write(self, path)

    def to_c(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted network as a C99 header: constants, one function, no memory but its own, no dependencies.

        The function is ``NAME_predict``, after the file's name, and is described in the header. It computes in float32,
        in the engine's order: where the processor has a fused multiply-add, the bits are those of a float32 `predict`.
        A network of bfloat16 becomes one of float32, without the rounding of its factors.

        Parameters
        ----------
        path : str or path-like
            Its last part without the suffix becomes the beginning of all names.

        Raises
        ------
        NotFittedError
            If the estimator has not been fitted.
        ValueError
            If a parameter is not finite in float32, or classes are of kinds that C does not know.
        """
        from fastmlp.export import c_header

        c_header.write(self, path)

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
        if "_params" in state:  # of version 0.1.0, which had fewer hyper-parameters
            defaults = type(self)().get_params()
            state = {name: state.get(name, value) for name, value in defaults.items()} | {"_fitted": migrate(state)}
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

    def _validate_params(self) -> None:
        try:
            super()._validate_params()
        except ValueError as error:
            rate = getattr(self, "learning_rate", None)
            if isinstance(rate, (int, float)) and not isinstance(rate, bool) and rate > 0:
                raise type(error)(f"{error} Did you mean learning_rate_init={rate!r}?") from None
            raise type(error)(f"{error}{suggestion(self, str(error))}") from None

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
        for name in CURVES:
            if state[name] is not None:
                state[name] = state[name][: state["n_epochs_of_fit"]]
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
            fitted = self._require_fitted()  # another thread has fitted it since then
        if self.n_threads is not None and not (type(self.n_threads) is int and 1 <= self.n_threads <= MAX_THREADS):
            self._validate_params()
        rows, fit = self._rows(X, fitted, finite=False), fitted.fit
        network = fit.network
        outputs = np.empty((rows.shape[0], network.n_units[-1]), network.dtype)
        if not fit.predict(rows, outputs, self.n_threads or prediction_threads(network, rows)):
            self._rows(X, fitted)
            # Its own values are finite: they are too large for the parameters' dtype.
            raise ValueError(f"Input X contains infinity or a value too large for {fit.params.dtype!r}.")
        return outputs, fitted
