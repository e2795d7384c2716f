"""Checkpoints: a training that was killed, interrupted or cut ends with the bits of one that never was."""

import multiprocessing
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, Trainer, _core, fitting
from fastmlp.model_file import ModelFileError

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore:Training interrupted:UserWarning",
    "ignore:.*multi-threaded.*fork:DeprecationWarning",
)

ESTIMATORS = (Trainer, MLPClassifier, MLPRegressor)
X = np.random.RandomState(0).normal(size=(90, 5))
Y = np.digitize(X @ [1.0, -1.0, 0.5, 0.0, 2.0], [-1, 1])
N_EPOCHS = 7
BASE: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": N_EPOCHS, "batch_size": 25, "random_state": 5}
STOPPING: dict[str, Any] = {"early_stopping": True, "n_iter_no_change": 2, "learning_rate_init": 0.1, "max_iter": 20}
SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.1},
    "rmsprop": {"solver": "rmsprop"},
    "adagrad": {"solver": "adagrad", "shuffle": False},
    "float32": {"dtype": np.float32},
    "bfloat16": {"dtype": "bfloat16"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 10.0},
    "one_cycle": {"learning_rate": "one_cycle", "warmup": 0.3},
    "function": {"learning_rate": lambda progress: 1 - progress},
    "dropout": {"dropout": [0.1, 0.5], "input_noise": 0.1, "clip_norm": 0.1, "weight_decay": 0.1, "l1_ratio": 0.5},
    "early stopping": STOPPING,
    "early stopping by loss": {**STOPPING, "scoring": "loss", "dropout": 0.3, "learning_rate": "coslog"},
    "plateau": {"n_iter_no_change": 2, "tol": 0.1, "max_iter": 20},
    "target": {"target_loss": 0.8, "max_iter": 20, "learning_rate_init": 0.02},
}
each_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


class Stopped(Exception):
    """What a function raises to stop a training as a crash would."""


def after(n_epochs: int, error: Any) -> Any:
    def stop(epoch: int) -> None:
        if epoch == n_epochs:
            raise error

    return stop


def recorder(heard: list[int]) -> Any:
    def record(epoch: int) -> None:
        heard.append(epoch)

    return record


def bits(estimator: Any) -> tuple[Any, ...]:
    """All that training leaves."""
    arrays = [array.tobytes() for array in (*estimator.coefs_, *estimator.intercepts_)]
    names = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "best_epoch_", "best_validation_score_")
    curves = ("validation_scores_", "validation_loss_curve_")
    fit = estimator._fitted.fit
    return *arrays, fit.slots.tobytes(), fit.step, *(getattr(estimator, name) for name in (*names, *curves))


def classifier(**settings: Any) -> MLPClassifier:
    return MLPClassifier(**BASE | settings)


@each_setting
def test_a_crash_after_any_epoch(settings: dict[str, Any], tmp_path: Path) -> None:
    straight = classifier(**settings).fit(X, Y)
    n_epochs = straight.n_iter_
    assert n_epochs > 3
    for crash in (1, n_epochs // 2, n_epochs):
        path = tmp_path / f"run {crash}"
        with pytest.raises(Stopped):
            classifier(**settings).fit(X, Y, checkpoint=path, callbacks=[after(crash, Stopped)])
        resumed, heard = classifier(**settings), []
        resumed.fit(X, Y, checkpoint=path, callbacks=[recorder(heard)])
        assert bits(resumed) == bits(straight), f"crash after epoch {crash}"
        assert heard == list(range(crash, n_epochs + 1)), "only the epoch that crashed is trained again"


@each_setting
def test_many_crashes(settings: dict[str, Any], tmp_path: Path) -> None:
    straight, path = classifier(**settings).fit(X, Y), tmp_path / "run"
    for crash in range(1, straight.n_iter_ + 1):
        with pytest.raises(Stopped):
            classifier(**settings).fit(X, Y, checkpoint=path, callbacks=[after(crash, Stopped)])
    assert bits(classifier(**settings).fit(X, Y, checkpoint=path)) == bits(straight)


@each_setting
def test_ctrl_c_after_any_epoch(settings: dict[str, Any], tmp_path: Path) -> None:
    straight, path = classifier(**settings).fit(X, Y), tmp_path / "run"
    for last in range(1, straight.n_iter_):
        interrupted = classifier(**settings)
        interrupted.fit(X, Y, checkpoint=path, callbacks=[after(last, KeyboardInterrupt)])
        assert len(interrupted.loss_curve_) == last
    assert bits(classifier(**settings).fit(X, Y, checkpoint=path)) == bits(straight)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_ctrl_c_while_it_validates(early_stopping: bool, tmp_path: Path) -> None:
    """Of the epoch a score is missing: it is no place to go on from."""
    calls = {"left": -1}

    def score(estimator: Any, X: Any, y: Any) -> float:
        calls["left"] -= 1
        if calls["left"] == 0:
            raise KeyboardInterrupt
        return float(estimator.score(X, y))

    settings = {"scoring": score, "early_stopping": early_stopping, "n_iter_no_change": 3}
    rows = {} if early_stopping else {"X_val": X[:20], "y_val": Y[:20]}
    straight = classifier(**settings).fit(X, Y, **rows)
    for calls["left"] in (1, 3):
        interrupted = classifier(**settings).fit(X, Y, checkpoint=tmp_path / "run", **rows)
        assert np.isnan(interrupted.validation_scores_[-1])
    assert bits(classifier(**settings).fit(X, Y, checkpoint=tmp_path / "run", **rows)) == bits(straight)


class Hasty(_core.Training):
    """Returns to Python as often as it can: within an epoch of few rows, too."""

    def run(self, order: Any = None, seconds: float = 0.1, rates: Any = None) -> Any:
        return super().run(order, 0.0, rates)


def test_a_training_that_time_has_cut_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it last had finished an epoch, though it ends within one."""
    settings, path = {"n_threads": 1, "dropout": 0.3, "early_stopping": True}, tmp_path / "run"
    straight = classifier(**settings).fit(X, Y)
    monkeypatch.setattr(fitting, "Training", Hasty)
    cut = classifier(**settings, max_time=1e-9).fit(X, Y, checkpoint=path)
    assert (cut.t_, cut.n_iter_, len(cut.validation_scores_)) == (25, 1, 1), "one batch"
    heard: list[int] = []
    assert bits(classifier(**settings).fit(X, Y, checkpoint=path, callbacks=[recorder(heard)])) == bits(straight)
    assert len(heard) == N_EPOCHS


def test_time_that_ends_between_epochs(tmp_path: Path) -> None:
    straight, path = classifier(max_iter=20).fit(X, Y), tmp_path / "run"

    def wait(epoch: int) -> None:
        time.sleep(0.02)

    first = classifier(max_iter=20, max_time=0.05).fit(X, Y, checkpoint=path, callbacks=[wait])
    assert first.n_iter_ <= 4
    assert bits(classifier(max_iter=20).fit(X, Y, checkpoint=path)) == bits(straight)


@each_setting
def test_what_has_ended_stays_as_it_was(settings: dict[str, Any], tmp_path: Path) -> None:
    done = classifier(**settings).fit(X, Y, checkpoint=tmp_path / "run")
    heard: list[int] = []
    again = classifier(**settings).fit(X, Y, checkpoint=tmp_path / "run", callbacks=[recorder(heard)])
    assert heard == []
    assert bits(again) == bits(done) == bits(classifier(**settings).fit(X, Y))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_training_that_diverges_does_so_again(early_stopping: bool, tmp_path: Path) -> None:
    """From the last epoch before; early stopping keeps the best of those."""
    settings = BASE | {"activation": "identity", "solver": "sgd", "learning_rate_init": 0.3, "max_iter": 200}
    settings |= {"early_stopping": early_stopping, "n_iter_no_change": 200, "alpha": 0.0}
    values = 5 * X.sum(axis=1)

    def fitted(**given: Any) -> Any:
        regressor = MLPRegressor(**settings)
        if early_stopping:
            with pytest.warns(ConvergenceWarning, match="best parameters so far"):
                return bits(regressor.fit(X, values, **given))
        with pytest.raises(ValueError, match="non-finite parameter weights"):
            regressor.fit(X, values, **given)
        return hasattr(regressor, "coefs_")

    straight, heard = fitted(), []
    assert fitted(checkpoint=tmp_path / "run") == straight
    assert fitted(checkpoint=tmp_path / "run", callbacks=[recorder(heard)]) == straight
    assert heard == [], "it is the first epoch that diverges"


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kind", ["weights", "CSR", "bytes", "validation rows"])
def test_any_data_and_estimator(estimator: type, kind: str, tmp_path: Path) -> None:
    rows = {"CSR": scipy.sparse.csr_array(X * (X > 0)), "bytes": (np.abs(X) * 20).astype(np.uint8)}.get(kind, X)
    given: dict[str, Any] = {"sample_weight": np.arange(90.0)} if kind == "weights" else {}
    given |= {"X_val": X[:30], "y_val": Y[:30]} if kind == "validation rows" else {}
    settings = BASE | {"dropout": 0.2, "learning_rate": "cosine"}
    straight = estimator(**settings).fit(rows, Y, **given)
    with pytest.raises(Stopped):
        estimator(**settings).fit(rows, Y, **given, checkpoint=tmp_path / "run", callbacks=[after(4, Stopped)])
    resumed = estimator(**settings).fit(rows, Y, **given, checkpoint=tmp_path / "run")
    assert bits(resumed) == bits(straight)
    assert np.array_equal(resumed.predict(rows), straight.predict(rows))


def test_random_generators_go_on(tmp_path: Path) -> None:
    """That of the user is left as by a training without a break."""
    ours, theirs, path = np.random.RandomState(1), np.random.RandomState(1), tmp_path / "run"
    settings = {"dropout": 0.5, "early_stopping": True}
    straight = classifier(**settings | {"random_state": theirs}).fit(X, Y)
    with pytest.raises(Stopped):
        classifier(**settings | {"random_state": ours}).fit(X, Y, checkpoint=path, callbacks=[after(3, Stopped)])
    elsewhere = np.random.RandomState(99)
    resumed = classifier(**settings | {"random_state": elsewhere}).fit(X, Y, checkpoint=path)
    assert bits(resumed) == bits(straight)
    assert elsewhere.randint(2**31) == theirs.randint(2**31)


def test_numpys_own_generator_goes_on(tmp_path: Path) -> None:
    np.random.seed(7)
    straight = classifier(random_state=None, dropout=0.5).fit(X, Y)
    for seed, last in ((7, 1), (1, 3), (2, 5)):
        np.random.seed(seed)
        with pytest.raises(Stopped):
            classifier(random_state=None, dropout=0.5).fit(
                X, Y, checkpoint=tmp_path / "run", callbacks=[after(last, Stopped)]
            )
    assert bits(classifier(random_state=None, dropout=0.5).fit(X, Y, checkpoint=tmp_path / "run")) == bits(straight)


def test_a_warm_start_goes_on(tmp_path: Path) -> None:
    settings = {"warm_start": True, "dropout": 0.3}
    straight = classifier(**settings).fit(X, Y).fit(X, Y)
    first = classifier(**settings).fit(X, Y)
    with pytest.raises(Stopped):
        first.fit(X, Y, checkpoint=tmp_path / "run", callbacks=[after(2, Stopped)])
    # In a new process there may be nothing to start from: the file knows all.
    for estimator in (classifier(**settings).fit(X, Y), classifier(**settings)):
        copy = tmp_path / "copy"
        copy.write_bytes((tmp_path / "run").read_bytes())
        assert bits(estimator.fit(X, Y, checkpoint=copy)) == bits(straight)


def test_free_hyper_parameters(tmp_path: Path) -> None:
    straight = classifier().fit(X, Y)
    with pytest.raises(Stopped):
        classifier(n_threads=2).fit(X, Y, checkpoint=tmp_path / "run", callbacks=[after(3, Stopped)])
    resumed = classifier(n_threads=1, max_time=600.0, verbose=0).fit(X, Y, checkpoint=tmp_path / "run")
    assert bits(resumed) == bits(straight)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"alpha": 0.5}, "alpha"),
        ({"max_iter": 9}, "max_iter"),
        ({"dropout": 0.5}, "dropout"),
        ({"hidden_layer_sizes": (9,)}, "hidden_layer_sizes"),
        ({"random_state": 1}, "random_state"),
        ({"solver": "sgd"}, "solver"),
        ({"learning_rate": "cosine"}, "learning_rate"),
        ({"dtype": "float32"}, "dtype"),
        ({"dtype": np.float32}, "dtype"),
        ({"early_stopping": True}, "early_stopping"),
        ({"class_weight": {0: 2}}, "class_weight"),
    ],
)
def test_other_hyper_parameters_are_refused(changed: dict[str, Any], name: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(Stopped):
        classifier().fit(X, Y, checkpoint=path, callbacks=[after(3, Stopped)])
    before, other = path.read_bytes(), classifier(**changed)
    with pytest.raises(ValueError, match=rf"{path} belongs to a fit with other [\w-]+: {name} was .*Name another file"):
        other.fit(X, Y, checkpoint=path)
    assert not hasattr(other, "coefs_")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"X": X[:-1], "y": Y[:-1]}, "rows"),
        ({"X": X[:, 1:]}, "layers"),
        ({"y": Y > 0}, "layers"),
        ({"X": X.astype("f")}, "dtype"),
        ({"X_val": X[:9], "y_val": Y[:9]}, "rows to validate on"),
        ({"y": Y[::-1]}, r"values \(their checksum\)"),
        ({"X": X[::-1]}, r"values \(their checksum\)"),
        ({"X": csr_array(X)}, r"values \(their checksum\)"),
        ({"sample_weight": np.linspace(1, 2, len(X))}, r"values \(their checksum\)"),
    ],
)
def test_other_data_are_refused(data: dict[str, Any], name: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(Stopped):
        classifier().fit(X, Y, checkpoint=path, callbacks=[after(3, Stopped)])
    before, other = path.read_bytes(), classifier()
    with pytest.raises(ValueError, match=rf"{path} belongs to a fit with other data: {name} was .*, now it is"):
        other.fit(**{"X": X, "y": Y, "checkpoint": path} | data)
    assert not hasattr(other, "coefs_")
    assert path.read_bytes() == before


def test_rows_to_validate_on_must_come_again(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        classifier().fit(X, Y, X_val=X, y_val=Y, checkpoint=tmp_path / "run", callbacks=[after(3, Stopped)])
    with pytest.raises(ValueError, match="rows to validate on was"):
        classifier().fit(X, Y, checkpoint=tmp_path / "run")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    for write, message in (
        (lambda: classifier().fit(X, Y).save(path), "holds 'MLPClassifier', not a checkpoint of MLPClassifier"),
        (lambda: Trainer(**BASE).fit(X, Y, checkpoint=path), "holds 'checkpoint of Trainer', not a checkpoint of MLPC"),
        (lambda: path.write_text("text"), "not a fastmlp model file, or a damaged one"),
        (lambda: path.write_bytes(b""), "not a fastmlp model file, or a damaged one"),
        (lambda: np.savez(path.open("wb"), X), "not a fastmlp model file"),
    ):
        path.unlink(missing_ok=True)
        write()
        before, fresh = path.read_bytes(), classifier()
        with pytest.raises(ModelFileError, match=message):
            fresh.fit(X, Y, checkpoint=path)
        assert not hasattr(fresh, "coefs_")
        assert path.read_bytes() == before
    classifier().fit(X, Y, checkpoint=tmp_path / "other")
    with pytest.raises(ModelFileError, match=r"other is a checkpoint, not a model: finish its training with fit"):
        fastmlp.load(tmp_path / "other")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    straight = bits(classifier(dropout=0.5).fit(X, Y, checkpoint=path))
    content = path.read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(30):
        damaged = bytearray(content)
        if rng.random() < 0.3:
            del damaged[rng.randrange(len(damaged)) :]
        else:
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with suppress(ModelFileError):
            resumed = classifier(dropout=0.5).fit(X, Y, checkpoint=path)
            assert bits(resumed) == straight, "the damaged bit is one of the archive that says nothing of the contents"
            continue
        refused += 1
    assert refused > 20


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Is told before the first epoch."""
    heard: list[int] = []
    fresh = classifier()
    with pytest.raises(FileNotFoundError, match="absent"):
        fresh.fit(X, Y, checkpoint=tmp_path / "absent" / "run", callbacks=[recorder(heard)])
    assert heard == []
    assert not hasattr(fresh, "coefs_")
    with pytest.raises(OSError, match=f"'{tmp_path}'"):
        fresh.fit(X, Y, checkpoint=tmp_path)


def test_checkpoint_seconds_are_between_two_writings(tmp_path: Path) -> None:
    path, written = tmp_path / "run", set()

    def look(epoch: int) -> None:
        written.add(path.stat().st_mtime_ns)

    classifier().fit(X, Y, checkpoint=path, checkpoint_seconds=1000.0, callbacks=[look])
    assert len(written) == 1, "but for the beginning and the end"
    end = path.stat().st_mtime_ns
    assert end not in written
    path.unlink(), written.clear()
    classifier().fit(X, Y, checkpoint=str(path), callbacks=[look])
    assert len(written) == N_EPOCHS
    path.unlink(), written.clear()
    classifier().fit(X, Y, checkpoint=path, checkpoint_seconds=0.05, callbacks=[look, lambda: time.sleep(0.03)])
    assert 1 < len(written) < N_EPOCHS


def test_a_long_break_between_two_writings_is_bridged(tmp_path: Path) -> None:
    """The epochs since the last writing are trained again."""
    with pytest.raises(Stopped):
        classifier(dropout=0.2).fit(
            X, Y, checkpoint=tmp_path / "run", checkpoint_seconds=1000.0, callbacks=[after(5, Stopped)]
        )
    heard: list[int] = []
    resumed = classifier(dropout=0.2).fit(X, Y, checkpoint=tmp_path / "run", callbacks=[recorder(heard)])
    assert len(heard) == N_EPOCHS
    assert bits(resumed) == bits(classifier(dropout=0.2).fit(X, Y))


def _train(settings: dict[str, Any], path: Path, result: Any) -> None:
    result.put(bits(classifier(**settings, n_threads=2).fit(X, Y, checkpoint=path)))


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs a fork that is safe")
@pytest.mark.parametrize("name", ["nesterov", "dropout", "early stopping by loss"])
def test_killed_at_random_moments(name: str, tmp_path: Path) -> None:
    """A process that gets SIGKILL again and again, until it has come to the end."""
    settings = SETTINGS[name] | {"max_iter": 25, "n_iter_no_change": 25}
    straight = bits(classifier(**settings).fit(X, Y))
    context, path, rng, killed = multiprocessing.get_context("fork"), tmp_path / "run", random.Random(name), 0
    longest = 0.02
    while True:
        result = context.SimpleQueue()
        process = context.Process(target=_train, args=(settings, path, result))
        process.start()
        process.join(rng.uniform(0, longest))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        longest *= 1.05  # on a busy machine a process needs longer to begin
    assert killed >= 2
    assert result.get() == straight
    assert bits(classifier(**settings).fit(X, Y, checkpoint=path)) == straight
    parts = set(tmp_path.iterdir()) - {path}
    assert all(part.name.startswith(".fastmlp-") for part in parts), "what was being written when it was killed"


def test_a_refused_checkpoint_leaves_the_generator(tmp_path: Path) -> None:
    generator = np.random.RandomState(3)
    with pytest.raises(Stopped):
        classifier(random_state=generator).fit(X, Y, checkpoint=tmp_path / "run", callbacks=[after(2, Stopped)])
    before = generator.get_state()[1].tolist()
    with pytest.raises(ValueError, match="other data"):
        classifier(random_state=generator).fit(X + 1, Y, checkpoint=tmp_path / "run")
    assert generator.get_state()[1].tolist() == before


@pytest.mark.parametrize("seconds", ["60", np.nan, -1, None, True])
def test_seconds_that_are_none(seconds: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="checkpoint_seconds must be a number of seconds"):
        classifier().fit(X, Y, checkpoint=tmp_path / "run", checkpoint_seconds=seconds)
