"""What y may be to the estimators of tables: values of any size, quantiles, labels, and what is refused of them."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import r2_score

from fastmlp import TabularClassifier, TabularRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 2))
VALUES = 3 + X[:, 0] + X[:, 1] ** 2
LABELS = np.array(["b", "c", "d"])[np.arange(100) % 3]

pytestmark = pytest.mark.usefixtures("short_training")


# -- values --


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_values_of_any_size_are_learned_alike(factor: float) -> None:
    """To the bit, as powers of two round nothing."""
    plain = TabularRegressor(random_state=0).fit(X, VALUES).predict(X)
    assert_array_equal(TabularRegressor(random_state=0).fit(X, factor * VALUES).predict(X), factor * plain)


def test_values_that_are_all_the_same() -> None:
    """Nothing is left to learn; the loss of other values is half their squared distance."""
    fitted = TabularRegressor(random_state=0).fit(X, np.full(100, 5.0), X_val=X, y_val=np.full(100, 7.0))
    assert_array_equal(fitted.predict(X), 5)
    assert fitted.validation_scores_ == [-2.0] * fitted.n_iter_


def test_quantiles_that_cross_change_places() -> None:
    fitted = TabularRegressor(quantile=[0.1, 0.9], random_state=0).fit(X, VALUES)
    state = fitted._fitted
    assert state is not None
    (member,) = state.members
    network = state.network_of(member)
    network.coefs(member.params)[-1][...], network.intercepts(member.params)[-1][...] = 0, [1, -1]
    assert_allclose(fitted.predict(X), VALUES.mean() + VALUES.std() * np.array([[-1, 1]] * 100))


def test_a_quantile_is_scored_by_its_r2() -> None:
    fitted = TabularRegressor(quantile=0.3, random_state=0).fit(X, VALUES)
    assert fitted.predict(X).shape == (100,)
    assert fitted.score(X, VALUES) == r2_score(VALUES, fitted.predict(X))


@pytest.mark.parametrize("quantile", [-0.5, 0.0, 1.0, 1.5])
def test_quantiles_are_between_0_and_1(quantile: float) -> None:
    with pytest.raises(ValueError, match=r"'quantile' parameter of TabularRegressor .* range \(0\.0, 1\.0\)"):
        TabularRegressor(quantile=quantile).fit(X, VALUES)


# -- labels --


def test_probabilities_of_classes_sum_to_one_and_those_of_labels_do_not() -> None:
    classes = TabularClassifier(random_state=0).fit(X, LABELS)
    assert_allclose(classes.predict_proba(X).sum(axis=1), 1, rtol=1e-15)  # of float64, though the network's are float32
    labels = TabularClassifier(random_state=0).fit(X, RNG.integers(0, 2, (100, 3)))
    assert labels._fitted is not None
    labels._fitted.members[0].params[:] = 0
    assert_array_equal(labels.predict_proba(X), np.full((100, 3), 0.5))


@pytest.mark.parametrize("label", ["a", "bb", "z"])
def test_classes_that_were_not_in_fit(label: str) -> None:
    """Before, between and after those that were."""
    with pytest.raises(ValueError, match=r"^y_val holds classes that were not in fit, whose were \['b' 'c' 'd'\]$"):
        TabularClassifier().fit(X, LABELS, X_val=X, y_val=[label] * 100)


# -- what is refused --


@pytest.mark.parametrize(("estimator", "y"), [(TabularClassifier, LABELS), (TabularRegressor, VALUES)])
def test_targets_of_other_rows_are_refused(estimator: Any, y: Any) -> None:
    with pytest.raises(ValueError, match=r"^Found input variables with inconsistent numbers of samples: \[99, 100\]$"):
        estimator().fit(X, y[1:])
    with pytest.raises(ValueError, match=r"^y_val: Found input variables with inconsistent .*: \[99, 100\]$"):
        estimator().fit(X, y, X_val=X, y_val=y[1:])
    message = rf"^This {estimator.__name__} estimator requires y to be passed, but the target y is None\.$"
    with pytest.raises(ValueError, match=message):
        estimator().fit(X, None)
