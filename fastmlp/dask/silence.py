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
    """Let the scheduler give up workers that have been silent for so long, and recompute what they hold.

    Nobody else can get what a worker holds that is stopped or cut off; the scheduler itself would wait for minutes.
    """
    for name, worker in list(dask_scheduler.workers.items()):
        if time() - worker.last_seen > max(seconds, LEAST_SILENCE):
            await dask_scheduler.remove_worker(name, stimulus_id=f"fastmlp-silent-{time()}")
    # Where all workers were lost at once, tasks that may run on others than their own wait for their own nevertheless.
    overlooked = [task.key for task in dask_scheduler.unrunnable if task.loose_restrictions]
    dask_scheduler.transitions(dict.fromkeys(overlooked, "processing"), stimulus_id=f"fastmlp-overlooked-{time()}")


def glance(client: Client, futures: Sequence[Future], seconds: float) -> None:
    """Wait a moment for one of the futures, and give up workers that have been silent for so many seconds."""
    with suppress(TimeoutError, CancelledError):
        wait(list(futures), timeout=GLANCE_SECONDS, return_when="FIRST_COMPLETED")
        return
    client.run_on_scheduler(remove_silent, seconds=seconds)


def without_workers(seconds: float) -> RuntimeError:
    """What to say of a cluster that has had no workers for so long."""
    return RuntimeError(f"The cluster has had no workers for {seconds:g} seconds.")


def gather(client: Client, futures: Sequence[Future], seconds: float) -> Any:
    """The results of all futures, which the cluster may forget then.

    Raises
    ------
    RuntimeError
        If the cluster has lost all its workers, and starts no others. Its first are waited for as long as it takes.
    """
    most, last_seen = max(seconds, START_SECONDS), inf
    try:
        while True:
            while pending := [future for future in futures if future.status == "pending"]:
                glance(client, pending, seconds)
                if client.nthreads():
                    last_seen = perf_counter()
                elif perf_counter() - last_seen > most:
                    raise without_workers(most)
            try:  # the public one has no limit, and a worker may fall silent with results that were there
                return client.sync(client._gather, list(futures), callback_timeout=max(seconds, LEAST_SILENCE))
            except TimeoutError:
                if any(future.status == "error" for future in futures):  # it is a task's
                    raise
            client.run_on_scheduler(remove_silent, seconds=seconds / 2)
    finally:
        for future in futures:
            future.release()
