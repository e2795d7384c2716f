"""The columns of a table in all the ways in which users hold them."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import fastmlp
from fastmlp import TabularClassifier, TabularRegressor, tabular_training
from fastmlp.tabular_base import _name_of
from fastmlp.tabular_columns import Column, doubt, read_table
from fastmlp.tabular_training import Preset

Y = [0, 1] * 20


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little training: what is tested is not how well it goes."""
    monkeypatch.setitem(tabular_training.PRESETS, "default", Preset(1, 8, 100, 20))


def kinds(X: Any) -> list[str]:
    """Of each column, whether it holds numbers or categories."""
    return ["categories" if column.is_category else "numbers" for column in read_table(X).columns]


def test_polars_is_read_as_pandas_is() -> None:
    polars = pytest.importorskip("polars")  # which has no wheel yet for the newest Python
    cells = {
        "number": [1.5, None, 3.0],
        "whole": [1, 2, 3],
        "text": ["red", None, "blue"],
        "flag": [True, False, None],
        "category": ["a", "b", None],
        "gone": [None, None, None],
    }
    frame = polars.DataFrame(cells).with_columns(polars.col("category").cast(polars.Categorical))
    other = pd.DataFrame(cells).astype({"category": "category", "flag": "boolean"})
    for ours, theirs in zip(read_table(frame).columns, read_table(other).columns, strict=True):
        assert (ours.name, ours.is_category) == (theirs.name, theirs.is_category)
        assert_array_equal(ours.values, theirs.values)
    with pytest.raises(TypeError, match="dates"):
        read_table(frame.with_columns(day=polars.date(2020, 1, 1)))
    frame = polars.DataFrame({"x": range(40), "text": ["a", "b"] * 20})
    model = TabularClassifier(random_state=0).fit(frame, polars.Series(Y))
    assert_array_equal(model.predict(frame), model.predict(frame.to_pandas(use_pyarrow_extension_array=False)))


# -- values --


@pytest.mark.parametrize("row", [list, tuple])
def test_numbers_beside_text_in_lists_of_rows_are_numbers(row: Any) -> None:
    """NumPy makes text of both."""
    X = [row([5.1, "red", True]), row([4.9, "blue", False]), row([np.nan, "red", True])]
    for rows in (X, tuple(X)):
        numbers, colours, flags = read_table(rows).columns
        assert_array_equal(numbers.values, [5.1, 4.9, np.nan])
        assert colours.values.tolist() == ["red", "blue", "red"]
        assert flags.values.tolist() == [True, False, True]
        assert kinds(rows) == ["numbers", "categories", "categories"]
    fitted = TabularClassifier(random_state=0).fit([[5.1, "red"], [4.9, "blue"]] * 20, Y)
    assert fitted.categories_ == {"x1": ("blue", "red")}
    assert kinds([["5.1", "red"], ["4.9", "blue"]]) == ["categories"] * 2


def test_lists_are_read_as_arrays_are() -> None:
    for rows in ([[True], [False]], [[1], [2]], [[1.5], [np.nan]], [["a"], ["b"]]):
        (ours,), (theirs,) = read_table(rows).columns, read_table(np.array(rows)).columns
        assert (ours.is_category, ours.values.dtype) == (theirs.is_category, theirs.values.dtype)


def test_numbers_of_a_frame_are_not_copied() -> None:
    """But where some are missing of a type that has no NaN."""
    for dtype in ("float64", "float32", "uint8"):
        X = pd.DataFrame({"x": np.arange(3, dtype=dtype)})
        (column,) = read_table(X).columns
        assert np.shares_memory(column.values, X["x"].to_numpy())
    (column,) = read_table(pd.DataFrame({"x": pd.array([1, None], dtype="Int64")})).columns
    assert column.values.dtype == np.float64
    assert_array_equal(column.values, [1, np.nan])


def test_objects_are_read_to_the_end() -> None:
    """The first hundred of a column of objects say nothing of the others."""
    gap = [None] * 150
    cells = {"number": 2.5, "text": "a", "flag": True, "no": None}
    late = pd.DataFrame({name: [*gap, cell] for name, cell in cells.items()}, dtype=object)
    assert kinds(late) == ["numbers", "categories", "categories", "numbers"]
    assert_array_equal(read_table(late).columns[0].values, [*np.full(150, np.nan), 2.5])
    mixed = pd.DataFrame({"mixed": [*["a"] * 150, 1]}, dtype=object)
    assert read_table(mixed).columns[0].values.tolist() == [*["a"] * 150, 1]


@pytest.mark.parametrize("cell", [[1.0, 2.0], (1, 2), np.ones(2), {"a": 1}])
@pytest.mark.parametrize("before", [0, 150])
def test_cells_that_hold_several_values_are_refused(cell: Any, before: int) -> None:
    """Those of one length are not taken as a matrix."""
    cells = pd.Series(["a"] * before + [cell] * 3, dtype=object)
    with pytest.raises(TypeError, match=r"column 'c' holds .*: every argument must be a string or a number"):
        read_table(pd.DataFrame({"c": cells}))


def of_nothing() -> Iterator[Any]:
    pyarrow = pytest.importorskip("pyarrow")
    yield pyarrow.table({"nothing": pyarrow.nulls(40)})
    yield pd.DataFrame({"nothing": pd.Series([None] * 40, dtype=pd.ArrowDtype(pyarrow.null()))})


def test_columns_of_no_type_where_all_is_missing() -> None:
    texts = TabularClassifier(random_state=0).fit(pd.DataFrame({"nothing": ["a", "b"] * 20}), Y)
    for X in of_nothing():
        (column,) = read_table(X).columns
        assert_array_equal(column.values, np.full(40, np.nan))
        assert len(texts.predict(X)) == len(TabularClassifier(random_state=0).fit(X, Y).predict(X)) == 40


def test_a_type_that_is_refused_is_named_as_its_frame_names_it() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    lists = pd.Series([[1], [2]], dtype=pd.ArrowDtype(pyarrow.list_(pyarrow.int64())))
    with pytest.raises(TypeError, match=r"column 'c' is of list<.*int64>\[pyarrow\], which is neither"):
        read_table(pd.DataFrame({"c": lists}))


def test_categories_of_bytes_and_decimals_can_be_saved(tmp_path: Path) -> None:
    X = pd.DataFrame({"bytes": [b"a", b"\xff"] * 20, "mixed": [Decimal("1.5"), "b"] * 20})
    fitted = TabularClassifier(random_state=0).fit(X, Y)
    assert fitted.categories_ == {"bytes": ("\\xff", "a"), "mixed": (1.5, "b")}
    fitted.save(tmp_path / "model")
    assert_array_equal(fastmlp.load(tmp_path / "model").predict_proba(X), fitted.predict_proba(X))


def test_dates_in_a_column_of_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="column 'day': dates and times are not numbers"):
        read_table(pd.DataFrame({"day": pd.Series([date(2020, 1, 1)] * 3, dtype=object)}))


def test_frames_without_rows_or_columns_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        read_table(pd.DataFrame({"a": []}))
    with pytest.raises(ValueError, match=r"Found array with 0 feature\(s\)"):
        read_table(pd.DataFrame(index=[0, 1]))


@pytest.mark.parametrize(
    ("n_texts", "n_rows", "is_doubted"), [(50, 50, False), (51, 51, True), (52, 104, False), (53, 105, True)]
)
def test_texts_are_doubted_from_so_many_on(n_texts: int, n_rows: int, is_doubted: bool) -> None:
    """Fifty cause no doubt, nor more where each stands in two rows."""
    cells = np.array([f"t{i % n_texts}" for i in range(n_rows)], dtype=object)
    assert bool(doubt(Column("c", cells, is_category=True))) == is_doubted


def test_a_hundred_dates_tell() -> None:
    for n_dates, are_dates in ((99, False), (100, True)):
        cells = np.array([*["2020-01-01"] * n_dates, "x"], dtype=object)
        assert ("holds dates as text" in doubt(Column("c", cells, is_category=True))) == are_dates


# -- names --


def test_names_that_are_no_text_keep_their_columns() -> None:
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame(rng.normal(size=(40, 3)), columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]))
    fitted = TabularRegressor(random_state=0).fit(pairs, pairs.iloc[:, 0])
    assert list(fitted.feature_names_in_) == ["('a', 1)", "('a', 2)", "('b', 1)"]
    assert_array_equal(fitted.predict(pairs[pairs.columns[::-1]]), fitted.predict(pairs))


@pytest.mark.parametrize("labels", [["age", 0, 1], [1, "1", 2]])
def test_names_of_several_kinds_are_refused(labels: list[Any]) -> None:
    with pytest.raises(TypeError, match=r"Feature names are only supported if all input features have string names"):
        TabularRegressor().fit(pd.DataFrame(np.eye(3), columns=labels), [1, 2, 3])


def test_names_that_become_the_same_text_are_refused() -> None:
    class Name:
        def __str__(self) -> str:
            return "(1,)"

    with pytest.raises(TypeError, match="Feature names are only supported"):
        read_table(pd.DataFrame([[1, 2]], columns=pd.Index([(1,), Name()], dtype=object, tupleize_cols=False)))


def test_numbers_as_names_are_places() -> None:
    """As for scikit-learn, and in files for other systems."""
    X = pd.DataFrame({0: ["a", "b"] * 20, 1: np.arange(40.0)})
    fitted = TabularClassifier(random_state=0).fit(X, Y)
    assert fitted.categories_ == {"x0": ("a", "b")}
    assert not hasattr(fitted, "feature_names_in_")
    assert_array_equal(fitted.predict(X.rename(columns={0: 7, 1: 3})), fitted.predict(X))


def test_numbers_of_several_kinds_as_names_are_text() -> None:
    table = read_table(pd.DataFrame([[1, 2]], columns=pd.Index([1.5, 2], dtype=object)))
    assert ([column.name for column in table.columns], table.has_names) == (["1.5", "2"], True)


def test_columns_that_are_missing_alone_are_named() -> None:
    table = read_table(pd.DataFrame({"a": [1.0]}))
    with pytest.raises(ValueError, match=r"during fit: 'b' missing\. X has 1 columns, fit had 2\.$"):
        table.like(["a", "b"], 2, "TabularClassifier")


def test_a_target_has_a_name_where_it_is_a_text() -> None:
    for name, expected in (("price", "price"), ("", None), (3, None), (None, None)):
        assert _name_of(pd.Series([1.0], name=name)) == expected
    assert _name_of([1.0]) is None
