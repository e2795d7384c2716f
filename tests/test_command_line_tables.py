"""The command line on tables: files of every kind, targets of every kind, what is told, and what is refused."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.metrics import balanced_accuracy_score, log_loss, mean_absolute_error, r2_score, root_mean_squared_error

import fastmlp
from fastmlp import tabular_training
from fastmlp.cli.main import main
from fastmlp.cli.target import task_of
from fastmlp.model_file import ModelFile, write
from fastmlp.tabular_training import Preset

pandas = pytest.importorskip("pandas")

Captured = pytest.CaptureFixture[str]
SPECIES = ["setosa", "versicolor", "virginica"]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little training: how well it goes is tested elsewhere."""
    monkeypatch.setitem(tabular_training.PRESETS, "default", Preset(1, 16, 8, 120, 2000))


def write_csv(path: Path, header: list[str], *columns: Any, delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(zip(*columns, strict=True))
    return path


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    """150 rows, four numbers, three classes with names."""
    X, y = load_iris(return_X_y=True)
    return write_csv(tmp_path / "iris.csv", ["sl", "sw", "pl", "pw", "species"], *X.T, np.array(SPECIES)[y])


def table(n_rows: int = 120) -> Any:
    """Numbers, text, truth values, a few gaps, and targets of both kinds."""
    rng = np.random.default_rng(0)
    kind = rng.choice(["round", "flat", "12"], n_rows)
    size = rng.normal(5, 2, n_rows).round(3)
    frame = pandas.DataFrame({"size": size, "kind": kind, "new": rng.random(n_rows) < 0.5})
    frame["price"] = (100 * size + 500 * (kind == "flat")).round(2)
    frame["sold"] = np.where((size > 5) ^ (kind == "flat"), "yes", "no")
    frame.loc[::9, "size"] = np.nan
    frame.loc[::7, "kind"] = None
    return frame


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def failure(capsys: Captured, *arguments: object) -> str:
    """The one line of the error of a command that fails."""
    assert run(*arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("fastmlp: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def told(capsys: Captured, *arguments: object) -> dict[str, Any]:
    """What a training tells as JSON, on stdout alone."""
    capsys.readouterr()
    assert run("train", *arguments, "--json", "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("\n") == 1
    found: dict[str, Any] = json.loads(captured.out)
    return found


def predictions(capsys: Captured, *arguments: object) -> list[list[str]]:
    capsys.readouterr()
    assert run("predict", *arguments) == 0
    return list(csv.reader(capsys.readouterr().out.splitlines()))


# -- both ends --


def test_from_a_table_to_predictions(iris: Path, tmp_path: Path, capsys: Captured) -> None:
    model = tmp_path / "model"
    assert run("train", iris, "--target", "species", "--save", model) == 0
    announced, encoded, scores, saved = capsys.readouterr().out.splitlines()
    assert announced == f"{iris}: 120 rows to train on, 30 to test on; classification of species into 3 classes (text)"
    assert encoded.startswith(
        "4 columns of numbers (sl, sw, pl, pw), 0 of categories: 4 inputs and 24 ramps; 1 network of (28, "
    )
    assert scores.startswith("test accuracy ")
    assert ", balanced accuracy " in scores
    assert ", log loss " in scores
    assert saved == f"saved {model}"
    # The columns are found by their names: in another order, among others that are text or have no name.
    X, y = load_iris(return_X_y=True)
    columns = [range(150), range(150), X[:, 3], ["no number"] * 150, X[:, 1], X[:, 0], X[:, 2]]
    new = write_csv(tmp_path / "new.csv", ["", "", "pw", "note", "sw", "sl", "pl"], *columns)
    (header,), *predicted = predictions(capsys, model, new)
    assert header == "species"
    right = np.array(SPECIES)[y] == np.ravel(predicted)
    assert right.mean() > 0.9  # one of three classes is separable, the others overlap in a few rows


def test_scores_are_those_of_scikit_learn(tmp_path: Path, capsys: Captured) -> None:
    """Of the rows X_test, which the model in the file predicts as the one that was trained."""
    X, y = load_iris(return_X_y=True)
    odd = np.arange(len(y)) % 2 == 1
    data, model = tmp_path / "iris.npz", tmp_path / "model"
    np.savez(data, X_train=X[~odd], y_train=np.array(SPECIES)[y][~odd], X_test=X[odd], y_test=np.array(SPECIES)[y][odd])
    scores = told(capsys, data, "--save", model)["scores"]
    classifier, names = fastmlp.load(model), np.array(SPECIES)[y][odd]
    assert scores["accuracy"] == pytest.approx(classifier.score(X[odd], names))
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(names, classifier.predict(X[odd])))
    assert scores["log_loss"] == pytest.approx(log_loss(names, classifier.predict_proba(X[odd])))
    X, y = load_diabetes(return_X_y=True)
    odd = np.arange(len(y)) % 2 == 1
    np.savez(data, X=X[~odd], y=y[~odd] + 0.5, X_test=X[odd], y_test=y[odd] + 0.5)
    scores = told(capsys, data, "--save", model)["scores"]
    predicted = fastmlp.load(model).predict(X[odd])
    assert scores["R2"] == pytest.approx(r2_score(y[odd] + 0.5, predicted))
    assert scores["R2"] > 0.2  # a mean has 0, linear regression some 0.45
    assert scores["RMSE"] == pytest.approx(root_mean_squared_error(y[odd] + 0.5, predicted))
    assert scores["MAE"] == pytest.approx(mean_absolute_error(y[odd] + 0.5, predicted))


def test_errors_are_told_in_the_units_of_the_target(tmp_path: Path, capsys: Captured) -> None:
    data, model = tmp_path / "prices.csv", tmp_path / "model"
    table().drop(columns="sold").to_csv(data, index=False)
    assert run("train", data, "--target", "price", "--save", model) == 0
    output = capsys.readouterr().out
    assert "regression of price (real numbers)" in output
    assert "1 column of numbers (size), 2 of categories (kind: 3, new: 2): 6 inputs" in output
    rmse, mae = (float(output.split(f"{name} ")[1].split()[0].strip(",")) for name in ("RMSE", "MAE"))
    assert 1 < mae <= rmse < table()["price"].std()
    assert "(in units of price)" in output
    (header,), *predicted = predictions(capsys, model, data)
    assert header == "price"
    found = np.ravel(predicted).astype(float)
    assert found.tolist() == [float(f"{value:.9g}") for value in fastmlp.load(model).predict(table().iloc[:, :3])]


def test_every_kind_of_file_gives_the_same_model(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    frame, files = table(), [tmp_path / f"t{ending}" for ending in (".csv", ".tsv", ".CSV.gz", ".tsv.gz", ".parquet")]
    for path, separator in zip(files[:4], ",\t,\t", strict=True):
        frame.to_csv(path, index=False, sep=separator, compression="gzip" if path.suffix == ".gz" else None)
    frame.to_parquet(files[4])
    semicolons = tmp_path / "s.csv"
    text = frame.to_csv(index=False, sep=";", decimal=",").replace("\n", "\n\n")
    semicolons.write_text("\ufeff" + text, encoding="utf-8")
    found = []
    for target in ("sold", "price"):
        for path in (*files, semicolons):
            assert run("train", path, "--target", target, "--quiet", "--save", tmp_path / "model") == 0
            found.append((tmp_path / "model").read_bytes())
            if path != semicolons:
                monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(path.read_bytes())))
                assert run("train", "-", "--target", target, "--quiet", "--save", tmp_path / "model") == 0
                found.append((tmp_path / "model").read_bytes())
    assert len(found) == 22
    assert len(set(found)) == 2
    expected = predictions(capsys, tmp_path / "model", files[0])
    for path in (*files, semicolons):
        assert predictions(capsys, tmp_path / "model", path) == expected


def test_arrays(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images become rows; the names of the arrays are X and y, with _train or without."""
    digits = load_digits()
    X, y = digits.images.astype(np.uint8), digits.target
    data, model = tmp_path / "digits.npz", tmp_path / "model"
    np.savez(data, X_train=X[:1500], y_train=y[:1500, None], X_test=X[1500:], y_test=y[1500:])
    assert run("train", data, "--save", model) == 0
    output = capsys.readouterr().out
    assert "1500 rows to train on, 297 to test on" in output
    assert "of y into 10 classes (integers of 10 values; --task regression takes them otherwise)" in output
    accuracy = float(output.split("test accuracy ")[1].split()[0])
    assert accuracy > 80
    expected = predictions(capsys, model, data)  # of X_test, as there is no X
    right = np.ravel(expected[1:]).astype(int) == y[1500:]
    assert 100 * right.mean() == pytest.approx(accuracy, abs=0.005)  # printed with two digits
    np.savez(data, X=X[1500:])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(data.read_bytes())))
    assert predictions(capsys, model, "-") == expected
    # Columns without names are taken in their order.
    names = [f"pixel {i}" for i in range(64)]
    assert predictions(capsys, model, write_csv(tmp_path / "d.csv", names, *X[1500:].reshape(-1, 64).T)) == expected


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:Training diverges")
def test_one_kind_of_model_file(iris: Path, tmp_path: Path, capsys: Captured) -> None:
    """What --save has written is an estimator; what an estimator has saved, the command line predicts with."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    X.columns = ["sl", "sw", "pl", "pw"]
    model = tmp_path / "model"
    assert run("train", iris, "--target", "species", "--save", model) == 0
    loaded = fastmlp.load(model)
    assert isinstance(loaded, fastmlp.TabularClassifier)
    assert (loaded.target_name_, list(loaded.feature_names_in_)) == ("species", list(X.columns))
    assert [["species"], *loaded.predict(X)[:, None].tolist()] == predictions(capsys, model, iris)
    both = np.column_stack([y, -y])
    for estimator, target, header in (
        (fastmlp.TabularRegressor(random_state=0), y.rename("kind"), ["kind"]),
        (fastmlp.TabularRegressor(random_state=0), both, ["y_0", "y_1"]),
        (fastmlp.TabularClassifier(random_state=0), y.to_numpy(), ["y"]),
        (fastmlp.MLPClassifier((4,), max_iter=5), np.array(SPECIES)[y], ["y"]),
        (fastmlp.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5), both, ["y_0", "y_1"]),
        (fastmlp.Trainer((4,), max_iter=5), y, ["y_0", "y_1", "y_2"]),  # of which it predicts probabilities
    ):
        for rows in (X, X.to_numpy()):
            estimator.fit(rows, target).save(model)
            found = predictions(capsys, model, iris if rows is X else save(tmp_path, rows))
            expected = estimator.predict(rows)
            assert found[0] == header
            if expected.dtype.kind == "U":
                assert found[1:] == expected[:, None].tolist()
            else:
                np.testing.assert_allclose(np.array(found[1:], float), expected.reshape(150, -1), rtol=1e-8)  # printed


def save(folder: Path, X: Any) -> Path:
    np.savez(folder / "rows.npz", X=X)
    return folder / "rows.npz"


def test_probabilities(iris: Path, tmp_path: Path, capsys: Captured) -> None:
    model, output = tmp_path / "model", tmp_path / "probabilities.csv"
    assert run("train", iris, "--target", "species", "--save", model) == 0
    assert predictions(capsys, model, iris, "--proba", "--output", output) == []
    read = pandas.read_csv(output)
    assert list(read.columns) == SPECIES
    expected = fastmlp.load(model).predict_proba(pandas.read_csv(iris).iloc[:, :4])
    np.testing.assert_allclose(read, expected, rtol=1e-8)  # nine digits
    table().to_csv(tmp_path / "t.csv", index=False)
    assert run("train", tmp_path / "t.csv", "--target", "price", "--save", model) == 0
    capsys.readouterr()
    assert "--proba: the model of " in failure(capsys, "predict", model, tmp_path / "t.csv", "--proba")
    assert "--output: there is no folder" in failure(capsys, "predict", model, iris, "--output", tmp_path / "a" / "b")


# -- what is told --


def test_json_tells_everything(tmp_path: Path, capsys: Captured) -> None:
    data, model, picture = tmp_path / "t.csv", tmp_path / "model", tmp_path / "loss.png"
    frame = table()
    frame.loc[:9, "sold"] = None
    frame.to_csv(data, index=False)
    pytest.importorskip("matplotlib")
    options = ["--drop", "price", "--seed", 3, "--max-time", 60, "--threads", 1, "--save", model, "--plot", picture]
    found = told(capsys, data, "--target", "sold", *options)
    assert (found["data"], found["target"], found["task"]) == (str(data), "sold", "classification")
    assert (found["n_train_rows"], found["n_test_rows"], found["n_rows_without_target"]) == (88, 22, 10)
    assert found["classes"] == ["no", "yes"]
    assert found["columns"] == [
        {"name": "size", "kind": "numbers"},
        {"name": "kind", "kind": "categories", "n_categories": 3},
        {"name": "new", "kind": "categories", "n_categories": 2},
    ]
    settings = {"preset": "default", "random_state": 3, "max_time": 60, "n_threads": 1}
    assert found["settings"].items() >= settings.items()
    loaded = fastmlp.load(model)
    assert loaded.get_params().items() >= settings.items()
    assert (found["n_epochs"], found["best_epoch"]) == (loaded.n_iter_, loaded.best_epoch_)
    assert 0 < found["seconds"] < 60
    assert set(found["scores"]) == {"accuracy", "balanced_accuracy", "log_loss"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (found["saved"], found["plotted"]) == (str(model), str(picture))


def test_quiet_is_one_line(iris: Path, tmp_path: Path, capsys: Captured) -> None:
    assert run("train", iris, "--target", "species", "--quiet", "--save", tmp_path / "model") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("test accuracy ")
    assert captured.out.count("\n") == 1


def test_without_test_rows_there_is_no_score(iris: Path, capsys: Captured) -> None:
    found = told(capsys, iris, "--target", "species", "--test-fraction", 0)
    assert (found["n_test_rows"], found["scores"]) == (0, {})
    assert run("train", iris, "--target", "species", "--test-fraction", 0, "--quiet") == 0
    assert capsys.readouterr().out.startswith("after ")


def test_a_test_row_of_a_class_that_is_not_trained_on(tmp_path: Path, capsys: Captured) -> None:
    """No prediction can be right for it; its probability is 0, of which the logarithm is cut."""
    X = np.linspace(-1, 1, 40)[:, None]
    np.savez(tmp_path / "d.npz", X=X, y=(X[:, 0] > 0).astype(int), X_test=X[-4:], y_test=[1, 1, 1, 9])
    scores = told(capsys, tmp_path / "d.npz")["scores"]
    assert scores["accuracy"] == 0.75
    assert scores["balanced_accuracy"] == 0.5
    assert -np.log(np.finfo(float).eps) / 4 <= scores["log_loss"] < 10
    np.savez(tmp_path / "d.npz", X=X, y=X[:, 0], X_test=X[:2], y_test=[0.5, 0.5])
    scores = told(capsys, tmp_path / "d.npz")["scores"]
    assert set(scores) == {"RMSE", "MAE"}, "R2 is not defined where all targets are equal"


def test_a_time_limit(iris: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tabular_training.PRESETS, "accurate", Preset(1, 16, 10**6, 1, 10**9))
    found = told(capsys, iris, "--target", "species", "--preset", "accurate", "--max-time", 0.3)
    assert found["settings"]["preset"] == "accurate"
    assert 1 <= found["n_epochs"] < 10**6
    assert run("train", iris, "--target", "species", "--preset", "accurate", "--max-time", 0.3) == 0
    assert capsys.readouterr().err.startswith("fastmlp: warning: max_time has ended the training after ")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_an_interrupted_training_is_saved(
    iris: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tabular_training.PRESETS, "default", Preset(3, 16, 10**6, 1, 10**9))
    timer = threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    assert run("train", iris, "--target", "species", "--threads", 2, "--save", tmp_path / "model") == 1
    timer.join()
    captured = capsys.readouterr()
    assert captured.err == "fastmlp: warning: Training interrupted by user.\n"
    assert "test accuracy" in captured.out
    loaded = fastmlp.load(tmp_path / "model")
    assert 1 <= loaded.n_iter_ < 10**6
    assert loaded.n_members_ == 2  # of the third training there has been no step


def test_the_same_seed_gives_the_same_file(iris: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert run("train", iris, "--target", "species", "--seed", seed, "--save", tmp_path / name) == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_any_number_of_threads_gives_the_same_predictions(iris: Path, tmp_path: Path, capsys: Captured) -> None:
    found = []
    for threads in (1, 2):
        assert run("train", iris, "--target", "species", "--threads", threads, "--save", tmp_path / "model") == 0
        found.append(predictions(capsys, tmp_path / "model", iris, "--proba"))
    assert found[0] == found[1]


# -- targets --


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"] * 20, "classification"),
        ([True, False] * 20, "classification"),
        ([1, 2, 3, 4] * 10, "classification"),
        (list(range(30)) * 3, "classification"),
        ([0, 1], "classification"),
        (list(range(31)) * 4, "regression"),
        (list(range(40)), "regression"),
        ([1.0, 2.0] * 20, "regression"),
        ([0.5, 2.0] * 20, "regression"),
    ],
)
def test_the_task_follows_from_the_target(values: list[Any], task: str) -> None:
    assert task_of(np.array(values), "y")[0] == task


@pytest.mark.parametrize(
    ("cells", "classes", "n_dropped"),
    [
        (["1", "2", "", "1"], [1, 2], 10),  # which pandas reads as 1.0 and 2.0
        (["True", "false", "NA", "True"], [False, True], 10),
        (["None", "mild", "severe", "mild"], ["None", "mild", "severe"], 0),  # a name, not a gap
        (["None", "1", "2", "1"], [1, 2], 10),
        ([" no", "yes ", "no", "?"], ["no", "yes"], 10),
        (["01", "2", "10", "1"], [1, 2, 10], 0),
    ],
)
def test_classes_of_a_csv_file(
    cells: list[str], classes: list[Any], n_dropped: int, tmp_path: Path, capsys: Captured
) -> None:
    data = write_csv(tmp_path / "d.csv", ["a", "y"], range(40), cells * 10)
    found = told(capsys, data, "--target", "y", "--test-fraction", 0)
    assert (found["task"], found["classes"], found["n_rows_without_target"]) == ("classification", classes, n_dropped)
    assert found["n_train_rows"] == 40 - n_dropped


def test_targets_of_a_parquet_file(tmp_path: Path, capsys: Captured) -> None:
    pytest.importorskip("pyarrow")
    columns: dict[str, Any] = {
        "a": np.arange(40.0),
        "gaps": pandas.array([1, 2, None, 3] * 10, dtype="Int64"),
        "truth": pandas.array([True, None, False, True] * 10, dtype="boolean"),
        "names": pandas.Categorical(["b", "a", None, "b"] * 10),
        "levels": pandas.Categorical([3, 1, 2, 3] * 10),
        "text": ["01", "1", "01", None] * 10,
        "decimal": [Decimal("0.5"), None, Decimal("1.5"), Decimal("2.25")] * 10,
        "day": pandas.date_range("2020-01-01", periods=40),
    }
    data = tmp_path / "d.parquet"
    pandas.DataFrame(columns).to_parquet(data)
    for target, classes in (
        ("gaps", [1, 2, 3]),
        ("truth", [False, True]),
        ("names", ["a", "b"]),
        ("levels", [1, 2, 3]),
        ("text", ["01", "1"]),
    ):
        drop = ",".join(name for name in columns if name not in ("a", target))
        assert told(capsys, data, "--target", target, "--drop", drop)["classes"] == classes
    drop = "gaps,truth,names,levels,text,day"
    assert told(capsys, data, "--target", "decimal", "--drop", drop)["task"] == "regression"
    assert "column 'day' holds dates" in failure(capsys, "train", data, "--target", "day")
    assert "column 'day': dates and times" in failure(capsys, "train", data, "--target", "names")


def test_the_task_can_be_chosen(tmp_path: Path, capsys: Captured) -> None:
    columns = {
        "whole": [f"{i % 3}.0" for i in range(40)],
        "few": [i % 4 for i in range(40)],
        "mixed": ["S", "38", "M", "40"] * 10,
        "halves": [i / 2 for i in range(40)],
        "text": ["a", "b"] * 20,
    }
    data = write_csv(tmp_path / "d.csv", ["a", *columns], np.arange(40) % 7, *columns.values())
    for target, task, classes in (
        ("whole", "classification", [0, 1, 2]),
        ("few", "regression", None),
        ("mixed", "classification", ["38", "40", "M", "S"]),
        ("halves", "regression", None),
    ):
        found = told(capsys, data, "--target", target, "--task", task)
        assert (found["task"], found.get("classes")) == (task, classes)
    assert "'M' is not a number, as others of the column are; --task classification takes them all as names" in failure(
        capsys, "train", data, "--target", "mixed"
    )
    for target, task, said in (
        ("text", "regression", "column 'text': 'a' is not a number; a regression needs numbers"),
        ("halves", "classification", "column 'halves' holds 0.5: real numbers are no classes"),
    ):
        assert said in failure(capsys, "train", data, "--target", target, "--task", task)


def test_hints(tmp_path: Path, capsys: Captured) -> None:
    rng = np.random.default_rng(0)
    columns = {
        "grade": [f"{i % 3}.0" for i in range(90)],
        "review": [f"review {i}" for i in range(90)],
        "day": [f"2020-01-{1 + i % 28:02}" for i in range(90)],
        "town": rng.choice(["Ulm", "Bonn"], 90),
    }
    data = write_csv(tmp_path / "d.csv", [*columns, ""], *columns.values(), range(90))
    assert run("train", data, "--target", "grade") == 0
    assert capsys.readouterr().err.splitlines() == [
        "fastmlp: hint: left out: 1 without a name",
        "fastmlp: hint: 3 values, all whole numbers: if grade is a class, use --task classification",
        "fastmlp: warning: column 'review' holds 72 different texts in 72 rows, which are taken as categories: drop it "
        "if it only names the rows.",
        "fastmlp: warning: column 'day' holds dates as text, which are taken as categories: turn them into numbers, "
        "for example into days since a date, or drop the column.",
    ]
    assert run("train", data, "--target", "grade", "--task", "classification", "--drop", "review,day", "--quiet") == 0
    assert capsys.readouterr().err == ""
    data = write_csv(tmp_path / "d.csv", ["a,b", "c", "y"], range(40), range(40), ["u", "v"] * 20)
    assert [column["name"] for column in told(capsys, data, "--target", "y", "--drop", "a,b")["columns"]] == ["c"]


def test_text_that_looks_like_numbers_stays_text(tmp_path: Path, capsys: Captured) -> None:
    """Where the rows to predict have no other text in that column."""
    data, model = tmp_path / "t.csv", tmp_path / "model"
    table().to_csv(data, index=False)
    assert run("train", data, "--target", "sold", "--save", model) == 0
    rows = table()[table()["kind"] == "12"]
    rows.to_csv(tmp_path / "new.csv", index=False)
    expected = fastmlp.load(model).predict_proba(rows.iloc[:, :4])
    found = np.array(predictions(capsys, model, tmp_path / "new.csv", "--proba")[1:], float)
    np.testing.assert_allclose(found, expected, rtol=1e-8)  # nine digits


# -- what is refused --


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,y\n1,inf,0\n3,2,1\n", "infinity in column 'b'"),
        ("a,b,y\n1,2,0,7\n", "the rows have more cells than the first one, which must name the columns"),
        ("a,b,y\n1,2,0\n1,2,0,7\n", "Expected 3 fields in line 3, saw 4"),
        ("a,b,z\n1,2,0\n", "no column 'y'; its columns are a, b, z"),
        ("a,b,Y\n1,2,0\n", "no column 'y' (did you mean 'Y'?); its columns are a, b, Y"),
        (",".join(f"c{i}" for i in range(30)) + "\n1" + 29 * ",1", ", c28, c29\n"),
        (",".join(f"c{i}" for i in range(31)) + "\n1" + 30 * ",1", ", c28, c29, …\n"),
        ("a,a,y\n1,2,0\n", "column 'a' is there twice"),
        ("a,y\n1,1.5\n2,low\n", "column 'y': 'low' is not a number, as others of the column are"),
        ("a,y\n1,\n2,NA\n", "no row has a value in the column 'y'"),
        ("y\n1\n", "no column but the target"),
        (",y\n1,1\n", "no column but the target"),
        ("a,y\n", "no rows below the header"),
        ("", "empty; the first row must name the columns"),
        ("\n\n", "empty; the first row must name the columns"),
        ("a,y\n1,1\n2,1\n3,1\n", "all rows to train on are of the class 1"),
        ('a,y\n"1,1\n2,1\n', 'a quote (") is not closed: EOF inside string'),
    ],
)
def test_csv_files_that_are_refused(text: str, message: str, tmp_path: Path, capsys: Captured) -> None:
    data = tmp_path / "data.csv"
    data.write_text(text)
    assert message in failure(capsys, "train", data, "--target", "y")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("latin.csv", "año,y\n1,1\n".encode("latin-1"), "not a CSV file in UTF-8: 'utf-8' codec can't decode"),
        ("latin.csv", "a,y\n1,ñ\n".encode("latin-1"), ": save it as UTF-8\n"),
        ("plain.csv.gz", b"a,y\n1,1\n", "not a gzip file, or a damaged one: Not a gzipped file"),
        ("cut.csv.gz", gzip.compress(b"a,y\n1,1\n", mtime=0)[:-9], "a damaged one: Compressed file ended"),
        ("text.parquet", b"a,y\n1,1\n", "not a Parquet file, or a damaged one"),
        ("text.npz", b"a,y\n1,1\n", "not an .npz file of arrays"),
        ("sheet.xlsx", b"", "unknown kind; the name must end in .csv, .csv.gz, .tsv, .tsv.gz, .parquet, .npz"),
        ("none", b"", "a file of unknown kind"),
    ],
)
def test_files_of_another_kind(name: str, content: bytes, message: str, tmp_path: Path, capsys: Captured) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    assert message in failure(capsys, "train", tmp_path / name, "--target", "y")


def test_options_that_do_not_fit_the_file(iris: Path, tmp_path: Path, capsys: Captured) -> None:
    np.savez(tmp_path / "d.npz", X=np.ones((4, 2)), y=np.arange(4))
    for arguments, message in (
        ([iris], "name the column to predict with --target: sl, sw, pl, pw, species"),
        ([tmp_path / "d.npz", "--target", "y"], "in an .npz file they have no names"),
        ([tmp_path / "d.npz", "--drop", "y"], "in an .npz file they have no names"),
    ):
        with pytest.raises(SystemExit) as exit_info:
            run("train", *arguments)
        assert exit_info.value.code == 2
        assert message in capsys.readouterr().err
    assert "no column 'petal'" in failure(capsys, "train", iris, "--target", "species", "--drop", "sl,petal")
    assert "--drop names the target" in failure(capsys, "train", iris, "--target", "species", "--drop", "species")
    assert "no column but the target" in failure(capsys, "train", iris, "--target", "species", "--drop", "sl,sw,pl,pw")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no array X; it holds nothing"),
        ({"X": np.ones((4, 2))}, "no array y; it holds X"),
        ({"X_train": np.ones((4, 2)), "Y_train": np.arange(4)}, "no array y_train; it holds X_train, Y_train"),
        ({"X": np.ones((4, 2)), "y": np.arange(3)}, "y must hold a number or a text for each of 4 rows"),
        ({"X": np.ones((4, 2)), "y": np.ones((4, 2))}, "for each of 4 rows; it is float64 of shape (4, 2)"),
        ({"X": np.ones(4), "y": np.arange(4)}, "X must be a matrix with rows; it is float64 of shape (4,)"),
        ({"X": np.ones((0, 2)), "y": np.arange(0)}, "X must be a matrix with rows; it is float64 of shape (0, 2)"),
        ({"X": np.ones((4, 2), "M8[s]"), "y": np.arange(4)}, "X must be a matrix with rows; it is datetime64"),
        ({"X": np.array([[1.0], [np.inf]]), "y": np.arange(2)}, "infinity in column 'x0'"),
        ({"X": np.ones((4, 1)), "y": np.array([1.0, -np.inf, 0, 2])}, "column 'y' holds infinity"),
        ({"X": np.ones((2, 1)), "y": np.array([np.nan, np.nan])}, "no row has a value in the column 'y'"),
        ({"X": np.ones((2, 1)), "y": np.arange(2), "X_test": np.ones((2, 1))}, "no array y_test"),
        ({"X": np.ones((2, 1)), "y": np.arange(2), "X_test": np.ones((1, 2)), "y_test": np.arange(1)}, "X_test has 2"),
        (
            {"X": np.array([[None]]), "y": np.arange(1)},
            "X holds Python objects, which can run code and are not read: save it as",
        ),
    ],
)
def test_arrays_that_are_refused(arrays: dict[str, Any], message: str, tmp_path: Path, capsys: Captured) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    assert message in failure(capsys, "train", tmp_path / "data.npz")


def test_missing_numbers_in_arrays(tmp_path: Path, capsys: Captured) -> None:
    X, y = load_iris(return_X_y=True)
    X[::7, 1], y = np.nan, y.astype(float)
    y[:5] = np.nan
    np.savez(tmp_path / "d.npz", X=X, y=y)
    found = told(capsys, tmp_path / "d.npz", "--task", "classification")
    assert (found["n_rows_without_target"], found["classes"]) == (5, [0, 1, 2])


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_predict_refuses_what_does_not_fit(iris: Path, tmp_path: Path, capsys: Captured) -> None:
    model, new = tmp_path / "model.npz", tmp_path / "new.csv"
    assert run("train", iris, "--target", "species", "--save", model) == 0
    capsys.readouterr()
    write_csv(new, ["sl", "pl", "petal"], [1], [2], [3])
    assert f"{new}: it lacks 'sw', 'pw', which the model was trained on" in failure(capsys, "predict", model, new)
    write_csv(new, ["sl", "sw", "pl", "pw"], [1], ["wide"], [2], [3])
    assert "column 'sw' held numbers in fit, now it does not" in failure(capsys, "predict", model, new)
    write_csv(new, ["sl", "sw", "pl", "pw"])
    assert "no rows below the header" in failure(capsys, "predict", model, new)
    assert "X has 5 features" in failure(capsys, "predict", model, save(tmp_path, np.ones((2, 5))))
    assert "not a fastmlp model file" in failure(capsys, "predict", tmp_path / "rows.npz", iris)
    assert "not a fastmlp model file" in failure(capsys, "predict", iris, iris)
    assert "a model, not data; fastmlp predict" in failure(capsys, "train", model)
    model.write_bytes(model.read_bytes()[:-100])
    assert "damaged" in failure(capsys, "predict", model, iris)
    write(model, ModelFile("Something", {}, {}))
    assert "holds 'Something', not an estimator" in failure(capsys, "predict", model, iris)
    fastmlp.MLPRegressor(hidden_layer_sizes=(2,), max_iter=2).fit(np.ones((4, 2)), np.arange(4.0)).save(model)
    write_csv(new, ["a", "b"], [1], ["red"])
    assert "could not convert string to float: 'red'" in failure(capsys, "predict", model, new)


@pytest.mark.parametrize(("module", "suffix"), [("pandas", ".csv"), ("pyarrow", ".parquet")])
def test_what_is_not_installed_is_named(
    module: str, suffix: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / f"d{suffix}"
    data.write_bytes(b"a,y\n1,1\n")
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    error = failure(capsys, "train", data, "--target", "y")
    assert f"needs {module}" in error
    assert error.endswith('pip install "fastmlp[cli]"\n')


# -- the world around --


def test_redirected_predictions_are_utf_8(tmp_path: Path) -> None:
    """Whatever the code page is, here one without two of the classes."""
    names = ["ñandú", "鶴", "سيمرغ"]
    data = write_csv(tmp_path / "birds.csv", ["a", "bird"], range(30), [names[i // 10] for i in range(30)])
    model = tmp_path / "model"
    assert run("train", data, "--target", "bird", "--save", model) == 0
    command = [sys.executable, "-m", "fastmlp", "predict", model, data, "--proba"]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    printed = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=True).stdout
    assert set(printed.splitlines()[0].split(",")) == set(names)


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
def test_a_file_name_that_is_not_utf_8(iris: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.csv"
    Path(os.fsdecode(path)).write_bytes(iris.read_bytes())
    command = [sys.executable, "-m", "fastmlp", "train", path, "--target", "species", "--max-time", "0.1"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}  # where what cannot be encoded is passed on
    assert b"caf\xe9" in subprocess.run(command, capture_output=True, env=environment, check=True).stdout


def test_standard_input_of_a_pipe(iris: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    command: Callable[..., list[Any]] = lambda *arguments: [sys.executable, "-m", "fastmlp", *arguments]  # noqa: E731
    options = ["--target", "species", "--max-time", "1", "--quiet", "--save", model]
    subprocess.run(command("train", "-", *options), input=iris.read_bytes(), check=True)
    done = subprocess.run(command("predict", model, "-"), input=iris.read_bytes(), capture_output=True, check=True)
    assert done.stdout.startswith(b"species\nsetosa\n")


def test_no_result_replaces_what_was_read_or_another_result(iris: Path, tmp_path: Path, capsys: Captured) -> None:
    before, model = iris.read_bytes(), tmp_path / "model.fastmlp"
    assert run("train", iris, "--target", "species", "--max-time", "1", "--save", model) == 0
    saved = model.read_bytes()
    picture = tmp_path / "both.png"
    for arguments, said in (
        (("train", iris, "--target", "species", "--save", iris), "is the table that is read"),
        (("train", iris, "--target", "species", "--save", picture, "--plot", picture), "is the file of --save"),
        (("predict", model, iris, "--output", iris), "is the table that is read"),
        (("predict", model, iris, "--output", tmp_path / "." / "model.fastmlp"), "is the model that is read"),
    ):
        assert run(*arguments) == 1
        assert f"{said}; name another file" in capsys.readouterr().err
    assert (iris.read_bytes(), model.read_bytes(), picture.exists()) == (before, saved, False)
