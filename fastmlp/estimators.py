"""The estimators: scikit-learn's MLPClassifier and MLPRegressor, parameter for parameter, and what users missed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import check_array, column_or_1d

from fastmlp.data import check_targets, some_weight
from fastmlp.mlp import BaseMLP

Weights = NDArray[np.float64] | None
ClassWeight = Mapping[Any, float] | list[Mapping[Any, float]] | str | None


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn has no types
    """Multi-layer perceptron classifier: binary, multi-class or multi-label.

    Names, defaults, formulas and random numbers are those of scikit-learn's ``MLPClassifier``.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units of each hidden layer; ``()`` for a linear model.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Of the hidden layers.
    solver : {"lbfgs", "sgd", "adam"}, default="adam"
        "lbfgs" minimises the loss of all rows at once, in float64; the others take batches.
    alpha : float, default=0.0001
        Strength of the L2 penalty; biases are exempt. It is divided by the sum of the weights of the batch.
    batch_size : int or "auto", default="auto"
        "auto" is ``min(200, n_rows)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Schedule of the learning rate with ``solver="sgd"``: constant; ``learning_rate_init / (t_ + 1) ** power_t``;
        divided by 5 where the loss, or the validation score, has stopped improving.
    learning_rate_init : float, default=0.001
    power_t : float, default=0.5
        Exponent of the schedule "invscaling".
    max_iter : int, default=200
        Largest number of epochs of one call of `fit`, or of iterations of "lbfgs".
    shuffle : bool, default=True
        Whether each epoch uses the rows in another random order.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, of the validation rows and of the order of the rows.
    tol : float, default=1e-4
        An epoch whose loss, or validation score, is not better than the best by this much has not improved. With
        "lbfgs" the largest component of the gradient at the end.
    verbose : bool, int or "progress", default=False
        Whether to print the loss of each epoch; "progress" for a progress bar, which needs tqdm.
    warm_start : bool, default=False
        Whether `fit` goes on from the fitted parameters and the optimizer's state.
    momentum : float, default=0.9
        From 0 to 1, with ``solver="sgd"``.
    nesterovs_momentum : bool, default=True
        Whether the momentum is Nesterov's.
    early_stopping : bool, default=False
        Whether to stop where the validation score has stopped improving, and to restore the best parameters. Not with
        "lbfgs".
    validation_fraction : float, default=0.1
        Share of the rows that `early_stopping` keeps out of the training, where `fit` is given none to validate on.
        The rows of a binary classification are drawn from each class.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay rates of Adam's two moments, in [0, 1).
    epsilon : float, default=1e-8
        Keeps Adam's denominator from zero.
    n_iter_no_change : int, default=10
        Training stops after more than this many epochs in a row that have not improved.
    max_fun : int, default=15000
        Largest number of evaluations of the loss with "lbfgs".
    class_weight : dict, list of dict, "balanced" or None, default=None
        Factors of the sample weights by class; "balanced" is ``n_rows / (n_classes * n_rows_of_the_class)``. For
        several labels a list with a dict for each label.
    scoring : str, callable or None, default=None
        The validation score: a scorer or its name, "loss" for the negative loss, None for the accuracy.
    n_threads : int or None, default=None
        None: as many as this process may use and a step of this network has work for. The result is the same.
    dtype : {"float32", "float64"} or None, default=None
        What to compute in. None: float32 where X is float32 or uint8, else float64. X is not converted for it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; numbers from 0 for several labels.
    coefs_ : list of ndarray of shape (fan_in, fan_out)
        Weight matrices: views into one vector. Assigning to the list or to an item of it copies the values.
    intercepts_ : list of ndarray of shape (fan_out,)
        Bias vectors, likewise.
    loss_ : float
        Mean loss of the last epoch, penalty included.
    loss_curve_ : list of float
        The same of each epoch. Pickles and files leave out what `partial_fit` has added, which would make them grow.
    best_loss_ : float or None
        The lowest of them; None with `early_stopping`.
    validation_scores_, validation_loss_curve_ : list of float or None
        Score and loss (without penalty) of the validation rows after each epoch, where there are any.
    best_validation_score_ : float or None
        The highest of the scores.
    n_iter_ : int
        Number of epochs or iterations of the last call.
    t_ : int
        Number of rows used in all calls, each epoch again; 0 with "lbfgs".
    n_features_in_, n_outputs_, n_layers_ : int
        Number of inputs, of outputs, and of layers of units, inputs and outputs included.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Where X has string names of columns.
    out_activation_ : str
        Function of the outputs.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> MLPClassifier((32,), solver="lbfgs", random_state=0).fit(X, y).score(X, y) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    loss = "log_loss"
    class_weight: ClassWeight
    classes_: NDArray[Any]
    _label_binarizer: LabelBinarizer

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int | str = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int | float = 10,
        max_fun: int = 15000,
        class_weight: ClassWeight = None,
        scoring: str | Callable[..., float] | None = None,
        n_threads: int | None = None,
        dtype: str | type | None = None,
    ) -> None:
        self._set_parameters(locals())

    @available_if(lambda estimator: estimator._has_partial_fit())  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, sample_weight: ArrayLike | None = None, classes: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch over the given rows, going on from the parameters and the optimizer's state so far.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`; y need not hold every class.
        classes : array-like of shape (n_classes,), default=None
            All classes; the first call needs them.

        Returns
        -------
        self : MLPClassifier
        """
        self._validate_params()
        fitted_classes = getattr(self, "classes_", None)
        if fitted_classes is None:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
        elif classes is not None and not np.array_equal(fitted_classes, unique_labels(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {fitted_classes!r}"
            )
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which does not see all rows. Use "
                "compute_class_weight('balanced', classes=classes, y=y) of sklearn.utils.class_weight, and pass the "
                "result as a dict."
            )
        return self._fit(X, y, sample_weight, n_epochs=1, classes=classes)

    def predict(self, X: Any) -> Any:
        """Return the most probable classes, or the labels whose probability is above one half.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,), or of shape (n_rows, n_labels) and sparse where the y of the fit was
        """
        outputs = self._predict(X)
        if self._label_binarizer.y_type_ == "multiclass":
            return self.classes_.take(outputs.argmax(axis=1))
        if self._label_binarizer.y_type_ == "binary":
            return self.classes_.take(outputs[:, 0] > 0.5, mode="clip")  # there may be but one class
        return self._label_binarizer.inverse_transform(outputs)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class, in the order of `classes_`; of each label where there are several.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_classes), in the dtype of the parameters
        """
        outputs = self._predict(X)
        return outputs if self.n_outputs_ > 1 else np.hstack([1 - outputs, outputs])

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Return the logarithms of `predict_proba`."""
        probabilities = self.predict_proba(X)
        logarithms: NDArray[Any] = np.log(probabilities, out=probabilities)
        return logarithms

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _loss(self) -> str:
        return "log_loss" if self._label_binarizer.y_type_ == "multiclass" else "binary_log_loss"

    def _check_targets(self, y: Any, first: bool, resume: bool, classes: Any) -> tuple[NDArray[Any], int]:
        y = self._check_labels(y)
        if first:
            # Of many labels only their number counts, which two rows tell; the whole matrix takes longer than an epoch.
            is_multilabel = type_of_target(y, input_name="y").startswith("multilabel")
            labels = y[:2] if is_multilabel else y if classes is None else classes
            self._label_binarizer = LabelBinarizer().fit(labels)
            self.classes_ = self._label_binarizer.classes_ if classes is None else unique_labels(classes)
        elif not resume and set(found := unique_labels(y)) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {found}"
            )
        n_outputs = 1 if self._label_binarizer.y_type_ == "binary" else len(self.classes_)
        return self._numbers(y), n_outputs

    def _check_labels(self, y: Any) -> Any:
        if y is None:
            raise ValueError("This MLPClassifier estimator requires y to be passed, but the target y is None.")
        y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, estimator=self, input_name="y")
        return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _encode(self, y: Any) -> NDArray[Any]:
        return self._numbers(self._check_labels(y))

    def _numbers(self, y: Any) -> NDArray[Any]:
        """Numbers of the classes, or an indicator matrix, of checked labels."""
        if self._label_binarizer.y_type_.startswith("multilabel"):
            if y.ndim != 2 or y.shape[1] != len(self.classes_) or not type_of_target(y).startswith("multilabel"):
                y = self._label_binarizer.transform(y)  # or it says what is wrong
            dense = y.toarray() if scipy.sparse.issparse(y) else y
            return np.ascontiguousarray(dense != 0).view(np.uint8)
        numbers: NDArray[Any] | None = None
        if y.ndim == 1:
            with suppress(TypeError):  # of labels of another kind, which have no place in the order of these
                numbers = np.searchsorted(self.classes_, y).astype(np.int64, copy=False)
        if numbers is None or (self.classes_.take(numbers, mode="clip") != y).any():
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has "
                f"{unique_labels(y)}."
            )
        return numbers

    def _decode(self, targets: NDArray[Any]) -> NDArray[Any]:
        labels: NDArray[Any] = self.classes_[targets] if targets.ndim == 1 else targets
        return labels

    def _stratify(self, targets: NDArray[Any]) -> NDArray[Any] | None:
        # scikit-learn stratifies these rows only, under these names.
        return np.where(targets, "True", "False") if self.n_outputs_ == 1 else None

    def _check_weights(self, sample_weight: Any, rows: Any, targets: NDArray[Any]) -> Weights:
        weights = super()._check_weights(sample_weight, rows, targets)
        if self.class_weight is None:
            return weights
        if isinstance(self.class_weight, list) and targets.ndim == 1:
            raise ValueError(
                "class_weight as a list is for several labels (multi-output), with a dict for each: this y takes one "
                f"dict, of classes and weights. Got {self.class_weight!r}."
            )
        if isinstance(self.class_weight, dict) and targets.ndim == 1:  # of classes that these rows may lack
            by_class = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_)[targets]
        else:
            by_class = compute_sample_weight(self.class_weight, self._decode(targets))
        by_class = check_array(by_class, ensure_2d=False, ensure_non_negative=True, input_name="class_weight")
        return some_weight(by_class if weights is None else weights * by_class)


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn has no types
    """Multi-layer perceptron regressor, of one or several outputs.

    Names, defaults, formulas and random numbers are those of scikit-learn's ``MLPRegressor``.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, default="squared_error"
        Half the square; half the Poisson deviance of an exponential output.
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units of each hidden layer; ``()`` for a linear model.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Of the hidden layers.
    solver : {"lbfgs", "sgd", "adam"}, default="adam"
        "lbfgs" minimises the loss of all rows at once, in float64; the others take batches.
    alpha : float, default=0.0001
        Strength of the L2 penalty; biases are exempt. It is divided by the sum of the weights of the batch.
    batch_size : int or "auto", default="auto"
        "auto" is ``min(200, n_rows)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Schedule of the learning rate with ``solver="sgd"``: constant; ``learning_rate_init / (t_ + 1) ** power_t``;
        divided by 5 where the loss, or the validation score, has stopped improving.
    learning_rate_init : float, default=0.001
    power_t : float, default=0.5
        Exponent of the schedule "invscaling".
    max_iter : int, default=200
        Largest number of epochs of one call of `fit`, or of iterations of "lbfgs".
    shuffle : bool, default=True
        Whether each epoch uses the rows in another random order.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, of the validation rows and of the order of the rows.
    tol : float, default=1e-4
        An epoch whose loss, or validation score, is not better than the best by this much has not improved. With
        "lbfgs" the largest component of the gradient at the end.
    verbose : bool, int or "progress", default=False
        Whether to print the loss of each epoch; "progress" for a progress bar, which needs tqdm.
    warm_start : bool, default=False
        Whether `fit` goes on from the fitted parameters and the optimizer's state.
    momentum : float, default=0.9
        From 0 to 1, with ``solver="sgd"``.
    nesterovs_momentum : bool, default=True
        Whether the momentum is Nesterov's.
    early_stopping : bool, default=False
        Whether to stop where the validation score has stopped improving, and to restore the best parameters. Not with
        "lbfgs".
    validation_fraction : float, default=0.1
        Share of the rows that `early_stopping` keeps out of the training, where `fit` is given none to validate on.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay rates of Adam's two moments, in [0, 1).
    epsilon : float, default=1e-8
        Keeps Adam's denominator from zero.
    n_iter_no_change : int, default=10
        Training stops after more than this many epochs in a row that have not improved.
    max_fun : int, default=15000
        Largest number of evaluations of the loss with "lbfgs".
    scoring : str, callable or None, default=None
        The validation score: a scorer or its name, "loss" for the negative loss, None for R².
    n_threads : int or None, default=None
        None: as many as this process may use and a step of this network has work for. The result is the same.
    dtype : {"float32", "float64"} or None, default=None
        What to compute in. None: float32 where X is float32 or uint8, else float64. X is not converted for it.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (fan_in, fan_out)
        Weight matrices: views into one vector. Assigning to the list or to an item of it copies the values.
    intercepts_ : list of ndarray of shape (fan_out,)
        Bias vectors, likewise.
    loss_ : float
        Mean loss of the last epoch, penalty included.
    loss_curve_ : list of float
        The same of each epoch. Pickles and files leave out what `partial_fit` has added, which would make them grow.
    best_loss_ : float or None
        The lowest of them; None with `early_stopping`.
    validation_scores_, validation_loss_curve_ : list of float or None
        Score and loss (without penalty) of the validation rows after each epoch, where there are any.
    best_validation_score_ : float or None
        The highest of the scores.
    n_iter_ : int
        Number of epochs or iterations of the last call.
    t_ : int
        Number of rows used in all calls, each epoch again; 0 with "lbfgs".
    n_features_in_, n_outputs_, n_layers_ : int
        Number of inputs, of outputs, and of layers of units, inputs and outputs included.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Where X has string names of columns.
    out_activation_ : str
        Function of the outputs.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastmlp import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> MLPRegressor(solver="lbfgs", max_iter=500, random_state=0).fit(20 * X, y).score(20 * X, y) > 0.5
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int | str = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int | float = 10,
        max_fun: int = 15000,
        scoring: str | Callable[..., float] | None = None,
        n_threads: int | None = None,
        dtype: str | type | None = None,
    ) -> None:
        self._set_parameters(locals())

    @available_if(lambda estimator: estimator._has_partial_fit())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one epoch over the given rows, going on from the parameters and the optimizer's state so far.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self : MLPRegressor
        """
        self._validate_params()
        return self._fit(X, y, sample_weight, n_epochs=1)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the predicted values.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_outputs), in the dtype of the parameters
        """
        return self._decode(self._predict(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _check_targets(self, y: Any, first: bool, resume: bool, classes: Any) -> tuple[NDArray[Any], int]:
        if y is not None:
            y = check_array(y, ensure_2d=False, dtype="numeric", estimator=self, input_name="y")
            y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        return check_targets(y, self.loss, None if first else self.n_outputs_, self)

    def _encode(self, y: Any) -> NDArray[Any]:
        return self._check_targets(y, False, False, None)[0]

    def _decode(self, targets: NDArray[Any]) -> NDArray[Any]:
        return targets[:, 0] if targets.shape[1] == 1 else targets
