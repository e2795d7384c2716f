"""The hyper-parameter dtype="bfloat16": what is float32, what files and copies keep of it, and how well it learns."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, Trainer, _core
from fastmlp.estimator_state import check_state

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ESTIMATORS = (Trainer, MLPClassifier, MLPRegressor)
X = np.random.default_rng(0).normal(size=(90, 7))
Y = np.digitize(X @ np.arange(7), [-5, 5])


def fitted(estimator: Any, **settings: Any) -> Any:
    return estimator(
        **{"hidden_layer_sizes": (20,), "max_iter": 5, "random_state": 0, "dtype": "bfloat16"} | settings
    ).fit(X, Y)


def bits(estimator: Any) -> list[bytes]:
    return [each.tobytes() for each in (*estimator.coefs_, *estimator.intercepts_)]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_all_but_the_products_is_float32(estimator: Any) -> None:
    model, exact = fitted(estimator), fitted(estimator, dtype="float32")
    assert {array.dtype for array in (*model.coefs_, *model.intercepts_)} == {np.dtype(np.float32)}
    assert model._fitted.fit.slots.dtype == np.float32
    assert bits(model) != bits(exact)
    for ours, theirs in zip(model.coefs_, exact.coefs_, strict=True):
        assert np.abs(ours - theirs).max() < 0.02  # five epochs of steps of 0.001
    outputs = model.predict_proba(X) if estimator is MLPClassifier else model.predict(X)
    assert estimator is not MLPRegressor or outputs.dtype == np.float32


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
def test_any_rows(estimator: Any, dtype: Any) -> None:
    rows = np.round(np.abs(X) * 50).astype(dtype)
    answers = []
    for given in (rows, scipy.sparse.csr_array(rows)):
        model = estimator(hidden_layer_sizes=(20,), max_iter=3, random_state=0, dtype="bfloat16").fit(given, Y)
        answers.append((bits(model), model.predict(given).tobytes()))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_files_pickles_and_copies_go_on_in_bfloat16(estimator: Any, tmp_path: Path) -> None:
    model = fitted(estimator)
    model.save(tmp_path / "model")
    copies = [fastmlp.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))]
    expected = model.predict(X).tobytes()
    goes_on = bits(model.partial_fit(X, Y))
    for copy in copies:
        assert copy.dtype == "bfloat16"
        assert copy.predict(X).tobytes() == expected
        assert bits(copy.partial_fit(X, Y)) == goes_on
    assert bits(clone(model).fit(X, Y)) == bits(fitted(estimator))


def test_what_is_fitted_keeps_its_dtype() -> None:
    """As a network of float32 stays one when the hyper-parameter is changed."""
    model, other = fitted(MLPRegressor), fitted(MLPRegressor)
    other.set_params(dtype="float32")
    assert other.predict(X).tobytes() == model.predict(X).tobytes()
    assert pickle.loads(pickle.dumps(other)).predict(X).tobytes() == model.predict(X).tobytes()
    assert bits(other.partial_fit(X, Y)) == bits(model.partial_fit(X, Y))


@pytest.mark.parametrize("change", [{"precision": "float16"}, {"precision": 1}, {"precision": "float32"}])
def test_a_state_of_another_precision_is_refused(change: dict[str, Any]) -> None:
    state = fitted(Trainer)._state()
    check_state("Trainer", state)
    with pytest.raises(ValueError, match="precision"):
        check_state("Trainer", state | change)
    exact = fitted(Trainer, dtype="float64")._state()
    with pytest.raises(ValueError, match="precision"):
        check_state("Trainer", exact | {"precision": "bfloat16"})


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "lbfgs"},
        {"early_stopping": True, "max_iter": 20},
        {"n_restarts": 2},
        {"solver": "sgd", "dropout": 0.2, "clip_norm": 1.0},
        {"activation": "gelu", "weight_decay": 0.1, "n_threads": 2},
    ],
    ids=str,
)
def test_with_other_hyper_parameters(settings: dict[str, Any]) -> None:
    model = fitted(MLPClassifier, **settings)
    assert model._fitted.fit.network.precision == "bfloat16"
    assert bits(model) == bits(fitted(MLPClassifier, **settings))
    if settings.get("solver") == "lbfgs":  # which computes in float64
        assert bits(model) == bits(fitted(MLPClassifier, **settings, dtype="float32"))


def test_digits_are_learned_as_well_as_in_float32() -> None:
    """Mean test accuracy over five seeds, beside the spread of float32's."""
    digits, labels = load_digits(return_X_y=True)
    rows = train_test_split(digits / 16, labels, test_size=0.4, random_state=0)
    scores: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for dtype, seed in ((dtype, seed) for dtype in scores for seed in range(5)):
        model = MLPClassifier((64,), max_iter=25, learning_rate_init=0.005, random_state=seed, dtype=dtype)
        scores[dtype].append(model.fit(rows[0], rows[2]).score(rows[1], rows[3]))
    assert min(scores["float32"]) > 0.95
    spread = np.std(scores["float32"], ddof=1)
    assert abs(np.mean(scores["bfloat16"]) - np.mean(scores["float32"])) < 2 * spread


def rows_of(name: str, path: Path) -> tuple[Any, Any]:
    """2500 rows of a data set as numbers, and their targets."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            arrays = dict(file)
        X, y = arrays["X_train" if "X_train" in arrays else "X"], arrays["y_train" if "y_train" in arrays else "y"]
        X = X.reshape(len(X), -1) / 1.0
    else:
        frame = pd.read_csv(path)
        y = frame.pop({"adult_train": "income", "california_housing": "median_house_value"}[name])
        X = pd.get_dummies(frame).to_numpy(float)
        y = (y - y.mean()) / y.std() if y.dtype.kind == "f" else y.to_numpy()
    chosen = np.random.default_rng(0).permutation(len(X))[:2500]
    return np.nan_to_num(StandardScaler().fit_transform(X[chosen])), np.asarray(y)[chosen]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "covtype_20k", "adult_train", "california_housing"])
def test_scores_lie_within_the_spread_of_those_in_float32(name: str, data_file: Callable[[str], Path]) -> None:
    regression = name == "california_housing"
    X, y = rows_of(name, data_file(f"{name}.csv.gz" if regression or name == "adult_train" else f"{name}.npz"))
    estimator = MLPRegressor if regression else MLPClassifier
    scores: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for dtype, seed in ((dtype, seed) for dtype in scores for seed in range(5)):
        model = estimator(hidden_layer_sizes=(64, 64), max_iter=15, random_state=seed, dtype=dtype)
        scores[dtype].append(model.fit(X[:1500], y[:1500]).score(X[1500:], y[1500:]))
    assert min(scores["float32"]) <= np.mean(scores["bfloat16"]) <= max(scores["float32"])


def test_show_config_says_whether_it_is_fast(isa: str, capsys: pytest.CaptureFixture[str]) -> None:
    fastmlp.show_config()
    emulates = _core.Network((1, 1), "identity", "squared_error", "bfloat16").emulates
    assert ("bfloat16 (slow" if emulates else "bfloat16 (fast") in capsys.readouterr().out
    assert emulates or isa == "x86-64-v4"
