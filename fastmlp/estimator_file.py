"""Estimators in model files.

The file is one of `fastmlp.model_file`, its kind the name of the class. Its parameters are ``"parameters"``, those of
the constructor, and ``"state"``, what `fastmlp.estimator_state` describes; arrays of numbers or text lie in the arrays.
JSON has no word for some values: they are objects of one key, as `to_json` writes them. Version 0.1.0 wrote the fitted
attributes, as ``"attributes"``, instead of the state.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmlp
from fastmlp.estimator_state import check_state, migrate
from fastmlp.layers import hidden_units
from fastmlp.model_file import ModelFile, ModelFileError, read, require, write

CLASSES = ("MLPClassifier", "MLPRegressor", "Trainer")
"""What can be saved."""
TABULAR = ("TabularClassifier", "TabularRegressor")
"""Of these `fastmlp.tabular_file` knows the state."""


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a file that `load` reads."""
    kind = type(estimator).__name__
    if kind not in CLASSES or type(estimator) is not getattr(fastmlp, kind):
        raise TypeError(f"{kind} is not a class of fastmlp's: it would be another one after loading")
    state = estimator._state()
    check_state(kind, state)  # what could not be read again is not written
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray) and value.dtype != object}
    values = {name: to_json(name, value) for name, value in state.items() if name not in arrays}
    parameters = {name: to_json(name, value) for name, value in estimator.get_params().items()}
    write(path, ModelFile(kind, {"parameters": parameters, "state": values}, arrays))


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that its method `save` wrote. Nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    MLPClassifier, MLPRegressor, Trainer, TabularClassifier or TabularRegressor
        Fitted, with the very bits that were saved.

    Raises
    ------
    ModelFileError
        If the file is damaged, truncated, from a newer version, or something else altogether.
    OSError
        If the file cannot be read.

    See Also
    --------
    MLPClassifier.save : Writes it.

    Examples
    --------
    >>> import os, tempfile
    >>> import fastmlp
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = fastmlp.MLPClassifier((8,), max_iter=1000, random_state=0).fit(X, y)
    >>> path = os.path.join(tempfile.mkdtemp(), "iris.fastmlp")
    >>> model.save(path)
    >>> bool((fastmlp.load(path).predict(X) == model.predict(X)).all())
    True
    """
    file = read(path)
    if file.kind.startswith("checkpoint of "):
        raise ModelFileError(
            f"{os.fspath(path)} is a checkpoint, not a model: finish its training with fit(..., checkpoint=...), then "
            "save."
        )
    if file.kind not in (*CLASSES, *TABULAR):
        raise ModelFileError(
            f"{os.fspath(path)}: holds {file.kind!r}, not an estimator: that is what the method save of an estimator "
            f"and fastmlp train --save write; what the command line of 0.1.0 wrote, fastmlp predict reads"
        )
    try:
        if file.kind in TABULAR:
            from fastmlp.tabular_file import estimator_of

            return estimator_of(file)
        return _estimator(file)
    except Exception as error:
        raise ModelFileError(f"{os.fspath(path)}: not a {file.kind} of this version: {error}") from error


def _estimator(file: ModelFile) -> Any:
    """What the file holds; any exception where it does not hold an estimator."""
    part = "attributes" if "attributes" in file.parameters else "state"
    require(set(file.parameters) == {"parameters", part}, f"it holds {', '.join(file.parameters) or 'nothing'}")
    parameters, state = (
        {name: from_json(value) for name, value in file.parameters[name].items()} for name in ("parameters", part)
    )
    for name, value in parameters.items():
        to_json(name, value)  # what could not be saved was no parameter
    require(not set(state) & set(file.arrays), "it holds an array twice")
    state |= file.arrays
    if part == "attributes":
        state = migrate(parameters | state)
    estimator_class = getattr(fastmlp, file.kind)
    estimator = estimator_class(**parameters)
    estimator._validate_params()
    hidden_units(estimator.hidden_layer_sizes)
    check_state(file.kind, state)
    return estimator_class._from_state(parameters, state)


def to_json(name: str, value: Any) -> Any:
    """The value, or an object with one key that says what it is."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, np.generic):
        return to_json(name, value.item())
    if isinstance(value, list):
        return [to_json(name, item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [to_json(name, item) for item in value]}
    if isinstance(value, (type, np.dtype)) and value in (np.float32, np.float64):
        return np.dtype(value).name
    if hasattr(value, "__array__") and not isinstance(value, type):  # an array, or a column or the index of a frame
        value = np.asarray(value)
        return {"object array": to_json(name, value.tolist())} if value.dtype == object else value.tolist()
    if isinstance(value, dict):
        return {"dict": [[to_json(name, key), to_json(name, item)] for key, item in value.items()]}
    if isinstance(value, np.random.RandomState) and value.get_state(legacy=False)["bit_generator"] == "MT19937":
        return {"RandomState": to_json(name, value.get_state(legacy=False))}
    what_to_do = ": first set it to None or to the name of a scorer" if name == "scoring" else ""
    raise TypeError(f"{name}={value!r} cannot be saved{what_to_do}")


def from_json(value: Any, depth: int = 20) -> Any:
    """The value that `to_json` wrote, looked at.

    Parameters
    ----------
    value : object
    depth : int
        So many lists in lists at the most: Python's stack is soon full.

    Raises
    ------
    ValueError
        If it is none.
    """
    require(depth > 0, "lists in too many lists")
    if isinstance(value, list):
        return [from_json(item, depth - 1) for item in value]
    # Python counts further than the floating-point numbers, and than 64 bits.
    require(type(value) is not int or -(2**63) <= value < 2**64, "an integer of more than 64 bits")
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    make: dict[str, tuple[type, Callable[[Any], Any]]] = {
        "float": (str, float),
        "tuple": (list, tuple),
        "dict": (list, dict),
        "object array": (list, _object_array),
        "RandomState": (dict, _random_state),
        "LabelBinarizer": (list, _label_binarizer),  # of version 0.1.0
    }
    require(kind in make, f"{kind!r} is no kind of value")
    content = from_json(content, depth - 1)
    require(isinstance(content, make[kind][0]), f"{kind!r} of a {type(content).__name__}")
    return make[kind][1](content)


def _object_array(items: list[Any]) -> NDArray[np.object_]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _random_state(content: dict[str, Any]) -> np.random.RandomState:
    """NumPy trusts a state: a position beyond the key would read memory that is not the generator's."""
    require(set(content) == {"bit_generator", "state", "has_gauss", "gauss"}, "a RandomState without its parts")
    state = content["state"]
    require(content["bit_generator"] == "MT19937" and isinstance(state, dict), "a RandomState of another generator")
    require(set(state) == {"key", "pos"} and isinstance(state["key"], list), "a RandomState without its key")
    key, pos = state["key"], state["pos"]
    require(len(key) == 624 and all(type(word) is int and 0 <= word < 2**32 for word in key), "a RandomState's key")
    require(any(key), "a RandomState that gives nothing but 0")
    require(type(pos) is int and 0 <= pos <= 624, "a RandomState's position")
    has_gauss, gauss = content["has_gauss"], content["gauss"]
    require(type(has_gauss) is int and has_gauss in (0, 1), "a RandomState's has_gauss")
    require(type(gauss) is float and bool(np.isfinite(gauss)), "a RandomState's gauss")
    random_state = np.random.RandomState(0)
    key = np.array(key, np.uint32)
    random_state.set_state({**content, "state": {"key": key, "pos": pos}})
    return random_state


def _label_binarizer(content: list[Any]) -> SimpleNamespace:
    y_type, sparse_input = content
    return SimpleNamespace(y_type_=y_type, sparse_input_=sparse_input)
