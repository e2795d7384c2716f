"""Each activation, value and gradient, in every lane of a register, against float64 NumPy."""

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from fastmlp import _core

N_UNITS = 67
"""More than four registers of any instruction set, and a tail."""
Z = np.concatenate(
    [np.linspace(-20, 20, 161), np.linspace(-1e-2, 1e-2, 21), [-1e4, -300, -87, -50, 50, 87, 300, 1e4, 1e-30, -1e-30]]
).astype(np.float32)


def hidden_layer(activation: str, dtype: str) -> tuple[_core.Network, NDArray[np.float64]]:
    """A network that answers f(z) from every unit of its hidden layer, whatever z it is given."""
    network = _core.Network((1, N_UNITS, N_UNITS), activation, "squared_error", dtype)
    params = np.zeros(network.n_params, dtype)
    network.coefs(params)[0][:] = 1
    network.coefs(params)[1][:] = np.eye(N_UNITS)
    return network, params


@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
def test_value(isa: str, dtype: str, activation: str) -> None:
    network, params = hidden_layer(activation, dtype)
    A = np.empty((len(Z), N_UNITS), dtype)
    network.predict(params, Z[:, None], A)
    expected = reference.ACTIVATIONS[activation].value(Z.astype(np.float64))
    # exp is good to 3 units in the last place; a sum, a division and a doubling of the argument add one each.
    # An exponential near the smallest normal number may be zero, or stay a little above it; silu has it times z, -87.
    limits = np.finfo(dtype)
    assert_allclose(A[:, 0], expected, rtol=8 * limits.eps, atol=128 * limits.tiny)
    assert_array_equal(A, A[:, :1].repeat(N_UNITS, axis=1), "the lanes differ")


@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
def test_gradient(isa: str, dtype: str, activation: str) -> None:
    network, params = hidden_layer(activation, dtype)
    f = reference.ACTIVATIONS[activation]
    for z in Z[np.abs(Z) <= 300]:
        A = f.value(np.float64(z))
        gradient = np.empty(network.n_params, dtype)
        # Targets one below the outputs: dL/dA is 1, and the gradient of each bias is f'(z).
        Y = np.full((1, N_UNITS), A - 1)
        network.loss_gradient(params, np.full((1, 1), z), Y, None, 0.0, gradient)
        # 1 - A and A - Y are differences of numbers of up to size A, each with a rounding of that size.
        atol = 10 * np.finfo(dtype).eps * max(1.0, abs(A))
        assert_allclose(network.intercepts(gradient)[0], f.gradient(np.float64(z), A), rtol=0, atol=atol)


@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
def test_nan_is_not_hidden(isa: str, dtype: str, activation: str) -> None:
    network, params = hidden_layer(activation, dtype)
    outputs = np.zeros((2, N_UNITS), dtype)
    network.predict(params, np.array([[np.nan], [0.5]]), outputs)
    assert np.isnan(outputs[0]).all()
    assert np.isfinite(outputs[1]).all()


def test_reference_specifies_every_activation() -> None:
    assert set(reference.ACTIVATIONS) == set(_core.ACTIVATIONS)
