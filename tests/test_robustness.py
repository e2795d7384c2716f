"""Nothing to trip over: every misuse ends in an answer or a clear error, never in a hang or a crash."""

import multiprocessing
import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning

from fastmlp import MLPClassifier, MLPRegressor, Trainer, fitting
from fastmlp._core import MAX_THREADS, OPTIMIZERS, Network
from fastmlp.stopping import DIVERGED

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.RandomState(0)
X = RNG.uniform(-1, 1, (60, 5))
Y = RNG.randint(0, 3, 60, dtype=np.int64)  # not the default, of which Windows has another
Y[:3] = 0, 1, 2
DATES = pd.date_range("2000-01-01", periods=60)


def small(**settings: Any) -> Trainer:
    return Trainer(**{"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0, **settings})


def with_value(value: float, shape: tuple[int, int] = (60, 5)) -> np.ndarray:
    A = np.zeros(shape)
    A[-1, -1] = value
    return A


def damaged_csr(index: int) -> Any:
    A = scipy.sparse.csr_matrix(X)
    A.indices[7] = index
    return A


# What is wrong, the arguments of fit, and what the message must say.
WRONG_DATA: dict[str, tuple[dict[str, Any], tuple[Any, ...], str]] = {
    "NaN": ({}, (with_value(np.nan), Y), r"(?s)Input X contains NaN.*TabularRegressor take text and missing values"),
    "infinite": ({}, (with_value(np.inf), Y), "Input X contains infinity"),
    "NaN in CSR": ({}, (scipy.sparse.csr_matrix(with_value(np.nan)), Y), "Input X contains NaN"),
    "no rows": ({}, (X[:0], Y[:0]), r"0 sample\(s\)"),
    "no columns": ({}, (X[:, :0], Y), r"0 feature\(s\)"),
    "one dimension": ({}, (X[0], Y[:5]), "Expected 2D array"),
    "text": ({}, (np.array([["a", "b"]] * 60), Y), r"arrays of bytes/strings.*TabularClassifier"),
    "digits as text": ({}, (X.astype(str), Y), "arrays of bytes/strings"),
    "digits as bytes": ({}, (X.astype("S"), Y), "arrays of bytes/strings"),
    "list of text": ({}, ([["1", "2"]] * 60, Y), "arrays of bytes/strings"),
    "list with text in its last row": ({}, ([[1, 2]] * 59 + [["1", "2"]], Y), "arrays of bytes/strings"),
    "text objects": ({}, (np.array([["a", "b"]] * 60, object), Y), r"could not convert string to float.*Tabular"),
    "dates": ({}, (DATES.to_numpy().reshape(-1, 1), Y), r"dtype datetime64.* not numbers"),
    "durations": ({}, ((DATES - DATES[0]).to_numpy().reshape(-1, 1), Y), r"dtype timedelta64.* not numbers"),
    "frame of dates": ({}, (pd.DataFrame({"day": DATES}), Y), r"dtype datetime64.* not numbers"),
    "frame with dates": ({}, (pd.DataFrame({"day": DATES, "x": X[:, 0]}), Y), "could not be promoted"),
    "complex": ({}, (X + 1j, Y), "Complex data not supported"),
    "CSR index too large": ({}, (damaged_csr(5), Y), "indices must be < 5"),
    "CSR index negative": ({}, (damaged_csr(-1), Y), "indices must be >= 0"),
    "lengths": ({}, (X, Y[:-1]), r"inconsistent numbers of samples: \[60, 59\]"),
    "no y": ({}, (X, None), "requires y to be passed"),
    "text in y": ({}, (X, np.array(["a", "b", "c"])[Y]), r"numbers 0, 1, 2, …: got '[abc]'\. MLPClassifier takes any"),
    "list of text in y": ({"loss": "hinge"}, (X, ["b"] * 60), r"numbers 0, 1, 2, …: got 'b'\. MLPClassifier takes any"),
    "text among values": ({"loss": "squared_error"}, (X, np.array(["a", "b", "c"], object)[Y]), "string to float"),
    "None among classes": ({}, (X, np.array([0, None, 1], object)[Y]), "Input y contains NaN"),
    "NaN in y": ({"loss": "squared_error"}, (X, with_value(np.nan, (60, 1))), "Input y contains NaN"),
    "three dimensions of y": ({}, (X, np.zeros((60, 2, 2))), "dim 3"),
    "fractional classes": ({}, (X, Y + 0.5), "Unknown label type: continuous"),
    "negative class": ({}, (X, Y - 1), "Class numbers must be 0, 1, 2"),
    "rows that do not sum to 1": ({}, (X, np.eye(3)[Y] * 0.9), "must sum to 1"),
    "rows of zeros and ones": ({}, (X, np.ones((60, 3), np.uint8)), "must sum to 1"),
    "negative probability": ({}, (X, np.tile([1.5, -0.5], (60, 1))), "out of the valid range"),
    "label of 2": ({"loss": "binary_log_loss"}, (X, np.full((60, 3), 2)), "out of the valid range"),
    "negative count": ({"loss": "poisson"}, (X, Y - 1), "out of the valid range"),
    "negative weight": ({}, (X, Y, -np.ones(60)), "Negative values in data passed to `sample_weight`"),
    "NaN weight": ({}, (X, Y, np.full(60, np.nan)), "sample_weight contains NaN"),
    "length of weights": ({}, (X, Y, np.ones(59)), r"sample_weight.shape == \(59,\)"),
}

WRONG_PARAMETERS = {
    "n_threads": (0, -1, MAX_THREADS + 1, 1.5),
    "hidden_layer_sizes": ((0,), (5, -1), 0, "a", 5.0),
    "activation": ("softsign",),
    "loss": ("tukey",),
    "solver": ("newton",),
    "alpha": (-1.0, np.inf, np.nan),
    "batch_size": (0, "all"),
    "learning_rate": ("sine",),
    "learning_rate_init": (0.0, np.inf),
    "momentum": (1.1, -0.1),
    "beta_1": (1.0,),
    "beta_2": (1.0,),
    "epsilon": (0.0,),
    "max_iter": (0,),
    "dtype": ("float16", int),
}


@pytest.mark.parametrize("case", WRONG_DATA)
def test_wrong_data_is_refused_before_anything_changes(case: str) -> None:
    settings, arguments, message = WRONG_DATA[case]
    trainer = small(**settings)
    for train in (trainer.fit, trainer.partial_fit):
        with pytest.raises((ValueError, TypeError), match=message):
            train(*arguments)
    assert vars(trainer) == trainer.get_params()


@pytest.mark.parametrize("name", WRONG_PARAMETERS)
def test_wrong_parameters_are_refused(name: str) -> None:
    for value in WRONG_PARAMETERS[name]:
        with pytest.raises(ValueError, match=name):
            small(**{name: value}).fit(X, Y)


def test_memory_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf", raising=False)
    small(max_iter=1).fit(X, Y)
    for width in (2**25, 2**40):  # more than is free, and more than any array may have
        with pytest.raises(MemoryError, match="Use smaller hidden_layer_sizes"):
            small(hidden_layer_sizes=(width, width)).fit(X, Y)


def test_all_threads_are_none() -> None:
    with pytest.raises(ValueError, match=r"None or an int in the range \[1, \d+\], where None is all .* Got -1"):
        small(n_threads=-1).fit(X, Y)


@pytest.mark.parametrize("sizes", [(8.5,), (5.0,), ((5,),), ("a",), (None,), np.array(5.0), np.ones((1, 1), int)])
def test_units_that_are_no_numbers(sizes: Any) -> None:
    with pytest.raises(TypeError, match=r"'hidden_layer_sizes' parameter must be an int .* Got .* instead"):
        small(hidden_layer_sizes=sizes).fit(X, Y)


def test_units_of_numpy() -> None:
    expected = small(hidden_layer_sizes=(8, 4)).fit(X, Y).coefs_[0]
    for sizes in (np.array([8, 4]), [np.int32(8), np.uint8(4)]):
        assert np.array_equal(small(hidden_layer_sizes=sizes).fit(X, Y).coefs_[0], expected)


@pytest.mark.parametrize("sizes", [(2**40,), (2**31, 2**31), (2**62, 2**62), (2**70,)])
def test_networks_larger_than_the_machine(sizes: tuple[int, ...]) -> None:
    trainer = small(hidden_layer_sizes=sizes)
    with pytest.raises(MemoryError, match="Use smaller hidden_layer_sizes"):
        trainer.fit(X, Y)
    assert not hasattr(trainer, "coefs_")


def test_a_fit_that_is_refused_leaves_the_fitted_trainer_alone() -> None:
    trainer = small().fit(X, Y)
    expected = trainer.predict(X)
    for settings, error in (({"hidden_layer_sizes": (2**40,)}, MemoryError), ({"hidden_layer_sizes": (8,)}, TypeError)):
        with pytest.raises(error):
            trainer.set_params(**settings).fit(pd.DataFrame(X[:, :2], columns=["a", 1]), Y)
    assert np.array_equal(trainer.predict(X), expected)


def test_a_class_number_beyond_memory() -> None:
    with pytest.raises(MemoryError, match=r"y holds class numbers up to 72057594037927936, .* outputs: .* 0, 1"):
        small().fit(X, Y * 2**55)
    with pytest.raises(MemoryError, match="Use smaller hidden_layer_sizes"):
        small(hidden_layer_sizes=(2**40,)).fit(X, Y * 10**6)


def test_what_a_fitted_trainer_refuses() -> None:
    trainer = small(warm_start=True).fit(X, Y)
    params = trainer.coefs_[0].copy()
    for wrong in (X[:, :4], np.c_[X, X]):
        with pytest.raises(ValueError, match="expecting 5 features as input"):
            trainer.predict(wrong)
        with pytest.raises(ValueError, match="expecting 5 features as input"):
            trainer.partial_fit(wrong, Y)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        trainer.predict(with_value(np.nan))
    with pytest.raises(ValueError, match="`y` has class"):
        trainer.partial_fit(X, Y + 1)
    with pytest.raises(ValueError, match="4 columns, but the network has 3 outputs"):
        trainer.partial_fit(X, np.eye(4)[Y])
    with pytest.raises(ValueError, match="goes on from the last one"):
        trainer.set_params(hidden_layer_sizes=(9,)).fit(X, Y)
    assert np.array_equal(trainer.coefs_[0], params)
    assert trainer.score(X, Y + 1) < 1  # a class never seen is merely missed


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_non_finite_parameters_are_an_error_at_once(solver: str, dtype: str) -> None:
    trainer = Trainer(loss="squared_error", solver=solver, learning_rate_init=1e300, dtype=dtype, max_iter=10**6)
    with pytest.raises(ValueError, match=r"non-finite parameter weights.* smaller learning_rate_init"):
        trainer.fit(X * 1e3, Y)
    assert not hasattr(trainer, "coefs_")


def test_raw_pixels_and_a_large_rate_are_told(data_file: Callable[[str], Path]) -> None:
    with np.load(data_file("mnist.npz")) as mnist:
        rows, classes = mnist["X_train"][:3000], mnist["y_train"][:3000]
    trainer = Trainer(solver="sgd", learning_rate_init=0.1, random_state=0, max_iter=3, tol=0)
    with pytest.warns(ConvergenceWarning, match=r"diverges: the loss of epoch 3 is .* Scale X, for") as caught:
        trainer.fit(rows, classes)
    assert sum("diverges" in str(warning.message) for warning in caught) == 1


def divergences(estimator: Any, rows: Any, targets: Any, train: str = "fit", times: int = 1) -> int:
    """How many of the calls warn that training diverges."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(times):
            getattr(estimator, train)(rows, targets)
    return sum("Training diverges" in str(warning.message) for warning in caught)


def unscaled() -> tuple[Any, Any]:
    """Rows like those of a census, to whose numbers of people nobody has given a thought."""
    rows = np.c_[np.random.RandomState(0).lognormal(7, 0.7, 20000), np.linspace(32, 42, 20000)]
    return rows, np.log(rows[:, 0])


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_a_loss_that_begins_high_and_falls_is_no_divergence(load: Any) -> None:
    classifier = MLPClassifier(random_state=0)
    assert divergences(classifier, *load(return_X_y=True)) == 0
    assert classifier.loss_curve_[0] > DIVERGED * classifier.n_outputs_


def test_values_that_diverge_from_the_first_epoch_are_told() -> None:
    """The loss of each epoch after the first is no more than twice that of the first."""
    regressor = MLPRegressor(solver="sgd", random_state=0)
    assert divergences(regressor, *unscaled()) == 1
    assert max(regressor.loss_curve_) < DIVERGED * regressor.loss_curve_[0]


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_regression_may_want_scaled_targets(solver: str) -> None:
    with pytest.raises(ValueError, match=r"non-finite parameter weights.* Scale X and y, for"):
        MLPRegressor(solver=solver).fit(X, X[:, 0] * 1e200)
    with pytest.warns(ConvergenceWarning, match="diverges: .* Scale X and y, for"):
        MLPRegressor(solver="sgd", random_state=0).fit(*unscaled())


def test_small_or_constant_values_are_no_divergence() -> None:
    for values in (np.zeros(60), X[:, 0] * 1e-6, X[:, 0] + 2000):
        assert divergences(MLPRegressor(random_state=0, max_iter=20), X, values) == 0


def test_partial_fit_tells_of_a_divergence_that_stays() -> None:
    rows, values = unscaled()
    trainer = Trainer(loss="squared_error", solver="sgd", random_state=0, n_iter_no_change=3)
    assert divergences(trainer, rows, values, "partial_fit", 4) == 0
    assert divergences(trainer, rows, values, "partial_fit", 4) > 0


def test_a_batch_without_weight_is_no_step() -> None:
    settings = {"batch_size": 10, "shuffle": False, "solver": "sgd", "max_iter": 1}
    weighted = small(**settings).fit(X[:20], Y[:20], np.repeat([0.0, 1.0], 10))
    assert np.array_equal(weighted.coefs_[0], small(**settings).fit(X[10:20], Y[10:20]).coefs_[0])


def _fit_in_child(queue: Any) -> None:
    queue.put(small(n_threads=2).fit(X, Y).coefs_[0])


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs a fork that is safe")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fit_fork_fit() -> None:
    expected = small(n_threads=2).fit(X, Y).coefs_[0]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_fit_in_child, args=(queue,))
    child.start()
    assert np.array_equal(queue.get(timeout=60), expected)
    child.join(60)
    assert child.exitcode == 0


def test_four_threads_fit_four_trainers() -> None:
    expected = [small(random_state=seed, max_iter=30).fit(X, Y).coefs_[0] for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda seed: small(random_state=seed, max_iter=30, n_threads=2).fit(X, Y).coefs_[0], range(4))
        )
    for mine, other in zip(found, expected, strict=True):
        assert np.array_equal(mine, other)


def test_four_threads_predict_with_one_classifier() -> None:
    classifier = MLPClassifier(8, max_iter=5, random_state=0).fit(X, Y)
    expected = classifier.predict_proba(X)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: classifier.predict_proba(X[i % 60 :]), range(600)))
    for i, mine in enumerate(found):
        assert np.array_equal(mine, expected[i % 60 :])


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded CPython")
def test_import_leaves_the_gil_off() -> None:
    """An extension that does not declare itself safe without the GIL would switch it on, with a warning."""
    program = "import sys, fastmlp; fastmlp.MLPClassifier; assert not sys._is_gil_enabled()"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_another_thread_makes_progress() -> None:
    """An epoch is calls of a tenth of a second: holding the GIL would let the counter pass ten times a second only."""
    rows, classes = RNG.uniform(-1, 1, (20000, 300)).astype(np.float32), RNG.randint(0, 10, 20000)
    trainer = Trainer((400, 400), max_iter=1, n_threads=1)
    fitting = threading.Thread(target=trainer.fit, args=(rows, classes))
    start, passes = time.perf_counter(), 0
    fitting.start()
    while fitting.is_alive():
        time.sleep(0.001)
        passes += 1
    fitting.join()
    assert trainer.n_iter_ == 1
    assert passes > 100 * (time.perf_counter() - start)


INTERRUPTED = """
    import signal, warnings
    import numpy as np
    from fastmlp import Trainer

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's jobs in the background ignore it
    rng = np.random.RandomState(0)
    X, y = rng.uniform(-1, 1, (20000, 200)).astype(np.float32), rng.randint(0, 10, 20000)
    trainer = Trainer((300, 300), max_iter=10**9, tol=0, n_iter_no_change=np.inf, random_state=0, verbose=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(X, y)
    print("returned", flush=True)
    assert [str(w.message) for w in caught] == ["Training interrupted by user."], caught
    assert len(trainer.loss_curve_) == trainer.n_iter_ >= 1
    assert trainer._fitted.fit.step > 0
    assert np.isfinite(trainer.predict(X[:100])).all()
    steps = trainer._fitted.fit.step
    trainer.partial_fit(X, y)
    assert trainer._fitted.fit.step == steps + 100
    print("usable", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_keeps_the_model() -> None:
    command = [sys.executable, "-u", "-c", textwrap.dedent(INTERRUPTED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Iteration 1, loss")
        time.sleep(0.05)  # somewhere inside a later epoch
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "returned" in out
    assert out.endswith("usable\n")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an interval timer")
def test_signals_are_handled_within_a_loss() -> None:
    """An evaluation of L-BFGS may take seconds: handled at its end, the ticks of the timer would be one."""
    rows, classes = RNG.uniform(-1, 1, (20000, 100)), RNG.randint(0, 10, 20000)
    network = Network((100, 100, 10), "relu", "log_loss", "float64")
    params = RNG.uniform(-0.1, 0.1, network.n_params)
    ticks = 0

    def tick(*_: Any) -> None:
        nonlocal ticks
        ticks += 1

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        network.loss_gradient(params, rows, classes, None, 0.0, np.empty_like(params), seconds=0.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ticks > 3


def test_memory_mapped_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", Y)
    mapped = small().fit(np.load(tmp_path / "X.npy", mmap_mode="r"), np.load(tmp_path / "y.npy", mmap_mode="r"))
    assert np.array_equal(mapped.coefs_[0], small().fit(X, Y).coefs_[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_memory_that_fit_adds(dtype: type, solver: str, data_file: Callable[[str], Path]) -> None:
    """NumPy owns every large array and reports it to tracemalloc: so the peak is all that fit allocates but stacks."""
    with np.load(data_file("mnist.npz")) as mnist:
        rows, classes = mnist["X_train"][:20000].astype(dtype, copy=False), mnist["y_train"][:20000]
    batch_size = 200
    trainer = Trainer((300, 100), solver=solver, learning_rate_init=1e-4, max_iter=1, batch_size=batch_size)
    small(solver=solver).fit(X, Y)  # imports are not the fit's
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    trainer.fit(rows, classes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    itemsize = trainer.coefs_[0].itemsize
    n_params = sum(W.size for W in trainer.coefs_ + trainer.intercepts_)
    arrays = n_params * (1 + OPTIMIZERS[trainer._fitted.fit.optimizer]) * itemsize
    activations = batch_size * (784 + 300 + 100 + 10) * itemsize
    python = 100_000  # objects, strings, warnings
    assert peak - before < 3 * arrays + 4 * activations + 16 * len(rows) + python


def test_early_stopping_copies_only_what_it_keeps_back(data_file: Callable[[str], Path]) -> None:
    with np.load(data_file("mnist.npz")) as mnist:
        rows, classes = mnist["X_train"][:20000].astype(np.float32), mnist["y_train"][:20000]
    trainer = Trainer((10,), early_stopping=True, validation_fraction=0.1, max_iter=1)
    small(early_stopping=True).fit(X, Y)  # imports are not the fit's
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    trainer.fit(rows, classes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - before < 0.2 * rows.nbytes


def test_memory_that_fit_adds_to_the_process(data_file: Callable[[str], Path]) -> None:
    """The kernel's own figure for all of MNIST as uint8: 47 MB, of which fit may not copy any."""
    resource = pytest.importorskip("resource")
    unit = 1 if sys.platform == "darwin" else 1024
    code = f"""
        import resource, numpy as np
        from fastmlp import Trainer
        with np.load({str(data_file("mnist.npz"))!r}) as mnist:
            X, y = mnist["X_train"], mnist["y_train"]
        fit = lambda n: Trainer((300, 100), solver="sgd", learning_rate_init=1e-3, max_iter=1).fit(X[:n], y[:n])
        fit(1000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fit(len(X))
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * {unit})
    """
    assert resource is not None
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], capture_output=True, check=True)
    # What the rows add is 16 bytes each, 1 MB; 4 MB of slack is for the allocator, and a tenth of a copy of X.
    assert int(run.stdout) < 16 * 60000 + 4e6


def test_mnist_below_2_3_percent(data_file: Callable[[str], Path]) -> None:
    """784-300-100-10 within 20 epochs, on one core."""
    with np.load(data_file("mnist.npz")) as mnist:
        X_train, X_test = (mnist[name].astype(np.float32) / 255 for name in ("X_train", "X_test"))
        y_train, y_test = mnist["y_train"], mnist["y_test"]
    trainer = Trainer((300, 100), solver="sgd", learning_rate_init=0.02, batch_size=64, max_iter=12, random_state=0)
    trainer.set_params(n_threads=1, tol=0, n_iter_no_change=np.inf).fit(X_train, y_train)
    assert 1 - trainer.score(X_test, y_test) < 0.023


@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_predict_refuses_what_is_not_finite(layout):
    """The engine looks at the values while it reads them; the words are scikit-learn's."""
    X, y = np.random.RandomState(0).rand(300, 20), np.arange(300) % 3
    model = Trainer((5,), max_iter=2, dtype="float32", n_threads=2).fit(X, y)
    for value, message in (
        (np.nan, "contains NaN"),
        (np.inf, "contains infinity"),
        (1e300, r"too large for dtype\('float32'\)"),
    ):
        bad = X.copy()
        bad[299, 19] = value
        with pytest.raises(ValueError, match=message):
            model.predict(scipy.sparse.csr_array(bad) if layout == "sparse" else bad)
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize(
    "changed", [{"solver": "sgd"}, {"activation": "tanh"}, {"solver": "sgd", "activation": "tanh"}]
)
def test_a_step_that_fails_after_set_params_is_taken_back(changed: dict[str, Any]) -> None:
    model = MLPRegressor(hidden_layer_sizes=(4,), random_state=0).partial_fit(X, Y)
    before, fit = model.predict(X), model._fitted.fit
    slots = fit.slots.copy()
    model.set_params(**changed)
    with pytest.raises(ValueError, match="non-finite"):
        model.partial_fit(X, np.full(len(X), 1e200))
    np.testing.assert_array_equal(model.predict(X), before)
    assert (model.n_iter_, fit.step, fit.optimizer) == (1, 1, "adam")
    np.testing.assert_array_equal(fit.slots, slots)


def test_ctrl_c_as_the_engine_returns_counts_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python hears it between the call of the engine and the line that takes note of the steps."""
    made = []

    class Interrupted(fitting.Training):
        def run(self, *arguments: Any, **options: Any) -> Any:
            super().run(*arguments, **options)
            made.append(self.step)
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "Training", Interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        trainer = small(n_threads=1, batch_size=10).fit(X, Y)
    assert trainer._fitted.fit.step == made[0] > 0
