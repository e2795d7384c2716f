"""Training through the door: what a step is, at which rate, on which weights, and what is left where it diverges."""

from typing import Any

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from small_problem import N_ROWS, Problem

from fastmlp import _core


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


@pytest.mark.parametrize("optimizer", ["sgd", "sgd_momentum", "adam"])
def test_a_batch_whose_last_chunk_is_one_row(isa: str, dtype: str, optimizer: str) -> None:
    """The gradient of the other chunks is in memory, where that of a batch of one row is not."""
    n_rows = 511 * 512 + 1  # of chunks of 256 and of 512 rows
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 3)).astype(dtype)
    y = X @ rng.standard_normal((3, 1)).astype(dtype)
    network = _core.Network((3, 4, 1), "tanh", "squared_error", dtype)
    initial = rng.standard_normal(network.n_params).astype(dtype)
    gradient, found = np.empty_like(initial), []
    network.loss_gradient(initial, X, y, None, 0.0, gradient)
    for at_once in (True, False):
        params, slots = initial.copy(), np.zeros((_core.OPTIMIZERS[optimizer], network.n_params), dtype)
        settings = {"optimizer": optimizer, "batch_size": n_rows, "learning_rate": 0.1}
        training = _core.Training(network, params, slots, X, y, **settings)
        assert training.run(seconds=1e9) == "epoch" if at_once else training.apply(gradient)
        found.append(params)
    assert np.abs(found[0] - initial).min() > 0
    assert_allclose(found[0], found[1], rtol=0, atol=1000 * np.finfo(network.dtype).eps)


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


def test_a_parameter_that_is_not_finite_is_noticed_wherever_it_is(isa: str, dtype: str) -> None:
    problem = Problem(dtype)
    training, gradient, before = problem.training(), problem.arrays["gradient"], problem.arrays["params"].copy()
    for i in range(gradient.size):
        gradient[i] = np.nan
        assert not training.apply(gradient), i
        gradient[i] = 0
    assert_array_equal(problem.arrays["params"], before)


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
