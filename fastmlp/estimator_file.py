"""Estimators in model files: which of their attributes are kept, how, and what is checked before one is believed.

The file is one of `fastmlp.model_file`, its kind the name of the class. Its parameters are ``"parameters"``, those of
the constructor, and ``"attributes"``, the fitted ones; attributes that are arrays of numbers or text lie in the arrays.
JSON has no word for some values: they are objects of one key, as `_to_json` writes them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmlp
from fastmlp._core import OPTIMIZERS
from fastmlp.model_file import ModelFile, ModelFileError, read, write

CLASSES = ("MLPClassifier", "MLPRegressor", "Trainer")
"""What can be saved."""

REQUIRED = {"n_features_in_", "n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "n_layers_", "n_outputs_"} | {
    "out_activation_", "_n_units", "_params", "_slots", "_optimizer", "_step", "_rate", "_no_improvement_count"
}  # fmt: skip
OPTIONAL = {"feature_names_in_", "validation_scores_", "validation_loss_curve_", "best_validation_score_"} | {
    "_n_epochs_of_fit", "classes_", "_label_binarizer"
}  # fmt: skip


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a file that `load` reads."""
    kind = type(estimator).__name__
    if kind not in CLASSES or type(estimator) is not getattr(fastmlp, kind):
        raise TypeError(f"{kind} is not a class of fastmlp's: it would be another one after loading")
    state = estimator.__getstate__()
    state = {name: value for name, value in state.items() if name in REQUIRED | OPTIONAL}
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray) and value.dtype != object}
    attributes = {name: _to_json(name, value) for name, value in state.items() if name not in arrays}
    parameters = {name: _to_json(name, value) for name, value in estimator.get_params(deep=False).items()}
    write(path, ModelFile(kind, {"parameters": parameters, "attributes": attributes}, arrays))


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that its method `save` wrote. Nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    MLPClassifier, MLPRegressor or Trainer
        Fitted, with the very bits that were saved.

    Raises
    ------
    ModelFileError
        If the file is damaged, truncated, from a newer version, or something else altogether.
    OSError
        If the file cannot be read.
    """
    file = read(path)
    if file.kind not in CLASSES:
        raise ModelFileError(
            f"{os.fspath(path)}: holds {file.kind!r}, not an estimator: that is what the method save of an estimator "
            f"writes; for what fastmlp train --save wrote use: fastmlp predict {os.fspath(path)} data.csv"
        )
    try:
        parameters, attributes = (
            {name: _from_json(value) for name, value in file.parameters[part].items()}
            for part in ("parameters", "attributes")
        )
        estimator = getattr(fastmlp, file.kind)(**parameters)
        estimator._validate_params()
        attributes |= file.arrays
        _check(attributes)
        estimator.__dict__.update(attributes)
        _check_labels(attributes, estimator)
    except Exception as error:
        raise ModelFileError(f"{os.fspath(path)}: not a {file.kind} of this version: {error}") from error
    return estimator


def _to_json(name: str, value: Any) -> Any:
    """The value, or an object with one key that says what it is."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.generic):
        return _to_json(name, value.item())
    if isinstance(value, list):
        return [_to_json(name, item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_to_json(name, item) for item in value]}
    if isinstance(value, np.ndarray):
        return {"object array": _to_json(name, value.tolist())} if value.dtype == object else value.tolist()
    if isinstance(value, dict):
        return {"dict": [[_to_json(name, key), _to_json(name, item)] for key, item in value.items()]}
    if isinstance(value, np.random.RandomState):
        return {"RandomState": _to_json(name, value.get_state(legacy=False))}
    if value in (np.float32, np.float64):
        return np.dtype(value).name
    if type(value).__name__ == "LabelBinarizer":
        return {"LabelBinarizer": [value.y_type_, bool(value.sparse_input_)]}
    what_to_do = ": first set it to None or to the name of a scorer" if name == "scoring" else ""
    raise TypeError(f"{name}={value!r} cannot be saved{what_to_do}")


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_from_json, value))
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "LabelBinarizer":
        return _label_binarizer(*content)
    content = _from_json(content)
    if kind == "RandomState":
        random_state = np.random.RandomState()
        random_state.set_state(content)
        return random_state
    make: dict[str, Callable[[Any], Any]] = {
        "float": float,
        "tuple": tuple,
        "dict": dict,
        "object array": _object_array,
    }
    return make[kind](content)


def _object_array(items: list[Any]) -> NDArray[np.object_]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _label_binarizer(y_type: str, sparse_input: bool) -> Any:
    from sklearn.preprocessing import LabelBinarizer

    binarizer = LabelBinarizer()
    binarizer.y_type_, binarizer.sparse_input_ = y_type, sparse_input
    return binarizer


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _check(attributes: dict[str, Any]) -> None:
    """Refuse what would lead the engine, which trusts its arguments, astray."""
    names = set(attributes)
    _require(REQUIRED <= names <= REQUIRED | OPTIONAL, f"attributes {sorted(names ^ REQUIRED)}")
    n_units, params, slots = (attributes[name] for name in ("_n_units", "_params", "_slots"))
    _require(isinstance(n_units, tuple) and len(n_units) >= 2 and _are_counts(n_units), "layers")
    n_params = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(n_units))
    _require(params.shape == (n_params,) and params.dtype in (np.float32, np.float64), "parameters")
    n_slots = OPTIMIZERS.get(attributes["_optimizer"], 0)
    _require(slots.shape == (n_slots, n_params) and slots.dtype == params.dtype, "state of the optimizer")
    found = tuple(attributes[name] for name in ("n_features_in_", "n_layers_", "n_outputs_"))
    _require(found == (n_units[0], len(n_units), n_units[-1]), "numbers of units")
    _require(len(attributes.get("feature_names_in_", range(n_units[0]))) == n_units[0], "names of features")


def _check_labels(attributes: dict[str, Any], estimator: Any) -> None:
    """Give the binarizer its classes, whose number must be that of the outputs."""
    if not hasattr(type(estimator), "predict_proba"):
        return
    binarizer, classes = attributes["_label_binarizer"], attributes["classes_"]
    binarizer.classes_ = classes
    is_binary = binarizer.y_type_ == "binary"
    _require(
        classes.ndim == 1 and (len(classes) <= 2 if is_binary else len(classes) == estimator.n_outputs_), "classes"
    )
    _require(not is_binary or estimator.n_outputs_ == 1, "classes")


def _are_counts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int) and value > 0 for value in values)
