"""The door to the engine: NumPy arrays in, NumPy arrays out. Arguments are trusted to be validated."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ACTIVATIONS: tuple[str, ...]
"""Activations of the hidden layers, in the engine's order."""
LOSSES: tuple[str, ...]
"""Losses, in the engine's order."""
OPTIMIZERS: dict[str, int]
"""Optimizers with the number of slots (arrays as large as the parameters) that each keeps."""
MAX_THREADS: int

def available_isas() -> tuple[str, ...]:
    """Instruction sets that this CPU can run and this build contains, the fastest first."""

def isa() -> str:
    """The instruction set in use: ``FASTMLP_ISA`` from the environment, or the fastest.

    Raises ValueError when ``FASTMLP_ISA`` names one that is unknown or that this CPU lacks.
    """

def fma_peak(dtype: str = "float32", seconds: float = 0.05) -> float:
    """GFLOP/s that a loop of multiply-adds in registers reaches on one core, best of several rounds."""

def barrier_latency(n_threads: int = 2, n_barriers: int = 10000) -> float:
    """Seconds that one barrier of the engine's own team of threads takes, best of five runs."""

class Network:
    """Shapes and functions of a network, bound to the engine in use at construction.

    Parameters
    ----------
    n_units : widths of the layers, inputs first, outputs last; at least two.
    activation : name in ACTIVATIONS, of the hidden layers.
    loss : name in LOSSES; decides the output function too.
    dtype : "float32" or "float64", in which everything is computed.
    """

    n_units: tuple[int, ...]
    activation: str
    loss: str
    dtype: np.dtype[Any]
    isa: str
    n_params: int
    def __init__(self, n_units: Sequence[int], activation: str, loss: str, dtype: str | np.dtype[Any]) -> None: ...
    def step_flops(self, batch_size: int) -> int:
        """Floating-point operations of the matrix products of one training step."""

    def coefs(self, params: NDArray[Any]) -> list[NDArray[Any]]:
        """Views into the flat vector: weight matrices of shape (fan_in, fan_out)."""

    def intercepts(self, params: NDArray[Any]) -> list[NDArray[Any]]:
        """Views into the flat vector: bias vectors of shape (fan_out,)."""

    def predict(self, params: NDArray[Any], X: Any, out: NDArray[Any], n_threads: int = 1) -> bool:
        """Write the outputs for the rows of X into out, of shape (n_rows, n_outputs) and the network's dtype.

        Returns False when X has a value that is NaN, infinite or too large for the dtype: out is not to be used then.
        """

    def loss_gradient(
        self,
        params: NDArray[Any],
        X: Any,
        y: NDArray[Any],
        sample_weight: NDArray[np.float64] | None,
        alpha: float,
        gradient: NDArray[Any],
        n_threads: int = 1,
        seconds: float = 0.1,
    ) -> float:
        """Return the loss (mean over the rows, penalty included) and write its gradient into gradient (n_params,).

        Signals are handled after so many seconds again and again; what a handler raises ends the call.
        """

class Training:
    """Training in progress: the arrays of one fit, and where in the epoch it stands.

    Parameters
    ----------
    network : Network
    params : (n_params,) of the network's dtype, C-contiguous, updated in place.
    slots : (n_slots, n_params) of the network's dtype, updated in place; n_slots from OPTIMIZERS.
    X : float32, float64 or uint8 array of shape (n_rows, n_units[0]) whose rows are contiguous, with any row stride;
        or a scipy.sparse CSR matrix or array of such values with sorted int32 or int64 indices and no duplicates.
    y : int64 (n_rows,) class numbers; or a float32, float64 or uint8 matrix (n_rows, n_outputs) with contiguous rows.
    sample_weight : float64 (n_rows,) or None.
    optimizer : name in OPTIMIZERS.
    step : updates made so far (Adam's t).
    """

    learning_rate: float
    n_threads: int
    def __init__(
        self,
        network: Network,
        params: NDArray[Any],
        slots: NDArray[Any],
        X: Any,
        y: NDArray[Any],
        sample_weight: NDArray[np.float64] | None = None,
        *,
        optimizer: str = "sgd",
        batch_size: int = 200,
        alpha: float = 0.0,
        learning_rate: float = 0.001,
        momentum: float = 0.9,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        step: int = 0,
        n_threads: int = 1,
    ) -> None: ...
    @property
    def timers(self) -> dict[str, float] | None:
        """Seconds that thread 0 spent in each phase of all runs so far; None unless built with FASTMLP_TIMERS=1."""
    @property
    def step(self) -> int:
        """Updates made so far."""
    @property
    def position(self) -> int:
        """Rows used in this epoch so far; all of them before the first epoch and between two."""
    @property
    def loss(self) -> float:
        """Mean loss, penalty included, over the rows used in this epoch so far (scikit-learn's ``loss_``)."""

    def run(
        self, order: NDArray[np.int64] | None = None, seconds: float = 0.1
    ) -> Literal["epoch", "yield", "not_finite"]:
        """Train without the GIL from position on until the epoch ends or the seconds have passed.

        After "epoch" the next call begins a new epoch. params and slots are up to date after every call.
        order : (n_rows,) rows in the order of use, the same array until the epoch has ended; None: 0, 1, 2, …
        """
