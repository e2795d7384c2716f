"""Errors that say what was probably meant."""

from typing import Any

import numpy as np
import pytest

from fastmlp import MLPClassifier, MLPRegressor, TabularRegressor, Trainer

X, CLASSES = np.random.RandomState(0).normal(size=(40, 3)), np.arange(40) % 2


@pytest.mark.parametrize(
    ("estimator", "parameters", "end"),
    [
        (MLPClassifier, {"activation": "ReLU"}, "Did you mean activation='relu'?"),
        (MLPClassifier, {"solver": "AdamW"}, "Did you mean solver='adam'?"),
        (MLPClassifier, {"learning_rate": "cosin"}, "Did you mean learning_rate='cosine'?"),
        (MLPClassifier, {"loss": "binary_crossentropy"}, "Did you mean loss='log_loss'?"),
        (Trainer, {"loss": "binary_crossentropy"}, "Did you mean loss='binary_log_loss'?"),
        (MLPRegressor, {"loss": "mse"}, "Did you mean loss='squared_error'?"),
        (MLPRegressor, {"loss": (64, 64)}, r"did you mean hidden_layer_sizes=\(64, 64\)?"),
        (MLPClassifier, {"activation": "something"}, "Got 'something' instead."),
        (MLPClassifier, {"alpha": "much"}, "Got 'much' instead."),
    ],
)
def test_what_was_meant(estimator: Any, parameters: dict[str, Any], end: str) -> None:
    with pytest.raises(ValueError, match=f"{end.rstrip('?')}[?]?$"):
        estimator(**parameters).fit(X, CLASSES)


def test_numbers_are_no_classes() -> None:
    with pytest.raises(ValueError, match=r"^Unknown label type: continuous. .* use MLPRegressor, or bin them.$"):
        MLPClassifier().fit(X, X[:, 0])


def test_quantiles_of_a_table_have_a_score() -> None:
    """The mean of the R² of each, as `MLPRegressor` has it."""
    y = X @ [1.0, 2.0, 3.0]
    model = TabularRegressor(quantile=[0.2, 0.8], n_members=1, random_state=0).fit(X, y)
    errors = ((model.predict(X) - y[:, None]) ** 2).mean(axis=0)
    assert model.score(X, y) == pytest.approx((1 - errors / y.var()).mean())
