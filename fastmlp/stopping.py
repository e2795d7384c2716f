"""Listeners that end a training, or judge how it has ended."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastmlp._core import LOSSES
from fastmlp.advice import N_ROWS, about_inputs
from fastmlp.fitting import Fit
from fastmlp.listener import Listener, warn
from fastmlp.rows import Samples
from fastmlp.schedules import SMALLEST_RATE, schedule_of

DIVERGED = 10.0
"""A mean loss so many times that of guessing is worth a warning."""


class Plateau(Listener):
    """Ends the training, or lowers its learning rate, where the loss has stopped improving.

    Parameters
    ----------
    settings : namespace
        The hyper-parameters.
    tell : callable (str) -> None
        Told what happens.
    """

    measured = "Training loss"

    def __init__(self, settings: Any, tell: Callable[[str], None]) -> None:
        self._settings, self._tell = settings, tell
        self._lowers = schedule_of(settings).lowers

    def improves(self, fit: Fit) -> bool:
        """Whether the last epoch was better than all before, by tol."""
        best = inf if fit.best_loss is None else fit.best_loss
        fit.best_loss = min(best, fit.last_loss)
        return not fit.last_loss > best - self._settings.tol

    def epoch_ended(self, fit: Fit) -> bool:
        """Count the epochs that have not improved."""
        fit.no_improvement_count = 0 if self.improves(fit) else fit.no_improvement_count + 1
        most = self._settings.n_iter_no_change
        if fit.no_improvement_count <= most:
            return False
        story = f"{self.measured} did not improve more than tol={self._settings.tol:f} for {most} consecutive epochs."
        if not self._lowers:
            self._tell(f"{story} Stopping.")
            return True
        if fit.rate <= SMALLEST_RATE:
            self._tell(f"{story} Learning rate too small. Stopping.")
            return True
        fit.rate, fit.no_improvement_count = fit.rate / 5, 0
        self._tell(f"{story} Setting learning rate to {fit.rate:f}")
        return False


class EarlyStopping(Plateau):
    """The same with the validation score in place of the loss; the best parameters are kept, and restored at the end.

    It listens before the `Validation` that measures the score.
    """

    measured = "Validation score"

    def __init__(self, settings: Any, tell: Callable[[str], None], fit: Fit) -> None:
        super().__init__(settings, tell)
        fit.best_params = fit.params.copy()
        self._first = len(fit.validation_scores or ())
        fit.best_loss = None

    def improves(self, fit: Fit) -> bool:
        """Whether the score is better than all before, by tol; never where it is NaN."""
        assert fit.validation_scores is not None
        score, best = fit.validation_scores[-1], fit.best_validation_score
        assert best is not None
        if score > best:
            assert fit.best_params is not None
            fit.best_params[...] = fit.params
        return bool(score >= best + self._settings.tol)

    def survives(self, fit: Fit) -> bool:
        """Keep the best parameters where there was a score at all; the optimizer starts anew from there."""
        scores = (fit.validation_scores or [])[self._first :]
        if not np.isfinite(scores).any():
            return False
        fit.last_loss = nan
        fit.enter(dict.fromkeys(("loss_curve", "validation_scores", "validation_loss_curve"), nan), fit.n_rows)
        fit.forget_gradients()
        return True

    def finished(self, fit: Fit) -> None:
        """Restore the best parameters."""
        assert fit.best_params is not None
        fit.replace_params(fit.best_params)


class TargetLoss(Listener):
    """Ends a training whose loss is low enough."""

    def __init__(self, target: float) -> None:
        self._target = target

    def epoch_ended(self, fit: Fit) -> bool:
        """Compare."""
        return fit.last_loss <= self._target


class Divergence(Listener):
    """Warns where a training ends with a loss far above that of guessing.

    Rows that are not scaled often begin with such a loss, and recover: so the end of the training tells, which for
    calls of `partial_fit` is where one of `fit` would have ended.

    Parameters
    ----------
    samples : Samples
        What is trained on.
    settings : namespace
        The hyper-parameters.
    resumes : bool
        Whether this is a call of `partial_fit`.
    """

    def __init__(self, samples: Samples, settings: Any, resumes: bool) -> None:
        self._rows, self._targets, _ = samples
        self._settings, self._resumes = settings, resumes

    def sees(self, fit: Fit) -> bool:
        """Compare the loss with that of guessing."""
        if self._resumes and fit.no_improvement_count <= self._settings.n_iter_no_change:
            return False
        return fit.last_loss > DIVERGED * self._guess(fit)

    def finished(self, fit: Fit) -> None:
        """Warn."""
        if self.sees(fit):
            warn(
                f"Training diverges: the loss of epoch {fit.n_iter} is {fit.last_loss:.6g}, where a network that has "
                f"learned nothing has {self._untrained(fit):.2g}. {fit.remedy} {about_inputs(self._rows)}".rstrip(),
                ConvergenceWarning,
            )

    def _untrained(self, fit: Fit) -> float:
        """The loss of outputs of zero, which is that of any class where there are classes; of some rows elsewhere."""
        network, n_outputs = fit.network, fit.network.n_units[-1]
        loss = LOSSES[network.loss]
        some = self._targets[:: max(1, len(self._targets) // N_ROWS)][:N_ROWS]
        targets = np.resize(some, (len(some), n_outputs)) if loss.threshold is None else np.zeros(1, np.int64)
        rows = np.zeros((len(targets), network.n_units[0]), network.dtype)
        untrained = network.evaluate(np.zeros_like(fit.params), rows, targets)
        return untrained / n_outputs if loss.mean_over_outputs else untrained

    def _guess(self, fit: Fit) -> float:
        """What outputs of zero cost is at most 1 for each output of a loss of classes.

        Nor does less than 1 count where the targets are small values: the penalty may be more than they are.
        """
        loss = LOSSES[fit.network.loss]
        of_values = loss.threshold is None
        guess = max(1.0, float(np.square(self._targets, dtype=np.float64).mean()) / 2) if of_values else 1.0
        return guess if loss.mean_over_outputs else guess * fit.network.n_units[-1]
