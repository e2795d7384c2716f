"""The estimators of tables: any columns and targets, what is refused of them, and files."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mixed_table import CASES, N_ROWS, Estimator, frame, labels, values
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.inspection import permutation_importance
from sklearn.metrics import mean_pinball_loss, r2_score
from sklearn.model_selection import GridSearchCV

import fastmlp
from fastmlp import TabularClassifier, TabularRegressor

pytestmark = pytest.mark.usefixtures("short_training_of_two")


@pytest.mark.parametrize(("estimator", "target"), CASES)
def test_any_columns(estimator: Estimator, target: Any) -> None:
    X = frame()
    y = target(X)
    fitted = estimator(random_state=0).fit(X, y)
    assert fitted.score(X, y) > 0.8
    assert list(fitted.feature_names_in_) == list(X.columns)
    assert fitted.n_features_in_ == 8
    assert (fitted.n_members_, len(fitted.loss_curve_)) == (2, fitted.n_iter_)
    assert fitted.validation_scores_[fitted.best_epoch_ - 1] == fitted.best_validation_score_
    assert fitted.target_name_ is None
    assert fitted.categories_ == {"colour": ("blue", "green", "red"), "kind": ("a", "b"), "flag": (False, True)}
    assert fitted.summary().startswith(
        "5 columns of numbers (size, count, rest, empty, constant), 3 of categories (colour: 3, kind: 2, flag: 2): 12 "
    )


@pytest.mark.parametrize(("estimator", "target"), CASES)
def test_rows_of_any_type_and_order(estimator: Estimator, target: Any) -> None:
    """Columns in another order, objects, NumPy arrays: the same predictions."""
    X = frame()
    fitted = estimator(random_state=0).fit(X, target(X))
    expected = fitted.predict(X)
    assert_array_equal(fitted.predict(X[X.columns[::-1]]), expected)
    assert_array_equal(fitted.predict(X.astype(object)), expected)
    assert_array_equal(fitted.predict(X.astype(object).to_numpy()), expected)
    arrays = estimator(random_state=0).fit(X.astype(object).to_numpy(), target(X))
    assert_array_equal(arrays.predict(X.astype(object).to_numpy()), expected)


def test_numbers_are_the_same_in_any_dtype() -> None:
    X, y = load_wine(return_X_y=True)
    X = np.round(X)
    expected = TabularClassifier(random_state=0).fit(X, y).predict_proba(X)
    for same in (X.astype(np.float32), X.astype(np.int64), np.asfortranarray(X), X.tolist(), pd.DataFrame(X)):
        assert_array_equal(TabularClassifier(random_state=0).fit(same, y).predict_proba(same), expected)


def test_what_is_refused() -> None:
    X = frame()
    y = labels(X)
    dates = X.assign(day=pd.Timestamp("2020-01-01"))
    with pytest.raises(TypeError, match="column 'day': dates and times"):
        TabularClassifier().fit(dates, y)
    with pytest.raises(TypeError, match="dates and times"):
        TabularClassifier().fit(np.zeros((N_ROWS, 1), "M8[s]"), y)
    with pytest.raises(ValueError, match="infinity in column 'size'"):
        TabularClassifier().fit(X.assign(size=np.inf), y)
    with pytest.raises(ValueError, match="only one class is present: y holds 'no'"):
        TabularClassifier().fit(X, np.full(N_ROWS, "no"))
    with pytest.raises(ValueError, match="variance is too large"):
        TabularRegressor().fit(X, 1e300 * values(X))
    with pytest.raises(ValueError, match="at least 2 rows"):
        TabularRegressor().fit([[1.0]], [1.0])
    with pytest.raises(ValueError, match="preset"):
        TabularRegressor(preset="best").fit(X, values(X))
    fitted = TabularClassifier(random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=r"'count' missing and 'more' unknown"):
        fitted.predict(X.rename(columns={"count": "more"}))
    with pytest.raises(ValueError, match=r"'more' unknown"):
        fitted.predict(X.assign(more=1))
    with pytest.raises(ValueError, match="held numbers in fit"):
        fitted.predict(X.assign(size="large"))
    with pytest.raises(ValueError, match="y_val go together"):
        TabularClassifier().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="classes that were not in fit"):
        TabularClassifier().fit(X, y, X_val=X, y_val=np.full(N_ROWS, "perhaps"))


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA])
def test_missing_targets_are_counted(missing: Any) -> None:
    X = frame()
    names, numbers = labels(X).astype(object), values(X).copy()
    names[3] = missing
    numbers[[3, 5]] = np.nan
    for y in (names, names.tolist(), pd.Series(names)):
        with pytest.raises(ValueError, match=r"^y has 1 missing value: drop those rows\.$"):
            TabularClassifier().fit(X, y)
        with pytest.raises(ValueError, match=r"^y_val has 1 missing value: "):
            TabularClassifier().fit(X, labels(X), X_val=X, y_val=y)
    with pytest.raises(ValueError, match=r"^y has 2 missing values: drop those rows\.$"):
        TabularRegressor().fit(X, numbers)


def test_one_assignment_makes_a_fit() -> None:
    """A thread that predicts while another one fits sees all of the one fit or of the other."""
    X = frame()
    model = TabularClassifier(random_state=0).fit(X, labels(X))
    other = TabularClassifier(random_state=0).fit(X[["count", "kind"]], labels(X))
    model._fitted = other._fitted
    assert model.n_features_in_ == 2
    assert_array_equal(model.predict_proba(X[["count", "kind"]]), other.predict_proba(X[["count", "kind"]]))
    assert not hasattr(clone(model), "n_features_in_")


def test_several_targets() -> None:
    X = frame()
    Y = np.column_stack([values(X), -3 * values(X)])
    fitted = TabularRegressor(random_state=0).fit(X, Y)
    assert fitted.predict(X).shape == (N_ROWS, 2)
    assert r2_score(Y, fitted.predict(X)) > 0.8
    several = np.column_stack([labels(X) == "yes", X["flag"]]).astype(int)
    many = TabularClassifier(random_state=0).fit(X, several)
    assert (many.n_outputs_, many.predict_proba(X).shape) == (2, (N_ROWS, 2))
    assert (many.predict(X) == several).mean() > 0.8
    for member in many._fitted.members:
        member.params[:] = 0
    assert (many.predict_proba(X) == 0.5).all()
    assert not many.predict(X).any(), "a label needs more than one half, as in scikit-learn"


def test_quantiles() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(600, 1))
    y = rng.normal(size=600) * (1 + X[:, 0]) + 40
    fitted = TabularRegressor(quantile=[0.9, 0.1], random_state=0).fit(X, y)
    low, high = fitted.predict(X).T
    assert (low < high).all()
    assert fitted.score(X, y) == pytest.approx((r2_score(y, low) + r2_score(y, high)) / 2)
    assert 0.7 < ((low < y) & (y < high)).mean() < 0.9
    guess = mean_pinball_loss(y, np.full(600, np.quantile(y, 0.9)), alpha=0.9)
    assert mean_pinball_loss(y, high, alpha=0.9) < 1.05 * guess
    array = TabularRegressor(quantile=np.array([0.1, 0.9]), random_state=0).fit(X, y)
    assert_array_equal(array.predict(X), fitted.predict(X))
    for wrong in ([0.5, 1.5], []):
        with pytest.raises(ValueError, match="quantile must be numbers between"):
            TabularRegressor(quantile=wrong).fit(X, y)


def test_large_values_and_integers_as_targets() -> None:
    X, _ = load_diabetes(return_X_y=True)
    for y in (np.arange(len(X)) % 7 + 10**9, np.full(len(X), 5)):
        predicted = TabularRegressor(random_state=0, n_members=1).fit(X, y).predict(X)
        assert y.min() - 7 < predicted.min() <= predicted.max() < y.max() + 7


def test_a_failed_fit_changes_nothing() -> None:
    X = frame()
    fitted = TabularClassifier(random_state=0).fit(X, labels(X))
    expected = fitted.predict_proba(X)
    with pytest.raises(ValueError, match="infinity"):
        fitted.fit(X.assign(size=np.inf), labels(X))
    assert_array_equal(fitted.predict_proba(X), expected)


@pytest.mark.parametrize(("estimator", "target"), CASES)
def test_saved_and_pickled(estimator: Estimator, target: Any, tmp_path: Path) -> None:
    X = frame()
    fitted = estimator(random_state=0, categorical_features=["count"]).fit(X, pd.Series(target(X), name="y"))
    fitted.save(tmp_path / "model")
    for back in (fastmlp.load(tmp_path / "model"), pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert_array_equal(back.predict(X), fitted.predict(X))
        assert back.get_params() == fitted.get_params()
        assert (back.loss_curve_, back.best_epoch_) == (fitted.loss_curve_, fitted.best_epoch_)
        assert back._fitted.preparation == fitted._fitted.preparation
        assert back.target_name_ == "y"
    with pytest.raises(AttributeError):
        _ = clone(fitted).n_iter_


@pytest.mark.parametrize("of", ["index", "series", "array", "numbers", "mask"])
def test_any_array_of_categories_is_saved(of: str, tmp_path: Path) -> None:
    X = frame()
    names = X.select_dtypes(exclude="number").columns
    asked = {"index": names, "series": pd.Series(names), "array": names.to_numpy(), "mask": X.columns.isin(names)}
    fitted = TabularClassifier(categorical_features=asked.get(of, np.array([2, 3])), random_state=0).fit(X, labels(X))
    fitted.save(tmp_path / "model")
    back = fastmlp.load(tmp_path / "model")
    assert_array_equal(back.predict_proba(X), fitted.predict_proba(X))
    assert list(back.categorical_features) == list(fitted.categorical_features)


def test_damaged_states_are_refused(tmp_path: Path) -> None:
    from fastmlp.model_file import ModelFile, ModelFileError, read, write

    X = frame()
    TabularClassifier(random_state=0).fit(X, labels(X)).save(tmp_path / "model")
    whole = read(tmp_path / "model")
    params, classes, state = whole.arrays["params"], whole.arrays["classes"], whole.parameters["state"]
    for name, value, message in (
        ("params", params[1:], "other parameters"),
        ("params", np.where(np.arange(len(params)) < 9, np.float32("nan"), params), "parameters that are not finite"),
        ("classes", classes[:1], "other classes than outputs"),
        ("target", 3, "a target whose name is no text"),
    ):
        parts = (whole.parameters, whole.arrays | {name: value})
        if name in state:
            parts = (whole.parameters | {"state": state | {name: value}}, whole.arrays)
        write(tmp_path / "damaged", ModelFile(whole.kind, *parts))
        with pytest.raises(ModelFileError, match=f"not a TabularClassifier of this version: {message}"):
            fastmlp.load(tmp_path / "damaged")


@pytest.mark.parametrize(
    ("n_values", "change"),
    [
        (2, lambda edges: [0.0]),
        (40, lambda edges: edges[::-1]),
        (40, lambda edges: [edges[0], *edges[:-1]]),
        (40, lambda edges: [int(edges[0]), *edges[1:]]),
    ],
    ids=["one edge", "falling", "equal", "whole"],
)
def test_ramps_that_do_not_rise_are_refused(
    n_values: int, change: Callable[[list[Any]], list[Any]], short_training: None, tmp_path: Path
) -> None:
    """Two values have no ramps."""
    from fastmlp.model_file import ModelFileError, read, write

    X = np.arange(80.0)[:, None] % n_values
    TabularRegressor(random_state=0).fit(X, X[:, 0]).save(tmp_path / "model")
    file = read(tmp_path / "model")
    edges = dict(file.parameters["state"]["encodings"][0]["dict"])["edges"]
    edges["tuple"] = change(edges["tuple"])
    write(tmp_path / "model", file)
    with pytest.raises(ModelFileError, match="ramps that do not rise"):
        fastmlp.load(tmp_path / "model")


def test_with_scikit_learns_tools() -> None:
    X = frame()
    search = GridSearchCV(TabularClassifier(random_state=0), {"n_members": [1, 2]}, cv=2).fit(X, labels(X))
    assert search.best_score_ > 0.5
    importance = permutation_importance(search.best_estimator_, X, labels(X), n_repeats=2, random_state=0)
    assert importance.importances_mean[list(X).index("count")] > importance.importances_mean[list(X).index("constant")]
