"""MLPClassifier and MLPRegressor: where scikit-learn's end, and what they do beyond."""

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network as theirs
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_multilabel_classification
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

import fastmlp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Both add the same numbers in another order: 1e-16 of a weight for each of a few hundred updates, which the network's
# own sensitivity amplifies. Any difference of method is far above it.
ROUNDING = 1e-7


def digits() -> tuple[Any, Any]:
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def high_or_low() -> tuple[Any, Any]:
    X, y = digits()
    return X, np.where(y > 4, "high", "low")


def diabetes() -> tuple[Any, Any]:
    X, y = load_diabetes(return_X_y=True)
    return X * 20, (y - 150) / 80


def two_outputs() -> tuple[Any, Any]:
    X, y = diabetes()
    return X, np.c_[y, y**2]


DATA: dict[str, tuple[str, Callable[[], tuple[Any, Any]]]] = {
    "digits": ("MLPClassifier", digits),
    "binary": ("MLPClassifier", lambda: (digits()[0], digits()[1] > 4)),
    "iris": ("MLPClassifier", lambda: load_iris(return_X_y=True)),
    "multi-label": ("MLPClassifier", lambda: make_multilabel_classification(300, random_state=0)),
    "diabetes": ("MLPRegressor", diabetes),
    "two outputs": ("MLPRegressor", two_outputs),
}
SOLVERS = {"sgd": {"learning_rate_init": 0.01}, "adam": {"learning_rate_init": 0.002}}


def fit_both(data: str, weighted: bool = False, **settings: Any) -> tuple[Any, Any, Any]:
    name, load = DATA[data]
    X, y = load()
    weights = {"sample_weight": np.random.RandomState(0).randint(1, 4, len(X)).astype(float)} if weighted else {}
    if weighted and "sample_weight" not in inspect.signature(getattr(theirs, name).fit).parameters:
        pytest.skip("scikit-learn's MLPs take sample weights from 1.7 on")
    settings = {"hidden_layer_sizes": (24, 12), "max_iter": 20, "random_state": 3, **settings}
    ours, other = (getattr(module, name)(**settings).fit(X, y, **weights) for module in (fastmlp, theirs))
    return ours, other, X


def assert_close(ours: Any, other: Any, X: Any, tolerance: float = ROUNDING) -> None:
    for mine, reference in zip(ours.coefs_ + ours.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        assert np.linalg.norm(mine - reference) <= tolerance * np.linalg.norm(reference)
    for name in ("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        if getattr(other, name, None) is not None:
            np.testing.assert_allclose(getattr(ours, name), getattr(other, name), rtol=tolerance, atol=tolerance)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "_no_improvement_count"):
        assert getattr(ours, name) == getattr(other, name, getattr(ours, name)), name
    if hasattr(other, "classes_"):
        assert np.array_equal(ours.classes_, other.classes_)
        np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), rtol=0, atol=10 * tolerance)
        assert ours.predict_proba(X).shape == other.predict_proba(X).shape
    assert ours.predict(X).dtype == other.predict(X).dtype
    assert ours.predict(X).shape == other.predict(X).shape


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early stopping"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("data", DATA)
def test_ends_where_scikit_learn_ends(data: str, solver: str, early_stopping: bool, weighted: bool) -> None:
    settings = {"solver": solver, "early_stopping": early_stopping, **SOLVERS[solver]}
    assert_close(*fit_both(data, weighted, **settings))


@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
def test_early_stopping_stops_where_scikit_learn_stops(schedule: str) -> None:
    settings = {"learning_rate": schedule, "learning_rate_init": 0.3, "n_iter_no_change": 2, "tol": 0.01}
    ours, other, X = fit_both("digits", solver="sgd", early_stopping=True, max_iter=100, **settings)
    assert ours.n_iter_ < 100
    assert_close(ours, other, X)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("data", [data for data in DATA if data != "two outputs"])
def test_lbfgs_ends_where_scikit_learn_ends(data: str, weighted: bool) -> None:
    """A line search branches on rounding: after ten iterations the two still agree, to what they have amplified."""
    ours, other, X = fit_both(data, weighted, solver="lbfgs", max_iter=10)
    assert_close(ours, other, X, 1e-6)


@pytest.mark.parametrize("data", [data for data in DATA if data != "two outputs"])
def test_lbfgs_converges_to_the_loss_of_scikit_learn(data: str) -> None:
    """Both end where the gradient is below tol; rounding may lead them there on different ways after 200 iterations."""
    settings = {"hidden_layer_sizes": (8,), "activation": "tanh", "alpha": 1.0, "tol": 0.01, "max_iter": 1000}
    ours, other, _ = fit_both(data, solver="lbfgs", **settings)
    assert max(ours.n_iter_, other.n_iter_) < 1000
    assert ours.loss_ == pytest.approx(other.loss_, rel=0.01)


def test_lbfgs_minimises_the_squares_of_several_outputs() -> None:
    """scikit-learn divides the loss by the number of outputs but not its gradient, and so gets stuck (issue 8349)."""
    X, Y = two_outputs()
    ridge = Ridge(alpha=0.5).fit(X, Y)
    settings = {"hidden_layer_sizes": (), "alpha": 0.5, "solver": "lbfgs", "tol": 1e-8, "random_state": 0}
    ours = fastmlp.MLPRegressor(**settings).fit(X, Y)
    # SciPy stops where an iteration gains 2e-9 of the loss: the weights are exact to its root, at a curvature of 1e-3.
    np.testing.assert_allclose(ours.coefs_[0].T, ridge.coef_, rtol=0, atol=2e-3)
    squares = np.mean((ours.predict(X) - Y) ** 2) / 2
    assert ours.loss_ == pytest.approx(squares + 0.25 * np.sum(ours.coefs_[0] ** 2) / len(X))


def test_lbfgs_of_float32_rows_computes_in_float64() -> None:
    X, y = diabetes()
    X = np.round(X).astype(np.float32)
    settings = {"hidden_layer_sizes": (12,), "solver": "lbfgs", "max_iter": 50, "random_state": 0}
    wide = fastmlp.MLPRegressor(**settings, dtype="float64").fit(X, y)
    narrow = fastmlp.MLPRegressor(**settings).set_params(warm_start=True)
    narrow.fit(X, y)
    assert narrow.coefs_[0].dtype == np.float32
    # Both start from the same numbers but for their rounding to float32, which fifty iterations amplify.
    assert narrow.loss_ == pytest.approx(wide.loss_, rel=0.05)
    assert narrow.n_iter_ == 50


def small(**settings: Any) -> Any:
    return fastmlp.MLPClassifier(**{"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0, **settings})


LABELS = {
    "numbers": np.arange(10),
    "floats": np.arange(10) / 1.0,
    "text": np.array(list("jihgfedcba")),
    "objects": np.array([f"digit {i}" for i in range(10)], dtype=object),
    "uint8": np.arange(10, dtype=np.uint8),
    "bool": np.arange(10) % 2 == 0,
    "minus one and one": np.where(np.arange(10) < 5, -1, 1),
    "one class": np.repeat("only", 10),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_kind(kind: str) -> None:
    X, y = digits()
    ours, other = small().fit(X, LABELS[kind][y]), theirs.MLPClassifier((8,), max_iter=5, random_state=0)
    other.fit(X, LABELS[kind][y])
    assert np.array_equal(ours.predict(X), other.predict(X))
    assert ours.predict(X).dtype == other.predict(X).dtype
    assert ours.classes_.dtype == other.classes_.dtype
    np.testing.assert_allclose(ours.predict_log_proba(X), np.log(ours.predict_proba(X)))


@pytest.mark.parametrize("container", [scipy.sparse.csr_matrix, scipy.sparse.csc_array, np.asarray])
def test_several_labels_dense_or_sparse(container: Any) -> None:
    X, Y = make_multilabel_classification(100, random_state=0)
    ours, other = small(max_iter=100).fit(X, container(Y)), theirs.MLPClassifier((8,), max_iter=100, random_state=0)
    predicted, expected = ours.predict(X), other.fit(X, container(Y)).predict(X)
    assert scipy.sparse.issparse(predicted) == scipy.sparse.issparse(expected)
    dense = [labels.toarray() if scipy.sparse.issparse(labels) else labels for labels in (predicted, expected)]
    assert np.array_equal(*dense)
    assert ours.score(X, Y) == other.score(X, Y)


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_several_labels_of_every_layout(solver: str) -> None:
    frames = pytest.importorskip("pandas")
    X, Y = make_multilabel_classification(100, random_state=0)
    expected = small(solver=solver).fit(X, Y).coefs_[0]
    for labels in (frames.DataFrame(Y), np.asfortranarray(Y), np.repeat(Y, 2, axis=1)[:, ::2], Y[::-1].copy()[::-1]):
        assert np.array_equal(small(solver=solver).fit(X, labels).coefs_[0], expected)


def test_one_dimension_after_several_labels_is_binarised_as_scikit_learn_does() -> None:
    X, Y = make_multilabel_classification(100, n_classes=3, random_state=0)
    y = np.arange(100) % 3
    ours, other = small(), theirs.MLPClassifier((8,), random_state=0)
    for classifier in (ours, other):
        classifier.partial_fit(X, Y, classes=range(3)).partial_fit(X, y)
    np.testing.assert_allclose(ours.coefs_[0], other.coefs_[0], rtol=ROUNDING)
    with pytest.raises(ValueError, match="mismatch with the labels"):
        ours.partial_fit(X, Y[:, :2])


@pytest.mark.parametrize("convert", [scipy.sparse.csr_matrix, scipy.sparse.csc_matrix, scipy.sparse.coo_array])
@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam"])
def test_sparse_rows(convert: Any, solver: str) -> None:
    X, y = digits()
    dense, sparse = small(solver=solver).fit(X, y), small(solver=solver, early_stopping=True).fit(convert(X), y)
    assert sparse.score(convert(X), y) == pytest.approx(sparse.score(X, y))
    assert (sparse.n_iter_, sparse.n_features_in_) == (dense.n_iter_, 64)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(library: str) -> None:
    frames = pytest.importorskip(library)
    X, y = digits()
    names = [f"pixel {i}" for i in range(64)]
    frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    if not hasattr(StandardScaler().fit(frame), "feature_names_in_"):
        pytest.skip(f"this scikit-learn does not see the names in a data frame of this {library}")
    classifier = small(early_stopping=True).fit(frame, frames.Series(LABELS["text"][y]))
    assert list(classifier.feature_names_in_) == names
    assert np.array_equal(classifier.predict(frame), small(early_stopping=True).fit(X, LABELS["text"][y]).predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(frame[names[::-1]])


@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam"])
def test_class_weights_are_sample_weights(solver: str) -> None:
    X, y = high_or_low()
    by_class = {"high": 3.0, "low": 0.5}
    weights = np.vectorize(by_class.get)(y)
    settings = {"solver": solver, "early_stopping": solver == "adam"}
    expected = small(**settings).fit(X, y, weights)
    assert np.array_equal(small(**settings, class_weight=by_class).fit(X, y).coefs_[0], expected.coefs_[0])
    doubled = small(**settings, class_weight=by_class).fit(X, y, np.full(len(X), 2.0))
    assert np.array_equal(doubled.coefs_[0], small(**settings).fit(X, y, 2 * weights).coefs_[0])


def test_balanced_class_weights() -> None:
    X, y = high_or_low()
    weights = compute_sample_weight("balanced", y)
    balanced = small(class_weight="balanced").fit(X, y)
    assert np.array_equal(balanced.coefs_[0], small().fit(X, y, weights).coefs_[0])
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        balanced.partial_fit(X, y)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor", "Trainer"])
@pytest.mark.parametrize("X", [np.full((20, 1), "1"), np.full((20, 1), "2000-01-01", "datetime64[D]")], ids=["U", "M"])
def test_what_is_no_number_is_refused(name: str, X: Any) -> None:
    estimator = getattr(fastmlp, name)(hidden_layer_sizes=(2,), max_iter=2)
    rows, y = np.arange(20.0).reshape(-1, 1), np.arange(20) % 2
    fitted = getattr(fastmlp, name)(hidden_layer_sizes=(2,), max_iter=2).fit(rows, y)
    for call in (lambda: estimator.fit(X, y), lambda: fitted.predict(X)):
        with pytest.raises((ValueError, TypeError), match=r"bytes/strings|not numbers"):
            call()


@pytest.mark.parametrize("method", ["fit", "partial_fit", "save"])
def test_signatures_read_well(method: str) -> None:
    for name in ("MLPClassifier", "MLPRegressor", "Trainer"):
        signature = str(inspect.signature(getattr(getattr(fastmlp, name), method)))
        assert "Union[" not in signature
        assert "_typing" not in signature


def test_class_weights_that_leave_nothing() -> None:
    X, y = digits()
    nothing = small(class_weight=dict.fromkeys(range(10), 0.0))
    with pytest.raises(ValueError, match=r"Sample weights must contain at least one non-zero number\."):
        nothing.fit(X, y)
    assert vars(nothing) == nothing.get_params()


@pytest.mark.parametrize(("weight", "message"), [(-1.0, "Negative values"), (np.nan, "contains NaN")])
def test_class_weights_that_are_no_weights(weight: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"{message}.*class_weight|class_weight {message}"):
        small(class_weight={3: weight}).fit(*digits())


@pytest.mark.parametrize("weights", [[1, 2, 3], [{0: 1.0, 1: 2.0}], []])
def test_class_weights_for_several_labels_are_not_for_one(weights: Any) -> None:
    with pytest.raises(ValueError, match=r"class_weight as a list is for several labels .* takes one dict.* Got"):
        small(class_weight=weights).fit(*digits())


def test_class_weights_of_several_labels() -> None:
    X, Y = make_multilabel_classification(100, n_classes=2, random_state=0)
    by_label = [{0: 1.0, 1: 5.0}, {0: 2.0, 1: 1.0}]
    weights = np.where(Y[:, 0], 5.0, 1.0) * np.where(Y[:, 1], 1.0, 2.0)
    assert np.array_equal(small(class_weight=by_label).fit(X, Y).coefs_[0], small().fit(X, Y, weights).coefs_[0])


def test_class_weights_of_classes_that_a_batch_lacks() -> None:
    X, y = digits()
    few = y < 5
    weighted = small(class_weight={3: 2.0, 7: 9.0}).partial_fit(X[few], y[few], classes=range(10))
    plain = small().partial_fit(X[few], y[few], np.where(y[few] == 3, 2.0, 1.0), classes=range(10))
    assert np.array_equal(weighted.coefs_[0], plain.coefs_[0])


def test_class_weights_in_partial_fit() -> None:
    X, y = digits()
    weighted = small(class_weight={digit: 1.0 + digit for digit in range(10)}).partial_fit(X, y, classes=range(10))
    assert np.array_equal(weighted.coefs_[0], small().partial_fit(X, y, 1.0 + y, classes=range(10)).coefs_[0])


@pytest.mark.parametrize("estimator", [fastmlp.MLPClassifier, fastmlp.MLPRegressor])
def test_partial_fit_is_not_for_lbfgs(estimator: type) -> None:
    with pytest.raises(AttributeError, match="partial_fit"):
        estimator(solver="lbfgs").partial_fit(*digits())
    assert not hasattr(estimator(solver="lbfgs"), "partial_fit")


def test_partial_fit_with_fewer_classes_than_there_are() -> None:
    X, y = digits()
    classifier = small(warm_start=True)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        classifier.partial_fit(X, y)
    classifier.partial_fit(X[y < 3], y[y < 3], classes=range(10)).partial_fit(X[y > 7], y[y > 7])
    assert classifier.predict_proba(X).shape == (len(X), 10)
    for arguments in ({"classes": range(9)}, {"y": y + 1}, {"y": np.eye(10, dtype=int)[y]}):
        with pytest.raises(ValueError, match="classes"):
            classifier.partial_fit(**{"X": X, "y": y, **arguments})
    fitted = small().fit(X, y)
    assert fitted.partial_fit(X[:5], y[:5]).t_ == 5 * len(X) + 5


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_warm_start_keeps_the_state_of_the_optimizer(solver: str) -> None:
    X, y = digits()
    whole = small(solver=solver, shuffle=False, max_iter=4).fit(X, y)
    parts = small(solver=solver, shuffle=False, max_iter=2, warm_start=True).fit(X, y)
    parts = pickle.loads(pickle.dumps(parts)).fit(X, y)
    assert np.array_equal(parts.coefs_[0], whole.coefs_[0])
    assert parts.loss_curve_ == whole.loss_curve_


def test_warm_start_between_solvers_and_kinds_of_stopping() -> None:
    X, y = digits()
    classifier = small(solver="lbfgs", warm_start=True).fit(X, y)
    losses = [classifier.loss_]
    for settings in ({"solver": "adam"}, {"early_stopping": True}, {"early_stopping": False}, {"solver": "lbfgs"}):
        losses.append(classifier.set_params(**settings).fit(X, y).loss_)
    assert len(classifier.validation_scores_) == 5
    assert len(classifier.loss_curve_) == 25
    assert losses[-1] < losses[0]


def test_a_pickle_does_not_grow_and_holds_no_data() -> None:
    X, y = digits()
    classifier = small().fit(X, y)
    sizes = []
    for _ in range(3):
        for _ in range(100):
            classifier.partial_fit(X[:5], y[:5])
        sizes.append(len(pickle.dumps(classifier)))
    # The numbers of rows and steps so far have more digits; a row has 512 bytes.
    assert max(sizes) - min(sizes) < 8
    assert len(classifier.loss_curve_) == 305
    assert len(pickle.loads(pickle.dumps(classifier)).loss_curve_) == 5
    rows = small(early_stopping=True).fit(np.tile(X, (10, 1)), np.tile(y, 10))
    assert abs(len(pickle.dumps(rows)) - len(pickle.dumps(small(early_stopping=True).fit(X, y)))) < 100


def test_a_fit_that_is_refused_leaves_the_fitted_estimator_alone() -> None:
    X, y = digits()
    classifier = small().fit(X, y)
    before = vars(classifier).copy()
    for arguments in ((X[:, :5], y[:-1]), (X, np.eye(10)[y] * 0.5), (X[:10], LABELS["text"][y[:10]], -np.ones(10))):
        with pytest.raises(ValueError, match=r"inconsistent|label|Negative"):
            classifier.fit(*arguments)
    assert vars(classifier) == before


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_regression_losses(loss: str) -> None:
    X, y = diabetes()
    counts = np.round(np.exp(y / 2))
    regressor = fastmlp.MLPRegressor(loss, (12,), max_iter=300, random_state=0).fit(X, counts)
    assert regressor.score(X, counts) > 0.3
    assert regressor.out_activation_ == {"squared_error": "identity", "poisson": "exp"}[loss]
    if loss == "poisson":
        with pytest.raises(ValueError, match="out of the valid range of the loss 'poisson'"):
            regressor.fit(X, -counts)


@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam"])
def test_threads_do_not_change_the_bits(solver: str) -> None:
    X, y = digits()
    one, two = (small(solver=solver, n_threads=n, early_stopping=True).fit(X, y) for n in (1, 2))
    assert np.array_equal(one.coefs_[0], two.coefs_[0])
    assert one.validation_loss_curve_ == two.validation_loss_curve_


def test_one_row_is_that_row_of_a_batch() -> None:
    X, y = digits()
    classifier = small().fit(X, y)
    rows = np.vstack([classifier.predict_proba(X[i : i + 1]) for i in range(20)])
    assert np.array_equal(rows, classifier.predict_proba(X)[:20])


def test_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = digits()
    for solver in ("sgd", "lbfgs"):
        small(verbose=True, solver=solver).fit(X, y, X_val=X, y_val=y)
        printed = capsys.readouterr().out
        assert printed.count("Iteration ") == printed.count("Validation score: ") == 5


def test_predictions_are_those_of_the_loss_of_the_fit() -> None:
    X, y = diabetes()
    regressor = fastmlp.MLPRegressor(hidden_layer_sizes=(8,), max_iter=5, random_state=0).fit(X, y)
    expected = regressor.predict(X)
    assert np.array_equal(regressor.set_params(loss="poisson").predict(X), expected)


@pytest.mark.parametrize(
    "labels", [list("abcdefghij"), np.array(list("abcdefghij"), dtype=object), [str(i) for i in range(10)], 0.5]
)
def test_labels_of_another_kind_are_refused(labels: Any) -> None:
    X, y = digits()
    other = y + labels if isinstance(labels, float) else np.asarray(labels)[y]
    classifier = small().fit(X, y)
    with pytest.raises(ValueError, match=r"classes not in|Unknown label type"):
        classifier.partial_fit(X, other)
    with pytest.raises(ValueError, match="classes not in"):
        small().fit(X, LABELS["objects"][y]).partial_fit(X, y)


def test_parameters_that_were_changed_are_looked_at_again() -> None:
    X, y = digits()
    classifier = small().partial_fit(X, y, classes=range(10))
    for name, value in (("n_threads", 0), ("batch_size", 0), ("alpha", -1.0), ("solver", "magic")):
        before = getattr(classifier, name)
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            classifier.set_params(**{name: value}).partial_fit(X, y)
        classifier.set_params(**{name: before}).partial_fit(X, y)


def test_parameters_that_explode_are_an_error_that_travels() -> None:
    """joblib pickles the errors of its workers."""
    X, y = diabetes()
    for solver in ("sgd", "lbfgs"):
        regressor = fastmlp.MLPRegressor(hidden_layer_sizes=(8,), solver=solver, learning_rate_init=1e300)
        with pytest.raises(ValueError, match="non-finite parameter weights") as error:
            regressor.fit(X if solver == "sgd" else X * 1e300, y)
        assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam"])
def test_networks_larger_than_the_machine(solver: str) -> None:
    classifier = small(hidden_layer_sizes=(2**20, 2**20), solver=solver)
    with pytest.raises(MemoryError, match="Use smaller hidden_layer_sizes"):
        classifier.fit(*digits())
    assert vars(classifier) == classifier.get_params()


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_warnings_name_the_users_line(solver: str) -> None:
    X, y = digits()
    for estimator in (small(solver=solver, batch_size=10**6), fastmlp.Trainer((8,), solver=solver, batch_size=10**6)):
        with pytest.warns(UserWarning, match="Maximum iterations|going to be clipped") as caught:
            estimator.set_params(max_iter=2).fit(X, y)
        assert [warning.filename for warning in caught] == [__file__] * 2


def test_warnings_reach_code_without_a_module() -> None:
    X, y = digits()
    with pytest.warns(UserWarning, match="Maximum iterations"):
        exec("estimator.fit(X, y)", {"estimator": small(), "X": X, "y": y})
