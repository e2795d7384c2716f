"""The scratch of a training: how large it is, who may use it, and what goes on from what lies in it."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from small_problem import N_ROWS, Problem

from fastmlp import _core


def test_a_scratch_serves_one_training_after_another(isa: str, dtype: str) -> None:
    scratch = _core.Scratch()
    for optimizer in _core.OPTIMIZERS:
        alone, shared = Problem(dtype, optimizer), Problem(dtype, optimizer)
        assert alone.train() == shared.train(scratch=scratch) == "epoch"
        for name in ("params", "slots"):
            assert_array_equal(alone.arrays[name], shared.arrays[name])
    long, other = Problem(dtype).training(batch_size=N_ROWS, scratch=scratch), Problem(dtype)
    assert long.run(None, 0.0) == "yield"
    with pytest.raises(RuntimeError, match="unfinished"):
        long.apply(other.arrays["gradient"])
    assert other.train(scratch=scratch) == "epoch"
    with pytest.raises(RuntimeError, match="overwritten"):
        long.run(seconds=1e9)


def test_an_unfinished_batch_where_memory_ends(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on once there is memory; where another training has freed what it lay in, it says so."""

    def refuse(*_: Any, **__: Any) -> None:
        raise MemoryError

    whole, parted = Problem(dtype), Problem(dtype)
    assert whole.training(batch_size=N_ROWS).run(seconds=1e9) == "epoch"
    scratch = _core.Scratch()
    training = parted.training(batch_size=N_ROWS, scratch=scratch)
    assert training.run(None, 0.0) == "yield"
    training.n_threads = 3  # which needs more
    with monkeypatch.context() as context:
        context.setattr(np, "empty", refuse)
        with pytest.raises(MemoryError):
            training.run(None, 0.0)
    assert training.run(None, 0.0) == "epoch"
    for name in ("params", "slots"):
        assert_array_equal(parted.arrays[name], whole.arrays[name])
    assert training.run(None, 0.0) == "yield"
    other = Problem(dtype).training(batch_size=N_ROWS, n_threads=5, scratch=scratch)
    with monkeypatch.context() as context:
        context.setattr(np, "empty", refuse)
        with pytest.raises(MemoryError):
            other.run(seconds=1e9)
    with pytest.raises(RuntimeError, match="overwritten"):
        training.run(seconds=1e9)


def test_scratch_bytes_is_what_is_allocated() -> None:
    """NumPy's allocations, as tracemalloc sees them, are the scratch and a few hundred bytes of Python objects."""
    problem = Problem()
    X = problem.arrays["X"]
    jobs: list[tuple[Callable[[], Any], dict[str, Any]]] = [
        (problem.predict, {"job": "predict"}),
        (problem.evaluate, {"job": "evaluate"}),
        (problem.loss_gradient, {"job": "loss_gradient"}),
        (problem.train, {"optimizer": "adam", "batch_size": 100}),
        (lambda: problem.train(n_threads=2), {"optimizer": "adam", "batch_size": 100, "n_threads": 2}),
    ]
    for run, settings in jobs:
        expected = problem.network.scratch_bytes(X, **settings)
        peaks = []
        for _ in range(3):  # other threads of the process may allocate at the same time
            tracemalloc.start()
            run()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert 0 <= min(peaks) - expected < 10_000


def test_threads_that_share_a_chunk_hold_its_rows_once() -> None:
    network = _core.Network((64, 1100, 1100, 10), "relu", "log_loss", "float32")
    X = np.zeros((256, 64), np.float32)
    alone, together = (network.scratch_bytes(X, job="predict", n_threads=n) for n in (1, 8))
    assert alone < together < 2.5 * alone


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_has_yielded_goes_on_from_its_scratch(isa: str, dtype: str, optimizer: str) -> None:
    """Or from params and slots, where something else has used the scratch or the epoch is over."""
    whole, parted = Problem(dtype, optimizer), Problem(dtype, optimizer)
    scratch = _core.Scratch()
    other = Problem(dtype, optimizer).training(scratch=scratch)
    training = parted.training(scratch=scratch)
    before = parted.arrays["params"].copy()
    assert training.run(None, 0.0) == "yield"
    after = parted.arrays["params"].copy()
    parted.arrays["params"][:] = before  # is lost
    while (status := training.run(None, 0.0)) == "yield":
        pass
    assert status == "epoch"
    reference = whole.training(scratch=(another := _core.Scratch()))
    assert reference.run(seconds=1e9) == "epoch"
    assert_array_equal(parted.arrays["params"], whole.arrays["params"])
    assert not np.array_equal(before, after)

    for arrays in (parted.arrays, whole.arrays):
        arrays["params"][:] = after  # counts: the next epoch begins from it
        arrays["slots"][:] = 0
    scratch.slots = another.slots = None  # or they would not be read
    assert training.run(None, 0.0) == "yield"
    assert other.run(seconds=1e9) == "epoch"  # in the same scratch
    while training.run(None, 0.0) == "yield":
        pass
    assert reference.run(seconds=1e9) == "epoch"
    for name in ("params", "slots"):
        assert_array_equal(parted.arrays[name], whole.arrays[name])


@pytest.mark.parametrize("optimizer", ["sgd_momentum", "adam"])
def test_the_next_training_need_not_read_the_slots(isa: str, dtype: str, optimizer: str) -> None:
    """Whatever its rows and options are: they lie in the scratch, where it was large enough."""
    alone, shared, scratch = Problem(dtype, optimizer), Problem(dtype, optimizer), _core.Scratch()
    X = shared.arrays["X"]
    largest: dict[str, Any] = {"batch_size": 300, "alpha": 0.1, "clip_norm": 1.0, "n_threads": 3}
    small: list[dict[str, Any]] = [{"batch_size": 1}, {"n_threads": 2}, {"alpha": 0.1}, {"batch_size": 300}, {}]
    for options in (*small, largest, *small):
        trainings = alone.training(**options), shared.training(scratch=scratch, **options)
        assert [training.run(None, 1e9) for training in trainings] == ["epoch", "epoch"]
        for name in ("params", "slots"):
            assert_array_equal(alone.arrays[name], shared.arrays[name])
        assert scratch.slots is shared.arrays["slots"]
        if scratch.nbytes >= shared.network.scratch_bytes(X, optimizer=optimizer, **largest):
            shared.arrays["slots"][:] = 7  # is not read: the scratch does not grow any more

    scratch.slots = None
    for problem in (alone, shared):
        problem.arrays["slots"][:] = 0.5
    alone.train(), shared.train(scratch=scratch)
    assert_array_equal(alone.arrays["slots"], shared.arrays["slots"])
    shared.arrays["X"][0, 0] = np.nan
    assert shared.train(scratch=scratch) == "not_finite"
    assert scratch.slots is None


def test_a_training_does_not_go_on_from_one_that_is_gone(dtype: str) -> None:
    """Whose address it may have."""
    alone, shared, scratch = Problem(dtype), Problem(dtype), _core.Scratch()
    options: dict[str, Any] = {"batch_size": 50, "alpha": 0.1, "step": 1}  # the scratch need not grow
    gone = shared.training(scratch=scratch, alpha=0.1)
    assert gone.run(None, 0.0) == "yield"
    address = id(gone)
    del gone
    others = [shared.training(scratch=scratch, **options) for _ in range(100)]
    same = [training for training in others if id(training) == address]
    for problem in (alone, shared):
        problem.arrays["params"][:] = 0.25
        problem.arrays["slots"][:] = shared.arrays["slots"]
    assert alone.training(**options).run(seconds=1e9) == [*same, others[0]][0].run(seconds=1e9) == "epoch"
    assert_array_equal(alone.arrays["params"], shared.arrays["params"])
