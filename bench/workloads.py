"""What is measured: the networks, the runs that are compared, and what each comparison should reach."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray


@dataclass(frozen=True)
class Workload:
    """A network, how it is trained, and how much of it makes one turn. Data are random, drawn from a fixed seed."""

    n_units: tuple[int, ...]
    batch_size: int
    n_rows: int = 8192
    n_epochs: int = 1
    """Epochs of one turn, one call of `fit`: enough that the call's own overhead counts as it does for a user."""
    activation: str = "relu"
    optimizer: str = "sgd"
    learning_rate: float = 0.0001
    """So small that a relu unit which a rounding switches changes the weights by no more than rounding, too."""
    dtype: str = "float32"
    density: float = 1.0
    sparse: bool = False
    """Whether X is given as CSR."""
    task: str = "train"
    """Or "predict": one turn predicts the rows once."""

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.n_units))}, {self.batch_size}"

    @property
    def n_steps(self) -> int:
        """Training steps of one turn; a prediction is one step."""
        return 1 if self.task == "predict" else self.n_epochs * -(-self.n_rows // self.batch_size)

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
            return 2.0 * self.n_rows * sum(weights)
        return 2.0 * self.n_rows * self.n_epochs * (3 * sum(weights) - weights[0])

    def data(self) -> tuple[Any, NDArray[np.int64]]:
        """X (n_rows, n_features), dense or CSR, and class numbers y (n_rows,)."""
        rng = np.random.default_rng(0)
        X = rng.random((self.n_rows, self.n_units[0]), dtype=np.float32).astype(self.dtype, copy=False)
        if self.density < 1:
            X = np.less(X, self.density).astype(self.dtype)
        y = rng.integers(0, self.n_units[-1], self.n_rows)
        return (scipy.sparse.csr_array(X) if self.sparse else X), y

    def initial(self) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Weights and biases before the first step."""
        rng = np.random.default_rng(1)
        coefs, intercepts = [], []
        for fan_in, fan_out in pairwise(self.n_units):
            bound = (6 / (fan_in + fan_out)) ** 0.5
            coefs.append(rng.uniform(-bound, bound, (fan_in, fan_out)).astype(self.dtype))
            intercepts.append(rng.uniform(-bound, bound, fan_out).astype(self.dtype))
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
    runs: dict[str, Run]
    """By the label that the results show."""
    goals: dict[str, float] = field(default_factory=dict)
    """At least this ratio to the run of that label; "percent": of the FMA peak; "microseconds": at most, a step."""


NETWORKS: tuple[tuple[Workload, dict[str, float]], ...] = (
    (
        Workload((64, 64, 64, 10), 32, n_epochs=8, activation="logistic"),
        {"microseconds": 8.5, "numpy": 5},
    ),
    (
        Workload((784, 128, 10), 1, n_rows=2048, n_epochs=4),
        {"microseconds": 6, "numpy": 20},
    ),
    (
        Workload((20, 32, 2), 32, n_epochs=16),
        {"microseconds": 2.5, "numpy": 8},
    ),
    (
        Workload((64, 100, 10), 200, n_rows=20000, n_epochs=5),
        {"microseconds": 45, "numpy": 2.4, "percent": 52},
    ),
    (
        Workload((784, 128, 10), 32, n_epochs=4),
        {"microseconds": 58, "numpy": 2.4},
    ),
    (
        Workload((784, 256, 256, 10), 256, n_epochs=5),
        {"microseconds": 1300, "numpy": 1.9, "percent": 85},
    ),
    (
        Workload((784, 1024, 1024, 10), 256, n_epochs=1),
        {"microseconds": 10500, "numpy": 2.0, "percent": 82},
    ),
)
"""The networks of the main table, with what one thread should reach on an AVX-512 machine."""

RIVALS = ("numpy", "numpy-avx512")
"""Engines of `bench.engines` that each network of the main table is compared with."""


def rows(n_cpus: int, isa: str) -> Iterator[Row]:
    """Every comparison that a machine with so many CPUs can make when fastmlp uses this instruction set."""
    for workload, goals in NETWORKS:
        rivals = {rival: Run(rival, workload) for rival in RIVALS}
        runs = {"fastmlp": Run("fastmlp", workload), **rivals}
        yield Row(workload.name, runs, goals if isa == "x86-64-v4" else {})
    if n_cpus > 1:
        yield from _all_threads()
    largest = [workload for workload, _ in NETWORKS[-2:]]
    if isa == "x86-64-v4":
        for workload in largest:
            yield Row(f"AVX2, {workload.name}", {"fastmlp": Run("fastmlp", workload, isa="x86-64-v3")}, {"percent": 85})
    yield from _variants(largest[0])
    yield from _sparse()


def _all_threads() -> Iterator[Row]:
    for workload, _ in NETWORKS:
        rivals = {rival: Run(rival, workload, n_threads=0) for rival in RIVALS}
        runs = {"fastmlp": Run("fastmlp", workload, n_threads=0), "1 thread": Run("fastmlp", workload), **rivals}
        # Where one thread is the default both runs do the same, and 5 % is their noise.
        large = workload in [network for network, _ in NETWORKS[-2:]]
        yield Row(f"all threads, {workload.name}", runs, {"1 thread": 1.7 if large else 0.95})


def _variants(plain: Workload) -> Iterator[Row]:
    """The same network with another optimizer, in another dtype, and without training."""
    for optimizer, most in (("sgd_momentum", 1.1), ("adam", 1.25)):
        runs = {
            "fastmlp": Run("fastmlp", replace(plain, optimizer=optimizer)),
            "plain sgd": Run("fastmlp", plain),
        }
        yield Row(f"{optimizer}, {plain.name}", runs, {"plain sgd": 1 / most})
    float64 = Run("fastmlp", replace(plain, dtype="float64"))
    yield Row(f"float64, {plain.name}", {"fastmlp": float64, "float32": Run("fastmlp", plain)}, {"float32": 0.5})
    predict = replace(plain, task="predict", n_rows=10000)
    yield Row(f"predict, {'-'.join(map(str, plain.n_units))}", {"fastmlp": Run("fastmlp", predict)}, {"percent": 85})


def _sparse() -> Iterator[Row]:
    """CSR against the dense array of the same values, as sparse as a9a: the first layer dominates only in the first."""
    for n_units, least in (((123, 256, 2), 2.0), ((123, 64, 64, 2), 1.0)):
        dense = Workload(n_units, 256, n_rows=32768, n_epochs=2, density=0.11)
        runs = {"fastmlp": Run("fastmlp", replace(dense, sparse=True)), "dense": Run("fastmlp", dense)}
        yield Row(f"CSR, {dense.name}", runs, {"dense": least})
