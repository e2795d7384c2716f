"""The three products at the edges of the blocking, on whole numbers so small that every partial sum is exact.

So any order of summation gives the same bits, and the comparison with the reference needs no tolerance.
"""

import sys
from typing import Any

import numpy as np
import pytest
import reference
import scipy.sparse
from conftest import at_the_end_of_memory
from numpy.testing import assert_array_equal

from fastmlp import _core

WIDTHS = [1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 97, 127, 128, 129, 257]
LARGE = 1031
DEEP = 4170
"""Terms of a sum: more than any engine adds up at once."""
BATCHES = [*range(1, 15), 16, 24, 25, 63, 64, 65, 255, 256, 257, 512, 600]
LEARNING_RATE = 0.5


def weight_to_a_power_of_two(n_rows: int) -> np.ndarray | None:
    """Weights of the rows whose sum is a power of two, so that dividing by it is exact; None where ones do."""
    total = 1 << (n_rows - 1).bit_length()
    if total == n_rows:
        return None
    weight = np.ones(n_rows)
    weight[-1] += total - n_rows
    return weight


def check(n_units: tuple[int, ...], n_rows: int, activation: str, dtype: str, train: Any) -> None:
    rng = np.random.default_rng([*n_units, n_rows])
    spec = reference.Network(n_units, activation, "squared_error")
    X = rng.integers(-1, 2, (n_rows, n_units[0])).astype(np.float64)
    Y = rng.integers(-1, 2, (n_rows, n_units[-1])).astype(np.float64)
    params = rng.integers(-1, 2, spec.n_params).astype(np.float64)
    weight = weight_to_a_power_of_two(n_rows)
    total = n_rows if weight is None else weight.sum()
    _, bound = spec.loss_gradient(np.abs(params), np.abs(X), -np.abs(Y), weight)
    assert 2 * bound.max() * total < 2**24, "the partial sums may not be exact in float32"

    network = _core.Network(n_units, activation, "squared_error", dtype)
    assert network.n_params == spec.n_params
    outputs = np.full((n_rows, n_units[-1]), np.nan, dtype)
    network.predict(params.astype(dtype), X, outputs)
    expected = spec.outputs(params, X)
    assert_array_equal(outputs, expected)
    for n_few in {1, min(n_rows, 3)}:  # with W where it lies in the parameters
        few = np.full((n_few, n_units[-1]), np.nan, dtype)
        network.predict(params.astype(dtype), X[:n_few], few)
        assert_array_equal(few, expected[:n_few])
    _, expected = spec.loss_gradient(params, X, Y, weight)
    gradient = np.full(network.n_params, np.nan, dtype)
    network.loss_gradient(params.astype(dtype), X, Y, weight, 0.0, gradient)
    assert_array_equal(gradient, expected)
    trained = train(network, params, X, Y, weight, batch_size=n_rows, learning_rate=LEARNING_RATE)
    assert_array_equal(trained.params, params - LEARNING_RATE * expected)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_widths(isa: str, dtype: str, activation: str, width: int, train: Any) -> None:
    """The width as fan-in, as hidden layer, as outputs, and both sides of a hidden layer's weights."""
    for n_units in [(width, 3), (3, width), (3, width, 2), (2, 3, width), (3, width, width)]:
        check(n_units, 13, activation, dtype, train)


@pytest.mark.parametrize("n_rows", BATCHES)
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_batches(isa: str, dtype: str, activation: str, n_rows: int, train: Any) -> None:
    for n_units in [(5, 3), (3, 33, 7), (2, 17, 1), (3, 70, 10)]:
        check(n_units, n_rows, activation, dtype, train)


@pytest.mark.parametrize("n_units", [(LARGE, 3), (3, LARGE), (3, LARGE, 2), (2, 3, LARGE), (LARGE, 65), (65, LARGE)])
def test_large_prime_width(isa: str, dtype: str, n_units: tuple[int, ...], train: Any) -> None:
    check(n_units, 13, "relu", dtype, train)


@pytest.mark.parametrize("n_units", [(DEEP, 3), (1, 52, DEEP)])
def test_sums_in_several_parts(isa: str, dtype: str, n_units: tuple[int, ...], train: Any) -> None:
    """Of the outputs, and of the gradient of the 52 inputs of a layer."""
    check(n_units, 13, "relu", dtype, train)


@pytest.mark.parametrize("n_rows", [1, 2, 3, 5, 8, 9, 13])
@pytest.mark.parametrize("n_units", [(2, 515, 517, 2), (2, 3, 87382, 1), (515, 517, 2)], ids=str)
def test_few_rows_of_a_layer_with_many_weights(isa: str, dtype: str, n_units: tuple[int, ...], n_rows: int) -> None:
    """Its weights are read once, where they lie, for the gradient of its inputs, which the first layer has none of."""
    X, Y, params = reference.problem(n_units, "squared_error", n_rows)
    network = _core.Network(n_units, "tanh", "squared_error", dtype)
    gradient = np.full(network.n_params, np.nan, dtype)
    network.loss_gradient(params.astype(dtype), X, Y, None, 0.0, gradient)
    _, expected = reference.Network(n_units, "tanh", "squared_error").loss_gradient(params, X, Y)
    # Sums of up to 87382 terms in random order of sign; a wrong row or column would be a hundredth of it all.
    assert np.linalg.norm(gradient - expected) <= 1000 * np.finfo(dtype).eps * np.linalg.norm(expected)


@pytest.mark.parametrize("depth", range(6))
def test_depths(isa: str, dtype: str, depth: int, train: Any) -> None:
    check((3, *[2, 5, 3, 1, 4][:depth], 2), 7, "relu", dtype, train)


def test_rows_in_the_last_short_batch(isa: str, dtype: str, train: Any) -> None:
    """Batches of 8 out of 8 k + r rows, each r from 1 to 8: the last one is divided by its own number of rows."""
    n_units = (3, 18, 2)
    for n_rows in range(9, 17):
        X, Y, params = reference.problem(n_units, "squared_error", n_rows)
        network = _core.Network(n_units, "relu", "squared_error", dtype)
        trained = train(network, params, X, Y, batch_size=8, learning_rate=0.125)
        spec = reference.Network(n_units, "relu", "squared_error")
        expected, *_ = reference.train(spec, params, X, Y, batch_size=8, learning_rate=0.125)
        # Two steps on numbers of size 1 with sums of at most 18 terms.
        np.testing.assert_allclose(trained.params, expected, rtol=0, atol=100 * np.finfo(dtype).eps)


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect as Linux has it")
@pytest.mark.parametrize("n_units", [(1, 1), (3, 1), (9, 5), (2, 17), (65, 1), (130, 5), (129, 113), (4, 33, 3)])
@pytest.mark.parametrize("as_matrix", [np.asarray, scipy.sparse.csr_array])
def test_nothing_is_read_behind_the_parameters(
    isa: str, precision: str, n_units: tuple[int, ...], as_matrix: Any
) -> None:
    network = _core.Network(n_units, "relu", "squared_error", precision)
    params = at_the_end_of_memory(np.zeros(network.n_params, network.dtype))
    for n_rows in (1, 7, 13, 17, 64, 129):
        outputs = np.empty((n_rows, n_units[-1]), network.dtype)
        network.predict(params, as_matrix(np.ones((n_rows, n_units[0]), network.dtype)), outputs)
        assert not outputs.any()
