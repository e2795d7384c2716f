"""The recipe is RealMLP-TD-S': written down in PyTorch as published, with autograd and its Adam, it learns the same."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastmlp.fitting import Fit
from fastmlp.rows import Samples
from fastmlp.tabular_training import PRESETS, _initialize, settings_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

N_ROWS, N_INPUTS, N_STEPS, BATCH_SIZE = 500, 7, 50, 100
EPSILON = 1e-20
"""So small that it does not matter where it stands: beside other multiples of the gradients here than there."""


def published(fit: Fit, X: Any, y: Any, orders: list[Any], classifies: bool) -> list[Any]:
    """The weights W / sqrt(fan_in) after the steps, the first ones times the factors of the inputs; and the biases."""
    torch.set_num_threads(1)
    dtype = torch.float64
    coefs, intercepts = fit.network.coefs(fit.params), fit.network.intercepts(fit.params)
    scale = torch.ones(N_INPUTS, dtype=dtype, requires_grad=True)
    W = [torch.tensor(W * np.sqrt(len(W)), dtype=dtype, requires_grad=True) for W in coefs]
    b = [torch.tensor(b, dtype=dtype, requires_grad=True) for b in intercepts]
    rate = 0.04 if classifies else 0.07
    groups = [{"params": W, "factor": 1.0}, {"params": b, "factor": 0.1}, {"params": [scale], "factor": 6.0}]
    adam = torch.optim.Adam(groups, betas=(0.9, 0.95), eps=EPSILON)
    activation = torch.nn.functional.selu if classifies else torch.nn.functional.mish
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.1) if classifies else torch.nn.MSELoss()
    X, step = torch.tensor(X, dtype=dtype), 0
    y = torch.tensor(y) if classifies else torch.tensor(y, dtype=dtype)
    for order in orders:
        for rows in np.split(order, N_ROWS // BATCH_SIZE):
            for group in adam.param_groups:
                factor = 0.5 - 0.5 * np.cos(2 * np.pi * np.log2(1 + 15 * step / N_STEPS))
                group["lr"] = rate * factor * group["factor"]
            a = X[rows] * scale
            for layer, (weight, bias) in enumerate(zip(W, b, strict=True)):
                a = a @ (weight / np.sqrt(len(weight))) + bias
                a = activation(a) if layer < len(W) - 1 else a
            adam.zero_grad()
            loss_of(a, y[rows]).backward()
            adam.step()
            step += 1
    W[0] = W[0] * scale[:, None]
    return [(weight / np.sqrt(len(weight))).detach().numpy() for weight in W] + [bias.detach().numpy() for bias in b]


@pytest.mark.parametrize("classifies", [True, False], ids=["classes", "values"])
def test_fifty_steps_are_those_of_the_published_recipe(classifies: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_INPUTS)).astype(np.float32)
    y = (np.abs(X[:, 0] * X[:, 1]) * 2).astype(np.int64).clip(max=2) if classifies else X[:, :1] * X[:, 1:2]
    loss, n_outputs = ("log_loss", 3) if classifies else ("squared_error", 1)
    asked = {"n_threads": 1, "batch_size": BATCH_SIZE, "hidden_layer_sizes": (32, 32, 32)}
    asked |= {"epsilon": EPSILON, "max_iter": N_STEPS // (N_ROWS // BATCH_SIZE)}
    settings: SimpleNamespace = settings_of(PRESETS["default"], N_ROWS, loss, asked)
    random_state = np.random.RandomState(0)
    samples = Samples(X, y, None)
    fit = Fit.start((N_INPUTS, 32, 32, 32, n_outputs), loss, "float64", settings, samples, random_state)
    _initialize(fit, random_state)
    order, orders, shuffler = np.arange(N_ROWS), [], np.random.RandomState(1)
    for _ in range(settings.max_iter):
        shuffler.shuffle(order)
        orders.append(order.copy())
    expected = published(fit, X, y, orders, classifies)
    fit.adopt(settings, restarts=True)
    fit.begin(samples, settings, np.random.RandomState(1), remedy="")
    fit.run(settings.max_iter, [])
    found = [*fit.network.coefs(fit.params), *fit.network.intercepts(fit.params)]
    for ours, theirs in zip(found, expected, strict=True):
        assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)  # float64, fifty steps of which each divides by a root
