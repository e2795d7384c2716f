"""How good predictions are, in numbers and in words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def scores_of(model: Any, X: Any, y: Array) -> dict[str, float]:
    """The scores of a fitted classifier or regressor on these rows; none where there are no rows.

    Parameters
    ----------
    model : TabularClassifier, TabularRegressor or MLPClassifier
    X, y : rows and their targets
    """
    if not len(y):
        return {}
    return _of_classes(model, X, y) if hasattr(model, "predict_proba") else _of_values(model.predict(X), y)


def in_words(scores: dict[str, float], target: str) -> str:
    """The scores as they are told, in the order in which they were computed."""
    told = []
    for name, value in scores.items():
        if name.endswith("accuracy"):
            told.append(f"{name.replace('_', ' ')} {100 * value:.2f} %")
        elif name in ("RMSE", "MAE"):
            told.append(f"{name} {value:.5g}")
        else:
            told.append(f"{name.replace('_', ' ')} {value:.4f}")
    unit = f" (in units of {target})" if "RMSE" in scores else ""
    return ", ".join(told) + unit


def _of_classes(model: Any, X: Any, y: Array) -> dict[str, float]:
    """Accuracy, its mean over the classes, and the mean of -log of the probability of the true class."""
    classes, probabilities = model.classes_, model.predict_proba(X)
    right = classes[probabilities.argmax(axis=1)] == y
    recalls = [right[y == label].mean() for label in np.unique(y)]
    place = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    # A class that the training rows do not have has no probability.
    true = np.where(classes[place] == y, probabilities[np.arange(len(y)), place], 0)
    loss = -np.log(np.maximum(true, np.finfo(np.float64).eps)).mean()
    return {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recalls)), "log_loss": float(loss)}


def _of_values(predicted: Array, y: Array) -> dict[str, float]:
    """R², where the targets differ; the root of the mean squared error and the mean absolute one."""
    residual, variance = predicted - y, y.var()
    squared = float(np.mean(residual**2))
    score = {"R2": 1 - squared / float(variance)} if variance > 0 else {}
    return score | {"RMSE": squared**0.5, "MAE": float(np.abs(residual).mean())}
