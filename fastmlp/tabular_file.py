"""Fitted estimators of tables in model files: parameters and state as `fastmlp.estimator_file` writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np

import fastmlp
from fastmlp.estimator_file import from_json, to_json
from fastmlp.model_file import ModelFile, require, write
from fastmlp.tabular_base import BaseTabular, FittedTable
from fastmlp.tabular_preparation import Categories, Encoding, Numbers, Preparation
from fastmlp.tabular_training import Member

PARTS = ("names", "n_units", "activation", "loss", "is_single", "target")


def save(estimator: BaseTabular, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a file that `fastmlp.load` reads."""
    kind = type(estimator).__name__
    if type(estimator) is not getattr(fastmlp, kind, None):
        raise TypeError(f"{kind} is not a class of fastmlp's: it would be another one after loading")
    fitted = estimator._require_fitted()
    assert fitted.preparation is not None
    state = {name: to_json(name, getattr(fitted, name)) for name in PARTS}
    state["encodings"] = [_to_plain(encoding) for encoding in fitted.preparation.encodings]
    state["members"] = [
        [member.n_inputs]
        + [to_json("curve", part) for part in (member.loss_curve, member.validation_scores, member.best_epoch)]
        for member in fitted.members
    ]
    arrays = {"center": fitted.center, "scale": fitted.scale}
    arrays["params"] = np.concatenate([member.params for member in fitted.members])
    if fitted.classes is not None and fitted.classes.dtype != object:
        arrays["classes"] = fitted.classes
    elif fitted.classes is not None:
        state["classes"] = to_json("classes", fitted.classes)
    parameters = {name: to_json(name, value) for name, value in estimator.get_params().items()}
    write(path, ModelFile(kind, {"parameters": parameters, "state": state}, arrays))


def estimator_of(file: ModelFile) -> Any:
    """The estimator that a file holds; any exception where it does not hold one."""
    parameters, state = (
        {name: from_json(value) for name, value in file.parameters[part].items()} for part in ("parameters", "state")
    )
    estimator = getattr(fastmlp, file.kind)(**parameters)
    estimator._validate_params()
    preparation = Preparation(tuple(_of_plain(plain) for plain in state["encodings"]))
    about = {name: state[name] for name in PARTS}
    members = tuple(_members(file.arrays["params"], state["members"], about["n_units"]))
    about |= {"center": file.arrays["center"], "scale": file.arrays["scale"]}
    classes = file.arrays.get("classes", state.get("classes"))
    fitted = FittedTable(preparation, members=members, classes=classes, **about)
    _check(fitted, file.kind)
    estimator._fitted = fitted
    return estimator


def _members(params: Any, members: list[Any], n_units: tuple[int, ...]) -> Iterator[Member]:
    """The members with their parts of all parameters."""
    start = 0
    for n_inputs, *curves in members:
        require(type(n_inputs) is int and 0 < n_inputs <= n_units[0], "a member of other inputs than the columns make")
        widths = (n_inputs, *n_units[1:])
        end = start + sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(widths))
        yield Member(n_inputs, params[start:end].copy(), *curves)
        start = end
    require(params.shape == (start,), "other parameters")


def _check(fitted: FittedTable, kind: str) -> None:
    """Refuse what would fail, or leave the engine's memory, at the first prediction."""
    n_outputs = fitted.n_units[-1]
    assert fitted.preparation is not None
    require(len(fitted.members) > 0, "no members")
    for member in fitted.members:
        n_params = fitted.network_of(member).n_params
        require(member.params.dtype == np.float32 and member.params.shape == (n_params,), "other parameters")
        require(bool(np.isfinite(member.params).all()), "parameters that are not finite")
    preparation = fitted.preparation
    require(fitted.n_units[0] == preparation.n_inputs, "other inputs than the columns make")
    require({m.n_inputs for m in fitted.members} <= {preparation.n_plain, preparation.n_inputs}, "a member of others")
    for encoding in preparation.encodings:
        edges = encoding.edges if isinstance(encoding, Numbers) else ()
        sound = all(isinstance(edge, float) and isfinite(edge) for edge in edges) and len(edges) != 1
        require(sound and all(low < high for low, high in pairwise(edges)), "ramps that do not rise")
    names = fitted.names
    require(names is None or len(names) == len(fitted.preparation.encodings), "other names than columns")
    require(fitted.target is None or isinstance(fitted.target, str), "a target whose name is no text")
    if kind == "TabularClassifier":
        require(fitted.loss in ("log_loss", "binary_log_loss"), "a classifier without classes")
        require(fitted.classes is not None and fitted.classes.shape == (n_outputs,), "other classes than outputs")
    else:
        require(fitted.loss in ("squared_error", "quantile"), "a regressor of classes")
        for part in (fitted.center, fitted.scale):
            require(part.dtype == np.float64 and part.shape == (n_outputs,), "another scale than outputs")


def _to_plain(encoding: Encoding) -> dict[str, Any]:
    if isinstance(encoding, Numbers):
        return {"dict": [[name, to_json(name, value)] for name, value in vars(encoding).items()]}
    values = [to_json(encoding.name, value) for value in encoding.values]
    return {"dict": [["name", encoding.name], ["values", {"tuple": values}]]}


def _of_plain(plain: dict[str, Any]) -> Encoding:
    return Categories(**plain) if "values" in plain else Numbers(**plain)
