"""The command line on tables, from a file to predictions, and the world around it."""

import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from command_line import SPECIES, Captured, failure, predictions, run, save, table, told, write_csv
from scipy.sparse import csr_matrix
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.metrics import balanced_accuracy_score, log_loss, mean_absolute_error, r2_score, root_mean_squared_error

import fastmlp
from fastmlp.cli.files import read_file

pandas = pytest.importorskip("pandas")

pytestmark = pytest.mark.usefixtures("short_training")


def test_from_a_table_to_predictions(iris: Path, tmp_path: Path, capsys: Captured) -> None:
    model = tmp_path / "model"
    assert run("train", iris, "--target", "species", "--save", model) == 0
    announced, encoded, scores, saved = capsys.readouterr().out.splitlines()
    assert announced == f"{iris}: 120 rows to train on, 30 to test on; classification of species into 3 classes (text)"
    assert encoded.startswith(
        "4 columns of numbers (sl, sw, pl, pw), 0 of categories: 4 inputs and 24 ramps; 1 network "
        "with hidden layers of 16, 16, 16 units"
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
    assert scores["R2"] > 0.05  # a mean has 0, linear regression some 0.45, so little training 0.1 to 0.4
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
    assert found.tolist() == fastmlp.load(model).predict(table().iloc[:, :3]).tolist()


def test_large_values_are_told_to_the_last_digit(tmp_path: Path, capsys: Captured) -> None:
    data, model = tmp_path / "large.csv", tmp_path / "model"
    write_csv(data, ["a", "y"], range(200), [10**9 + i % 7 + 0.5 for i in range(200)])
    assert run("train", data, "--target", "y", "--save", model) == 0
    found = np.ravel(predictions(capsys, model, data)[1:]).astype(float)
    assert found.tolist() == fastmlp.load(model).predict(pandas.DataFrame({"a": range(200)})).tolist()
    assert len(set(found)) > 1


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_nine_digits_are_all_of_float32_and_enough_of_a_probability(tmp_path: Path, capsys: Captured) -> None:
    X = np.linspace(-1, 1, 30)[:, None]
    data, model = save(tmp_path, X), tmp_path / "model"
    regressor = fastmlp.MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0, dtype="float32")
    classifier = fastmlp.MLPClassifier((4,), max_iter=2, random_state=0, dtype="float64")
    for estimator, y, options in ((regressor, X[:, 0], []), (classifier, X[:, 0] > 0, ["--proba"])):
        estimator.fit(X, y).save(model)
        cells = [cell for row in predictions(capsys, model, data, *options)[1:] for cell in row]
        assert max(len(cell.partition("e")[0].strip("-").replace(".", "").lstrip("0")) for cell in cells) == 9


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


def test_decimal_commas_that_come_late(tmp_path: Path) -> None:
    """In the columns and in the target; text stays text, and truth values with gaps are such."""
    whole, places = [str(i) for i in range(40)], [*["Ulm"] * 40, *["1,5"] * 40]
    halves, flags = [*whole, *(f"{i},5" for i in range(39)), ""], ["True", "False", "", "True"] * 20
    header = ["half", "whole", "place", "flag", "y"]
    write_csv(tmp_path / "d.csv", header, halves, whole * 2, places, flags, halves, delimiter=";")
    table, _ = read_file(tmp_path / "d.csv", "y")
    assert table["half"].tolist()[:-1] == table["y"].tolist()[:-1] == [*range(40), *(i + 0.5 for i in range(39))]
    assert table["half"].isna().sum() == 1
    assert table["whole"].dtype == int
    assert table["place"].tolist() == places
    assert table["flag"].dropna().tolist() == [True, False, True] * 20


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
    np.savez(data, X=X[1500:], X_test=X[:9])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(data.read_bytes())))
    assert predictions(capsys, model, "-") == expected
    # Columns without names are taken in their order.
    names = [f"pixel {i}" for i in range(64)]
    assert predictions(capsys, model, write_csv(tmp_path / "d.csv", names, *X[1500:].reshape(-1, 64).T)) == expected


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:Training diverges", "error:X .* feature names")
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
    both, numbers = np.column_stack([y, -y]), write_csv(tmp_path / "numbers.csv", [*X.columns], *X.to_numpy().T)
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
            assert predictions(capsys, model, numbers) == found
            expected = estimator.predict(rows)
            assert found[0] == header
            if expected.dtype.kind == "U":
                assert found[1:] == expected[:, None].tolist()
            else:
                np.testing.assert_allclose(np.array(found[1:], float), expected.reshape(150, -1), rtol=1e-8)  # printed


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


def test_one_odd_cell_leaves_the_other_truth_values_known(tmp_path: Path, capsys: Captured) -> None:
    """It makes a text of each cell of the column."""
    flags, numbers = np.arange(120) % 3 == 0, np.arange(120) % 2
    X = pandas.DataFrame({"flag": flags, "number": numbers})
    model = tmp_path / "model"
    fastmlp.TabularRegressor(random_state=0, categorical_features=["number"]).fit(X, flags + 0.5 * numbers).save(model)
    header, plain = ["flag", "number"], (["True", "False", "true"], ["1", "0", "1.0"])
    expected = predictions(capsys, model, write_csv(tmp_path / "plain.csv", header, *plain))
    odd = write_csv(tmp_path / "odd.csv", header, *([*cells, "perhaps"] for cells in plain))
    assert predictions(capsys, model, odd)[:-1] == expected
    assert expected[1] != expected[2]


def test_categories_in_another_case_are_others(tmp_path: Path, capsys: Captured) -> None:
    X = pandas.DataFrame({"size": ["m", "M"] * 60})
    fitted = fastmlp.TabularRegressor(random_state=0).fit(X, np.arange(120) % 2 + 0.5)
    fitted.save(tmp_path / "model")
    small, large = predictions(capsys, tmp_path / "model", write_csv(tmp_path / "d.csv", ["size"], ["m", "M"]))[1:]
    assert [float(*small), float(*large)] == fitted.predict(X.iloc[:2]).tolist()
    assert small != large


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_predictions_of_labels_that_were_sparse(iris: Path, tmp_path: Path, capsys: Captured) -> None:
    X, y = load_iris(return_X_y=True)
    labels, model = csr_matrix(np.eye(3, dtype=int)[y]), tmp_path / "model"
    fitted = fastmlp.MLPClassifier((8,), max_iter=5, random_state=0).fit(X, labels)
    fitted.save(model)
    found = predictions(capsys, model, save(tmp_path, X))
    assert found[0] == ["y_0", "y_1", "y_2"]
    assert np.array(found[1:], int).tolist() == fitted.predict(X).toarray().tolist()


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
