"""The door: what each job reads and writes, and the sizes and counts that it refuses before the engine runs."""

import signal
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import _core

N_ROWS = 300
N_UNITS = (7, 20, 4)
REFUSED = (ValueError, TypeError, BufferError)
BAD_COUNTS = [-1, 0, 257, 2**31, 2**40, 2**70]


class Problem:
    """A network with every array that a job takes."""

    def __init__(self, dtype: str = "float32", optimizer: str = "adam") -> None:
        X, _, params = reference.problem(N_UNITS, "squared_error", N_ROWS)
        rng = np.random.default_rng(0)
        self.network = _core.Network(N_UNITS, "tanh", "log_loss", dtype)
        self.optimizer = optimizer
        dtype = self.network.dtype
        self.arrays: dict[str, Any] = {
            "params": params.astype(dtype),
            "slots": np.zeros((_core.OPTIMIZERS[optimizer], len(params)), dtype),
            "X": X,
            "y": rng.integers(0, 4, N_ROWS),
            "sample_weight": rng.uniform(0.5, 2, N_ROWS),
            "gradient": np.zeros(len(params), dtype),
            "outputs": np.zeros((N_ROWS, 4), dtype),
            "order": rng.permutation(N_ROWS).astype(np.int64),
            "rates": np.full(3, 0.01),
        }

    def training(self, **settings: Any) -> _core.Training:
        a = self.arrays
        settings = {"optimizer": self.optimizer, "batch_size": 100, "learning_rate": 0.01} | settings
        return _core.Training(self.network, a["params"], a["slots"], a["X"], a["y"], a["sample_weight"], **settings)

    def train(self, **settings: Any) -> Any:
        return self.training(**settings).run(self.arrays["order"], 1e9, self.arrays["rates"])

    def apply(self, **settings: Any) -> Any:
        return self.training(**settings).apply(self.arrays["gradient"])

    def predict(self, n_threads: Any = 1) -> Any:
        a = self.arrays
        return self.network.predict(a["params"], a["X"], a["outputs"], n_threads)

    def evaluate(self, n_threads: Any = 1, seconds: float = 0.1) -> Any:
        a = self.arrays
        return self.network.evaluate(a["params"], a["X"], a["y"], a["sample_weight"], n_threads, seconds)

    def loss_gradient(self, n_threads: Any = 1) -> Any:
        a = self.arrays
        rows = (a["X"], a["y"], a["sample_weight"])
        return self.network.loss_gradient(a["params"], *rows, 0.0, a["gradient"], n_threads)


JOBS: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "train": (Problem.train, ["params", "slots", "y", "sample_weight", "order", "rates"]),
    "apply": (Problem.apply, ["params", "slots", "gradient"]),
    "predict": (Problem.predict, ["params", "outputs"]),
    "evaluate": (Problem.evaluate, ["params", "y", "sample_weight"]),
    "loss_gradient": (Problem.loss_gradient, ["params", "y", "sample_weight", "gradient"]),
}


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


@pytest.mark.parametrize("clip_norm", [None, 0.05, 1e9])
@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_apply_is_the_update_of_a_step(isa: str, precision: str, optimizer: str, clip_norm: float | None) -> None:
    """A gradient and its application, against training on the same batches."""
    together, apart = Problem(precision, optimizer), Problem(precision, optimizer)
    settings = {"batch_size": N_ROWS, "alpha": 0.1, "epsilon": 1e-2, "weight_decay": 0.1, "clip_norm": clip_norm}
    training, steps = together.training(**settings), apart.training(**settings)
    for _ in range(5):
        assert training.run(seconds=1e9) == "epoch"
        a = apart.arrays
        apart.network.loss_gradient(a["params"], a["X"], a["y"], a["sample_weight"], 0.1, a["gradient"])
        assert steps.apply(a["gradient"])
    assert steps.step == training.step == 5
    assert np.abs(together.arrays["params"] - Problem(precision).arrays["params"]).max() > 1e-3, "nothing was learned"
    # The gradient is rounded once more, five times; adam divides by epsilon at worst.
    tolerance = 1000 * np.finfo(apart.network.dtype).eps
    assert_allclose(steps.gradient_norm, training.gradient_norm, rtol=tolerance)
    assert_allclose(apart.arrays["params"], together.arrays["params"], rtol=0, atol=tolerance)
    assert_allclose(apart.arrays["slots"], together.arrays["slots"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_rates_of_single_steps(isa: str, dtype: str, optimizer: str) -> None:
    """As if each batch were a call of its own at its rate, wherever the epoch is interrupted."""
    expected = Problem(dtype, optimizer)
    rates = np.array([0.02, 0.005, 0.01])
    training = expected.training()
    for rate in rates:
        training.learning_rate = rate
        status = training.run(None, 0.0)
    assert status == "epoch"
    for seconds in (1e9, 0.0):
        problem = Problem(dtype, optimizer)
        training = problem.training(learning_rate=99.0)
        while training.run(None, seconds, rates) != "epoch":
            pass
        assert training.learning_rate == 99.0
        for name in ("params", "slots"):
            assert_array_equal(problem.arrays[name], expected.arrays[name])


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_nothing_is_stored_where_training_diverges(isa: str, dtype: str, optimizer: str, n_threads: int) -> None:
    for spoil in ("rates", "X", "gradient"):
        problem = Problem(dtype, optimizer)
        problem.arrays[spoil].flat[-1] = np.nan
        before = {name: problem.arrays[name].copy() for name in ("params", "slots")}
        training = problem.training(n_threads=n_threads, step=7)
        if spoil == "gradient":
            assert not training.apply(problem.arrays["gradient"])
        else:
            order = np.arange(N_ROWS)
            assert training.run(order, 1e9, problem.arrays["rates"]) == "not_finite"
        for name, array in before.items():
            assert_array_equal(problem.arrays[name], array)
        assert training.step == 7


def test_a_batch_that_diverges_begins_anew(isa: str, dtype: str) -> None:
    n_rows = 600  # more than a chunk
    network = _core.Network((2, 3, 1), "relu", "squared_error", dtype)
    params = np.full(network.n_params, 0.1, dtype)
    X, Y = np.ones((2, n_rows, 2), dtype)
    Y = Y[:, :1].copy()
    training = _core.Training(network, params, np.empty((0, len(params)), dtype), X, Y, batch_size=n_rows)
    Y[-1] = np.nan
    assert training.run(None, 0.0) == "yield"
    while (status := training.run(None, 0.0)) == "yield":
        pass
    assert status == "not_finite"
    assert_array_equal(params, np.full_like(params, 0.1))
    Y[-1] = 1
    assert training.run(seconds=1e9) == "epoch"
    assert training.step == 1


def test_activations_by_layer(isa: str, dtype: str, train: Any) -> None:
    n_units, names = (5, 9, 17, 6, 3), ["tanh", "relu", "logistic"]
    X, Y, params = reference.problem(n_units, "squared_error", 40)
    network = _core.Network(n_units, names, "squared_error", dtype)
    assert network.activation == tuple(names)
    spec = reference.Network(n_units, names, "squared_error")
    settings = {"batch_size": 8, "learning_rate": 0.05}
    trained = train(network, params, X, Y, **settings)
    expected, *_ = reference.train(spec, params, X, Y, **settings)
    # Five steps on numbers of size 1, with sums of at most 17 terms.
    tolerance = 500 * np.finfo(dtype).eps
    assert_allclose(trained.params, expected, rtol=0, atol=tolerance)
    outputs = np.empty((len(X), 3), dtype)
    for n_rows in (3, 40):
        network.predict(params.astype(dtype), X[:n_rows], outputs[:n_rows])
        assert_allclose(outputs[:n_rows], spec.outputs(params, X[:n_rows]), rtol=0, atol=tolerance)
    same = _core.Network(n_units, ["tanh"] * 3, "squared_error", dtype)
    one = _core.Network(n_units, "tanh", "squared_error", dtype)
    assert train(same, params, X, Y, **settings).bits() == train(one, params, X, Y, **settings).bits()


@pytest.mark.parametrize("clip_norm", [None, 0.01])
@pytest.mark.parametrize("size", [1e-20, 1e-45, 1e-200, 1e-320, 1e18, 1e60, 1e300])
def test_weights_of_any_size(isa: str, dtype: str, size: float, clip_norm: float | None, train: Any) -> None:
    """Only their ratios count: those that float32 cannot hold train as others do."""
    X, Y, params = reference.problem((4, 6, 3), "squared_error", 20)
    weight = np.random.default_rng(0).integers(1, 5, 20).astype(float)
    network = _core.Network((4, 6, 3), "tanh", "squared_error", dtype)
    settings = {"batch_size": 5, "learning_rate": 0.1, "clip_norm": clip_norm}
    expected = train(network, params, X, Y, weight, **settings)
    trained = train(network, params, X, Y, weight * size, **settings)
    assert trained.status == "epoch"
    # Scaled weights are rounded: 1e-320 is a denormal of four digits.
    rtol = 1e-3 if size < 1e-300 else 100 * np.finfo(dtype).eps
    assert_allclose(trained.params, expected.params, rtol=rtol, atol=rtol)
    gradient, scaled = np.empty((2, network.n_params), dtype)
    loss = network.loss_gradient(params.astype(dtype), X, Y, weight, 0.0, gradient)
    assert_allclose(network.loss_gradient(params.astype(dtype), X, Y, weight * size, 0.0, scaled), loss, rtol=rtol)
    assert_allclose(scaled, gradient, rtol=rtol, atol=rtol)
    assert_allclose(network.evaluate(params.astype(dtype), X, Y, weight * size), loss, rtol=rtol)


def test_a_scratch_serves_one_training_after_another(isa: str, dtype: str) -> None:
    scratch = _core.Scratch()
    for optimizer in _core.OPTIMIZERS:
        alone, shared = Problem(dtype, optimizer), Problem(dtype, optimizer)
        assert alone.train() == shared.train(scratch=scratch) == "epoch"
        for name in ("params", "slots"):
            assert_array_equal(alone.arrays[name], shared.arrays[name])
    long, other = Problem(dtype).training(batch_size=N_ROWS, scratch=scratch), Problem(dtype)
    assert long.run(None, 0.0) == "yield"
    with pytest.raises(RuntimeError, match="unfinished"):
        long.apply(other.arrays["gradient"])
    assert other.train(scratch=scratch) == "epoch"
    with pytest.raises(RuntimeError, match="overwritten"):
        long.run(seconds=1e9)


def test_an_unfinished_batch_where_memory_ends(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on once there is memory; where another training has freed what it lay in, it says so."""

    def refuse(*_: Any, **__: Any) -> None:
        raise MemoryError

    whole, parted = Problem(dtype), Problem(dtype)
    assert whole.training(batch_size=N_ROWS).run(seconds=1e9) == "epoch"
    scratch = _core.Scratch()
    training = parted.training(batch_size=N_ROWS, scratch=scratch)
    assert training.run(None, 0.0) == "yield"
    training.n_threads = 3  # which needs more
    with monkeypatch.context() as context:
        context.setattr(np, "empty", refuse)
        with pytest.raises(MemoryError):
            training.run(None, 0.0)
    assert training.run(None, 0.0) == "epoch"
    for name in ("params", "slots"):
        assert_array_equal(parted.arrays[name], whole.arrays[name])
    assert training.run(None, 0.0) == "yield"
    other = Problem(dtype).training(batch_size=N_ROWS, n_threads=5, scratch=scratch)
    with monkeypatch.context() as context:
        context.setattr(np, "empty", refuse)
        with pytest.raises(MemoryError):
            other.run(seconds=1e9)
    with pytest.raises(RuntimeError, match="overwritten"):
        training.run(seconds=1e9)


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
@pytest.mark.parametrize("shape", [0, 1, 7, (0, 5), (3, 5)])
def test_aligned_arrays(shape: Any, dtype_name: str) -> None:
    array = _core.aligned_empty(shape, dtype_name)
    assert array.shape == np.empty(shape).shape
    assert array.dtype == dtype_name
    assert array.size == 0 or array.ctypes.data % 64 == 0
    array[...] = 1
    assert array.flags.writeable


def test_scratch_bytes_is_what_is_allocated() -> None:
    """NumPy's allocations, as tracemalloc sees them, are the scratch and a few hundred bytes of Python objects."""
    problem = Problem()
    X = problem.arrays["X"]
    jobs: list[tuple[Callable[[], Any], dict[str, Any]]] = [
        (problem.predict, {"job": "predict"}),
        (problem.evaluate, {"job": "evaluate"}),
        (problem.loss_gradient, {"job": "loss_gradient"}),
        (problem.train, {"optimizer": "adam", "batch_size": 100}),
        (lambda: problem.train(n_threads=2), {"optimizer": "adam", "batch_size": 100, "n_threads": 2}),
    ]
    for run, settings in jobs:
        expected = problem.network.scratch_bytes(X, **settings)
        peaks = []
        for _ in range(3):  # other threads of the process may allocate at the same time
            tracemalloc.start()
            run()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert 0 <= min(peaks) - expected < 10_000


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


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_has_yielded_goes_on_from_its_scratch(isa: str, dtype: str, optimizer: str) -> None:
    """Or from params and slots, where something else has used the scratch or the epoch is over."""
    whole, parted = Problem(dtype, optimizer), Problem(dtype, optimizer)
    scratch = _core.Scratch()
    other = Problem(dtype, optimizer).training(scratch=scratch)
    training = parted.training(scratch=scratch)
    before = parted.arrays["params"].copy()
    assert training.run(None, 0.0) == "yield"
    after = parted.arrays["params"].copy()
    parted.arrays["params"][:] = before  # is lost
    while (status := training.run(None, 0.0)) == "yield":
        pass
    assert status == "epoch"
    reference = whole.training(scratch=(another := _core.Scratch()))
    assert reference.run(seconds=1e9) == "epoch"
    assert_array_equal(parted.arrays["params"], whole.arrays["params"])
    assert not np.array_equal(before, after)

    for arrays in (parted.arrays, whole.arrays):
        arrays["params"][:] = after  # counts: the next epoch begins from it
        arrays["slots"][:] = 0
    scratch.slots = another.slots = None  # or they would not be read
    assert training.run(None, 0.0) == "yield"
    assert other.run(seconds=1e9) == "epoch"  # in the same scratch
    while training.run(None, 0.0) == "yield":
        pass
    assert reference.run(seconds=1e9) == "epoch"
    for name in ("params", "slots"):
        assert_array_equal(parted.arrays[name], whole.arrays[name])


@pytest.mark.parametrize("optimizer", ["sgd_momentum", "adam"])
def test_the_next_training_need_not_read_the_slots(isa: str, dtype: str, optimizer: str) -> None:
    """Whatever its rows and options are: they lie in the scratch, where it was large enough."""
    alone, shared, scratch = Problem(dtype, optimizer), Problem(dtype, optimizer), _core.Scratch()
    X = shared.arrays["X"]
    largest: dict[str, Any] = {"batch_size": 300, "alpha": 0.1, "clip_norm": 1.0, "n_threads": 3}
    small: list[dict[str, Any]] = [{"batch_size": 1}, {"n_threads": 2}, {"alpha": 0.1}, {"batch_size": 300}, {}]
    for options in (*small, largest, *small):
        trainings = alone.training(**options), shared.training(scratch=scratch, **options)
        assert [training.run(None, 1e9) for training in trainings] == ["epoch", "epoch"]
        for name in ("params", "slots"):
            assert_array_equal(alone.arrays[name], shared.arrays[name])
        assert scratch.slots is shared.arrays["slots"]
        if scratch.nbytes >= shared.network.scratch_bytes(X, optimizer=optimizer, **largest):
            shared.arrays["slots"][:] = 7  # is not read: the scratch does not grow any more

    scratch.slots = None
    for problem in (alone, shared):
        problem.arrays["slots"][:] = 0.5
    alone.train(), shared.train(scratch=scratch)
    assert_array_equal(alone.arrays["slots"], shared.arrays["slots"])
    shared.arrays["X"][0, 0] = np.nan
    assert shared.train(scratch=scratch) == "not_finite"
    assert scratch.slots is None


def test_a_training_does_not_go_on_from_one_that_is_gone(dtype: str) -> None:
    """Whose address it may have."""
    alone, shared, scratch = Problem(dtype), Problem(dtype), _core.Scratch()
    options: dict[str, Any] = {"batch_size": 50, "alpha": 0.1, "step": 1}  # the scratch need not grow
    gone = shared.training(scratch=scratch, alpha=0.1)
    assert gone.run(None, 0.0) == "yield"
    address = id(gone)
    del gone
    others = [shared.training(scratch=scratch, **options) for _ in range(100)]
    same = [training for training in others if id(training) == address]
    for problem in (alone, shared):
        problem.arrays["params"][:] = 0.25
        problem.arrays["slots"][:] = shared.arrays["slots"]
    assert alone.training(**options).run(seconds=1e9) == [*same, others[0]][0].run(seconds=1e9) == "epoch"
    assert_array_equal(alone.arrays["params"], shared.arrays["params"])
