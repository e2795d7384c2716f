"""The learning rate as a pure function of where the training stands. A schedule is one entry of `SCHEDULES`.

Sources: `invscaling` and `adaptive` are scikit-learn's; `cosine` and `one_cycle` PyTorch's ``CosineAnnealingLR`` (to
zero) and ``OneCycleLR`` (its defaults, with `learning_rate_init` the highest rate), `linear` its ``LinearLR`` to zero;
`coslog` is that of RealMLP (Holzmüller et al. 2024) with four waves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST_RATE = 1e-6
"""A plateau at this learning rate or below ends the training, where it would have been lowered."""

LOG_2 = 0.6931471805599453
"""The natural logarithm of 2."""

Steps = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Where a training stands when an epoch begins.

    Attributes
    ----------
    settings : namespace
        The hyper-parameters.
    lowered : float
        `learning_rate_init`, divided by 5 for each plateau so far.
    t : int
        Rows used so far, in all epochs.
    first, n_steps, total : int
        Number of the epoch's first step, counted from where the schedule began; its steps; those of the whole schedule.
    """

    settings: Any
    lowered: float
    t: int
    first: int
    n_steps: int
    total: int


@dataclass(frozen=True)
class Schedule:
    """A schedule of the learning rate.

    Attributes
    ----------
    base : callable (Place) -> float
        Learning rate that the factors multiply.
    factor : callable (steps, total) -> ndarray, or None
        Factor of each of these steps, of which there will be so many; None for 1. Steps may be fractions.
    lowers : bool
        Whether a plateau lowers the rate, rather than ending the training.
    sgd_only : bool
        Whether other solvers keep the rate constant, as in scikit-learn.
    """

    base: Callable[[Place], float] = lambda at: float(at.settings.learning_rate_init)
    factor: Callable[[Steps, float], Steps] | None = None
    lowers: bool = False
    sgd_only: bool = False

    @property
    def ends(self) -> bool:
        """Whether it is planned to end with the last epoch."""
        return self.factor is not None


def _inverse_power(at: Place) -> float:
    try:
        return float(at.settings.learning_rate_init / float(at.t + 1) ** float(at.settings.power_t))
    except OverflowError:  # the power is larger than any number
        return 0.0


def _cosine(steps: Steps, total: float) -> Steps:
    return (1 + _cos(0.5 * steps / total)) / 2


def _linear(steps: Steps, total: float) -> Steps:
    return 1 - steps / total


def _one_cycle(steps: Steps, total: float) -> Steps:
    """From 1/25 up to 1 in the first 30 % of the steps, then down to 1/250 000, both along a cosine."""
    lowest, first, end = 1 / 250_000, 1 / 25, total - 1
    peak = max(0.3 * total - 1, 0.0)
    rising = first + (1 - first) * _rise(steps, 0.0, peak)
    falling = 1 - (1 - lowest) * _rise(steps, peak, end)
    return np.where(steps <= peak, rising, falling)


def _rise(steps: Steps, start: float, end: float) -> Steps:
    """Half a cosine from 0 at the start to 1 at the end."""
    share = (steps - start) / (end - start) if end > start else np.ones_like(steps)
    return (1 - _cos(0.5 * share)) / 2


def _coslog(steps: Steps, total: float) -> Steps:
    return 0.5 - 0.5 * _cos(_log2(1 + 15 * steps / total))


def _cos(turns: Steps) -> Steps:
    """cos(2 pi turns), by Taylor's series for a quarter of the circle.

    NumPy's differs in the last bit from processor to processor; sums and products do not.
    """
    angle = np.abs(turns - np.round(turns))
    far = angle > 0.25
    squared = np.square(2 * np.pi * np.where(far, 0.5 - angle, angle))
    found = np.ones_like(squared)
    for n in range(22, 1, -2):  # the terms left out are below 1e-19
        found = 1 - squared / (n * (n - 1)) * found
    return np.where(far, -found, found)


def _log2(x: Steps) -> Steps:
    """The binary logarithm, by the series of the inverse hyperbolic tangent; for the same reason."""
    mantissa, exponent = np.frexp(x)
    root = 0.5**0.5
    share = (mantissa - root) / (mantissa + root)
    found = np.zeros_like(share)
    for n in range(23, 0, -2):  # the terms left out are below 1e-20
        found = 1 / n + np.square(share) * found
    logarithm: Steps = exponent - 0.5 + 2 / LOG_2 * share * found
    return logarithm


SCHEDULES = {
    "constant": Schedule(),
    "invscaling": Schedule(_inverse_power, sgd_only=True),
    "adaptive": Schedule(lambda at: at.lowered, lowers=True, sgd_only=True),
    "cosine": Schedule(factor=_cosine),
    "one_cycle": Schedule(factor=_one_cycle),
    "linear": Schedule(factor=_linear),
    "coslog": Schedule(factor=_coslog),
}


def schedule_of(settings: Any) -> Schedule:
    """The schedule that these hyper-parameters ask for."""
    named = settings.learning_rate
    if callable(named):
        return Schedule(factor=lambda steps, total: np.array([float(named(at)) for at in (steps / total).tolist()]))
    schedule = SCHEDULES[named]
    return SCHEDULES["constant"] if schedule.sgd_only and settings.solver != "sgd" else schedule


def learning_rates(at: Place) -> float | Steps:
    """Learning rate of every step of the epoch that begins there; a number where all have the same.

    `warmup` is the share of the steps in which the rate rises in a line to where the schedule begins, which then has
    the rest of the steps for itself. Steps beyond the last have its rate.

    Raises
    ------
    ValueError
        If a function given as `learning_rate` has returned a factor that is negative or not finite.
    """
    schedule = schedule_of(at.settings)
    base, rises = schedule.base(at), at.settings.warmup * at.total
    if schedule.factor is None and not rises:
        return base
    steps = np.minimum(np.arange(at.first, at.first + at.n_steps, dtype=np.float64), at.total - 1)
    factors = np.ones(at.n_steps)
    if schedule.factor is not None:
        factors = schedule.factor(np.maximum(steps - rises, 0), max(at.total - rises, 1))
        if not (np.isfinite(factors).all() and (factors >= 0).all()):
            raise ValueError(
                "learning_rate: the function of progress must return factors that are finite and not negative, got "
                f"{factors[~(factors >= 0) | ~np.isfinite(factors)][0]}."
            )
    if rises:
        factors = factors * np.minimum((steps + 1) / rises, 1)
    return base * factors
