"""The trainer's face: parameters, attributes, targets, state, and what it refuses."""

import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPClassifier
from sklearn.utils import get_tags

import fastmlp
from fastmlp import Trainer, _core, threads
from fastmlp._core import ACTIVATIONS, LOSSES, MAX_THREADS, Network, available_isas
from fastmlp.schedules import SCHEDULES
from fastmlp.targets import score

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_DIGITS, Y_DIGITS = load_digits(return_X_y=True)
X_DIGITS = X_DIGITS / 16


def small(**settings: Any) -> Trainer:
    return Trainer(**{"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0, **settings})


def targets_of(loss: str) -> np.ndarray:
    """Targets of the digits that suit a loss."""
    return Y_DIGITS if LOSSES[loss].threshold is not None else (Y_DIGITS + 1) / 10


def test_importing_the_package_leaves_scikit_learn_alone() -> None:
    code = "import sys, fastmlp; assert 'sklearn' not in sys.modules; fastmlp.Trainer; assert 'sklearn' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names() -> None:
    assert set(fastmlp.__all__) <= set(dir(fastmlp))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastmlp.nothing  # noqa: B018


def test_show_config(isa: str, capsys: pytest.CaptureFixture[str]) -> None:
    fastmlp.show_config()
    (n_cpus, reason), available = threads.usable_cpus(), _core.available_isas()
    slow = "" if isa == available[0] else f" (FASTMLP_ISA; the fastest available is {available[0]})"
    *lines, dtypes = capsys.readouterr().out.splitlines()
    assert lines == [
        f"fastmlp     {fastmlp.__version__}",
        f"ISA         {isa}{slow}",
        f"available   {', '.join(available)}",
        f"threads     up to {n_cpus} ({reason}); fewer for small steps; n_threads sets the number",
    ]
    assert dtypes.startswith("dtypes      float32 (4 bytes), float64 (8 bytes), bfloat16 (")


def test_show_config_tells_why_a_baseline_is_slow(
    isa: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_core, "available_isas", lambda: (isa,))
    fastmlp.show_config()
    why = " (the baseline, several times slower: this CPU or this build lacks x86-64-v3, that is AVX2 and FMA)"
    assert capsys.readouterr().out.splitlines()[1] == f"ISA         {isa}{why if isa == 'x86-64' else ''}"


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_learns_digits(loss: str, activation: str) -> None:
    y = targets_of(loss)
    trainer = Trainer((32,), activation, loss=loss, random_state=0, max_iter=30, learning_rate_init=0.01).fit(
        X_DIGITS, y
    )
    # Guessing scores 0.1 of the classes and an R² of 0; a line through the values reaches 0.6, one for relative errors
    # less.
    assert trainer.score(X_DIGITS, y) > (0.8 if LOSSES[loss].threshold is not None else 0.4)
    assert trainer.loss_ == trainer.loss_curve_[-1] < trainer.loss_curve_[0]
    assert trainer.out_activation_ == LOSSES[loss].output


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if LOSSES[loss].threshold is not None])
def test_class_numbers_are_one_hot_rows(loss: str) -> None:
    by_number = small(loss=loss).fit(X_DIGITS, Y_DIGITS)
    for one_hot in (
        np.eye(10, dtype=np.uint8),
        np.eye(10, dtype=np.float32),
        np.eye(10, dtype=bool),
        np.eye(10, dtype=int),
    ):
        by_row = small(loss=loss).fit(X_DIGITS, one_hot[Y_DIGITS])
        assert np.array_equal(by_row.coefs_[0], by_number.coefs_[0])
    assert by_row.score(X_DIGITS, Y_DIGITS) == by_number.score(X_DIGITS, Y_DIGITS)


def test_one_output_gives_a_vector() -> None:
    X, y = load_diabetes(return_X_y=True)
    trainer = small(loss="squared_error").fit(X, y)
    assert trainer.predict(X).shape == (len(X),)
    assert small(loss="squared_error").fit(X, np.c_[y, y]).predict(X).shape == (len(X), 2)
    assert trainer.score(X, y) <= 1


@pytest.mark.parametrize(
    ("X", "dtype", "computed"),
    [
        (np.ones((4, 2), np.float32), None, np.float32),
        (np.ones((4, 2), np.uint8), None, np.float32),
        (np.ones((4, 2), np.int32), None, np.float64),
        (np.ones((4, 2), np.float16), None, np.float64),
        (np.ones((4, 2), bool), None, np.float64),
        (np.ones((4, 2)), "float32", np.float32),
        (np.ones((4, 2), np.float32), np.float64, np.float64),
    ],
)
def test_dtype_of_the_parameters(X: np.ndarray, dtype: Any, computed: type) -> None:
    trainer = small(dtype=dtype).fit(X, [0, 1, 0, 1])
    assert {W.dtype for W in trainer.coefs_ + trainer.intercepts_} == {np.dtype(computed)}
    assert trainer.predict(X).dtype == computed


def test_rows_of_every_layout_give_the_same_bits() -> None:
    expected = small().fit(X_DIGITS, Y_DIGITS).coefs_[0]
    padded = np.zeros((len(X_DIGITS), 70))
    padded[:, :64] = X_DIGITS
    read_only = X_DIGITS.copy()
    read_only.flags.writeable = False
    for X in (
        padded[:, :64],
        np.asfortranarray(X_DIGITS),
        X_DIGITS[::-1].copy()[::-1],
        np.repeat(X_DIGITS, 2, axis=1)[:, ::2],
        X_DIGITS.astype(">f8"),
        X_DIGITS.tolist(),
        pd.DataFrame(X_DIGITS),
        read_only,
    ):
        assert np.array_equal(small().fit(X, Y_DIGITS).coefs_[0], expected)


@pytest.mark.parametrize(
    "convert", [scipy.sparse.csr_matrix, scipy.sparse.csr_array, scipy.sparse.csc_array, scipy.sparse.coo_array]
)
def test_sparse_rows_are_the_dense_rows(convert: Any) -> None:
    dense, sparse = small().fit(X_DIGITS, Y_DIGITS), small().fit(convert(X_DIGITS), Y_DIGITS)
    assert np.array_equal(sparse.coefs_[0], dense.coefs_[0])
    assert np.array_equal(sparse.predict(convert(X_DIGITS)), dense.predict(X_DIGITS))


def test_unsorted_and_repeated_sparse_entries_are_summed_in_a_copy() -> None:
    data, indices, indptr = np.array([1, 2, 3, 250, 250], np.uint8), np.array([2, 0, 1, 1, 1]), np.array([0, 2, 3, 5])
    X = scipy.sparse.csr_matrix((data, indices, indptr), shape=(3, 3))
    dense = np.array([[2, 0, 1], [0, 3, 0], [0, 500, 0]], np.float32)
    assert np.array_equal(small().fit(X, [0, 1, 2]).coefs_[0], small().fit(dense, [0, 1, 2]).coefs_[0])
    assert X.nnz == 5
    assert np.array_equal(X.indices, indices)


@pytest.mark.parametrize("part", ["data", "indices", "indptr"])
@pytest.mark.parametrize("step", [2, -1])
def test_sparse_rows_of_every_layout_give_the_same_bits(part: str, step: int) -> None:
    X = scipy.sparse.csr_matrix(X_DIGITS)
    trainer = small().fit(X, Y_DIGITS)
    array = getattr(X, part)
    room = np.full(abs(step) * len(array), 10**6, array.dtype)
    view = room[::step]
    view[:] = array
    setattr(X, part, view)
    assert not getattr(X, part).flags.c_contiguous
    assert np.array_equal(small().fit(X, Y_DIGITS).coefs_[0], trainer.coefs_[0])
    assert np.array_equal(trainer.predict(X), trainer.predict(X_DIGITS))


def test_score_needs_the_outputs_of_the_network() -> None:
    y = Y_DIGITS / 9
    trainer = small(loss="squared_error").fit(X_DIGITS, np.c_[y, y, y])
    with pytest.raises(ValueError, match="`y` has 1 columns, but the network has 3 outputs"):
        trainer.score(X_DIGITS, y)


def test_coefs_are_views_and_assignable() -> None:
    trainer = small().fit(X_DIGITS, Y_DIGITS)
    other = small(random_state=1).fit(X_DIGITS, Y_DIGITS)
    trainer.coefs_ = other.coefs_
    trainer.intercepts_[0] = other.intercepts_[0]
    trainer.intercepts_[1][:] = other.intercepts_[1]
    assert np.array_equal(trainer.predict(X_DIGITS), other.predict(X_DIGITS))
    assert [W.shape for W in trainer.coefs_] == [(64, 8), (8, 10)]
    with pytest.raises(ValueError, match="shapes"):
        trainer.coefs_ = other.coefs_[::-1]
    with pytest.raises(ValueError, match="shapes"):
        trainer.coefs_[0] = 0.0
    assert np.array_equal(trainer.predict(X_DIGITS), other.predict(X_DIGITS))


def test_unfitted() -> None:
    assert not hasattr(Trainer(), "coefs_")
    with pytest.raises(NotFittedError, match="not fitted yet"):
        Trainer().predict(X_DIGITS)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_epochs_one_by_one_are_the_epochs_of_one_fit(solver: str) -> None:
    """The optimizer's state survives partial_fit, warm_start and pickle."""
    settings = {"solver": solver, "shuffle": False}
    whole = small(max_iter=4, **settings).fit(X_DIGITS, Y_DIGITS)
    parts = small(max_iter=1, warm_start=True, **settings)
    parts.partial_fit(X_DIGITS, Y_DIGITS).partial_fit(X_DIGITS, Y_DIGITS)
    parts = pickle.loads(pickle.dumps(parts)).fit(X_DIGITS, Y_DIGITS).partial_fit(X_DIGITS, Y_DIGITS)
    assert np.array_equal(parts.coefs_[0], whole.coefs_[0])
    assert parts.t_ == whole.t_ == 4 * len(X_DIGITS)
    assert parts.loss_curve_ == whole.loss_curve_[2:]  # pickles leave out what partial_fit has added
    assert (parts.n_iter_, whole.n_iter_) == (1, 4)


def test_pickle_holds_no_data() -> None:
    few, many = small().fit(X_DIGITS[:100], Y_DIGITS[:100]), small().fit(X_DIGITS, Y_DIGITS)
    # Integers of other lengths; a row of the digits has 512 bytes.
    assert abs(len(pickle.dumps(few)) - len(pickle.dumps(many))) < 50


def test_tags_say_that_there_may_be_several_outputs() -> None:
    assert get_tags(Trainer()).target_tags.multi_output


def test_clone_is_unfitted() -> None:
    trainer = small(loss="hinge", n_threads=2, dtype="float32").fit(X_DIGITS, Y_DIGITS)
    assert clone(trainer).get_params() == trainer.get_params()
    assert not hasattr(clone(trainer), "coefs_")


def test_fit_anew_forgets() -> None:
    trainer = small().fit(X_DIGITS, Y_DIGITS)
    first = trainer.coefs_[0].copy()
    trainer.fit(X_DIGITS[:, :5], Y_DIGITS).fit(X_DIGITS, Y_DIGITS)
    assert np.array_equal(trainer.coefs_[0], first)
    assert trainer.n_features_in_ == 64


def test_another_optimizer_starts_from_fresh_state() -> None:
    trainer = small().partial_fit(X_DIGITS, Y_DIGITS)
    trainer.set_params(solver="sgd").partial_fit(X_DIGITS, Y_DIGITS)
    fresh = small(solver="sgd").partial_fit(X_DIGITS, Y_DIGITS)
    started = small().partial_fit(X_DIGITS, Y_DIGITS)
    fresh.coefs_, fresh.intercepts_ = started.coefs_, started.intercepts_
    fresh._fitted.fit.forget_gradients()
    fresh.partial_fit(X_DIGITS, Y_DIGITS)
    assert np.array_equal(trainer.coefs_[0], fresh.coefs_[0])


def test_what_the_scratch_holds_is_what_the_optimizer_knows() -> None:
    """One trainer keeps its scratch from call to call, the other one begins each call without."""
    kept, emptied = (small(hidden_layer_sizes=(70,), alpha=0.0) for _ in range(2))

    def diverge(trainer: Trainer) -> None:
        with pytest.raises(ValueError, match="non-finite"):
            trainer.set_params(warm_start=True, learning_rate_init=1e300).fit(X_DIGITS, Y_DIGITS)
        trainer.set_params(warm_start=False, learning_rate_init=0.001)

    def fail(trainer: Trainer) -> None:
        def stop(epoch: int) -> None:
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            trainer.set_params(warm_start=True).fit(X_DIGITS, Y_DIGITS, callbacks=[stop])
        trainer.set_params(warm_start=False)

    def assign(trainer: Trainer) -> None:
        trainer.coefs_ = [values / 2 for values in trainer.coefs_]
        trainer.intercepts_[0][:] += 1

    steps: list[Callable[[Trainer], Any]] = [
        lambda trainer: trainer.partial_fit(X_DIGITS, Y_DIGITS),
        lambda trainer: trainer.partial_fit(X_DIGITS[:3], Y_DIGITS[:3]),
        assign,
        diverge,
        fail,
        lambda trainer: trainer.set_params(solver="rmsprop").partial_fit(X_DIGITS[:9], Y_DIGITS[:9]),
        lambda trainer: trainer.set_params(solver="adam").partial_fit(X_DIGITS[:9], Y_DIGITS[:9]),
        lambda trainer: trainer._fitted.fit.forget_gradients(),
        lambda trainer: trainer.set_params(warm_start=True, max_iter=2).fit(X_DIGITS, Y_DIGITS),
    ]
    for step in steps:
        for trainer in (kept, emptied):
            step(trainer)
            trainer.partial_fit(X_DIGITS[:5], Y_DIGITS[:5])
        assert kept._fitted.fit.guard.scratch.slots is kept._fitted.fit.slots
        emptied._fitted.fit.guard.scratch = None
        for one, other in zip(kept.coefs_, emptied.coefs_, strict=True):
            assert np.array_equal(one, other)
        assert np.array_equal(kept._fitted.fit.slots, emptied._fitted.fit.slots)


@pytest.mark.skipif(len(available_isas()) < 2, reason="needs two instruction sets")
def test_the_scratch_of_another_instruction_set_holds_other_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, emptied = (small(hidden_layer_sizes=(100,)).partial_fit(X_DIGITS, Y_DIGITS) for _ in range(2))
    monkeypatch.setenv("FASTMLP_ISA", available_isas()[1])
    emptied._fitted.fit.guard.scratch = None
    for trainer in (kept, emptied):
        trainer.set_params(activation="tanh").partial_fit(X_DIGITS, Y_DIGITS)
    assert np.array_equal(kept.coefs_[0], emptied.coefs_[0])


def test_feature_names() -> None:
    frame = pd.DataFrame(X_DIGITS, columns=[f"pixel {i}" for i in range(64)])
    trainer = small().fit(frame, Y_DIGITS)
    assert list(trainer.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        trainer.predict(frame[frame.columns[::-1]])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_adaptive_alone_lowers_the_rate_on_a_plateau(schedule: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An improvement of tol=10 is out of reach: every epoch but the first is a plateau."""
    trainer = small(solver="sgd", learning_rate=schedule, tol=10, n_iter_no_change=1, max_iter=100, verbose=True)
    trainer.fit(X_DIGITS, Y_DIGITS)
    printed = capsys.readouterr().out
    assert printed.count("Iteration ") == trainer.n_iter_
    # 0.001 → 1.6e-6 → 3.2e-7 takes five divisions by 5 and a sixth plateau; a plateau is two epochs.
    assert printed.count("Setting learning rate") == (5 if schedule == "adaptive" else 0)
    assert trainer.n_iter_ == (13 if schedule == "adaptive" else 3)
    assert printed.rstrip().endswith("Stopping.")


def test_a_batch_larger_than_the_data_is_clipped() -> None:
    with pytest.warns(UserWarning, match="It is going to be clipped"):
        clipped = small(batch_size=5000).fit(X_DIGITS, Y_DIGITS)
    assert np.array_equal(clipped.coefs_[0], small(batch_size=len(X_DIGITS)).fit(X_DIGITS, Y_DIGITS).coefs_[0])


def test_shuffle_off_uses_the_rows_in_order() -> None:
    trainer = small(shuffle=False, batch_size=7).fit(X_DIGITS, Y_DIGITS)
    theirs = MLPClassifier((8,), shuffle=False, batch_size=7, max_iter=3, random_state=0).fit(X_DIGITS, Y_DIGITS)
    # Rounding of some 700 updates in float64, in another order of summation.
    np.testing.assert_allclose(trainer.coefs_[0], theirs.coefs_[0], rtol=0, atol=1e-9)


def test_sample_weights_repeat_rows() -> None:
    weights = np.arange(len(X_DIGITS)) % 3
    weighted = small(batch_size=len(X_DIGITS), alpha=0).fit(X_DIGITS, Y_DIGITS, sample_weight=weights)
    repeated = small(batch_size=weights.sum(), alpha=0).fit(
        np.repeat(X_DIGITS, weights, axis=0), np.repeat(Y_DIGITS, weights)
    )
    # Three full-batch updates in float64, in another order of summation.
    np.testing.assert_allclose(weighted.coefs_[0], repeated.coefs_[0], rtol=0, atol=1e-10)
    assert weighted.score(X_DIGITS, Y_DIGITS, weights) == pytest.approx(repeated.score(X_DIGITS, Y_DIGITS, weights))


def test_converges_or_warns() -> None:
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\) reached"):
        small().fit(X_DIGITS, Y_DIGITS)


def test_default_threads_grow_with_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cpus", lambda: (4, "for this test"))
    work = (1, 9.9e6, 10e6, 15e6, 20e6, 1e12)
    assert [threads.default_threads(flops) for flops in work] == [1, 1, 2, 3, 4, 4]


def test_default_threads_of_a_prediction_grow_with_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows x weights x 2; a few rows cost what reading the weights does."""
    monkeypatch.setattr(threads, "usable_cpus", lambda: (4, "for this test"))
    network = Network((1, 1000, 1000, 1), "relu", "squared_error", "float32")
    rows = np.zeros((100, 1), np.float32)
    work = (1, 14, 15, 39, 40, 100)
    assert [threads.prediction_threads(network, rows[:n]) for n in work] == [1, 1, 2, 2, 3, 4]
    large = Network((1, 2000, 2000, 1), "relu", "squared_error", "float32")
    assert [threads.prediction_threads(large, rows[:n]) for n in (1, 8)] == [2, 2]


@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"])
def test_threads_obey_the_environment(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    assert threads.usable_cpus()[0] == 1
    monkeypatch.setenv(variable, "nonsense")
    assert 1 <= threads.usable_cpus()[0] <= MAX_THREADS


@pytest.mark.parametrize(
    ("files", "n_cpus"),
    [
        ({"v2": "0::/a/b", "a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 2),
        ({"v1": "3:cpu,cpuacct:/a", "cpu/a/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_quota_us": "50000"}, 1),
        ({"none": "3:memory:/a\n0::/", "cpu.max": "max 100000"}, 64),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else None,
)
def test_threads_obey_the_control_group(
    files: dict[str, str], n_cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own, *files_of_groups) = files.items()
    for name, text in files_of_groups:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).with_name("cpu.cfs_period_us").write_text("100000")
    (tmp_path / "own").write_text(own[1])
    monkeypatch.setattr(threads, "CGROUPS", tmp_path)
    monkeypatch.setattr(threads, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 64)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda pid: range(64), raising=False)
    for variable in ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
        monkeypatch.delenv(variable, raising=False)
    assert threads.usable_cpus()[0] == n_cpus


def test_joblib_threads_share_the_cpus() -> None:
    from joblib import Parallel, delayed

    seen = Parallel(n_jobs=2, backend="threading")(delayed(threads.usable_cpus)() for _ in range(2))
    assert [n for n, _ in seen] == [1, 1]


def test_scoring_rows_without_the_first_class_is_no_advice() -> None:
    trainer = small().fit(X_DIGITS, Y_DIGITS)
    rows = Y_DIGITS > 0
    with warnings.catch_warnings(action="error"):
        trainer.score(X_DIGITS[rows], Y_DIGITS[rows])


def test_scoring_a_column_where_there_are_several_outputs_is_refused() -> None:
    one_hot = (Y_DIGITS[:, None] == np.arange(10)).astype(float)
    trainer = small(loss="binary_log_loss").fit(X_DIGITS, one_hot)
    with pytest.raises(ValueError, match=r"`y` has 1 columns, but the network has 10 outputs"):
        trainer.score(X_DIGITS, one_hot[:, :1])


def test_a_failure_after_the_only_step_keeps_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not half of it: the parameters have changed by then."""
    trainer, twin = (small(batch_size=10).partial_fit(X_DIGITS, Y_DIGITS) for _ in range(2))
    trainer.verbose = True
    with monkeypatch.context() as closed:
        closed.setattr("builtins.print", lambda message: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trainer.partial_fit(X_DIGITS[:10], Y_DIGITS[:10])
    twin.partial_fit(X_DIGITS[:10], Y_DIGITS[:10])
    trainer.verbose = False
    for model in (trainer, twin):
        model.partial_fit(X_DIGITS[10:20], Y_DIGITS[10:20])
    assert trainer.loss_curve_ == twin.loss_curve_
    assert trainer.t_ == twin.t_
    np.testing.assert_array_equal(trainer.coefs_[0], twin.coefs_[0])


def test_a_failure_of_a_mapped_estimator_is_reported_as_it_is() -> None:
    trainer = small(batch_size=10).fit(X_DIGITS, Y_DIGITS)
    before = trainer.coefs_[0].copy()
    for array in (trainer._fitted.fit.params, trainer._fitted.fit.slots):
        array.flags.writeable = False  # as joblib maps them
    trainer.scoring = lambda estimator, X, y: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer.partial_fit(X_DIGITS, Y_DIGITS, X_val=X_DIGITS, y_val=Y_DIGITS)
    np.testing.assert_array_equal(trainer.coefs_[0], before)


@pytest.mark.parametrize("loss", ["log_loss", "binary_log_loss"])
def test_a_class_that_the_first_call_did_not_see_is_refused(loss: str) -> None:
    X = np.eye(3)
    trainer = Trainer((4,), loss=loss, random_state=0).partial_fit(X, [0, 1, 1])
    with pytest.raises(ValueError, match=r"`y` has class 2\. Let the first call see every class"):
        trainer.partial_fit(X, [0, 1, 2])


def test_an_output_at_the_threshold_is_the_first_class() -> None:
    outputs = np.array([[0.5, 0.75], [0.25, 0.5]])
    assert score(np.array([[0, 1], [0, 0]]), outputs, "binary_log_loss", None) == 1
    assert score(np.array([0, 0]), outputs[:, :1], "binary_log_loss", None) == 1
