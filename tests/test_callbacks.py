"""Who listens to training hears each epoch, may stop it, and leaves nothing behind."""

import pickle
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from fastmlp import MLPClassifier

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
        self.last = last

    def setup(self, estimator: Any, context: Any) -> None:
        self.heard.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.heard.append(f"begin {context.task_name}")

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any, y: Any, metadata: Any, fitted_estimator: Any
    ) -> bool:
        self.heard.append(f"end {context.task_name}")
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
    assert recorder.heard.count("begin epoch") == recorder.heard.count("end epoch")


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
    with pytest.raises(ImportError, match="pip install tqdm"):
        small(verbose="progress").fit(X, Y)
