"""One training: what it keeps for the next call, when time is up, and what is drawn, counted and taken back."""

import pickle
import warnings
from dataclasses import FrozenInstanceError
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.utils import get_tags

from fastmlp import MLPClassifier, MLPRegressor, Trainer, base, classifier, fitting, memory
from fastmlp._core import MAX_THREADS, Training
from fastmlp.call import Asked
from fastmlp.classifier import Labels
from fastmlp.engine_settings import copy_of, optimizer_name
from fastmlp.fitted import Fitted
from fastmlp.schedules import SCHEDULES, Place

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)


def small(**settings: Any) -> Trainer:
    return Trainer(**{"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0, **settings})


def test_what_several_hold_cannot_be_changed() -> None:
    """A network that others read meanwhile is replaced, and the list of schedules is everybody's."""
    shared = [
        Fitted(None, 4, None),
        Labels(Y, "binary", False),
        SCHEDULES["constant"],
        Place(None, 0, 0, 0, 0, 0),
        Asked(),
    ]
    for each in shared:
        for name in vars(each):
            with pytest.raises(FrozenInstanceError):
                setattr(each, name, None)


@pytest.mark.parametrize(
    ("of_scratch", "of_copies", "kept"),
    [(2**31, 0, True), (2**30, 2**30, True), (2**30, 2**30 + 1, False), (None, 2**31, True)],
)
def test_two_gigabytes_are_kept_for_the_next_call(of_scratch: int | None, of_copies: int, kept: bool) -> None:
    fit: Any = small().partial_fit(X, Y)._fitted.fit
    for keeps_scratch in (True, False):
        fit.guard.scratch = None if of_scratch is None else SimpleNamespace(nbytes=of_scratch)
        fit._copies = {"params": SimpleNamespace(nbytes=of_copies)}
        fit.end(keeps_scratch)
        assert (fit.guard.scratch is not None) == (kept and keeps_scratch and of_scratch is not None)
        assert bool(fit._copies) == (kept and keeps_scratch)


def test_copies_are_made_in_the_memory_of_the_last_ones() -> None:
    """Of all parameters before several steps, of none before a single one; of another optimizer's state anew."""
    model = small(batch_size=50).partial_fit(X, Y).partial_fit(X, Y)
    fit: Any = model._fitted.fit
    before = fit._copies
    assert set(before) == {"params", "slots"}
    model.partial_fit(X, Y)
    assert all(fit._copies[name] is before[name] for name in before)
    model.set_params(solver="sgd").partial_fit(X, Y).partial_fit(X, Y)
    assert fit._copies["params"] is before["params"]
    assert fit._copies["slots"].shape == fit.slots.shape == (1, before["slots"].shape[1])
    model.set_params(batch_size=150).partial_fit(X, Y)
    assert fit._copies == {}


def test_steps_of_a_call_that_fails_are_taken_back() -> None:
    """Of a table longer than wide, of which the second batch cannot be learned."""
    y = np.r_[np.zeros(10), np.full(140, 1e200)]
    model = MLPRegressor(hidden_layer_sizes=(4,), batch_size=10, shuffle=False, random_state=0).partial_fit(X, Y)
    twin = pickle.loads(pickle.dumps(model))
    with pytest.raises(ValueError, match="non-finite"):
        model.partial_fit(X, y)
    assert np.array_equal(model.coefs_[0], twin.coefs_[0])
    assert np.array_equal(model.partial_fit(X, Y).coefs_[0], twin.partial_fit(X, Y).coefs_[0])


def test_the_generator_of_a_seed_is_seeded_again() -> None:
    model = small().partial_fit(X, Y)
    spare = model._fitted.fit.spare_generator if model._fitted else None
    model.partial_fit(X, Y).partial_fit(X, Y)
    fit: Any = model._fitted.fit
    assert isinstance(fit.spare_generator, np.random.RandomState)
    generator = fit.spare_generator
    model.partial_fit(X, Y)
    assert spare is None
    assert fit.spare_generator is generator


def test_a_call_within_a_call_is_refused() -> None:
    def again(estimator: Any) -> None:
        estimator.partial_fit(X, Y)

    with pytest.raises(RuntimeError, match=r"^This estimator is being fitted in another thread\. Fit a clone of it"):
        small().fit(X, Y, callbacks=[again])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_no_data_are_held_after_the_call(early_stopping: bool) -> None:
    model = small(early_stopping=early_stopping).fit(X, Y, X_val=X, y_val=Y)
    held = vars(model._fitted.fit)
    assert not held.keys() & {"samples", "settings", "remedy", "n_rows", "random_state"}
    assert held["_training"] is held["_order"] is held["best_params"] is None


@pytest.mark.parametrize(("first", "second"), [("adam", "sgd"), ("sgd", "adam"), ("adam", "lbfgs"), ("lbfgs", "adam")])
def test_another_optimizer_begins_at_its_first_step(first: str, second: str) -> None:
    settings: dict[str, Any] = {"shuffle": False, "warm_start": True}
    changed = small(solver=first, **settings).fit(X, Y).set_params(solver=second)
    fresh = small(solver=second, **settings).initialize(X, Y)
    fresh.coefs_, fresh.intercepts_ = changed.coefs_, changed.intercepts_
    assert np.array_equal(changed.fit(X, Y).coefs_[0], fresh.fit(X, Y).coefs_[0])
    fits: list[Any] = [changed._fitted.fit, fresh._fitted.fit]
    assert fits[0].slots.shape == fits[1].slots.shape == ({"adam": 2, "sgd": 1, "lbfgs": 0}[second], 4 * 5 + 5 * 3)
    assert fits[0].step == fits[1].step


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_gradients_that_are_forgotten(solver: str) -> None:
    model = small(solver=solver, shuffle=False).partial_fit(X, Y)
    fresh = small(solver=solver, shuffle=False).initialize(X, Y)
    fresh.coefs_, fresh.intercepts_ = model.coefs_, model.intercepts_
    model._fitted.fit.forget_gradients()
    assert np.array_equal(model.partial_fit(X, Y).coefs_[0], fresh.partial_fit(X, Y).coefs_[0])


@pytest.mark.parametrize("noise", [{"dropout": 0.5}, {"input_noise": 0.5}, {"dropout": 0.5, "input_noise": 0.5}])
def test_noise_has_a_seed_that_is_drawn_once(noise: dict[str, Any]) -> None:
    """After the weights, from 1 to 2**62; the same weights with another seed hear other noise."""
    generator = np.random.RandomState(7)
    generator.uniform(size=4 * 4 + 4 + 4 * 3 + 3)
    expected = generator.randint(1, 2**62, dtype=np.int64)
    model = small(**noise, random_state=7).partial_fit(X, Y)
    fit: Any = model._fitted.fit
    assert fit.seed == expected
    assert model.set_params(random_state=8).partial_fit(X, Y)._fitted.fit.seed == expected
    twins = [small(**noise, shuffle=False, warm_start=True).initialize(X, Y) for _ in range(3)]
    for twin, seed in zip(twins, (1, 1, 2), strict=True):
        twin._fitted.fit.seed = seed
        twin.fit(X, Y)
    assert twins[0].loss_curve_ == twins[1].loss_curve_ != twins[2].loss_curve_
    assert small().partial_fit(X, Y)._fitted.fit.seed == 0


class Hasty(Training):
    """Returns to Python as often as it can."""

    def run(self, order: Any = None, seconds: float = 0.1, rates: Any = None) -> Any:
        return super().run(order, 0.0, rates)


def test_time_is_up_after_it_not_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that strikes each time it is looked at: at the beginning, and after each step and each epoch."""
    ticks = count()
    monkeypatch.setattr(fitting, "perf_counter", lambda: next(ticks))
    by_epochs = small(max_time=2, max_iter=20, n_threads=1).fit(X, Y)
    assert by_epochs.n_iter_ == 3
    monkeypatch.setattr(fitting, "Training", Hasty)
    by_steps = small(max_time=2, max_iter=20, n_threads=1, batch_size=20).fit(X, Y)
    assert (by_steps.n_iter_, by_steps.t_) == (1, 60)


def test_time_does_not_cut_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch of several chunks, between which the engine may return."""
    monkeypatch.setattr(fitting, "Training", Hasty)
    many, classes = np.tile(X, (6, 1)), np.tile(Y, 6)
    cut = small(batch_size=600, n_threads=1, max_time=1e-9, shuffle=False).fit(many, classes)
    one_step = small(batch_size=600, shuffle=False).partial_fit(many[:600], classes[:600])
    assert np.array_equal(cut.coefs_[0], one_step.coefs_[0])
    assert (cut.t_, cut.loss_) == (600, one_step.loss_)


def test_a_batch_as_large_as_the_data_is_not_clipped() -> None:
    with warnings.catch_warnings(action="error", category=UserWarning):
        warnings.filterwarnings("ignore", "Stochastic Optimizer")
        small(batch_size=150).fit(X, Y)


def test_the_first_of_the_best_epochs_is_the_best() -> None:
    """Of losses and of scores; an epoch that is as good as the best has improved where tol is 0, as in scikit-learn."""
    settings: dict[str, Any] = {"warm_start": True, "max_iter": 9, "n_iter_no_change": 2, "alpha": 0.0}
    model = MLPRegressor(hidden_layer_sizes=(4,), tol=0.0, **settings).initialize(X, np.zeros(150))
    model.coefs_ = [0 * W for W in model.coefs_]
    model.intercepts_ = [0 * b for b in model.intercepts_]
    model.fit(X, np.zeros(150))
    assert model.loss_curve_ == [0.0] * 9
    assert (model.best_epoch_, model._no_improvement_count) == (1, 0)
    scored = small(**settings, scoring=lambda *_: 0.5, early_stopping=True, tol=0.0).fit(X, Y, X_val=X, y_val=Y)
    assert scored.validation_scores_ == [0.5] * 9
    assert (scored.best_epoch_, scored._no_improvement_count) == (1, 0)
    first = small(max_iter=1, alpha=0.0).fit(X, Y)
    assert np.array_equal(scored.coefs_[0], first.coefs_[0]), "whose parameters are kept"


def test_a_pickle_holds_nothing_of_calls() -> None:
    model = small().fit(X, Y)
    assert model._valid is not None, "hyper-parameters that need no second look"
    assert model.__getstate__().keys() - model.get_params().keys() <= {"_fitted", "_sklearn_version"}


@pytest.mark.parametrize(
    "changed", [{"activation": "tanh"}, {"huber_delta": 0.1, "loss": "huber"}, {"quantile": 0.9, "loss": "quantile"}]
)
def test_what_a_network_is_made_with_may_change_between_calls(changed: dict[str, Any]) -> None:
    """From the same weights it goes on as one that was made so."""
    settings: dict[str, Any] = {
        "hidden_layer_sizes": (4,),
        "shuffle": False,
        "loss": changed.get("loss", "squared_error"),
    }
    model, made_so, as_it_was = (
        MLPRegressor(**settings | each, random_state=0).partial_fit(X, X[:, 0]) for each in ({}, changed, {})
    )
    made_so.coefs_, made_so.intercepts_ = model.coefs_, model.intercepts_
    made_so._fitted.fit.forget_gradients(), model._fitted.fit.forget_gradients()
    model.set_params(**changed).partial_fit(X, X[:, 0]), made_so.partial_fit(X, X[:, 0])
    as_it_was.partial_fit(X, X[:, 0])
    assert np.array_equal(model.predict(X), made_so.predict(X))
    assert not np.array_equal(model.predict(X), as_it_was.predict(X))


def test_memory_of_lbfgs(monkeypatch: pytest.MonkeyPatch) -> None:
    """38 arrays of float64 beside the parameters, the minimiser's, and the gradient with what it is summed in."""
    monkeypatch.setattr(memory, "memory_limit", lambda: 0)
    with pytest.raises(MemoryError, match=r"^Unable to allocate 0\.\d+ GiB for the 1007001 parameters") as caught:
        MLPRegressor(hidden_layer_sizes=(1000, 1000), solver="lbfgs").fit(X[:1], X[:1, 0])
    arrays = float(str(caught.value).split()[3]) * 2**30 / (8 * 1007001)
    assert 40.5 < arrays < 41.4, "a few in a hundred are the panels' margins"


@pytest.mark.parametrize(("rate", "hint"), [(0.5, True), (2, True), (0.0, False), (-0.1, False), (True, False)])
def test_a_learning_rate_that_is_a_number(rate: Any, hint: bool) -> None:
    """Was meant to be `learning_rate_init`, if it may be one."""
    with pytest.raises(ValueError, match="'learning_rate' parameter") as caught:
        small(learning_rate=rate).fit(X, Y)
    assert str(caught.value).endswith(f"Did you mean learning_rate_init={rate!r}?") == hint


def test_a_prediction_looks_only_at_odd_numbers_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look at all hyper-parameters takes longer than to predict a row."""
    model = small().fit(X, Y)
    expected = model.predict(X)
    with monkeypatch.context() as unlooked:
        unlooked.setattr(base.BaseMLP, "_validate_params", lambda self: 1 / 0)
        for n_threads in (None, 1, 2, MAX_THREADS):
            assert np.array_equal(model.set_params(n_threads=n_threads).predict(X), expected)
    for n_threads in (0, -1, MAX_THREADS + 1, 2.0, True, "1"):
        if n_threads is True:
            assert np.array_equal(model.set_params(n_threads=n_threads).predict(X), expected)
            continue
        with pytest.raises(ValueError, match="'n_threads' parameter"):
            model.set_params(n_threads=n_threads).predict(X)


def test_tags_of_scikit_learn() -> None:
    for estimator in (Trainer(), MLPClassifier(), MLPRegressor()):
        tags = get_tags(estimator)
        assert tags.input_tags.sparse
        assert tags.target_tags.required
        is_classifier = isinstance(estimator, MLPClassifier)
        assert tags.classifier_tags.multi_label if is_classifier else tags.target_tags.multi_output


@pytest.mark.parametrize(
    ("momentum", "nesterov", "name"),
    [
        (0.0, True, "sgd"),
        (0.1, True, "sgd_nesterov"),
        (1.0, False, "sgd_momentum"),
    ],
)
def test_the_optimizer_that_momentum_asks_for(momentum: float, nesterov: bool, name: str) -> None:
    settings = SimpleNamespace(solver="sgd", momentum=momentum, nesterovs_momentum=nesterov)
    assert optimizer_name(settings) == name
    assert optimizer_name(SimpleNamespace(solver="adam", momentum=momentum)) == "adam"


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.PCG64])
def test_a_copy_of_a_generator_gives_the_same_numbers(bits: Any) -> None:
    generator = np.random.RandomState(bits(3))
    generator.normal()  # of a pair, whose other number is kept
    copy = copy_of(generator)
    assert np.array_equal(copy.normal(size=9), generator.normal(size=9))
    restarted = small(n_restarts=2, random_state=np.random.RandomState(bits(3))).fit(X, Y)
    assert restarted.loss_ <= small(random_state=np.random.RandomState(bits(3))).fit(X, Y).loss_


def test_a_matrix_of_labels_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn's binarizer, which takes longer than an epoch, is asked about what is none."""
    labels = np.c_[Y == 0, Y > 0, Y == 2].astype(int)
    model = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, labels)
    with pytest.raises(ValueError, match="mismatch with the labels"):
        model.partial_fit(X, labels[:, :2])
    with pytest.raises(ValueError, match="Multioutput target data"):
        model.partial_fit(X, labels + 0.5)
    monkeypatch.setattr(classifier, "_binarizer", lambda labels: 1 / 0)
    assert model.partial_fit(X, labels).t_ == 450


def test_rows_to_validate_on_may_lack_classes() -> None:
    model = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, Y, X_val=X[:20], y_val=Y[:20])
    assert set(Y[:20]) == {0}
    assert len(model.validation_scores_) == 2


def test_initialize_warns_of_nothing() -> None:
    with warnings.catch_warnings(action="error"):
        small().initialize(X, Y)


def test_class_numbers_from_1_are_advised_about() -> None:
    with pytest.warns(UserWarning, match=r"^y holds class numbers from 1 to 3: there is an output for class 0, too"):
        small().fit(X, Y + 1)
    with warnings.catch_warnings(action="error", category=UserWarning):
        warnings.filterwarnings("ignore", "Stochastic Optimizer")
        for y in (Y, Y + 2, Y * 0 + 1, np.eye(3)[Y]):
            small(loss="log_loss").fit(X, y)
