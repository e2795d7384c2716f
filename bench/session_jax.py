"""JAX in the benchmark: an epoch is one jitted scan over its batches, and the parameters are donated to it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from bench.engines import MOMENTUM, Orders
from bench.workloads import Workload

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda Z: Z,
    "logistic": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
}


class JaxSession:
    """One call of the compiled epoch for each epoch."""

    dtype: Any = None
    """Of rows and parameters; None for that of the workload."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        jax.config.update("jax_enable_x64", workload.dtype == "float64")
        self._workload = workload
        X, y = workload.data()
        # One-hot rows: their gradient is a product, where that of an index would be a slow scatter.
        T = np.eye(workload.n_units[-1])[y] if workload.loss == "log_loss" else y[:, None]
        self._X, self._T = jnp.asarray(X, dtype=self.dtype), jnp.asarray(T, dtype=workload.dtype)
        self._rows = self._X[: workload.n_rows]
        self._orders = Orders(workload.n_rows)
        self._epoch = jax.jit(partial(_epoch, workload), donate_argnums=0)
        self._outputs = jax.jit(partial(_outputs, workload))
        self.reset()

    def reset(self) -> None:
        layers = zip(*self._workload.initial(), strict=True)
        params = [tuple(jnp.array(array, dtype=self.dtype) for array in layer) for layer in layers]
        n_slots = {"sgd": 0, "sgd_momentum": 1, "adam": 2}[self._workload.optimizer]
        slots = [jax.tree.map(jnp.zeros_like, params) for _ in range(n_slots)]
        self._state = jax.block_until_ready((params, slots, jnp.zeros((), self._T.dtype)))
        self._orders.reset()

    def turn(self) -> float:
        if self._workload.task == "predict":
            for _ in range(self._workload.n_epochs):
                self._predicted = jax.block_until_ready(self._outputs(self._state[0], self._rows))
            return 0.0
        loss = jnp.zeros(())
        for order in self._orders.epochs(self._workload.n_epochs):
            self._state, loss = self._epoch(self._state, self._X, self._T, order.astype(np.int32))
        jax.block_until_ready(self._state)
        return float(loss)

    def parameters(self) -> list[NDArray[Any]]:
        if self._workload.task == "predict":
            arrays = [self._predicted]
        else:
            arrays = [array for arrays in zip(*self._state[0], strict=True) for array in arrays]
        return [np.array(array.astype(self._T.dtype)) for array in arrays]


class Bfloat16Session(JaxSession):
    """Rows, parameters and the optimizer's state in bfloat16; the loss and the arithmetic of Adam in float32."""

    dtype = jnp.bfloat16


def _epoch(workload: Workload, state: Any, X: jax.Array, T: jax.Array, order: jax.Array) -> tuple[Any, jax.Array]:
    """Use the rows once; return the state after it and the mean loss."""

    def step(state: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
        params, slots, n_steps = state
        # The rows are known to exist: clip is the mode that checks nothing and fills nothing.
        batch = (jnp.take(array, rows, axis=0, mode="clip") for array in (X, T))
        loss, gradient = jax.value_and_grad(partial(_loss, workload))(params, *batch)
        return _update(workload, params, slots, n_steps + 1, gradient), loss

    n_whole = len(order) // workload.batch_size
    whole, rest = jnp.split(order, [n_whole * workload.batch_size])
    state, losses = jax.lax.scan(step, state, whole.reshape(n_whole, workload.batch_size))
    total = losses.sum() * workload.batch_size
    if len(rest):
        state, loss = step(state, rest)
        total += loss * len(rest)
    return state, total / len(order)


def _update(workload: Workload, params: Any, slots: Any, n_steps: jax.Array, gradient: Any) -> Any:
    rate = workload.learning_rate
    if workload.optimizer == "sgd":
        return jax.tree.map(lambda w, g: w - rate * g, params, gradient), [], n_steps
    if workload.optimizer == "sgd_momentum":
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v - rate * g, slots[0], gradient)
        return jax.tree.map(jnp.add, params, velocity), [velocity], n_steps
    rate = rate * jnp.sqrt(1 - BETA_2**n_steps) / (1 - BETA_1**n_steps)
    first = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, slots[0], gradient)
    second = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, slots[1], gradient)
    params = jax.tree.map(
        lambda w, m, v: (w - rate * m / (jnp.sqrt(v) + EPSILON)).astype(w.dtype), params, first, second
    )
    return params, [first, second], n_steps


def _forward(workload: Workload, params: Any, A: jax.Array) -> jax.Array:
    *hidden, (W, b) = params
    for W_hidden, b_hidden in hidden:
        A = ACTIVATIONS[workload.activation](A @ W_hidden + b_hidden)
    return A @ W + b


def _loss(workload: Workload, params: Any, X: jax.Array, T: jax.Array) -> jax.Array:
    Z = _forward(workload, params, X).astype(T.dtype)
    if workload.loss == "log_loss":
        return -(T * jax.nn.log_softmax(Z)).sum() / len(Z)
    return 0.5 * jnp.square(Z - T).sum() / len(Z)


def _outputs(workload: Workload, params: Any, X: jax.Array) -> jax.Array:
    Z = _forward(workload, params, X)
    return jax.nn.softmax(Z) if workload.loss == "log_loss" else Z
