"""Which rows make up which micro-block of which step: a matter of seed, numbers of rows and blocks, and nothing else.

Steps take `batch_size` rows each, in blocks of even size. Block b of every step takes its rows from shard b of all
rows, so a worker that owns some blocks holds their shards from the beginning, and no row travels during the training.

With `shuffle` shard b is the b-th stretch of consecutive rows, which each epoch goes through in another order. Without,
steps take consecutive rows as those of the local estimators do, and shard b is the rows that this gives to block b.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmlp.dask.tree import Node


@dataclass(frozen=True)
class Plan:
    """Rows, steps and blocks of an epoch.

    Attributes
    ----------
    n_rows, batch_size, n_blocks : int
    shuffle : bool
    seeds : tuple of int
        A number for each block.
    """

    n_rows: int
    batch_size: int
    n_blocks: int
    shuffle: bool
    seeds: tuple[int, ...]

    @property
    def n_steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.n_rows // self.batch_size)

    @property
    def most_rows(self) -> int:
        """Rows of the largest block."""
        return -(-min(self.batch_size, self.n_rows) // self.n_blocks)

    def step_rows(self, step: int) -> int:
        """Rows of a step, counted from 0 in its epoch."""
        return min(self.batch_size, self.n_rows - step * self.batch_size)

    def within(self, rows: int, block: int) -> tuple[int, int]:
        """Where among so many rows of a step those of a block begin and end."""
        return rows * block // self.n_blocks, rows * (block + 1) // self.n_blocks

    def span(self, step: int, block: int) -> tuple[int, int]:
        """Where in the order of its shard the block of a step begins and ends."""
        first, stop = self.within(self.batch_size, block)
        begin = step * (stop - first)
        first, stop = self.within(self.step_rows(step), block)
        return begin, begin + stop - first

    def shard_rows(self, block: int) -> int:
        """Rows of a shard."""
        return self.span(self.n_steps - 1, block)[1]

    def has_rows_in(self, block: int, begin: int, end: int) -> bool:
        """Whether some of the rows [begin, end) may be of a shard."""
        first = sum(map(self.shard_rows, range(block))) if self.shuffle else begin
        stop = first + self.shard_rows(block) if self.shuffle else end
        return max(first, begin) < min(stop, end)

    def shard_in(self, block: int, begin: int, end: int) -> slice | NDArray[np.int64]:
        """The rows of a shard that are among the rows [begin, end), counted from begin, in ascending order."""
        if self.shuffle:
            first = sum(map(self.shard_rows, range(block)))
            stop = first + self.shard_rows(block)
            return slice(min(max(first, begin), end) - begin, max(min(stop, end), begin) - begin)
        rows = np.arange(begin, end, dtype=np.int64)
        of_step, place = np.divmod(rows, self.batch_size)
        sizes = np.minimum(self.batch_size, self.n_rows - of_step * self.batch_size)
        inside = (place >= sizes * block // self.n_blocks) & (place < sizes * (block + 1) // self.n_blocks)
        return np.flatnonzero(inside)

    def order(self, block: int, epoch: int) -> NDArray[np.int64] | None:
        """The order in which an epoch takes the rows of a shard; None for as they are."""
        if not self.shuffle:
            return None
        return np.random.RandomState([self.seeds[block], epoch]).permutation(self.shard_rows(block))

    def epoch_order(self, epoch: int) -> NDArray[np.int64]:
        """All rows in the order of an epoch, step by step: what a local estimator would take for the same training."""
        shards = []
        for block in range(self.n_blocks):
            rows = np.arange(self.n_rows)[self.shard_in(block, 0, self.n_rows)]
            order = self.order(block, epoch)
            shards.append(rows if order is None else rows[order])
        spans = [(block, *self.span(step, block)) for step in range(self.n_steps) for block in range(self.n_blocks)]
        return np.concatenate([shards[block][begin:end] for block, begin, end in spans])

    def shares(self, n_workers: int) -> list[Node]:
        """The blocks of each worker, of even numbers."""
        ends = [self.n_blocks * i // n_workers for i in range(n_workers + 1)]
        return list(itertools.pairwise(ends))
