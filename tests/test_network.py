"""Forward and backward over the layers: central differences, and twenty steps beside the reference."""

from typing import Any

import numpy as np
import pytest
import reference
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import _core

HIDDEN = [(), (5,), (4, 6), (5, 3, 4)]
AWKWARD = [
    ((1, 1), 1, 20),
    ((7, 1, 2), 3, 60),
    ((13, 17, 3), 7, 139),
    ((3, 66, 127, 2), 2, 41),
    ((31, 65, 33, 5), 32, 640),
    ((5, 129, 2, 66), 14, 275),
    ((65, 9, 7, 5, 3), 25, 500),
    ((20, 150, 70, 3), 17, 100),
    ((6, 514, 515, 3), 5, 33),
]
"""Units, batch size, rows: twenty batches or so, the last one short in some."""


@pytest.mark.parametrize("hidden", HIDDEN, ids=len)
@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
@pytest.mark.parametrize("loss", _core.LOSSES)
def test_gradient_is_the_central_difference(isa: str, loss: str, activation: str, hidden: tuple[int, ...]) -> None:
    n_units = (3, *hidden, 4)
    network = _core.Network(n_units, activation, loss, "float64")
    X, Y, params = reference.problem(n_units, loss, 5)
    gradient, ignored = np.empty((2, network.n_params))
    for weight, alpha in [(None, 0.0), (np.array([0.5, 2.0, 0.0, 1.0, 3.0]), 0.7)]:
        network.loss_gradient(params, X, Y, weight, alpha, gradient)
        h = 1e-5
        numeric = np.empty_like(gradient)
        for i in range(len(params)):
            above, below = params.copy(), params.copy()
            above[i] += h
            below[i] -= h
            numeric[i] = network.loss_gradient(above, X, Y, weight, alpha, ignored)
            numeric[i] -= network.loss_gradient(below, X, Y, weight, alpha, ignored)
        numeric /= 2 * h
        # The rule is off by the third derivative times h^2 = 1e-10, and by eps / h = 2e-11 times the loss.
        assert_allclose(gradient, numeric, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 4])
def test_few_rows_have_the_bits_of_many(isa: str, dtype: str, n_rows: int, n_threads: int) -> None:
    """Few rows read W where it lies, many a transpose of it: here rows that weigh nothing make them many."""
    n_units = (3, 67, 130, 17, 5)
    X, Y, params = reference.problem(n_units, "squared_error", 2 * n_rows + 4)
    network = _core.Network(n_units, "tanh", "squared_error", dtype)
    few, many = np.empty((2, network.n_params), dtype)
    weight = (np.arange(len(X)) < n_rows).astype(np.float64)
    params = params.astype(dtype)
    network.loss_gradient(params, X[:n_rows], Y[:n_rows], weight[:n_rows], 0.0, few, n_threads)
    network.loss_gradient(params, X, Y, weight, 0.0, many, n_threads)
    assert np.abs(few).max() > 0
    assert_array_equal(few, many)


def test_a_prediction_has_the_same_bits_in_any_number_of_rows(isa: str, precision: str) -> None:
    """Few rows read W where it lies, in strips of columns; more pack parts of it, one by one, or all at once."""
    n_units = (9, 1091, 270, 3)
    X, _, params = reference.problem(n_units, "log_loss", 300)
    network = _core.Network(n_units, "relu", "log_loss", precision)
    X, params = X.astype(network.dtype), params.astype(network.dtype)
    together, apart = np.empty((2, 300, 3), network.dtype)
    network.predict(params, X, together)
    for n_rows in (1, 2, 6, 7, 12, 13, 24, 25, 32, 33, 64, 65, 128, 129, 255, 256):
        network.predict(params, X[:n_rows], apart[:n_rows])
        assert_array_equal(apart[:n_rows], together[:n_rows])


@pytest.mark.parametrize(("n_rows", "n_threads"), [(60, 3), (200, 3), (433, 3), (300, 12), (1300, 1)])
@pytest.mark.parametrize("as_matrix", [np.asarray, scipy.sparse.csr_array])
def test_rows_of_a_wide_network_have_the_bits_of_few(
    isa: str, precision: str, as_matrix: Any, n_rows: int, n_threads: int
) -> None:
    """Parts of W are packed one by one; threads share the columns of a chunk, or take longer ones of their own."""
    n_units = (7, 1031, 4099, 3)
    X, _, params = reference.problem(n_units, "squared_error", n_rows)
    network = _core.Network(n_units, "relu", "squared_error", precision)
    X, params = X.astype(network.dtype), params.astype(network.dtype)
    together, few = np.empty((n_rows, 3), network.dtype), np.empty((20, 3), network.dtype)
    network.predict(params, as_matrix(X), together, n_threads, seconds=0.0)  # a call for each chunk
    assert np.abs(together).min() > 0
    for first in (0, n_rows // 2 - 10, n_rows - 20):
        network.predict(params, X[first : first + 20], few)
        assert_array_equal(few, together[first : first + 20])


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("as_matrix", [np.asarray, scipy.sparse.csr_array])
def test_rows_of_a_wide_first_layer_have_the_bits_of_few(
    isa: str, precision: str, as_matrix: Any, n_threads: int
) -> None:
    """Of the inputs, which are still needed when its parts are packed; CSR rows go through all of them at once."""
    n_units = (301, 1091, 3)
    X, _, params = reference.problem(n_units, "squared_error", 60)
    X[np.random.default_rng(0).random(X.shape) < 0.97] = 0
    network = _core.Network(n_units, "relu", "squared_error", precision)
    X, params = X.astype(network.dtype), params.astype(network.dtype)
    together, few = np.empty((60, 3), network.dtype), np.empty((20, 3), network.dtype)
    network.predict(params, as_matrix(X), together, n_threads)
    assert np.abs(together).min() > 0
    for first in (0, 20, 40):
        network.predict(params, X[first : first + 20], few)
        assert_array_equal(few, together[first : first + 20])


def test_threads_that_share_a_chunk_gather_at_the_same_time(isa: str) -> None:
    """Rows so long that a thread is still at its own when the next begins; each has a place for two on their way."""
    n_units = (8000, 193, 1)
    X, _, params = reference.problem(n_units, "squared_error", 100)
    network = _core.Network(n_units, "relu", "squared_error", "bfloat16")
    X, params = X.astype(network.dtype), params.astype(network.dtype)
    alone, together = np.empty((2, 100, 1), network.dtype)
    network.predict(params, X, alone)
    for _ in range(3):
        network.predict(params, X, together, 2)
        assert_array_equal(together, alone)


@pytest.mark.parametrize("loss", _core.LOSSES)
def test_value_and_gradient_are_the_references(isa: str, dtype: str, loss: str) -> None:
    n_units = (6, 17, 3)
    X, Y, params = reference.problem(n_units, loss, 300)
    weight = np.random.default_rng(0).uniform(0, 2, 300)
    for activation in _core.ACTIVATIONS:
        network = _core.Network(n_units, activation, loss, dtype)
        gradient = np.empty(network.n_params, dtype)
        value = network.loss_gradient(params.astype(dtype), X, Y, weight, 0.5, gradient)
        spec = reference.Network(n_units, activation, loss)
        expected, expected_gradient = spec.loss_gradient(params, X, Y, weight, 0.5)
        # Chains of at most 300 additions of numbers of size 1 to 100.
        tolerance = 300 * np.finfo(dtype).eps
        assert_allclose(value, expected, rtol=tolerance)
        assert_allclose(gradient, expected_gradient, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
@pytest.mark.parametrize(("n_units", "batch_size", "n_rows"), AWKWARD, ids=str)
def test_twenty_steps(
    isa: str, dtype: str, n_units: tuple[int, ...], batch_size: int, n_rows: int, optimizer: str, train: Any
) -> None:
    loss = list(_core.LOSSES)[sum(n_units) % len(_core.LOSSES)] if n_units[-1] > 1 else "squared_error"
    activation = _core.ACTIVATIONS[(len(n_units) + 1) % len(_core.ACTIVATIONS)]
    X, Y, params = reference.problem(n_units, loss, n_rows)
    order = np.random.default_rng(0).permutation(n_rows).astype(np.int64)
    # A large epsilon, because adam divides the gradient's rounding errors by it where the gradient is nearly zero.
    settings = {"optimizer": optimizer, "batch_size": batch_size, "alpha": 0.01, "learning_rate": 0.01, "epsilon": 1e-2}
    network = _core.Network(n_units, activation, loss, dtype)
    trained = train(network, params, X, Y, order=order, **settings)
    expected, _, expected_loss = reference.train(
        reference.Network(n_units, activation, loss), params, X, Y, order=order, **settings
    )
    assert np.linalg.norm(expected - params) > 1e-3 * np.linalg.norm(params), "nothing was learned"
    # Twenty steps, each with the roundings of sums of up to 129 terms, which later steps carry on and may double.
    tolerance = 1000 * np.finfo(dtype).eps
    assert np.linalg.norm(trained.params - expected) <= tolerance * np.linalg.norm(expected)
    assert_allclose(trained.loss, expected_loss, rtol=tolerance)


@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
@pytest.mark.parametrize("loss", _core.LOSSES)
def test_every_loss_with_every_activation_trains(isa: str, dtype: str, loss: str, activation: str, train: Any) -> None:
    n_units = (9, 19, 18, 3)
    X, Y, params = reference.problem(n_units, loss, 66)
    settings = {"batch_size": 13, "learning_rate": 0.01}
    network = _core.Network(n_units, activation, loss, dtype)
    trained = train(network, params, X, Y, n_epochs=3, **settings)
    spec = reference.Network(n_units, activation, loss)
    expected, *_ = reference.train(spec, params, X, Y, n_epochs=3, **settings)
    # As for twenty steps.
    assert np.linalg.norm(trained.params - expected) <= 1000 * np.finfo(dtype).eps * np.linalg.norm(expected)


def test_flat_vector_is_weights_then_biases(isa: str, dtype: str) -> None:
    n_units = (4, 3, 2)
    network = _core.Network(n_units, _core.ACTIVATIONS[0], "log_loss", dtype)
    params = np.arange(network.n_params, dtype=dtype)
    coefs, intercepts = reference.Network(n_units, _core.ACTIVATIONS[0], "log_loss").unpack(params)
    for view, expected in zip(network.coefs(params) + network.intercepts(params), coefs + intercepts, strict=True):
        assert np.shares_memory(view, params)
        assert_array_equal(view, expected)


@pytest.mark.parametrize("spoil", ["X", "params", "learning_rate"])
def test_divergence_ends_the_training(isa: str, dtype: str, spoil: str, train: Any) -> None:
    n_units = (3, 4, 2)
    X, Y, params = reference.problem(n_units, "squared_error", 40)
    settings = {"batch_size": 4, "learning_rate": 0.01}
    if spoil == "learning_rate":
        settings["learning_rate"] = 1e30
    else:
        {"X": X, "params": params}[spoil].flat[0] = np.nan
    network = _core.Network(n_units, "identity", "squared_error", dtype)
    assert train(network, params, X, Y, **settings).status == "not_finite"


def test_step_flops_counts_the_three_products() -> None:
    network = _core.Network((10, 20, 5), _core.ACTIVATIONS[0], "log_loss", "float32")
    forward = 2 * 7 * (10 * 20 + 20 * 5)
    assert network.step_flops(7) == 3 * forward - 2 * 7 * 10 * 20  # the first layer passes nothing back
