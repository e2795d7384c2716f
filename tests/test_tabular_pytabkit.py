"""The recipe beside RealMLP-TD-S itself, as pytabkit trains it: inputs of a table, first weights, fifty steps.

What is not compared differs on purpose, as the guide on tables says: sizes, number of steps, calibration, ramps, gaps
in numbers; and that medians, categories and the scale of y are those of the rows that a network validates on, too.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from fastmlp import TabularRegressor
from fastmlp.fitting import Fit
from fastmlp.rows import Samples
from fastmlp.tabular_columns import read_table
from fastmlp.tabular_preparation import Preparation
from fastmlp.tabular_training import PRESETS, _initialize, settings_of

pytabkit = pytest.importorskip("pytabkit", reason="pytabkit is not installed")
lightning_modules = pytest.importorskip("pytabkit.models.training.lightning_modules")
scheduling = pytest.importorskip("pytabkit.models.training.scheduling")

N_ROWS, N_TRAINED, N_INPUTS, N_UNITS = 620, 520, 7, 32
N_EPOCHS, BATCH_SIZE = 10, 100
"""Fifty steps; the last 20 rows of an epoch make no batch."""
N_STEPS = N_EPOCHS * (N_TRAINED // BATCH_SIZE)
ABOUT = {"device": "cpu", "n_threads": 1, "random_state": 0, "n_epochs": N_EPOCHS, "batch_size": BATCH_SIZE}


class Recorded(NamedTuple):
    """What a training of pytabkit's has read, and its parameters before the first step and after each."""

    inputs: NDArray[np.float32]
    batches: list[NDArray[np.float32]]
    params: list[list[NDArray[np.float64]]]

    def orders(self) -> Iterator[NDArray[np.int64]]:
        """The numbers of the training rows in the order of each epoch, those that made no batch at its end."""
        numbers = {row.tobytes(): number for number, row in enumerate(self.inputs[:N_TRAINED])}
        for first in range(0, N_STEPS, N_STEPS // N_EPOCHS):
            rows = np.concatenate(self.batches[first : first + N_STEPS // N_EPOCHS])
            used = np.array([numbers[row.tobytes()] for row in rows])
            yield np.append(used, np.setdiff1d(np.arange(N_TRAINED), used))


class Replayed:
    """In place of random numbers: the rows are shuffled as they were there."""

    def __init__(self, orders: Iterator[NDArray[np.int64]]) -> None:
        self._orders = orders

    def shuffle(self, order: NDArray[np.int64]) -> None:
        order[:] = next(self._orders)


def record(model: Any, X: Any, y: Any) -> Recorded:
    """Train on the first rows, validate on the others."""
    inputs: list[NDArray[np.float32]] = []
    batches: list[NDArray[np.float32]] = []
    params: list[list[NDArray[np.float64]]] = []
    made = lightning_modules.TabNNModule.training_step

    def training_step(module: Any, batch: Any, number: int) -> Any:
        if not batches:
            inputs.append(np.ascontiguousarray(module.train_dl.ds.tensors["x_cont"].numpy()))
            params.append(params_of(module.model))
        batches.append(batch["x_cont"][0].numpy())
        loss = made(module, batch, number)
        params.append(params_of(module.model))
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lightning_modules.TabNNModule, "training_step", training_step)
        model.fit(X[:N_TRAINED], y[:N_TRAINED], X[N_TRAINED:], y[N_TRAINED:])
    return Recorded(inputs[0], batches, params)


def params_of(model: Any) -> list[NDArray[np.float64]]:
    """W / sqrt(fan_in), the first ones times the factors of the inputs, and the biases."""
    arrays = {str(each.context.scope).rpartition("/layer-")[2]: each.detach().numpy()[0] for each in model.parameters()}
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}  # a copy: training goes on
    W = [array / np.sqrt(len(array)) for name, array in arrays.items() if name.endswith("weight")]
    W[0] *= arrays["0/scale"].T
    return [*W, *(array[0] for name, array in arrays.items() if name.endswith("bias"))]


def same_epsilon(epsilon: float, classifies: bool) -> dict[str, Any]:
    """What the engine's epsilon is in pytabkit's parametrisation and PyTorch's Adam.

    It stands beside gradients that are sqrt(fan_in) times as large for weights, half as large for the squared error,
    and beside the root of second moments without bias correction, as in scikit-learn.
    """
    epsilon = epsilon if classifies else 2 * epsilon
    fans_in = (N_INPUTS, N_UNITS, N_UNITS, N_UNITS)
    of_weights = {f".*/layer-{layer}/weight": epsilon / np.sqrt(n) for layer, n in enumerate(fans_in)}

    def correction(progress: float) -> float:
        return float((1 - 0.95 ** (round(progress * N_STEPS) + 1)) ** -0.5)

    return {"opt_eps": {"": epsilon} | of_weights, "opt_eps_sched": lambda: scheduling.FunctionSchedule(correction)}


def arrays_of(fit: Fit) -> list[NDArray[Any]]:
    return [*fit.network.coefs(fit.params), *fit.network.intercepts(fit.params)]


def test_first_parameters_are_drawn_as_pytabkit_draws_them() -> None:
    rng, random_state = np.random.default_rng(0), np.random.RandomState(0)
    X, y = rng.normal(size=(N_ROWS, N_INPUTS)), rng.integers(0, 2, N_ROWS)
    first = record(pytabkit.RealMLP_TD_S_Classifier(**ABOUT | {"n_epochs": 1}), X, y).params[0]
    settings, samples = settings_of(PRESETS["default"], N_ROWS, "log_loss", {}), Samples(X.astype(np.float32), y, None)
    fit = Fit.start((N_INPUTS, 256, 256, 256, 2), "log_loss", "float32", settings, samples, random_state)
    _initialize(fit, random_state)
    for ours, theirs in zip(arrays_of(fit), first, strict=True):
        assert ours.shape == theirs.shape
        assert ours.any() == theirs.any()  # the last ones are 0
        assert ks_2samp(ours.ravel(), theirs.ravel()).pvalue > 0.01


@pytest.mark.parametrize("classifies", [True, False], ids=["classes", "values"])
def test_fifty_steps_are_those_of_pytabkit(classifies: bool) -> None:
    """From its first weights on its batches: weights of up to 5, which have moved by up to 4, to 1e-5.

    Both have an epsilon of 1e-8, which does not mean the same (see `same_epsilon`): many gradients are as small soon
    after the outputs were 0, and without `same_epsilon` the weights differ by up to 0.005.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_INPUTS))
    products = X[:, 0] * X[:, 1]
    y = (np.abs(products) * 2).astype(np.int64).clip(max=2) if classifies else 3 + 2 * products
    loss, n_outputs = ("log_loss", 3) if classifies else ("squared_error", 1)
    asked = {"n_threads": 1, "batch_size": BATCH_SIZE, "hidden_layer_sizes": (N_UNITS,) * 3, "max_iter": N_EPOCHS}
    settings = settings_of(PRESETS["default"], N_TRAINED, loss, asked)
    made = pytabkit.RealMLP_TD_S_Classifier if classifies else pytabkit.RealMLP_TD_S_Regressor
    model = made(hidden_sizes=[N_UNITS] * 3, **ABOUT, **same_epsilon(settings.epsilon, classifies))
    recorded = record(model, X, y)
    targets = y[:N_TRAINED] if classifies else TabularRegressor()._understand(y[:N_TRAINED]).values
    samples = Samples(recorded.inputs[:N_TRAINED], targets, None)
    n_units = (N_INPUTS, N_UNITS, N_UNITS, N_UNITS, n_outputs)
    fit = Fit.start(n_units, loss, "float32", settings, samples, np.random.RandomState(0))
    for ours, first in zip(arrays_of(fit), recorded.params[0], strict=True):
        ours[...] = first
    fit.adopt(settings, restarts=True)
    fit.begin(samples, settings, Replayed(recorded.orders()), remedy="")  # type: ignore[arg-type]
    fit.run(N_EPOCHS, [])
    assert fit.step == len(recorded.batches) == N_STEPS
    for ours, last in zip(arrays_of(fit), recorded.params[-1], strict=True):
        assert_allclose(ours, last, rtol=0, atol=1e-5)  # float32, summed in another order: 3e-6 at most was found


def test_inputs_of_a_table_are_those_of_pytabkit() -> None:
    """Numbers are. Inputs of categories it then centres, scales and clips as if they were numbers; here they stay.

    Of two values the first is 1 there and -1 here. Rows to validate on tell neither median nor scale.
    """
    rng, missing = np.random.default_rng(0), np.arange(N_ROWS) % 7 == 0
    numbers = {"normal": rng.normal(5, 2, N_ROWS), "skewed": np.exp(3 * rng.normal(size=N_ROWS))}
    numbers |= {"mostly 0": rng.normal(size=N_ROWS) * (np.arange(N_ROWS) % 9 == 0), "whole": np.arange(N_ROWS) % 5}
    numbers |= {"constant": np.append(np.ones(N_TRAINED), rng.normal(size=N_ROWS - N_TRAINED))}
    numbers["normal"][-1] = 1e4
    shares = {"two": [0.5, 0.5], "rarely b": [0.9, 0.1], "two or none": [0.4, 0.6], "three or none": [0.6, 0.3, 0.1]}
    texts = {name: rng.choice(list("abc")[: len(p)], N_ROWS, p=p).astype(object) for name, p in shares.items()}
    texts["two or none"][missing] = texts["three or none"][missing] = np.nan  # None would be a category there
    X = pd.DataFrame(numbers | {name: pd.Series(values, dtype=object) for name, values in texts.items()})
    model = pytabkit.RealMLP_TD_S_Classifier(hidden_sizes=[4], **ABOUT | {"n_epochs": 1})
    theirs = record(model, X, rng.integers(0, 2, N_ROWS)).inputs
    table = read_table(X)
    ours = Preparation.of(table.rows(0, N_TRAINED), [name in texts for name in X]).inputs(table)[:, : theirs.shape[1]]
    n_numbers = len(numbers)
    assert_allclose(ours[:, :n_numbers], theirs[:, :n_numbers], rtol=0, atol=1e-6)
    encoded = ours[:, n_numbers:].astype(np.float64)
    assert_array_equal(encoded[missing, 2:], 0)
    again = Preparation.of(read_table(encoded[:N_TRAINED]), [False] * 6)
    signs = [-1, -1, -1, 1, 1, 1]
    assert_allclose(again.inputs(read_table(encoded))[:, :6] * signs, theirs[:, n_numbers:], rtol=0, atol=1e-6)
