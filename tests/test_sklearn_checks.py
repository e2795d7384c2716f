"""scikit-learn's own checks of an estimator: all of them, without an expected failure."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore")  # the checks set what is to be an error themselves


@pytest.fixture(autouse=True)
def array_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it scikit-learn skips its check of array API inputs."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


MODERN: dict[str, Any] = {"clip_norm": 1.0, "weight_decay": 0.01, "l1_ratio": 0.1, "warmup": 0.1, "n_restarts": 1}
"""But for dropout, to which a row that stands there twice is not one of twice the weight."""


@parametrize_with_checks(
    [
        MLPClassifier(),
        MLPRegressor(),
        MLPClassifier(loss="hinge", learning_rate="one_cycle", activation=["gelu"], **MODERN),
        MLPRegressor("quantile", solver="rmsprop", weight_init="he_normal", **MODERN),
    ]
)
def test_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("check", ["check_param_validation", "check_dataframe_column_names_consistency"])
def test_checks_by_name(estimator: type, check: str) -> None:
    getattr(estimator_checks, check)(estimator.__name__, estimator(max_iter=5))


def test_class_weights_move_the_boundary() -> None:
    estimator_checks.check_class_weight_classifiers("MLPClassifier", MLPClassifier(solver="lbfgs"))


@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam"])
def test_balanced_class_weights_help_the_rare_class(solver: str) -> None:
    """Half of the rows to test on are of the class that is rare in those to train on."""
    X, y = make_classification(600, class_sep=0.5, random_state=0)
    rare = (y == 1) & (np.arange(600) < 300)
    X_train, y_train = (np.r_[A[:300][y[:300] == 0], A[rare][:15]] for A in (X, y))
    estimator_checks.check_class_weight_balanced_classifiers(
        "MLPClassifier", MLPClassifier((8,), solver=solver, alpha=1), X_train, y_train, X[300:], y[300:], [0.9, 0.1]
    )
