"""What may be amiss with a network, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp import advice
from fastmlp.inspection.activations import hidden_activations
from fastmlp.schedules import schedule_of

DEAD = 0.1
"""A share of dead units that is worth a word."""
SATURATED = 0.5
"""A share of saturated outputs that is worth one."""
FLAT = 0.01
"""Outputs of sigmoids that are closer to an end than this part of their range have next to no gradient."""
ENDS = {"logistic": (0.0, 1.0), "tanh": (-1.0, 1.0)}


@dataclass(frozen=True)
class Finding:
    """Something amiss.

    Attributes
    ----------
    kind : {"unscaled inputs", "dead units", "saturated units", "unfinished training"}
    what : str
    remedy : str
    """

    kind: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} {self.remedy}"


def diagnose(estimator: Any, X: Any) -> list[Finding]:
    """Look for dead and saturated units, inputs that are not scaled, and a training that ended too soon.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Trainer
        Fitted.
    X : array-like or sparse matrix of shape (n_rows, n_features)
        Rows to look at, such as those of the fit.

    Returns
    -------
    findings : list of Finding
        Empty where nothing is amiss. Each prints what it is and what to do.

    Raises
    ------
    NotFittedError
        If it has not been fitted.
    TypeError
        If it is another estimator.

    See Also
    --------
    ActivationsDisplay : The outputs of each hidden layer, drawn.
    LearningRateDisplay : The loss after an epoch at each learning rate.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.inspection import diagnose
    >>> X, y = load_wine(return_X_y=True)
    >>> model = MLPClassifier((10,), activation="tanh", max_iter=1000, tol=0.1, random_state=0).fit(X, y)
    >>> for finding in diagnose(model, X):
    ...     print(finding.kind)
    unscaled inputs
    saturated units
    """
    layers = hidden_activations(estimator, X)
    fit = estimator._require_fitted().fit
    found = []
    if words := advice.about_inputs(estimator._rows(X, estimator._require_fitted())):
        found.append(Finding("unscaled inputs", *_parts(words)))
    for number, (name, outputs) in enumerate(layers):
        found += _of_layer(number, name, outputs)
    is_planned = schedule_of(estimator).ends
    if fit.n_iter == estimator.max_iter and advice.is_falling(fit.loss_curve) and not is_planned:
        found.append(Finding("unfinished training", *_parts(advice.about_the_end(fit.loss_curve))))
    return found


def _parts(words: str) -> tuple[str, str]:
    """What is amiss, and what to do, on both sides of a colon."""
    what, remedy = words.rsplit(": ", 1)
    return f"{what}.", f"{remedy[0].upper()}{remedy[1:]}"


def _of_layer(number: int, name: str, outputs: NDArray[Any]) -> list[Finding]:
    where = f"of hidden layer {number}"
    dead = int((outputs == 0).all(axis=0).sum()) if name == "relu" else 0
    n_units = outputs.shape[1]
    if dead > DEAD * n_units:
        what = f"{dead} of the {n_units} units {where} are 0 for all rows."
        remedy = 'Lower learning_rate_init, scale X, or use activation="leaky_relu".'
        return [Finding("dead units", what, remedy)]
    if name not in ENDS:
        return []
    low, high = ENDS[name]
    margin = FLAT * (high - low)
    share = float(np.mean((outputs < low + margin) | (outputs > high - margin)))
    if share <= SATURATED:
        return []
    what = f"{100 * share:.0f} % of the outputs {where} ({name}) are within {margin:g} of {low:g} or {high:g}."
    remedy = "Scale X, raise alpha, lower learning_rate_init, or use another activation."
    return [Finding("saturated units", what, remedy)]
