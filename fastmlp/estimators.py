"""Where pickles of version 0.1.0 look for the estimators."""

from fastmlp.classifier import MLPClassifier
from fastmlp.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
