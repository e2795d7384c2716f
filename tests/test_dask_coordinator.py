"""The client of a fit, with workers that are only names: which attempts it makes, and how long it waits."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("distributed")

from distributed import CancelledError

from fastmlp.dask import coordinator, worker
from fastmlp.dask.coordinator import GLANCE_SECONDS, GRACE_SECONDS, LOST, Coordinator, Outcome
from fastmlp.dask.silence import remove_silent
from fastmlp.dask.steps import BEGINNING


class Workers:
    """A client whose workers are names; functions that it runs on them are noted."""

    def __init__(self, *names: str) -> None:
        self.names, self.ran, self.on_scheduler = list(names), list[Any](), list[Any]()
        self.answers: Any = lambda function, workers: dict.fromkeys(workers)
        self.asked = 0

    def nthreads(self) -> dict[str, int]:
        self.asked += 1
        assert self.asked < 1000, "it waits for ever"
        return dict.fromkeys(self.names, 1)

    def _run(self) -> None:
        """What `sync` is given."""

    def sync(self, run: Any, function: Any, name: str, workers: list[str], **options: Any) -> dict[str, Any]:
        assert (run, name, options) == (self._run, "a fit", {"on_error": "return", "callback_timeout": 4.0})
        self.ran.append((function, workers))
        found: dict[str, Any] = self.answers(function, workers)
        return found

    def run_on_scheduler(self, function: Any, **options: Any) -> None:
        self.on_scheduler.append((function, options))


def fit_on(client: Workers, checkpoint: Any = None) -> Any:
    job: Any = SimpleNamespace(name="a fit", settings=SimpleNamespace(wait_limit=4.0, transport="sockets"))
    any_client: Any = client
    return Coordinator(any_client, job, [None, None, None], None, checkpoint)


def said(status: str, place: Any = BEGINNING, message: str = "") -> dict[str, Any]:
    return {"status": status, "place": place, "message": message}


def test_what_an_attempt_has_come_to() -> None:
    assert Outcome().best() is None
    outcome = Outcome(
        {"a": said("done", (3, 1)), "b": said("lost", (4, 0), "no connection"), "c": said("interrupted", (3, 2))},
        {"d": "is no longer there"},
    )
    assert outcome.best() == "b"
    assert outcome.finished() == ["c", "a"]
    assert outcome.story() == "a worker is no longer there; no connection"


class Attempts:
    """What becomes of each attempt, and which workers it was asked of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *outcomes: Any) -> None:
        self.asked, self._outcomes = list[Any](), iter(outcomes)
        monkeypatch.setattr(Coordinator, "_attempt", lambda fit, workers: self._next(workers))

    def _next(self, workers: list[str]) -> Outcome:
        self.asked.append(workers)
        outcome: Outcome | BaseException = next(self._outcomes)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def lost(place: Any = BEGINNING) -> Outcome:
    return Outcome({"a": said("lost", place, "a wall between"), "b": said("lost", BEGINNING, "a wall between")})


def done(function: Any, workers: list[str]) -> dict[str, Any]:
    return {name: {"some": "state"} for name in workers} if function is worker.state_of else {}


def test_five_attempts_without_progress_are_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those before one that came further do not count."""
    for outcomes, expected in (([lost()] * 9, 5), ([lost()] * 4 + [lost((0, 1))] * 9, 4 + 1 + 5)):
        attempts = Attempts(monkeypatch, *outcomes)
        with pytest.raises(RuntimeError) as caught:
            fit_on(Workers("a", "b")).run()
        assert str(caught.value) == "The workers of this fit come no further: a wall between"
        assert attempts.asked == [["a", "b"]] * expected


def test_attempts_end_with_the_first_that_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """After four without progress, which are one too few to give up."""
    last = Outcome({"a": said("done", (9, 5)), "b": said("done", (9, 5))})
    attempts, client = Attempts(monkeypatch, *[lost((0, 1))] * 5, last), Workers("a", "b")
    client.answers = done
    assert fit_on(client).run() == ({"some": "state"}, last.said["a"])
    assert attempts.asked == [["a", "b"]] * 6
    assert client.ran[-1] == (worker.forget, ["a", "b"]) or client.ran[-1] == (worker.forget, ["b", "a"])


def test_each_attempt_is_of_those_who_answered_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """And of all that are there where nobody did; who has the state goes on, and all forget the fit."""
    client = Workers("a", "b", "c")
    gone = {"c": "is no longer there"}
    only_b = Outcome({"a": said("done", (2, 0)), "b": said("done", (2, 0))})
    attempts = Attempts(
        monkeypatch, Outcome({"a": said("lost", (0, 1)), "b": said("lost", (0, 2))}, gone), Outcome({}, gone), only_b
    )

    def answers(function: Any, workers: list[str]) -> dict[str, Any]:
        client.names = ["a", "b", "d"]
        return {"b": {"some": "state"}} if function is worker.state_of and workers == ["b"] else {}

    client.answers = answers
    monkeypatch.setattr(Coordinator, "_some_left", lambda fit, outcome: client.names.append("d") or True)
    assert fit_on(client).run() == ({"some": "state"}, only_b.said["b"])  # a has gone since it ended
    assert attempts.asked[:2] == [["a", "b", "c"], ["a", "b"]]
    assert attempts.asked[2][:4] == ["a", "b", "c", "d"]
    assert sorted(client.ran[-1][1]) == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("places", "root"),
    [
        ({"b": BEGINNING, "c": BEGINNING}, None),
        ({"b": (0, 1), "c": BEGINNING}, 0),
        ({"b": (0, 9), "c": (1, 0)}, 1),
        ({"c": (0, 0)}, 1),
        ({}, None),
    ],
)
def test_an_attempt_goes_on_from_the_worker_that_has_come_furthest(
    monkeypatch: pytest.MonkeyPatch, places: dict[str, Any], root: int | None
) -> None:
    """Of those that are there; from the beginning where none has made a step, as a worker that was started anew."""
    attempts = list[Any]()

    class Others(Workers):
        def submit(self, function: Any, job: Any, attempt: Any, pieces: Any, held_out: Any, **options: Any) -> Any:
            attempts.append(attempt)

        def cancel(self, futures: Any, force: bool) -> None:
            pass

    client = Others("b", "c")
    client.answers = lambda function, workers: places if function is worker.place_of else {w: (w, 1) for w in workers}
    monkeypatch.setattr(coordinator, "near", lambda client, X, workers: workers)
    monkeypatch.setattr(Coordinator, "_wait", lambda *given: Outcome())
    fit = fit_on(client)
    fit._columns, fit._job.plan = (object(), None, None), SimpleNamespace(shares=lambda n: [(0, 0)] * n)
    fit._attempt(["a", "b", "c"])
    assert [attempt.names for attempt in attempts] == [["b", "c"]] * 2
    assert [attempt.root for attempt in attempts] == [root] * 2


@pytest.mark.parametrize(
    ("gone", "expected"), [((), False), (("a",), False), (("a", "b"), False), (("c",), True), (("a", "c"), True)]
)
def test_who_left_the_cluster(gone: Any, expected: bool) -> None:
    """It is nobody's fault then that an attempt has come no further."""
    assert fit_on(Workers("a", "b"))._some_left(Outcome(gone=dict.fromkeys(gone, ""))) is expected


def test_rows_that_are_lost_are_named_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    Attempts(monkeypatch, CancelledError("rows"))
    with pytest.raises(RuntimeError) as caught:
        fit_on(Workers("a")).run()
    assert str(caught.value) == LOST


def test_a_cluster_that_starts_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    client, now, waited = Workers(), [0.0], list[Any]()

    def wait_for_workers(n_workers: int, timeout: float) -> None:
        waited.append((n_workers, timeout))
        now[0] += timeout
        if now[0] == late:
            client.names = ["a"]
        else:
            raise TimeoutError

    monkeypatch.setattr(client, "wait_for_workers", wait_for_workers, raising=False)
    monkeypatch.setattr(coordinator, "perf_counter", lambda: now[0])
    late = 179.5
    assert fit_on(client)._all_workers() == ["a"]
    assert set(waited) == {(1, GLANCE_SECONDS)}
    client.names, late, now[0] = [], -1, 0.0
    with pytest.raises(RuntimeError) as caught:
        fit_on(client)._all_workers()
    assert str(caught.value) == "The cluster has had no workers for 180 seconds."
    assert now[0] == 180.5


def test_who_does_not_answer_is_asked_three_times() -> None:
    """Each time after the scheduler has been told to look who is silent; who is not there is not asked."""
    client = Workers("a", "b")

    def answers(function: Any, workers: list[str]) -> dict[str, Any]:
        raise TimeoutError

    client.answers = answers
    assert fit_on(client)._on(["a", "b", "c"], worker.stop) == {}
    assert client.ran == [(worker.stop, ["a", "b"])] * 3
    assert client.on_scheduler == [(remove_silent, {"seconds": 2.0})] * 3
    client.ran.clear()
    assert fit_on(client)._on(["c"], worker.stop) == {}
    assert not client.ran


def test_errors_of_workers_are_told_of_those_who_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(coordinator, "sleep", slept.append)
    client = Workers("a", "b")
    client.answers = lambda function, workers: {"a": 7, "b": OSError("no door")}
    fit = fit_on(client)
    assert fit._on(["a", "b"], worker.open_door) == {"a": 7}
    outcome = fit._failed(["b", "c"])
    assert outcome.gone == {"b": "cannot begin: OSError('no door')", "c": "is no longer there"}
    assert slept == [GLANCE_SECONDS]  # in which the scheduler notes who has died


class Waiting:
    """A wait whose looks take half a second each, on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **futures: str) -> None:
        self.client, self.looks, self.happens = Workers("a", "b"), 0, dict[int, Any]()
        self.futures = {name: SimpleNamespace(status=status) for name, status in futures.items()}
        for name, future in self.futures.items():
            future.result = lambda timeout, name=name: said("done", (1, 0), name)
            future.exception = lambda name=name: ValueError(name)
        monkeypatch.setattr(coordinator, "glance", self._glance)
        monkeypatch.setattr(coordinator, "perf_counter", lambda: self.looks * GLANCE_SECONDS)

    def _glance(self, client: Any, futures: Any, seconds: float) -> None:
        self.looks += 1
        assert seconds == 4.0
        self.happens.get(self.looks, lambda: None)()

    def outcome(self, grace: float, checkpoint: Any = None) -> Outcome:
        fit = fit_on(self.client, checkpoint)
        fit._first = "a"
        found: Outcome = fit._wait(self.futures, grace)
        return found

    def stopped(self) -> list[Any]:
        return [workers for function, workers in self.client.ran if function is worker.stop]


def test_a_wait_for_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = Waiting(monkeypatch, a="finished", b="pending")
    wait.happens[4] = lambda: setattr(wait.futures["b"], "status", "finished")
    assert wait.outcome(grace=60) == Outcome({"a": said("done", (1, 0), "a"), "b": said("done", (1, 0), "b")})
    assert wait.looks == 4
    assert not wait.client.ran  # nobody is told to stop, and nothing is saved


@pytest.mark.parametrize("error", [TimeoutError("not found"), CancelledError("rows")])
def test_what_a_worker_said_may_go_with_it(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The others are told to stop, as they are for any worker that has gone."""
    wait = Waiting(monkeypatch, a="finished", b="pending")
    limits = list[float]()

    def result(timeout: float) -> None:
        limits.append(timeout)
        wait.futures["a"].status = "pending"  # to be computed again, by nobody
        wait.client.names.remove("a")
        raise error

    wait.futures["a"].result = result
    wait.happens[5] = lambda: setattr(wait.futures["b"], "status", "finished")
    assert wait.outcome(grace=60) == Outcome({"b": said("done", (1, 0), "b")}, {"a": "is no longer there"})
    assert limits == [GRACE_SECONDS]
    assert wait.client.on_scheduler == [(remove_silent, {"seconds": 2.0})]  # or it may not be dead, but stopped
    assert wait.stopped() == [["b"]] * 3  # at each look from the second on


def test_a_worker_that_never_says_how_it_ended_is_waited_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = Waiting(monkeypatch, a="finished", b="pending")
    assert wait.outcome(grace=2.0) == Outcome({"a": said("done", (1, 0), "a")}, {"b": "does not answer"})
    assert wait.looks == 1 + 4 + 1
    assert not wait.stopped()


def test_an_error_of_one_worker_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = Waiting(monkeypatch, a="error", b="pending")
    outcome = wait.outcome(grace=100)
    assert str(outcome.error) == "a"
    assert (outcome.said, outcome.gone) == ({}, {"b": "does not answer"})
    assert wait.looks == 1 + 10 + 1  # of the grace that follows an error
    assert wait.stopped() == [["b"]] * wait.looks


@pytest.mark.parametrize(
    ("status", "there", "why"),
    [("pending", False, "is no longer there"), ("cancelled", True, "lost its task, or rows"),
     ("lost", True, "lost its task, or rows")],
)  # fmt: skip
def test_a_worker_that_has_gone_stops_the_others(
    monkeypatch: pytest.MonkeyPatch, status: str, there: bool, why: str
) -> None:
    wait = Waiting(monkeypatch, a=status, b="pending")
    wait.client.names = ["a", "b"] if there else ["b"]
    wait.happens[3] = lambda: setattr(wait.futures["b"], "status", "finished")
    assert wait.outcome(grace=2.0) == Outcome({"b": said("done", (1, 0), "b")}, {"a": why})
    assert wait.looks == 3
    assert wait.stopped() == [["b"]] * 2


def test_each_look_of_a_wait_saves_what_the_first_worker_has_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    wait, written = Waiting(monkeypatch, a="pending", b="finished"), list[Any]()
    wait.happens[3] = lambda: setattr(wait.futures["a"], "status", "finished")
    copies = iter(["the first copy", None, "the last"])
    wait.client.answers = lambda function, workers: {name: next(copies) for name in workers}
    wait.outcome(60, SimpleNamespace(write=written.append))
    assert wait.client.ran == [(worker.snapshot_of, ["a"])] * 3
    assert written == ["the first copy", "the last"]


def test_an_interruption_keeps_what_has_made_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Workers("a", "b")
    outcome = Outcome({"a": said("stopped", (0, 1)), "b": said("stopped")})
    monkeypatch.setattr(Coordinator, "_wait", lambda *arguments: outcome)
    assert fit_on(client)._interrupted({"a": None, "b": None}) is outcome
    assert client.ran == [(worker.stop, ["a", "b"])]
    assert [each["status"] for each in outcome.said.values()] == ["interrupted", "nothing"]
    for nothing in (Outcome({"b": said("stopped")}), Outcome()):
        monkeypatch.setattr(Coordinator, "_wait", lambda *arguments, nothing=nothing: nothing)
        with pytest.raises(KeyboardInterrupt):
            fit_on(client)._interrupted({"a": None, "b": None})
