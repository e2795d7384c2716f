"""Schedules of the learning rate: what each step gets, over the epochs of a fit, and how calls go on."""

from collections.abc import Callable
from math import cos, inf, log2, nan, pi
from typing import Any

import numpy as np
import pytest

from fastmlp import MLPClassifier, MLPRegressor, Trainer
from fastmlp.schedules import SCHEDULES, _cos, _log2

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BY_STEPS = [name for name, schedule in SCHEDULES.items() if schedule.factor is not None]
STOCHASTIC = ["sgd", "adam", "rmsprop", "adagrad"]
RATE = 0.01
X = np.random.RandomState(0).normal(size=(60, 4))
Y = X @ [1.0, -1.0, 2.0, 0.0]


def regressor(n_epochs: int, **settings: Any) -> MLPRegressor:
    """One step an epoch, unless told otherwise; it does not stop before."""
    defaults = {"hidden_layer_sizes": (3,), "max_iter": n_epochs, "learning_rate_init": RATE, "random_state": 0}
    return MLPRegressor(**defaults | {"n_iter_no_change": inf, "batch_size": len(X)} | settings)


def rates(estimator: Any, **given: Any) -> list[float]:
    """The learning rate of the last step of each epoch."""
    heard: list[float] = []
    estimator.fit(X, Y, callbacks=[lambda learning_rate: heard.append(learning_rate)], **given)
    return heard


def one_cycle(step: float, total: float) -> float:
    def fall(start: float, end: float, share: float) -> float:
        return end + (start - end) * (1 + cos(pi * share)) / 2

    peak = 0.3 * total - 1
    if step <= peak:
        return fall(1 / 25, 1, step / peak)
    return fall(1, 1 / 250_000, (step - peak) / (total - 1 - peak))


FACTORS: dict[str, Callable[[float, float], float]] = {
    "cosine": lambda step, total: (1 + cos(pi * step / total)) / 2,
    "linear": lambda step, total: 1 - step / total,
    "one_cycle": one_cycle,
    "coslog": lambda step, total: 0.5 - 0.5 * cos(2 * pi * log2(1 + 15 * step / total)),
}


@pytest.mark.parametrize("solver", STOCHASTIC)
@pytest.mark.parametrize("name", BY_STEPS)
@pytest.mark.parametrize("n_epochs", [1, 2, 3, 20])
def test_each_step_has_its_rate(name: str, solver: str, n_epochs: int) -> None:
    heard = rates(regressor(n_epochs, learning_rate=name, solver=solver))
    if name == "one_cycle" and n_epochs < 4:  # too short to rise: it begins at its peak
        assert heard[0] == RATE
        assert all(np.diff(heard) < 0)
    else:
        expected = [RATE * FACTORS[name](step, n_epochs) for step in range(n_epochs)]
        assert heard == pytest.approx(expected, abs=4e-15 * RATE)  # a logarithm of up to 4, rounded twice, in radians


def test_cosines_and_logarithms_are_those_of_numpy() -> None:
    """To rounding; whole turns too many would be seen in no rate."""
    x = np.linspace(1, 16, 1000)
    np.testing.assert_allclose(_cos(x), np.cos(2 * pi * x), rtol=0, atol=3e-14)  # of angles up to 100
    np.testing.assert_allclose(_log2(x), np.log2(x), rtol=4e-16, atol=4e-16)


def test_coslog_has_four_waves() -> None:
    heard = np.array(rates(regressor(3000, learning_rate="coslog"))) / RATE
    peaks = np.flatnonzero((heard[1:-1] > heard[:-2]) & (heard[1:-1] > heard[2:])) + 1
    # Half-way between the powers of two from 1 to 16, less 1, of fifteen parts.
    assert peaks / 3000 == pytest.approx((2 ** np.array([0.5, 1.5, 2.5, 3.5]) - 1) / 15, abs=1 / 3000)


@pytest.mark.parametrize("name", BY_STEPS)
def test_steps_within_an_epoch_differ(name: str) -> None:
    """Four batches an epoch for five epochs: the rates of twenty steps, of which each epoch's last is heard."""
    heard = rates(regressor(5, batch_size=16, learning_rate=name))
    assert heard == pytest.approx([RATE * FACTORS[name](step, 20) for step in (3, 7, 11, 15, 19)])
    by_function = regressor(5, batch_size=16, learning_rate=lambda progress: FACTORS[name](20 * progress, 20))
    by_name = regressor(5, batch_size=16, learning_rate=name)
    # The functions of the maths module may round otherwise than NumPy's.
    np.testing.assert_allclose(by_name.fit(X, Y).predict(X), by_function.fit(X, Y).predict(X), rtol=1e-9)


@pytest.mark.parametrize("estimator", [Trainer, MLPClassifier, MLPRegressor])
def test_every_estimator_has_schedules(estimator: type) -> None:
    y = Y if estimator is MLPRegressor else (Y > 0).astype(int)
    settings = {"hidden_layer_sizes": (3,), "max_iter": 4, "random_state": 0, "batch_size": 16}
    ends = {
        name: estimator(learning_rate=name, **settings).fit(X, y).coefs_[0].tobytes()
        for name in ["constant", *BY_STEPS]
    }
    ends["warmup"] = estimator(warmup=0.5, **settings).fit(X, y).coefs_[0].tobytes()
    assert len(set(ends.values())) == len(BY_STEPS) + 2


def test_a_function_is_asked_for_each_step() -> None:
    asked: list[float] = []

    def half(progress: float) -> float:
        asked.append(progress)
        return 0.5

    halved = regressor(3, batch_size=16, learning_rate=half).fit(X, Y)
    assert asked == pytest.approx(np.arange(12) / 12)
    plain = regressor(3, batch_size=16, learning_rate_init=RATE / 2).fit(X, Y)
    assert np.array_equal(halved.coefs_[0], plain.coefs_[0]), "the rates are the same, whether one or one for each step"


@pytest.mark.parametrize("factor", [-0.1, nan, inf])
def test_what_a_function_may_not_return(factor: float) -> None:
    estimator = regressor(4, warm_start=True, batch_size=16).fit(X, Y)
    before = estimator.coefs_[0].copy()
    estimator.set_params(learning_rate=lambda progress: factor if 0.5 < progress < 0.6 else 0.0)
    with pytest.raises(ValueError, match=rf"^learning_rate: .* finite and not negative, got {factor}\.$"):
        estimator.fit(X, Y)
    assert np.array_equal(estimator.coefs_[0], before)
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 4


def test_factors_from_zero_on_are_all_right() -> None:
    assert rates(regressor(4, learning_rate=lambda progress: 2 * progress)) == [0, RATE / 2, RATE, 1.5 * RATE]


def test_an_error_of_the_function_is_the_users() -> None:
    estimator = regressor(4, learning_rate=lambda progress: 1 / abs(progress - 0.5))
    with pytest.raises(ZeroDivisionError):
        estimator.fit(X, Y)
    assert not hasattr(estimator, "coefs_")


def test_warmup_rises_in_a_line() -> None:
    assert rates(regressor(8, warmup=0.5)) == pytest.approx(RATE * np.array([1, 2, 3, 4, 4, 4, 4, 4]) / 4)


@pytest.mark.parametrize("name", BY_STEPS)
def test_the_schedule_has_the_steps_after_warmup(name: str) -> None:
    heard = rates(regressor(20, warmup=0.25, learning_rate=name))
    first = FACTORS[name](0, 15)
    rising = [RATE * first * step / 5 for step in range(1, 6)]
    assert heard == pytest.approx(rising + [RATE * FACTORS[name](step, 15) for step in range(15)])


@pytest.mark.parametrize("name", ["invscaling", "adaptive"])
def test_schedules_of_scikit_learn_may_be_warmed_up(name: str) -> None:
    settings = {"solver": "sgd", "learning_rate": name, "tol": 10.0, "n_iter_no_change": 2}
    warmed, plain = rates(regressor(8, warmup=0.5, **settings)), rates(regressor(8, **settings))
    assert plain[-1] < plain[0], "the rate falls"
    assert warmed[4:] == pytest.approx(plain[4:])
    assert warmed[:4] == pytest.approx(np.array(plain[:4]) * [0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize("solver", STOCHASTIC[1:])
@pytest.mark.parametrize("name", ["invscaling", "adaptive"])
def test_they_are_for_sgd_alone(name: str, solver: str) -> None:
    settings = {"solver": solver, "tol": 10.0, "n_iter_no_change": 1}
    assert rates(regressor(20, learning_rate=name, **settings)) == [RATE] * 3


def test_each_fit_begins_the_schedule_anew() -> None:
    estimator = regressor(4, learning_rate="linear", warm_start=True)
    expected = [RATE * factor for factor in (1, 0.75, 0.5, 0.25)]
    for _ in range(2):
        assert rates(estimator) == pytest.approx(expected)


def test_partial_fit_goes_on_in_the_schedule() -> None:
    """To its end, whose rate it keeps: without hidden layers and momentum a step is the rate times the gradient."""
    settings = {"hidden_layer_sizes": (), "learning_rate": "linear", "solver": "sgd", "momentum": 0.0, "alpha": 0.0}
    estimator = regressor(4, **settings).initialize(X, Y)
    steps = []
    for _ in range(6):
        slope = np.mean(estimator.predict(X) - Y)
        bias = estimator.intercepts_[0][0]
        steps.append((bias - estimator.partial_fit(X, Y).intercepts_[0][0]) / slope)
    assert steps == pytest.approx([RATE * factor for factor in (1, 0.75, 0.5, 0.25, 0.25, 0.25)])


def test_early_stopping_leaves_the_steps_of_the_rows_that_train() -> None:
    """54 of 60 rows in batches of 27: two steps an epoch."""
    heard = rates(regressor(3, learning_rate="linear", batch_size=27, early_stopping=True))
    assert heard == pytest.approx([RATE * (1 - step / 6) for step in (1, 3, 5)])


def test_a_restart_has_the_same_schedule() -> None:
    """The best of two trainings with a schedule is one of the two."""
    best = regressor(6, learning_rate="one_cycle", n_restarts=1).fit(X, Y)
    first = regressor(6, learning_rate="one_cycle").fit(X, Y)
    seed = np.random.RandomState(0).randint(2**32, size=1, dtype=np.uint32)[0]
    second = regressor(6, learning_rate="one_cycle", random_state=seed).fit(X, Y)
    kept = min((first, second), key=lambda each: each.loss_)
    assert np.array_equal(best.coefs_[0], kept.coefs_[0])
    assert best.loss_curve_ == kept.loss_curve_


def test_rates_of_invscaling_follow_the_rows() -> None:
    """Sixty an epoch, counted from 1; a power that is too large for any number leaves nothing after the first."""
    settings = {"solver": "sgd", "learning_rate": "invscaling"}
    assert rates(regressor(3, **settings)) == pytest.approx([RATE, RATE / 61**0.5, RATE / 121**0.5])
    assert rates(regressor(3, power_t=1e308, **settings)) == [RATE, 0, 0]


def test_the_smallest_rate_is_not_lowered() -> None:
    settings = {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1}
    assert rates(regressor(20, learning_rate_init=1e-6, **settings)) == [1e-6] * 3
    assert len(rates(regressor(20, learning_rate_init=1.01e-6, **settings))) > 3


def test_a_schedule_of_less_than_two_steps_after_warmup() -> None:
    """A step and a half, of which half a step is over at the last one."""
    assert rates(regressor(10, learning_rate="linear", warmup=0.85))[-1] == pytest.approx(RATE * 2 / 3)
