"""Plots of learning rates, weights and activations, after scikit-learn's conventions of a Display."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import ceil, inf, sqrt
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from fastmlp._core import LOSSES
from fastmlp.inspection.activations import check_network, hidden_activations
from fastmlp.listener import NonFiniteError
from fastmlp.optional import optional

SHARE = 0.5
"""The suggested learning rate is the smallest one that reaches this share of the greatest fall of the loss."""


def _axes(ax: Any, name: str) -> Any:
    """Where to draw: a new figure, unless axes are given."""
    if ax is not None:
        return ax
    return optional("matplotlib.pyplot", "plot", name).subplots()[1]


class LearningRateDisplay:
    """The loss after an epoch, or a few, at each of many learning rates, always from the same first weights.

    `from_estimator` makes one; the parameters become attributes.

    Parameters
    ----------
    learning_rates, losses : array-like of shape (n_rates,)
        Infinite where the training has diverged.
    initial_loss : float
        Of the first weights.
    estimator_name : str, default=None
        Title of the plot.

    Attributes
    ----------
    suggestion : float or None
        The smallest learning rate that gives half of the greatest fall of the loss; None where none lowers it.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    diagnose : What may be amiss with a fitted network.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.inspection import LearningRateDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> display = LearningRateDisplay.from_estimator(MLPClassifier(random_state=0), X, y)  # doctest: +SKIP
    >>> model = MLPClassifier(learning_rate_init=display.suggestion)  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        learning_rates: ArrayLike,
        losses: ArrayLike,
        initial_loss: float,
        estimator_name: str | None = None,
    ) -> None:
        self.learning_rates, self.losses = np.asarray(learning_rates), np.asarray(losses)
        self.initial_loss, self.estimator_name = initial_loss, estimator_name

    @property
    def suggestion(self) -> float | None:
        """The smallest learning rate that gives half of the greatest fall of the loss."""
        fall = self.initial_loss - self.losses
        if not fall.max() > 0:
            return None
        return float(self.learning_rates[fall >= SHARE * fall.max()].min())

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        learning_rates: Sequence[float] | None = None,
        n_epochs: int = 1,
        name: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Train clones of an estimator, each with another learning rate, and draw their losses.

        Parameters
        ----------
        estimator : MLPClassifier, MLPRegressor or Trainer
            Fitted or not. Its schedule, stopping rules and `n_restarts` are left aside.
        X, y : array-like
            As for `fit`. The loss is that of these rows, without penalty.
        learning_rates : sequence of float, default=None
            Values of `learning_rate_init` to try; None for 25 from 1e-5 to 10.
        n_epochs : int, default=1
            Of each training.
        name : str, default=None
            Title; the name of the class by default.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        display : LearningRateDisplay
            With what was drawn in its attributes.

        Raises
        ------
        TypeError
            If it is another estimator.
        ValueError
            If its solver is lbfgs, which has no learning rate.
        """
        check_network(estimator, "LearningRateDisplay")
        if estimator.solver == "lbfgs":
            raise ValueError("The solver 'lbfgs' has no learning rate.")
        settings: dict[str, Any] = {"max_iter": n_epochs, "early_stopping": False, "learning_rate": "constant"}
        settings |= {"warmup": 0.0, "n_restarts": 0, "verbose": False}
        settings |= {"n_iter_no_change": inf, "target_loss": None, "max_time": None}
        if estimator.get_params()["random_state"] is None:
            settings["random_state"] = 0  # the same first weights for all
        trial = clone(estimator).set_params(**settings)
        rates = np.logspace(-5, 1, 25) if learning_rates is None else np.asarray(learning_rates)
        losses = [_loss_after(clone(trial).set_params(learning_rate_init=float(rate)), X, y) for rate in rates]
        initial = _loss(clone(trial).initialize(X, y), X, y)
        title = type(estimator).__name__ if name is None else name
        display = cls(learning_rates=rates, losses=losses, initial_loss=initial, estimator_name=title)
        return display.plot(ax=ax)

    def plot(self, ax: Any = None, *, name: str | None = None, **line_kwargs: Any) -> Self:
        """Draw the losses.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        name : str, default=None
            Title; `estimator_name` by default.
        **line_kwargs
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : LearningRateDisplay
            With what was drawn in its attributes.
        """
        ax = _axes(ax, "LearningRateDisplay")
        # Losses above the first one say no more than that: a diverging training would flatten all others.
        shown = np.minimum(self.losses, 1.5 * self.initial_loss)
        ax.plot(self.learning_rates, shown, **{"marker": "o", "markersize": 4, **line_kwargs})
        ax.axhline(self.initial_loss, color="gray", linestyle=":", linewidth=1, label="First weights")
        if self.suggestion is not None:
            label = f"Suggestion ({self.suggestion:.2g})"
            ax.axvline(self.suggestion, color="gray", linestyle="--", linewidth=1, label=label)
        title = self.estimator_name if name is None else name
        ax.set(xscale="log", xlabel="Learning rate", ylabel="Loss", title=title)
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _loss_after(trial: Any, X: Any, y: Any) -> float:
    """Loss of the rows after a training; infinite where it diverges."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            loss = _loss(trial.fit(X, y), X, y)
        except NonFiniteError:
            return inf
    return loss if np.isfinite(loss) else inf


def _loss(fitted_estimator: Any, X: Any, y: Any) -> float:
    fitted = fitted_estimator._require_fitted()
    rows = fitted_estimator._rows(X, fitted)
    targets = fitted_estimator._encode(y, fitted)
    weights = fitted_estimator._weigh(None, rows, targets, fitted.labels)
    network = fitted.fit.network
    loss: float = network.evaluate(fitted.fit.params, rows, targets, weights)
    return loss / network.n_units[-1] if LOSSES[network.loss].mean_over_outputs else loss


class WeightsDisplay:
    """The weights of a layer: as a matrix, or those of each unit as an image.

    `from_estimator` makes one; the parameters become attributes.

    Parameters
    ----------
    weights : array-like of shape (fan_in, fan_out)
        Those that are drawn.
    image_shape : tuple of int, default=None
        Shape of the inputs where they are pixels: (height, width).
    estimator_name : str, default=None
        Title of the plot.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    ActivationsDisplay : What the hidden layers give.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.inspection import WeightsDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier((16,), random_state=0).fit(X / 16, y)
    >>> WeightsDisplay.from_estimator(model, image_shape=(8, 8))  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        weights: ArrayLike,
        image_shape: tuple[int, int] | None = None,
        estimator_name: str | None = None,
    ) -> None:
        self.weights, self.image_shape, self.estimator_name = np.asarray(weights), image_shape, estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        layer: int = 0,
        image_shape: tuple[int, int] | None = None,
        n_units: int = 25,
        name: str | None = None,
    ) -> Self:
        """Draw the weights of a fitted estimator.

        Parameters
        ----------
        estimator : MLPClassifier, MLPRegressor or Trainer
            Fitted. scikit-learn's will do, too.
        layer : int, default=0
            Number in `coefs_`.
        image_shape : tuple of int, default=None
            Shape of the inputs of the layer where they are pixels: an image is drawn for each unit.
        n_units : int, default=25
            Images at the most: those of the units with the largest weights.
        name : str, default=None
            Title; class and layer by default.

        Returns
        -------
        display : WeightsDisplay
            With what was drawn in its attributes.
        """
        check_is_fitted(estimator)
        weights = np.array(estimator.coefs_[layer])
        if image_shape is not None:
            strongest = np.argsort(-np.square(weights).sum(axis=0), kind="stable")[:n_units]
            weights = weights[:, np.sort(strongest)]
        title = f"{type(estimator).__name__}, coefs_[{layer}]" if name is None else name
        return cls(weights=weights, image_shape=image_shape, estimator_name=title).plot()

    def plot(self, *, name: str | None = None, **image_kwargs: Any) -> Self:
        """Draw the weights in a new figure, 0 in the middle of the colours.

        Parameters
        ----------
        name : str, default=None
            Title; `estimator_name` by default.
        **image_kwargs
            Passed to matplotlib's ``imshow``.

        Returns
        -------
        display : WeightsDisplay
            With what was drawn in its attributes.
        """
        pyplot = optional("matplotlib.pyplot", "plot", "WeightsDisplay")
        images = [self.weights]
        if self.image_shape is not None:
            images = [column.reshape(self.image_shape) for column in self.weights.T]
        n_columns = ceil(sqrt(len(images)))
        self.figure_, self.axes_ = pyplot.subplots(
            ceil(len(images) / n_columns), n_columns, squeeze=False, layout="constrained"
        )
        largest = float(np.abs(self.weights).max())
        options = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, **image_kwargs}
        if self.image_shape is None:
            options = {"aspect": "auto", "interpolation": "nearest", **options}
            self.axes_[0, 0].set(xlabel="Unit", ylabel="Input")
        for ax, image in zip(self.axes_.flat, images, strict=False):
            drawn = ax.imshow(image, **options)
        if self.image_shape is not None:
            for ax in self.axes_.flat:
                ax.set_axis_off()
        self.figure_.colorbar(drawn, ax=self.axes_, label="Weight")
        self.figure_.suptitle(self.estimator_name if name is None else name)
        return self


class ActivationsDisplay:
    """How the outputs of each hidden layer are distributed over some rows.

    `from_estimator` makes one; the parameters become attributes.

    Parameters
    ----------
    activations : list of ndarray of shape (n_rows, n_units)
        Of each hidden layer.
    names : sequence of str
        Of the activations.
    estimator_name : str, default=None
        Title of the plot.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    diagnose : Dead and saturated units in words.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.inspection import ActivationsDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((16, 16), activation="tanh", max_iter=1000, random_state=0).fit(X, y)
    >>> ActivationsDisplay.from_estimator(model, X)  # doctest: +SKIP
    """

    def __init__(
        self, *, activations: list[NDArray[Any]], names: Sequence[str], estimator_name: str | None = None
    ) -> None:
        self.activations, self.names, self.estimator_name = activations, names, estimator_name

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, name: str | None = None, ax: Any = None) -> Self:
        """Draw the outputs of the hidden layers of a fitted estimator.

        Parameters
        ----------
        estimator : MLPClassifier, MLPRegressor or Trainer
            Fitted.
        X : array-like or sparse matrix of shape (n_rows, n_features)
        name : str, default=None
            Title; the name of the class by default.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        display : ActivationsDisplay
            With what was drawn in its attributes.

        Raises
        ------
        ValueError
            If there is no hidden layer.
        """
        layers = hidden_activations(estimator, X)
        if not layers:
            raise ValueError("The network has no hidden layers.")
        title = type(estimator).__name__ if name is None else name
        names = [activation for activation, _ in layers]
        outputs = [values for _, values in layers]
        return cls(activations=outputs, names=names, estimator_name=title).plot(ax=ax)

    def plot(self, ax: Any = None, *, name: str | None = None) -> Self:
        """Draw a histogram for each hidden layer, with the share of zeros beside its name.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        name : str, default=None
            Title; `estimator_name` by default.

        Returns
        -------
        display : ActivationsDisplay
            With what was drawn in its attributes.
        """
        ax = _axes(ax, "ActivationsDisplay")
        low, high = (float(f([f(values) for values in self.activations])) for f in (np.min, np.max))
        edges = np.histogram_bin_edges([low, high], 60)  # wider than nothing where all outputs are the same
        for number, (values, activation) in enumerate(zip(self.activations, self.names, strict=True)):
            zeros = float(np.mean(values == 0))
            label = f"Hidden layer {number}, {activation}" + (f", {100 * zeros:.0f} % zeros" if zeros else "")
            counts, _ = np.histogram(values[values != 0] if zeros else values, edges)
            ax.stairs(counts / values.size, edges, label=label, linewidth=1.5)
        title = self.estimator_name if name is None else name
        ax.set(xlabel="Output of a unit", ylabel="Share of the outputs", title=title)
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self
