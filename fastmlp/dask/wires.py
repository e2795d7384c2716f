"""Plain sockets between the workers of one fit: raw bytes behind a header of fixed size, never a pickle.

Each worker listens on a free port of its own interface. Whoever connects proves with an HMAC of fresh random bytes that
it knows the token of the fit, and is dropped where it does not. Every wait has a limit and names the worker.
"""

from __future__ import annotations

import hmac
import os
import selectors
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any

HEADER = struct.Struct("=4sQQ")
"""Who we are, in the byte order of this machine; number of the message; its bytes."""
MAGIC = b"fmlp"
RANK = struct.Struct("!I")
N_RANDOM, N_PROOF = 32, 32
GREETING_SECONDS = 5.0
"""So long a stranger may take for his greeting. Others connect meanwhile."""
GLANCE_SECONDS = 0.1
"""So often a wait looks whether it is still wanted."""

Buffers = Mapping[int, Sequence[Any]]
"""For each worker."""
Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
"""Of TLS: for those who connect to us, and for those whom we connect to."""


class WorkerLostError(ConnectionError):
    """A worker has gone, or does not answer."""


class Wire:
    """The connection to one worker.

    Parameters
    ----------
    connection : socket
        Which the other has proved to be the worker's.
    name : str
        The worker's, for messages.
    """

    def __init__(self, connection: socket.socket, name: str) -> None:
        self.connection, self.name = connection, name
        connection.setblocking(False)
        with suppress(OSError):  # TCP alone knows it
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._sending: list[memoryview] = []
        self._receiving: list[memoryview] = []
        self._header = bytearray(HEADER.size)
        self._expected: tuple[int, ...] = ()

    def begin(self, number: int, out: Sequence[Any] | None, into: Sequence[Any] | None) -> None:
        """Set out to send and to receive a message of these buffers; None for no message."""
        if out is not None:
            views = views_of(out)
            header = HEADER.pack(MAGIC, number, sum(map(len, views)))
            self._sending = [memoryview(header), *views]
        if into is not None:
            views = views_of(into)
            self._expected = (number, sum(map(len, views)))
            self._receiving = [memoryview(self._header), *views]

    @property
    def events(self) -> int:
        """What is left to do."""
        return selectors.EVENT_WRITE * bool(self._sending) | selectors.EVENT_READ * bool(self._receiving)

    def advance(self) -> None:
        """Send and receive as much as can be at once."""
        try:
            self._advance(self._sending, self.connection.send)
            self._advance(self._receiving, self._receive)
        except OSError as error:
            raise WorkerLostError(f"the connection to worker {self.name} is lost: {error}") from error

    def _advance(self, views: list[memoryview], step: Callable[[memoryview], int]) -> None:
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while views:
                n_bytes = step(views[0])
                views[0] = views[0][n_bytes:]
                if not views[0]:
                    views.pop(0)

    def _receive(self, view: memoryview) -> int:
        n_bytes = self.connection.recv_into(view)
        if not n_bytes:
            raise OSError("it was closed at the other end")
        if view.obj is self._header and n_bytes == len(view):
            magic, *found = HEADER.unpack(self._header)
            if magic != MAGIC or tuple(found) != self._expected:
                raise OSError(f"message {found} of {magic!r} where {self._expected} was expected")
        return n_bytes

    def close(self) -> None:
        """Close it at once, whatever is under way."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()


def views_of(buffers: Sequence[Any]) -> list[memoryview]:
    """The bytes of those that have any."""
    views = [memoryview(buffer) for buffer in buffers]
    return [view.cast("B") for view in views if view.nbytes]


class Wires(dict[int, Wire]):
    """The connections of a worker to all others, by their ranks: a `fastmlp.dask.channel.Transport`."""

    def exchange(self, number: int, out: Buffers, into: Buffers, seconds: float, check: Callable[[], None]) -> None:
        """Send these buffers to workers and receive from them at the same time.

        Parameters
        ----------
        number : int
            Of the message, the same at both ends.
        out, into : mapping of int to sequence of buffers
            For each worker that gets or sends something.
        seconds : float
            Longest time to wait.
        check : callable
            Called again and again while waiting; what it raises ends the wait.

        Raises
        ------
        WorkerLostError
            If a worker closes its connection, sends what it should not, or takes too long.
        """
        for rank in {*out, *into}:
            self[rank].begin(number, out.get(rank), into.get(rank))
        busy, end = [self[rank] for rank in sorted({*out, *into})], perf_counter() + seconds
        while busy:
            for wire in busy:
                wire.advance()
            busy = [wire for wire in busy if wire.events]
            if busy and not _ready(busy, GLANCE_SECONDS):
                check()
                if perf_counter() > end:
                    raise silent([wire.name for wire in busy], seconds)

    def close(self) -> None:
        """Let those who wait for this worker know that it has gone."""
        for wire in list(self.values()):
            wire.close()


def silent(names: Sequence[str], seconds: float) -> WorkerLostError:
    """The error of a wait for workers that do not answer."""
    workers = f"worker{'s' * (len(names) > 1)} {', '.join(names)}"
    return WorkerLostError(f"{workers} did not answer within {seconds:g} seconds")


def _ready(wires: Sequence[Wire], seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        for wire in wires:
            selector.register(wire.connection, wire.events)
        return bool(selector.select(seconds))


def listen(host: str) -> socket.socket:
    """Listen on a free port of the interface that has this address."""
    family = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, 0), family=family, backlog=1024)


class Meeting:
    """How the workers of a fit find each other: every one connects to those before it and waits for those behind it.

    Parameters
    ----------
    listener : socket
        That `listen` has opened; closed when all have come.
    rank : int
        Of this worker.
    names : sequence of str
        Of all workers.
    token : bytes
        The secret of this fit.
    contexts : Contexts or None
        For TLS.
    """

    def __init__(
        self, listener: socket.socket, rank: int, names: Sequence[str], token: bytes, contexts: Contexts | None = None
    ) -> None:
        self._listener, self._rank, self._names, self._token = listener, rank, names, token
        self._contexts, self.wires = contexts, Wires()
        self._lock = threading.Lock()

    def meet(self, addresses: Sequence[tuple[str, int]], seconds: float, check: Callable[[], None]) -> Wires:
        """Return the connections to all others, which listen at these addresses.

        Raises
        ------
        WorkerLostError
            If one of them cannot be reached, or has not come within so many seconds.
        """
        end = perf_counter() + seconds
        try:
            for rank in range(self._rank):
                self._connect(rank, addresses[rank], max(end - perf_counter(), 0.1))
            self._listener.settimeout(GLANCE_SECONDS)
            while missing := sorted({*range(len(addresses))} - {*self.wires, self._rank}):
                check()
                if perf_counter() > end:
                    names = ", ".join(self._names[rank] for rank in missing)
                    raise WorkerLostError(f"worker {names} did not connect within {seconds:g} seconds")
                with suppress(TimeoutError):
                    connection, _ = self._listener.accept()
                    threading.Thread(target=self._welcome, args=(connection,), daemon=True).start()
        except BaseException as error:
            self.wires.close()
            if isinstance(error, OSError) and not isinstance(error, WorkerLostError):
                raise WorkerLostError(f"the door of worker {self._names[self._rank]} is closed: {error}") from error
            raise
        finally:
            self._listener.close()
        return self.wires

    def _connect(self, rank: int, address: tuple[str, int], seconds: float) -> None:
        try:
            connection = socket.create_connection(address, timeout=seconds)
            if self._contexts:
                connection = self._contexts[1].wrap_socket(connection)
            theirs, ours = _read(connection, N_RANDOM), os.urandom(N_RANDOM)
            me = RANK.pack(self._rank)
            connection.sendall(me + ours + self._proof(b"connects", theirs, ours, me))
            if not hmac.compare_digest(_read(connection, N_PROOF), self._proof(b"welcomes", theirs, ours, me)):
                raise OSError("it does not know the token of this fit")
        except OSError as error:
            raise WorkerLostError(f"worker {self._names[rank]} cannot be reached at {address}: {error}") from error
        self.wires[rank] = Wire(connection, self._names[rank])

    def _welcome(self, connection: socket.socket) -> None:
        """Take whoever knows the token, and drop all others."""
        try:
            connection.settimeout(GREETING_SECONDS)
            if self._contexts:
                connection = self._contexts[0].wrap_socket(connection, server_side=True)
            ours = os.urandom(N_RANDOM)
            connection.sendall(ours)
            me, theirs = _read(connection, RANK.size), _read(connection, N_RANDOM)
            if not hmac.compare_digest(_read(connection, N_PROOF), self._proof(b"connects", ours, theirs, me)):
                raise OSError("a stranger")
            connection.sendall(self._proof(b"welcomes", ours, theirs, me))
            (rank,) = RANK.unpack(me)
            with self._lock:
                if rank in self.wires or not self._rank < rank < len(self._names):
                    raise OSError("somebody who is here already")
                self.wires[rank] = Wire(connection, self._names[rank])
        except OSError:
            connection.close()

    def _proof(self, *words: bytes) -> bytes:
        return hmac.digest(self._token, b"".join(words), "sha256")


def _read(connection: socket.socket, n_bytes: int) -> bytes:
    found = b""
    while len(found) < n_bytes:
        part = connection.recv(n_bytes - len(found))
        if not part:
            raise OSError("it was closed at the other end")
        found += part
    return found
