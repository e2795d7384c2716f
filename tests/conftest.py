"""What the tests share: the instruction sets of this machine, the engine's training loop in one call, the data."""

import ctypes
import mmap
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import SPECIES, write_csv
from numpy.typing import NDArray
from sklearn.datasets import load_iris

from fastmlp import _core
from fastmlp.tabular_training import PRESETS, Preset

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("FASTMLP_DATA", ROOT.parent / "shared" / "data"))


def pytest_configure() -> None:
    """Ctrl-C is ignored in what a shell starts in the background: tests of it would wait for ever, or fail."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each instruction set that this machine can run, in force for networks that the test constructs."""
    monkeypatch.setenv("FASTMLP_ISA", request.param)
    return str(request.param)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    """Each dtype that the engine computes in."""
    return str(request.param)


@pytest.fixture(params=["float32", "float64", "bfloat16"])
def precision(request: pytest.FixtureRequest) -> str:
    """Each dtype of the products; that of parameters and outputs is the network's."""
    return str(request.param)


@pytest.fixture(scope="session")
def data_file() -> Callable[[str], Path]:
    """Path of a real data set by its file name; the test is skipped where the file is absent."""

    def path(name: str) -> Path:
        if not (DATA / name).exists():
            pytest.skip(f"needs {name} in {DATA} (the environment variable FASTMLP_DATA names another folder)")
        return DATA / name

    return path


def at_the_end_of_memory(array: NDArray[Any]) -> NDArray[Any]:
    """A copy that ends where memory ends, as one may in a mapped file: reading on is a crash. Linux only."""
    size = -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = np.frombuffer(mmap.mmap(-1, size + mmap.PAGESIZE), np.uint8)
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(memory.ctypes.data + size), mmap.PAGESIZE, 0) == 0
    copy = memory[size - array.nbytes : size].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@dataclass
class Trained:
    """What training leaves behind."""

    params: NDArray[Any]
    slots: NDArray[Any]
    loss: float
    status: str
    n_calls: int

    def bits(self) -> tuple[bytes, bytes, float]:
        """For comparison of two runs bit by bit."""
        return self.params.tobytes(), self.slots.tobytes(), self.loss


def _train(
    network: _core.Network,
    params: NDArray[Any],
    X: Any,
    y: NDArray[Any],
    sample_weight: NDArray[np.float64] | None = None,
    *,
    order: NDArray[np.int64] | None = None,
    n_epochs: int = 1,
    seconds: float = 1e9,
    optimizer: str = "sgd",
    **settings: Any,
) -> Trained:
    params = np.array(params, dtype=network.dtype)
    slots = np.zeros((_core.OPTIMIZERS[optimizer], network.n_params), dtype=network.dtype)
    training = _core.Training(network, params, slots, X, y, sample_weight, optimizer=optimizer, **settings)
    n_calls = 0
    for _ in range(n_epochs):
        status = "yield"
        while status == "yield":
            status = training.run(order, seconds)
            n_calls += 1
    return Trained(params, slots, training.loss, status, n_calls)


@pytest.fixture(scope="session")
def train() -> Callable[..., Trained]:
    """The engine's counterpart of reference.train: parameters in, trained copies out."""
    return _train


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little training of tables: how well it goes is tested elsewhere."""
    monkeypatch.setitem(PRESETS, "default", Preset(1, 16, 1000, 120))


@pytest.fixture
def short_training_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """As short_training, but of two networks."""
    monkeypatch.setitem(PRESETS, "default", Preset(2, 16, 600, 120))


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    """A CSV file of 150 rows, four numbers, three classes with names."""
    X, y = load_iris(return_X_y=True)
    return write_csv(tmp_path / "iris.csv", ["sl", "sw", "pl", "pw", "species"], *X.T, np.array(SPECIES)[y])
