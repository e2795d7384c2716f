"""X and y as the engine reads them: what it reads in place, what is refused, and what outputs score against targets."""

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import r2_score

from fastmlp import MLPClassifier, MLPRegressor, Trainer, rows
from fastmlp._core import LOSSES
from fastmlp.targets import check_targets, require_present, score

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.RandomState(0).normal(size=(30, 4))
Y = np.arange(30) % 3


def unaligned(A: np.ndarray) -> np.ndarray:
    """A copy whose numbers begin at odd addresses."""
    memory = np.zeros(A.nbytes + 1, np.uint8)
    copy = memory[1:].view(A.dtype).reshape(A.shape)
    copy[...] = A
    assert not copy.flags.aligned
    return copy


@pytest.mark.parametrize("dtype", rows.READABLE)
@pytest.mark.parametrize("width", [1, 2, 4])
def test_rows_that_are_read_in_place(dtype: type, width: int) -> None:
    """Those whose numbers are adjacent and aligned, whatever lies between two rows."""
    A = np.arange(24, dtype=dtype).reshape(6, 4)[:, :width]
    for rows_in_place in (A, A[::-2], A[:1], np.arange(12, dtype=dtype).reshape(6, 2)[:, 1:]):
        assert rows.is_readable(rows_in_place, finite=True)
        assert rows.contiguous_rows(rows_in_place) is rows_in_place


def test_rows_that_scikit_learn_is_asked_about() -> None:
    A = np.arange(24.0).reshape(6, 4)
    nan = np.where(A == 9, np.nan, A)
    not_readable: list[Any] = [A[:, ::2], A.T, unaligned(A), unaligned(A[:, :1])]
    for B in (A.tolist(), A.view(np.ma.MaskedArray), A[0], A[None], A[:0], A.astype(int), *not_readable):
        assert not rows.is_readable(B, finite=False)
    for B in not_readable:
        copy = rows.contiguous_rows(B)
        assert rows.is_readable(copy, finite=True)
        assert np.array_equal(copy, B)
    assert rows.is_readable(nan, finite=False)
    assert not rows.is_readable(nan, finite=True)


@pytest.mark.parametrize("kind", ["f8", "f4", "f2", "i8", "u1", "?", ">f8"])
def test_targets_that_are_taken_as_they_are(kind: str) -> None:
    y = np.array([[0, 1], [1, 1]]).astype(kind)
    assert rows.is_sound(y)
    assert rows.is_sound(y[0, :1])


def test_targets_that_scikit_learn_is_asked_about() -> None:
    y = np.arange(4.0)
    for z in (
        y.tolist(),
        y.view(np.ma.MaskedArray),
        y[:0],
        y.reshape(1, 2, 2),
        y[0],
        y.astype(str),
        y.astype(object),
        y * 1j,
    ):
        assert not rows.is_sound(z)
    for value in (np.nan, np.inf):
        assert not rows.is_sound(np.append(y, value))


@pytest.mark.parametrize(
    ("asked", "converted", "computed"),
    [
        (None, np.float64, "float64"),
        ("float64", np.float64, "float64"),
        (np.float32, np.float32, "float32"),
        ("bfloat16", np.float32, "bfloat16"),
    ],
)
def test_what_other_numbers_become(asked: Any, converted: type, computed: str) -> None:
    """What is computed in, or float32 for bfloat16, which NumPy does not have; those that can be read stay."""
    for kind in (np.int32, np.float16, bool):
        found = rows.first_rows(np.eye(3, dtype=kind), asked, Trainer())
        assert found.dtype == converted
        assert rows.compute_dtype(found, asked) == computed
    for kind in rows.READABLE:
        found = rows.first_rows(np.eye(3, dtype=kind), asked, Trainer())
        assert found.dtype == kind
        by_rows = "float64" if kind is np.float64 else "float32"
        assert rows.compute_dtype(found, asked) == (computed if asked is not None else by_rows)


def test_a_prediction_looks_at_no_value_before_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Trainer((3,), max_iter=2, random_state=0).fit(X, Y)
    monkeypatch.setattr(rows, "_is_finite", lambda A: 1 / 0)
    assert model.predict(X).shape == (30, 3)


def test_repeated_entries_of_a_sparse_matrix_stay_the_users() -> None:
    """Summed in a copy, in float64 too, where nothing else would ask for one."""
    data, indices, indptr = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1, 1, 2, 0]), np.array([0, 2, 4, 4])
    A = scipy.sparse.csr_array((data, indices, indptr), shape=(3, 3))
    dense = np.array([[0.0, 3, 0], [4, 0, 3], [0, 0, 0]])
    fitted = [Trainer((3,), max_iter=2, random_state=0).fit(each, [0, 1, 2]) for each in (A, dense)]
    assert np.array_equal(fitted[0].coefs_[0], fitted[1].coefs_[0])
    assert A.data.tolist() == [1, 2, 3, 4]
    assert A.indices.tolist() == [1, 1, 2, 0]


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor, Trainer])
def test_rows_that_partial_fit_refuses_later(estimator: type) -> None:
    """As the first call does: NaN, infinity, text."""
    model = estimator(hidden_layer_sizes=(3,), max_iter=1, random_state=0).fit(X, Y)
    before = model.coefs_[0].copy()
    for value, message in ((np.nan, "Input X contains NaN"), (np.inf, "Input X contains infinity")):
        with pytest.raises(ValueError, match=message):
            model.partial_fit(np.where(np.isclose(X, X[7, 2]), value, X), Y)
    with pytest.raises(ValueError, match="arrays of bytes/strings"):
        model.partial_fit(X.astype(str), Y)
    assert np.array_equal(model.coefs_[0], before)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if LOSSES[loss].exclusive])
def test_a_column_of_classes_is_a_vector_of_them(loss: str) -> None:
    settings: dict[str, Any] = {"hidden_layer_sizes": (3,), "loss": loss, "max_iter": 2, "random_state": 0}
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        column = Trainer(**settings).fit(X, Y[:, None])
    assert np.array_equal(column.coefs_[0], Trainer(**settings).fit(X, Y).coefs_[0])
    with warnings.catch_warnings(action="error", category=DataConversionWarning):
        one_hot = Trainer(**settings).fit(X, np.eye(3)[Y])
    assert np.array_equal(column.coefs_[0], one_hot.coefs_[0])


@pytest.mark.parametrize("estimator", [MLPRegressor, MLPClassifier])
def test_a_column_is_a_vector(estimator: type) -> None:
    """With a warning, as in scikit-learn; two columns are two, and a list is an array."""
    settings: dict[str, Any] = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0}
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        column = estimator(**settings).fit(X, Y[:, None])
    with warnings.catch_warnings(action="error", category=DataConversionWarning):
        vector, several = estimator(**settings).fit(X, Y.tolist()), estimator(**settings).fit(X, np.c_[Y > 0, Y > 1])
    assert np.array_equal(column.coefs_[0], vector.coefs_[0])
    assert column.predict(X).shape == (30,)
    assert several.predict(X).shape == (30, 2)


@pytest.mark.parametrize(
    ("y", "loss", "n_outputs", "classes"),
    [
        ([0, 0, 0], "log_loss", 2, [0, 0, 0]),
        ([0, 1, 0], "log_loss", 2, [0, 1, 0]),
        ([0, 2, 1], "log_loss", 3, [0, 2, 1]),
        ([0, 0], "hinge", 1, [0, 0]),
        ([0, 1], "hinge", 1, [0, 1]),
        ([1, -1], "hinge", 1, [1, 0]),
        ([-1, -1], "perceptron", 1, [0, 0]),
        ([0, 2], "hinge", 3, [0, 2]),
        ([0, 1], "binary_log_loss", 1, [0, 1]),
        ([1.0, 2.0], "binary_log_loss", 3, [1, 2]),
    ],
)
def test_classes_and_outputs(y: list[float], loss: str, n_outputs: int, classes: list[int]) -> None:
    """Classes that exclude each other have an output each; two that do not, or the two of a margin, have one."""
    found, needed = check_targets(np.array(y), loss, None, Trainer())
    assert (found.tolist(), found.dtype, needed) == (classes, np.int64, n_outputs)
    assert check_targets(np.array(y), loss, needed, Trainer())[1] == needed


@pytest.mark.parametrize(("y", "loss"), [([-1, 1], "log_loss"), ([-1, 2], "hinge"), ([-2, 1], "hinge")])
def test_class_numbers_below_zero(y: list[int], loss: str) -> None:
    with pytest.raises(ValueError, match=rf"^Class numbers must be 0, 1, 2, …: got {y[0]}\.$"):
        check_targets(np.array(y), loss, None, Trainer())


def test_the_first_text_among_class_numbers_is_named() -> None:
    with pytest.raises(ValueError, match=r"numbers 0, 1, 2, …: got 'one'\. MLPClassifier takes any labels\.$"):
        check_targets(np.array(["one", "two"], object), "log_loss", None, Trainer())


def test_how_far_from_1_probabilities_may_sum() -> None:
    """As far as those of float32 do: 1e-4."""
    y = np.array([[0.5, 0.5], [0.25, 0.75]])
    for error in (0.9e-4, -0.9e-4):
        check_targets(np.add(y, [[0, 0], [0, error]]), "log_loss", None, Trainer())
    for error in (1.1e-4, -1.1e-4):
        with pytest.raises(
            ValueError, match=r"^Each row of y must sum to 1 with the loss 'log_loss': the rows are one"
        ):
            check_targets(np.add(y, [[0, error], [0, 0]]), "log_loss", None, Trainer())


@pytest.mark.parametrize("loss", ["binary_log_loss", "hinge"])
def test_the_accuracy_of_labels_is_that_of_whole_rows(loss: str) -> None:
    at = LOSSES[loss].threshold
    assert at is not None
    labels = np.array([[0, 1], [1, 1], [0, 0], [1, 0]], np.uint8)
    outputs = np.array([[at, at + 1], [at + 1, at], [at - 1, at], [at + 1, at + 1]])
    assert score(labels, outputs, loss, None) == 0.5
    assert score(labels, outputs, loss, np.array([3.0, 1.0, 0.0, 0.0])) == 0.75


def test_the_accuracy_of_classes() -> None:
    outputs = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    for targets in (np.array([1, 2, 2]), np.eye(3)[[1, 2, 2]]):
        assert score(targets, outputs, "log_loss", None) == 2 / 3
        assert score(targets, outputs, "log_loss", np.array([1.0, 2.0, 1.0])) == 0.5
    assert score(np.array([1, 1, 0]), np.array([[0.2, 0.8], [0.6, 0.4], [0.6, 0.4]]), "log_loss", None) == 2 / 3
    assert score(np.array([0, 1, 1]), np.array([[0.5], [0.6], [0.4]]), "binary_log_loss", None) == 2 / 3


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0, 0.5, 3.0])])
def test_r2_is_that_of_scikit_learn(weights: Any) -> None:
    """Of targets that vary little or not at all, too: 1 where such a one is met, 0 where it is not."""
    targets = np.array([[1.0, 0.1, 2.0, 2.0], [4.0, 0.2, 2.0, 2.0], [2.0, 0.3, 2.0, 2.0], [8.0, 0.1, 2.0, 2.0]])
    outputs = np.add(targets, [[0.5, 0.01, 0, 0], [1, -0.02, 0, 0.1], [-0.5, 0, 0, 0], [0, 0.03, 0, -0.1]])
    for columns in ([0], [1], [2], [3], [0, 1, 2, 3]):
        expected = r2_score(targets[:, columns], outputs[:, columns], sample_weight=weights)
        assert score(targets[:, columns], outputs[:, columns], "squared_error", weights) == pytest.approx(expected)
    two = score(targets[:2], outputs[:2], "squared_error", None)
    assert two == pytest.approx(r2_score(targets[:2], outputs[:2]))
    assert np.isnan(score(targets[:1], outputs[:1], "squared_error", None)), "one row has no variance"


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([1.0, None, 2.0], "1 missing value"),
        ([1.0, float("nan"), None], "2 missing values"),
        (np.array([np.nan, 1.0]), "1 missing value"),
        (np.array(["a", None, "b", None], object), "2 missing values"),
    ],
)
def test_missing_targets_are_counted(y: Any, words: str) -> None:
    with pytest.raises(ValueError, match=rf"^y has {words}: drop those rows\.$"):
        require_present(y)


@pytest.mark.parametrize("y", [[1.0, 2.0], np.arange(3), np.array(["a", "b"]), ["a", "b"]])
def test_no_target_is_missing(y: Any) -> None:
    require_present(y)


def test_a_score_needs_as_many_weights_and_rows() -> None:
    model = Trainer((3,), max_iter=1, random_state=0).fit(X, Y)
    for targets, weights in ((Y[1:], None), (Y, np.ones(29))):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            model.score(X, targets, weights)


def test_rows_as_many_as_columns_of_another_number() -> None:
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[30, 4\]"):
        Trainer().fit(X, Y[:4])


@pytest.mark.parametrize("estimator", [MLPRegressor, Trainer, MLPClassifier])
def test_what_is_said_without_y(estimator: type) -> None:
    with pytest.raises(ValueError, match=f"^This {estimator.__name__} estimator requires y to be passed, but the"):
        estimator().fit(X, None)
