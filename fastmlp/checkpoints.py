"""Checkpoints: the whole state of a training on disk, from which it goes on to the bits of one never interrupted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from fastmlp.engine_settings import copy_of
from fastmlp.estimator_file import from_json, to_json
from fastmlp.estimator_state import KEYS, check_state
from fastmlp.fitting import Fit
from fastmlp.listener import Listener
from fastmlp.model_file import ModelFile, ModelFileError, read, require, write
from fastmlp.rows import Samples

FREE = ("n_threads", "verbose", "max_time")
"""Hyper-parameters that do not change what comes of a training, and may therefore change where it goes on."""

WRONG_VALUES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What values bring about that no checkpoint has; not what a sound one may meet, such as MemoryError."""

MOST_CHECKED = 4096
"""Rows that a checksum reads: all of them may be far more than memory holds."""


class Checkpoint(Listener):
    """Writes the state of a training after its epochs; begins with what the file holds, if it is there.

    It is the first of the listeners: at the end the others may change the parameters.

    Parameters
    ----------
    path : str or path-like
    seconds : float
        Least time between two writings.
    estimator : str
        Name of the class.
    settings : namespace
        The hyper-parameters.

    Raises
    ------
    ModelFileError
        If the file is there and is not a checkpoint, or damaged.
    ValueError
        If it belongs to another fit, or `seconds` is not a number of seconds.
    """

    def __init__(self, path: str | os.PathLike[str], seconds: float, estimator: str, settings: Any) -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float, np.number)) or not seconds >= 0:
            raise ValueError(f"checkpoint_seconds must be a number of seconds, 0 or more. Got {seconds!r} instead.")
        self._path, self._seconds, self._kind = Path(path), seconds, f"checkpoint of {estimator}"
        self._written = perf_counter()
        self._settings = comparable(settings)
        self._found: dict[str, Any] | None = None
        self._given: tuple[np.random.RandomState, Any] | None = None
        if self._path.exists():
            file = read(self._path)
            if file.kind != self._kind:
                raise ModelFileError(f"{self._path}: holds {file.kind!r}, not a {self._kind}")
            try:
                self._found = _values(file)
            except WRONG_VALUES as error:
                raise ModelFileError(f"{self._path}: damaged: {error}") from error
            require_the_same(self._path, "hyper-parameters", file.parameters["settings"], self._settings)

    def begins_from(self, random_state: np.random.RandomState) -> None:
        """Let the fit begin with the random numbers with which the first began."""
        if self._found is not None:
            self._given = random_state, random_state.get_state()
            random_state.set_state(self._found["first_random_state"].get_state())
        self._first_random_state = copy_of(random_state)

    def take_back(self, failure: type[BaseException] | None, *_: Any) -> None:
        """Leave the user's generator as it was, where the fit has failed."""
        if failure is not None and self._given is not None:
            generator, state = self._given
            generator.set_state(state)

    def progress(
        self, fit: Fit, samples: Samples, validation: Samples | None, rows: NDArray[np.intp] | None
    ) -> dict[str, Any] | None:
        """Where to go on from, with these of the rows; None where there was no file.

        Raises
        ------
        ModelFileError
            If it is damaged.
        ValueError
            If the data are others.
        """
        network = fit.network
        self._shape: dict[str, Any] = {"layers": list(network.n_units), "loss": network.loss}
        self._shape |= {"dtype": network.precision, "rows": list(samples.rows.shape)}
        self._shape["rows to validate on"] = validation and list(validation.rows.shape)
        self._shape["values (their checksum)"] = _checksum(samples, *([validation] if validation else []))
        if self._found is not None:
            require_the_same(self._path, "data", self._found["shape"], self._shape)
            try:
                self._check(fit, np.arange(samples.rows.shape[0]) if rows is None else np.sort(rows))
            except WRONG_VALUES as error:
                raise ModelFileError(f"{self._path}: damaged: {error}") from error
        return self._found

    def _check(self, fit: Fit, rows: NDArray[np.intp]) -> None:
        """Refuse what the engine would trust: the numbers of rows most of all."""
        found = self._found or {}
        state = {name: value for name, value in found.items() if name in KEYS or name == "precision"}
        check_state("Trainer", state | {"n_features": fit.network.n_units[0], "feature_names": None})
        require(found["n_units"] == fit.network.n_units, "it has other layers")
        require(found["optimizer"] == fit.optimizer, "it has another optimizer")
        order, best_params, ended = (found.get(name) for name in ("order", "best_params", "ended"))
        require(order is not None or not self._settings["shuffle"], "it has no order of the rows")
        require(order is None or np.array_equal(np.sort(order), rows), "its order is not one of the rows")
        require((best_params is None) == (fit.best_params is None), "it has no best parameters, or some too much")
        require(best_params is None or best_params.shape == found["params"].shape, "it has too many best parameters")
        require(best_params is None or bool(np.isfinite(best_params).all()), "its best parameters are not finite")
        require(isinstance(ended, bool), "it does not say whether it has ended")
        require(isinstance(found.get("random_state"), np.random.RandomState), "it has no random numbers")

    def epoch_begins(self, fit: Fit) -> None:
        """Write what the epoch before has left, if it is time; and the beginning, or a wrong path would show late."""
        if not fit.n_iter or perf_counter() - self._written >= self._seconds:
            self._write(fit)

    def finished(self, fit: Fit) -> None:
        """Write the end; what is left of an epoch that was cut is no place to go on from."""
        if not fit.in_epoch:
            self._write(fit)

    def _write(self, fit: Fit) -> None:
        state = fit.state() | fit.progress()
        arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        values = {name: to_json(name, value) for name, value in state.items() if name not in arrays}
        values["first_random_state"] = to_json("random_state", self._first_random_state)
        values |= {"settings": self._settings, "shape": to_json("shape", self._shape)}
        write(self._path, ModelFile(self._kind, values, arrays))
        self._written = perf_counter()


def comparable(settings: Any, free: Sequence[str] = FREE) -> dict[str, Any]:
    """The hyper-parameters that a training goes on with, in plain values."""
    return {
        name: to_json(name, value)
        for name, value in vars(settings).items()
        if name not in free and not callable(value) and not isinstance(value, np.random.RandomState)
    }


def require_the_same(path: Path, what: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse a checkpoint of another fit."""
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            raise ValueError(
                f"The checkpoint {path} belongs to a fit with other {what}: {name} was {found.get(name)!r}, "
                f"now it is {expected.get(name)!r}. Name another file, or delete this one to begin anew."
            )


def _values(file: ModelFile) -> dict[str, Any]:
    """What a training goes on from; any exception where it is not what every checkpoint has."""
    found = {name: from_json(value) for name, value in file.parameters.items() if name != "settings"}
    require(isinstance(file.parameters.get("settings"), dict), "it has no hyper-parameters")
    require(isinstance(found.get("shape"), dict) and all(isinstance(name, str) for name in found["shape"]), "no shape")
    require(isinstance(found.get("first_random_state"), np.random.RandomState), "it has no first random numbers")
    return found | file.arrays


def _checksum(*parts: Samples) -> int:
    """Of targets and weights, and of rows evenly spread over X: other data are seen, at no cost beside an epoch."""
    checksum = 0
    for rows, targets, weights in parts:
        chosen = np.unique(np.linspace(0, rows.shape[0] - 1, MOST_CHECKED).astype(np.intp))
        some = rows[chosen]
        arrays = (some.data, some.indices, some.indptr) if issparse(some) else (some,)
        for array in (*arrays, targets, weights):
            if array is not None:
                checksum = crc32(array.tobytes(), checksum)
    return checksum
