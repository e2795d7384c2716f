"""Targets and weights as the engine reads them, and the score of outputs against them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.validation import _check_sample_weight, check_array, check_non_negative, column_or_1d

from fastmlp._core import LOSSES, Loss
from fastmlp.rows import READABLE, contiguous_rows, is_sound


def check_targets(y: Any, loss: str, n_outputs: int | None, estimator: Any) -> tuple[NDArray[Any], int]:
    """Return y as the engine reads it and the number of outputs it needs.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or (n_rows, n_outputs)
        Class numbers or values, as the loss takes them.
    loss : str
        Name in `LOSSES`.
    n_outputs : int or None
        Number of outputs that the network has; None to let y decide. Several quantiles have a single column in common.
    estimator : estimator
        Named in error messages.

    Returns
    -------
    y : ndarray
        int64 class numbers of shape (n_rows,), or values of shape (n_rows, n_outputs) and a dtype of `READABLE`.
    n_outputs : int

    Raises
    ------
    ValueError
        If y does not have the shape, the classes or the range of values that the loss and the network need.
    """
    task = LOSSES[loss]
    if y is None:
        name = type(estimator).__name__
        raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
    try:
        if not is_sound(y):
            y = check_array(y, ensure_2d=False, dtype="numeric", estimator=estimator, input_name="y")
    except ValueError as error:
        texts = [label for label in np.ravel(y).tolist() if isinstance(label, (str, bytes))]
        if task.threshold is None or not texts:
            raise
        raise ValueError(
            f"Unknown label type: text. Classes must be numbers 0, 1, 2, …: got {texts[0]!r}. MLPClassifier takes any "
            "labels."
        ) from error
    if task.exclusive and y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    if task.threshold is not None and y.ndim == 1:
        return _check_classes(y, task, n_outputs)
    Y = y.reshape(len(y), -1)
    if loss == "quantile" and n_outputs is not None and Y.shape[1] == 1 and np.size(estimator.quantile) > 1:
        Y = np.repeat(Y, n_outputs, axis=1)
    return _check_values(Y, loss, n_outputs)


def require_present(y: Any) -> None:
    """Raise ValueError where values of y are NaN, None or the NA of pandas."""
    values = np.asarray(y, dtype=object if isinstance(y, (list, tuple)) else None)
    if values.dtype.kind == "f":
        n_missing = int(np.isnan(values).sum())
    elif values.dtype.kind == "O":
        n_missing = sum(each is None or is_scalar_nan(each) or is_pandas_na(each) for each in values.ravel())
    else:
        return
    if n_missing:
        raise ValueError(f"y has {n_missing} missing {'value' if n_missing == 1 else 'values'}: drop those rows.")


def check_weights(sample_weight: Any, rows: Any) -> NDArray[np.float64] | None:
    """Return the weights of checked rows as the engine reads them; raise ValueError unless finite and not negative."""
    if sample_weight is None:
        return None
    weights: NDArray[np.float64] = _check_sample_weight(sample_weight, rows, dtype=np.float64)
    check_non_negative(weights, "`sample_weight`")
    return some_weight(weights)


def with_class_weights(
    weights: NDArray[np.float64] | None, class_weight: Any, targets: NDArray[Any], classes: NDArray[Any]
) -> NDArray[np.float64] | None:
    """Return the weights of rows times those of their classes.

    Parameters
    ----------
    weights : ndarray of shape (n_rows,) or None
        Checked; None for ones.
    class_weight : dict, list of dict, "balanced" or None
        As the user has given it.
    targets : ndarray of shape (n_rows,) or (n_rows, n_labels)
        Class numbers, or 0 and 1 for each label.
    classes : ndarray of shape (n_classes,)
        Labels of the class numbers.

    Raises
    ------
    ValueError
        If a factor is negative or not finite, all weights are zero, or `class_weight` is of another kind than y.
    """
    if class_weight is None:
        return weights
    if targets.ndim == 1 and not isinstance(class_weight, str):  # of classes that these rows may lack
        by_class = weights_of_classes(class_weight, classes)[targets]
    else:
        by_class = _checked_class_weight(compute_sample_weight(class_weight, targets))
    return some_weight(by_class if weights is None else weights * by_class)


def weights_of_classes(class_weight: Any, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the weight of each class; raise ValueError unless it is a dict of weights finite and not negative."""
    if isinstance(class_weight, list):
        raise ValueError(
            "class_weight as a list is for several labels (multi-output), with a dict for each: this y takes one "
            f"dict, of classes and weights. Got {class_weight!r}."
        )
    return _checked_class_weight(compute_class_weight(class_weight, classes=classes, y=classes))


def _checked_class_weight(weights: Any) -> NDArray[np.float64]:
    found: NDArray[np.float64] = check_array(
        weights, ensure_2d=False, ensure_non_negative=True, input_name="class_weight"
    )
    return found


def some_weight(weights: NDArray[np.float64], whose: str = "Sample weights") -> NDArray[np.float64]:
    """Return the weights; raise ValueError where all are zero."""
    if not weights.any():
        raise ValueError(f"{whose} must contain at least one non-zero number.")
    return weights


def score(targets: NDArray[Any], outputs: NDArray[Any], loss: str, sample_weight: Any) -> float:
    """Accuracy of the classes that outputs of shape (n_rows, n_outputs) stand for, or R² where they are values.

    Computed here because scikit-learn's metrics look at their arguments for longer than a small epoch takes.
    """
    task = LOSSES[loss]
    if task.threshold is None:
        return _r2(targets, outputs, sample_weight)
    if task.exclusive and targets.ndim == 2:
        targets = targets.argmax(axis=1)
    if targets.ndim == 1:
        predicted = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > task.threshold
        right = predicted == targets
    else:
        right = ((targets > task.threshold) == (outputs > task.threshold)).all(axis=1)
    return float(np.average(right, weights=sample_weight))


def _r2(targets: NDArray[Any], outputs: NDArray[Any], sample_weight: Any) -> float:
    """Mean over the outputs of R², as scikit-learn defines it: of a constant target 1 where it is met, else 0."""
    if len(targets) < 2:
        return float("nan")
    mean = np.average(targets, axis=0, weights=sample_weight)
    with np.errstate(over="ignore"):  # of a diverging network
        residual = np.average(np.square(targets - outputs, dtype=np.float64), axis=0, weights=sample_weight)
    total = np.average(np.square(targets - mean, dtype=np.float64), axis=0, weights=sample_weight)
    ratio = np.divide(residual, total, out=(residual > 0).astype(np.float64), where=total > 0)
    return float(np.mean(1 - ratio))


def _check_classes(y: NDArray[Any], task: Loss, n_outputs: int | None) -> tuple[NDArray[np.int64], int]:
    classes = np.ascontiguousarray(y, dtype=np.int64)
    if y.dtype.kind == "f" and not np.array_equal(classes, y):
        raise ValueError(
            "Unknown label type: continuous. One-dimensional targets of this loss are class numbers 0, 1, 2, …"
        )
    if task.threshold == 0 and set(np.unique(classes)) <= {-1, 1}:
        classes = (classes == 1).astype(np.int64)  # the margin's own labels
    if classes.min() < 0:
        raise ValueError(f"Class numbers must be 0, 1, 2, …: got {classes.min()}.")
    highest = int(classes.max())
    if n_outputs is None:
        return classes, 1 if highest < 2 and not task.exclusive else max(highest + 1, 2)
    if highest >= max(n_outputs, 2):
        raise ValueError(
            f"`y` has classes not in those of the first call: the network has {n_outputs} outputs, and `y` has class "
            f"{highest}. Let the first call see every class, or pass one-hot rows."
        )
    return classes, n_outputs


def _check_values(Y: NDArray[Any], loss: str, n_outputs: int | None) -> tuple[NDArray[Any], int]:
    task = LOSSES[loss]
    if n_outputs is not None and Y.shape[1] != n_outputs:
        raise ValueError(f"`y` has {Y.shape[1]} columns, but the network has {n_outputs} outputs.")
    if Y.dtype == np.bool_:
        Y = Y.view(np.uint8)
    if Y.dtype not in READABLE:
        Y = Y.astype(np.float64)
    if Y.min() < task.lowest or Y.max() > task.highest:
        raise ValueError(
            f"Some value(s) of y are out of the valid range of the loss {loss!r}: "
            f"they must be from {task.lowest:g} to {task.highest:g}."
        )
    if task.exclusive:
        sums = Y.sum(axis=1)
        # As far from 1 as the sum of a row of rounded float32 probabilities may be.
        if max(1 - float(sums.min()), float(sums.max()) - 1) > 1e-4:
            raise ValueError(
                f"Each row of y must sum to 1 with the loss {loss!r}: the rows are one-hot or probabilities."
            )
    return contiguous_rows(Y), Y.shape[1]
