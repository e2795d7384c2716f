"""The same training in plain NumPy, written as well as NumPy allows: what the engine's speed is compared with.

Conventions: activations and deltas of a batch are (n_rows, n_units), but the outputs' are kept transposed, so that the
softmax reduces along the long, vectorised axis. Scratch is allocated once per batch length; operations write into it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _logistic(Z: Array) -> None:
    # 1 / (1 + exp(-z)) = 0.5 + 0.5 tanh(z / 2): NumPy's tanh is faster than its exp, and cannot overflow.
    Z *= 0.5
    np.tanh(Z, out=Z)
    Z *= 0.5
    Z += 0.5


def _logistic_gradient(A: Array, delta: Array) -> None:
    delta *= A
    np.subtract(1, A, out=A)
    delta *= A


def _tanh_gradient(A: Array, delta: Array) -> None:
    A *= A
    np.subtract(1, A, out=A)
    delta *= A


def _relu_gradient(A: Array, delta: Array) -> None:
    np.greater(A, 0, out=A, casting="unsafe")
    delta *= A


# Forward turns Z into A in place; gradient turns dL/dA into dL/dZ in place and may destroy A, which nobody needs later.
ACTIVATIONS: dict[str, tuple[Callable[[Array], Any], Callable[[Array, Array], Any]]] = {
    "identity": (lambda Z: None, lambda A, delta: None),
    "logistic": (_logistic, _logistic_gradient),
    "tanh": (lambda Z: np.tanh(Z, out=Z), _tanh_gradient),
    "relu": (lambda Z: np.maximum(Z, 0, out=Z), _relu_gradient),
}


def _log_loss(Z: Array, T: Array, row: Array) -> float:
    np.maximum.reduce(Z, axis=0, out=row)
    Z -= row
    loss = -float(np.dot(Z.reshape(-1), T.reshape(-1)))
    np.exp(Z, out=Z)
    np.add.reduce(Z, axis=0, out=row)
    Z /= row
    np.log(row, out=row)
    Z -= T
    return loss + float(np.add.reduce(row))


def _squared_error(Z: Array, T: Array, row: Array) -> float:
    Z -= T
    residual = Z.reshape(-1)
    return 0.5 * float(np.dot(residual, residual)) / len(Z)


# Each turns the outputs' Z into delta in place and returns the loss summed over the rows; row is scratch of (n_rows,).
LOSSES: dict[str, Callable[[Array, Array, Array], float]] = {"log_loss": _log_loss, "squared_error": _squared_error}


@dataclass(frozen=True)
class _Batch:
    """Scratch of one batch length."""

    A: list[Array]  # inputs of each layer, (n_rows, fan_in); A[0] receives the gathered rows of X
    delta: list[Array]  # of each hidden layer, (n_rows, n_units)
    Z: Array  # of the outputs, (n_outputs, n_rows); becomes their delta
    ones: Array  # (n_rows,)
    row: Array  # (n_rows,)


class NumpyTraining:
    """Stochastic gradient descent on a multi-layer perceptron in plain NumPy.

    Parameters
    ----------
    coefs : sequence of ndarray of shape (fan_in, fan_out)
        Initial weights, copied; their dtype, float32 or float64, is the one everything is computed in.
    intercepts : sequence of ndarray of shape (fan_out,)
        Initial biases, copied.
    activation : {"identity", "logistic", "tanh", "relu"}
        Of the hidden layers.
    loss : {"log_loss", "squared_error"}
        Softmax cross-entropy, or half the squared error of linear outputs.
    X : ndarray of shape (n_rows, fan_in)
        Copied only when of another dtype than the weights.
    y : ndarray
        Class numbers, an integer array of shape (n_rows,), or a real matrix (n_rows, n_outputs); for one output a real
        vector will do.
    batch_size : int
        Rows of a step, limited to n_rows; the last batch of an epoch may be shorter.
    learning_rate : float
        May be assigned between epochs.
    momentum : float, default=0.0
        ``v = momentum * v - learning_rate * gradient; w += v``; 0 is plain gradient descent.

    Attributes
    ----------
    coefs, intercepts : list of ndarray
        The parameters, updated in place by `epoch`.

    Raises
    ------
    ValueError
        If the activation or the loss is not one of those above.
    """

    def __init__(
        self,
        coefs: Sequence[Array],
        intercepts: Sequence[Array],
        activation: str,
        loss: str,
        X: Array,
        y: Array,
        batch_size: int,
        learning_rate: float,
        momentum: float = 0.0,
    ) -> None:
        if activation not in ACTIVATIONS or loss not in LOSSES:
            raise ValueError(
                f"plain NumPy knows the activations {', '.join(ACTIVATIONS)} and the losses {', '.join(LOSSES)}; "
                f"got {activation!r} and {loss!r}"
            )
        dtype = coefs[0].dtype
        self._activate, self._activation_gradient = ACTIVATIONS[activation]
        self._loss_delta = LOSSES[loss]
        # One flat vector each, so that the update is a call for the whole network and not one for every array.
        arrays = [*coefs, *intercepts]
        self._params = np.concatenate([np.ravel(array) for array in arrays])
        self._gradient = np.empty_like(self._params)
        self._velocity = np.zeros_like(self._params) if momentum else None
        self.coefs, self.intercepts = _views(self._params, coefs, intercepts)
        self._dW, self._db = _views(self._gradient, coefs, intercepts)
        self._X = np.asarray(X, dtype=dtype)
        n_outputs = len(intercepts[-1])
        y = np.asarray(y)
        is_classes = y.ndim == 1 and y.dtype.kind in "iu" and n_outputs > 1
        targets = np.eye(n_outputs, dtype=dtype)[y] if is_classes else y
        self._targets = np.ascontiguousarray(targets, dtype=dtype).reshape(len(y), n_outputs)
        self._batch_size = min(batch_size, len(y))
        self._batches: dict[int, _Batch] = {}
        self.learning_rate = learning_rate
        self.momentum = momentum

    def epoch(self, order: NDArray[np.integer[Any]]) -> float:
        """Use the rows once, in the order given, and return their mean loss as it was before each step.

        Parameters
        ----------
        order : integer ndarray of shape (n_rows,)
            Rows in the order of use.

        Returns
        -------
        float
            Mean over the rows (and, for squared_error, over the outputs); without a penalty.
        """
        total = 0.0
        for start in range(0, len(order), self._batch_size):
            total += self._step(order[start : start + self._batch_size])
        return total / len(order)

    def _step(self, rows: NDArray[np.integer[Any]]) -> float:
        batch = self._batches.get(len(rows)) or self._allocate(len(rows))
        A, Z = batch.A, batch.Z
        # mode="clip" because NumPy gathers through a temporary where it might have to raise.
        np.take(self._X, rows, axis=0, out=A[0], mode="clip")
        last = len(self.coefs) - 1
        for layer in range(last):
            np.matmul(A[layer], self.coefs[layer], out=A[layer + 1])
            A[layer + 1] += self.intercepts[layer]
            self._activate(A[layer + 1])
        np.matmul(self.coefs[last].T, A[last].T, out=Z)
        Z += self.intercepts[last][:, None]
        targets = np.ascontiguousarray(self._targets.take(rows, axis=0, mode="clip").T)
        loss = self._loss_delta(Z, targets, batch.row)
        # Scaling here scales every gradient below, at the price of one small operation.
        Z *= self.learning_rate / len(rows)
        delta = Z.T
        # For one row the product over rows is an outer product, which matmul does in a slow loop of its own.
        outer_or_matmul = np.multiply if len(rows) == 1 else np.matmul
        for layer in range(last, -1, -1):
            outer_or_matmul(A[layer].T, delta, out=self._dW[layer])
            np.matmul(delta.T, batch.ones, out=self._db[layer])
            if layer > 0:
                dA = batch.delta[layer - 1]
                np.matmul(delta, self.coefs[layer].T, out=dA)
                self._activation_gradient(A[layer], dA)
                delta = dA
        self._update()
        return loss

    def _update(self) -> None:
        if self._velocity is None:
            self._params -= self._gradient
        else:
            self._velocity *= self.momentum
            self._velocity -= self._gradient
            self._params += self._velocity

    def _allocate(self, n_rows: int) -> _Batch:
        dtype = self._params.dtype
        A = [np.empty((n_rows, len(W)), dtype) for W in self.coefs]
        delta = [np.empty_like(hidden) for hidden in A[1:]]
        Z = np.empty((len(self.intercepts[-1]), n_rows), dtype)
        batch = _Batch(A, delta, Z, np.ones(n_rows, dtype), np.empty(n_rows, dtype))
        self._batches[n_rows] = batch
        return batch


def _views(flat: Array, coefs: Sequence[Array], intercepts: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Views into flat with the shapes of the weights and biases, in that order."""
    arrays = [*coefs, *intercepts]
    ends = np.cumsum([array.size for array in arrays])
    views = [flat[end - array.size : end].reshape(array.shape) for end, array in zip(ends, arrays, strict=True)]
    return views[: len(coefs)], views[len(coefs) :]
