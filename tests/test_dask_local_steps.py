"""Steps that each block makes alone: the mean of plain trainings, computed here from their definition."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

from test_dask_steps import begun, plan_of, problem

from fastmlp import _core
from fastmlp.dask.localsteps import LocalSteps


@pytest.mark.parametrize("weights", ["none", "some", "but for the first steps"])
def test_the_mean_of_what_each_block_comes_to(weights: str) -> None:
    """Four blocks of eight rows; the first of them has none of the three rows of the last step."""
    X, y, w = problem(n_rows=27)
    if weights == "but for the first steps":
        w[:16] = 0
    given = None if weights == "none" else w
    plan = plan_of(27, 8, 4, shuffle=False)
    training, params = begun(plan, (X, y, given), kind=LocalSteps, local_steps=2, alpha=0.4)
    w = np.ones(27) if given is None else w
    expected, slots, made = params.copy(), np.zeros((2, params.size)), 0
    for _ in range(2):
        assert training.run(seconds=60) == "epoch"
        loss_sum = 0.0
        for first, stop in pairwise([0, 2, 3, 4]):
            found = []
            for block in range(4):
                spans = [(8 * step, plan.within(plan.step_rows(step), block)) for step in range(first, stop)]
                rows = np.concatenate([np.arange(begin + a, begin + b) for begin, (a, b) in spans])
                if w[rows].sum():
                    mine = expected.copy(), slots.copy()
                    plain = _core.Training(
                        training._network, *mine, X[rows], y[rows], w[rows], optimizer="adam", step=made,
                        batch_size=len(rows) // (stop - first), learning_rate=0.01, alpha=0.4 / 4,
                    )  # fmt: skip
                    assert plain.run(seconds=1e9) == "epoch"
                    found.append((w[rows].sum(), *mine, plain.loss))
            if found:
                by = [each[0] for each in found]
                expected, slots, loss = (np.average(each, 0, by) for each in list(zip(*found, strict=True))[1:])
                loss_sum += loss * sum(map(plan.step_rows, range(first, stop)))
                made += stop - first
        np.testing.assert_allclose(params, expected, rtol=0, atol=1e-12)
        assert training.loss == pytest.approx(loss_sum / 27, rel=1e-12)
        assert training.step == made


def test_a_mean_that_overflows_ends_the_training() -> None:
    X, y, _ = problem("float32")
    training, params = begun(plan_of(n_blocks=2), (X, y, None), kind=LocalSteps, local_steps=2)
    params[:] = 0
    hidden = slice(7 * 5 + 5 * 2, 7 * 5 + 5 * 2 + 5)
    params[hidden] = -3e38  # units that are never on; the sum of two copies is infinite
    assert training.run(seconds=60) == "not_finite"
    assert (params[hidden] == np.float32(-3e38)).all()
    training, params = begun(plan_of(n_blocks=1), (X, y, None), kind=LocalSteps, local_steps=2)
    params[:] = 0
    params[hidden] = -1e38  # times the number of rows, they would be infinite
    assert training.run(seconds=60) == "epoch"
    assert (params[hidden] == np.float32(-1e38)).all()


def test_a_block_that_trains_for_long_looks_whether_it_is_still_wanted() -> None:
    looks: list[int] = []

    def check() -> None:
        looks.append(1)
        if len(looks) == 2:
            raise InterruptedError("no longer wanted")

    data: Any = problem(n_rows=100_000)
    training, _ = begun(
        plan_of(100_000, 1, 1, shuffle=False), data, kind=LocalSteps, local_steps=10**6, n_hidden=200, check=check
    )
    with pytest.raises(InterruptedError):
        training.run(seconds=60)
    assert training.step == 0
