"""One worker process: an engine in the environment that it needs. Requests and answers are pickled over two pipes."""

import os
import pickle
import platform
import signal
import sys
import time
import traceback
import warnings
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, BinaryIO

import numpy as np

from bench.engines import ENGINES, Session
from bench.workloads import Workload

PEEK_SECONDS, SETTLED = 0.005, 0.001
"""Threads are asleep that use less than this CPU time in so many seconds."""
SETTLE_SECONDS = 1.0
"""How long the threads of an engine may go on after its turn."""


def settle() -> None:
    """Wait until the threads that this process keeps are asleep.

    Those of OpenBLAS, OpenMP and ONNX Runtime wait for more work by spinning, on the CPU that the second thread of the
    next contender needs.
    """
    end = time.perf_counter() + SETTLE_SECONDS
    before = -1.0
    while (now := time.process_time()) - before > SETTLED and time.perf_counter() < end:
        before = now
        time.sleep(PEEK_SECONDS)


class Desk:
    """Answers the requests: every public method is one."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def prepare(self, label: str, engine: str, workload: Workload, n_threads: int) -> float:
        """Make the session of this label, and warm it up; return the seconds of the first turn."""
        self._sessions[label] = ENGINES[engine].open(workload, n_threads)
        return self.turn(label)[0]

    def turn(self, label: str) -> tuple[float, float, float]:
        """Seconds of one turn, on the wall clock and of CPUs, and the loss at its end."""
        session = self._sessions[label]
        session.reset()
        start, cpu_start = time.perf_counter(), time.process_time()
        loss = session.turn()
        answer = time.perf_counter() - start, time.process_time() - cpu_start, loss
        settle()
        return answer

    def rewind(self, label: str) -> None:
        """Go back to the initial weights."""
        self._sessions[label].reset()

    def go_on(self, label: str) -> tuple[float, list[Any]]:
        """Do a turn that goes on from the last; return its seconds, and weights and biases after it."""
        session = self._sessions[label]
        start = time.perf_counter()
        session.turn()
        seconds = time.perf_counter() - start
        settle()
        return seconds, session.parameters()

    def finish(self, label: str) -> list[Any]:
        """End the session and return its weights and biases."""
        return self._sessions.pop(label).parameters()

    def fma_peak(self, dtype: str) -> float:
        """GFLOP/s of multiply-adds in the registers of one core, on the instruction set of this worker."""
        from fastmlp import _core

        return _core.fma_peak(dtype)

    def barrier_latency(self) -> float:
        """Seconds of a barrier between two threads."""
        from fastmlp import _core

        return _core.barrier_latency(2)

    def describe(self) -> dict[str, Any]:
        """The instruction sets of the engine, and the versions of all that is compared."""
        from fastmlp import __version__, _core

        versions = {"python": platform.python_version(), "fastmlp": __version__, "numpy": np.__version__}
        for package in ("scikit-learn", "scipy", "torch", "jax", "onnxruntime"):
            with suppress(PackageNotFoundError):
                versions[package] = version(package)
        return {"isa": _core.isa(), "isas": _core.available_isas(), "versions": versions}

    def blas(self) -> str:
        """The library behind NumPy's matrix products, and the kernels it chose."""
        try:
            version("threadpoolctl")
        except PackageNotFoundError:
            return "unknown (threadpoolctl is not installed)"
        from threadpoolctl import threadpool_info

        libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
        return ", ".join(f"{b['internal_api']} {b['version']} ({b.get('architecture', '?')})" for b in libraries)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests ``(name, arguments)`` with ``(value, "")`` or ``(None, traceback)`` until the pipe is closed."""
    desk = Desk()
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = (getattr(desk, name)(*arguments), "")
        except Exception:
            answer = (None, traceback.format_exc())
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # every run ends at max_iter, as it is meant to
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who then closes the pipe
    # Whatever a library prints goes to the terminal, not between the answers.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        serve(sys.stdin.buffer, answers)
