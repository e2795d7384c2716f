"""What a fit on a cluster tells, warns of and refuses: what one machine would, in the same words."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

import dask.array as da
from distributed import Client
from small_cluster import classes, classifier, cluster, numbers, regressor

from fastmlp.dask import worker
from fastmlp.dask.refusals import refuse
from fastmlp.model_file import read


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with cluster(3) as found:
        yield found


STEEP = {"activation": "identity", "solver": "sgd", "learning_rate_init": 0.05}


@pytest.mark.parametrize(
    ("options", "validates", "n_warnings"),
    [
        ({"max_iter": 2}, True, 1),  # the epochs have run out
        ({"max_iter": 2, "early_stopping": True}, True, 1),
        ({"max_iter": 50, "tol": 100.0, "n_iter_no_change": 2}, False, 0),  # it has stopped before
        ({"max_iter": 50, "target_loss": 0.45, "learning_rate_init": 0.01}, False, 0),
        ({"max_iter": 1, "alpha": 1e4}, False, 1),  # it diverges
        ({"max_iter": 50, "tol": 1e9, "n_iter_no_change": 1, "alpha": 1e4}, False, 1),
        ({"max_iter": 2, "solver": "sgd", "learning_rate": "cosine"}, False, 0),  # as was planned
        ({"max_iter": 9, "early_stopping": True} | STEEP, True, 1),  # the best is kept
    ],
)
def test_what_is_told_is_what_one_machine_tells(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: dict[str, Any],
    validates: bool, n_warnings: int,
) -> None:  # fmt: skip
    """Once, though all workers come to the same."""
    X = 3 * numbers()
    y = X[:, 0]
    told: list[str] = []
    monkeypatch.setattr(worker, "print_at_client", told.append)

    def fit(model: Any, given: Any) -> Any:
        held_out = {"X_val": given(X[:60]), "y_val": given(y[:60])} if validates else {}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(given(X), given(y), **held_out)
        found = [str(each.message) for each in caught if "large graph" not in str(each.message)]
        return found, model.n_iter_, len(model.loss_curve_)

    model = regressor(shuffle=False, verbose=True, **options)
    found = fit(model, lambda array: da.from_array(array, (100, 5)[: array.ndim]))
    assert found == fit(model.to_local(), lambda array: array)
    assert len(found[0]) == n_warnings
    printed = capsys.readouterr().out.splitlines()
    assert len(told) == len(printed) >= 1
    assert told[: 2 if "best" in str(found) else None] == printed[: 2 if "best" in str(found) else None]
    told.clear()
    fit(regressor(shuffle=False, **options), lambda array: da.from_array(array, (100, 5)[: array.ndim]))
    assert not told


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:Sending large graph")
def test_a_single_worker_tells_of_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(worker, "print_at_client", told.append)
    with cluster(1):
        regressor(verbose=True).fit(da.from_array(numbers(), (100, 5)), da.from_array(numbers()[:, 0], 100))
    assert [line.split(",")[0] for line in told] == ["Iteration 1", "Iteration 2", "Iteration 3"]


@pytest.mark.parametrize(
    ("model", "validates", "message"),
    [
        (
            regressor(solver="lbfgs"),
            False,
            "solver='lbfgs' does not go with DaskMLP, which trains in steps: use 'adam' or 'sgd'.",
        ),
        (
            regressor(dropout=0.5),
            False,
            "dropout=0.5 does not go with DaskMLP: only steps of one machine draw it; use weight_decay, or "
            "early_stopping.",
        ),
        (
            regressor(dropout=[0.0]),
            False,
            "dropout=[0.0] does not go with DaskMLP: only steps of one machine draw it; use weight_decay, or "
            "early_stopping.",
        ),
        (
            regressor(input_noise=0.1),
            False,
            "input_noise=0.1 does not go with DaskMLP: only steps of one machine draw it; use weight_decay, or "
            "early_stopping.",
        ),
        (
            regressor(n_restarts=2),
            False,
            "n_restarts=2 does not go with DaskMLP: fit several estimators, and keep the best.",
        ),
        (
            regressor(warm_start=True),
            False,
            "warm_start=True does not go with DaskMLP: fit to_local() on what one machine holds, or begin anew.",
        ),
        (
            regressor(local_steps=2, compression="bfloat16"),
            False,
            "compression='bfloat16' does not go with local_steps=2: parameters need more than eight bits.",
        ),
        (
            regressor(early_stopping=True),
            False,
            "early_stopping=True of DaskMLP needs X_val and y_val: it takes no rows of X away to validate on.",
        ),
        (
            classifier(loss="hinge", label_smoothing=0.1),
            False,
            "label_smoothing=0.1 does not go with loss='hinge': use 'log_loss', or 0.",
        ),
        (regressor(early_stopping=True), True, ""),
        (regressor(compression="bfloat16"), False, ""),
        (regressor(local_steps=2), False, ""),
        (regressor(dropout=0, input_noise=0, n_restarts=0, warm_start=False), False, ""),
    ],
)
def test_what_a_cluster_does_not_follow_is_refused_in_a_sentence(model: Any, validates: bool, message: str) -> None:
    if not message:
        return refuse(model._settings(), "DaskMLP", validates)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        refuse(model._settings(), "DaskMLP", validates)
    assert str(caught.value) == message
    return None


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:Sending large graph")
def test_a_checkpoint_knows_its_rows_by_their_classes(client: Client, tmp_path: Path) -> None:
    X, path = numbers(), tmp_path / "checkpoint"
    y = classes(X)
    dX, dy = da.from_array(X, (100, 5)), da.from_array(y, 40)
    held_out = {"X_val": dX[:60], "y_val": dy[:60]}
    classifier().fit(dX, dy, **held_out, checkpoint=path)
    about = read(path).parameters["data"]
    labels, counts = np.unique(y, return_counts=True)
    expected = [{"tuple": [str(label), int(count)]} for label, count in zip(labels, counts, strict=True)]
    assert about["rows of each class"] == expected
    assert about["rows to validate on"] == 60
    other = y.copy()
    other[0] = "one" if y[0] != "one" else "two"
    for given, message in (
        ((da.from_array(other, 40), held_out), "other data: rows of each class"),
        ((dy, {}), "other data: rows to validate on"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier().fit(dX, given[0], **given[1], checkpoint=path)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:Sending large graph")
def test_a_checkpoint_of_several_labels(client: Client, tmp_path: Path) -> None:
    X = numbers()
    dX, labels = da.from_array(X, (100, 5)), da.from_array((X[:, :3] > 0).astype(int), (100, 3))
    model = classifier().fit(dX, labels, checkpoint=tmp_path / "checkpoint")
    again = classifier().fit(dX, labels, checkpoint=tmp_path / "checkpoint")
    assert again.loss_curve_ == model.loss_curve_
