"""Warnings that say what to do: given where they should be, and nowhere else."""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPRegressor, TabularClassifier, Trainer, advice
from fastmlp.inspection import diagnose

ROOT = Path(__file__).resolve().parents[1]
RAW, CLASSES = load_wine(return_X_y=True)
X = StandardScaler().fit_transform(RAW)


def warned(estimator: Any, *data: Any, **more: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(*data, **more)
    return [str(each.message) for each in caught]


def test_a_loss_that_was_still_falling() -> None:
    model = MLPClassifier((10,), max_iter=8, random_state=0)
    (message,) = warned(model, X, CLASSES)
    before, last = model.loss_curve_[2], model.loss_
    assert message.startswith("Stochastic Optimizer: Maximum iterations (8) reached and the optimization hasn't")
    assert message.endswith(
        f"The loss was still falling, by {100 * (1 - last / before):.2g} % in the last 5 epochs: raise max_iter, or "
        "learning_rate_init."
    )
    assert "Raise max_iter." in warned(model.set_params(max_iter=1), X, CLASSES)[0]


def test_a_loss_that_no_longer_fell() -> None:
    said = advice.about_the_end([3.0, 1.0, 2.0, 1.0])
    assert said == "The loss was no longer falling: lower learning_rate_init, or let a schedule do so."
    said = advice.about_the_end([3.0, 1.0, 2.0, 1.0], has_schedule=True)
    assert said == "The loss was no longer falling: lower learning_rate_init."
    assert "by 50 % in the last epoch: raise" in advice.about_the_end([2.0, 1.0])


@pytest.mark.parametrize(
    ("loss_curve", "is_falling"),
    [
        ([2.0, 1.0], True),
        ([1.0, 1.0], False),
        ([1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 2.5], False),
        ([1.0, 3.0, 3.0, 3.0, 3.0, 3.0, 2.5], True),
        ([3.0, 3.0, 3.0, 2.0, 2.5], False),
        ([1.0], False),
    ],
)
def test_a_loss_is_falling_where_it_is_below_the_last_five(loss_curve: list[float], is_falling: bool) -> None:
    assert advice.is_falling(loss_curve) == is_falling


def test_how_far_a_loss_has_fallen() -> None:
    said = "The loss was still falling, by 60 % in the last 2 epochs: raise max_iter, or learning_rate_init."
    assert advice.about_the_end([2.5, 2.25, 1.0]) == said
    assert advice.about_the_end([-2.5, -2.75, -4.0]) == said


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "linear", "coslog", lambda at: 1 - at])
def test_a_schedule_that_ends_as_planned(schedule: Any) -> None:
    model = MLPClassifier((10,), max_iter=8, random_state=0, learning_rate=schedule)
    assert warned(model, X, CLASSES) == []
    (message,) = warned(model, X / 1000, CLASSES)
    assert message.startswith("All columns of X have values of the size of")
    if isinstance(schedule, str):
        assert [finding.kind for finding in diagnose(model.fit(X, CLASSES), X)] == []


@pytest.mark.parametrize("schedule", ["invscaling", "adaptive"])
def test_a_schedule_without_an_end(schedule: str) -> None:
    model = MLPClassifier((10,), max_iter=8, random_state=0, solver="sgd", learning_rate=schedule)
    (message,) = warned(model, X, CLASSES)
    assert "hasn't converged" in message
    assert "let a schedule" not in message


@pytest.mark.parametrize(
    ("estimator", "targets", "untrained"),
    [
        (MLPClassifier(), CLASSES, np.log(3)),
        (MLPClassifier(), CLASSES == 1, np.log(2)),
        (MLPClassifier(), np.eye(3)[CLASSES].astype(int), 3 * np.log(2)),
        (MLPClassifier(loss="hinge"), CLASSES, 3.0),
        (MLPRegressor(), CLASSES, np.mean(CLASSES**2) / 2),
        (MLPRegressor(), np.c_[CLASSES, 3 * CLASSES], 5 * np.mean(CLASSES**2) / 2),
        (MLPRegressor("absolute_error"), CLASSES, np.mean(CLASSES)),
    ],
)
def test_a_training_that_diverges_is_told_once(estimator: Any, targets: Any, untrained: float) -> None:
    estimator.set_params(hidden_layer_sizes=(), max_iter=3, random_state=0, solver="sgd", learning_rate_init=1e4)
    (message,) = warned(estimator, X, targets)
    assert message.startswith("Training diverges: the loss of epoch 3 is ")
    assert f"where a network that has learned nothing has {untrained:.2g}. The input" in message
    (message,) = warned(estimator, RAW, targets)
    assert "Training diverges" in message
    assert "Column 12 of X has values of the size of 810: scale X" in message


def test_inputs_that_are_not_scaled() -> None:
    with pytest.warns(ConvergenceWarning, match="Column 12 of X has values of the size of 810: scale X"):
        MLPClassifier((10,), max_iter=1, random_state=0, learning_rate_init=1e-6).fit(RAW, CLASSES)
    assert advice.about_inputs(X / 1000).startswith("All columns of X have values of the size of 0.00")
    for rows in (X, 10 * X, X / 10, np.zeros((3, 2)), (RAW > 13).astype(np.uint8), scipy.sparse.csr_array(RAW)):
        assert advice.about_inputs(rows) == ""
    for size, is_amiss in ((20.0, False), (20.5, True), (0.0505, False), (1 / 20, False), (0.0495, True)):
        assert (advice.about_inputs(np.full((3, 2), size)) != "") == is_amiss


def test_some_rows_are_looked_at() -> None:
    """All of a few; of many 256, the same distance apart."""
    assert advice.about_inputs(np.array([[0.0], [1000.0], [0.0]])) != ""
    every_second = np.resize([[0.0], [1000.0]], (512, 1))
    assert advice.about_inputs(every_second) == ""
    assert advice.about_inputs(every_second[::-1]) != ""


def test_validation_rows_that_are_not_scaled() -> None:
    model = MLPClassifier((10,), max_iter=1000, random_state=0)
    assert warned(model, X, CLASSES, X_val=X[:50], y_val=CLASSES[:50]) == []
    (message,) = warned(model, X, CLASSES, X_val=RAW[:50], y_val=CLASSES[:50])
    assert message.startswith("X has values of the size of 1, but X_val of ")
    assert "transform X_val as X was" in message
    assert advice.about_validation(np.zeros((3, 2)), np.zeros((3, 2))) == ""
    assert advice.about_validation(np.zeros((3, 2)), np.ones((3, 2))) != ""
    assert advice.about_validation(scipy.sparse.csr_array(X), RAW) == ""
    five = np.full((3, 2), 5.0)
    for rows, held_out in ((five, np.ones((3, 2))), (np.ones((3, 2)), five)):
        assert advice.about_validation(rows, held_out) == "", "up to this factor it may be chance"
    assert advice.about_validation(five, np.full((3, 2), 0.98)) != ""


def test_class_numbers_that_begin_at_1() -> None:
    trainer = Trainer((10,), max_iter=1000, random_state=0)
    assert warned(trainer, X, CLASSES) == []
    (message,) = warned(trainer, X, CLASSES + 1)
    assert message.startswith("y holds class numbers from 1 to 3: there is an output for class 0, too")
    assert warned(trainer, X, np.ones(len(X), int)) == []
    assert warned(MLPClassifier((10,), max_iter=1000, random_state=0), X, CLASSES + 1) == []


@pytest.mark.parametrize("sizes", [(64, 64), [8], 100])
def test_sizes_in_the_place_of_the_loss(sizes: Any) -> None:
    with pytest.raises(ValueError, match="The 'loss' parameter of MLPRegressor must be") as caught:
        MLPRegressor(sizes).fit(X, CLASSES)
    assert str(caught.value).endswith(f"did you mean hidden_layer_sizes={sizes!r}?")
    with pytest.raises(ValueError, match=r"Got 'nothing' instead\.$"):
        MLPRegressor("nothing").fit(X, CLASSES)


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor, Trainer])
def test_a_rate_in_the_place_of_the_schedule(estimator: Any) -> None:
    with pytest.raises(ValueError, match="The 'learning_rate' parameter of") as caught:
        estimator(learning_rate=0.01).fit(X, CLASSES)
    assert str(caught.value).endswith(" Did you mean learning_rate_init=0.01?")


def test_a_missing_compiler_is_named(tmp_path: Path) -> None:
    if sys.platform == "win32" or not (ROOT / "setup.py").exists():
        pytest.skip("needs the sources, and another system")
    pytest.importorskip("Cython")
    build = [sys.executable, "setup.py", "build_ext", "--build-temp", str(tmp_path), "--build-lib", str(tmp_path)]
    environment = {"PATH": "/nowhere", "CC": "no-such-compiler", "HOME": str(tmp_path)}
    found = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.returncode != 0
    assert "there is no 'no-such-compiler' on the PATH. Install gcc or clang" in found.stderr


@pytest.mark.parametrize("estimator", [MLPClassifier(), make_pipeline(TabularClassifier())])
def test_representation_links_to_the_site(estimator: Any) -> None:
    assert "https://fastmlp.readthedocs.io/en/stable/api/generated/fastmlp." in estimator._repr_html_()
