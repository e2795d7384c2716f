"""The model of the command line: a network, the scaling of its inputs and the meaning of its outputs, in one file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastmlp import model_file
from fastmlp._core import Network
from fastmlp.threads import prediction_threads

Array = NDArray[Any]
KIND = "command-line model"


@dataclass(frozen=True)
class Scaler:
    """Standardisation of columns: ``(X - mean) / scale``; mean and scale are float64 of shape (n_columns,)."""

    mean: Array
    scale: Array

    @classmethod
    def fit(cls, X: Array) -> Self:
        """Mean and standard deviation of the columns of X; a scale of 1 for constant columns."""
        mean = X.mean(axis=0, dtype=np.float64)
        centred = cls(mean, np.ones_like(mean)).transform(X)
        scale = np.sqrt(np.einsum("ij,ij->j", centred, centred, dtype=np.float64) / len(X))
        # A constant column differs from its mean by the mean's rounding alone.
        constant = scale <= len(X) * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean, np.where(constant, 1.0, scale))

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
        if self.classes is not None:
            labels: Array = self.classes[outputs.argmax(axis=1)]
            return labels
        assert self.outputs is not None
        values: Array = outputs[:, 0] * self.outputs.scale + self.outputs.mean
        return values

    def _too_large(self, X: Array, rows: Array) -> str:
        """What to say of the largest of the standardised rows of X."""
        row, column = map(int, np.unravel_index(np.abs(rows).argmax(), rows.shape))
        name, deviation = repr(self.features[column]) if self.features else column + 1, self.inputs.scale[column]
        return (
            f"row {row + 1} of the data, column {name}: {X[row, column]:g} is too large for float32 beside the "
            f"training rows, whose standard deviation is {deviation:.3g}: correct it, or leave the row out"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file that `load` reads; see `fastmlp.model_file`."""
        arrays = {f"coefs_{layer}": W for layer, W in enumerate(self.coefs)}
        arrays |= {f"intercepts_{layer}": b for layer, b in enumerate(self.intercepts)}
        arrays |= {"inputs_mean": self.inputs.mean, "inputs_scale": self.inputs.scale}
        if self.outputs is not None:
            arrays |= {"outputs_mean": self.outputs.mean, "outputs_scale": self.outputs.scale}
        if self.classes is not None:
            arrays["classes"] = self.classes
        parameters = {name: getattr(self, name) for name in ("activation", "loss", "features", "target")}
        model_file.write(path, model_file.ModelFile(KIND, {"n_layers": len(self.coefs), **parameters}, arrays))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Raises
        ------
        ModelFileError
            If the file is not such a model, damaged or from a newer version.
        OSError
            If the file cannot be read.
        """
        file = model_file.read(path)
        if file.kind != KIND:
            raise model_file.ModelFileError(
                f"{os.fspath(path)}: holds {file.kind!r}, not a {KIND}: that is what fastmlp train --save writes, and "
                "fastmlp.load in Python reads what the method save of an estimator wrote"
            )
        arrays, parameters = file.arrays, file.parameters
        try:
            layers = range(parameters.pop("n_layers"))
            model = cls(
                coefs=[arrays[f"coefs_{layer}"] for layer in layers],
                intercepts=[arrays[f"intercepts_{layer}"] for layer in layers],
                inputs=Scaler(arrays["inputs_mean"], arrays["inputs_scale"]),
                outputs=Scaler(arrays["outputs_mean"], arrays["outputs_scale"]) if "outputs_mean" in arrays else None,
                classes=arrays.get("classes"),
                **parameters,
            )
            shapes = [(len(W), len(b)) for W, b in zip(model.coefs, model.intercepts, strict=True)]
        except (KeyError, TypeError) as error:
            raise model_file.ModelFileError(f"{os.fspath(path)}: lacks a part of the model: {error}") from error
        # The engine trusts the shapes of what it is given.
        if [W.shape for W in model.coefs] != shapes or any(a[1] != b[0] for a, b in pairwise(shapes)):
            raise model_file.ModelFileError(f"{os.fspath(path)}: the layers do not fit together")
        if any(array.dtype != np.float32 for array in (*model.coefs, *model.intercepts)):
            raise model_file.ModelFileError(f"{os.fspath(path)}: the parameters are not float32")
        if model.classes is not None and model.classes.shape != (shapes[-1][1],):
            raise model_file.ModelFileError(f"{os.fspath(path)}: the classes are not those of the outputs")
        return model
