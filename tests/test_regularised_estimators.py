"""Regularisation, parameters of losses and first weights through the estimators: what their docstrings say."""

from typing import Any

import numpy as np
import pytest

from fastmlp import MLPClassifier, MLPRegressor, Trainer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL: dict[str, Any] = {"hidden_layer_sizes": (9,), "max_iter": 4, "batch_size": 16, "random_state": 0}
REGULARISATION: list[dict[str, Any]] = [
    {"dropout": 0.5},
    {"dropout": [0.2, 0.0]},
    {"l1_ratio": 0.5, "alpha": 1.0},
    {"weight_decay": 5.0},
    {"clip_norm": 0.01, "solver": "sgd"},
    {"input_noise": 0.5},
]
ESTIMATORS = (Trainer, MLPClassifier, MLPRegressor)
each_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.__name__)
each_regulariser = pytest.mark.parametrize("settings", REGULARISATION, ids=lambda settings: "-".join(settings))


def problem(estimator: type) -> tuple[Any, Any]:
    rng = np.random.RandomState(0)
    X = rng.normal(size=(70, 6))
    y = X @ rng.normal(size=6)
    return X, y if estimator is MLPRegressor else np.digitize(y, [-1, 1])


@each_estimator
@each_regulariser
def test_regularisation_reaches_the_engine(estimator: type, settings: dict[str, Any]) -> None:
    X, y = problem(estimator)
    off = dict.fromkeys(settings.keys() - {"solver", "alpha"}, 0.0) | {"clip_norm": None}
    regular = estimator(**SMALL | settings).fit(X, y)
    plain = estimator(**SMALL | settings | off).fit(X, y)
    assert not np.array_equal(regular.coefs_[0], plain.coefs_[0])
    assert np.isfinite(regular.coefs_[0]).all()
    assert np.array_equal(regular.coefs_[0], estimator(**SMALL | settings).fit(X, y).coefs_[0])
