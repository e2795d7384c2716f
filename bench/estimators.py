"""The estimators against scikit-learn's, on one thread: scores and times on real data, and the times of whole calls.

``python -m bench --real-data`` runs this in a process of its own, where every library is told to use one thread.
"""

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.neural_network
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV

import fastmlp
from bench import real_data
from bench.real_data import Loader, Split

MODULES = {"scikit-learn": sklearn.neural_network, "fastmlp": fastmlp}
N_SEEDS = 5

SCORED: dict[str, tuple[Loader, str, dict[str, Any]]] = {
    "heart": (real_data.heart, "MLPClassifier", {"max_iter": 50}),
    "adult": (real_data.adult, "MLPClassifier", {"max_iter": 10}),
    "california": (real_data.california, "MLPRegressor", {"max_iter": 20}),
    "letter": (real_data.letter, "MLPClassifier", {"max_iter": 20}),
    "covtype": (real_data.covtype, "MLPClassifier", {"max_iter": 20}),
    "a9a": (real_data.a9a, "MLPClassifier", {"max_iter": 10}),
    "yeast": (real_data.yeast, "MLPClassifier", {"max_iter": 50}),
    "bibtex": (real_data.bibtex, "MLPClassifier", {"max_iter": 20}),
    "diamonds": (real_data.diamonds, "MLPRegressor", {"max_iter": 10}),
}
"""By name: the data, the estimator, and what is not its default."""


@dataclass(frozen=True)
class Call:
    """A whole call, timed: how many times as fast as scikit-learn it should be."""

    load: Loader
    least: float
    settings: dict[str, Any] = field(default_factory=dict)
    do: Callable[[Any, Split], Any] = lambda model, data: model.fit(data.X, data.y)
    fitted: bool = False
    """Whether the model is fitted before the clock starts."""
    dtype: str = ""
    """Of X; "" as it is loaded."""


def _predict(n_rows: int) -> Callable[[Any, Split], Any]:
    return lambda model, data: model.predict(data.X[:n_rows])


def _search(model: Any, data: Split) -> Any:
    grid = {
        "hidden_layer_sizes": [(32,), (64,), (100,)],
        "alpha": [1e-4, 1e-2],
        "learning_rate_init": [1e-3, 1e-2],
    }
    return GridSearchCV(model, grid, cv=3).fit(data.X, data.y)


CALLS = {
    "digits, defaults": Call(real_data.digits, 5),
    "adult one-hot, 5 epochs": Call(real_data.adult, 3, {"max_iter": 5}),
    "MNIST (100,) adam, 2 epochs, float32": Call(real_data.mnist, 2.5, {"max_iter": 2}),
    "MNIST (100,) adam, 2 epochs, float64": Call(real_data.mnist, 2.5, {"max_iter": 2}, dtype="float64"),
    "20 features, 32 hidden, batch 32": Call(
        real_data.twenty_features, 12, {"hidden_layer_sizes": (32,), "batch_size": 32, "max_iter": 10}
    ),
    "digits, lbfgs": Call(real_data.digits, 2, {"solver": "lbfgs"}),
    "a9a CSR, 5 epochs": Call(real_data.a9a, 3, {"max_iter": 5}),
    "bibtex CSR, 20 epochs": Call(real_data.bibtex, 3, {"max_iter": 20}),
    "predict 1 row": Call(real_data.digits, 1 / 0.55, {"max_iter": 5}, _predict(1), fitted=True),
    "predict 10 000 rows": Call(real_data.mnist, 2, {"max_iter": 1}, _predict(10_000), fitted=True),
    "GridSearchCV, 12 settings": Call(real_data.digits, 4, {"max_iter": 20}, _search),
}


def scores(name: str) -> dict[str, Any]:
    """Fit both on the same rows with the same seeds; return test scores and the seconds of the fits."""
    load, estimator, settings = SCORED[name]
    data = load()
    score: dict[str, list[float]] = {label: [] for label in MODULES}
    seconds: dict[str, list[float]] = {label: [] for label in MODULES}
    for seed in range(N_SEEDS):
        for label, module in MODULES.items():
            model = getattr(module, estimator)(random_state=seed, **settings)
            start = time.perf_counter()
            model.fit(data.X, data.y)
            seconds[label].append(time.perf_counter() - start)
            score[label].append(_score(model, data))
    best = {label: min(values) for label, values in seconds.items()}
    return {
        "name": name,
        "metric": "R²" if estimator == "MLPRegressor" else "micro F1" if np.ndim(data.y) == 2 else "accuracy",
        "scores": {label: [statistics.mean(s), statistics.stdev(s)] for label, s in score.items()},
        "seconds": best,
        "ratio": best["scikit-learn"] / best["fastmlp"],
    }


def _score(model: Any, data: Split) -> float:
    if np.ndim(data.y) == 2:
        return float(f1_score(data.y_test, model.predict(data.X_test), average="micro"))
    return float(model.score(data.X_test, data.y_test))


def times(name: str, rounds: int) -> dict[str, Any]:
    """Let both do the call in turn; return the seconds of the fastest, and how far apart the losses ended."""
    call = CALLS[name]
    data = call.load()
    if call.dtype:
        data = data._replace(X=data.X.astype(call.dtype))
    models = {label: module.MLPClassifier(random_state=0, **call.settings) for label, module in MODULES.items()}
    if call.fitted:
        for model in models.values():
            model.fit(data.X, data.y)
    seconds: dict[str, list[float]] = {label: [] for label in MODULES}
    start_of_all = time.perf_counter()
    n_rounds = 0
    # What takes a moment is done more often.
    while n_rounds < rounds or (time.perf_counter() - start_of_all < 0.5 and n_rounds < 1000):
        n_rounds += 1
        for label, model in models.items():
            start = time.perf_counter()
            call.do(model, data)
            seconds[label].append(time.perf_counter() - start)
    best = {label: min(values) for label, values in seconds.items()}
    losses = {label: float(getattr(model, "loss_", np.nan)) for label, model in models.items()}
    return {
        "name": name,
        "seconds": best,
        "ratio": best["scikit-learn"] / best["fastmlp"],
        "least": call.least,
        "losses": losses,
    }


def _print_scores(row: dict[str, Any]) -> None:
    ours, theirs = row["scores"]["fastmlp"], row["scores"]["scikit-learn"]
    print(
        f"{row['name']:12}{row['metric']:10}{theirs[0]:9.4f} ± {theirs[1]:.4f}{ours[0]:9.4f} ± {ours[1]:.4f}"
        f"{row['seconds']['scikit-learn']:10.3f}{row['seconds']['fastmlp']:10.3f}{row['ratio']:8.2f}",
        flush=True,
    )


def _print_times(row: dict[str, Any]) -> None:
    seconds = row["seconds"]
    verdict = "met" if row["ratio"] >= row["least"] else "MISSED"
    print(
        f"{row['name']:40}{1e3 * seconds['scikit-learn']:12.3f}{1e3 * seconds['fastmlp']:12.3f}{row['ratio']:8.2f}"
        f"   ≥ {row['least']:.2g} {verdict}",
        flush=True,
    )


def main() -> None:
    """Print both tables, and write them where the argument says."""
    parser = argparse.ArgumentParser(prog="python -m bench.estimators", description=__doc__)
    parser.add_argument("--rows", default="", metavar="SUBSTRING")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # most fits end at max_iter, as they are meant to
    results: dict[str, list[dict[str, Any]]] = {"scores": [], "times": []}
    load = f"load average {os.getloadavg()[0]:.1f}; " if hasattr(os, "getloadavg") else ""
    print(f"{load}test scores over {N_SEEDS} seeds, seconds of fit, one thread\n")
    print(f"{'':22}{'scikit-learn':>18}{'fastmlp':>18}{'s sklearn':>10}{'s fastmlp':>10}{'times':>8}")
    for name in filter(lambda name: arguments.rows in name, SCORED):
        try:
            results["scores"].append(scores(name))
            _print_scores(results["scores"][-1])
        except FileNotFoundError as error:
            print(f"{name:12}left out: {error}")
    print(f"\n{'whole calls, one thread':40}{'ms sklearn':>12}{'ms fastmlp':>12}{'times':>8}   should reach")
    for name in filter(lambda name: arguments.rows in name, CALLS):
        try:
            results["times"].append(times(name, arguments.rounds))
            _print_times(results["times"][-1])
        except FileNotFoundError as error:
            print(f"{name:40}left out: {error}")
    if arguments.output:
        arguments.output.parent.mkdir(exist_ok=True)
        arguments.output.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
