"""The specification of the engine: the whole network in float64 NumPy, written to be read.

Layer l maps A (n_rows, n_units[l]) to Z = A W + b; a hidden layer answers A = f(Z), the last one with the output
function of the loss. delta = dL/dZ. The flat parameter vector is W_0, W_1, ..., then b_0, b_1, ..., in C order;
gradients and optimizer slots have the same order. The loss of a batch is

    (sum_i w_i sum_k L(Z_ik, Y_ik) + alpha / 2 sum W^2) / sum_i w_i        with w = 1 unless rows are weighted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx, expit, logsumexp, softmax, xlogy

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Activation:
    """Of the hidden layers."""

    value: Callable[[Array], Array]
    """A = f(Z)."""
    gradient: Callable[[Array, Array], Array]
    """f'(Z), of Z and A."""


SELU_SCALE, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848


def _softplus(Z: Array) -> Array:
    return np.logaddexp(0, Z)


def _normal_density(Z: Array) -> Array:
    return np.exp(-0.5 * Z**2) / np.sqrt(2 * np.pi)


def _normal_cdf(Z: Array) -> Array:
    """SciPy's ndtr loses digits in the lower tail."""
    tail = _normal_density(Z) * erfcx(np.abs(Z) / np.sqrt(2)) * np.sqrt(np.pi / 2)
    return np.where(Z < 0, tail, 1 - tail)


def _expm1_below_zero(Z: Array) -> Array:
    return np.expm1(np.minimum(Z, 0))


def _mish_gradient(Z: Array, A: Array) -> Array:
    T = np.tanh(_softplus(Z))
    return T + Z * (1 - T) * (1 + T) * expit(Z)


ACTIVATIONS = {
    "identity": Activation(lambda Z: Z, lambda Z, A: np.ones_like(A)),
    "logistic": Activation(expit, lambda Z, A: A * (1 - A)),
    "tanh": Activation(np.tanh, lambda Z, A: 1 - A**2),
    "relu": Activation(lambda Z: np.maximum(Z, 0), lambda Z, A: np.where(Z > 0, 1.0, 0.0)),
    "leaky_relu": Activation(lambda Z: np.where(Z > 0, Z, 0.01 * Z), lambda Z, A: np.where(Z > 0, 1.0, 0.01)),
    "elu": Activation(
        lambda Z: np.where(Z > 0, Z, _expm1_below_zero(Z)), lambda Z, A: np.where(Z > 0, 1.0, np.exp(np.minimum(Z, 0)))
    ),
    "selu": Activation(
        lambda Z: SELU_SCALE * np.where(Z > 0, Z, SELU_ALPHA * _expm1_below_zero(Z)),
        lambda Z, A: SELU_SCALE * np.where(Z > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(Z, 0))),
    ),
    "softplus": Activation(_softplus, lambda Z, A: expit(Z)),
    "gelu": Activation(lambda Z: Z * _normal_cdf(Z), lambda Z, A: _normal_cdf(Z) + Z * _normal_density(Z)),
    "silu": Activation(lambda Z: Z * expit(Z), lambda Z, A: expit(Z) * (1 + Z * expit(-Z))),
    "mish": Activation(lambda Z: Z * np.tanh(_softplus(Z)), _mish_gradient),
}


@dataclass(frozen=True)
class Loss:
    """Of the last layer, from Z and the targets Y of the same shape (n_rows, n_outputs)."""

    outputs: Callable[[Array], Array]
    """Z to what ``predict`` answers."""
    value: Callable[[Array, Array], Array]
    """Loss of each single output; that of the row is their sum."""
    delta: Callable[[Array, Array], Array]
    """dL/dZ."""
    draw: Callable[[np.random.Generator, tuple[int, int]], Array]
    """Random targets that this loss is meant for."""
    reported_as_mean: bool = False
    """Whether training reports the mean over the outputs instead of the sum (the gradient is always the sum's)."""


def _classes(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return targets(rng.integers(shape[1], size=shape[0]), shape[1])


def _labels(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.integers(2, size=shape).astype(np.float64)


def _sign(Y: Array) -> Array:
    return np.where(Y > 0, 1.0, -1.0)


def _normal(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.standard_normal(shape).astype(np.float32).astype(np.float64)


def _positive(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return np.exp(_normal(rng, shape)).astype(np.float32).astype(np.float64)


def smoothed(Y: Array, smoothing: float, n_classes: int) -> Array:
    """Targets with label smoothing (Szegedy et al. 2016)."""
    return Y * (1 - smoothing) + smoothing / n_classes


def log_loss(smoothing: float = 0.0) -> Loss:
    return Loss(
        outputs=lambda Z: softmax(Z, axis=1),
        value=lambda Z, Y: smoothed(Y, smoothing, Z.shape[1]) * (logsumexp(Z, axis=1, keepdims=True) - Z),
        delta=lambda Z, Y: softmax(Z, axis=1) - smoothed(Y, smoothing, Z.shape[1]),
        draw=_classes,
    )


def binary_log_loss(smoothing: float = 0.0) -> Loss:
    def value(Z: Array, Y: Array) -> Array:
        T = smoothed(Y, smoothing, 2)
        return T * np.logaddexp(0, -Z) + (1 - T) * np.logaddexp(0, Z)

    return Loss(outputs=expit, value=value, delta=lambda Z, Y: expit(Z) - smoothed(Y, smoothing, 2), draw=_labels)


def huber(width: float = 1.0) -> Loss:
    """Half the square of errors up to the width, the tangent beyond: scikit-learn's and PyTorch's HuberLoss."""

    def value(Z: Array, Y: Array) -> Array:
        error = np.abs(Z - Y)
        return np.where(error <= width, 0.5 * error**2, width * (error - 0.5 * width))

    return Loss(outputs=lambda Z: Z, value=value, delta=lambda Z, Y: np.clip(Z - Y, -width, width), draw=_normal)


def quantile(q: ArrayLike = 0.5) -> Loss:
    """Pinball loss, scikit-learn's PinballLoss, of one quantile or of one for each output."""
    q = np.asarray(q)
    return Loss(
        outputs=lambda Z: Z,
        value=lambda Z, Y: np.where(Y >= Z, q * (Y - Z), (1 - q) * (Z - Y)),
        delta=lambda Z, Y: np.where(Y >= Z, -q, 1 - q),
        draw=_normal,
    )


LOSSES = {
    "log_loss": log_loss(),
    "binary_log_loss": binary_log_loss(),
    "squared_error": Loss(
        outputs=lambda Z: Z,
        value=lambda Z, Y: 0.5 * (Z - Y) ** 2,
        delta=lambda Z, Y: Z - Y,
        draw=_normal,
        reported_as_mean=True,
    ),
    "poisson": Loss(
        outputs=np.exp,
        value=lambda Z, Y: xlogy(Y, Y) - Y * Z - Y + np.exp(Z),
        delta=lambda Z, Y: np.exp(Z) - Y,
        draw=lambda rng, shape: rng.poisson(1.5, shape).astype(np.float64),
    ),
    "hinge": Loss(
        outputs=lambda Z: Z,
        value=lambda Z, Y: np.maximum(0, 1 - _sign(Y) * Z),
        delta=lambda Z, Y: np.where(_sign(Y) * Z < 1, -_sign(Y), 0.0),
        draw=_labels,
    ),
    # The two of scikit-learn's SGDClassifier; rows on the boundary count as misclassified.
    "squared_hinge": Loss(
        outputs=lambda Z: Z,
        value=lambda Z, Y: np.maximum(0, 1 - _sign(Y) * Z) ** 2,
        delta=lambda Z, Y: -2 * _sign(Y) * np.maximum(0, 1 - _sign(Y) * Z),
        draw=_labels,
    ),
    "perceptron": Loss(
        outputs=lambda Z: Z,
        value=lambda Z, Y: np.maximum(0, -_sign(Y) * Z),
        delta=lambda Z, Y: np.where(_sign(Y) * Z <= 0, -_sign(Y), 0.0),
        draw=_labels,
    ),
    "absolute_error": Loss(
        outputs=lambda Z: Z,
        value=lambda Z, Y: np.abs(Z - Y),
        delta=lambda Z, Y: np.sign(Z - Y),
        draw=_normal,
    ),
    "huber": huber(),
    "quantile": quantile(),
    # Half the deviance of the Gamma distribution, for Y > 0.
    "gamma": Loss(
        outputs=np.exp,
        value=lambda Z, Y: Y * np.exp(-Z) - 1 - (np.log(Y) - Z),
        delta=lambda Z, Y: 1 - Y * np.exp(-Z),
        draw=_positive,
    ),
}


@dataclass
class Optimizer:
    """The update of parameters that all optimizers share: their state and their settings, scikit-learn's names."""

    slots: Array
    learning_rate: float = 0.001
    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    step: int = 0

    def sgd(self, gradient: Array) -> Array:
        """Return what to add to the parameters, here and below."""
        return -self.learning_rate * gradient

    def sgd_momentum(self, gradient: Array) -> Array:
        self.slots[0] = self.momentum * self.slots[0] - self.learning_rate * gradient
        return self.slots[0]

    def sgd_nesterov(self, gradient: Array) -> Array:
        return self.momentum * self.sgd_momentum(gradient) - self.learning_rate * gradient

    def adam(self, gradient: Array) -> Array:
        t = self.step + 1
        m, v = self.slots
        m[:] = self.beta_1 * m + (1 - self.beta_1) * gradient
        v[:] = self.beta_2 * v + (1 - self.beta_2) * gradient**2
        rate = self.learning_rate * np.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        return -rate * m / (np.sqrt(v) + self.epsilon)


OPTIMIZERS = {"sgd": 0, "sgd_momentum": 1, "sgd_nesterov": 1, "adam": 2}
"""Names, which are those of the methods of Optimizer, and the number of slots."""


def targets(y: ArrayLike, n_outputs: int) -> Array:
    """Y (n_rows, n_outputs) of class numbers (n_rows,), one-hot, or 0 and 1 themselves where there is one output."""
    y = np.asarray(y)
    if y.ndim == 2:
        return y.astype(np.float64)
    if n_outputs == 1:
        return y[:, None].astype(np.float64)
    return np.eye(n_outputs)[y]


@dataclass(frozen=True)
class Network:
    """Widths of the layers, inputs first; the activation of the hidden ones; the loss of the last."""

    n_units: tuple[int, ...]
    activation: str
    loss: str

    @property
    def n_params(self) -> int:
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(self.n_units))

    def unpack(self, params: Array) -> tuple[list[Array], list[Array]]:
        """Views of the flat vector: the weights (fan_in, fan_out) and the biases (fan_out,) of each layer."""
        shapes = list(pairwise(self.n_units))
        ends = np.cumsum([m * n for m, n in shapes] + [n for _, n in shapes])
        parts = np.split(params, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=False)], parts[len(shapes) :]

    def forward(self, params: Array, X: ArrayLike) -> tuple[list[Array], list[Array]]:
        """Inputs and Z of each layer."""
        coefs, intercepts = self.unpack(params)
        inputs, Z = [np.asarray(X, dtype=np.float64)], []
        for W, b in zip(coefs, intercepts, strict=True):
            Z.append(inputs[-1] @ W + b)
            inputs.append(ACTIVATIONS[self.activation].value(Z[-1]))
        return inputs[:-1], Z

    def outputs(self, params: Array, X: ArrayLike) -> Array:
        """(n_rows, n_outputs)."""
        return LOSSES[self.loss].outputs(self.forward(params, X)[1][-1])

    def loss_gradient(
        self, params: Array, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, alpha: float = 0.0
    ) -> tuple[float, Array]:
        """Loss of a batch, penalty included, and its gradient (n_params,)."""
        loss, penalty, gradient = self._backward(params, X, y, sample_weight, alpha)
        return loss + penalty, gradient

    def reported_loss(
        self, params: Array, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, alpha: float = 0.0
    ) -> float:
        """Loss of a batch as training reports it."""
        loss, penalty, _ = self._backward(params, X, y, sample_weight, alpha)
        return (loss / self.n_units[-1] if LOSSES[self.loss].reported_as_mean else loss) + penalty

    def _backward(
        self, params: Array, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, alpha: float
    ) -> tuple[float, float, Array]:
        coefs, _ = self.unpack(params)
        inputs, Zs = self.forward(params, X)
        Z = Zs[-1]
        Y = targets(y, Z.shape[1])
        weight = np.ones(len(Z)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        total = weight.sum()
        if total == 0:
            return 0.0, 0.0, np.zeros_like(params)
        loss = weight @ LOSSES[self.loss].value(Z, Y).sum(axis=1) / total
        penalty = 0.5 * alpha * sum((W**2).sum() for W in coefs) / total

        gradient = np.empty_like(params)
        dW, db = self.unpack(gradient)
        delta = weight[:, None] * LOSSES[self.loss].delta(Z, Y)
        for layer in reversed(range(len(coefs))):
            A = inputs[layer]
            dW[layer][:] = (A.T @ delta + alpha * coefs[layer]) / total
            db[layer][:] = delta.sum(axis=0) / total
            if layer > 0:
                delta = delta @ coefs[layer].T * ACTIVATIONS[self.activation].gradient(Zs[layer - 1], A)
        return float(loss), float(penalty), gradient


def train(
    network: Network,
    params: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    order: ArrayLike | None = None,
    n_epochs: int = 1,
    optimizer: str = "sgd",
    batch_size: int = 200,
    alpha: float = 0.0,
    **settings: float,
) -> tuple[Array, Array, float]:
    """Return parameters and slots after the epochs, each in the given order of rows, and the loss of the last epoch."""
    params = np.array(params, dtype=np.float64)
    X, y = np.asarray(X), np.asarray(y)
    state = Optimizer(np.zeros((OPTIMIZERS[optimizer], len(params))), **settings)  # type: ignore[arg-type]
    order = np.arange(len(X)) if order is None else np.asarray(order)
    for _ in range(n_epochs):
        loss_sum = 0.0
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
            loss_sum += len(rows) * network.reported_loss(params, X[rows], y[rows], weight, alpha)
            if weight is None or weight.sum() > 0:
                _, gradient = network.loss_gradient(params, X[rows], y[rows], weight, alpha)
                params += getattr(state, optimizer)(gradient)
                state.step += 1
    return params, state.slots, loss_sum / len(order)


def problem(n_units: tuple[int, ...], loss: str, n_rows: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """Random X (n_rows, n_units[0]), targets Y fit for the loss, and parameters; all of them exact in float32."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_units[0]))
    parts = [rng.standard_normal((m, n)) / np.sqrt(m) for m, n in pairwise(n_units)]
    parts += [0.1 * rng.standard_normal(n) for n in n_units[1:]]
    params = np.concatenate([part.ravel() for part in parts])
    Y = LOSSES[loss].draw(rng, (n_rows, n_units[-1]))
    return X.astype(np.float32).astype(np.float64), Y, params.astype(np.float32).astype(np.float64)
