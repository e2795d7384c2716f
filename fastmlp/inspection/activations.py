"""What the units of the hidden layers give for some rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastmlp._core import Network
from fastmlp.base import BaseMLP


def check_network(estimator: Any, name: str) -> None:
    """Refuse estimators that are not a single network, such as those of tables, in the name of a function."""
    if not isinstance(estimator, BaseMLP):
        raise TypeError(f"{name} takes an MLPClassifier, MLPRegressor or Trainer, got {type(estimator).__name__}.")


def hidden_activations(estimator: Any, X: Any) -> list[tuple[str, NDArray[Any]]]:
    """Name of the activation and outputs (n_rows, n_units) of each hidden layer.

    Raises
    ------
    TypeError
        If it is no MLPClassifier, MLPRegressor or Trainer.
    """
    check_network(estimator, "This")
    check_is_fitted(estimator)
    fitted = estimator._require_fitted()
    rows, network, params = estimator._rows(X, fitted), fitted.fit.network, fitted.fit.params
    n_hidden = len(network.n_units) - 2
    activation = network.activation
    names = [activation] * n_hidden if isinstance(activation, str) else list(activation)
    return [(names[layer], _outputs(network, params, names[: layer + 1], layer, rows)) for layer in range(n_hidden)]


def _outputs(network: Network, params: NDArray[Any], names: list[str], layer: int, rows: Any) -> NDArray[Any]:
    """Outputs of a hidden layer: those of the network that ends behind it, with weights of 1 to the outputs."""
    width = network.n_units[layer + 1]
    part = Network((*network.n_units[: layer + 2], width), names, "squared_error", network.dtype)
    values = np.zeros(part.n_params, network.dtype)
    for views in (Network.coefs, Network.intercepts):
        for to, from_ in zip(views(part, values)[:-1], views(network, params), strict=False):
            to[...] = from_
    np.fill_diagonal(part.coefs(values)[-1], 1)
    outputs = np.empty((rows.shape[0], width), network.dtype)
    part.predict(values, rows, outputs)
    return outputs
