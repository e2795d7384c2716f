"""A worker's part in a fit, with no cluster around it: its doors, what it lets go of, and what it says."""

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

from fastmlp.dask import mpi, worker
from fastmlp.dask.plan import Plan
from fastmlp.dask.steps import BEGINNING
from fastmlp.dask.wires import Meeting, listen
from fastmlp.dask.worker import Attempt, Post

HERE: Any = SimpleNamespace(address="tcp://127.0.0.1:9")


@pytest.fixture(autouse=True)
def _no_post_is_left() -> Iterator[None]:
    yield
    for name, _ in list(worker._posts):
        worker.forget(name, HERE)
    assert not worker._posts


def test_a_new_door_ends_the_attempt_before() -> None:
    first = worker.open_door("a fit", HERE)
    post = worker._posts["a fit", HERE.address]
    stop, listener = post.stop, post.listener
    assert post.door == first == listener.getsockname()
    second = worker.open_door("a fit", HERE)
    assert worker._posts["a fit", HERE.address] is post
    assert stop.is_set()
    assert listener.fileno() == -1
    assert not post.stop.is_set()
    assert post.door == second != first
    with socket.create_connection(second):
        pass
    worker.forget("a fit", HERE)
    assert post.stop.is_set()
    assert post.listener.fileno() == -1
    assert not worker._posts


@pytest.mark.parametrize("error", [None, ImportError("no mpi4py"), RuntimeError("cannot load MPI library")])
def test_the_door_of_mpi_is_the_rank_of_the_process(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    def world() -> Any:
        if error is not None:
            raise error
        return SimpleNamespace(Get_rank=lambda: 3)

    monkeypatch.setattr(mpi, "world", world)
    worker.open_door("a fit", HERE)
    post = worker._posts["a fit", HERE.address]
    stop = post.stop
    assert worker.mpi_door("a fit", HERE) == ("MPI", 3 if error is None else -1) == post.door
    assert stop.is_set()
    assert not post.stop.is_set()


def test_who_knows_nothing_of_a_fit() -> None:
    worker.stop("no fit", HERE)
    worker.forget("no fit", HERE)
    assert worker.state_of("no fit", HERE) is None
    assert worker.snapshot_of("no fit", HERE) is None
    worker._posts["a fit", HERE.address] = Post()  # which has not begun, and has no door
    assert worker.state_of("a fit", HERE) is None
    assert worker.snapshot_of("a fit", HERE) is None
    worker.begin_from("a fit", HERE, {"some": "copy"})
    assert worker._posts["a fit", HERE.address].start == {"some": "copy"}
    worker.forget("a fit", HERE)
    assert not worker._posts


def test_a_snapshot_is_taken_once() -> None:
    worker._posts["a fit", HERE.address] = Post(snapshot={"some": "copy"})
    assert worker.snapshot_of("a fit", HERE) == {"some": "copy"}
    assert worker.snapshot_of("a fit", HERE) is None


def job(wait_limit: float = 0.3) -> Any:
    settings = SimpleNamespace(transport="sockets", wait_limit=wait_limit, compression=None, local_steps=1)
    return SimpleNamespace(name="a fit", settings=settings, plan=Plan(8, 8, 8, True, ()), n_units=(2, 1))


def train(monkeypatch: pytest.MonkeyPatch, attempt: Attempt, task: Any = "executing") -> dict[str, Any]:
    """What `train` returns as a task of Dask's in this state; None for one that the worker does not know."""
    tasks = {} if task is None else {"a task": SimpleNamespace(state=task)}
    state = SimpleNamespace(nthreads=1, tasks=tasks)
    monkeypatch.setattr(worker, "get_worker", lambda: SimpleNamespace(address=HERE.address, state=state))
    monkeypatch.setattr(worker, "thread_state", SimpleNamespace(key="a task"))
    seceded: list[int] = []
    monkeypatch.setattr(worker, "secede", lambda: seceded.append(1))
    said = worker.train(job(), attempt, {}, None)
    assert seceded == [1], "a fit that waits keeps no thread of Dask's, which another may wait for"
    return said


def attempt_of(rank: int, *doors: tuple[str, int]) -> Attempt:
    return Attempt(rank, None, [f"w{i}" for i in range(len(doors))], list(doors), b"a secret")


STOPPED = {"status": "stopped", "message": "it was told to stop", "place": BEGINNING}


def test_who_has_no_post_or_another_door_does_not_train(monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(monkeypatch, attempt_of(0, ("127.0.0.1", 1))) == STOPPED
    door = worker.open_door("a fit", HERE)
    assert train(monkeypatch, attempt_of(0, ("127.0.0.1", door[1] - 1))) == STOPPED
    worker.stop("a fit", HERE)
    assert train(monkeypatch, attempt_of(0, door)) == STOPPED


def ended(said: dict[str, Any]) -> dict[str, Any]:
    """What is said of an attempt that came to no connection, but for how long it took."""
    assert 0 <= said["seconds"] < 60
    return {name: value for name, value in said.items() if name != "seconds"}


NOTHING = {"place": BEGINNING, "stopped": False, "warning": "", "communication": 0.0}


def test_who_does_not_reach_the_others_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    door = worker.open_door("a fit", HERE)
    said = ended(train(monkeypatch, attempt_of(1, ("127.0.0.1", 1), door)))
    assert said.pop("message").startswith("worker w0 cannot be reached at ('127.0.0.1', 1): ")
    assert said == {"status": "lost"} | NOTHING
    door = worker.open_door("a fit", HERE)
    assert ended(train(monkeypatch, attempt_of(0, door, ("127.0.0.1", 1)))) == NOTHING | {
        "status": "lost",
        "message": "worker w1 did not connect within 0.3 seconds",
    }


@pytest.mark.parametrize("task", [None, "cancelled", "released", "forgotten"])
def test_a_task_that_dask_has_given_up_ends(monkeypatch: pytest.MonkeyPatch, task: Any) -> None:
    door = worker.open_door("a fit", HERE)
    found = ended(train(monkeypatch, attempt_of(0, door, ("127.0.0.1", 1)), task))
    assert found == NOTHING | {"status": "stopped", "message": ""}


def test_who_is_told_to_stop_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    door = worker.open_door("a fit", HERE)
    original = Meeting.meet

    def meet(self: Meeting, *arguments: Any) -> Any:
        worker.stop("a fit", HERE)
        return original(self, *arguments)

    monkeypatch.setattr(Meeting, "meet", meet)
    assert ended(train(monkeypatch, attempt_of(0, door, ("127.0.0.1", 1))))["status"] == "stopped"


def test_a_place_that_was_reached_is_kept_where_the_next_attempt_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    door = worker.open_door("a fit", HERE)
    fit: Any = SimpleNamespace(place=(3, 1), stopped=True, warning="a warning")
    worker._posts["a fit", HERE.address].fit = fit
    said = ended(train(monkeypatch, attempt_of(0, door, ("127.0.0.1", 1))))
    assert (said["place"], said["stopped"], said["warning"]) == ((3, 1), True, "a warning")


def test_attempts_of_a_worker_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    door = worker.open_door("a fit", HERE)
    post, found = worker._posts["a fit", HERE.address], list[Any]()
    with post.training:  # by the attempt before
        next_one = threading.Thread(target=lambda: found.append(train(monkeypatch, attempt_of(0, door, door))))
        next_one.start()
        next_one.join(0.6)
        assert not found
    next_one.join(10)
    assert found[0]["status"] == "lost"


def test_channels_carry_parameters_and_slots_of_local_steps() -> None:
    """Of a network of 2 x 3 + 3 + 3 x 1 + 1 = 13 parameters."""
    for local_steps, solver, expected in ((1, "adam", 13), (2, "adam", 39), (2, "sgd", 26)):
        one: Any = job()
        one.n_units, one.real = (2, 3, 1), np.dtype("float64")
        vars(one.settings).update(local_steps=local_steps, solver=solver, momentum=0.9, nesterovs_momentum=True)
        channel = worker._channel(one, attempt_of(0, ("here", 1)), {}, lambda: None)  # type: ignore[arg-type]
        assert channel._parts == [slice(0, expected)]


def test_a_door_is_one_of_the_workers_own_interface() -> None:
    with listen("127.0.0.1") as door:
        assert door.family == socket.AF_INET
        assert door.getsockname()[0] == "127.0.0.1"
        assert door.getsockname()[1] >= 1024
