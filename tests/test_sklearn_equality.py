"""The contract: with the same seed and settings in float64, Trainer ends where scikit-learn's MLPs end."""

from inspect import signature
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.neural_network import MLPClassifier, MLPRegressor

from fastmlp import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Both add the same numbers in another order. Rounding is some 1e-16 of a weight for each of a few hundred updates,
# which the network's own sensitivity amplifies: 1e-8 is far above that and far below any difference of method.
ROUNDING = 1e-8

SOLVERS = {
    "sgd": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05},
    "momentum": {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False, "learning_rate_init": 0.01},
    "nesterov": {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": True, "learning_rate_init": 0.01},
    "adam": {"solver": "adam", "learning_rate_init": 0.002},
}


def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def binary_digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = digits()
    return X[y < 2], y[y < 2]


def digits_with_labels() -> tuple[np.ndarray, np.ndarray]:
    """Several labels at once: even, above four, divisible by three."""
    X, y = digits()
    return X, np.c_[y % 2 == 0, y > 4, y % 3 == 0].astype(int)


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_diabetes(return_X_y=True)
    return X * 20, (y - 150) / 80


def diabetes_twice() -> tuple[np.ndarray, np.ndarray]:
    X, y = diabetes()
    return X, np.c_[y, y**2]


TASKS = {
    "log_loss": (MLPClassifier, digits, "log_loss"),
    "binary": (MLPClassifier, binary_digits, "binary_log_loss"),
    "multilabel": (MLPClassifier, digits_with_labels, "binary_log_loss"),
    "squared_error": (MLPRegressor, diabetes, "squared_error"),
    "two outputs": (MLPRegressor, diabetes_twice, "squared_error"),
}


def assert_equal(ours: Trainer, theirs: Any) -> None:
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert np.linalg.norm(mine - other) <= ROUNDING * np.linalg.norm(other)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=ROUNDING)
    assert (ours.n_iter_, ours.t_, ours.n_layers_, ours.n_outputs_, ours.out_activation_) == (
        theirs.n_iter_,
        theirs.t_,
        theirs.n_layers_,
        theirs.n_outputs_,
        theirs.out_activation_,
    )


def both(task: str, sample_weight: Any = None, **settings: Any) -> tuple[Trainer, Any]:
    estimator, load, loss = TASKS[task]
    settings = {"hidden_layer_sizes": (24, 12), "max_iter": 20, "random_state": 3, "alpha": 0.01, **settings}
    X, y = load()
    if sample_weight is None:
        return Trainer(loss=loss, **settings).fit(X, y), estimator(**settings).fit(X, y)
    if "sample_weight" not in signature(estimator.fit).parameters:
        pytest.skip("scikit-learn's MLPs take sample weights from 1.7 on")
    weights = sample_weight(len(X))
    return Trainer(loss=loss, **settings).fit(X, y, weights), estimator(**settings).fit(X, y, weights)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("task", TASKS)
def test_twenty_epochs(task: str, solver: str) -> None:
    assert_equal(*both(task, **SOLVERS[solver]))


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_activations(activation: str) -> None:
    assert_equal(*both("log_loss", activation=activation, batch_size=64))


@pytest.mark.parametrize("hidden_layer_sizes", [(), 7, (5, 6, 7)])
def test_depths(hidden_layer_sizes: Any) -> None:
    assert_equal(*both("squared_error", hidden_layer_sizes=hidden_layer_sizes))


@pytest.mark.parametrize("task", TASKS)
def test_sample_weights(task: str) -> None:
    assert_equal(*both(task, sample_weight=lambda n: np.random.RandomState(0).randint(1, 5, n).astype(float)))


def test_poisson() -> None:
    X, _ = diabetes()
    counts = np.random.RandomState(0).poisson(np.exp(X[:, 2]))
    settings = {"hidden_layer_sizes": (12,), "max_iter": 20, "random_state": 3, "loss": "poisson"}
    try:
        theirs = MLPRegressor(**settings)
    except TypeError:
        pytest.skip("MLPRegressor has no loss before scikit-learn 1.7")
    assert_equal(Trainer(**settings).fit(X, counts), theirs.fit(X, counts))


@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
def test_schedules_and_stopping(schedule: str) -> None:
    """Rough steps make plateaus, so that n_iter_ depends on the rule that counts them."""
    settings = {
        "learning_rate": schedule,
        "learning_rate_init": 0.3,
        "tol": 0.01,
        "n_iter_no_change": 2,
        "power_t": 0.3,
    }
    ours, theirs = both("log_loss", solver="sgd", max_iter=60, **settings)
    assert_equal(ours, theirs)
    assert ours.n_iter_ < 60
    assert ours.best_loss_ == pytest.approx(theirs.best_loss_, rel=ROUNDING)


@pytest.mark.parametrize("solver", SOLVERS)
def test_partial_fit(solver: str) -> None:
    X, y = digits()
    settings = {"hidden_layer_sizes": (24, 12), "random_state": 3, **SOLVERS[solver]}
    ours, theirs = Trainer(**settings), MLPClassifier(**settings)
    for part in np.array_split(np.arange(len(X)), 5):
        # Ours knows its classes from the first call: one-hot rows tell all ten.
        ours.partial_fit(X[part], np.eye(10)[y[part]])
        theirs.partial_fit(X[part], y[part], classes=np.arange(10))
    assert_equal(ours, theirs)


def test_float32_follows_float32() -> None:
    """In float32 rounding is 1e9 times larger than in float64."""
    X, y = digits()
    settings = {"hidden_layer_sizes": (24,), "max_iter": 5, "random_state": 3}
    ours = Trainer(**settings).fit(X.astype(np.float32), y)
    theirs = MLPClassifier(**settings).fit(X.astype(np.float32), y)
    for mine, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        assert mine.dtype == other.dtype == np.float32
        assert np.linalg.norm(mine - other) <= 1e-4 * np.linalg.norm(other)
