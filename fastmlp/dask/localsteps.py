"""Steps that each block makes alone, and parameters that are averaged every so many: for slow networks."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp import engine_settings
from fastmlp._core import Training
from fastmlp.dask.steps import SharedTraining
from fastmlp.dask.tree import N_NUMBERS, PIECE, Sum
from fastmlp.threads import Status


class LocalSteps(SharedTraining):
    """Each block has a copy of the network, which makes some steps on the block's rows; then all take the mean.

    It is the mean of the parameters and of the optimizer's slots, weighted by the rows' weights. A block is the same
    whoever computes it, so the result does not depend on the number of workers. Parameters are those of
    `SharedTraining`; the vectors of its channel hold parameters and slots.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _, self._all_params, self._all_slots, _, _, _, self._settings = arguments
        self._optimizer: str = options["optimizer"]
        self._step: int = options["step"]

    @property
    def step(self) -> int:
        """Steps made so far, each in all blocks at once."""
        return self._step

    @property
    def gradient_norm(self) -> float:
        """Of no step: each block has its own."""
        return float("nan")

    def _make_step(self, rates: NDArray[np.float64] | None) -> Status:
        place, plan = self.place, self._plan
        n_full = plan.n_rows // plan.batch_size - place.step  # blocks of the last step may be of other sizes
        n_steps = max(min(self._settings.local_steps, n_full), 1)
        sums: list[Sum] = []
        for block in self._shards:
            self._free += self._tree.push(sums, self._copy(block, place.step, n_steps, rates))
        total = self._channel.all_reduce(sums)
        self._free += [each.vector for each in sums]
        loss, weight, late = (float(number) for number in total.numbers)
        self.late = late > 0
        if not np.isfinite(weight):
            return "not_finite"
        if weight > 0:
            if not np.isfinite(loss) or not self._take(total.vector, weight):
                return "not_finite"
            place.loss_sum += loss / weight * (n_steps * plan.step_rows(place.step))
            self._step += n_steps
        place.step += n_steps
        return "epoch" if place.step == plan.n_steps else "yield"

    def _copy(self, block: int, step: int, n_steps: int, rates: NDArray[np.float64] | None) -> Sum:
        """Parameters and slots of a block after its steps, times its weight."""
        params, slots = self._all_params, self._all_slots
        vector = self._free.pop() if self._free else np.empty(params.size + slots.size, params.dtype)
        numbers = np.zeros(N_NUMBERS)
        if block == 0:
            numbers[2] = perf_counter() > self._deadline
        (begin, first_end), (_, end) = self._plan.span(step, block), self._plan.span(step + n_steps - 1, block)
        order = self._orders[block]
        X, y, weights = self._shards[block].block(slice(begin, end) if order is None else order[begin:end])
        weight = (end - begin if weights is None else float(weights.sum())) / self._unit
        if not weight:
            vector[...] = 0
            return Sum((block, block + 1), vector, numbers)
        vector[: params.size], vector[params.size :] = params, slots.ravel()
        regular = engine_settings.regularisation(self._settings, self._network.n_units)
        regular["alpha"] /= self._plan.n_blocks  # the engine divides it by the weight of what it takes for the batch
        momenta = {name: getattr(self._settings, name) for name in ("momentum", "beta_1", "beta_2", "epsilon")}
        mine = Training(
            self._network, vector[: params.size], vector[params.size :].reshape(slots.shape),
            X, y, weights,
            optimizer=self._optimizer, step=self._step, batch_size=first_end - begin, n_threads=self.n_threads,
            scratch=self._scratch, learning_rate=self.learning_rate, **momenta, **regular,
        )  # fmt: skip
        own_rates = None if rates is None else rates[step : step + n_steps].copy()
        while (status := mine.run(rates=own_rates)) == "yield":
            self._check()
        numbers[:2] = weight * mine.loss if status == "epoch" else np.nan, weight
        vector *= weight
        return Sum((block, block + 1), vector, numbers)

    def _take(self, vector: NDArray[Any], weight: float) -> bool:
        """Take the mean; return whether it is finite."""
        params, slots = self._all_params, self._all_slots
        for at in range(0, len(vector), PIECE):
            vector[at : at + PIECE] *= 1 / weight
        if not np.isfinite(vector).all():
            return False
        params[...], slots[...] = vector[: params.size], vector[params.size :].reshape(slots.shape)
        return True
