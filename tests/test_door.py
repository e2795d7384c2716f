"""The door: what each job reads and writes, and the sizes and counts that it refuses before the engine runs."""

import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from small_problem import JOBS, N_ROWS, N_UNITS, Problem

from fastmlp import _core

REFUSED = (ValueError, TypeError, BufferError)
BAD_COUNTS = [-1, 0, 257, 2**31, 2**40, 2**70]


@pytest.mark.parametrize("job", JOBS)
def test_arrays_of_another_size_are_refused(job: str) -> None:
    run, names = JOBS[job]
    run(Problem())
    for name in names:
        for change in (lambda array: array.ravel()[:-1].copy(), lambda array: np.append(array, array.ravel()[:1])):
            problem = Problem()
            problem.arrays[name] = change(problem.arrays[name])
            with pytest.raises(REFUSED):
                run(problem)


@pytest.mark.parametrize("job", [job for job in JOBS if job != "apply"])
@pytest.mark.parametrize("as_matrix", [np.asarray, scipy.sparse.csr_array])
def test_rows_of_another_shape_are_refused(job: str, as_matrix: Any) -> None:
    run, _ = JOBS[job]
    for change in (lambda X: X[:-1], lambda X: X[:0], lambda X: X[:, :-1], lambda X: np.pad(X, ((0, 0), (0, 1)))):
        problem = Problem()
        problem.arrays["X"] = as_matrix(change(problem.arrays["X"]).copy())
        with pytest.raises(REFUSED):
            run(problem)
    problem = Problem()
    problem.arrays["X"] = problem.arrays["X"].astype(np.float16)
    with pytest.raises(TypeError):
        run(problem)


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("n_threads", BAD_COUNTS)
def test_numbers_of_threads_are_checked(job: str, n_threads: int) -> None:
    with pytest.raises(ValueError, match="n_threads"):
        JOBS[job][0](Problem(), n_threads=n_threads)
    training = Problem().training()
    with pytest.raises(ValueError, match="n_threads"):
        training.n_threads = n_threads
    assert training.n_threads == 1


@pytest.mark.parametrize("count", [-1, 0, N_ROWS + 1, 2**40, 2**70])
def test_counts_are_checked(count: int) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        Problem().train(batch_size=count)
    if count < 0 or count > 2**62:
        with pytest.raises(ValueError, match="step"):
            Problem().train(step=count)
    for n_units in [(3, count, 2), (count, 2), (3, count)]:
        if count < 1 or count > 2**62:
            with pytest.raises((ValueError, MemoryError)):
                _core.Network(n_units, "relu", "log_loss", "float32")
    for n_units, activation in [((3,), "relu"), ((), "relu"), ((3, 4, 2), ["relu", "relu"]), ((3, 4, 2), [])]:
        with pytest.raises(ValueError, match=r"units|hidden"):
            _core.Network(n_units, activation, "log_loss", "float32")


@pytest.mark.parametrize("job", ["train", "evaluate", "loss_gradient"])
@pytest.mark.parametrize("wrong", [-1, 4, 2**40, -(2**62)])
def test_classes_are_checked(job: str, wrong: int) -> None:
    problem = Problem()
    problem.arrays["y"][150] = wrong
    with pytest.raises(ValueError, match="classes"):
        JOBS[job][0](problem)
    problem = Problem()
    problem.arrays["y"] = np.zeros((N_ROWS, 4))[:-1]
    with pytest.raises(REFUSED):
        JOBS[job][0](problem)


@pytest.mark.parametrize("job", ["train", "predict", "evaluate", "loss_gradient"])
def test_csr_parts_of_another_size_are_refused(job: str) -> None:
    X = scipy.sparse.csr_array(Problem().arrays["X"])
    falling = X.indptr.copy()
    falling[5] = falling[6] + 1
    for part, array in [
        ("data", X.data[:-1].copy()),
        ("indices", X.indices[:-1].copy()),
        ("indptr", X.indptr[:-1].copy()),
        ("indptr", X.indptr - 1),
        ("indptr", falling),
    ]:
        problem = Problem()
        problem.arrays["X"] = X.copy()
        setattr(problem.arrays["X"], part, array)
        with pytest.raises(REFUSED):
            JOBS[job][0](problem)


@pytest.mark.parametrize("job", ["predict", "evaluate", "loss_gradient"])
def test_parameters_in_a_read_only_mapping(isa: str, dtype: str, job: str, tmp_path: Path) -> None:
    """Writing to it would be a crash, not an exception."""
    problem = Problem(dtype)
    expected = JOBS[job][0](problem), problem.arrays["gradient"].copy(), problem.arrays["outputs"].copy()
    np.save(tmp_path / "params.npy", problem.arrays["params"])
    problem.arrays["params"] = np.load(tmp_path / "params.npy", mmap_mode="r")
    answer = JOBS[job][0](problem), problem.arrays["gradient"], problem.arrays["outputs"]
    for found, wanted in zip(answer, expected, strict=True):
        assert_array_equal(found, wanted)


def test_two_threads_differentiate_one_array_of_parameters(dtype: str) -> None:
    """While a third one changes it: what it writes stays written."""
    problem = Problem(dtype)
    params = problem.arrays["params"]
    stop = threading.Event()

    def differentiate() -> None:
        own = Problem(dtype)
        own.arrays["params"] = params
        while not stop.is_set():
            own.loss_gradient()

    threads = [threading.Thread(target=differentiate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(2000):
        params[i % len(params)] = i
        assert params[i % len(params)] == i
    stop.set()
    for thread in threads:
        thread.join()
    expected = np.array([params[i] for i in range(len(params))])
    assert_array_equal(params, expected)


@pytest.mark.parametrize("loss", _core.LOSSES)
@pytest.mark.parametrize("n_rows", [1, 16, 17, 256, 257, 900])
def test_evaluate_is_the_loss_of_the_gradient(isa: str, precision: str, loss: str, n_rows: int) -> None:
    """Bit for bit, on any number of threads, in one call or in many."""
    n_units = (5, 70, 3)
    X, Y, params = reference.problem(n_units, loss, n_rows)
    network = _core.Network(n_units, "tanh", loss, precision)
    params, gradient = params.astype(network.dtype), np.empty(network.n_params, network.dtype)
    for weight in (None, np.random.default_rng(0).uniform(0, 2, n_rows)):
        expected = network.loss_gradient(params, X, Y, weight, 0.0, gradient)
        for n_threads in (1, 2, 3):
            for seconds in (1e9, 0.0):
                assert network.evaluate(params, X, Y, weight, n_threads, seconds) == expected
    nothing = np.zeros(n_rows)
    assert network.evaluate(params, X, Y, nothing) == 0
    for n_threads in (1, 2):
        gradient[:] = np.nan
        assert network.loss_gradient(params, X, Y, nothing, 0.1, gradient, n_threads) == 0
        assert not gradient.any()


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_predictions_in_many_calls(isa: str, dtype: str, n_threads: int) -> None:
    X, _, params = reference.problem(N_UNITS, "log_loss", 3000)
    network = _core.Network(N_UNITS, "tanh", "log_loss", dtype)
    expected, outputs = np.empty((2, 3000, 4), dtype)
    network.predict(params.astype(dtype), X, expected)
    network.predict(params.astype(dtype), X, outputs, n_threads, 0.0)
    assert outputs.tobytes() == expected.tobytes()


@pytest.mark.parametrize("job", ["predict", "evaluate", "loss_gradient"])
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends a signal")
def test_a_signal_ends_a_long_call(job: str) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: Any) -> None:
        raise Interrupted

    n_units, n_rows = (600, 600, 600, 600, 4), 60_000
    X = np.broadcast_to(np.ones((1, 600), np.float32), (n_rows, 600))
    problem = Problem()
    problem.network = _core.Network(n_units, "tanh", "log_loss", "float32")
    n_params = problem.network.n_params
    problem.arrays |= {"X": X, "y": np.zeros(n_rows, np.int64), "sample_weight": None}
    problem.arrays |= {"params": np.zeros(n_params, np.float32), "gradient": np.zeros(n_params, np.float32)}
    problem.arrays["outputs"] = np.empty((n_rows, 4), np.float32)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Interrupted):
            JOBS[job][0](problem)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_training_in_use_is_refused() -> None:
    X = np.zeros((200_000, N_UNITS[0]), np.float32)
    problem = Problem()
    problem.arrays |= {"X": X, "y": np.zeros(len(X), np.int64), "sample_weight": None}
    training = problem.training()
    started, answers = threading.Event(), []

    def work() -> None:
        started.set()
        answers.append(training.run(None, 1e9))

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()

    def use() -> None:
        while thread.is_alive():  # the thread may not have begun its call yet
            training.apply(problem.arrays["gradient"])

    with pytest.raises(RuntimeError, match="another thread"):
        use()
    thread.join()
    assert answers == ["epoch"]


@pytest.mark.parametrize("dtype_name", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("shape", [0, 1, 7, (0, 5), (3, 5), 5000])
def test_aligned_arrays(shape: Any, dtype_name: str) -> None:
    array = _core.aligned_empty(shape, dtype_name)
    assert array.shape == np.empty(shape).shape
    assert array.dtype == dtype_name
    assert array.size == 0 or array.ctypes.data % (64 if array.nbytes < 4096 else 4096) == 0
    array[...] = 1
    assert array.flags.writeable


def test_losses_say_what_they_are_for() -> None:
    for name, loss in _core.LOSSES.items():
        spec = reference.LOSSES[name]
        assert loss.mean_over_outputs == spec.reported_as_mean
        Y = spec.draw(np.random.default_rng(0), (50, 4))
        assert Y.min() >= loss.lowest
        assert Y.max() <= loss.highest
        network = _core.Network((4, 4), "identity", name, "float64")
        params = np.zeros(network.n_params)
        network.coefs(params)[0][:] = np.eye(4)
        outputs, Z = np.empty((1, 4)), np.array([[-1.0, 0.0, 0.5, 2.0]])
        network.predict(params, Z, outputs)
        links = {"identity": Z, "exp": np.exp(Z), "logistic": 1 / (1 + np.exp(-Z))}
        links["softmax"] = links["exp"] / links["exp"].sum()
        assert_allclose(outputs, links[loss.output], rtol=1e-14)
