"""A fit and the process around it: forks, other threads, signals, and the memory that it adds."""

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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_trainer import X, Y, small

from fastmlp import MLPClassifier, Trainer, fitting
from fastmlp._core import OPTIMIZERS, Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.RandomState(0)


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
