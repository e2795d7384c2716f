"""The members of the estimators of tables, and what each is validated on: weights, scores, calibration, time."""

import copy
import time
from typing import Any

import numpy as np
import pytest
from mixed_table import CASES, N_ROWS, Estimator, frame, labels, values
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from fastmlp import TabularClassifier, TabularRegressor, tabular_training
from fastmlp.tabular_preparation import Preparation
from fastmlp.tabular_training import Preset, folds_of

pytestmark = pytest.mark.usefixtures("short_training_of_two")


@pytest.mark.parametrize(("estimator", "target"), CASES)
def test_the_same_bits_for_any_number_of_threads(estimator: Estimator, target: Any) -> None:
    X = frame()
    runs = [estimator(random_state=3, n_threads=n, n_members=3).fit(X, target(X)) for n in (1, 2, 5, None)]
    for run in runs[1:]:
        assert [m.params.tobytes() for m in run._fitted.members] == [
            m.params.tobytes() for m in runs[0]._fitted.members
        ]
    other = estimator(random_state=4, n_members=3).fit(X, target(X))
    assert other._fitted.members[0].params.tobytes() != runs[0]._fitted.members[0].params.tobytes()


def test_predictions_are_the_means_of_the_members() -> None:
    X, y = load_iris(return_X_y=True)
    both = TabularClassifier(random_state=0).fit(X, y)
    parts = []
    for member in both._fitted.members:
        alone = copy.copy(both)
        alone._fitted = both._fitted.__class__(**vars(both._fitted) | {"members": (member,)})
        parts.append(alone.predict_proba(X))
    assert np.abs(parts[0] - parts[1]).max() > 1e-3
    assert_allclose(both.predict_proba(X), np.mean(parts, axis=0), rtol=1e-6)  # of float32 outputs


def test_folds_hold_as_many_of_each_class() -> None:
    classes = np.repeat([0, 1], [90, 10])
    folds = folds_of(classes, np.random.RandomState(0))
    for fold in range(5):
        assert_array_equal(np.bincount(classes[folds == fold]), [18, 2])


def test_rows_given_to_validate_on_leak_into_nothing() -> None:
    """Rows to validate on that are given change neither preparation nor, where every epoch ties, the parameters."""
    X = frame()
    half, rest = X[:60], X[60:]
    plain = TabularClassifier(random_state=0, scoring=constant).fit(half, labels(half), X_val=half, y_val=labels(half))
    odd = rest.assign(size=1e9, colour="never seen")
    other = TabularClassifier(random_state=0, scoring=constant).fit(half, labels(half), X_val=odd, y_val=labels(odd))
    assert plain._fitted.preparation == other._fitted.preparation
    hidden = slice(0, plain._fitted.n_units[0] * 16)  # the last layer is calibrated on validation rows
    assert_array_equal(plain._fitted.members[0].params[hidden], other._fitted.members[0].params[hidden])


def constant(estimator: Any, X: Any, y: Any) -> float:
    return 0.0


def test_scoring_decides_which_epoch_is_kept() -> None:
    X = frame()
    y = labels(X)
    seen: list[Any] = []

    def first_is_best(estimator: Any, X_val: Any, y_val: Any, sample_weight: Any = None) -> float:
        seen.append((estimator.predict(X_val), y_val, sample_weight))
        return -len(seen)

    fitted = TabularClassifier(random_state=0, scoring=first_is_best, n_members=1).fit(X, y, np.ones(N_ROWS))
    assert fitted.best_epoch_ == 1
    assert set(seen[0][1]) == {"yes", "no"}
    assert set(seen[0][0]) <= {"yes", "no"}
    assert len(seen[0][2]) == len(seen[0][1]) == N_ROWS // 5
    by_name = TabularRegressor(random_state=0, scoring="r2", n_members=1).fit(X, values(X))
    assert by_name.best_validation_score_ <= 1


def test_weights_of_rows_and_classes() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = (X[:, 0] + rng.normal(size=400) > 1.5).astype(int)
    plain = TabularClassifier(random_state=0).fit(X, y).predict_proba(X)[:, 1]
    balanced = TabularClassifier(random_state=0, class_weight="balanced").fit(X, y).predict_proba(X)[:, 1]
    weighted = TabularClassifier(random_state=0).fit(X, y, np.where(y == 1, 9.0, 1.0)).predict_proba(X)[:, 1]
    assert balanced.mean() > 1.5 * plain.mean()
    assert weighted.mean() > 1.5 * plain.mean()
    doubled = np.where(X[:, 1] > 0, 0.0, 1.0)
    target = np.where(X[:, 1] > 0, 100.0, X[:, 0])
    ignored = TabularRegressor(random_state=0).fit(X, target, doubled).predict(X[X[:, 1] < 0])
    assert np.abs(ignored).max() < 50


def test_probabilities_are_calibrated() -> None:
    """Label smoothing alone would leave those of classes that are far apart at some 0.95."""
    X, y = load_wine(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    fitted = TabularClassifier(random_state=0).fit(X_train, y_train)
    probabilities = fitted.predict_proba(X_test)
    assert_allclose(probabilities.sum(axis=1), 1)
    assert log_loss(y_test, probabilities) < 0.1 < -np.log(0.9)
    assert np.median(probabilities.max(axis=1)) > 0.96
    assert_allclose(np.exp(fitted.predict_log_proba(X_test)), probabilities)


def test_a_time_limit_ends_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tabular_training.PRESETS, "default", Preset(4, 16, 10**9, 10**6))
    X = frame()
    with pytest.warns(ConvergenceWarning, match=r"max_time has ended .* of 4000000 epochs, with 1 of 4 networks"):
        fitted = TabularClassifier(max_time=0.2, random_state=0, n_threads=1).fit(X, labels(X))
    assert 1 <= fitted.n_iter_ < 10**6
    assert fitted.n_members_ == 1, "one thread trains one network at a time"
    assert fitted.predict(X).shape == (N_ROWS,)


def test_the_preparation_takes_from_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it takes all of it, one member is trained for a moment."""
    monkeypatch.setitem(tabular_training.PRESETS, "default", Preset(4, 16, 10**9, 10**6))
    inputs = Preparation.inputs

    def slow(self: Preparation, table: Any) -> Any:
        time.sleep(0.3)
        return inputs(self, table)

    monkeypatch.setattr(Preparation, "inputs", slow)
    X = frame()
    with pytest.warns(ConvergenceWarning, match=r"after 1 of 4000000 epochs, with 1 of 4 networks"):
        fitted = TabularClassifier(max_time=0.2, random_state=0).fit(X, labels(X))
    assert (fitted.n_members_, fitted.n_iter_) == (1, 1)


@pytest.mark.parametrize("score", [0.0, float("nan")], ids=["equal", "not defined"])
def test_scores_that_do_not_tell_keep_the_last_epoch(score: float) -> None:
    X = frame()
    fitted = TabularClassifier(random_state=0, scoring=lambda *_: score, n_members=1).fit(X, labels(X))
    assert fitted.best_epoch_ == fitted.n_iter_


def test_verbose_tells_of_the_first_member(capsys: pytest.CaptureFixture[str]) -> None:
    X = frame()
    fitted = TabularClassifier(random_state=0, verbose=True).fit(X, labels(X))
    told = capsys.readouterr().out.splitlines()
    assert told[::2] == [f"Iteration {n}, loss = {loss:.8f}" for n, loss in enumerate(fitted.loss_curve_, 1)]
    assert told[1::2] == [f"Validation score: {score:f}" for score in fitted.validation_scores_]
    TabularClassifier(random_state=0, verbose="progress").fit(X, labels(X))
    assert "TabularClassifier: 100%" in capsys.readouterr().err
