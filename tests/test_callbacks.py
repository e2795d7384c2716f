"""Who listens to training hears each epoch, may stop it, and leaves nothing behind."""

import importlib.util
import pickle
import sys
import time
import warnings
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from fastmlp import MLPClassifier, MLPRegressor, Trainer, _core, call, fitting
from fastmlp import callbacks as fastmlp_callbacks

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
SOLVERS = ["lbfgs", "sgd", "adam"]


def small(**settings: Any) -> MLPClassifier:
    return MLPClassifier(**{"hidden_layer_sizes": (8,), "max_iter": 6, "random_state": 0, **settings})


class Recorder:
    """Writes down what it hears, and asks for the end after some epochs."""

    def __init__(self, last: int = 1000) -> None:
        self.heard: list[str] = []
        self.accuracies: list[float] = []
        self.metadata: list[Any] = []
        self.most = 0
        self.last = last

    def setup(self, estimator: Any, context: Any) -> None:
        self.heard.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.heard.append(f"begin {context.task_name}")
        self.most = context.max_subtasks if context.task_name == "fit" else self.most

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any, y: Any, metadata: Any, fitted_estimator: Any
    ) -> bool:
        self.heard.append(f"end {context.task_name}")
        self.metadata.append(metadata)
        if context.task_name == "epoch" and fitted_estimator is not None:
            self.accuracies.append(fitted_estimator.score(X, y))
        return len(self.accuracies) >= self.last


@pytest.fixture
def callbacks() -> Any:
    """scikit-learn's callbacks."""
    return pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")


@pytest.mark.parametrize("solver", SOLVERS)
def test_callbacks_hear_every_epoch(callbacks: Any, solver: str) -> None:
    recorder = Recorder()
    heard = small(solver=solver).set_callbacks(recorder).fit(X, Y, sample_weight=np.ones(len(X)))
    alone = small(solver=solver).fit(X, Y, sample_weight=np.ones(len(X)))
    assert np.array_equal(heard.coefs_[0], alone.coefs_[0])
    assert len(recorder.accuracies) == heard.n_iter_ == 6
    assert recorder.accuracies[-1] == heard.score(X, Y)
    assert recorder.heard[:3] == ["setup", "begin fit", "begin epoch"]
    assert recorder.heard[-2:] == ["end fit", "teardown"]
    assert recorder.heard.count("begin epoch") == recorder.heard.count("end epoch") <= recorder.most == 7
    assert np.array_equal(recorder.metadata[0]["sample_weight"], np.ones(len(X)))
    without_weights = Recorder()
    small(solver=solver).set_callbacks(without_weights).fit(X, Y)
    assert without_weights.metadata[0] is None


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_callback_stops_training(callbacks: Any, solver: str) -> None:
    stopped = small(solver=solver).set_callbacks(Recorder(last=2)).fit(X, Y)
    assert stopped.n_iter_ == 2
    assert np.array_equal(stopped.coefs_[0], small(solver=solver, max_iter=2).fit(X, Y).coefs_[0])


def test_a_fit_that_fails_is_torn_down(callbacks: Any) -> None:
    recorder = Recorder()
    with pytest.raises(ValueError, match="inconsistent"):
        small().set_callbacks(recorder).fit(X, Y[1:])
    assert recorder.heard == ["setup", "begin fit", "teardown"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_scoring_monitor(callbacks: Any, solver: str) -> None:
    monitor = callbacks.ScoringMonitor(scoring="accuracy")
    classifier = small(solver=solver, early_stopping=True).set_callbacks(monitor).fit(X, Y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == classifier.n_iter_
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert not vars(classifier).keys() & {"_validation", "_listeners", "_best_params"}
    assert np.array_equal(pickle.loads(pickle.dumps(classifier)).predict(X), classifier.predict(X))


def test_scikit_learns_progress_bar_through_a_search(callbacks: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    search = GridSearchCV(small(), {"alpha": [0.1, 1.0]}, cv=2).set_callbacks(callbacks.ProgressBar())
    assert search.fit(X, Y).best_score_ > 0
    assert "MLPClassifier" in capsys.readouterr().out


@pytest.mark.parametrize("solver", SOLVERS)
def test_verbose_progress_is_a_bar(solver: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    small(solver=solver, verbose="progress").fit(X, Y)
    out, bar = capsys.readouterr()
    assert out == ""
    assert "MLPClassifier: 100%" in bar
    assert "6/6" in bar
    assert "loss=" in bar


def test_verbose_progress_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r'^verbose="progress" needs tqdm: pip install "fastmlp\[progress\]"$'):
        small(verbose="progress").fit(X, Y)


ALL = ("estimator", "epoch", "losses", "scores", "learning_rate", "gradient_norm", "samples_per_second")
ALL_SOLVERS = [*SOLVERS, "rmsprop", "adagrad"]


class Listening:
    """A function that wants everything, and writes it down."""

    def __init__(self, answer: Any = None, last: int = 1000) -> None:
        self.heard: list[dict[str, Any]] = []
        self.answer, self.last = answer, last

    def __call__(self, **arguments: Any) -> Any:
        self.heard.append(arguments | {"losses": list(arguments["losses"])})
        return self.answer if len(self.heard) >= self.last else None


@pytest.mark.parametrize("solver", ALL_SOLVERS)
@pytest.mark.parametrize("estimator", [Trainer, MLPClassifier, MLPRegressor])
def test_functions_hear_every_epoch(estimator: type, solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count(step=0.5)
    monkeypatch.setattr(fastmlp_callbacks, "perf_counter", lambda: next(ticks))
    settings = {"hidden_layer_sizes": (8,), "max_iter": 6, "random_state": 0, "solver": solver}
    listening, alone = Listening(), estimator(**settings).fit(X, Y, X_val=X, y_val=Y)
    heard = estimator(**settings).fit(X, Y, X_val=X, y_val=Y, callbacks=[listening])
    assert np.array_equal(heard.coefs_[0], alone.coefs_[0])
    assert [tuple(arguments) for arguments in listening.heard] == [ALL] * 6
    assert [arguments["epoch"] for arguments in listening.heard] == list(range(1, 7))
    assert [arguments["losses"] for arguments in listening.heard] == [alone.loss_curve_[:n] for n in range(1, 7)]
    for arguments in listening.heard:
        assert arguments["estimator"] is heard
        assert arguments["gradient_norm"] is None
        assert arguments["samples_per_second"] == 300, "150 rows in half a second"
        assert np.isnan(arguments["learning_rate"]) if solver == "lbfgs" else arguments["learning_rate"] == 0.001
    assert listening.heard[-1]["scores"] == alone.validation_scores_


def test_functions_without_validation_have_no_scores() -> None:
    listening = Listening()
    small().fit(X, Y, callbacks=[listening])
    assert {arguments["scores"] for arguments in listening.heard} == {None}


@pytest.mark.parametrize("solver", [solver for solver in ALL_SOLVERS if solver != "lbfgs"])
def test_functions_hear_the_norm_that_is_clipped(solver: str) -> None:
    listening = Listening()
    small(solver=solver, clip_norm=1e-3).fit(X, Y, callbacks=[listening])
    assert all(1e-3 < arguments["gradient_norm"] < 100 for arguments in listening.heard)


def test_functions_get_what_they_name() -> None:
    heard: list[Any] = []

    def named(scores: Any, epoch: int, more: str = "by default") -> None:
        heard.append((epoch, scores, more))

    class Method:
        def hear(self, losses: Any) -> None:
            heard.append(len(losses))

    small(max_iter=2).fit(X, Y, callbacks=(named, Method().hear, partial(named, more="by hand"), lambda: None))
    assert heard == [(1, None, "by default"), 1, (1, None, "by hand"), (2, None, "by default"), 2, (2, None, "by hand")]


def test_scores_of_the_last_fit_are_not_printed_again(capsys: pytest.CaptureFixture[str]) -> None:
    model = small(warm_start=True).fit(X, Y, X_val=X, y_val=Y)
    model.set_params(verbose=True).fit(X, Y)
    assert capsys.readouterr().out.count("Validation score") == 0


def test_functions_see_the_network_in_training() -> None:
    seen: list[Any] = []

    def look(estimator: Any, epoch: int) -> None:
        seen.append((estimator.predict(X), estimator.n_iter_, estimator.coefs_[0].copy(), estimator.score(X, Y)))

    small(max_iter=4).fit(X, Y, callbacks=[look])
    for n, (predicted, n_iter, coefs, score) in enumerate(seen, 1):
        until = small(max_iter=n).fit(X, Y)
        assert n_iter == n
        assert np.array_equal(coefs, until.coefs_[0])
        assert np.array_equal(predicted, until.predict(X))
        assert score == until.score(X, Y)


@pytest.mark.parametrize("solver", ALL_SOLVERS)
@pytest.mark.parametrize("answer", [True, np.True_])
def test_a_function_stops_training(answer: Any, solver: str) -> None:
    first, second = Listening(answer, last=2), Listening()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        stopped = small(solver=solver).fit(X, Y, callbacks=[first, second])
    assert stopped.n_iter_ == len(second.heard) == 2, "all hear of the last epoch"
    assert np.array_equal(stopped.coefs_[0], small(solver=solver, max_iter=2).fit(X, Y).coefs_[0])


@pytest.mark.parametrize("answer", [None, False, np.False_, 1, 0.5, "stop", [True]])
def test_other_answers_do_not(answer: Any) -> None:
    """A function that returns what it happens to have last computed means nothing by it."""
    assert small().fit(X, Y, callbacks=[Listening(answer, last=1)]).n_iter_ == 6


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"batch_size": 20}, {"n_restarts": 1}])
@pytest.mark.parametrize("solver", ALL_SOLVERS)
def test_an_error_of_a_function_leaves_what_was_before(solver: str, settings: dict[str, Any]) -> None:
    def fail(epoch: int) -> None:
        if epoch == 3:
            raise ZeroDivisionError

    fresh = small(solver=solver, **settings)
    with pytest.raises(ZeroDivisionError):
        fresh.fit(X, Y, callbacks=[fail])
    assert not hasattr(fresh, "coefs_")
    for warm_start in (False, True):
        fitted = small(solver=solver, warm_start=warm_start, **settings).fit(X, Y)
        twin = pickle.loads(pickle.dumps(fitted))
        with pytest.raises(ZeroDivisionError):
            fitted.fit(X, Y, callbacks=[fail])
        assert np.array_equal(fitted.coefs_[0], twin.coefs_[0])
        assert fitted.loss_curve_ == twin.loss_curve_
        assert fitted.validation_scores_ == twin.validation_scores_
        # It goes on, too, as if nothing had happened.
        assert np.array_equal(fitted.fit(X, Y).coefs_[0], twin.fit(X, Y).coefs_[0])


def test_what_is_no_function() -> None:
    for callback, message in (
        (3, r"callbacks must be functions, got 3\. scikit-learn's are set by set_callbacks"),
        (Recorder(), r"callbacks must be functions, got <.*Recorder"),
        (lambda model: None, "called with the keyword arguments estimator, .*asks for 'model'"),
        (lambda *, epoch, batch: None, "asks for 'batch'"),
    ):
        fresh = small()
        with pytest.raises(TypeError, match=message):
            fresh.fit(X, Y, callbacks=[callback])
        assert not hasattr(fresh, "coefs_")


def test_a_function_outside_a_list() -> None:
    with pytest.raises(TypeError, match=r"^callbacks must be a list: write callbacks=\[print\]$"):
        small().fit(X, Y, callbacks=print)


def test_functions_and_callbacks_of_scikit_learn_together(callbacks: Any) -> None:
    recorder, listening = Recorder(), Listening(True, last=4)
    stopped = small().set_callbacks(recorder).fit(X, Y, callbacks=[listening])
    assert stopped.n_iter_ == len(listening.heard) == recorder.heard.count("end epoch") == 4


def test_functions_without_callbacks_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with versions before 1.9: the module, read anew where it cannot be imported."""
    spec = importlib.util.spec_from_file_location("callbacks_without", fastmlp_callbacks.__file__)
    without = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as absent:
        absent.setitem(sys.modules, "sklearn.callback", None)
        spec.loader.exec_module(without)
    assert without.CallbackSupportMixin.__module__ == "callbacks_without"
    for name in ("Functions", "Narration", "callback_management_context", "listeners_of"):
        monkeypatch.setattr(call, name, getattr(without, name))
    listening = Listening(True, last=3)
    assert small().fit(X, Y, callbacks=[listening]).n_iter_ == len(listening.heard) == 3


@pytest.mark.parametrize("last", [1, 3, 6])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_ctrl_c_keeps_the_best(last: int, early_stopping: bool) -> None:
    def interrupt(epoch: int) -> None:
        if epoch == last:
            raise KeyboardInterrupt

    settings = {"learning_rate_init": 0.3, "max_iter": 10, "early_stopping": early_stopping}
    interrupted = small(**settings)
    with pytest.warns(UserWarning, match="interrupted by user"):
        interrupted.fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2], callbacks=[interrupt])
    assert interrupted.n_iter_ == len(interrupted.validation_scores_) == last
    epoch = int(np.argmax(interrupted.validation_scores_)) + 1 if early_stopping else last
    until = small(**settings | {"early_stopping": False, "max_iter": epoch}).fit(X[::2], Y[::2])
    assert np.array_equal(interrupted.coefs_[0], until.coefs_[0])
    interrupted.set_params(early_stopping=False).partial_fit(X, Y)


@pytest.mark.parametrize("solver", ALL_SOLVERS)
def test_a_target_loss_ends_training(solver: str) -> None:
    settings = {"solver": solver, "max_iter": 12, "learning_rate_init": 0.05, "batch_size": 30}
    curve = small(**settings).fit(X, Y).loss_curve_
    target = sorted(curve)[len(curve) // 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        reached = small(**settings, target_loss=target).fit(X, Y)
    first = next(n for n, loss in enumerate(curve, 1) if loss <= target)
    assert first < len(curve)
    assert reached.loss_curve_ == curve[:first]


def test_a_target_loss_with_early_stopping_keeps_the_best() -> None:
    settings = {"learning_rate_init": 0.3, "max_iter": 10, "early_stopping": True, "n_iter_no_change": 10}
    rows = {"X_val": X[1::2], "y_val": Y[1::2]}
    target = small(**settings).fit(X[::2], Y[::2], **rows).loss_curve_[5]
    reached = small(**settings, target_loss=target).fit(X[::2], Y[::2], **rows)
    assert reached.loss_ <= target
    assert reached.score(X[1::2], Y[1::2]) == pytest.approx(reached.best_validation_score_)


@pytest.mark.parametrize("solver", ALL_SOLVERS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_time_ends_training(solver: str, early_stopping: bool) -> None:
    settings = {"solver": solver, "max_iter": 10**6, "n_iter_no_change": np.inf, "tol": 0.0, "max_fun": 10**8}
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        ended = small(**settings, early_stopping=early_stopping, max_time=0.05).fit(X, Y)
    assert time.perf_counter() - start < 5, "a million epochs would take minutes"
    assert 1 <= ended.n_iter_ == len(ended.loss_curve_) < 10**6
    if early_stopping and solver != "lbfgs":
        assert ended.best_validation_score_ == max(ended.validation_scores_)


class Hasty(_core.Training):
    """Returns to Python as often as it can: within an epoch of few rows, too."""

    def run(self, order: Any = None, seconds: float = 0.1, rates: Any = None) -> Any:
        return super().run(order, 0.0, rates)


def test_time_ends_an_epoch_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "Training", Hasty)
    cut = small(batch_size=20, n_threads=1, max_time=1e-9, shuffle=False).fit(X, Y, X_val=X, y_val=Y)
    assert (cut.n_iter_, cut.t_, len(cut.validation_scores_)) == (1, 20, 1), "after one step"
    one_step = small(batch_size=20, max_iter=1, shuffle=False).partial_fit(X[:20], Y[:20], classes=[0, 1, 2])
    assert np.array_equal(cut.coefs_[0], one_step.coefs_[0])
    assert cut.loss_ == one_step.loss_


def test_rows_of_a_batch_that_time_cuts_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two chunks of the second batch, of which the engine has seen the first."""

    class Cut(_core.Training):
        def run(self, order: Any = None, seconds: float = 0.1, rates: Any = None) -> Any:
            while (status := super().run(order, 0.0, rates)) == "yield" and self.position <= 300:
                pass
            return status

    monkeypatch.setattr(fitting, "Training", Cut)
    settings = {"batch_size": 300, "n_threads": 1, "shuffle": False}
    many, labels = np.tile(X, (4, 1)), np.tile(Y, 4)
    cut = small(**settings, max_time=1e-9).fit(many, labels)
    one_step = small(**settings).partial_fit(many[:300], labels[:300], classes=[0, 1, 2])
    assert np.array_equal(cut.coefs_[0], one_step.coefs_[0])
    assert (cut.t_, cut.loss_) == (300, one_step.loss_)


@pytest.mark.parametrize("batch_size", ["auto", 20])
def test_an_error_of_a_scorer_leaves_what_was_before(batch_size: Any) -> None:
    """Of partial_fit, too, which has made its one step when it validates."""
    fails: list[bool] = []

    def score(estimator: Any, X: Any, y: Any) -> float:
        if fails:
            raise ZeroDivisionError
        return 0.5

    stream = small(scoring=score, batch_size=batch_size)
    stream.partial_fit(X, Y, classes=[0, 1, 2], X_val=X, y_val=Y)
    twin = pickle.loads(pickle.dumps(stream.set_params(scoring=None)))
    stream.set_params(scoring=score)
    fails.append(True)
    with pytest.raises(ZeroDivisionError):
        stream.partial_fit(X, Y, X_val=X, y_val=Y)
    assert np.array_equal(stream.coefs_[0], twin.coefs_[0])
    assert (stream.t_, stream.loss_) == (twin.t_, twin.loss_)
    fails.clear()
    stream.partial_fit(X, Y, X_val=X, y_val=Y), twin.partial_fit(X, Y, X_val=X, y_val=Y)
    assert np.array_equal(stream.coefs_[0], twin.coefs_[0])
