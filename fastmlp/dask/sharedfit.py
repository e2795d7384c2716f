"""The training of a worker: `Fit`, with steps that it makes together with others, and a place to go on from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import inf
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastmlp import engine_settings
from fastmlp._core import aligned_empty
from fastmlp.dask.channel import Channel
from fastmlp.dask.localsteps import LocalSteps
from fastmlp.dask.shards import Shard
from fastmlp.dask.steps import Place, SharedTraining
from fastmlp.estimator_file import from_json, to_json
from fastmlp.estimator_state import CURVES
from fastmlp.fitting import Fit
from fastmlp.initialization import initial_parameters
from fastmlp.listener import Listener, NonFiniteError


class SharedFit(Fit):
    """One of the copies of a training that workers run in step."""

    _place: Place
    until: float = inf
    """When the time is up, by this worker's clock; since the first attempt."""
    warning = ""

    @classmethod
    def new(cls, job: Any) -> Self:
        """The training before its first step, as one of this machine would begin."""
        network = engine_settings.network_of(job.n_units, job.settings, job.loss, job.dtype)
        params = aligned_empty(network.n_params, network.dtype)
        initial_parameters(network, params, job.settings.weight_init, engine_settings.copy_of(job.random_state))
        fit = cls(network, params, engine_settings.optimizer_name(job.settings))
        fit._place, fit.rate = Place(), float(job.settings.learning_rate_init)
        fit.stopped = fit.ended = fit.in_epoch = False
        return fit

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and steps in it that are done: who has the largest knows most."""
        return self._place.epoch, self._place.step

    @property
    def deadline(self) -> float:  # type: ignore[override]  # nothing sets it here
        """In the past where the time is up, which one clock decides for all."""
        late = isinstance(self._training, SharedTraining) and self._training.late
        return -inf if late else inf

    def begin_shared(
        self, job: Any, shards: Mapping[int, Shard], channel: Channel, n_threads: int, check: Callable[[], None]
    ) -> None:
        """Allocate what training needs, as `begin` does; go on where the last attempt has ended."""
        settings, plan = job.settings, job.plan
        self.settings, self.remedy, self.n_rows = settings, job.remedy, plan.n_rows
        self._batch_size, self._n_used, self._order = plan.batch_size, plan.n_rows, None
        if self.until == inf and settings.max_time is not None:
            self.until = perf_counter() + settings.max_time
        kind = LocalSteps if settings.local_steps > 1 else SharedTraining
        self._training = kind(  # type: ignore[assignment]  # of the same methods
            self.network, self.params, self.slots, shards, plan, channel, settings,
            optimizer=self.optimizer, step=self.step, heaviest=job.heaviest, place=self._place, n_threads=n_threads,
            deadline=self.until, check=check,
        )  # fmt: skip

    def go(self, listeners: Sequence[Listener]) -> None:
        """Train until a listener ends it, and let all conclude."""
        try:
            try:
                self.run(self.settings.max_iter, listeners)
            except NonFiniteError as error:
                if not any(listener.survives(self) for listener in listeners):
                    raise
                self.warning = str(error)
            for listener in listeners:
                listener.finished(self)
        finally:
            assert isinstance(self._training, SharedTraining)
            self._place, self.step = self._training.place, self._training.step
            self._training = None

    def values(self) -> dict[str, Any]:
        """What `take` needs beside the arrays."""
        names = (*self.VALUES, *CURVES, "stopped", "ended", "in_epoch")
        place = self._training.place if isinstance(self._training, SharedTraining) else self._place
        return {name: getattr(self, name) for name in names} | {"place": vars(place)}

    def take(self, values: Any) -> None:
        """Take what another copy has reached, as JSON holds it."""
        values = from_json(values)
        self._place = Place(**values.pop("place"))
        vars(self).update(values)

    def copy(self, other: SharedFit) -> None:
        """Take what another copy has reached, arrays included."""
        self.take(json.loads(json.dumps(to_json("state", other.values()))))
        for mine, theirs in zip(self._arrays(), other._arrays(), strict=True):
            mine[...] = theirs

    def snapshot(self) -> dict[str, Any]:
        """A copy of all that `resume` needs, in plain values and arrays."""
        return {"values": to_json("state", self.values()), "arrays": [array.copy() for array in self._arrays()]}

    def resume(self, snapshot: dict[str, Any]) -> None:
        """Go on between the two epochs at which a snapshot was taken."""
        self.take(snapshot["values"])
        self.stopped = self.ended
        for mine, theirs in zip(self._arrays(), snapshot["arrays"], strict=True):
            mine[...] = theirs

    def synchronize(self, channel: Channel, root: int) -> None:
        """Let all copies go on from where that of one worker stands."""
        text = np.frombuffer(json.dumps(to_json("state", self.values())).encode(), np.uint8).copy()
        size = np.array([len(text)])
        channel.broadcast(size, root)
        text = text if channel.rank == root else np.zeros(int(size[0]), np.uint8)
        channel.broadcast(text, root)
        if channel.rank != root:
            self.take(json.loads(text.tobytes()))
        for array in self._arrays():
            channel.broadcast(array, root)

    def _arrays(self) -> list[NDArray[Any]]:
        """All arrays; that of the best parameters is there from the beginning or never."""
        return [self.params, *self.slots, *([] if self.best_params is None else [self.best_params])]


class Snapshots(Listener):
    """Copies a training between two epochs, for a checkpoint. It is the first of the listeners, as `Checkpoint` is.

    Parameters
    ----------
    keep : callable
        Called with each copy.
    seconds : float
        Least time between two of them.
    """

    def __init__(self, keep: Callable[[dict[str, Any]], None], seconds: float) -> None:
        self._keep, self._seconds, self._kept = keep, seconds, -inf

    def epoch_begins(self, fit: Fit) -> None:
        """Copy what the epoch before has left, if it is time."""
        if perf_counter() - self._kept >= self._seconds:
            assert isinstance(fit, SharedFit)
            self._keep(fit.snapshot())
            self._kept = perf_counter()

    def finished(self, fit: Fit) -> None:
        """Copy the end; what is left of an epoch that was cut is no place to go on from."""
        if not fit.in_epoch:
            assert isinstance(fit, SharedFit)
            self._keep(fit.snapshot())
