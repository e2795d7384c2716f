"""The channel between workers: the same sums everywhere, strangers dropped, every wait limited."""

import hmac
import multiprocessing
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter, sleep
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

from fastmlp.dask import wires
from fastmlp.dask.channel import Channel
from fastmlp.dask.plan import Plan
from fastmlp.dask.tree import Sum, Tree, round_to_bfloat16
from fastmlp.dask.wires import Meeting, WorkerLostError, listen

TOKEN = b"a secret of this fit"


def together(n_workers: int, work: Callable[[int, Any], Any], **options: Any) -> list[Any]:
    """What each worker, a thread with a connection to all others, returns or raises."""
    listeners = [listen("127.0.0.1") for _ in range(n_workers)]
    addresses = [listener.getsockname() for listener in listeners]
    results: list[Any] = [None] * n_workers

    def run(rank: int) -> None:
        try:
            meeting = Meeting(listeners[rank], rank, [f"w{i}" for i in range(n_workers)], TOKEN)
            results[rank] = work(rank, meeting.meet(addresses, 10, lambda: None))
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(n_workers)]
    [thread.start() for thread in threads]
    [thread.join(30) for thread in threads]
    assert not any(thread.is_alive() for thread in threads)
    return results


def leaves(n_blocks: int, n_params: int, rounds: bool) -> list[Sum]:
    random = np.random.RandomState(0)
    sums = []
    for block in range(n_blocks):
        vector = random.standard_normal(n_params).astype(np.float32)
        if rounds:
            round_to_bfloat16(vector)
        sums.append(Sum((block, block + 1), vector, random.standard_normal(3)))
    return sums


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("n_params", [5, 20_011])
@pytest.mark.parametrize("n_workers", [2, 3, 5, 9])
def test_all_workers_have_the_sum_of_the_tree(n_workers: int, n_params: int, rounds: bool) -> None:
    tree, alone = Tree(8, rounds), list[Sum]()
    for each in leaves(8, n_params, rounds):
        tree.push(alone, each)
    shares = Plan(8, 8, 8, True, ()).shares(n_workers)

    def work(rank: int, connections: Any) -> Any:
        channel = Channel(rank, connections, tree, shares, n_params, np.dtype("float32"), 10, lambda: None)
        found = []
        for _ in range(2):
            sums: list[Sum] = []
            for each in leaves(8, n_params, rounds)[slice(*shares[rank])]:
                tree.push(sums, each)
            total = channel.all_reduce(sums)
            found.append((total.vector.copy(), total.numbers.copy()))
        channel.barrier()
        number = np.array([rank, 7])
        channel.broadcast(number, n_workers - 1)
        return found, number.tolist()

    for result in together(n_workers, work):
        assert not isinstance(result, Exception), result
        found, number = result
        assert number == [n_workers - 1, 7]
        for vector, numbers in found:
            np.testing.assert_array_equal(vector, alone[0].vector)
            np.testing.assert_array_equal(numbers, alone[0].numbers)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other end closes it, after the random bytes that were to be signed."""
    connection.settimeout(5)
    with suppress(ConnectionError):
        while connection.recv(1000):
            pass
    return True


def test_strangers_are_dropped_and_the_workers_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "GREETING_SECONDS", 0.3)
    original, held = Meeting._welcome, list[socket.socket]()

    def welcome(self: Meeting, connection: socket.socket) -> None:
        held.append(connection)  # so that who is dropped is not closed by the garbage collector
        original(self, connection)

    monkeypatch.setattr(Meeting, "_welcome", welcome)
    first, second = listen("127.0.0.1"), listen("127.0.0.1")
    addresses = [first.getsockname(), second.getsockname()]
    found: dict[int, Any] = {}
    meetings = [Meeting(each, rank, ["w0", "w1"], TOKEN) for rank, each in enumerate((first, second))]
    waiting = threading.Thread(
        target=lambda: found.update({0: meetings[0].meet(addresses, 10, lambda: None)}), daemon=True
    )
    waiting.start()
    silent = socket.create_connection(addresses[0])
    babbler = socket.create_connection(addresses[0])
    babbler.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
    liar = Meeting(listen("127.0.0.1"), 1, ["w0", "w1"], b"another secret")
    with pytest.raises(WorkerLostError, match="w0 cannot be reached"):
        liar.meet(addresses, 5, lambda: None)
    for stranger in (silent, babbler):
        assert is_closed(stranger)
    assert waiting.is_alive()
    found[1] = meetings[1].meet(addresses, 5, lambda: None)
    waiting.join(5)
    assert [wire.name for wire in (found[0][1], found[1][0])] == ["w1", "w0"]
    for wire in (found[0][1], found[1][0]):  # or small messages would wait for one another
        assert wire.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    with pytest.raises(ConnectionRefusedError):  # nobody listens any longer
        socket.create_connection(addresses[0])


def test_who_welcomes_has_to_know_the_token_too() -> None:
    impostor = listen("127.0.0.1")

    def welcome() -> None:
        connection, _ = impostor.accept()
        connection.sendall(bytes(32))
        connection.recv(1000)
        connection.sendall(bytes(32))

    threading.Thread(target=welcome, daemon=True).start()
    meeting = Meeting(listen("127.0.0.1"), 1, ["w0", "w1"], TOKEN)
    with pytest.raises(WorkerLostError, match="does not know the token"):
        meeting.meet([impostor.getsockname(), ("127.0.0.1", 1)], 5, lambda: None)


class UnwantedError(Exception):
    """What `check` raises where a fit is no longer wanted."""


def test_a_meeting_that_is_no_longer_wanted_ends_and_leaves_no_thread() -> None:
    door, unwanted, ended = listen("127.0.0.1"), threading.Event(), list[BaseException]()

    def check() -> None:
        if unwanted.is_set():
            raise UnwantedError

    def meet() -> None:
        try:
            Meeting(door, 0, ["w0", "w1"], TOKEN).meet([door.getsockname(), ("127.0.0.1", 1)], 60, check)
        except Exception as error:
            ended.append(error)

    waiting = threading.Thread(target=meet, daemon=True)
    waiting.start()
    with socket.create_connection(door.getsockname()):
        end = perf_counter() + 5
        while not (
            welcome := [each for each in threading.enumerate() if each.name.endswith("(_welcome)") and each.is_alive()]
        ):  # one that is listed need not have begun, and cannot be joined before
            assert perf_counter() < end
            sleep(0.01)
        assert welcome[0].daemon  # the process may end while a stranger says nothing
    welcome[0].join(3)  # the stranger has gone without a word
    assert not welcome[0].is_alive()
    unwanted.set()
    waiting.join(3)
    assert [type(each) for each in ended] == [UnwantedError]


def test_who_does_not_come_is_named_and_all_is_closed() -> None:
    doors = [listen("127.0.0.1") for _ in range(3)]
    addresses = [door.getsockname() for door in doors]
    meetings = [Meeting(doors[rank], rank, ["w0", "w1", "w2"], TOKEN) for rank in range(2)]

    def meet(meeting: Meeting) -> str:
        with pytest.raises(WorkerLostError) as caught:
            meeting.meet(addresses, 0.4, lambda: None)
        return str(caught.value)

    start = perf_counter()
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(meet, meetings)) == ["worker w2 did not connect within 0.4 seconds"] * 2
    assert perf_counter() - start >= 0.4
    assert [meeting.wires[1 - rank].connection.fileno() for rank, meeting in enumerate(meetings)] == [-1, -1]
    assert [door.fileno() for door in doors[:2]] == [-1, -1]
    with pytest.raises(WorkerLostError, match=r"^the door of worker w0 is closed: "):
        meetings[0].meet(addresses, 5, lambda: None)


def test_who_answers_nothing_is_not_waited_for_beyond_the_limit() -> None:
    silent = listen("127.0.0.1")
    gone = threading.Timer(3, silent.close)
    gone.start()
    start = perf_counter()
    with pytest.raises(WorkerLostError, match=r"^worker w0 cannot be reached at "):
        Meeting(listen("127.0.0.1"), 1, ["w0", "w1"], TOKEN).meet([silent.getsockname()] * 2, 0, lambda: None)
    assert perf_counter() - start < 0.9
    gone.cancel()
    silent.close()


def greet(address: Any, rank: int) -> socket.socket:
    """Connect as the worker of a rank does, and know the token."""
    connection = socket.create_connection(address, timeout=5)
    theirs, ours, me = connection.recv(32), bytes(32), struct.pack("!I", rank)
    connection.sendall(me + ours + hmac.digest(TOKEN, b"connects" + theirs + ours + me, "sha256"))
    return connection


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_rank_that_is_here_already_or_nobodys_is_dropped() -> None:
    door, found = listen("127.0.0.1"), list[Any]()
    address = door.getsockname()
    meeting = Meeting(door, 1, ["w0", "w1", "w2", "w3"], TOKEN)
    with ThreadPoolExecutor() as pool:  # worker 0, which worker 1 connects to
        other = listen("127.0.0.1")
        first = pool.submit(lambda: Meeting(other, 0, ["w0", "w1"], TOKEN).meet([other.getsockname()] * 2, 5, print))
        waiting = pool.submit(lambda: found.append(meeting.meet([other.getsockname()] * 4, 10, lambda: None)))
        first.result()
        two = greet(address, 2)
        assert len(two.recv(32)) == 32
        while 2 not in meeting.wires:
            sleep(0.01)
        for rank in (0, 1, 2, 4, 5):
            with greet(address, rank) as stranger:
                assert is_closed(stranger)
        three = greet(address, 3)
        waiting.result()
    for rank, connection in ((2, two), (3, three)):
        assert found[0][rank].connection.getpeername() == connection.getsockname()
        connection.close()
    assert sorted(found[0]) == [0, 2, 3]


def test_a_greeting_may_come_in_pieces() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"ab")
        later = threading.Timer(0.1, lambda: theirs.sendall(b"cdefgh"))
        later.start()
        assert wires._read(ours, 4) == b"abcd"
        later.join()
        assert wires._read(ours, 4) == b"efgh"


def test_a_message_may_come_byte_by_byte() -> None:
    ours, theirs = socket.socketpair()
    wire, into = wires.Wire(ours, "w1"), bytearray(3)
    wire.begin(7, None, [into])
    for byte in wires.HEADER.pack(wires.MAGIC, 7, 3) + b"abc":
        assert wire.events
        theirs.sendall(bytes([byte]))
        wire.advance()
    assert not wire.events
    assert into == b"abc"
    theirs.close()
    wire.close()


@pytest.mark.parametrize("header", [(b"nope", 7, 3), (wires.MAGIC, 8, 3), (wires.MAGIC, 7, 4)])
def test_a_header_that_is_not_the_expected_one(header: Any) -> None:
    ours, theirs = socket.socketpair()
    wire = wires.Wire(ours, "w1")
    wire.begin(7, None, [bytearray(3)])
    theirs.sendall(wires.HEADER.pack(*header) + b"abc")
    with pytest.raises(WorkerLostError) as caught:
        wire.advance()
    assert str(caught.value) == (
        f"the connection to worker w1 is lost: message [{header[1]}, {header[2]}] of {header[0]!r} where (7, 3) was "
        "expected"
    )
    theirs.close()
    wire.close()


def test_a_closed_wire_is_closed_whoever_else_holds_its_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours.dup(), theirs:
        wires.Wire(ours, "w1").close()
        theirs.settimeout(3)
        assert theirs.recv(1) == b""


def test_the_names_of_those_who_are_silent() -> None:
    assert str(wires.silent(["w1"], 0.5)) == "worker w1 did not answer within 0.5 seconds"
    assert str(wires.silent(["w1", "w2"], 60.0)) == "workers w1, w2 did not answer within 60 seconds"


@pytest.mark.parametrize(("n_workers", "n_params", "n_waits"), [(2, 100_000, 1), (3, 16_384, 1), (3, 16_385, 2)])
def test_two_waits_only_where_parts_are_worth_it(n_workers: int, n_params: int, n_waits: int) -> None:
    """More than two workers and 64 KiB: each number travels twice then, rather than to everybody."""
    shares = [(rank, rank + 1) for rank in range(n_workers)]
    ends = [n_params * rank // n_workers for rank in range(n_workers + 1)]

    def work(rank: int, connections: Any) -> Any:
        tree, numbers = Tree(n_workers), []
        original = connections.exchange
        connections.exchange = lambda number, *others: (numbers.append(number), original(number, *others))
        channel = Channel(rank, connections, tree, shares, n_params, np.dtype("float32"), 10, lambda: None)
        channel.all_reduce([Sum(shares[rank], np.ones(n_params, np.float32), np.ones(3))])
        return len(numbers), channel.bytes_sent

    others = n_workers - 1
    for rank, (found, n_bytes) in enumerate(together(n_workers, work)):
        own = ends[rank + 1] - ends[rank]
        sent = n_params * others if n_waits == 1 else n_params - own + own * others
        assert (found, n_bytes) == (n_waits, 4 * sent + 24 * others)


def test_the_seconds_of_a_channel_are_those_of_its_waits() -> None:
    def work(rank: int, connections: Any) -> Any:
        channel = Channel(rank, connections, Tree(2), [(0, 1), (1, 2)], 3, np.dtype("f"), 10, lambda: None)
        sleep(0.4 * rank)
        channel.barrier()
        return channel.seconds

    first, second = together(2, work)
    assert 0.1 < first < 0.95
    assert 0 < second < 0.95


def test_a_wait_ends_at_its_limit_and_names_the_worker() -> None:
    def work(rank: int, connections: Any) -> Any:
        channel = Channel(rank, connections, Tree(2), [(0, 1), (1, 2)], 3, np.dtype("f"), 0.3, lambda: None)
        if rank == 1:
            sleep(1)
            return None
        start = perf_counter()
        try:
            channel.barrier()
        finally:
            assert 0.3 < perf_counter() - start < 0.9
        return None

    error = together(2, work)[0]
    assert isinstance(error, WorkerLostError)
    assert str(error) == "worker w1 did not answer within 0.3 seconds"


def test_a_wait_ends_when_a_worker_goes() -> None:
    def work(rank: int, connections: Any) -> Any:
        channel = Channel(rank, connections, Tree(2), [(0, 1), (1, 2)], 3, np.dtype("f"), 20, lambda: None)
        return channel.close() if rank else channel.barrier()

    error = together(2, work)[0]
    assert isinstance(error, WorkerLostError)
    assert "w1" in str(error)


def test_a_wait_ends_when_it_is_no_longer_wanted() -> None:
    def give_up() -> None:
        raise InterruptedError("no longer wanted")

    def work(rank: int, connections: Any) -> Any:
        channel = Channel(rank, connections, Tree(2), [(0, 1), (1, 2)], 3, np.dtype("f"), 20, give_up)
        return sleep(1) if rank else channel.barrier()

    assert isinstance(together(2, work)[0], InterruptedError)


def test_messages_out_of_step_are_refused() -> None:
    def work(rank: int, connections: Any) -> Any:
        channel = Channel(rank, connections, Tree(2), [(0, 1), (1, 2)], 3, np.dtype("f"), 1, lambda: None)
        return channel.barrier() if rank else channel.broadcast(np.zeros(3), 1)

    assert "message [1, 0] of b'fmlp' where (1, 24) was expected" in str(together(2, work)[0])


def test_messages_of_the_same_size_are_told_apart() -> None:
    """The first worker has sent one that the second does not know of."""
    done = threading.Event()

    def work(rank: int, connections: Any) -> Any:
        channel = Channel(rank, connections, Tree(2), [(0, 1), (1, 2)], 3, np.dtype("f"), 5, lambda: None)
        if rank == 1:
            channel.broadcast(np.zeros(3), 1)
            return done.wait(5)
        channel.broadcast(np.zeros(3), 0)
        try:
            return channel.broadcast(np.zeros(3), 1)
        finally:
            done.set()

    found = together(2, work)
    assert "message [1, 24] of b'fmlp' where (2, 24) was expected" in str(found[0])
    assert found[1] is True


def _reduce_often(rank: int, listener: Any, addresses: Any, n_params: int, results: Any) -> None:
    connections = Meeting(listener, rank, ["w0", "w1"], TOKEN).meet(addresses, 10, lambda: None)
    channel = Channel(rank, connections, Tree(2), [(0, 1), (1, 2)], n_params, np.dtype("float32"), 10, lambda: None)
    seconds = []
    for _ in range(50):
        vector = np.full(n_params, rank + 1, np.float32)
        start = perf_counter()
        total = channel.all_reduce([Sum((rank, rank + 1), vector, np.ones(3))])
        seconds.append(perf_counter() - start)
        assert (total.vector == 3).all()
    results.put(np.median(seconds))


def test_a_megabyte_between_two_processes() -> None:
    context = multiprocessing.get_context("fork")
    listeners, results = [listen("127.0.0.1") for _ in range(2)], context.Queue()
    addresses = [listener.getsockname() for listener in listeners]
    processes = [
        context.Process(target=_reduce_often, args=(rank, listeners[rank], addresses, 250_000, results))
        for rank in range(2)
    ]
    [process.start() for process in processes]
    usual = [results.get(timeout=30) for _ in processes]
    [process.join(10) for process in processes]
    print(f"all-reduce of 1 MB: {max(usual) * 1e3:.2f} ms")
    assert max(usual) < 0.05  # what it takes on a machine that others use, too
