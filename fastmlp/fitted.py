"""All that a fit has made, in one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from fastmlp.fitting import Fit


@dataclass(frozen=True)
class Fitted:
    """All that a fit has made, replaced at once: who predicts meanwhile has the old network or the new one.

    Attributes
    ----------
    fit : Fit
    n_features : int
    feature_names : ndarray of str or None
    labels : object
        What the estimator knows of the meaning of y.
    """

    fit: Fit
    n_features: int
    feature_names: NDArray[Any] | None
    labels: Any = None
