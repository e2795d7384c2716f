"""Rows of X: what they are stored as, and how, changes nothing in what is learned from them, bit for bit."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import scipy.sparse
from conftest import at_the_end_of_memory
from numpy.typing import NDArray

from fastmlp import _core

N_ROWS, N_COLUMNS = 41, 19
N_UNITS = (N_COLUMNS, 23, 4)
SETTINGS = {"batch_size": 8, "learning_rate": 0.05, "alpha": 0.1, "optimizer": "sgd_momentum"}
DTYPES = ["float32", "float64", "uint8"]


def pixels(seed: int = 0) -> NDArray[np.uint8]:
    """Whole numbers from 0 to 255, most of them 0, which every dtype of X holds; one row and one column all zero."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 256, (N_ROWS, N_COLUMNS)) * (rng.random((N_ROWS, N_COLUMNS)) < 0.3)
    X[5], X[:, 3] = 0, 0
    return X.astype(np.uint8)


def learned(network: _core.Network, X: Any, train: Any, order: NDArray[np.int64] | None = None) -> tuple[Any, ...]:
    """Everything that the engine computes from X, as bytes."""
    _, _, params = reference.problem(N_UNITS, "log_loss", 1)
    params[: N_COLUMNS * N_UNITS[1]] /= 256  # inputs go up to 255
    classes = np.arange(N_ROWS) % N_UNITS[-1]
    outputs = np.empty((N_ROWS, N_UNITS[-1]), network.dtype)
    gradient = np.empty(network.n_params, network.dtype)
    params = params.astype(network.dtype)
    network.predict(params, X, outputs)
    loss = network.loss_gradient(params, X, classes, None, 0.1, gradient)
    trained = train(network, params, X, classes, order=order, n_epochs=2, **SETTINGS)
    assert np.isfinite(trained.params).all()
    return outputs.tobytes(), gradient.tobytes(), loss, *trained.bits()


@pytest.fixture
def network(isa: str, dtype: str) -> _core.Network:
    return _core.Network(N_UNITS, "logistic", "log_loss", dtype)


def test_dtypes_of_x(network: _core.Network, train: Any) -> None:
    answers = [learned(network, pixels().astype(dtype), train) for dtype in DTYPES]
    assert answers[1:] == answers[:1] * 2


def test_values_are_converted_to_the_dtype_of_the_network(network: _core.Network, train: Any) -> None:
    X = np.random.default_rng(0).standard_normal((N_ROWS, N_COLUMNS))
    assert learned(network, X, train) == learned(network, X.astype(network.dtype), train)
    assert learned(network, X.astype(np.float32), train) == learned(network, X.astype(np.float32).astype(float), train)


def layouts(X: NDArray[Any], folder: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """The same rows in other places of memory."""
    yield "wider rows", np.pad(X, ((0, 0), (2, 5)), constant_values=99)[:, 2:-5]
    yield "every third row", X.repeat(3, axis=0)[::3]
    yield "from the last row to the first", X[::-1].copy()[::-1]
    yield "every second row, backwards, of wider ones", np.pad(X[::-1].repeat(2, axis=0), ((0, 0), (0, 3)))[::-2, :-3]
    read_only = X.copy()
    read_only.setflags(write=False)
    yield "read-only", read_only
    np.save(folder / "X.npy", X)
    yield "memory-mapped", np.load(folder / "X.npy", mmap_mode="r")


@pytest.mark.parametrize("dtype_x", DTYPES)
def test_layouts(network: _core.Network, dtype_x: str, train: Any, tmp_path: Path) -> None:
    X = pixels().astype(dtype_x)
    expected = learned(network, X, train)
    for name, view in layouts(X, tmp_path):
        assert np.array_equal(view, X), name
        assert learned(network, view, train) == expected, name


def test_one_row_for_all(network: _core.Network, train: Any) -> None:
    X = np.broadcast_to(pixels()[0], (N_ROWS, N_COLUMNS))
    assert learned(network, X, train) == learned(network, X.copy(), train)


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("dtype_x", DTYPES)
def test_csr_is_dense(network: _core.Network, dtype_x: str, index: str, train: Any) -> None:
    X = pixels().astype(dtype_x)
    expected = learned(network, X, train)
    for kind in (scipy.sparse.csr_array, scipy.sparse.csr_matrix):
        sparse = kind(X)
        sparse.indices, sparse.indptr = sparse.indices.astype(index), sparse.indptr.astype(index)
        assert learned(network, sparse, train) == expected


def test_csr_with_stored_zeros(network: _core.Network, train: Any) -> None:
    X = pixels().astype(np.float32)
    sparse = scipy.sparse.csr_array(X + 1.0)
    sparse.data -= 1.0
    assert sparse.nnz == X.size
    assert learned(network, sparse, train) == learned(network, X, train)


def test_few_rows_of_few_values(isa: str, precision: str) -> None:
    """A prediction that reads the weights of these values where they lie; some rows have none."""
    n_units = (600, 70, 3)
    _, _, params = reference.problem(n_units, "squared_error", 1)
    network = _core.Network(n_units, "tanh", "squared_error", precision)
    X, params = np.zeros((9, 600), np.float32), params.astype(network.dtype)
    X[::2, ::50] = np.random.default_rng(0).standard_normal((5, 12))
    ours, expected = np.empty((2, 9, 3), network.dtype)
    network.predict(params, scipy.sparse.csr_array(X), ours)
    network.predict(params, X, expected)
    assert ours.tobytes() == expected.tobytes()
    assert np.ptp(expected[::2]) > 0.1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("as_matrix", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("n_rows", [3, 40])
def test_a_prediction_notices_what_is_not_finite(
    isa: str, precision: str, n_rows: int, as_matrix: Any, value: float
) -> None:
    """In any column of any row; 1e39 is infinite as a float32."""
    network = _core.Network((70, 3), "identity", "squared_error", precision)
    params, outputs = np.ones(network.n_params, network.dtype), np.empty((n_rows, 3), network.dtype)
    for column in range(70):
        X = np.ones((n_rows, 70))
        assert network.predict(params, as_matrix(X), outputs)
        X[column % n_rows, column] = value
        noticed = precision != "float64" or not np.isfinite(value)
        assert network.predict(params, as_matrix(X), outputs) != noticed


def test_csr_without_any_value(network: _core.Network, train: Any) -> None:
    X = np.zeros((N_ROWS, N_COLUMNS), np.float32)
    assert learned(network, scipy.sparse.csr_array(X), train) == learned(network, X, train)


@pytest.mark.parametrize("as_matrix", [np.asarray, scipy.sparse.csr_array])
def test_order_is_that_of_permuted_rows(network: _core.Network, as_matrix: Any, train: Any) -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(N_ROWS).astype(np.int64)
    X = pixels().astype(np.float32)
    _, _, params = reference.problem(N_UNITS, "log_loss", 1)
    classes, weight = rng.integers(0, N_UNITS[-1], N_ROWS), rng.uniform(0.5, 2, N_ROWS)
    Y = np.eye(N_UNITS[-1])
    for y in (classes, Y[classes]):
        ordered = train(network, params, as_matrix(X), y, weight, order=order, **SETTINGS)
        moved = train(network, params, as_matrix(X[order]), y[order], weight[order], **SETTINGS)
        assert ordered.bits() == moved.bits()
        assert ordered.bits() != train(network, params, as_matrix(X), y, weight, **SETTINGS).bits()


@pytest.mark.parametrize("dtype_y", DTYPES)
def test_targets_in_wider_rows(isa: str, dtype: str, dtype_y: str, train: Any) -> None:
    network = _core.Network(N_UNITS, "tanh", "squared_error", dtype)
    X, Y, params = reference.problem(N_UNITS, "squared_error", N_ROWS)
    Y = np.abs(10 * Y).astype(dtype_y)
    view = np.pad(Y[::-1], ((0, 0), (1, 2)))[::-1, 1:-2]
    settings = {"batch_size": 10, "learning_rate": 0.01}
    assert train(network, params, X, view, **settings).bits() == train(network, params, X, Y, **settings).bits()


def sparse_at_the_end_of_memory(X: NDArray[Any]) -> scipy.sparse.csr_array:
    matrix = scipy.sparse.csr_array(X)
    for part in ("data", "indices", "indptr"):
        setattr(matrix, part, at_the_end_of_memory(getattr(matrix, part)))
    return matrix


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect as Linux has it")
@pytest.mark.parametrize("as_matrix", [at_the_end_of_memory, sparse_at_the_end_of_memory])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("n_rows", [1, 13, 300])
def test_nothing_is_read_behind_the_rows(
    isa: str, precision: str, n_rows: int, ordered: bool, as_matrix: Any, train: Any
) -> None:
    """Nor behind targets, classes, weights and order: registers are wider than what is left of them."""
    network = _core.Network(N_UNITS, "tanh", "squared_error", precision)
    X, Y, params = reference.problem(N_UNITS, "squared_error", n_rows)
    weight, order = np.linspace(0.5, 2, n_rows), np.arange(n_rows)[::-1].copy()
    for y in (Y, np.arange(n_rows) % N_UNITS[-1]):
        for n_threads in (1, 2):
            settings = {"n_threads": n_threads, "learning_rate": 0.01, "batch_size": min(n_rows, 270)}
            settings["order"] = at_the_end_of_memory(order) if ordered else None
            edge = train(
                network, params, as_matrix(X), at_the_end_of_memory(y), at_the_end_of_memory(weight), **settings
            )
            assert edge.bits() == train(network, params, X, y, weight, **settings).bits()


def test_the_door_refuses_what_the_engine_cannot_address():
    """Rows whose elements lie apart, arrays of another dtype or with gaps would be read as something else."""
    network = _core.Network((4, 3), "relu", "log_loss", "float64")
    params, slots, X = np.zeros(network.n_params), np.zeros((0, network.n_params)), np.ones((6, 4))
    Y, classes = np.eye(3)[[0, 1, 2, 0, 1, 2]], np.zeros(12, np.int64)
    csr = scipy.sparse.csr_array(X)
    swapped = [part.astype(part.dtype.newbyteorder()) for part in (X, Y, csr.indices, csr.indptr)]

    def sparse_with(**parts):
        matrix = csr.copy()
        for name, part in parts.items():
            setattr(matrix, name, part)
        return matrix

    refused = [
        (params, np.asfortranarray(X), classes[:6], None),
        (params, X, np.asfortranarray(Y), None),
        (params, X, classes[::2], None),
        (params, X, classes[:6].astype(np.int32), None),
        (params, X, classes[:6], np.ones(6, np.float32)),
        (params, X, classes[:6], np.ones(12)[::2]),
        (params.astype(np.float32), X, classes[:6], None),
        (params, sparse_with(data=np.ones(48)[::2]), classes[:6], None),
        (params, sparse_with(indices=np.repeat(csr.indices, 2)[::2]), classes[:6], None),
        (params, sparse_with(indices=csr.indices.astype(np.int64)), classes[:6], None),
        (
            params,
            sparse_with(indices=csr.indices.astype("int16"), indptr=csr.indptr.astype("int16")),
            classes[:6],
            None,
        ),
        (params, swapped[0], classes[:6], None),
        (params, X, swapped[1], None),
        (params, sparse_with(data=csr.data.astype(swapped[0].dtype)), classes[:6], None),
        (params, sparse_with(indices=swapped[2], indptr=swapped[3]), classes[:6], None),
    ]
    _core.Training(network, params, slots, X, classes[:6], batch_size=6)
    for arguments in refused:
        with pytest.raises((BufferError, TypeError, ValueError)):
            _core.Training(network, arguments[0], slots, *arguments[1:], batch_size=6)
    with pytest.raises(TypeError, match="int64"):
        _core.Training(network, params, slots, X, classes[:6], batch_size=6).run(np.arange(6, dtype=np.int32))
