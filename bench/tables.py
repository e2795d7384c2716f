"""Errors and times of estimators of tables, on those of the data folder: 70 % of the rows to train on, 8000 at most.

``python -m bench tables`` runs this in a process of its own, where every library is told to use one thread. Results of
each method, table and split are kept in a file; what is there already is not measured again.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import fastmlp
from bench import tables_report
from bench.datasets import FOLDER
from bench.real_data import prepared

RESULTS = Path(__file__).parent / "results" / "tables.json"
PICTURE = Path(__file__).parent / "pictures" / "tables.png"
N_ROWS, N_SPLITS = 8000, 3
CSV = {
    "heart": ("heart", "AHD"),
    "adult": ("adult_train", "income"),
    "bank": ("bank_additional_full", "y"),
    "california": ("california_housing", "median_house_value"),
    "diamonds": ("diamonds", "price"),
    "letter": ("letter", "letter"),
}
"""File and target column of each."""
ARRAYS = {"covtype": "covtype_20k", "higgs": "higgs_7k", "pendigits": "pendigits", "mammography": "mammography"}
UCI = ("boston", "concrete", "energy", "kin8nm", "power_plant", "wine_red", "yacht")
NAMES = (*CSV, *ARRAYS, *(f"uci_{name}" for name in UCI))
SCALED: dict[str, Callable[[Any], Any]] = {"california": lambda y: y / 1e5, "diamonds": np.log}
"""Targets that are not used as they are: in 100 000 dollars, and as the logarithm."""


class Table(NamedTuple):
    """A table and the rows to train and to test on."""

    X: Any
    X_test: Any
    y: NDArray[Any]
    y_test: NDArray[Any]
    classifies: bool


def load(name: str, seed: int) -> Table:
    """The table with its split of that seed; text columns are categories, and their missing values are kept."""
    X, y = _read(name)
    classifies = y.dtype.kind != "f"
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=seed, stratify=y if classifies else None)
    X, X_test = X[:N_ROWS].reset_index(drop=True), X_test.reset_index(drop=True)
    for column in X.columns:
        if not pandas.api.types.is_numeric_dtype(X[column]):
            categories = pandas.Categorical(X[column].astype(object)).categories
            X[column] = pandas.Categorical(X[column].astype(object), categories=categories)
            X_test[column] = pandas.Categorical(X_test[column].astype(object), categories=categories)
    return Table(X, X_test, y[:N_ROWS], y_test, classifies)


def _read(name: str) -> tuple[pandas.DataFrame, NDArray[Any]]:
    if name in CSV:
        file, target = CSV[name]
        X = pandas.read_csv(FOLDER / f"{file}.csv.gz")
        y = X.pop(target).to_numpy()
        X = X.drop(columns="duration", errors="ignore")  # it tells the target of bank
        return X, SCALED.get(name, np.asarray)(y)
    with np.load(FOLDER / f"{ARRAYS.get(name, name)}.npz") as content:
        parts = ("",) if "X" in content else ("_train", "_test")
        X, y = (np.concatenate([content[f"{array}{part}"] for part in parts]) for array in "Xy")
    names = [f"x{j}" for j in range(X.shape[1])]
    return pandas.DataFrame(X, columns=names), y if name.startswith("uci") else y.astype(np.int64)


def without_gaps(table: Table) -> Table:
    """Missing numbers are the median of the training rows, for what does not take them."""
    X, X_test = table.X.copy(), table.X_test.copy()
    for column in X.select_dtypes("number"):
        median = X[column].median()
        X[column], X_test[column] = X[column].fillna(median), X_test[column].fillna(median)
    return table._replace(X=X, X_test=X_test)


def _pipeline(table: Table) -> Table:
    """What the plain estimators see: imputed, one-hot, standardised."""
    split = prepared(*without_gaps(table)[:4])
    return table._replace(X=split.X, X_test=split.X_test)


def _mlp(seed: int, classifies: bool) -> Any:
    return (fastmlp.MLPClassifier if classifies else fastmlp.MLPRegressor)(random_state=seed)


def _tabular(preset: str) -> Callable[[int, bool], Any]:
    def make(seed: int, classifies: bool) -> Any:
        estimator = fastmlp.TabularClassifier if classifies else fastmlp.TabularRegressor
        return estimator(preset, random_state=seed, n_threads=1)

    return make


def _boosting(seed: int, classifies: bool) -> Any:
    estimator = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
    return estimator(random_state=seed)


def _lightgbm(seed: int, classifies: bool) -> Any:
    import lightgbm

    estimator = lightgbm.LGBMClassifier if classifies else lightgbm.LGBMRegressor
    return estimator(n_jobs=1, verbose=-1, random_state=seed)


def _realmlp(name: str) -> Callable[[int, bool], Any]:
    def make(seed: int, classifies: bool) -> Any:
        import torch
        from pytabkit.models.sklearn import sklearn_interfaces

        torch.set_num_threads(1)
        estimator = getattr(sklearn_interfaces, f"{name}_{'Classifier' if classifies else 'Regressor'}")
        return estimator(device="cpu", random_state=seed, n_threads=1, verbosity=0)

    return make


METHODS: dict[str, tuple[Callable[[int, bool], Any], Callable[[Table], Table]]] = {
    "fastmlp MLP": (_mlp, _pipeline),
    "HistGradientBoosting": (_boosting, lambda table: table),
    "LightGBM": (_lightgbm, lambda table: table),
    "RealMLP-TD-S": (_realmlp("RealMLP_TD_S"), without_gaps),
    "RealMLP-TD": (_realmlp("RealMLP_TD"), without_gaps),
    "fastmlp Tabular": (_tabular("default"), lambda table: table),
    "fastmlp Tabular accurate": (_tabular("accurate"), lambda table: table),
}
"""How to make each estimator, from seed and whether it classifies, and what it sees of a table."""


def measured(method: str, name: str, seed: int) -> dict[str, Any]:
    """Error on the test rows (share of wrong classes, or RMSE), log loss of a classifier, seconds of the whole fit."""
    make, see = METHODS[method]
    table = load(name, seed)
    estimator = make(seed, table.classifies)
    start, cpu = time.perf_counter(), time.process_time()
    seen = see(table)
    estimator.fit(seen.X, seen.y)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    predicted = np.asarray(estimator.predict(seen.X_test))
    result = {"method": method, "table": name, "seed": seed, "seconds": round(seconds, 3), "cpu": round(cpu, 3)}
    if not table.classifies:
        return result | {"error": float(np.sqrt(np.mean((predicted.ravel() - table.y_test) ** 2)))}
    loss = log_loss(table.y_test, estimator.predict_proba(seen.X_test), labels=estimator.classes_)
    return result | {"error": float(np.mean(predicted != table.y_test)), "log_loss": float(loss)}


def ratios(results: list[dict[str, Any]], method: str, to: str) -> dict[str, float]:
    """By table the errors of a method divided by those of another, the geometric mean over the splits of both."""
    errors = {(row["method"], row["table"], row["seed"]): row["error"] for row in results}
    found: dict[str, list[float]] = {}
    for (name, table, seed), error in errors.items():
        if name == method and (to, table, seed) in errors:
            found.setdefault(table, []).append(np.log(max(error, 1e-9) / max(errors[to, table, seed], 1e-9)))
    return {table: float(np.exp(np.mean(logs))) for table, logs in found.items()}


def lines(results: list[dict[str, Any]]) -> list[str]:
    """The table to print: the error of each method as a part of LightGBM's, by table and as geometric mean; seconds."""
    methods = [name for name in METHODS if any(row["method"] == name for row in results)]
    columns = {name: ratios(results, name, "LightGBM") for name in methods}
    head = f"{'error / LightGBM':20}" + "".join(f"{name.removeprefix('fastmlp '):>22}" for name in methods)
    text = [head]
    for table in NAMES:
        cells = [f"{columns[name][table]:.3f}" if table in columns[name] else "" for name in methods]
        text.append(f"{table:20}" + "".join(f"{cell:>22}" for cell in cells))
    means = [float(np.exp(np.mean(np.log([*columns[name].values()])))) for name in methods]
    text.append(f"{'geometric mean':20}" + "".join(f"{mean:22.3f}" for mean in means))
    seconds = {name: [row.get("cpu", row["seconds"]) for row in results if row["method"] == name] for name in methods}
    return [*text, f"{'CPU seconds a fit':20}" + "".join(f"{np.mean(seconds[name]):22.2f}" for name in methods)]


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing, print the table, keep the results and draw them."""
    parser = argparse.ArgumentParser(prog="python -m bench tables", description=__doc__)
    parser.add_argument("--methods", default=",".join(METHODS), help="separated by commas; an empty one for none")
    parser.add_argument("--tables", default=",".join(NAMES))
    parser.add_argument("--splits", type=int, default=N_SPLITS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="measure what the file holds, too")
    arguments = parser.parse_args(argv)
    results = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.exists() else []
    known = {(row["method"], row["table"], row["seed"]): row for row in results}
    for seed in range(arguments.splits):
        for table in arguments.tables.split(","):
            for method in filter(None, arguments.methods.split(",")):
                if (method, table, seed) in known and not arguments.again:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    known[method, table, seed] = measured(method, table, seed)
                print(known[method, table, seed], file=sys.stderr, flush=True)
                rows = ",\n ".join(json.dumps(row) for row in known.values())
                arguments.output.write_text(f"[{rows}]\n", encoding="utf-8")
    print(*lines(list(known.values())), sep="\n")
    if arguments.output == RESULTS:
        tables_report.draw(list(known.values())).savefig(PICTURE, dpi=160, transparent=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
