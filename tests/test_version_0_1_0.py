"""What version 0.1.0 wrote is read: files of `save`, pickles, and models of the command line.

Each estimator in ``version_0_1_0`` was made by the constructor call that ``expected.json`` quotes, fitted to X and y
there, and written by version 0.1.0 itself, which also computed what is expected here.
"""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastmlp
from fastmlp import _core

FOLDER = Path(__file__).parent / "version_0_1_0"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
ESTIMATORS: dict[str, dict[str, Any]] = EXPECTED["estimators"]
ATTRIBUTES = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "out_activation_")

pytestmark = [
    # scikit-learn warns of pickles that another of its versions wrote.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def read(name: str, suffix: str) -> Any:
    path = FOLDER / f"{name}.{suffix}"
    return fastmlp.load(path) if suffix == "fastmlp" else pickle.loads(path.read_bytes())


def rows(case: dict[str, Any]) -> Any:
    """X as it was given to the fit."""
    X = np.array(EXPECTED["X"], case["X_dtype"])
    if case["feature_names"] is None:
        return X
    return pytest.importorskip("pandas").DataFrame(X, columns=case["feature_names"])


def assert_equal(found: NDArray[Any], expected: Any, dtype: str) -> None:
    expected = np.array(expected)
    if expected.dtype.kind != "f":
        assert np.array_equal(found, expected)
        return
    assert found.dtype == dtype
    if _core.isa() == "x86-64":  # without FMA each product is rounded before it is added; values are about 1
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 if dtype == "float32" else 1e-11)
    else:
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("suffix", ["fastmlp", "pickle"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_predictions(name: str, suffix: str) -> None:
    case = ESTIMATORS[name]
    estimator = read(name, suffix)
    assert_equal(estimator.predict(rows(case)), case["predictions"], case["dtype"])
    if "probabilities" in case:
        assert_equal(estimator.predict_proba(rows(case)), case["probabilities"], case["dtype"])


@pytest.mark.parametrize("suffix", ["fastmlp", "pickle"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_attributes(name: str, suffix: str) -> None:
    case = ESTIMATORS[name]
    estimator = read(name, suffix)
    names = [*ATTRIBUTES, *(name for name in ("classes_", "validation_scores_") if case.get(name))]
    for attribute in names:
        found = getattr(estimator, attribute)
        assert (found.tolist() if isinstance(found, np.ndarray) else found) == case[attribute], attribute
    if case["feature_names"] is not None:
        assert list(estimator.feature_names_in_) == case["feature_names"]


@pytest.mark.parametrize("suffix", ["fastmlp", "pickle"])
@pytest.mark.parametrize("name", [name for name, case in ESTIMATORS.items() if "coefs_after_partial_fit" in case])
def test_training_goes_on(name: str, suffix: str) -> None:
    """With the optimizer's state, the learning rate and the random numbers of then."""
    case = ESTIMATORS[name]
    estimator = read(name, suffix)
    if "early_stopping" in estimator.get_params():
        estimator.set_params(early_stopping=False)  # which partial_fit does not have
    y = np.array(case["y"], dtype=object if name == "objects" else None)
    for _ in range(2):
        estimator.partial_fit(rows(case), y)
    for found, expected in zip(estimator.coefs_, case["coefs_after_partial_fit"], strict=True):
        assert_equal(found, expected, case["dtype"])


@pytest.mark.parametrize("name", EXPECTED["models"])
def test_command_line(name: str) -> None:
    command = [sys.executable, "-m", "fastmlp", "predict", FOLDER / f"command_line_{name}.fastmlp", FOLDER / "rows.csv"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    found, expected = done.stdout.splitlines(), EXPECTED["models"][name]
    assert found[0] == expected[0]
    if name == "classes":
        assert found == expected
    else:  # the instruction set without FMA rounds differently, in float32
        np.testing.assert_allclose(np.array(found[1:], float), np.array(expected[1:], float), rtol=0, atol=1e-5)
