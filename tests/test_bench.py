"""The benchmark: both sides train the same network, runs that end apart are reported, the README is rewritten."""

import json
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

from bench import accuracy, report, tables, tables_report
from bench.accuracy import lines, race
from bench.compare import slower_rows
from bench.engines import ENGINES
from bench.measure import Outcome, Workers, disagreement, measure
from bench.report import rewrite_readme
from bench.roofline import PRODUCTS, flops, table
from bench.rows import NETWORKS, REAL, RECIPE, RIVALS, rows
from bench.worker import settle
from bench.workloads import Row, Run, Workload
from fastmlp import _core
from fastmlp.cli import numpy_training
from fastmlp.cli.numpy_training import NumpyTraining

TINY = Workload((5, 4, 3), 8, n_rows=50, activation="tanh", learning_rate=0.1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("loss", numpy_training.LOSSES)
@pytest.mark.parametrize("activation", numpy_training.ACTIVATIONS)
def test_numpy_trains_as_scikit_learn_does(activation: str, loss: str, batch_size: int, momentum: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((101, 6))
    classifies = loss == "log_loss"
    y = rng.integers(0, 3, 101) if classifies else rng.standard_normal((101, 2))
    settings: dict[str, Any] = {"activation": activation, "solver": "sgd", "alpha": 0, "batch_size": batch_size}
    settings |= {"momentum": momentum, "nesterovs_momentum": False, "shuffle": False, "random_state": 0}
    model = MLPClassifier if classifies else MLPRegressor
    # A learning rate that changes nothing leaves the initial weights.
    initial = model(hidden_layer_sizes=(7, 5), learning_rate_init=1e-300, max_iter=1, **settings).fit(X, y)
    theirs = model(hidden_layer_sizes=(7, 5), learning_rate_init=0.01, max_iter=3, **settings).fit(X, y)
    ours = NumpyTraining(initial.coefs_, initial.intercepts_, activation, loss, X, y, batch_size, 0.01, momentum)
    losses = [ours.epoch(np.arange(101)) for _ in range(3)]
    # Rounding of float64 over some hundred steps.
    np.testing.assert_allclose(losses, theirs.loss_curve_, rtol=1e-11)
    for mine, their in zip(ours.coefs + ours.intercepts, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, their, rtol=0, atol=1e-11)


def test_numpy_training_refuses_what_it_does_not_know() -> None:
    coefs, intercepts = TINY.initial()
    with pytest.raises(ValueError, match=r"relu.*'hinge'"):
        NumpyTraining(coefs, intercepts, "relu", "hinge", *TINY.data(), 8, 0.1)


def test_both_sides_train_the_same_network() -> None:
    runs = {"fastmlp": Run("fastmlp", TINY), "numpy": Run("numpy", TINY), "again": Run("fastmlp", TINY, n_threads=2)}
    with Workers() as workers:
        result = measure(Row("tiny", "one thread", runs), workers, n_cpus=1, seconds=0, rounds=2)
        with pytest.raises(RuntimeError, match="KeyError"):
            workers.of(runs["numpy"]).ask("turn", "no such label")
    assert result["error"] == ""
    assert result["ratios"].keys() == {"numpy", "again"}
    assert all(run["turns"] == 2 and run["microseconds"] > 0 for run in result["runs"].values())
    first = next(iter(result["runs"].values()))
    assert first["percent"] == pytest.approx(100 * first["gflops"] / result["fma_peak"])


@pytest.mark.parametrize("optimizer", ["sgd", "sgd_momentum", "adam"])
@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
def test_every_installed_engine_trains_the_same_network(loss: str, optimizer: str) -> None:
    n_units = (5, 4, 3) if loss == "log_loss" else (13, 4, 1)
    source = "" if loss == "log_loss" else "california"
    # 50 rows are no multiple of 8: the last batch is shorter.
    workload = replace(TINY, n_units=n_units, loss=loss, optimizer=optimizer, source=source, n_epochs=3)
    able = {
        name: each for name, each in ENGINES.items() if each.can(workload) and not (each.compiles or each.precision)
    }
    runs = {name: Run(name, workload) for name in able if ENGINES[name].is_installed() and not ENGINES[name].needs_isa}
    assert {"fastmlp", "scikit-learn"} <= runs.keys()
    with Workers() as workers:
        result = measure(Row("tiny", "one thread", runs), workers, n_cpus=1, seconds=0, rounds=1)
    assert result["error"] == ""
    assert result["runs"].keys() == runs.keys()


def test_the_recipe_is_pytorchs() -> None:
    """But for dropout, whose units are drawn elsewhere."""
    if not ENGINES["torch"].is_installed():
        pytest.skip("needs torch")
    settings = (("weight_decay", 1.0), ("clip_norm", 0.1), ("learning_rate", "cosine"))
    assert {name for name, _ in RECIPE} == {"dropout", *dict(settings)}
    workload = replace(TINY, optimizer="adam", activation="gelu", n_epochs=3, learning_rate=0.01, settings=settings)
    with Workers() as workers:
        runs = {"fastmlp": Run("fastmlp", workload), "torch": Run("torch", workload)}
        losses = {name: workers.of(run).ask("prepare", name, name, workload, 1) for name, run in runs.items()}
        losses = {name: workers.of(run).ask("turn", name)[2] for name, run in runs.items()}
    # PyTorch adds Adam's epsilon elsewhere; without decay, clipping or schedule the losses differ by more than 1e-4.
    assert losses["fastmlp"] == pytest.approx(losses["torch"], rel=1e-5)


@pytest.mark.parametrize("name", [name for name, each in ENGINES.items() if each.compiles and not each.precision])
def test_engines_that_compile_train_the_same_network(name: str) -> None:
    if not ENGINES[name].is_installed():
        pytest.skip(f"needs {', '.join(ENGINES[name].packages)}")
    workload = replace(TINY, optimizer="sgd_momentum")
    runs = {"fastmlp": Run("fastmlp", workload), name: Run(name, workload)}
    with Workers() as workers:
        result = measure(Row("tiny", "one thread", runs), workers, n_cpus=1, seconds=0, rounds=1)
    assert result["error"] == ""
    assert name in result["runs"]


def test_an_engine_that_cannot_start_leaves_the_others() -> None:
    workload = replace(TINY, optimizer="adam", activation="relu")
    runs = {name: Run(name, workload) for name in ("fastmlp", "scikit-learn")}
    runs["numpy"] = Run("numpy", replace(workload, activation="no such activation"))
    with Workers() as workers:
        result = measure(Row("tiny", "one thread", runs), workers, n_cpus=1, seconds=0, rounds=1)
    assert result["runs"].keys() == {"fastmlp", "scikit-learn"}
    assert "no such activation" in result["error"]


def test_rows_are_named_apart_and_ask_only_for_what_engines_can() -> None:
    every = list(rows(2, "x86-64-v4"))
    names = [row.name for row in every]
    assert len(set(names)) == len(names)
    assert {workload for workload, _ in NETWORKS} | set(REAL) <= {
        run.workload for row in every for run in row.runs.values()
    }
    assert all(ENGINES[run.engine].can(run.workload) for row in every for run in row.runs.values())
    assert all(goal in {*row.runs, "percent", "microseconds"} for row in every for goal in row.goals)


@pytest.mark.parametrize("workload", REAL, ids=lambda workload: workload.source)
def test_real_data_and_their_substitutes_have_the_same_shape(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, targets = workload.data()
    monkeypatch.setattr("bench.datasets.FOLDER", Path("no such folder"))
    made_up, made_up_targets = workload.data()
    assert real.shape == made_up.shape == (workload.n_rows, workload.n_units[0])
    assert targets.shape == made_up_targets.shape
    assert real.dtype == made_up.dtype == workload.dtype


def test_guard_names_the_rows_that_became_slower() -> None:
    old = {"rows": [{"name": name, "error": "", "ratios": {"numpy": 2.0}} for name in ("same", "slower", "failed")]}
    new = {
        "rows": [
            {"name": "same", "error": "", "ratios": {"numpy": 1.81}},
            {"name": "slower", "error": "", "ratios": {"numpy": 1.79}},
            {"name": "failed", "error": "Traceback\nMemoryError"},
            {"name": "new", "error": "", "ratios": {"numpy": 0.1}},
        ]
    }
    slower = list(slower_rows(old, new))
    assert [line.split(":")[0] for line in slower] == ["slower", "failed"]
    assert list(slower_rows(old, old)) == []


def test_race_ends_for_each_engine_at_the_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = TINY.data()
    monkeypatch.setattr("bench.accuracy.images", lambda name: ((X, y), (X, y)))
    with Workers() as workers:
        result = race(
            workers, ["fastmlp", "numpy", "onnxruntime"], replace(TINY, activation="relu", learning_rate=0.3), 0.42
        )
        never = race(workers, ["fastmlp"], replace(TINY, activation="relu"), 1.01)
    assert all(curve[-1][1] >= 0.42 > curve[-2][1] for curve in result["curves"].values() if len(curve) > 1)
    assert [accuracy for _, accuracy in result["curves"]["fastmlp"]] == [a for _, a in result["curves"]["numpy"]]
    assert result["seconds"].keys() == {"fastmlp", "numpy"}  # the third does not train
    assert all(seconds > 0 for seconds in result["seconds"].values())
    assert "not within 25 epochs" in "".join(lines(never))


@pytest.mark.parametrize(("goal", "verdict"), [(1.0, "met"), (-1.0, "MISSED")])
def test_errors_are_told_with_the_verdict(goal: float, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workload = replace(TINY, n_units=(784, 8, 10), n_rows=100, activation="relu", source="mnist", optimizer="adam")
    workload = replace(workload, settings=(("dropout", (0.2, 0.5)), ("label_smoothing", 0.1)))
    monkeypatch.setattr(accuracy, "LEAST_ERRORS", ((workload, goal),))
    monkeypatch.setattr(accuracy, "is_real", lambda source: True)
    monkeypatch.setattr(accuracy, "images", lambda source: (None, (np.zeros((4, 784)), np.zeros(4))))
    with Workers() as workers:
        (head, line) = accuracy.test_errors(workers, ["fastmlp"])
    assert head.startswith("\nmnist, 784-8-10, 8")
    assert re.fullmatch(rf"fastmlp +\d+\.\d\d% of the test images wrong, \d+\.\d s {verdict}", line)


def test_roofline_counts_every_product_once() -> None:
    phases = [f"{product} {layer}" for product in PRODUCTS for layer in range(2)]
    microseconds = dict.fromkeys((*phases, "gather", "Python"), 10.0)
    assert sum(flops(TINY, phase) for phase in microseconds) == TINY.flops * TINY.batch_size / TINY.n_rows
    text = table(TINY, microseconds, peak=1.0)
    assert text.splitlines()[0] == "5-4-3, 8: 80.00 µs a step"
    assert {line.split("  ")[0] for line in text.splitlines()} >= microseconds.keys()


def test_runs_that_end_apart_are_reported() -> None:
    ours, numpy = Run("fastmlp", TINY), Run("numpy", TINY)
    parameters = [array for arrays in TINY.initial() for array in arrays]
    a = Outcome(1.0, [1.0], 1.0, 0.5, parameters)
    rounded = Outcome(1.0, [1.0], 1.0, 0.5, [array * np.float32(1 + 2e-7) for array in parameters])
    apart = Outcome(1.0, [1.0], 1.0, 0.5, [array * np.float32(1 + 1e-4) for array in parameters])
    broken = Outcome(1.0, [1.0], 1.0, 0.5, [array * np.float32(np.nan) for array in parameters])
    assert disagreement(ours, a, numpy, rounded) == ""
    assert "bits" in disagreement(ours, a, replace(ours, n_threads=2), rounded)
    assert "weights" in disagreement(ours, a, numpy, apart)
    assert "weights" in disagreement(ours, a, numpy, broken)
    assert "losses" in disagreement(ours, a, numpy, replace(a, loss=0.51))
    assert disagreement(ours, a, Run("fastmlp", replace(TINY, optimizer="adam")), apart) == ""
    two_classes = replace(TINY, n_units=(5, 4, 2))
    assert disagreement(Run("fastmlp", two_classes), a, Run("scikit-learn", two_classes), broken) == ""


@pytest.mark.parametrize("workload", [workload for workload, _ in NETWORKS], ids=lambda workload: workload.name)
def test_operations_are_those_that_the_engine_counts(workload: Workload) -> None:
    network = _core.Network(workload.n_units, workload.activation, "log_loss", workload.dtype)
    rows = workload.n_rows * workload.n_epochs
    assert workload.flops == network.step_flops(rows)


def runs_on_tables(
    method: str, errors: list[float], table: str = "t", cpu: float = 1.0, log_loss: float | None = None
) -> list[dict[str, Any]]:
    about = {"method": method, "table": table, "seconds": 9.0, "cpu": cpu}
    about |= {} if log_loss is None else {"log_loss": log_loss}
    return [about | {"seed": seed, "error": error} for seed, error in enumerate(errors)]


def test_tables_are_compared_where_both_have_been_measured() -> None:
    done = runs_on_tables("LightGBM", [0.1, 0.2], cpu=0.5) + runs_on_tables("LightGBM", [0.4], "u", 1.5, log_loss=0.16)
    done += runs_on_tables("fastmlp Tabular", [0.05, 0.1, 0.7], cpu=2.0)
    done += runs_on_tables("fastmlp Tabular", [0.1], "u", 4.0, log_loss=0.04)
    done += runs_on_tables("lacks some", [0.2], cpu=100.0) + runs_on_tables("elsewhere", [0.1], "v")
    found = tables_report.summaries(done)
    assert [each.method for each in found] == ["fastmlp Tabular", "LightGBM", "lacks some"]
    # A half and a half on one table, a quarter on the other; the third split has no peer.
    assert np.allclose([each.error for each in found], [8**-0.5, 1, 2])
    assert np.allclose([each.log_loss for each in found], [0.25, 1, np.nan], equal_nan=True)
    assert [each.seconds for each in found] == [3.0, 1.0, 100.0], "of which each table has the same share"
    assert [each.n_runs for each in found] == [3, 3, 1]
    text = tables_report.summary(done)
    assert "over 2 tables of up to 8000 training rows, 3 splits in all" in text
    assert re.search(r"^\| fastmlp Tabular +\| +0.35 \| +0.25 \| +3 \|$", text, re.MULTILINE)
    assert re.search(r"^\| lacks some † +\| +2.00 \| +\| +100 \|$", text, re.MULTILINE)
    assert "† Compared on those that have been measured. lacks some: 1 of 3 splits." in text
    assert "clock" not in text
    del done[0]["cpu"]
    assert tables_report.summary(done).endswith("Seconds of some fits are those of the clock: LightGBM.")
    labels = [text.get_text() for text in tables_report.draw(done).axes[0].texts]
    assert labels == ["fastmlp Tabular", "LightGBM", "lacks some\n(1 of 3 splits)"]


def test_no_error_at_all_does_not_outweigh_other_tables() -> None:
    perfect = [*runs_on_tables("LightGBM", [0.01]), *runs_on_tables("fastmlp Tabular", [0.0])]
    assert tables_report.summaries(perfect)[0].error == pytest.approx(0.1)


def test_each_table_shows_who_makes_the_fewest_errors() -> None:
    values = runs_on_tables("LightGBM", [2.0, 4.0], "a") + runs_on_tables("fastmlp Tabular", [3.5, 3.5], "a")
    values += runs_on_tables("fast", [0.5], "a")  # on one split, which may be the easier one
    text = tables_report.by_table(values + runs_on_tables("LightGBM", [0.2], "b", log_loss=1.0))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert rows[0] == ["", "fast", "LightGBM", "fastmlp Tabular"]
    assert rows[2:] == [["b", "", "**0.2**", ""], ["a", "0.5 †", "**3**", "3.5"]]
    assert text.endswith("† Fewer splits than others have: never bold.")
    assert len({len(line) for line in text.splitlines() if line[:1] == "|"}) == 1, "columns stand below each other"


def test_tables_that_cannot_be_measured_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tables.METHODS["LightGBM"]._replace(package="no_such_package")
    monkeypatch.setitem(tables.METHODS, "LightGBM", absent)
    monkeypatch.setattr(tables, "FOLDER", Path("no such folder"))
    file = tmp_path / "tables.json"
    options = ["--methods", "fastmlp Tabular,LightGBM", "--tables", "heart,diabetes", "--splits", "1"]
    assert tables.main([*options, "--output", str(file)]) == 0
    printed = capsys.readouterr()
    left_out = [line for line in printed.err.splitlines() if "left out" in line]
    assert left_out == [
        f"heart is left out: there is no {Path('no such folder') / 'heart.csv.gz'}",
        "LightGBM is left out: no_such_package is not installed",
    ]
    (run,) = json.loads(file.read_text(encoding="utf-8"))
    assert (run["method"], run["table"], run["seed"]) == ("fastmlp Tabular", "diabetes", 0)
    assert 40 < run["error"] < 80, "of a target whose deviation is 77"
    assert "LightGBM has not been measured" in printed.out
    assert f"**{run['error']:.3g}**" in printed.out
    assert tables.main(["--methods", "", "--output", str(file)]) == 0
    assert capsys.readouterr().err == "", "nothing is asked for"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["breast_cancer", "diabetes"])
def test_networks_learn_the_tables_of_scikit_learn(name: str) -> None:
    table = tables.load(name, 0)
    assert len(table.X) == pytest.approx(0.7 * (len(table.X) + len(table.X_test)), abs=1)
    ours, theirs = (tables.measured(f"{whose} MLP", name, 0) for whose in ("fastmlp", "scikit-learn"))
    assert ours["error"] == pytest.approx(theirs["error"], rel=1e-3), "the same network from the same weights"
    assert table.classifies == ("log_loss" in ours)


def test_readme_has_the_newest_tables() -> None:
    assert tables_report.summary(tables_report.kept()) in report.README.read_text(encoding="utf-8")


def test_page_holds_every_table_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from bench import page, plots

    run = {"microseconds": 10.0, "samples_per_second": 1e6, "percent": 41.2, "spread": 0.01, "first_turn_seconds": 3.0}
    names = {group: f"{group}: 5-4-3, 8" for group in page.TITLES}
    names |= {"one thread": "<5-4-3>, 8", "all threads": "all threads, <5-4-3>, 8"}
    names |= {"width": "width 16, 5-4-3", "n_samples": "n_samples 1,000, 5-4-3"}
    row = {"runs": dict.fromkeys(ENGINES, run), "ratios": dict.fromkeys(RIVALS, 0.8), "error": ""}
    results = {
        "started": "2026-01-02T03:04:05+00:00",
        "machine": {"cpu": "Some CPU", "n_cpus": 2, "system": "Some OS", "load": 0.1, "mhz": 0.0},
        "isa": "x86-64-v3",
        "versions": {"numpy": "2.0.0"},
        "blas": {},
        "absent": ["torch"],
        "rows": [row | {"name": name, "group": group} for group, name in names.items()]
        + [{"name": "broken", "group": "predict", "error": "Traceback …\nMemoryError"}],
        "races": [
            {
                "name": "a race",
                "goal": 0.9,
                "seconds": dict.fromkeys(ENGINES, 2.0),
                "curves": {name: [(1.0, 0.8), (2.0, 0.91)] for name in ENGINES},
            }
        ],
    }
    monkeypatch.setattr(page, "PAGE", tmp_path / "report.html")
    monkeypatch.setattr(page, "PICTURES", tmp_path)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    text = page.write_page(results).read_text(encoding="utf-8")
    assert {path.stem for path in tmp_path.glob("*.png")} == plots.PICTURES.keys()
    assert text.count("data:image/png;base64,") == len(plots.PICTURES)
    assert all(f"<h2>{title}</h2>" in text for title in page.TITLES.values())
    assert "&lt;5-4-3&gt;, 8" in text
    assert "MemoryError" in text
    assert 'src="http' not in text
    assert text.count("class=lost") == len(RIVALS) * len(page.TITLES)


def test_readme_is_rewritten_between_the_markers(tmp_path: Path) -> None:
    run = {"engine": "fastmlp", "microseconds": 10.0, "samples_per_second": 1234567.0, "gflops": 99.6, "percent": 41.2}
    lost = {"fastmlp": run, "numpy": run | {"engine": "numpy", "microseconds": 8.0}}
    row = {"name": "5-4-3, 8", "runs": lost, "ratios": {"numpy": 0.8}, "fma_peak": 242.0, "error": ""}
    row["group"] = "one thread"
    results = {
        "started": "2026-01-02T03:04:05+00:00",
        "machine": {"cpu": "Some CPU", "n_cpus": 2, "system": "Some OS", "load": 0.1, "mhz": 0.0},
        "isa": "x86-64-v3",
        "versions": {"python": "3.11.0", "numpy": "2.0.0"},
        "blas": {"numpy": "openblas"},
        "races": [
            {
                "name": "mnist, 784-256-10, 64, sgd 0.1",
                "goal": 0.975,
                "seconds": {"fastmlp": 1.5, "torch": 4.0, "torch-compile": 3.0, "jax": None},
            }
        ],
        "rows": [row, {"name": "broken", "group": "one thread", "goals": {}, "error": "Traceback …\nMemoryError"}],
    }
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- benchmark -->\nstale\n<!-- /benchmark -->\nafter\n", encoding="utf-8")
    rewrite_readme("benchmark", report.markdown(results), readme)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- benchmark -->\n")
    assert text.endswith("<!-- /benchmark -->\nafter\n")
    assert "stale" not in text
    assert "| 5-4-3, 8 | 10.0 | 1,230,000 | 100 | 41 | 8.0 µs, **0.80 ×** |" in text
    assert "| broken | error |" in text
    race = "MNIST, until 97.5 % of the test images are right: 784-256-10, batch 64"
    assert f"| {race} | 1.5 s |  | 3.0 s, **2.0 ×** |" in text
    rewrite_readme("benchmark", report.markdown(results), readme)
    assert readme.read_text(encoding="utf-8") == text
    readme.write_text("no markers\n", encoding="utf-8")
    with pytest.raises(ValueError, match="benchmark"):
        rewrite_readme("benchmark", report.markdown(results), readme)


def test_rows_that_are_measured_again_take_the_place_of_the_last() -> None:
    about = {"machine": {"cpu": "A"}, "isa": "x86-64-v3", "versions": {"numpy": "2.4"}, "races": [1]}
    before = about | {"rows": [{"name": "a", "seconds": 1}, {"name": "b", "seconds": 1}]}
    now = about | {"rows": [{"name": "b", "seconds": 2}], "races": []}
    rows = [{"name": "a", "seconds": 1}, {"name": "b", "seconds": 2}]
    assert report.renewed(before, now) == about | {"rows": rows}
    with pytest.raises(ValueError, match="another instruction set"):
        report.renewed(before | {"isa": "x86-64-v4"}, now)
    with pytest.raises(ValueError, match="other versions"):
        report.renewed(before | {"versions": {}}, now)


def test_a_turn_ends_when_its_threads_sleep() -> None:
    def spin() -> None:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass

    spinning = threading.Thread(target=spin)
    spinning.start()
    settle()
    assert not spinning.is_alive()
