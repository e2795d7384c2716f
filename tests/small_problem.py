"""A small network with every array that a job of the engine takes, and the jobs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import reference

from fastmlp import _core

N_ROWS = 300
N_UNITS = (7, 20, 4)


class Problem:
    """A network with every array that a job takes."""

    def __init__(self, dtype: str = "float32", optimizer: str = "adam") -> None:
        X, _, params = reference.problem(N_UNITS, "squared_error", N_ROWS)
        rng = np.random.default_rng(0)
        self.network = _core.Network(N_UNITS, "tanh", "log_loss", dtype)
        self.optimizer = optimizer
        dtype = self.network.dtype
        self.arrays: dict[str, Any] = {
            "params": params.astype(dtype),
            "slots": np.zeros((_core.OPTIMIZERS[optimizer], len(params)), dtype),
            "X": X,
            "y": rng.integers(0, 4, N_ROWS),
            "sample_weight": rng.uniform(0.5, 2, N_ROWS),
            "gradient": np.zeros(len(params), dtype),
            "outputs": np.zeros((N_ROWS, 4), dtype),
            "order": rng.permutation(N_ROWS).astype(np.int64),
            "rates": np.full(3, 0.01),
        }

    def training(self, **settings: Any) -> _core.Training:
        a = self.arrays
        settings = {"optimizer": self.optimizer, "batch_size": 100, "learning_rate": 0.01} | settings
        return _core.Training(self.network, a["params"], a["slots"], a["X"], a["y"], a["sample_weight"], **settings)

    def train(self, **settings: Any) -> Any:
        return self.training(**settings).run(self.arrays["order"], 1e9, self.arrays["rates"])

    def apply(self, **settings: Any) -> Any:
        return self.training(**settings).apply(self.arrays["gradient"])

    def predict(self, n_threads: Any = 1) -> Any:
        a = self.arrays
        return self.network.predict(a["params"], a["X"], a["outputs"], n_threads)

    def evaluate(self, n_threads: Any = 1, seconds: float = 0.1) -> Any:
        a = self.arrays
        return self.network.evaluate(a["params"], a["X"], a["y"], a["sample_weight"], n_threads, seconds)

    def loss_gradient(self, n_threads: Any = 1) -> Any:
        a = self.arrays
        rows = (a["X"], a["y"], a["sample_weight"])
        return self.network.loss_gradient(a["params"], *rows, 0.0, a["gradient"], n_threads)


JOBS: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "train": (Problem.train, ["params", "slots", "y", "sample_weight", "order", "rates"]),
    "apply": (Problem.apply, ["params", "slots", "gradient"]),
    "predict": (Problem.predict, ["params", "outputs"]),
    "evaluate": (Problem.evaluate, ["params", "y", "sample_weight"]),
    "loss_gradient": (Problem.loss_gradient, ["params", "y", "sample_weight", "gradient"]),
}
