"""The estimators of a Dask cluster: the same bits for any workers and chunks, the plain one's to rounding."""

import pickle
import subprocess
import sys
import weakref
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")
pytest.importorskip("dask.dataframe")

import dask
import dask.array as da
import dask.dataframe as dd
import pandas as pd
import scipy.sparse
from distributed import Client
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from small_cluster import N_ROWS, classes, classifier, cluster, numbers, parameters, regressor

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.dask import DaskMLPClassifier, fit_blocks
from fastmlp.dask.coordinator import Coordinator
from fastmlp.dask.placement import checked
from fastmlp.dask.plan import Plan

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:Sending large graph")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with cluster(3) as found:
        yield found


def unknown(array: Any) -> Any:
    """The same with chunk sizes that nobody has counted."""
    parts = array.to_delayed().ravel()
    shape = (np.nan, *array.shape[1:])
    return da.concatenate([da.from_delayed(part, shape, dtype=array.dtype) for part in parts])


def test_same_bits_on_any_workers_threads_and_chunks() -> None:
    X = numbers("float32")
    y, w = classes(X), np.random.RandomState(1).uniform(0, 3, N_ROWS)
    expected: Any = None
    chunks = [N_ROWS, 40, (1, 100, 0, 29, 100), 7]
    for n_workers, n_threads in ((1, 1), (2, 2), (3, 1), (5, 3), (8, 1)):
        with cluster(n_workers, n_threads):
            for number in (n_workers, n_workers + 1):
                dX, dy = da.from_array(X, (chunks[number % 4], 3)), da.from_array(y, chunks[(number + 1) % 4])
                model = classifier().fit(dX, dy, da.from_array(w, chunks[(number + 2) % 4]))
                found = (*model.loss_curve_, *parameters(model))
                expected = expected or found
                assert found == expected
    shuffled_otherwise = X[::-1], y[::-1], w[::-1]
    with cluster(2):
        other = classifier().fit(*(da.from_array(each, N_ROWS) for each in shuffled_otherwise))
    assert not np.array_equal(parameters(other), expected[3:])


@pytest.mark.parametrize("options", [{}, {"solver": "sgd", "learning_rate": "cosine", "clip_norm": 0.1}])
def test_equal_to_the_plain_estimator(client: Client, options: dict[str, Any]) -> None:
    X = numbers()
    y = classes(X)
    options |= {"max_iter": 20, "shuffle": False}
    model = classifier(**options).fit(da.from_array(X, (31, 5)), da.from_array(y, 100))
    plain = MLPClassifier(**dict(model.to_local().get_params().items())).fit(X, y)
    np.testing.assert_allclose(parameters(model), parameters(plain), rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.loss_curve_, plain.loss_curve_, rtol=1e-9)
    assert (model.n_iter_, model.t_) == (plain.n_iter_, plain.t_)


def test_equal_to_the_plain_estimator_on_rows_in_the_order_of_the_plan(client: Client) -> None:
    X = numbers()
    Y = np.stack([X[:, 0] ** 2, X[:, 1]], axis=1)
    model = regressor(max_iter=20, alpha=0.1).fit(da.from_array(X, (31, 5)), da.from_array(Y, (100, 2)))
    plan = plan_of(model)
    plain = MLPRegressor(**model.to_local().get_params() | {"shuffle": False, "max_iter": 1})
    plain.initialize(X, Y)
    for epoch in range(20):
        order = plan.epoch_order(epoch)
        plain.partial_fit(X[order], Y[order])
    np.testing.assert_allclose(parameters(model), parameters(plain), rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.loss_, plain.loss_, rtol=1e-9)


def plan_of(model: Any) -> Plan:
    random_state = np.random.RandomState(model.random_state)
    words = random_state.randint(2**32, size=4, dtype=np.uint32)
    seeds = np.random.RandomState(words).randint(2**32, size=model.n_blocks, dtype=np.uint32)
    return Plan(N_ROWS, model.batch_size, model.n_blocks, model.shuffle, tuple(seeds.tolist()))


def test_data_frames_series_and_unknown_chunks(client: Client) -> None:
    X = numbers()
    y = classes(X)
    frame = pd.DataFrame(X, columns=list("abcde"))
    expected = classifier().fit(da.from_array(X, (50, 5)), da.from_array(y, 50))
    dX = dd.from_pandas(frame, npartitions=4)
    model = classifier().fit(dX, dd.from_pandas(pd.Series(y), npartitions=3))
    np.testing.assert_array_equal(parameters(model), parameters(expected))
    assert model.feature_names_in_.tolist() == list("abcde")
    np.testing.assert_array_equal(model.predict(dX).compute(), model.to_local().predict(frame))
    probabilities = model.predict_proba(dX)
    assert probabilities.ndim == 2
    np.testing.assert_array_equal(probabilities.compute(), model.to_local().predict_proba(frame))
    of_one_column = dd.from_pandas(pd.DataFrame({"y": y}), npartitions=2)
    model = classifier().fit(unknown(da.from_array(X, (41, 5))), of_one_column)
    np.testing.assert_array_equal(parameters(model), parameters(expected))


def test_parquet_is_read_lazily(client: Client, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    X = numbers()
    frame = pd.DataFrame(X, columns=list("abcde")).assign(y=X[:, 0] - X[:, 1])
    for number, (a, b) in enumerate(pairwise([0, 60, 100, N_ROWS])):
        frame[a:b].to_parquet(tmp_path / f"{number}.parquet")
    table = dd.read_parquet(tmp_path)
    model = regressor().fit(table[list("abcde")], table["y"])
    expected = regressor().fit(da.from_array(X, (50, 5)), da.from_array(X[:, 0] - X[:, 1], 50))
    np.testing.assert_array_equal(parameters(model), parameters(expected))


def test_sparse_blocks(client: Client) -> None:
    X = numbers()
    X[np.abs(X) < 1] = 0
    y = X[:, 0] + X[:, 1]
    blocks = [dask.delayed(scipy.sparse.csr_array)(X[a:b]) for a, b in ((0, 100), (100, 130), (130, N_ROWS))]
    dX = da.concatenate([da.from_delayed(block, (np.nan, 5), dtype=float) for block in blocks])
    model, expected = (regressor().fit(each, da.from_array(y, 90)) for each in (dX, da.from_array(X, (50, 5))))
    np.testing.assert_allclose(parameters(model), parameters(expected), rtol=0, atol=1e-12)


def test_empty_partitions_and_one_row_each(client: Client) -> None:
    X = numbers()[:60]
    y = classes(X)
    expected = classifier().fit(da.from_array(X, (60, 5)), da.from_array(y, 60))
    for chunks in ((0, 30, 0, 0, 30, 0), 1):
        model = classifier().fit(da.from_array(X, (chunks, 5)), da.from_array(y, (chunks,)))
        np.testing.assert_array_equal(parameters(model), parameters(expected))
    found = model.predict(da.from_array(X, ((0, 60, 0), 5))).compute()
    np.testing.assert_array_equal(found, expected.to_local().predict(X))


def test_ten_thousand_partitions(client: Client) -> None:
    X = np.random.RandomState(0).standard_normal((10_000, 5))
    few = regressor(batch_size=1000).fit(da.from_array(X, (5000, 5)), da.from_array(X[:, 0], 5000))
    many = regressor(batch_size=1000).fit(da.from_array(X, (1, 5)), da.from_array(X[:, 0], 100))
    np.testing.assert_array_equal(parameters(many), parameters(few))


def test_partitions_lie_together_and_are_computed_anew_by_anybody(client: Client) -> None:
    """So that those of a shard need not travel, and none is lost with its worker."""

    def restricted(dask_scheduler: Any) -> list[Any]:
        tasks = list(dask_scheduler.tasks.values())
        return [task.key for task in tasks if task.worker_restrictions and not task.loose_restrictions]

    X = da.from_array(numbers(), (20, 5)).map_blocks(lambda rows: rows + 1)
    column = checked(client, X, "X", "X", MLPClassifier(), 3, 60, False)
    assert len(column.groups) == 12
    held = client.who_has(column.groups)
    holders = [held[group.key][0] for group in column.groups]
    assert [len(set(holders[rank * 4 : rank * 4 + 4])) for rank in range(3)] == [1, 1, 1]
    assert len(set(holders)) == 3
    assert client.run_on_scheduler(restricted) == []


def test_more_workers_than_blocks_and_than_rows() -> None:
    X = numbers()[:5]
    with cluster(4):
        model = regressor(n_blocks=2, batch_size=3).fit(da.from_array(X, (2, 5)), da.from_array(X[:, 0], 1))
    with cluster(1):
        alone = regressor(n_blocks=2, batch_size=3).fit(da.from_array(X, (5, 5)), da.from_array(X[:, 0], 5))
    np.testing.assert_array_equal(parameters(model), parameters(alone))


def test_a_class_that_a_worker_lacks_and_several_labels(client: Client) -> None:
    X = np.sort(numbers(), axis=0)
    y = classes(X)  # sorted, too: the first partitions hold a single class
    model = classifier(class_weight="balanced").fit(da.from_array(X, (40, 5)), da.from_array(y, 40))
    assert model.classes_.tolist() == ["none", "one", "two"]
    plain = MLPClassifier(**model.to_local().get_params() | {"shuffle": False}).fit(X, y)
    model = clone(model).set_params(shuffle=False).fit(da.from_array(X, (40, 5)), da.from_array(y, 40))
    np.testing.assert_allclose(parameters(model), parameters(plain), rtol=0, atol=1e-9)
    labels = (X[:, :2] > 0).astype(int)
    model = classifier(shuffle=False).fit(da.from_array(X, (40, 5)), da.from_array(labels, (40, 2)))
    plain = MLPClassifier(**model.to_local().get_params()).fit(X, labels)
    np.testing.assert_allclose(parameters(model), parameters(plain), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(model.predict(da.from_array(X, (40, 5))).compute(), plain.predict(X))


@pytest.mark.parametrize("scoring", [None, "loss", "balanced_accuracy"])
def test_early_stopping_on_given_rows(client: Client, scoring: Any) -> None:
    X = numbers()
    y = classes(X)
    options = {"early_stopping": True, "shuffle": False, "max_iter": 40, "scoring": scoring, "n_iter_no_change": 3}
    held_out = {"X_val": X[:60], "y_val": y[:60]}
    model = classifier(**options).fit(
        da.from_array(X, (40, 5)), da.from_array(y, 40), X_val=da.from_array(X[:60], (20, 5)),
        y_val=da.from_array(y[:60], 60),
    )  # fmt: skip
    plain = MLPClassifier(**model.to_local().get_params()).fit(X, y, **held_out)
    assert model.best_epoch_ == plain.best_epoch_
    np.testing.assert_allclose(model.validation_scores_, plain.validation_scores_, rtol=1e-9)
    np.testing.assert_allclose(parameters(model), parameters(plain), rtol=0, atol=1e-9)


def test_local_estimator_pickle_file_and_clone(client: Client, tmp_path: Path) -> None:
    X = numbers("float32")
    model = classifier(client=client).fit(da.from_array(X, (100, 5)), da.from_array(classes(X), 100))
    local = model.to_local()
    assert type(local) is MLPClassifier
    model.save(tmp_path / "model")
    for other in (local, fastmlp.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    copy = clone(model)
    assert copy.client is client
    assert not hasattr(copy, "coefs_")
    assert type(DaskMLPClassifier().to_local()) is MLPClassifier
    assert repr(DaskMLPClassifier(n_blocks=4)) == "DaskMLPClassifier(n_blocks=4)"
    with pytest.raises(AttributeError, match="to_local"):
        model.partial_fit(X, classes(X))
    assert 0 <= model.communication_ <= 1


def test_without_dask_or_a_cluster_there_is_a_sentence() -> None:
    code = "import sys; sys.modules['distributed'] = None; import fastmlp.dask"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'fastmlp.dask needs Dask: pip install "fastmlp[dask]"' in found.stderr


def test_predictions_are_lazy(client: Client) -> None:
    X = numbers()
    dX = da.from_array(X, (100, 2))
    model = make_pipeline(regressor(loss="huber")).fit(dX, da.from_array(X[:, :2], (100, 2)))
    lazy = model.predict(dX)
    assert dask.is_dask_collection(lazy)
    assert lazy.shape == (N_ROWS, 2)
    np.testing.assert_array_equal(lazy.compute(), model[0].to_local().predict(X))
    assert isinstance(model.predict(X), np.ndarray)
    hinge = classifier(loss="hinge").fit(dX, da.from_array(classes(X), 100))
    np.testing.assert_array_equal(hinge.decision_function(dX).compute(), hinge.to_local().decision_function(X))
    assert not hasattr(hinge, "predict_proba")
    assert model.predict(dX).name == lazy.name, "what is asked for twice is computed once"
    np.testing.assert_array_equal(model.predict(dX.rechunk((100, 3))).compute(), model[0].to_local().predict(X))


def test_the_share_of_time_that_is_spent_in_talking(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Coordinator.run

    def run(self: Coordinator) -> Any:
        state, said = original(self)
        return state, said | {"communication": 0.125, "seconds": 0.5}

    monkeypatch.setattr(Coordinator, "run", run)
    X = numbers()
    assert regressor().fit(da.from_array(X, (100, 5)), da.from_array(X[:, 0], 100)).communication_ == 0.25


@pytest.mark.parametrize("local_steps", [1, 2])
def test_time_is_up_for_all_workers_at_once(client: Client, local_steps: int) -> None:
    X = numbers()
    model = regressor(max_time=0.3, max_iter=10**7, tol=0, n_iter_no_change=np.inf, local_steps=local_steps)
    model.fit(da.from_array(X, (100, 5)), da.from_array(X[:, 0], 100))
    assert 1 < model.n_iter_ < 10**7


@pytest.mark.parametrize("options", [{}, {"solver": "sgd", "learning_rate": "cosine"}])
def test_local_steps_give_the_same_bits_on_any_workers(options: dict[str, Any]) -> None:
    X, w = numbers(), np.random.RandomState(1).uniform(0, 3, N_ROWS)
    # A last step of 11 rows, some of whose blocks are larger than those of other steps.
    options = {"batch_size": 12, "local_steps": 4, "max_iter": 20, "alpha": 0.1} | options
    found = []
    for n_workers in (1, 3):
        with cluster(n_workers):
            arrays = (da.from_array(each[:227], (100, 5)[: each.ndim]) for each in (X, X[:, 0], w))
            found.append(regressor(**options).fit(*arrays))
    np.testing.assert_array_equal(parameters(found[0]), parameters(found[1]))
    assert found[0].loss_curve_ == found[1].loss_curve_
    assert found[0].loss_ < 0.8 * found[0].loss_curve_[0]


def test_local_steps_of_one_block_are_those_of_the_plain_estimator(client: Client) -> None:
    X = numbers()
    model = regressor(n_blocks=1, local_steps=3, shuffle=False, max_iter=20, alpha=0.1)
    model.fit(da.from_array(X, (100, 5)), da.from_array(X[:, 0], 100))
    plain = MLPRegressor(**model.to_local().get_params()).fit(X, X[:, 0])
    np.testing.assert_allclose(parameters(model), parameters(plain), rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.loss_curve_, plain.loss_curve_, rtol=1e-9)


def test_products_of_bfloat16_give_the_same_bits_on_any_workers() -> None:
    X, found = numbers("float32"), []
    for n_workers in (1, 3):
        with cluster(n_workers):
            model = regressor(dtype="bfloat16", max_iter=30)
            found.append(model.fit(da.from_array(X, (100, 5)), da.from_array(X[:, 0], 100)))
    np.testing.assert_array_equal(parameters(found[0]), parameters(found[1]))
    assert found[0].to_local().score(X, X[:, 0]) > 0


def test_compressed_gradients_train_as_well() -> None:
    X = numbers("float32")
    found = []
    for n_workers in (1, 3):
        with cluster(n_workers):
            model = regressor(compression="bfloat16", max_iter=30)
            found.append(model.fit(da.from_array(X, (100, 5)), da.from_array(X[:, 0], 100)))
    np.testing.assert_array_equal(parameters(found[0]), parameters(found[1]))
    with cluster(2):
        exact = regressor(max_iter=30).fit(da.from_array(X, (100, 5)), da.from_array(X[:, 0], 100))
    # Gradients of eight bits: their errors, of half a per cent, cancel out in part over 150 steps.
    assert found[0].loss_ == pytest.approx(exact.loss_, rel=0.02)
    assert found[0].loss_ != exact.loss_


def test_a_plain_estimator_trains_block_by_block() -> None:
    X = numbers()
    y = classes(X)
    arrays = da.from_array(X, ((0, 60, 100, 70), 5)), da.from_array(y, ((0, 60, 100, 70),))
    first, second = (
        fit_blocks(MLPClassifier((9,), max_iter=40, random_state=3, learning_rate_init=0.01), *arrays) for _ in range(2)
    )
    np.testing.assert_array_equal(parameters(first), parameters(second))
    assert len(first.loss_curve_) == 3 * 40
    assert first.score(X, y) > 0.9
    assert first.random_state == 3
    assert first.max_iter == 40
    labels = da.from_array((X[:, :3] > 0).astype(int), ((0, 60, 100, 70), 3))
    assert fit_blocks(MLPClassifier((9,), max_iter=1), arrays[0], labels).predict(X).shape == (N_ROWS, 3)
    with pytest.raises(ValueError, match="rechunk them alike"):
        fit_blocks(MLPClassifier(), arrays[0], arrays[1].rechunk(100))


def test_a_schedule_of_block_by_block_training_ends_with_its_last_epoch() -> None:
    X, rates = numbers(), list[float]()

    def falling(progress: float) -> float:
        rates.append(progress)
        return 1 - progress

    fit_blocks(
        MLPRegressor(hidden_layer_sizes=3, max_iter=5, learning_rate=falling, batch_size=10),
        da.from_array(X, (50, 5)),
        da.from_array(X[:, 0], 50),
    )
    assert max(rates) > 0.9
    assert max(rates[: len(rates) // 2]) < 0.6


def test_block_by_block_training_keeps_two_blocks_in_memory() -> None:
    n_rows, alive, most = 1000, list[int](), list[int]()

    def make() -> Any:
        alive.append(1)
        most.append(len(alive))
        block = np.zeros((n_rows, 50))
        weakref.finalize(block, alive.pop)
        return block

    parts = [da.from_delayed(dask.delayed(make, pure=False)(), (n_rows, 50), dtype=float) for _ in range(20)]
    with dask.config.set(scheduler="threads"):  # rather than on the cluster of another test
        y = da.zeros(20 * n_rows, chunks=n_rows)
        fit_blocks(MLPRegressor(hidden_layer_sizes=3, max_iter=2), da.concatenate(parts), y)
    assert len(most) == 40
    assert max(most) <= 3  # that which is used, the next, and that which the loop has not let go of yet
