"""Which hyper-parameters do not go together."""

from numbers import Real
from typing import Any

import numpy as np

from fastmlp._core import LOSSES
from fastmlp.schedules import SCHEDULES

NOT_WITH_LBFGS = {
    "dropout": 0.0,
    "input_noise": 0.0,
    "weight_decay": 0.0,
    "clip_norm": None,
    "l1_ratio": 0.0,
    "warmup": 0.0,
}
"""What L-BFGS, which has no steps and needs a smooth loss, cannot do, and the value that asks for nothing."""


def check_combination(settings: Any, checkpoint: bool) -> None:
    """Refuse hyper-parameters that are each valid but do not go together.

    Parameters
    ----------
    settings : namespace
        The hyper-parameters.
    checkpoint : bool
        Whether `fit` was asked for one.

    Raises
    ------
    ValueError
        In one sentence that names two of them.
    """
    if settings.solver == "lbfgs":
        for name, nothing in NOT_WITH_LBFGS.items():
            value = getattr(settings, name)
            if value is not nothing and not (isinstance(value, Real) and value == nothing):
                raise ValueError(
                    f"{name}={value!r} does not go with solver='lbfgs': use 'sgd' or 'adam', or {nothing!r}."
                )
        named = settings.learning_rate
        if callable(named) or SCHEDULES[named].factor is not None:
            raise ValueError(
                f"learning_rate={named!r} does not go with solver='lbfgs', which chooses its own steps: use 'constant'."
            )
        if checkpoint:
            raise ValueError(
                "checkpoint does not go with solver='lbfgs', whose memory is SciPy's: use 'sgd' or 'adam'."
            )
    if checkpoint and settings.n_restarts:
        raise ValueError(f"checkpoint does not go with n_restarts={settings.n_restarts}: use 0.")
    n_quantiles = np.size(getattr(settings, "quantile", ()))
    if n_quantiles > 1 and settings.loss != "quantile":
        raise ValueError(f"quantile={settings.quantile!r} does not go with loss={settings.loss!r}: use 'quantile'.")
    loss = LOSSES[settings.loss]
    smoothing = getattr(settings, "label_smoothing", 0)
    if smoothing and (loss.threshold is None or loss.threshold == 0):
        raise ValueError(
            f"label_smoothing={smoothing!r} does not go with loss={settings.loss!r}: use 'log_loss', or 0."
        )
