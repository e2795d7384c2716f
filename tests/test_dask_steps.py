"""Steps that workers share, without Dask: the plan, the tree, and the same bits for any number of workers."""

import itertools
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")
import scipy.sparse

from bench.scale import LOOPBACK, Alone, Model, Net
from fastmlp import _core, engine_settings
from fastmlp.dask.localsteps import LocalSteps
from fastmlp.dask.plan import Plan
from fastmlp.dask.shards import Shard
from fastmlp.dask.steps import Place, SharedTraining
from fastmlp.dask.tree import Sum, Tree, cover, from_bfloat16, round_to_bfloat16, to_bfloat16
from fastmlp.hyperparameters import HYPERPARAMETERS

DEFAULTS = {name: entry.default for name, entry in HYPERPARAMETERS["Trainer"].items()}


class Together:
    """The channel of workers that are threads of one process."""

    def __init__(self, n_workers: int, tree: Tree) -> None:
        self._all: list[list[Sum]] = [[] for _ in range(n_workers)]
        self._barrier, self._tree = threading.Barrier(n_workers, timeout=30), tree

    def of(self, rank: int) -> Any:
        return SimpleNamespace(rank=rank, seconds=0.0, all_reduce=lambda sums: self._all_reduce(rank, sums))

    def _all_reduce(self, rank: int, sums: list[Sum]) -> Sum:
        self._all[rank] = [Sum(each.node, each.vector.copy(), each.numbers.copy()) for each in sums]
        self._barrier.wait()
        total: list[Sum] = []
        for each in (each for part in self._all for each in part):
            self._tree.push(total, Sum(each.node, each.vector.copy(), each.numbers.copy()))
        self._barrier.wait()
        (root,) = total
        return root


def problem(dtype: str = "float64", n_rows: int = 101) -> tuple[Any, Any, Any]:
    random = np.random.RandomState(0)
    X = random.standard_normal((n_rows, 7)).astype(dtype)
    return X, (X[:, :1] - X[:, 1:3] ** 2).astype(dtype), random.uniform(0, 2, n_rows).round()


def shards_of(plan: Plan, blocks: range, X: Any, y: Any, w: Any, n_pieces: int = 1) -> dict[int, Shard]:
    shards = {}
    for block in blocks:
        rows = plan.shard_in(block, 0, plan.n_rows)
        pieces = [X[rows][part] for part in np.array_split(np.arange(len(y[rows])), n_pieces)]
        shards[block] = Shard(pieces, y[rows], None if w is None else w[rows], X.dtype)
    return shards


def begun(
    plan: Plan, data: tuple[Any, Any, Any], channel: Any = None, blocks: range | None = None, *,
    kind: type[SharedTraining] = SharedTraining, n_pieces: int = 1, n_threads: int = 1, n_hidden: int = 5,
    deadline: float = np.inf, check: Callable[[], None] = lambda: None, **options: Any,
) -> tuple[SharedTraining, Any]:  # fmt: skip
    """The training of a worker, which has all blocks unless it is told which, and its parameters."""
    settings = SimpleNamespace(**DEFAULTS | {"compression": None, "loss": "squared_error", "solver": "adam"} | options)
    X, y, w = data
    network = _core.Network((X.shape[1], n_hidden, y.shape[1]), "relu", settings.loss, X.dtype)
    optimizer = engine_settings.optimizer_name(settings)
    params = np.random.RandomState(1).uniform(-0.5, 0.5, network.n_params).astype(X.dtype)
    slots = np.zeros((_core.OPTIMIZERS[optimizer], network.n_params), X.dtype)
    shards = shards_of(plan, range(plan.n_blocks) if blocks is None else blocks, X, y, w, n_pieces)
    training = kind(
        network, params, slots, shards, plan, channel or Alone(), settings, optimizer=optimizer, step=0,
        heaviest=1.0 if w is None else w.max(), place=Place(), n_threads=n_threads, deadline=deadline, check=check,
    )  # fmt: skip
    training.learning_rate = 0.01
    return training, params


def train(
    plan: Plan, data: tuple[Any, Any, Any], n_workers: int, n_epochs: int = 3, **options: Any
) -> tuple[Any, list[float]]:
    """Parameters and losses of a training, found to be those of all workers."""
    together = Together(n_workers, Tree(plan.n_blocks, options.get("compression") == "bfloat16"))
    results: list[Any] = [None] * n_workers

    def work(rank: int) -> None:
        channel = None if n_workers == 1 else together.of(rank)
        training, params = begun(plan, data, channel, range(*plan.shares(n_workers)[rank]), **options)
        losses = []
        for _ in range(n_epochs):
            while (status := training.run(seconds=0.001)) == "yield":
                pass
            assert status == "epoch"
            losses.append(training.loss)
        results[rank] = (params, losses)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(n_workers)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for params, losses in results:
        np.testing.assert_array_equal(params, results[0][0])
        assert losses == results[0][1]
    return results[0]


def plan_of(n_rows: int = 101, batch_size: int = 24, n_blocks: int = 8, shuffle: bool = True) -> Plan:
    return Plan(n_rows, batch_size, n_blocks, shuffle, tuple(range(n_blocks)))


@pytest.mark.parametrize("n_leaves", [1, 2, 3, 7, 8, 12])
def test_the_tree_is_covered_by_any_shares(n_leaves: int) -> None:
    for n_workers in (1, 2, 3, 5, 20):
        shares = plan_of(n_blocks=n_leaves).shares(n_workers)
        tree, sums = Tree(n_leaves), []
        for node in (node for share in shares for node in cover(share, tree.root)):
            tree.push(sums, Sum(node, np.array([float(node[1] - node[0])]), np.zeros(3)))
        assert [(each.node, each.vector[0]) for each in sums] == [((0, n_leaves), n_leaves)]


def test_sums_are_taken_in_the_order_of_the_tree() -> None:
    """Of numbers that any other order would round otherwise."""
    values = np.random.RandomState(0).standard_normal(6)
    tree, sums = Tree(6), []
    for block, value in enumerate(values):
        tree.push(sums, Sum((block, block + 1), np.array([value]), np.zeros(3)))
    a, b, c, d, e, f = values
    assert sums[0].vector[0] == ((a + b) + (c + d)) + (e + f)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("n_rows", "batch_size", "n_blocks"), [(101, 24, 8), (100, 10, 4), (7, 7, 8), (50, 3, 5)])
def test_every_row_is_used_once_an_epoch(n_rows: int, batch_size: int, n_blocks: int, shuffle: bool) -> None:
    plan = plan_of(n_rows, batch_size, n_blocks, shuffle)
    assert sorted(plan.epoch_order(0)) == list(range(n_rows))
    if not shuffle:
        assert plan.epoch_order(3).tolist() == list(range(n_rows))
    pieces = [0, n_rows // 3, n_rows // 3, n_rows]
    for block in range(n_blocks):
        found = [np.arange(begin, end)[plan.shard_in(block, begin, end)] for begin, end in itertools.pairwise(pieces)]
        np.testing.assert_array_equal(np.concatenate(found), np.arange(n_rows)[plan.shard_in(block, 0, n_rows)])


@pytest.mark.parametrize("weighted", [False, True, "but for the first steps"])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("options", [{}, {"l1_ratio": 0.5, "alpha": 0.1}, {"clip_norm": 0.1, "weight_decay": 0.1}])
def test_training_is_the_local_one_to_rounding(weighted: bool | str, shuffle: bool, options: dict[str, Any]) -> None:
    X, y, w = problem()
    w = w if weighted else None
    if isinstance(weighted, str):
        w[:60] = 0
    plan = plan_of(shuffle=shuffle)
    params, losses = train(plan, (X, y, w), 1, n_epochs=20, **options)
    settings = SimpleNamespace(**DEFAULTS | options)
    network = _core.Network((7, 5, 2), "relu", "squared_error", "float64")
    expected = np.random.RandomState(1).uniform(-0.5, 0.5, network.n_params)
    training = _core.Training(
        network, expected, np.zeros((2, network.n_params)), X, y, w, optimizer="adam", batch_size=24,
        learning_rate=0.01, **engine_settings.regularisation(settings, network.n_units),
    )  # fmt: skip
    expected_losses = []
    for epoch in range(20):
        assert training.run(plan.epoch_order(epoch)) == "epoch"
        expected_losses.append(training.loss)
    # 100 steps of Adam, each of which moves a parameter by 0.01 at the most and rounds at 1e-16.
    np.testing.assert_allclose(params, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-9)


def test_one_row_has_its_loss() -> None:
    X, y, _ = (each[:1] for each in problem())
    training, params = begun(plan_of(1, 1, 1), (X, y, None), alpha=0.0)
    expected = training._network.evaluate(params, X, y) / 2  # of two outputs
    assert training.run(seconds=1e9) == "epoch"
    assert training.loss == pytest.approx(expected, rel=1e-12)


def test_blocks_of_even_size_are_summed_as_they_are() -> None:
    """Whatever their size: to multiply gradients by three and to divide them again would round twice."""
    X, y, _ = (each[:12] for each in problem())
    seen: list[Sum] = []

    class Watched(Alone):
        def all_reduce(self, sums: list[Sum]) -> Sum:
            seen.append(Sum(sums[0].node, sums[0].vector.copy(), sums[0].numbers.copy()))
            return sums[0]

    training, params = begun(plan_of(12, 6, 2, shuffle=False), (X, y, np.full(12, 0.3)), Watched())
    expected = np.zeros_like(params)
    for block in (slice(0, 3), slice(3, 6)):
        gradient = np.empty_like(params)
        training._network.loss_gradient(params, X[block], y[block], np.full(3, 0.3), 0.0, gradient, 1)
        expected += gradient
    training.run(seconds=1e9)
    np.testing.assert_array_equal(seen[0].vector, expected)
    assert seen[0].numbers[1] == 2


@pytest.mark.parametrize("kind", [SharedTraining, LocalSteps])
@pytest.mark.parametrize("first_is_late", [False, True])
def test_the_clock_of_the_first_block_is_that_of_all(kind: type[SharedTraining], first_is_late: bool) -> None:
    plan, together = plan_of(n_blocks=2), Together(2, Tree(2))
    deadlines = (-np.inf, np.inf) if first_is_late else (np.inf, -np.inf)
    trainings = [
        begun(plan, problem(), together.of(rank), range(*plan.shares(2)[rank]), kind=kind, deadline=deadlines[rank],
              local_steps=2)[0]
        for rank in range(2)
    ]  # fmt: skip
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda each: each.run(seconds=60), trainings))
    assert found == (["yield"] * 2 if first_is_late else ["epoch"] * 2)
    assert [each.late for each in trainings] == [first_is_late] * 2
    n_steps = 2 if kind is LocalSteps else 1
    assert [each.step for each in trainings] == [n_steps if first_is_late else 5] * 2


def test_each_step_looks_whether_it_is_still_wanted() -> None:
    steps: list[int] = []

    def check() -> None:
        steps.append(training.step)
        if training.step == 2:
            raise InterruptedError("no longer wanted")

    training, _ = begun(plan_of(), problem(), check=check)
    with pytest.raises(InterruptedError):
        training.run(seconds=60)
    assert steps == [0, 1, 2]


@pytest.mark.parametrize("kind", [SharedTraining, LocalSteps])
def test_steps_share_the_memory_of_the_first(kind: type[SharedTraining]) -> None:
    training, params = begun(plan_of(), problem(), kind=kind, n_hidden=10_000, local_steps=2)
    training.run(seconds=60)
    tracemalloc.start()
    try:
        training.run(seconds=60)
        assert tracemalloc.get_traced_memory()[1] < params.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.1, "l1_ratio": 0.3, "alpha": 0.1}, {"solver": "sgd"}])
@pytest.mark.parametrize("n_blocks", [8, 5])
def test_any_number_of_workers_gives_the_same_bits(dtype: str, options: dict[str, Any], n_blocks: int) -> None:
    data, plan = problem(dtype), plan_of(n_blocks=n_blocks)
    params, losses = train(plan, data, 1, **options)
    for n_workers, n_threads, n_pieces in ((2, 1, 1), (3, 2, 4), (5, 1, 2), (8, 3, 1), (9, 1, 13)):
        others, their_losses = train(plan, data, n_workers, n_threads=n_threads, n_pieces=n_pieces, **options)
        np.testing.assert_array_equal(others, params)
        assert their_losses == losses


def test_compressed_gradients_give_the_same_bits_for_any_number_of_workers() -> None:
    data, plan = problem("float32"), plan_of()
    params, _ = train(plan, data, 1, compression="bfloat16")
    assert not np.array_equal(params, train(plan, data, 1)[0])
    for n_workers in (2, 3, 8):
        np.testing.assert_array_equal(train(plan, data, n_workers, compression="bfloat16")[0], params)


def test_numbers_are_rounded_to_the_nearest_bfloat16() -> None:
    random = np.random.RandomState(0)
    values = np.concatenate(
        [random.standard_normal(100), [1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8), 0, np.inf, -np.inf, np.nan, 3.4e38]]
    ).astype(np.float32)
    rounded = values.copy()
    round_to_bfloat16(rounded)
    np.testing.assert_allclose(rounded[:100], values[:100], rtol=2**-8)  # half of the last of eight bits
    # Ties go to the even neighbour; what is too large becomes infinite.
    np.testing.assert_array_equal(rounded[100:], [1, 1 + 4 * 2**-8, -1, 0, np.inf, -np.inf, np.nan, np.inf])
    again = np.empty_like(rounded)
    from_bfloat16(to_bfloat16(rounded), again)
    np.testing.assert_array_equal(again, rounded)
    not_numbers = np.array([0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)  # rounded as numbers, they would be
    round_to_bfloat16(not_numbers)
    assert np.isnan(not_numbers).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_a_shard_finds_its_rows_in_any_pieces(sparse: bool) -> None:
    X = np.random.RandomState(0).standard_normal((5000, 3)).round(1)
    ends = [0, 0, 1, 2, 1500, 1500, 1502, 4000, 5000]
    pieces = [X[a:b] for a, b in itertools.pairwise(ends)]
    shard = Shard([scipy.sparse.csr_array(p) for p in pieces] if sparse else pieces, X[:, 0], None, np.dtype("float32"))
    for rows in (np.array([4999, 0, 1501, 1, 3, 1]), slice(1499, 1503), slice(2, 5)):
        found, targets, _ = shard.block(rows)
        found = found.toarray() if sparse else found
        np.testing.assert_array_equal(found, X[rows].astype("float32"))
        np.testing.assert_array_equal(targets, X[rows, 0])


def test_a_block_costs_no_copy_of_its_shard_however_that_lies_in_memory() -> None:
    X = np.random.RandomState(0).standard_normal((200_000, 5)).astype("float32")
    unaligned = np.ndarray(X.shape, "float32", np.zeros(X.nbytes + 1, np.uint8), 1)
    unaligned[...] = X
    rows = np.array([199_999, 0, 7])
    for piece in (X, np.asfortranarray(X), unaligned):
        shard = Shard([piece], X[:, 0], None, X.dtype)
        np.testing.assert_array_equal(shard.block(rows)[0], X[rows])
        tracemalloc.start()
        shard.block(rows)
        assert tracemalloc.get_traced_memory()[1] < 10_000
        tracemalloc.stop()


def test_the_model_of_a_step() -> None:
    """Of the guide: gradients / k + update + waits x latency + 2 (k - 1) / k x bytes / bandwidth."""
    model, net = Model(gradients=8.0, update=1.0, n_bytes=100, own=0.0), Net("slow", 0.5, 50.0)
    assert model.seconds(1, net) == 9
    assert model.seconds(2, net) == 4 + 1 + 0.5 + 2
    assert model.seconds(4, net) == 2 + 1 + 1 + 3
    assert model.seconds(4, LOOPBACK, batches=4) == 8 + 1
