"""The estimators of tables: any columns, what is missing or unknown, members, validation, files."""

import copy
import pickle
import time
import tracemalloc
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss, mean_pinball_loss, r2_score
from sklearn.model_selection import GridSearchCV, train_test_split

import fastmlp
from fastmlp import TabularClassifier, TabularRegressor, tabular_preparation, tabular_training
from fastmlp.tabular_columns import Column, read_table
from fastmlp.tabular_preparation import Numbers, Preparation, which_are_categories
from fastmlp.tabular_training import Preset, folds_of

Estimator = type[TabularClassifier] | type[TabularRegressor]
RNG = np.random.default_rng(0)
N_ROWS = 120


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little training: what is tested is not how well it goes."""
    monkeypatch.setitem(tabular_training.PRESETS, "default", Preset(2, 16, 600, 120))


def frame(n_rows: int = N_ROWS) -> pd.DataFrame:
    """All that a column may hold."""
    rng = np.random.default_rng(1)
    colours = rng.choice(["red", "green", "blue"], n_rows)
    table = pd.DataFrame(
        {
            "size": rng.normal(5, 2, n_rows),
            "count": rng.integers(0, 9, n_rows),
            "colour": colours,
            "kind": pd.Categorical(rng.choice(["a", "b"], n_rows)),
            "flag": rng.random(n_rows) < 0.5,
            "rest": pd.array(rng.integers(0, 5, n_rows), dtype="Int64"),
            "empty": np.full(n_rows, np.nan),
            "constant": 3.0,
        }
    )
    table.loc[::7, "size"] = np.nan
    table.loc[::5, "colour"] = None
    table.loc[::9, "rest"] = pd.NA
    return table


def labels(table: pd.DataFrame) -> np.ndarray:
    return np.where((table["count"] > 4) ^ (table["kind"] == "b"), "yes", "no")


def values(table: pd.DataFrame) -> np.ndarray:
    return np.asarray(table["count"] * 100.0 + 5000 * (table["kind"] == "b"))


CASES: list[tuple[Estimator, Any]] = [(TabularClassifier, labels), (TabularRegressor, values)]


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


def test_unknown_and_missing_are_zeros() -> None:
    X = pd.DataFrame({"colour": ["red", "green", "blue"] * 4, "kind": ["a", "b"] * 6})
    table = read_table(X)
    preparation = Preparation.of(table, which_are_categories(table, "from_dtype"))
    new = pd.DataFrame({"colour": ["violet", None, "green"], "kind": ["b", "c", None]})
    assert_array_equal(preparation.inputs(read_table(new)), [[0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]])


def test_numbers_are_scaled_as_published() -> None:
    """(x - median) / (distance of the quartiles), then x / sqrt(1 + (x / 3)²); what is missing is 0, with an input."""
    x = np.array([1.0, 2.0, 4.0, 8.0, 1e6])
    table = read_table(x[:, None])
    inputs = Preparation.of(table, [False]).inputs(table)
    scaled = (x - 4) / 6
    assert_allclose(inputs[:, 0], scaled / np.sqrt(1 + (scaled / 3) ** 2), rtol=1e-6)  # float32
    gaps = read_table(np.array([[1.0], [np.nan], [3.0]]))
    assert_allclose(Preparation.of(gaps, [False]).inputs(gaps)[1], [0, 1, *np.zeros(4)])


@pytest.mark.filterwarnings("error")
def test_numbers_of_any_size_are_scaled() -> None:
    """Those whose square, or whose distance from the median, is no float64 are as far as any; not where all agree."""
    most = np.finfo(np.float64).max
    for column, inputs in (
        ([0.0, 1, 2, most, -most], [-0.49319696, 0, 0.49319696, 3, -3]),
        ([0.0, 1e-3, 2e-3, most, -most], [-0.49319696, 0, 0.49319696, 3, -3]),
    ):
        table = read_table(np.array(column)[:, None])
        assert_allclose(Preparation.of(table, [False]).inputs(table)[:, 0], inputs, rtol=1e-6)  # float32
    inputs = np.empty((1, 1), np.float32)
    Numbers("all agree", most, 0.0, has_missing=False).write(Column("x", np.array([-most]), False), inputs)
    assert inputs.item() == 0


def test_quartiles_that_coincide_leave_half_the_range() -> None:
    table = read_table(np.array([[0.0]] * 9 + [[4.0]]))
    assert_allclose(Preparation.of(table, [False]).inputs(table)[-1, 0], 2 / np.sqrt(1 + 4 / 9), rtol=1e-6)


def test_asked_categories() -> None:
    X = frame()
    table = read_table(X)
    assert which_are_categories(table, "from_dtype") == [False, False, True, True, True, False, False, False]
    assert which_are_categories(table, ["count"])[1]
    assert which_are_categories(table, [1])[1]
    assert which_are_categories(table, [name == "count" for name in X])[1]
    with pytest.raises(ValueError, match="'nothing', which is no column"):
        TabularClassifier(categorical_features=["nothing"]).fit(X, labels(X))
    fitted = TabularClassifier(categorical_features=["count"], random_state=0).fit(X, labels(X))
    assert "4 of categories" in fitted.summary()
    fitted = TabularClassifier(n_members=1, random_state=0).fit(X[["rest"]].fillna(0), labels(X))
    assert ": 1 input and 4 ramps;" in fitted.summary()


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


def test_one_assignment_makes_a_fit() -> None:
    """A thread that predicts while another one fits sees all of the one fit or of the other."""
    X = frame()
    model = TabularClassifier(random_state=0).fit(X, labels(X))
    other = TabularClassifier(random_state=0).fit(X[["count", "kind"]], labels(X))
    model._fitted = other._fitted
    assert model.n_features_in_ == 2
    assert_array_equal(model.predict_proba(X[["count", "kind"]]), other.predict_proba(X[["count", "kind"]]))
    assert not hasattr(clone(model), "n_features_in_")


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


def test_text_that_is_hardly_categories_is_told() -> None:
    """Once for each column, at the user's line; not of few texts, nor of numbers."""
    n_rows = 200
    X = pd.DataFrame(
        {
            "name": [f"row {i}" for i in range(n_rows)],
            "day": [None, *(f"2020-01-{1 + i % 28:02}T12:00" for i in range(n_rows - 1))],
            "seen": [f"{1 + i % 28}.1.2020" for i in range(n_rows)],
            "town": [f"t{i % 100}" for i in range(n_rows)],
            "version": [f"1.{i % 9}" for i in range(n_rows)],
            "number": np.arange(n_rows),
        }
    )
    with pytest.warns(UserWarning, match="taken as categories") as told:
        TabularClassifier(n_members=1, random_state=0).fit(X, np.arange(n_rows) % 2)
    assert [str(each.message).partition(",")[0] for each in told] == [
        "column 'name' holds 200 different texts in 200 rows",
        "column 'day' holds dates as text",
        "column 'seen' holds dates as text",
    ]
    assert {each.filename for each in told} == {__file__}


def test_many_rare_and_lonely_categories() -> None:
    X = pd.DataFrame({"place": [f"p{i % 500}" for i in range(1000)], "x": RNG.normal(size=1000)})
    y = np.where(X["x"] > 0, "up", "down").astype(object)
    y[3] = "lonely"
    fitted = TabularClassifier(random_state=0).fit(X, y)
    assert [member.n_inputs for member in fitted._fitted.members] == [501 + 16, 501]  # with ramps, and without
    assert fitted.predict_proba(X).shape == (1000, 3)


def test_many_rows_leave_inputs_for_the_most_frequent_categories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of few categories keep all, the others share what is left; each that loses some is told of."""
    n_rows = 1000
    columns = {"few": np.arange(n_rows) % 4, "many": np.arange(n_rows) % 100, "more": np.arange(n_rows) % 200}
    X = pd.DataFrame({name: [f"{name} {i:03}" for i in numbers] for name, numbers in columns.items()})
    X.loc[X["many"] > "many 049", "many"] = "many 007"
    for n_inputs, kept in ((60, [4, 28, 28]), (4 + 50 + 200, [4, 50, 200]), (3, [2, 2, 2])):
        monkeypatch.setattr(tabular_preparation, "MOST_BYTES_OF_CATEGORIES", 4 * n_rows * n_inputs)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fitted = TabularClassifier(n_members=1, max_time=1e-3, random_state=0).fit(X, columns["few"] > 1)
        assert [len(values) for values in fitted.categories_.values()] == kept
        assert "many 007" in fitted.categories_["many"]
        fewer = [name for name, n, of in zip(X, kept, (4, 50, 200), strict=True) if n < of]
        messages = [str(each.message) for each in told if each.category is UserWarning]
        assert [message.split("'")[1] for message in messages] == fewer
        assert fitted.predict(X).shape == (n_rows,)


def test_predictions_of_some_rows_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """And take the memory of the inputs of some rows."""
    X = frame(3000)
    fitted = TabularClassifier(random_state=0).fit(X[:N_ROWS], labels(X)[:N_ROWS])
    expected = fitted.predict_proba(X)
    row, taken = 4 * fitted._fitted.preparation.n_inputs, []
    inputs = Preparation.inputs

    def counted(self: Preparation, table: Any) -> Any:
        taken.append(table.n_rows)
        return inputs(self, table)

    monkeypatch.setattr(Preparation, "inputs", counted)
    for n_bytes, parts in ((1, [1] * 3000), (1000 * row + 5, [1000] * 3), (1001 * row, [1001, 1001, 998])):
        monkeypatch.setattr(tabular_preparation, "BYTES_AT_ONCE", n_bytes)
        taken.clear()
        assert_array_equal(fitted.predict_proba(X), expected)
        assert taken == parts


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


def test_a_column_without_values_stays_zero() -> None:
    """Of the rows of a prediction, too: the network has never seen another value there."""
    preparation = Preparation.of(read_table(np.full((9, 1), np.nan)), [False])
    assert not preparation.inputs(read_table(np.array([[5.0]]))).any()


def test_ramps_rise_between_quantiles_where_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.append(np.random.default_rng(0).exponential(size=999), np.nan)[:, None]
    table = read_table(values)
    preparation = Preparation.of(table, [False])
    edges = np.quantile(values[:-1], np.arange(17) / 16)
    expected = [np.interp(values[:-1, 0], pair, (0, 1)) for pair in pairwise(edges)]
    inputs = preparation.inputs(table)
    assert (preparation.n_plain, preparation.n_inputs) == (2, 18)
    assert_allclose(inputs[:-1, 2:], np.transpose(expected), atol=1e-6)
    assert not inputs[-1, 2:].any()  # what is missing
    for n_bytes, n_ramps in ((4 * 1000 * 5, 5), (4 * 1000 * 3, 0)):
        monkeypatch.setattr(tabular_preparation, "MOST_BYTES_OF_RAMPS", n_bytes)
        assert Preparation.of(table, [False]).n_inputs == 2 + n_ramps


def test_ramps_are_not_spent_on_one_value() -> None:
    """Of zeros nine rows in ten: one ramp begins there, and the others share the rest of the rows."""
    x = np.concatenate([np.zeros(3600), np.arange(1, 401)])
    few = np.repeat([0.0, 1.0, 5.0, 9.0], [3997, 1, 1, 1])
    table = read_table(np.column_stack([x, few, np.where(x > 300, x, 0)]))
    of_x, of_few, of_less = (np.array(each.edges) for each in Preparation.of(table, [False] * 3).encodings)
    assert len(of_x) == 17
    assert (of_x[0], of_x[-1]) == (0, 400)
    assert np.diff(of_x[1:]).max() <= 2 * np.diff(of_x[1:]).min()
    assert_array_equal(of_few, [0, 1, 5, 9])
    assert len(of_less) == 6, "a hundred rows are not enough for more than five"


def test_many_columns_get_fewer_ramps() -> None:
    """Columns without ramps do not count."""
    values = np.random.default_rng(0).normal(size=(400, 130))
    for n_columns, n_ramps in ((32, 16), (57, 8), (64, 8), (100, 5), (128, 4), (129, 0)):
        columns = np.column_stack([values[:, :n_columns], values[:, -1] > 0])
        preparation = Preparation.of(read_table(columns), [False] * (n_columns + 1))
        ramps = [each.n_ramps for each in preparation.encodings if isinstance(each, Numbers)]
        assert ramps == [n_ramps] * n_columns + [0]
    edges = np.array(Preparation.of(read_table(values[:, :1]), [False]).encodings[0].edges)
    few = np.array(Preparation.of(read_table(values[:, :64]), [False] * 64).encodings[0].edges)
    assert_array_equal(few, edges[::2])


def test_with_scikit_learns_tools() -> None:
    X = frame()
    search = GridSearchCV(TabularClassifier(random_state=0), {"n_members": [1, 2]}, cv=2).fit(X, labels(X))
    assert search.best_score_ > 0.5
    importance = permutation_importance(search.best_estimator_, X, labels(X), n_repeats=2, random_state=0)
    assert importance.importances_mean[list(X).index("count")] > importance.importances_mean[list(X).index("constant")]


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


@pytest.mark.parametrize("kind", ["float32", "float64", "uint8 frame", "text frame"])
def test_memory_is_that_of_the_inputs(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members share the inputs, in float32, and there is no copy of X in float64."""
    monkeypatch.setattr(tabular_preparation, "MOST_BYTES_OF_RAMPS", 0)
    rng = np.random.default_rng(0)
    X: Any = rng.integers(0, 200, (100_000, 20)).astype(kind.split()[0] if "text" not in kind else "uint8")
    y = X[:, 0] > X[:, 1]
    if kind == "text frame":
        X = pd.DataFrame(np.array(["red", "green"])[X % 2]).add_prefix("c")
    elif "frame" in kind:
        X = pd.DataFrame(X).add_prefix("c")
    n_bytes = 100_000 * 20 * 4
    tracemalloc.start()
    TabularClassifier(random_state=0, n_members=4, n_threads=4).fit(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The inputs, a fifth of them for each member to validate on, the order of rows, and columns at work; text takes a
    # pointer for each cell. A copy of the rows for each member would be 4 more, a text for each cell 15 more.
    assert peak / n_bytes < (7 if kind == "text frame" else 4.5)
