"""All of it together: a modern recipe on every kind of rows, weights and call, with the same bits everywhere."""

import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPRegressor, Trainer, _core, load

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RECIPE: dict[str, Any] = {
    "hidden_layer_sizes": (33, 18),
    "activation": ["gelu", "mish"],
    "alpha": 0.01,
    "l1_ratio": 0.3,
    "weight_decay": 0.02,
    "clip_norm": 0.5,
    "dropout": [0.1, 0.4, 0.2],
    "input_noise": 0.1,
    "learning_rate": "one_cycle",
    "learning_rate_init": 0.01,
    "warmup": 0.2,
    "weight_init": "he_normal",
    "batch_size": 19,
    "max_iter": 5,
    "random_state": 3,
}
ISAS_WITH_FMA = [isa for isa in _core.available_isas() if isa != "x86-64"]
ESTIMATORS = (Trainer, MLPClassifier, MLPRegressor)
each_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.__name__)
each_solver = pytest.mark.parametrize("solver", ["sgd", "adam", "rmsprop", "adagrad"])

PIXELS = np.random.RandomState(0).binomial(4, 0.3, (130, 21)).astype(np.uint8)
VALUES = PIXELS @ np.random.RandomState(1).normal(size=21) / 5
WEIGHTS = np.random.RandomState(2).uniform(0, 2, 130)


def recipe(estimator: type, **settings: Any) -> Any:
    own = {"label_smoothing": 0.1} if estimator is not MLPRegressor else {"loss": "huber", "huber_delta": 0.5}
    return estimator(**RECIPE | own | settings)


def targets(estimator: type) -> Any:
    return VALUES if estimator is MLPRegressor else np.digitize(VALUES, np.quantile(VALUES, [0.3, 0.7]))


def bits(estimator: Any) -> tuple[Any, ...]:
    """All that training leaves."""
    arrays = [array.tobytes() for array in (*estimator.coefs_, *estimator.intercepts_)]
    counts = (estimator.t_, estimator.best_epoch_, estimator.loss_curve_, estimator.validation_scores_)
    return *arrays, *counts, estimator.best_loss_, estimator.validation_loss_curve_


@each_estimator
@each_solver
def test_the_same_bits_for_any_number_of_threads(estimator: type, solver: str, monkeypatch: Any) -> None:
    y, answers = targets(estimator), []
    for isa in ISAS_WITH_FMA:
        monkeypatch.setenv("FASTMLP_ISA", isa)
        for n_threads in (1, 2, 3, 5):
            fitted = recipe(estimator, solver=solver, n_threads=n_threads, batch_size=60, early_stopping=True)
            answers.append(bits(fitted.fit(PIXELS, y, WEIGHTS)))
    assert len(answers) >= 4
    assert answers[1:] == answers[:1] * (len(answers) - 1)


@each_estimator
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_rows(estimator: type, dtype: str, tmp_path: Any) -> None:
    """Bytes, reals, CSR and rows on disk are the same numbers."""
    y = targets(estimator)
    np.save(tmp_path / "rows.npy", PIXELS)
    read_only = PIXELS.astype(dtype)
    read_only.flags.writeable = False
    kinds = {
        "bytes": PIXELS,
        "other order": np.asfortranarray(PIXELS.astype(dtype)),
        "read-only": read_only,
        "CSR": scipy.sparse.csr_array(PIXELS.astype(dtype)),
        "CSR of bytes": scipy.sparse.csr_matrix(PIXELS),
        "on disk": np.load(tmp_path / "rows.npy", mmap_mode="r"),
        "every second row": np.repeat(PIXELS.astype(dtype), 2, axis=0)[::2],
    }
    answers = {name: bits(recipe(estimator, dtype=dtype).fit(X, y, WEIGHTS)) for name, X in kinds.items()}
    assert [name for name, answer in answers.items() if answer != answers["bytes"]] == []


@each_estimator
def test_targets_on_disk(estimator: type, tmp_path: Any) -> None:
    np.save(tmp_path / "y.npy", targets(estimator))
    y = np.load(tmp_path / "y.npy", mmap_mode="r")
    assert bits(recipe(estimator).fit(PIXELS, y)) == bits(recipe(estimator).fit(PIXELS, np.array(y)))


@each_estimator
def test_a_row_without_weight_might_as_well_be_missing(estimator: type) -> None:
    """But for the numbers drawn for it: so without dropout and noise, in one batch, which is cut behind it."""
    y, weights = targets(estimator), np.ones(130)
    weights[100:] = 0
    settings = {"dropout": 0.0, "input_noise": 0.0, "shuffle": False, "batch_size": 130}
    weighted = recipe(estimator, **settings).fit(PIXELS, y, weights)
    cut = recipe(estimator, **settings | {"batch_size": 100}).fit(PIXELS[:100], y[:100])
    assert [W.tobytes() for W in weighted.coefs_] == [W.tobytes() for W in cut.coefs_], "what is added is zero"


def test_class_weights_are_weights_of_rows() -> None:
    y = targets(MLPClassifier)
    by_class = recipe(MLPClassifier, class_weight={0: 0.5, 1: 1.0, 2: 3.0}).fit(PIXELS, y)
    assert bits(by_class) == bits(recipe(MLPClassifier).fit(PIXELS, y, np.array([0.5, 1, 3])[y]))
    balanced = recipe(MLPClassifier, class_weight="balanced").fit(PIXELS, y)
    assert bits(balanced) == bits(recipe(MLPClassifier).fit(PIXELS, y, (130 / 3 / np.bincount(y))[y]))


@each_estimator
@each_solver
def test_partial_fit_is_fit_epoch_by_epoch(estimator: type, solver: str) -> None:
    """With the rows in one order, since each call would shuffle them from the beginning."""
    y = targets(estimator)
    classes = {"classes": [0, 1, 2]} if estimator is MLPClassifier else {}
    straight = recipe(estimator, shuffle=False, solver=solver).fit(PIXELS, y, WEIGHTS)
    stream = recipe(estimator, shuffle=False, solver=solver)
    for epoch in range(5):
        stream.partial_fit(PIXELS, y, WEIGHTS, **classes)
        if epoch in (1, 3):  # on the way through a pickle
            stream = pickle.loads(pickle.dumps(stream))
    assert [W.tobytes() for W in stream.coefs_] == [W.tobytes() for W in straight.coefs_]
    assert stream.loss_ == straight.loss_


@each_estimator
@each_solver
def test_pickles_and_files_go_on(estimator: type, solver: str, tmp_path: Any) -> None:
    y = targets(estimator)
    fitted = recipe(estimator, solver=solver, early_stopping=True).fit(PIXELS, y, WEIGHTS)
    fitted.save(tmp_path / "model")
    copies = [pickle.loads(pickle.dumps(fitted)), load(tmp_path / "model")]
    assert [bits(each) for each in copies] == [bits(fitted)] * 2
    assert all(each.get_params() == fitted.get_params() for each in copies)
    for each in (fitted, *copies):
        each.set_params(early_stopping=False, warm_start=True).fit(PIXELS, y, WEIGHTS)
    assert [bits(each) for each in copies] == [bits(fitted)] * 2


@each_estimator
def test_clones_train_alike(estimator: type) -> None:
    y = targets(estimator)
    original = recipe(estimator, early_stopping=True, n_restarts=1).fit(PIXELS, y)
    copy = clone(original)
    assert not hasattr(copy, "coefs_")
    assert bits(copy.fit(PIXELS, y)) == bits(original)


@each_estimator
def test_a_search_over_all_of_it(estimator: type) -> None:
    y = targets(estimator)
    pipeline = make_pipeline(StandardScaler(), recipe(estimator, max_iter=2))
    name = estimator.__name__.lower()
    grid = [
        {f"{name}__dropout": [0.0, [0.0, 0.5, 0.5]], f"{name}__learning_rate": ["cosine", "coslog"]},
        {f"{name}__weight_init": ["orthogonal"], f"{name}__solver": ["rmsprop", "adagrad"]},
        {f"{name}__activation": ["silu", ["tanh", "elu"]], f"{name}__clip_norm": [None, 0.1]},
        {f"{name}__n_restarts": [1], f"{name}__target_loss": [0.0], f"{name}__max_time": [60.0]},
    ]
    search = GridSearchCV(pipeline, grid, cv=2).fit(PIXELS.astype(float), y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.cv_results_["mean_test_score"]) == 11
    best = clone(pipeline).set_params(**search.best_params_).fit(PIXELS.astype(float), y)
    assert np.array_equal(best.predict(PIXELS), search.predict(PIXELS))


@each_estimator
def test_early_stopping_restores_the_best(estimator: type) -> None:
    y = targets(estimator)
    settings = {"max_iter": 30, "n_iter_no_change": 4, "early_stopping": True, "learning_rate": "constant"}
    settings |= {"learning_rate_init": 0.05, "warmup": 0.0}
    stopped = recipe(estimator, **settings).fit(PIXELS[:100], y[:100], X_val=PIXELS[100:], y_val=y[100:])
    assert stopped.best_epoch_ == int(np.argmax(stopped.validation_scores_)) + 1
    assert stopped.best_epoch_ < stopped.n_iter_ < 30
    assert stopped.score(PIXELS[100:], y[100:]) == pytest.approx(stopped.best_validation_score_)
    until = recipe(estimator, **settings | {"early_stopping": False, "max_iter": stopped.best_epoch_})
    until.fit(PIXELS[:100], y[:100])
    assert [W.tobytes() for W in stopped.coefs_] == [W.tobytes() for W in until.coefs_]


@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam", "rmsprop", "adagrad"])
def test_the_best_epoch(solver: str) -> None:
    """Of all epochs that were fitted, by the validation score or else the loss."""
    y = targets(MLPRegressor)
    settings = {"hidden_layer_sizes": (8,), "solver": solver, "max_iter": 12, "random_state": 0, "warm_start": True}
    alone = MLPRegressor(**settings, learning_rate_init=0.02).fit(PIXELS, y)
    assert alone.best_epoch_ == int(np.argmin(alone.loss_curve_)) + 1
    watched = MLPRegressor(**settings, learning_rate_init=0.02).fit(PIXELS, y, X_val=PIXELS[:50], y_val=-y[:50])
    assert watched.best_epoch_ == int(np.argmax(watched.validation_scores_)) + 1
    assert alone.best_epoch_ != watched.best_epoch_
    assert pickle.loads(pickle.dumps(watched)).best_epoch_ == watched.best_epoch_
