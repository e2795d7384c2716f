"""The layers of a network in a table."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from sklearn.utils.validation import check_is_fitted

from fastmlp._core import LOSSES, Network


@dataclass(frozen=True)
class Layer:
    """A layer of weights.

    Attributes
    ----------
    shape : tuple of int
        Of the weights: (fan_in, fan_out).
    function : str
        Activation, or function of the outputs.
    n_parameters : int
        Weights and biases.
    n_bytes : int
        That they take.
    n_operations : int
        Multiplications and additions of weights for a row.
    """

    shape: tuple[int, int]
    function: str
    n_parameters: int
    n_bytes: int
    n_operations: int


@dataclass(frozen=True)
class Summary:
    """The layers of a network, printed as a table, in a notebook too.

    Attributes
    ----------
    title : str
    layers : tuple of Layer
        Of the network, or of the largest member of an ensemble.
    n_networks : int
        1, or the members of an ensemble.
    others : tuple of Layer
        Of the other members.
    """

    title: str
    layers: tuple[Layer, ...]
    n_networks: int
    others: tuple[Layer, ...]

    @property
    def n_parameters(self) -> int:
        """Of all networks."""
        return sum(layer.n_parameters for layer in (*self.layers, *self.others))

    @property
    def n_bytes(self) -> int:
        """Of all networks."""
        return sum(layer.n_bytes for layer in (*self.layers, *self.others))

    @property
    def n_operations(self) -> int:
        """Of all networks, for a row."""
        return sum(layer.n_operations for layer in (*self.layers, *self.others))

    def _rows(self) -> list[tuple[str, ...]]:
        """The table, with its head and its sum."""
        head = ("Layer", "Weights", "Function", "Parameters", "Bytes", "Operations a row")
        rows = [
            (f"{i}", " × ".join(map(str, layer.shape)), layer.function, *_numbers(layer))
            for i, layer in enumerate(self.layers)
        ]
        times = "" if self.n_networks == 1 else f"{self.n_networks} networks"
        return [head, *rows, ("Sum", times, "", *_numbers(self))]

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) if i < 3 else cell.rjust(width) for i, (cell, width) in enumerate(cells))
            for cells in (tuple(zip(row, widths, strict=True)) for row in rows)
        ]
        head, *layers, total = lines
        rule = "-" * len(head)
        return "\n".join([self.title, head, rule, *layers, rule, total])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        cells = [[f"<td>{escape(cell)}</td>" for cell in row] for row in rows]
        body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
        names = "".join(f"<th>{escape(name)}</th>" for name in head)
        return f"<table><caption>{escape(self.title)}</caption><tr>{names}</tr>{body}</table>"


def _numbers(part: Layer | Summary) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in (part.n_parameters, part.n_bytes, part.n_operations))


def summary(estimator: Any) -> Summary:
    """List the layers of a fitted estimator: shapes, parameters, bytes, operations a row.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, Trainer, TabularClassifier or TabularRegressor
        Fitted.

    Returns
    -------
    summary : Summary
        Prints itself as a table; its attributes have the numbers.

    Raises
    ------
    NotFittedError
        If it has not been fitted.

    See Also
    --------
    diagnose : What may be amiss with a network.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.inspection import summary
    >>> X, y = load_iris(return_X_y=True)
    >>> summary(MLPClassifier((16,), max_iter=1000, random_state=0).fit(X, y))
    MLPClassifier, float64
    Layer  Weights  Function  Parameters  Bytes  Operations a row
    -------------------------------------------------------------
    0      4 × 16   relu              80    640               128
    1      16 × 3   softmax           51    408                96
    -------------------------------------------------------------
    Sum                              131  1,048               224
    """
    check_is_fitted(estimator)
    fitted = estimator._require_fitted()
    networks = [fitted.network_of(member) for member in fitted.members] if hasattr(fitted, "members") else []
    # Those of a table that read ramps are larger.
    network, *others = sorted(networks, key=lambda each: -each.n_params) or [fitted.fit.network]
    title = f"{type(estimator).__name__}, {network.dtype.name}"
    return Summary(title, _layers(network), 1 + len(others), tuple(layer for each in others for layer in _layers(each)))


def _layers(network: Network) -> tuple[Layer, ...]:
    n_units, activation = network.n_units, network.activation
    functions = [activation] * (len(n_units) - 2) if isinstance(activation, str) else list(activation)
    functions.append(LOSSES[network.loss].output)
    layers = []
    for n_in, n_out, function in zip(n_units[:-1], n_units[1:], functions, strict=True):
        n_parameters = (n_in + 1) * n_out
        n_bytes = n_parameters * network.dtype.itemsize
        layers.append(Layer((n_in, n_out), function, n_parameters, n_bytes, 2 * n_in * n_out))
    return tuple(layers)
