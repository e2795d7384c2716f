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

from bench.engines import ENGINES, TORCH_ADAM
from bench.workloads import Row, Run

ROOT = Path(__file__).parents[1]
BFLOAT16_EPS = 2.0**-7
LOSS_IN_BFLOAT16 = 4 * BFLOAT16_EPS
"""PyTorch sums the losses of a batch in bfloat16, where they are: of 4096 rows it says 2.27 in place of 2.30."""
MOST_CPUS_OF_ONE_THREAD = 1.2
"""CPU seconds over seconds: the clocks of short turns are read a little apart."""
CPU_TICK = 1 / 64 if sys.platform == "win32" else 0.0
"""Seconds by which the CPU time of a turn may be off: Windows counts it in ticks."""


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
        except (EOFError, OSError):  # of a pipe whose other end is closed; Windows calls it an invalid argument
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
        engine = ENGINES[run.engine]
        environment = engine.environment | (engine.one_thread if run.n_threads == 1 else {})
        if run.isa or self._isa:
            environment["FASTMLP_ISA"] = run.isa or self._isa
        # Two contenders must never share a process, nor two numbers of threads, which some engines keep for good.
        key = (("engine", run.engine), ("threads", str(run.n_threads)), *sorted(environment.items()))
        if key not in self._workers:
            self._workers[key] = Worker(environment)
        return self._workers[key]


@dataclass
class Outcome:
    """What a run left: the seconds of its turns, wall clock and CPU, and where the last of them ended."""

    first_turn: float
    """Seconds: compiles what is compiled at run time."""
    turns: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    """Of all turns and threads together."""
    loss: float = 0.0
    parameters: list[NDArray[Any]] = field(default_factory=list)

    def least_cpus(self) -> float:
        """CPU seconds over seconds, less what the clock of the CPU time may have counted too much."""
        return (self.cpu_seconds - CPU_TICK * len(self.turns)) / sum(self.turns)


def measure(
    row: Row, workers: Workers, n_cpus: int, seconds: float, rounds: int, peaks: dict[str, float] | None = None
) -> dict[str, Any]:
    """Measure a row for so many seconds, but at least so many rounds, and return what the results file says of it.

    `peaks` are the FMA peaks by precision; without them they are measured, before and after.
    """
    first, *others = row.runs
    subject = row.runs[first]
    engine = workers.of(Run("fastmlp", subject.workload, isa=subject.isa))
    before = peaks or fma_peaks(row, engine)
    outcomes, errors = _take_turns(row, workers, seconds, rounds)
    peaks = {name: max(peak, before[name]) for name, peak in (peaks or fma_peaks(row, engine)).items()}
    runs = {
        label: _summary(run, outcomes[label], peaks[_precision(run)] * (1 if run.n_threads == 1 else n_cpus))
        for label, run in row.runs.items()
        if label in outcomes
    }
    others = [label for label in others if label in outcomes]
    errors |= {label: disagreement(subject, outcomes[first], row.runs[label], outcomes[label]) for label in others}
    errors |= {
        label: f"{runs[label]['cpus']:.2f} CPUs were used for one thread"
        for label, run in row.runs.items()
        if run.n_threads == 1 and label in runs and outcomes[label].least_cpus() > MOST_CPUS_OF_ONE_THREAD
    }
    differences = {label: ENGINES[row.runs[label].engine].differs(subject.workload) for label in others}
    result = {
        "name": row.name,
        "group": row.group,
        "goals": row.goals,
        "precision": _precision(subject),
        "fma_peak": peaks[_precision(subject)],
        "runs": runs,
        "ratios": {label: runs[label]["microseconds"] / runs[first]["microseconds"] for label in others},
        "differs": {label: reason for label, reason in differences.items() if reason},
        "error": "; ".join(f"{first} and {label}: {error}" for label, error in errors.items() if error),
    }
    if any(run.n_threads != 1 for run in row.runs.values()):
        # It depends on where the two threads were placed, and a figure of two threads depends on it.
        result["barrier_latency"] = engine.ask("barrier_latency")
    return result


def fma_peaks(row: Row, worker: Worker) -> dict[str, float]:
    """GFLOP/s of one core, by the precisions in which the runs of this row multiply."""
    return {name: worker.ask("fma_peak", name) for name in sorted({_precision(run) for run in row.runs.values()})}


def _precision(run: Run) -> str:
    return ENGINES[run.engine].precision or run.workload.dtype


def _take_turns(row: Row, workers: Workers, seconds: float, rounds: int) -> tuple[dict[str, Outcome], dict[str, str]]:
    """Let the runs work in turn, A B C A B C …, so that whatever disturbs the machine disturbs them all.

    Return what each left, and the errors of those that could not start; a failure of the first is the row's.
    """
    worker = {label: workers.of(run) for label, run in row.runs.items()}
    outcomes: dict[str, Outcome] = {}
    errors: dict[str, str] = {}
    for label, run in row.runs.items():
        try:
            outcomes[label] = Outcome(worker[label].ask("prepare", label, run.engine, run.workload, run.n_threads))
        except RuntimeError as error:
            if not outcomes:
                raise
            errors[label] = str(error).strip().splitlines()[-1]
    start = time.perf_counter()
    n_rounds = 0
    while n_rounds < rounds or time.perf_counter() - start < seconds:
        n_rounds += 1
        for label, outcome in outcomes.items():
            elapsed, cpu, outcome.loss = worker[label].ask("turn", label)
            outcome.turns.append(elapsed)
            outcome.cpu_seconds += cpu
    for label, outcome in outcomes.items():
        outcome.parameters = worker[label].ask("finish", label)
    return outcomes, errors


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
        "first_turn_seconds": outcome.first_turn,
        "cpus": outcome.cpu_seconds / sum(turns),
        "samples_per_second": workload.n_rows * workload.n_epochs / best,
        "gflops": gflops,
        "percent": 100 * gflops / peak,
    }


def disagreement(run_a: Run, a: Outcome, run_b: Run, b: Outcome) -> str:
    """Say how two runs of the same training ended apart, or "" where they did not, or were not the same training.

    fastmlp must give the same bits on any number of threads. Otherwise, each update rounds the weights by at most half
    an epsilon, independently of the last, so that the difference grows with the root of their number; the factor of 2
    leaves room for the products, whose sums each engine takes in another order. Adam divides a gradient by its own
    size, so that where it is but rounding the step is not: then only the losses are compared, and to a thousandth.

    Where one of the two rounds to bfloat16, one such rounding is all that they may differ by: see `UNMOVED`. Of what
    was predicted, each output is a sum over the widest layer at most, whose rounding errors add up as updates' do, and
    the loss of a step comes of such sums, and of one over the rows.
    """
    if replace(run_a.workload, sparse=False) != replace(run_b.workload, sparse=False):
        return ""
    if any(ENGINES[run.engine].differs(run.workload) not in ("", TORCH_ADAM) for run in (run_a, run_b)):
        return ""
    pairs = list(zip(a.parameters, b.parameters, strict=True))
    if run_a.engine == run_b.engine and run_a.workload == run_b.workload:
        return "" if all(np.array_equal(p, q) for p, q in pairs) else "the weights are not the same bits"
    workload = run_a.workload
    predicts = workload.task == "predict"
    is_rounded = "bfloat16" in (_precision(run_a), _precision(run_b))
    is_adam = workload.optimizer == "adam" and not predicts
    eps = float(np.finfo(workload.dtype).eps)
    n_roundings = max(workload.n_units) if predicts else workload.n_steps
    tolerance = BFLOAT16_EPS if is_rounded else 2 * eps * n_roundings**0.5
    distance = 0.0 if is_adam else max(float(np.linalg.norm(p - q) / np.linalg.norm(p)) for p, q in pairs)
    # Written so that a NaN disagrees.
    if not distance <= tolerance:
        return f"the {'outputs' if predicts else 'weights'} differ by {distance:.1e}, more than {tolerance:.1e}"
    n_terms = max(workload.n_steps, workload.batch_size, *workload.n_units)
    tolerance = LOSS_IN_BFLOAT16 if is_rounded else 2 * eps * n_terms**0.5
    if not abs(a.loss - b.loss) <= max(1e-3 if is_adam else 0.0, tolerance) * max(1.0, abs(a.loss)):
        return f"the losses differ: {a.loss!r}, {b.loss!r}"
    return ""
