"""Networks that scikit-learn has trained become ours: the same predictions, and the same training from there."""

from typing import Any

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

import fastmlp
from fastmlp import from_sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, CLASSES = load_digits(return_X_y=True)
X = X[:400] / 16
CLASSES = CLASSES[:400]
LABELS = {
    "numbers": CLASSES,
    "booleans": CLASSES > 4,
    "text": np.array(list("abcdefghij"))[CLASSES],
    "several": np.stack([CLASSES > 4, CLASSES % 2 == 0, CLASSES == 3], axis=1).astype(int),
}
SOLVERS: list[dict[str, Any]] = [
    {},
    {"solver": "sgd", "momentum": 0, "alpha": 0.01},
    {"solver": "sgd", "nesterovs_momentum": False, "learning_rate": "adaptive", "learning_rate_init": 0.1}
    | {"tol": 1.0, "n_iter_no_change": 15},  # the rate falls
    {"solver": "sgd", "learning_rate": "invscaling"},
    {"learning_rate": "adaptive"},  # which Adam has nothing to do with
]


@pytest.mark.parametrize("settings", SOLVERS, ids=str)
@pytest.mark.parametrize("labels", LABELS)
def test_classifiers_and_their_training_from_there(labels: str, settings: dict[str, Any]) -> None:
    y = LABELS[labels]
    theirs = neural_network.MLPClassifier((20, 8), random_state=0, max_iter=40, **settings).fit(X, y)
    ours = from_sklearn(theirs)
    assert type(ours) is fastmlp.MLPClassifier
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-10)
    assert ours.loss_curve_ == theirs.loss_curve_
    assert ours.best_epoch_ == np.argmin(theirs.loss_curve_) + 1
    assert (ours.n_iter_, ours.t_, ours.n_layers_) == (theirs.n_iter_, theirs.t_, theirs.n_layers_)
    for _ in range(3):
        ours.partial_fit(X, y)
        theirs.partial_fit(X, y)
    for W, b in zip([*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True):
        np.testing.assert_allclose(W, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("settings", [*SOLVERS, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
@pytest.mark.parametrize("rows", [X, X.astype(np.float32)], ids=["float64", "float32"])
def test_regressors(settings: dict[str, Any], rows: Any) -> None:
    y = np.stack([CLASSES, -CLASSES], axis=1) / 10
    theirs = neural_network.MLPRegressor(
        hidden_layer_sizes=(9,), activation="tanh", random_state=0, max_iter=15, **settings
    ).fit(rows, y)
    ours = from_sklearn(theirs)
    assert type(ours) is fastmlp.MLPRegressor
    tolerance = 1e-5 if theirs.coefs_[0].dtype == np.float32 else 1e-10
    np.testing.assert_allclose(ours.predict(rows), theirs.predict(rows), rtol=tolerance, atol=tolerance)
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype
    assert {name: ours.get_params()[name] for name in theirs.get_params()} == theirs.get_params()
    assert ours._no_improvement_count == getattr(theirs, "_no_improvement_count", 0)
    assert ours._fitted.fit.step == getattr(getattr(theirs, "_optimizer", None), "t", 0)
    assert (ours._fitted.fit.best_epoch == 0) == (theirs.solver == "lbfgs"), "which has no curve"


def test_is_an_estimator_like_any(tmp_path: Any) -> None:
    theirs = neural_network.MLPClassifier((9,), random_state=0, max_iter=15, early_stopping=True).fit(X, CLASSES)
    ours = from_sklearn(theirs)
    ours.save(tmp_path / "model")
    np.testing.assert_array_equal(fastmlp.load(tmp_path / "model").predict_proba(X), ours.predict_proba(X))
    assert ours.validation_scores_ == theirs.validation_scores_
    assert ours.best_epoch_ == np.argmax(theirs.validation_scores_) + 1
    ours.coefs_[0][:] = 0
    assert theirs.coefs_[0].any(), "they share no memory"
    clone(ours).fit(X, CLASSES)


def test_noise_from_there_is_that_of_the_random_state() -> None:
    theirs = neural_network.MLPClassifier((9,), max_iter=3, shuffle=False).fit(X, CLASSES)
    found = [from_sklearn(theirs).set_params(dropout=0.5, random_state=state) for state in (0, 0, 1)]
    first, again, other = (ours.partial_fit(X, CLASSES).coefs_[0] for ours in found)
    np.testing.assert_array_equal(again, first)
    assert not np.array_equal(other, first)


def test_refused() -> None:
    with pytest.raises(NotFittedError):
        from_sklearn(neural_network.MLPClassifier())
    with pytest.raises(TypeError, match=r"takes sklearn.neural_network.MLPClassifier and .*, got .*LogisticRegression"):
        from_sklearn(LogisticRegression())
    damaged = neural_network.MLPClassifier((9,), max_iter=3).fit(X, CLASSES)
    damaged.t_ = -1
    with pytest.raises(ValueError, match="t is not a count"):
        from_sklearn(damaged)
