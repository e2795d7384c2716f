"""MPI between the workers of a fit, in place of sockets: for clusters whose processes mpiexec has started.

The channel above it is the same, and with it the sums and their bits. MPI knows no secrets, and where one process is
killed it ends all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter, sleep
from typing import Any

from fastmlp.dask.wires import GLANCE_SECONDS, HEADER, MAGIC, Buffers, WorkerLostError, silent, views_of
from fastmlp.optional import optional

SPIN_SECONDS = 0.01
"""So long a wait asks again at once: a message comes in only while somebody asks."""
PAUSE_SECONDS = 0.0002
"""Between two questions after that."""
_abandoned: list[Any] = []
"""What MPI may still read of, after waits that were given up."""


def world() -> Any:
    """All processes that MPI has started; an error that says how to install it where it is missing."""
    return optional("mpi4py.MPI", "mpi", "transport='mpi'").COMM_WORLD


class Messages(dict[int, int]):
    """For each other worker the process that it is in: what `fastmlp.dask.wires.Wires` is for sockets.

    Parameters
    ----------
    rank : int
        Of this worker in its fit.
    processes : sequence of int
        The rank of each worker's process in `world`.
    names : sequence of str
        Of the workers.
    token : bytes
        Of this fit: its messages have a tag of their own.
    """

    def __init__(self, rank: int, processes: Sequence[int], names: Sequence[str], token: bytes) -> None:
        super().__init__({peer: process for peer, process in enumerate(processes) if peer != rank})
        self._mpi, self._names = optional("mpi4py.MPI", "mpi", "transport='mpi'"), names
        self._tag = int.from_bytes(token[:8], "little") % world().Get_attr(self._mpi.TAG_UB)

    def exchange(self, number: int, out: Buffers, into: Buffers, seconds: float, check: Callable[[], None]) -> None:
        """Send these buffers to workers and receive from them at the same time, as `Wires.exchange` does."""
        headers = {peer: (_header(number, buffers), bytearray(HEADER.size)) for peer, buffers in into.items()}
        receiving = self._begin(world().Irecv, {peer: [headers[peer][1], *into[peer]] for peer in into})
        messages = {peer: [_header(number, buffers), *buffers] for peer, buffers in out.items()}
        sending = self._begin(world().Isend, messages)
        try:
            self._wait(receiving + sending, seconds, check)
        except BaseException:
            for _, request in receiving:
                if request:
                    request.Cancel()
                    request.Wait()
            _abandoned.append((sending, messages))
            raise
        for peer, (expected, found) in headers.items():
            if found != expected:
                raise WorkerLostError(f"worker {self._names[peer]} has sent another message than was expected")

    def close(self) -> None:
        """Others learn from Dask, or at the end of their wait, that this worker has gone."""

    def _begin(self, verb: Callable[..., Any], messages: Buffers) -> list[tuple[int, Any]]:
        return [
            (peer, verb([view, self._mpi.BYTE], self[peer], self._tag))
            for peer, buffers in messages.items()
            for view in views_of(buffers)
        ]

    def _wait(self, requests: Sequence[tuple[int, Any]], seconds: float, check: Callable[[], None]) -> None:
        start = glanced = perf_counter()
        try:
            while not self._mpi.Request.Testall([request for _, request in requests]):
                now = perf_counter()
                sleep(0 if now - start < SPIN_SECONDS else PAUSE_SECONDS)
                if now - glanced > GLANCE_SECONDS:
                    check()
                    glanced = now
                if now - start > seconds:
                    late = {self._names[peer] for peer, request in requests if not request.Test()}
                    raise silent(sorted(late), seconds)
        except self._mpi.Exception as error:
            raise WorkerLostError(f"MPI could not deliver a message: {error}") from error


def _header(number: int, buffers: Sequence[Any]) -> bytes:
    return HEADER.pack(MAGIC, number, sum(map(len, views_of(buffers))))
