"""Steps that workers make together: each computes the gradients of its blocks, and all make the same update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastmlp import engine_settings
from fastmlp._core import LOSSES, Network, Scratch, Training
from fastmlp.dask.plan import Plan
from fastmlp.dask.shards import Shard
from fastmlp.dask.tree import N_NUMBERS, PIECE, Node, Sum, Tree, round_to_bfloat16
from fastmlp.threads import Status


class Reduces(Protocol):
    """What a step needs of a channel."""

    def all_reduce(self, sums: list[Sum]) -> Sum:
        """Return the sum of the root on all workers; the arrays stay the channel's until the next call."""


@dataclass
class Place:
    """Where a training stands.

    Attributes
    ----------
    epoch, step : int
        Steps of this epoch that are done.
    loss_sum : float
        Of the rows of these.
    """

    epoch: int = -1
    step: int = 0
    loss_sum: float = 0.0


BEGINNING = Place().epoch, Place().step
"""Of a training that has not made a step."""


class SharedTraining:
    """A training whose batches several workers share. `Fit` knows it as it knows `fastmlp._core.Training`.

    Parameters
    ----------
    network : Network
    params, slots : ndarray
        The same on all workers; updated in place.
    shards : mapping of int to Shard
        The rows of this worker's blocks.
    plan : Plan
    channel : Reduces
    settings : namespace
        The hyper-parameters.
    optimizer : str
    step : int
        Updates made so far.
    heaviest : float
        The largest weight of a row.
    place : Place
    n_threads : int
    deadline : float
        When the time is up, by `perf_counter`.
    check : callable
        Called now and then: raises where the training is to end at once.
    """

    def __init__(
        self,
        network: Network,
        params: NDArray[Any],
        slots: NDArray[Any],
        shards: Mapping[int, Shard],
        plan: Plan,
        channel: Reduces,
        settings: Any,
        *,
        optimizer: str,
        step: int,
        heaviest: float,
        place: Place,
        n_threads: int,
        deadline: float,
        check: Callable[[], None],
    ) -> None:
        self._network, self._params, self._shards, self._plan = network, params, shards, plan
        self._channel, self.place, self.n_threads, self._check = channel, place, n_threads, check
        self._deadline, self.late = deadline, False
        self._tree = Tree(plan.n_blocks, settings.compression == "bfloat16")
        self._scratch = Scratch()
        regular = engine_settings.regularisation(settings, network.n_units)
        self._alpha: float
        self._l1_ratio: float
        self._alpha, self._l1_ratio = regular.pop("alpha"), regular.get("l1_ratio", 0.0)
        momenta = {name: getattr(settings, name) for name in ("momentum", "beta_1", "beta_2", "epsilon")}
        X, y = np.zeros((1, network.n_units[0])), np.zeros((1, network.n_units[-1]))  # an update reads no rows
        self._update = Training(
            network, params, slots, X, y, optimizer=optimizer, step=step, batch_size=1, n_threads=n_threads,
            scratch=self._scratch, **momenta, **regular,
        )  # fmt: skip
        self._unit = heaviest * plan.most_rows
        self._free: list[NDArray[Any]] = []
        self._orders: dict[int, NDArray[np.int64] | None] = {}
        if place.epoch >= 0:
            self._begin()

    @property
    def step(self) -> int:
        """Updates made so far."""
        return self._update.step

    @property
    def gradient_norm(self) -> float:
        """Norm of the last step's gradient, where it is clipped."""
        return self._update.gradient_norm

    @property
    def position(self) -> int:
        """Rows used in this epoch so far."""
        return min(self.place.step * self._plan.batch_size, self._plan.n_rows)

    @property
    def loss(self) -> float:
        """Mean loss, penalty included, over these."""
        return self.place.loss_sum / max(self.position, 1)

    @property
    def learning_rate(self) -> float:
        """Of the next step, where there are no rates."""
        return self._update.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._update.learning_rate = value

    def run(self, order: None = None, seconds: float = 0.1, rates: NDArray[np.float64] | None = None) -> Status:
        """Train until the epoch ends or the seconds have passed, as `Training.run` does."""
        start = perf_counter()
        if self.place.epoch < 0 or self.place.step == self._plan.n_steps:
            self.place = Place(self.place.epoch + 1)
            self._begin()
        status: Status = "yield"
        self.late = False
        with np.errstate(over="ignore", invalid="ignore"):  # of a training that diverges, which is looked at below
            while status == "yield" and not self.late and perf_counter() - start < seconds:
                self._check()
                status = self._make_step(rates)
        return status

    def _begin(self) -> None:
        self._orders = {block: self._plan.order(block, self.place.epoch) for block in self._shards}

    def _make_step(self, rates: NDArray[np.float64] | None) -> Status:
        place, plan = self.place, self._plan
        if rates is not None:
            self._update.learning_rate = float(rates[place.step])
        sums: list[Sum] = []
        for block in self._shards:
            self._free += self._tree.push(sums, self._gradient(place.step, block))
        total = self._channel.all_reduce(sums)
        self._free += [each.vector for each in sums]
        loss, weight, late = (float(number) for number in total.numbers)
        self.late = late > 0
        if not np.isfinite(weight):
            return "not_finite"
        if weight > 0:
            loss = self._finish(total.vector, loss / weight, weight)
            if not (np.isfinite(loss) and self._update.apply(total.vector)):
                return "not_finite"
            place.loss_sum += loss * plan.step_rows(place.step)
        place.step += 1
        return "epoch" if place.step == plan.n_steps else "yield"

    def _gradient(self, step: int, block: int) -> Sum:
        """Gradient and loss of a block, times its weight."""
        begin, end = self._plan.span(step, block)
        node: Node = (block, block + 1)
        gradient, numbers = self._free.pop() if self._free else np.empty_like(self._params), np.zeros(N_NUMBERS)
        if block == 0:  # whose worker's clock is that of all
            numbers[2] = perf_counter() > self._deadline
        if begin == end:
            gradient[...] = 0
            return Sum(node, gradient, numbers)
        order = self._orders[block]
        samples = self._shards[block].block(slice(begin, end) if order is None else order[begin:end])
        weight = (end - begin if samples.weights is None else float(samples.weights.sum())) / self._unit
        loss = self._network.loss_gradient(self._params, *samples, 0.0, gradient, self.n_threads, scratch=self._scratch)
        numbers[:2] = weight * loss, weight
        if weight != 1:
            gradient *= weight
        if self._tree.rounds:
            round_to_bfloat16(gradient)
        return Sum(node, gradient, numbers)

    def _finish(self, vector: NDArray[Any], loss: float, weight: float) -> float:
        """Make the sum of the gradients that of the mean loss, penalty included; return the loss as it is reported."""
        n_weights = len(vector) - sum(self._network.n_units[1:])
        if LOSSES[self._network.loss].mean_over_outputs:
            loss /= self._network.n_units[-1]
        # A power of two where all blocks are full, so that nothing is rounded.
        inverse, strength, penalty = 1 / weight, self._alpha / (weight * self._unit), 0.0
        for at in range(0, len(vector), PIECE):
            part = vector[at : at + PIECE]
            part *= inverse
            weights = self._params[at : min(at + PIECE, n_weights)]
            if strength:
                penalty += self._penalise(part[: len(weights)], weights, strength)
        return float(loss + penalty)

    def _penalise(self, part: NDArray[Any], weights: NDArray[Any], strength: float) -> float:
        """Add the gradient of the penalty of some weights; return the penalty."""
        squares: float = strength * (1 - self._l1_ratio)
        part += weights * squares
        penalty = squares / 2 * float(np.square(weights, dtype=np.float64).sum())
        if self._l1_ratio:
            part += np.sign(weights) * (strength * self._l1_ratio)
            penalty += strength * self._l1_ratio * float(np.abs(weights).sum(dtype=np.float64))
        return penalty
