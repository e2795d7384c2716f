"""Files of checkpoints that someone has changed: refused before the training, which trusts them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp import MLPClassifier, checkpoints, model_file
from fastmlp.checkpoints import _checksum
from fastmlp.estimator_file import to_json
from fastmlp.model_file import ModelFileError
from fastmlp.rows import Samples

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.RandomState(0).normal(size=(90, 5))
Y = np.digitize(X @ [1.0, -1.0, 0.5, 0.0, 2.0], [-1, 1])
STOPPING = {"early_stopping": True}
RMSPROP = {"solver": "rmsprop"}


def classifier(**settings: Any) -> MLPClassifier:
    return MLPClassifier((8,), max_iter=2, batch_size=25, random_state=5, **settings)


@pytest.mark.parametrize(
    ("settings", "name", "value", "message"),
    [
        ({}, "order", np.full(90, 10**12), "its order is not one of the rows"),
        ({}, "order", np.zeros(90, np.int64), "its order is not one of the rows"),
        ({}, "order", np.arange(89), "its order is not one of the rows"),
        ({}, "order", None, "it has no order of the rows"),
        (STOPPING, "order", np.arange(81), "its order is not one of the rows"),  # 9 of them validate
        ({}, "params", np.zeros(1), r"\(1,\) params do not fit layers of \(5, 8, 3\) units"),
        ({}, "params", np.full(75, np.nan), "params are not finite"),
        ({}, "slots", np.zeros((1, 75)), r"\(1, 75\) slots do not fit the optimizer 'adam'"),
        ({}, "best_params", np.zeros(75), "it has no best parameters, or some too much"),
        (STOPPING, "best_params", None, "it has no best parameters, or some too much"),
        (STOPPING, "best_params", np.zeros(1), "it has too many best parameters"),
        (STOPPING, "best_params", np.full(75, np.nan), "its best parameters are not finite"),
        ({}, "step", -1, "step is not a count"),
        ({}, "step", None, "step is not a count"),
        ({}, "loss_curve", ["low"], "loss_curve is not a list of numbers"),
        ({}, "n_units", (5, 8, 4), r"\(75,\) params do not fit layers of \(5, 8, 4\) units"),
        ({}, "n_units", (5, 2, 21), "it has other layers"),  # of as many parameters
        ({}, "n_units", (8, 8, 3), "n_features is not that of the network"),
        (RMSPROP, "optimizer", "adagrad", "it has another optimizer"),
        ({}, "ended", 2, "it does not say whether it has ended"),
        ({}, "random_state", 1, "it has no random numbers"),
        ({}, "first_random_state", 1, "it has no first random numbers"),
        ({}, "shape", 1, "no shape"),
        ({}, "shape", {1: 2}, "no shape"),
        ({}, "settings", 1, "it has no hyper-parameters"),
    ],
)
def test_forged_values_are_refused(
    settings: dict[str, Any], name: str, value: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    classifier(**settings).fit(X, Y, checkpoint=path)
    file = model_file.read(path)
    file.arrays.pop(name, None)
    if isinstance(value, np.ndarray):
        file.arrays[name] = value
    else:
        file.parameters[name] = to_json(name, value)
    model_file.write(path, file)
    fresh = classifier(**settings)
    with pytest.raises(ModelFileError, match=f"run: damaged: {message}$"):
        fresh.fit(X, Y, checkpoint=path)
    assert not hasattr(fresh, "coefs_")


def test_memory_that_runs_out_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads that a file is damaged may delete it."""

    def run_out(*_: Any) -> None:
        raise MemoryError

    classifier().fit(X, Y, checkpoint=tmp_path / "run")
    for name in ("_check", "_values"):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints if name == "_values" else checkpoints.Checkpoint, name, run_out)
            with pytest.raises(MemoryError):
                classifier().fit(X, Y, checkpoint=tmp_path / "run")


def test_the_checksum_of_data_stays_as_it_is() -> None:
    """Checkpoints of older versions go on. Of many rows it reads 4096, the first and the last among them."""
    rows, targets, weights = np.arange(20_000.0).reshape(10_000, 2), np.arange(10_000.0), np.ones(10_000)
    assert _checksum(Samples(rows, targets, weights)) == 0xA7D8BC25
    assert _checksum(Samples(rows[:1000], targets[:1000], None), Samples(rows[:10], targets[:10], None)) == 0x7F1EADC
    for changed in (0, -1):
        others = rows.copy()
        others[changed] += 1
        assert _checksum(Samples(others, targets, weights)) != _checksum(Samples(rows, targets, weights))
