"""The state of an estimator: which is sound, and that what version 0.1.0 kept becomes one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris

from fastmlp import MLPClassifier, MLPRegressor, Trainer, _core
from fastmlp.estimator_state import COUNTERS, check_state, migrate

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}
MAKE: dict[str, Callable[[], Any]] = {
    "binary": lambda: MLPClassifier(**SMALL).fit(X, Y > 0),
    "one class": lambda: MLPClassifier(**SMALL).fit(X, Y * 0),
    "multiclass": lambda: MLPClassifier(**SMALL, early_stopping=True).fit(X, np.array(["a", "b", "c"], object)[Y]),
    "multilabel": lambda: MLPClassifier(**SMALL, solver="sgd").fit(X, np.c_[Y > 0, Y > 1].astype(int)),
    "regressor": lambda: MLPRegressor(**SMALL, solver="lbfgs").fit(X, X[:, :2]),
    "trainer": lambda: Trainer(**SMALL, solver="sgd", loss="hinge").fit(X, Y),
    "partial_fit": lambda: Trainer(**SMALL).partial_fit(X.astype(np.float32), Y),
    "hinge": lambda: MLPClassifier(**SMALL, loss="hinge").fit(X, Y > 0),
    "float classes": lambda: MLPClassifier(**SMALL).fit(X, 1.0 * Y),
    "no hidden layer": lambda: Trainer(**SMALL | {"hidden_layer_sizes": ()}).fit(X, Y),
}
N_PARAMS = 5 * 5 + 6 * 3
NO_COUNT = [-1, 1.0, "1", None, True, 2**62, [1]]
WRONG: dict[str, list[Any]] = {
    **dict.fromkeys(COUNTERS, NO_COUNT),
    "rate": [-0.1, np.inf, np.nan, "0.1", None, True],
    "last_loss": ["1", None, [1.0], True],
    "best_loss": ["1", [1.0], False],
    "best_validation_score": ["1", [1.0], False],
    "loss_curve": [None, ["1.0"], (1.0, 2.0, 3.0), "123", [None], [[1.0]], np.ones(3), [], [True] * 3],
    "validation_scores": [["1.0"], "123", np.ones(3), None],
    "validation_loss_curve": [["1.0"], "123", np.ones(3), None],
    "n_units": [
        [4, 5, 3], (4,), (), (4, 0, 3), (4, -5, 3), (4, 5.0, 3), (4, True, 3), (4, 5, 4), (4, 2**60, 3), "453", None,
    ],
    "n_features": [5, 4.0, "4", None],
    "feature_names": [
        ["a", "b", "c", "d"], np.array(["a", "b", "c", "d"]), np.array(["a", "b"], object), "abcd",
        np.array([1, 2, 3, 4], object), np.array([["a", "b", "c", "d"]], object),
    ],
    "activation": ["magic", None, ["relu", "relu"], ["magic"], [["relu"]], 1, [], ("relu", "relu")],
    "loss": ["magic", None, ["log_loss"], 1, "squared_error", "binary_log_loss"],
    "optimizer": ["magic", None, ["sgd"], 1, "sgd", "lbfgs"],
    "params": [
        np.zeros(N_PARAMS - 1), np.zeros((1, N_PARAMS)), np.zeros(N_PARAMS, np.float16), np.zeros(N_PARAMS, int),
        np.zeros(N_PARAMS, ">f8"), np.full(N_PARAMS, np.nan), np.full(N_PARAMS, np.inf), [0.0] * N_PARAMS, None,
        np.zeros(N_PARAMS, np.float32), np.array(["0"] * N_PARAMS),
    ],
    "slots": [
        np.zeros((1, N_PARAMS)), np.zeros((2, N_PARAMS - 1)), np.zeros((2, N_PARAMS), np.float32),
        np.zeros(2 * N_PARAMS), np.full((2, N_PARAMS), np.nan), None, [],
    ],
    "classes": [
        np.array([]), np.array(["a", "b"]), np.array(["a", "c", "b"]), np.array(["a", "a", "b"]), ["a", "b", "c"],
        np.array([["a"], ["b"], ["c"]]), np.array([0, 1, np.nan]), np.array([0, 1, np.inf]), np.array(3), None,
        np.array([1, 2, 3], object), np.array(["a", "b", 3], object), np.array([1j, 2j, 3j]),
    ],
    "y_type": ["binary", "multilabel-indicator", "magic", None, ["multiclass"]],
    "sparse_output": [0, None, "no"],
}  # fmt: skip


@pytest.mark.parametrize("name", MAKE)
def test_the_state_of_a_fit_is_sound(name: str) -> None:
    estimator = MAKE[name]()
    check_state(type(estimator).__name__, estimator._state())


def test_every_value_is_checked() -> None:
    estimator = MAKE["multiclass"]()
    state = estimator._state()
    assert set(WRONG) == set(state)
    for name, values in WRONG.items():
        for value in values:
            with pytest.raises(ValueError, match=r"\w+ \w+"):
                check_state("MLPClassifier", state | {name: value})
        with pytest.raises(ValueError, match=f"has too much or lacks: {name}"):
            check_state("MLPClassifier", {key: value for key, value in state.items() if key != name})
    with pytest.raises(ValueError, match="has too much or lacks: classes, sparse_output, y_type"):
        check_state("MLPRegressor", state)


@pytest.mark.parametrize("name", ["binary", "multilabel"])
def test_classes_fit_the_outputs(name: str) -> None:
    state = MAKE[name]()._state()
    for y_type in {"binary", "multiclass", "multilabel-indicator"} - {state["y_type"]}:
        with pytest.raises(ValueError, match=r"do not fit|is not that of"):
            check_state("MLPClassifier", state | {"y_type": y_type})
    with pytest.raises(ValueError, match="do not fit"):
        check_state("MLPClassifier", state | {"classes": np.arange(3)})


def test_labels_that_would_fit_the_outputs() -> None:
    """But are none: no class of a single output, and a kind of labels that nobody knows."""
    for name, change, message in (
        ("binary", {"classes": np.array([])}, "classes are not labels"),
        ("multilabel", {"y_type": "magic"}, "y_type 'magic' is unknown"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            check_state("MLPClassifier", MAKE[name]()._state() | change)


def test_layers_without_units_are_refused() -> None:
    """Also where the parameters fit them: of no units and three outputs, the biases."""
    state = MAKE["partial_fit"]()._state() | {"params": np.zeros(3), "slots": np.zeros((2, 3))}
    with pytest.raises(ValueError, match=r"^n_units is not a number of units for each layer$"):
        check_state("Trainer", state | {"n_units": (4, 0, 3)})


def test_a_schedule_may_have_come_down_to_0() -> None:
    check_state("Trainer", MAKE["trainer"]()._state() | {"rate": 0.0})


def test_one_activation_for_each_hidden_layer() -> None:
    state = MAKE["trainer"]()._state()
    check_state("Trainer", state | {"activation": [_core.ACTIVATIONS[0]]})


def old_attributes(**changes: Any) -> dict[str, Any]:
    """Of a trainer of version 0.1.0 with 2 inputs and 1 output, after an epoch of plain gradient descent."""
    return {
        "activation": "tanh", "loss": "squared_error", "_n_units": (2, 1), "_params": np.ones(3),
        "_slots": np.zeros((0, 3)), "_optimizer": "sgd", "_step": 3, "_rate": 0.1, "_no_improvement_count": 0,
        "n_iter_": 1, "t_": 30, "loss_": 0.5, "loss_curve_": [0.5], "best_loss_": 0.5, "n_layers_": 2, "n_outputs_": 1,
        "out_activation_": "identity", "n_features_in_": 2, "alpha": 0.1,
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("out_activation", "parameter", "loss"),
    [
        ("identity", "squared_error", "squared_error"),
        ("identity", "hinge", "hinge"),
        ("identity", "log_loss", "squared_error"),  # the hyper-parameter was set after the fit
        ("softmax", "hinge", "log_loss"),
        ("logistic", "log_loss", "binary_log_loss"),
        ("exp", "poisson", "poisson"),
    ],
)
def test_what_version_0_1_0_kept_becomes_a_state(out_activation: str, parameter: str, loss: str) -> None:
    state = migrate(old_attributes(out_activation_=out_activation, loss=parameter))
    check_state("Trainer", state)
    assert (state["loss"], state["activation"], state["step"], state["n_epochs_of_fit"]) == (loss, "tanh", 3, 1)
    assert (state["epochs_scheduled"], state["seed"], state["best_epoch"]) == (0, 0, 0), "version 0.1.0 had none"


@pytest.mark.parametrize(
    "change",
    [
        *({"n_outputs_": value} for value in (1.0, 2, "1", None)),
        *({"n_layers_": value} for value in (2.0, 3, "2", True)),
        *({"out_activation_": value} for value in ("magic", ["identity"], None)),
        *({"_n_units": value} for value in (None, (2,), [2, 1])),
    ],
)
def test_old_attributes_that_disagree_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        migrate(old_attributes(**change))


@pytest.mark.parametrize("name", sorted(set(old_attributes()) - {"alpha", "loss"}))
def test_missing_old_attributes_are_named(name: str) -> None:
    attributes = old_attributes()
    del attributes[name]
    with pytest.raises(ValueError, match=f"it lacks {name}"):
        migrate(attributes)
