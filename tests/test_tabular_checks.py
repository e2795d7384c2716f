"""scikit-learn's own checks of the estimators of tables."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils import get_tags
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


def test_tags() -> None:
    """What scikit-learn's tools ask before they give data."""
    for tags in map(get_tags, (TabularClassifier(), TabularRegressor())):
        of_inputs = tags.input_tags
        assert (of_inputs.allow_nan, of_inputs.categorical, of_inputs.string) == (True, True, True)
        assert tags.target_tags.required
    assert get_tags(TabularClassifier()).classifier_tags.multi_label
    assert get_tags(TabularRegressor()).target_tags.multi_output
