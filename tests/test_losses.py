"""Each loss: output function, value and delta against float64 NumPy, at the edges of the registers."""

from typing import Any

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from fastmlp import _core

WIDTHS = [2, 3, 7, 10, 15, 16, 17, 31, 33, 64, 65, 130]
LARGEST_EXP = 50.0
"""Of the outputs of a loss with an exponential output, whose rounding is relative to them."""


def linear(n_outputs: int, loss: str, dtype: str) -> tuple[_core.Network, NDArray[np.float64]]:
    """A network without hidden layer whose Z is its input."""
    network = _core.Network((n_outputs, n_outputs), _core.ACTIVATIONS[0], loss, dtype)
    params = np.zeros(network.n_params, dtype)
    network.coefs(params)[0][:] = np.eye(n_outputs)
    return network, params


def logits(loss: str, n_rows: int, n_outputs: int) -> NDArray[np.float32]:
    """Random Z, among them some so far out that a probability rounds to 0 or 1."""
    Z = np.random.default_rng(n_outputs).standard_normal((n_rows, n_outputs)).astype(np.float32)
    Z[1] *= 10
    Z[2, ::2], Z[2, 1::2] = 400, -400
    limit = np.float32(np.log(LARGEST_EXP))
    return np.clip(Z, -limit, limit) if reference.LOSSES[loss].outputs is np.exp else Z


@pytest.mark.parametrize("n_outputs", WIDTHS)
@pytest.mark.parametrize("loss", _core.LOSSES)
def test_outputs_value_and_delta(isa: str, dtype: str, loss: str, n_outputs: int) -> None:
    network, params = linear(n_outputs, loss, dtype)
    spec = reference.LOSSES[loss]
    Z = logits(loss, 5, n_outputs)
    Y = spec.draw(np.random.default_rng(0), Z.shape)
    limits = np.finfo(dtype)

    outputs = np.empty(Z.shape, dtype)
    network.predict(params, Z, outputs)
    # exp is good to 3 units in the last place; its rounded argument z - max(z) costs half of itself in units; adding
    # up the row, K terms in lanes of at least 8 and a tree, and the division add the rest.
    rtol = (12 + n_outputs / 8 + np.ptp(Z[:2], axis=1).max() / 2) * limits.eps
    expected = spec.outputs(Z.astype(np.float64))
    assert_allclose(outputs, expected, rtol=rtol, atol=4 * limits.tiny)  # the tail may end a little above tiny

    gradient = np.empty(network.n_params, dtype)
    for row in range(len(Z)):
        z, y = Z[row : row + 1], Y[row : row + 1]
        value = network.loss_gradient(params, z, y, None, 0.0, gradient)
        terms = spec.value(z.astype(np.float64), y)
        delta = spec.delta(z.astype(np.float64), y)
        cancelling = np.abs(terms) + np.abs(y) + np.abs(y * z) + np.abs(expected[row]) + np.abs(delta)
        size = np.abs(z).max() + cancelling.sum()
        assert_allclose(value, terms.sum(), rtol=0, atol=rtol * size)
        size = 1 + np.abs(expected[row]) + np.abs(y) + np.abs(delta)
        assert (np.abs(network.intercepts(gradient)[0] - delta) <= rtol * size).all()


@pytest.mark.parametrize("n_outputs", [1, 3, 17])
@pytest.mark.parametrize("loss", [name for name, loss in _core.LOSSES.items() if loss.lowest <= 0])
def test_class_numbers_are_one_hot_targets(isa: str, dtype: str, loss: str, n_outputs: int) -> None:
    network, params = linear(n_outputs, loss, dtype)
    Z = logits(loss, 9, n_outputs)
    classes = np.arange(9) % max(2, n_outputs)
    answers = []
    matrix = reference.targets(classes, n_outputs)
    for y in [classes, matrix, matrix.astype(np.float32), matrix.astype(np.uint8)]:
        gradient = np.empty(network.n_params, dtype)
        value = network.loss_gradient(params, Z, y, None, 0.0, gradient)
        answers.append((value, gradient.tobytes()))
    assert np.isfinite(answers[0][0])
    assert answers[1:] == answers[:1] * 3


@pytest.mark.parametrize("loss", _core.LOSSES)
def test_sample_weights_stand_for_repeated_rows(isa: str, dtype: str, loss: str) -> None:
    n_units = (4, 5, 3)
    network = _core.Network(n_units, _core.ACTIVATIONS[-1], loss, dtype)
    X, Y, params = reference.problem(n_units, loss, 6)
    times = np.array([1, 0, 3, 2, 1, 1])
    alpha = 0.5
    gradient, repeated = np.empty((2, network.n_params), dtype)
    value = network.loss_gradient(params.astype(dtype), X, Y, times.astype(np.float64), alpha, gradient)
    rows = np.repeat(np.arange(6), times)
    expected = network.loss_gradient(params.astype(dtype), X[rows], Y[rows], None, alpha, repeated)
    # Eight rows of numbers of size 1 to 10: some tens of roundings of that size.
    tolerance = 100 * np.finfo(dtype).eps
    assert_allclose(value, expected, rtol=tolerance)
    assert_allclose(gradient, repeated, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("loss", _core.LOSSES)
def test_training_reports_the_loss_of_the_batches(isa: str, dtype: str, loss: str, train: Any) -> None:
    n_units = (4, 6, 5)
    X, Y, params = reference.problem(n_units, loss, 23)
    weight = np.random.default_rng(1).uniform(0.5, 2, 23)
    settings = {"batch_size": 7, "alpha": 0.3, "learning_rate": 0.01}
    network = _core.Network(n_units, _core.ACTIVATIONS[-1], loss, dtype)
    trained = train(network, params, X, Y, weight, **settings)
    spec = reference.Network(n_units, _core.ACTIVATIONS[-1], loss)
    *_, expected = reference.train(spec, params, X, Y, weight, **settings)
    # Four batches of seven rows: some tens of roundings of numbers of size 1 to 10.
    assert_allclose(trained.loss, expected, rtol=100 * np.finfo(dtype).eps)


@pytest.mark.parametrize("loss", _core.LOSSES)
def test_mean_over_more_rows_than_a_chunk_holds(isa: str, dtype: str, loss: str) -> None:
    n_rows, n_outputs = 513, 3
    network, params = linear(n_outputs, loss, dtype)
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((n_rows, n_outputs)).astype(np.float32)
    Y = reference.LOSSES[loss].draw(rng, Z.shape)
    gradient = np.empty(network.n_params, dtype)
    value = network.loss_gradient(params, Z, Y, None, 0.0, gradient)
    spec = reference.Network((n_outputs, n_outputs), _core.ACTIVATIONS[0], loss)
    expected, expected_gradient = spec.loss_gradient(params.astype(np.float64), Z, Y)
    # A chain of 513 additions of terms of size 1, each rounding at most half a unit, divided by 513.
    tolerance = 2 * n_rows * np.finfo(dtype).eps
    assert_allclose(value, expected, rtol=tolerance)
    assert_allclose(gradient, expected_gradient, rtol=0, atol=tolerance)


def test_class_probabilities_add_up_to_one(isa: str, dtype: str) -> None:
    network, params = linear(17, "log_loss", dtype)
    outputs = np.empty((300, 17), dtype)
    network.predict(params, logits("log_loss", 300, 17), outputs)
    # Seventeen divisions, each off by at most one unit of a number below 1.
    assert_allclose(outputs.sum(axis=1, dtype=np.float64), 1, rtol=0, atol=17 * np.finfo(dtype).eps)
    assert (outputs >= 0).all()


@pytest.mark.parametrize("largest", range(3))
def test_any_class_may_have_by_far_the_largest_output(isa: str, dtype: str, largest: int) -> None:
    network = _core.Network((1, 3), "identity", "log_loss", dtype)
    params, outputs = np.zeros(6, dtype), np.empty((1, 3), dtype)
    params[3 + largest] = 1000  # a bias
    network.predict(params, np.zeros((1, 1)), outputs)
    assert outputs.tolist() == np.eye(3)[[largest]].tolist()


@pytest.mark.parametrize("loss", [name for name, loss in reference.LOSSES.items() if loss.outputs is np.exp])
def test_exponential_outputs_at_the_ends_of_the_range(isa: str, dtype: str, loss: str) -> None:
    """Infinite beyond the largest number, 0 where they would be denormal."""
    network, params = linear(1, loss, dtype)
    limits = np.finfo(dtype)
    lowest, highest = np.log(float(limits.tiny)), np.log(float(limits.max))
    inside = np.linspace(lowest + 2, highest - 0.01, 200).astype(dtype)
    Z = np.concatenate([inside, [highest + 0.01, highest + 1, 1e4], [lowest - 0.01, lowest - 1, -1e4]]).astype(dtype)
    outputs = np.empty((len(Z), 1), dtype)
    network.predict(params, Z[:, None], outputs)
    # exp is good to 5 units in the last place, NumPy's to one.
    assert_allclose(outputs[:200, 0], np.exp(inside.astype(np.float64)), rtol=6 * limits.eps)
    assert_array_equal(outputs[200:, 0], [np.inf] * 3 + [0] * 3)


def test_labels_that_are_far_off_cost_what_they_should(isa: str, dtype: str) -> None:
    """A confident wrong answer has a finite loss: it is computed from Z, not from a probability that rounds to 0."""
    Z = np.array([[300.0, -300.0]])
    for loss, expected in [("log_loss", 600.0), ("binary_log_loss", 600.0), ("hinge", 602.0)]:
        network, params = linear(2, loss, dtype)
        gradient = np.empty(network.n_params, dtype)
        value = network.loss_gradient(params, Z, np.array([1]), None, 0.0, gradient)
        assert value == expected
        assert_array_equal(network.intercepts(gradient)[0], [1.0, -1.0])


def test_reference_specifies_every_loss() -> None:
    assert set(reference.LOSSES) == set(_core.LOSSES)
