"""L-BFGS: SciPy's minimiser over the engine's loss and gradient of all rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult
from scipy.optimize import minimize as scipy_minimize

from fastmlp._core import Network
from fastmlp.perceptron import Samples

VECTORS = 25
"""Arrays as large as the parameters that the minimiser keeps: two for each of ten corrections, and its own state."""


def minimize(
    network: Network,
    start: NDArray[Any],
    samples: Samples,
    after_iteration: Callable[[NDArray[np.float64], float], bool],
    *,
    alpha: float,
    n_threads: int,
    **options: Any,
) -> OptimizeResult:
    """Minimise the mean loss of all rows, penalty included.

    Parameters
    ----------
    network : Network
        In float64: a line search needs more digits than float32 has.
    start : ndarray of shape (n_params,)
        Where to begin.
    samples : Samples
    after_iteration : callable (params, loss) -> bool
        Told where each iteration has arrived; whether to stop there.
    alpha : float
        Strength of the penalty.
    n_threads : int
    **options
        SciPy's options of L-BFGS-B.

    Returns
    -------
    OptimizeResult
        SciPy's, and in ``stopped`` whether `after_iteration` has asked for the end.
    """
    stopped = False

    def loss_and_gradient(params: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        gradient = np.empty_like(params)  # a new one: SciPy may keep it
        return network.loss_gradient(params, *samples, alpha, gradient, n_threads), gradient

    def callback(intermediate_result: OptimizeResult) -> None:  # SciPy looks at the name of the argument
        nonlocal stopped
        stopped = after_iteration(intermediate_result.x, float(intermediate_result.fun))
        if stopped:
            raise StopIteration

    result = scipy_minimize(
        loss_and_gradient,
        start.astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        callback=callback,
        options=options,
    )
    result.stopped = stopped
    return result
