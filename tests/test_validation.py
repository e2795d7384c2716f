"""Validation: early stopping, rows that are only watched, scores to stop by, and what is left when it goes wrong."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss, make_scorer

import fastmlp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


NO_WEIGHT = r"Sample weights must contain at least one non-zero number\."


def digits() -> tuple[Any, Any]:
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def diabetes() -> tuple[Any, Any]:
    X, y = load_diabetes(return_X_y=True)
    return X * 20, (y - 150) / 80


def small(**settings: Any) -> Any:
    return fastmlp.MLPClassifier(**{"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0, **settings})


def test_rows_to_validate_on_are_given() -> None:
    """They take the place of the rows that early stopping draws, and those to train on are all of X."""
    X, y = digits()
    X_train, X_val, y_train, y_val = X[:1500], X[1500:], y[:1500], y[1500:]
    weights = np.linspace(1, 2, len(y_val))
    settings = {"max_iter": 50, "learning_rate_init": 0.05, "n_iter_no_change": 3, "early_stopping": True}
    stopped = small(**settings).fit(X_train, y_train, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    assert stopped.t_ == stopped.n_iter_ * 1500
    assert len(stopped.validation_scores_) == len(stopped.validation_loss_curve_) == stopped.n_iter_ < 50
    assert stopped.best_loss_ is None
    # The best parameters are back.
    best = int(np.argmax(stopped.validation_scores_))
    assert stopped.best_validation_score_ == pytest.approx(stopped.score(X_val, y_val, weights))
    expected_loss = log_loss(y_val, stopped.predict_proba(X_val), sample_weight=weights)
    assert stopped.validation_loss_curve_[best] == pytest.approx(expected_loss)
    # Nothing but the stopping depends on them.
    unstopped = small(max_iter=best + 1, learning_rate_init=0.05).fit(X_train, y_train)
    assert np.array_equal(unstopped.coefs_[0], stopped.coefs_[0])


@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam"])
def test_rows_to_validate_on_are_watched_without_early_stopping(solver: str) -> None:
    X, y = diabetes()
    y = np.c_[y, y**2]
    settings = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0, "solver": solver}
    watched = fastmlp.MLPRegressor(**settings).fit(X[50:], y[50:], X_val=X[:50], y_val=y[:50])
    alone = fastmlp.MLPRegressor(**settings).fit(X[50:], y[50:])
    assert np.array_equal(watched.coefs_[0], alone.coefs_[0])
    assert watched.loss_curve_ == alone.loss_curve_
    assert len(watched.validation_scores_) == len(watched.validation_loss_curve_) == len(watched.loss_curve_)
    assert watched.validation_scores_[-1] == pytest.approx(watched.score(X[:50], y[:50]))
    assert watched.validation_loss_curve_[-1] == pytest.approx(np.mean((watched.predict(X[:50]) - y[:50]) ** 2) / 2)


def test_what_is_wrong_with_rows_to_validate_on() -> None:
    X, y = digits()
    classifier = small()
    nan, objects = X.copy(), X.astype(object)
    nan[-1, -1], objects[-1, -1] = np.nan, "a"
    for given, message in (
        ({"X_val": X}, "X_val is provided, but y_val was not provided"),
        ({"y_val": y}, "y_val is provided, but X_val was not provided"),
        ({"sample_weight_val": y}, "sample_weight_val is provided, but X_val was not"),
        ({"X_val": X[:, 1:], "y_val": y}, "X_val has 63 features, but MLPClassifier is expecting 64 features"),
        ({"X_val": nan, "y_val": y}, "Input X_val contains NaN"),
        ({"X_val": X.astype(str), "y_val": y}, "X_val: dtype='numeric' is not compatible with arrays of bytes/strings"),
        ({"X_val": objects, "y_val": y}, "X_val: could not convert string to float: 'a'"),
        ({"X_val": X, "y_val": y[1:]}, r"y_val: Found .* inconsistent numbers of samples: \[1797, 1796\]"),
        ({"X_val": X, "y_val": y + 1}, "`y_val` has classes not in"),
        ({"X_val": X, "y_val": y * np.nan}, "Input y_val contains NaN"),
        ({"X_val": X, "y_val": y, "sample_weight_val": 0 * y}, f"sample_weight_val: {NO_WEIGHT}"),
        ({"X_val": X, "y_val": y, "sample_weight_val": y[1:]}, r"sample_weight_val\.shape == \(1796,\)"),
        ({"X_val": X, "y_val": y, "sample_weight_val": -y}, "sample_weight_val: Negative values"),
        ({"X_val": X, "y_val": y, "sample_weight_val": y * np.nan}, "Input sample_weight_val contains NaN"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            classifier.fit(X, y, **given)
        assert vars(classifier) == classifier.get_params()


def test_what_is_wrong_with_values_to_validate_on() -> None:
    X, y = diabetes()
    regressor = fastmlp.MLPRegressor("poisson", (8,))
    for y_val, message in ((y - 9, r"y_val: Some value\(s\)"), (np.c_[y, y] ** 2, "`y_val` has 2 columns")):
        with pytest.raises(ValueError, match=f"^{message}"):
            regressor.fit(X, y**2, X_val=X, y_val=y_val)
        assert vars(regressor) == regressor.get_params()


def test_early_stopping_needs_rows() -> None:
    X, y = digits()
    stopping = small(early_stopping=True, validation_fraction=0)
    with pytest.raises(ValueError, match="validation_fraction is 0"):
        stopping.fit(X, y)
    assert stopping.fit(X, y, X_val=X, y_val=y).best_validation_score_ > 0


def test_rows_held_out_need_a_weight() -> None:
    """Of a thousand rows the validation takes a hundred: not the one that has a weight."""
    X, y = digits()
    weights = np.zeros(1000)
    weights[0] = 1
    with pytest.raises(ValueError, match=NO_WEIGHT):
        small(early_stopping=True).fit(X[:1000], y[:1000], weights)


@pytest.mark.parametrize("scoring", ["loss", "neg_log_loss", "balanced_accuracy", make_scorer(accuracy_score), None])
def test_scores_to_stop_by(scoring: Any) -> None:
    X, y = digits()
    y = np.where(y > 4, "high", "low")
    classifier = small(scoring=scoring, early_stopping=True, max_iter=20, class_weight={"high": 2, "low": 1}).fit(X, y)
    scores, losses = classifier.validation_scores_, classifier.validation_loss_curve_
    assert len(scores) == len(losses) == classifier.n_iter_
    assert classifier.best_validation_score_ == max(scores)
    if scoring in ("loss", "neg_log_loss"):
        np.testing.assert_allclose(scores, -np.array(losses))  # the same formula, from probabilities
    else:
        assert 0 <= min(scores) < max(scores) <= 1


def test_a_scorer_of_data_frames_is_not_warned() -> None:
    frames = pytest.importorskip("pandas")
    X, y = digits()
    frame = frames.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        small(scoring="accuracy", early_stopping=True).fit(frame, y)


def test_a_score_of_nan_is_no_improvement() -> None:
    """In scikit-learn it counts as one, so that training never stops."""
    X, y = digits()
    settings = {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 50}
    classifier = small(scoring=lambda *_: float("nan"), **settings).fit(X, y)
    assert classifier.n_iter_ == 3
    assert np.isnan(classifier.validation_scores_).all()


def test_the_best_parameters_survive_a_breakdown() -> None:
    X, y = diabetes()
    regressor = fastmlp.MLPRegressor(
        hidden_layer_sizes=(8,), activation="identity", solver="sgd", learning_rate_init=1, early_stopping=True
    )
    with pytest.warns(ConvergenceWarning, match=r"best parameters so far.* smaller learning_rate_init"):
        regressor.set_params(random_state=0).fit(X, y)
    assert len(regressor.loss_curve_) == len(regressor.validation_scores_) == regressor.n_iter_ < 200
    assert np.isnan(regressor.loss_curve_[-1])
    assert np.isnan(regressor.validation_scores_[-1])
    assert np.isfinite(regressor.predict(X)).all()
    regressor.set_params(early_stopping=False, learning_rate_init=1e-4).partial_fit(X, y)
    assert np.isfinite(regressor.loss_)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam"])
def test_an_interruption_keeps_what_has_been_reached(solver: str, early_stopping: bool) -> None:
    X, y = digits()
    scores = []

    def interrupt(estimator: Any, *_: Any) -> float:
        scores.append(estimator.loss_)
        if len(scores) == 3:
            raise KeyboardInterrupt
        return float(len(scores))

    classifier = small(solver=solver, scoring=interrupt, early_stopping=early_stopping)
    with pytest.warns(UserWarning, match="interrupted by user"):
        classifier.fit(X, y, X_val=X, y_val=y)
    restored = early_stopping and solver != "lbfgs"
    expected = small(solver=solver, max_iter=2 if restored else 3).fit(X, y)
    assert np.array_equal(classifier.coefs_[0], expected.coefs_[0])
    assert not vars(classifier).keys() & {"_validation", "_listeners", "_best_params"}


@pytest.mark.parametrize("name", ["Trainer", "MLPClassifier", "MLPRegressor"])
def test_partial_fit_monitors_rows(name: str) -> None:
    rng = np.random.default_rng(0)
    X, X_val = rng.random((60, 3)), rng.random((20, 3))
    y, y_val = np.arange(60) % 3, np.arange(20) % 3
    first = {"classes": [0, 1, 2]} if name == "MLPClassifier" else {}
    watched, alone = (getattr(fastmlp, name)(hidden_layer_sizes=(4,), random_state=0) for _ in range(2))
    for i in range(3):
        watched.partial_fit(X, y, **first, X_val=X_val, y_val=y_val)
        alone.partial_fit(X, y, **first)
        assert watched.validation_scores_[-1] == pytest.approx(watched.score(X_val, y_val)), "summed in another order"
        assert len(watched.validation_loss_curve_) == len(watched.loss_curve_) == i + 1
    assert watched.best_validation_score_ == max(watched.validation_scores_)
    assert watched.best_epoch_ == int(np.argmax(watched.validation_scores_)) + 1
    assert alone.validation_scores_ is None
    assert alone.best_epoch_ == int(np.argmin(alone.loss_curve_)) + 1
    assert all(map(np.array_equal, watched.coefs_, alone.coefs_)), "watching changes nothing"
    with pytest.raises(ValueError, match="X_val is provided, but y_val was not"):
        alone.partial_fit(X, y, X_val=X_val)


def test_the_best_epoch_need_not_be_the_last() -> None:
    X, y = digits()
    model = small().fit(X, y).partial_fit(X, (y + 1) % 10)
    assert model.best_epoch_ == int(np.argmin(model.loss_curve_)) + 1 == len(model.loss_curve_) - 1
