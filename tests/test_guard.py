"""Who reads and who writes what a training changes: also in a process forked while others did."""

import os
import signal
import sys
import threading
from time import sleep
from typing import Any

import numpy as np
import pytest

from fastmlp import Trainer
from fastmlp.guard import Guard


def test_a_second_training_is_refused_and_a_reader_waits_for_a_pause() -> None:
    guard = Guard()
    with guard.claimed():
        assert guard.read(lambda x: x + 1, 1) == 2, "between two steps"
        with pytest.raises(RuntimeError, match="being fitted in another thread"), guard.claimed():
            pass
    with guard.claimed():
        pass


def test_a_training_looks_again_and_again_whether_the_readers_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither keeps a core busy nor waits longer than it must."""
    left = threading.Semaphore(0)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            left.release()
        sleep(0.001)

    monkeypatch.setattr("fastmlp.guard.sleep", wait)
    guard, begun = Guard(), threading.Event()
    reader = threading.Thread(target=guard.read, args=(lambda: (begun.set(), left.acquire(timeout=60)),))
    reader.start()
    begun.wait()
    with guard.claimed():
        assert len(waited) >= 3
    assert max(waited) < 0.01
    reader.join()


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_waits_for_no_thread_of_its_parent() -> None:
    guard = Guard()

    def fork(answer: Any) -> Any:
        if not (child := os.fork()):
            with guard.claimed():  # the reader and the training belong to the parent
                os._exit(guard.read(lambda: answer))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert guard.read(fork, 3) == 3
    with guard.claimed():
        assert fork(4) == 4


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_reads_what_its_parent_was_reading() -> None:
    guard = Guard()
    with guard.claimed(), guard.reading():
        for way in ("reading", "read"):
            if not (child := os.fork()):
                signal.alarm(20)  # rather than wait for ever
                if way == "read":
                    guard.read(os._exit, 5)
                with guard.reading():
                    os._exit(5)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5, way


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_trains_what_a_thread_of_its_parent_was_training() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20_000, 50)), rng.integers(0, 2, 20_000)
    epochs = threading.Semaphore(0)

    def go_on(**_: Any) -> bool:
        epochs.release()
        return ended.is_set()

    ended = threading.Event()
    trainer = Trainer((100,), max_iter=10**6, n_iter_no_change=10**6, n_threads=1).partial_fit(X[:10], y[:10])
    trainer.set_params(warm_start=True)
    training = threading.Thread(target=trainer.fit, args=(X, y), kwargs={"callbacks": [go_on]})
    training.start()
    epochs.acquire()
    sleep(0.01)  # into an epoch
    if not (child := os.fork()):
        try:
            trainer.partial_fit(X[:10], y[:10])
            os._exit(7)
        finally:
            os._exit(1)
    ended.set()
    training.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_training_is_not_kept_waiting_by_readers_that_come_after_it() -> None:
    guard, ended = Guard(), threading.Event()

    def read() -> None:
        while not ended.is_set():
            guard.read(sleep, 0.002)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    trained = threading.Event()

    def train() -> None:
        for _ in range(5):
            with guard.claimed(), guard.writing():
                pass
        trained.set()

    training = threading.Thread(target=train, daemon=True)
    training.start()
    assert trained.wait(60)  # where the readers were waited for, it never came
    ended.set()
    for thread in (*readers, training):
        thread.join()
