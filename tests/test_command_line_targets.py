"""What `fastmlp train` makes of the column that it is to predict."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Captured, failure, predictions, run, table, told, write_csv

import fastmlp
from fastmlp.cli.target import hint, task_of

pandas = pytest.importorskip("pandas")

pytestmark = pytest.mark.usefixtures("short_training")


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"] * 20, "classification"),
        ([True, False] * 20, "classification"),
        ([1, 2, 3, 4] * 10, "classification"),
        (list(range(30)) * 3, "classification"),
        ([0, 1], "classification"),
        ([0, 1, 2], "regression"),
        (list(range(31)) * 4, "regression"),
        (list(range(40)), "regression"),
        ([*range(20), *range(20), *range(10)], "regression"),
        ([*range(20), *range(20), *range(20)], "classification"),
        ([1.0, 2.0] * 20, "regression"),
        ([0.5, 2.0] * 20, "regression"),
    ],
)
def test_the_task_follows_from_the_target(values: list[Any], task: str) -> None:
    assert task_of(np.array(values), "y")[0] == task


@pytest.mark.parametrize(
    ("n_values", "n_rows", "is_told"),
    [(1, 9, False), (2, 6, True), (3, 9, True), (3, 8, False), (30, 90, True), (31, 124, False)],
)
def test_few_whole_numbers_may_be_classes(n_values: int, n_rows: int, is_told: bool) -> None:
    """Up to thirty, each in three rows."""
    values = np.arange(float(n_rows)) % n_values
    assert bool(hint(values, "y")) == is_told
    assert hint(values.astype(int), "y") == hint(values + 0.5, "y") == ""


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
        "fastmlp: hint: columns without a name are left out: 1",
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


def test_columns_of_parquet_files_without_a_name_are_left_out(tmp_path: Path, capsys: Captured) -> None:
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"": range(40), "a": range(40), "y": ["u", "v"] * 20}).to_parquet(tmp_path / "d.parquet")
    assert run("train", tmp_path / "d.parquet", "--target", "y") == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("fastmlp: hint: columns without a name are left out: 1\n")
    assert "1 column of numbers (a)" in captured.out


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
