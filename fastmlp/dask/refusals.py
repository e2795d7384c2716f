"""Hyper-parameters of one machine that a cluster does not follow, each with a sentence."""

from numbers import Real
from typing import Any

from fastmlp.combinations import check_combination

UNUSED: dict[str, tuple[Any, str]] = {
    "dropout": (0.0, "only steps of one machine draw it; use weight_decay, or early_stopping"),
    "input_noise": (
        0.0,
        "only steps of one machine draw it; use weight_decay, or early_stopping",
    ),
    "n_restarts": (0, "fit several estimators, and keep the best"),
    "warm_start": (False, "fit to_local() on what one machine holds, or begin anew"),
}
"""The value that asks for nothing, and what to do."""


def refuse(settings: Any, estimator: str, validates: bool) -> None:
    """Refuse hyper-parameters that each step of a cluster could not follow.

    Raises
    ------
    ValueError
        In one sentence that says what to do.
    """
    check_combination(settings, checkpoint=False)
    if settings.solver == "lbfgs":
        raise ValueError(f"solver='lbfgs' does not go with {estimator}, which trains in steps: use 'adam' or 'sgd'.")
    for name, (nothing, what_to_do) in UNUSED.items():
        value = getattr(settings, name)
        if not (isinstance(value, Real) and value == nothing):
            raise ValueError(f"{name}={value!r} does not go with {estimator}: {what_to_do}.")
    if settings.local_steps > 1 and settings.compression:
        raise ValueError(
            f"compression={settings.compression!r} does not go with local_steps={settings.local_steps}: parameters "
            "need more than eight bits."
        )
    if settings.early_stopping and not validates:
        raise ValueError(
            f"early_stopping=True of {estimator} needs X_val and y_val: it takes no rows of X away to validate on."
        )
