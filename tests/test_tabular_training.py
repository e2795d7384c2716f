"""How the members of the estimators of tables are trained: for how long, from where, at which rates, until when."""

from math import cos, inf, log, log2, pi
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from fastmlp import TabularClassifier, TabularRegressor, tabular_base, tabular_training
from fastmlp._core import Network
from fastmlp.fitting import Fit
from fastmlp.listener import NonFiniteError
from fastmlp.rows import Samples
from fastmlp.tabular_training import (
    PRESETS,
    Member,
    Preset,
    Task,
    _calibrated,
    _initialize,
    batch_size_of,
    settings_of,
    train_members,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(131, 2))


class EnoughError(Exception):
    """Ends a fit before the training."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Task and seeds of each fit, which ends there."""
    heard: list[Any] = []

    def told(task: Task, seeds: list[int], *_: Any) -> None:
        heard.append((task, seeds))
        raise EnoughError

    monkeypatch.setattr(tabular_base, "train_members", told)
    return heard


# -- what is asked of a training --


@pytest.mark.parametrize(
    ("preset", "n_rows", "n_epochs"),
    [
        ("default", 1000, 60),  # 900 steps, 15 an epoch
        ("default", 8000, 29),  # four times as many, 125 an epoch
        ("default", 80, 168),  # 900 * 0.08 ** (2 / 3) is 167.1
        ("default", 30, 87),  # 86.9 steps of all rows
        ("default", 1_024_000, 5),  # 20 000 steps, 4000 an epoch
        ("accurate", 1000, 80),
        ("accurate", 1_024_000, 10),
    ],
)
def test_epochs_follow_from_the_rows(preset: str, n_rows: int, n_epochs: int) -> None:
    """Steps grow with the rows to the power of 2/3, up to the most."""
    assert settings_of(PRESETS[preset], n_rows, "log_loss", {}).max_iter == n_epochs


@pytest.mark.parametrize(
    ("n_rows", "batch_size"), [(1, 64), (16383, 64), (16384, 128), (65535, 128), (65536, 256), (10**6, 256)]
)
def test_batches_are_the_power_of_two_below_the_root_of_the_rows(n_rows: int, batch_size: int) -> None:
    assert batch_size_of(n_rows) == batch_size


def test_epochs_are_those_of_the_rows_to_train_on(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth, rounded up, is kept back, unless rows to validate on are given: 10 * 104 ** (2 / 3), 126 ** (2 / 3)."""
    monkeypatch.setitem(PRESETS, "default", Preset(1, 8, 1000, 10**6))
    with pytest.raises(EnoughError):
        TabularRegressor().fit(X, X[:, 0])
    with pytest.raises(EnoughError):
        TabularRegressor().fit(X[:126], X[:126, 0], X_val=X, y_val=X[:, 0])
    assert [task.settings.max_iter for task, _ in asked] == [222, 252]


def test_presets_are_those_of_the_manual(asked: list[Any]) -> None:
    for preset in ("default", "accurate"):
        with pytest.raises(EnoughError):
            TabularClassifier(preset).fit(X, X[:, 0] > 0)
    found = [(len(seeds), task.settings.hidden_layer_sizes) for task, seeds in asked]
    assert found == [(3, (128, 128, 128)), (5, (192, 192, 192))]


def test_time_is_counted_from_the_beginning(asked: list[Any]) -> None:
    before = perf_counter()
    for max_time in (None, 3600.0):
        with pytest.raises(EnoughError):
            TabularRegressor(max_time=max_time).fit(X, X[:, 0])
    unlimited, limited = (task.settings.deadline for task, _ in asked)
    assert unlimited == inf
    assert before + 3600 <= limited <= perf_counter() + 3600


def test_seeds_differ(asked: list[Any]) -> None:
    with pytest.raises(EnoughError):
        TabularRegressor(n_members=200, random_state=0).fit(X, X[:, 0])
    ((_, seeds),) = asked
    assert len(set(seeds)) == 200
    assert 2**30 < max(seeds) < 2**31


def test_every_second_member_reads_no_ramps() -> None:
    rows = np.zeros((2, 3), np.float32)
    task = Task(rows, 1, rows, None, "squared_error", 3, np.arange(2), None, None)
    assert [task.n_inputs_of(number) for number in range(4)] == [3, 1, 3, 1]


# -- where it begins, and how far a step goes --


def begun(loss: str, rows: Any, targets: Any, n_units: tuple[int, ...], **asked: Any) -> tuple[Fit, Samples, Any]:
    settings = settings_of(PRESETS["default"], len(rows), loss, {"n_threads": 1} | asked)
    samples = Samples(rows, targets, None)
    return Fit.start(n_units, loss, "float64", settings, samples, np.random.RandomState(0)), samples, settings


def test_first_biases_are_normal_and_outputs_zero() -> None:
    fit, *_ = begun("squared_error", X, X[:, :1].copy(), (2, 4, 6, 1))
    last = fit.network.intercepts(fit.params)[-1].copy()
    _initialize(fit, np.random.RandomState(1))
    coefs, (first, second, third) = fit.network.coefs(fit.params), fit.network.intercepts(fit.params)
    assert_array_equal(np.append(first, second), np.random.RandomState(1).standard_normal(10))
    assert_array_equal(third, last)
    assert [np.count_nonzero(W) for W in coefs] == [8, 24, 0]


def test_weights_do_not_decay() -> None:
    """Where nothing is left to learn nothing moves."""
    fit, samples, settings = begun("squared_error", X, np.zeros((131, 1)), (2, 3, 1))
    _initialize(fit, np.random.RandomState(0))
    before = fit.params.copy()
    fit.adopt(settings, restarts=True)
    fit.begin(samples, settings, np.random.RandomState(0), remedy="")
    fit.run(2, [])
    assert_array_equal(fit.params, before)


def test_rows_that_fill_no_batch_are_left_out_of_an_epoch() -> None:
    fit, samples, settings = begun("squared_error", X, X[:, :1].copy(), (2, 3, 1))
    fit.adopt(settings, restarts=True)
    fit.begin(samples, settings, np.random.RandomState(0), remedy="")
    fit.run(2, [])
    assert fit.step == 4, "131 rows are two batches of 64 an epoch"


@pytest.mark.parametrize(("loss", "rate"), [("log_loss", 0.04), ("squared_error", 0.07)])
def test_a_step_goes_as_far_as_the_recipe_says(loss: str, rate: float) -> None:
    """Twice on the same rows, at first at the rate 0: then Adam's step is the rate, whatever the gradient is."""
    rows = X[:64]
    targets = (rows[:, 0] > 0).astype(np.int64) if loss == "log_loss" else rows[:, :1] * rows[:, 1:]
    n_units = (2, 4, 9, 2 if loss == "log_loss" else 1)
    fit, samples, settings = begun(loss, rows, targets, n_units, max_iter=50, epsilon=1e-20)
    (W, *coefs), biases = (
        [part.copy() for part in parts] for parts in (fit.network.coefs(fit.params), fit.network.intercepts(fit.params))
    )
    fit.adopt(settings, restarts=True)
    fit.begin(samples, settings, np.random.RandomState(0), remedy="")
    fit.run(2, [])
    step = rate * (0.5 - 0.5 * cos(2 * pi * log2(1 + 15 / 50)))
    found, *others = fit.network.coefs(fit.params)
    for before, after in zip(coefs, others, strict=True):
        assert_allclose(np.abs(after - before), step / np.sqrt(len(before)), rtol=1e-6)  # sums in another order
    for before, after in zip(biases, fit.network.intercepts(fit.params), strict=True):
        assert_allclose(np.abs(after - before), 0.1 * step, rtol=1e-6)
    for before, after in zip(W, found, strict=True):  # the weights of an input are multiplied by its factor
        moved = [np.abs(after / (1 + sign * 6 * step) - before) for sign in (-1, 1)]
        assert any(np.allclose(each, step / np.sqrt(2), rtol=1e-6) for each in moved)


# -- what becomes of the members --


def trained(monkeypatch: pytest.MonkeyPatch, found: list[Member | None], deadline: float = inf) -> Task:
    """The task of members that are said to have been found, of three epochs each."""
    rows = np.zeros((2, 1), np.float32)
    settings = SimpleNamespace(n_threads=2, max_iter=3, deadline=deadline)
    task = Task(rows, 1, rows, None, "squared_error", 1, np.arange(2), None, settings)
    monkeypatch.setattr(tabular_training, "_train", lambda task, number, *_: found[number])
    train_members(task, list(range(len(found))), None, 2, "")
    return task


def member(n_epochs: int) -> Member:
    return Member(1, np.zeros(1, np.float32), [0.0] * n_epochs, [0.0] * n_epochs, 1)


def test_one_member_has_all_threads_and_several_have_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trained(monkeypatch, [member(3)]).settings.n_threads == 2
    assert trained(monkeypatch, [member(3), member(3)]).settings.n_threads == 1


@pytest.mark.filterwarnings("error")
def test_what_is_said_where_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing where all epochs are done, nor where a member has diverged in time."""
    trained(monkeypatch, [member(3), member(3)], deadline=0.0)
    trained(monkeypatch, [member(3), None])
    with pytest.warns(ConvergenceWarning, match=r"ended the training after 5 of 6 epochs, with 2 of 2 networks\."):
        trained(monkeypatch, [member(3), member(2)], deadline=0.0)
    with pytest.raises(NonFiniteError, match="Training has diverged: y or sample_weight may hold values"):
        trained(monkeypatch, [None, None])


def test_the_parameters_are_those_of_the_best_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "default", Preset(1, 8, 1000, 6))
    seen: list[Any] = []

    def second_is_best(estimator: Any, X_val: Any, y_val: Any) -> float:
        assert_allclose(y_val, y, rtol=1e-6)  # of float32
        seen.append(estimator.predict(X_val))
        return -abs(len(seen) - 2)

    rows, y = X[:100], 100 + 7 * X[:100, 0]
    fitted = TabularRegressor(random_state=0, scoring=second_is_best).fit(rows, y, X_val=rows, y_val=y)
    assert (len(seen), fitted.n_iter_, fitted.best_epoch_) == (6, 6, 2)
    assert_allclose(seen[0], y.mean())  # an epoch is one step, and the rate of the first one is 0
    assert_array_equal(fitted.predict(rows), seen[1])
    assert (seen[1] != seen[5]).any()


def test_the_score_of_an_epoch_is_the_accuracy(short_training: None) -> None:
    """That of a regressor is the negative loss: see the tests of its targets."""
    y = X[:, 0] + X[:, 1] > 0
    fitted = TabularClassifier(random_state=0).fit(X, y, X_val=X[::2], y_val=y[::2])
    assert fitted.score(X[::2], y[::2]) == fitted.best_validation_score_ == max(fitted.validation_scores_)


def test_a_training_that_diverges_at_once(short_training: None) -> None:
    with pytest.raises(NonFiniteError, match=r"^Training has diverged: y or sample_weight may hold values"):
        TabularRegressor(random_state=0).fit(X, X[:, 0], np.full(131, 1e308))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("share_right", "n_rows"), [(0.0, 2000), (0.7, 40), (1.0, 2000)])
@pytest.mark.parametrize("loss", ["log_loss", "binary_log_loss"])
def test_the_factor_of_the_logits_is_the_best(loss: str, share_right: float, n_rows: int, weighted: bool) -> None:
    """Of those from e^-2 to e^2, tried one by one in float64: at the ends where all rows or none are right."""
    rng = np.random.default_rng(0)
    network = Network((1, 2), "relu", loss, "float32")
    params = np.zeros(network.n_params, np.float32)
    network.coefs(params)[0][...], network.intercepts(params)[0][...] = [1, -1], [0.25, 0]
    rows = np.append(rng.uniform(-1, 1, n_rows), 200).astype(np.float32)[:, None]  # the last has probabilities 0 and 1
    z = rows.astype(np.float64) * [1, -1] + [0.25, 0]
    is_right = np.append(rng.random(n_rows) < share_right, True)
    weights = 5.0 * np.append(rng.integers(0, 3, n_rows), 1) if weighted else None
    targets = np.where(is_right, z.argmax(axis=1), z.argmin(axis=1))
    if loss == "binary_log_loss":
        targets = ((z > 0) == is_right[:, None]).astype(np.uint8)

    def cost(log_factor: float) -> float:
        scaled = z * np.exp(log_factor)
        if loss == "log_loss":
            losses = logsumexp(scaled, axis=1) - scaled[np.arange(len(z)), targets]
        else:
            losses = (np.logaddexp(0, scaled) - scaled * targets).sum(axis=1)
        return float(len(z) * np.average(losses, weights=weights) + log_factor**2)

    tried = np.linspace(-2, 2, 401)
    best = tried[np.argmin([cost(each) for each in tried])]
    fit: Any = SimpleNamespace(network=network, params=params)
    found = _calibrated(fit, Samples(rows, targets, weights))
    factor = float(network.coefs(found)[0][0, 0])
    assert log(factor) == pytest.approx(best, abs=0.01)  # the distance of those that are tried
    assert_allclose(network.coefs(found)[0], [[factor, -factor]])
    assert_allclose(network.intercepts(found)[0], [0.25 * factor, 0], rtol=1e-6)  # float32
    assert network.coefs(params)[0][0, 0] == 1, "the fit keeps its own"
