"""A fit as the client sees it: attempts, each on the workers that are there, until one of them has ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from distributed import CancelledError, Client, Future, wait

from fastmlp.dask import worker
from fastmlp.dask.placement import Column, near
from fastmlp.dask.worker import Attempt, Job

GLANCE_SECONDS = 0.5
"""So often the client looks whether the workers are still there."""
GRACE_SECONDS = 5.0
"""So much longer than the others a worker may take to say how an attempt has ended."""
MOST_FRUITLESS = 5
"""After so many attempts in a row that fail though no worker has gone, it is the network's fault."""


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


class Coordinator:
    """Trains on a cluster, whatever becomes of its workers.

    Parameters
    ----------
    client : Client
    job : Job
    columns : (X, y, weights or None) as Column
    held_out : the same for the rows to validate on, or None
    """

    def __init__(
        self, client: Client, job: Job, columns: Sequence[Column | None], held_out: Sequence[Column | None] | None
    ) -> None:
        self._client, self._job, self._columns, self._held_out = client, job, columns, held_out
        self._limit: float = job.settings.wait_limit

    def run(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Train; return the state and what is said of how it has ended.

        Raises
        ------
        RuntimeError
            If there are no workers, or if they do not reach each other.
        """
        workers, holder, fruitless = self._all_workers(), None, 0
        try:
            while True:
                outcome = self._attempt(workers, holder)
                best = outcome.best()
                if best and outcome.said[best]["status"] in ("done", "interrupted"):
                    return self._on([best], worker.state_of)[best], outcome.said[best]
                fruitless = 0 if outcome.gone else fruitless + 1
                if fruitless == MOST_FRUITLESS:
                    messages = {said["message"] for said in outcome.said.values()}
                    raise RuntimeError(f"The workers of this fit do not reach each other: {'; '.join(messages)}")
                workers = [name for name in workers if name in outcome.said] or self._all_workers()
                holder = best if best and outcome.said[best]["place"] > (-1, 0) else None
        finally:
            self._on(workers, worker.forget)

    def _all_workers(self) -> list[str]:
        """The cluster's workers; waits for one where there are none."""
        end = perf_counter() + self._limit
        while not (workers := list(self._client.nthreads())):
            if perf_counter() > end:
                raise RuntimeError(f"The cluster has had no workers for {self._limit:g} seconds.")
            with suppress(TimeoutError):
                self._client.wait_for_workers(1, timeout=GLANCE_SECONDS)
        return workers

    def _on(self, workers: Sequence[str], function: Callable[..., Any]) -> dict[str, Any]:
        """What a function of the fit's name returns on those of these workers that are there."""
        here = [name for name in workers if name in self._client.nthreads()]
        found: dict[str, Any] = {}
        if here:
            found = self._client.run(function, self._job.name, workers=here, on_error="ignore")
        return found

    def _attempt(self, workers: Sequence[str], holder: str | None) -> Outcome:
        X = self._columns[0]
        assert X is not None
        doors = self._on(near(self._client, X, workers), worker.open_door)
        if not doors:
            return Outcome(gone=dict.fromkeys(workers, "is no longer there"))
        names = list(doors)
        root, token = names.index(holder) if holder in names else None, os.urandom(32)
        shares = self._job.plan.shares(len(names))
        futures = {}
        for rank, name in enumerate(names):
            attempt = Attempt(rank, root, names, list(doors.values()), token)
            pieces = {block: self._pieces(block) for block in range(*shares[rank])}
            held_out = [column and column.groups for column in self._held_out] if self._held_out else None
            futures[name] = self._client.submit(
                worker.train, self._job, attempt, pieces, held_out, workers=[name], allow_other_workers=False,
                pure=False, retries=0, key=f"fastmlp-{self._job.name}-{token.hex()[:8]}-{rank}",
            )  # fmt: skip
        try:
            outcome = self._wait(futures)
        except KeyboardInterrupt:
            outcome = self._interrupted(futures)
        finally:
            self._client.cancel(list(futures.values()), force=True)
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def _pieces(self, block: int) -> tuple[Any, Any, Any]:
        X, y, weights = (column and column.pieces(self._client, self._job.plan, block) for column in self._columns)
        return X, y, weights

    def _wait(self, futures: dict[str, Future]) -> Outcome:
        """Wait until every worker has said how it ended, has gone, or takes too long."""
        outcome, ended = Outcome(), None
        pending = dict(futures)
        while pending:
            with suppress(TimeoutError, CancelledError):
                wait(list(pending.values()), timeout=GLANCE_SECONDS, return_when="FIRST_COMPLETED")
            self._collect(pending, outcome)
            if pending and (outcome.error or outcome.said):
                ended = ended or perf_counter()
                if outcome.error:
                    self._on(list(pending), worker.stop)
                if perf_counter() - ended > (GRACE_SECONDS if outcome.error else self._limit + GRACE_SECONDS):
                    outcome.gone |= dict.fromkeys(pending, "does not answer")
                    break
        return outcome

    def _collect(self, pending: dict[str, Future], outcome: Outcome) -> None:
        """Take note of the workers that have ended."""
        here = self._client.nthreads()
        for name, future in list(pending.items()):
            if future.status == "finished":
                outcome.said[name] = future.result()
            elif future.status == "error":
                outcome.error = future.exception()
            elif future.status in ("cancelled", "lost") or name not in here:
                outcome.gone[name] = "is no longer there"
            else:
                continue
            del pending[name]

    def _interrupted(self, futures: dict[str, Future]) -> Outcome:
        """End all workers at once, and keep what they have."""
        self._on(list(futures), worker.stop)
        self._limit = 0.0
        outcome = self._wait(futures)
        for said in outcome.said.values():
            said["status"] = "interrupted" if said["place"] > (-1, 0) else "nothing"
        if not any(said["status"] == "interrupted" for said in outcome.said.values()):
            raise KeyboardInterrupt
        return outcome
