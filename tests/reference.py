"""The specification of the engine: the whole network in float64 NumPy, written to be read.

Layer l maps A (n_rows, n_units[l]) to Z = A W + b; a hidden layer answers A = f(Z), the last one with the output
function of the loss. delta = dL/dZ. The flat parameter vector is W_0, W_1, ..., then b_0, b_1, ..., in C order;
gradients and optimizer slots have the same order. The loss of a batch is

    (sum_i w_i sum_k L(Z_ik, Y_ik) + penalty) / sum_i w_i        with w = 1 unless rows are weighted,

and the penalty alpha ((1 - l1_ratio) / 2 sum W^2 + l1_ratio sum |W|).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from reference_functions import (
    ACTIVATIONS as ACTIVATIONS,
)
from reference_functions import (
    LOSSES as LOSSES,
)
from reference_functions import (
    SELU_ALPHA as SELU_ALPHA,
)
from reference_functions import (
    SELU_SCALE as SELU_SCALE,
)
from reference_functions import (
    Activation as Activation,
)
from reference_functions import (
    Array as Array,
)
from reference_functions import (
    Loss as Loss,
)
from reference_functions import (
    binary_log_loss as binary_log_loss,
)
from reference_functions import (
    huber as huber,
)
from reference_functions import (
    log_loss as log_loss,
)
from reference_functions import (
    quantile as quantile,
)
from reference_functions import (
    smoothed as smoothed,
)
from reference_functions import (
    targets as targets,
)
from reference_random import (
    INPUT_NOISE as INPUT_NOISE,
)
from reference_random import (
    dropout_scales as dropout_scales,
)
from reference_random import (
    input_noise as input_noise,
)
from reference_random import (
    philox as philox,
)
from reference_random import (
    random_words as random_words,
)


@dataclass
class Optimizer:
    """The update of parameters that all optimizers share: their state and their settings, scikit-learn's names.

    An epsilon that is smaller than the smallest normal number of its dtype counts as that number in the engine.
    """

    slots: Array
    learning_rate: float | Array = 0.001
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

    def rmsprop(self, gradient: Array) -> Array:
        """PyTorch's RMSprop, whose alpha is beta_2 here."""
        (v,) = self.slots
        v[:] = self.beta_2 * v + (1 - self.beta_2) * gradient**2
        return -self.learning_rate * gradient / (np.sqrt(v) + self.epsilon)

    def adagrad(self, gradient: Array) -> Array:
        """PyTorch's Adagrad."""
        (v,) = self.slots
        v += gradient**2
        return -self.learning_rate * gradient / (np.sqrt(v) + self.epsilon)


OPTIMIZERS = {"sgd": 0, "sgd_momentum": 1, "sgd_nesterov": 1, "adam": 2, "rmsprop": 1, "adagrad": 1}
"""Names, which are those of the methods of Optimizer, and the number of slots."""


@dataclass(frozen=True)
class Network:
    """Widths of the layers, inputs first; the activation of the hidden ones, or one for each; the loss of the last."""

    n_units: tuple[int, ...]
    activation: str | Sequence[str]
    loss: str | Loss

    @property
    def loss_function(self) -> Loss:
        return LOSSES[self.loss] if isinstance(self.loss, str) else self.loss

    @property
    def activations(self) -> list[Activation]:
        """Of each hidden layer."""
        depth = len(self.n_units) - 2
        names = [self.activation] * depth if isinstance(self.activation, str) else self.activation
        return [ACTIVATIONS[name] for name in names]

    @property
    def n_params(self) -> int:
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(self.n_units))

    def unpack(self, params: Array) -> tuple[list[Array], list[Array]]:
        """Views of the flat vector: the weights (fan_in, fan_out) and the biases (fan_out,) of each layer."""
        shapes = list(pairwise(self.n_units))
        ends = np.cumsum([m * n for m, n in shapes] + [n for _, n in shapes])
        parts = np.split(params, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=False)], parts[len(shapes) :]

    def forward(
        self, params: Array, X: ArrayLike, scales: Sequence[Array] | None = None
    ) -> tuple[list[Array], list[Array]]:
        """Inputs and Z of each layer. scales : factors of dropout of the inputs of each layer; None for ones."""
        coefs, intercepts = self.unpack(params)
        scales = [np.ones(1)] * len(coefs) if scales is None else scales
        inputs = [np.asarray(X, dtype=np.float64) * scales[0]]
        Z = [inputs[0] @ coefs[0] + intercepts[0]]
        for f, W, b, scale in zip(self.activations, coefs[1:], intercepts[1:], scales[1:], strict=True):
            inputs.append(f.value(Z[-1]) * scale)
            Z.append(inputs[-1] @ W + b)
        return inputs, Z

    def outputs(self, params: Array, X: ArrayLike) -> Array:
        """(n_rows, n_outputs)."""
        return self.loss_function.outputs(self.forward(params, X)[1][-1])

    def loss_gradient(
        self,
        params: Array,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
    ) -> tuple[float, Array]:
        """Loss of a batch, penalty included, and its gradient (n_params,)."""
        loss, penalty, gradient = self.step(params, X, y, sample_weight, alpha, l1_ratio)
        return loss + penalty, gradient

    def step(
        self,
        params: Array,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
        scales: Sequence[Array] | None = None,
    ) -> tuple[float, float, Array]:
        """Loss of a batch, penalty, and the gradient of their sum."""
        coefs, _ = self.unpack(params)
        inputs, Zs = self.forward(params, X, scales)
        Z = Zs[-1]
        Y = targets(y, Z.shape[1])
        weight = np.ones(len(Z)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        total = weight.sum()
        if total == 0:
            return 0.0, 0.0, np.zeros_like(params)
        loss = weight @ self.loss_function.value(Z, Y).sum(axis=1) / total
        l1, l2 = alpha * l1_ratio, alpha * (1 - l1_ratio)
        penalty = sum(0.5 * l2 * (W**2).sum() + l1 * np.abs(W).sum() for W in coefs) / total

        gradient = np.empty_like(params)
        dW, db = self.unpack(gradient)
        delta = weight[:, None] * self.loss_function.delta(Z, Y)
        for layer in reversed(range(len(coefs))):
            W = coefs[layer]
            dW[layer][:] = (inputs[layer].T @ delta + l2 * W + l1 * np.sign(W)) / total
            db[layer][:] = delta.sum(axis=0) / total
            if layer > 0:
                f, Z_below = self.activations[layer - 1], Zs[layer - 1]
                delta = delta @ W.T * f.gradient(Z_below, f.value(Z_below))
                if scales is not None:
                    delta *= scales[layer]
        return float(loss), float(penalty), gradient


@dataclass(frozen=True)
class Regularisation:
    """What keeps training from fitting noise; the seed is of dropout and of the noise on inputs."""

    alpha: float = 0.0
    l1_ratio: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float | None = None
    dropout: Sequence[float] | None = None
    input_noise: float = 0.0
    seed: int = 0


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
    rate_factors: Sequence[float] | None = None,
    learn_scale: bool = False,
    **settings: Any,
) -> tuple[Array, Array, float]:
    """Return parameters and slots after the epochs, each in the given order of rows, and the loss of the last epoch.

    rate_factors : of W and then b of each layer, and of the factors of the inputs.
    learn_scale : whether each input is multiplied by a factor that is learned; the parameters returned contain it.
    settings : those of Optimizer and of Regularisation.
    """
    params = np.array(params, dtype=np.float64)
    X, y = np.asarray(X, dtype=np.float64), np.asarray(y)
    r = Regularisation(**{f.name: settings.pop(f.name) for f in fields(Regularisation) if f.name in settings})
    # The factors of the inputs follow the parameters: dL/ds is the mean over the batch of x times dL/d(s x).
    n_params = len(params)
    params = np.concatenate([params, np.ones(network.n_units[0])])
    state = Optimizer(np.zeros((OPTIMIZERS[optimizer], len(params))), **settings)
    coefs, intercepts = network.unpack(params[:n_params])
    scale = params[n_params:]
    parts = [*coefs, *intercepts, scale]
    factors = np.ones(len(parts)) if rate_factors is None else rate_factors
    factor = np.concatenate([np.full(part.size, f) for part, f in zip(parts, factors, strict=True)])
    order = np.arange(len(X)) if order is None else np.asarray(order)
    for _ in range(n_epochs):
        loss_sum = 0.0
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
            inputs, scales = X[rows], None
            if r.input_noise:
                inputs = inputs + r.input_noise * input_noise(r.seed, state.step, *inputs.shape)
            if r.dropout is not None:
                scales = dropout_scales(r.dropout, r.seed, state.step, len(rows), network.n_units[:-1])
            sample = y[rows], weight
            loss, penalty, gradient = network.step(
                params[:n_params], inputs * scale, *sample, r.alpha, r.l1_ratio, scales
            )
            gradient = np.concatenate([gradient, np.zeros_like(scale)])
            if learn_scale:  # s_i W_i is row i of the weights that the inputs as they are see
                folded = network.step(_folded(network, params[:n_params], scale), inputs, *sample, 0, 0, scales)[2]
                gradient[n_params:] = (coefs[0] * network.unpack(folded)[0][0]).sum(axis=1)
            mean = network.n_units[-1] if network.loss_function.reported_as_mean else 1
            loss_sum += len(rows) * (loss / mean + penalty)
            if weight is None or weight.sum() > 0:
                norm = np.linalg.norm(gradient)
                if r.clip_norm is not None and norm > r.clip_norm:
                    gradient *= r.clip_norm / norm
                for W, f in zip(coefs, factors, strict=False):
                    W *= 1 - state.learning_rate * f * r.weight_decay
                params += _update(state, optimizer, gradient, factor)
                state.step += 1
    return _folded(network, params[:n_params], scale), state.slots[:, :n_params], loss_sum / len(order)


def _update(state: Optimizer, optimizer: str, gradient: Array, factor: Array) -> Array:
    """The change of the parameters, each with its own learning rate."""
    return getattr(replace(state, learning_rate=state.learning_rate * factor), optimizer)(gradient)


def _folded(network: Network, params: Array, scale: Array) -> Array:
    """Parameters of the network whose first weights are multiplied by the factors of the inputs."""
    params = params.copy()
    network.unpack(params)[0][0][:] *= scale[:, None]
    return params


def problem(n_units: tuple[int, ...], loss: str, n_rows: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """Random X (n_rows, n_units[0]), targets Y fit for the loss, and parameters; all of them exact in float32."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_units[0]))
    parts = [rng.standard_normal((m, n)) / np.sqrt(m) for m, n in pairwise(n_units)]
    parts += [0.1 * rng.standard_normal(n) for n in n_units[1:]]
    params = np.concatenate([part.ravel() for part in parts])
    Y = LOSSES[loss].draw(rng, (n_rows, n_units[-1]))
    return X.astype(np.float32).astype(np.float64), Y, params.astype(np.float32).astype(np.float64)
