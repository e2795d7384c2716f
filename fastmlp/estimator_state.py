"""The fitted state of an estimator in plain values: its parts, when they are sound, and their names in version 0.1.0.

A state comes from files and pickles, which anyone can have made, and goes to the engine, which trusts it.
"""

from collections.abc import Mapping
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np

from fastmlp._core import ACTIVATIONS, LOSSES, OPTIMIZERS
from fastmlp.model_file import require

COUNTERS = ("step", "n_iter", "t", "no_improvement_count", "n_epochs_of_fit", "epochs_scheduled", "best_epoch", "seed")
CURVES = ("loss_curve", "validation_scores", "validation_loss_curve")
KEYS = {*COUNTERS, *CURVES, "n_units", "activation", "loss", "params", "slots", "optimizer", "rate", "last_loss"} | {
    "best_loss", "best_validation_score", "n_features", "feature_names"
}  # fmt: skip
# Beside these, "precision" where the products are not of the dtype of the params.
LABELS = {"classes", "y_type", "sparse_output"}
"""What the state of a classifier has besides."""

OF_0_1_0 = {"n_units": "_n_units", "params": "_params", "slots": "_slots", "optimizer": "_optimizer"} | {
    "step": "_step", "rate": "_rate", "no_improvement_count": "_no_improvement_count", "n_iter": "n_iter_", "t": "t_",
    "last_loss": "loss_", "best_loss": "best_loss_", "loss_curve": "loss_curve_", "n_features": "n_features_in_",
}  # fmt: skip
"""Attributes of version 0.1.0."""
OPTIONAL_IN_0_1_0 = {"feature_names": "feature_names_in_"} | {
    name: f"{name}_" for name in ("validation_scores", "validation_loss_curve", "best_validation_score")
}
LOSS_OF_OUTPUTS = {
    "softmax": "log_loss",
    "logistic": "binary_log_loss",
    "exp": "poisson",
    "identity": "squared_error",
}
"""Version 0.1.0 kept the function of the outputs; the hinge loss has that of the squared error."""


def check_state(kind: str, state: Mapping[str, Any]) -> None:
    """Refuse a state that is not one of a fitted estimator.

    Parameters
    ----------
    kind : {"MLPClassifier", "MLPRegressor", "Trainer"}
    state : mapping
        Has the keys `KEYS`, and for a classifier `LABELS`.

    Raises
    ------
    ValueError
        If a value is not of its type, dtype, shape or range, or does not fit the others.
    """
    expected = KEYS | LABELS if kind == "MLPClassifier" else KEYS
    wrong = (set(state) - {"precision"}) ^ expected
    require(not wrong, f"it has too much or lacks: {', '.join(sorted(wrong))}")
    _check_network(state)
    _check_parameters(state)
    for name in COUNTERS:
        # The engine counts in 64 bits, and goes on from there.
        require(_is_whole(state[name]) and 0 <= state[name] < 2**62, f"{name} is not a count")
    require(_is_real(state["rate"]) and 0 <= state["rate"] < np.inf, "rate is not a learning rate")
    require(_is_real(state["last_loss"]), "last_loss is not a number")
    for name in ("best_loss", "best_validation_score"):
        require(state[name] is None or _is_real(state[name]), f"{name} is not a number")
    for name in CURVES:
        curve = state[name]
        fits = isinstance(curve, list) and all(map(_is_real, curve))
        require(fits or (curve is None and name != "loss_curve"), f"{name} is not a list of numbers")
    require((state["validation_scores"] is None) == (state["validation_loss_curve"] is None), "half of a validation")
    require(state["n_epochs_of_fit"] <= len(state["loss_curve"]), "n_epochs_of_fit is more than the epochs")
    if kind == "MLPClassifier":
        _check_labels(state)


def _check_network(state: Mapping[str, Any]) -> None:
    n_units, activation = state["n_units"], state["activation"]
    layers = isinstance(n_units, tuple) and len(n_units) >= 2 and all(_is_whole(n) and n > 0 for n in n_units)
    require(layers, "n_units is not a number of units for each layer")
    names = list(activation) if isinstance(activation, (list, tuple)) else [activation]
    known = all(isinstance(name, str) and name in ACTIVATIONS for name in names)
    require(known, f"activation {activation!r} is unknown")
    require(names == [activation] or len(names) == len(n_units) - 2, "activation is not one for each hidden layer")
    loss, optimizer = state["loss"], state["optimizer"]
    require(isinstance(loss, str) and loss in LOSSES, f"loss {loss!r} is unknown")
    known = isinstance(optimizer, str) and (optimizer in OPTIMIZERS or optimizer == "lbfgs")
    require(known, f"optimizer {optimizer!r} is unknown")
    n_features, names = state["n_features"], state["feature_names"]
    require(_is_whole(n_features) and n_features == n_units[0], "n_features is not that of the network")
    require(names is None or _are_names(names, n_features), "feature_names is not a text for each feature")


def _check_parameters(state: Mapping[str, Any]) -> None:
    params, slots = state["params"], state["slots"]
    n_params = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(state["n_units"]))
    require(isinstance(params, np.ndarray) and params.dtype in (np.float32, np.float64), "params are not real numbers")
    fits = state.get("precision", "bfloat16") == "bfloat16" and ("precision" not in state or params.dtype == np.float32)
    require(fits, "precision is not that of the params")
    require(params.shape == (n_params,), f"{params.shape} params do not fit layers of {state['n_units']} units")
    require(bool(np.isfinite(params).all()), "params are not finite")
    require(isinstance(slots, np.ndarray) and slots.dtype == params.dtype, "slots are not of the dtype of the params")
    n_slots = OPTIMIZERS.get(state["optimizer"], 0)
    require(slots.shape == (n_slots, n_params), f"{slots.shape} slots do not fit the optimizer {state['optimizer']!r}")
    # The square of a large gradient may have become infinite, which Adam divides by.
    require(not np.isnan(slots).any(), "slots are not numbers")


def _check_labels(state: Mapping[str, Any]) -> None:
    classes, y_type, n_outputs = state["classes"], state["y_type"], state["n_units"][-1]
    require(isinstance(classes, np.ndarray) and classes.ndim == 1 and len(classes) > 0, "classes are not labels")
    if classes.dtype == object:
        require(_are_names(classes, len(classes)), "classes are objects that are not texts")
    else:
        require(classes.dtype.kind in "biufU", f"classes are {classes.dtype}")
        require(classes.dtype.kind != "f" or bool(np.isfinite(classes).all()), "classes are not finite")
    require(bool((classes[1:] > classes[:-1]).all()), "classes are not sorted, or one stands there twice")
    require(y_type in ("binary", "multiclass", "multilabel-indicator"), f"y_type {y_type!r} is unknown")
    binary = y_type == "binary"
    fits = len(classes) <= 2 and n_outputs == 1 if binary else len(classes) == n_outputs
    require(fits, f"{len(classes)} classes ({y_type}) do not fit {n_outputs} outputs")
    probable = "log_loss" if y_type == "multiclass" else "binary_log_loss"
    fits = state["loss"] == probable or LOSSES[state["loss"]].threshold == 0
    require(fits, f"the loss {state['loss']!r} is not that of {y_type} labels")
    require(isinstance(state["sparse_output"], bool), "sparse_output is neither true nor false")


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _are_names(values: Any, length: int) -> bool:
    is_vector = isinstance(values, np.ndarray) and values.dtype == object and values.shape == (length,)
    return is_vector and all(isinstance(value, str) for value in values)


def migrate(old: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the attributes of an estimator of version 0.1.0 into a state.

    Parameters
    ----------
    old : mapping
        Fitted attributes, as its files and pickles hold them, together with the hyper-parameters.

    Returns
    -------
    dict
        For `check_state` to look at.

    Raises
    ------
    ValueError
        If the attributes do not agree in what the state no longer tells apart.
    """
    missing = {*OF_0_1_0.values(), "n_layers_", "n_outputs_", "out_activation_", "activation"} - set(old)
    require(not missing, f"it lacks {', '.join(sorted(missing))}")
    state = {name: old[attribute] for name, attribute in OF_0_1_0.items()}
    state |= {name: old.get(attribute) for name, attribute in OPTIONAL_IN_0_1_0.items()}
    state |= {"epochs_scheduled": 0, "seed": 0, "best_epoch": 0}
    n_units = state["n_units"]
    require(isinstance(n_units, tuple) and len(n_units) >= 2, "_n_units is not a number of units for each layer")
    for name, expected in {"n_layers_": len(n_units), "n_outputs_": n_units[-1]}.items():
        require(_is_whole(old[name]) and old[name] == expected, f"{name} is not that of the network")
    state["n_epochs_of_fit"] = old.get("_n_epochs_of_fit", len(state["loss_curve"]))
    state["activation"], state["loss"] = old["activation"], _loss_of_0_1_0(old)
    if "_label_binarizer" in old:
        binarizer = old["_label_binarizer"]
        state |= {"classes": old["classes_"], "y_type": binarizer.y_type_, "sparse_output": binarizer.sparse_input_}
    return state


def _loss_of_0_1_0(old: Mapping[str, Any]) -> str:
    outputs = old["out_activation_"]
    require(isinstance(outputs, str) and outputs in LOSS_OF_OUTPUTS, f"out_activation_ {outputs!r} is unknown")
    return "hinge" if outputs == "identity" and old.get("loss") == "hinge" else LOSS_OF_OUTPUTS[outputs]
