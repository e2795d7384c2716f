"""ONNX files: what ONNX Runtime computes of them is what `predict` gives."""

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import (
    MLPClassifier,
    MLPRegressor,
    TabularClassifier,
    TabularRegressor,
    Trainer,
    _core,
    register_onnx_converters,
)

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, CLASSES = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
VALUES = X @ [1.0, -2.0, 0.5, 1.0] + np.sin(3 * X[:, 0])
# Sums in another order: a few roundings of outputs of the size of 1.
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def run(path: Path, **inputs: Any) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def exported(estimator: Any, path: Path, rows: Any = X) -> dict[str, Any]:
    estimator.to_onnx(path / "model.onnx")
    return run(path / "model.onnx", X=rows.astype(estimator.coefs_[0].dtype))


@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
def test_every_activation(activation: str, dtype: str, tmp_path: Path) -> None:
    model = MLPRegressor(hidden_layer_sizes=(20, 7), activation=activation, max_iter=20, random_state=0, dtype=dtype)
    model.fit(X, VALUES)
    rows = np.concatenate([X, 5 * X]).astype(dtype)
    predicted, found = model.predict(rows), exported(model, tmp_path, rows)["variable"]
    assert found.dtype == predicted.dtype
    assert found.shape == predicted.shape
    # ONNX Runtime has no erf in float64: gelu has the error of float32 there.
    tolerance = TOLERANCE["float32" if activation == "gelu" else dtype]
    np.testing.assert_allclose(found, predicted, rtol=tolerance, atol=tolerance * max(1, np.abs(predicted).max()))


def test_float32_of_wide_layers(tmp_path: Path) -> None:
    """Sums of 784 products in another order: as far from `predict` as both are from the exact outputs."""
    random = np.random.RandomState(0)
    rows = random.rand(2000, 784) * (random.rand(2000, 784) < 0.2)
    for activation in ("relu", "tanh"):
        settings = {"hidden_layer_sizes": (256, 256), "activation": activation, "dtype": "float32", "random_state": 0}
        classifier = MLPClassifier(**settings, max_iter=8).fit(rows, rows[:, :10].argmax(axis=1))
        regressor = MLPRegressor(**settings, max_iter=8).fit(rows, rows @ random.normal(size=784))
        for model, name, method in ((classifier, "probabilities", "predict_proba"), (regressor, "variable", "predict")):
            found, predicted = exported(model, tmp_path, rows), getattr(model, method)(rows)
            z = last_sums(model, rows)
            exact = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) if model is classifier else z[:, 0]
            tolerance = TOLERANCE["float32"] * np.abs(z).max()
            assert np.abs(found[name] - predicted).max() < tolerance
            assert np.abs(found[name] - exact).max() < 2 * tolerance
            assert np.abs(predicted - exact).max() < 2 * tolerance
            if model is classifier:
                np.testing.assert_array_equal(found["label"], model.predict(rows))


def last_sums(model: Any, rows: Any) -> Any:
    """What the last layer adds up, in float64."""
    a = rows.astype(np.float32).astype(np.float64)
    for layer, (W, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        if layer:
            a = np.tanh(a) if model.activation == "tanh" else np.maximum(a, 0)
        a = a @ W.astype(np.float64) + b
    return a


@pytest.mark.parametrize("loss", _core.LOSSES)
def test_every_loss(loss: str, tmp_path: Path) -> None:
    classifies = _core.LOSSES[loss].threshold is not None
    y = CLASSES if classifies else np.exp(VALUES / 4)
    model = Trainer((12,), loss=loss, max_iter=20, random_state=0).fit(X, y)
    found = exported(model, tmp_path)["outputs"]
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sizes", [(), (5,), (9, 8, 7)])
@pytest.mark.parametrize(
    "labels",
    [
        CLASSES,
        CLASSES > 0,
        np.array(["setosa", "ψ", ""])[CLASSES],
        np.array(["a", "b", "c"], dtype=object)[CLASSES],
        CLASSES * 2.0,
        (CLASSES > 1).astype(np.float32),
        CLASSES.astype(np.uint8) * 100,
        np.array([-7, 7, 7])[CLASSES],
    ],
    ids=lambda labels: f"{labels.dtype}-{len(np.unique(labels))}",
)
@pytest.mark.parametrize("loss", ["log_loss", "hinge"])
def test_labels(labels: Any, loss: str, sizes: tuple[int, ...], tmp_path: Path) -> None:
    model = MLPClassifier(sizes, loss=loss, max_iter=30, random_state=0).fit(X, labels)
    found = exported(model, tmp_path)
    assert found["label"].tolist() == model.predict(X).tolist()
    name, expected = "scores", model.decision_function if loss == "hinge" else None
    if loss == "log_loss":
        name, expected = "probabilities", model.predict_proba
    assert expected is not None
    np.testing.assert_allclose(found[name], expected(X), rtol=1e-12, atol=1e-12)
    assert found[name].shape == expected(X).shape


def test_several_labels(tmp_path: Path) -> None:
    Y = np.stack([CLASSES > 0, CLASSES == 1, X[:, 0] > 0], axis=1).astype(int)
    model = MLPClassifier((10,), max_iter=50, random_state=0).fit(X, Y)
    found = exported(model, tmp_path)
    np.testing.assert_array_equal(found["label"], model.predict(X))
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(X), rtol=1e-12)


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    model = MLPRegressor(hidden_layer_sizes=(20,), max_iter=50, random_state=0, dtype="bfloat16").fit(X, VALUES)
    found = exported(model, tmp_path)["variable"]
    W, V = model.coefs_
    expected = np.maximum(X @ W + model.intercepts_[0], 0) @ V + model.intercepts_[1]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected[:, 0], rtol=1e-5, atol=1e-5)
    # Factors are rounded to eight bits.
    np.testing.assert_allclose(found, model.predict(X), atol=0.05 * np.abs(expected).max())


def test_one_class(tmp_path: Path) -> None:
    model = MLPClassifier((3,), max_iter=2, random_state=0).fit(X, np.full(len(X), "only"))
    assert exported(model, tmp_path)["label"].tolist() == model.predict(X).tolist()


def test_several_values_and_quantiles(tmp_path: Path) -> None:
    model = MLPRegressor(hidden_layer_sizes=(10,), max_iter=20, random_state=0).fit(X, np.stack([VALUES, -VALUES], 1))
    np.testing.assert_allclose(exported(model, tmp_path)["variable"], model.predict(X), rtol=1e-11, atol=1e-12)
    model = MLPRegressor(loss="quantile", quantile=[0.9, 0.1, 0.5], max_iter=3, random_state=0).fit(X, VALUES)
    outputs, _ = model._predict(X)
    assert (np.diff(outputs, axis=1) < 0).any(), "some quantiles cross, and must be sorted"
    np.testing.assert_allclose(exported(model, tmp_path)["variable"], model.predict(X), rtol=1e-11, atol=1e-12)


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        MLPClassifier().to_onnx(tmp_path / "model.onnx")
    with pytest.raises(NotFittedError):
        TabularClassifier().to_onnx(tmp_path / "model.onnx")
    mixed = np.array([1, 2.5, None], dtype=object)[CLASSES]
    model = MLPClassifier((3,), max_iter=1).fit(X, CLASSES)
    object.__setattr__(model._fitted.labels, "classes", mixed)
    with pytest.raises(ValueError, match="text, numbers or booleans, all of one kind"):
        model.to_onnx(tmp_path / "model.onnx")
    model = MLPClassifier((3,), max_iter=1).fit(X, CLASSES)
    model.coefs_[0][0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        model.to_onnx(tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_files_are_for_runtimes_from_2022_on(tmp_path: Path) -> None:
    """ONNX Runtime 1.12 reads these versions, and none above them."""
    MLPClassifier((3,), max_iter=1).fit(X, CLASSES).to_onnx(tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    assert model.ir_version == 8
    assert {each.domain: each.version for each in model.opset_import} == {"": 17, "ai.onnx.ml": 3}


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MLPClassifier((3,), max_iter=1).fit(X, CLASSES)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'^to_onnx needs onnx: pip install "fastmlp\[onnx\]"$'):
        model.to_onnx(tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r'^register_onnx_converters needs skl2onnx: pip install "fastmlp\[onnx\]"$'):
        register_onnx_converters()


# -- pipelines --


@pytest.mark.parametrize("rows", [X, X.astype(np.float32)], ids=["float64", "float32"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pipelines(rows: Any, dtype: str) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    register_onnx_converters()
    rows = 3 * rows + 5
    tolerance = max(TOLERANCE[dtype], TOLERANCE[rows.dtype.name])
    several = np.stack([CLASSES > 0, CLASSES > 1], 1) * 1
    for labels in (CLASSES, CLASSES > 0, np.array(list("abc"))[CLASSES], CLASSES * 1.0, several):
        for loss in ("log_loss", "squared_hinge"):
            network = MLPClassifier((12,), loss=loss, max_iter=60, random_state=0, dtype=dtype)
            model = make_pipeline(StandardScaler(), network).fit(rows, labels)
            file = skl2onnx.to_onnx(model, rows[:1], options={MLPClassifier: {"zipmap": False}})
            label, scores = _session(file).run(None, {"X": rows})
            n_scores = 2 if labels is several else max(2, len(np.unique(labels)))
            assert [output.shape[1:] for output in _session(file).get_outputs()] == [
                [2] if labels is several else [], [n_scores]
            ]  # fmt: skip
            assert not any(isinstance(output.shape[0], int) for output in _session(file).get_outputs()), "any rows"
            np.testing.assert_array_equal(label, model.predict(rows))
            expected = model.predict_proba(rows) if loss == "log_loss" else model.decision_function(rows)
            expected = np.stack([-expected, expected], axis=1) if expected.ndim == 1 else expected
            np.testing.assert_allclose(scores, expected, rtol=tolerance, atol=tolerance * 5)
    for network in (
        MLPRegressor(loss="quantile", quantile=[0.1, 0.9], max_iter=20, random_state=0, dtype=dtype),
        MLPRegressor(hidden_layer_sizes=(9,), max_iter=20, random_state=0, dtype=dtype),
        Trainer((), max_iter=20, random_state=0, dtype=dtype, loss="squared_error"),
    ):
        model = make_pipeline(StandardScaler(), network).fit(rows, VALUES)
        (values,) = _session(skl2onnx.to_onnx(model, rows[:1])).run(None, {"X": rows})
        expected = model.predict(rows).reshape(len(rows), -1)
        np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance * 5)


def test_zipmap_as_skl2onnx_has_it_by_default() -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    register_onnx_converters()
    model = make_pipeline(StandardScaler(), MLPClassifier((5,), max_iter=5, random_state=0)).fit(X, CLASSES)
    rows = X[:3].astype(np.float32)  # ONNX Runtime has no zipmap of float64
    _, probabilities = _session(skl2onnx.to_onnx(model, rows)).run(None, {"X": rows})
    found = [[row[label] for label in model.classes_] for row in probabilities]
    np.testing.assert_allclose(found, model.predict_proba(X[:3]), atol=1e-6)


OPTIONS: list[dict[str, Any]] = [{"zipmap": True}, {"zipmap": "columns"}, {"nocl": True}, {"nocl": False}]
OPTIONS += [{"output_class_labels": has_labels, "zipmap": False} for has_labels in (True, False)]


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_options_of_skl2onnx_for_classifiers(option: dict[str, Any]) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    register_onnx_converters()
    model = MLPClassifier((), max_iter=5, random_state=0).fit(X, CLASSES)
    rows = X[:3].astype(np.float32)
    file = skl2onnx.to_onnx(model, rows, options={MLPClassifier: option})
    np.testing.assert_array_equal(_session(file).run(None, {"X": rows})[0], model.predict(rows))


def _session(file: Any) -> Any:
    return onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])


# -- tables --

TABLE = pandas.DataFrame(
    {
        "size": np.where(np.arange(150) % 7 == 0, np.nan, X[:, 0] * 100),
        "count": np.arange(150) % 9,
        "colour": np.array(["red", "green", "blue", None], dtype=object)[np.arange(150) % 4],
        "yes or no": np.array(["yes", "no"])[CLASSES % 2],
        "flag": CLASSES > 1,
        "empty": np.full(150, np.nan),
        "constant": 1.0,
    }
)


def columns(table: pandas.DataFrame) -> dict[str, Any]:
    """The inputs of the file: text for the categories, float64 for the rest."""
    return {
        name: (
            series.fillna("?").to_numpy(dtype=object)
            if series.dtype.kind == "O" or str(series.dtype) in ("str", "string")
            else series.to_numpy(dtype=np.float64)
        ).reshape(-1, 1)
        for name, series in table.items()
    }


@pytest.fixture(scope="module")
def unseen() -> pandas.DataFrame:
    """Rows with values that no training row has."""
    table = TABLE.iloc[:5].copy()
    table["colour"] = ["violet", None, "red", "green", "blue"]
    table["size"] = [1e6, np.nan, -1.797e308, 0.0, 1.797e308]
    table["empty"] = [1.0, 2.0, np.nan, 4.0, 5.0]
    return table


@pytest.mark.parametrize(
    "labels", [np.array(list("abc"))[CLASSES], CLASSES % 2, np.stack([CLASSES > 0, CLASSES > 1], 1) * 1]
)
def test_tables_of_classes(labels: Any, unseen: pandas.DataFrame, tmp_path: Path) -> None:
    model = TabularClassifier(random_state=0, n_members=2).fit(TABLE, labels)
    model.to_onnx(tmp_path / "table.onnx")
    for table in (TABLE, unseen):
        found = run(tmp_path / "table.onnx", **columns(table))
        np.testing.assert_array_equal(found["label"], model.predict(table))
        np.testing.assert_allclose(found["probabilities"], model.predict_proba(table), atol=1e-6)


@pytest.mark.parametrize("quantile", [None, 0.5, [0.2, 0.8]])
def test_tables_of_values(quantile: Any, unseen: pandas.DataFrame, tmp_path: Path) -> None:
    model = TabularRegressor(random_state=0, n_members=2, quantile=quantile).fit(TABLE, 1000 + 50 * VALUES)
    model.to_onnx(tmp_path / "table.onnx")
    for table in (TABLE, unseen):
        found = run(tmp_path / "table.onnx", **columns(table))["variable"]
        expected = model.predict(table)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_arrays_of_numbers_are_one_input(tmp_path: Path) -> None:
    X, y = load_diabetes(return_X_y=True)
    model = TabularRegressor(random_state=0, n_members=1, categorical_features=[1]).fit(X, np.stack([y, -y], 1))
    model.to_onnx(tmp_path / "table.onnx")
    np.testing.assert_allclose(run(tmp_path / "table.onnx", X=X)["variable"], model.predict(X), rtol=1e-5, atol=1e-6)


def test_columns_of_numbers_with_names_and_of_text_without(tmp_path: Path) -> None:
    numbers, y = TABLE[["size", "count"]], VALUES
    model = TabularRegressor(random_state=0, n_members=1, max_time=0.01, quantile=[0.5]).fit(numbers, y)
    model.to_onnx(tmp_path / "table.onnx")
    found = run(tmp_path / "table.onnx", **columns(numbers))["variable"]
    assert found.shape == model.predict(numbers).shape
    np.testing.assert_allclose(found, model.predict(numbers), rtol=1e-5, atol=1e-6)
    text = TABLE[["colour", "yes or no"]].fillna("?")
    model.fit(text.to_numpy(dtype=object), y).to_onnx(tmp_path / "table.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "table.onnx", providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    assert len(names) == 2
    found = run(tmp_path / "table.onnx", **dict(zip(names, columns(text).values(), strict=True)))["variable"]
    np.testing.assert_allclose(found, model.predict(text.to_numpy(dtype=object)), rtol=1e-5, atol=1e-6)


def test_tables_with_columns_named_like_nodes(tmp_path: Path) -> None:
    table = TABLE[["size", "count"]].set_axis(["Sub_1", "constant_1"], axis=1).assign(variable=TABLE["colour"])
    model = TabularClassifier(random_state=0, n_members=1).fit(table, CLASSES)
    model.to_onnx(tmp_path / "table.onnx")
    found = run(tmp_path / "table.onnx", **columns(table))["probabilities"]
    np.testing.assert_allclose(found, model.predict_proba(table), atol=1e-6)
    regressor = TabularRegressor(random_state=0, n_members=1)
    for fitted, name in ((model, "label"), (model, "probabilities"), (regressor, "variable"), (model, "")):
        fitted.fit(table.set_axis([name, "b", "c"], axis=1), CLASSES)
        with pytest.raises(ValueError, match=f"column '{name}': ONNX takes no input .*: rename it"):
            fitted.to_onnx(tmp_path / "table.onnx")


def test_tables_refused_or_without_anything_to_say(tmp_path: Path) -> None:
    table = pandas.DataFrame({"mixed": np.array([1, "one", 2.5, True] * 10, dtype=object)})
    y = [0, 1, 1, 0] * 10
    model = TabularClassifier(random_state=0, n_members=1).fit(table, y)
    with pytest.raises(ValueError, match=r"column 'mixed' holds categories of the types .*str"):
        model.to_onnx(tmp_path / "table.onnx")
    table = pandas.DataFrame({"nothing": np.array([None] * 40, dtype=object)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = TabularClassifier(random_state=0, n_members=1).fit(table, y)
    model.to_onnx(tmp_path / "table.onnx")
    nothing = {"nothing": np.array([["?"]] * 40, dtype=object)}
    if model._fitted.preparation.encodings[0].__class__.__name__ == "Numbers":
        nothing = {"nothing": np.full((40, 1), np.nan)}
    found = run(tmp_path / "table.onnx", **nothing)["probabilities"]
    np.testing.assert_allclose(found, model.predict_proba(table), atol=1e-6)
