"""Hyper-parameters that do not go together: refused when fit begins, in one sentence that names both."""

from math import inf
from typing import Any

import numpy as np
import pytest

from fastmlp import MLPClassifier, MLPRegressor, Trainer
from fastmlp.combinations import NOT_WITH_LBFGS
from fastmlp.hyperparameters import MARGIN_LOSSES
from fastmlp.schedules import SCHEDULES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.RandomState(0).normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)
ASKED: dict[str, list[Any]] = {
    "dropout": [0.5, [0.1, 0.5], (0.0, 0.0), np.array([0.25, 0.5])],
    "input_noise": [0.1],
    "weight_decay": [0.01, np.float32(0.5)],
    "clip_norm": [1.0],
    "l1_ratio": [0.5, 1],
    "warmup": [0.1],
}
SMOOTH_SCHEDULES = [name for name, schedule in SCHEDULES.items() if schedule.factor is not None]
each_estimator = pytest.mark.parametrize("estimator", [Trainer, MLPClassifier, MLPRegressor])


def refused(estimator: Any, *names: str, **given: Any) -> None:
    """It is refused in one sentence that names these, and left as it was; once trained, too."""
    for trained in (False, True):
        if trained:
            asked = estimator.get_params()
            estimator.set_params(**type(estimator)(hidden_layer_sizes=(4,), max_iter=2).get_params()).fit(X, Y)
            estimator.set_params(**asked | {"warm_start": True})
            before = estimator.coefs_[0].copy()
        with pytest.raises(ValueError, match="does not go with") as caught:
            estimator.fit(X, Y, **given)
        message = str(caught.value)
        assert all(name in message for name in names)
        assert message.endswith(".")
        assert message.count(". ") == 0, "one sentence"
        assert not trained or np.array_equal(estimator.coefs_[0], before)
        assert trained or not hasattr(estimator, "coefs_")


def test_all_that_lbfgs_cannot_do_is_here() -> None:
    assert set(ASKED) == set(NOT_WITH_LBFGS)


@each_estimator
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ASKED.items() for value in values])
def test_lbfgs_refuses(estimator: type, name: str, value: Any) -> None:
    refused(estimator(hidden_layer_sizes=(4,), solver="lbfgs", **{name: value}), f"{name}=", "solver='lbfgs'")


@each_estimator
@pytest.mark.parametrize("schedule", [*SMOOTH_SCHEDULES, abs])
def test_lbfgs_has_no_schedule(estimator: type, schedule: Any) -> None:
    refused(
        estimator(hidden_layer_sizes=(4,), solver="lbfgs", learning_rate=schedule), "learning_rate=", "solver='lbfgs'"
    )


@each_estimator
def test_what_asks_for_nothing_goes_with_lbfgs(estimator: type) -> None:
    nothing = dict.fromkeys(NOT_WITH_LBFGS, 0) | {"clip_norm": None, "learning_rate": "adaptive"}
    plain = estimator(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=5, random_state=0).fit(X, Y)
    asked = estimator(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=5, random_state=0, **nothing).fit(X, Y)
    assert np.array_equal(asked.coefs_[0], plain.coefs_[0])


@each_estimator
def test_checkpoints_are_refused(estimator: type, tmp_path: Any) -> None:
    path = tmp_path / "run"
    refused(estimator(hidden_layer_sizes=(4,), solver="lbfgs"), "checkpoint", "solver='lbfgs'", checkpoint=path)
    refused(estimator(hidden_layer_sizes=(4,), n_restarts=2), "checkpoint", "n_restarts=2", checkpoint=path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("loss", MARGIN_LOSSES)
def test_margins_have_no_smooth_labels(loss: str) -> None:
    for estimator in (MLPClassifier, Trainer):
        refused(
            estimator(hidden_layer_sizes=(4,), loss=loss, label_smoothing=0.1), "label_smoothing=0.1", f"loss={loss!r}"
        )


def test_values_have_no_smooth_labels() -> None:
    refused(Trainer((4,), loss="squared_error", label_smoothing=0.1), "label_smoothing=0.1", "loss='squared_error'")


@each_estimator
def test_partial_fit_and_initialize_refuse_it_too(estimator: type) -> None:
    with pytest.raises(ValueError, match=r"dropout=0\.5 does not go with solver='lbfgs'"):
        estimator(hidden_layer_sizes=(4,), solver="lbfgs", dropout=0.5).initialize(X, Y)
    if estimator is not MLPRegressor:
        classes = {"classes": [0, 1]} if estimator is MLPClassifier else {}
        with pytest.raises(ValueError, match=r"label_smoothing=0\.1 does not go with loss='hinge'"):
            estimator(hidden_layer_sizes=(4,), loss="hinge", label_smoothing=0.1).partial_fit(X, Y, **classes)


@each_estimator
@pytest.mark.parametrize(
    ("name", "values"),
    {
        "dropout": [-0.1, 1.0, "half", None],
        "l1_ratio": [-0.1, 1.1, None],
        "weight_decay": [-1.0, None],
        "clip_norm": [0.0, -1.0, "none"],
        "input_noise": [-0.1, None],
        "warmup": [-0.1, 1.0, None],
        "learning_rate": ["cosines", 0.5, None],
        "weight_init": ["he", None],
        "n_restarts": [-1, 0.5, None],
        "max_time": [0, -1.0, "1 s"],
        "target_loss": ["low"],
        "solver": ["sgd_momentum", None],
        "activation": ["swish", None],
    }.items(),
)
def test_values_out_of_range(estimator: type, name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=rf"^The '{name}' parameter of {estimator.__name__} must be"):
            estimator(**{name: value}).fit(X, Y)


@pytest.mark.parametrize("estimator", [Trainer, MLPRegressor])
def test_a_quantile_out_of_range(estimator: type) -> None:
    """With a loss that does not ask for it, too."""
    for value in (0.0, 1.0, 1.5):
        with pytest.raises(ValueError, match=rf"^The 'quantile' parameter of {estimator.__name__} must be"):
            estimator(quantile=value).fit(X, Y)


@each_estimator
@pytest.mark.parametrize("dropout", [[0.5], [0.1, 0.1, 0.1], []])
def test_shares_and_layers_that_do_not_fit(estimator: type, dropout: Any) -> None:
    with pytest.raises(ValueError, match=rf"^dropout has {len(dropout)} shares, but there are the inputs and 1 hidden"):
        estimator(hidden_layer_sizes=(4,), dropout=dropout).fit(X, Y)


@pytest.mark.parametrize("dropout", [[0.5, 1.0], [-0.1, 0.5], [0.1, inf], [0.1, np.nan]])
def test_shares_out_of_range(dropout: Any) -> None:
    with pytest.raises(ValueError, match=r"^dropout must be shares from 0 to below 1\. Got "):
        MLPClassifier((4,), dropout=dropout).fit(X, Y)


def test_several_quantiles_need_their_loss() -> None:
    with pytest.raises(ValueError, match=r"quantile=\[0.1, 0.9\] does not go with loss='squared_error'"):
        MLPRegressor(quantile=[0.1, 0.9]).fit(np.ones((4, 1)), np.arange(4.0))
