"""The grid of the benchmark and the engines that came with it: bfloat16, and ONNX Runtime."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import grid
from bench.cells import BATCHES, DTYPES, N_ROWS, OPTIMIZERS, WIDTHS, Cell, cells, estimate
from bench.engines import ENGINES
from bench.measure import Outcome, Workers, disagreement, measure
from bench.workloads import Row, Run, Workload

TINY = Workload((5, 16, 3), 8, n_rows=50, n_epochs=10, activation="tanh", learning_rate=0.1)
ROUNDED = [name for name, engine in ENGINES.items() if engine.precision and not engine.compiles]
COMPILED = [name for name, engine in ENGINES.items() if engine.precision and engine.compiles]


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """One process for each engine, for all tests."""
    with Workers() as them:
        yield them


def losses(workers: Workers, name: str, workload: Workload) -> tuple[float, float]:
    """Of the first epoch and of the last, of an engine that may not be installed."""
    if not ENGINES[name].is_installed():
        pytest.skip(f"needs {', '.join(ENGINES[name].packages)}")
    found = []
    for n_epochs in (1, workload.n_epochs):
        each = replace(workload, n_epochs=n_epochs)
        worker = workers.of(Run(name, each))
        worker.ask("prepare", name, name, each, 1)
        found.append(worker.ask("turn", name)[2])
    return found[0], found[1]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", [*ROUNDED, *COMPILED])
def test_engines_in_bfloat16_train_the_same_network(workers: Workers, name: str, optimizer: str) -> None:
    """With steps that move what is kept in bfloat16; the losses of the grid are compared with steps that do not."""
    workload = replace(TINY, optimizer=optimizer, learning_rate=0.5 if optimizer == "sgd" else 0.03)
    if optimizer not in ENGINES[name].optimizers:
        pytest.skip("not one of its optimizers")
    exact_first, exact_last = losses(workers, "fastmlp", workload)
    first, last = losses(workers, name, workload)
    learned = exact_first - exact_last
    assert learned > 0.05
    # Eight bits: a loss of about 1 to a part in 256, and as much again for the weights on the way.
    assert (first, last) == pytest.approx((exact_first, exact_last), abs=2.0**-7)
    assert last != exact_last


def test_peers_predict_the_same(workers: Workers) -> None:
    workload = replace(TINY, task="predict", n_epochs=20)
    able = [name for name, engine in ENGINES.items() if engine.can(workload) and engine.is_installed()]
    assert {"fastmlp", "fastmlp-bfloat16", "scikit-learn"} <= set(able)
    runs = {name: Run(name, workload) for name in able}
    result = measure(Row("tiny", "predict", runs), workers, n_cpus=1, seconds=0, rounds=3)
    assert "differ" not in result["error"]  # of what takes microseconds, the CPUs cannot be counted
    assert result["runs"].keys() == runs.keys()


def test_predictions_that_differ_are_reported() -> None:
    workload = replace(TINY, task="predict")
    rng = np.random.default_rng(0)
    outputs = rng.random((50, 3), dtype=np.float32)
    a, rounded, apart = (Outcome(1.0, parameters=[outputs * np.float32(1 + error)]) for error in (0, 2e-7, 1e-4))
    ours, theirs = Run("fastmlp", workload), Run("onnxruntime", workload)
    assert disagreement(ours, a, theirs, rounded) == ""
    assert "outputs" in disagreement(ours, a, theirs, apart)
    assert disagreement(ours, a, Run("fastmlp-bfloat16", workload), apart) == ""
    far = Outcome(1.0, parameters=[outputs * np.float32(1.02)])
    assert "outputs" in disagreement(ours, a, Run("fastmlp-bfloat16", workload), far)


def test_percent_is_of_the_peak_in_the_precision_of_each_run(workers: Workers) -> None:
    runs = {name: Run(name, TINY) for name in ("fastmlp-bfloat16", "fastmlp")}
    peaks = {"float32": 1.0, "bfloat16": 2.0}
    result = measure(Row("tiny", "bfloat16", runs), workers, n_cpus=1, seconds=0, rounds=1, peaks=peaks)
    assert result["error"] == ""
    assert (result["precision"], result["fma_peak"]) == ("bfloat16", 2.0)
    for name, peak in (("fastmlp-bfloat16", 2.0), ("fastmlp", 1.0)):
        assert result["runs"][name]["percent"] == pytest.approx(100 * result["runs"][name]["gflops"] / peak)


def test_the_grid_is_whole_and_the_quick_one_part_of_it() -> None:
    every, quick = list(cells(False, 2)), list(cells(True, 2))
    n_cells = len(WIDTHS) * (len(OPTIMIZERS) * len(BATCHES) + len(N_ROWS))
    assert len(every) == len(set(every)) == 2 * len(DTYPES) * n_cells
    assert set(quick) < set(every)
    assert {cell.panel for cell in quick} == {cell.panel for cell in every}
    assert {cell.n_threads for cell in cells(True, 1)} == {1}


def test_cells_are_what_they_say_and_cost_what_can_be_waited_for() -> None:
    every, present = list(cells(False, 2)), list(ENGINES)
    peaks = {"float32": 100.0, "float64": 50.0, "bfloat16": 200.0}
    rows = [cell.row(present, peaks[cell.dtype], 2) for cell in every]
    for cell, row in zip(every, rows, strict=True):
        workload = next(iter(row.runs.values())).workload
        assert workload.n_units == (64, cell.width, cell.width, 10)
        assert cell.n_rows == (workload.batch_size if cell.task == "train" else workload.n_rows)
        assert workload.n_rows >= 10 or cell.task == "predict"  # one of each class
        assert len(row.runs) >= 3
        assert all(ENGINES[engine].can(workload) for engine in row.runs)
    assert estimate(every, rows, peaks, 2) > estimate(every[::2], rows[::2], peaks, 2) > 0


def cell(dtype: str, **times: float) -> dict[str, Any]:
    of = vars(Cell("train", dtype, "sgd", 1, 32, 4))
    return of | {"error": "", "percent": 50.0, "microseconds": {n.replace("_", "-"): t for n, t in times.items()}}


RESULTS: dict[str, Any] = {
    "started": "2026-01-02T03:04:05+00:00",
    "machine": {"cpu": "Some CPU", "n_cpus": 2},
    "isa": "x86-64-v3",
    "fma_peaks": {"float32": 100.0},
    "estimated": 30.0,
    "seconds": 60.0,
    "cells": [
        cell("float32", fastmlp=10.0, torch=20.0, jax=15.0),
        cell("float64", fastmlp=10.0, torch=9.0),
        cell("bfloat16", fastmlp_bfloat16=5.0, torch_autocast=30.0),
        cell("float32", fastmlp=9.0, torch=1.0) | {"width": 64, "error": "the losses differ"},
    ],
}


def test_ratios_are_to_the_best_peer() -> None:
    found = {panel: of[32, 4] for panel, of in grid.panels(RESULTS).items()}
    ratios = {each["dtype"]: (each["ratio"], each["peer"]) for each in found.values()}
    # In bfloat16 the best peer is one that uses float32.
    assert ratios == {"float32": (1.5, "jax"), "float64": (0.9, "torch"), "bfloat16": (3.0, "jax")}
    text = "\n".join(grid.lines(RESULTS))
    assert "3 cells: 1 lost, 0 within 10 %" in text
    assert "0.90 float64, sgd, one thread, 32 × 4: PyTorch" in text
    assert "ERROR float32, sgd, one thread, 64 × 4: the losses differ" in text
    assert "took 1.0 min, 0.5 min were estimated" in text


def test_the_command_measures_prints_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.grid.SECONDS", 0.0)
    file = tmp_path / "grid.json"
    options = ["--quick", "--rows", "float32, sgd, one thread, 32 ×", "--engines", "numpy", "--output", str(file)]
    assert grid.main(options) == 0
    text = capsys.readouterr().out
    assert "2 cells: about" in text
    assert "were estimated" in text
    measured = json.loads(file.read_text(encoding="utf-8"))["cells"]
    assert [(each["width"], each["n_rows"]) for each in measured] == [(32, 1), (32, 512)]
    assert all(each["microseconds"].keys() == {"fastmlp", "numpy"} and not each["error"] for each in measured)
    assert grid.main(["--rows", "no such cell"]) == 1
    assert grid.main(["--engines", "no such engine"]) == 1


def test_the_whole_grid_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    whole = [Cell("train", "float32", "sgd", 1, 32, 8), Cell("predict", "float64", "", 1, 32, 1)]
    monkeypatch.setattr(grid, "cells", lambda quick, n_cpus: whole)
    monkeypatch.setattr(grid, "RESULTS", tmp_path)
    monkeypatch.setattr(grid, "PICTURES", tmp_path / "pictures")
    monkeypatch.setattr(grid, "runnable", lambda wanted, isas: (["fastmlp", "scikit-learn"], ["jax"]))
    assert grid.main([]) == 0
    (file,), (picture,) = tmp_path.glob("grid-*.json"), tmp_path.glob("pictures/grid-*.png")
    results = json.loads(file.read_text(encoding="utf-8"))
    assert file.stem == picture.stem == f"grid-{results['isa']}"
    assert grid.panels(results).keys() == {cell.panel for cell in whole}
    assert results["absent"] == ["jax"]
    assert results["seconds"] > 0
    picture.unlink()
    assert grid.main(["--again", "--rows", "predict"]) == 0
    again = json.loads(file.read_text(encoding="utf-8"))
    assert again["cells"][0] == results["cells"][0]
    assert again["cells"][1] != results["cells"][1]
    assert len(again["cells"]) == 2
    assert again["seconds"] == results["seconds"]
    assert picture.exists()
    whole.append(Cell("predict", "float64", "", 1, 32, 10))
    assert grid.main(["--again", "--rows", "32 × 10"]) == 0
    more = json.loads(file.read_text(encoding="utf-8"))
    assert [cell["n_rows"] for cell in more["cells"]] == [8, 1, 10]
    assert more["cells"][:2] == again["cells"]
    assert more["seconds"] > again["seconds"]
    grid.write(more | {"machine": {"cpu": "Another CPU"}}, file)
    monkeypatch.setattr(grid, "measure", None)
    assert grid.main(["--again", "--rows", "32 × 10"]) == 1
    assert "the last results are of another machine: Another CPU" in capsys.readouterr().err


def test_the_page_shows_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from bench import heat, page

    monkeypatch.setattr(page, "RESULTS", tmp_path)
    monkeypatch.setattr(page, "PICTURES", tmp_path)
    assert page._grid() == ""
    grid.write(RESULTS, tmp_path / "grid-x86-64-v3.json")
    text = page._grid()
    assert (tmp_path / "grid-x86-64-v3.png").exists()
    assert text.count("data:image/png;base64,") == 1
    assert text.count("<td class=lost><b>0.90 ×</b>") == 1
    assert "64 × 4: the losses differ" in text
    panels = [axes for axes in heat.draw(RESULTS).axes if axes.get_title() or axes.get_title(loc="left")]
    assert len(panels) == 3
    assert {label.get_text() for axes in panels for label in axes.texts} == {"1.50", "0.90", "3.00"}
