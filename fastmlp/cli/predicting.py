"""``fastmlp predict``: what a saved model says of the rows of a file, as CSV."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmlp
from fastmlp import model_file
from fastmlp.cli.model_0_1_0 import KIND, Model
from fastmlp.cli.outcome import require_writable
from fastmlp.cli.tables import read_rows

Array = NDArray[Any]


def predict(arguments: argparse.Namespace) -> int:
    """Write for each row of a file its class or value, or with --proba the probability of each class."""
    if arguments.output:
        require_writable(arguments.output, "--output")
    is_old = model_file.read(arguments.model).kind == KIND
    model = Model.load(arguments.model) if is_old else fastmlp.load(arguments.model)
    classes = getattr(model, "classes_", None)
    if arguments.proba and (classes is None or not hasattr(model, "predict_proba")):
        raise ValueError(f"--proba: the model of {arguments.model} predicts no classes with probabilities")
    X = _rows(model, arguments.data)
    found = model.predict_proba(X) if arguments.proba else model.predict(X)
    values = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
    target = getattr(model, "target_name_", None) or "y"
    names = [target] if values.ndim == 1 else [f"{target}_{i}" for i in range(values.shape[1])]
    if arguments.proba and classes is not None:
        names = classes.tolist()
    output = arguments.output and arguments.output.open("w", encoding="utf-8", newline="")
    with output or nullcontext(sys.stdout) as to:
        writer = csv.writer(to, lineterminator="\n")
        writer.writerow(names)
        rows = values.reshape(len(values), -1).tolist()
        # Nine digits tell any two float32 values apart, and more of a probability say nothing.
        is_short = arguments.proba or (values.dtype == np.float32 and classes is None)
        writer.writerows([[f"{value:.9g}" for value in row] for row in rows] if is_short else rows)
        to.flush()
    return 0


def _rows(model: Any, path: Path) -> Any:
    """The rows of the file as the model takes them: with their names and texts, or as a matrix of numbers."""
    is_table = hasattr(model, "categories_")
    names = getattr(model, "feature_names_in_", None)
    text = [name for name, values in model.categories_.items() if _are_text(values)] if is_table else []
    X = read_rows(path, None if names is None else names.tolist(), text)
    if is_table and names is not None and not isinstance(X, np.ndarray):
        for name, categories in model.categories_.items():
            if X[name].dtype.kind not in "biuf" and not any(isinstance(value, str) for value in categories):
                X = X.assign(**{name: _as_written(X[name], categories)})
    if is_table or (names is not None and not isinstance(model, Model)):
        return X
    values: Array = np.asarray(X)
    return values if values.dtype.kind in "biuf" else values.astype(np.float64)


def _as_written(cells: Any, values: Sequence[Any]) -> list[Any]:
    """Cells of a column that one odd cell has made text, as the categories that they name."""
    named = {str(value).lower(): value for value in values}
    named |= {f"{value:g}": value for value in values if isinstance(value, float)}
    return [named.get(str(cell).strip().lower(), cell) for cell in cells]


def _are_text(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
