"""LossCurveDisplay: what it draws, from which estimators, and scikit-learn's conventions of a Display."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier as ScikitLearnsClassifier

from fastmlp import LossCurveDisplay, MLPClassifier, TabularClassifier, Trainer

pyplot = pytest.importorskip("matplotlib.pyplot")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)


@pytest.fixture(autouse=True)
def close_figures() -> Any:
    """No window, and no figure that stays open."""
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def small(**settings: Any) -> MLPClassifier:
    return MLPClassifier(**{"hidden_layer_sizes": (8,), "max_iter": 8, "random_state": 0, **settings})


def test_training_and_validation_loss_with_the_best_epoch() -> None:
    classifier = small(early_stopping=True, learning_rate_init=0.5).fit(X, Y)
    display = LossCurveDisplay.from_estimator(classifier, linewidth=3)
    drawn = [line.get_ydata() for line in display.lines_]
    assert np.array_equal(drawn, [classifier.loss_curve_, classifier.validation_loss_curve_])
    assert all(np.array_equal(line.get_xdata(), np.arange(1, 9)) for line in display.lines_)
    assert {line.get_linewidth() for line in display.lines_} == {3}
    assert np.array_equal(display.score_line_.get_data(), [np.arange(1, 9), classifier.validation_scores_])
    best = int(np.argmax(classifier.validation_scores_)) + 1
    assert list(display.best_line_.get_xdata()) == [best, best]
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["Training", "Validation", f"Best validation score (epoch {best})"]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("Epoch", "Loss")
    ticks = display.score_line_.axes.get_yticklabels()
    assert {tick.get_color() for tick in ticks} == {display.score_line_.get_color()}, "whose axis is which"
    assert display.figure_ is display.ax_.figure


def test_the_epoch_that_an_estimator_of_tables_keeps() -> None:
    """The last of the best ones."""
    classifier = TabularClassifier(random_state=0, n_members=1).fit(X, Y)
    scores = classifier.validation_scores_
    assert scores.count(max(scores)) > 1
    display = LossCurveDisplay.from_estimator(classifier)
    assert display.best_epoch == classifier.best_epoch_ == len(scores) - int(np.argmax(scores[::-1]))


def test_scores_that_are_no_numbers() -> None:
    classifier = small(early_stopping=True, scoring=lambda *_: np.nan).fit(X, Y)
    assert np.isnan(classifier.validation_scores_).all()
    display = LossCurveDisplay.from_estimator(classifier)
    assert display.best_line_.get_label() == f"Best epoch ({np.argmin(classifier.loss_curve_) + 1})"


@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam"])
def test_training_loss_alone(solver: str) -> None:
    classifier = small(solver=solver).fit(X, Y)
    _, ax = pyplot.subplots()
    display = LossCurveDisplay.from_estimator(classifier, name="mine", ax=ax)
    assert display.ax_ is ax
    assert ax.get_title() == display.estimator_name == "mine"
    assert len(display.lines_) == 1
    assert display.best_epoch == int(np.argmin(classifier.loss_curve_)) + 1
    assert display.best_line_.get_label() == f"Best epoch ({display.best_epoch})"


def test_a_display_from_numbers() -> None:
    display = LossCurveDisplay(loss_curve=[3, 2, 1])
    assert display.plot(name="three") is display
    assert display.best_line_ is None
    assert display.ax_.get_title() == "three"
    display = LossCurveDisplay(loss_curve=[1], best_epoch=1, validation_scores=[0.5]).plot()
    assert display.best_line_.get_label() == "Best epoch (1)"
    (curve,) = display.lines_
    assert max(display.best_line_.get_linewidth(), display.score_line_.get_linewidth()) < curve.get_linewidth()


def test_a_single_epoch() -> None:
    assert LossCurveDisplay.from_estimator(small(max_iter=1).fit(X, Y)).best_epoch == 1


@pytest.mark.parametrize(("n_epochs", "distance"), [(1, 1), (3, 1), (5, 1), (12, 2), (30, 5), (60, 10), (250, 50)])
def test_ticks_are_whole_epochs(n_epochs: int, distance: int) -> None:
    """That are easily counted on from."""
    ax = LossCurveDisplay(loss_curve=np.ones(n_epochs)).plot().ax_
    ticks = [tick for tick in ax.get_xticks() if 1 <= tick <= n_epochs]
    assert ticks == [n for n in range(1, n_epochs + 1) if n % distance == 0]


def test_other_estimators() -> None:
    trainer = Trainer((8,), max_iter=3).fit(X, Y)
    theirs = ScikitLearnsClassifier((8,), max_iter=3).fit(X, Y)
    for estimator in (trainer, theirs):
        assert np.array_equal(LossCurveDisplay.from_estimator(estimator).lines_[0].get_ydata(), estimator.loss_curve_)
    assert LossCurveDisplay.from_estimator(theirs).best_epoch == int(np.argmin(theirs.loss_curve_)) + 1
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(small())
    with pytest.raises(ValueError, match="has no loss curve"):
        LossCurveDisplay.from_estimator(ScikitLearnsClassifier((8,), solver="lbfgs", max_iter=3).fit(X, Y))


def test_matplotlib_is_imported_when_something_is_drawn() -> None:
    code = "import sys, fastmlp; fastmlp.LossCurveDisplay; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
