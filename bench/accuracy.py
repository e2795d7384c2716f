"""Time to accuracy: every engine trains the same network on the same batches until the test images are told apart.

And training of today to its end: dropout and a schedule, the test error that is left, and the time.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.datasets import images, is_real
from bench.engines import ENGINES
from bench.measure import Workers
from bench.workloads import Run, Workload

MOST_EPOCHS = 25
GOALS = (
    (Workload((784, 256, 10), 64, n_rows=60000, learning_rate=0.1, source="mnist"), 0.975),
    (Workload((784, 256, 128, 10), 128, n_rows=60000, learning_rate=0.05, source="fashion"), 0.88),
)
"""What is trained, with plain gradient descent, and the share of the test images to be classified rightly.

Rounding makes the engines' trainings drift apart, and near the goal the accuracy goes up and down from epoch to epoch:
one engine may need a few epochs more than another, which is chance. The seconds of an epoch are not.
"""

LARGE = Workload(
    (784, 1024, 1024, 10), 128, n_rows=60000, n_epochs=30, optimizer="adam", learning_rate=0.0007, source="mnist"
)
LEAST_ERRORS = (
    # Srivastava et al. 2014: 1.25 %
    (replace(LARGE, settings=(("dropout", (0.2, 0.5, 0.5)), ("learning_rate", "one_cycle"))), 0.0125),
    (
        replace(LARGE, source="fashion", settings=(("dropout", (0.0, 0.2, 0.2)), ("learning_rate", "one_cycle"))),
        0.095,
    ),
)
"""What is trained to its end in one call of `fit`, on all CPUs, and the share of test images that it may get wrong."""


def test_errors(workers: Workers, engines: list[str]) -> Iterator[str]:
    """Train as is done today with fastmlp and with PyTorch; say what came of it, and "MISSED" where that is too bad."""
    for workload, goal in LEAST_ERRORS:
        if not is_real(workload.source):
            continue
        _, (X, y) = images(workload.source)
        settings = ", ".join(f"{name} {value}" for name, value in workload.settings)
        rate = f"{workload.optimizer} {workload.learning_rate}"
        yield f"\n{workload.source}, {workload.name}, {workload.n_epochs} epochs, {rate}, {settings}:"
        for engine in ("fastmlp", "torch"):
            if engine not in engines:
                continue
            worker = workers.of(Run(engine, workload, n_threads=0))
            seconds = worker.ask("prepare", "", engine, workload, 0)
            error = float(np.mean(_classes(workload, worker.ask("finish", ""), X) != y))
            verdict = ("met" if error <= goal else "MISSED") if engine == "fastmlp" else ""
            yield f"{ENGINES[engine].title:22}{error:8.2%} of the test images wrong, {seconds:.1f} s {verdict}".rstrip()


def races(workers: Workers, engines: list[str]) -> list[dict[str, Any]]:
    """Run the races whose data are there."""
    return [race(workers, engines, *goal) for goal in GOALS if is_real(goal[0].source)]


def race(workers: Workers, engines: list[str], workload: Workload, goal: float) -> dict[str, Any]:
    """Let the engines train an epoch in turn until each has reached the goal.

    The clock of an engine runs while it trains; what it compiles is compiled before, and told apart. The accuracy is
    that of the weights it hands over, computed by one and the same function.
    """
    _, (X, y) = images(workload.source)
    label = f"to {goal:.1%} on {workload.source}"
    engines = [engine for engine in engines if ENGINES[engine].can(workload)]
    curves: dict[str, list[tuple[float, float]]] = {}
    first_turns: dict[str, float] = {}
    for engine in engines:
        first_turns[engine] = workers.of(Run(engine, workload)).ask("prepare", label, engine, workload, 1)
        workers.of(Run(engine, workload)).ask("rewind", label)
        curves[engine] = []
    for _ in range(MOST_EPOCHS):
        behind = [engine for engine, curve in curves.items() if not curve or curve[-1][1] < goal]
        for engine in behind:
            seconds, parameters = workers.of(Run(engine, workload)).ask("go_on", label)
            curve = curves[engine]
            total = seconds + (curve[-1][0] if curve else 0.0)
            curve.append((total, float(np.mean(_classes(workload, parameters, X) == y))))
    for engine in engines:
        workers.of(Run(engine, workload)).ask("finish", label)
    reached = {engine: curve[-1][0] if curve[-1][1] >= goal else None for engine, curve in curves.items()}
    return {
        "name": f"{workload.source}, {workload.name}, sgd {workload.learning_rate}",
        "goal": goal,
        "seconds": reached,
        "first_turn_seconds": first_turns,
        "curves": curves,
    }


def _classes(workload: Workload, parameters: list[NDArray[Any]], A: NDArray[Any]) -> NDArray[np.int64]:
    """Classes that a relu network predicts for the rows A."""
    n_layers = len(workload.n_units) - 1
    for layer in range(n_layers - 1):
        A = np.maximum(A @ parameters[layer] + parameters[n_layers + layer], 0)
    classes: NDArray[np.int64] = np.argmax(A @ parameters[n_layers - 1] + parameters[-1], axis=1)
    return classes


def lines(result: dict[str, Any]) -> list[str]:
    """The race as words: the fastest first."""
    text = [f"\n{result['name']}: seconds to {result['goal']:.1%} of the test images, epochs"]
    ours = result["seconds"].get("fastmlp")
    for engine, seconds in sorted(result["seconds"].items(), key=lambda item: item[1] or np.inf):
        n_epochs = len(result["curves"][engine])
        if seconds is None:
            text.append(f"{ENGINES[engine].title:22}not within {n_epochs} epochs")
            continue
        epoch = result["curves"][engine][-1][0] / n_epochs
        ratio = f", {seconds / ours:.2f} × fastmlp's" if ours and engine != "fastmlp" else ""
        text.append(f"{ENGINES[engine].title:22}{seconds:8.2f} s, {n_epochs} epochs of {epoch:.3f} s{ratio}")
    return text
