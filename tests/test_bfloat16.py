"""Products in bfloat16: bit for bit the specification, with the instruction and without it."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import reference
import reference_bfloat16 as spec
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import _core

WITHOUT_FMA = {"x86-64"}
SPECIAL = np.array(
    [
        *(0, 1, 1.5, np.inf, np.nan),
        *(1.00390625, 1.01171875, 1.00390625 + 2**-23),  # ties of bfloat16, and next to one
        *(2.0**127, 3.3895314e38, 3.3961775e38, 3.4028235e38),  # the largest of bfloat16, and what becomes infinite
        *(2.0**-76, 1e-38, 1.1754942e-38, 2.0**-126, 1e-40, 1e-45),  # the smallest, and denormals
    ],
    np.float32,
)
WIDTHS = [1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 129]
ROWS = [1, 2, 3, 5, 6, 7, 8, 13, 16, 17, 33, 64]


@pytest.fixture
def fused(isa: str) -> str:
    """The instruction sets that round a multiply-add once."""
    if isa in WITHOUT_FMA:
        pytest.skip("the baseline has no fused multiply-add")
    return isa


def same(ours: Any, expected: Any) -> None:
    """The same bits, but for those of NaN."""
    assert_array_equal(np.isnan(ours), np.isnan(expected))
    numbers = ~np.isnan(expected)
    assert_array_equal(np.asarray(ours)[numbers].view(np.uint32), np.asarray(expected)[numbers].view(np.uint32))


def check_dot(a: Any, b: Any, c: Any) -> None:
    """Operands a (n, 16, 2) and b (n, 2, 16), sums c (n, 16)."""
    for each in zip(a, b, c, strict=True):
        x, y = spec.rounded(each[0]), spec.rounded(each[1])
        odd = spec.multiply_add(x[:, 1], y[1], each[2])
        ours, expected = _core.dot(*map(np.ascontiguousarray, each)), spec.multiply_add(x[:, 0], y[0], odd)
        if _core.isa() == "aarch64":  # where what is rounded up to the smallest number is 0: it was smaller
            at_the_edge = np.abs(odd) == spec.SMALLEST
            ours[at_the_edge], expected[at_the_edge] = 0, 0
            expected[(np.abs(expected) == spec.SMALLEST) & (ours == 0)] = 0
        same(ours, expected)


def test_a_multiply_add_at_the_edges(fused: str) -> None:
    values = np.concatenate([SPECIAL, -SPECIAL])
    triples = np.array(list(product(values, values, SPECIAL)), np.float32)
    triples = triples[: len(triples) // 16 * 16].reshape(-1, 16, 3)
    for place in (0, 1):
        a = np.zeros((len(triples), 16, 2), np.float32)
        b = np.zeros((len(triples), 2, 16), np.float32)
        a[..., place], b[:, place] = triples[..., 0], triples[..., 1]
        check_dot(a, b, triples[..., 2])


def test_a_multiply_add_of_anything(fused: str) -> None:
    """Any bits at all; and sums of about the smallest number, which a term moves below it."""
    rng = np.random.default_rng(0)
    anything = rng.integers(0, 2**32, (2000, 80), dtype=np.uint32).view(np.float32)
    a, b, c = anything[:, :32].reshape(-1, 16, 2), anything[:, 32:64].reshape(-1, 2, 16), anything[:, 64:]
    check_dot(a, b, c)
    small = rng.normal(size=(1000, 80)).astype(np.float32)
    small[:, :64] *= 2.0 ** rng.integers(-76, -62, (1000, 64))
    small[:, 64:] *= np.float32(2.0**-125)
    check_dot(small[:, :32].reshape(-1, 16, 2), small[:, 32:64].reshape(-1, 2, 16), small[:, 64:])


def check(n_units: tuple[int, ...], n_rows: int, activation: str, train: Any, n_threads: int = 1) -> None:
    """Outputs, the gradient and one step, bit for bit; from CSR rows as well."""
    X, Y, params = spec.problem(n_units, n_rows)
    X[np.random.default_rng(0).random(X.shape) < 0.3] = 0
    network = _core.Network(n_units, activation, "squared_error", "bfloat16")
    specified = spec.Network(n_units, activation, "squared_error")
    sums, outputs = specified.sums(params, X, Y), specified.values(params, X)[1][-1]
    for rows in (X, scipy.sparse.csr_array(X)):
        ours, gradient = np.empty_like(outputs), np.empty_like(params)
        network.predict(params, rows, ours, n_threads)
        assert_array_equal(ours, outputs)
        network.predict(params, rows[:1], ours[:1], n_threads)
        assert_array_equal(ours, outputs)
        network.loss_gradient(params, rows, Y, None, 0.0, gradient, n_threads)
        assert_array_equal(gradient, sums * np.float32(1 / n_rows))
        trained = train(network, params, rows, Y, batch_size=n_rows, learning_rate=0.5, n_threads=n_threads)
        step = (
            np.float64(np.float32(-0.5 / n_rows)) * sums.astype(np.float64) + params
        )  # 48 bits: exact but for the sum
        assert_allclose(trained.params, step.astype(np.float32), rtol=2e-7, atol=0)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_widths(fused: str, activation: str, width: int, train: Any) -> None:
    for n_units in [(width, 3), (3, width), (3, width, 2), (2, 3, width), (3, width, width)]:
        check(n_units, 13, activation, train)


@pytest.mark.parametrize(
    ("n_units", "n_rows"),
    [((1031, 3), 13), ((3, 1031), 13), ((4170, 3), 13), ((1, 52, 4170), 5), ((8, 530, 515, 2), 5)],
)
def test_wide_layers(fused: str, n_units: tuple[int, ...], n_rows: int, train: Any) -> None:
    """Many panels, sums in parts, and few rows with many weights."""
    check(n_units, n_rows, "relu", train, n_threads=2)


@pytest.mark.parametrize("n_rows", ROWS)
def test_batches(fused: str, n_rows: int, train: Any) -> None:
    for n_units in [(5, 3), (3, 33, 7), (1, 17, 1), (3, 70, 10)]:
        check(n_units, n_rows, "relu", train, n_threads=1 + n_rows % 3)


@pytest.mark.parametrize("n_rows", [257, 301, 513])
def test_batches_of_several_chunks(fused: str, n_rows: int, train: Any) -> None:
    """The chunks begin with an even row, so that the pairs are those of the whole batch."""
    check((3, 18, 2), n_rows, "relu", train, n_threads=2)


def test_rows_of_few_values_are_dense_rows(fused: str, train: Any) -> None:
    """In a layer so wide that the products are over the values alone; some lie side by side, within an operand."""
    n_units, rng = (600, 70, 3), np.random.default_rng(0)
    _, Y, params = spec.problem(n_units, 261)
    X = np.zeros((261, 600), np.float32)
    for row in X:
        row[rng.integers(0, 598, 6)] = row[2:4] = rng.normal(size=2).mean()
    network = _core.Network(n_units, "relu", "squared_error", "bfloat16")
    for settings in (
        {},
        {"alpha": 0.1},
        {"weight_decay": 0.1},
        {"optimizer": "adam", "n_threads": 2},
        {"dropout": [0.5, 0.5], "seed": 1},
    ):
        dense, sparse = (
            train(network, params, rows, Y, batch_size=64, n_epochs=2, **settings)
            for rows in (X, scipy.sparse.csr_array(X))
        )
        assert_array_equal(dense.params, sparse.params)


@pytest.mark.parametrize("loss", _core.LOSSES)
@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
def test_the_gradient_is_that_of_rounded_factors(isa: str, activation: str, loss: str) -> None:
    n_units = (7, 19, 33, 3)
    X, Y, params = (a.astype(np.float32) for a in reference.problem(n_units, loss, 41))
    network = _core.Network(n_units, activation, loss, "bfloat16")
    gradient = np.empty_like(params)
    network.loss_gradient(params, X, Y, None, 0.0, gradient)
    expected = spec.Network(n_units, activation, loss).sums(params, X, Y) / np.float32(41)
    # Values that differ by an ulp of float32 may be rounded apart, by 2^-8 of a factor: rarely, in one of many terms.
    assert np.linalg.norm(gradient - expected) < 2e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.float32])
@pytest.mark.parametrize("as_matrix", [np.asarray, scipy.sparse.csr_array])
def test_rows_of_any_dtype(isa: str, dtype: Any, as_matrix: Any) -> None:
    n_units = (9, 5, 2)
    _, _, params = spec.problem(n_units, 1)
    X = np.random.default_rng(0).integers(0, 256, (20, 9)).astype(dtype)
    network = _core.Network(n_units, "relu", "squared_error", "bfloat16")
    outputs = np.empty((20, 2), np.float32)
    assert network.predict(params, as_matrix(X), outputs)
    expected = spec.Network(n_units, "relu", "squared_error").values(params, X)[1][-1]
    assert_allclose(outputs, expected, rtol=1e-5, atol=1e-3)  # the baseline rounds the products, of numbers up to 1000


@pytest.mark.parametrize("value", [3.3961775e38, 1e39, np.inf, np.nan])
def test_what_is_infinite_in_bfloat16_is_noticed(isa: str, value: float) -> None:
    network = _core.Network((2, 1), "relu", "squared_error", "bfloat16")
    outputs = np.empty((1, 1), np.float32)
    for rows in (np.array([[value, 0.0]]), scipy.sparse.csr_array([[value, 0.0]])):
        assert not network.predict(np.ones(3, np.float32), rows, outputs)
    assert network.predict(np.zeros(3, np.float32), np.array([[3.3895e38, 0.0]]), outputs)


@pytest.mark.parametrize("n_rows", [1, 200, 300])
@pytest.mark.parametrize("as_matrix", [np.asarray, scipy.sparse.csr_array])
def test_an_odd_number_of_terms_ends_with_no_other(isa: str, as_matrix: Any, n_rows: int) -> None:
    """Behind the last weights lie the biases: times 0 an infinite one would be NaN. W as it lies, in parts, at once."""
    network = _core.Network((3, 2), "relu", "squared_error", "bfloat16")
    params = np.array([1, 1, 1, 1, 1, 1, np.inf, 2], np.float32)
    outputs = np.empty((n_rows, 2), np.float32)
    assert network.predict(params, as_matrix(np.ones((n_rows, 3), np.float32)), outputs)
    assert_array_equal(outputs, np.tile([np.inf, 5], (n_rows, 1)))


def test_denormals_come_back(isa: str, train: Any) -> None:
    """They are 0 while the engine works in bfloat16, and for nobody after that; threads of its own end with it."""
    X, Y, params = spec.problem((3, 4, 1), 9)
    network = _core.Network((3, 4, 1), "relu", "squared_error", "bfloat16")
    train(network, params, X, Y, batch_size=9, n_threads=3)
    _core.dot(np.ones((16, 2), np.float32), np.ones((2, 16), np.float32), np.ones(16, np.float32))
    denormal = np.full(64, 1e-40, np.float32)
    assert (denormal * np.float32(0.5) > 0).all()


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_training_is_near_that_in_float32(isa: str, optimizer: str, train: Any) -> None:
    """With all that regularises: the way is the same, the bits are not."""
    n_units = (6, 40, 30, 2)
    X, Y, params = reference.problem(n_units, "squared_error", 300)
    settings = {"optimizer": optimizer, "batch_size": 40, "alpha": 0.1, "l1_ratio": 0.3, "weight_decay": 0.01}
    settings |= {"dropout": [0.1, 0.2, 0.2], "input_noise": 0.1, "seed": 3, "learning_rate": 0.002}
    for more in ({}, {"clip_norm": 0.5}, {"learn_scale": True, "rate_factors": [1, 2, 1, 1, 1, 1, 3]}):
        near, exact = (
            train(_core.Network(n_units, "tanh", "squared_error", dtype), params, X, Y, **settings, **more)
            for dtype in ("bfloat16", "float32")
        )
        # Gradients off by about 2^-8; adam and its kin divide by their size, so that small ones, whose sign may
        # change, count as much as large ones: up to a tenth of the way.
        moved = np.linalg.norm(exact.params - params)
        assert 0 < np.linalg.norm(near.params - exact.params) < 0.2 * moved
        assert near.loss == pytest.approx(exact.loss, rel=0.01)


def test_an_infinite_output_does_not_reach_the_padding(isa: str) -> None:
    """It makes a pair whole in a layer of odd width: infinity times its zero would be NaN, for any number of rows."""
    network = _core.Network((2, 2, 3, 1), ["identity", "tanh"], "squared_error", "bfloat16")
    params = np.array([1e38, 1, 1e38, 1, 1, 1, 1, 0.5, 0.5, 0.5, 1, 1, 1, *np.zeros(6)], np.float32)
    for n_rows in (1, 7, 64, 65, 300):
        outputs = np.empty((n_rows, 1), np.float32)
        network.predict(params, np.full((n_rows, 2), 4, np.float32), outputs)
        assert_array_equal(outputs, 3)
