"""From the state of a training on the cluster to what an estimator of one machine keeps, and what the user is told."""

from __future__ import annotations

from typing import Any

from sklearn.exceptions import ConvergenceWarning

from fastmlp import advice
from fastmlp.dask.preparation import Data
from fastmlp.dask.worker import Job
from fastmlp.fitted import Fitted
from fastmlp.fitting import Fit
from fastmlp.listener import warn
from fastmlp.rows import Samples
from fastmlp.stopping import Divergence


def conclude(estimator: Any, job: Job, data: Data, state: dict[str, Any], said: dict[str, Any]) -> Fitted:
    """What has been fitted; warns of what is amiss, as a fit on one machine does."""
    fit = Fit.from_state(state)
    fit.n_epochs_of_fit = len(fit.loss_curve)
    fit.remedy = job.remedy
    divergence = Divergence(Samples(None, data.size_of_targets(), None), job.settings, resumes=False)
    if said["status"] == "interrupted":
        warn("Training interrupted by user.")
    elif said["warning"]:
        warn(f"Training stops at its best parameters so far. {said['warning']}", ConvergenceWarning)
    elif not (said["stopped"] or divergence.sees(fit)) and (
        words := advice.about_max_iter(job.settings, fit.loss_curve, None)
    ):
        warn(words, ConvergenceWarning)
    divergence.finished(fit)
    return Fitted(fit, job.n_units[0], job.names, job.labels)
