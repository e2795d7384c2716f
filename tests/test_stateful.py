"""Any calls in any order: an estimator is unfitted or consistent, and equals a twin that made the successful ones.

A refused, interrupted or failed call is made to the estimator alone, so that whatever it leaves behind shows. The suite
makes a few short runs, the same each time; `make stateful` makes FASTMLP_STATEFUL_RUNS of FASTMLP_STATEFUL_STEPS.
"""

import copy
import os
import pickle
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, Trainer

PACKAGE = str(Path(fastmlp.__file__).parent)
RUNS, STEPS = (int(os.environ.get(f"FASTMLP_STATEFUL_{name}", "0")) for name in ("RUNS", "STEPS"))
SETTINGS = settings(
    max_examples=RUNS or 120,
    stateful_step_count=STEPS or 25,
    derandomize=not RUNS,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


def _rows(seed: int, n_features: int, dtype: str = "float64") -> np.ndarray:
    return np.random.RandomState(seed).uniform(-1, 1, (24, n_features)).astype(dtype)


ROWS: dict[str, Any] = {
    "float64": _rows(0, 5),
    "float32": _rows(1, 5, "float32"),
    "CSR": scipy.sparse.csr_array(_rows(2, 5) * (_rows(3, 5) > 0)),
    "three columns": _rows(4, 3),
}
BAD_ROWS: dict[str, Any] = {
    "NaN": np.full((24, 5), np.nan),
    "one row less": _rows(0, 5)[:-1],
    "no rows": np.empty((0, 5)),
    "seven columns": _rows(5, 7),
    "text": np.full((24, 5), "a"),
    "None": None,
}
CLASSES = {2: np.arange(24) % 2, 3: np.arange(24) % 3}

VALID: dict[str, tuple[Any, ...]] = {
    "hidden_layer_sizes": ((4,), (6, 3), ()),
    "activation": ("relu", "tanh"),
    "solver": ("adam", "sgd"),
    "momentum": (0.9, 0.0),
    "batch_size": ("auto", 7),
    "learning_rate": ("constant", "invscaling", "adaptive"),
    "max_iter": (1, 3),
    "n_iter_no_change": (1, 10),
    "n_threads": (None, 1, 2),
    "dtype": (None, "float32"),
    "warm_start": (False, True),
    "random_state": (0, 1),
    "shuffle": (True, False),
}
VALID_OF_MLP: dict[str, tuple[Any, ...]] = {
    "solver": ("adam", "sgd", "lbfgs"),
    "early_stopping": (False, True),
    "validation_fraction": (0.25,),
    "scoring": (None, "loss"),
}
INVALID: dict[str, tuple[Any, ...]] = {
    "n_threads": (-1, 0, 257, 5000, 1.5),
    "activation": ("foo",),
    "hidden_layer_sizes": ((0,), "a", (2**40,)),
    "alpha": (-1.0,),
    "batch_size": (0,),
    "max_iter": (0,),
    "solver": ("foo",),
    "dtype": ("float16",),
}
REFUSED = (ValueError, TypeError, AttributeError, MemoryError)


@contextmanager
def interrupted_at(line: int) -> Iterator[list[int]]:
    """Raise KeyboardInterrupt when so many lines of the package have run; the list then holds something."""
    left, fired = line, []

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                fired.append(frame.f_lineno)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield fired
    finally:
        sys.settrace(before)


@contextmanager
def memory_ends_at(allocation: int) -> Iterator[None]:
    """Let NumPy's makers of arrays fail from the given call on."""
    left = allocation

    def failing(make: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left <= 0:
                raise MemoryError("simulated")
            return make(*arguments, **options)

        return made

    with pytest.MonkeyPatch.context() as patch:
        for name in ("empty", "empty_like", "zeros", "zeros_like"):
            patch.setattr(np, name, failing(getattr(np, name)))
        yield


def bits(value: Any) -> Any:
    """Something that is equal where every bit is."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, (list, tuple)):
        return list(map(bits, value))
    return repr(value)


def is_fitted(estimator: Any) -> bool:
    return hasattr(estimator, "coefs_")


def public_state(estimator: Any) -> dict[str, Any]:
    """The fitted attributes, and the predictions where the parameters allow any."""
    names = [name for name in dir(estimator) if name.endswith("_") and not name.startswith("_")]
    state = {name: bits(getattr(estimator, name)) for name in names if hasattr(estimator, name)}
    if is_fitted(estimator):
        with suppress(ValueError, TypeError):
            state["predict"] = bits(estimator.predict(_rows(9, estimator.n_features_in_)))
    return state


def curve_lengths(estimator: Any) -> tuple[int | None, ...]:
    """Entries of the curves of training loss, validation scores and validation losses; None where there is none."""
    curves = (
        getattr(estimator, name, None) for name in ("loss_curve_", "validation_scores_", "validation_loss_curve_")
    )
    return tuple(None if curve is None else len(curve) for curve in curves)


class AnyOrder(RuleBasedStateMachine):
    """An estimator and its twin."""

    @initialize(make=st.sampled_from([MLPClassifier, MLPRegressor, Trainer]), n_classes=st.sampled_from([2, 3]))
    def begin(self, make: Callable[..., Any], n_classes: int) -> None:
        self.estimator, self.twin = (make(hidden_layer_sizes=(4,), max_iter=2, random_state=0) for _ in range(2))
        self.valid = VALID if make is Trainer else VALID | VALID_OF_MLP
        self.n_classes = n_classes
        self.invalid: set[str] = set()
        self.all_validated = False

    # -- what is called --

    def targets(self) -> np.ndarray:
        if isinstance(self.estimator, MLPRegressor):
            return ROWS["float64"][:, : self.n_classes - 1]
        return CLASSES[self.n_classes]

    def arguments(self, method: str, rows: Any, validate: bool = False, weigh: bool = False) -> dict[str, Any]:
        if method.startswith("predict"):
            return {"X": rows}
        arguments = {"X": rows, "y": self.targets()}
        if weigh:
            arguments["sample_weight"] = np.arange(24) % 4 / 2
        if method == "fit" and validate and not isinstance(self.estimator, Trainer):
            arguments |= {"X_val": rows, "y_val": self.targets()}
        if method == "partial_fit" and isinstance(self.estimator, MLPClassifier):
            arguments["classes"] = np.arange(self.n_classes)
        return arguments

    def call(self, method: str, arguments: dict[str, Any]) -> bool:
        """Call the method; the twin's too, which must succeed, unless it is refused. Return whether it was not."""
        was_fitted, warm = is_fitted(self.estimator), self.estimator.warm_start
        try:
            answer = getattr(self.estimator, method)(**arguments)
        except REFUSED:
            return False
        expected = getattr(self.twin, method)(**arguments)
        if method == "predict":
            assert bits(answer) == bits(expected)
        else:
            self.note_curves(method, arguments, was_fitted and (warm or method == "partial_fit"))
        return True

    def note_curves(self, method: str, arguments: dict[str, Any], goes_on: bool) -> None:
        validates = "X_val" in arguments or (
            method == "fit" and getattr(self.estimator, "early_stopping", False) and self.estimator.solver != "lbfgs"
        )
        self.all_validated = validates and (self.all_validated or not goes_on)

    def meet_again(self) -> None:
        """After a call whose effect no twin can repeat. Copies on both sides: they keep only the curve of fit."""
        self.twin = copy.deepcopy(self.estimator)
        self.estimator = copy.deepcopy(self.estimator)

    # -- the steps --

    @rule(
        method=st.sampled_from(["fit", "partial_fit", "predict"]),
        rows=st.sampled_from(sorted(ROWS)),
        validate=st.booleans(),
        weigh=st.booleans(),
    )
    def use(self, method: str, rows: str, validate: bool, weigh: bool) -> None:
        self.call(method, self.arguments(method, ROWS[rows], validate, weigh))

    @rule(method=st.sampled_from(["fit", "partial_fit", "predict"]), rows=st.sampled_from(sorted(BAD_ROWS)))
    def use_bad_rows(self, method: str, rows: str) -> None:
        if rows in ("one row less", "seven columns"):  # neither is bad in itself
            self.call(method, self.arguments(method, BAD_ROWS[rows]))
        else:
            with pytest.raises(REFUSED):
                getattr(self.estimator, method)(**self.arguments(method, BAD_ROWS[rows]))

    @rule(data=st.data())
    def set_valid(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.valid)))
        value = data.draw(st.sampled_from(self.valid[name]))
        self.invalid.discard(name)
        for each in (self.estimator, self.twin):
            each.set_params(**{name: value})

    @rule(data=st.data())
    def set_invalid(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(INVALID)))
        value = data.draw(st.sampled_from(INVALID[name]))
        self.invalid.add(name)
        for each in (self.estimator, self.twin):
            each.set_params(**{name: value})

    @rule()
    def set_all_valid(self) -> None:
        for name in sorted(self.invalid):
            for each in (self.estimator, self.twin):
                each.set_params(**{name: VALID[name][0] if name in VALID else 1e-4})
        self.invalid.clear()

    @rule(how=st.sampled_from(["save", "pickle", "copy", "deepcopy"]))
    def replace_by_a_copy(self, how: str) -> None:
        if how == "save" and (self.invalid or not is_fitted(self.estimator)):
            return
        before = public_state(self.estimator)
        self.estimator, self.twin = self.copied(how), pickle.loads(pickle.dumps(self.twin))
        after = public_state(self.estimator)
        for state in (before, after):
            state.pop("loss_curve_", None)  # of which a pickle keeps what fit has written
        assert after == before

    def copied(self, how: str) -> Any:
        if how == "save":
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model"
                self.estimator.save(path)
                return fastmlp.load(path)
        if how == "pickle":
            return pickle.loads(pickle.dumps(self.estimator))
        return copy.copy(self.estimator) if how == "copy" else copy.deepcopy(self.estimator)

    @rule()
    def clone(self) -> None:
        self.estimator, self.twin = clone(self.estimator), clone(self.twin)
        assert not is_fitted(self.estimator)

    @precondition(lambda self: is_fitted(self.estimator))
    @rule(shape=st.sampled_from(["right", "wrong"]))
    def assign(self, shape: str) -> None:
        values = [W * 0.5 for W in self.estimator.coefs_]
        if shape == "wrong":
            values[-1] = values[-1][:-1]
            with pytest.raises(ValueError, match="shapes"):
                self.estimator.coefs_ = values
        else:
            for each in (self.estimator, self.twin):
                each.coefs_ = values

    @rule(
        method=st.sampled_from(["fit", "partial_fit", "predict"]),
        rows=st.sampled_from(sorted(ROWS)),
        validate=st.booleans(),
        line=st.integers(1, 1500),
    )
    def interrupt(self, method: str, rows: str, validate: bool, line: int) -> None:
        arguments = self.arguments(method, ROWS[rows], validate)
        before, goes_on = public_state(self.estimator), self.goes_on(method)
        try:
            with interrupted_at(line) as fired:
                getattr(self.estimator, method)(**arguments)
        except REFUSED:
            return
        except KeyboardInterrupt:
            pass
        if not fired:
            getattr(self.twin, method)(**arguments)
        if public_state(self.estimator) != before or not fired:
            if method != "predict":
                self.note_curves(method, arguments, goes_on)
            if fired:
                assert method != "predict"
                self.meet_again()

    def goes_on(self, method: str) -> bool:
        return is_fitted(self.estimator) and (self.estimator.warm_start or method == "partial_fit")

    @rule(
        method=st.sampled_from(["fit", "partial_fit", "predict"]),
        rows=st.sampled_from(sorted(ROWS)),
        validate=st.booleans(),
        allocation=st.integers(1, 60),
    )
    def run_out_of_memory(self, method: str, rows: str, validate: bool, allocation: int) -> None:
        arguments, goes_on = self.arguments(method, ROWS[rows], validate), self.goes_on(method)
        try:
            with memory_ends_at(allocation):
                getattr(self.estimator, method)(**arguments)
        except REFUSED:
            return
        getattr(self.twin, method)(**arguments)
        if method != "predict":
            self.note_curves(method, arguments, goes_on)

    # -- what holds after each --

    @invariant()
    def equals_its_twin(self) -> None:
        assert public_state(self.estimator) == public_state(self.twin)

    @invariant()
    def is_unfitted_or_consistent(self) -> None:
        if not is_fitted(self.estimator):
            with pytest.raises((NotFittedError, ValueError, TypeError)):  # or a parameter is refused first
                self.estimator.predict(ROWS["float64"])
            assert not any(hasattr(self.estimator, name) for name in ("intercepts_", "loss_curve_", "n_features_in_"))
            return
        self.check_shapes()
        self.check_curves()
        self.check_methods()

    def check_shapes(self) -> None:
        each = self.estimator
        units = [each.n_features_in_, *(len(b) for b in each.intercepts_)]
        assert [W.shape for W in each.coefs_] == list(pairwise(units))
        assert (each.n_layers_, each.n_outputs_) == (len(units), units[-1])
        assert all(np.isfinite(array).all() for array in [*each.coefs_, *each.intercepts_])

    def check_curves(self) -> None:
        n_epochs, *n_validations = curve_lengths(self.estimator)
        assert len({*n_validations}) == 1
        if self.all_validated:
            assert n_validations[0] in (None, n_epochs)
        else:
            assert (n_validations[0] or 0) <= n_epochs

    def check_methods(self) -> None:
        rows = _rows(9, self.estimator.n_features_in_)
        for method in ("predict", "predict_proba", "predict_log_proba"):
            if hasattr(self.estimator, method):
                try:
                    outputs = getattr(self.estimator, method)(rows)
                except (ValueError, TypeError) as error:
                    if not any(name in str(error) for name in self.invalid):
                        raise
                else:
                    assert len(outputs) == len(rows)

    def teardown(self) -> None:
        """What cannot be seen, the optimizer's state among it, shows in the next epoch."""
        if hasattr(self, "estimator") and is_fitted(self.estimator):
            self.set_all_valid()
            rows = _rows(9, self.estimator.n_features_in_)
            if self.call("partial_fit", self.arguments("partial_fit", rows)):
                self.equals_its_twin()


class TestAnyOrder(AnyOrder.TestCase):  # type: ignore[misc]  # made by hypothesis
    """The machine as pytest collects it."""

    settings = SETTINGS

    @pytest.fixture(autouse=True)
    def _quiet(self) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("solver", "before"), [("adam", "fitted"), ("lbfgs", "unfitted")])
def test_interrupted_at_any_line(solver: str, before: str) -> None:
    """Of a fit with validation: what stays, if anything, predicts, and its curves have equal lengths."""
    validation = {"X_val": ROWS["float64"], "y_val": CLASSES[2]}
    line, fired = 0, [0]
    while fired:
        line += 1
        estimator = MLPClassifier((3,), solver=solver, max_iter=2, random_state=0)
        if before == "fitted":
            estimator.fit(ROWS["three columns"], CLASSES[3], X_val=ROWS["three columns"], y_val=CLASSES[3])
        with suppress(KeyboardInterrupt), interrupted_at(line) as fired:
            estimator.fit(ROWS["float64"], CLASSES[2], **validation)
        if is_fitted(estimator):
            lengths = {length for length in curve_lengths(estimator) if length is not None}
            assert len(lengths) == 1, f"line {fired}: {curve_lengths(estimator)}"
            assert np.isfinite(estimator.predict_proba(_rows(9, estimator.n_features_in_))).all(), f"line {fired}"
    assert line > 50, "no line was interrupted"
