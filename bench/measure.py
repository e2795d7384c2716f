"""Measuring: workers take turns, the fastest turn counts, and the same training must end at the same weights."""

import os
import pickle
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.engines import ENGINES
from bench.workloads import Row, Run

ROOT = Path(__file__).parents[1]
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "VECLIB_MAXIMUM_THREADS": "1"}
"""NumPy's own variables; fastmlp is told by argument."""


class Worker:
    """The parent's end of a worker process."""

    def __init__(self, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "bench.worker"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env={**os.environ, **environment}, cwd=ROOT, stdin=pipe, stdout=pipe)

    def ask(self, request: str, *arguments: Any) -> Any:
        """Return the worker's answer; RuntimeError with the worker's traceback if it failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((request, arguments), self._process.stdin)
            self._process.stdin.flush()
            value, error = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError):
            raise RuntimeError(f"the worker ended with exit code {self._process.wait()}") from None
        if error:
            raise RuntimeError(error)
        return value

    def close(self) -> None:
        """Let the process finish what it does, and wait for its end."""
        self._process.communicate()


class Workers:
    """The worker processes, one for each environment, started when first needed. A context manager."""

    def __init__(self, isa: str = "") -> None:
        self._isa = isa
        self._workers: dict[tuple[tuple[str, str], ...], Worker] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers.values():
            worker.close()

    def of(self, run: Run) -> Worker:
        """The process with the environment that this run needs."""
        environment = dict(ENGINES[run.engine].environment)
        if run.n_threads == 1:
            environment |= ONE_THREAD
        if run.isa or self._isa:
            environment["FASTMLP_ISA"] = run.isa or self._isa
        # The engine is part of the key: two contenders must never share a process.
        key = (("engine", run.engine), *sorted(environment.items()))
        if key not in self._workers:
            self._workers[key] = Worker(environment)
        return self._workers[key]


@dataclass
class Outcome:
    """What a run left: the seconds of its turns, and where the last of them ended."""

    turns: list[float] = field(default_factory=list)
    loss: float = 0.0
    parameters: list[NDArray[Any]] = field(default_factory=list)


def measure(row: Row, workers: Workers, n_cpus: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure a row for so many seconds, but at least so many rounds, and return what the results file says of it."""
    first, *others = row.runs
    subject = row.runs[first]
    engine = workers.of(Run("fastmlp", subject.workload, isa=subject.isa))
    peak = engine.ask("fma_peak", subject.workload.dtype)
    outcomes = _take_turns(row, workers, seconds, rounds)
    peak = max(peak, engine.ask("fma_peak", subject.workload.dtype))
    runs = {
        label: _summary(run, outcomes[label], peak * (1 if run.n_threads == 1 else n_cpus))
        for label, run in row.runs.items()
    }
    errors = {label: disagreement(subject, outcomes[first], row.runs[label], outcomes[label]) for label in others}
    result = {
        "name": row.name,
        "goals": row.goals,
        "fma_peak": peak,
        "runs": runs,
        "ratios": {label: runs[label]["microseconds"] / runs[first]["microseconds"] for label in others},
        "error": "; ".join(f"{first} and {label}: {error}" for label, error in errors.items() if error),
    }
    if any(run.n_threads != 1 for run in row.runs.values()):
        # It depends on where the two threads were placed, and a figure of two threads depends on it.
        result["barrier_latency"] = engine.ask("barrier_latency")
    return result


def _take_turns(row: Row, workers: Workers, seconds: float, rounds: int) -> dict[str, Outcome]:
    """Let the runs work in turn, A B C A B C …, so that whatever disturbs the machine disturbs them all."""
    worker = {label: workers.of(run) for label, run in row.runs.items()}
    for label, run in row.runs.items():
        worker[label].ask("prepare", label, run.engine, run.workload, run.n_threads)
    outcomes = {label: Outcome() for label in row.runs}
    start = time.perf_counter()
    n_rounds = 0
    while n_rounds < rounds or time.perf_counter() - start < seconds:
        n_rounds += 1
        for label, outcome in outcomes.items():
            elapsed, outcome.loss = worker[label].ask("turn", label)
            outcome.turns.append(elapsed)
    for label, outcome in outcomes.items():
        outcome.parameters = worker[label].ask("finish", label)
    return outcomes


def _summary(run: Run, outcome: Outcome, peak: float) -> dict[str, Any]:
    """Figures of one run: of the fastest turn, but for the median and the spread (quartiles' distance over median)."""
    turns = outcome.turns
    workload = run.workload
    best, median = min(turns), statistics.median(turns)
    quartiles = statistics.quantiles(turns, n=4) if len(turns) > 1 else [median] * 3
    gflops = workload.flops / best / 1e9
    return {
        "engine": run.engine,
        "n_threads": run.n_threads or "all",
        "microseconds": 1e6 * best / workload.n_steps,
        "median_microseconds": 1e6 * median / workload.n_steps,
        "spread": (quartiles[2] - quartiles[0]) / median,
        "turns": len(turns),
        "samples_per_second": workload.n_rows * workload.n_epochs / best,
        "gflops": gflops,
        "percent": 100 * gflops / peak,
    }


def disagreement(run_a: Run, a: Outcome, run_b: Run, b: Outcome) -> str:
    """Say how two runs of the same training ended apart, or "" where they did not, or were not the same training.

    fastmlp must give the same bits on any number of threads. Otherwise, each update rounds the weights by at most half
    an epsilon, independently of the last, so that the difference grows with the root of their number; the factor of 2
    leaves room for the products, whose sums each engine takes in another order.
    """
    if run_a.workload.task != "train" or replace(run_a.workload, sparse=False) != replace(run_b.workload, sparse=False):
        return ""
    pairs = list(zip(a.parameters, b.parameters, strict=True))
    if run_a.engine == run_b.engine and run_a.workload == run_b.workload:
        return "" if all(np.array_equal(p, q) for p, q in pairs) else "the weights are not the same bits"
    tolerance = 2 * float(np.finfo(run_a.workload.dtype).eps) * run_a.workload.n_steps**0.5
    distance = max(float(np.linalg.norm(p - q) / np.linalg.norm(p)) for p, q in pairs)
    # Written so that a NaN disagrees.
    if not distance <= tolerance:
        return f"the weights differ by {distance:.1e}, more than {tolerance:.1e}"
    if not abs(a.loss - b.loss) <= tolerance * max(1.0, abs(a.loss)):
        return f"the losses differ: {a.loss!r}, {b.loss!r}"
    return ""
