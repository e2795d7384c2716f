"""The learning rate as a pure function of where the training stands. A schedule is one entry of `SCHEDULES`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

SMALLEST_RATE = 1e-6
"""A plateau at this learning rate or below ends the training, where it would have been lowered."""


class Place(NamedTuple):
    """Where a training stands when an epoch begins."""

    learning_rate_init: float
    lowered: float
    """`learning_rate_init`, divided by 5 for each plateau so far."""
    t: int
    """Rows used so far, in all epochs."""
    power_t: float


@dataclass(frozen=True)
class Schedule:
    """A schedule of the learning rate.

    Attributes
    ----------
    rate : callable (Place) -> float
        Learning rate of the steps of the epoch that begins there.
    lowers : bool
        Whether a plateau lowers the rate, rather than ending the training.
    """

    rate: Callable[[Place], float]
    lowers: bool = False


def _inverse_power(at: Place) -> float:
    try:
        return float(at.learning_rate_init / float(at.t + 1) ** float(at.power_t))
    except OverflowError:  # the power is larger than any number
        return 0.0


SCHEDULES = {
    "constant": Schedule(lambda at: at.learning_rate_init),
    "invscaling": Schedule(_inverse_power),
    "adaptive": Schedule(lambda at: at.lowered, lowers=True),
}
