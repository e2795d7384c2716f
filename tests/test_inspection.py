"""What fastmlp.inspection finds in networks that are known to be right or wrong."""

import sys
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPRegressor, TabularRegressor, Trainer, _core
from fastmlp.inspection import (
    ActivationsDisplay,
    LearningRateDisplay,
    LossCurveDisplay,
    WeightsDisplay,
    check_gradients,
    diagnose,
    diagnosis,
    gradients,
    summary,
)
from fastmlp.inspection.activations import hidden_activations
from tests import reference

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RAW, CLASSES = load_wine(return_X_y=True)
X = StandardScaler().fit_transform(RAW)
VALUES = np.abs(X @ np.linspace(-1, 1, X.shape[1])) + 0.1
SMOOTH = sorted(set(_core.ACTIVATIONS) - {"relu", "leaky_relu", "elu", "selu"})


# -- gradients --


@pytest.mark.parametrize("activation", SMOOTH)
def test_gradients_are_right(activation: str) -> None:
    model = MLPClassifier((6, 4), activation=activation, alpha=0.1, l1_ratio=0.5, random_state=0)
    check = check_gradients(model, X, CLASSES)
    # Roundings of the loss, 1e-16, over twice the step, relative to gradients of 1e-6 at the least.
    assert check.max_error < 1e-4
    assert [array.name for array in check.arrays] == [
        f"{name}_[{layer}]" for layer in range(3) for name in ("coefs", "intercepts")
    ]
    assert [array.n_checked for array in check.arrays] == [50, 6, 24, 4, 12, 3]
    assert all(len({entry.index for entry in array.entries}) == len(array.entries) for array in check.arrays)
    assert len(check.arrays[0].entries) == 5, "the worst"
    assert not hasattr(model, "coefs_"), "the estimator is left as it was"


@pytest.mark.parametrize("loss", ["squared_error", "huber", "poisson", "gamma"])
def test_gradients_of_fitted_estimators(loss: str) -> None:
    model = MLPRegressor(loss, (5,), activation="tanh", max_iter=50, random_state=0, dtype="float32")
    model.fit(X, VALUES)
    before = [W.copy() for W in model.coefs_]
    assert check_gradients(model, X, VALUES).max_error < 1e-4
    assert all(map(np.array_equal, before, model.coefs_))
    trainer = Trainer((5,), activation="tanh", max_iter=50, random_state=0).fit(X, CLASSES)
    assert check_gradients(trainer, X, CLASSES, n_entries=3).arrays[0].n_checked == 3


def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = gradients._Loss.gradient

    def wrong(self: Any) -> Any:
        gradient = right(self)
        self.network.coefs(gradient)[1][2, 1] *= 1.5
        return gradient

    monkeypatch.setattr(gradients._Loss, "gradient", wrong)
    model = MLPClassifier((6,), activation="tanh", random_state=0)
    check = check_gradients(model, X, CLASSES)
    worst = max(check.arrays, key=lambda array: array.max_error)
    assert worst.name == "coefs_[1]"
    assert worst.entries[0].index == (2, 1)
    assert worst.max_error == pytest.approx(1 / 3, rel=1e-3)
    (line,) = [line for line in str(check).splitlines() if line.startswith("coefs_[1]")]
    assert "3.3e-01  [2, 1]" in line


def test_gradients_are_drawn_alike_until_told_otherwise() -> None:
    model = MLPClassifier((6,), activation="tanh", random_state=0)
    found = [check_gradients(model, X, CLASSES, n_entries=9, **more) for more in ({}, {"random_state": 0})]
    assert found[0] == found[1]
    assert check_gradients(model, X, CLASSES, n_entries=9, random_state=1) != found[0]


def test_gradients_of_other_estimators() -> None:
    with pytest.raises(TypeError, match="got LogisticRegression"):
        check_gradients(LogisticRegression(), X, CLASSES)


# -- summaries --


def test_summary() -> None:
    model = MLPClassifier((7, 5), activation=["tanh", "gelu"], max_iter=2, dtype="float32").fit(X, CLASSES)
    found = summary(model)
    assert [(layer.shape, layer.function) for layer in found.layers] == [
        ((13, 7), "tanh"),
        ((7, 5), "gelu"),
        ((5, 3), "softmax"),
    ]
    assert found.n_parameters == sum(a.size for a in [*model.coefs_, *model.intercepts_])
    assert found.n_bytes == 4 * found.n_parameters
    assert found.n_operations == 2 * sum(W.size for W in model.coefs_)
    assert str(found).splitlines() == [
        "MLPClassifier, float32",
        "Layer  Weights  Function  Parameters  Bytes  Operations a row",
        "-------------------------------------------------------------",
        "0      13 × 7   tanh              98    392               182",
        "1      7 × 5    gelu              40    160                70",
        "2      5 × 3    softmax           18     72                30",
        "-------------------------------------------------------------",
        "Sum                              156    624               282",
    ]
    assert found._repr_html_().count("<tr>") == 5
    table = TabularRegressor(n_members=2, random_state=0).fit(X[:60], VALUES[:60])
    found = summary(table)
    assert "2 networks" in str(found)
    of_members = [member.params for member in table._fitted.members]
    assert of_members[0].size > of_members[1].size  # which reads no ramps
    assert (found.n_parameters, found.n_bytes) == (sum(p.size for p in of_members), sum(p.nbytes for p in of_members))
    with pytest.raises(NotFittedError):
        summary(MLPClassifier())


# -- diagnosis --


def kinds(model: Any, rows: Any = X) -> list[str]:
    return [finding.kind for finding in diagnose(model, rows)]


def test_nothing_is_amiss() -> None:
    assert kinds(MLPClassifier((10,), max_iter=1000, random_state=0).fit(X, CLASSES)) == []


def test_dead_units() -> None:
    model = MLPClassifier((10, 6), max_iter=1000, random_state=0).fit(X, CLASSES)
    model.intercepts_[0][:2] = -1e6
    (finding,) = diagnose(model, X)
    assert str(finding).startswith("dead units: 2 of the 10 units of hidden layer 0 are 0 for all rows. Lower")
    model.intercepts_[1][:] = -1e6
    assert kinds(model) == ["dead units"] * 2


NEAR = "75 % of the outputs of hidden layer 4 ({}) are within {} of {} or 1."


@pytest.mark.parametrize(
    ("activation", "outputs", "what"),
    [
        ("relu", [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 1, 2, 3, 4, 5, 6, 7, 8, 0]], []),  # a tenth of the units
        ("relu", [[0, 0, 2], [0, 1, 2]], ["1 of the 3 units of hidden layer 4 are 0 for all rows."]),
        ("tanh", [[-0.999], [0.999], [-0.98], [0.98]], []),  # half, the others at the limit
        ("tanh", [[0.97], [0.9999], [-0.985], [-0.999]], [NEAR.format("tanh", 0.02, -1)]),
        ("logistic", [[0.005], [0.003], [0.991], [0.02]], [NEAR.format("logistic", 0.01, 0)]),
        ("elu", [[0.0], [0.0]], []),
    ],
)
def test_how_many_units_are_worth_a_word(activation: str, outputs: Any, what: list[str]) -> None:
    """More than a tenth that are dead, and more than half of the outputs near the ends of a sigmoid."""
    assert [finding.what for finding in diagnosis._of_layer(4, activation, np.array(outputs, float))] == what


def test_a_training_that_was_to_end_is_finished() -> None:
    """Its loss is still falling: after all epochs of a schedule, or where time or a target have ended it."""
    settings = {"hidden_layer_sizes": (10,), "random_state": 0}
    planned = MLPClassifier(**settings, max_iter=5, learning_rate="cosine").fit(X, CLASSES)
    ended = MLPClassifier(**settings, max_iter=9, target_loss=planned.loss_).fit(X, CLASSES)
    assert ended.n_iter_ < 9
    assert kinds(planned) == kinds(ended) == []


def test_only_fitted_networks_are_looked_at() -> None:
    with pytest.raises(NotFittedError, match="MLPClassifier instance is not fitted yet"):
        diagnose(MLPClassifier(), X)
    with pytest.raises(TypeError, match=r"^This takes an MLPClassifier, .*, got LogisticRegression\.$"):
        diagnose(LogisticRegression(), X)


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
def test_saturated_units(activation: str) -> None:
    model = MLPClassifier((10,), activation=activation, max_iter=1000, tol=0.01, random_state=0).fit(X, CLASSES)
    assert kinds(model) == []
    model.coefs_[0][:] *= 1000
    (finding,) = diagnose(model, X)
    assert finding.kind == "saturated units"
    assert "hidden layer 0" in finding.what


def test_unscaled_inputs_and_a_training_that_is_not_finished() -> None:
    model = MLPClassifier((10,), max_iter=1000, random_state=0).fit(X, CLASSES)
    assert "unscaled inputs" in kinds(model, RAW)
    assert "unscaled inputs" in kinds(model, X / 1000)
    model = MLPClassifier((10,), max_iter=5, random_state=0).fit(X, CLASSES)
    (finding,) = diagnose(model, X)
    assert finding.kind == "unfinished training"
    assert finding.remedy == "Raise max_iter, or learning_rate_init."


@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
def test_outputs_of_hidden_layers(activation: str) -> None:
    names = ["tanh", activation]
    model = Trainer((5, 4), activation=names, max_iter=3, random_state=0).fit(X, CLASSES)
    a = X
    for layer, (name, outputs) in enumerate(hidden_activations(model, X)):
        assert name == names[layer]
        a = reference.ACTIVATIONS[name].value(a @ model.coefs_[layer] + model.intercepts_[layer])
        np.testing.assert_allclose(outputs, a, rtol=1e-10, atol=1e-12)


# -- displays --


@pytest.fixture
def pyplot() -> Any:
    """No window, and no figure that stays open."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    yield pyplot
    pyplot.close("all")


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_learning_rates(solver: str, pyplot: Any) -> None:
    model = MLPClassifier((20,), solver=solver, max_iter=10, batch_size=16)
    display = LearningRateDisplay.from_estimator(model, X, CLASSES)
    assert len(display.losses) == 25
    losses = {rate: display.losses[i] for i, rate in enumerate(display.learning_rates)}
    assert losses[display.learning_rates[0]] == pytest.approx(display.initial_loss, rel=0.01)
    assert display.suggestion is not None
    assert losses[display.suggestion] < display.initial_loss
    assert all(losses[rate] >= losses[display.suggestion] for rate in losses if rate < display.suggestion)
    suggested = model.set_params(learning_rate_init=display.suggestion, random_state=0).fit(X, CLASSES)
    slow = MLPClassifier((20,), solver=solver, max_iter=10, batch_size=16, random_state=0, learning_rate_init=1e-4)
    assert suggested.loss_ < slow.fit(X, CLASSES).loss_ / 2
    assert display.ax_.get_xscale() == "log"
    assert display.learning_rates[[0, -1]] == pytest.approx([1e-5, 10])


@pytest.mark.parametrize(
    ("losses", "suggestion"), [([2, 3, 4], None), ([1.75, 1.5, 2.5], 0.01), ([1.76, 1.5, 2.5], 0.1)]
)
def test_the_smallest_rate_that_gives_half_of_the_greatest_fall(losses: list[float], suggestion: float | None) -> None:
    display = LearningRateDisplay(learning_rates=[0.01, 0.1, 1.0], losses=losses, initial_loss=2.0)
    assert display.suggestion == suggestion


def test_what_is_drawn_of_learning_rates(pyplot: Any) -> None:
    display = LearningRateDisplay(
        learning_rates=[0.01, 0.1, 1], losses=[1.75, 1.5, np.inf], initial_loss=2.0, estimator_name="mine"
    ).plot()
    curve, first, suggestion = display.ax_.lines
    assert curve.get_ydata().tolist() == [1.75, 1.5, 3], "as high as is worth looking at"
    assert curve.get_xdata().tolist() == [0.01, 0.1, 1]
    assert list(first.get_ydata()) == [2, 2]
    assert list(suggestion.get_xdata()) == [0.01, 0.01]
    assert max(first.get_linewidth(), suggestion.get_linewidth()) < curve.get_linewidth()
    assert words(display.ax_) == ["First weights", "Suggestion (0.01)", "Learning rate", "Loss", "mine"]
    assert display.plot(name="yours").ax_.get_title() == "yours"
    diverging = LearningRateDisplay(learning_rates=[1], losses=[np.inf], initial_loss=2.0).plot()
    assert words(diverging.ax_) == ["First weights", "Learning rate", "Loss", ""]


def words(ax: Any) -> list[str]:
    """The legend, the labels and the title."""
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    return [*legend, ax.get_xlabel(), ax.get_ylabel(), ax.get_title()]


def test_learning_rates_that_diverge_or_do_not_exist(pyplot: Any) -> None:
    model = MLPRegressor(hidden_layer_sizes=(20,), solver="sgd")
    display = LearningRateDisplay.from_estimator(model, RAW, VALUES, learning_rates=[1, 100, 1e200])
    assert np.isinf(display.losses[-1])
    assert display.suggestion is None
    with pytest.raises(ValueError, match="lbfgs"):
        LearningRateDisplay.from_estimator(model.set_params(solver="lbfgs"), X, VALUES)
    with pytest.raises(TypeError, match="LogisticRegression"):
        LearningRateDisplay.from_estimator(LogisticRegression(), X, VALUES)


RULES: list[dict[str, Any]] = [
    {"target_loss": 1e9},
    {"max_time": 1e-9},
    {"n_iter_no_change": 1, "tol": 1e9},
    {"learning_rate": "cosine", "warmup": 2},
    {"n_restarts": 2, "verbose": True},
    {"random_state": 0},
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_learning_rates_know_no_stopping_rules(
    rule: dict[str, Any], pyplot: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, ruled = (
        LearningRateDisplay.from_estimator(
            MLPClassifier((8,), batch_size=16, **more), X, CLASSES, learning_rates=[0.001, 0.01], n_epochs=5
        )
        for more in ({}, rule)
    )
    assert np.array_equal(ruled.losses, plain.losses)
    assert capsys.readouterr().out == ""


def test_losses_of_learning_rates_are_those_of_the_fit(pyplot: Any) -> None:
    Y = np.column_stack([VALUES, -VALUES, X[:, 0]])
    model = MLPRegressor(hidden_layer_sizes=(8,), max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that an epoch is not enough, above all
        display = LearningRateDisplay.from_estimator(model, X, Y, learning_rates=[0.001, 0.01])
    assert display.ax_.get_title() == "MLPRegressor"
    model.set_params(learning_rate_init=0.01).fit(X, Y, X_val=X, y_val=Y)
    assert display.losses[1] == model.validation_loss_curve_[0]
    other = LearningRateDisplay.from_estimator(model.set_params(random_state=1), X, Y, learning_rates=[1], name="mine")
    assert other.initial_loss != display.initial_loss
    assert other.ax_.get_title() == "mine"


def test_weights(pyplot: Any) -> None:
    X, y = load_digits(return_X_y=True)
    model = MLPClassifier((30,), max_iter=2, random_state=0).fit(X[:200] / 16, y[:200])
    display = WeightsDisplay.from_estimator(model, image_shape=(8, 8), n_units=6)
    drawn = [ax.images[0].get_array() for ax in display.axes_.flat if ax.images]
    strongest = np.sort(np.argsort(-np.square(model.coefs_[0]).sum(axis=0))[:6])
    assert np.array_equal(np.array(drawn).reshape(6, 64).T, model.coefs_[0][:, strongest])
    assert display.axes_.shape == (2, 3)
    assert not any(ax.axison for ax in display.axes_.flat)
    assert [ax.get_ylabel() for ax in display.figure_.axes if ax not in display.axes_] == ["Weight"]
    display = WeightsDisplay.from_estimator(model, layer=1)
    assert np.array_equal(display.axes_[0, 0].images[0].get_array(), model.coefs_[1])
    assert display.figure_.get_suptitle() == "MLPClassifier, coefs_[1]"
    assert (display.axes_[0, 0].get_xlabel(), display.axes_[0, 0].get_ylabel()) == ("Unit", "Input")
    assert display.axes_[0, 0].axison
    assert display.plot(name="mine").figure_.get_suptitle() == "mine"
    images = WeightsDisplay.from_estimator(model, image_shape=(8, 8), name="of the inputs")
    assert images.weights.shape == (64, 25)
    assert images.figure_.get_suptitle() == "of the inputs"
    five = WeightsDisplay.from_estimator(model, image_shape=(8, 8), n_units=5)
    assert sum(bool(ax.images) for ax in five.axes_.flat) == 5, "one place is left empty"
    with pytest.raises(NotFittedError):
        WeightsDisplay.from_estimator(MLPClassifier())


def test_activations(pyplot: Any) -> None:
    model = MLPClassifier((8, 6), max_iter=20, random_state=0).fit(X, CLASSES)
    _, ax = pyplot.subplots()
    display = ActivationsDisplay.from_estimator(model, X, ax=ax)
    assert display.ax_ is ax
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    zeros = [np.mean(outputs == 0) for _, outputs in hidden_activations(model, X)]
    assert labels == [f"Hidden layer {i}, relu, {100 * zeros[i]:.0f} % zeros" for i in range(2)]
    assert ax.get_title() == "MLPClassifier"
    assert ActivationsDisplay.from_estimator(model, X, name="mine").ax_.get_title() == "mine"
    with pytest.raises(ValueError, match="no hidden layers"):
        ActivationsDisplay.from_estimator(MLPClassifier((), max_iter=2).fit(X, CLASSES), X)


def test_what_is_drawn_of_activations(pyplot: Any) -> None:
    outputs = [np.array([[0.0, 0.0], [0.0, 2.0]]), np.array([[-1.0, 1.0]])]
    display = ActivationsDisplay(activations=outputs, names=["relu", "tanh"], estimator_name="mine").plot()
    first, second = (patch.get_data() for patch in display.ax_.patches)
    assert (first.edges[0], first.edges[-1]) == (-1, 2)
    assert (first.values[-1], first.values.sum()) == (1 / 4, 1 / 4), "zeros are no bar"
    assert (second.values[0], second.values.max(), second.values.sum()) == (1 / 2, 1 / 2, 1)
    labels = ["Hidden layer 0, relu, 75 % zeros", "Hidden layer 1, tanh"]
    assert words(display.ax_) == [*labels, "Output of a unit", "Share of the outputs", "mine"]
    assert display.plot(name="yours").ax_.get_title() == "yours"
    edges = ActivationsDisplay(activations=[np.ones((3, 2))], names=["relu"]).plot().ax_.patches[0].get_data().edges
    assert (edges[0], edges[-1]) == (0.5, 1.5), "there is something to see where all are the same"
    with pytest.raises(ValueError, match="shorter"):
        ActivationsDisplay(activations=outputs, names=["relu"]).plot()


def test_validation_scores_are_drawn(pyplot: Any) -> None:
    model = MLPClassifier((8,), max_iter=9, early_stopping=True, random_state=0).fit(X, CLASSES)
    display = LossCurveDisplay.from_estimator(model)
    assert np.array_equal(display.score_line_.get_ydata(), model.validation_scores_)
    assert display.score_line_.axes.get_ylabel() == "Validation score"
    assert LossCurveDisplay.from_estimator(MLPClassifier(max_iter=2).fit(X, CLASSES)).score_line_ is None


@pytest.mark.parametrize("name", ["LearningRateDisplay", "WeightsDisplay", "ActivationsDisplay", "LossCurveDisplay"])
def test_without_matplotlib(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    model = MLPClassifier((8,), max_iter=2, random_state=0).fit(X, CLASSES)
    data = {"LearningRateDisplay": (X, CLASSES), "ActivationsDisplay": (X,)}.get(name, ())
    message = rf'^{name} needs matplotlib: pip install "fastmlp\[plot\]"$'
    with pytest.raises(ImportError, match=message):
        globals()[name].from_estimator(model, *data)
