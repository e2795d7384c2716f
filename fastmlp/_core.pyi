"""The door to the engine: NumPy arrays in, NumPy arrays out.

Every call checks dtypes, sizes and counts, and class numbers too: what would make the engine leave its memory is a
ValueError, TypeError or BufferError. Values are trusted to be validated: order of use, CSR indices, hyper-parameters.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

ACTIVATIONS: tuple[str, ...]
"""Activations of the hidden layers, in the engine's order."""

class Loss(NamedTuple):
    """What a loss is for: its outputs, and the targets it takes."""

    output: str
    """Function of the outputs: softmax, logistic, identity or exp."""
    mean_over_outputs: bool
    """Training reports it as a mean over the outputs, while the sum is minimised."""
    threshold: float | None
    """A single output above it stands for class 1. None where the targets are values rather than classes."""
    exclusive: bool
    """Each row belongs to exactly one class."""
    lowest: float
    """Least value of a target."""
    highest: float
    """Greatest value of a target."""

LOSSES: dict[str, Loss]
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

def random_words(key: Sequence[int], counter: Sequence[int], group: int = 0) -> list[int]:
    """Sixteen random words of 32 bits: Philox 4x32-10 of four counters.

    Words 0 and 1 of the counter (4 group + i, *counter), i from 0 to 3, are elements 2 i and 2 i + 1; its words 2 and 3
    stand eight further on. key has two words, counter three.
    """

def dot(a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sixteen sums c plus two terms each, as the products in bfloat16 compute them: a is (16, 2), b is (2, 16)."""

def aligned_empty(shape: int | Sequence[int], dtype: str | np.dtype[Any] | type) -> NDArray[Any]:
    """An array like ``numpy.empty`` whose first element lies at a multiple of 64 bytes: a cache line, a register."""

class Network:
    """Shapes and functions of a network, bound to the engine in use at construction.

    Parameters
    ----------
    n_units : widths of the layers, inputs first, outputs last; at least two.
    activation : name in ACTIVATIONS, of all hidden layers, or a sequence of names, one for each.
    loss : name in LOSSES; decides the output function too.
    dtype : "float32" or "float64", in which everything is computed; "bfloat16", in which the factors of the matrix
        products are rounded, while all else is float32.
    label_smoothing : s, 0 to 1; the targets of log_loss and binary_log_loss are y (1 - s) + s / (number of classes).
    huber_delta : error from which on the loss huber is a straight line.
    quantiles : of each output, for the loss quantile; None for 0.5.
    """

    n_units: tuple[int, ...]
    activation: str | tuple[str, ...]
    loss: str
    dtype: np.dtype[Any]
    """Of parameters, slots and outputs."""
    precision: str
    """Of the products: the dtype that the network was made with."""
    isa: str
    emulates: bool
    """The products in bfloat16 are computed by instructions of float32: the same bits, but slower."""
    n_params: int
    def __init__(
        self,
        n_units: Sequence[int],
        activation: str | Sequence[str],
        loss: str,
        dtype: str | np.dtype[Any] | type,
        *,
        label_smoothing: float = 0.0,
        huber_delta: float = 1.0,
        quantiles: Sequence[float] | NDArray[Any] | None = None,
    ) -> None: ...
    def step_flops(self, batch_size: int) -> int:
        """Floating-point operations of the matrix products of one training step."""

    def coefs(self, params: NDArray[Any]) -> list[NDArray[Any]]:
        """Views into the flat vector: weight matrices of shape (fan_in, fan_out)."""

    def intercepts(self, params: NDArray[Any]) -> list[NDArray[Any]]:
        """Views into the flat vector: bias vectors of shape (fan_out,)."""

    def predict(
        self, params: NDArray[Any], X: Any, out: NDArray[Any], n_threads: int = 1, seconds: float = 0.1
    ) -> bool:
        """Write the outputs for the rows of X into out, of shape (n_rows, n_outputs) and the network's dtype.

        Returns False when X has a value that is NaN, infinite or too large for the dtype: out is not to be used then.
        Signals are handled after so many seconds again and again; what a handler raises ends the call.

        CSR rows give the bits of the dense rows where all parameters are finite, but for the sign of a zero: zeros that
        are not stored are not multiplied, which only an infinite weight (NaN) or a bias of -0.0 would notice.
        """

    def evaluate(
        self,
        params: NDArray[Any],
        X: Any,
        y: NDArray[Any],
        sample_weight: NDArray[np.float64] | None = None,
        n_threads: int = 1,
        seconds: float = 0.1,
    ) -> float:
        """Return the mean loss over the rows, without penalty, by a forward pass: `loss_gradient`'s with alpha 0."""

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
        l1_ratio: float = 0.0,
        scratch: Scratch | None = None,
    ) -> float:
        """Return the loss (mean over the rows, penalty included) and write its gradient into gradient (n_params,).

        params are only read. Signals are handled as in `predict`. Who computes many gradients gives a scratch to
        compute in, or fresh pages would be waited for each time.
        """

    def scratch_bytes(
        self,
        X: Any,
        *,
        job: Literal["train", "evaluate", "loss_gradient", "predict"] = "train",
        optimizer: str = "sgd",
        batch_size: int = 200,
        alpha: float = 0.0,
        clip_norm: float | None = None,
        input_noise: float = 0.0,
        n_threads: int = 1,
    ) -> int:
        """Bytes that the job allocates for rows like X, beside the arrays it is given.

        optimizer to input_noise are those of a training; alpha also that of a gradient.
        """

class Scratch:
    """The memory in which trainings compute, one after the other: a new training need not wait for fresh pages.

    Attributes
    ----------
    slots : the array whose values the memory holds too, as the last call of a training left them: a training of this
        very array, by a network of the same units, does not read it again. None where there is none. Whoever writes to
        the array sets this to None.
    """

    slots: NDArray[Any] | None
    def __init__(self) -> None: ...
    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""

class Training:
    """Training in progress: the arrays of one fit, and where in the epoch it stands.

    Parameters
    ----------
    network : Network
    params : (n_params,) of the network's dtype, C-contiguous, updated in place.
    slots : (n_slots, n_params) of the network's dtype, updated in place; n_slots from OPTIMIZERS. They are read where
        ``scratch.slots`` is not the same array.
    X : float32, float64 or uint8 array of shape (n_rows, n_units[0]) whose rows are contiguous, with any row stride;
        or a scipy.sparse CSR matrix or array of such values with sorted int32 or int64 indices and no duplicates.
    y : int64 (n_rows,) class numbers; or a float32, float64 or uint8 matrix (n_rows, n_outputs) with contiguous rows.
    sample_weight : float64 (n_rows,) or None.
    optimizer : name in OPTIMIZERS. momentum is for sgd_momentum and sgd_nesterov; beta_1 for adam; beta_2 for adam and
        rmsprop (PyTorch's alpha there); epsilon for adam, rmsprop and adagrad.
    alpha, l1_ratio : strength of the penalty alpha ((1 - l1_ratio) / 2 sum(W²) + l1_ratio sum(|W|)) and its parts.
    weight_decay : W loses learning_rate * weight_decay * W in each step, apart from the gradient (AdamW), biases not.
    clip_norm : a gradient of all parameters that is longer is shortened to this norm; None: it is not.
    dropout : shares of the inputs and of the units of each hidden layer that are 0 in a step, while the others are
        divided by what is left; None for no dropout.
    input_noise : standard deviation of normal noise added to the inputs.
    seed : of dropout and noise, 0 to 2**64 - 1. What they draw depends on seed, step, layer, row of the batch and unit.
    step : updates made so far (Adam's t).
    scratch : Scratch to compute in, of this training alone while a batch is unfinished; None for a new one.
    rate_factors : (2 n_layers + 1) factors of the learning rate: of the weights of each layer, then of the biases of
        each, then of the factors of the inputs; None for ones.
    learn_scale : whether each input is multiplied by a factor that is learned too, 1 at first. The first weights in
        params are the product, so that predictions know nothing of it; slots, penalty and decay are those of the other
        factor. Not with clip_norm.
    n_rows : rows that an epoch uses, the first ones of its order; None for all.
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
        l1_ratio: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        dropout: Sequence[float] | None = None,
        input_noise: float = 0.0,
        seed: int = 0,
        learning_rate: float = 0.001,
        momentum: float = 0.9,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        step: int = 0,
        n_threads: int = 1,
        scratch: Scratch | None = None,
        rate_factors: Sequence[float] | None = None,
        learn_scale: bool = False,
        n_rows: int | None = None,
    ) -> None: ...
    @property
    def timers(self) -> dict[str, float] | None:
        """Seconds that thread 0 spent in each phase of all runs so far; None unless built with FASTMLP_TIMERS=1."""
    @property
    def step(self) -> int:
        """Updates made so far."""
    @property
    def gradient_norm(self) -> float:
        """Norm of the last step's gradient, penalty included, before it was shortened; 0 without clip_norm."""
    @property
    def position(self) -> int:
        """Rows used in this epoch so far; all of them before the first epoch and between two."""
    @property
    def loss(self) -> float:
        """Mean loss, penalty included, over the rows used in this epoch so far (scikit-learn's ``loss_``)."""

    def run(
        self,
        order: NDArray[np.int64] | None = None,
        seconds: float = 0.1,
        rates: NDArray[np.float64] | None = None,
    ) -> Literal["epoch", "yield", "not_finite"]:
        """Train without the GIL from position on until the epoch ends or the seconds have passed.

        After "epoch" the next call begins a new epoch. params and slots are up to date after every call; after
        "not_finite" they, step, position and loss are those of before it. After "yield" the next call does not read
        them again: what is written to them in between is lost.
        order : (n_rows,) rows in the order of use, the same array until the epoch has ended; None: 0, 1, 2, …
        rates : (steps of an epoch,) learning rate of each, counted from its begin; None: all have `learning_rate`.
        """

    def apply(self, gradient: NDArray[Any]) -> bool:
        """Make one update from this gradient (n_params,) of the mean loss, penalty included, between two batches.

        The gradient is clipped and the weights decay as in a step of `run`.
        Returns False, with nothing changed, where a parameter or a slot would not be finite.
        """
