"""Validation: rows kept out of the training, and how well the network does on them after each epoch."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.data import TASKS, score
from fastmlp.perceptron import Perceptron, Samples


class Validation:
    """The loss and the score of a perceptron in training on rows that it is not trained on.

    Parameters
    ----------
    estimator : Perceptron
        In training: its parameters change in place.
    samples : Samples
        The rows.
    labels : ndarray
        Their targets as the user knows them, for the scorer.
    scorer : callable (estimator, X, y, sample_weight) -> float, "loss" or None
        "loss" for the negative loss, None for the accuracy or R².
    """

    def __init__(
        self, estimator: Perceptron, samples: Samples, labels: NDArray[Any], scorer: Callable[..., float] | str | None
    ) -> None:
        self._samples, self._labels, self._scorer = samples, labels, scorer
        # A copy shares the parameters. Rows that were checked have lost their names, of which it therefore knows none.
        self._copy = copy.copy(estimator)
        self._copy.__dict__.pop("feature_names_in_", None)

    def __call__(self) -> tuple[float, float]:
        """Score and loss now."""
        loss = self._loss()
        if self._scorer == "loss":
            return -loss, loss
        if self._scorer is None:
            return self._default_score(), loss
        weights = {} if self._samples.weights is None else {"sample_weight": self._samples.weights}
        assert callable(self._scorer)
        return float(self._scorer(self._copy, self._samples.rows, self._labels, **weights)), loss

    def _default_score(self) -> float:
        outputs = self._copy._outputs(self._samples.rows)
        if not np.isfinite(outputs).all():
            return float("nan")
        return score(self._samples.targets, outputs, self._copy._loss(), self._samples.weights)

    def _loss(self) -> float:
        estimator, (rows, targets, weights) = self._copy, self._samples
        network = estimator._network()
        n_threads = estimator._threads(network, rows, rows.shape[0])
        gradient = np.empty_like(estimator._params)
        loss = network.loss_gradient(estimator._params, rows, targets, weights, 0.0, gradient, n_threads)
        return loss / estimator.n_outputs_ if TASKS[network.loss].mean_over_outputs else loss
