"""Nothing to trip over: every misuse ends in an answer or a clear error, never in a hang or a crash."""

import os
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from small_trainer import X, Y, small

from fastmlp import Trainer
from fastmlp._core import MAX_THREADS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DATES = pd.date_range("2000-01-01", periods=60)


def with_value(value: float, shape: tuple[int, int] = (60, 5)) -> np.ndarray:
    A = np.zeros(shape)
    A[-1, -1] = value
    return A


def damaged_csr(index: int) -> Any:
    A = scipy.sparse.csr_matrix(X)
    A.indices[7] = index
    return A


# What is wrong, the arguments of fit, and what the message must say.
WRONG_DATA: dict[str, tuple[dict[str, Any], tuple[Any, ...], str]] = {
    "NaN": ({}, (with_value(np.nan), Y), r"(?s)Input X contains NaN.*TabularRegressor take text and missing values"),
    "infinite": ({}, (with_value(np.inf), Y), "Input X contains infinity"),
    "NaN in CSR": ({}, (scipy.sparse.csr_matrix(with_value(np.nan)), Y), "Input X contains NaN"),
    "no rows": ({}, (X[:0], Y[:0]), r"0 sample\(s\)"),
    "no columns": ({}, (X[:, :0], Y), r"0 feature\(s\)"),
    "one dimension": ({}, (X[0], Y[:5]), "Expected 2D array"),
    "text": ({}, (np.array([["a", "b"]] * 60), Y), r"arrays of bytes/strings.*TabularClassifier"),
    "digits as text": ({}, (X.astype(str), Y), "arrays of bytes/strings"),
    "digits as bytes": ({}, (X.astype("S"), Y), "arrays of bytes/strings"),
    "list of text": ({}, ([["1", "2"]] * 60, Y), "arrays of bytes/strings"),
    "list with text in its last row": ({}, ([[1, 2]] * 59 + [["1", "2"]], Y), "arrays of bytes/strings"),
    "text objects": ({}, (np.array([["a", "b"]] * 60, object), Y), r"could not convert string to float.*Tabular"),
    "dates": ({}, (DATES.to_numpy().reshape(-1, 1), Y), r"dtype datetime64.* not numbers"),
    "durations": ({}, ((DATES - DATES[0]).to_numpy().reshape(-1, 1), Y), r"dtype timedelta64.* not numbers"),
    "frame of dates": ({}, (pd.DataFrame({"day": DATES}), Y), r"dtype datetime64.* not numbers"),
    "frame with dates": ({}, (pd.DataFrame({"day": DATES, "x": X[:, 0]}), Y), "could not be promoted"),
    "complex": ({}, (X + 1j, Y), "Complex data not supported"),
    "CSR index too large": ({}, (damaged_csr(5), Y), "indices must be < 5"),
    "CSR index negative": ({}, (damaged_csr(-1), Y), "indices must be >= 0"),
    "lengths": ({}, (X, Y[:-1]), r"inconsistent numbers of samples: \[60, 59\]"),
    "no y": ({}, (X, None), "requires y to be passed"),
    "text in y": ({}, (X, np.array(["a", "b", "c"])[Y]), r"numbers 0, 1, 2, …: got '[abc]'\. MLPClassifier takes any"),
    "list of text in y": ({"loss": "hinge"}, (X, ["b"] * 60), r"numbers 0, 1, 2, …: got 'b'\. MLPClassifier takes any"),
    "text among values": ({"loss": "squared_error"}, (X, np.array(["a", "b", "c"], object)[Y]), "string to float"),
    "None among classes": ({}, (X, np.array([0, None, 1], object)[Y]), "Input y contains NaN"),
    "NaN in y": ({"loss": "squared_error"}, (X, with_value(np.nan, (60, 1))), "Input y contains NaN"),
    "three dimensions of y": ({}, (X, np.zeros((60, 2, 2))), "dim 3"),
    "fractional classes": ({}, (X, Y + 0.5), "Unknown label type: continuous"),
    "negative class": ({}, (X, Y - 1), "Class numbers must be 0, 1, 2"),
    "rows that do not sum to 1": ({}, (X, np.eye(3)[Y] * 0.9), "must sum to 1"),
    "rows of zeros and ones": ({}, (X, np.ones((60, 3), np.uint8)), "must sum to 1"),
    "negative probability": ({}, (X, np.tile([1.5, -0.5], (60, 1))), "out of the valid range"),
    "label of 2": ({"loss": "binary_log_loss"}, (X, np.full((60, 3), 2)), "out of the valid range"),
    "negative count": ({"loss": "poisson"}, (X, Y - 1), "out of the valid range"),
    "negative weight": ({}, (X, Y, -np.ones(60)), "Negative values in data passed to `sample_weight`"),
    "NaN weight": ({}, (X, Y, np.full(60, np.nan)), "sample_weight contains NaN"),
    "length of weights": ({}, (X, Y, np.ones(59)), r"sample_weight.shape == \(59,\)"),
}

WRONG_PARAMETERS = {
    "n_threads": (0, -1, MAX_THREADS + 1, 1.5),
    "hidden_layer_sizes": ((0,), (5, -1), 0, "a", 5.0),
    "activation": ("softsign",),
    "loss": ("tukey",),
    "solver": ("newton",),
    "alpha": (-1.0, np.inf, np.nan),
    "batch_size": (0, "all"),
    "learning_rate": ("sine",),
    "learning_rate_init": (0.0, np.inf),
    "momentum": (1.1, -0.1),
    "beta_1": (1.0,),
    "beta_2": (1.0,),
    "epsilon": (0.0,),
    "max_iter": (0,),
    "dtype": ("float16", int),
}


@pytest.mark.parametrize("case", WRONG_DATA)
def test_wrong_data_is_refused_before_anything_changes(case: str) -> None:
    settings, arguments, message = WRONG_DATA[case]
    trainer = small(**settings)
    for train in (trainer.fit, trainer.partial_fit):
        with pytest.raises((ValueError, TypeError), match=message):
            train(*arguments)
    assert vars(trainer) == trainer.get_params()


@pytest.mark.parametrize("name", WRONG_PARAMETERS)
def test_wrong_parameters_are_refused(name: str) -> None:
    for value in WRONG_PARAMETERS[name]:
        with pytest.raises(ValueError, match=name):
            small(**{name: value}).fit(X, Y)


def test_memory_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf", raising=False)
    small(max_iter=1).fit(X, Y)
    for width in (2**25, 2**40):  # more than is free, and more than any array may have
        with pytest.raises(MemoryError, match="Use smaller hidden_layer_sizes"):
            small(hidden_layer_sizes=(width, width)).fit(X, Y)


def test_all_threads_are_none() -> None:
    with pytest.raises(ValueError, match=r"None or an int in the range \[1, \d+\], where None is all .* Got -1"):
        small(n_threads=-1).fit(X, Y)


@pytest.mark.parametrize("sizes", [(8.5,), (5.0,), ((5,),), ("a",), (None,), np.array(5.0), np.ones((1, 1), int)])
def test_units_that_are_no_numbers(sizes: Any) -> None:
    with pytest.raises(TypeError, match=r"'hidden_layer_sizes' parameter must be an int .* Got .* instead"):
        small(hidden_layer_sizes=sizes).fit(X, Y)


def test_units_of_numpy() -> None:
    expected = small(hidden_layer_sizes=(8, 4)).fit(X, Y).coefs_[0]
    for sizes in (np.array([8, 4]), [np.int32(8), np.uint8(4)]):
        assert np.array_equal(small(hidden_layer_sizes=sizes).fit(X, Y).coefs_[0], expected)


@pytest.mark.parametrize("sizes", [(2**40,), (2**31, 2**31), (2**62, 2**62), (2**70,)])
def test_networks_larger_than_the_machine(sizes: tuple[int, ...]) -> None:
    trainer = small(hidden_layer_sizes=sizes)
    with pytest.raises(MemoryError, match="Use smaller hidden_layer_sizes"):
        trainer.fit(X, Y)
    assert not hasattr(trainer, "coefs_")


def test_a_fit_that_is_refused_leaves_the_fitted_trainer_alone() -> None:
    trainer = small().fit(X, Y)
    expected = trainer.predict(X)
    for settings, error in (({"hidden_layer_sizes": (2**40,)}, MemoryError), ({"hidden_layer_sizes": (8,)}, TypeError)):
        with pytest.raises(error):
            trainer.set_params(**settings).fit(pd.DataFrame(X[:, :2], columns=["a", 1]), Y)
    assert np.array_equal(trainer.predict(X), expected)


def test_a_class_number_beyond_memory() -> None:
    with pytest.raises(MemoryError, match=r"y holds class numbers up to 72057594037927936, .* outputs: .* 0, 1"):
        small().fit(X, Y * 2**55)
    with pytest.raises(MemoryError, match="Use smaller hidden_layer_sizes"):
        small(hidden_layer_sizes=(2**40,)).fit(X, Y * 10**6)


def test_what_a_fitted_trainer_refuses() -> None:
    trainer = small(warm_start=True).fit(X, Y)
    params = trainer.coefs_[0].copy()
    for wrong in (X[:, :4], np.c_[X, X]):
        with pytest.raises(ValueError, match="expecting 5 features as input"):
            trainer.predict(wrong)
        with pytest.raises(ValueError, match="expecting 5 features as input"):
            trainer.partial_fit(wrong, Y)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        trainer.predict(with_value(np.nan))
    with pytest.raises(ValueError, match="`y` has class"):
        trainer.partial_fit(X, Y + 1)
    with pytest.raises(ValueError, match="4 columns, but the network has 3 outputs"):
        trainer.partial_fit(X, np.eye(4)[Y])
    with pytest.raises(ValueError, match="goes on from the last one"):
        trainer.set_params(hidden_layer_sizes=(9,)).fit(X, Y)
    assert np.array_equal(trainer.coefs_[0], params)
    assert trainer.score(X, Y + 1) < 1  # a class never seen is merely missed


def test_a_batch_without_weight_is_no_step() -> None:
    settings = {"batch_size": 10, "shuffle": False, "solver": "sgd", "max_iter": 1}
    weighted = small(**settings).fit(X[:20], Y[:20], np.repeat([0.0, 1.0], 10))
    assert np.array_equal(weighted.coefs_[0], small(**settings).fit(X[10:20], Y[10:20]).coefs_[0])


@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_predict_refuses_what_is_not_finite(layout):
    """The engine looks at the values while it reads them; the words are scikit-learn's."""
    X, y = np.random.RandomState(0).rand(300, 20), np.arange(300) % 3
    model = Trainer((5,), max_iter=2, dtype="float32", n_threads=2).fit(X, y)
    for value, message in (
        (np.nan, "contains NaN"),
        (np.inf, "contains infinity"),
        (1e300, r"too large for dtype\('float32'\)"),
    ):
        bad = X.copy()
        bad[299, 19] = value
        with pytest.raises(ValueError, match=message):
            model.predict(scipy.sparse.csr_array(bad) if layout == "sparse" else bad)
    assert np.isfinite(model.predict(X)).all()
