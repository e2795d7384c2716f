"""The same bits: for any number of threads, any instruction set with FMA, any position in a batch, any interruption."""

import ctypes
import shutil
import subprocess
from pathlib import Path
from platform import machine
from typing import Any

import numpy as np
import pytest
import reference
import scipy.sparse

from fastmlp import _core

SHAPES = [((19, 33, 7), 24), ((6, 3), 5), ((70, 130, 65, 2), 64), ((12, 200, 10), 300)]
FEW_ROWS = [((30, 300, 70, 3), 16), ((19, 70, 33, 7), 3), ((8, 530, 515, 2), 5), ((3, 52, 4170, 3), 12)]
"""Whose input gradients read the weights themselves: the gradient turned round, in registers, inner products, and the
first again in sums of several parts."""
WITHOUT_FMA = {"x86-64"}
ISAS_WITH_FMA = [isa for isa in _core.available_isas() if isa not in WITHOUT_FMA]
N_THREADS = [1, 2, 3, 5]
CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def everything(
    shape: tuple[tuple[int, ...], int],
    loss: str,
    activation: str,
    optimizer: str,
    precision: str,
    train: Any,
    **run: Any,
) -> tuple[Any, ...]:
    """Bits of two epochs of training, of a gradient and of predictions."""
    n_units, batch_size = shape
    X, Y, params = reference.problem(n_units, loss, 331)
    weight = np.random.default_rng(0).uniform(0, 2, len(X))
    network = _core.Network(n_units, activation, loss, precision)
    settings = {"optimizer": optimizer, "batch_size": batch_size, "alpha": 0.1, "learning_rate": 0.001}
    trained = train(network, params, X, Y, weight, n_epochs=2, **settings, **run)
    outputs, gradient = np.empty((len(X), n_units[-1]), network.dtype), np.empty(network.n_params, network.dtype)
    n_threads, seconds = run.get("n_threads", 1), run.get("seconds", 0.1)
    network.predict(trained.params, X, outputs, n_threads)
    value = network.loss_gradient(trained.params, X, Y, weight, 0.1, gradient, n_threads, seconds)
    assert trained.status == "epoch"
    return *trained.bits(), outputs.tobytes(), gradient.tobytes(), value


def cases() -> list[Any]:
    """Every shape, loss, activation and optimizer at least once, without all of their combinations."""
    names = [tuple(_core.LOSSES), _core.ACTIVATIONS, tuple(_core.OPTIMIZERS)]
    length = max(map(len, names))
    return [(SHAPES[i % len(SHAPES)], *(list_[i % len(list_)] for list_ in names)) for i in range(length * 2)]


@pytest.mark.parametrize("case", cases(), ids=str)
def test_threads(isa: str, precision: str, case: Any, train: Any) -> None:
    answers = [everything(*case, precision, train, n_threads=n) for n in N_THREADS]
    assert answers[1:] == answers[:1] * (len(N_THREADS) - 1)


@pytest.mark.parametrize("shape", FEW_ROWS, ids=str)
def test_threads_with_few_rows(isa: str, precision: str, shape: Any, train: Any) -> None:
    """Many times: a thread that updates weights while another reads them is seen only now and then."""
    answers = [everything(shape, "log_loss", "relu", "sgd", precision, train, n_threads=n) for n in (1, 2, 3, 3, 5, 5)]
    assert answers[1:] == answers[:1] * 5


@pytest.mark.skipif(len(ISAS_WITH_FMA) < 2, reason="this machine runs one instruction set with FMA only")
@pytest.mark.parametrize("case", [*cases(), *((shape, "log_loss", "relu", "sgd") for shape in FEW_ROWS)], ids=str)
def test_instruction_sets(monkeypatch: pytest.MonkeyPatch, precision: str, case: Any, train: Any) -> None:
    answers = []
    for isa in ISAS_WITH_FMA:
        monkeypatch.setenv("FASTMLP_ISA", isa)
        assert _core.isa() == isa
        answers.append(everything(*case, precision, train))
    assert answers[1:] == answers[:1] * (len(ISAS_WITH_FMA) - 1)


@pytest.mark.parametrize("case", cases(), ids=str)
def test_interruptions(isa: str, precision: str, case: Any, train: Any) -> None:
    (_, batch_size), *_ = case
    straight = everything(*case, precision, train)
    assert everything(*case, precision, train, seconds=0.0) == straight
    n_units = case[0][0]
    X, Y, params = reference.problem(n_units, case[1], 331)
    network = _core.Network(n_units, case[2], case[1], precision)
    stopped = train(network, params, X, Y, seconds=0.0, batch_size=batch_size, learning_rate=0.001)
    batches = [min(batch_size, 331 - first) for first in range(0, 331, batch_size)]
    assert stopped.n_calls == sum(-(-rows // 256) for rows in batches), "seconds=0 returns after every chunk"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_longer_chunks_of_a_wide_network(precision: str, train: Any) -> None:
    n_units = (1, 2048, 2048, 1)
    X, Y, params = reference.problem(n_units, "squared_error", 600)
    network = _core.Network(n_units, "relu", "squared_error", precision)
    settings = {"batch_size": 600, "learning_rate": 1e-3}
    straight = train(network, params, X, Y, n_threads=2, **settings)
    chunks = train(network, params, X, Y, seconds=0.0, **settings)
    assert chunks.n_calls == 2
    assert chunks.bits() == straight.bits()


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_another_number_of_threads_goes_on_within_a_batch(isa: str, precision: str, optimizer: str) -> None:
    n_units = (12, 200, 10)
    X, Y, initial = reference.problem(n_units, "squared_error", 900)
    network = _core.Network(n_units, "tanh", "squared_error", precision)
    settings = {"optimizer": optimizer, "batch_size": 800, "learning_rate": 0.01, "alpha": 0.1}
    answers = []
    for numbers, seconds in [((1,), 1e9), ((1, 3, 2), 0.0)]:
        params = initial.astype(network.dtype)
        slots = np.zeros((_core.OPTIMIZERS[optimizer], len(params)), network.dtype)
        training = _core.Training(network, params, slots, X, Y, **settings)
        n_calls = 1
        while (status := training.run(None, seconds)) == "yield":
            training.n_threads = numbers[n_calls % len(numbers)]
            n_calls += 1
        assert status == "epoch"
        answers.append((params.tobytes(), slots.tobytes(), training.loss))
    assert n_calls == 5
    assert answers[0] == answers[1]


@pytest.mark.parametrize("case", cases(), ids=str)
def test_runs(isa: str, precision: str, case: Any, train: Any) -> None:
    assert everything(*case, precision, train) == everything(*case, precision, train)


@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
@pytest.mark.parametrize("loss", _core.LOSSES)
@pytest.mark.parametrize("as_matrix", [np.asarray, scipy.sparse.csr_array])
def test_positions_in_a_batch(isa: str, precision: str, loss: str, activation: str, as_matrix: Any) -> None:
    n_units = (19, 66, 35, 10)
    X, _, params = reference.problem(n_units, loss, 270)
    network = _core.Network(n_units, activation, loss, precision)
    params = params.astype(network.dtype)
    batch = np.empty((len(X), n_units[-1]), network.dtype)
    network.predict(params, as_matrix(X), batch)
    row = np.empty((1, n_units[-1]), network.dtype)
    for i in range(len(X)):
        network.predict(params, as_matrix(X[i : i + 1]), row)
        assert row.tobytes() == batch[i].tobytes(), f"row {i}"
    for n_rows in (12, 13, 40, 64, 65):  # around those of one tile, and of packed weights
        part = np.empty((n_rows, n_units[-1]), network.dtype)
        for start in range(0, len(X) - n_rows, 37):
            network.predict(params, as_matrix(X[start : start + n_rows]), part)
            assert part.tobytes() == batch[start : start + n_rows].tobytes()


def test_predict_with_one_output(isa: str, precision: str) -> None:
    """Narrow outputs, where another way of computing a batch would be tempting."""
    for n_units in [(300, 1), (31, 17, 1), (31, 17, 2)]:
        X, _, params = reference.problem(n_units, "squared_error", 100)
        network = _core.Network(n_units, "tanh", "squared_error", precision)
        batch, row = np.empty((100, n_units[-1]), network.dtype), np.empty((1, n_units[-1]), network.dtype)
        network.predict(params.astype(network.dtype), X, batch)
        for i in range(100):
            network.predict(params.astype(network.dtype), X[i : i + 1], row)
            assert row.tobytes() == batch[i].tobytes()


FLUSH = """
#ifdef __x86_64__
void flush(int on) {
    unsigned mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(on ? mode | 0x8040u : mode & ~0x8040u);
}
#else
void flush(int on) {
    unsigned long mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    __asm__ __volatile__("msr fpcr, %0" : : "r"(on ? mode | 1ul << 24 : mode & ~(1ul << 24)));
}
#endif
"""
"""A thread's denormals become 0, as PyTorch's set_flush_denormal does it, or no longer."""


@pytest.mark.skipif(CC is None or machine() not in ("x86_64", "aarch64"), reason="needs a compiler and a CPU it knows")
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_thread_without_denormals(isa: str, precision: str, n_threads: int, train: Any, tmp_path: Path) -> None:
    """Another library may have switched them off: for the engine there are some, and afterwards none again."""
    (tmp_path / "flush.c").write_text(FLUSH)
    subprocess.run([str(CC), "-shared", "-fPIC", "flush.c", "-o", "flush.so"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "flush.so"))
    network = _core.Network((6, 3), "relu", "squared_error", precision)
    X, Y, _ = reference.problem((6, 3), "squared_error", 40)
    X = (X * float(np.finfo(network.dtype).tiny) / 16).astype(network.dtype)
    none, one = np.zeros(network.n_params, network.dtype), np.ones(network.n_params, network.dtype)
    one[-3:] = 0
    numbers = np.full(40, 1e-40, np.float32)
    weight = np.full(40, 1e-310)

    def answers() -> tuple[Any, ...]:
        outputs, gradient = np.empty((40, 3), network.dtype), np.empty(network.n_params, network.dtype)
        trained = train(network, none, X, Y, batch_size=10, learning_rate=0.5, n_threads=n_threads)
        network.predict(one, X, outputs, n_threads)
        network.loss_gradient(none, X, Y, None, 0.0, gradient, n_threads)
        loss = network.evaluate(none, X, Y, weight, n_threads)
        return *trained.bits(), outputs.tobytes(), gradient.tobytes(), np.float64(loss).tobytes()

    expected = answers()
    library.flush(1)
    try:
        found = answers()
        assert not (numbers * np.float32(0.5)).any()
    finally:
        library.flush(0)
    assert found == expected
