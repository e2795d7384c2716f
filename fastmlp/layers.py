"""What the hyper-parameters say of each layer."""

from collections.abc import Iterable
from numbers import Real
from operator import index

from fastmlp._core import ACTIVATIONS


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


def activations(activation: str | Iterable[str], n_hidden: int) -> str | tuple[str, ...]:
    """The activation of all hidden layers, or of each.

    Raises
    ------
    ValueError
        If there is not one known name for each hidden layer.
    """
    if isinstance(activation, str):
        return activation
    names = tuple(activation)
    unknown = [name for name in names if name not in ACTIVATIONS]
    if unknown:
        raise ValueError(f"activation must be made of {', '.join(ACTIVATIONS)}. Got {unknown[0]!r}.")
    if len(names) != n_hidden:
        raise ValueError(
            f"activation has {len(names)} names, but hidden_layer_sizes has {n_hidden} layers: give one for each."
        )
    return tuple(map(str, names))


def dropout_shares(dropout: float | Iterable[float], n_hidden: int) -> tuple[float, ...] | None:
    """The share of zeros among the inputs and the units of each hidden layer; None where nothing is dropped.

    Raises
    ------
    ValueError
        If a list does not have a share from 0 to below 1 for the inputs and for each hidden layer.
    """
    shares = list(dropout) if isinstance(dropout, Iterable) else [0.0, *[dropout] * n_hidden]
    if not all(isinstance(share, Real) and 0 <= share < 1 for share in shares):
        raise ValueError(f"dropout must be shares from 0 to below 1. Got {dropout!r}.")
    if len(shares) != n_hidden + 1:
        raise ValueError(
            f"dropout has {len(shares)} shares, but there are the inputs and {n_hidden} hidden layers: give one for "
            "each, that of the inputs first."
        )
    return tuple(map(float, shares)) if any(shares) else None


def quantiles(quantile: float | Iterable[float]) -> tuple[float, ...]:
    """The quantiles asked for, in ascending order.

    Raises
    ------
    ValueError
        If there is none, or one that is not between 0 and 1.
    """
    numbers = list(quantile) if isinstance(quantile, Iterable) else [quantile]
    if not numbers or not all(isinstance(q, Real) and 0 < q < 1 for q in numbers):
        raise ValueError(f"quantile must be numbers between 0 and 1, both excluded. Got {quantile!r}.")
    return tuple(sorted(map(float, numbers)))
