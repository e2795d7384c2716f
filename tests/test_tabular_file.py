"""Model files of the estimators of tables: parts that do not fit each other are refused before the first prediction."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import fastmlp
from fastmlp import TabularClassifier, TabularRegressor
from fastmlp.model_file import ModelFile, ModelFileError, read, write

X = pd.DataFrame({"a": np.arange(80.0) % 40})
UNITS = (16, 16, 16)
Change = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]

pytestmark = pytest.mark.usefixtures("short_training")


def other_inputs(number: int) -> Change:
    """Of the first of two members, whose first layer has 16 units: all five inputs or the one without ramps fit."""
    return lambda state, arrays: {
        "members": [[number, *state["members"][0][1:]], state["members"][1]],
        "params": arrays["params"][16 * (5 - number) :] if number < 5 else arrays["params"],
    }


CLASSIFIER: dict[str, tuple[str, Change]] = {
    "nobody": ("no members", lambda state, arrays: {"members": [], "params": arrays["params"][:0]}),
    "float64": ("other parameters", lambda state, arrays: {"params": arrays["params"].astype(np.float64)}),
    "one more": ("other parameters", lambda state, arrays: {"params": np.append(arrays["params"], np.float32(0))}),
    "no inputs": ("a member of other inputs than the columns make", other_inputs(0)),
    "more inputs": ("a member of other inputs than the columns make", other_inputs(6)),
    "some ramps": ("a member of others", other_inputs(4)),
    "a column": ("other inputs than the columns make", lambda state, arrays: {"n_units": {"tuple": [6, *UNITS, 2]}}),
    "names": ("other names than columns", lambda state, arrays: {"names": {"tuple": ["a", "b"]}}),
    "values": ("a classifier without classes", lambda state, arrays: {"loss": "squared_error"}),
}
REGRESSOR: dict[str, tuple[str, Change]] = {
    "classes": ("a regressor of classes", lambda state, arrays: {"loss": "binary_log_loss"}),
    "scale": ("another scale than outputs", lambda state, arrays: {"scale": np.ones(2)}),
    "center": ("another scale than outputs", lambda state, arrays: {"center": np.ones(1, np.float32)}),
}


def test_parameters_that_no_estimator_has_are_refused(tmp_path: Path) -> None:
    TabularRegressor(random_state=0).fit(X, X["a"]).save(tmp_path / "model")
    file = read(tmp_path / "model")
    file.parameters["parameters"]["n_members"] = 0
    write(tmp_path / "model", file)
    message = "not a TabularRegressor of this version: The 'n_members' parameter of TabularRegressor must be"
    with pytest.raises(ModelFileError, match=message):
        fastmlp.load(tmp_path / "model")


def test_classes_of_others_are_not_saved(tmp_path: Path) -> None:
    class Mine(TabularRegressor):
        pass

    with pytest.raises(TypeError, match=r"^Mine is not a class of fastmlp's: it would be another one after loading$"):
        Mine(random_state=0).fit(X, X["a"]).save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("estimator", "cases"), [(TabularClassifier, CLASSIFIER), (TabularRegressor, REGRESSOR)])
def test_parts_that_do_not_fit(estimator: Any, cases: dict[str, tuple[str, Change]], tmp_path: Path) -> None:
    model = estimator(n_members=2, random_state=0).fit(X, np.arange(80) % 2)
    model.save(tmp_path / "model")
    assert_array_equal(fastmlp.load(tmp_path / "model").predict(X), model.predict(X))
    whole = read(tmp_path / "model")
    state = whole.parameters["state"]
    assert state["n_units"] == {"tuple": [5, *UNITS, len(getattr(model, "classes_", "y"))]}
    for message, change in cases.values():
        changed = change(state, whole.arrays)
        arrays = whole.arrays | {name: value for name, value in changed.items() if name in whole.arrays}
        parameters = whole.parameters | {"state": state | {n: v for n, v in changed.items() if n in state}}
        write(tmp_path / "model", ModelFile(whole.kind, parameters, arrays))
        with pytest.raises(ModelFileError, match=f"not a {whole.kind} of this version: {message}$"):
            fastmlp.load(tmp_path / "model")
