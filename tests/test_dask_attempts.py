"""Attempts of a fit on a cluster: what each takes over from the one before, and when there is no other."""

from collections.abc import Iterator
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

import dask.array as da
from distributed import Client
from small_cluster import cluster, numbers, parameters, regressor

from fastmlp.dask import coordinator, worker
from fastmlp.dask.channel import Channel
from fastmlp.dask.coordinator import Coordinator
from fastmlp.dask.placement import Column
from fastmlp.dask.wires import WorkerLostError
from fastmlp.validation import Validation

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:Sending large graph")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with cluster(3) as found:
        yield found


def data() -> tuple[Any, Any]:
    return da.from_array(numbers(), (100, 5)), da.from_array(numbers()[:, 0], 100)


def never_ending(**options: Any) -> Any:
    return regressor(max_iter=10**7, n_iter_no_change=np.inf, **options)


def losing(monkeypatch: pytest.MonkeyPatch, steps: int, most: int) -> list[int]:
    """Let the second worker lose its connection each time it has made so many steps; return when it did."""
    original, made, lost = Channel.all_reduce, list[int](), list[int]()

    def all_reduce(self: Channel, sums: Any) -> Any:
        if self.rank == 1:
            made.append(1)
            if len(made) % steps == 0 and len(lost) < most:
                lost.append(len(made))
                raise WorkerLostError("the connection is lost")
        sleep(0.01)
        return original(self, sums)

    monkeypatch.setattr(Channel, "all_reduce", all_reduce)
    return lost


def test_doors_that_cannot_be_opened(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def listen(host: str) -> Any:
        raise OSError("no such interface")

    monkeypatch.setattr(worker, "listen", listen)
    with pytest.raises(RuntimeError, match=r"come no further: a worker cannot begin: OSError.*no such interface"):
        regressor().fit(*data())
    assert not worker._posts


def test_a_network_that_fails_again_and_again_while_the_fit_advances(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = parameters(regressor(max_iter=8).fit(*data()))
    lost = losing(monkeypatch, steps=4, most=10**6)
    np.testing.assert_array_equal(parameters(regressor(max_iter=8).fit(*data())), expected)
    assert len(lost) > coordinator.MOST_FRUITLESS + 1


def test_the_first_worker_goes_on_from_where_another_stands(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has lost its connection before a step that the others have made."""
    expected = parameters(regressor(max_iter=4).fit(*data()))
    original, made = Channel.all_reduce, list[int]()

    def all_reduce(self: Channel, sums: Any) -> Any:
        total = original(self, sums)
        made.append(self.rank)
        if self.rank == 0 and made.count(0) == 12:
            raise WorkerLostError("the connection is lost")
        return total

    monkeypatch.setattr(Channel, "all_reduce", all_reduce)
    np.testing.assert_array_equal(parameters(regressor(max_iter=4).fit(*data())), expected)
    assert made.count(0) == 4 * 5  # no step is made again


def test_workers_are_ordered_by_where_X_lies_and_given_longer_than_each_other(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X has three partitions here, and y has two. Who loses a connection says so at the limit of a wait."""
    original_near, original_wait, n_groups, graces = coordinator.near, Coordinator._wait, list[int](), list[float]()

    def near(client: Client, column: Any, workers: Any) -> Any:
        n_groups.append(len(column.groups))
        return original_near(client, column, workers)

    def wait(self: Coordinator, futures: Any, grace: float, *others: Any) -> Any:
        graces.append(grace)
        return original_wait(self, futures, grace, *others)

    monkeypatch.setattr(coordinator, "near", near)
    monkeypatch.setattr(Coordinator, "_wait", wait)
    X, y = data()
    regressor(wait_limit=7.0).fit(X, y.rechunk(115))
    assert n_groups == [3]
    assert graces == [12.0]


def test_a_fit_lets_go_of_its_tasks_whoever_holds_their_futures(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    original_pieces, original_wait, pieces, trainings = Column.pieces, Coordinator._wait, list[Any](), list[Any]()

    def cut(self: Column, *arguments: Any) -> Any:
        found = original_pieces(self, *arguments)
        pieces.extend(found)
        return found

    def wait(self: Coordinator, futures: Any, *others: Any) -> Any:
        trainings.extend(futures.values())
        return original_wait(self, futures, *others)

    monkeypatch.setattr(Column, "pieces", cut)
    monkeypatch.setattr(Coordinator, "_wait", wait)
    X, y = data()
    regressor().fit(X, y, da.ones(len(y), chunks=100))
    assert len(trainings) == 3
    assert {each.status for each in trainings} == {"cancelled"}
    assert len(pieces) >= 3 * 8
    assert not any(each.key in client.futures for each in pieces)


def test_the_time_of_all_attempts_counts(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = losing(monkeypatch, steps=40, most=8)
    model = never_ending(max_time=1.0).fit(*data())
    assert 0 < len(lost) < 8
    assert model.n_iter_ > 1


def test_who_was_left_out_forgets_the_fit_too(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    original, closed = worker.listen, list[str]()

    def listen(host: str) -> Any:
        if not closed:
            closed.append(host)
            raise OSError("this once")
        return original(host)

    monkeypatch.setattr(worker, "listen", listen)
    lost = losing(monkeypatch, steps=4, most=1)
    regressor().fit(*data())
    assert closed
    assert lost
    assert not worker._posts


def test_no_connection_and_no_door_stays_open(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else holds them: the others learn from it that a worker has gone."""
    original, wires = Channel.all_reduce, list[Any]()

    def all_reduce(self: Channel, sums: Any) -> Any:
        wires.extend(self._transport.values())
        return original(self, sums)

    monkeypatch.setattr(Channel, "all_reduce", all_reduce)
    regressor().fit(*data())
    assert {wire.connection.fileno() for wire in wires} == {-1}
    door = worker.listen("127.0.0.1")
    worker._posts["left out", "here"] = worker.Post(listener=door)
    worker.forget("left out", SimpleNamespace(address="here"))
    assert door.fileno() == -1


def test_interruption_keeps_the_best_parameters(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of an early epoch: the rows to validate on say the contrary of those to train on."""
    original, epochs, pressed = Validation.epoch_ended, list[int](), list[str]()

    def epoch_ended(self: Validation, fit: Any) -> bool:
        epochs.append(fit.n_iter)
        return original(self, fit)

    def glance(*arguments: Any) -> None:
        sleep(0.05)
        if max(epochs, default=0) >= 30 and not pressed:
            pressed.append("Ctrl-C")
            raise KeyboardInterrupt

    monkeypatch.setattr(Validation, "epoch_ended", epoch_ended)
    X, y = data()
    model = never_ending(early_stopping=True, learning_rate_init=0.05)
    with monkeypatch.context() as patched:
        patched.setattr(coordinator, "glance", glance)
        with pytest.warns(UserWarning, match="interrupted by user"):
            model.fit(X, y, X_val=X, y_val=-y)
    assert model.best_epoch_ < 30 <= model.n_iter_
    assert model.to_local().score(*(each.compute() for each in (X, -y))) == pytest.approx(
        model.best_validation_score_, abs=1e-9
    )


def test_a_checkpoint_that_a_worker_does_not_take(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody begins anew, and writes over it."""
    path, original, refused = tmp_path / "checkpoint", Coordinator._on, list[str]()
    expected = regressor(max_iter=8).fit(*data(), checkpoint=path)

    def on(self: Any, workers: Any, function: Any) -> Any:
        if getattr(function, "func", None) is worker.begin_from and not refused:
            refused.extend(workers)
            return {}
        return original(self, workers, function)

    monkeypatch.setattr(Coordinator, "_on", on)

    def all_reduce(self: Channel, sums: Any) -> Any:
        raise AssertionError("a step that was made already")

    monkeypatch.setattr(Channel, "all_reduce", all_reduce)
    model = regressor(max_iter=8).fit(*data(), checkpoint=path)
    assert len(refused) == 1  # the first worker, from which the others have it
    np.testing.assert_array_equal(parameters(model), parameters(expected))
