"""Who listens to a training, and how it tells of what is amiss."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastmlp.fitting import Fit


class NonFiniteError(ValueError):
    """Parameters have become infinite or NaN."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the user's line: how many calls lie between, differs."""
    frame, level = sys._getframe(), 1
    inside = ("fastmlp.", "sklearn.callback.", "contextlib")
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(inside):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class Listener:
    """Whoever is told of the epochs, or the iterations of L-BFGS, of one training. It need not listen to all of it.

    Attributes
    ----------
    curves : tuple of str
        Names of the curves that it has entries for.
    """

    curves: tuple[str, ...] = ()

    def epoch_begins(self, fit: Fit) -> None:
        """Listen to the beginning of an epoch."""

    def measure(self, fit: Fit) -> dict[str, float]:
        """Return what belongs into the curves beside the loss, for an epoch that has just ended."""
        return {}

    def epoch_ended(self, fit: Fit) -> bool:
        """Listen to the end of an epoch, which the curves now hold; return whether training is to stop."""
        return False

    def survives(self, fit: Fit) -> bool:
        """Return whether training may end well though its parameters have become infinite or NaN."""
        return False

    def finished(self, fit: Fit) -> None:
        """Listen to the end of a training that has not failed."""

    def close(self, fit: Fit | None) -> None:
        """Take note that training is over, however it ended; None where it never began."""
