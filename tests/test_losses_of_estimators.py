"""Losses as the estimators offer them: what they take, what is predicted, and what their parameters do."""

from math import inf
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, hinge_loss, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score

from fastmlp import MLPClassifier, MLPRegressor, Trainer, load
from fastmlp.hyperparameters import MARGIN_LOSSES, VALUE_LOSSES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, SPECIES = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
SMALL: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 60, "learning_rate_init": 0.02, "random_state": 0}
LABELS = make_multilabel_classification(150, 4, n_classes=3, random_state=0)[1]
Y = X[:, 0] - 2 * X[:, 1] * X[:, 2]


@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam", "rmsprop", "adagrad"])
@pytest.mark.parametrize("loss", MARGIN_LOSSES)
def test_margins_of_several_classes(loss: str, solver: str) -> None:
    rate = 0.2 if solver == "adagrad" else 0.02  # whose steps grow shorter
    classifier = MLPClassifier(**SMALL | {"learning_rate_init": rate}, loss=loss, solver=solver).fit(X, NAMES)
    margins = classifier.decision_function(X)
    assert margins.shape == (150, 3)
    assert classifier.out_activation_ == "identity"
    assert list(classifier.predict(X)) == list(classifier.classes_[margins.argmax(axis=1)])
    assert classifier.score(X, NAMES) > 0.85


@pytest.mark.parametrize("loss", MARGIN_LOSSES)
def test_margins_of_two_classes(loss: str) -> None:
    y = np.where(SPECIES == 0, "yes", "no")
    classifier = MLPClassifier(**SMALL, loss=loss).fit(X, y)
    margins = classifier.decision_function(X)
    assert margins.shape == (150,)
    assert list(classifier.predict(X)) == list(np.where(margins > 0, "yes", "no"))
    assert classifier.score(X, y) > 0.98
    trained = Trainer(**SMALL, loss=loss).fit(X, (y == "yes").astype(int))
    assert np.array_equal(trained.predict(X), margins)
    if loss == "hinge":
        penalty = 1e-4 / 2 * sum(np.sum(W**2) for W in classifier.coefs_) / 150
        classifier.set_params(warm_start=True, learning_rate_init=1e-12, max_iter=1).fit(X, y)
        assert classifier.loss_ == pytest.approx(hinge_loss(y, margins, labels=["no", "yes"]) + penalty, abs=1e-6)


@pytest.mark.parametrize("as_matrix", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("loss", MARGIN_LOSSES)
def test_margins_of_several_labels(loss: str, as_matrix: Any) -> None:
    classifier = MLPClassifier(**SMALL, loss=loss).fit(X, as_matrix(LABELS))
    predicted = classifier.predict(X)
    assert scipy.sparse.issparse(predicted) == scipy.sparse.issparse(as_matrix(LABELS))
    dense = predicted.toarray() if scipy.sparse.issparse(predicted) else predicted
    assert np.array_equal(dense, classifier.decision_function(X) > 0)


@pytest.mark.parametrize("loss", MARGIN_LOSSES)
def test_margins_in_place_of_probabilities(loss: str) -> None:
    margins, probable = MLPClassifier(**SMALL, loss=loss), MLPClassifier(**SMALL)
    for fits in (False, True):
        if fits:
            margins.fit(X, NAMES), probable.fit(X, NAMES)
        assert hasattr(margins, "decision_function")
        assert not hasattr(margins, "predict_proba")
        assert not hasattr(margins, "predict_log_proba")
        assert hasattr(probable, "predict_proba")
        assert not hasattr(probable, "decision_function")
    with pytest.raises(AttributeError) as caught:
        margins.predict_proba(X)
    assert str(caught.value.__cause__) == (
        f"The loss {loss!r} gives no probabilities: use decision_function, or loss='log_loss'."
    )


@pytest.mark.parametrize("loss", MARGIN_LOSSES)
def test_margins_are_ranked_by_scorers(loss: str) -> None:
    scores = cross_val_score(MLPClassifier(**SMALL, loss=loss), X, SPECIES == 2, scoring="roc_auc", cv=3)
    assert scores.min() > 0.9
    stopped = MLPClassifier(**SMALL, loss=loss, early_stopping=True, scoring="roc_auc").fit(X, SPECIES == 2)
    assert stopped.best_validation_score_ > 0.9


@pytest.mark.parametrize("loss", ["log_loss", *MARGIN_LOSSES])
def test_a_saved_classifier_keeps_its_loss(loss: str, tmp_path: Any) -> None:
    classifier = MLPClassifier(**SMALL, loss=loss).fit(X, NAMES)
    classifier.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.loss == loss
    name = "decision_function" if loss in MARGIN_LOSSES else "predict_proba"
    assert np.array_equal(getattr(loaded, name)(X), getattr(classifier, name)(X))
    assert np.array_equal(loaded.partial_fit(X, NAMES).coefs_[0], classifier.partial_fit(X, NAMES).coefs_[0])


@pytest.mark.parametrize("loss", MARGIN_LOSSES)
def test_class_weights_are_sample_weights(loss: str) -> None:
    by_class = MLPClassifier(**SMALL, loss=loss, class_weight={"setosa": 1, "versicolor": 3, "virginica": 0.5})
    weights = np.array([1, 3, 0.5])[SPECIES]
    by_row = MLPClassifier(**SMALL, loss=loss).fit(X, NAMES, weights)
    assert np.array_equal(by_class.fit(X, NAMES).coefs_[0], by_row.coefs_[0])


@pytest.mark.parametrize(
    ("y", "loss"), [(SPECIES, "log_loss"), (SPECIES % 2, "binary_log_loss"), (LABELS, "binary_log_loss")]
)
def test_label_smoothing_of_any_labels(y: Any, loss: str) -> None:
    smoothed = MLPClassifier(**SMALL, label_smoothing=0.2).fit(X, y)
    trained = Trainer(**SMALL, loss=loss, label_smoothing=0.2).fit(X, y)
    assert np.array_equal(smoothed.coefs_[0], trained.coefs_[0])
    plain = MLPClassifier(**SMALL).fit(X, y)
    assert smoothed.predict_proba(X).max() < plain.predict_proba(X).max()


def test_label_smoothing_pulls_to_the_targets() -> None:
    """Of rows without inputs each class is as probable as its share, with so much of it spread evenly."""
    y = np.array([0] * 60 + [1] * 30 + [2] * 10)
    settings = {"hidden_layer_sizes": (), "solver": "lbfgs", "tol": 1e-10, "label_smoothing": 0.3, "alpha": 0.0}
    probabilities = MLPClassifier(**settings, max_iter=1000).fit(np.zeros((100, 1)), y).predict_proba([[0.0]])
    assert probabilities == pytest.approx(np.array([[0.6, 0.3, 0.1]]) * 0.7 + 0.1, abs=1e-4)


@pytest.mark.parametrize("loss", VALUE_LOSSES)
@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_losses_of_values_fit(loss: str, solver: str) -> None:
    y = np.exp(Y / 4) if loss in ("poisson", "gamma") else Y
    settings = SMALL | {"max_iter": 50 if solver == "lbfgs" else 300, "n_iter_no_change": inf, "solver": solver}
    regressor = MLPRegressor(loss, **settings).fit(X, y)
    assert regressor.score(X, y) > 0.8
    trained = Trainer(**settings, loss=loss).fit(X, y)
    assert np.array_equal(trained.predict(X), regressor.predict(X))
    assert regressor.score(X, y) == r2_score(y, regressor.predict(X))


def test_absolute_error_is_robust() -> None:
    rows = np.linspace(-1, 1, 101)[:, None]
    y = rows[:, 0].copy()
    y[-10:] = 30.0
    settings = SMALL | {"hidden_layer_sizes": (), "max_iter": 500, "n_iter_no_change": inf, "learning_rate": "linear"}
    for loss in ("absolute_error", "huber"):
        robust = MLPRegressor(loss, **settings, huber_delta=0.01).fit(rows, y)
        assert abs(robust.coefs_[0][0, 0] - 1) < 0.1 < abs(LinearRegression().fit(rows, y).coef_[0] - 1)


def test_huber_is_the_square_within_its_delta() -> None:
    settings = SMALL | {"huber_delta": 1e6}
    wide, square = MLPRegressor("huber", **settings).fit(X, Y), MLPRegressor(**settings).fit(X, Y)
    assert np.array_equal(wide.coefs_[0], square.coefs_[0])
    assert not np.array_equal(MLPRegressor("huber", **SMALL).fit(X, Y).coefs_[0], square.coefs_[0])


def test_the_median_is_half_the_absolute_error() -> None:
    settings = SMALL | {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "max_iter": 5}
    median = MLPRegressor("quantile", **settings | {"learning_rate_init": 0.25}).fit(X, Y)
    absolute = MLPRegressor("absolute_error", **settings | {"learning_rate_init": 0.125}).fit(X, Y)
    # The same but for where powers of two are multiplied.
    assert median.predict(X) == pytest.approx(absolute.predict(X), rel=1e-12)


CONSTANT: dict[str, Any] = {"hidden_layer_sizes": (), "max_iter": 1500, "learning_rate_init": 0.05, "random_state": 0}
CONSTANT |= {"learning_rate": "linear", "n_iter_no_change": inf, "batch_size": 1000}


@pytest.mark.parametrize("estimator", [MLPRegressor, Trainer])
def test_several_quantiles_have_an_output_each(estimator: type) -> None:
    """In ascending order, whatever that of the hyper-parameter is."""
    y = np.random.RandomState(0).gamma(2.0, size=1000)
    fitted = estimator(loss="quantile", quantile=[0.9, 0.1, 0.5], **CONSTANT).fit(np.zeros((1000, 1)), y)
    predicted = fitted.predict([[0.0]])
    assert predicted.shape == (1, 3)
    # The density of the sample is 0.1 or more there: an error of 0.02 is one of 0.002 to 0.01 of the probability.
    assert predicted[0] == pytest.approx(np.quantile(y, [0.1, 0.5, 0.9]), abs=0.05)
    assert (y[:, None] < predicted).mean(axis=0) == pytest.approx([0.1, 0.5, 0.9], abs=0.01)


def test_quantiles_do_not_cross() -> None:
    crossing = MLPRegressor("quantile", quantile=[0.2, 0.4, 0.8], **SMALL | {"max_iter": 1}).fit(X, Y)
    raw = Trainer(loss="quantile", quantile=[0.2, 0.4, 0.8], **SMALL | {"max_iter": 1}).fit(X, Y).predict(X)
    assert (np.diff(raw, axis=1) < 0).any(), "as the network has them they would"
    assert np.array_equal(crossing.predict(X), np.sort(raw, axis=1))


def test_one_quantile_is_one_column() -> None:
    for quantile in (0.3, [0.3], np.array([0.3]), np.float32(0.3)):
        regressor = MLPRegressor("quantile", quantile=quantile, **SMALL | {"max_iter": 2}).fit(X, Y)
        assert regressor.predict(X).shape == (150,)


def test_one_quantile_of_several_targets() -> None:
    """Each has an output of its own: they are not put into order."""
    settings, two = SMALL | {"max_iter": 150, "n_iter_no_change": inf, "quantile": [0.5]}, np.c_[Y, -Y]
    regressor = MLPRegressor("quantile", **settings).fit(X, two, X_val=X, y_val=two)
    assert regressor.score(X, two) == pytest.approx(regressor.validation_scores_[-1])
    assert regressor.score(X, two) > 0.7
    assert np.array_equal(regressor.predict(X), Trainer(loss="quantile", **settings).fit(X, two).predict(X))
    assert (np.diff(regressor.predict(X), axis=1) < 0).any()
    with pytest.raises(ValueError, match="`y` has 1 columns, but the network has 2 outputs"):
        regressor.partial_fit(X, Y)


def test_several_quantiles_go_through_everything(tmp_path: Any) -> None:
    settings = SMALL | {"max_iter": 5, "quantile": [0.1, 0.9], "loss": "quantile"}
    regressor = MLPRegressor(**settings, early_stopping=True).fit(X, Y)
    assert len(regressor.validation_scores_) == 5
    regressor.set_params(early_stopping=False).partial_fit(X, Y, X_val=X, y_val=Y)
    expected = np.mean([r2_score(Y, column) for column in regressor.predict(X).T])
    assert regressor.score(X, Y) == pytest.approx(expected)
    regressor.save(tmp_path / "model")
    assert np.array_equal(load(tmp_path / "model").partial_fit(X, Y).predict(X), regressor.partial_fit(X, Y).predict(X))
    search = GridSearchCV(MLPRegressor(**settings), {"alpha": [1e-4, 1.0]}, cv=2).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    trained = Trainer(**settings).fit(X, Y)
    assert np.isfinite(trained.score(X, Y))


@pytest.mark.parametrize("estimator", [MLPRegressor, Trainer])
@pytest.mark.parametrize("quantile", [[], [0.5, 1.0], [0.0], ["half"], [[0.1, 0.9]], [0.5, None], np.array([0.5, 2])])
def test_what_is_no_quantile(estimator: type, quantile: Any) -> None:
    regressor = estimator(loss="quantile", quantile=quantile)
    with pytest.raises(ValueError, match=r"^quantile must be numbers between 0 and 1, both excluded\. Got "):
        regressor.fit(X, Y)
    assert not hasattr(regressor, "coefs_")


def test_quantiles_and_columns_that_do_not_fit() -> None:
    two = np.c_[Y, Y]
    with pytest.raises(ValueError, match="several quantiles are of one target, y has 2 columns"):
        MLPRegressor("quantile", quantile=[0.1, 0.9]).fit(X, two)
    with pytest.raises(ValueError, match="`y` has 2 columns, but the network has 3 outputs"):
        Trainer(loss="quantile", quantile=[0.1, 0.5, 0.9]).fit(X, two)
    assert Trainer(**SMALL | {"max_iter": 1}, loss="quantile").fit(X, two).predict(X).shape == (150, 2)
    regressor = MLPRegressor("quantile", quantile=[0.1, 0.9], warm_start=True, **SMALL | {"max_iter": 1}).fit(X, Y)
    with pytest.raises(ValueError, match="quantile has 3 numbers, but the network has 2 outputs"):
        regressor.set_params(quantile=[0.1, 0.5, 0.9]).fit(X, Y)
    assert regressor.predict(X).shape == (150, 2)


@pytest.mark.parametrize(
    ("loss", "low", "fits"), [("gamma", 0.0, False), ("gamma", 1e-3, True), ("poisson", 0.0, True)]
)
def test_targets_of_deviances(loss: str, low: float, fits: bool) -> None:
    y = np.maximum(np.abs(Y), low)
    y[0] = low
    regressor = MLPRegressor(loss, **SMALL | {"max_iter": 1})
    if fits:
        assert (regressor.fit(X, y).predict(X) > 0).all()
    else:
        with pytest.raises(ValueError, match="out of the valid range of the loss 'gamma'"):
            regressor.fit(X, y)


def test_an_activation_for_each_layer() -> None:
    settings = SMALL | {"hidden_layer_sizes": (6, 5), "max_iter": 5}
    mixed = MLPClassifier(**settings, activation=["gelu", "tanh"]).fit(X, NAMES)
    assert not np.array_equal(mixed.coefs_[0], MLPClassifier(**settings, activation="gelu").fit(X, NAMES).coefs_[0])
    same = MLPClassifier(**settings, activation=("tanh", "tanh")).fit(X, NAMES)
    assert np.array_equal(same.coefs_[0], MLPClassifier(**settings, activation="tanh").fit(X, NAMES).coefs_[0])
    linear = MLPClassifier(**settings | {"hidden_layer_sizes": ()}, activation=[]).fit(X, NAMES)
    assert accuracy_score(NAMES, linear.predict(X)) > 0.3


@pytest.mark.parametrize("activation", [["relu"], ["relu"] * 3, []])
def test_activations_and_layers_that_do_not_fit(activation: Any) -> None:
    message = rf"^activation has {len(activation)} names, but hidden_layer_sizes has 2 layers: give one for each\.$"
    with pytest.raises(ValueError, match=message):
        MLPClassifier((6, 5), activation=activation).fit(X, NAMES)


def test_an_unknown_activation_in_a_list() -> None:
    with pytest.raises(ValueError, match=r"^activation must be made of identity, .*Got 'swish'\.$"):
        MLPClassifier((6, 5), activation=["relu", "swish"]).fit(X, NAMES)
