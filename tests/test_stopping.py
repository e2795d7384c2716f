"""What ends a training, and what is said of how it has ended: at their boundaries."""

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from fastmlp import MLPClassifier, Trainer
from fastmlp._core import Network
from fastmlp.rows import Samples
from fastmlp.stopping import Divergence, EarlyStopping, Plateau, TargetLoss
from fastmlp.validation import Validation

X, Y = load_iris(return_X_y=True)


def plateau(**settings: Any) -> tuple[Plateau, list[str]]:
    told: list[str] = []
    defaults = {"learning_rate": "constant", "solver": "sgd", "tol": 0.25, "n_iter_no_change": 2}
    return Plateau(SimpleNamespace(**defaults | settings), told.append), told


def heard(listener: Plateau, losses: list[float], rate: float = 1.0) -> tuple[list[bool], Any]:
    """The answers to epochs of these losses, and the fit after them."""
    fit: Any = SimpleNamespace(best_loss=np.inf, no_improvement_count=0, rate=rate, last_loss=np.nan)
    answers = []
    for fit.last_loss in losses:
        answers.append(listener.epoch_ended(fit))
    return answers, fit


def test_a_plateau_is_more_epochs_than_allowed() -> None:
    """An epoch that is better by as much as tol has improved; the best loss need not be one of them."""
    listener, told = plateau()
    answers, fit = heard(listener, [4.0, 3.75, 3.625, 3.5, 3.25, 3.25, 3.125])
    assert answers == [False] * 7
    assert (fit.no_improvement_count, fit.best_loss) == (2, 3.125)
    assert told == []
    answers, fit = heard(listener, [4.0, 5.0, 3.875, 3.75])
    assert answers == [False, False, False, True]
    assert (fit.no_improvement_count, fit.best_loss) == (3, 3.75)
    assert told == ["Training loss did not improve more than tol=0.250000 for 2 consecutive epochs. Stopping."]


def test_a_rate_that_falls_on_a_plateau() -> None:
    listener, told = plateau(learning_rate="adaptive", n_iter_no_change=1)
    answers, fit = heard(listener, [4.0, 4.0, 4.0, 4.0], rate=5e-6)
    assert answers == [False] * 4
    assert (fit.no_improvement_count, fit.rate) == (1, 5e-6 / 5)
    story = "Training loss did not improve more than tol=0.250000 for 1 consecutive epochs. "
    assert told == [f"{story}Setting learning rate to 0.000001"]
    answers, fit = heard(listener, [4.0, 4.0, 4.0], rate=1e-6)
    assert answers == [False, False, True]
    assert told[1:] == [f"{story}Learning rate too small. Stopping."]


def test_a_target_is_reached_where_it_is_met() -> None:
    listener = TargetLoss(0.5)
    losses = (0.5 + 1e-9, 0.5, 0.25)
    assert [listener.epoch_ended(SimpleNamespace(last_loss=loss)) for loss in losses] == [False, True, True]  # type: ignore[arg-type]


def fit_of(n_units: tuple[int, ...], loss: str, last_loss: float = 0.0, **more: Any) -> Any:
    network = Network(n_units, "relu", loss, "float64")
    attributes = {
        "n_iter": 3,
        "no_improvement_count": 0,
        "remedy": "Do something.",
        "params": np.zeros(network.n_params),
    }
    return SimpleNamespace(network=network, last_loss=last_loss, **attributes | more)


@pytest.mark.parametrize(
    ("loss", "n_outputs", "y", "least"),
    [
        ("log_loss", 3, np.array([0, 1, 2]), 30.0),
        ("binary_log_loss", 1, np.array([0, 1]), 10.0),
        ("hinge", 4, np.array([0, 3]), 40.0),
        ("squared_error", 2, np.array([[4.0, 0.0], [4.0, 0.0]]), 40.0),
        ("squared_error", 1, np.array([[0.1], [0.2]]), 10.0),
        ("squared_error", 1, np.array([[2.0], [-1.0]]), 12.5),
        ("poisson", 1, np.array([[4], [4]], np.uint8), 80.0),
    ],
)
def test_a_loss_ten_times_that_of_guessing_diverges(loss: str, n_outputs: int, y: Any, least: float) -> None:
    """At most 1 for each output of a loss of classes; half the mean square of values, and 1 at least."""
    listener = Divergence(Samples(None, y, None), SimpleNamespace(n_iter_no_change=2), resumes=False)
    fit = fit_of((5, n_outputs), loss)
    for fit.last_loss, diverges in ((least, False), (np.nextafter(least, np.inf), True)):
        assert listener.sees(fit) == diverges


def test_calls_of_partial_fit_that_are_still_young_do_not_diverge() -> None:
    listener = Divergence(Samples(None, Y, None), SimpleNamespace(n_iter_no_change=2), resumes=True)
    counts = (0, 2, 3)
    assert [listener.sees(fit_of((4, 3), "log_loss", 1e9, no_improvement_count=n)) for n in counts] == [
        False,
        False,
        True,
    ]
    once = Divergence(Samples(None, Y, None), SimpleNamespace(n_iter_no_change=2), resumes=False)
    assert once.sees(fit_of((4, 3), "log_loss", 1e9))


@pytest.mark.parametrize(
    ("loss", "n_outputs", "y", "words"),
    [
        ("log_loss", 3, Y, "1.1"),
        ("squared_error", 1, np.full((600, 1), 4.0), "8"),
        ("squared_error", 2, np.full((3, 2), 4.0), "8"),
        ("squared_error", 1, np.array([[4.0], [0.0]]), "4"),
        ("squared_error", 1, np.repeat([2.0, 100.0], [2, 1]).repeat(256)[:, None], "1.7e+03"),
    ],
)
def test_what_is_said_of_a_divergence(loss: str, n_outputs: int, y: Any, words: str) -> None:
    rows = np.ones((len(y), 5))
    listener = Divergence(Samples(rows, y, None), SimpleNamespace(n_iter_no_change=2), resumes=False)
    with pytest.warns(ConvergenceWarning) as caught:
        listener.finished(fit_of((5, n_outputs), loss, 123456.7))
    assert str(caught[0].message) == (
        "Training diverges: the loss of epoch 3 is 123457, where a network that has learned nothing has "
        f"{words}. Do something."
    )
    with warnings.catch_warnings(action="error"):
        listener.finished(fit_of((5, n_outputs), loss, 1.0))


def test_scores_that_early_stopping_survives_with() -> None:
    """Those of this call alone, of which one at least is finite."""
    settings = SimpleNamespace(learning_rate="constant", solver="sgd", tol=0.0, n_iter_no_change=2)
    for before, since, survives in (
        ([0.5], [], False),
        ([], [np.nan], False),
        ([0.5], [0.4], True),
        (None, [0.4], True),
    ):
        fit: Any = SimpleNamespace(params=np.zeros(3), validation_scores=before, n_rows=7)
        entered: list[Any] = []
        fit.enter = lambda entries, n_rows, entered=entered: entered.append((list(entries), n_rows))
        fit.forget_gradients = lambda entered=entered: entered.append("forgotten")
        listener = EarlyStopping(settings, print, fit)
        fit.validation_scores = [*(before or []), *since]
        assert listener.survives(fit) == survives
        curves = ["loss_curve", "validation_scores", "validation_loss_curve"]
        assert entered == ([(curves, 7), "forgotten"] if survives else [])


def test_the_best_parameters_are_those_of_the_first_best_score() -> None:
    settings = SimpleNamespace(learning_rate="constant", solver="sgd", tol=0.125, n_iter_no_change=2)
    fit: Any = SimpleNamespace(params=np.zeros(1), validation_scores=[], best_validation_score=-np.inf)
    listener = EarlyStopping(settings, print, fit)
    improved = []
    for n, score in enumerate([0.5, 0.5, 0.625, 0.6875, 0.6875, np.nan], 1):
        fit.params = np.full(1, n)
        fit.validation_scores.append(score)
        improved.append(listener.improves(fit))
        fit.best_validation_score = max(fit.best_validation_score, score)
    assert improved == [True, False, True, False, False, False]
    assert fit.best_params == [4]


@pytest.mark.parametrize("first", [None, 0.5])
def test_validation_goes_on_where_it_was(first: float | None) -> None:
    fit: Any = SimpleNamespace(
        best_validation_score=first, validation_scores=[0.5, 0.7], validation_loss_curve=[1.0, 2.0]
    )
    listener = Validation(None, fit, Samples(None, Y, None), Y, None)
    assert fit.validation_scores == ([] if first is None else [0.5, 0.7])
    assert fit.best_validation_score == (-np.inf if first is None else first)
    for score, best in ((0.6, 0.6), (0.4, 0.6), (np.nan, 0.6), (0.7, 0.7)):
        fit.validation_scores = [0.9, score]
        assert listener.epoch_ended(fit) is False
        assert fit.best_validation_score == best


@pytest.mark.parametrize(("dtype", "weight"), [("float32", 1.0), ("float64", 1e10)])
def test_outputs_that_are_not_finite_have_no_score(dtype: str, weight: float) -> None:
    """Of values too large for the parameters, or for what they are multiplied by; on zeros no weight changes."""
    zeros = np.zeros((5, 2))
    model = Trainer((), "identity", loss="squared_error", dtype=dtype, max_iter=1, alpha=0.0, warm_start=True)
    model.initialize(zeros, zeros[:, 0])
    model.coefs_ = [np.full((2, 1), weight)]
    with warnings.catch_warnings(action="ignore"):
        model.fit(zeros, zeros[:, 0], X_val=zeros + 1e300, y_val=np.arange(5.0))
    assert np.isnan(model.validation_scores_[0])


@pytest.mark.parametrize("n_rows", [11, 20])
def test_early_stopping_validates_on_two_rows_at_least(n_rows: int) -> None:
    """A tenth of eleven is two, rounded up; of ten it is one."""
    stopping = Trainer((3,), early_stopping=True, max_iter=1, loss="squared_error")
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        stopping.fit(X[:n_rows], X[:n_rows, 0])
    assert stopping.t_ == n_rows - 2
    with pytest.raises(
        ValueError, match=r"^The validation set is too small\. Increase 'validation_fraction' or the size"
    ):
        stopping.fit(X[:10], X[:10, 0])


def test_a_fit_that_lbfgs_ends_is_not_warned_of_twice() -> None:
    settings: dict[str, Any] = {"hidden_layer_sizes": (3,), "solver": "lbfgs", "random_state": 0}
    with pytest.warns(ConvergenceWarning) as caught:
        MLPClassifier(**settings, max_iter=2).fit(X, Y)
    assert len(caught) == 1
    with warnings.catch_warnings(action="error"):
        MLPClassifier(**settings, alpha=10.0, max_iter=500).fit(X, Y)


@pytest.mark.parametrize("resumes", [False, True])
def test_rows_to_validate_on_of_another_scale_are_told_of_in_fit_alone(resumes: bool) -> None:
    model = MLPClassifier((3,), max_iter=1, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        if resumes:
            model.partial_fit(X, Y, classes=[0, 1, 2], X_val=100 * X, y_val=Y)
        else:
            model.fit(X, Y, X_val=100 * X, y_val=Y)
    assert sum("transform X_val as X was" in str(warning.message) for warning in caught) == (not resumes)
