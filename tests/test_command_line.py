"""The command line, as a user calls it."""

import csv
import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_iris
from threadpoolctl import threadpool_info

from fastmlp.cli.main import main
from fastmlp.cli.model import Model, Scaler
from fastmlp.model_file import ModelFile, write


def write_csv(path: Path, header: list[str], *columns: object, delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(zip(*columns, strict=True))
    return path


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    """150 rows, four features, three classes with names."""
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    return write_csv(tmp_path / "iris.csv", ["sl", "sw", "pl", "pw", "species"], *X.T, names)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of the error of a command that fails."""
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastmlp: error: ")
    assert error.count("\n") == 1
    return error


def test_train_on_the_digits() -> None:
    """The first thing a new user runs, as a process of its own."""
    done = subprocess.run([sys.executable, "-m", "fastmlp", "train"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    epochs = [
        line
        for line in lines
        if re.match(r"epoch +\d+/30  loss \d\.\d+  test accuracy \d+\.\d+ %  [\d,]+ samples/s$", line)
    ]
    assert len(epochs) == 30
    accuracy = re.match(r"test accuracy (\S+) % after 30 epochs in \S+ s on \S+, \d+ threads?$", lines[-2])
    # scikit-learn's MLPClassifier reaches 97 to 98 % on such a split.
    assert accuracy is not None
    assert float(accuracy[1]) > 96
    numpy = r"plain NumPy \S+(, \d+ BLAS threads?)?, same weights, same batches: loss \S+ in \S+ s"
    assert re.match(rf"{numpy}; fastmlp was \S+ times faster$", lines[-1])
    assert "\x1b" not in done.stdout, "colour without a terminal"


def test_numpy_is_timed_with_one_thread_and_with_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fastest of all passes is the one that is compared with."""
    from fastmlp.cli.report import PASSES, Report

    in_numpy, limits = Report._in_numpy, []

    def timed(self: Report, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        limits.append(max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"))
        _, loss = in_numpy(self, X, y)
        return 10.0 - (len(limits) in (3, 5)) * limits[-1], loss

    n_all = max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=0)
    if not n_all:
        pytest.skip("a BLAS that cannot be limited")
    monkeypatch.setattr(Report, "_in_numpy", timed)
    assert run("train", "--epochs", 1) == 0
    assert limits == sorted({1, n_all}) * PASSES
    assert ", 1 BLAS thread, " in capsys.readouterr().out
    assert max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas") == n_all


def test_csv_with_names_of_classes(iris: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.npz"
    assert run("train", iris, "--target", "species", "--epochs", 60, "--save", model) == 0
    assert "classification into 3 classes" in capsys.readouterr().out
    # The columns are found by their names: in another order, among others that are text or have no name.
    X, y = load_iris(return_X_y=True)
    columns = [range(150), range(150), X[:, 3], ["no number"] * 150, X[:, 1], X[:, 0], X[:, 2]]
    new = write_csv(tmp_path / "new.csv", ["", "", "pw", "note", "sw", "sl", "pl"], *columns)
    assert run("predict", model, new) == 0
    header, *predicted = capsys.readouterr().out.splitlines()
    assert header == "species"
    right = np.array(["setosa", "versicolor", "virginica"])[y] == predicted
    assert right.mean() > 0.93  # one of three classes is separable, the others overlap in a few rows


def test_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X, y = load_diabetes(return_X_y=True)
    names = [f"x{i}" for i in range(10)]
    data, model = write_csv(tmp_path / "d.csv", [*names, "y"], *X.T, y + 0.5), tmp_path / "model.npz"
    assert run("train", data, "--target", "y", "--hidden", "16", "--lr", 0.01, "--save", model) == 0
    output = capsys.readouterr().out
    assert "regression of y" in output
    assert re.search(r"test R2 0\.[3-6]\d+ after", output)  # linear regression reaches 0.3 to 0.5 on this set
    assert run("predict", model, data) == 0
    predicted = np.array(capsys.readouterr().out.split()[1:], dtype=float)
    assert np.corrcoef(predicted, y)[0, 1] > 0.6
    assert abs(predicted.mean() - y.mean()) < 10  # in the target's own unit: its mean is 152, its deviation 77


def test_integers_are_classes_unless_told_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_csv(tmp_path / "n.csv", ["a", "n"], range(40), [i % 4 for i in range(40)])
    assert run("train", data, "--target", "n", "--epochs", 1) == 0
    assert "classification into 4 classes" in capsys.readouterr().out
    assert run("train", data, "--target", "n", "--epochs", 1, "--task", "regression") == 0
    assert "regression of n" in capsys.readouterr().out


def test_npz_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digits = load_digits()
    X, y = digits.images.astype(np.uint8), digits.target
    data, model = tmp_path / "digits.npz", tmp_path / "model.npz"
    np.savez(data, X=X[:1500], y=y[:1500], X_test=X[1500:], y_test=y[1500:])
    assert run("train", data, "--hidden", "none", "--solver", "adam", "--lr", 0.01, "--save", model) == 0
    output = capsys.readouterr().out
    assert "1500 rows to train on, 297 to test on" in output
    assert "64-10, " in output
    told = float(re.search(r"test accuracy (\S+) % after", output)[1])
    np.savez(data, X=X[1500:])
    assert run("predict", model, data) == 0
    predicted = np.array(capsys.readouterr().out.split()[1:], dtype=int)
    assert told == pytest.approx(100 * np.mean(predicted == y[1500:]), abs=0.005)  # printed with two digits


def test_redirected_predictions_are_utf_8(tmp_path: Path) -> None:
    """Whatever the code page is, here one without two of the classes."""
    names = ["ñandú", "鶴", "سيمرغ"]
    data = write_csv(tmp_path / "birds.csv", ["a", "bird"], range(30), [names[i // 10] for i in range(30)])
    model = tmp_path / "model.npz"
    assert run("train", data, "--target", "bird", "--lr", 0.1, "--save", model) == 0
    command = [sys.executable, "-m", "fastmlp", "predict", model, data]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    printed = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=True).stdout
    assert set(printed.split()) == {"bird", *names}


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
def test_a_file_name_that_is_not_utf_8(iris: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.csv"
    Path(os.fsdecode(path)).write_bytes(iris.read_bytes())
    command = [sys.executable, "-m", "fastmlp", "train", path, "--target", "species", "--epochs", "1"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}  # where what cannot be encoded is passed on
    assert b"caf\xe9" in subprocess.run(command, capture_output=True, env=environment, check=True).stdout


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_dialects(iris: Path, delimiter: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\ufeff" + iris.read_text(encoding="utf-8").replace(",", delimiter).replace("\n", "\n\n")
    packed = iris.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(text.encode()))
    assert run("train", packed, "--target", "species", "--epochs", 1) == 0
    assert "120 rows to train on, 30 to test on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,y\n1,2,0\n3,red,1\n", "row 3, column 'b': 'red' is not a finite number"),
        ("a,b,y\n1,,0\n", "row 2, column 'b': the cell is missing"),
        ("a,b,y\n1,nan,0\n", "row 2, column 'b': 'nan' is not a finite number"),
        ("a,b,y\n1,1_000,0\n", "row 2, column 'b': '1_000' is not a finite number"),
        ("a,b,y\n1,2,0\n\n1,2,\n", "row 4, column 'y': the cell is missing"),
        ("a,b,y\n1,2,0\n1,2\n", "row 3: ends before column 'y' (2 cells, the header has 3)"),
        ("a,b,y\n1,2,0,7\n", "row 2: goes on after the last column 'y' (4 cells, the header has 3)"),
        ("a,b,z\n1,2,0\n", "no column 'y' in row 1, which must name the columns: a, b, z"),
        ("a,a,y\n1,2,0\n", "column 'a' is there twice"),
        (",a,y\n0,1,0\n", "column 1 has no name in row 1: give it one, or leave it out, in pandas with to_csv(index="),
        ("a, ,,y\n1,2,3,0\n", "column 2 has no name in row 1"),
        ("a,y\n1,1.5\n2,n/a\n", "row 3, column 'y': 'n/a' is not a number, as others of the column are"),
        ("y\n1\n", "no column but the target"),
        ("a,y\n", "no rows below the header"),
        ("", "empty"),
        ("a,y\n1,1\n2,1\n3,1\n", "all rows to train on are of the class 1"),
        ('"a,y\n1,1\n', 'row 1: a quote (") is not closed'),
        ('a,y\n"1\n",1\n\n"2,1\n3,1\n', 'row 5: a quote (") is not closed, or not at the end of its cell: unexpected'),
        ('a,y\n"1"2,1\n', "row 2: a quote (\") is not closed, or not at the end of its cell: ',' expected"),
        (
            "a,b,y\n1,2,0\n\n3,1e300,1\n",
            "row 4, column 'b': 1e+300 is too large for float32 (at most 1.7e+38): correct",
        ),
        ("a,b,y\n1,-1e39,0\n", "row 2, column 'b': -1e+39 is too large for float32"),
        ("a,b,y\n1e308,1e308,0\n", "row 2, column 'a': 1e+308 is too large for float32"),
        ("a,y\n1,0.5\n2,1e39\n", "row 3, column 'y': 1e+39 is too large for float32"),
    ],
)
def test_csv_errors_name_the_place(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.csv"
    data.write_text(text)
    error = failure(capsys, "train", data, "--target", "y")
    assert str(data) in error
    assert message in error


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("latin.csv", "año,y\n1,1\n".encode("latin-1"), "not a CSV file in UTF-8: 'utf-8' codec can't decode"),
        ("latin.csv", "a,y\n1,ñ\n".encode("latin-1"), ": save it as UTF-8\n"),
        ("plain.csv.gz", b"a,y\n1,1\n", "not a gzip file, or a damaged one: Not a gzipped file"),
        ("cut.csv.gz", gzip.compress(b"a,y\n1,1\n", mtime=0)[:-9], "a damaged one: Compressed file ended"),
    ],
)
def test_files_of_another_encoding(
    name: str, content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert message in failure(capsys, "train", tmp_path / name, "--target", "y")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((4, 2))}, "no array y; it holds X"),
        ({"X": np.ones((4, 2)), "y": np.arange(3)}, "y must hold a number or a text for each of 4 rows"),
        ({"X": np.ones(4), "y": np.arange(4)}, "X must be a matrix of numbers; it is float64 of shape (4,)"),
        ({"X": np.full((4, 2), "a"), "y": np.arange(4)}, "X must be a matrix of numbers"),
        ({"X": np.array([[1.0], [np.nan]]), "y": np.arange(2)}, "X[1, 0] is nan; all must be finite"),
        ({"X": np.ones((2, 1)), "y": np.array([1.0, -np.inf])}, "y[1] is -inf; all must be finite"),
        ({"X": np.ones((2, 1)), "y": np.arange(2), "X_test": np.ones((2, 1))}, "no array y_test"),
        ({"X": np.ones((2, 1)), "y": np.arange(2), "X_test": np.ones((1, 2)), "y_test": np.arange(1)}, "X_test has 2"),
        ({"X": np.array([[1.0], [-1e39]]), "y": np.arange(2)}, "X[1, 0]: -1e+39 is too large for float32"),
        ({"X": np.ones((2, 1)), "y": np.array([0.5, 1e300])}, "y[1]: 1e+300 is too large for float32"),
        (
            {"X": np.array([[None]]), "y": np.arange(1)},
            "X holds Python objects, which can run code and are not read: save it as",
        ),
    ],
)
def test_npz_errors(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    assert message in failure(capsys, "train", tmp_path / "data.npz")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["train", __file__],
        ["train", "--target", "y"],
        ["train", "data.npz", "--target", "y"],
        ["train", "--hidden", "8,x"],
        ["train", "--hidden", "0"],
        ["train", "--lr", "0"],
        ["train", "--lr", "inf"],
        ["train", "--epochs", "1.5"],
        ["train", "--threads", "0"],
        ["train", "--seed", "-1"],
        ["train", "--activation", "step"],
        ["train", "--test-fraction", "1"],
        ["train", "--solver", "adam", "--compare"],
        ["predict", "model.npz"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "usage: fastmlp" in capsys.readouterr().err


def test_files_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.csv"
    assert f"no such file: {data}" in failure(capsys, "train", data)
    assert f"no such file: {data}" in failure(capsys, "predict", tmp_path / "model.npz", data)
    data.write_text("a\n1\n")
    assert "No such file" in failure(capsys, "predict", tmp_path / "model.npz", data)


def test_where_to_save_is_checked_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> str:
        return failure(capsys, "train", tmp_path / "absent.npz", "--save", path)

    np.savez(tmp_path / "absent.npz", X=np.ones(1))  # would be refused next
    assert f"--save: there is no folder {tmp_path / 'folder'}" in refused(tmp_path / "folder" / "model.npz")
    assert f"{tmp_path} is a folder; name a file, such as {tmp_path / 'model.npz'}" in refused(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert f"no permission to write into the folder {tmp_path}" in refused(tmp_path / "model.npz")


def test_many_classes_of_integers_bring_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_csv(tmp_path / "n.csv", ["a", "few", "many"], range(40), [i % 4 for i in range(40)], range(40))
    for options, hint in (
        (["many"], "fastmlp: hint: 32 classes: if many is a quantity, use --task regression\n"),
        (["many", "--task", "classification"], ""),
        (["many", "--task", "regression"], ""),
        (["few"], ""),
    ):
        assert run("train", data, "--epochs", 1, "--target", *options) == 0
        assert capsys.readouterr().err == hint


def test_few_whole_values_bring_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = [f"{i % 3}.0" for i in range(40)]
    columns = [range(40), few, [f"{i}.0" for i in range(40)], [f"{i % 3}.5" for i in range(40)], ["1.0"] * 40]
    data = write_csv(tmp_path / "n.csv", ["a", "few", "many", "halves", "one"], *columns)
    for options, hint in (
        (["few"], "fastmlp: hint: 3 values, all whole numbers: if few is a class, use --task classification\n"),
        (["few", "--task", "classification"], ""),
        (["few", "--task", "regression"], ""),
        (["many"], ""),
        (["halves"], ""),
        (["one"], ""),
    ):
        assert run("train", data, "--epochs", 1, "--target", *options) == 0
        assert capsys.readouterr().err == hint


@pytest.mark.parametrize("widths", ["8,x", "0", "", "8,", "-1", "1.5"])
def test_hidden_layers_that_are_none(widths: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", f"--hidden={widths}"])
    expected = f"{widths!r} given; expected positive integers separated by commas, such as 256,128, or none\n"
    assert capsys.readouterr().err.endswith(expected)


def test_predict_refuses_what_does_not_fit(iris: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.npz"
    assert run("train", iris, "--target", "species", "--epochs", 1, "--save", model) == 0
    capsys.readouterr()
    new = write_csv(tmp_path / "new.csv", ["sl", "pl", "pw"], [1], [2], [3])
    assert "no column 'sw' in row 1" in failure(capsys, "predict", model, new)
    np.savez(tmp_path / "new.npz", X=np.ones((2, 5)))
    assert "trained on 4 columns" in failure(capsys, "predict", model, tmp_path / "new.npz")
    for value, said in (
        ("1e39", "row 2, column 'sw': 1e+39 is too"),
        ("1.5e38", "row 1 of the data, column 'sw': 1.5e"),
    ):
        huge = write_csv(tmp_path / "huge.csv", ["sl", "sw", "pl", "pw"], [1], [value], [3], [4])
        assert said in failure(capsys, "predict", model, huge)
    assert "not a fastmlp model file" in failure(capsys, "predict", tmp_path / "new.npz", iris)
    model.write_bytes(model.read_bytes()[:-100])
    assert "damaged" in failure(capsys, "predict", model, iris)
    write(model, ModelFile("MLPClassifier", {}, {}))
    assert "holds 'MLPClassifier', not a command-line model: that is what fastmlp train --save writes" in failure(
        capsys, "predict", model, iris
    )
    assert "a model, not data; fastmlp predict" in failure(capsys, "train", model)


def test_a_row_that_overflows_within_the_network_is_named() -> None:
    same = Scaler(np.zeros(1), np.ones(1))
    coefs, intercepts = [np.full((1, 1), 10, np.float32)], [np.zeros(1, np.float32)]
    model = Model(coefs, intercepts, "relu", "squared_error", ["a"], "y", same, same)
    assert model.predict(np.array([[1.0], [1e37]])) == pytest.approx([10, 1e38])
    with pytest.raises(ValueError, match=r"row 2 of the data, column 'a': 1e\+38 is too large for float32 beside the"):
        model.predict(np.array([[1.0], [1e38]]))


def test_the_same_seed_gives_the_same_file(iris: Path, tmp_path: Path) -> None:
    for name, threads, seed in (("a", 1, 3), ("b", 1, 3), ("c", 2, 3), ("d", 1, 4)):
        options = ["--target", "species", "--epochs", 3, "--threads", threads, "--seed", seed]
        assert run("train", iris, *options, "--save", tmp_path / name) == 0
    a, b, c, d = ((tmp_path / name).read_bytes() for name in "abcd")
    assert a == b == c != d


def test_an_interrupted_training_is_saved(
    iris: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastmlp.cli.report import Report
    from fastmlp.fitting import Fit

    ended = Report.epoch_ended

    def interrupt(self: Report, fit: Fit) -> bool:
        if fit.n_iter == 4:
            raise KeyboardInterrupt
        return ended(self, fit)

    monkeypatch.setattr(Report, "epoch_ended", interrupt)
    model = tmp_path / "model.npz"
    assert run("train", iris, "--target", "species", "--save", model) == 1
    captured = capsys.readouterr()
    assert "interrupted" in captured.err
    assert "after 4 epochs" in captured.out
    assert run("predict", model, iris) == 0


def test_an_interrupted_line_is_ended(
    iris: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where stdout is not buffered, Ctrl-C is seen when a piece of the line has been written."""
    write = sys.stdout.write

    def interrupted(text: str) -> int:
        n = write(text)
        if text.startswith("epoch  2/"):
            raise KeyboardInterrupt
        return n

    monkeypatch.setattr(sys.stdout, "write", interrupted)
    assert run("train", iris, "--target", "species", "--epochs", 10) == 1
    monkeypatch.undo()
    assert re.search(r"^epoch  2/10 .* samples/s\ntest accuracy", capsys.readouterr().out, flags=re.MULTILINE)


def test_a_diverging_training_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X, y = load_diabetes(return_X_y=True)
    np.savez(tmp_path / "d.npz", X=X, y=y)
    error = failure(capsys, "train", tmp_path / "d.npz", "--lr", 1e6, "--activation", "identity")
    assert error.endswith("non-finite parameter weights. Use a smaller --lr than 1e+06.\n")
    assert run("train", "--hidden", "none", "--lr", 1e9, "--epochs", 2, "--no-compare") == 0
    warning = capsys.readouterr().err
    assert re.match(r"fastmlp: warning: Training diverges: .* at most\. Use a smaller --lr than 1e\+09\.\n$", warning)
