"""Regularisation, parameters of losses and first weights through the estimators: what their docstrings say."""

import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from fastmlp import MLPClassifier, MLPRegressor, Trainer
from fastmlp.initialization import INITIALIZERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL: dict[str, Any] = {"hidden_layer_sizes": (9,), "max_iter": 4, "batch_size": 16, "random_state": 0}
REGULARISATION: list[dict[str, Any]] = [
    {"dropout": 0.5},
    {"dropout": [0.2, 0.0]},
    {"l1_ratio": 0.5, "alpha": 1.0},
    {"weight_decay": 5.0},
    {"clip_norm": 0.01, "solver": "sgd"},
    {"input_noise": 0.5},
]
ESTIMATORS = (Trainer, MLPClassifier, MLPRegressor)
each_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.__name__)
each_regulariser = pytest.mark.parametrize("settings", REGULARISATION, ids=lambda settings: "-".join(settings))


def problem(estimator: type) -> tuple[Any, Any]:
    rng = np.random.RandomState(0)
    X = rng.normal(size=(70, 6))
    y = X @ rng.normal(size=6)
    return X, y if estimator is MLPRegressor else np.digitize(y, [-1, 1])


@each_estimator
@each_regulariser
def test_regularisation_reaches_the_engine(estimator: type, settings: dict[str, Any]) -> None:
    X, y = problem(estimator)
    off = dict.fromkeys(settings.keys() - {"solver", "alpha"}, 0.0) | {"clip_norm": None}
    regular = estimator(**SMALL | settings).fit(X, y)
    plain = estimator(**SMALL | settings | off).fit(X, y)
    assert not np.array_equal(regular.coefs_[0], plain.coefs_[0])
    assert np.isfinite(regular.coefs_[0]).all()
    assert np.array_equal(regular.coefs_[0], estimator(**SMALL | settings).fit(X, y).coefs_[0])


def one_step(y: Any, X: Any = None, **settings: Any) -> MLPRegressor:
    """A linear model after one step of plain descent over all rows."""
    X = np.zeros((len(y), 3)) if X is None else X
    defaults = {"hidden_layer_sizes": (), "solver": "sgd", "momentum": 0.0, "max_iter": 1, "alpha": 0.0}
    defaults |= {"learning_rate_init": 0.1, "random_state": 0, "warm_start": True, "dtype": "float64"}
    return MLPRegressor(**defaults | settings).initialize(X, y)


def test_weight_decay_multiplies_the_weights() -> None:
    """Without inputs the weights have no gradient, and the bias has no decay."""
    y = np.ones(20)
    estimator = one_step(y, weight_decay=0.5)
    weights, bias = estimator.coefs_[0].copy(), estimator.intercepts_[0].copy()
    estimator.fit(np.zeros((20, 3)), y)
    assert estimator.coefs_[0] == pytest.approx(weights * (1 - 0.1 * 0.5))
    assert estimator.intercepts_[0] == pytest.approx(bias - 0.1 * (bias - 1))


@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
def test_penalty_is_that_of_the_docstring(l1_ratio: float) -> None:
    y = np.ones(20)
    estimator = one_step(y, alpha=2.0, l1_ratio=l1_ratio)
    W, bias = estimator.coefs_[0].copy(), estimator.intercepts_[0].copy()
    estimator.fit(np.zeros((20, 3)), y)
    penalty = 2.0 * ((1 - l1_ratio) / 2 * np.sum(W**2) + l1_ratio * np.abs(W).sum())
    assert estimator.loss_ == pytest.approx(0.5 * (bias[0] - 1) ** 2 + penalty / 20)
    assert estimator.coefs_[0] == pytest.approx(W - 0.1 * 2.0 / 20 * ((1 - l1_ratio) * W + l1_ratio * np.sign(W)))


@pytest.mark.parametrize("clip_norm", [1e-3, 1e3])
def test_clip_norm_is_the_longest_gradient(clip_norm: float) -> None:
    X, y = problem(MLPRegressor)
    estimator = one_step(y, X, clip_norm=clip_norm)
    before = np.append(estimator.coefs_[0], estimator.intercepts_[0])
    heard: list[float] = []
    estimator.fit(X, y, callbacks=[lambda gradient_norm: heard.append(gradient_norm)])
    step = np.linalg.norm(np.append(estimator.coefs_[0], estimator.intercepts_[0]) - before) / 0.1
    residual = X @ before[:-1] + before[-1] - y
    norm = np.linalg.norm(np.append(X.T @ residual, residual.sum()) / len(y))
    assert 1e-3 < norm < 1e3
    assert heard == pytest.approx([norm]), "it is told as it was before"
    assert step == pytest.approx(min(norm, clip_norm))


def test_one_share_of_dropout_is_that_of_the_hidden_layers() -> None:
    X, y = problem(MLPRegressor)
    settings = SMALL | {"hidden_layer_sizes": (9, 7)}
    by_number = MLPRegressor(**settings, dropout=0.3).fit(X, y)
    by_list = MLPRegressor(**settings, dropout=[0, 0.3, 0.3]).fit(X, y)
    assert np.array_equal(by_number.coefs_[0], by_list.coefs_[0])
    assert np.array_equal(by_number.predict(X), by_number.predict(X)), "nothing is dropped where it predicts"


def test_dropout_of_the_inputs_shrinks_a_linear_model() -> None:
    """Least squares with inputs dropped are least squares with a penalty: X'X and p / (1 - p) times its diagonal."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(2000, 3))
    y = X @ [1.0, -2.0, 0.5]
    settings = {"solver": "sgd", "momentum": 0.0, "max_iter": 300, "batch_size": 500, "n_iter_no_change": np.inf}
    estimator = MLPRegressor(hidden_layer_sizes=(), alpha=0.0, random_state=0, learning_rate_init=0.3, **settings)
    estimator.set_params(dropout=[0.4], learning_rate="linear").fit(X, y)
    expected = np.linalg.solve(X.T @ X + 2 / 3 * np.diag(np.diag(X.T @ X)), X.T @ y)
    # Averaged over some 300 steps of 500 rows with noise of size 1 to 2.
    assert estimator.coefs_[0].ravel() == pytest.approx(expected, abs=0.05)


def test_noise_on_the_inputs_shrinks_a_linear_model() -> None:
    """By Bishop 1995, as a penalty of the variance on each row."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(2000, 3))
    y = X @ [1.0, -2.0, 0.5]
    settings = {"solver": "sgd", "momentum": 0.0, "max_iter": 300, "batch_size": 500, "n_iter_no_change": np.inf}
    estimator = MLPRegressor(hidden_layer_sizes=(), alpha=0.0, random_state=0, learning_rate_init=0.3, **settings)
    estimator.set_params(input_noise=0.7, learning_rate="linear").fit(X, y)
    expected = np.linalg.solve(X.T @ X + 0.49 * len(X) * np.eye(3), X.T @ y)
    # As above.
    assert estimator.coefs_[0].ravel() == pytest.approx(expected, abs=0.05)


@each_estimator
def test_the_seed_decides_what_is_dropped(estimator: type) -> None:
    X, y = problem(estimator)
    twins = [estimator(**SMALL | {"random_state": seed, "dropout": 0.5}).fit(X, y) for seed in (1, 1, 2)]
    assert twins[0].loss_curve_ == twins[1].loss_curve_ != twins[2].loss_curve_
    generator = np.random.RandomState(1)
    from_generator = estimator(**SMALL | {"random_state": generator, "dropout": 0.5})
    assert from_generator.fit(X, y).loss_curve_ == twins[0].loss_curve_
    assert from_generator.fit(X, y).loss_curve_ != twins[0].loss_curve_


DEVIATIONS = {
    "glorot_uniform": lambda fan_in, fan_out: np.sqrt(2 / (fan_in + fan_out)),
    "glorot_normal": lambda fan_in, fan_out: np.sqrt(2 / (fan_in + fan_out)),
    "he_uniform": lambda fan_in, fan_out: np.sqrt(2 / fan_in),
    "he_normal": lambda fan_in, fan_out: np.sqrt(2 / fan_in),
    "lecun_normal": lambda fan_in, fan_out: np.sqrt(1 / fan_in),
    "orthogonal": lambda fan_in, fan_out: np.sqrt(1 / max(fan_in, fan_out)),
}


def test_every_way_to_draw_weights_is_here() -> None:
    assert set(INITIALIZERS) == {"auto", *DEVIATIONS}


@each_estimator
@pytest.mark.parametrize("name", DEVIATIONS)
def test_first_weights(estimator: type, name: str) -> None:
    X, y = problem(estimator)
    drawn = estimator(hidden_layer_sizes=(200, 80), weight_init=name, random_state=0).initialize(X, y)
    for W, b in zip(drawn.coefs_, drawn.intercepts_, strict=True):
        assert not b.any()
        expected = DEVIATIONS[name](*W.shape)
        # Five standard deviations of the mean and, of normal numbers, of their deviation.
        assert abs(W.mean()) < 5 * expected / np.sqrt(W.size)
        if name != "orthogonal" or min(W.shape) > 10:
            assert W.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * W.size))
        if name.endswith("uniform"):
            assert expected * np.sqrt(3) * 0.8 < np.abs(W).max() <= expected * np.sqrt(3)
        if name.endswith("normal") and W.size > 1000:
            assert np.abs(W).max() > 2.5 * expected, "normal numbers have tails"
        if name == "orthogonal":
            small = W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T
            # A hundred roundings of numbers below 1.
            assert small == pytest.approx(np.eye(len(small)), abs=1e-13)
    again = estimator(hidden_layer_sizes=(200, 80), weight_init=name, random_state=1).initialize(X, y)
    assert not np.array_equal(again.coefs_[0], drawn.coefs_[0])


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6)])
def test_orthogonal_weights_are_a_factor_of_normal_numbers(shape: tuple[int, int]) -> None:
    """Whose other factor is a triangle with a positive diagonal, which makes the two unique."""
    draw = INITIALIZERS["orthogonal"]
    assert draw is not None
    W = draw(shape, np.random.RandomState(0))
    assert W.shape == shape
    Q = W if shape[0] >= shape[1] else W.T
    R = Q.T @ np.random.RandomState(0).normal(size=(max(shape), min(shape)))
    np.testing.assert_allclose(R, np.triu(R), rtol=0, atol=1e-14)  # some ten roundings
    assert (np.diagonal(R) > 0).all()


@pytest.mark.parametrize(
    "activation", ["logistic", ["logistic", "relu"], ["relu", "logistic"], "tanh", ["relu", "relu"]]
)
def test_first_weights_are_bounded_as_in_scikit_learn(activation: Any) -> None:
    """By the root of 6, or of 2 after logistic units, by the sum of fan-in and fan-out; outputs as the last layer."""
    X, y = problem(MLPRegressor)
    drawn = MLPRegressor(hidden_layer_sizes=(200, 80), activation=activation, random_state=0).initialize(X, y)
    names = [activation] * 2 if isinstance(activation, str) else activation
    for W, b, name in zip(drawn.coefs_, drawn.intercepts_, [*names, names[-1]], strict=True):
        bound = np.sqrt((2 if name == "logistic" else 6) / sum(W.shape))
        assert 0.9 * bound < np.abs(W).max() <= bound
        assert np.abs(b).max() <= bound


def test_one_unit_and_dropout_of_almost_all() -> None:
    """The least and the most that there may be."""
    X, y = problem(MLPRegressor)
    assert MLPRegressor(hidden_layer_sizes=(1,), max_iter=1).fit(X, y).coefs_[0].shape == (6, 1)
    for dropout, n_hidden in (([0.0, 0.999], 1), ([0.999], 0)):
        hidden = (9,) * n_hidden
        assert np.isfinite(MLPRegressor(hidden_layer_sizes=hidden, max_iter=1, dropout=dropout).fit(X, y).loss_)


@pytest.mark.parametrize("dropout", [[0.0, 1.0], [1.5, 0.0], [-0.1, 0.0], [0.0, "half"], [0.0, None]])
def test_what_is_no_share(dropout: Any) -> None:
    X, y = problem(MLPRegressor)
    with pytest.raises(ValueError, match=r"^dropout must be shares from 0 to below 1\. Got \["):
        MLPRegressor(hidden_layer_sizes=(9,), dropout=dropout).fit(X, y)


@pytest.mark.parametrize("dropout", [[0.1], [0.1] * 3, []])
def test_dropout_of_as_many_layers_as_there_are(dropout: Any) -> None:
    X, y = problem(MLPRegressor)
    message = (
        rf"^dropout has {len(dropout)} shares, but there are the inputs and 1 hidden layers: give one for each, that"
    )
    with pytest.raises(ValueError, match=message):
        MLPRegressor(hidden_layer_sizes=(9,), dropout=dropout).fit(X, y)


@pytest.mark.parametrize("name", DEVIATIONS)
def test_first_weights_have_either_sign(name: str) -> None:
    """The factor of a QR decomposition that is taken as it is has none but negative numbers in a corner."""
    X, y = problem(MLPRegressor)
    seeds = [MLPRegressor(hidden_layer_sizes=(8,), weight_init=name, random_state=n) for n in range(40)]
    corners = np.array([drawn.initialize(X, y).coefs_[0][0, 0] for drawn in seeds])
    assert 8 < (corners > 0).sum() < 32, "four standard deviations of a fair coin"


@each_estimator
@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam", "rmsprop", "adagrad"])
def test_initialize_draws_and_does_not_train(estimator: type, solver: str) -> None:
    X, y = problem(estimator)
    settings = SMALL | {"solver": solver, "shuffle": False, "warm_start": True}
    drawn = estimator(**settings).initialize(X, y)
    assert (drawn.n_iter_, drawn.t_, drawn.loss_curve_, drawn.best_epoch_) == (0, 0, [], None)
    trained = estimator(**settings).fit(X, y)
    weights = drawn.coefs_[0].copy()
    for other in (pickle.loads(pickle.dumps(drawn)), drawn):
        assert np.isfinite(other.predict(X)).all()
        other.fit(X, y)
        assert np.array_equal(other.coefs_[0], trained.coefs_[0]), "fit goes on from the weights that it would draw"
        assert other.loss_curve_ == trained.loss_curve_
    assert not np.array_equal(weights, drawn.coefs_[0])


@each_estimator
def test_initialized_coefs_may_be_set(estimator: type) -> None:
    X, y = problem(estimator)
    teacher = estimator(**SMALL).fit(X, y)
    pupil = estimator(**SMALL, dropout=0.1).initialize(scipy.sparse.csr_array(X), y)
    pupil.coefs_, pupil.intercepts_ = teacher.coefs_, teacher.intercepts_
    assert np.array_equal(pupil.predict(X), teacher.predict(X))
    pupil.partial_fit(X, y)
    assert pupil.t_ == len(X)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_partial_fit_goes_on_from_initialized_weights(early_stopping: bool) -> None:
    X, y = problem(MLPClassifier)
    settings = SMALL | {"shuffle": False}
    drawn = MLPClassifier(**settings, early_stopping=early_stopping).initialize(X, y)
    assert drawn.predict_proba(X).sum(axis=1) == pytest.approx(1)
    assert list(drawn.classes_) == [0, 1, 2]
    drawn.set_params(early_stopping=False).partial_fit(X, y)
    assert np.array_equal(drawn.coefs_[0], MLPClassifier(**settings).partial_fit(X, y, classes=[0, 1, 2]).coefs_[0])


def test_what_initialize_refuses_leaves_nothing() -> None:
    X, y = problem(MLPClassifier)
    for settings, message in (({"solver": "lbfgs", "dropout": 0.5}, "dropout.*solver"), ({"alpha": -1}, "alpha")):
        estimator = MLPClassifier(**settings)
        with pytest.raises(ValueError, match=message):
            estimator.initialize(X, y)
        assert not hasattr(estimator, "coefs_")
    with pytest.raises(ValueError, match="inconsistent"):
        MLPClassifier().initialize(X, y[1:])
