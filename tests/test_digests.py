"""Fits whose weights may not change by a bit; `python -m tests.test_digests` records their digests anew."""

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy
import scipy.sparse
from threadpoolctl import threadpool_info

from fastmlp import MLPClassifier, MLPRegressor, Trainer, _core

RECORDED = Path(__file__).with_name("digests.json")

RNG = np.random.RandomState(0)
# Integers and their halves only: no library rounds them in its own way.
X = RNG.randint(-8, 9, (230, 21)) / 4
ONE_HOT = RNG.randint(0, 2, (230, 21)).astype(np.uint8)
Y3 = RNG.randint(0, 3, 230)
Y2 = (X[:, 0] > X[:, 1]).astype(int)
LABELS = (X[:, :4] > 0).astype(int)
VALUES = X[:, :2] - X[:, 2:4]
COUNTS = RNG.randint(0, 5, 230).astype(float)
WEIGHTS = RNG.randint(1, 9, 230) / 4
SPARSE = scipy.sparse.csr_matrix(X * (RNG.randint(0, 9, X.shape) == 0))

QUICK = {"max_iter": 6, "random_state": 3}


def classifier(**settings: Any) -> MLPClassifier:
    return MLPClassifier(**{"hidden_layer_sizes": (19, 70), **QUICK, **settings})


def regressor(**settings: Any) -> MLPRegressor:
    return MLPRegressor(**{"hidden_layer_sizes": (33,), **QUICK, **settings})


def trainer(**settings: Any) -> Trainer:
    return Trainer(**{"hidden_layer_sizes": (40, 17), **QUICK, **settings})


def several_calls(estimator: Any, y: Any, **first: Any) -> Any:
    estimator.partial_fit(X[:100], y[:100], **first)
    for start in range(0, 230, 46):
        estimator.partial_fit(X[start : start + 46], y[start : start + 46])
    return estimator


def warm(estimator: Any, y: Any) -> Any:
    return estimator.set_params(warm_start=True).fit(X, y).fit(X[::-1], y[::-1])


def validated(estimator: Any, y: Any) -> Any:
    return estimator.fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:])


def fit_then_partial_fit(estimator: Any, y: Any) -> Any:
    return estimator.fit(X, y).partial_fit(X[:77], y[:77])


STOPS = {"max_iter": 60, "learning_rate_init": 0.05}
SGD: dict[str, Any] = {"solver": "sgd", "learning_rate_init": 0.05}
FITS: dict[str, Callable[[], Any]] = {
    "adam": lambda: classifier().fit(X, Y3),
    "adam float32": lambda: classifier(dtype="float32").fit(X, Y3),
    "adam float32 rows": lambda: classifier().fit(X.astype(np.float32), Y3),
    "adam uint8 rows": lambda: classifier().fit(ONE_HOT, Y3),
    "adam betas": lambda: classifier(beta_1=0.5, beta_2=0.9, epsilon=1e-3).fit(X, Y3),
    "sgd plain": lambda: classifier(momentum=0, **SGD).fit(X, Y3),
    "sgd plain float32": lambda: classifier(momentum=0, dtype="float32", **SGD).fit(X, Y3),
    "sgd without penalty": lambda: classifier(momentum=0, alpha=0, batch_size=1, **SGD).fit(X, Y3),
    "sgd momentum": lambda: classifier(nesterovs_momentum=False, **SGD).fit(X, Y3),
    "sgd nesterov": lambda: classifier(**SGD).fit(X, Y3),
    "sgd nesterov float32": lambda: classifier(dtype="float32", batch_size=7, **SGD).fit(X, Y3),
    "invscaling": lambda: classifier(learning_rate="invscaling", **SGD).fit(X, Y3),
    "adaptive": lambda: classifier(learning_rate="adaptive", n_iter_no_change=1, tol=0.05, **STOPS, solver="sgd").fit(
        X, Y3
    ),
    "plateau": lambda: classifier(n_iter_no_change=2, tol=0.02, **STOPS).fit(X, Y3),
    "early stopping": lambda: classifier(early_stopping=True, n_iter_no_change=2, **STOPS).fit(X, Y3),
    "early stopping binary": lambda: classifier(early_stopping=True, n_iter_no_change=2, **STOPS).fit(X, Y2),
    "early stopping by loss": lambda: classifier(early_stopping=True, scoring="loss", n_iter_no_change=2, **STOPS).fit(
        X, Y3
    ),
    "early stopping by a scorer": lambda: classifier(
        early_stopping=True, scoring="balanced_accuracy", n_iter_no_change=2, **STOPS
    ).fit(X, Y3),
    "rows to validate on": lambda: validated(classifier(early_stopping=True, n_iter_no_change=2, **STOPS), Y3),
    "rows to watch": lambda: validated(classifier(n_iter_no_change=2, tol=0.02, **STOPS), Y3),
    "binary": lambda: classifier().fit(X, Y2),
    "labels": lambda: classifier().fit(X, LABELS),
    "class weights": lambda: classifier(class_weight={0: 1, 1: 4, 2: 0.5}).fit(X, Y3),
    "balanced": lambda: classifier(class_weight="balanced").fit(X, Y3, sample_weight=WEIGHTS),
    "logistic": lambda: classifier(activation="logistic").fit(X, Y3),
    "tanh": lambda: classifier(activation="tanh").fit(X, Y3),
    "no hidden layer": lambda: classifier(hidden_layer_sizes=()).fit(X, Y3),
    "no shuffle": lambda: classifier(shuffle=False, batch_size=60).fit(X, Y3),
    "sparse": lambda: classifier(hidden_layer_sizes=(300,)).fit(SPARSE, Y3),
    "sparse float32": lambda: classifier(dtype="float32", momentum=0, **SGD).fit(SPARSE, Y3),
    "partial_fit": lambda: several_calls(classifier(), Y3, classes=range(3)),
    "partial_fit invscaling": lambda: several_calls(regressor(learning_rate="invscaling", **SGD), VALUES),
    "partial_fit adaptive": lambda: several_calls(trainer(learning_rate="adaptive", **SGD), Y3),
    "partial_fit after fit": lambda: fit_then_partial_fit(classifier(**SGD), Y3),
    "warm start": lambda: warm(classifier(), Y3),
    "warm start sgd": lambda: warm(regressor(**SGD), VALUES),
    "regression": lambda: regressor().fit(X, VALUES, sample_weight=WEIGHTS),
    "regression early stopping": lambda: regressor(early_stopping=True, n_iter_no_change=2, **STOPS).fit(X, VALUES),
    "poisson": lambda: regressor(loss="poisson").fit(X, COUNTS),
    "trainer hinge": lambda: trainer(loss="hinge").fit(X, Y3),
    "trainer labels": lambda: trainer(loss="binary_log_loss", dtype="float32").fit(X, LABELS),
    "trainer whole batch": lambda: trainer(loss="squared_error", batch_size=600).fit(
        np.tile(X, (3, 1))[:600], np.tile(VALUES, (3, 1))[:600]
    ),
    "lbfgs": lambda: classifier(solver="lbfgs").fit(X, Y3),
    "lbfgs regression": lambda: regressor(solver="lbfgs").fit(X, VALUES),
}


def digest(name: str) -> str:
    """SHA-256 of parameters, loss curve and counters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = FITS[name]()
    content = hashlib.sha256()
    for array in (*fitted.coefs_, *fitted.intercepts_):
        content.update(np.ascontiguousarray(array).tobytes())
    scores = getattr(fitted, "validation_scores_", None) or []
    content.update(np.array([*fitted.loss_curve_, fitted.loss_, *scores, fitted.n_iter_, fitted.t_]).tobytes())
    return content.hexdigest()


def minimiser() -> list[str]:
    """What SciPy's minimiser rounds by: its version, and the kernels of the BLAS of its wheel, which follow the CPU."""
    blas = [library for library in threadpool_info() if "scipy.libs" in library["filepath"]]
    return [scipy.__version__, *(str(library.get("architecture")) for library in blas)]


def recorded() -> dict[str, Any]:
    return dict(json.loads(RECORDED.read_text()))


@pytest.mark.skipif(_core.isa() == "x86-64", reason="the baseline has no fused multiply-add and rounds otherwise")
@pytest.mark.parametrize("name", FITS)
def test_the_weights_are_those_recorded(name: str) -> None:
    if "lbfgs" in name and recorded()["minimiser"] != minimiser():
        pytest.skip(f"SciPy's minimiser rounds in its own way: recorded with {recorded()['minimiser']}")
    assert digest(name) == recorded()["digests"][name]


def test_every_recorded_fit_is_tested() -> None:
    assert recorded()["digests"].keys() == FITS.keys()


if __name__ == "__main__":
    digests = {name: digest(name) for name in FITS}
    RECORDED.write_text(json.dumps({"minimiser": minimiser(), "digests": digests}, indent=1) + "\n")
