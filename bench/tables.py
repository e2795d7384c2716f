"""Errors and times of estimators of tables: 70 % of the rows to train on, 8000 at most.

``python -m bench tables`` runs this in a process of its own, where every library is told to use one thread. Results of
each method, table and split are kept in a file; what is there already is not measured again, and what is not installed
or has no file in the data folder is left out.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
from numpy.typing import NDArray
from sklearn import neural_network
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import fastmlp
from bench import report, tables_report
from bench.datasets import FOLDER
from bench.real_data import prepared
from bench.tables_report import RESULTS

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
BUNDLED = {"breast_cancer": load_breast_cancer, "diabetes": load_diabetes, "digits": load_digits}
"""Of scikit-learn, which need no file."""
NAMES = (*CSV, *ARRAYS, *(f"uci_{name}" for name in UCI), *BUNDLED)
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


def file_of(name: str) -> Path | None:
    """Where a table lies; None of one that scikit-learn brings along."""
    if name in BUNDLED:
        return None
    return FOLDER / (f"{CSV[name][0]}.csv.gz" if name in CSV else f"{ARRAYS.get(name, name)}.npz")


def _read(name: str) -> tuple[pandas.DataFrame, NDArray[Any]]:
    file = file_of(name)
    if file is None:
        X, y = BUNDLED[name](return_X_y=True, as_frame=True)
        return X, y.to_numpy()
    if name in CSV:
        X = pandas.read_csv(file)
        y = X.pop(CSV[name][1]).to_numpy()
        X = X.drop(columns="duration", errors="ignore")  # it tells the target of bank
        return X, SCALED.get(name, np.asarray)(y)
    with np.load(file) as content:
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


def as_it_is(table: Table) -> Table:
    """For what takes text and missing values."""
    return table


def _pipeline(table: Table) -> Table:
    """What the plain estimators see: imputed, one-hot, standardised."""
    split = prepared(*without_gaps(table)[:4])
    return table._replace(X=split.X, X_test=split.X_test)


def _mlp(module: Any) -> Callable[[int, bool], Any]:
    def make(seed: int, classifies: bool) -> Any:
        return (module.MLPClassifier if classifies else module.MLPRegressor)(random_state=seed)

    return make


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


class Method(NamedTuple):
    """An estimator, made from seed and whether it classifies; what it sees of a table; the package that it needs."""

    make: Callable[[int, bool], Any]
    see: Callable[[Table], Table]
    package: str = "sklearn"


METHODS = {
    "scikit-learn MLP": Method(_mlp(neural_network), _pipeline),
    "fastmlp MLP": Method(_mlp(fastmlp), _pipeline),
    "HistGradientBoosting": Method(_boosting, as_it_is),
    "LightGBM": Method(_lightgbm, as_it_is, "lightgbm"),
    "RealMLP-TD-S": Method(_realmlp("RealMLP_TD_S"), without_gaps, "pytabkit"),
    "RealMLP-TD": Method(_realmlp("RealMLP_TD"), without_gaps, "pytabkit"),
    "fastmlp Tabular": Method(_tabular("default"), as_it_is),
    "fastmlp Tabular accurate": Method(_tabular("accurate"), as_it_is),
}


def hindrance(method: str, name: str) -> str:
    """Why a method cannot be measured on a table; empty where it can."""
    file, package = file_of(name), METHODS[method].package
    if find_spec(package) is None:
        return f"{method} is left out: {package} is not installed"
    return f"{name} is left out: there is no {file}" if file and not file.exists() else ""


def measured(method: str, name: str, seed: int) -> dict[str, Any]:
    """Error on the test rows (share of wrong classes, or RMSE), log loss of a classifier, seconds of the whole fit."""
    make, see, _ = METHODS[method]
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


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing, and print all; results that are kept are drawn, and told in the README."""
    parser = argparse.ArgumentParser(prog="python -m bench tables", description=__doc__)
    parser.add_argument("--methods", default=",".join(METHODS), help="separated by commas; an empty one for none")
    parser.add_argument("--tables", default=",".join(NAMES))
    parser.add_argument("--splits", type=int, default=N_SPLITS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="measure what the file holds, too")
    arguments = parser.parse_args(argv)
    results = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.exists() else []
    known = {(row["method"], row["table"], row["seed"]): row for row in results}
    methods = [method for method in arguments.methods.split(",") if method]
    every = product(range(arguments.splits), arguments.tables.split(","), methods)
    wanted = [run for seed, table, method in every if (run := (method, table, seed)) not in known or arguments.again]
    for hindered in dict.fromkeys(hindrance(method, table) for method, table, _ in wanted):
        print(hindered, file=sys.stderr, end="\n" if hindered else "")
    for run in wanted:
        if hindrance(*run[:2]):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known[run] = measured(*run)
        print(known[run], file=sys.stderr, flush=True)
        rows = ",\n ".join(json.dumps(row) for row in known.values())
        arguments.output.write_text(f"[{rows}]\n", encoding="utf-8")
    results = list(known.values())
    print(tables_report.markdown(results))
    if arguments.output == RESULTS:
        tables_report.draw(results).savefig(PICTURE, dpi=160, transparent=True)
        report.rewrite_readme("tables", tables_report.summary(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
