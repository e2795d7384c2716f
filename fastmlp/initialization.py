"""The parameters of a network in Python's hands: their first values, and views to assign to."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp._core import Network


class ParameterViews(list[NDArray[Any]]):
    """Arrays that are views into one vector: assigning an item, or a slice, writes the values there."""

    def __setitem__(self, item: Any, value: Any) -> None:
        views, values = (self[item], list(value)) if isinstance(item, slice) else ([self[item]], [value])
        shapes = [view.shape for view in views]
        if [np.shape(new) for new in values] != shapes:
            raise ValueError(f"expected arrays of shapes {shapes}, got {[np.shape(new) for new in values]}")
        for view, new in zip(views, values, strict=True):
            view[...] = new


def _uniform(bound: float, shape: tuple[int, int], random_state: np.random.RandomState) -> NDArray[Any]:
    return random_state.uniform(-bound, bound, shape)


def _normal(deviation: float, shape: tuple[int, int], random_state: np.random.RandomState) -> NDArray[Any]:
    return random_state.normal(0.0, deviation, shape)


def _orthogonal(shape: tuple[int, int], random_state: np.random.RandomState) -> NDArray[Any]:
    """Rows or columns, whichever are fewer, are orthonormal (Saxe, McClelland and Ganguli 2014)."""
    fan_in, fan_out = shape
    Q, R = np.linalg.qr(random_state.normal(size=(max(shape), min(shape))))
    Q *= np.sign(np.diagonal(R))  # or the distribution would not be uniform
    return Q if fan_in >= fan_out else Q.T


Draw = Callable[[tuple[int, int], np.random.RandomState], NDArray[Any]]

INITIALIZERS: dict[str, Draw | None] = {
    "auto": None,
    "glorot_uniform": lambda shape, rng: _uniform(sqrt(6 / sum(shape)), shape, rng),
    "glorot_normal": lambda shape, rng: _normal(sqrt(2 / sum(shape)), shape, rng),
    "he_uniform": lambda shape, rng: _uniform(sqrt(6 / shape[0]), shape, rng),
    "he_normal": lambda shape, rng: _normal(sqrt(2 / shape[0]), shape, rng),
    "lecun_normal": lambda shape, rng: _normal(sqrt(1 / shape[0]), shape, rng),
    "orthogonal": _orthogonal,
}
"""How weights of shape (fan_in, fan_out) are drawn: Glorot and Bengio 2010, He et al. 2015, LeCun et al. 1998."""


def initial_parameters(
    network: Network, params: NDArray[Any], weight_init: str, random_state: np.random.RandomState
) -> None:
    """Draw the first parameters into params, weights and biases in turn, layer by layer."""
    layers = zip(network.coefs(params), network.intercepts(params), strict=True)
    draw = INITIALIZERS[weight_init]
    for layer, (W, b) in enumerate(layers):
        if draw is not None:
            W[...], b[...] = draw((W.shape[0], W.shape[1]), random_state), 0
            continue
        # scikit-learn's order of drawing, and its factor.
        bound = sqrt((2.0 if _activation(network, layer) == "logistic" else 6.0) / sum(W.shape))
        W[...] = random_state.uniform(-bound, bound, W.shape)
        b[...] = random_state.uniform(-bound, bound, b.shape)


def _activation(network: Network, layer: int) -> str:
    """Of the hidden layer; the outputs take that of the last one, as in scikit-learn."""
    if isinstance(network.activation, str):
        return network.activation
    return network.activation[min(layer, len(network.activation) - 1)] if network.activation else "identity"
