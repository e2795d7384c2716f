"""The rows of a block, on the worker that computes its gradients: pieces of partitions, which are not joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from fastmlp.rows import Samples

FEW_ROWS = 1024
"""Pieces of fewer rows are joined: to look for a row in many of them takes longer than to copy it."""


class Shard:
    """Rows with their targets and weights, from which the blocks of the steps are taken.

    Parameters
    ----------
    pieces : sequence of matrices
        The rows, as the engine reads them, one after the other.
    targets : ndarray
    weights : ndarray of float64 or None
    dtype : dtype
        Of the blocks.
    """

    def __init__(
        self, pieces: Sequence[Any], targets: NDArray[Any], weights: NDArray[np.float64] | None, dtype: np.dtype[Any]
    ) -> None:
        self._dtype, self._targets, self._weights = dtype, targets, weights
        if any(map(scipy.sparse.issparse, pieces)):  # whose rows of several matrices are not easily brought in order
            self._pieces = [scipy.sparse.vstack([scipy.sparse.csr_array(piece) for piece in pieces], "csr", dtype)]
        else:
            self._pieces = _joined(pieces)
        self._starts = np.cumsum([0, *(piece.shape[0] for piece in self._pieces)])
        self._spare: NDArray[Any] | None = None

    def block(self, rows: NDArray[np.int64] | slice) -> Samples:
        """Some of the rows; their matrix is the shard's own until the next call."""
        weights = None if self._weights is None else self._weights[rows]
        return Samples(self._matrix(rows), self._targets[rows], weights)

    def _matrix(self, rows: NDArray[np.int64] | slice) -> Any:
        if len(self._pieces) == 1 and (isinstance(rows, slice) or scipy.sparse.issparse(self._pieces[0])):
            found = self._pieces[0][rows]
            return found if found.dtype == self._dtype else found.astype(self._dtype)
        if isinstance(rows, slice):
            rows = np.arange(rows.start, rows.stop)
        if self._spare is None or len(self._spare) < len(rows):
            self._spare = np.empty((len(rows), self._pieces[0].shape[1]), self._dtype)
        out = self._spare[: len(rows)]
        flags = self._pieces[0].flags
        # NumPy's take would copy the whole piece where it is not so: as columns of a frame are, or what has travelled.
        if len(self._pieces) == 1 and self._pieces[0].dtype == self._dtype and flags.c_contiguous and flags.aligned:
            return self._pieces[0].take(rows, axis=0, out=out, mode="clip")
        of_piece = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(of_piece):
            here = of_piece == number
            out[here] = self._pieces[number][rows[here] - self._starts[number]]
        return out


def _joined(pieces: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The pieces that have rows, small neighbours joined."""
    runs: list[list[NDArray[Any]]] = []
    for piece in pieces:
        if runs and len(piece) < FEW_ROWS and sum(map(len, runs[-1])) < FEW_ROWS:
            runs[-1].append(piece)
        elif len(piece):
            runs.append([piece])
    return [np.concatenate(run) if len(run) > 1 else run[0] for run in runs] or list(pieces[:1])
