"""The specification, continued: activations, losses and the targets that a loss is meant for, in float64 NumPy."""

from collections.abc import Callable
from dataclasses import dataclass

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


def targets(y: ArrayLike, n_outputs: int) -> Array:
    """Y (n_rows, n_outputs) of class numbers (n_rows,), one-hot, or 0 and 1 themselves where there is one output."""
    y = np.asarray(y)
    if y.ndim == 2:
        return y.astype(np.float64)
    if n_outputs == 1:
        return y[:, None].astype(np.float64)
    return np.eye(n_outputs)[y]
