"""The grid: a cell is a network 64-width-width-10 and how it trains or predicts; what it costs, by a rough model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from bench.engines import ENGINES
from bench.workloads import UNMOVED, Row, Run, Workload

WIDTHS = tuple(2**power for power in range(5, 13))
BATCHES = (1, 8, 64, 128, 512, 4096)
N_ROWS = (1, 10, 100, 1000, 10_000)
"""Of a call that predicts."""
QUICK = ((32, 512), (1, 512), (1, 1000))
"""Widths, batches and rows of the coarse grid."""
DTYPES = ("float32", "float64", "bfloat16")
OPTIMIZERS = ("sgd", "adam")

PEERS = {
    "float32": ("numpy", "numpy-avx512", "scikit-learn", "torch", "jax", "onnxruntime"),
    "float64": ("numpy", "numpy-avx512", "scikit-learn", "torch", "jax"),
    "bfloat16": ("torch-bfloat16", "torch-autocast", "jax-bfloat16"),
}
"""All but the compiled PyTorch, which compiles for ten seconds and more in each cell: the main table has it."""

MOST_STEPS, FEW_STEPS = 1500, 6
ROUNDS = ((0.1, 3), (0.3, 2))
"""Seconds of a step, and the turns at least where it takes no longer; of the longest there is but one."""
LEAST_ROWS = 10
"""Scikit-learn must see each class."""
TURN, LONG_TURN = 0.02, 0.3
"""Seconds that a turn of ours should last, and that it may last where it takes that long to make FEW_STEPS steps."""
SECONDS = 0.2
"""Of all turns that are timed in a cell, at least; of two rounds, or of one if each takes long."""
BYTES_A_SECOND = 1e10
"""From and to memory, of which a step with few rows is made."""

COSTS = {
    "fastmlp": (3e-6, 1.0, 0.02),
    "fastmlp-bfloat16": (3e-6, 1.0, 0.02),
    "numpy": (4e-5, 2.0, 0.02),
    "numpy-avx512": (4e-5, 1.3, 0.02),
    "scikit-learn": (3e-4, 2.2, 0.03),
    "torch": (2.5e-4, 1.6, 0.04),
    "torch-bfloat16": (2.5e-4, 1.8, 0.04),
    "torch-autocast": (4e-4, 1.8, 0.04),
    "jax": (2e-5, 1.3, 0.6),
    "jax-bfloat16": (2e-5, 4.0, 0.8),
    "onnxruntime": (6e-6, 1.1, 0.05),
}
"""Seconds of a step beside its products, how many times as long these take as ours, and seconds to begin a cell.

Only the estimate of the time depends on them.
"""
MOVED = 5e-8
"""Seconds that each engine takes for each weight: to draw it, to copy it, and to hand it over in the end."""
START = 4.0
"""Seconds in which a process imports its libraries."""


@dataclass(frozen=True)
class Cell:
    """One square of the heat map."""

    task: str
    dtype: str
    optimizer: str
    """"" of what predicts."""
    n_threads: int
    """1, or 0 for all."""
    width: int
    n_rows: int
    """Of a batch, or of a call that predicts."""

    @property
    def panel(self) -> str:
        """The heat map that it belongs to."""
        return f"{self.dtype}, {self.optimizer or 'predict'}, {'one thread' if self.n_threads else 'all threads'}"

    @property
    def name(self) -> str:
        return f"{self.panel}, {self.width} × {self.n_rows}"

    def row(self, present: Sequence[str], peak: float, n_cpus: int) -> Row:
        """What is compared: ours first. `peak` is the FMA peak of one core in this dtype."""
        ours = "fastmlp-bfloat16" if self.dtype == "bfloat16" else "fastmlp"
        workload = self.workload(peak, n_cpus)
        peers = [peer for peer in PEERS[self.dtype] if peer in present and ENGINES[peer].can(workload)]
        if "numpy-avx512" in peers:  # the same as "numpy" with faster kernels
            peers = [peer for peer in peers if peer != "numpy"]
        return Row(self.name, self.panel, {engine: Run(engine, workload, self.n_threads) for engine in (ours, *peers)})

    def workload(self, peak: float, n_cpus: int) -> Workload:
        """So many steps that the call of `fit` counts for little, but not so many that it takes long."""
        seconds = self.seconds(peak, n_cpus)
        n_steps = int(min(MOST_STEPS, max(FEW_STEPS, TURN / seconds), max(1.0, LONG_TURN / seconds)))
        dtype, rate = (self.dtype, 1e-4) if self.dtype != "bfloat16" else ("float32", UNMOVED)
        units = (64, self.width, self.width, 10)
        n_steps = max(n_steps, -(-LEAST_ROWS // self.n_rows))
        if self.task == "predict":
            return Workload(units, 256, self.n_rows, n_epochs=min(n_steps, 100), dtype=dtype, task="predict")
        n_batches = min(n_steps, max(1, 8192 // self.n_rows))
        n_rows, n_epochs = self.n_rows * n_batches, -(-n_steps // n_batches)
        return Workload(units, self.n_rows, n_rows, n_epochs, optimizer=self.optimizer, dtype=dtype, learning_rate=rate)

    def rounds(self, peak: float, n_cpus: int) -> int:
        """Of turns, at least."""
        return next((rounds for seconds, rounds in ROUNDS if self.seconds(peak, n_cpus) <= seconds), 1)

    def seconds(self, peak: float, n_cpus: int) -> float:
        """A step of ours, roughly: what it computes, or what it moves."""
        units = (64, self.width, self.width, 10)
        weights = sum(fan_in * fan_out for fan_in, fan_out in pairwise(units))
        trains = self.task == "train"
        flops = (6 if trains else 2) * self.n_rows * weights
        moves = {"": 1, "sgd": 4, "adam": 10}[self.optimizer] * weights * (8 if self.dtype == "float64" else 4)
        speed = 0.8 * peak * 1e9 * (1 if self.n_threads else n_cpus)
        return COSTS["fastmlp"][0] + max(flops / speed, moves / BYTES_A_SECOND)


def cells(quick: bool, n_cpus: int) -> Iterator[Cell]:
    """All, panel by panel."""
    for dtype, n_threads in product(DTYPES, (1, 0) if n_cpus > 1 else (1,)):
        widths, batches, n_rows = QUICK if quick else (WIDTHS, BATCHES, N_ROWS)
        for optimizer, width, batch in product(OPTIMIZERS, widths, batches):
            yield Cell("train", dtype, optimizer, n_threads, width, batch)
        for width, n in product(widths, n_rows):
            yield Cell("predict", dtype, "", n_threads, width, n)


def estimate(cells: Sequence[Cell], rows: Sequence[Row], peaks: dict[str, float], n_cpus: int) -> float:
    """Seconds that it takes to measure these cells."""
    started = {(engine, run.n_threads) for row in rows for engine, run in row.runs.items()}
    total = START * len(started)
    for cell, row in zip(cells, rows, strict=True):
        step, rounds = cell.seconds(peaks[cell.dtype], n_cpus), cell.rounds(peaks[cell.dtype], n_cpus)
        n_steps = next(iter(row.runs.values())).workload.n_steps
        begin = sum(COSTS[engine][2] for engine in row.runs) * (2 if cell.optimizer == "adam" else 1)
        begin += MOVED * cell.width**2 * len(row.runs)
        turns = sum(n_steps * (COSTS[engine][0] + COSTS[engine][1] * step) for engine in row.runs)
        # Before the turns that are timed there is one to warm up, and one of ours to begin with.
        total += begin + n_steps * step + turns + max(rounds * turns, SECONDS)
    return total
