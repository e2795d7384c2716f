"""Where the rows are, and where they go: partitions are looked at where they lie, and shards cut from them there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask
from distributed import Client, Future, futures_of

from fastmlp.dask.partitions import CHECKS, About, about, cut
from fastmlp.dask.plan import Plan
from fastmlp.dask.silence import gather

GROUPS_PER_WORKER = 64
"""Partitions beyond so many for each worker are looked at several at a time: each task costs a millisecond."""


@dataclass(frozen=True)
class Column:
    """X, y or the weights: groups of partitions on the cluster.

    Attributes
    ----------
    groups : list of Future
        Of `Group`.
    abouts : list of About
    """

    groups: list[Future]
    abouts: list[About]

    @property
    def n_rows(self) -> int:
        """Rows of all partitions."""
        return sum(sum(each.rows) for each in self.abouts)

    def spans(self) -> Iterator[tuple[Future, int, int]]:
        """Each group with its first row and the one behind its last."""
        begin = 0
        for group, each in zip(self.groups, self.abouts, strict=True):
            yield group, begin, begin + sum(each.rows)
            begin += sum(each.rows)

    def pieces(self, client: Client, plan: Plan, block: int) -> list[Future]:
        """The rows of a shard, cut where they lie."""
        found = []
        for group, begin, end in self.spans():
            if plan.has_rows_in(block, begin, end):
                found.append(client.submit(cut, group, plan, block, begin, pure=False))
        return found


def partitions_of(collection: Any, name: str) -> list[Any]:
    """The partitions of a dask array or data frame, lazy as they are.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if not hasattr(type(collection), "to_delayed"):  # an instance of Delayed has any attribute
        raise TypeError(
            f"{name} is a {type(collection).__name__}, and must be a dask array or data frame: train an estimator of "
            "fastmlp itself on what is in memory, or wrap it with dask.array.from_array."
        )
    numblocks: tuple[int, ...] = getattr(collection, "numblocks", ())  # of an array
    if len(numblocks) == 2 and numblocks[1] > 1:
        collection = collection.rechunk({1: -1})
    parts = collection.to_delayed()
    return parts.ravel().tolist() if hasattr(parts, "ravel") else list(parts)


def checked(
    client: Client,
    collection: Any,
    kind: str,
    name: str,
    estimator: Any,
    n_workers: int,
    wait_limit: float,
    had_workers: bool,
) -> Column:
    """The partitions of a collection, computed and looked at where they lie.

    Parameters
    ----------
    client : Client
    collection : dask array or data frame
    kind : str
        Of `CHECKS`.
    name : str
        Of the argument.
    estimator : BaseMLP
        Of this machine.
    n_workers : int
    wait_limit : float
        Seconds after which a silent worker is given up.
    had_workers : bool
        As columns before this one have been computed.

    Raises
    ------
    TypeError, ValueError
        If a partition is not as it should be; it is named.
    """
    parts = partitions_of(collection, name)
    size = -(-len(parts) // (GROUPS_PER_WORKER * n_workers))
    check: Callable[..., Any] = dask.delayed(partial(CHECKS[kind], name=name, estimator=estimator), pure=False)
    lazy = [check(parts[first : first + size], first) for first in range(0, len(parts), size)]
    groups = client.compute(lazy) if futures_of(collection) else _in_a_row(client, lazy)
    try:
        return Column(groups, gather(client, client.map(about, groups, pure=False), wait_limit, had_workers))
    except BaseException:  # Ctrl-C, too
        for group in groups:
            group.release()
        raise


def _in_a_row(client: Client, lazy: Sequence[Any]) -> list[Future]:
    """Compute consecutive partitions on the same worker, where their shards will be."""
    workers, found = list(client.nthreads()), list[Future]()
    for rank, name in enumerate(workers):
        part = lazy[len(lazy) * rank // len(workers) : len(lazy) * (rank + 1) // len(workers)]
        found += client.compute(part, workers=[name], allow_other_workers=True)
    return found or client.compute(lazy)


def near(client: Client, column: Column, workers: Sequence[str]) -> list[str]:
    """The workers, those first that hold the first rows: what lies where it is needed does not travel."""
    holders = client.who_has(column.groups)
    places: dict[str, list[int]] = {worker: [] for worker in workers}
    for number, group in enumerate(column.groups):
        for worker in holders.get(group.key, ()):
            places.setdefault(worker, []).append(number)

    def center(worker: str) -> float:
        numbers = places[worker]
        return sum(numbers) / len(numbers) if numbers else len(column.groups)

    return sorted(workers, key=center)
