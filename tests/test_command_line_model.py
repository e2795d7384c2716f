"""Models of the command line: what does not fit together is refused before the engine, which trusts it, is asked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp.cli.main import main
from fastmlp.cli.model import KIND, Model, Scaler
from fastmlp.model_file import ModelFile, ModelFileError, read, write

RNG = np.random.default_rng(0)
WIDTHS = (3, 4, 2)
COEFS = [RNG.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4, 2))]
INTERCEPTS = [RNG.normal(size=width).astype(np.float32) for width in (4, 2)]
INPUTS = Scaler(np.zeros(3), np.ones(3))
CLASSIFIER = Model(COEFS, INTERCEPTS, "relu", "log_loss", ["a", "b", "c"], "y", INPUTS, classes=np.array(["no", "yes"]))
REGRESSOR = Model(
    [COEFS[0], COEFS[1][:, :1]], [INTERCEPTS[0], INTERCEPTS[1][:1]], "tanh", "squared_error", None, "y", INPUTS,
    Scaler(np.ones(1), np.ones(1)),
)  # fmt: skip
X = RNG.normal(size=(5, 3))

WRONG: dict[str, tuple[Model, str, Any]] = {
    "2-D intercepts": (CLASSIFIER, "intercepts_0", np.zeros((4, 1), np.float32)),
    "intercepts of another layer": (CLASSIFIER, "intercepts_0", np.zeros(5, np.float32)),
    "no intercepts": (CLASSIFIER, "intercepts_1", None),
    "1-D coefs": (CLASSIFIER, "coefs_0", np.zeros(12, np.float32)),
    "0-D coefs": (CLASSIFIER, "coefs_0", np.array(1, np.float32)),
    "coefs of another layer": (CLASSIFIER, "coefs_1", np.zeros((5, 2), np.float32)),
    "coefs of float64": (CLASSIFIER, "coefs_0", np.zeros((3, 4))),
    "coefs of the other byte order": (CLASSIFIER, "coefs_0", np.zeros((3, 4), ">f4")),
    "coefs of NaN": (CLASSIFIER, "coefs_0", np.full((3, 4), np.nan, np.float32)),
    "no features": (CLASSIFIER, "coefs_0", np.zeros((0, 4), np.float32)),
    "no layers": (CLASSIFIER, "n_layers", 0),
    "fewer layers": (CLASSIFIER, "n_layers", 1),
    "more layers": (CLASSIFIER, "n_layers", 10**12),
    "layers in words": (CLASSIFIER, "n_layers", "2"),
    "layers that are true": (CLASSIFIER, "n_layers", True),
    "an unknown activation": (CLASSIFIER, "activation", "magic"),
    "an activation that is a list": (CLASSIFIER, "activation", ["relu"]),
    "a loss of another task": (CLASSIFIER, "loss", "squared_error"),
    "an unknown loss": (CLASSIFIER, "loss", None),
    "fewer names of columns": (CLASSIFIER, "features", ["a", "b"]),
    "names of columns that are one text": (CLASSIFIER, "features", "abc"),
    "a column whose name is a number": (CLASSIFIER, "features", ["a", "b", 3]),
    "a target that is a number": (CLASSIFIER, "target", 1),
    "an unknown parameter": (CLASSIFIER, "magic", 1),
    "an unknown array": (CLASSIFIER, "magic", np.zeros(1)),
    "means for other columns": (CLASSIFIER, "inputs_mean", np.zeros(4)),
    "one mean for all columns": (CLASSIFIER, "inputs_mean", np.zeros(1)),
    "means in float32": (CLASSIFIER, "inputs_mean", np.zeros(3, np.float32)),
    "an infinite mean": (CLASSIFIER, "inputs_mean", np.array([0, np.inf, 0])),
    "a scale of 0": (CLASSIFIER, "inputs_scale", np.array([1.0, 0, 1])),
    "a scale of NaN": (CLASSIFIER, "inputs_scale", np.array([1, np.nan, 1])),
    "no scale": (CLASSIFIER, "inputs_scale", None),
    "fewer classes": (CLASSIFIER, "classes", np.array(["no"])),
    "2-D classes": (CLASSIFIER, "classes", np.array([["no"], ["yes"]])),
    "classes of NaN": (CLASSIFIER, "classes", np.array([1.0, np.nan])),
    "no classes": (CLASSIFIER, "classes", None),
    "a scale for two outputs": (REGRESSOR, "outputs_scale", np.ones(2)),
    "a text for an output's mean": (REGRESSOR, "outputs_mean", np.array(["1"])),
    "no mean of the output": (REGRESSOR, "outputs_mean", None),
    "classes of a regression": (REGRESSOR, "classes", np.array([0])),
}


@pytest.mark.parametrize("model", [CLASSIFIER, REGRESSOR], ids=["classes", "values"])
def test_the_models_themselves_are_read(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    assert np.array_equal(Model.load(tmp_path / "model").predict(X), model.predict(X))


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, name, value = WRONG[case]
    path, data = tmp_path / "model", tmp_path / "data.csv"
    model.save(path)
    file = read(path)
    part = file.arrays if name in file.arrays or isinstance(value, np.ndarray) else file.parameters
    part.pop(name, None)
    if part is file.parameters or value is not None:
        part[name] = value
    write(path, file)
    with pytest.raises(ModelFileError, match=f"model: not a {KIND} of this version: "):
        Model.load(path)
    data.write_text("a,b,c\n1,2,3\n")
    assert main(["predict", str(path), str(data)]) == 1
    assert capsys.readouterr().err.startswith("fastmlp: error: ")


@pytest.mark.parametrize("parameters", [{}, {"n_layers": 1}])
def test_a_file_without_parts_is_refused(parameters: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "model", ModelFile(KIND, parameters, {}))
    with pytest.raises(ModelFileError, match=r"it lacks layers|not a number of layers"):
        Model.load(tmp_path / "model")
