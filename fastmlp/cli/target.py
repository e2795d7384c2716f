"""The target of a table: its values, and whether they are classes or numbers."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.cli.files import TableError

Array = NDArray[Any]

FEW = 30
"""So many different integers at most are taken as classes, if each stands for three rows on average."""


def target_values(cells: Any, name: str) -> tuple[Array, NDArray[np.bool_]]:
    """The values of those rows that have one: integers, numbers, truth values or text; and which rows these are.

    Parameters
    ----------
    cells : Series or ndarray of shape (n_rows,)
    name : str

    Raises
    ------
    TableError
        If they are of another kind.
    """
    values: Array
    if isinstance(cells, np.ndarray):
        present = ~np.isnan(cells) if cells.dtype.kind == "f" else np.ones(len(cells), bool)
        values = cells[present]
    else:
        present = cells.notna().to_numpy()
        cells = cells[present]
        if hasattr(cells, "cat"):
            cells = cells.astype(cells.cat.categories.dtype)
        values = cells.infer_objects().to_numpy()
    if values.dtype.kind in "Mm":
        raise TableError(f"column {name!r} holds dates or durations: to predict them, turn them into numbers")
    if values.dtype.kind == "f" and np.isinf(values).any():
        raise TableError(f"column {name!r} holds infinity")
    if values.dtype == object and all(isinstance(value, Number) for value in values):  # decimal ones
        values = values.astype(np.float64)
    if values.dtype.kind not in "biuf":
        values = np.array([str(value) for value in values], dtype=str)
    return values, present


def task_of(values: Array, name: str) -> tuple[str, str]:
    """The task that the values of a target ask for, and why.

    Raises
    ------
    TableError
        If some of them are numbers and others are not.
    """
    if values.dtype.kind == "b":
        return "classification", "truth values; --task regression takes them as 0 and 1"
    if values.dtype.kind == "f":
        return "regression", "real numbers"
    different = np.unique(values)
    if values.dtype.kind == "U":
        names = [value for value in different.tolist() if not _is_number(value)]
        if 0 < len(names) < len(different):
            raise TableError(
                f"column {name!r}: {names[0]!r} is not a number, as others of the column are; "
                "--task classification takes them all as names"
            )
        return "classification", "text"
    few = len(different) <= max(2, min(FEW, len(values) / 3))
    task, other = ("classification", "regression") if few else ("regression", "classification")
    return task, f"integers of {len(different)} values; --task {other} takes them otherwise"


def as_asked(values: Array, task: str, name: str) -> Array:
    """The values as the estimator of that task takes them.

    Raises
    ------
    TableError
        If they do not fit the task.
    """
    if task == "regression":
        if values.dtype.kind == "U":
            text = next((value for value in values.tolist() if not _is_number(value)), values[0])
            raise TableError(f"column {name!r}: '{text}' is not a number; a regression needs numbers")
        return values.astype(np.float64)
    if values.dtype.kind != "f":
        return values
    if (values % 1 != 0).any():
        raise TableError(f"column {name!r} holds {values[values % 1 != 0][0]:g}: real numbers are no classes")
    return values.astype(np.int64)


def hint(values: Array, name: str) -> str:
    """What to say where real numbers may be classes; empty where they hardly are.

    Software that cannot mark an integer as missing writes all of the column as 0.0, 1.0, 2.0.
    """
    if values.dtype.kind != "f" or np.any(values % 1):
        return ""
    n_values = len(np.unique(values))
    few = 1 < n_values <= min(FEW, len(values) / 3)
    return f"{n_values} values, all whole numbers: if {name} is a class, use --task classification" if few else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python would read as a thousand in 1_000
