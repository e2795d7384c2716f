"""What the networks of the estimators of tables read of a table: scaled numbers, ramps, categories, gaps."""

import tracemalloc
import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mixed_table import N_ROWS, frame, labels
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import TabularClassifier, tabular_preparation
from fastmlp.tabular_columns import Column, read_table
from fastmlp.tabular_preparation import Numbers, Preparation, which_are_categories

RNG = np.random.default_rng(0)

pytestmark = pytest.mark.usefixtures("short_training_of_two")


def test_unknown_and_missing_are_zeros() -> None:
    X = pd.DataFrame({"colour": ["red", "green", "blue"] * 4, "kind": ["a", "b"] * 6})
    table = read_table(X)
    preparation = Preparation.of(table, which_are_categories(table, "from_dtype"))
    new = pd.DataFrame({"colour": ["violet", None, "green"], "kind": ["b", "c", None]})
    assert_array_equal(preparation.inputs(read_table(new)), [[0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]])


def test_numbers_are_scaled_as_published() -> None:
    """(x - median) / (distance of the quartiles), then x / sqrt(1 + (x / 3)²); what is missing is 0, with an input."""
    x = np.array([1.0, 2.0, 4.0, 8.0, 1e6])
    table = read_table(x[:, None])
    inputs = Preparation.of(table, [False]).inputs(table)
    scaled = (x - 4) / 6
    assert_allclose(inputs[:, 0], scaled / np.sqrt(1 + (scaled / 3) ** 2), rtol=1e-6)  # float32
    gaps = read_table(np.array([[1.0], [np.nan], [3.0]]))
    assert_allclose(Preparation.of(gaps, [False]).inputs(gaps)[1], [0, 1, *np.zeros(4)])


@pytest.mark.filterwarnings("error")
def test_numbers_of_any_size_are_scaled() -> None:
    """Those whose square, or whose distance from the median, is no float64 are as far as any; not where all agree."""
    most = np.finfo(np.float64).max
    for column, inputs in (
        ([0.0, 1, 2, most, -most], [-0.49319696, 0, 0.49319696, 3, -3]),
        ([0.0, 1e-3, 2e-3, most, -most], [-0.49319696, 0, 0.49319696, 3, -3]),
    ):
        table = read_table(np.array(column)[:, None])
        assert_allclose(Preparation.of(table, [False]).inputs(table)[:, 0], inputs, rtol=1e-6)  # float32
    inputs = np.empty((1, 1), np.float32)
    Numbers("all agree", most, 0.0, has_missing=False).write(Column("x", np.array([-most]), False), inputs)
    assert inputs.item() == 0


def test_quartiles_that_coincide_leave_half_the_range() -> None:
    table = read_table(np.array([[0.0]] * 9 + [[4.0]]))
    assert_allclose(Preparation.of(table, [False]).inputs(table)[-1, 0], 2 / np.sqrt(1 + 4 / 9), rtol=1e-6)


def test_asked_categories() -> None:
    X = frame()
    table = read_table(X)
    assert which_are_categories(table, "from_dtype") == [False, False, True, True, True, False, False, False]
    assert which_are_categories(table, ["count"])[1]
    assert which_are_categories(table, [1])[1]
    assert which_are_categories(table, [name == "count" for name in X])[1]
    with pytest.raises(ValueError, match="'nothing', which is no column"):
        TabularClassifier(categorical_features=["nothing"]).fit(X, labels(X))
    fitted = TabularClassifier(categorical_features=["count"], random_state=0).fit(X, labels(X))
    assert "4 of categories" in fitted.summary()
    fitted = TabularClassifier(n_members=1, random_state=0).fit(X[["rest"]].fillna(0), labels(X))
    assert ": 1 input and 4 ramps;" in fitted.summary()


def test_text_that_is_hardly_categories_is_told() -> None:
    """Once for each column, at the user's line; not of few texts, nor of numbers."""
    n_rows = 200
    X = pd.DataFrame(
        {
            "name": [f"row {i}" for i in range(n_rows)],
            "day": [None, *(f"2020-01-{1 + i % 28:02}T12:00" for i in range(n_rows - 1))],
            "seen": [f"{1 + i % 28}.1.2020" for i in range(n_rows)],
            "town": [f"t{i % 100}" for i in range(n_rows)],
            "version": [f"1.{i % 9}" for i in range(n_rows)],
            "number": np.arange(n_rows),
        }
    )
    with pytest.warns(UserWarning, match="taken as categories") as told:
        TabularClassifier(n_members=1, random_state=0).fit(X, np.arange(n_rows) % 2)
    assert [str(each.message).partition(",")[0] for each in told] == [
        "column 'name' holds 200 different texts in 200 rows",
        "column 'day' holds dates as text",
        "column 'seen' holds dates as text",
    ]
    assert {each.filename for each in told} == {__file__}


def test_many_rare_and_lonely_categories() -> None:
    X = pd.DataFrame({"place": [f"p{i % 500}" for i in range(1000)], "x": RNG.normal(size=1000)})
    y = np.where(X["x"] > 0, "up", "down").astype(object)
    y[3] = "lonely"
    fitted = TabularClassifier(random_state=0).fit(X, y)
    assert [member.n_inputs for member in fitted._fitted.members] == [501 + 16, 501]  # with ramps, and without
    assert fitted.predict_proba(X).shape == (1000, 3)


def test_many_rows_leave_inputs_for_the_most_frequent_categories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of few categories keep all, the others share what is left; each that loses some is told of."""
    n_rows = 1000
    columns = {"few": np.arange(n_rows) % 4, "many": np.arange(n_rows) % 100, "more": np.arange(n_rows) % 200}
    X = pd.DataFrame({name: [f"{name} {i:03}" for i in numbers] for name, numbers in columns.items()})
    X.loc[X["many"] > "many 049", "many"] = "many 007"
    for n_inputs, kept in ((60, [4, 28, 28]), (4 + 50 + 200, [4, 50, 200]), (3, [2, 2, 2])):
        monkeypatch.setattr(tabular_preparation, "MOST_BYTES_OF_CATEGORIES", 4 * n_rows * n_inputs)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fitted = TabularClassifier(n_members=1, max_time=1e-3, random_state=0).fit(X, columns["few"] > 1)
        assert [len(values) for values in fitted.categories_.values()] == kept
        assert "many 007" in fitted.categories_["many"]
        fewer = [name for name, n, of in zip(X, kept, (4, 50, 200), strict=True) if n < of]
        messages = [str(each.message) for each in told if each.category is UserWarning]
        assert [message.split("'")[1] for message in messages] == fewer
        assert fitted.predict(X).shape == (n_rows,)


def test_predictions_of_some_rows_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """And take the memory of the inputs of some rows."""
    X = frame(3000)
    fitted = TabularClassifier(random_state=0).fit(X[:N_ROWS], labels(X)[:N_ROWS])
    expected = fitted.predict_proba(X)
    row, taken = 4 * fitted._fitted.preparation.n_inputs, []
    inputs = Preparation.inputs

    def counted(self: Preparation, table: Any) -> Any:
        taken.append(table.n_rows)
        return inputs(self, table)

    monkeypatch.setattr(Preparation, "inputs", counted)
    for n_bytes, parts in ((1, [1] * 3000), (1000 * row + 5, [1000] * 3), (1001 * row, [1001, 1001, 998])):
        monkeypatch.setattr(tabular_preparation, "BYTES_AT_ONCE", n_bytes)
        taken.clear()
        assert_array_equal(fitted.predict_proba(X), expected)
        assert taken == parts


def test_a_column_without_values_stays_zero() -> None:
    """Of the rows of a prediction, too: the network has never seen another value there."""
    preparation = Preparation.of(read_table(np.full((9, 1), np.nan)), [False])
    assert not preparation.inputs(read_table(np.array([[5.0]]))).any()


def test_ramps_rise_between_quantiles_where_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.append(np.random.default_rng(0).exponential(size=999), np.nan)[:, None]
    table = read_table(values)
    preparation = Preparation.of(table, [False])
    edges = np.quantile(values[:-1], np.arange(17) / 16)
    expected = [np.interp(values[:-1, 0], pair, (0, 1)) for pair in pairwise(edges)]
    inputs = preparation.inputs(table)
    assert (preparation.n_plain, preparation.n_inputs) == (2, 18)
    assert_allclose(inputs[:-1, 2:], np.transpose(expected), atol=1e-6)
    assert not inputs[-1, 2:].any()  # what is missing
    for n_bytes, n_ramps in ((4 * 1000 * 5, 5), (4 * 1000 * 3, 0)):
        monkeypatch.setattr(tabular_preparation, "MOST_BYTES_OF_RAMPS", n_bytes)
        assert Preparation.of(table, [False]).n_inputs == 2 + n_ramps


def test_ramps_are_not_spent_on_one_value() -> None:
    """Of zeros nine rows in ten: one ramp begins there, and the others share the rest of the rows."""
    x = np.concatenate([np.zeros(3600), np.arange(1, 401)])
    few = np.repeat([0.0, 1.0, 5.0, 9.0], [3997, 1, 1, 1])
    table = read_table(np.column_stack([x, few, np.where(x > 300, x, 0)]))
    of_x, of_few, of_less = (np.array(each.edges) for each in Preparation.of(table, [False] * 3).encodings)
    assert len(of_x) == 17
    assert (of_x[0], of_x[-1]) == (0, 400)
    assert np.diff(of_x[1:]).max() <= 2 * np.diff(of_x[1:]).min()
    assert_array_equal(of_few, [0, 1, 5, 9])
    assert len(of_less) == 6, "a hundred rows are not enough for more than five"


def test_many_columns_get_fewer_ramps() -> None:
    """Columns without ramps do not count."""
    values = np.random.default_rng(0).normal(size=(400, 130))
    for n_columns, n_ramps in ((32, 16), (57, 8), (64, 8), (100, 5), (128, 4), (129, 0)):
        columns = np.column_stack([values[:, :n_columns], values[:, -1] > 0])
        preparation = Preparation.of(read_table(columns), [False] * (n_columns + 1))
        ramps = [each.n_ramps for each in preparation.encodings if isinstance(each, Numbers)]
        assert ramps == [n_ramps] * n_columns + [0]
    edges = np.array(Preparation.of(read_table(values[:, :1]), [False]).encodings[0].edges)
    few = np.array(Preparation.of(read_table(values[:, :64]), [False] * 64).encodings[0].edges)
    assert_array_equal(few, edges[::2])


@pytest.mark.parametrize("kind", ["float32", "float64", "uint8 frame", "text frame"])
def test_memory_is_that_of_the_inputs(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members share the inputs, in float32, and there is no copy of X in float64."""
    monkeypatch.setattr(tabular_preparation, "MOST_BYTES_OF_RAMPS", 0)
    rng = np.random.default_rng(0)
    X: Any = rng.integers(0, 200, (100_000, 20)).astype(kind.split()[0] if "text" not in kind else "uint8")
    y = X[:, 0] > X[:, 1]
    if kind == "text frame":
        X = pd.DataFrame(np.array(["red", "green"])[X % 2]).add_prefix("c")
    elif "frame" in kind:
        X = pd.DataFrame(X).add_prefix("c")
    n_bytes = 100_000 * 20 * 4
    tracemalloc.start()
    TabularClassifier(random_state=0, n_members=4, n_threads=4).fit(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The inputs, a fifth of them for each member to validate on, the order of rows, and columns at work; text takes a
    # pointer for each cell. A copy of the rows for each member would be 4 more, a text for each cell 15 more.
    assert peak / n_bytes < (7 if kind == "text frame" else 4.5)
