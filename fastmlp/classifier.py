"""MLPClassifier: scikit-learn's, parameter for parameter, and what users missed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import check_array, column_or_1d

from fastmlp._core import LOSSES
from fastmlp.base import BaseMLP
from fastmlp.call import Call
from fastmlp.fitted import Fitted
from fastmlp.hyperparameters import MARGIN_LOSSES, constraints
from fastmlp.rows import is_sound
from fastmlp.targets import with_class_weights

ClassWeight = Mapping[Any, float] | list[Mapping[Any, float]] | str | None


@dataclass(frozen=True)
class Labels:
    """What the classes are.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        In sorted order; numbers from 0 for several labels.
    y_type : {"binary", "multiclass", "multilabel-indicator"}
        scikit-learn's word.
    sparse_output : bool
        Whether several labels came, and are predicted, as a sparse matrix.
    """

    classes: NDArray[Any]
    y_type: str
    sparse_output: bool


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn has no types
    """Multi-layer perceptron classifier: binary, multi-class or multi-label.

    Names, defaults, formulas and random numbers are those of scikit-learn's ``MLPClassifier``.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units of each hidden layer; ``()`` for a linear model.
    activation : str or list of str, default="relu"
        One of "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu", "mish".
        Of the hidden layers; or a list, one for each of them.
    solver : {"lbfgs", "sgd", "adam", "rmsprop", "adagrad"}, default="adam"
        "lbfgs" minimises the loss of all rows at once, in float64. It refuses `dropout`, `input_noise`, `weight_decay`,
        `clip_norm`, `l1_ratio`, `warmup`, schedules that change in each step, and checkpoints. The others take batches.
    alpha : float, default=0.0001
        Strength of the L2 penalty; biases are exempt. It is divided by the number of rows in the batch, or by the sum
        of their sample weights.
    batch_size : int or "auto", default="auto"
        "auto" is ``min(200, n_rows)``.
    learning_rate : str or callable, default="constant"
        One of "constant", "invscaling", "adaptive", "cosine", "one_cycle", "linear", "coslog". Schedule of the learning
        rate. With ``solver="sgd"`` alone: "invscaling", ``learning_rate_init / (t_ + 1) ** power_t``, and "adaptive",
        divided by 5 where the loss, or the validation score, has stopped improving. The others change in each step and
        reach their end after `max_iter` epochs: "cosine" and "linear" fall to zero, "one_cycle" rises and falls,
        "coslog" goes through four waves. A function of the progress, from 0 to 1, returns a factor.
    learning_rate_init : float, default=0.001
        The learning rate. Schedules multiply it by factors of at most 1; a function of yours may return larger ones.
    power_t : float, default=0.5
        Exponent of the schedule "invscaling".
    max_iter : int, default=200
        Largest number of epochs of one call of `fit`, or of iterations of "lbfgs".
    shuffle : bool, default=True
        Whether each epoch uses the rows in another random order.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, of the validation rows and of the order of the rows.
    tol : float, default=0.0001
        An epoch whose loss, or validation score, is not better than the best by this much has not improved. With
        "lbfgs" the largest component of the gradient at the end.
    verbose : bool, int or "progress", default=False
        Whether to print the loss of each epoch; "progress" for a progress bar, which needs tqdm.
    warm_start : bool, default=False
        Whether `fit` goes on from the fitted parameters and the optimizer's state.
    momentum : float, default=0.9
        Share of the last step that is added to the next, from 0 to 1; for ``solver="sgd"``.
    nesterovs_momentum : bool, default=True
        Whether the momentum is Nesterov's.
    early_stopping : bool, default=False
        Whether to stop where the validation score has stopped improving, and to restore the best parameters. Ignored by
        "lbfgs".
    validation_fraction : float, default=0.1
        Share of the rows that `early_stopping` keeps out of the training, where `fit` is given none to validate on. In
        a binary classification each class gives the same share of its rows.
    beta_1 : float, default=0.9
        Decay rate of adam's mean of the gradient, in [0, 1).
    beta_2 : float, default=0.999
        Decay rate of the mean of the squared gradient, of adam and rmsprop, in [0, 1).
    epsilon : float, default=1e-08
        Keeps the denominator of adam, rmsprop and adagrad from zero.
    n_iter_no_change : int, default=10
        Training stops after more than this many epochs in a row that have not improved; ``np.inf`` for never.
    max_fun : int, default=15000
        Largest number of evaluations of the loss with "lbfgs".
    loss : {"log_loss", "hinge", "squared_hinge", "perceptron"}, default="log_loss"
        The log loss, of softmax or of independent labels; or a loss of margins, one against the rest, which gives
        `decision_function` in place of probabilities.
    label_smoothing : float, default=0.0
        Share of each target of the log loss that is spread evenly over the classes.
    l1_ratio : float, default=0.0
        Part of the penalty that is L1: ``alpha * ((1 - l1_ratio) / 2 * sum(W**2) + l1_ratio * sum(abs(W)))``.
    weight_decay : float, default=0.0
        Decay apart from the gradient: each step multiplies the weights by ``1 - learning rate * weight_decay``; biases
        are exempt. With adam this is AdamW.
    clip_norm : float | None, default=None
        Longer gradients, of all parameters, are shortened to this norm.
    dropout : float or list of float, default=0.0
        Share of the units of each hidden layer that are zero in a step, drawn anew for each row; a list begins with the
        inputs, and has one number more than there are hidden layers.
    input_noise : float, default=0.0
        Standard deviation of the normal noise that each step adds to the inputs.
    warmup : float, default=0.0
        Share of the steps in which the learning rate rises from zero to where the schedule begins.
    weight_init : str, default="auto"
        One of "auto", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal", "orthogonal". How
        the first weights are drawn; "auto" is scikit-learn's: uniform after Glorot and Bengio, the biases too, which
        are zero with the others.
    n_restarts : int, default=0
        Number of further trainings, from other random weights; the best is kept, by its validation score or else its
        loss.
    max_time : float | None, default=None
        Seconds after which one call of `fit` ends, in the middle of an epoch too.
    target_loss : float | None, default=None
        Training ends with the first epoch whose loss is not above it.
    class_weight : dict, list of dict, "balanced" or None, default=None
        Factors of the sample weights by class; "balanced" is ``n_rows / (n_classes * n_rows_of_the_class)``. For
        several labels a list with a dict for each label.
    scoring : str, callable or None, default=None
        The validation score: a scorer or its name, "loss" for the negative loss, None for the accuracy or R².
    n_threads : int or None, default=None
        None: as many as this process may use and a step of this network has work for. The result does not depend on it.
    dtype : {"float32", "float64", "bfloat16"} or None, default=None
        What to compute in. None: float32 where X is float32 or uint8, else float64. X is not converted for it.
        "bfloat16" rounds the factors of matrix products to eight bits and keeps all else in float32: on a CPU with
        AVX-512 BF16 (`show_config` tells) faster than float32, from layers of 64 units and batches of 32 rows; slower
        than float32 in batches of a few rows, and on other CPUs, of which those with FMA compute the same bits. The
        solver "lbfgs" computes in float64 whatever this is.

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
    best_epoch_ : int or None
        Number of the epoch, from 1, with the best validation score, or else the lowest loss.
    n_iter_ : int
        Number of epochs or iterations of the last call.
    t_ : int
        Number of rows used in all calls, each epoch again; 0 with "lbfgs".
    n_features_in_, n_outputs_, n_layers_ : int
        Number of inputs, of outputs, and of layers of units, inputs and outputs included.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Where X has string names of columns.
    out_activation_ : str
        Function of the outputs.

    See Also
    --------
    TabularClassifier : For tables with text, categories and gaps.
    Trainer : The bare network, over class numbers or one-hot rows.
    from_sklearn : Takes a network that scikit-learn has trained.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> MLPClassifier((32,), solver="lbfgs", random_state=0).fit(X, y).score(X, y) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = constraints("MLPClassifier")

    class_weight: ClassWeight

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str | Callable[[float], float] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 0.0001,
        verbose: bool | int | str = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-08,
        n_iter_no_change: int | float = 10,
        max_fun: int = 15000,
        loss: str = "log_loss",
        label_smoothing: float = 0.0,
        l1_ratio: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        dropout: float | Sequence[float] = 0.0,
        input_noise: float = 0.0,
        warmup: float = 0.0,
        weight_init: str = "auto",
        n_restarts: int = 0,
        max_time: float | None = None,
        target_loss: float | None = None,
        class_weight: ClassWeight = None,
        scoring: str | Callable[..., float] | None = None,
        n_threads: int | None = None,
        dtype: str | type | None = None,
    ) -> None:
        self._set_parameters(locals())

    @available_if(BaseMLP._has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch over the given rows, going on from the parameters and the optimizer's state so far.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`; y need not hold every class.
        classes : array-like of shape (n_classes,), default=None
            All classes; the first call needs them.
        X_val, y_val, sample_weight_val
            As for `fit`: rows to monitor.

        Returns
        -------
        self : MLPClassifier
            The same, trained further.
        """
        held_out = (X_val, y_val, sample_weight_val)
        with Call(self, (X, y, sample_weight), held_out, classes, resumes=True) as (fit, n_epochs, listeners):
            fit.run(n_epochs, listeners)
        return self

    @property
    def classes_(self) -> NDArray[Any]:
        """Class labels; numbers from 0 for several labels."""
        classes: NDArray[Any] = self._require_fitted().labels.classes
        return classes

    def predict(self, X: Any) -> Any:
        """Return the most probable classes, or the labels whose probability is above one half.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,), or of shape (n_rows, n_labels) and sparse where the y of the fit was
            Labels.
        """
        outputs, fitted = self._predict(X)
        labels: Labels = fitted.labels
        if labels.y_type == "multiclass":
            return labels.classes.take(outputs.argmax(axis=1))
        threshold = LOSSES[fitted.fit.network.loss].threshold
        if labels.y_type == "binary":
            return labels.classes.take(outputs[:, 0] > threshold, mode="clip")  # there may be but one class
        return _binarizer(labels).inverse_transform(outputs, threshold=threshold)

    def _has_probabilities(self) -> bool:
        if self._trained_loss() in MARGIN_LOSSES:
            raise AttributeError(
                f"The loss {self._trained_loss()!r} gives no probabilities: use decision_function, or loss='log_loss'."
            )
        return True

    def _has_margins(self) -> bool:
        if self._trained_loss() not in MARGIN_LOSSES:
            raise AttributeError(
                f"The loss {self._trained_loss()!r} gives probabilities: use predict_proba, or loss='hinge'."
            )
        return True

    def _trained_loss(self) -> str:
        return self._fitted.fit.network.loss if self._fitted else self.loss

    @available_if(_has_margins)  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return the margin of each class or label against the rest, with the losses of margins alone.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_classes), or (n_rows,) with two classes, in the dtype of the parameters
            Margins.
        """
        outputs, _ = self._predict(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class, in the order of `classes_`; of each label where there are several.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_classes), in the dtype of the parameters
            Probabilities.
        """
        outputs, _ = self._predict(X)
        return outputs if outputs.shape[1] > 1 else np.hstack([1 - outputs, outputs])

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)
            As for `predict`.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Logarithms.
        """
        probabilities = self.predict_proba(X)
        logarithms: NDArray[Any] = np.log(probabilities, out=probabilities)
        return logarithms

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _understand(self, y: Any, classes: Any) -> tuple[NDArray[Any], int, str, Labels]:
        y = self._check_labels(y)
        # Of many labels only their number counts, which two rows tell; the whole matrix takes longer than an epoch.
        kind = type_of_target(y, input_name="y")
        if kind.startswith("continuous"):
            raise ValueError(
                f"Unknown label type: {kind}. A classifier learns classes, and y holds numbers that are not whole: use "
                "MLPRegressor, or bin them."
            )
        is_multilabel = kind.startswith("multilabel")
        binarizer = LabelBinarizer().fit(y[:2] if is_multilabel else y if classes is None else classes)
        found = binarizer.classes_ if classes is None else unique_labels(classes)
        labels = Labels(found, binarizer.y_type_, bool(binarizer.sparse_input_))
        n_outputs = 1 if labels.y_type == "binary" else len(found)
        loss = self.loss
        if loss == "log_loss" and labels.y_type != "multiclass":
            loss = "binary_log_loss"
        return _numbers(y, labels), n_outputs, loss, labels

    def _check_call(self, before: Fitted | None, settings: Any, classes: Any) -> None:
        super()._check_call(before, settings, classes)
        if before is None and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if before is not None and classes is not None:
            known = before.labels.classes
            if not np.array_equal(known, unique_labels(classes)):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {known!r}"
                )
        if settings.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which does not see all rows. Use "
                "compute_class_weight('balanced', classes=classes, y=y) of sklearn.utils.class_weight, and pass the "
                "result as a dict."
            )

    def _encode(self, y: Any, fitted: Fitted, exact: bool = False) -> NDArray[Any]:
        y = self._check_labels(y)
        classes = fitted.labels.classes
        if exact and set(found := unique_labels(y)) != set(classes):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {classes}, `y` has {found}"
            )
        return _numbers(y, fitted.labels)

    def _decode(self, targets: NDArray[Any], fitted: Fitted) -> NDArray[Any]:
        decoded: NDArray[Any] = fitted.labels.classes[targets] if targets.ndim == 1 else targets
        return decoded

    def _check_labels(self, y: Any) -> Any:
        if y is None:
            raise ValueError("This MLPClassifier estimator requires y to be passed, but the target y is None.")
        if not is_sound(y):
            y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, estimator=self, input_name="y")
        return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _stratify(self, targets: NDArray[Any], fitted: Fitted) -> NDArray[Any] | None:
        # scikit-learn stratifies these rows only, under these names.
        return np.where(targets, "True", "False") if fitted.labels.y_type == "binary" else None

    def _weigh(self, sample_weight: Any, rows: Any, targets: NDArray[Any], labels: Any) -> NDArray[np.float64] | None:
        weights = super()._weigh(sample_weight, rows, targets, labels)
        return with_class_weights(weights, self.class_weight, targets, labels.classes)

    def _labels_state(self, labels: Labels) -> dict[str, Any]:
        return vars(labels)

    def _labels_from(self, state: dict[str, Any]) -> Labels:
        return Labels(state["classes"], state["y_type"], state["sparse_output"])


def _binarizer(labels: Labels) -> LabelBinarizer:
    """scikit-learn's binarizer of these labels, as it would be after its fit."""
    binarizer = LabelBinarizer()
    binarizer.classes_, binarizer.y_type_, binarizer.sparse_input_ = (
        labels.classes,
        labels.y_type,
        labels.sparse_output,
    )
    return binarizer


def _numbers(y: Any, labels: Labels) -> NDArray[Any]:
    """Numbers of the classes, or an indicator matrix, of checked labels."""
    classes = labels.classes
    if labels.y_type.startswith("multilabel"):
        if y.ndim != 2 or y.shape[1] != len(classes) or not type_of_target(y).startswith("multilabel"):
            y = _binarizer(labels).transform(y)  # or it says what is wrong
        dense = y.toarray() if scipy.sparse.issparse(y) else y
        return np.ascontiguousarray(dense != 0).view(np.uint8)
    numbers: NDArray[Any] | None = None
    if y.ndim == 1:
        with suppress(TypeError):  # of labels of another kind, which have no place in the order of these
            numbers = np.searchsorted(classes, y).astype(np.int64, copy=False)
    if numbers is None or (classes.take(numbers, mode="clip") != y).any():
        raise ValueError(
            f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' has {unique_labels(y)}."
        )
    return numbers
