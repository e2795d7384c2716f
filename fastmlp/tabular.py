"""TabularClassifier and TabularRegressor: from a table as it is to a prediction, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array

from fastmlp.layers import quantiles
from fastmlp.tabular_base import BaseTabular, FittedTable, Targets, checked_targets
from fastmlp.targets import with_class_weights


class TabularClassifier(ClassifierMixin, BaseTabular):  # type: ignore[misc]  # scikit-learn has no types
    """Classifier of tables: columns as they come, an ensemble of small networks, calibrated probabilities.

    Parameters
    ----------
    preset : {"default", "accurate"}, default="default"
        "default" trains three networks of three layers of 128 units; "accurate" five of 192, which make fewer errors
        and take longer (how many and how long: see the guide on tables).
    n_members : int or None, default=None
        Networks whose predictions are averaged; None for those of the preset.
    max_time : float or None, default=None
        Seconds after which training ends, counted from the beginning of `fit`, preparation included.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        "from_dtype" or None: columns of text, categories and booleans; names, numbers or a mask add others to these.
        In scikit-learn's HistGradientBoosting None means no column, and a list names all of them.
    scoring : str, callable or None, default=None
        Score of the validation rows that decides which epoch is kept: a scorer or its name; None for the accuracy, or
        for several labels the negative loss.
    class_weight : dict, list of dict, "balanced" or None, default=None
        Factors of the sample weights by class; for several labels a dict for each.
    verbose : bool, int or "progress", default=False
        Whether to print the epochs of the first member; "progress" for a progress bar, which needs tqdm.
    random_state : int, RandomState instance or None, default=None
        Source of weights, order of the rows and validation rows.
    n_threads : int or None, default=None
        None: all that this process may use. The result is the same.

    Attributes
    ----------
    classes_ : ndarray
        Labels of the classes; numbers of the labels where y had a column for each.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str
        Where X has names of columns.
    target_name_ : str
        Of y, where it has one.
    categories_ : dict
        Of each column of categories.
    n_outputs_, n_members_ : int
        Number of outputs, and of networks that have been trained.
    n_iter_, best_epoch_ : int
        Epochs of the first network, and which of them it keeps.
    loss_curve_, validation_scores_ : list of float
        Of the first network, epoch by epoch.
    best_validation_score_ : float
        The highest of the scores. Medians and categories are those of all rows of X; rows given as `X_val`
        have no part in them.

    See Also
    --------
    TabularRegressor : For values.
    MLPClassifier : For arrays of numbers.

    Examples
    --------
    >>> import pandas
    >>> from fastmlp import TabularClassifier
    >>> X = pandas.DataFrame({"size": [1.0, 2.0, None, 4.0] * 10, "colour": ["red", "red", "blue", "blue"] * 10})
    >>> y = ["small", "small", "large", "large"] * 10
    >>> TabularClassifier(random_state=0).fit(X, y).predict(X[:4])
    array(['small', 'small', 'large', 'large'], dtype='<U5')
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = BaseTabular._parameter_constraints | {
        "class_weight": [dict, list, StrOptions({"balanced"}), None]
    }

    def __init__(
        self,
        preset: str = "default",
        n_members: int | None = None,
        max_time: float | None = None,
        categorical_features: str | ArrayLike | None = "from_dtype",
        scoring: str | Callable[..., float] | None = None,
        class_weight: dict[Any, float] | list[dict[Any, float]] | str | None = None,
        verbose: bool | int | str = False,
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.preset, self.n_members, self.max_time = preset, n_members, max_time
        self.categorical_features, self.scoring, self.class_weight = categorical_features, scoring, class_weight
        self.verbose, self.random_state, self.n_threads = verbose, random_state, n_threads

    @property
    def classes_(self) -> NDArray[Any]:
        """Labels of the classes."""
        classes = self._require_fitted().classes
        assert classes is not None
        return classes

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most likely class of each row, or 0 and 1 for each label.

        Parameters
        ----------
        X : data frame or array-like of shape (n_rows, n_columns)
            With the columns of the fit, in any order where they have names.

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_labels)
            Labels.
        """
        outputs, fitted = self._outputs(X)
        assert fitted.classes is not None
        if fitted.loss == "binary_log_loss":
            return (outputs > 0.5).astype(np.int64)
        predicted: NDArray[Any] = fitted.classes[outputs.argmax(axis=1)]
        return predicted

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class.

        Parameters
        ----------
        X : data frame or array-like of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Probabilities.
        """
        outputs, fitted = self._outputs(X)
        return outputs / outputs.sum(axis=1, keepdims=True) if fitted.loss == "log_loss" else outputs

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : data frame or array-like of shape (n_rows, n_columns)
            As for `predict`.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Logarithms.
        """
        logarithms: NDArray[np.float64] = np.log(self.predict_proba(X))
        return logarithms

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _understand(self, y: Any, fitted: FittedTable | None = None) -> Targets:
        y = checked_targets(y, self, None)
        check_classification_targets(y)
        nothing = np.zeros(0)
        if y.ndim == 2:
            y = check_array(y, dtype="numeric", estimator=self, input_name="y")
            if not type_of_target(y).startswith("multilabel"):
                raise ValueError("y of several columns must hold 0 and 1: a column for each label")
            n_labels = y.shape[1] if fitted is None else fitted.n_units[-1]
            if y.shape[1] != n_labels:
                raise ValueError(f"y has {y.shape[1]} columns, fit had {n_labels}")
            values = np.ascontiguousarray(y != 0).view(np.uint8)
            return Targets(values, "binary_log_loss", n_labels, np.arange(n_labels), nothing, nothing, is_single=False)
        classes = np.unique(y) if fitted is None or fitted.classes is None else fitted.classes
        if len(classes) < 2:
            raise ValueError(
                f"Classifier can't train when only one class is present: y holds {classes.tolist()[0]!r} alone."
            )
        numbers = np.searchsorted(classes, y).astype(np.int64).clip(max=len(classes) - 1)
        if (classes[numbers] != y).any():
            raise ValueError(f"y holds classes that were not in fit, whose were {classes}")
        return Targets(numbers, "log_loss", len(classes), classes, nothing, nothing, is_single=True)

    def _weigh(self, weights: NDArray[np.float64] | None, targets: Targets) -> NDArray[np.float64] | None:
        assert targets.classes is not None
        return with_class_weights(weights, self.class_weight, targets.values, targets.classes)

    def _labels(self, targets: NDArray[Any], fitted: FittedTable) -> NDArray[Any]:
        assert fitted.classes is not None
        return fitted.classes[targets] if fitted.is_single else targets


class TabularRegressor(RegressorMixin, BaseTabular):  # type: ignore[misc]  # scikit-learn has no types
    """Regressor of tables: columns as they come, one or several targets or quantiles, an ensemble of small networks.

    Parameters
    ----------
    preset : {"default", "accurate"}, default="default"
        "default" trains three networks of three layers of 128 units; "accurate" five of 192, which make fewer errors
        and take longer (how many and how long: see the guide on tables).
    quantile : float, list of float or None, default=None
        Quantiles to predict, in ascending order, in place of the mean.
    n_members : int or None, default=None
        Networks whose predictions are averaged; None for those of the preset.
    max_time : float or None, default=None
        Seconds after which training ends, counted from the beginning of `fit`, preparation included.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        "from_dtype" or None: columns of text, categories and booleans; names, numbers or a mask add others to these.
        In scikit-learn's HistGradientBoosting None means no column, and a list names all of them.
    scoring : str, callable or None, default=None
        Score of the validation rows that decides which epoch is kept: a scorer or its name; None for the negative loss.
    verbose : bool, int or "progress", default=False
        Whether to print the epochs of the first member; "progress" for a progress bar, which needs tqdm.
    random_state : int, RandomState instance or None, default=None
        Source of weights, order of the rows and validation rows.
    n_threads : int or None, default=None
        None: all that this process may use. The result is the same.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str
        Where X has names of columns.
    target_name_ : str
        Of y, where it has one.
    categories_ : dict
        Of each column of categories.
    n_outputs_, n_members_ : int
        Number of outputs, and of networks that have been trained.
    n_iter_, best_epoch_ : int
        Epochs of the first network, and which of them it keeps.
    loss_curve_, validation_scores_ : list of float
        Of the first network, epoch by epoch.
    best_validation_score_ : float
        The highest of the scores. Medians, categories and scale of y are those of all rows of X; rows given as `X_val`
        have no part in them.

    See Also
    --------
    TabularClassifier : For labels.
    MLPRegressor : For arrays of numbers.

    Examples
    --------
    >>> import pandas
    >>> from fastmlp import TabularRegressor
    >>> X = pandas.DataFrame({"size": [1.0, 2.0, None, 4.0] * 10, "colour": ["red", "red", "blue", "blue"] * 10})
    >>> y = [10.0, 20.0, 30.0, 40.0] * 10
    >>> TabularRegressor(random_state=0).fit(X, y).predict(X[:4]).shape
    (4,)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = BaseTabular._parameter_constraints | {
        "quantile": [None, Interval(Real, 0, 1, closed="neither"), "array-like"]
    }

    def __init__(
        self,
        preset: str = "default",
        quantile: float | Sequence[float] | None = None,
        n_members: int | None = None,
        max_time: float | None = None,
        categorical_features: str | ArrayLike | None = "from_dtype",
        scoring: str | Callable[..., float] | None = None,
        verbose: bool | int | str = False,
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.preset, self.quantile, self.n_members, self.max_time = preset, quantile, n_members, max_time
        self.categorical_features, self.scoring = categorical_features, scoring
        self.verbose, self.random_state, self.n_threads = verbose, random_state, n_threads

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted values, or quantiles.

        Parameters
        ----------
        X : data frame or array-like of shape (n_rows, n_columns)
            With the columns of the fit, in any order where they have names.

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_outputs)
            Values.
        """
        outputs, fitted = self._outputs(X)
        values = outputs * fitted.scale + fitted.center
        if fitted.loss == "quantile":
            values.sort(axis=1)  # quantiles that cross
        return values[:, 0] if fitted.is_single and values.shape[1] == 1 else values

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return R², where there are several targets or quantiles the mean of theirs.

        Parameters
        ----------
        X : data frame or array-like of shape (n_rows, n_columns)
            As for `predict`.
        y : array-like
            As for `fit`.
        sample_weight : array-like of shape (n_rows,), default=None
            Not negative; None for ones.

        Returns
        -------
        float
            The score.
        """
        if self.quantile is not None:
            y = np.repeat(np.reshape(y, (-1, 1)), np.size(self.quantile), axis=1)
        return float(super().score(X, y, sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _understand(self, y: Any, fitted: FittedTable | None = None) -> Targets:
        y = checked_targets(y, self, "numeric").astype(np.float64)
        values, loss = y.reshape(len(y), -1), "squared_error"
        if self.quantile is not None:
            if values.shape[1] > 1:
                raise ValueError(f"quantile takes one target, y has {values.shape[1]} columns: fit one for each.")
            values, loss = np.repeat(values, len(quantiles(self.quantile)), axis=1), "quantile"
        if fitted is not None and values.shape[1] != fitted.n_units[-1]:
            raise ValueError(f"y has {values.shape[1]} columns, fit had {fitted.n_units[-1]}")
        with np.errstate(over="ignore"):
            center, scale = values.mean(axis=0), values.std(axis=0)
        if not np.isfinite(scale).all():
            raise ValueError("y holds values whose variance is too large for float64: divide y by a large number.")
        if fitted is not None:
            center, scale = fitted.center, fitted.scale
        scale = np.where(scale > 0, scale, 1.0)
        standard = np.ascontiguousarray((values - center) / scale, np.float32)
        return Targets(standard, loss, values.shape[1], None, center, scale, is_single=y.ndim == 1)

    def _labels(self, targets: NDArray[Any], fitted: FittedTable) -> NDArray[Any]:
        values = targets * fitted.scale + fitted.center
        return values[:, 0] if fitted.is_single else values
