"""Waiting on a cluster: who is silent for too long is given up, and what has been waited for is let go of."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("distributed")

from distributed import CancelledError

from fastmlp.dask import silence


@pytest.mark.parametrize(("seconds", "expected"), [(10.0, ["d"]), (1.0, ["c", "d"])])
def test_who_is_silent_for_longer_than_the_limit_is_removed(
    monkeypatch: pytest.MonkeyPatch, seconds: float, expected: list[str]
) -> None:
    """A large cluster hears of a worker every three seconds: less is no silence."""
    monkeypatch.setattr(silence, "time", lambda: 1000.0)
    removed: list[str] = []

    async def remove_worker(name: str, stimulus_id: str) -> None:
        assert stimulus_id.startswith("fastmlp-silent-")
        removed.append(name)

    ages = {"a": 0.0, "b": 3.0, "c": 3.5, "d": 10.5}
    workers = {name: SimpleNamespace(last_seen=1000.0 - age) for name, age in ages.items()}
    scheduler: Any = SimpleNamespace(workers=workers, remove_worker=remove_worker, unrunnable=())
    asyncio.run(silence.remove_silent(scheduler, seconds))
    assert removed == expected


@pytest.mark.parametrize(
    ("running", "expected"), [((), []), (("a worker",), [{"one": "processing", "other": "processing"}])]
)
def test_tasks_that_may_run_elsewhere_do(running: Any, expected: list[Any]) -> None:
    """As soon as there are workers."""
    moved: list[Any] = []
    tasks = [SimpleNamespace(key=key, loose_restrictions=key != "here only") for key in ("one", "here only", "other")]
    scheduler: Any = SimpleNamespace(
        workers={}, unrunnable=tasks, running=running, transitions=lambda wanted, stimulus_id: moved.append(wanted)
    )
    asyncio.run(silence.remove_silent(scheduler, 10.0))
    assert moved == expected


@pytest.mark.parametrize("error", [None, TimeoutError("not yet"), CancelledError("rows")])
def test_a_glance_that_sees_nothing_looks_for_the_silent(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    waited, asked = list[Any](), list[Any]()

    def wait(futures: Any, timeout: float, return_when: str) -> None:
        waited.append((futures, timeout, return_when))
        if error is not None:
            raise error

    monkeypatch.setattr(silence, "wait", wait)
    client: Any = SimpleNamespace(run_on_scheduler=lambda function, seconds: asked.append((function, seconds)))
    silence.glance(client, (), 7.0)
    assert waited == [([], silence.GLANCE_SECONDS, "FIRST_COMPLETED")]
    assert asked == ([] if error is None else [(silence.remove_silent, 7.0)])


@pytest.mark.parametrize("status", ["finished", "error"])
def test_results_are_gathered_when_all_are_there_and_their_futures_released(
    monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    futures: Any = [SimpleNamespace(status="pending", name=name) for name in "abc"]
    futures[1].status, released, glances = "finished", list[str](), list[Any]()
    for future in futures:
        future.release = lambda name=future.name: released.append(name)

    def glance(client: Any, pending: Any, seconds: float) -> None:
        glances.append(([each.name for each in pending], seconds))
        pending[0].status = status

    def sync(function: Any, them: Any, callback_timeout: float) -> str:
        assert (function, callback_timeout) == ("gather", 7.0)
        assert len(glances) == 2, "before all are there, it would wait for those who are silent, too"
        if status == "error":
            raise OSError("of a worker")
        return "".join(each.name for each in them)

    monkeypatch.setattr(silence, "glance", glance)
    client: Any = SimpleNamespace(sync=sync, _gather="gather", nthreads=lambda: {"a": 1})
    if status == "error":
        with pytest.raises(OSError, match="of a worker"):
            silence.gather(client, futures, 7.0)
    else:
        assert silence.gather(client, futures, 7.0) == "abc"
    assert glances == [(["a", "c"], 7.0), (["c"], 7.0)]
    assert released == ["a", "b", "c"]


def test_results_that_a_worker_falls_silent_with_are_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were there, and are computed anew when the scheduler has given that worker up."""
    future: Any = SimpleNamespace(status="finished", release=lambda: None)
    limits, asked, glances = list[float](), list[Any](), list[Any]()

    def sync(function: Any, them: Any, callback_timeout: float) -> str:
        limits.append(callback_timeout)
        if len(limits) == 1:
            raise TimeoutError("from whom is no answer")
        return "computed anew"

    def run_on_scheduler(function: Any, seconds: float) -> None:
        asked.append((function, seconds))
        future.status = "lost"

    def glance(client: Any, missing: Any, seconds: float) -> None:
        assert missing == [future]
        glances.append(seconds)
        future.status = "finished"

    monkeypatch.setattr(silence, "glance", glance)
    client: Any = SimpleNamespace(sync=sync, _gather=None, run_on_scheduler=run_on_scheduler, nthreads=lambda: {"a": 1})
    assert silence.gather(client, [future], 1.0) == "computed anew"
    assert limits == [silence.LEAST_SILENCE, 2 * silence.LEAST_SILENCE]
    assert asked == [(silence.remove_silent, 0.5)]
    assert glances == [1.0]


def test_a_task_whose_time_is_up_is_not_waited_for_again() -> None:
    """As one that reads from a server that does not answer."""
    future: Any = SimpleNamespace(status="error", release=lambda: None)

    def sync(*given: Any, callback_timeout: float) -> None:
        raise TimeoutError("of the server")

    client: Any = SimpleNamespace(sync=sync, _gather=None, nthreads=lambda: {"a": 1})
    with pytest.raises(TimeoutError, match="of the server"):
        silence.gather(client, [future], 1.0)


@pytest.mark.parametrize("status", ["pending", "lost"])
@pytest.mark.parametrize(
    ("at_first", "had_workers", "again", "since"),
    [(True, False, None, 0.0), (False, True, None, 0.0), (False, False, (2000.0, 4000.0), 3900.0)],
)
@pytest.mark.parametrize(("limit", "most"), [(1.0, silence.START_SECONDS), (1000.0, 1000.0)])
def test_a_cluster_that_has_lost_all_workers_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, limit: float, most: float, at_first: bool, had_workers: bool, again: Any,
    since: float, status: str,
) -> None:  # fmt: skip
    """But one that has not started any yet is, as it may stand in a queue."""
    clock, workers = [0.0], {"a": 1} if at_first else {}
    future: Any = SimpleNamespace(status=status, release=lambda: None)

    def glance(client: Any, missing: Any, seconds: float) -> None:
        clock[0] += 100.0
        workers.clear()
        if again and again[0] <= clock[0] < again[1]:
            workers["a"] = 1

    monkeypatch.setattr(silence, "glance", glance)
    monkeypatch.setattr(silence, "perf_counter", lambda: clock[0])
    client: Any = SimpleNamespace(nthreads=lambda: workers)
    with pytest.raises(RuntimeError, match=f"no workers for {most:g} seconds"):
        silence.gather(client, [future], limit, had_workers)
    assert since + most < clock[0] <= since + most + 100.0
