"""A table of all that a column may hold, and targets of both kinds for the estimators of tables."""

from typing import Any

import numpy as np
import pandas as pd

from fastmlp import TabularClassifier, TabularRegressor

Estimator = type[TabularClassifier] | type[TabularRegressor]
N_ROWS = 120


def frame(n_rows: int = N_ROWS) -> pd.DataFrame:
    """All that a column may hold."""
    rng = np.random.default_rng(1)
    colours = rng.choice(["red", "green", "blue"], n_rows)
    table = pd.DataFrame(
        {
            "size": rng.normal(5, 2, n_rows),
            "count": rng.integers(0, 9, n_rows),
            "colour": colours,
            "kind": pd.Categorical(rng.choice(["a", "b"], n_rows)),
            "flag": rng.random(n_rows) < 0.5,
            "rest": pd.array(rng.integers(0, 5, n_rows), dtype="Int64"),
            "empty": np.full(n_rows, np.nan),
            "constant": 3.0,
        }
    )
    table.loc[::7, "size"] = np.nan
    table.loc[::5, "colour"] = None
    table.loc[::9, "rest"] = pd.NA
    return table


def labels(table: pd.DataFrame) -> np.ndarray:
    return np.where((table["count"] > 4) ^ (table["kind"] == "b"), "yes", "no")


def values(table: pd.DataFrame) -> np.ndarray:
    return np.asarray(table["count"] * 100.0 + 5000 * (table["kind"] == "b"))


CASES: list[tuple[Estimator, Any]] = [(TabularClassifier, labels), (TabularRegressor, values)]
