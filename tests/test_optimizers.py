"""Each optimizer against the reference, its slots, and what it is told between steps."""

from typing import Any

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import _core

N_UNITS = (5, 18, 3)
SETTINGS: dict[str, Any] = {
    "batch_size": 8,
    "alpha": 0.1,
    "learning_rate": 0.02,
    "momentum": 0.8,
    "beta_1": 0.85,
    "beta_2": 0.99,
    "epsilon": 1e-3,
}
X, Y, PARAMS = reference.problem(N_UNITS, "squared_error", 24)


def engine(dtype: str) -> _core.Network:
    return _core.Network(N_UNITS, "tanh", "squared_error", dtype)


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_parameters_and_slots(isa: str, dtype: str, optimizer: str, train: Any) -> None:
    trained = train(engine(dtype), PARAMS, X, Y, n_epochs=4, optimizer=optimizer, **SETTINGS)
    spec = reference.Network(N_UNITS, "tanh", "squared_error")
    params, slots, _ = reference.train(spec, PARAMS, X, Y, n_epochs=4, optimizer=optimizer, **SETTINGS)
    # Twelve steps on numbers of size 1; adam divides rounding errors of the gradient by epsilon at worst.
    tolerance = 200 * np.finfo(dtype).eps
    assert_allclose(trained.params, params, rtol=0, atol=tolerance)
    assert_allclose(trained.slots, slots, rtol=0, atol=tolerance)
    assert trained.status == "epoch"


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_state_is_in_params_slots_and_step_alone(isa: str, dtype: str, optimizer: str, train: Any) -> None:
    """A training that ends and one that is built on its arrays go on as if there had been one."""
    network = engine(dtype)
    straight = train(network, PARAMS, X, Y, n_epochs=5, optimizer=optimizer, **SETTINGS)
    params = PARAMS.astype(dtype)
    slots = np.zeros((_core.OPTIMIZERS[optimizer], network.n_params), dtype)
    step = 0
    for _ in range(5):
        training = _core.Training(network, params, slots, X, Y, optimizer=optimizer, step=step, **SETTINGS)
        assert training.run(seconds=1e9) == "epoch"
        step = training.step
    assert step == 15
    assert (params.tobytes(), slots.tobytes()) == straight.bits()[:2]


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_learning_rate_follows_assignment_and_step_goes_on(isa: str, optimizer: str) -> None:
    network = engine("float64")
    params, gradient = PARAMS.copy(), np.empty(network.n_params)
    slots = np.zeros((_core.OPTIMIZERS[optimizer], network.n_params))
    settings = {**SETTINGS, "batch_size": len(X), "momentum": 0.0}
    training = _core.Training(network, params, slots, X, Y, optimizer=optimizer, **settings)
    training.run(seconds=1e9)
    state = reference.Optimizer(slots.copy(), 0.5, 0.0, SETTINGS["beta_1"], SETTINGS["beta_2"], SETTINGS["epsilon"], 1)
    network.loss_gradient(params, X, Y, None, 2.0, gradient)
    expected = params + getattr(state, optimizer)(gradient)
    settings |= {"alpha": 2.0, "step": training.step}
    training = _core.Training(network, params, slots, X, Y, optimizer=optimizer, **settings)
    training.learning_rate = 0.5
    training.run(seconds=1e9)
    assert training.learning_rate == 0.5
    # One step of size 1: tens of roundings, which adam divides by epsilon = 1e-3 at worst.
    assert_allclose(params, expected, rtol=0, atol=1e5 * np.finfo(np.float64).eps)


@pytest.mark.parametrize("optimizer", [name for name in _core.OPTIMIZERS if name.startswith("sgd_")])
def test_without_momentum_there_is_plain_descent(isa: str, dtype: str, optimizer: str, train: Any) -> None:
    settings = {**SETTINGS, "momentum": 0.0}
    plain = train(engine(dtype), PARAMS, X, Y, n_epochs=3, optimizer="sgd", **settings)
    trained = train(engine(dtype), PARAMS, X, Y, n_epochs=3, optimizer=optimizer, **settings)
    # Plain descent fuses the product with the subtraction: half a unit of difference a step, in nine steps.
    assert_allclose(trained.params, plain.params, rtol=0, atol=40 * np.finfo(dtype).eps)


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_biases_are_not_penalised(isa: str, dtype: str, optimizer: str, train: Any) -> None:
    """Without input a linear layer's weights have no gradient but the penalty's, and its biases none of that."""
    network = _core.Network((3, 2), _core.ACTIVATIONS[0], "squared_error", dtype)
    params = np.ones(network.n_params, dtype)
    settings = {**SETTINGS, "alpha": 1.0, "batch_size": 4}
    trained = train(network, params, np.zeros((4, 3)), np.ones((4, 2)), optimizer=optimizer, **settings)
    assert (network.coefs(trained.params)[0] < 1).all()
    assert_array_equal(network.intercepts(trained.params)[0], 1)


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_batch_without_weight_makes_no_update(isa: str, dtype: str, optimizer: str, train: Any) -> None:
    weight = np.ones(len(X))
    weight[8:16] = 0
    rows = np.r_[0:8, 16:24]
    skipped = train(engine(dtype), PARAMS, X, Y, weight, optimizer=optimizer, **SETTINGS)
    absent = train(engine(dtype), PARAMS, X[rows], Y[rows], weight[rows], optimizer=optimizer, **SETTINGS)
    assert skipped.bits()[:2] == absent.bits()[:2]
    # Eight of the 24 rows count with a loss of 0; one division each.
    assert_allclose(skipped.loss, absent.loss * 16 / 24, rtol=4 * np.finfo(np.float64).eps)


def test_reference_specifies_every_optimizer() -> None:
    assert reference.OPTIMIZERS == _core.OPTIMIZERS


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
@pytest.mark.parametrize("epsilon", [1e-39, 1e-46, 5e-324])
def test_an_epsilon_that_a_float_cannot_hold(
    isa: str, precision: str, optimizer: str, epsilon: float, train: Any
) -> None:
    """What pads a layer has no gradient: with an epsilon of 0 it would be divided by 0."""
    network = engine(precision)
    tiny = float(np.finfo(network.dtype).tiny)
    trained, expected = (
        train(network, PARAMS, X, Y, optimizer=optimizer, **{**SETTINGS, "epsilon": e}) for e in (epsilon, tiny)
    )
    assert trained.status == "epoch"
    assert trained.bits() == expected.bits()
