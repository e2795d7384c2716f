"""Waiting on a cluster whose workers may fall silent: a worker that is stopped or cut off is given up at last."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import inf
from time import perf_counter
from typing import Any

from distributed import CancelledError, Client, Future, Scheduler, wait
from distributed.metrics import time

GLANCE_SECONDS = 0.5
"""So often the client looks whether the workers are still there."""
LEAST_SILENCE = 3.0
"""Seconds between two signs of life of a worker may be so many in a large cluster."""
START_SECONDS = 180.0
"""So long a cluster that has lost all its workers may take to start others."""


async def remove_silent(dask_scheduler: Scheduler, seconds: float) -> None:
    """Let the scheduler give up workers that have been silent for so long, and find others for what they should do.

    Nobody else can get what a worker holds that is stopped or cut off; the scheduler itself would wait for minutes. And
    where all workers were lost at once, tasks that may run anywhere wait for the worker that they were meant for.
    """
    for name, worker in list(dask_scheduler.workers.items()):
        if time() - worker.last_seen > max(seconds, LEAST_SILENCE):
            await dask_scheduler.remove_worker(name, stimulus_id=f"fastmlp-silent-{time()}")
    overlooked = [task.key for task in dask_scheduler.unrunnable if task.loose_restrictions]
    if overlooked and dask_scheduler.running:
        dask_scheduler.transitions(dict.fromkeys(overlooked, "processing"), f"fastmlp-overlooked-{time()}")


def glance(client: Client, futures: Sequence[Future], seconds: float) -> None:
    """Wait a moment for one of the futures, and give up workers that have been silent for so many seconds."""
    with suppress(TimeoutError, CancelledError):
        wait(list(futures), timeout=GLANCE_SECONDS, return_when="FIRST_COMPLETED")
        return
    client.run_on_scheduler(remove_silent, seconds=seconds)


def without_workers(seconds: float) -> RuntimeError:
    """What to say of a cluster that has had no workers for so long."""
    return RuntimeError(f"The cluster has had no workers for {seconds:g} seconds.")


def gather(client: Client, futures: Sequence[Future], seconds: float, had_workers: bool = False) -> Any:
    """The results of all futures, which the cluster may forget then.

    Raises
    ------
    RuntimeError
        If the cluster has lost all its workers, and starts no others. One that never had any is waited for as long as
        it takes.
    """
    limit, most = max(seconds, LEAST_SILENCE), max(seconds, START_SECONDS)
    last_seen = perf_counter() if had_workers or client.nthreads() else inf
    try:
        while True:
            while missing := [future for future in futures if future.status in ("pending", "lost")]:
                glance(client, missing, seconds)
                if client.nthreads():
                    last_seen = perf_counter()
                elif perf_counter() - last_seen > most:
                    raise without_workers(most)
            try:  # the public one has no limit, and a worker may fall silent with results that were there
                return client.sync(client._gather, list(futures), callback_timeout=limit)
            except TimeoutError:
                if any(future.status == "error" for future in futures):  # a task has raised it
                    raise
            limit *= 2  # they may only be large
            client.run_on_scheduler(remove_silent, seconds=seconds / 2)
    finally:
        for future in futures:
            future.release()
