"""What `fastmlp train` tells, and when it ends."""

import os
import signal
import sys
import threading
import warnings
from math import inf, nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from command_line import Captured, predictions, run, table, told

import fastmlp
from fastmlp import _core
from fastmlp.cli import outcome, training
from fastmlp.cli.report import Report
from fastmlp.cli.scores import in_words, scores_of
from fastmlp.cli.tables import _listed
from fastmlp.tabular_training import PRESETS, LastBest, Preset

pandas = pytest.importorskip("pandas")

pytestmark = pytest.mark.usefixtures("short_training")


def test_json_tells_everything(tmp_path: Path, capsys: Captured) -> None:
    data, model, picture = tmp_path / "t.csv", tmp_path / "model", tmp_path / "loss.png"
    frame = table()
    frame.loc[:9, "sold"] = None
    frame.to_csv(data, index=False)
    pytest.importorskip("matplotlib")
    options = ["--drop", "price", "--seed", 3, "--max-time", 60, "--threads", 1, "--save", model, "--plot", picture]
    found = told(capsys, data, "--target", "sold", *options)
    assert (found["data"], found["target"], found["task"]) == (str(data), "sold", "classification")
    assert (found["n_train_rows"], found["n_test_rows"], found["n_rows_without_target"]) == (88, 22, 10)
    assert found["classes"] == ["no", "yes"]
    assert found["columns"] == [
        {"name": "size", "kind": "numbers"},
        {"name": "kind", "kind": "categories", "n_categories": 3},
        {"name": "new", "kind": "categories", "n_categories": 2},
    ]
    settings = {"preset": "default", "random_state": 3, "max_time": 60, "n_threads": 1}
    assert found["settings"].items() >= settings.items()
    loaded = fastmlp.load(model)
    assert loaded.get_params().items() >= settings.items()
    assert (found["n_epochs"], found["best_epoch"]) == (loaded.n_iter_, loaded.best_epoch_)
    assert 0 < found["seconds"] < 60
    assert set(found["scores"]) == {"accuracy", "balanced_accuracy", "log_loss"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (found["saved"], found["plotted"]) == (str(model), str(picture))


def test_quiet_is_one_line(iris: Path, tmp_path: Path, capsys: Captured) -> None:
    assert run("train", iris, "--target", "species", "--quiet", "--save", tmp_path / "model") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("test accuracy ")
    assert captured.out.count("\n") == 1


def test_without_test_rows_there_is_no_score(iris: Path, capsys: Captured) -> None:
    found = told(capsys, iris, "--target", "species", "--test-fraction", 0)
    assert (found["n_test_rows"], found["scores"]) == (0, {})
    assert run("train", iris, "--target", "species", "--test-fraction", 0, "--quiet") == 0
    assert capsys.readouterr().out.startswith("1 network in ")


def test_a_test_row_of_a_class_that_is_not_trained_on(tmp_path: Path, capsys: Captured) -> None:
    """No prediction can be right for it; its probability is 0, of which the logarithm is cut."""
    X = np.linspace(-1, 1, 40)[:, None]
    np.savez(tmp_path / "d.npz", X=X, y=(X[:, 0] > 0).astype(int), X_test=X[-4:], y_test=[1, 1, 1, 9])
    scores = told(capsys, tmp_path / "d.npz")["scores"]
    assert scores["accuracy"] == 0.75
    assert scores["balanced_accuracy"] == 0.5
    assert -np.log(np.finfo(float).eps) / 4 <= scores["log_loss"] < 10
    np.savez(tmp_path / "d.npz", X=X, y=X[:, 0], X_test=X[:2], y_test=[0.5, 0.5])
    scores = told(capsys, tmp_path / "d.npz")["scores"]
    assert set(scores) == {"RMSE", "MAE"}, "R2 is not defined where all targets are equal"


def test_a_time_limit(iris: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "accurate", Preset(1, 16, 10**9, 10**6))
    found = told(capsys, iris, "--target", "species", "--preset", "accurate", "--max-time", 0.3)
    assert found["settings"]["preset"] == "accurate"
    assert 1 <= found["n_epochs"] < 10**6
    assert run("train", iris, "--target", "species", "--preset", "accurate", "--max-time", 0.3) == 0
    assert capsys.readouterr().err.startswith("fastmlp: warning: max_time has ended the training after ")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_an_interrupted_training_is_saved(
    iris: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "default", Preset(3, 16, 10**9, 10**6))
    begun, interrupted, epoch_ended = set[int](), threading.Lock(), LastBest.epoch_ended

    def interrupting(listener: LastBest, fit: Any) -> bool:
        ended = epoch_ended(listener, fit)  # first: what it has not seen yet would not be kept
        begun.add(id(fit))
        if len(begun) == 2 and interrupted.acquire(blocking=False):
            os.kill(os.getpid(), signal.SIGINT)
        return ended

    monkeypatch.setattr(LastBest, "epoch_ended", interrupting)
    assert run("train", iris, "--target", "species", "--threads", 2, "--save", tmp_path / "model") == 1
    captured = capsys.readouterr()
    assert captured.err == "fastmlp: warning: Training interrupted by user.\n"
    assert "test accuracy" in captured.out
    loaded = fastmlp.load(tmp_path / "model")
    assert 1 <= loaded.n_iter_ < 10**6
    assert loaded.n_members_ == 2  # of the third training there has been no step


def test_the_same_seed_gives_the_same_file(iris: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert run("train", iris, "--target", "species", "--seed", seed, "--save", tmp_path / name) == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_any_number_of_threads_gives_the_same_predictions(iris: Path, tmp_path: Path, capsys: Captured) -> None:
    found = []
    for threads in (1, 2):
        assert run("train", iris, "--target", "species", "--threads", threads, "--save", tmp_path / "model") == 0
        found.append(predictions(capsys, tmp_path / "model", iris, "--proba"))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("speaks", "is_terminal", "is_installed", "verbose"),
    [
        (True, True, True, "progress"),
        (False, True, True, False),
        (True, False, True, False),
        (True, True, False, False),
    ],
)
def test_progress_bars_are_for_whoever_watches(
    speaks: bool, is_terminal: bool, is_installed: bool, verbose: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(__spec__="found") if is_installed else None)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: is_terminal))
    arguments: Any = SimpleNamespace(preset="default", max_time=None, seed=0, threads=None)
    assert training._estimator(arguments, "regression", speaks).verbose == verbose


def test_warnings_are_told_whatever_the_filters_are(capsys: Captured) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with outcome.told_warnings(quiet=False) as interrupted:
            warnings.warn("two\n  lines", stacklevel=1)
    assert (interrupted, capsys.readouterr().err) == ([], "fastmlp: warning: two lines\n")


# -- words and numbers --


def test_scores_in_words() -> None:
    of_classes = {"accuracy": 0.75, "balanced_accuracy": 0.5, "log_loss": 0.25}
    assert in_words(of_classes, "y") == "accuracy 75.00 %, balanced accuracy 50.00 %, log loss 0.2500"
    of_values = {"R2": 0.5, "RMSE": 2.0, "MAE": 1.25}
    assert in_words(of_values, "price") == "R2 0.5000, RMSE 2, MAE 1.25 (in units of price)"


def test_scores_of_small_values() -> None:
    model: Any = SimpleNamespace(predict=lambda X: np.array([0.0, 0.25, 0.5]))
    scores = scores_of(model, np.zeros((3, 1)), np.array([0.0, 0.5, 0.5]))
    assert scores == pytest.approx({"R2": 1 - 0.0625 / (1 / 6), "RMSE": 0.25 / 3**0.5, "MAE": 0.25 / 3})


@pytest.mark.parametrize(("n", "words"), [(1, "1 network in 3 s on "), (2, "2 networks in 3 s on ")])
def test_networks_in_words(n: int, words: str) -> None:
    data: Any = None  # without scores nothing is told of them
    assert training._in_words(SimpleNamespace(n_members_=n), {}, data, 3.0) == words + _core.isa()


@pytest.mark.parametrize(
    ("n", "words"), [(1, "1 epoch in 3 s on {isa}, 1 thread"), (2, "2 epochs in 3 s on {isa}, 2 threads")]
)
def test_a_demonstration_in_words(n: int, words: str) -> None:
    classifier: Any = SimpleNamespace(n_iter_=n, predict=lambda X: np.array([0, 1, 1, 1]))
    report = Report(classifier, np.zeros((4, 1)), np.array([0, 1, 1, 0]), speaks=False)
    report.seconds, report.n_threads = 3.0, n
    assert report.summary() == "test accuracy 75.00 % after " + words.format(isa=_core.isa())


def test_what_is_no_number_in_json() -> None:
    found = outcome._plain({"a": nan, "b": [inf, 1.5, "x"], "c": (-inf, 2)})
    assert found == {"a": None, "b": [None, 1.5, "x"], "c": [None, 2]}


def test_twelve_names_are_listed() -> None:
    names = [f"c{i}" for i in range(13)]
    assert _listed(names[:12]).endswith("c10, c11")
    assert _listed(names).endswith("c10, c11, …")
