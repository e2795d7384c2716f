"""What the command line reads of a file: cells, gaps, text, rows to test on; and what it says of the rest."""

import sys
import zipfile
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import Captured, failure, write_csv

from fastmlp.cli.files import TableError, read_file
from fastmlp.cli.tables import hold_out, read_data
from fastmlp.cli.target import as_asked

pandas = pytest.importorskip("pandas")

GAPS = [
    "?",
    "NA",
    "N/A",
    "n/a",
    "NaN",
    "nan",
    "None",
    "NULL",
    "null",
    "<NA>",
    "#N/A",
    "#NA",
    "#N/A N/A",
    "-NaN",
    "-nan",
]
GAPS += ["-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN"]


def written(folder: Path, text: str) -> Path:
    (folder / "d.csv").write_text(text, encoding="utf-8")
    return folder / "d.csv"


def test_gaps(tmp_path: Path) -> None:
    """All that pandas takes as missing, and the question mark."""
    gaps = ["", *GAPS]
    table, _ = read_file(write_csv(tmp_path / "d.csv", ["a", "b"], [*gaps, "1.5"], [*gaps, "red"]))
    assert table["a"].dropna().tolist() == [1.5]
    assert table["b"].dropna().tolist() == ["red"]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a;b\n1.5;2\n2.5;3\n", {"a": [1.5, 2.5], "b": [2, 3]}),
        ("a;b\n1,5;1.500\n2,5;2.500\n", {"a": [1.5, 2.5], "b": ["1.500", "2.500"]}),
        ('a,b\n"1,5",2\n"2,5",3\n', {"a": ["1,5", "2,5"], "b": [2, 3]}),
        ("a, b\n1, red\n2, blue\n", {"a": [1, 2], "b": ["red", "blue"]}),
        ('"a,1",b\n1,2\n3,4\n', {"a,1": [1, 3], "b": [2, 4]}),
        ("a\n1\n2\n", {"a": [1, 2]}),
    ],
)
def test_cells(text: str, columns: dict[str, list[object]], tmp_path: Path) -> None:
    """A comma is the decimal point between semicolons alone, and then a point is none; a cell begins after spaces."""
    table, note = read_file(written(tmp_path, text))
    assert ({name: table[name].tolist() for name in table}, note) == (columns, "")


def test_a_target_between_commas_has_no_decimal_comma(tmp_path: Path) -> None:
    table, _ = read_file(written(tmp_path, 'a,y\n1,"1,5"\n2,"2,5"\n'), "y")
    assert table["y"].tolist() == ["1,5", "2,5"]


def test_truth_values_in_any_spelling(tmp_path: Path) -> None:
    spellings = ["True", "TRUE", "true", "False", "FALSE", "false"]
    table, _ = read_file(write_csv(tmp_path / "d.csv", ["a", "y"], range(6), spellings), "y")
    assert table["y"].tolist() == 3 * [True] + 3 * [False]


def test_a_long_column_is_of_one_kind(tmp_path: Path) -> None:
    """In pieces, as pandas reads long files by default, the rows before the first text would be numbers."""
    n_columns, n_rows = 400, 2100  # a piece is of a million cells at most, in rows a power of two
    row = "7" + "," * (n_columns - 1) + "\n"
    header = ",".join(f"c{i}" for i in range(n_columns)) + "\n"
    table, _ = read_file(written(tmp_path, header + n_rows * row + "x" + row[1:]))
    assert table["c0"].tolist() == n_rows * ["7"] + ["x"]


def test_standard_input_is_called_so(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(b"a,y\n")))
    said = failure(capsys, "train", "-", "--target", "y")
    assert said == "fastmlp: error: standard input: no rows below the header\n"


def test_a_damaged_array_is_not_taken_for_objects(tmp_path: Path, capsys: Captured) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("X.npy", b"no array at all")
    assert "d.npz: not an .npz file of arrays: the magic string" in failure(capsys, "train", tmp_path / "d.npz")


def test_rows_to_test_on_are_none_before_they_are_held_out(iris: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", X=np.ones((10, 2)), y=np.arange(10))
    for path, target, n_rows in ((tmp_path / "d.npz", None, 10), (iris, "species", 150)):
        data = read_data(path, target, [])
        assert (len(data.X), len(data.y), len(data.X_test), len(data.y_test)) == (n_rows, n_rows, 0, 0)
        hold_out(data, 0.2, seed=0)
        assert len(data.X) == len(data.y) == 0.8 * n_rows
        assert len(data.X_test) == len(data.y_test) == 0.2 * n_rows


def test_what_does_not_fit_the_task_is_named() -> None:
    """The first value of these, and none that fits."""
    for values, task, message in (
        (["7", "8"], "regression", "column 'y': '7' is not a number; a regression needs numbers"),
        (["7", "low", "high"], "regression", "column 'y': 'low' is not a number; a regression needs numbers"),
        ([1.0, 2.5, 3.0, 4.25], "classification", "column 'y' holds 2.5: real numbers are no classes"),
    ):
        with pytest.raises(TableError) as caught:
            as_asked(np.array(values), task, "y")
        assert str(caught.value) == message
