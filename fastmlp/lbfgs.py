"""L-BFGS: SciPy's minimiser over the engine's loss and gradient of all rows."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult
from scipy.optimize import minimize as scipy_minimize
from sklearn.utils.optimize import _check_optimize_result

from fastmlp._core import LOSSES
from fastmlp.engine_settings import network_of
from fastmlp.threads import default_threads, step_flops

if TYPE_CHECKING:
    from fastmlp.fitting import Fit
    from fastmlp.listener import Listener

VECTORS = 38
"""Arrays as large as the parameters that the minimiser keeps: two for each of ten corrections, bounds, its own state,
and copies of point and gradient that it hands on from function to function."""


def minimize(fit: Fit, n_iterations: int, listeners: Sequence[Listener]) -> None:
    """Minimise the mean loss of all rows, penalty included, until it converges or a listener ends it.

    It computes in float64: a line search needs more digits than float32 has.

    Raises
    ------
    NonFiniteError
        If parameters or loss have become infinite or NaN.
    """
    settings, samples = fit.settings, fit.samples
    network = network_of(fit.network.n_units, settings, fit.network.loss, "float64")
    n_threads = settings.n_threads or default_threads(step_flops(network, samples.rows, samples.rows.shape[0]))

    def loss_and_gradient(params: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        gradient = np.empty_like(params)  # a new one: SciPy may keep it
        return network.loss_gradient(params, *samples, settings.alpha, gradient, n_threads), gradient

    def callback(intermediate_result: OptimizeResult) -> None:  # SciPy looks at the name of the argument
        fit.replace_params(intermediate_result.x)
        loss = _reported(fit, intermediate_result.x, float(intermediate_result.fun))
        fit.learning_rate = nan
        fit.note(loss, listeners)
        fit.best_loss = min(loss, inf if fit.best_loss is None else fit.best_loss)
        if fit.stopped:
            raise StopIteration
        for listener in listeners:
            listener.epoch_begins(fit)

    for listener in listeners:
        listener.epoch_begins(fit)
    result = scipy_minimize(
        loss_and_gradient,
        fit.params.astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        callback=callback,
        options={"maxfun": settings.max_fun, "maxiter": n_iterations, "gtol": settings.tol},
    )
    fit.replace_params(result.x)
    fit.last_loss = _reported(fit, result.x, float(result.fun))
    if not (np.isfinite(fit.last_loss) and np.isfinite(fit.params).all()):
        raise fit.non_finite()
    if not fit.stopped:
        fit.n_iter = _check_optimize_result("lbfgs", result, n_iterations)
        fit.stopped = True


def _reported(fit: Fit, params: NDArray[Any], loss: float) -> float:
    """The loss as the other solvers report it: where they take the mean over the outputs, so does this."""
    n_units, samples = fit.network.n_units, fit.samples
    if n_units[-1] == 1 or not LOSSES[fit.network.loss].mean_over_outputs:
        return float(loss)
    weights = params[: -sum(n_units[1:])]
    n = samples.rows.shape[0] if samples.weights is None else samples.weights.sum()
    penalty = 0.5 * fit.settings.alpha * (weights @ weights) / n
    return float((loss - penalty) / n_units[-1] + penalty)
