"""Validation: how well the network does, after each epoch, on rows that it is not trained on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp._core import LOSSES
from fastmlp.engine_settings import threads
from fastmlp.fitting import Fit
from fastmlp.listener import Listener
from fastmlp.rows import Samples
from fastmlp.targets import score
from fastmlp.threads import prediction_threads


@contextmanager
def naming(argument: str) -> Iterator[None]:
    """Let errors of checks name this argument's fellow of the validation, for which scikit-learn's have no word."""
    try:
        yield
    except (TypeError, ValueError) as error:
        message, found = re.subn(rf"^(Input |`?){argument}\b", rf"\g<1>{argument}_val", str(error))
        error.args = (message if found else f"{argument}_val: {message}",)
        raise


class Validation(Listener):
    """Measures loss and score on some rows.

    Parameters
    ----------
    estimator : estimator
        Fitted with the network in training, for the scorer.
    fit : Fit
    samples : Samples
        The rows.
    labels : ndarray
        Their targets as the user knows them, for the scorer.
    scorer : callable (estimator, X, y, sample_weight) -> float, "loss" or None
        "loss" for the negative loss, None for the accuracy or R².
    """

    curves = ("validation_scores", "validation_loss_curve")

    def __init__(
        self,
        estimator: Any,
        fit: Fit,
        samples: Samples,
        labels: NDArray[Any],
        scorer: Callable[..., float] | str | None,
    ) -> None:
        self._estimator, self._samples, self._labels, self._scorer = estimator, samples, labels, scorer
        if fit.best_validation_score is None:
            fit.validation_scores, fit.validation_loss_curve, fit.best_validation_score = [], [], -inf

    def measure(self, fit: Fit) -> dict[str, float]:
        """Measure score and loss."""
        loss = self._loss(fit)
        return {"validation_scores": self._score(fit, loss), "validation_loss_curve": loss}

    def epoch_ended(self, fit: Fit) -> bool:
        """Take note of the best score."""
        assert fit.validation_scores is not None
        assert fit.best_validation_score is not None
        fit.best_validation_score = max(fit.best_validation_score, fit.validation_scores[-1])  # unless that is NaN
        return False

    def _score(self, fit: Fit, loss: float) -> float:
        rows, targets, weights = self._samples
        if self._scorer == "loss":
            return -loss
        if self._scorer is None:
            network = fit.network
            outputs = np.empty((rows.shape[0], network.n_units[-1]), network.dtype)
            n_threads = fit.settings.n_threads or prediction_threads(network, rows)
            finite = network.predict(fit.params, rows, outputs, n_threads) and np.isfinite(outputs).all()
            return score(targets, outputs, network.loss, weights) if finite else float("nan")
        assert callable(self._scorer)
        return float(
            self._scorer(self._estimator, rows, self._labels, **({} if weights is None else {"sample_weight": weights}))
        )

    def _loss(self, fit: Fit) -> float:
        network, rows = fit.network, self._samples.rows
        n_threads = threads(fit.settings, network, rows, rows.shape[0])
        loss = network.evaluate(fit.params, *self._samples, n_threads)
        return loss / network.n_units[-1] if LOSSES[network.loss].mean_over_outputs else loss
