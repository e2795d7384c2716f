"""The worked numbers of lectures on backpropagation, through the engine.

Where a derivative with respect to an input is asked for, inputs and weights change places: the product does not mind.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from fastmlp import _core

TWO_DECIMALS = 0.005
"""Half of the last place of a number that is printed with two."""


def outputs(network: _core.Network, params: NDArray[np.float64], X: ArrayLike) -> NDArray[np.float64]:
    X = np.atleast_2d(np.asarray(X, dtype=np.float64))
    out = np.empty((len(X), network.n_units[-1]))
    network.predict(params, X, out)
    return out


def derivatives(network: _core.Network, params: NDArray[np.float64], x: ArrayLike) -> NDArray[np.float64]:
    """Of the one output of a network with squared error: that of the loss where the target is the output minus 1."""
    gradient = np.empty(network.n_params)
    target = outputs(network, params, x) - 1
    network.loss_gradient(params, np.atleast_2d(np.asarray(x, dtype=np.float64)), target, None, 0.0, gradient)
    return gradient


def test_one_sigmoid_unit_with_cross_entropy(isa: str) -> None:
    network = _core.Network((1, 1), "identity", "binary_log_loss", "float64")
    params, gradient = np.array([3.0, 0.0]), np.empty(2)
    assert_allclose(outputs(network, params, [3]), 1 / (1 + np.exp(-9)), rtol=1e-15)  # a few units in the last place
    network.loss_gradient(params, np.array([[3.0]]), np.array([1]), None, 0.0, gradient)
    assert_allclose(gradient[0], -0.00037018372, rtol=0, atol=1e-11)  # one unit in the last printed place


def test_local_gradients_of_a_sigmoid_neuron(isa: str) -> None:
    network = _core.Network((2, 1, 1), "logistic", "squared_error", "float64")
    w, x, bias = [2.0, -3.0], [-1.0, -2.0], -3.0
    params = np.array([*w, 1.0, bias, 0.0])  # the second layer hands the value on
    assert_allclose(outputs(network, params, x), 0.73, atol=TWO_DECIMALS)
    dw0, dw1, _, dw2, _ = derivatives(network, params, x)
    assert_allclose([dw0, dw1, dw2], [-0.20, -0.39, 0.20], atol=TWO_DECIMALS)
    assert_allclose(dw2, 0.73 * 0.27, atol=TWO_DECIMALS)
    dx0, dx1, *_ = derivatives(network, np.array([*x, 1.0, bias, 0.0]), w)
    assert_allclose([dx0, dx1], [0.39, -0.59], atol=TWO_DECIMALS)


def test_reciprocal_inside_the_sigmoid(isa: str) -> None:
    """sigma(1) as 1 / (1 + e^u) at u = -1: 1 / 1.37 = 0.73; its derivative -1 / 1.37^2 = -0.53 times e^-1 is -0.20."""
    network = _core.Network((1, 1, 1), "logistic", "squared_error", "float64")
    params = np.array([-1.0, 1.0, 0.0, 0.0])  # u is the weight, and its negative the argument
    value = outputs(network, params, [-1]).item()
    by_u, *_ = derivatives(network, params, [-1])
    assert_allclose([value, by_u, by_u / np.exp(-1)], [0.73, -0.20, -0.53], atol=TWO_DECIMALS)


def test_product(isa: str) -> None:
    network = _core.Network((1, 1), "identity", "squared_error", "float64")
    x, y = 4.0, -3.0
    assert outputs(network, np.array([y, 0.0]), [x]) == -12
    assert derivatives(network, np.array([y, 0.0]), [x])[0] == x  # df/dy
    assert derivatives(network, np.array([x, 0.0]), [y])[0] == y  # df/dx


def test_two_sigmoid_units_and_a_linear_output(isa: str) -> None:
    network = _core.Network((2, 2, 1), "logistic", "squared_error", "float64")
    params = np.array([0.1, -0.4, 0.7, 0.2, 1.5, -0.8, 0.3, -0.1, 0.05])
    x, target = np.array([[0.6, -1.2]]), 2.0
    W, V = network.coefs(params)
    b, c = network.intercepts(params)
    z = 1 / (1 + np.exp(-(x[0] @ W + b)))
    error = z @ V[:, 0] + c[0] - target
    gradient = np.empty(network.n_params)
    loss = network.loss_gradient(params, x, np.array([[target]]), None, 0.0, gradient)
    dW, dV = network.coefs(gradient)
    _, dc = network.intercepts(gradient)
    rounding = {"rtol": 1e-14}  # a handful of operations
    assert_allclose(loss, 0.5 * error**2, **rounding)
    assert_allclose(dc[0], error, **rounding)
    assert_allclose(dV[0, 0], error * z[0], **rounding)
    assert_allclose(dW[1, 1], error * V[1, 0] * z[1] * (1 - z[1]) * x[0, 1], **rounding)


def test_vectorised_product_has_gradients_of_the_shapes_of_its_factors(isa: str) -> None:
    """D = W X with W (5, 10) and X (10, 3): dW = dD X^T is (5, 10), dX = W^T dD is (10, 3)."""
    rng = np.random.default_rng(0)
    W, X, dD = (rng.integers(-5, 6, shape).astype(np.float64) for shape in [(5, 10), (10, 3), (5, 3)])
    for rows, weights, d, expected in [(X.T.copy(), W.T, dD.T, (dD @ X.T).T), (W, X, dD, W.T @ dD)]:
        network = _core.Network(weights.shape, "identity", "squared_error", "float64")
        params = np.concatenate([weights.ravel(), np.zeros(weights.shape[1])])
        gradient = np.empty_like(params)
        network.loss_gradient(params, rows, np.ascontiguousarray(rows @ weights - d), None, 0.0, gradient)
        # Whole numbers, exact but for the division by the number of rows.
        assert_allclose(network.coefs(gradient)[0] * len(rows), expected, rtol=4 * np.finfo(np.float64).eps)


def test_penalty_is_half_lambda_over_m_and_spares_the_biases(isa: str) -> None:
    network = _core.Network((2, 1), "identity", "binary_log_loss", "float64")
    X, y = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]]), np.array([1, 0, 1])
    params = np.array([0.4, -0.3, 5.0])
    plain, penalised = np.empty((2, 3))
    loss = network.loss_gradient(params, X, y, None, 0.0, plain)
    penalty = network.loss_gradient(params, X, y, None, 2.0, penalised) - loss
    assert_allclose(penalty, 2.0 / (2 * 3) * (0.4**2 + 0.3**2), rtol=1e-13)  # a difference of numbers of size 1
    assert_allclose(penalised - plain, [2.0 / 3 * 0.4, 2.0 / 3 * -0.3, 0.0], rtol=1e-13)


def test_logistic_regression_of_heart_disease_on_heart_rate(data_file: Callable[[str], Path]) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    pandas = pytest.importorskip("pandas")
    heart = pandas.read_csv(data_file("heart.csv.gz"))
    rate = heart[["MaxHR"]].to_numpy(np.float64)
    X = (rate - rate.mean()) / rate.std()
    y = (heart["AHD"] == "Yes").to_numpy(np.int64)
    network = _core.Network((1, 1), "identity", "binary_log_loss", "float64")

    def loss_gradient(params: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        gradient = np.empty(2)
        return network.loss_gradient(params, X, y, None, 0.0, gradient), gradient

    ours = minimize(loss_gradient, np.zeros(2), jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "ftol": 0}).x
    theirs = linear_model.LogisticRegression(C=np.inf, tol=1e-10).fit(X, y)
    expected = np.array([theirs.coef_.item(), theirs.intercept_.item()])
    # Two minimisers that each stop at a gradient of 1e-10, of a loss whose curvature is about 0.2.
    assert_allclose(ours, expected, atol=1e-7)
    assert_array_equal(outputs(network, ours, X)[:, 0] > 0.5, theirs.predict(X) == 1)
    assert ours[0] < 0, "a higher heart rate goes with less heart disease"
