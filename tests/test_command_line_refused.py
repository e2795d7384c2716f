"""What the command line refuses, in one line that says what to do."""

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Captured, failure, run, save, told, write_csv
from sklearn.datasets import load_iris

import fastmlp
from fastmlp.model_file import ModelFile, write

pandas = pytest.importorskip("pandas")

pytestmark = pytest.mark.usefixtures("short_training")


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


def test_rows_to_test_on_are_refused_before_the_training(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("fastmlp.tabular_base.BaseTabular.fit")
    X, y = load_iris(return_X_y=True)
    infinite = X.copy()
    infinite[3, 2] = np.inf
    text = X.astype(str)
    text[3, 2] = "long"
    for held_out, message in ((infinite, "infinity in column 'x2'"), (text, "X holds numbers, X_test does not: ")):
        np.savez(tmp_path / "iris.npz", X=X, y=y, X_test=held_out, y_test=y)
        assert message in failure(capsys, "train", tmp_path / "iris.npz")
    data = write_csv(tmp_path / "iris.csv", ["a", "b", "c", "d", "y"], *infinite.T, y)
    seed = next(seed for seed in range(99) if 3 in np.random.RandomState(seed).permutation(150)[:30])
    said = failure(capsys, "train", data, "--target", "y", "--seed", seed)
    assert "the rows to test on hold infinity in column 'c'" in said


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
