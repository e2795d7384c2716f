"""MPI between the threads of this process, as far as `fastmlp.dask.mpi` uses it: messages of a pair come in order."""

import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any


class Message:
    """A message that is sent or awaited; false once it has been waited for, as a null request is."""

    def __init__(self, view: memoryview) -> None:
        self.view, self.done, self.cancelled, self.is_null = view, False, False, False

    def __bool__(self) -> bool:
        return not self.is_null

    def Test(self) -> bool:
        return self.done

    def Cancel(self) -> None:
        self.cancelled = True

    def Wait(self) -> None:
        assert self.done or self.cancelled, "it would wait for ever"
        self.is_null = True

    @staticmethod
    def Testall(requests: Sequence["Message"]) -> bool:
        return all(request.done for request in requests)


class World:
    """A communicator: each thread says first which process it stands for."""

    BYTE, TAG_UB, Exception, Request = "byte", "largest tag", RuntimeError, Message

    def __init__(self) -> None:
        self._here, self._lock = threading.local(), threading.Lock()
        self._sent: dict[Any, deque[Message]] = defaultdict(deque)
        self._awaited: dict[Any, deque[Message]] = defaultdict(deque)
        self.requests: list[Message] = []
        self.tags: set[int] = set()
        self.COMM_WORLD = self

    def become(self, process: int) -> None:
        self._here.rank = process

    def Get_rank(self) -> int:
        rank: int = self._here.rank
        return rank

    def Get_attr(self, name: str) -> int:
        assert name == self.TAG_UB
        return 2**20 - 1

    def Isend(self, buffer: Any, dest: int, tag: int) -> Message:
        return self._begin(self._sent, buffer, (self.Get_rank(), dest, tag))

    def Irecv(self, buffer: Any, source: int, tag: int) -> Message:
        return self._begin(self._awaited, buffer, (source, self.Get_rank(), tag))

    def _begin(self, queues: dict[Any, deque[Message]], buffer: Any, key: tuple[int, int, int]) -> Message:
        view, kind = buffer
        assert kind == self.BYTE
        assert view.nbytes
        request = Message(view)
        with self._lock:
            self.requests.append(request)
            self.tags.add(key[2])
            queues[key].append(request)
            sent, awaited = self._sent[key], self._awaited[key]
            while sent and awaited:
                source, target = sent.popleft(), awaited.popleft()
                if source.view.nbytes > target.view.nbytes:
                    raise self.Exception("message truncated")
                target.view[: source.view.nbytes] = source.view
                source.done = target.done = True
        return request
