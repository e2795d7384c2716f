"""Who may read and write what a training changes, while it runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import getpid
from threading import Lock, RLock
from time import sleep
from typing import Any

from numpy.typing import NDArray

from fastmlp._core import Scratch


class Guard:
    """Lets one call train, and others read the state of one moment, without a lock where nobody trains."""

    def __init__(self) -> None:
        self._process = getpid()
        self._busy, self._readers = Lock(), list[None]()
        # Who wants to read waits in the queue, where the training waits too between two calls of the engine.
        self._queue, self.still = Lock(), RLock()
        self.scratch: Scratch | None = None  # of the call that trains, kept for the next

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Let no other call train.

        Raises
        ------
        RuntimeError
            If another call does.
        """
        self._forget_other_processes()
        busy = self._busy
        if not busy.acquire(blocking=False):
            raise RuntimeError(
                "This estimator is being fitted in another thread. Fit a clone of it (sklearn.base.clone), or wait "
                "until the other call has returned."
            )
        try:
            while self._readers:
                sleep(0.0002)
            yield
        finally:
            busy.release()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Change the state, after those who are waiting to read it."""
        with self._queue:
            pass
        with self.still:
            yield

    def write(self, array: NDArray[Any], values: Any) -> None:
        """Write to an array in place: the user may hold views of the parameters. The scratch may hold the slots."""
        array[...] = values
        if self.scratch is not None:
            self.scratch.slots = None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read the state at the next pause of a training, if there is one."""
        self._forget_other_processes()
        with self._queue, self.still:
            yield

    def read(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """The same for one call of a function, which costs next to nothing where nobody trains."""
        self._forget_other_processes()
        try:
            # A training that begins waits for the readers that it finds.
            self._readers.append(None)
            if not self._busy.locked():
                return call(*arguments)
        finally:
            self._readers.pop()
        with self._queue, self.still:  # a reader that finds a training waits for its next pause, and is not waited for
            return call(*arguments)

    def _forget_other_processes(self) -> None:
        """Begin anew in a forked process: threads that held a lock or read are not in it, and would be waited for."""
        if self._process != getpid():
            vars(self).update(vars(Guard()))
