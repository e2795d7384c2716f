"""What a cluster refuses, and how a fit goes on that a lost connection or the end of the cluster has interrupted."""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")
pytest.importorskip("dask.dataframe")

import dask
import dask.array as da
import dask.dataframe as dd
import pandas as pd
from distributed import Client
from sklearn.exceptions import ConvergenceWarning
from small_cluster import N_ROWS, classes, classifier, cluster, numbers, parameters, regressor

from fastmlp.dask import DaskMLPRegressor
from fastmlp.dask.channel import Channel
from fastmlp.dask.wires import WorkerLostError
from fastmlp.model_file import ModelFileError

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:Sending large graph")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with cluster(3) as found:
        yield found


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X, y, w: X.__setitem__((130, 2), np.nan), "partition 3 of X: Input X contains NaN"),
        (lambda X, y, w: y.__setitem__(70, np.inf), "partition 1 of y: Input y contains infinity"),
        (lambda X, y, w: w.__setitem__(229, -1), "partition 5 of sample_weight: Negative values"),
        (lambda X, y, w: w.__setitem__(slice(None), 0), "must contain at least one non-zero number"),
    ],
)
def test_errors_name_the_partition(client: Client, spoil: Any, message: str) -> None:
    X, w = numbers(), np.ones(N_ROWS)
    y = X[:, 0].copy()
    spoil(X, y, w)
    with pytest.raises(ValueError, match=message):
        regressor().fit(da.from_array(X, (40, 5)), da.from_array(y, 40), da.from_array(w, 40))


def test_partitions_whose_rows_differ_in_length_are_refused(client: Client) -> None:
    """Of which dask knows nothing before they are computed."""
    parts = [da.from_delayed(dask.delayed(np.ones)((40, n)), (40, 5), float) for n in (5, 4)]
    with pytest.raises(ValueError, match="partitions of X have rows of different lengths: "):
        regressor().fit(da.concatenate(parts), da.ones(80, chunks=40))


def test_what_does_not_go_together_is_refused_in_a_sentence(client: Client) -> None:
    dX, dy = da.from_array(numbers(), (100, 5)), da.from_array(numbers()[:, 0], 100)
    for options in (
        {"solver": "lbfgs"}, {"dropout": 0.5}, {"input_noise": 0.1}, {"n_restarts": 2}, {"warm_start": True},
        {"early_stopping": True},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(options))):
            regressor(**options).fit(dX, dy)
    with pytest.raises(ValueError, match="compression='bfloat16' is for gradients of float32"):
        regressor(compression="bfloat16").fit(dX, dy)
    with pytest.raises(TypeError, match="X is a ndarray, and must be a dask array"):
        regressor().fit(numbers(), dy)
    with pytest.raises(ValueError, match="X has 230 rows, but y has 100"):
        regressor().fit(dX, dy[:100])
    with pytest.raises(ValueError, match="MLPRegressor estimator requires y to be passed, but the target y is"):
        regressor().fit(dX, None)
    with pytest.raises(ValueError, match="no partition of X has rows"):
        regressor().fit(dX[:0], dy[:0])
    with pytest.raises(ValueError, match="y_val was not provided"):
        regressor().fit(dX, dy, X_val=dX)
    with pytest.raises(ValueError, match="n_blocks"):
        regressor(n_blocks=0).fit(dX, dy)
    with pytest.raises(TypeError, match="blocks"):
        DaskMLPRegressor(blocks=3)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ([{"none": 1, "one": 5}], "takes one dict, of classes and weights"),
        ({"none": -1.0, "one": 2.0}, "Negative values in data passed to `?class_weight"),
        ({"none": 1.0, "one": np.nan}, "class_weight contains NaN"),
        ({"one": np.inf}, "class_weight contains infinity"),
        ({"three": 1.0}, "are not in class_weight"),
    ],
)
def test_class_weights_are_refused_as_on_one_machine(client: Client, class_weight: Any, message: str) -> None:
    X = numbers()
    y = classes(X)
    model = classifier(class_weight=class_weight)
    with pytest.raises(ValueError, match=message) as here:
        model.to_local().fit(X, y)
    with pytest.raises(ValueError, match=message) as there:
        model.fit(da.from_array(X, (100, 5)), da.from_array(y, 100))
    assert str(there.value) == str(here.value)


@pytest.mark.parametrize("class_weight", [{"one": 3.0}, {"none": 0.0, "one": 1.0, "two": 0.5}])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weights_are_those_of_one_machine(client: Client, class_weight: Any, weighted: bool) -> None:
    X = numbers()
    y = classes(X)
    w = [np.random.RandomState(1).uniform(0, 3, N_ROWS)] if weighted else []
    model = classifier(class_weight=class_weight, shuffle=False)
    model.fit(da.from_array(X, (100, 5)), da.from_array(y, 100), *(da.from_array(each, 100) for each in w))
    np.testing.assert_allclose(parameters(model), parameters(model.to_local().fit(X, y, *w)), rtol=0, atol=1e-9)


def test_columns_of_the_rows_to_validate_on(client: Client) -> None:
    """Others are refused in the words of one machine."""
    X = pd.DataFrame(numbers(), columns=list("abcde"))
    y = X["a"]
    dX, dy = dd.from_pandas(X, npartitions=3), dd.from_pandas(y, npartitions=3)
    regressor().fit(dX, dy, X_val=dX, y_val=dy)
    for columns, message in (("bacde", "in the same order"), ("abcdf", "unseen at fit time"), ("abcd", "now missing")):
        X_val = X.set_axis(list(columns), axis=1) if len(columns) == 5 else X[list(columns)]
        with pytest.raises(ValueError, match=message) as here:
            regressor().to_local().fit(X, y, X_val=X_val, y_val=y)
        with pytest.raises(ValueError, match=message) as there:
            regressor().fit(dX, dy, X_val=dd.from_pandas(X_val, npartitions=2), y_val=dy)
        assert str(there.value) == str(here.value)
    narrow, wide = da.from_array(X.to_numpy()[:, :4], (100, 4)), da.from_array(X.to_numpy(), (100, 5))
    with pytest.raises(ValueError, match="X_val has 4 features, but MLPRegressor is expecting 5"):
        regressor().fit(wide, dy, X_val=narrow, y_val=dy)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        regressor().fit(dX, dy, X_val=wide, y_val=dy)


def test_rows_to_validate_on_without_any_weight(client: Client) -> None:
    dX, dy = da.from_array(numbers(), (100, 5)), da.from_array(numbers()[:, 0], 100)
    with pytest.raises(ValueError, match="sample_weight_val must contain at least one non-zero number"):
        regressor().fit(dX, dy, X_val=dX, y_val=dy, sample_weight_val=da.zeros(N_ROWS, chunks=100))


def test_what_works_on_one_machine_only(client: Client) -> None:
    dX, dy = da.from_array(numbers(), (100, 5)), da.from_array(numbers()[:, 0], 100)
    for name in ("partial_fit", "initialize"):
        with pytest.raises(AttributeError, match=rf"has no {name}: use that of to_local\(\)"):
            getattr(regressor(), name)(dX, dy)
    model = regressor()
    model._skl_callbacks = [object()]  # as set_callbacks of scikit-learn 1.9 leaves them
    with pytest.raises(ValueError, match="Callbacks do not go with DaskMLPRegressor"):
        model.fit(dX, dy)


def test_an_error_of_y_leaves_no_rows_on_the_cluster(client: Client) -> None:
    """Nor does one of X_val, even while somebody looks at the traceback, which keeps all that the frames hold."""

    def left(dask_scheduler: Any) -> int:
        return sum(each.state == "memory" for each in dask_scheduler.tasks.values())

    dX, dy = da.from_array(numbers(), (100, 5)), da.from_array(numbers()[:, 0], 100)
    before = client.run_on_scheduler(left)
    for y, X_val in ((dy + np.inf, None), (dy, dX[:, :4])):
        with pytest.raises(ValueError, match=r"infinity|4 features") as caught:
            regressor().fit(dX, y, X_val=X_val, y_val=None if X_val is None else dy)
        end = perf_counter() + 20
        while client.run_on_scheduler(left) > before and perf_counter() < end:
            sleep(0.1)
        assert client.run_on_scheduler(left) <= before
        del caught


def test_a_training_that_diverges(client: Client) -> None:
    dX, dy = da.from_array(numbers(), (100, 5)), da.from_array(numbers()[:, 0], 100)
    model = regressor(solver="sgd", learning_rate_init=1e30, max_iter=20)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        model.fit(dX, dy)
    assert not hasattr(model, "coefs_")
    model.set_params(learning_rate_init=0.01).fit(dX, dy)
    for options in ({}, {"local_steps": 2}):  # weights whose sum is infinite
        with pytest.raises(ValueError, match="non-finite parameter weights"):
            regressor(**options).fit(dX, dy, da.full(N_ROWS, 1e308, chunks=100))


def test_a_loss_far_above_that_of_guessing_is_warned_of(client: Client) -> None:
    """As on one machine; here the penalty makes it so."""
    dX, dy = da.from_array(numbers(), (100, 5)), da.from_array(numbers()[:, 0], 100)
    with pytest.warns(ConvergenceWarning, match="Training diverges: the loss of epoch 1 is "):
        regressor(alpha=1e4, max_iter=1).fit(dX, dy)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("options", [{}, {"early_stopping": True, "solver": "sgd"}, {"local_steps": 2}])
def test_a_fit_goes_on_from_the_step_at_which_a_connection_was_lost(
    client: Client, monkeypatch: pytest.MonkeyPatch, when: str, options: dict[str, Any]
) -> None:
    """The worker that loses it stands a step before the others, or where they stand."""
    arrays = [da.from_array(each, (100, 5)[: each.ndim]) for each in (numbers(), numbers()[:, 0])]
    held_out = {"X_val": arrays[0], "y_val": arrays[1]} if "early_stopping" in options else {}
    undisturbed = regressor(max_iter=8, **options).fit(*arrays, **held_out)
    original, calls = Channel.all_reduce, list[int]()

    def all_reduce(self: Channel, sums: Any) -> Any:
        calls.append(self.rank)
        if self.rank == 1 and calls.count(1) == 18:
            if when == "after":
                original(self, sums)
            raise WorkerLostError("the connection is lost")
        return original(self, sums)

    monkeypatch.setattr(Channel, "all_reduce", all_reduce)
    model = regressor(max_iter=8, **options).fit(*arrays, **held_out)
    np.testing.assert_array_equal(parameters(model), parameters(undisturbed))
    assert model.loss_curve_ == undisturbed.loss_curve_
    assert model.validation_scores_ == undisturbed.validation_scores_
    n_steps = 8 * (3 if "local_steps" in options else 5)
    assert calls.count(0) <= n_steps + 1  # and not all steps again


@pytest.mark.parametrize("random_state", [1, None])
@pytest.mark.parametrize("options", [{}, {"early_stopping": True, "solver": "sgd"}, {"local_steps": 2}])
def test_a_fit_goes_on_from_the_file_on_another_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], random_state: Any
) -> None:
    def fit(chunk: int, **asked: Any) -> Any:
        arrays = [da.from_array(each, (chunk, 5)[: each.ndim]) for each in (numbers(), numbers()[:, 0])]
        held_out = {"X_val": arrays[0], "y_val": arrays[1]} if "early_stopping" in options else {}
        return regressor(max_iter=30, random_state=random_state, **options).fit(*arrays, **held_out, **asked)

    original, calls, path = Channel.all_reduce, list[int](), tmp_path / "checkpoint"
    n_steps = 30 * (3 if "local_steps" in options else 5)

    def all_reduce(self: Channel, sums: Any) -> Any:
        calls.append(self.rank)
        sleep(4 / n_steps)
        if calls.count(0) == n_steps // 2 and not state:
            raise OSError("the power is gone")
        return original(self, sums)

    state: Any = None

    with cluster(2):
        np.random.seed(5)
        with monkeypatch.context() as patched:
            patched.setattr(Channel, "all_reduce", all_reduce)
            with pytest.raises(OSError, match="power"):
                fit(100, checkpoint=path)
    state = np.random.get_state()
    with cluster(3):
        np.random.seed(5)
        undisturbed = fit(40)
        np.random.set_state(state)
        calls.clear()
        monkeypatch.setattr(Channel, "all_reduce", all_reduce)
        model = fit(31, checkpoint=path)
        assert n_steps // 2 < calls.count(0) < n_steps
        calls.clear()
        again = fit(31, checkpoint=path)
        assert not calls
    for found in (model, again):
        np.testing.assert_array_equal(parameters(found), parameters(undisturbed))
        assert found.loss_curve_ == undisturbed.loss_curve_
        assert found.validation_scores_ == undisturbed.validation_scores_


def test_a_checkpoint_of_another_fit_is_refused(client: Client, tmp_path: Path) -> None:
    X, path = numbers(), tmp_path / "checkpoint"
    dX, dy = da.from_array(X, (100, 5)), da.from_array(X[:, 0], 100)
    regressor().fit(dX, dy, checkpoint=path)
    regressor(wait_limit=50, verbose=False).fit(dX.rechunk((7, 5)), dy, checkpoint=path)
    for other, data, message in (
        (regressor(alpha=0.5), (dX, dy), "other hyper-parameters: alpha was"),
        (regressor(), (da.from_array(X + 1, (100, 5)), dy), "other data: values"),
        (regressor(), (dX, dy + 1), "other data: mean square of y"),
    ):
        with pytest.raises(ValueError, match=message):
            other.fit(*data, checkpoint=path)
    with pytest.raises(ModelFileError, match="not a checkpoint of DaskMLPClassifier"):
        classifier().fit(dX, da.from_array(classes(X), 100), checkpoint=path)
    with pytest.raises(OSError, match="nowhere"):
        regressor().fit(dX, dy, checkpoint=tmp_path / "nowhere" / "checkpoint")


def test_workers_that_never_reach_each_other(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_reduce(self: Channel, sums: Any) -> Any:
        raise WorkerLostError("a wall between")

    monkeypatch.setattr(Channel, "all_reduce", all_reduce)
    with pytest.raises(RuntimeError, match="come no further: a wall between"):
        regressor().fit(da.from_array(numbers(), (100, 5)), da.from_array(numbers()[:, 0], 100))
