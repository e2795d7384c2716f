"""How many threads to use: what this process may have, and what the work is worth."""

import math
import os
import sys
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastmlp._core import MAX_THREADS, Network, Training
from fastmlp.control_groups import CGROUPS, OWN_CGROUPS, own_folders

SERIAL_FLOPS = 10e6
"""A step below this is faster on one thread: starting and synchronising a second costs more than it does."""
FLOPS_PER_THREAD = 5e6
"""Work of a step, beyond `SERIAL_FLOPS`, that is worth one thread more."""
SERIAL_PREDICTION, PREDICTION_PER_THREAD = 30e6, 50e6
"""The same of a prediction, whose threads begin and end with it."""
READING_ROWS = 8
"""A prediction of fewer rows takes as long as of so many, if the network is large: it reads all weights."""

TRIAL_SECONDS = 0.005
"""How long a number of threads is tried."""
TERM_SECONDS = 1.0
TERM_STEPS = 60
"""How long the faster one is kept at least before both are tried again, which takes as long as six steps or more."""

Status = Literal["epoch", "yield", "not_finite"]


def default_threads(flops: float, serial: float = SERIAL_FLOPS, per_thread: float = FLOPS_PER_THREAD) -> int:
    """Number of threads for work of so many floating-point operations between two joins of the team."""
    if flops < serial:
        return 1
    worthwhile = 2 + int((flops - serial) / per_thread)
    return min(worthwhile, usable_cpus()[0])


class PacedTraining(Training):
    """A training on ``n_threads`` threads or on one, whichever turns out faster.

    Other processes may keep the second CPU busy, and then a team waits for its last thread at every barrier. The bits
    of the result do not depend on the number of threads, so it may change between two calls: after a term of
    ``n_threads`` each is tried twice, the faster one is kept for a term, and so on. The parameters are those of
    `Training`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._numbers = (self.n_threads, 1)  # the most first, or the scratch would have to grow
        self._trials: list[int] = []  # none in a short training, which has no time for them
        self._paces: dict[int, float] = {}
        self._rows, self._steps, self._seconds = 0, 0, 0.0

    def run(
        self, order: NDArray[np.int64] | None = None, seconds: float = 0.1, rates: NDArray[np.float64] | None = None
    ) -> Status:
        """Train as `Training.run` does, and take note of the pace."""
        if self._trials:
            self.n_threads, seconds = self._trials[0], min(seconds, TRIAL_SECONDS)
        position, step, start = self.position, self.step, perf_counter()
        status = super().run(order, seconds, rates)
        self._seconds += perf_counter() - start
        rows = self.position - position
        self._rows += rows if rows > 0 else self.position  # of a new epoch
        self._steps += self.step - step
        if self._trials:
            over = self._seconds >= TRIAL_SECONDS
        else:
            over = self._seconds >= TERM_SECONDS and self._steps >= TERM_STEPS
        if over:
            self._next()
        return status

    def _next(self) -> None:
        """End the trial, or the term of the faster one."""
        if not self._trials:
            self._trials, self._paces = [*self._numbers, *self._numbers], {}
        else:
            tried = self._trials.pop(0)
            self._paces[tried] = max(self._paces.get(tried, 0.0), self._rows / self._seconds)
            if not self._trials:
                self.n_threads = max(self._paces, key=lambda n: self._paces[n])
        self._rows, self._steps, self._seconds = 0, 0, 0.0


def step_flops(network: Network, rows: Any, batch_size: int) -> float:
    """Floating-point operations of a training step: of the first layer's two products, sparse rows do their share."""
    flops = float(network.step_flops(batch_size))
    if hasattr(rows, "nnz"):
        fan_in, fan_out = network.n_units[:2]
        flops -= 4.0 * batch_size * fan_in * fan_out * (1 - rows.nnz / (rows.shape[0] * fan_in))
    return flops


def prediction_threads(network: Network, rows: Any) -> int:
    """Default number of threads to predict these rows with: a third of a step's work, and a team made for it alone."""
    flops = step_flops(network, rows, max(rows.shape[0], READING_ROWS)) / 3
    return default_threads(flops, SERIAL_PREDICTION, PREDICTION_PER_THREAD)


def usable_cpus() -> tuple[int, str]:
    """Number of threads that this process may run at once, at most `MAX_THREADS`, and what sets this limit."""
    limits = [(MAX_THREADS, "the most that are supported"), (os.cpu_count() or 1, "CPUs of this machine")]
    if hasattr(os, "sched_getaffinity"):
        limits.append((len(os.sched_getaffinity(0)), "CPU affinity of this process"))
    limits += [
        (max(1, math.ceil(quota)), "CPU quota of the control group") for quota in _cgroup_quotas(CGROUPS, OWN_CGROUPS)
    ]
    for variable in ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
        value = os.environ.get(variable, "").split(",")[0].strip()
        if value.isdecimal() and int(value) > 0:
            limits.append((int(value), variable))
    if _in_joblib_thread():
        limits.append((1, "one of several joblib threads"))
    return min(limits, key=lambda limit: limit[0])


@cache
def _cgroup_quotas(mount: Path, own_groups: Path) -> tuple[float, ...]:
    """CPUs that each control group around this process may use on average, where it is limited (Linux).

    Read once: a process rarely sees its limit change, and a small prediction takes less time than these files.
    """
    return tuple(_read_quotas(mount, own_groups))


def _read_quotas(mount: Path, own_groups: Path) -> Iterator[float]:
    for folder in own_folders("cpu", mount, own_groups):
        quota = _quota(folder)
        if quota is not None:
            yield quota


def _quota(folder: Path) -> float | None:
    """CPU quota written in a control group's folder, in CPUs: version 2 (cpu.max) or 1 (cpu.cfs_*)."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    except (OSError, ValueError):
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)


def _in_joblib_thread() -> bool:
    """Whether this is a worker of joblib's threading backend, whose siblings want the other CPUs.

    Worker processes are told their share through ``OMP_NUM_THREADS``.
    """
    if "joblib" not in sys.modules or threading.current_thread() is threading.main_thread():
        return False
    backend, _ = sys.modules["joblib"].parallel.get_active_backend()
    return bool(backend.nesting_level)
