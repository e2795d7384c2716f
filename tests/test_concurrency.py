"""One object in many hands: read, saved and fitted by several threads at once, interrupted, or given odd parameters.

What could crash or hang runs in a process of its own: a function below whose name begins with ``child_``.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, Trainer

SECONDS = float(os.environ.get("FASTMLP_CONCURRENCY_SECONDS", "1"))
"""How long threads work against each other."""
LIMIT = 120
"""Seconds after which a child hangs: the slowest takes some 2, and twenty times that under a sanitizer."""

RNG = np.random.RandomState(0)
X = RNG.uniform(-1, 1, (60, 5))
Y = np.arange(60, dtype=np.int64) % 3
SHAPES: tuple[tuple[int, ...], ...] = ((3,), (), (200, 150), (8, 8, 8), (700,))


def run_child(name: str, *arguments: str) -> None:
    """Call the function of this file in a new process, which must end well."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fastmlp.__file__).parents[1])}
    command = [sys.executable, "-X", "faulthandler", __file__, name, *arguments]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert run.returncode == 0, f"{name}{arguments}: exit {run.returncode}\n{run.stdout[-2000:]}\n{run.stderr[-6000:]}"


def classifier(**settings: Any) -> MLPClassifier:
    return MLPClassifier(**{"hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0, **settings})


def consistent(coefs: Any, intercepts: Any) -> None:
    assert all(np.isfinite(array).all() for array in [*coefs, *intercepts])
    assert [W.shape[1] for W in coefs] == [len(b) for b in intercepts]
    assert all(above.shape[0] == below.shape[1] for below, above in pairwise(coefs))


def all_at_once(*workers: Callable[[], None]) -> None:
    """Run each on a thread; what one of them raises ends the process, with its traceback."""
    errors: list[str] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            errors.append(traceback.format_exc())

    threads = [threading.Thread(target=guarded, args=(work,)) for work in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, "\n".join(errors)


def repeated(work: Callable[[int], None]) -> Callable[[], None]:
    """Work with 0, 1, 2, … until the time is up, at least twice."""
    end = time.monotonic() + SECONDS

    def until_the_end() -> None:
        for i in count():
            work(i)
            if i and time.monotonic() > end:
                return

    return until_the_end


# -- one object, several threads --


def child_read_while_fitted() -> None:
    """Who reads gets the old network or the new one."""
    shared = classifier().fit(X, Y)

    def refit(i: int) -> None:
        classes = Y if i % 2 else Y % 2
        shared.hidden_layer_sizes = SHAPES[i % len(SHAPES)]
        shared.fit(X, classes)

    def read(i: int) -> None:
        outputs = shared.predict_proba(X[: 1 + i % 60])
        assert outputs.shape[0] == 1 + i % 60
        assert outputs.shape[1] in (2, 3)
        # Softmax and its complement: a sum of up to three roundings of half a unit.
        np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-15 * 4)
        assert set(shared.predict(X)) <= {0, 1, 2}

    def look(i: int) -> None:
        coefs = shared.coefs_
        consistent(coefs, [W[0] for W in coefs])  # the intercepts may be the next network's
        assert shared.score(X, Y) >= 0

    all_at_once(repeated(refit), *[repeated(read)] * 6, *[repeated(look)] * 2)
    consistent(shared.coefs_, shared.intercepts_)


def child_other_features_while_fitted() -> None:
    """X may have the columns of the old fit or of the new one: an answer, or the error that says so."""
    shared = classifier().fit(X, Y)
    right = []

    def refit(i: int) -> None:
        shared.fit(X[:, : 2 + i % 4], Y)

    def read(i: int) -> None:
        with contextlib.suppress(ValueError):
            assert shared.predict(X[:, : 2 + i % 4]).shape == (60,)
            right.append(i)

    all_at_once(repeated(refit), *[repeated(read)] * 7)
    assert right


def child_fitted_by_two(method: str) -> None:
    """The second gets an error that says so, or both end and one wins."""
    shapes = ((40, 30), (200,))
    outcomes = {}
    for sizes in shapes:
        alone = classifier(hidden_layer_sizes=sizes)
        outcomes[sizes] = [W.tobytes() for W in alone.fit(X, Y).coefs_]

    def fit_both(i: int) -> None:
        shared, start = classifier(), threading.Barrier(2)
        if i % 2:
            shared.fit(X, Y)
        ended, refusals = [], []

        def fit(sizes: tuple[int, ...]) -> None:
            start.wait()
            if method == "fit":
                shared.hidden_layer_sizes = sizes
            try:
                getattr(shared, method)(X, Y, **({"classes": [0, 1, 2]} if method == "partial_fit" else {}))
                ended.append(sizes)
            except (RuntimeError, ValueError) as error:
                refusals.append(str(error))

        all_at_once(*(lambda sizes=sizes: fit(sizes) for sizes in shapes))  # type: ignore[misc]
        assert ended, f"neither ended: {refusals}"
        assert all(refusals), "a refusal says nothing"
        consistent(shared.coefs_, shared.intercepts_)
        assert np.isfinite(shared.predict_proba(X)).all()
        assert len(shared.loss_curve_) >= shared.n_iter_
        if method == "fit":
            assert [W.tobytes() for W in shared.coefs_] in outcomes.values(), "the winner is neither"

    repeated(fit_both)()


def child_saved_while_trained() -> None:
    """Every file and pickle is one consistent state."""
    shared = classifier().fit(X, Y)
    n_right = []

    def train(i: int) -> None:
        if i % 10:
            shared.partial_fit(X, Y)
        else:
            shared.hidden_layer_sizes = SHAPES[i // 10 % len(SHAPES)]
            shared.fit(X, Y)

    def check(loaded: MLPClassifier) -> None:
        consistent(loaded.coefs_, loaded.intercepts_)
        assert np.isfinite(loaded.predict_proba(X)).all()
        # From this state training can go on, unless it was of other hidden layers than were just set.
        with contextlib.suppress(ValueError):
            loaded.partial_fit(X, Y)
        n_right.append(1)

    def save(i: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            shared.save(path)
            check(fastmlp.load(path))

    def dump(i: int) -> None:
        check(pickle.loads(pickle.dumps(shared)))

    all_at_once(repeated(train), repeated(save), repeated(save), repeated(dump))
    assert len(n_right) >= 6


@pytest.mark.parametrize(
    "case",
    [
        ("child_read_while_fitted",),
        ("child_other_features_while_fitted",),
        ("child_fitted_by_two", "fit"),
        ("child_fitted_by_two", "partial_fit"),
        ("child_saved_while_trained",),
    ],
    ids="-".join,
)
def test_one_object_in_several_threads(case: tuple[str, ...]) -> None:
    run_child(*case)


# -- parameters that were set after the fit --


def child_odd_parameter(name: str, *values: str) -> None:
    """Set after the fit: refused by name, in scikit-learn's wording, or not used."""
    for make in (MLPClassifier, MLPRegressor, Trainer):
        estimator = make(hidden_layer_sizes=(8,), max_iter=2, random_state=0).fit(X, Y)
        expected = estimator.predict(X)
        for value in values:
            estimator.set_params(**{name: int(value) if value.lstrip("-").isdigit() else value})
            print(estimator, flush=True)  # what crashes, if it does
            for method in ("predict", "predict_proba", "predict_log_proba", "score"):
                if hasattr(estimator, method):
                    check_refusal(estimator, method, name, expected)
        estimator.set_params(**{name: None if name == "n_threads" else make().get_params()[name]})
        assert np.array_equal(estimator.predict(X), expected)


def check_refusal(estimator: Any, method: str, name: str, expected: Any) -> None:
    message, answer = "", None
    try:
        answer = getattr(estimator, method)(X, *([Y] if method == "score" else []))
    except ValueError as error:
        message = str(error).rstrip(".")
    if message or name == "n_threads":
        assert message.startswith(f"The '{name}' parameter of {type(estimator).__name__} must be "), message
        assert message.endswith(f"Got {getattr(estimator, name)!r} instead"), message
    elif method == "predict":
        assert np.array_equal(answer, expected)


@pytest.mark.parametrize(
    "setting",
    [("n_threads", "-1", "0", "257", "5000"), ("activation", "foo"), ("dtype", "float16"), ("solver", "foo")],
    ids=lambda setting: setting[0],
)
def test_odd_parameter_after_the_fit(setting: tuple[str, ...]) -> None:
    run_child("child_odd_parameter", *setting)


# -- Ctrl-C --


def child_interrupted_prediction(n_threads: str) -> None:
    """A prediction that takes seconds gives up at once."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's jobs in the background ignore it
    rows = np.random.default_rng(0).random((1_000_000, 20), np.float32)
    trainer = Trainer((600, 600), max_iter=1, random_state=0, n_threads=int(n_threads)).fit(
        rows[:200], Y[:1].repeat(200)
    )
    expected = trainer.predict(rows[:10])
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.perf_counter())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(0.3, press)
    timer.start()
    try:
        trainer.predict(rows)
    except KeyboardInterrupt:
        seconds = time.perf_counter() - pressed[0]
    else:
        raise AssertionError(f"not interrupted: {'it was too fast' if not pressed else 'the signal came too late'}")
    assert seconds < 0.2, f"{seconds:.3f} s"  # 0.1 s, and as much for a machine that does other things as well
    assert np.array_equal(trainer.predict(rows[:10]), expected)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.parametrize("n_threads", ["1", "2"])
def test_interrupted_prediction(n_threads: str) -> None:
    run_child("child_interrupted_prediction", n_threads)


class PressesCtrlC:
    """A scorer that does so the third time it is asked, before or after the score is known."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        self.calls += 1
        if self.calls == 3:
            signal.raise_signal(signal.SIGINT)
        return 0.5


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_interrupted_validation(solver: str, early_stopping: bool) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        mlp = classifier(solver=solver, early_stopping=early_stopping, max_iter=20, scoring=PressesCtrlC())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            mlp.fit(X, Y, X_val=X, y_val=Y)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [str(warning.message) for warning in caught] == ["Training interrupted by user."]
    assert mlp.scoring.calls == 3
    assert len(mlp.loss_curve_) == len(mlp.validation_scores_) == len(mlp.validation_loss_curve_)
    assert len(mlp.loss_curve_) in (2, 3)
    assert np.isfinite(mlp.predict_proba(X)).all()


# -- rows that change, and weights that are hardly there --


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("n_rows", "n_columns"), [(3, 5), (60, 5), (300, 400)])
def test_csr_edited_into_duplicates(n_rows: int, n_columns: int) -> None:
    """SciPy remembers that the rows were canonical; as many columns as there are decide how the engine reads them."""
    values = np.where(RNG.rand(n_rows, n_columns) < 0.4, RNG.randint(1, 9, (n_rows, n_columns)) / 8, 0)
    values[:, :3] = 0.5
    rows = scipy.sparse.csr_matrix(values)
    trainer = Trainer((70,), max_iter=2, random_state=0).fit(rows, np.arange(n_rows) % 3)
    assert rows.has_canonical_format
    assert rows.has_sorted_indices
    for start in rows.indptr[:-1]:
        rows.indices[start + 1] = rows.indices[start]
    dense = rows.toarray()
    assert (dense[:, 0] == 1).all()
    # A duplicate may be a term of its own in the sum: one more rounding of half a unit.
    np.testing.assert_allclose(trainer.predict(rows), trainer.predict(dense), rtol=1e-13)
    fits = [Trainer((70,), max_iter=2, random_state=0).fit(data, np.arange(n_rows) % 3) for data in (rows, dense)]
    # The same, carried through two epochs of Adam, which divides by the size of the gradients.
    np.testing.assert_allclose(fits[0].coefs_[0], fits[1].coefs_[0], rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("weight", [1e-30, 1e-44, 1e-46, 1e-100, 1e-300, 1e-310, 1e-320])
def test_tiny_weights_of_rows(weight: float) -> None:
    """Weights are relative, but for the penalty: rows that all weigh as little train as rows of weight 1 do."""
    settings: dict[str, Any] = {"hidden_layer_sizes": (8,), "alpha": 0.0, "random_state": 0, "max_iter": 5}
    rows = X.astype(np.float32)
    refusal = None
    try:
        found = Trainer(**settings).fit(rows, Y, np.full(60, weight))
    except ValueError as error:
        refusal = str(error)
    if refusal is not None:
        assert "sample_weight" in refusal
        return
    expected = Trainer(**settings).fit(rows, Y)
    # In a weight near the smallest number few bits are left, 11 of 1e-320, but all rows have the same ones. Adam makes
    # steps of 1e-3 of whatever gradient; where it is almost 0, rounding in float32 may turn a part of a step round.
    np.testing.assert_allclose(found.coefs_[0], expected.coefs_[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.loss_, expected.loss_, rtol=1e-4)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    globals()[sys.argv[1]](*sys.argv[2:])
