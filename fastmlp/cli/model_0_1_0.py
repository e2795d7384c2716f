"""Models that the command line of version 0.1.0 wrote: a network, its scaling and the meaning of its outputs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastmlp import _core, model_file
from fastmlp._core import Network
from fastmlp.model_file import ModelFileError, require
from fastmlp.threads import prediction_threads

Array = NDArray[Any]
KIND = "command-line model"


@dataclass(frozen=True)
class Scaler:
    """Standardisation of columns: ``(X - mean) / scale``; mean and scale are float64 of shape (n_columns,)."""

    mean: Array
    scale: Array

    def transform(self, X: Array) -> NDArray[np.float32]:
        """Standardised copy of X, in float32; computed in float64, without a float64 copy."""
        result = np.empty(X.shape, np.float32)
        with np.errstate(over="ignore"):  # who uses the result finds infinity in it
            np.subtract(X, self.mean, out=result, casting="same_kind")
            result /= self.scale
        return result


@dataclass(frozen=True)
class Model:
    """A trained network and what stands around it.

    Attributes
    ----------
    coefs, intercepts : list of float32 ndarray
        Of shape (fan_in, fan_out) and (fan_out,).
    activation, loss : str
        As the engine names them.
    features : list of str or None
        Names of the columns of X, where they have names.
    target : str
        Name of what is predicted.
    inputs : Scaler
        Of the features.
    outputs : Scaler or None
        Of the target of a regression.
    classes : ndarray of shape (n_classes,) or None
        Labels of a classification, in the order of the outputs.
    """

    coefs: Sequence[Array]
    intercepts: Sequence[Array]
    activation: str
    loss: str
    features: list[str] | None
    target: str
    inputs: Scaler
    outputs: Scaler | None = None
    classes: Array | None = None

    def predict(self, X: Array) -> Array:
        """Labels (n_rows,) of a classification, or float64 values (n_rows,) of a regression.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            As it was before standardisation.

        Raises
        ------
        ValueError
            If X does not have the columns of the training, or holds what is too large for float32.
        """
        outputs = self.predict_proba(X)
        if self.classes is not None:
            labels: Array = self.classes[outputs.argmax(axis=1)]
            return labels
        assert self.outputs is not None
        values: Array = outputs[:, 0] * self.outputs.scale + self.outputs.mean
        return values

    @property
    def feature_names_in_(self) -> Array | None:
        """Names of the columns, by the name that estimators have for them."""
        return None if self.features is None else np.array(self.features, dtype=object)

    @property
    def target_name_(self) -> str:
        """Name of what is predicted."""
        return self.target

    @property
    def classes_(self) -> Array | None:
        """Labels of a classification."""
        return self.classes

    def predict_proba(self, X: Array) -> Array:
        """Probabilities (n_rows, n_classes) of a classification, or standardised values (n_rows, 1); see `predict`."""
        n_features = len(self.coefs[0])
        if X.ndim != 2 or X.shape[1] != n_features:
            raise ValueError(f"X has the shape {X.shape}, but the model was trained on {n_features} columns")
        n_units = [n_features, *map(len, self.intercepts)]
        network = Network(n_units, self.activation, self.loss, "float32")
        params = np.concatenate([array.ravel() for array in (*self.coefs, *self.intercepts)])
        outputs = np.empty((len(X), n_units[-1]), np.float32)
        rows = self.inputs.transform(X)
        n_threads = prediction_threads(network, rows)
        if not network.predict(params, rows, outputs, n_threads) or not np.isfinite(outputs).all():
            raise ValueError(self._too_large(X, rows))
        return outputs

    def _too_large(self, X: Array, rows: Array) -> str:
        """What to say of the largest of the standardised rows of X."""
        row, column = map(int, np.unravel_index(np.abs(rows).argmax(), rows.shape))
        name, deviation = repr(self.features[column]) if self.features else column + 1, self.inputs.scale[column]
        return (
            f"row {row + 1} of the data, column {name}: {X[row, column]:g} is too large for float32 beside the "
            f"training rows, whose standard deviation is {deviation:.3g}: correct it, or leave the row out"
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model.

        Raises
        ------
        ModelFileError
            If the file is not such a model, damaged or from a newer version.
        OSError
            If the file cannot be read.
        """
        file = model_file.read(path)
        if file.kind != KIND:
            raise ModelFileError(f"{os.fspath(path)}: holds {file.kind!r}, not a {KIND} of version 0.1.0")
        try:
            return cls(**_checked_parts(dict(file.parameters), dict(file.arrays)))
        except ValueError as error:
            raise ModelFileError(f"{os.fspath(path)}: not a {KIND} of this version: {error}") from error


def _checked_parts(parameters: dict[str, Any], arrays: dict[str, Array]) -> dict[str, Any]:
    """The arguments of `Model`, each of them fit for the engine, which trusts what it is given; ValueError if not."""
    n_layers = parameters.pop("n_layers", None)
    require(type(n_layers) is int and n_layers >= 1, "n_layers is not a number of layers")
    # Taken out of the arrays one by one: the first that is not there ends it, whatever number the file tells.
    coefs = [_parameters(arrays, f"coefs_{layer}", 2) for layer in range(n_layers)]
    intercepts = [_parameters(arrays, f"intercepts_{layer}", 1) for layer in range(n_layers)]
    widths = [coefs[0].shape[0], *map(len, intercepts)]
    require(all(W.shape == shape for W, shape in zip(coefs, pairwise(widths), strict=True)), "layers that do not fit")
    require(min(widths) >= 1, "a layer without units")
    require(set(parameters) == {"activation", "loss", "features", "target"}, f"parameters {sorted(parameters)}")
    for name, known in {"activation": _core.ACTIVATIONS, "loss": ("log_loss", "squared_error")}.items():
        require(parameters[name] in known, f"{name} {parameters[name]!r}")
    features, target = parameters["features"], parameters["target"]
    names = isinstance(features, list) and len(features) == widths[0] and all(isinstance(f, str) for f in features)
    require(features is None or names, "features that are not a name for each column")
    require(isinstance(target, str), "a target that is not a name")
    parts = {"coefs": coefs, "intercepts": intercepts, "inputs": _scaler(arrays, "inputs", widths[0]), **parameters}
    if parameters["loss"] == "log_loss":
        classes = arrays.pop("classes", np.empty(0))
        require(classes.shape == (widths[-1],) and classes.dtype.kind in "biufU", "classes that are not the outputs'")
        require(classes.dtype.kind != "f" or bool(np.isfinite(classes).all()), "classes that are not finite")
        parts["classes"] = classes
    else:
        require(widths[-1] == 1, f"{widths[-1]} outputs of a regression")
        parts["outputs"] = _scaler(arrays, "outputs", 1)
    require(not arrays, f"arrays {sorted(arrays)}")
    return parts


def _parameters(arrays: dict[str, Array], name: str, n_dimensions: int) -> Array:
    """Take the array out; it is finite, float32 and of so many dimensions."""
    array = arrays.pop(name, None)
    require(array is not None, f"it lacks {name}")
    assert array is not None
    require(array.dtype == np.float32 and array.ndim == n_dimensions, f"{name} is {array.dtype} of {array.shape}")
    require(bool(np.isfinite(array).all()), f"{name} is not finite")
    return array


def _scaler(arrays: dict[str, Array], name: str, n_columns: int) -> Scaler:
    """Take mean and scale out: finite float64, the scale positive, one of each for each column."""
    found = []
    for part in ("mean", "scale"):
        array = arrays.pop(f"{name}_{part}", None)
        require(array is not None, f"it lacks {name}_{part}")
        assert array is not None
        fits = array.dtype == np.float64 and array.shape == (n_columns,) and bool(np.isfinite(array).all())
        require(fits, f"{name}_{part} is not a finite number for each column")
        found.append(array)
    require(bool((found[1] > 0).all()), f"{name}_scale is not positive")
    return Scaler(*found)
