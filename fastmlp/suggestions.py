"""What was probably meant by a name that is not one of ours."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

ELSEWHERE = {
    "adamw": "adam",
    "binary_crossentropy": "binary_log_loss",
    "categorical_crossentropy": "log_loss",
    "cross_entropy": "log_loss",
    "crossentropy": "log_loss",
    "l1": "absolute_error",
    "linear": "identity",
    "mae": "absolute_error",
    "mean_absolute_error": "absolute_error",
    "mean_squared_error": "squared_error",
    "mse": "squared_error",
    "sigmoid": "logistic",
    "swish": "silu",
}
"""Names that PyTorch, Keras and others have for ours."""


def suggestion(estimator: Any, error: str) -> str:
    """The sentence that an error of scikit-learn's about a hyper-parameter lacks; empty where nothing is close."""
    name = re.match(r"The '(\w+)' parameter", error)
    value = getattr(estimator, name[1], None) if name else None
    if name is None or not isinstance(value, str):
        return ""
    constraints = estimator._parameter_constraints[name[1]]
    ours = [option for each in constraints for option in getattr(each, "options", ()) if isinstance(option, str)]
    close = get_close_matches(ELSEWHERE.get(value.lower(), value.lower()), ours)
    return f" Did you mean {name[1]}={close[0]!r}?" if close else ""
