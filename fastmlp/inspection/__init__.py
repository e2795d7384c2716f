"""What goes on in a network: its shape, its gradients, its weights and activations, and what may be amiss."""

from fastmlp.inspection.diagnosis import diagnose
from fastmlp.inspection.displays import ActivationsDisplay, LearningRateDisplay, WeightsDisplay
from fastmlp.inspection.gradients import check_gradients
from fastmlp.inspection.overview import summary
from fastmlp.plotting import LossCurveDisplay

__all__ = [
    "ActivationsDisplay",
    "LearningRateDisplay",
    "LossCurveDisplay",
    "WeightsDisplay",
    "check_gradients",
    "diagnose",
    "summary",
]
