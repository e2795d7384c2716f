"""The gradient that the engine computes, against one of differences of the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from fastmlp.base import BaseMLP
from fastmlp.engine_settings import network_of
from fastmlp.fitted import Fitted
from fastmlp.inspection.activations import check_network

STEP = 1e-5
"""Of the central differences in float64: their error, STEP² times the third derivative, is below the roundings."""
FLOOR = 1e-6
"""Gradients below it are compared as if they had its size: differences of the loss have the roundings of the loss."""


@dataclass(frozen=True)
class Entry:
    """One derivative of the loss.

    Attributes
    ----------
    index : tuple of int
        In the array.
    analytic, numerical : float
    error : float
        Their difference as a part of the larger one.
    """

    index: tuple[int, ...]
    analytic: float
    numerical: float
    error: float


@dataclass(frozen=True)
class ArrayCheck:
    """The derivatives of an array of parameters.

    Attributes
    ----------
    name : str
        ``coefs_[0]`` and so on.
    n_checked : int
    entries : tuple of Entry
        The worst ones, the worst first.
    """

    name: str
    n_checked: int
    entries: tuple[Entry, ...]

    @property
    def max_error(self) -> float:
        """Of the worst entry."""
        return self.entries[0].error


@dataclass(frozen=True)
class GradientCheck:
    """What `check_gradients` has found; printed as a table.

    Attributes
    ----------
    arrays : tuple of ArrayCheck
        Weights and biases of each layer.
    """

    arrays: tuple[ArrayCheck, ...]

    @property
    def max_error(self) -> float:
        """Of the worst entry of all."""
        return max(array.max_error for array in self.arrays)

    def __str__(self) -> str:
        head = f"{'Array':<16}{'Checked':>8}{'Worst error':>13}  {'at':<12}{'analytic':>14}{'numerical':>15}"
        lines = [
            f"{array.name:<16}{array.n_checked:>8}{worst.error:>13.1e}  {_index(worst.index):<12}"
            f"{worst.analytic:>14.6e}{worst.numerical:>15.6e}"
            for array, worst in ((array, array.entries[0]) for array in self.arrays)
        ]
        return "\n".join([head, *lines])

    __repr__ = __str__


def _index(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]"


def check_gradients(
    estimator: Any, X: Any, y: Any, *, n_entries: int = 50, random_state: int | None = 0
) -> GradientCheck:
    """Compare the gradient by backpropagation with central differences of the loss, in float64.

    The loss is that of all rows, penalty of `alpha` included, without dropout and noise. Where a unit lies closer to
    the kink of its relu than the step of the differences, these are wrong, not the gradient: a single entry of many.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Trainer
        Fitted, or not: then the first weights are looked at. It is not changed.
    X, y : array-like
        As for `fit`.
    n_entries : int, default=50
        So many derivatives at the most of each array of weights or biases, drawn at random.
    random_state : int or None, default=0
        Of the drawing.

    Returns
    -------
    check : GradientCheck
        ``max_error`` is the largest error as a part of the gradient, ``arrays`` has the worst entries of each layer.

    Raises
    ------
    TypeError
        If it is another estimator.

    See Also
    --------
    diagnose : What may be amiss with a network.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.inspection import check_gradients
    >>> X, y = load_iris(return_X_y=True)
    >>> check = check_gradients(MLPClassifier((8,), activation="tanh", random_state=0), X, y)
    >>> check.max_error < 1e-4
    True
    """
    check_network(estimator, "check_gradients")
    fitted = estimator._fitted
    if fitted is None:
        fitted = clone(estimator).initialize(X, y)._require_fitted()
    loss = _Loss(estimator, fitted, X, y)
    network, gradient = loss.network, loss.gradient()
    random = np.random.RandomState(random_state)
    views = (network.coefs, network.intercepts)
    names = ("coefs_", "intercepts_")
    arrays = [
        _check(f"{name}[{layer}]", values, derivatives, loss, min(n_entries, values.size), random)
        for layer in range(len(network.n_units) - 1)
        for name, values, derivatives in (
            (name, view(loss.params)[layer], view(gradient)[layer]) for name, view in zip(names, views, strict=True)
        )
    ]
    return GradientCheck(tuple(arrays))


class _Loss:
    """The loss of all rows as a function of the parameters, in float64."""

    def __init__(self, estimator: BaseMLP, fitted: Fitted, X: Any, y: Any) -> None:
        settings, of_fit = estimator._settings(), fitted.fit.network
        view = estimator._view(fitted)
        self._rows = view._rows(X, fitted)
        self._targets = view._encode(y, fitted)
        self._weights = view._weigh(None, self._rows, self._targets, fitted.labels)
        self._penalty = {"alpha": settings.alpha, "l1_ratio": settings.l1_ratio}
        self.network = network_of(of_fit.n_units, settings, of_fit.loss, "float64")
        self.params = fitted.fit.params.astype(np.float64)

    def gradient(self) -> NDArray[np.float64]:
        gradient = np.empty_like(self.params)
        self._compute(gradient)
        return gradient

    def __call__(self) -> float:
        return self._compute(np.empty_like(self.params))

    def _compute(self, gradient: NDArray[np.float64]) -> float:
        return self.network.loss_gradient(
            self.params, self._rows, self._targets, self._weights, gradient=gradient, **self._penalty
        )


def _check(
    name: str,
    values: NDArray[np.float64],
    derivatives: NDArray[np.float64],
    loss: _Loss,
    n_entries: int,
    random: np.random.RandomState,
) -> ArrayCheck:
    """Compare some derivatives; values are a view into the parameters of the loss."""
    entries = []
    for number in random.choice(values.size, n_entries, replace=False):
        index = tuple(map(int, np.unravel_index(number, values.shape)))
        before = values[index]
        values[index] = before + STEP
        above = loss()
        values[index] = before - STEP
        numerical = (above - loss()) / (2 * STEP)
        values[index] = before
        analytic = float(derivatives[index])
        error = abs(analytic - numerical) / max(abs(analytic), abs(numerical), FLOOR)
        entries.append(Entry(index, analytic, numerical, error))
    entries.sort(key=lambda entry: -entry.error)
    return ArrayCheck(name, n_entries, tuple(entries[:5]))
