"""What is looked at in partitions, what is cut from them, and what all workers are told; without a cluster."""

import inspect
import re
import warnings
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")
pytest.importorskip("dask.dataframe")

import dask
import dask.array as da
import pandas as pd
import scipy.sparse
import sklearn
from small_cluster import N_ROWS, classes, classifier, numbers, parameters, regressor

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.dask import DaskMLPClassifier, DaskMLPRegressor, estimators, fit_blocks, preparation
from fastmlp.dask.partitions import (
    About,
    Group,
    check_labels,
    check_rows,
    check_values,
    check_weights,
    checksum,
    cut,
    joined,
)
from fastmlp.dask.placement import Column, near, partitions_of
from fastmlp.dask.plan import Plan
from fastmlp.dask.preparation import Data, job_of
from fastmlp.dask.shards import FEW_ROWS, Shard, _joined

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

X = numbers()
Y = classes(X)


# -- partitions --


def test_rows_of_some_partitions() -> None:
    frames = [pd.DataFrame(X[:2], columns=list("abcde")), pd.DataFrame(X[:0], columns=list("abcde"))]
    frames.append(pd.DataFrame(X[2:5].astype("float32"), columns=list("abcde")))
    group = check_rows(frames, 7, "X", MLPRegressor())
    assert (group.about.rows, group.about.shape, group.about.dtype) == ((2, 0, 3), (5,), np.float64)
    assert group.about.names is not None
    assert group.about.names.tolist() == list("abcde")
    assert group.parts[1] is None
    assert check_rows([X[:0]], 0, "X", MLPRegressor()).about == About((0,))


def test_rows_lie_together_where_a_frame_has_them_apart() -> None:
    """An array's are left where they are."""
    view = X[:, :3]
    frame, array = (check_rows([part], 0, "X", MLPRegressor()).parts[0] for part in (pd.DataFrame(view), view))
    assert frame.flags.c_contiguous
    assert np.shares_memory(array, X)


@pytest.mark.parametrize(
    ("check", "parts", "message"),
    [
        (check_rows, [X, X[:, 0]], r"^partition 8 of X: Expected 2D array, got 1D array instead\.$"),
        (check_rows, [X, X[:, :4]], r"^partition 8 of X: it has rows of the shape \(4,\), those before it of \(5,\)$"),
        (check_weights, [X[:, 0] ** 2, X**2], "^partition 8 of X: weights must be 1D$"),
    ],
)
def test_partitions_of_another_shape_are_refused(check: Any, parts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(parts, 7, "X", MLPRegressor())


def test_labels_of_some_partitions() -> None:
    column = pd.DataFrame({"y": ["b", "b", "a"]})
    group = check_labels([column, np.array([], dtype=str), np.array(["c", "a"])], 0, "y", MLPClassifier())
    assert [part.tolist() for part in group.parts] == [["b", "b", "a"], [], ["c", "a"]]
    assert (group.about.rows, group.about.shape) == ((3, 0, 2), ())
    assert group.about.classes is not None
    assert group.about.counts is not None
    assert (group.about.classes.tolist(), group.about.counts.tolist()) == (["a", "b", "c"], [2, 2, 1])
    assert check_labels([np.array([])], 0, "y", MLPClassifier()).about == About((0,))
    assert (group.about.square, group.about.highest) == (0, 0), "neither targets nor weights"
    several = check_labels([np.eye(3, dtype=int)], 0, "y", MLPClassifier()).about
    assert several.shape == (3,)
    assert several.classes is not None
    assert (several.classes.tolist(), several.counts) == ([[1, 0, 0], [0, 1, 0]], None)
    with pytest.raises(TypeError, match=r"^partition 3 of y: a sparse matrix of targets is for one machine: use toarr"):
        check_labels([scipy.sparse.csr_array(np.eye(3, dtype=int))], 3, "y", MLPClassifier())


def test_values_and_weights_of_some_partitions() -> None:
    values = check_values([np.array([[1.0, 3.0]]), np.empty((0, 2)), np.array([[0.0, 2.0], [4.0, 0.0]])], 0, "y",
                          MLPRegressor()).about  # fmt: skip
    assert (values.rows, values.shape, values.square) == ((1, 0, 2), (2,), (1 + 9 + 4 + 16) / 2)
    assert check_values([np.ones((2, 1))], 0, "y", MLPRegressor()).parts[0].shape == (2,)
    weights = check_weights([[0.25, 0.5], [], [0.125]], 0, "sample_weight", MLPRegressor()).about
    assert (weights.rows, weights.shape, weights.highest) == ((2, 0, 1), (), 0.5)


def test_the_sum_of_all_bits_is_that_of_any_partitions() -> None:
    def summed(*parts: Any) -> int:
        return checksum(Group(list(parts), About(())))

    assert summed(np.full((1, 2), -1.0)) == 2 * 0xBFF0000000000000 % 2**64
    assert summed(np.full((1, 1), -1.0), None, np.full((1, 1), -1.0)) == 2 * 0xBFF0000000000000 % 2**64
    assert summed(scipy.sparse.csr_array(X)) == summed(X[:100], X[100:]) == summed(np.asfortranarray(X))


def test_the_sum_of_all_bits_of_all_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "gather", lambda *_, had_workers: [2**63, 2**63 + 500])
    data = SimpleNamespace(_client=SimpleNamespace(map=lambda *_, **__: []), columns=[Column([], [])], _wait_limit=1)
    assert Data.checksum(data) == 500  # type: ignore[arg-type]


@pytest.mark.parametrize("shuffle", [True, False])
def test_rows_are_cut_where_there_are_some(shuffle: bool) -> None:
    """Empty partitions give no piece, and groups that touch a shard are not asked."""
    plan = Plan(N_ROWS, 50, 4, shuffle, (0, 1, 2, 3))
    assert plan.most_rows == 13
    sizes = (0, 57, 0, 1, 57, 100, 15)
    ends = np.cumsum((0, *sizes))
    parts = [X[begin:end] if end > begin else None for begin, end in pairwise(ends)]
    found = []
    for block in range(4):
        pieces = cut(Group(parts, About(sizes)), plan, block, 0)
        assert all(map(len, pieces))
        np.testing.assert_array_equal(np.concatenate(pieces), X[plan.shard_in(block, 0, N_ROWS)])
        found += [len(piece) for piece in pieces]
        for begin, end in pairwise(ends):
            has_rows = len(X[begin:end][plan.shard_in(block, int(begin), int(end))]) > 0
            assert plan.has_rows_in(block, int(begin), int(end)) >= has_rows
            assert has_rows or not shuffle or not plan.has_rows_in(block, int(begin), int(end))
    assert sum(found) == N_ROWS


def test_pieces_are_joined_where_there_are_several() -> None:
    assert joined([[None, X[:3]], [X[:0]]]).base is X
    np.testing.assert_array_equal(joined([[X[:3], None], [X[:0], X[3:5]]]), X[:5])
    sparse = joined([[scipy.sparse.csr_array(X[:3])], [scipy.sparse.csr_array(X[3:5])]])
    np.testing.assert_array_equal(sparse.toarray(), X[:5])
    np.testing.assert_array_equal(joined([[X[:2, 0], X[2:4, 0]]]), X[:4, 0])


# -- shards --


def test_small_pieces_are_joined_and_large_ones_left_alone() -> None:
    sizes = [0, 1, FEW_ROWS - 1, 1, FEW_ROWS, 5, FEW_ROWS]
    pieces = [np.full((size, 1), float(number)) for number, size in enumerate(sizes)]
    found = _joined(pieces)
    assert [len(piece) for piece in found] == [FEW_ROWS, 1, FEW_ROWS, 5, FEW_ROWS]
    assert all(a is b for a, b in zip(found[1:], pieces[3:], strict=True))
    assert len(_joined([pieces[0], pieces[0]])) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_pieces", [1, 2])
def test_blocks_of_a_shard(dtype: str, n_pieces: int) -> None:
    rows = np.random.RandomState(0).standard_normal((2 * FEW_ROWS, 3))
    shard = Shard(np.array_split(rows, n_pieces), rows[:, 0], rows[:, 1], np.dtype(dtype))
    for some in (np.array([5, 2 * FEW_ROWS - 1]), np.array([7, FEW_ROWS]), slice(FEW_ROWS - 1, FEW_ROWS + 1)):
        found, targets, weights = shard.block(some)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, rows[some].astype(dtype))
        np.testing.assert_array_equal(targets, rows[some, 0])
        np.testing.assert_array_equal(weights, rows[some, 1])


def test_a_block_is_written_where_the_one_before_was() -> None:
    shard = Shard([X], X[:, 0], None, X.dtype)
    first = shard.block(np.array([0, 1, 2]))[0]
    assert np.shares_memory(shard.block(np.array([3, 4, 5]))[0], first)
    assert np.shares_memory(shard.block(np.array([3, 4]))[0], first)
    assert np.shares_memory(shard.block(slice(3, 9))[0], X), "without shuffling nothing is copied"


# -- collections and where they lie --


def test_what_has_no_partitions_is_refused() -> None:
    for other, name in ((dask.delayed(X), "DelayedLeaf"), (X, "ndarray"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"^X is a {name}, and must be a dask array or data frame: train an "):
            partitions_of(other, "X")
    assert len(partitions_of(da.from_array(X, (100, 3)), "X")) == 3
    assert len(partitions_of(da.from_array(X[:, 0], 100), "y")) == 3
    assert [part.compute().shape for part in partitions_of(da.from_array(X, (200, 3)), "X")] == [(200, 5), (30, 5)]


def test_workers_stand_in_the_order_of_the_rows_that_they_hold() -> None:
    groups = [SimpleNamespace(key=key) for key in "abcdefgh"]
    held = {"a": ("far",), "b": ("near",), "c": ("near",), "d": ("near",), "e": ("middle",), "h": ("far",)}
    client: Any = SimpleNamespace(who_has=lambda _: held)
    column = Column(groups, [About((10,))] * 8)
    assert near(client, column, ["new", "middle", "far", "near"]) == ["near", "far", "middle", "new"]
    assert [span[1:] for span in column.spans()][:2] == [(0, 10), (10, 20)]


# -- what all workers are told --


def job(model: Any, rows: Any = X, y: Any = Y, weights: Any = None, n_parts: int = 1) -> Any:
    """Of partitions that are all in one group each."""

    def column(check: Any, values: Any) -> Column:
        parts = np.array_split(values, n_parts)
        return Column([], [check([part], 0, "", local).about for part in parts])

    local = model.to_local()
    check = check_labels if isinstance(model, DaskMLPClassifier) else check_values
    columns = (column(check_rows, rows), column(check, y), None if weights is None else column(check_weights, weights))
    data: Any = SimpleNamespace(rows=preparation._row(columns[0], "X"), columns=columns)
    return job_of(local, model._settings(), data)


@pytest.mark.parametrize("n_parts", [1, 3])
def test_a_job(n_parts: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = job(classifier(batch_size=N_ROWS), n_parts=n_parts)
    assert (found.n_units, found.loss, found.dtype, found.heaviest) == ((5, 7, 3), "log_loss", "float64", 1)
    assert found.labels.classes.tolist() == ["none", "one", "two"]
    assert (found.plan.batch_size, found.plan.n_rows, found.plan.n_blocks) == (N_ROWS, N_ROWS, 8)
    several = job(classifier(), y=X[:, :2] > 0, n_parts=n_parts)
    assert (several.n_units[-1], several.loss) == (2, "binary_log_loss")
    values = job(regressor(dtype="float32"), y=X[:, :2], n_parts=n_parts)
    assert (values.n_units[-1], values.loss, values.dtype) == (2, "squared_error", "float32")
    assert job(regressor(), y=X[:, 0], n_parts=n_parts).n_units[-1] == 1


def test_rows_of_a_batch() -> None:
    many = np.ones((300, 1))
    assert job(regressor(batch_size="auto"), many, many[:, 0]).plan.batch_size == 200
    assert job(regressor(batch_size="auto"), X[:7], X[:7, 0]).plan.batch_size == 7
    with pytest.warns(UserWarning, match="It is going to be clipped"):
        assert job(regressor(batch_size=301), many, many[:, 0]).plan.batch_size == 300


def test_the_heaviest_row() -> None:
    weights = np.linspace(0, 0.75, N_ROWS)
    assert job(classifier(), weights=weights, n_parts=3).heaviest == 0.75
    assert job(classifier(class_weight={"one": 3.0}), weights=weights).heaviest == 2.25
    balanced = job(classifier(class_weight="balanced"), n_parts=3).settings.class_weight
    assert balanced == {label: N_ROWS / (3 * np.count_nonzero(label == Y)) for label in np.unique(Y)}
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero number"):
        job(classifier(), weights=0 * weights)
    with pytest.raises(ValueError, match="class_weight does not go with several labels on a cluster"):
        job(classifier(class_weight="balanced"), y=X[:, :2] > 0)


def test_compression_goes_with_float32_alone() -> None:
    assert job(regressor(compression="bfloat16", dtype="float32"), y=X[:, 0]).dtype == "float32"
    with pytest.raises(ValueError, match="is for gradients of float32: pass dtype='float32'"):
        job(regressor(compression="bfloat16"), y=X[:, 0])


def test_the_size_of_targets() -> None:
    y = Column([], [About((3,), square=16.0), About((1,), square=20.0)])
    assert Data.size_of_targets(SimpleNamespace(columns=(None, y, None))).tolist() == [3.0]  # type: ignore[arg-type]


# -- the estimators --


@pytest.mark.parametrize("kind", [DaskMLPClassifier, DaskMLPRegressor])
def test_defaults_are_the_documented_ones(kind: Any) -> None:
    for name, value in inspect.signature(kind).parameters.items():
        assert re.search(rf"^{name} : ", kind.__doc__, re.MULTILINE), name
        if name in estimators.OWN:
            default = f'"{value.default}"' if isinstance(value.default, str) else value.default
            assert re.search(rf"^{name} : .*default={default}$", kind.__doc__, re.MULTILINE), name
    assert "checkpoint_seconds : float, default=0.0\n" in kind.fit.__doc__
    assert inspect.signature(kind.fit).parameters["checkpoint_seconds"].default == 0


def test_any_time_may_be_waited_but_none() -> None:
    regressor(wait_limit=0.5)._validate_params()
    with pytest.raises(ValueError, match="'wait_limit' parameter of DaskMLPRegressor must be a float in the range"):
        regressor(wait_limit=0)._validate_params()


def test_the_arguments_of_fit_can_be_routed() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        assert isinstance(classifier().set_fit_request(sample_weight=True, X_val=True), DaskMLPClassifier)


def test_without_a_cluster() -> None:
    with pytest.raises(
        ValueError, match=r"^DaskMLPRegressor needs a cluster: make a distributed\.Client first, or pass"
    ):
        regressor().fit(da.from_array(X, (100, 5)), da.from_array(X[:, 0], 100))


# -- block by block --


def blocks(values: Any, *sizes: int) -> Any:
    return da.from_array(values, (sizes, *values.shape[1:]))


def small(**options: Any) -> MLPRegressor:
    return MLPRegressor(**{"hidden_layer_sizes": (3,), "random_state": 0, "shuffle": False} | options)


def test_one_block_trains_as_partial_fit_does() -> None:
    w = np.random.RandomState(1).uniform(0, 3, N_ROWS)
    model = fit_blocks(small(max_iter=3), blocks(X, N_ROWS), blocks(X[:, 0], N_ROWS), blocks(w, N_ROWS))
    expected = small(random_state=np.random.RandomState(0))
    for _ in range(3):
        expected.random_state.permutation(1)
        expected.partial_fit(X, X[:, 0], w)
    np.testing.assert_array_equal(parameters(model), parameters(expected))


@pytest.mark.parametrize("sizes", [(N_ROWS,), (100, 130)])
def test_several_labels_and_labels_in_a_column(sizes: tuple[int, ...]) -> None:
    for labels in (X[:, :2] > 0, np.ones((N_ROWS, 2), int)):
        model = fit_blocks(MLPClassifier((3,), max_iter=1), blocks(X, *sizes), blocks(labels, *sizes))
        assert model.predict(X).shape == (N_ROWS, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it should be a vector
        model = fit_blocks(MLPClassifier((3,), max_iter=1), blocks(X, *sizes), blocks(Y[:, None], *sizes))
    assert model.classes_.tolist() == ["none", "one", "two"]


@pytest.mark.parametrize("tol", [1e9, 1e-3])
def test_epochs_that_are_no_better_end_it(tol: float) -> None:
    """After one more than `n_iter_no_change` of them."""
    model = small(max_iter=50, n_iter_no_change=2, tol=tol, learning_rate_init=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_blocks(model, blocks(X, 100, 130), blocks(X[:, 0], 100, 130))
    assert len(model.loss_curve_) == 2 * (1 + 2 + 1)


def test_an_epoch_that_is_as_good_counts_as_better_without_a_tolerance() -> None:
    model = small(max_iter=9, n_iter_no_change=2, tol=0, learning_rate_init=1e-300, batch_size=N_ROWS)
    fit_blocks(model, blocks(X, N_ROWS), blocks(X[:, 0], N_ROWS))
    assert len(set(model.loss_curve_)) == 1
    assert len(model.loss_curve_) == 9


def test_epochs_that_were_not_enough() -> None:
    model = small(max_iter=2, learning_rate_init=0.01)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning) as caught:
        fit_blocks(model, blocks(X[:20], 20), blocks(X[:20, 0], 20))
    before, last = model.loss_curve_
    fallen = f"{100 * (1 - last / before):.2g} % in the last epoch: raise max_iter"
    assert (
        f"Maximum iterations (2) reached and the optimization hasn't converged yet. The loss was still falling, "
        f"by {fallen}" in str(caught[0].message)
    )


def test_blocks_without_rows_or_targets() -> None:
    with pytest.raises(ValueError, match="no block of X has rows"):
        fit_blocks(small(), blocks(X[:0], 0), blocks(X[:0, 0], 0))
    with pytest.raises(TypeError, match="y is a NoneType, and must be a dask array"):
        fit_blocks(small(), blocks(X, N_ROWS), None, blocks(X[:, 0] ** 2, N_ROWS))
