"""scikit-learn's own checks of the estimators of tables."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp import TabularClassifier, TabularRegressor, tabular_training
from fastmlp.tabular_training import Preset

pytestmark = pytest.mark.filterwarnings("ignore")  # the checks set what is to be an error themselves

# Medians, quartiles and validation rows of repeated rows are others than those of weighted ones.
EXPECTED = dict.fromkeys(
    ("check_sample_weight_equivalence_on_dense_data",),
    "each row may be kept back for validation, a repeated one twice",
)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tabular_training.PRESETS, "default", Preset(1, 32, 2000, 300))


@parametrize_with_checks(
    [TabularClassifier(n_members=1), TabularRegressor(n_members=1)], expected_failed_checks=lambda estimator: EXPECTED
)
def test_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
