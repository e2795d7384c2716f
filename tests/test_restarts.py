"""Restarts: the best of several trainings, with the bits that it has alone, whether they run side by side or not."""

import gc
import threading
import time
import warnings
import weakref
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from fastmlp import MLPClassifier, MLPRegressor, Trainer, restarts
from fastmlp.fitting import Fit
from fastmlp.listener import NonFiniteError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.RandomState(0).normal(size=(80, 5))
VALUES = np.sin(X @ [1.0, -1.0, 0.5, 0.0, 2.0])
Y = np.digitize(VALUES, [-0.5, 0.5])
BASE: dict[str, Any] = {"hidden_layer_sizes": (6,), "max_iter": 8, "learning_rate_init": 0.02, "random_state": 4}
SOLVERS = ["lbfgs", "sgd", "adam", "rmsprop", "adagrad"]
N_RESTARTS = 4
ESTIMATORS = (Trainer, MLPClassifier, MLPRegressor)


def bits(estimator: Any) -> tuple[Any, ...]:
    arrays = [array.tobytes() for array in (*estimator.coefs_, *estimator.intercepts_)]
    names = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "best_epoch_", "best_validation_score_")
    curves = ("validation_scores_", "validation_loss_curve_")
    return *arrays, estimator._fitted.fit.slots.tobytes(), *(getattr(estimator, name) for name in (*names, *curves))


def alone(make: Any, *data: Any, **given: Any) -> list[Any]:
    """Each training by itself: the first, and those of the seeds that are drawn where the first begins."""
    seeds = np.random.RandomState(BASE["random_state"]).randint(2**32, size=N_RESTARTS, dtype=np.uint32)
    return [make(random_state=seed).fit(*data, **given) for seed in (BASE["random_state"], *seeds.tolist())]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_lowest_loss_is_kept(estimator: type, solver: str) -> None:
    def make(**settings: Any) -> Any:
        return estimator(**BASE | {"solver": solver} | settings)

    y = VALUES if estimator is MLPRegressor else Y
    each = alone(make, X, y)
    assert len({one.loss_ for one in each}) == N_RESTARTS + 1
    best = min(each, key=lambda one: one.loss_)
    assert bits(make(n_restarts=N_RESTARTS).fit(X, y)) == bits(best)


def test_each_rival_has_a_learning_rate_of_its_own_that_falls() -> None:
    def make(**settings: Any) -> Any:
        plateaus = {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2, "max_iter": 20}
        return MLPClassifier(**BASE | plateaus | settings)

    best = min(alone(make, X, Y), key=lambda one: one.loss_)
    kept = make(n_restarts=N_RESTARTS).fit(X, Y)
    assert bits(kept) == bits(best) != bits(make().fit(X, Y))
    assert kept._fitted.fit.rate < BASE["learning_rate_init"]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("scoring", [None, "loss"])
def test_the_best_score_is_kept(early_stopping: bool, scoring: Any) -> None:
    """Of the parameters that are kept: the best with early stopping, the last without."""

    def make(**settings: Any) -> Any:
        stopping = {"early_stopping": early_stopping, "n_iter_no_change": 3, "scoring": scoring, "max_iter": 25}
        return MLPRegressor(**BASE | {"learning_rate_init": 0.1, "dropout": 0.1} | stopping | settings)

    rows = {"X_val": X[50:], "y_val": VALUES[50:]}
    each = alone(make, X[:50], VALUES[:50], **rows)
    scores = [max(one.validation_scores_) if early_stopping else one.validation_scores_[-1] for one in each]
    kept = make(n_restarts=N_RESTARTS).fit(X[:50], VALUES[:50], **rows)
    assert bits(kept) == bits(each[int(np.argmax(scores))])
    if scoring is None:
        assert kept.score(X[50:], VALUES[50:]) == pytest.approx(max(scores))


def test_all_are_validated_on_the_same_rows() -> None:
    kept = MLPClassifier(**BASE, early_stopping=True, n_restarts=N_RESTARTS).fit(X, Y)
    first = MLPClassifier(**BASE, early_stopping=True).fit(X, Y)
    assert kept.best_validation_score_ >= first.best_validation_score_
    assert kept.t_ % 72 == 0


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"dropout": 0.3}], ids=["plain", "stop", "dropout"])
def test_side_by_side_is_one_after_another(solver: str, settings: dict[str, Any], monkeypatch: Any) -> None:
    if solver == "lbfgs" and "dropout" in settings:
        settings = {"alpha": 1.0}
    answers = []
    for n_cpus, n_threads in ((1, None), (2, None), (3, None), (8, None), (1, 1), (1, 2), (1, 3)):
        monkeypatch.setattr(restarts, "usable_cpus", lambda n=n_cpus: (n, "this test"))
        estimator = MLPClassifier(**BASE | settings, solver=solver, n_restarts=N_RESTARTS, n_threads=n_threads)
        answers.append(bits(estimator.fit(X, Y)))
    assert answers[1:] == answers[:1] * (len(answers) - 1)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("n_cpus", [2, 3])
def test_small_networks_run_at_the_same_time(n_cpus: int, solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "usable_cpus", lambda: (n_cpus, "this test"))
    meeting, threads = threading.Barrier(n_cpus), set()

    def meet(estimator: Any, X: Any, y: Any) -> float:
        threads.add(threading.current_thread())
        meeting.wait(timeout=60)  # broken, and an error, unless so many come at once
        return 0.0

    settings = BASE | {"max_iter": 2, "solver": solver}
    MLPClassifier(**settings, scoring=meet, n_restarts=n_cpus - 1).fit(X, Y, X_val=X, y_val=Y)
    assert len(threads) == n_cpus
    assert not any(thread.is_alive() for thread in threads - {threading.main_thread()})


@pytest.mark.parametrize("n_cpus", [1, 2, 3])
def test_no_more_run_at_the_same_time_than_there_are_cpus(n_cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "usable_cpus", lambda: (n_cpus, "this test"))
    threads = set()

    def slowly(estimator: Any, X: Any, y: Any) -> float:
        threads.add(threading.current_thread())
        time.sleep(0.01)
        return 0.0

    MLPClassifier(**BASE | {"max_iter": 2}, scoring=slowly, n_restarts=7).fit(X, Y, X_val=X, y_val=Y)
    assert len(threads) == n_cpus


def test_large_networks_run_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "usable_cpus", lambda: (3, "this test"))
    threads = set()

    def note(estimator: Any, X: Any, y: Any) -> float:
        threads.add(threading.current_thread())
        return 0.0

    settings = BASE | {"max_iter": 2, "n_threads": 2}  # a team for each
    MLPClassifier(**settings, scoring=note, n_restarts=2).fit(X, Y, X_val=X, y_val=Y)
    assert threads == {threading.main_thread()}


@pytest.mark.parametrize(("solver", "of_rivals"), [("lbfgs", 1), ("adam", 2)])
def test_threads_of_rivals(solver: str, of_rivals: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of those that run side by side has one, as those of L-BFGS do, which has no team."""
    asked, run = [], Fit.run

    def note(self: Fit, n_epochs: int, listeners: Any) -> None:
        asked.append(self.settings.n_threads)
        run(self, n_epochs, listeners)

    monkeypatch.setattr(Fit, "run", note)
    MLPClassifier(**BASE | {"max_iter": 2, "solver": solver}, n_threads=2, n_restarts=2).fit(X, Y)
    assert sorted(asked) == [of_rivals, of_rivals, 2]


@pytest.mark.parametrize(("scores", "kept"), [([0.5, 0.5, 0.5], 0), ([0.4, 0.5, 0.5], 1), ([0.4, 0.4, 0.5], 2)])
def test_of_equal_ones_the_first_is_kept(scores: list[float], kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "usable_cpus", lambda: (1, "this test"))
    seen: list[Any] = []

    def score(estimator: Any, X: Any, y: Any) -> float:
        fit = estimator._fitted.fit
        if not any(fit is each for each in seen):
            seen.append(fit)
        return scores[len(seen) - 1]

    each = alone(lambda **settings: MLPClassifier(**BASE | settings), X, Y)
    fitted = MLPClassifier(**BASE, n_restarts=2, scoring=score).fit(X, Y, X_val=X, y_val=Y)
    assert np.array_equal(fitted.coefs_[0], each[kept].coefs_[0])


@pytest.mark.parametrize("kind", ["weights", "CSR", "bytes"])
def test_any_data(kind: str) -> None:
    def make(**settings: Any) -> Any:
        return MLPClassifier(**BASE | settings)

    rows = {"CSR": scipy.sparse.csr_array(X * (X > 0)), "bytes": (np.abs(X) * 9).astype(np.uint8)}.get(kind, X)
    data = (rows, Y, np.linspace(0, 2, 80)) if kind == "weights" else (rows, Y)
    best = min(alone(make, *data), key=lambda one: one.loss_)
    assert bits(make(n_restarts=N_RESTARTS).fit(*data)) == bits(best)


def test_a_warm_start_competes_with_new_ones() -> None:
    trained = MLPClassifier(**BASE | {"max_iter": 60}, warm_start=True).fit(X, Y).set_params(max_iter=3)
    loss = trained.loss_
    trained.set_params(n_restarts=N_RESTARTS).fit(X, Y)
    assert trained.loss_ < loss, "no other gets as far in three epochs"
    assert len(trained.loss_curve_) == 63


def test_the_generator_of_the_user_is_not_disturbed() -> None:
    with_rivals, without = np.random.RandomState(1), np.random.RandomState(1)
    MLPClassifier(**BASE | {"random_state": with_rivals}, n_restarts=3).fit(X, Y)
    MLPClassifier(**BASE | {"random_state": without}).fit(X, Y)
    assert with_rivals.randint(2**31) == without.randint(2**31)


def test_partial_fit_has_no_rivals() -> None:
    stream = MLPClassifier(**BASE, n_restarts=3).partial_fit(X, Y, classes=[0, 1, 2])
    assert bits(stream) == bits(MLPClassifier(**BASE).partial_fit(X, Y, classes=[0, 1, 2]))


def test_functions_hear_the_first() -> None:
    heard: list[float] = []
    MLPClassifier(**BASE, n_restarts=N_RESTARTS).fit(X, Y, callbacks=[lambda losses: heard.append(losses[-1])])
    assert heard == MLPClassifier(**BASE).fit(X, Y).loss_curve_


@pytest.mark.parametrize("n_threads", [None, 2])
def test_a_training_that_diverges_is_out(n_threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = BASE | {"n_restarts": 1, "n_threads": n_threads}
    seed = np.random.RandomState(BASE["random_state"]).randint(2**32, size=1, dtype=np.uint32)[0]
    rival = MLPClassifier(**BASE | {"random_state": int(seed)}).fit(X, Y)
    doomed, run = [], Fit.run

    def diverge(self: Fit, n_epochs: int, listeners: Any) -> None:
        run(self, n_epochs, listeners)
        if self in doomed or doomed == ["all"]:
            raise NonFiniteError("it has diverged")

    def doom(estimator: Any) -> None:
        doomed.append(estimator._fitted.fit)

    monkeypatch.setattr(Fit, "run", diverge)
    assert bits(MLPClassifier(**settings).fit(X, Y, callbacks=[doom])) == bits(rival)
    doomed[:], failed = ["all"], MLPClassifier(**settings)
    with pytest.raises(ValueError, match="it has diverged"):
        failed.fit(X, Y)
    assert not hasattr(failed, "coefs_")


def test_the_best_parameters_of_a_training_that_diverges_stay_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Early stopping has kept them, as of a training alone."""

    def make(**settings: Any) -> Any:
        return MLPRegressor(**BASE | {"early_stopping": True, "max_iter": 3} | settings)

    rows, run = {"X_val": X[50:], "y_val": VALUES[50:]}, Fit.run

    def diverge(self: Fit, n_epochs: int, listeners: Any) -> None:
        run(self, n_epochs, listeners)
        raise NonFiniteError("it has diverged")

    monkeypatch.setattr(Fit, "run", diverge)
    each = alone(make, X[:50], VALUES[:50], **rows)
    best = max(each, key=lambda one: one.best_validation_score_)
    kept = make(n_restarts=N_RESTARTS).fit(X[:50], VALUES[:50], **rows)
    assert best is not each[0]
    assert [W.tobytes() for W in kept.coefs_] == [W.tobytes() for W in best.coefs_]
    assert kept.best_validation_score_ == best.best_validation_score_ == pytest.approx(kept.score(X[50:], VALUES[50:]))


def test_no_more_than_the_best_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred large networks there would be no room for all."""
    alive, most, run = weakref.WeakSet(), [], Fit.run

    def count(self: Fit, n_epochs: int, listeners: Any) -> None:
        alive.add(self)
        run(self, n_epochs, listeners)
        gc.collect()
        most.append(len(alive))

    monkeypatch.setattr(Fit, "run", count)
    MLPClassifier(**BASE, n_restarts=8, n_threads=1).fit(X, Y)
    assert len(most) == 9
    assert max(most) <= 3, "the first, the best and the last"


@pytest.mark.parametrize("n_threads", [None, 2])
def test_an_error_of_a_rival_is_raised(n_threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "usable_cpus", lambda: (2, "this test"))
    calls: list[int] = []

    def fail_later(estimator: Any, X: Any, y: Any) -> float:
        calls.append(1)
        if len(calls) > 6:
            raise RuntimeError("of the scorer")
        return 0.0

    settings = BASE | {"n_restarts": 1, "max_iter": 4, "scoring": fail_later, "n_threads": n_threads}
    failed = MLPClassifier(**settings)
    with pytest.raises(RuntimeError, match="of the scorer"):
        failed.fit(X, Y, X_val=X, y_val=Y)
    assert not hasattr(failed, "coefs_")


@pytest.mark.parametrize("n_cpus", [1, 3])
def test_ctrl_c_ends_all_and_keeps_the_first(n_cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others would run for hours."""
    monkeypatch.setattr(restarts, "usable_cpus", lambda: (n_cpus, "this test"))

    def interrupt(epoch: int) -> None:
        if epoch == 3:
            raise KeyboardInterrupt

    before = threading.active_count()
    endless = MLPClassifier(**BASE | {"max_iter": 10**8, "n_iter_no_change": np.inf, "n_restarts": 5})
    with pytest.warns(UserWarning, match="interrupted by user"):
        endless.fit(X, Y, callbacks=[interrupt])
    assert threading.active_count() == before
    assert [W.tobytes() for W in endless.coefs_] == [
        W.tobytes() for W in MLPClassifier(**BASE | {"max_iter": 3}).fit(X, Y).coefs_
    ]


@pytest.mark.parametrize("n_cpus", [1, 3])
def test_time_is_that_of_all(n_cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "usable_cpus", lambda: (n_cpus, "this test"))
    endless = BASE | {"max_iter": 10**8, "n_iter_no_change": np.inf, "n_restarts": 20, "max_time": 0.3}
    start = time.perf_counter()
    fitted = MLPClassifier(**endless).fit(X, Y)
    assert 0.3 <= time.perf_counter() - start < 5, "not 21 times as long"
    assert fitted.n_iter_ >= 1


def test_warnings_come_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MLPClassifier(**BASE, batch_size=1000, n_restarts=N_RESTARTS).fit(X, Y)
    assert sorted(warning.category.__name__ for warning in caught) == [ConvergenceWarning.__name__, "UserWarning"]
    assert {warning.filename for warning in caught} == {__file__}


def test_the_best_goes_on_as_it_would_alone() -> None:
    def make(**settings: Any) -> Any:
        return MLPClassifier(**BASE | {"dropout": 0.2, "learning_rate": "cosine"} | settings)

    best = min(alone(make, X, Y), key=lambda one: one.loss_)
    kept = make(n_restarts=N_RESTARTS).fit(X, Y)
    for each in (best, kept):
        each.set_params(random_state=0).partial_fit(X, Y)
    assert bits(kept) == bits(best)
