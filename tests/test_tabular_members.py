"""What the members of the estimators of tables learn from: folds of few rows, weights, rare categories."""

import re
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Any
from weakref import ReferenceType, ref

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from fastmlp import TabularClassifier, TabularRegressor, tabular_training
from fastmlp.fitting import Fit
from fastmlp.rows import Samples
from fastmlp.tabular_training import ROWS_AT_ONCE, Preset, Task, _always_zero, _parts, folds_of

Estimator = type[TabularClassifier] | type[TabularRegressor]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 2))
LABELS = np.where(X[:, 0] + RNG.normal(size=100) > 0, "a", "b")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little training: what is tested is not how well it goes."""
    monkeypatch.setitem(tabular_training.PRESETS, "default", Preset(3, 16, 600, 120))


# -- folds --


@pytest.mark.parametrize("preset", ["default", "accurate"])
@pytest.mark.parametrize("n_rows", [2, 3, 4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("estimator", [TabularClassifier, TabularRegressor])
def test_few_rows(estimator: Estimator, weighted: bool, n_rows: int, preset: str) -> None:
    """There are as many folds as rows, and more members."""
    rows, y = X[:n_rows], np.arange(n_rows) % 2
    weights = np.arange(1, n_rows + 1) if weighted else None
    fitted = estimator(preset=preset, n_members=5, random_state=0).fit(rows, y, weights)
    assert fitted.n_members_ == 5
    assert np.isfinite(fitted.predict(rows)).all()


def test_each_of_few_rows_is_held_back() -> None:
    samples = Samples(np.zeros((3, 1), np.float32), np.arange(3), None)
    folds = folds_of(samples.targets, np.random.RandomState(0))
    task = Task(samples.rows, 1, samples.targets, None, "log_loss", 3, folds, None, None)
    parts = [_parts(task, samples, number) for number in range(4)]
    assert [(len(rows), len(held_out.rows), len(numbers)) for rows, held_out, numbers in parts] == [(2, 1, 1)] * 4
    assert sorted(int(numbers[0]) for _, _, numbers in parts[:3]) == [0, 1, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_ends_a_fit_before_all_members_are_submitted(error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None trains on, and none is waited for in vain."""
    submit, submitted, trained = ThreadPoolExecutor.submit, [], []

    def interrupted(pool: ThreadPoolExecutor, *task: Any) -> Any:
        if len(submitted) == 2:
            raise error
        submitted.append(submit(pool, *task))
        return submitted[-1]

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    monkeypatch.setattr(tabular_training, "_train", lambda task, *_: trained.append(task.settings))
    with pytest.raises(error):
        TabularClassifier(random_state=0).fit(X, LABELS)
    assert [training.done() for training in submitted] == [True, True]
    assert [settings.deadline for settings in trained] == [-inf, -inf]  # they end as soon as they begin


def test_a_member_that_has_been_trained_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """But that of its parameters: three on one thread are one after the other."""
    started: list[ReferenceType[Fit]] = []
    n_alive = []
    start = Fit.start

    def starts(*arguments: Any) -> Fit:
        fit = start(*arguments)
        started.append(ref(fit))
        return fit

    def score(estimator: Any, X_val: Any, y_val: Any) -> float:
        n_alive.append(sum(fit() is not None for fit in started))
        return 0.0

    monkeypatch.setattr(Fit, "start", starts)
    TabularRegressor(n_threads=1, scoring=score, random_state=0).fit(X, X[:, 0])
    assert (len(started), set(n_alive)) == (3, {1})


# -- weights --


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({"a": -1, "b": 1}, "Negative values.*class_weight"),
        ({"a": np.nan}, "class_weight contains NaN"),
        ({"b": np.inf}, "class_weight contains infinity"),
        ({"a": 0, "b": 0}, r"Sample weights must contain at least one non-zero number\."),
    ],
)
def test_class_weights_that_are_no_weights(class_weight: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TabularClassifier(class_weight=class_weight).fit(X, LABELS)


def test_class_weights_of_a_class_that_validation_rows_lack() -> None:
    of_b = LABELS == "b"
    held_out = {"X_val": X[of_b], "y_val": LABELS[of_b]}
    weighted = TabularClassifier(class_weight={"a": 5}, random_state=0).fit(X, LABELS, **held_out)
    of_rows = TabularClassifier(random_state=0).fit(X, LABELS, np.where(of_b, 1, 5), **held_out)
    assert_array_equal(weighted.predict_proba(X), of_rows.predict_proba(X))


@pytest.mark.parametrize("estimator", [TabularClassifier, TabularRegressor])
@pytest.mark.parametrize("n_weights", [1, 3])
def test_parts_of_the_rows_that_have_no_weight(estimator: Estimator, n_weights: int) -> None:
    """Five folds cannot share three weights; rows that are given to validate on leave them all to the training."""
    y = np.arange(100) % 2
    weights = np.zeros(100)
    weights[:n_weights] = 1
    model = estimator(n_members=5, random_state=0)
    with pytest.raises(ValueError, match=r"^Sample weights of the rows that a network .* at least one non-zero number"):
        model.fit(X, y, weights)
    assert np.isfinite(model.fit(X, y, weights, X_val=X, y_val=y).predict(X)).all()


@pytest.mark.parametrize(
    ("estimator", "y", "y_val", "message"),
    [
        (TabularClassifier, np.arange(100) % 3, np.eye(3)[np.arange(100) % 3], "must have one dimension, as in fit."),
        (TabularClassifier, np.eye(2)[np.arange(100) % 2], np.arange(100) % 2, "must have two dimensions, as in fit."),
        (TabularClassifier, np.eye(2)[np.arange(100) % 2], np.eye(3)[np.arange(100) % 3], "has 3 columns, fit had 2"),
        (TabularRegressor, X, np.hstack([X, X]), "has 4 columns, fit had 2"),
    ],
)
def test_targets_to_validate_on_of_another_kind(
    estimator: Estimator, y: Any, y_val: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("fastmlp.tabular_base.train_members")  # before the training
    with pytest.raises(ValueError, match=f"^y_val {re.escape(message)}$"):
        estimator().fit(X, y, X_val=X, y_val=y_val)


def test_targets_of_several_columns_that_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^quantile takes one target, y has 2 columns: fit one for each\.$"):
        TabularRegressor(quantile=0.5).fit(X, X)
    with pytest.raises(ValueError, match="y of several columns must hold 0 and 1"):
        TabularClassifier().fit(X, np.arange(200).reshape(100, 2) % 3)


@pytest.mark.parametrize("class_weight", [[{0: 1, 1: 9}, {0: 1, 1: 1}], "balanced"])
def test_class_weights_of_several_labels(class_weight: Any) -> None:
    """Rows that have a rare label count for more."""
    Y = np.column_stack([X[:, 0] + RNG.normal(size=100) > 1.5, X[:, 1] > 0]).astype(int)
    plain = TabularClassifier(random_state=0).fit(X, Y).predict_proba(X)
    weighted = TabularClassifier(random_state=0, class_weight=class_weight).fit(X, Y).predict_proba(X)
    assert weighted[:, 0].mean() > 1.3 * plain[:, 0].mean()


# -- categories --


def test_a_category_that_is_only_held_back_is_never_seen() -> None:
    """The member whose fold has it predicts as for any other unknown one; the others have learned it."""
    table = pd.DataFrame({"place": np.array(["p", "q", "r"])[np.arange(100) % 3], "x": X[:, 0]})
    table.loc[7, "place"] = "lonely"
    fitted = TabularRegressor(n_members=5, random_state=0).fit(table, X[:, 1])
    state = fitted._fitted
    assert state is not None
    categories = fitted.categories_["place"]
    lonely = categories.index("lonely")
    weights = [state.network_of(member).coefs(member.params)[0][: len(categories)] for member in state.members]
    assert sum(not W[lonely].any() for W in weights) == 1
    assert all(W[other].all() for W in weights for other in range(4) if other != lonely)


def test_inputs_that_are_zero_in_some_rows() -> None:
    """Blocks of rows say the same as all at once."""
    inputs = np.zeros((3 * ROWS_AT_ONCE, 5), np.float32)
    inputs[:, 0] = -1
    inputs[1, 1] = inputs[-1, 2] = inputs[ROWS_AT_ONCE, 3] = 0.5
    assert_array_equal(_always_zero(inputs, np.arange(2, len(inputs))), [1, 4])
    assert_array_equal(_always_zero(inputs[:, :4], np.arange(len(inputs) - 1)), [2])
    assert_array_equal(_always_zero(inputs, np.array([1])), [2, 3, 4])
