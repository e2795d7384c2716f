"""Workers that are killed, stopped or no longer wanted, and strangers: the same bits, or an end at once."""

import gc
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

import dask
import dask.array as da
from distributed import Client, Future, LocalCluster
from distributed.security import Security

from fastmlp.dask import DaskMLPRegressor, silence, worker
from fastmlp.dask.coordinator import Coordinator
from fastmlp.dask.silence import GLANCE_SECONDS
from fastmlp.model_file import read, write

pytestmark = [
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:Sending large graph"),
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals"),
]
RUNS = int(os.environ.get("FASTMLP_FAULTS", "3"))
PAUSE_SECONDS = 2 if RUNS <= 3 else 30
N_WORKERS = 3


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        # Dask gives a block up whose workers died three times, and many tests here have the same blocks.
        dask.config.set({"distributed.scheduler.allowed-failures": 1000}),
        LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, processes=True, dashboard_address=":0") as workers,
        Client(workers) as found,
    ):
        yield found


def regressor(**options: Any) -> DaskMLPRegressor:
    return DaskMLPRegressor(
        **{"hidden_layer_sizes": (9,), "max_iter": 25, "random_state": 1, "batch_size": 100, "tol": 0}
        | {"n_iter_no_change": np.inf, "wait_limit": 10}
        | options
    )


def data(n_rows: int = 1000) -> tuple[Any, Any]:
    X = np.random.RandomState(0).standard_normal((n_rows, 5))
    return da.from_array(X, (70, 5)), da.from_array(X[:, 0] * X[:, 1], 90)


def parameters(model: Any) -> Any:
    return np.concatenate([array.ravel() for array in (*model.coefs_, *model.intercepts_)])


@pytest.fixture(scope="module")
def undisturbed(client: Client) -> tuple[Any, float]:
    """Parameters of a fit that nothing happens to, and how long it takes."""
    processes(client)
    regressor().fit(*data())
    start = perf_counter()
    model = regressor().fit(*data())
    return parameters(model), perf_counter() - start


def ready(dask_worker: Any) -> int:
    """The process of a worker that has imported what it needs."""
    worker.stop("no fit", dask_worker)
    return os.getpid()


def processes(client: Client) -> list[int]:
    """Of the workers, when all are there and ready: those that were killed start anew, or others in their place."""
    start, end = perf_counter(), perf_counter() + 180  # where the machine is busy with other things
    while perf_counter() < end:
        found = client.run(ready, on_error="ignore")
        if len(found) >= N_WORKERS:
            return list(found.values())
        if perf_counter() - start > 15:
            start, cluster = perf_counter(), client.cluster
            cluster.scale(len(cluster.worker_spec) + N_WORKERS - len(found))
        sleep(0.1)
    raise TimeoutError("workers do not come back")


def later(seconds: float, action: Callable[[], Any]) -> threading.Thread:
    thread = threading.Timer(seconds, action)
    thread.daemon = True
    thread.start()
    return thread


@pytest.mark.parametrize("run", range(RUNS))
def test_a_worker_killed_at_any_moment(client: Client, undisturbed: tuple[Any, float], run: int) -> None:
    expected, seconds = undisturbed
    victim = random.choice(processes(client))
    killer = later(random.uniform(0, seconds), lambda: os.kill(victim, signal.SIGKILL))
    start = perf_counter()
    model = regressor().fit(*data())
    print(f"undisturbed {seconds:.1f} s, with a worker killed {perf_counter() - start:.1f} s")
    killer.join()
    np.testing.assert_array_equal(parameters(model), expected)
    assert perf_counter() - start < seconds + 120


def test_a_worker_killed_before_it_is_asked_how_it_ended(
    client: Client, undisturbed: tuple[Any, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer goes with it, and nobody can give it again."""
    processes(client)
    asked: list[Future] = []
    result = Future.result

    def late(self: Future, *limit: Any, **options: Any) -> Any:
        if self.key.startswith("fastmlp-") and not asked:
            asked.append(self)
            (holder,) = client.who_has([self])[self.key]
            os.kill(client.run(os.getpid, workers=[holder])[holder], signal.SIGKILL)
            while holder in client.nthreads():
                sleep(0.1)
        return result(self, *limit, **options)

    monkeypatch.setattr(Future, "result", late)
    model = regressor().fit(*data())
    assert asked
    np.testing.assert_array_equal(parameters(model), undisturbed[0])


def test_a_worker_that_stops_is_left_out(client: Client, undisturbed: tuple[Any, float]) -> None:
    victim = processes(client)[0]
    later(undisturbed[1] / 2, lambda: os.kill(victim, signal.SIGSTOP))
    start = perf_counter()
    try:
        model = regressor(wait_limit=1).fit(*data())
    finally:
        os.kill(victim, signal.SIGCONT)
    assert perf_counter() - start < undisturbed[1] + 120
    np.testing.assert_array_equal(parameters(model), undisturbed[0])


def test_a_worker_that_stops_for_a_while_is_waited_for(client: Client, undisturbed: tuple[Any, float]) -> None:
    victim = processes(client)[0]
    later(undisturbed[1] / 2, lambda: os.kill(victim, signal.SIGSTOP))
    continued = later(undisturbed[1] / 2 + PAUSE_SECONDS, lambda: os.kill(victim, signal.SIGCONT))
    start = perf_counter()
    model = regressor(wait_limit=60).fit(*data())
    print(f"undisturbed {undisturbed[1]:.1f} s, with a worker stopped for a while {perf_counter() - start:.1f} s")
    continued.join()
    np.testing.assert_array_equal(parameters(model), undisturbed[0])
    assert victim in processes(client)  # nobody took its place


def posts(dask_worker: Any = None) -> list[Any]:
    return list(worker._posts)


def n_epochs_on(dask_worker: Any = None) -> int:
    """That a fit of this worker has made."""
    return max((post.fit.values()["place"]["epoch"] for post in worker._posts.values() if post.fit), default=-1)


def test_interruption_ends_all_workers_and_keeps_the_steps_so_far(client: Client) -> None:
    processes(client)
    moments: list[float] = []

    def interrupt() -> None:
        while max(client.run(n_epochs_on).values()) < 3:  # before the training it would end the tests
            sleep(0.1)
        moments.append(perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    later(0, interrupt)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model = regressor(max_iter=10**6).fit(*data())
    assert perf_counter() - moments[0] < 30
    assert 0 < model.n_iter_ < 10**6
    assert set(map(tuple, client.run(posts).values())) == {()}
    assert not any("train" in text for text in map(str, client.processing().values()))
    regressor(max_iter=2).fit(*data())


def test_two_fits_at_once(client: Client, undisturbed: tuple[Any, float]) -> None:
    processes(client)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(parameters(regressor(client=client).fit(*data()))))
        for _ in range(2)
    ]
    [thread.start() for thread in threads]
    [thread.join(120) for thread in threads]
    for each in found:
        np.testing.assert_array_equal(each, undisturbed[0])
    assert len(found) == 2


def test_a_stranger_at_the_door(
    client: Client, undisturbed: tuple[Any, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who connects before the workers do, and says nothing or anything, does not disturb them."""
    processes(client)
    strangers: list[socket.socket] = []
    on = Coordinator._on

    def visited(self: Any, workers: Any, function: Any) -> Any:
        doors = on(self, workers, function)
        if function is worker.open_door:
            for door in doors.values():
                strangers.extend(socket.create_connection(door) for _ in range(3))
                strangers[-1].sendall(bytes(1000))
        return doors

    monkeypatch.setattr(Coordinator, "_on", visited)
    np.testing.assert_array_equal(parameters(regressor().fit(*data())), undisturbed[0])
    assert len(strangers) >= 3 * 2
    for stranger in strangers:
        stranger.settimeout(30)
        with suppress(ConnectionError):
            while stranger.recv(1000):  # until it is closed; a timeout fails
                pass


def test_an_error_of_one_worker_is_that_of_the_fit(client: Client) -> None:
    processes(client)
    X, y = data()
    start = perf_counter()
    with pytest.raises(ValueError, match="non-finite"):
        regressor(solver="sgd", learning_rate_init=1e200).fit(X, y)
    assert perf_counter() - start < 30
    assert set(map(tuple, client.run(posts).values())) == {()}


def test_tls(undisturbed: tuple[Any, float]) -> None:
    pytest.importorskip("cryptography")
    security = Security.temporary()
    with (
        LocalCluster(
            n_workers=2, processes=False, protocol="tls://", security=security, dashboard_address=":0"
        ) as workers,
        Client(workers),
    ):
        assert workers.scheduler_address.startswith("tls://")
        np.testing.assert_array_equal(parameters(regressor().fit(*data())), undisturbed[0])


def test_a_cluster_without_workers() -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as workers,
        Client(workers) as empty,
    ):
        adding = later(1, lambda: workers.scale(1))
        regressor(max_iter=2, client=empty).fit(*data(100))
        adding.join()


def kill(client: Client) -> None:
    """All workers, and see to it that others come, which they do not always do by themselves."""
    for victim in processes(client):
        os.kill(victim, signal.SIGKILL)
    processes(client)


def test_all_workers_killed(client: Client, undisturbed: tuple[Any, float]) -> None:
    """The cluster starts others, and these begin anew."""
    processes(client)
    killer = later(undisturbed[1] * 0.7, lambda: kill(client))
    model = regressor().fit(*data())
    killer.join()
    np.testing.assert_array_equal(parameters(model), undisturbed[0])


def test_all_workers_killed_while_rows_are_looked_at(
    client: Client, undisturbed: tuple[Any, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new ones look at them again, though they were meant for the others."""
    processes(client)
    killers: list[threading.Thread] = []
    glance = silence.glance

    def late(client: Client, *given: Any) -> None:
        if not killers:
            before = set(client.nthreads())
            killers.append(later(0, lambda: kill(client)))
            while before & set(client.nthreads()):
                sleep(0.01)
        glance(client, *given)

    monkeypatch.setattr(silence, "glance", late)
    model = regressor().fit(*data())
    assert killers
    killers[0].join()
    np.testing.assert_array_equal(parameters(model), undisturbed[0])


def test_rows_that_nobody_can_compute_again(client: Client) -> None:
    """Those of `client.scatter`: where the worker that holds them dies, the fit ends, and says why."""
    processes(client)
    rows = np.random.RandomState(0).standard_normal((1000, 5))
    X = da.concatenate(
        [da.from_delayed(client.scatter(rows[a : a + 100]), (100, 5), float) for a in range(0, 1000, 100)]
    )
    holders = {name for names in client.who_has().values() for name in names}
    victim = client.run(os.getpid, workers=[min(holders)]).popitem()[1]

    def kill() -> None:
        while not any(client.run(posts).values()):  # until the training begins
            sleep(0.1)
        os.kill(victim, signal.SIGKILL)

    later(0.1, kill)
    with pytest.raises(RuntimeError, match=r"Dask cannot compute again|lost its task, or rows"):
        regressor(max_iter=10**6).fit(X, da.from_array(rows[:, 0], 90))


WHOLE = """
import sys
import tests.test_dask_faults as faults
from distributed import Client, LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as workers, Client(workers):
        faults.regressor(max_iter=10**6).fit(*faults.data(), checkpoint=sys.argv[1])
"""


def n_epochs(path: Path) -> int:
    found: int = read(path).parameters["values"]["dict"][0][1]
    return found


def test_a_cluster_that_dies_with_its_client(client: Client, tmp_path: Path) -> None:
    """Its fit goes on from the file, here, to the bits of one that nothing happened to."""
    path = tmp_path / "checkpoint"
    command = [sys.executable, "-c", WHOLE, str(path)]
    victim = subprocess.Popen(command, cwd=Path(__file__).parents[1], start_new_session=True)
    end = perf_counter() + 120
    while not (path.exists() and n_epochs(path) >= 20):
        assert perf_counter() < end
        assert victim.poll() is None
        sleep(0.05)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    n_iter = n_epochs(path) + 10
    processes(client)
    found = read(path)
    found.parameters["hyper-parameters"]["max_iter"] = n_iter
    write(path, found)
    model = regressor(max_iter=n_iter).fit(*data(), checkpoint=path)
    np.testing.assert_array_equal(parameters(model), parameters(regressor(max_iter=n_iter).fit(*data())))


def test_the_cluster_forgets_the_rows(client: Client) -> None:
    """At once, whatever the frames of Dask's own exceptions keep alive: a fit that waits meets some."""

    def left(dask_scheduler: Any) -> int:
        return sum(each.state == "memory" for each in dask_scheduler.tasks.values())

    gc.collect()
    before = client.run_on_scheduler(left)
    gc.disable()
    try:
        start = perf_counter()
        while perf_counter() - start < 2 * GLANCE_SECONDS:
            regressor(max_iter=400).fit(*data())
        end = perf_counter() + 60
        while client.run_on_scheduler(left) > before and perf_counter() < end:
            sleep(0.1)
        assert client.run_on_scheduler(left) <= before
    finally:
        gc.enable()


def test_an_adaptive_cluster(undisturbed: tuple[Any, float]) -> None:
    """It starts workers when a fit asks for some, and takes none away while they train."""
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, processes=True, dashboard_address=":0") as workers,
        Client(workers) as client,
    ):
        workers.adapt(minimum=0, maximum=2, interval="100ms", wait_count=2)
        assert not client.nthreads()
        np.testing.assert_array_equal(parameters(regressor().fit(*data())), undisturbed[0])
        end = perf_counter() + 180  # where the machine is busy with other things
        while client.nthreads() and perf_counter() < end:  # it takes all away where there is nothing to do
            sleep(0.1)
        assert not client.nthreads()
        np.testing.assert_array_equal(parameters(regressor().fit(*data())), undisturbed[0])
