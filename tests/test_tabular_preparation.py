"""How many ramps and categories the columns of a table get, on both sides of what decides it."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastmlp.tabular_columns import Column, Table, read_table
from fastmlp.tabular_preparation import Categories, Numbers, Preparation, which_are_categories


def numbers_of(values: Any) -> Numbers:
    """How a column of numbers is encoded."""
    (encoding,) = Preparation.of(read_table(np.reshape(values, (-1, 1))), [False]).encodings
    assert isinstance(encoding, Numbers)
    return encoding


def texts(name: str, values: list[str]) -> Column:
    return Column(name, np.array(values, dtype=object), is_category=True)


# -- numbers --


@pytest.mark.parametrize(
    ("n_rows", "n_ramps"), [(20, 4), (99, 4), (100, 5), (119, 5), (120, 6), (319, 15), (320, 16), (400, 16)]
)
def test_twenty_rows_make_a_ramp(n_rows: int, n_ramps: int) -> None:
    """Four at least, sixteen at most."""
    assert numbers_of(np.arange(float(n_rows))).n_ramps == n_ramps


def test_ramps_of_few_different_values() -> None:
    assert numbers_of([0.0, 1.0] * 9).edges == ()
    assert numbers_of([0.0, 1.0, 5.0] * 9).edges == (0, 1, 5)
    assert len(numbers_of([0.0, 0, 0, 1, 2, 3, 4, 5, 6]).edges) == 5, "one quantile is there twice"


def test_values_of_which_one_has_most_rows() -> None:
    """Seventeen are the edges of sixteen ramps; of eighteen the rows of the others, and a few of it, make five."""
    for n_values, n_edges in ((17, 17), (18, 6)):
        values = np.repeat(np.arange(float(n_values)), [4000, *[6] * (n_values - 1)])
        assert len(numbers_of(values).edges) == n_edges


@pytest.mark.parametrize("values", [[3.0], [0.0, 1e-310, 2e-310, 3e-310]], ids=["constant", "no finite factor"])
def test_columns_without_a_scale_stay_zero(values: list[float]) -> None:
    table = read_table(np.array(values * 9)[:, None])
    assert Preparation.of(table, [False]).inputs(read_table([[5.0]]))[0, 0] == 0


# -- memory --


def test_ramps_of_many_rows_share_the_memory() -> None:
    """A quarter of a GiB for all columns of numbers; rows need not be there to be counted."""
    numbers = [Column(f"n{j}", np.arange(400.0), is_category=False) for j in range(2)]
    names = [texts(f"t{j}", ["a", "b", "c"]) for j in range(2)]
    for columns, n_rows, n_ramps in (
        (numbers[:1], 2**22, [16]),
        (numbers[:1], 2**23, [8]),
        (numbers, 2**22, [8, 8]),
        ([*numbers, *names], 2**22, [8, 8]),
    ):
        table = Table(columns, n_rows, has_names=False)
        encodings = Preparation.of(table, [column.is_category for column in columns]).encodings
        assert [each.n_ramps for each in encodings if isinstance(each, Numbers)] == n_ramps


def test_categories_of_many_rows_share_the_memory() -> None:
    """Two GiB are 128 inputs of four million rows."""
    table = Table([texts("many", [f"c{i:03}" for i in range(300)])], 2**22, has_names=False)
    with pytest.warns(UserWarning, match="column 'many': the 128 most frequent categories have an input"):
        (encoding,) = Preparation.of(table, [True]).encodings
    assert encoding.n_inputs == 128


def test_blocks_of_a_prediction_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of a GiB of inputs at a time."""
    monkeypatch.setattr(Preparation, "inputs", lambda self, table: table.n_rows)
    table = Table([Column("x", np.zeros(3), is_category=False)], 2**26 + 1, has_names=False)
    blocks: list[Any] = list(Preparation((Numbers("x", 0.0, 1.0, has_missing=False),)).blocks(table))
    assert blocks == [2**25, 2**25, 1]


# -- categories --


@pytest.mark.filterwarnings("error")
def test_a_thousand_categories_at_most() -> None:
    names = [f"c{i}" for i in range(1000)]
    table = Table([texts("many", [*names, "rare", *names])], 2001, has_names=False)
    (encoding,) = Preparation.of(table, [True]).encodings
    assert isinstance(encoding, Categories)
    assert set(encoding.values) == set(names)


def test_numbers_as_categories() -> None:
    table = read_table(np.array([[3.0], [np.nan], [1.0], [2.0]]))
    preparation = Preparation.of(table, [True])
    assert preparation.encodings == (Categories("x0", (1.0, 2.0, 3.0)),)
    assert_array_equal(preparation.inputs(table), [[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_a_mask_for_other_columns_is_refused() -> None:
    with pytest.raises(ValueError, match=r"categorical_features is a mask of shape \(3,\), X has 2 columns"):
        which_are_categories(read_table(np.ones((2, 2))), [True, False, True])


def test_eight_columns_are_named() -> None:
    for n_columns, more in ((8, ""), (9, ", …")):
        summary = Preparation.of(read_table(np.ones((3, n_columns))), [False] * n_columns).summary()
        named = f"x0, x1, x2, x3, x4, x5, x6, x7{more}"
        assert summary == f"{n_columns} columns of numbers ({named}), 0 of categories: {n_columns} inputs"
