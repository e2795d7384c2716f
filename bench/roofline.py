"""Where the time of a training step goes: ``python -m bench.roofline 784-256-256-10 --batch-size 256``.

Builds the engine with its timers (which cost a little themselves) into a folder of its own, trains with it, and prints
and draws the share of each phase and how near the peak of multiply-adds each product comes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bench.workloads import Workload

ROOT = Path(__file__).parents[1]
PRODUCTS = ("forward", "input gradient", "weight gradient")


def build_with_timers(folder: Path) -> ModuleType:
    """Compile the extension with timers into the folder, and import it."""
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(folder), "--build-temp", str(folder)]
    subprocess.run(command, env={**os.environ, "FASTMLP_TIMERS": "1"}, cwd=ROOT, check=True)
    return _imported(next((folder / "fastmlp").glob("_core.*")))


def _imported(path: Path) -> ModuleType:
    """The extension of that file; the package's own stays as it is."""
    spec = spec_from_file_location("_core", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def phases(core: Any, workload: Workload, n_threads: int, seconds: float) -> dict[str, float]:
    """Microseconds a step of each phase on thread 0, and of "Python", the rest of the wall clock."""
    coefs, intercepts = workload.initial()
    X, y = workload.data()
    params = np.concatenate([array.ravel() for array in (*coefs, *intercepts)])
    network = core.Network(workload.n_units, workload.activation, workload.loss, workload.dtype)
    slots = np.zeros((core.OPTIMIZERS[workload.optimizer], params.size), params.dtype)
    training = core.Training(
        network,
        params,
        slots,
        X,
        y,
        optimizer=workload.optimizer,
        batch_size=workload.batch_size,
        learning_rate=workload.learning_rate,
        n_threads=n_threads,
    )
    order = np.random.RandomState(0).permutation(workload.n_rows).astype(np.int64)
    training.run(order, 1e9)  # warms up
    before = training.timers
    if before is None:
        raise RuntimeError("the engine was built without timers")
    n_steps = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        np.random.shuffle(order)
        training.run(order, 1e9)
        n_steps += workload.n_steps
    elapsed = time.perf_counter() - start
    spent = {phase: total - before[phase] for phase, total in training.timers.items() if phase != "input gradient 0"}
    spent["Python"] = elapsed - sum(spent.values())
    return {phase: 1e6 * total / n_steps for phase, total in spent.items()}


def flops(workload: Workload, phase: str) -> float:
    """Floating-point operations a step of a phase named "forward 0" and so on; 0 of the others."""
    name, _, layer = phase.rpartition(" ")
    if name not in PRODUCTS or phase == "input gradient 0":  # nobody asks for the gradient of X
        return 0.0
    fan_in, fan_out = workload.n_units[int(layer) : int(layer) + 2]
    return 2.0 * workload.batch_size * fan_in * fan_out


def table(workload: Workload, microseconds: dict[str, float], peak: float) -> str:
    """The phases, with their share of the step and the products' percent of the peak."""
    total = sum(microseconds.values())
    lines = [f"{workload.name}: {total:.2f} µs a step", f"{'':20}{'µs':>10}{'share':>8}{'% peak':>8}"]
    for phase, spent in microseconds.items():
        percent = f"{100 * flops(workload, phase) / (1e3 * spent) / peak:8.1f}" if flops(workload, phase) else ""
        lines.append(f"{phase:20}{spent:10.2f}{100 * spent / total:7.1f}%{percent}")
    everything = sum(flops(workload, phase) for phase in microseconds)
    lines.append(f"{'step':20}{total:10.2f}{100:7.1f}%{100 * everything / (1e3 * total) / peak:8.1f}")
    return "\n".join(lines)


def draw(workload: Workload, microseconds: dict[str, float], path: Path) -> None:
    """One stacked bar."""
    import matplotlib.pyplot as plt

    from bench.plots import STYLE

    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(10, 2.6))
        left = 0.0
        for number, (phase, spent) in enumerate(microseconds.items()):
            axes.barh(0, spent, left=left, color=plt.get_cmap("tab20")(number % 20), label=f"{phase}: {spent:.1f} µs")
            left += spent
        axes.set(yticks=[], xlabel="µs of a step", title=workload.name)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=4, fontsize=8)
        figure.savefig(path, dpi=160, transparent=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.roofline", description=__doc__)
    parser.add_argument("network", nargs="?", default="784-256-256-10", help="widths of the layers, inputs first")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--n-rows", type=int, default=8192)
    parser.add_argument("--activation", default="relu")
    parser.add_argument("--optimizer", default="sgd")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--n-threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the bar there (needs matplotlib)")
    arguments = parser.parse_args()
    workload = Workload(
        tuple(map(int, arguments.network.split("-"))),
        arguments.batch_size,
        n_rows=arguments.n_rows,
        activation=arguments.activation,
        optimizer=arguments.optimizer,
        dtype=arguments.dtype,
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        core = build_with_timers(Path(folder))
        microseconds = phases(core, workload, arguments.n_threads, arguments.seconds)
        peak = core.fma_peak(arguments.dtype) * arguments.n_threads
    print(table(workload, microseconds, peak))
    if arguments.png:
        draw(workload, microseconds, arguments.png)


if __name__ == "__main__":
    main()
