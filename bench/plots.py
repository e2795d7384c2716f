"""Results as pictures: no wider than a phone shows them, on white, in colours that can be told from it.

Of text the ratio of contrast is at least 4.5, of points, lines and bars 3, as WCAG AA has it; tests/test_site.py looks.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.engines import ENGINES

INK = "#4b5563"
LOOKS = {
    "fastmlp": ("#d9480f", "o"),
    "numpy": ("#3a7bc8", "s"),
    "numpy-avx512": ("#1b8a99", "D"),
    "scikit-learn": ("#a87f0a", "^"),
    "torch": ("#cf4f9e", "v"),
    "torch-compile": ("#8b5fd6", "P"),
    "jax": ("#2f8a4a", "*"),
    "onnxruntime": ("#8d6e63", "X"),
    "torch-autocast": ("#a83279", "v"),
}
"""Colour and marker; an engine in bfloat16 has those of the same one in the other dtypes."""
COLOURS, MARKERS = (
    {name: (LOOKS.get(name) or LOOKS[name.replace("-bfloat16", "")])[place] for name in ENGINES} for place in (0, 1)
)
STYLE: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}
WIDTH = 6.0
"""Of a picture in inches."""

Results = dict[str, Any]


def write_pictures(results: Results, folder: Path) -> Iterator[tuple[str, Path]]:
    """Write the pictures that these results have the figures for; yield the caption and the file of each."""
    folder.mkdir(exist_ok=True)
    for name, (draw, caption) in PICTURES.items():
        with mpl.rc_context(STYLE):
            figure = draw(results)
            if figure is None:
                continue
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=120)
            plt.close(figure)
        yield caption, path


def _rows(results: Results, group: str) -> list[Results]:
    return [row for row in results["rows"] if row["group"] == group and "runs" in row]


def _style(engine: str) -> Results:
    """How the points and lines of an engine look."""
    width = 2 if engine == "fastmlp" else 1
    return {
        "color": COLOURS[engine],
        "marker": MARKERS[engine],
        "label": ENGINES[engine].title,
        "linewidth": width,
        "linestyle": "--" if ENGINES[engine].precision else "-",
    }


def _legend(figure: Figure, axes: Axes) -> None:
    """Above, where it takes no width."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3)


def _title(name: str) -> str:
    """The name of a row, which says that the number after the network is that of a batch."""
    return re.sub(r"((?:^|, )\d+(?:-\d+)+), (\d+)", r"\1, batch \2", name)


def ratios(results: Results) -> Figure | None:
    """How many times as fast as each peer, for each network."""
    rows = [*_rows(results, "one thread"), *_rows(results, "real data")][::-1]
    if not rows:
        return None
    figure, axes = plt.subplots(figsize=(WIDTH, 2 + 0.45 * len(rows)))
    for engine in ENGINES:
        points = [(row["ratios"][engine], y) for y, row in enumerate(rows) if engine in row["ratios"]]
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, markersize=7, **_style(engine) | {"linestyle": ""})
    axes.axvline(1, color=COLOURS["fastmlp"], linewidth=2)
    names = [_title(row["name"]).replace(", batch", "\nbatch") for row in rows]
    axes.set(xscale="log", yticks=range(len(rows)), yticklabels=names)
    axes.tick_params(axis="y", labelsize=9)
    axes.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axes.minorticks_off()
    axes.set(title="time of a step over fastmlp's (the line)", xlabel="times as long")
    _legend(figure, axes)
    return figure


def percent_of_peak(results: Results) -> Figure | None:
    """Percent of the FMA peak against the width."""
    rows = _rows(results, "width")
    title = "share of the processor's peak that training reaches"
    width = "width of the two hidden layers"
    return _curves(rows, "percent", width, "% of the FMA peak", "linear", title) if rows else None


def cost_of_rows(results: Results) -> Figure | None:
    """Seconds of an epoch against the number of rows."""
    rows = _rows(results, "n_samples")
    title = "an epoch of 20-64-10, batch 200"
    return _curves(rows, "seconds", "rows", "seconds of an epoch", "log", title) if rows else None


def _curves(rows: list[Results], figure_name: str, x_label: str, y_label: str, y_scale: str, title: str) -> Figure:
    """A curve for each engine over rows whose names begin with a word and the x value."""
    figure, axes = plt.subplots(figsize=(WIDTH, 4.4))
    xs = [float(row["name"].split(" ")[1].rstrip(",").replace(",", "")) for row in rows]
    for engine in ENGINES:
        runs = [(x, row["runs"][engine]) for x, row in zip(xs, rows, strict=True) if engine in row["runs"]]
        if runs:
            y = [_value(run, x, figure_name) for x, run in runs]
            axes.plot([x for x, _ in runs], y, markersize=5, **_style(engine))
    axes.set(xscale="log", yscale=y_scale, xlabel=x_label, ylabel=y_label, title=title)
    axes.set_xticks(xs, [f"{x:,.0f}" for x in xs])
    axes.minorticks_off()
    if y_scale == "linear":
        axes.set_ylim(bottom=0)
    _legend(figure, axes)
    return figure


def _value(run: Results, n_rows: float, name: str) -> float:
    return n_rows / float(run["samples_per_second"]) if name == "seconds" else float(run[name])


def races(results: Results) -> Figure | None:
    """Accuracy on the test images against seconds."""
    if not results.get("races"):
        return None
    n_races = len(results["races"])
    figure, panels = plt.subplots(n_races, 1, figsize=(WIDTH, 1 + 3.2 * n_races), squeeze=False)
    for axes, race in zip(panels[:, 0], results["races"], strict=True):
        for engine, curve in race["curves"].items():
            seconds, accuracy = zip(*curve, strict=True)
            axes.plot(seconds, np.multiply(100, accuracy), markersize=4, **_style(engine))
        axes.axhline(100 * race["goal"], color=INK, linestyle="--", linewidth=1)
        axes.set(title=_title(race["name"]), xlabel="seconds of training", ylabel="% of the test images right")
        axes.set(xlim=(0, None), ylim=(100 * race["goal"] - 5, None))
    _legend(figure, panels[0, 0])
    return figure


def scaling(results: Results) -> Figure | None:
    """Speed on all threads over speed on one."""
    alone = {row["name"]: row["runs"] for row in _rows(results, "one thread")}
    rows = [(row["name"].removeprefix("all threads, "), row["runs"]) for row in _rows(results, "all threads")]
    rows = [(name, runs) for name, runs in rows if name in alone]
    if not rows:
        return None
    figure, axes = plt.subplots(figsize=(WIDTH, 1.5 + 0.75 * len(rows)))
    engines = [engine for engine in ENGINES if engine in rows[0][1]]
    for number, engine in enumerate(engines):
        both = [(y, alone[name].get(engine), runs.get(engine)) for y, (name, runs) in enumerate(rows)]
        bars = [(y, a["microseconds"] / b["microseconds"]) for y, a, b in both if a and b]
        y = [y + 0.8 * (number + 0.5) / len(engines) - 0.4 for y, _ in bars]
        axes.barh(y, [s for _, s in bars], 0.8 / len(engines), color=COLOURS[engine], label=ENGINES[engine].title)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_yticks(range(len(rows)), [_title(name).replace(", batch", "\nbatch") for name, _ in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set(xlabel="speed on all threads / on one", title="what more than one thread brings")
    _legend(figure, axes)
    return figure


PICTURES = {
    "ratios": (ratios, "Every engine on one thread, each network: how many times as long a step takes as fastmlp's"),
    "peak": (percent_of_peak, "Percent of the FMA peak against the width of the layers, one thread"),
    "races": (races, "Time against accuracy: the same network, batches and learning rate; compiled before the start"),
    "scaling": (scaling, "What more than one thread brings: speed on all threads over speed on one"),
    "rows": (cost_of_rows, "How the cost of an epoch grows with the rows: 20-64-10, batches of 200, one thread"),
}
"""By file name: how to draw, and the caption."""
