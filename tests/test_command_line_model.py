"""Models of the command line of version 0.1.0: read as written, or refused before the engine, which trusts."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp.cli.main import main
from fastmlp.cli.model_0_1_0 import KIND, Model, Scaler
from fastmlp.model_file import ModelFile, ModelFileError, write

RNG = np.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "coefs_0": RNG.normal(size=(3, 4)).astype(np.float32),
    "coefs_1": RNG.normal(size=(4, 2)).astype(np.float32),
    "intercepts_0": RNG.normal(size=4).astype(np.float32),
    "intercepts_1": RNG.normal(size=2).astype(np.float32),
    "inputs_mean": np.full(3, 0.5),
    "inputs_scale": np.full(3, 2.0),
}
PARAMETERS = {"n_layers": 2, "activation": "relu", "loss": "log_loss", "features": ["a", "b", "c"], "target": "y"}
CLASSIFIER = ModelFile(KIND, PARAMETERS, ARRAYS | {"classes": np.array(["no", "yes"])})
REGRESSOR = ModelFile(
    KIND,
    PARAMETERS | {"loss": "squared_error", "features": None, "activation": "tanh"},
    ARRAYS
    | {"coefs_1": ARRAYS["coefs_1"][:, :1], "intercepts_1": ARRAYS["intercepts_1"][:1]}
    | {"outputs_mean": np.ones(1), "outputs_scale": np.full(1, 3.0)},
)
X = RNG.normal(size=(5, 3))

WRONG: dict[str, tuple[ModelFile, str, Any]] = {
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


def outputs(file: ModelFile) -> Any:
    """Of the last layer before the link, computed here."""
    hidden = (X - 0.5) / 2 @ file.arrays["coefs_0"] + file.arrays["intercepts_0"]
    hidden = np.tanh(hidden) if file is REGRESSOR else np.maximum(hidden, 0)
    return hidden @ file.arrays["coefs_1"] + file.arrays["intercepts_1"]


def written(file: ModelFile, folder: Path) -> list[str]:
    """Arguments of a prediction for X."""
    write(folder / "model", file)
    lines = ["a,b,c", *(",".join(map(repr, row)) for row in X.tolist())]
    (folder / "data.csv").write_text("\n".join(lines), encoding="utf-8")
    return ["predict", str(folder / "model"), str(folder / "data.csv")]


def test_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas")
    logits = outputs(CLASSIFIER)
    assert main(written(CLASSIFIER, tmp_path)) == 0
    expected = np.array(["no", "yes"])[logits.argmax(axis=1)]
    assert capsys.readouterr().out.split() == ["y", *expected]
    assert main([*written(CLASSIFIER, tmp_path), "--proba"]) == 0
    header, *found = csv.reader(capsys.readouterr().out.splitlines())
    assert header == ["no", "yes"]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.array(found, float), probabilities, rtol=1e-5)  # float32
    assert main(written(REGRESSOR, tmp_path)) == 0
    header, *found = capsys.readouterr().out.split()
    np.testing.assert_allclose(np.array(found, float), outputs(REGRESSOR)[:, 0] * 3 + 1, rtol=1e-5)  # float32
    assert main([*written(REGRESSOR, tmp_path), "--proba"]) == 1
    assert "predicts no classes with probabilities" in capsys.readouterr().err


def test_a_cell_that_is_too_large_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas")
    arguments = written(CLASSIFIER, tmp_path)
    (tmp_path / "data.csv").write_text("a,b,c\n1,2,3\n1,1e40,3\n", encoding="utf-8")
    assert main(arguments) == 1
    said = "fastmlp: error: row 2 of the data, column 'b': 1e+40 is too large for float32 beside the training rows, "
    assert capsys.readouterr().err.startswith(f"{said}whose standard deviation is 2: correct it")


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, name, value = WRONG[case]
    parts: dict[str, Any] = {**file.parameters, **file.arrays}
    parts.pop(name, None)
    if value is not None or name in file.parameters:
        parts[name] = value
    arrays = {name: part for name, part in parts.items() if isinstance(part, np.ndarray)}
    parameters = {name: part for name, part in parts.items() if name not in arrays}
    arguments = written(ModelFile(KIND, parameters, arrays), tmp_path)
    with pytest.raises(ModelFileError, match=f"model: not a {KIND} of this version: "):
        Model.load(tmp_path / "model")
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("fastmlp: error: ")


ONE_OUTPUT = {"coefs_1": ARRAYS["coefs_1"][:, :1], "intercepts_1": ARRAYS["intercepts_1"][:1]}


@pytest.mark.parametrize(
    ("parameters", "arrays", "message"),
    [
        ({"loss": "squared_error"}, {}, "2 outputs of a regression"),
        ({}, ONE_OUTPUT, "classes that are not the outputs'"),
        ({}, {"classes": np.zeros(2, "M8[s]")}, "classes that are not the outputs'"),
        (
            {"features": []},
            {"coefs_0": np.zeros((0, 4), np.float32), "inputs_mean": np.zeros(0), "inputs_scale": np.ones(0)},
            "a layer without units",
        ),
    ],
)
def test_what_fits_but_for_one_thing(
    parameters: dict[str, Any], arrays: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "model", ModelFile(KIND, PARAMETERS | parameters, ARRAYS | arrays))
    with pytest.raises(ModelFileError, match=rf"model: not a {KIND} of this version: {message}$"):
        Model.load(tmp_path / "model")


def test_the_least_model(tmp_path: Path) -> None:
    """A line, of a scale below 1; its one column has no name."""
    arrays = {"coefs_0": np.ones((1, 1), np.float32), "intercepts_0": np.zeros(1, np.float32)}
    arrays |= {"inputs_mean": np.zeros(1), "inputs_scale": np.full(1, 0.5)}
    arrays |= {"outputs_mean": np.zeros(1), "outputs_scale": np.full(1, 0.25)}
    file = ModelFile(KIND, PARAMETERS | {"n_layers": 1, "features": None, "loss": "squared_error"}, arrays)
    write(tmp_path / "model", file)
    model = Model.load(tmp_path / "model")
    assert model.predict(np.array([[1.0], [3.0]])).tolist() == [0.5, 1.5]
    with pytest.raises(ValueError, match=r"^row 1 of the data, column 1: 1e\+39 is too large for float32 beside the "):
        model.predict(np.array([[1e39], [1.0]]))
    for rows in (np.ones(1), np.ones((1, 1, 1))):
        with pytest.raises(ValueError, match=r"X has the shape \(1.*\), but the model was trained on 1 columns"):
            model.predict(rows)


@pytest.mark.parametrize("parameters", [{}, {"n_layers": 1}])
def test_a_file_without_parts_is_refused(parameters: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "model", ModelFile(KIND, parameters, {}))
    with pytest.raises(ModelFileError, match=r"it lacks coefs_0|not a number of layers"):
        Model.load(tmp_path / "model")
    write(tmp_path / "model", ModelFile("MLPClassifier", {}, {}))
    with pytest.raises(ModelFileError, match=r"holds 'MLPClassifier', not a command-line model of version 0.1.0"):
        Model.load(tmp_path / "model")


def test_a_row_that_overflows_within_the_network_is_named() -> None:
    same = Scaler(np.zeros(1), np.ones(1))
    coefs, intercepts = [np.full((1, 1), 10, np.float32)], [np.zeros(1, np.float32)]
    model = Model(coefs, intercepts, "relu", "squared_error", ["a"], "y", same, same)
    assert model.predict(np.array([[1.0], [1e37]])) == pytest.approx([10, 1e38])
    with pytest.raises(ValueError, match=r"row 2 of the data, column 'a': 1e\+38 is too large for float32 beside the"):
        model.predict(np.array([[1.0], [1e38]]))
    with pytest.raises(ValueError, match=r"X has the shape \(1, 2\), but the model was trained on 1 columns"):
        model.predict(np.ones((1, 2)))
