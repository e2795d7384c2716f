"""The benchmark: both sides train the same network, runs that end apart are reported, the README is rewritten."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

from bench.measure import Outcome, Workers, disagreement, measure
from bench.report import END, START, rewrite_readme
from bench.workloads import NETWORKS, Row, Run, Workload
from fastmlp import _core, numpy_training
from fastmlp.numpy_training import NumpyTraining

TINY = Workload((5, 4, 3), 8, n_rows=50, activation="tanh", learning_rate=0.1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("loss", numpy_training.LOSSES)
@pytest.mark.parametrize("activation", numpy_training.ACTIVATIONS)
def test_numpy_trains_as_scikit_learn_does(activation: str, loss: str, batch_size: int, momentum: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((101, 6))
    classifies = loss == "log_loss"
    y = rng.integers(0, 3, 101) if classifies else rng.standard_normal((101, 2))
    settings: dict[str, Any] = {"activation": activation, "solver": "sgd", "alpha": 0, "batch_size": batch_size}
    settings |= {"momentum": momentum, "nesterovs_momentum": False, "shuffle": False, "random_state": 0}
    model = MLPClassifier if classifies else MLPRegressor
    # A learning rate that changes nothing leaves the initial weights.
    initial = model(hidden_layer_sizes=(7, 5), learning_rate_init=1e-300, max_iter=1, **settings).fit(X, y)
    theirs = model(hidden_layer_sizes=(7, 5), learning_rate_init=0.01, max_iter=3, **settings).fit(X, y)
    ours = NumpyTraining(initial.coefs_, initial.intercepts_, activation, loss, X, y, batch_size, 0.01, momentum)
    losses = [ours.epoch(np.arange(101)) for _ in range(3)]
    # Rounding of float64 over some hundred steps.
    np.testing.assert_allclose(losses, theirs.loss_curve_, rtol=1e-11)
    for mine, their in zip(ours.coefs + ours.intercepts, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, their, rtol=0, atol=1e-11)


def test_numpy_training_refuses_what_it_does_not_know() -> None:
    coefs, intercepts = TINY.initial()
    with pytest.raises(ValueError, match=r"relu.*'hinge'"):
        NumpyTraining(coefs, intercepts, "relu", "hinge", *TINY.data(), 8, 0.1)


def test_both_sides_train_the_same_network() -> None:
    runs = {"fastmlp": Run("fastmlp", TINY), "numpy": Run("numpy", TINY), "again": Run("fastmlp", TINY, n_threads=2)}
    with Workers() as workers:
        result = measure(Row("tiny", runs), workers, n_cpus=1, seconds=0, rounds=2)
        with pytest.raises(RuntimeError, match="KeyError"):
            workers.of(runs["numpy"]).ask("turn", "no such label")
    assert result["error"] == ""
    assert result["ratios"].keys() == {"numpy", "again"}
    assert all(run["turns"] == 2 and run["microseconds"] > 0 for run in result["runs"].values())
    first = next(iter(result["runs"].values()))
    assert first["percent"] == pytest.approx(100 * first["gflops"] / result["fma_peak"])


def test_runs_that_end_apart_are_reported() -> None:
    ours, numpy = Run("fastmlp", TINY), Run("numpy", TINY)
    parameters = [array for arrays in TINY.initial() for array in arrays]
    a = Outcome([1.0], 0.5, parameters)
    rounded = Outcome([1.0], 0.5, [array * np.float32(1 + 2e-7) for array in parameters])
    apart = Outcome([1.0], 0.5, [array * np.float32(1 + 1e-4) for array in parameters])
    broken = Outcome([1.0], 0.5, [array * np.float32(np.nan) for array in parameters])
    assert disagreement(ours, a, numpy, rounded) == ""
    assert "bits" in disagreement(ours, a, replace(ours, n_threads=2), rounded)
    assert "weights" in disagreement(ours, a, numpy, apart)
    assert "weights" in disagreement(ours, a, numpy, broken)
    assert "losses" in disagreement(ours, a, numpy, replace(a, loss=0.51))
    assert disagreement(ours, a, Run("fastmlp", replace(TINY, optimizer="adam")), apart) == ""


@pytest.mark.parametrize("workload", [workload for workload, _ in NETWORKS], ids=lambda workload: workload.name)
def test_operations_are_those_that_the_engine_counts(workload: Workload) -> None:
    network = _core.Network(workload.n_units, workload.activation, "log_loss", workload.dtype)
    rows = workload.n_rows * workload.n_epochs
    assert workload.flops == network.step_flops(rows)


def test_readme_is_rewritten_between_the_markers(tmp_path: Path) -> None:
    run = {"engine": "fastmlp", "microseconds": 10.0, "samples_per_second": 1234567.0, "gflops": 99.6, "percent": 41.2}
    lost = {"fastmlp": run, "numpy": run | {"engine": "numpy", "microseconds": 8.0}}
    row = {"name": "5-4-3, 8", "runs": lost, "ratios": {"numpy": 0.8}, "fma_peak": 242.0, "error": ""}
    results = {
        "started": "2026-01-02T03:04:05+00:00",
        "machine": {"cpu": "Some CPU", "n_cpus": 2},
        "isa": "x86-64-v3",
        "versions": {"python": "3.11.0", "numpy": "2.0.0"},
        "blas": {"numpy": "openblas"},
        "rows": [row, {"name": "broken", "goals": {}, "error": "Traceback …\nMemoryError"}],
    }
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{START}\nold\n{END}\nafter\n", encoding="utf-8")
    rewrite_readme(readme, results)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{START}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert "| 5-4-3, 8 | 10.0 | 1,230,000 | 100 | 41 | 8.0 µs, **0.80 ×** |" in text
    assert "| broken | error |" in text
    rewrite_readme(readme, results)
    assert readme.read_text(encoding="utf-8") == text
    readme.write_text("no markers\n", encoding="utf-8")
    with pytest.raises(ValueError, match="benchmark"):
        rewrite_readme(readme, results)
