"""A training that diverges ends in an error or is told of; one that learns is left alone."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning
from small_trainer import X, Y

from fastmlp import MLPClassifier, MLPRegressor, Trainer
from fastmlp.stopping import DIVERGED

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_non_finite_parameters_are_an_error_at_once(solver: str, dtype: str) -> None:
    trainer = Trainer(loss="squared_error", solver=solver, learning_rate_init=1e300, dtype=dtype, max_iter=10**6)
    with pytest.raises(ValueError, match=r"non-finite parameter weights.* smaller learning_rate_init"):
        trainer.fit(X * 1e3, Y)
    assert not hasattr(trainer, "coefs_")


def test_raw_pixels_and_a_large_rate_are_told(data_file: Callable[[str], Path]) -> None:
    with np.load(data_file("mnist.npz")) as mnist:
        rows, classes = mnist["X_train"][:3000], mnist["y_train"][:3000]
    trainer = Trainer(solver="sgd", learning_rate_init=0.1, random_state=0, max_iter=3, tol=0)
    with pytest.warns(ConvergenceWarning, match=r"diverges: the loss of epoch 3 is .* Scale X, for") as caught:
        trainer.fit(rows, classes)
    assert sum("diverges" in str(warning.message) for warning in caught) == 1


def divergences(estimator: Any, rows: Any, targets: Any, train: str = "fit", times: int = 1) -> int:
    """How many of the calls warn that training diverges."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(times):
            getattr(estimator, train)(rows, targets)
    return sum("Training diverges" in str(warning.message) for warning in caught)


def unscaled() -> tuple[Any, Any]:
    """Rows like those of a census, to whose numbers of people nobody has given a thought."""
    rows = np.c_[np.random.RandomState(0).lognormal(7, 0.7, 20000), np.linspace(32, 42, 20000)]
    return rows, np.log(rows[:, 0])


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_a_loss_that_begins_high_and_falls_is_no_divergence(load: Any) -> None:
    classifier = MLPClassifier(random_state=0)
    assert divergences(classifier, *load(return_X_y=True)) == 0
    assert classifier.loss_curve_[0] > DIVERGED * classifier.n_outputs_


def test_values_that_diverge_from_the_first_epoch_are_told() -> None:
    """The loss of each epoch after the first is no more than twice that of the first."""
    regressor = MLPRegressor(solver="sgd", random_state=0)
    assert divergences(regressor, *unscaled()) == 1
    assert max(regressor.loss_curve_) < DIVERGED * regressor.loss_curve_[0]


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_regression_may_want_scaled_targets(solver: str) -> None:
    with pytest.raises(ValueError, match=r"non-finite parameter weights.* Scale X and y, for"):
        MLPRegressor(solver=solver).fit(X, X[:, 0] * 1e200)
    with pytest.warns(ConvergenceWarning, match="diverges: .* Scale X and y, for"):
        MLPRegressor(solver="sgd", random_state=0).fit(*unscaled())


def test_small_or_constant_values_are_no_divergence() -> None:
    for values in (np.zeros(60), X[:, 0] * 1e-6, X[:, 0] + 2000):
        assert divergences(MLPRegressor(random_state=0, max_iter=20), X, values) == 0


def test_partial_fit_tells_of_a_divergence_that_stays() -> None:
    rows, values = unscaled()
    trainer = Trainer(loss="squared_error", solver="sgd", random_state=0, n_iter_no_change=3)
    assert divergences(trainer, rows, values, "partial_fit", 4) == 0
    assert divergences(trainer, rows, values, "partial_fit", 4) > 0


def test_mnist_below_2_3_percent(data_file: Callable[[str], Path]) -> None:
    """784-300-100-10 within 20 epochs, on one core."""
    with np.load(data_file("mnist.npz")) as mnist:
        X_train, X_test = (mnist[name].astype(np.float32) / 255 for name in ("X_train", "X_test"))
        y_train, y_test = mnist["y_train"], mnist["y_test"]
    trainer = Trainer((300, 100), solver="sgd", learning_rate_init=0.02, batch_size=64, max_iter=12, random_state=0)
    trainer.set_params(n_threads=1, tol=0, n_iter_no_change=np.inf).fit(X_train, y_train)
    assert 1 - trainer.score(X_test, y_test) < 0.023


@pytest.mark.parametrize(
    "changed", [{"solver": "sgd"}, {"activation": "tanh"}, {"solver": "sgd", "activation": "tanh"}]
)
def test_a_step_that_fails_after_set_params_is_taken_back(changed: dict[str, Any]) -> None:
    model = MLPRegressor(hidden_layer_sizes=(4,), random_state=0).partial_fit(X, Y)
    before, fit = model.predict(X), model._fitted.fit
    slots = fit.slots.copy()
    model.set_params(**changed)
    with pytest.raises(ValueError, match="non-finite"):
        model.partial_fit(X, np.full(len(X), 1e200))
    np.testing.assert_array_equal(model.predict(X), before)
    assert (model.n_iter_, fit.step, fit.optimizer) == (1, 1, "adam")
    np.testing.assert_array_equal(fit.slots, slots)
