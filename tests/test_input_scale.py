"""Learned factors of the inputs and learning rates of each array, against the reference and against the same bits."""

from typing import Any

import numpy as np
import pytest
import reference
import scipy.sparse
from numpy.testing import assert_array_equal

from fastmlp import _core

N_UNITS = (21, 70, 33, 3)
N_ROWS = 60
X, Y, PARAMS = reference.problem(N_UNITS, "squared_error", N_ROWS)
FACTORS = [0.3, 0.5, 2.0, 0.1, 0.2, 0.4, 6.0]
"""Of W and b of three layers, and of the factors of the inputs."""
REGULAR = {"alpha": 0.5, "l1_ratio": 0.25, "weight_decay": 0.3, "dropout": [0.1, 0.5, 0.0], "seed": 5}


def network(dtype: str, n_units: tuple[int, ...] = N_UNITS) -> _core.Network:
    return _core.Network(n_units, "tanh", "squared_error", dtype)


@pytest.mark.parametrize("regular", [{}, REGULAR], ids=["plain", "regularised"])
@pytest.mark.parametrize("learn_scale", [False, True])
@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_training_is_the_references(
    isa: str, dtype: str, optimizer: str, learn_scale: bool, regular: dict[str, Any], train: Any
) -> None:
    settings = {"optimizer": optimizer, "batch_size": 16, "learning_rate": 0.002, "epsilon": 1e-2, **regular}
    settings |= {"rate_factors": FACTORS, "learn_scale": learn_scale}
    weight = np.random.default_rng(0).uniform(0.5, 2, N_ROWS)
    trained = train(network(dtype), PARAMS, X, Y, weight, n_epochs=2, **settings)
    spec = reference.Network(N_UNITS, "tanh", "squared_error")
    params, slots, _ = reference.train(spec, PARAMS, X, Y, weight, n_epochs=2, **settings)
    assert np.linalg.norm(params - PARAMS) > 1e-3 * np.linalg.norm(PARAMS), "nothing was learned"
    # Eight steps on numbers of size 1 with sums of at most 70 terms.
    tolerance = 1000 * np.finfo(dtype).eps
    assert np.linalg.norm(trained.params - params) <= tolerance * np.linalg.norm(params)
    assert np.linalg.norm(trained.slots - slots) <= tolerance * np.linalg.norm(slots)


@pytest.mark.parametrize("n_units", [(1, 1), (3, 2), (65, 130, 1), (130, 5, 2), (3000, 2), (515, 37, 2)])
def test_any_width(isa: str, dtype: str, n_units: tuple[int, ...], train: Any) -> None:
    rows, targets, first = reference.problem(n_units, "squared_error", 7)
    settings = {"optimizer": "sgd", "batch_size": 3, "learning_rate": 0.05, "learn_scale": True}
    trained = train(network(dtype, n_units), first, rows, targets, **settings)
    params, *_ = reference.train(reference.Network(n_units, "tanh", "squared_error"), first, rows, targets, **settings)
    plain, *_ = reference.train(
        reference.Network(n_units, "tanh", "squared_error"), first, rows, targets, **(settings | {"learn_scale": False})
    )
    assert np.linalg.norm(params - plain) > 1e-4 * np.linalg.norm(params), "the factors have learned nothing"
    # Three steps with sums of at most 3000 terms.
    assert np.linalg.norm(trained.params - params) <= 1000 * np.finfo(dtype).eps * np.linalg.norm(params)


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_the_same_bits(precision: str, optimizer: str, train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On any instruction set with FMA, any number of threads, in one call or many, for batches of one chunk or two."""
    for batch_size, rows in ((16, N_ROWS), (300, 331)):
        X, Y, params = reference.problem(N_UNITS, "squared_error", rows)
        answers = []
        for isa in _core.available_isas():
            if isa == "x86-64":
                continue
            monkeypatch.setenv("FASTMLP_ISA", isa)
            for n_threads, seconds in ((1, 1e9), (2, 0.0), (3, 1e9), (5, 0.0)):
                settings = {"n_threads": n_threads, "seconds": seconds, "batch_size": batch_size, **REGULAR}
                settings |= {"optimizer": optimizer, "rate_factors": FACTORS, "learn_scale": True}
                net = network(precision)
                answers.append(train(net, params, X, Y, n_epochs=2, learning_rate=1e-3, **settings).bits())
        assert answers[1:] == answers[:1] * (len(answers) - 1)


def test_sparse_rows_are_dense_rows(isa: str, dtype: str, train: Any) -> None:
    rng = np.random.default_rng(0)
    dense = (X * (rng.random(X.shape) < 0.2)).astype(dtype)
    settings = {"learn_scale": True, "optimizer": "adam", "batch_size": 16}
    on_dense, on_sparse = (
        train(network(dtype), PARAMS, rows, Y, **settings) for rows in (dense, scipy.sparse.csr_matrix(dense))
    )
    assert_array_equal(on_sparse.params, on_dense.params)


def test_first_rows_of_the_order_alone(dtype: str, train: Any) -> None:
    order = np.random.default_rng(0).permutation(N_ROWS)
    settings = {"optimizer": "adam", "batch_size": 16}
    trained = train(network(dtype), PARAMS, X, Y, order=order[:48], n_rows=48, **settings)
    assert trained.bits() == train(network(dtype), PARAMS, X[order[:48]], Y[order[:48]], **settings).bits()
    with pytest.raises(ValueError, match="n_rows is 61"):
        train(network(dtype), PARAMS, X, Y, n_rows=61)


def test_nothing_is_stored_where_the_factors_overflow(isa: str, train: Any) -> None:
    """float32: an infinite factor ends the training, and parameters stay as they were."""
    rows = np.full((20, 3), 1e18, np.float32)
    first = np.concatenate([np.full(3, 1e-18), np.zeros(1)])
    net = _core.Network((3, 1), "tanh", "squared_error", "float32")
    trained = train(
        net, first, rows, np.zeros((20, 1)), optimizer="sgd", learn_scale=True, learning_rate=1e30, batch_size=20
    )
    assert trained.status == "not_finite"
    assert_array_equal(trained.params, first.astype(np.float32))


def test_what_does_not_go_together() -> None:
    net = network("float64")
    params, slots = PARAMS.copy(), np.zeros((0, len(PARAMS)))
    with pytest.raises(ValueError, match="clip_norm"):
        _core.Training(net, params, slots, X, Y, batch_size=16, clip_norm=1.0, learn_scale=True)
    training = _core.Training(net, params, slots, X, Y, batch_size=16, learn_scale=True)
    with pytest.raises(RuntimeError, match="factors of the inputs"):
        training.apply(np.zeros_like(params))
