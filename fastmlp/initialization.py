"""The parameters of a network in Python's hands: how many fit in memory, their first values, views to assign to."""

from collections.abc import Iterable
from math import sqrt
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp._core import Network
from fastmlp.memory import memory_limit


class ParameterViews(list[NDArray[Any]]):
    """Arrays that are views into one vector: assigning an item, or a slice, writes the values there."""

    def __setitem__(self, item: Any, value: Any) -> None:
        views, values = (self[item], list(value)) if isinstance(item, slice) else ([self[item]], [value])
        shapes = [view.shape for view in views]
        if [np.shape(new) for new in values] != shapes:
            raise ValueError(f"expected arrays of shapes {shapes}, got {[np.shape(new) for new in values]}")
        for view, new in zip(views, values, strict=True):
            view[...] = new


def hidden_units(hidden_layer_sizes: int | Iterable[int]) -> tuple[int, ...]:
    """Number of units of each hidden layer, as scikit-learn's users write it."""
    sizes = hidden_layer_sizes if isinstance(hidden_layer_sizes, Iterable) else (hidden_layer_sizes,)
    try:
        units = tuple(map(index, sizes))
    except TypeError:
        raise TypeError(
            "The 'hidden_layer_sizes' parameter must be an int in the range [1, inf) or a one-dimensional array-like "
            f"of such ints. Got {hidden_layer_sizes!r} instead."
        ) from None
    if any(n <= 0 for n in units):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {list(units)}.")
    return units


def initial_parameters(network: Network, params: NDArray[Any], random_state: np.random.RandomState) -> None:
    """Draw parameters after Glorot and Bengio, in scikit-learn's order: weights, then biases, layer by layer."""
    factor = 2.0 if network.activation == "logistic" else 6.0
    for W, b in zip(network.coefs(params), network.intercepts(params), strict=True):
        bound = sqrt(factor / sum(W.shape))
        W[...] = random_state.uniform(-bound, bound, W.shape)
        b[...] = random_state.uniform(-bound, bound, b.shape)


def require_memory(network: Network, n_bytes: int) -> None:
    """Raise MemoryError if parameters and so many bytes more do not fit: many systems promise the memory even so."""
    n_bytes += network.n_params * network.dtype.itemsize
    if not _has_memory(n_bytes):
        raise MemoryError(
            f"Unable to allocate {n_bytes / 2**30:.3g} GiB for the {network.n_params} parameters of layers of "
            f"{network.n_units} units in {network.dtype}, the state of the optimizer and the batches: this machine, or "
            "the control group of this process, has less. Use smaller hidden_layer_sizes."
        )


def _has_memory(n_bytes: int) -> bool:
    """Whether this process may use so much memory."""
    limit = memory_limit()
    if limit is not None:
        return n_bytes <= limit
    try:  # Windows, unlike the others, refuses memory that it does not have
        np.empty(n_bytes, np.uint8)
    except (MemoryError, ValueError):  # ValueError: more than any array may have
        return False
    return True
