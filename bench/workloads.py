"""What is measured: a network, how it is trained and on what, and the runs that are compared."""

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from bench import datasets

UNMOVED = 1e-8
"""Learning rate of what is compared in bfloat16. A small step moves parameters that are kept in float32 but not those
in bfloat16: with a rate that moves neither they can be compared. How they move is tested on small networks."""


@dataclass(frozen=True)
class Workload:
    """A network, how it is trained, and how much of it makes one turn.

    Data are random, drawn from a fixed seed, unless `source` names real ones.
    """

    n_units: tuple[int, ...]
    batch_size: int
    n_rows: int = 8192
    n_epochs: int = 1
    """Epochs of one turn, one call of `fit`: enough that the call's own overhead counts as it does for a user.

    Of what predicts, the calls of one turn.
    """
    activation: str = "relu"
    loss: str = "log_loss"
    optimizer: str = "sgd"
    learning_rate: float = 0.0001
    """So small that a relu unit which a rounding switches changes the weights by no more than rounding, too."""
    dtype: str = "float32"
    density: float = 1.0
    sparse: bool = False
    """Whether X is given as CSR."""
    source: str = ""
    """Name of a real data set in `bench.datasets`."""
    settings: tuple[tuple[str, Any], ...] = ()
    """More hyper-parameters of fastmlp's estimators; of the others only PyTorch knows some: see its session."""
    task: str = "train"
    """Or "predict": the rows, in one call."""

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.n_units))}, {self.batch_size}"

    @property
    def n_steps(self) -> int:
        """Training steps of one turn; a call that predicts is one step."""
        return self.n_epochs * (1 if self.task == "predict" else -(-self.n_rows // self.batch_size))

    @property
    def flops(self) -> float:
        """Floating-point operations of one turn: those of the matrix products only.

        A layer of (fan_in, fan_out) costs 2 fan_in fan_out a row for each of Z = A W, dW = Aᵀ delta and, but for the
        first layer, dA = delta Wᵀ. Of CSR rows, only the stored values count.
        """
        weights: list[float] = [fan_in * fan_out for fan_in, fan_out in pairwise(self.n_units)]
        if self.sparse:
            weights[0] *= self.density
        if self.task == "predict":
            return 2.0 * self.n_rows * self.n_epochs * sum(weights)
        return 2.0 * self.n_rows * self.n_epochs * (3 * sum(weights) - weights[0])

    def data(self) -> tuple[Any, NDArray[Any]]:
        """X (n_rows, n_features), dense or CSR, and y (n_rows,), class numbers or values."""
        if self.source:
            X, y = datasets.load(self.source, self.n_rows, self.n_units[0], self.n_units[-1])
            return X.astype(self.dtype), y if self.loss == "log_loss" else y.astype(self.dtype)
        rng = np.random.default_rng(0)
        # What predicts has to be fitted first, on rows of every class.
        n_rows = max(self.n_rows, 256) if self.task == "predict" else self.n_rows
        X = rng.random((n_rows, self.n_units[0]), dtype=np.float32).astype(self.dtype, copy=False)
        if self.density < 1:
            X = np.less(X, self.density).astype(self.dtype)
        y = rng.permutation(n_rows) % self.n_units[-1]  # each class, of however few rows
        return (scipy.sparse.csr_array(X) if self.sparse else X), y

    def initial(self) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Weights and biases before the first step."""
        return _initial(self.n_units, self.dtype)


@lru_cache(maxsize=1)  # millions of the widest networks, which the next workload may have, too
def _initial(n_units: tuple[int, ...], dtype: str) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    rng = np.random.default_rng(1)
    coefs, intercepts = [], []
    for fan_in, fan_out in pairwise(n_units):
        bound = (6 / (fan_in + fan_out)) ** 0.5
        coefs.append(rng.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype))
        intercepts.append(rng.uniform(-bound, bound, fan_out).astype(dtype))
    return coefs, intercepts


@dataclass(frozen=True)
class Run:
    """One contender of a row: who does what work, on how many threads (0: all) and which ISA ("": the fastest)."""

    engine: str
    workload: Workload
    n_threads: int = 1
    isa: str = ""


@dataclass(frozen=True)
class Row:
    """A comparison: the first run against the others. Ratios are times of the others over the time of the first."""

    name: str
    group: str
    """The table that it belongs to."""
    runs: dict[str, Run]
    """By the label that the results show."""
    goals: dict[str, float] = field(default_factory=dict)
    """At least this ratio to the run of that label; "percent": of the FMA peak; "microseconds": at most, a step."""
