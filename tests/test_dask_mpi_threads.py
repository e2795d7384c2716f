"""MPI as the transport, with threads in place of processes: sums, limits and what is refused."""

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

from fake_mpi import Message, World

from fastmlp.dask import mpi
from fastmlp.dask.channel import Channel
from fastmlp.dask.mpi import Messages
from fastmlp.dask.plan import Plan
from fastmlp.dask.tree import Sum, Tree
from fastmlp.dask.wires import WorkerLostError

TOKEN = bytes(range(32))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Processes that are threads."""
    found = World()
    monkeypatch.setattr(mpi, "optional", lambda module, extra, what: found)
    return found


def together(world: World, n_workers: int, work: Callable[[int, Any], Any]) -> list[Any]:
    """What each worker returns or raises; worker 0 is in the last process."""
    results: list[Any] = [None] * n_workers

    def run(rank: int) -> None:
        processes = list(range(n_workers))[::-1]
        world.become(processes[rank])
        try:
            results[rank] = work(rank, Messages(rank, processes, [f"w{i}" for i in range(n_workers)], TOKEN))
        except BaseException as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(n_workers)]
    [thread.start() for thread in threads]
    [thread.join(20) for thread in threads]
    assert not any(thread.is_alive() for thread in threads)
    return results


@pytest.mark.parametrize("n_params", [5, 20_011])
@pytest.mark.parametrize("n_workers", [1, 2, 3])
def test_all_workers_have_the_sum_of_the_tree(world: World, n_workers: int, n_params: int) -> None:
    tree, shares = Tree(8), Plan(8, 8, 8, True, ()).shares(n_workers)
    leaves = np.random.RandomState(0).standard_normal((8, n_params)).astype("f")

    def summed(blocks: range) -> list[Sum]:
        sums: list[Sum] = []
        for block in blocks:
            tree.push(sums, Sum((block, block + 1), leaves[block].copy(), np.full(3, 1.0)))
        return sums

    def work(rank: int, messages: Any) -> Any:
        channel = Channel(rank, messages, tree, shares, n_params, np.dtype("f"), 10, lambda: None)
        for _ in range(2):
            total = channel.all_reduce(summed(range(*shares[rank])))
        number = np.array([rank])
        channel.broadcast(number, n_workers - 1)
        channel.barrier()
        channel.close()
        return total.vector.copy(), total.numbers.copy(), int(number[0])

    (expected,) = summed(range(8))
    for vector, numbers, number in together(world, n_workers, work):
        np.testing.assert_array_equal(vector, expected.vector)
        np.testing.assert_array_equal(numbers, expected.numbers)
        assert number == n_workers - 1


def test_each_fit_has_a_tag_of_its_own(world: World) -> None:
    """Of the first eight bytes of its token, as large as MPI allows."""
    world.become(0)
    largest = world.Get_attr(world.TAG_UB)
    found = [Messages(0, [0, 1], ["w0", "w1"], token) for token in (TOKEN, TOKEN[:8] + bytes(24), bytes(32))]
    for messages in found:
        messages._begin(world.Isend, {1: [b"abc"]})
    assert world.tags == {int.from_bytes(TOKEN[:8], "little") % largest, 0}


def test_a_wait_ends_at_its_limit_and_names_who_is_silent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was to be received is cancelled; what was to be sent stays in memory, as MPI may read it yet."""
    monkeypatch.setattr(mpi, "_abandoned", [])
    looks: list[int] = []

    def work(rank: int, messages: Any) -> Any:
        if rank == 0:
            out = {1: [b"to w1"], 2: [b"to w2"]}
            return messages.exchange(1, out, {1: [bytearray(2)]}, 0.4, lambda: looks.append(1))
        return messages.exchange(1, {}, {0: [bytearray(5)]}, 5, lambda: None) if rank == 2 else None

    start = perf_counter()
    error = together(world, 3, work)[0]
    assert 0.4 <= perf_counter() - start < 5
    assert isinstance(error, WorkerLostError)
    assert str(error) == "worker w1 did not answer within 0.4 seconds"
    assert 1 <= len(looks) <= 4  # every tenth of a second
    ((_, messages),) = mpi._abandoned
    assert [bytes(buffer) for buffers in messages.values() for buffer in buffers[1:]] == [b"to w1", b"to w2"]
    received = [each for each in world.requests if each.cancelled]
    assert len(received) == 2
    assert all(each.is_null for each in received)


def test_a_wait_ends_when_it_is_no_longer_wanted(world: World) -> None:
    def give_up() -> None:
        raise InterruptedError("no longer wanted")

    def work(rank: int, messages: Any) -> Any:
        return None if rank else messages.exchange(1, {}, {1: [bytearray(2)]}, 10, give_up)

    start = perf_counter()
    assert isinstance(together(world, 2, work)[0], InterruptedError)
    assert perf_counter() - start < 5


def test_an_error_of_mpi_is_a_lost_worker(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(rank: int, messages: Any) -> Any:
        return messages.exchange(1, {1 - rank: [b"ab"]}, {1 - rank: [bytearray(2)]}, 5, lambda: None)

    def fails(requests: Any) -> bool:
        raise RuntimeError("a broken network")

    monkeypatch.setattr(Message, "Testall", fails)
    for error in together(world, 2, work):
        assert isinstance(error, WorkerLostError)
        assert str(error) == "MPI could not deliver a message: a broken network"


def test_messages_out_of_step_are_refused(world: World) -> None:
    def work(rank: int, messages: Any) -> Any:
        return messages.exchange(1 + rank, {1 - rank: [b"ab"]}, {1 - rank: [bytearray(2)]}, 5, lambda: None)

    for rank, error in enumerate(together(world, 2, work)):
        assert isinstance(error, WorkerLostError)
        assert str(error) == f"worker w{1 - rank} has sent another message than was expected"


def test_a_wait_asks_again_at_once_and_later_with_pauses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message comes in only while somebody asks; a core is not to be kept busy with it for long."""
    now, slept = [1.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += 1 / 256

    monkeypatch.setattr(mpi, "sleep", sleep)
    monkeypatch.setattr(mpi, "perf_counter", lambda: now[0])
    world.become(0)
    looks: list[float] = []
    with pytest.raises(WorkerLostError):
        Messages(0, [0, 1], ["w0", "w1"], TOKEN).exchange(
            1, {}, {1: [bytearray(2)]}, 0.25, lambda: looks.append(now[0])
        )
    assert slept[:3] == [0, 0, 0]  # until a hundredth of a second has passed
    assert set(slept[3:]) == {0.0002}
    assert looks == [1 + 27 / 256, 1 + 53 / 256]  # the first question after each tenth of a second
    assert now[0] == 1 + 66 / 256
