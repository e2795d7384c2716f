"""The learning rate as a function of progress. A schedule is its two functions and one entry of `SCHEDULES`."""

from collections.abc import Callable
from dataclasses import dataclass

SMALLEST_RATE = 1e-6
"""A plateau at this learning rate or below ends the training, where it would have been lowered."""


@dataclass(frozen=True)
class Schedule:
    """A learning rate schedule.

    Attributes
    ----------
    after_epoch : callable (rate, learning_rate_init, t, power_t) -> float
        Learning rate of the next epoch, from that of the last and the number t of rows used so far.
    on_plateau : callable (rate) -> (float or None, str)
        Learning rate to go on with where the loss has stopped improving, None to stop; and a word to the user.
    """

    after_epoch: Callable[[float, float, int, float], float]
    on_plateau: Callable[[float], tuple[float | None, str]]


def _stop(rate: float) -> tuple[float | None, str]:
    return None, "Stopping."


def _lower(rate: float) -> tuple[float | None, str]:
    if rate <= SMALLEST_RATE:
        return None, "Learning rate too small. Stopping."
    return rate / 5, f"Setting learning rate to {rate / 5:f}"


SCHEDULES = {
    "constant": Schedule(lambda rate, init, t, power_t: init, _stop),
    "invscaling": Schedule(lambda rate, init, t, power_t: init / (t + 1) ** power_t, _stop),
    "adaptive": Schedule(lambda rate, init, t, power_t: rate, _lower),
}
