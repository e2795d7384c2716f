"""A fit as the client sees it: attempts, each on the workers that are there, until one of them has ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter, sleep
from typing import Any

from distributed import CancelledError, Client, Future

from fastmlp.dask import worker
from fastmlp.dask.checkpoint import Checkpoint
from fastmlp.dask.placement import Column, near
from fastmlp.dask.silence import GLANCE_SECONDS, START_SECONDS, glance, remove_silent, without_workers
from fastmlp.dask.steps import BEGINNING
from fastmlp.dask.worker import Attempt, Job

GRACE_SECONDS = 5.0
"""So much longer than the others a worker may take to say how an attempt has ended."""
MOST_FRUITLESS = 5
"""After so many attempts in a row that come no further though no worker has gone, it is the network's fault."""
LOST = "Rows are lost that Dask cannot compute again: build X and y from files rather than with client.scatter."


@dataclass
class Outcome:
    """How an attempt has ended.

    Attributes
    ----------
    said : dict of str to dict
        What each worker has returned.
    gone : dict of str to str
        Those that have not, and why.
    error : Exception or None
        That a worker has raised.
    """

    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    error: BaseException | None = None

    def best(self) -> str | None:
        """The worker that has come furthest, if any."""
        return max(self.said, key=lambda name: self.said[name]["place"], default=None)

    def finished(self) -> list[str]:
        """The workers that have come to the end, those first that have come furthest."""
        ended = [name for name, said in self.said.items() if said["status"] in ("done", "interrupted")]
        return sorted(ended, key=lambda name: self.said[name]["place"], reverse=True)

    def story(self) -> str:
        """What has gone wrong, in words."""
        told = {said["message"] for said in self.said.values() if said["message"]}
        return "; ".join(sorted(told | {f"a worker {why}" for why in self.gone.values()}))


class Coordinator:
    """Trains on a cluster, whatever becomes of its workers.

    Parameters
    ----------
    client : Client
    job : Job
    columns : (X, y, weights or None) as Column
    held_out : the same for the rows to validate on, or None
    checkpoint : Checkpoint or None
    """

    def __init__(
        self,
        client: Client,
        job: Job,
        columns: Sequence[Column | None],
        held_out: Sequence[Column | None] | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._client, self._job, self._columns, self._held_out = client, job, columns, held_out
        self._checkpoint, self._first = checkpoint, ""
        self._errors: dict[str, BaseException] = {}
        self._limit: float = job.settings.wait_limit

    def run(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Train; return the state and what is said of how it has ended.

        Raises
        ------
        RuntimeError
            If there are no workers, or if they do not reach each other or the rows.
        """
        workers, fruitless, furthest = self._all_workers(), 0, BEGINNING
        used = set[str]()
        try:
            while True:
                used.update(workers)
                try:
                    outcome = self._attempt(workers)
                except CancelledError as error:
                    raise RuntimeError(LOST) from error
                for name in outcome.finished():
                    if state := self._on([name], worker.state_of).get(name):  # unless it has gone since then
                        return state, outcome.said[name]
                best = outcome.best()
                place = outcome.said[best]["place"] if best else BEGINNING
                fruitless = 0 if place > furthest or self._some_left(outcome) else fruitless + 1
                furthest = max(furthest, place)
                if fruitless == MOST_FRUITLESS:
                    raise RuntimeError(f"The workers of this fit come no further: {outcome.story()}")
                workers = [name for name in workers if name in outcome.said] or self._all_workers()
        finally:
            self._on(list(used), worker.forget)

    def _some_left(self, outcome: Outcome) -> bool:
        """Whether a worker that has gone has gone from the cluster, too."""
        return bool(outcome.gone) and not set(outcome.gone) <= set(self._client.nthreads())

    def _all_workers(self) -> list[str]:
        """The cluster's workers; waits for one where there are none."""
        seconds = max(self._limit, START_SECONDS)
        end = perf_counter() + seconds
        while not (workers := list(self._client.nthreads())):
            if perf_counter() > end:
                raise without_workers(seconds)
            with suppress(TimeoutError):
                self._client.wait_for_workers(1, timeout=GLANCE_SECONDS)
        return workers

    def _on(self, workers: Sequence[str], function: Callable[..., Any]) -> dict[str, Any]:
        """What a function of the fit's name returns on those of these workers that are there and answer without error.

        The others' errors are kept, for `_failed`.
        """
        for _ in range(3):
            there = self._client.nthreads()
            if not (here := [name for name in workers if name in there]):
                break
            with suppress(TimeoutError):
                run, name = self._client._run, self._job.name  # the public one has no limit
                found: dict[str, Any] = self._client.sync(
                    run, function, name, workers=here, on_error="return", callback_timeout=self._limit
                )
                self._errors = {name: each for name, each in found.items() if isinstance(each, BaseException)}
                return {name: each for name, each in found.items() if name not in self._errors}
            self._client.run_on_scheduler(remove_silent, seconds=self._limit / 2)
        return {}

    def _failed(self, workers: Sequence[str]) -> Outcome:
        """The end of an attempt that could not begin, as `_on` has just found on these workers."""
        sleep(GLANCE_SECONDS)  # in which the scheduler takes note of workers that have died
        why = {name: f"cannot begin: {error!r}" for name, error in self._errors.items()}
        return Outcome(gone={name: why.get(name, "is no longer there") for name in workers})

    def _attempt(self, workers: Sequence[str]) -> Outcome:
        X = self._columns[0]
        assert X is not None
        by_mpi = self._job.settings.transport == "mpi"
        doors = self._on(near(self._client, X, workers), worker.mpi_door if by_mpi else worker.open_door)
        if not doors:
            return self._failed(workers)
        if len(set(doors.values())) < len(doors):
            raise RuntimeError(
                "transport='mpi' needs mpi4py on every worker, and a process of MPI for each: start them with mpiexec."
            )
        names = list(doors)
        root, token = self._furthest(names), os.urandom(32)
        self._first = names[0]
        if root is None and self._checkpoint and self._checkpoint.snapshot:
            begin = partial(worker.begin_from, snapshot=self._checkpoint.snapshot)
            if not self._on([self._first], begin):  # who began without it would write over it
                return self._failed([self._first])
        shares = self._job.plan.shares(len(names))
        futures, cut = dict[str, Future](), list[Future]()
        for rank, name in enumerate(names):
            attempt = Attempt(rank, root, names, list(doors.values()), token)
            pieces = {block: self._pieces(block) for block in range(*shares[rank])}
            cut += [piece for columns in pieces.values() for each in columns for piece in each or ()]
            held_out = [column and column.groups for column in self._held_out] if self._held_out else None
            futures[name] = self._client.submit(
                worker.train, self._job, attempt, pieces, held_out, workers=[name], allow_other_workers=False,
                key=f"fastmlp-{self._job.name}-{token.hex()[:8]}-{rank}",
            )  # fmt: skip
        try:
            outcome = self._wait(futures, self._limit + GRACE_SECONDS)
        except KeyboardInterrupt:
            outcome = self._interrupted(futures)
        finally:
            self._client.cancel(list(futures.values()), force=True)
            for piece in cut:
                piece.release()
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def _furthest(self, names: Sequence[str]) -> int | None:
        """Which of these workers has come furthest in an attempt before; None where none has made a step."""
        places = self._on(names, worker.place_of)
        best = max(places, key=lambda name: places[name], default=None)
        return None if best is None or not places[best] > BEGINNING else names.index(best)

    def _pieces(self, block: int) -> tuple[Any, Any, Any]:
        X, y, weights = (column and column.pieces(self._client, self._job.plan, block) for column in self._columns)
        return X, y, weights

    def _wait(self, futures: dict[str, Future], grace: float, ended: float | None = None) -> Outcome:
        """Wait until every worker has said how it ended, has gone, or takes so much longer than another."""
        outcome, pending = Outcome(), dict(futures)
        while pending:
            glance(self._client, list(pending.values()), self._limit)
            self._collect(pending, outcome)
            self._save()
            if outcome.error or outcome.said:
                ended = ended or perf_counter()
            if pending and (outcome.error or outcome.gone):  # or they would wait for those who do not come
                self._on(list(pending), worker.stop)
            if pending and ended and perf_counter() - ended > (GRACE_SECONDS if outcome.error else grace):
                outcome.gone |= dict.fromkeys(pending, "does not answer")
                break
        return outcome

    def _save(self) -> None:
        """Write what the first worker has copied for the checkpoint, if anything."""
        if self._checkpoint and (found := self._on([self._first], worker.snapshot_of).get(self._first)):
            self._checkpoint.write(found)

    def _collect(self, pending: dict[str, Future], outcome: Outcome) -> None:
        """Take note of the workers that have ended."""
        here = self._client.nthreads()
        for name, future in list(pending.items()):
            if future.status == "finished":
                try:
                    outcome.said[name] = future.result(timeout=GRACE_SECONDS)
                except (TimeoutError, CancelledError):  # it has gone with what it said, which nobody can say again
                    self._client.run_on_scheduler(remove_silent, seconds=self._limit / 2)
                    continue
            elif future.status == "error":
                outcome.error = future.exception()
            elif name not in here:
                outcome.gone[name] = "is no longer there"
            elif future.status in ("cancelled", "lost"):
                outcome.gone[name] = "lost its task, or rows"
            else:
                continue
            del pending[name]

    def _interrupted(self, futures: dict[str, Future]) -> Outcome:
        """End all workers at once, and keep what they have."""
        self._on(list(futures), worker.stop)
        outcome = self._wait(futures, GRACE_SECONDS, perf_counter())
        for said in outcome.said.values():
            said["status"] = "interrupted" if said["place"] > BEGINNING else "nothing"
        if not any(said["status"] == "interrupted" for said in outcome.said.values()):
            raise KeyboardInterrupt
        return outcome
