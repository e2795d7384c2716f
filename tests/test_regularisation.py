"""Penalties, decay, clipping, dropout and noise against the reference, and the same bits of all of them together."""

from typing import Any

import numpy as np
import pytest
import reference
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import _core

N_UNITS = (21, 70, 33, 3)
N_ROWS = 60
X, Y, PARAMS = reference.problem(N_UNITS, "squared_error", N_ROWS)
SEED = 2**40 + 12345
ALL = {
    "alpha": 0.1,
    "l1_ratio": 0.3,
    "weight_decay": 0.02,
    "clip_norm": 1.0,
    "dropout": [0.1, 0.5, 0.25],
    "input_noise": 0.2,
    "seed": SEED,
}
SINGLE: list[dict[str, Any]] = [
    {"alpha": 0.5, "l1_ratio": 0.25},
    {"alpha": 0.5, "l1_ratio": 1.0},
    {"weight_decay": 0.3},
    {"alpha": 0.5, "weight_decay": 0.3},
    {"clip_norm": 0.2},
    {"clip_norm": 1e9, "alpha": 0.1},
    {"clip_norm": 0.2, "alpha": 0.5, "l1_ratio": 1.0},
    {"dropout": [0.0, 0.5, 0.5], "seed": SEED},
    {"dropout": [0.2, 0.0, 0.0], "seed": 1},
    {"input_noise": 0.5, "seed": SEED},
    ALL,
]


def network(activation: Any, dtype: str, loss: str = "squared_error") -> _core.Network:
    return _core.Network(N_UNITS, activation, loss, dtype)


@pytest.mark.parametrize("settings", SINGLE, ids=lambda settings: "-".join(settings))
@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_training_is_the_references(isa: str, dtype: str, optimizer: str, settings: dict[str, Any], train: Any) -> None:
    settings = settings | {"optimizer": optimizer, "batch_size": 16, "learning_rate": 0.02, "epsilon": 1e-2}
    weight = np.random.default_rng(0).uniform(0.5, 2, N_ROWS)
    trained = train(network("tanh", dtype), PARAMS, X, Y, weight, n_epochs=2, **settings)
    spec = reference.Network(N_UNITS, "tanh", "squared_error")
    params, _, loss = reference.train(spec, PARAMS, X, Y, weight, n_epochs=2, **settings)
    assert np.linalg.norm(params - PARAMS) > 1e-3 * np.linalg.norm(PARAMS), "nothing was learned"
    # Eight steps on numbers of size 1 with sums of at most 70 terms; the noise in float32 has 24 bits of its angle, of
    # up to two turns, and of its radius.
    tolerance = (10_000 if "input_noise" in settings else 1000) * np.finfo(dtype).eps
    assert np.linalg.norm(trained.params - params) <= tolerance * np.linalg.norm(params)
    assert_allclose(trained.loss, loss, rtol=tolerance)


@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
def test_dropout_behind_every_activation(isa: str, dtype: str, activation: str, train: Any) -> None:
    """The derivative is that of the value before it was scaled; the dropped pass nothing back."""
    settings = {"batch_size": 20, "learning_rate": 0.01, "dropout": [0.0, 0.4, 0.7], "seed": SEED}
    trained = train(network(activation, dtype), PARAMS, X, Y, **settings)
    spec = reference.Network(N_UNITS, activation, "squared_error")
    params, *_ = reference.train(spec, PARAMS, X, Y, **settings)
    # Three steps on numbers of size 1 to 10, with sums of at most 70 terms.
    assert np.linalg.norm(trained.params - params) <= 1000 * np.finfo(dtype).eps * np.linalg.norm(params)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_few_rows_of_a_layer_with_many_weights(
    isa: str, dtype: str, optimizer: str, n_threads: int, train: Any
) -> None:
    """Its input gradient and its update take turns, block by block."""
    n_units = (3, 515, 517, 2)
    X, Y, initial = reference.problem(n_units, "squared_error", 10)
    settings: dict[str, Any] = {"optimizer": optimizer, "batch_size": 5, "learning_rate": 0.01, "epsilon": 1e-2}
    settings |= {"dropout": [0.1, 0.5, 0.25], "seed": SEED, "alpha": 0.1, "rate_factors": [1, 3, 1, 1, 2, 1, 1]}
    net = _core.Network(n_units, "tanh", "squared_error", dtype)
    trained = train(net, initial, X, Y, n_threads=n_threads, **settings)
    params, *_ = reference.train(reference.Network(n_units, "tanh", "squared_error"), initial, X, Y, **settings)
    assert np.linalg.norm(params - initial) > 1e-3 * np.linalg.norm(initial), "nothing was learned"
    # Two steps with sums of at most 517 terms; a block in the wrong place would be a tenth of what is learned.
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
                settings = {
                    "optimizer": optimizer,
                    "batch_size": batch_size,
                    "n_threads": n_threads,
                    "seconds": seconds,
                }
                net = network("gelu", precision)
                trained = train(net, params, X, Y, n_epochs=2, learning_rate=1e-3, **settings, **ALL)
                assert trained.status == "epoch"
                answers.append(trained.bits())
        assert answers[1:] == answers[:1] * (len(answers) - 1)


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_a_resumed_training_goes_on(isa: str, dtype: str, optimizer: str, train: Any) -> None:
    """The numbers drawn depend on the step, not on what was drawn before."""
    settings = {"optimizer": optimizer, "batch_size": 16, "learning_rate": 0.01, **ALL}
    straight = train(network("relu", dtype), PARAMS, X, Y, n_epochs=4, **settings)
    params, step = PARAMS.astype(dtype), 0
    slots = np.zeros((_core.OPTIMIZERS[optimizer], len(params)), dtype)
    for _ in range(4):
        training = _core.Training(network("relu", dtype), params, slots, X, Y, step=step, **settings)
        assert training.run(seconds=1e9) == "epoch"
        step = training.step
    assert (params.tobytes(), slots.tobytes()) == straight.bits()[:2]


@pytest.mark.parametrize("settings", [{}, {"dropout": [0.3, 0.5, 0.0]}, ALL], ids=["none", "dropout", "all"])
@pytest.mark.parametrize("density", [0.05, 0.5])
def test_sparse_rows_are_dense_rows(isa: str, dtype: str, density: float, settings: dict[str, Any], train: Any) -> None:
    n_units = (300, 70, 33, 3)
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((N_ROWS, 300)) * (rng.random((N_ROWS, 300)) < density)).astype(dtype)
    _, Y, params = reference.problem(n_units, "squared_error", N_ROWS)
    net = _core.Network(n_units, "tanh", "squared_error", dtype)
    settings = settings | {"batch_size": 16, "learning_rate": 0.01}
    dense = train(net, params, X, Y, **settings)
    assert train(net, params, scipy.sparse.csr_array(X), Y, **settings).bits() == dense.bits()


def test_what_is_off_changes_nothing(isa: str, dtype: str, train: Any) -> None:
    """Bit for bit: shares and strengths of 0, and a limit that is never reached."""
    for optimizer in _core.OPTIMIZERS:
        settings = {"optimizer": optimizer, "batch_size": 16, "learning_rate": 0.01, "alpha": 0.1}
        plain = train(network("relu", dtype), PARAMS, X, Y, **settings).bits()
        for off in ({"dropout": [0.0] * 3, "seed": 5}, {"weight_decay": 0.0, "l1_ratio": 0.0}, {"clip_norm": 1e9}):
            assert train(network("relu", dtype), PARAMS, X, Y, **settings, **off).bits() == plain


def test_a_zero_is_not_what_was_dropped(isa: str, dtype: str, train: Any) -> None:
    """Units whose value is -0.0 pass their gradient back as those at 0.0 do."""
    net = _core.Network((3, 40, 1), "identity", "squared_error", dtype)
    biases = []
    for sign in (1.0, -1.0):
        params = np.zeros(net.n_params, dtype)
        net.coefs(params)[0][:], net.intercepts(params)[0][:], net.coefs(params)[1][:] = sign, sign * 0.0, 1
        settings = {"batch_size": 4, "learning_rate": 0.5, "dropout": [0.0, 0.5], "seed": SEED}
        trained = train(net, params, np.zeros((4, 3)), np.ones((4, 1)), **settings)
        biases.append(net.intercepts(trained.params)[0])
    assert (biases[0] > 0).any()
    assert_array_equal(*biases)


def test_statistics_of_dropout_and_noise(isa: str, dtype: str) -> None:
    """Seen through a linear network that learns at rate 1 the mean of its inputs."""
    n = 4000
    net = _core.Network((n, 1), "identity", "squared_error", dtype)

    def learned(X: Any, **settings: Any) -> Any:
        params = np.zeros(net.n_params, dtype)
        slots, y = np.empty((0, len(params)), dtype), np.ones((1, 1))
        _core.Training(net, params, slots, X, y, batch_size=1, learning_rate=1.0, seed=SEED, **settings).run(
            seconds=1e9
        )
        return params[:n].astype(np.float64)

    scales = np.array([learned(np.ones((1, n)), dropout=[0.3], step=step) for step in range(20)])
    assert set(np.unique(scales.round(6))) == {0.0, round(1 / 0.7, 6)}
    # 80000 draws: five standard deviations of the share; units, steps and seeds are not correlated.
    kept = scales > 0
    assert abs(kept.mean() - 0.7) < 5 * np.sqrt(0.21 / kept.size)
    assert abs(np.corrcoef(kept[:-1].ravel(), kept[1:].ravel())[0, 1]) < 5 / np.sqrt(kept.size)
    assert abs(np.corrcoef(kept[:, :-1].ravel(), kept[:, 1:].ravel())[0, 1]) < 5 / np.sqrt(kept.size)
    assert not learned(np.ones((1, n)), dropout=[np.nextafter(1.0, 0.0)]).any()
    noise = learned(np.zeros((1, n)), input_noise=2.0)
    assert abs(noise.mean()) < 5 * 2 / np.sqrt(n)
    assert abs(noise.std() - 2) < 5 * 2 / np.sqrt(2 * n)
    assert_allclose(noise, 2 * reference.input_noise(SEED, 0, 1, n)[0], atol=1e-3 if dtype == "float32" else 1e-12)


def test_gradient_norm_is_reported(isa: str, dtype: str) -> None:
    for clip_norm, alpha in ((0.1, 0.0), (1e9, 0.5)):
        params = PARAMS.astype(dtype)
        settings = {"batch_size": N_ROWS, "learning_rate": 0.01, "clip_norm": clip_norm, "alpha": alpha}
        slots = np.empty((0, len(params)), dtype)
        training = _core.Training(network("tanh", dtype), params, slots, X, Y, **settings)
        assert training.gradient_norm == 0
        training.run(seconds=1e9)
        spec = reference.Network(N_UNITS, "tanh", "squared_error")
        _, gradient = spec.loss_gradient(PARAMS, X, Y, None, alpha)
        # Sums of squares of 2500 numbers.
        assert_allclose(training.gradient_norm, np.linalg.norm(gradient), rtol=1000 * np.finfo(dtype).eps)
        moved = np.linalg.norm(params - PARAMS) / 0.01
        assert_allclose(moved, min(clip_norm, np.linalg.norm(gradient)), rtol=1e-2 if dtype == "float32" else 1e-10)


def test_a_gradient_beyond_the_reals_ends_the_training(isa: str) -> None:
    params = np.zeros(N_UNITS[0] * 3 + 3, np.float32)
    net = _core.Network((N_UNITS[0], 3), "identity", "squared_error", "float32")
    training = _core.Training(
        net, params, np.empty((0, len(params)), "f"), 1e15 * X, 1e15 * Y, batch_size=N_ROWS, clip_norm=1.0
    )
    assert training.run(seconds=1e9) == "not_finite"
    assert not params.any()


def test_penalty_of_the_gradient(isa: str, dtype: str) -> None:
    gradient = np.empty(len(PARAMS), dtype)
    params = PARAMS.astype(dtype)
    params[:50] = 0  # where |w| has no derivative, 0 is taken
    loss = network("tanh", dtype).loss_gradient(params, X, Y, None, 0.7, gradient, l1_ratio=0.4)
    spec = reference.Network(N_UNITS, "tanh", "squared_error")
    expected, expected_gradient = spec.loss_gradient(params.astype(float), X, Y, None, 0.7, 0.4)
    # Sums of 2500 weights, and of 60 rows.
    tolerance = 1000 * np.finfo(dtype).eps
    assert_allclose(loss, expected, rtol=tolerance)
    assert_allclose(gradient, expected_gradient, rtol=tolerance, atol=tolerance)


def test_biases_neither_decay_nor_are_penalised(isa: str, dtype: str, train: Any) -> None:
    """Without input and error a linear layer's weights change by these alone."""
    net = _core.Network((3, 2), "identity", "squared_error", dtype)
    settings = {"batch_size": 4, "learning_rate": 0.1, "alpha": 1.0, "l1_ratio": 0.5, "weight_decay": 0.5}
    for optimizer in _core.OPTIMIZERS:
        params = np.ones(net.n_params, dtype)
        trained = train(net, params, np.zeros((4, 3)), np.ones((4, 2)), optimizer=optimizer, **settings)
        assert (net.coefs(trained.params)[0] < 1).all()
        assert_array_equal(net.intercepts(trained.params)[0], 1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_label_smoothing(isa: str, dtype: str, smoothing: float, n_outputs: int) -> None:
    for name, loss in [
        ("log_loss", reference.log_loss(smoothing)),
        ("binary_log_loss", reference.binary_log_loss(smoothing)),
    ]:
        check_loss(name, loss, n_outputs, dtype, label_smoothing=smoothing)


@pytest.mark.parametrize("width", [0.1, 1.0, 3.0])
def test_width_of_huber(isa: str, dtype: str, width: float) -> None:
    check_loss("huber", reference.huber(width), 3, dtype, huber_delta=width)


def test_quantiles_of_outputs(isa: str, dtype: str) -> None:
    quantiles = np.array([0.05, 0.5, 0.9])
    check_loss("quantile", reference.quantile(quantiles), 3, dtype, quantiles=quantiles)
    with pytest.raises(ValueError, match="3 elements"):
        _core.Network((4, 3), "relu", "quantile", "float64", quantiles=[0.1, 0.9])


def check_loss(name: str, loss: reference.Loss, n_outputs: int, dtype: str, **parameters: Any) -> None:
    """Value and gradient of a loss with parameters."""
    n_units = (5, 8, n_outputs)
    X, _, params = reference.problem(n_units, name, 40)
    Y = loss.draw(np.random.default_rng(1), (40, n_outputs))
    net = _core.Network(n_units, "tanh", name, dtype, **parameters)
    gradient = np.empty(net.n_params, dtype)
    value = net.loss_gradient(params.astype(dtype), X, Y, None, 0.0, gradient)
    expected, expected_gradient = reference.Network(n_units, "tanh", loss).loss_gradient(params, X, Y)
    # Forty rows of numbers of size 1 to 10.
    tolerance = 300 * np.finfo(dtype).eps
    assert_allclose(value, expected, rtol=tolerance, atol=tolerance)
    assert_allclose(gradient, expected_gradient, rtol=tolerance, atol=tolerance)
