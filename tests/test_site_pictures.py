"""Pictures of the site and of the README: their text and their shapes can be told from what lies behind them."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

import matplotlib as mpl
import matplotlib.pyplot as plt
from test_bench_grid import RESULTS

from bench import grid, heat, plots, report

DOCS = Path(__file__).resolve().parents[1] / "docs"
pytestmark = [
    pytest.mark.skipif(not DOCS.exists(), reason="needs the sources of the site"),
    pytest.mark.skipif(not any(report.RESULTS.glob("[0-9]*.json")), reason="needs results of the benchmark"),
]


@pytest.fixture
def docs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a module of docs/."""
    monkeypatch.syspath_prepend(DOCS)
    yield importlib.import_module
    plt.close("all")


def test_what_cannot_be_read_is_found(docs: Any) -> None:
    figure, axes = plt.subplots()
    axes.set_title("dark enough", color="#757575")
    axes.set_xlabel("too light", color="#787878")
    axes.text(0.5, 0.5, "on itself", color="white")
    axes.text(0.2, 0.5, "pale", alpha=0.5)
    axes.text(0.2, 0.2, "hidden", color="white", visible=False)
    axes.text(7, 7, "outside", color="white", clip_on=True)
    axes.axvspan(0.7, 1, color="navy")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.text(0.8, 0.8, "in blue", color="white", ha="center")
    found = docs("legible").unreadable(figure)
    assert sorted(text.split(":")[0] for text in found) == ["'on itself'", "'pale'", "'too light'"]
    assert axes.title.get_color() == "#757575"


def test_charts_of_the_benchmark_can_be_read(docs: Any) -> None:
    legible, results = docs("legible"), report.newest_results()
    with mpl.rc_context(plots.STYLE):
        figures = {name: draw(results) for name, (draw, _) in plots.PICTURES.items()}
        assert [text for figure in figures.values() for text in legible.unreadable(figure)] == []
        assert legible.unreadable(heat.draw(RESULTS)) == []
    colours = {name: float(legible.contrast(colour, "white")) for name, colour in plots.COLOURS.items()}
    assert {name: ratio for name, ratio in colours.items() if ratio < legible.SHAPE} == {}


def test_every_ratio_of_a_heat_map_can_be_read(docs: Any) -> None:
    """From the least colour to the greatest."""
    cell = next(cell for cell in RESULTS["cells"] if cell["dtype"] == "float32")
    cells = [
        cell | {"width": width, "microseconds": {"fastmlp": 10.0, "jax": 10.0 * 1.1 ** (width - 10)}}
        for width in range(40)
    ]
    assert docs("legible").unreadable(heat.draw(RESULTS | {"cells": cells})) == []


def test_drawings_can_be_read(docs: Any) -> None:
    for name, draw in docs("drawings").DRAWINGS.items():
        figure, axes = plt.subplots(figsize=(7.6, 2.8), layout="constrained")
        axes.set_axis_off()
        draw(axes)
        assert docs("legible").unreadable(figure) == [], name


def test_the_site_shows_the_grid_of_each_instruction_set(docs: Any, tmp_path: Path) -> None:
    heat_maps = docs("generated")._heat_maps
    assert heat_maps(tmp_path, tmp_path) == []
    grid.write(RESULTS, tmp_path / "grid-x86-64-v3.json")
    text = "\n\n".join(heat_maps(tmp_path, tmp_path))
    assert (tmp_path / "grid-x86-64-v3.png").exists()
    assert "2026-01-02, Some CPU, x86-64-v3" in text
    assert "| float64, sgd, one thread | 32 | 4 | 0.90 | PyTorch |" in text
    grid.write(RESULTS | {"isa": "x86-64-v4"}, tmp_path / "grid-x86-64-v4.json")
    wide, narrow = [part for part in heat_maps(tmp_path, tmp_path) if part.startswith("## ")]
    assert wide.endswith(": AVX-512")
    assert narrow.endswith(": AVX2")
    assert (tmp_path / "grid-x86-64-v4.png").exists()


def test_the_browser_finds_what_cannot_be_read(docs: Any, tmp_path: Path) -> None:
    contrast = docs("contrast")
    program = contrast.browser()
    if program is None:
        pytest.skip(f"needs one of {', '.join(contrast.BROWSERS)}")
    (tmp_path / "index.html").write_text(
        "<!doctype html><meta charset=utf-8><style>html[data-theme=dark] { background: #222; color: #eee }</style>"
        "<p>as it should be</p><p style='color: #777'>in grey</p>"
        "<p style='color: #999; font-size: 30px'>large, in grey</p>"
        "<div style='background: #000'><p style='color: #fff8'>half seen</p></div>"
        "<p hidden style='color: #fff'>hidden</p>"
        "<p style='background: linear-gradient(#000, #fff)'>on a picture</p>"
    )
    (tmp_path / "wide.html").write_text(
        "<!doctype html><p style='width: 600px; background: #fff; color: #000'>wide</p>"
    )
    total, *amiss = contrast.measure(tmp_path, program)
    found = {(each["theme"], each["width"], each["what"].split(" in ")[0]) for each in amiss}
    grey = {("light", width, '4.48 for "in grey"') for width in contrast.WIDTHS}
    grey |= {("dark", width, '3.55 for "in grey"') for width in contrast.WIDTHS}
    large = {("light", width, '2.85 for "large,') for width in contrast.WIDTHS}
    pictures = {(theme, width, '0.00 for "on a picture"') for theme in contrast.THEMES for width in contrast.WIDTHS}
    wide = {(theme, 390, "is 608 pixels wide") for theme in contrast.THEMES}
    assert found == grey | large | pictures | wide
    assert total["texts"] == 4 * (5 + 1)
