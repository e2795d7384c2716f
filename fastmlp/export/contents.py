"""What an export reads of a fitted estimator: its network, and what the outputs mean to `predict`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastmlp._core import LOSSES


@dataclass(frozen=True)
class Layers:
    """Parameters and functions of a network.

    Attributes
    ----------
    coefs : list of ndarray of shape (fan_in, fan_out)
    intercepts : list of ndarray of shape (fan_out,)
    activations : tuple of str
        Of each hidden layer.
    output : {"softmax", "logistic", "identity", "exp"}
    """

    coefs: list[NDArray[Any]]
    intercepts: list[NDArray[Any]]
    activations: tuple[str, ...]
    output: str

    @property
    def n_units(self) -> tuple[int, ...]:
        """Of each layer, the inputs first."""
        return (self.coefs[0].shape[0], *(len(b) for b in self.intercepts))


@dataclass(frozen=True)
class Contents:
    """A network and what `predict` makes of its outputs.

    Attributes
    ----------
    kind : str
        Name of the estimator's class.
    layers : Layers
    meaning : {"outputs", "values", "quantiles", "binary", "multiclass", "multilabel"}
        Outputs as they are, values, quantiles to be sorted, or what classes are chosen by: one output, the highest
        output, or each output for itself.
    classes : ndarray or None
        Where the outputs choose classes.
    has_probabilities : bool
        Whether they are probabilities, rather than margins.
    """

    kind: str
    layers: Layers
    meaning: str
    classes: NDArray[Any] | None
    has_probabilities: bool

    @property
    def threshold(self) -> float:
        """An output above it stands for its class."""
        return 0.5 if self.has_probabilities else 0.0


def layers_of(network: Any, params: NDArray[Any]) -> Layers:
    """The layers of an engine's network; views into params."""
    n_hidden = len(network.n_units) - 2
    activation = network.activation
    activations = (activation,) * n_hidden if isinstance(activation, str) else tuple(activation)
    return Layers(network.coefs(params), network.intercepts(params), activations, LOSSES[network.loss].output)


def contents_of(estimator: Any) -> Contents:
    """What stands in a fitted MLPClassifier, MLPRegressor or Trainer at this moment; copies of its parameters.

    Raises
    ------
    NotFittedError
        If it has not been fitted.
    ValueError
        If a parameter is not finite.
    """
    check_is_fitted(estimator)
    fitted = estimator._require_fitted()
    with fitted.fit.guard.reading():
        network, params = fitted.fit.network, fitted.fit.params.copy()
    if not np.isfinite(params).all():
        raise ValueError("The parameters hold NaN or infinity: such a network is not exported.")
    meaning = "outputs"
    if fitted.labels is not None:
        meaning = "multilabel" if fitted.labels.y_type.startswith("multilabel") else fitted.labels.y_type
    elif hasattr(estimator, "_several_quantiles"):
        meaning = "quantiles" if estimator._several_quantiles(network.loss) else "values"
    return Contents(
        type(estimator).__name__,
        layers_of(network, params),
        meaning,
        None if fitted.labels is None else fitted.labels.classes,
        LOSSES[network.loss].threshold == 0.5,
    )
