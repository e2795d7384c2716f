"""From the columns of a table to the inputs of a network, as the training rows say.

A category of a column is an input of 0 and 1; a column of two categories is one input of -1 and 1; what is missing or
was never seen is 0. Numbers are centred on their median, divided by the distance of their quartiles and clipped
smoothly; what is missing is 0, and 1 in an input of its own. Behind all these stand the ramps of the numbers, for the
members that read them: between two quantiles an input rises from 0 to 1 (the piecewise linear encoding of Gorishniy et
al. 2022), so that a network bends easily where there are many rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastmlp.listener import warn
from fastmlp.tabular_columns import Column, Table

MOST_CATEGORIES = 1000
"""Of one column: rarer ones are as if never seen."""
MOST_BYTES_OF_CATEGORIES, FEWEST_CATEGORIES = 2**31, 2
"""Of the training rows. Where they are many, the columns of the most categories keep fewer, but two at least."""
MOST_TOLD = 8
"""Columns of a kind that `Preparation.summary` names."""
CLIP = 3.0
"""Scaled numbers stay below it."""
FARTHEST = 1e150
"""That a scaled number may be, so that its square is finite."""
MOST_RAMPS, FEWEST_RAMPS, ROWS_OF_A_RAMP = 16, 4, 20
"""Of a column; with so many rows each at least."""
MOST_RAMPS_IN_ALL = 512
"""Of all columns, which get fewer each, or none, where they are many: the time of a fit grows with the inputs."""
MOST_BYTES_OF_RAMPS = 2**28
"""Of the training rows, which get fewer ramps, or none, where they are many."""

BYTES_AT_ONCE = 2**27
"""Of the inputs of a prediction."""


@dataclass(frozen=True)
class Numbers:
    """How the numbers of a column become inputs.

    Attributes
    ----------
    name : str
    center, factor : float
        Of the scaling.
    has_missing : bool
        Whether training rows lack the number, which then has an input.
    edges : tuple of float
        Where the ramps begin, in ascending order, and where the last one ends; none without ramps.
    """

    name: str
    center: float
    factor: float
    has_missing: bool
    edges: tuple[float, ...] = ()

    @property
    def n_inputs(self) -> int:
        """Columns that it makes, without ramps."""
        return 1 + self.has_missing

    @property
    def n_ramps(self) -> int:
        """Columns that its ramps make."""
        return max(0, len(self.edges) - 1)

    def write(self, column: Column, inputs: NDArray[np.float32]) -> None:
        """Write the inputs (n_rows, n_inputs) of a column."""
        values = _numbers(column)
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite distance, which a factor of 0 makes NaN
            scaled = (values - self.center) * self.factor
        scaled = np.clip(scaled, -FARTHEST, FARTHEST)
        inputs[:, 0] = np.where(np.isnan(scaled), 0, scaled / np.sqrt(1 + (scaled / CLIP) ** 2))
        if self.has_missing:
            inputs[:, 1] = np.isnan(values)

    def write_ramps(self, column: Column, inputs: NDArray[np.float32]) -> None:
        """Write the ramps (n_rows, n_ramps) of a column."""
        values = np.nan_to_num(_numbers(column), nan=-np.inf)
        with np.errstate(over="ignore"):  # what is far above the last ramp
            for ramp, (low, high) in enumerate(pairwise(self.edges)):
                inputs[:, ramp] = np.clip((values - low) / (high - low), 0, 1)


@dataclass(frozen=True)
class Categories:
    """How the categories of a column become inputs.

    Attributes
    ----------
    name : str
    values : tuple
        The categories, in the order of their inputs.
    """

    name: str
    values: tuple[Any, ...]

    @property
    def n_inputs(self) -> int:
        """Columns that it makes."""
        return 1 if len(self.values) == 2 else len(self.values)

    def write(self, column: Column, inputs: NDArray[np.float32]) -> None:
        """Write the inputs (n_rows, n_inputs) of a column."""
        numbers = {value: number for number, value in enumerate(self.values)}
        codes = np.array([numbers.get(value, -1) for value in _categories(column)], dtype=np.int64)
        inputs[:] = 0
        known = np.flatnonzero(codes >= 0)
        if len(self.values) == 2:
            inputs[known, 0] = 2 * codes[known] - 1
        elif self.values:
            inputs[known, codes[known]] = 1


Encoding = Numbers | Categories


@dataclass(frozen=True)
class Preparation:
    """How each column of a table becomes inputs.

    Attributes
    ----------
    encodings : tuple of Numbers or Categories
    """

    encodings: tuple[Encoding, ...]

    @classmethod
    def of(cls, table: Table, categorical: Sequence[bool]) -> Preparation:
        """What these training rows say; categorical : for each column whether it holds categories."""
        n_numbers = len(categorical) - sum(categorical)
        most_ramps = min(MOST_RAMPS, MOST_BYTES_OF_RAMPS // (4 * table.n_rows * max(1, n_numbers)))
        columns = list(zip(table.columns, categorical, strict=True))
        found = [_frequent_categories(column) if is_category else None for column, is_category in columns]
        sizes = [len(values) for values in found if values is not None]
        most = max(FEWEST_CATEGORIES, _largest_share(sizes, MOST_BYTES_OF_CATEGORIES // (4 * table.n_rows)))
        encodings = [
            _numbers_of(column, most_ramps) if values is None else _categories_of(column, values, most)
            for column, values in zip(table.columns, found, strict=True)
        ]
        share = MOST_RAMPS_IN_ALL // max(1, sum(bool(each.edges) for each in encodings if isinstance(each, Numbers)))
        return cls(tuple(_with_fewer_ramps(each, share) for each in encodings))

    @property
    def n_plain(self) -> int:
        """Inputs without ramps: one at least."""
        return max(1, sum(encoding.n_inputs for encoding in self.encodings))

    @property
    def n_inputs(self) -> int:
        """All inputs."""
        return self.n_plain + sum(encoding.n_ramps for encoding in self.encodings if isinstance(encoding, Numbers))

    def inputs(self, table: Table) -> NDArray[np.float32]:
        """Inputs (n_rows, n_inputs) of a table with the columns of the first one in their order."""
        inputs = np.zeros((table.n_rows, self.n_inputs), np.float32)
        at, ramps_at = 0, self.n_plain
        for encoding, column in zip(self.encodings, table.columns, strict=True):
            encoding.write(column, inputs[:, at : at + encoding.n_inputs])
            at += encoding.n_inputs
            if isinstance(encoding, Numbers):
                encoding.write_ramps(column, inputs[:, ramps_at : ramps_at + encoding.n_ramps])
                ramps_at += encoding.n_ramps
        return inputs

    def blocks(self, table: Table) -> Iterator[NDArray[np.float32]]:
        """Inputs of some rows after the other, for a prediction: those of all may take much memory."""
        n_rows = max(1, BYTES_AT_ONCE // (4 * self.n_inputs))
        for start in range(0, table.n_rows, n_rows):
            yield self.inputs(table.rows(start, start + n_rows))

    def summary(self) -> str:
        """In a few words what was encoded how."""
        numbers = [each.name for each in self.encodings if isinstance(each, Numbers)]
        categories = [f"{each.name}: {len(each.values)}" for each in self.encodings if isinstance(each, Categories)]
        columns = "column" if len(numbers) == 1 else "columns"
        kinds = (f"{len(numbers)} {columns} of numbers", numbers), (f"{len(categories)} of categories", categories)
        told = ", ".join(f"{what} ({', '.join(_some(names))})" if names else what for what, names in kinds)
        n_ramps = self.n_inputs - self.n_plain
        inputs = "input" if self.n_plain == 1 else "inputs"
        return f"{told}: {self.n_plain} {inputs}" + (f" and {n_ramps} ramps" if n_ramps else "")


def _some(names: list[str]) -> list[str]:
    return names if len(names) <= MOST_TOLD else [*names[:MOST_TOLD], "…"]


def which_are_categories(table: Table, asked: str | ArrayLike | None) -> list[bool]:
    """For each column whether it holds categories.

    Parameters
    ----------
    table : Table
    asked : "from_dtype", None or array-like
        "from_dtype" or None: those of text, categories and booleans; names, numbers or a mask add others to these.

    Raises
    ------
    ValueError
        If a column is named that is not there.
    """
    by_type = [column.is_category for column in table.columns]
    if asked is None or (isinstance(asked, str) and asked == "from_dtype"):
        return by_type
    named = np.asarray(asked)
    names = [column.name for column in table.columns]
    if named.dtype == bool:
        if named.shape != (len(names),):
            raise ValueError(f"categorical_features is a mask of shape {named.shape}, X has {len(names)} columns")
        return [bool(a or b) for a, b in zip(by_type, named, strict=True)]
    known: Sequence[Any] = names if named.dtype.kind in "UO" else range(len(names))
    if unknown := [name for name in named.tolist() if name not in known]:
        raise ValueError(f"categorical_features names {unknown[0]!r}, which is no column of X")
    chosen = set(named.tolist())
    return [a or key in chosen for a, key in zip(by_type, known, strict=True)]


def _numbers(column: Column) -> NDArray[np.float64]:
    """The numbers of a column.

    Raises
    ------
    ValueError
        If it holds other values, or infinite ones.
    """
    try:
        values = column.values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {column.name!r} held numbers in fit, now it does not: {error}") from None
    if np.isinf(values).any():
        raise ValueError(f"Input X contains infinity in column {column.name!r}. Use NaN for what is missing.")
    return values


def _categories(column: Column) -> list[Any]:
    """Categories of a column; whole numbers are the same whatever their type is."""
    if column.values.dtype == object:
        return list(column.values)
    return [None if value != value else value for value in column.values.astype(np.float64).tolist()]


def _numbers_of(column: Column, most_ramps: int) -> Numbers:
    values = _numbers(column)
    present = values[~np.isnan(values)]
    if not len(present):
        return Numbers(column.name, 0.0, 0.0, has_missing=False)
    low, center, high = np.quantile(present, [0.25, 0.5, 0.75])
    width = high - low or (present.max() - present.min()) / 2
    with np.errstate(over="ignore", divide="ignore"):
        factor = 1 / width if width > 0 else 0.0
    factor = factor if np.isfinite(factor) else 0.0
    edges = _edges_of(present, min(most_ramps, max(FEWEST_RAMPS, len(present) // ROWS_OF_A_RAMP)))
    return Numbers(column.name, float(center), float(factor), has_missing=len(present) < len(values), edges=edges)


def _edges_of(values: NDArray[np.float64], n_ramps: int) -> tuple[float, ...]:
    """Quantiles between which ramps rise; none where two values are all there is, or memory is short."""
    if n_ramps < FEWEST_RAMPS:
        return ()
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n_ramps + 1)))
    if len(edges) <= n_ramps:  # values that many rows share leave ramps for the others
        edges = _edges_between_ties(values, n_ramps)
    with np.errstate(over="ignore"):
        sound = bool(np.isfinite(np.diff(edges)).all())
    return tuple(edges.tolist()) if len(edges) > 2 and sound else ()


def _edges_between_ties(values: NDArray[np.float64], n_ramps: int) -> NDArray[np.float64]:
    """Values between which ramps rise: all where they are few, else quantiles of rows of which none has too many."""
    edges, counts = np.unique(values, return_counts=True)
    if len(edges) <= n_ramps + 1:
        return edges
    shares = counts.astype(np.float64)
    for _ in range(8):  # the share of one ramp becomes smaller where the most frequent values are cut
        shares = np.minimum(shares, shares.sum() / n_ramps)
    n_ramps = min(n_ramps, max(FEWEST_RAMPS, int(shares.sum()) // ROWS_OF_A_RAMP))
    sums = np.cumsum(shares)
    return np.unique(edges[np.searchsorted(sums, np.linspace(sums[0], sums[-1], n_ramps + 1))])


def _with_fewer_ramps(encoding: Encoding, most: int) -> Encoding:
    """Every second edge or so is left out, so that no more ramps remain; all of them where too few would."""
    if isinstance(encoding, Categories) or encoding.n_ramps <= most:
        return encoding
    if most < FEWEST_RAMPS:
        return replace(encoding, edges=())
    places = np.linspace(0, encoding.n_ramps, most + 1).round().astype(int)
    return replace(encoding, edges=tuple(encoding.edges[place] for place in places))


def _frequent_categories(column: Column) -> list[Any]:
    """From the most frequent one on."""
    counts = Counter(value for value in _categories(column) if value is not None)
    return [value for value, _ in counts.most_common(MOST_CATEGORIES)]


def _largest_share(sizes: Sequence[int], in_all: int) -> int:
    """How many inputs each may have at most so that all together have no more than `in_all`, where some want few."""
    for n_left, size in zip(range(len(sizes), 0, -1), sorted(sizes), strict=True):
        if size * n_left > in_all:
            return in_all // n_left
        in_all -= size
    return max(sizes, default=0)


def _categories_of(column: Column, found: list[Any], most: int) -> Categories:
    if len(found) > most:
        warn(
            f"column {column.name!r}: the {most} most frequent categories have an input, all others count as missing. "
            f"More inputs of {len(column.values)} rows would take too much memory: encode the column as numbers, for "
            "example by how often a category occurs, to keep all."
        )
    return Categories(column.name, tuple(sorted(found[:most], key=lambda value: (type(value).__name__, value))))
