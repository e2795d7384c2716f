"""C headers: what the compiled function computes is what `predict` gives, bit by bit where there is a multiply-add."""

import math
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from fastmlp import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor, Trainer, _core
from fastmlp.export import c_header

CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
ARM_CC, QEMU_ARM = shutil.which("arm-linux-gnueabihf-gcc"), shutil.which("qemu-arm")
pytestmark = [
    pytest.mark.skipif(CC is None or sys.platform == "win32", reason="needs a C compiler, and another system"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2"]
# Only where the processor has one is the arithmetic that of the engine.
HAS_FMA = _core.isa() != "x86-64"
FMA = ["-mfma"] if platform.machine() in ("x86_64", "AMD64") and HAS_FMA else []

X, CLASSES = load_iris(return_X_y=True)
X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
VALUES = X @ [1.0, -2.0, 0.5, 1.0] + np.sin(3 * X[:, 0])
ROWS = np.concatenate([X, 30 * X, 1000 * X]).astype(np.float32)  # where exponentials leave their range, too

HARNESS = """
#include "model.h"
#include <stdio.h>
int main(void) {
    REAL x[MODEL_N_INPUTS], y[MODEL_N_OUTPUTS];
    while (fread(x, sizeof *x, MODEL_N_INPUTS, stdin) == MODEL_N_INPUTS) {
        int label = CALL;
        fwrite(&label, sizeof label, 1, stdout);
        fwrite(y, sizeof *y, MODEL_N_OUTPUTS, stdout);
    }
    return 0;
}
"""


def computed(
    estimator: Any,
    folder: Path,
    rows: NDArray[Any] = X,
    *,
    cc: str | None = CC,
    flags: Any = FMA,
    run: Any = (),
    real: str = "float",
    dtype: Any = np.float32,
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """What the header's function returns and writes."""
    estimator.to_c(folder / "model.h")
    header = (folder / "model.h").read_text()
    returns = "static inline int model_predict" in header
    call = "model_predict(x, y)" if returns else "(model_predict(x, y), -1)"
    (folder / "main.c").write_text(HARNESS.replace("CALL", call).replace("REAL", real))
    subprocess.run([str(cc), *STRICT, *flags, "main.c", "-o", "main", "-lm"], cwd=folder, check=True)
    found = subprocess.run([*run, folder / "main"], input=rows.tobytes(), capture_output=True, check=True)
    assert found.stderr == b""
    match = re.search(r"#define MODEL_N_OUTPUTS (\d+)", header)
    assert match
    n_outputs = int(match[1])
    kind = np.dtype([("label", np.int32), ("y", dtype, (n_outputs,))])
    records = np.frombuffer(found.stdout, kind)
    assert len(records) == len(rows)
    return records["label"], records["y"]


@pytest.mark.skipif(not HAS_FMA, reason="the engine has no multiply-add")
@pytest.mark.parametrize("sizes", [(), (5,), (17, 4), (9, 20, 6, 3)])
@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
def test_same_bits_for_every_activation(activation: str, sizes: tuple[int, ...], tmp_path: Path) -> None:
    model = MLPRegressor(hidden_layer_sizes=sizes, activation=activation, max_iter=20, random_state=0).fit(X, VALUES)
    _, y = computed(model, tmp_path, ROWS)
    np.testing.assert_array_equal(y[:, 0], model.predict(ROWS))


@pytest.mark.skipif(not HAS_FMA, reason="the engine has no multiply-add")
@pytest.mark.parametrize("loss", _core.LOSSES)
def test_same_bits_for_every_loss(loss: str, tmp_path: Path) -> None:
    y = CLASSES if _core.LOSSES[loss].threshold is not None else np.exp(VALUES / 4)
    model = Trainer((12, 8), loss=loss, activation=["tanh", "silu"], max_iter=20, random_state=0).fit(X, y)
    np.testing.assert_array_equal(computed(model, tmp_path, ROWS)[1], model.predict(ROWS).reshape(len(ROWS), -1))


@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
def test_without_a_multiply_add(activation: str, tmp_path: Path) -> None:
    model = Trainer((12, 8), activation=activation, max_iter=50, random_state=0).fit(X, CLASSES)
    _, y = computed(model, tmp_path, flags=["-DMODEL_FMA(a,b,c)=((a)*(b)+(c))"])
    # Sums of a dozen products that are rounded twice: a few units in the last place of a probability.
    np.testing.assert_allclose(y, model.predict(X), atol=1e-6)


@pytest.mark.skipif(ARM_CC is None or QEMU_ARM is None, reason="needs arm-linux-gnueabihf-gcc and qemu-arm")
@pytest.mark.skipif(not HAS_FMA, reason="the engine has no multiply-add")
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "mish"])
def test_same_bits_on_arm(activation: str, tmp_path: Path) -> None:
    model = MLPClassifier((16, 8), activation=activation, max_iter=50, random_state=0).fit(X, CLASSES)
    flags = ["-mcpu=cortex-a7", "-mthumb", "-mfpu=vfpv4", "-static"]
    label, y = computed(model, tmp_path, ROWS, cc=ARM_CC, flags=flags, run=[QEMU_ARM])
    np.testing.assert_array_equal(y, model.predict_proba(ROWS))
    np.testing.assert_array_equal(label, model.predict(ROWS))


@pytest.mark.parametrize("loss", ["log_loss", "hinge"])
@pytest.mark.parametrize("labels", [CLASSES, CLASSES > 0, np.full(150, 7)], ids=["three", "two", "one"])
def test_classes(labels: NDArray[Any], loss: str, tmp_path: Path) -> None:
    model = MLPClassifier((10,), loss=loss, max_iter=60, random_state=0).fit(X, labels)
    label, y = computed(model, tmp_path)
    classes = model.classes_.repeat(2 if len(model.classes_) == 1 else 1)
    assert f" model_classes[{len(classes)}] = " in (tmp_path / "model.h").read_text()
    np.testing.assert_array_equal(classes[label], model.predict(X))
    expected = model.predict_proba(X) if loss == "log_loss" else model.decision_function(X).reshape(len(X), -1)
    np.testing.assert_allclose(y, expected, atol=1e-6, rtol=1e-6)


def test_several_labels_and_quantiles(tmp_path: Path) -> None:
    Y = np.stack([CLASSES > 0, CLASSES == 1], axis=1).astype(int)
    classifier = MLPClassifier((10,), max_iter=60, random_state=0).fit(X, Y)
    np.testing.assert_allclose(computed(classifier, tmp_path)[1], classifier.predict_proba(X), atol=1e-6)
    header = (tmp_path / "model.h").read_text()
    assert "gets the probabilities of the labels; a label is there where it is above 0.5." in header
    assert "classes" not in header
    model = MLPRegressor(loss="quantile", quantile=[0.9, 0.1, 0.5], max_iter=3, random_state=0).fit(X, VALUES)
    assert (np.diff(model._predict(X)[0], axis=1) < 0).any(), "some quantiles cross, and must be sorted"
    np.testing.assert_allclose(computed(model, tmp_path)[1], model.predict(X), atol=1e-6)


def test_of_a_network_in_float64(tmp_path: Path) -> None:
    model = MLPRegressor(hidden_layer_sizes=(10,), max_iter=60, random_state=0).fit(X.astype(np.float64), VALUES)
    _, y = computed(model, tmp_path)
    # The parameters are rounded to float32: 1e-7 of outputs of up to 10.
    np.testing.assert_allclose(y[:, 0], model.predict(X), atol=1e-5)


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    model = MLPRegressor(hidden_layer_sizes=(10,), max_iter=60, random_state=0, dtype="bfloat16").fit(X, VALUES)
    twin = MLPRegressor(hidden_layer_sizes=(10,), dtype="float32").initialize(X, VALUES)
    twin.coefs_, twin.intercepts_ = model.coefs_, model.intercepts_
    _, y = computed(model, tmp_path)
    np.testing.assert_allclose(y[:, 0], twin.predict(X), rtol=1e-5, atol=1e-5)


def test_table_of_the_classes(tmp_path: Path) -> None:
    """Text goes through the compiler unharmed."""
    labels = np.array(['quo"te\\', "ψ ??= %d", ""])
    model = MLPClassifier((3,), max_iter=1, random_state=0).fit(X, labels[CLASSES])
    model.to_c(tmp_path / "2 words.h")
    assert "model_2_words_predict" in (tmp_path / "2 words.h").read_text()
    (tmp_path / "main.c").write_text(
        '#include "2 words.h"\n#include <stdio.h>\n'
        'int main(void) { for (int k = 0; k < 3; k++) printf("%s\\n", model_2_words_classes[k]); return 0; }\n'
    )
    subprocess.run([str(CC), *STRICT, "main.c", "-o", "main", "-lm"], cwd=tmp_path, check=True)
    found = subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout.decode()
    assert found == "".join(f"{label}\n" for label in sorted(labels))


@pytest.mark.parametrize(
    ("labels", "table"),
    [
        ([1.0, 2.0], "double @classes[2] = {1.0, 2.0}"),
        ([False, True], "int64_t @classes[2] = {0, 1}"),
        ([1 - 2**63, 2**63 - 1], "int64_t @classes[2] = {-9223372036854775807, 9223372036854775807}"),
        ([-(2**63), 0], "double @classes[2] = {-9.223372036854776e+18, 0.0}"),  # C has no such literal
        ([0, 2**63], "double @classes[2] = {0.0, 9.223372036854776e+18}"),
    ],
)
def test_table_of_numbers(labels: list[Any], table: str) -> None:
    assert c_header.classes(np.array(labels, dtype=object)) == f"static const {table};"


def test_hidden_layers_share_two_arrays(tmp_path: Path) -> None:
    model = MLPRegressor(hidden_layer_sizes=(3, 2, 9, 20, 1), max_iter=1, random_state=0).fit(X, VALUES)
    model.to_c(tmp_path / "model.h")
    header = (tmp_path / "model.h").read_text()
    assert re.findall(r"static float (\w)\[(\d+)\];", header) == [("a", "9"), ("b", "20")]
    assert f" {4 * (9 + 20)} bytes of static memory" in header


def test_two_headers_in_one_file(tmp_path: Path) -> None:
    model = MLPClassifier((3,), activation="gelu", max_iter=1, random_state=0).fit(X, CLASSES / 1)
    for name in ("first", "second"):
        model.to_c(tmp_path / f"{name}.h")
    (tmp_path / "main.c").write_text('#include "first.h"\n#include "second.h"\nint main(void) { return 0; }\n')
    subprocess.run([str(CC), *STRICT, "main.c", "-o", "main", "-lm"], cwd=tmp_path, check=True)


def test_sizes_are_those_of_the_compiled_object(tmp_path: Path) -> None:
    if shutil.which("size") is None or not sys.platform.startswith("linux"):
        pytest.skip("needs the size of Linux")
    model = MLPClassifier((32, 16, 8), max_iter=1, random_state=0).fit(X, CLASSES)
    model.to_c(tmp_path / "model.h")
    constants, static = map(int, re.findall(r"(\d+) bytes", (tmp_path / "model.h").read_text()))
    assert constants == 4 * sum(a.size for a in [*model.coefs_, *model.intercepts_])
    caller = '#include "model.h"\nint f(const float *x, float *y) { return model_predict(x, y); }\n'
    (tmp_path / "model.c").write_text(caller)
    subprocess.run([str(CC), *STRICT, "-c", "model.c"], cwd=tmp_path, check=True)
    size = subprocess.run(["size", "model.o"], cwd=tmp_path, capture_output=True, check=True, text=True).stdout
    text, data, bss = map(int, size.splitlines()[1].split()[:3])
    assert (data, bss) == (0, static)
    assert constants < text < constants + 8192


TABLE = pandas.DataFrame(
    {
        "size": np.where(np.arange(150) % 7 == 0, np.nan, X[:, 0].astype(np.float64) * 100 + 1e6),
        "colour */ @x": np.array(["red", "green", "blü", None], dtype=object)[np.arange(150) % 4],
        "yes or no": np.array(["yes", "no"])[CLASSES % 2],
        "flag": CLASSES > 1,
        "empty": np.full(150, np.nan),
    }
)


def coded(model: Any, table: pandas.DataFrame) -> NDArray[np.float64]:
    """The columns as the function takes them."""
    columns = []
    for name, encoding in zip(table, model._fitted.preparation.encodings, strict=True):
        if hasattr(encoding, "values"):
            numbers = {value: number for number, value in enumerate(encoding.values)}
            columns.append([numbers.get(value, -1) for value in table[name]])
        else:
            columns.append(table[name].tolist())
    return np.array(columns, np.float64).T


@pytest.mark.skipif(not HAS_FMA, reason="the engine has no multiply-add")
@pytest.mark.parametrize("kind", ["classes", "labels", "values", "two values", "quantile", "quantiles"])
def test_tables(kind: str, tmp_path: Path) -> None:
    unseen = TABLE.iloc[:5].copy()
    unseen["colour */ @x"] = ["violet", None, "red", "green", "blü"]
    unseen["size"] = [1e9, np.nan, -1.797e308, 0.0, 1.797e308]
    table = pandas.concat([TABLE, unseen])
    model: Any
    if kind in ("classes", "labels"):
        y = np.array(list("abc"))[CLASSES] if kind == "classes" else np.stack([CLASSES > 0, CLASSES > 1], 1) * 1
        model = TabularClassifier(n_members=2, random_state=0).fit(TABLE, y)
        expected = model.predict_proba(table)
    else:
        quantile = {"quantile": 0.3, "quantiles": [0.8, 0.2, 0.5]}.get(kind)
        y = 1000 + 50 * VALUES if kind != "two values" else np.stack([VALUES, 1e6 * VALUES], 1)
        model = TabularRegressor(n_members=2, random_state=0, quantile=quantile).fit(TABLE, y)
        expected = model.predict(table).reshape(len(table), -1)
    label, found = computed(model, tmp_path, coded(model, table), real="double", dtype=np.float64)
    # The networks have the engine's bits; the sum of the probabilities goes another way round.
    np.testing.assert_allclose(found, expected, rtol=1e-14 if kind == "classes" else 0)
    header = (tmp_path / "model.h").read_text()
    assert ("model_classes[3]" in header) == (kind == "classes")
    assert ("double above" in header) == (kind == "quantiles"), "what is sorted"
    if kind == "classes":
        np.testing.assert_array_equal(model.classes_[label], model.predict(table))


def test_a_table_says_what_memory_it_takes(tmp_path: Path) -> None:
    """That of the arrays in the header."""
    model = TabularRegressor(n_members=2, max_time=0.01, random_state=0).fit(TABLE, VALUES)
    model.to_c(tmp_path / "model.h")
    header = (tmp_path / "model.h").read_text(encoding="utf-8")
    units = ", ".join(map(str, model._fitted.n_units[1:-1]))
    assert f": {len(model._fitted.members)} networks with hidden layers of {units} units.\n" in header
    told = re.findall(r"(\d+) bytes of constants, (\d+) bytes of static memory", header)
    constants = re.findall(r"static const float \w+\[(.+)\]", header)
    arrays = re.findall(r"\b\w+\[(\d+)\]", " ".join(re.findall(r"^    static float .*", header, re.MULTILINE)))
    sizes = 4 * sum(math.prod(map(int, shape.split(" * "))) for shape in constants), 4 * sum(map(int, arrays))
    assert [tuple(map(int, each)) for each in told] == [sizes]


def test_categories_can_be_told_apart(tmp_path: Path) -> None:
    towns = np.array(["Köln", "Käln", "a*/", "a@/", "a\u202eb"])[np.arange(150) % 5]
    model = TabularClassifier(n_members=1, random_state=0).fit(pandas.DataFrame({"town": towns}), CLASSES)
    model.to_c(tmp_path / "model.h")
    header = (tmp_path / "model.h").read_text(encoding="utf-8")
    told = "town: 0 for 'Käln', 1 for 'Köln', 2 for 'a\\u002a/', 3 for 'a\\u0040/', 4 for 'a\\u202eb'; -1 for what is"
    assert told in header


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        MLPClassifier().to_c(tmp_path / "model.h")
    with pytest.raises(NotFittedError):
        TabularClassifier().to_c(tmp_path / "model.h")
    model = Trainer((3,), max_iter=1, loss="squared_error", dtype="float64").fit(X, VALUES)
    model.coefs_[0][0, 0] = np.finfo(np.float32).max
    model.to_c(tmp_path / "model.h")
    (tmp_path / "model.h").unlink()
    model.coefs_[0][0, 0] = 1e39
    with pytest.raises(ValueError, match="too large for float32"):
        model.to_c(tmp_path / "model.h")
    classifier = MLPClassifier((3,), max_iter=1).fit(X, CLASSES)
    object.__setattr__(classifier._fitted.labels, "classes", np.array([1, "two", 3], dtype=object))
    with pytest.raises(ValueError, match="text or numbers, all of one kind"):
        classifier.to_c(tmp_path / "model.h")
    assert not (tmp_path / "model.h").exists()
