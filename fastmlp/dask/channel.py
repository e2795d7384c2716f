"""What the workers of a fit say to each other: all_reduce, broadcast, barrier."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastmlp.dask.tree import N_NUMBERS, Node, Sum, Tree, cover, from_bfloat16, to_bfloat16
from fastmlp.dask.wires import Buffers

SMALL = 1 << 16
"""Up to so many bytes everybody sends everything to everybody: to wait a second time takes longer."""


class Transport(Protocol):
    """How bytes travel: `fastmlp.dask.wires.Wires` or `fastmlp.dask.mpi.Messages`."""

    def __iter__(self) -> Iterator[int]:
        """The ranks of all other workers."""

    def exchange(self, number: int, out: Buffers, into: Buffers, seconds: float, check: Callable[[], None]) -> None:
        """Send to workers and receive from them at the same time."""

    def close(self) -> None:
        """Take no more part."""


class Channel:
    """The channel of one worker.

    A large vector is cut into as many parts as there are workers. Each worker gets its part of all sums, adds these up
    in the order of the tree, and sends the result to all others: two waits, and each number travels twice.

    Parameters
    ----------
    rank : int
        Of this worker.
    transport : Transport
        To all others.
    tree : Tree
    shares : sequence of Node
        The blocks of each worker.
    n_params : int
    dtype : dtype
        Of the vectors.
    seconds_limit : float
        Longest wait.
    check : callable
        Called while waiting; what it raises ends the wait.
    """

    def __init__(
        self,
        rank: int,
        transport: Transport,
        tree: Tree,
        shares: Sequence[Node],
        n_params: int,
        dtype: np.dtype[Any],
        seconds_limit: float,
        check: Callable[[], None],
    ) -> None:
        self.rank, self.seconds, self.bytes_sent = rank, 0.0, 0
        self._transport, self._tree, self._limit, self._check = transport, tree, seconds_limit, check
        self._number, size = 0, len(shares)
        self._whole = size <= 2 or n_params * dtype.itemsize <= SMALL
        ends = [0 if self._whole else n_params * part // size for part in range(size)] + [n_params]
        self._parts = [slice(a, n_params if self._whole else b) for a, b in itertools.pairwise(ends)]
        mine = self._parts[rank]
        self._received = {
            peer: [
                Sum(node, np.empty(mine.stop - mine.start, dtype), np.zeros(N_NUMBERS))
                for node in cover(shares[peer], tree.root)
            ]
            for peer in transport
        }
        self._total = np.empty(0 if self._whole else n_params, dtype)

    def all_reduce(self, sums: list[Sum]) -> Sum:
        """Return the sum of the root, the same bits on all workers.

        Parameters
        ----------
        sums : list of Sum
            Those of this worker, which may be overwritten.

        Returns
        -------
        Sum
            Valid until the next call.
        """
        out = {peer: self._packed(sums, self._parts[peer]) for peer in self._transport}
        into = {peer: self._room(theirs) for peer, theirs in self._received.items()}
        self._exchange(out, into)
        for peer, room in into.items():
            self._unpack(room, self._received[peer])
        mine, total = self._parts[self.rank], list[Sum]()
        own = [Sum(each.node, each.vector[mine], each.numbers) for each in sums]
        for rank in range(len(self._parts)):
            for each in own if rank == self.rank else self._received[rank]:
                self._tree.push(total, Sum(each.node, each.vector, each.numbers))
        (root,) = total
        return root if self._whole else Sum(root.node, self._gathered(root.vector), root.numbers)

    def broadcast(self, array: NDArray[Any], root: int) -> None:
        """Overwrite an array of the same shape and dtype on all workers with that of one."""
        if self.rank == root:
            self._exchange({key: [array] for key in self._transport}, {})
        else:
            self._exchange({}, {root: [array]})

    def barrier(self) -> None:
        """Wait for all workers."""
        self._exchange({key: [] for key in self._transport}, {key: [] for key in self._transport})

    def close(self) -> None:
        """Let those who wait for this worker know that it has gone."""
        self._transport.close()

    def _exchange(self, out: Buffers, into: Buffers) -> None:
        start = perf_counter()
        self._number += 1
        self._transport.exchange(self._number, out, into, self._limit, self._check)
        self.bytes_sent += sum(memoryview(buffer).nbytes for buffers in out.values() for buffer in buffers)
        self.seconds += perf_counter() - start

    def _packed(self, sums: Sequence[Sum], part: slice) -> list[Any]:
        vectors = [each.vector[part] for each in sums]
        if self._tree.rounds:
            vectors = [to_bfloat16(vector) for vector in vectors]
        return [*vectors, *(each.numbers for each in sums)]

    def _room(self, sums: Sequence[Sum]) -> list[Any]:
        vectors = [each.vector for each in sums]
        if self._tree.rounds:
            vectors = [np.empty(len(vector), np.uint16) for vector in vectors]
        return [*vectors, *(each.numbers for each in sums)]

    def _unpack(self, buffers: Sequence[Any], sums: Sequence[Sum]) -> None:
        if self._tree.rounds:
            for buffer, each in zip(buffers, sums, strict=False):
                from_bfloat16(buffer, each.vector)

    def _gathered(self, part: NDArray[Any]) -> NDArray[Any]:
        """The parts of all workers."""
        total, parts = self._total, self._parts
        total[parts[self.rank]] = part
        if not self._tree.rounds:
            into = {peer: [total[parts[peer]]] for peer in self._transport}
            self._exchange({key: [part] for key in self._transport}, into)
            return total
        halves = {peer: np.empty(parts[peer].stop - parts[peer].start, np.uint16) for peer in self._transport}
        self._exchange(
            {key: [to_bfloat16(part)] for key in self._transport}, {peer: [each] for peer, each in halves.items()}
        )
        for peer, each in halves.items():
            from_bfloat16(each, total[parts[peer]])
        return total
