"""The recipe for tables: the network of RealMLP-TD-S (Holzmüller et al. 2024) trained by `Fit`, and its members.

Weights are in the parametrisation of the neural tangent kernel, which under Adam is a learning rate for each layer.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import ceil, inf, isnan
from threading import Event
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning

from fastmlp._core import Network
from fastmlp.callbacks import Narration, ProgressBar
from fastmlp.fitting import Fit
from fastmlp.hyperparameters import HYPERPARAMETERS
from fastmlp.listener import Listener, NonFiniteError, warn
from fastmlp.rows import Samples
from fastmlp.targets import score, some_weight
from fastmlp.threads import usable_cpus


@dataclass(frozen=True)
class Preset:
    """How long to train how many networks of what size.

    Attributes
    ----------
    n_members : int
    n_units : int
        Of each of three hidden layers.
    n_steps : int
        Of each network on 1000 rows. It grows with the rows to the power of 2/3: small tables take more epochs.
    most_steps : int
    """

    n_members: int
    n_units: int
    n_steps: int
    most_steps: int


PRESETS = {
    "default": Preset(n_members=3, n_units=128, n_steps=900, most_steps=20_000),
    "accurate": Preset(n_members=5, n_units=192, n_steps=1200, most_steps=40_000),
}
REMEDY = "y or sample_weight may hold values that are too large or too small."
SMALLEST_BATCH, LARGEST_BATCH = 64, 256
ROWS_AT_ONCE = 1024
"""That are looked at for values other than 0."""
N_FOLDS = 5
"""A member validates on one of so many parts of the rows, another one than the member before it."""
COMMON = {name: entry.default for name, entry in HYPERPARAMETERS["Trainer"].items()} | {
    "learning_rate": "coslog",
    "beta_2": 0.95,
    "alpha": 0.0,
    "weight_init": "lecun_normal",
    "n_iter_no_change": inf,
    "early_stopping": True,
    "drop_last": True,
    "bias_rate": 0.1,
    "scale_rate": 6.0,
}
OF_CLASSES = {"activation": "selu", "learning_rate_init": 0.04, "label_smoothing": 0.1}
OF_VALUES = {"activation": "mish", "learning_rate_init": 0.07}


@dataclass(frozen=True)
class Task:
    """What the members are trained on.

    Attributes
    ----------
    inputs : ndarray of shape (n_rows, n_inputs)
        With ramps, which the first member reads, the third and so on.
    n_plain : int
        Inputs without ramps.
    targets : ndarray
        As the engine reads them.
    weights : ndarray of shape (n_rows,) or None
    loss : str
    n_outputs : int
    folds : ndarray of shape (n_rows,)
        As `folds_of` says.
    held_out : Samples or None
        Rows to validate on, where the user has given them; else each member keeps a fold back.
    settings : namespace
        The hyper-parameters of the training.
    """

    inputs: NDArray[np.float32]
    n_plain: int
    targets: NDArray[Any]
    weights: NDArray[np.float64] | None
    loss: str
    n_outputs: int
    folds: NDArray[np.intp]
    held_out: Samples | None
    settings: Any

    def n_inputs_of(self, number: int) -> int:
        """How many of the inputs the member of that number reads: networks that see other things err elsewhere."""
        return self.n_plain if number % 2 else self.inputs.shape[1]


@dataclass(frozen=True)
class Member:
    """A trained network.

    Attributes
    ----------
    n_inputs : int
        How many of the inputs it reads.
    params : ndarray of shape (n_params,)
    loss_curve, validation_scores : list of float
        Of each epoch.
    best_epoch : int
        Number of the epoch, from 1, whose parameters these are.
    """

    n_inputs: int
    params: NDArray[np.float32]
    loss_curve: list[float]
    validation_scores: list[float]
    best_epoch: int


def settings_of(preset: Preset, n_rows: int, loss: str, asked: dict[str, Any]) -> SimpleNamespace:
    """The hyper-parameters of a training on so many rows; asked : those that the user has chosen."""
    n_steps = min(preset.n_steps * (n_rows / 1000) ** (2 / 3), preset.most_steps)
    batch_size = batch_size_of(n_rows)
    own = OF_CLASSES if loss in ("log_loss", "binary_log_loss") else OF_VALUES
    sizes = {"hidden_layer_sizes": (preset.n_units,) * 3, "batch_size": batch_size}
    sizes["max_iter"] = ceil(n_steps / max(1, n_rows // batch_size))
    return SimpleNamespace(**COMMON | own | sizes | asked)


def batch_size_of(n_rows: int) -> int:
    """The power of two below the root of the rows: where they are few, steps count and not the rows of a step."""
    return min(max(1 << (n_rows.bit_length() - 1) // 2, SMALLEST_BATCH), LARGEST_BATCH)


def train_members(task: Task, seeds: list[int], scorer: Any, n_threads: int | None, name: str) -> list[Member]:
    """Train a network for each seed, side by side, one thread each; the result does not depend on how many.

    Parameters
    ----------
    task : Task
    seeds : list of int
    scorer : callable (Fit, Samples, rows) -> float, or None
        Score of the validation rows, of these numbers among the training rows; None as for `LastBest`.
    n_threads : int or None
    name : str
        Of the estimator, for the progress bar.

    Raises
    ------
    NonFiniteError
        If all of them have diverged.

    Warns
    -----
    UserWarning
        If Ctrl-C has ended them, with the epochs so far.
    ConvergenceWarning
        If the time was up before their end.
    """
    running: list[Fit] = []
    all_submitted = Event()

    def train(number: int) -> Member | None:
        all_submitted.wait()
        with suppress(NonFiniteError):
            return _train(task, number, seeds[number], scorer, running, name)
        return None

    n_workers = min(len(seeds), n_threads or usable_cpus()[0])
    if len(seeds) > 1:
        task.settings.n_threads = 1
    with ThreadPoolExecutor(n_workers) as pool:
        try:
            trainings = [pool.submit(train, number) for number in range(len(seeds))]
            all_submitted.set()
            found = [training.result() for training in trainings]
        except KeyboardInterrupt:
            _end(task, running)
            if not all_submitted.is_set():  # a training that Ctrl-C has hidden from the pool would not be waited for
                raise
            found = [training.result() for training in trainings]
            warn("Training interrupted by user.")
        except BaseException:
            _end(task, running)
            raise
        finally:
            all_submitted.set()
    members = [member for member in found if member is not None]
    if not members:
        raise NonFiniteError(f"Training has diverged: {REMEDY}")
    n_epochs, n_planned = sum(len(member.loss_curve) for member in members), len(seeds) * task.settings.max_iter
    if -inf < task.settings.deadline < perf_counter() and n_epochs < n_planned:
        warn(
            f"max_time has ended the training after {n_epochs} of {n_planned} epochs, with {len(members)} of "
            f"{len(seeds)} networks. More time may give better predictions.",
            ConvergenceWarning,
        )
    return members


def _end(task: Task, running: list[Fit]) -> None:
    """Let trainings end soon, and those that have not begun not begin, but for the first."""
    task.settings.deadline = -inf
    for fit in tuple(running):
        fit.deadline = -inf


def _train(task: Task, number: int, seed: int, scorer: Any, running: list[Fit], name: str) -> Member | None:
    """The member of that number; None where its time was up before it began."""
    random_state = np.random.RandomState(seed)
    if number > 0 and perf_counter() > task.settings.deadline:
        return None
    n_inputs = task.n_inputs_of(number)
    samples = Samples(task.inputs[:, :n_inputs], task.targets, task.weights)
    rows, held_out, kept_back = _parts(task, samples, number)
    batch_size = {"batch_size": min(task.settings.batch_size, len(rows))}
    settings = SimpleNamespace(**vars(task.settings) | batch_size)
    n_units = (n_inputs, *settings.hidden_layer_sizes, task.n_outputs)
    fit = Fit.start(n_units, task.loss, "float32", settings, samples, random_state)
    _initialize(fit, random_state)
    # These keep their first weights, which would be noise where predict meets a category for the first time.
    fit.network.coefs(fit.params)[0][_always_zero(samples.rows, rows)] = 0
    best = LastBest(held_out, None if scorer is None else lambda fit: scorer(fit, held_out, kept_back))
    listeners: list[Listener] = [best]
    if settings.verbose and number == 0:
        bar = settings.verbose == "progress"
        listeners.append(ProgressBar(name, settings.max_iter) if bar else Narration(print, validates=True))
    running.append(fit)
    try:
        fit.adopt(settings, restarts=True)
        fit.begin(samples, settings, random_state, remedy=REMEDY, rows=rows)
        fit.deadline = task.settings.deadline  # by now another one, where Ctrl-C has come
        with suppress(NonFiniteError):
            fit.run(settings.max_iter, listeners)
        if not best.epoch:
            raise fit.non_finite()
        best.finished(fit)
    finally:
        for listener in listeners:
            listener.close(fit)
        running.remove(fit)
    return Member(n_inputs, _calibrated(fit, held_out), fit.loss_curve, fit.validation_scores or [], best.epoch)


class LastBest(Listener):
    """Scores the validation rows after each epoch, and keeps the parameters of the last one of the best epochs.

    Parameters
    ----------
    held_out : Samples
    scorer : callable (Fit) -> float, or None
        None for the accuracy, or the negative loss where values or several labels are predicted.

    Attributes
    ----------
    epoch : int
        Number of the best one, from 1; 0 before the first.
    """

    curves = ("validation_scores",)

    def __init__(self, held_out: Samples, scorer: Callable[[Fit], float] | None) -> None:
        self._held_out, self._scorer, self._score, self.epoch = held_out, scorer, -inf, 0

    def measure(self, fit: Fit) -> dict[str, float]:
        """Measure the score."""
        if self._scorer is not None:
            return {"validation_scores": float(self._scorer(fit))}
        rows, targets, weights = self._held_out
        if fit.network.loss != "log_loss":
            return {"validation_scores": -fit.network.evaluate(fit.params, rows, targets, weights)}
        outputs = outputs_of(fit.network, fit.params, rows)
        return {"validation_scores": score(targets, outputs, fit.network.loss, weights)}

    def epoch_ended(self, fit: Fit) -> bool:
        """Keep the parameters of an epoch that no other is better than."""
        assert fit.validation_scores is not None
        latest = fit.validation_scores[-1]
        if latest >= self._score or self._score == -inf:  # NaN is better than nothing
            self._score = -inf if isnan(latest) else latest
            self.epoch, self._params = fit.n_iter, fit.params.copy()
        return False

    def finished(self, fit: Fit) -> None:
        """Restore the best ones."""
        fit.replace_params(self._params)


def outputs_of(network: Network, params: NDArray[np.float32], rows: Any, n_threads: int = 1) -> NDArray[np.float32]:
    """Outputs (n_rows, n_outputs) of the network."""
    outputs = np.empty((rows.shape[0], network.n_units[-1]), network.dtype)
    network.predict(params, rows, outputs, n_threads)
    return outputs


def _parts(task: Task, samples: Samples, number: int) -> tuple[NDArray[np.intp], Samples, NDArray[np.intp]]:
    """Numbers of the rows to train on, which no member copies; samples to validate on, and their numbers."""
    if task.held_out is not None:
        held_out = task.held_out._replace(rows=task.held_out.rows[:, : samples.rows.shape[1]])
        return np.arange(len(samples.rows)), held_out, np.arange(len(held_out.rows))
    chosen = task.folds == number % (int(task.folds.max()) + 1)  # fewer rows than N_FOLDS are as many folds
    rows, targets, weights = samples
    for part in () if weights is None else (weights[chosen], weights[~chosen]):
        some_weight(part, "Sample weights of the rows that a network trains on, or validates on,")
    held_out = Samples(rows[chosen], targets[chosen], None if weights is None else weights[chosen])
    return np.flatnonzero(~chosen), held_out, np.flatnonzero(chosen)


def folds_of(targets: NDArray[Any], random_state: np.random.RandomState) -> NDArray[np.intp]:
    """Fold of each row, from 0: N_FOLDS, or one for each row; all have as many rows of a class, give or take one."""
    order = random_state.permutation(len(targets))
    if targets.ndim == 1:
        order = order[np.argsort(targets[order], kind="stable")]
    folds = np.empty(len(targets), np.intp)
    folds[order] = np.arange(len(targets)) % min(N_FOLDS, len(targets))
    return folds


def _initialize(fit: Fit, random_state: np.random.RandomState) -> None:
    """Biases from the normal distribution; outputs that are 0 at first."""
    coefs, intercepts = fit.network.coefs(fit.params), fit.network.intercepts(fit.params)
    for b in intercepts[:-1]:
        b[...] = random_state.standard_normal(b.shape)
    coefs[-1][...] = 0


def _always_zero(inputs: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Numbers of the inputs that are 0 in all of these rows, as is a category that only other rows have."""
    found = np.arange(inputs.shape[1])
    for start in range(0, len(rows), ROWS_AT_ONCE):  # soon few are left to look at
        found = found[~inputs[np.ix_(rows[start : start + ROWS_AT_ONCE], found)].any(axis=0)]
    return found


def _calibrated(fit: Fit, held_out: Samples) -> NDArray[np.float32]:
    """The parameters, with logits multiplied by the factor that makes the log loss of the validation rows lowest.

    Label smoothing leaves probabilities too close to each other. Few rows say little: each factor has a prior.
    """
    network, params = fit.network, fit.params.copy()
    if network.loss not in ("log_loss", "binary_log_loss"):
        return params
    rows, targets, weights = held_out
    tiny = np.finfo(np.float32).tiny
    p = outputs_of(network, params, rows).astype(np.float64)
    logits = np.log(p + tiny) - (0 if network.loss == "log_loss" else np.log(1 - p + tiny))
    weights = np.ones(len(p)) if weights is None else weights / weights.mean()
    if network.loss == "log_loss":  # so that none is above 0, whatever the factor
        logits -= logits.max(axis=1, keepdims=True)
        true = np.take_along_axis(logits, targets[:, None], axis=1)[:, 0]

    def cost(log_factor: float) -> float:
        factor = np.exp(log_factor)
        z = logits * factor
        if network.loss == "log_loss":
            losses = np.log(np.exp(z).sum(axis=1)) - true * factor
        else:
            losses = (np.logaddexp(0, z) - z * targets).sum(axis=1)
        return float((weights * losses).sum() + log_factor**2)  # not BLAS', whose sums depend on its threads

    factor = np.float32(np.exp(minimize_scalar(cost, bounds=(-2, 2), method="bounded").x))
    network.coefs(params)[-1][...] *= factor
    network.intercepts(params)[-1][...] *= factor
    return params
