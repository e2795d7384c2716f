"""What the estimators of tables tell of a fit: attributes, a summary, the epochs where they are asked for."""

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from fastmlp import TabularClassifier, TabularRegressor, tabular_training
from fastmlp.fitting import Fit
from fastmlp.listener import Listener
from fastmlp.model_file import ModelFile
from fastmlp.rows import Samples
from fastmlp.tabular_base import FittedTable
from fastmlp.tabular_columns import read_table
from fastmlp.tabular_training import PRESETS, Task

RNG = np.random.default_rng(0)
X = pd.DataFrame({"size": RNG.normal(size=100), "place": np.array(["p", "q", "r"])[np.arange(100) % 3]})
Y = np.arange(100) % 2

pytestmark = pytest.mark.usefixtures("short_training")


def state_of(fitted: Any) -> FittedTable:
    assert fitted._fitted is not None
    state: FittedTable = fitted._fitted
    return state


def test_a_summary_counts_one_and_many() -> None:
    assert TabularClassifier(random_state=0).fit(X[["size"]], Y).summary() == (
        "1 column of numbers (size), 0 of categories: 1 input and 5 ramps; 1 network with hidden layers of 16, 16, 16 "
        "units"
    )
    assert TabularClassifier(n_members=2, random_state=0).fit(X, Y).summary() == (
        "1 column of numbers (size), 1 of categories (place: 3): 4 inputs and 5 ramps; 2 networks with hidden layers "
        "of 16, 16, 16 units"
    )
    two = X.assign(width=X["size"])[["size", "width"]]
    assert TabularClassifier(random_state=0).fit(two, Y).summary().startswith("2 columns of numbers (size, width), 0 ")


def test_curves_are_those_of_the_first_member() -> None:
    fitted = TabularClassifier(random_state=0).fit(X, Y)
    (member,) = state_of(fitted).members
    first = replace(member, loss_curve=[3.0, 2.0], validation_scores=[0.5, 0.25], best_epoch=1)
    second = replace(member, loss_curve=[1.0], validation_scores=[0.75], best_epoch=2)
    fitted._fitted = replace(state_of(fitted), members=(first, second))
    assert (fitted.n_iter_, fitted.loss_curve_, fitted.validation_scores_) == (2, [3.0, 2.0], [0.5, 0.25])
    assert (fitted.best_epoch_, fitted.best_validation_score_) == (1, 0.5)


@pytest.mark.parametrize("estimator", [TabularClassifier, TabularRegressor])
def test_a_fit_prints_nothing_unless_asked(estimator: Any, capfd: pytest.CaptureFixture[str]) -> None:
    estimator(random_state=0).fit(X, Y)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("estimator", [TabularClassifier, TabularRegressor])
def test_before_a_fit_there_is_nothing_to_tell(estimator: Any, tmp_path: Any) -> None:
    for attribute in ("n_iter_", "categories_", "summary"):
        with pytest.raises(AttributeError, match=rf"^This {estimator.__name__} instance is not fitted yet\.$"):
            getattr(estimator(), attribute)()
    for call in (estimator().predict, estimator().save):
        with pytest.raises(NotFittedError, match=f"This {estimator.__name__} instance is not fitted yet"):
            call(tmp_path / "model")


def test_a_scorer_sees_an_estimator_of_prepared_rows() -> None:
    seen = []

    def score(estimator: Any, X_val: Any, y_val: Any) -> float:
        seen.append((estimator.n_features_in_, X_val.shape[1], len(estimator.predict(X_val)), len(y_val)))
        return 0.0

    TabularClassifier(n_members=2, scoring=score, random_state=0).fit(X, Y)
    assert set(seen) == {(9, 9, 20, 20), (4, 4, 20, 20)}, "one member reads the ramps, the other one does not"


@pytest.mark.parametrize("fails", [False, True])
def test_the_progress_bar_is_closed(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Bar(Listener):
        def __init__(self, *asked: Any) -> None:
            told.append(asked)

        def close(self, fit: Fit | None) -> None:
            told.append("closed")

    def score(estimator: Any, X_val: Any, y_val: Any) -> float:
        return 1 / (not fails)

    monkeypatch.setattr(tabular_training, "ProgressBar", Bar)
    model = TabularRegressor(n_members=2, verbose="progress", scoring=score, random_state=0)
    if fails:
        with pytest.raises(ZeroDivisionError):
            model.fit(X, Y)
    else:
        model.fit(X, Y)
    (name, n_epochs), *then = told
    assert (name, then) == ("TabularRegressor", ["closed"])
    assert fails or n_epochs == model.n_iter_


def test_what_a_fit_has_made_does_not_change() -> None:
    """Another thread may read it."""
    fitted = TabularClassifier(random_state=0).fit(X, Y)
    state, table, rows = state_of(fitted), read_table(X), np.zeros((2, 1), np.float32)
    assert state.preparation is not None
    parts = [state, *state.members, state.preparation, *state.preparation.encodings, table, *table.columns]
    task = Task(rows, 1, rows, None, "squared_error", 1, np.arange(2), Samples(rows, rows, None), None)
    for part in [*parts, task, PRESETS["default"], fitted._understand(Y), ModelFile("test", {}, {})]:
        with pytest.raises(FrozenInstanceError):
            setattr(part, fields(part)[0].name, None)
