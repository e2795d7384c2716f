"""Threads: the engine's own, Python's beside it, and a child process after it."""

import inspect
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
from scipy.sparse import csr_array, csr_matrix

from fastmlp import MLPClassifier, _core, engine_settings, fitting, threads

N_UNITS = (20, 96, 64, 5)
SETTINGS = {"batch_size": 50, "learning_rate": 0.01, "n_threads": 2}


def train_once(train: Any, seed: int = 0, n_epochs: int = 2, **settings: Any) -> tuple[bytes, bytes, float]:
    X, Y, params = reference.problem(N_UNITS, "log_loss", 500, seed)
    network = _core.Network(N_UNITS, "relu", "log_loss", "float32")
    bits: tuple[bytes, bytes, float] = train(
        network, params, X, Y, n_epochs=n_epochs, optimizer="adam", **{**SETTINGS, **settings}
    ).bits()
    return bits


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs a fork that is safe")
def test_child_of_a_fork_trains(isa: str, train: Any) -> None:
    expected = train_once(train)
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)

    def child() -> None:
        writer.send(train_once(train) == expected)

    process = context.Process(target=child)
    process.start()
    process.join(timeout=60)
    hung = process.is_alive()
    if hung:
        process.kill()
    assert not hung, "training in a child hangs"
    assert process.exitcode == 0
    assert reader.poll()
    assert reader.recv() is True
    assert train_once(train) == expected


def test_four_python_threads_train_four_networks(isa: str, train: Any) -> None:
    expected = [train_once(train, seed) for seed in range(4)]
    answers: list[Any] = [None] * 4
    start = threading.Barrier(4)

    def work(seed: int) -> None:
        start.wait()
        answers[seed] = train_once(train, seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == expected


def test_another_python_thread_runs_meanwhile() -> None:
    """The interpreter never takes the GIL away here, so that the other thread runs only where training gives it up."""
    X, Y, params = reference.problem(N_UNITS, "log_loss", 20000)
    network = _core.Network(N_UNITS, "relu", "log_loss", "float32")
    slots = np.zeros((0, network.n_params), "float32")
    training = _core.Training(network, params.astype("float32"), slots, X, Y, batch_size=20, learning_rate=1e-4)
    progress = [0]
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            progress[0] += 1
            time.sleep(1e-4)  # gives the GIL up

    other = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        other.start()
        before = progress[0]
        training.run(seconds=0.3)
        after = progress[0]
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        other.join()
    assert after > before


@pytest.mark.parametrize("n_units", [(8192, 2), (2, 8192), (3, 8192, 2)])
def test_huge_widths(isa: str, n_units: tuple[int, ...], train: Any) -> None:
    X, Y, params = reference.problem(n_units, "squared_error", 20)
    settings = {"batch_size": 8, "learning_rate": 1e-3}
    network = _core.Network(n_units, "tanh", "squared_error", "float64")
    answers = [train(network, params, X, Y, n_threads=n, **settings) for n in (1, 2)]
    assert answers[0].bits() == answers[1].bits()
    expected, *_ = reference.train(reference.Network(n_units, "tanh", "squared_error"), params, X, Y, **settings)
    # Three steps with sums of 8192 terms, whose roundings of half a unit add up like a random walk.
    np.testing.assert_allclose(answers[0].params, expected, rtol=0, atol=8192 * np.finfo(np.float64).eps)


@pytest.mark.parametrize("batch_size", [257, 513, 1000])
def test_batches_of_several_chunks(isa: str, dtype: str, batch_size: int, train: Any) -> None:
    n_units = (7, 30, 3)
    X, Y, params = reference.problem(n_units, "log_loss", 1000)
    settings = {"batch_size": batch_size, "learning_rate": 0.5, "n_epochs": 5}
    network = _core.Network(n_units, "logistic", "log_loss", dtype)
    answers = [train(network, params, X, Y, n_threads=n, **settings) for n in (1, 3)]
    assert answers[0].bits() == answers[1].bits()
    expected, _, loss = reference.train(reference.Network(n_units, "logistic", "log_loss"), params, X, Y, **settings)
    # Sums over up to 1000 rows in chains, averaged.
    tolerance = 1000 * np.finfo(dtype).eps
    np.testing.assert_allclose(answers[0].params, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(answers[0].loss, loss, rtol=tolerance)


@pytest.mark.parametrize("batch_size", [3, 16])
def test_a_gradient_that_reads_the_weights(isa: str, batch_size: int, train: Any) -> None:
    """No thread updates them meanwhile: as the thread sanitizer sees, whoever comes first."""
    alone = train_once(train, batch_size=batch_size, n_threads=1)
    assert train_once(train, batch_size=batch_size, n_threads=3) == alone


def test_more_threads_than_columns(isa: str, train: Any) -> None:
    X, Y, params = reference.problem((2, 3, 1), "squared_error", 12)
    network = _core.Network((2, 3, 1), "tanh", "squared_error", "float64")
    settings = {"batch_size": 4, "learning_rate": 0.1}
    one, many = (train(network, params, X, Y, n_threads=n, **settings) for n in (1, 16))
    assert one.bits() == many.bits()


def test_barrier_latency_is_a_time() -> None:
    assert 0 <= _core.barrier_latency(2, 1000) < 1
    for n_threads in (-1, 0, 257, 300, 2**31):
        with pytest.raises(ValueError, match="n_threads"):
            _core.barrier_latency(n_threads, 1)
    for n_barriers in (-1, 0, 2**64):
        with pytest.raises(ValueError, match="n_barriers"):
            _core.barrier_latency(2, n_barriers)


def test_fma_peak_is_a_rate(isa: str, precision: str) -> None:
    assert 0.001 < _core.fma_peak(precision, 0.01) < 1e5  # of a build for debugging, too


@pytest.mark.parametrize("pace", ["one thread is faster", "two threads are faster"])
@pytest.mark.parametrize(("batch_size", "seconds"), [(50, 0.1), (400, 0.0)])
def test_paced_training_keeps_the_faster_team(pace, batch_size, seconds, monkeypatch):
    """By a clock that counts rows, fewer seconds each for one of the two numbers; the bits are those of one thread."""
    faster = 1 if pace.startswith("one") else 2
    rng = np.random.RandomState(0)
    X, y = rng.rand(400, 30), rng.randint(3, size=400, dtype=np.int64)
    network = _core.Network((30, 20, 3), "relu", "log_loss", "float64")
    initial = rng.uniform(-0.1, 0.1, network.n_params)
    params, expected, slots = initial.copy(), initial.copy(), np.zeros((0, network.n_params))
    settings = {"batch_size": batch_size, "learning_rate": 0.1}
    plain = _core.Training(network, expected, slots, X, y, **settings)
    paced = threads.PacedTraining(network, params, slots, X, y, **settings, n_threads=2)
    now, last, used, rows_of = 0.0, 0, [], {1: 0, 2: 0}

    def clock():
        nonlocal now, last
        rows = paced.step * batch_size + paced.position % batch_size
        now += (rows - last) * (5e-5 if paced.n_threads == faster else 12e-5)
        rows_of[paced.n_threads] += rows - last
        last = rows
        if used[-1:] != [paced.n_threads]:
            used.append(paced.n_threads)
        return now

    monkeypatch.setattr(threads, "perf_counter", clock)
    monkeypatch.setattr(threads, "TERM_SECONDS", 0.1)
    monkeypatch.setattr(threads, "TERM_STEPS", 5)
    for training in (paced, plain):
        for _ in range(20):
            while training.run(None, seconds) != "epoch":
                pass
    assert used[:4] == [2, 1, 2, 1]
    assert rows_of[faster] > 0.6 * sum(rows_of.values())
    np.testing.assert_array_equal(params, expected)


@pytest.mark.parametrize(
    ("seconds_of_two", "seconds_of_one", "first", "trials", "faster"),
    [
        (1 / 32, 1 / 16, 60, [2, 1, 2, 1], 2),  # steps of a thirty-second: 60 take longer than a second
        (1 / 128, 257 / 2**15, 128, [2, 1, 2, 1], 2),  # a second takes more than 60
        (4.0, 2.0, 60, [2, 1, 2, 1], 1),  # less than a row in a second
        (5 / 1024, 41 / 8192, 205, [2, 2, 1, 2, 2, 1], 2),  # two steps of almost 0.005 s, or one of a bit more
    ],
)
def test_terms_and_trials_of_paced_training(
    seconds_of_two: float, seconds_of_one: float, first: int, trials: list[int], faster: int, monkeypatch: Any
) -> None:
    """A second and 60 steps at least, then each number of threads twice for 0.005 s, by a clock that counts steps."""
    X, y = np.random.RandomState(0).rand(2000, 3), np.zeros(2000, np.int64)
    network = _core.Network((3, 2, 2), "relu", "log_loss", "float64")
    params, slots = np.zeros(network.n_params), np.zeros((0, network.n_params))
    paced = threads.PacedTraining(network, params, slots, X, y, batch_size=1, learning_rate=0.1, n_threads=2)
    now, last, used = 0.0, 0, list[int]()

    def clock() -> float:
        nonlocal now, last
        now += (paced.step - last) * (seconds_of_two if paced.n_threads == 2 else seconds_of_one)
        last = paced.step
        return now

    monkeypatch.setattr(threads, "perf_counter", clock)
    # The number is changed where the next trial begins; the last one ends with the faster.
    second = first if faster == 2 else max(60, int(1 / seconds_of_one))
    expected = [2] * first + [*trials[:-1], faster] + [faster] * second + [*trials[:-1], faster]
    while len(used) < min(len(expected), 264):
        paced.run(None, 0.0)
        used.append(paced.n_threads)
    assert paced.step == len(used), "a step is a row"
    assert used == expected[: len(used)]


def test_ctrl_c_of_a_paced_training_is_heard_as_soon() -> None:
    assert inspect.signature(threads.PacedTraining.run).parameters["seconds"].default == 0.1


@pytest.mark.parametrize(("asked", "default", "paced"), [(None, 2, True), (None, 1, False), (2, 1, False)])
def test_numbers_of_threads_are_tried_where_the_default_is_several(asked, default, paced, monkeypatch):
    used = []

    class Watched(threads.PacedTraining):
        def run(self, *arguments, **options):
            used.append(self.n_threads)
            return super().run(*arguments, **options)

    monkeypatch.setattr(fitting, "PacedTraining", Watched)
    monkeypatch.setattr(engine_settings, "default_threads", lambda flops: default)
    MLPClassifier(hidden_layer_sizes=(3,), n_threads=asked).partial_fit(np.eye(3), [0, 1, 2], classes=[0, 1, 2])
    assert used == [2] * paced


def test_sparse_rows_are_their_share_of_the_work() -> None:
    """Of the two products of the first layer: 4 operations for each weight, and row, that has an entry."""
    network = _core.Network((10, 20, 3), "relu", "squared_error", "float64")
    values = np.zeros((40, 10))
    values.flat[::4] = 1.0
    dense = threads.step_flops(network, values, 8)
    assert dense == network.step_flops(8) > 4 * 8 * 10 * 20
    assert threads.step_flops(network, csr_array(values), 8) == dense - 0.75 * 4 * 8 * 10 * 20
    assert threads.step_flops(network, csr_array(np.ones((40, 10))), 8) == dense


def test_work_of_a_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of a step's, as if of eight rows at least; 30 million operations are worth two threads, 80 a third."""
    asked = []

    def predicted_with(n_operations: float, n_rows: int = 8) -> int:
        def step_flops(network: Any, rows: Any, batch_size: int) -> float:
            asked.append(batch_size)
            return 3 * n_operations

        monkeypatch.setattr(threads, "step_flops", step_flops)
        return threads.prediction_threads(None, np.zeros((n_rows, 1)))

    monkeypatch.setattr(threads, "usable_cpus", lambda: (9, "for this test"))
    assert [predicted_with(work) for work in (30e6 - 1, 30e6, 80e6 - 1, 80e6)] == [1, 2, 2, 3]
    for n_rows in (1, 7, 9):
        predicted_with(1e6, n_rows)
    assert asked == [8] * 6 + [9]


def test_what_limits_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least of all limits; an environment that says 0 says nothing, nor does a system that does not know."""
    monkeypatch.setattr(threads, "_cgroup_quotas", lambda *_: ())
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 64)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda pid: {0: range(3)}[pid], raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "5")
    assert threads.usable_cpus() == (3, "CPU affinity of this process")
    monkeypatch.setenv("OMP_NUM_THREADS", "2,4")
    assert threads.usable_cpus() == (2, "OMP_NUM_THREADS")
    monkeypatch.setattr(threads, "_cgroup_quotas", lambda *_: (1.5, 0.2))
    assert threads.usable_cpus() == (1, "CPU quota of the control group")
    monkeypatch.setattr(threads, "_cgroup_quotas", lambda *_: ())
    monkeypatch.setattr(threads.os, "cpu_count", lambda: None)
    assert threads.usable_cpus() == (1, "CPUs of this machine")


@pytest.mark.parametrize("as_matrix", [np.asarray, csr_matrix])
@pytest.mark.parametrize("n_rows", [1, 2, 31, 64, 65, 100, 257, 600])
@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_predictions_and_losses_are_those_of_one_thread(
    isa: str, precision: str, n_rows: int, as_matrix: Callable[..., Any]
) -> None:
    """Threads take chunks of rows, whose length depends on how many threads there are, or columns of a single chunk."""
    n_units = (5, 150, 70, 3)
    X, Y, params = reference.problem(n_units, "squared_error", n_rows)
    network = _core.Network(n_units, "tanh", "squared_error", precision)
    X, params = as_matrix(X.astype(network.dtype)), params.astype(network.dtype)
    expected = np.empty((n_rows, 3), network.dtype)
    network.predict(params, X, expected, 1)
    loss = network.evaluate(params, X, Y, None, 1)
    for n_threads in (2, 3, 16):
        outputs = np.full_like(expected, np.nan)
        network.predict(params, X, outputs, n_threads)
        np.testing.assert_array_equal(outputs, expected)
        assert network.evaluate(params, X, Y, None, n_threads) == loss
