"""The grid as a picture and as a section of the page."""

import html
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from bench import plots  # which chooses what matplotlib draws on
from bench.engines import ENGINES
from bench.grid import CLEAR, lost, minutes, panels

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure

TITLE = "From narrow to wide, from one row to thousands"
CAPTION = (
    "Time of the best peer as a multiple of fastmlp's: 64-width-width-10 by width and rows of a batch or of a call of "
    "predict; red: the peer is faster; grey: none does it, or it failed"
)
SCALE = ((0, "#a50026"), (0.25, "#f46d43"), (0.4999, "#fdcfb4"), (0.5, "#ffffff"), (0.75, "#74add1"), (1, "#123a7a"))
COLOURS = LinearSegmentedColormap.from_list("lost and won", SCALE)
LEAST, MOST = np.log(0.5), np.log(8.0)
"""Ratios at which the colours end."""

REGISTERS = {"x86-64-v4": "AVX-512", "x86-64-v3": "AVX2", "x86-64": "SSE2", "aarch64": "NEON"}
"""What the instruction sets are known by."""

Results = dict[str, Any]


def grids(folder: Path) -> dict[str, Results]:
    """The grid of each instruction set, by the file's stem; the widest registers first."""
    files = [folder / f"grid-{isa}.json" for isa in REGISTERS]
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()}


def title(results: Results) -> str:
    """With the registers it was measured with."""
    return f"{TITLE}: {REGISTERS.get(results['isa'], results['isa'])}"


def write_picture(results: Results, path: Path) -> Path:
    """Draw it and return the file."""
    path.parent.mkdir(exist_ok=True)
    with mpl.rc_context(plots.STYLE | {"axes.grid": False}):
        figure = draw(results)
        figure.savefig(path, dpi=150)
        plt.close(figure)
    return path


def draw(results: Results) -> Figure:
    """A panel for each dtype, number of threads and optimizer, and for predict, three in a row."""
    found = panels(results)
    kinds = ("sgd", "adam", "predict")
    lines = list(dict.fromkeys(tuple(name.split(", ")[::2]) for name in found))
    figure, grid = plt.subplots(len(lines), 3, figsize=(14, 3.6 * len(lines)), squeeze=False, width_ratios=(6, 6, 5))
    for (dtype, threads), row in zip(lines, grid, strict=True):
        for kind, axes in zip(kinds, row, strict=True):
            name = f"{dtype}, {kind}, {threads}"
            axes.set_axis_off()
            if name in found:
                _panel(axes, name, found[name], "rows of a call" if kind == "predict" else "rows of a batch")
    return figure


def _panel(axes: Axes, name: str, cells: dict[tuple[int, int], Results], x_label: str) -> None:
    widths, n_rows = (sorted({key[place] for key in cells}) for place in (0, 1))
    ratios = np.full((len(widths), len(n_rows)), np.nan)
    for (width, n), cell in cells.items():
        if cell["ratio"] is not None:
            ratios[widths.index(width), n_rows.index(n)] = cell["ratio"]
    norm = TwoSlopeNorm(0.0, LEAST, MOST)
    axes.set_axis_on()
    axes.set_facecolor("#7f878155")
    axes.imshow(np.log(ratios), cmap=COLOURS, norm=norm, aspect="auto")
    for (y, x), ratio in np.ndenumerate(ratios):
        if np.isfinite(ratio):
            red, green, blue, _ = COLOURS(norm(np.log(ratio)))
            colour = "white" if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 < 0.18 else "black"
            weight = "bold" if ratio < 1 else "normal"
            axes.text(x, y, _short(ratio), ha="center", va="center", color=colour, weight=weight, fontsize=10)
    axes.set(title=name, xlabel=x_label, ylabel="width")
    axes.set_xticks(range(len(n_rows)), [f"{n}" for n in n_rows])
    axes.set_yticks(range(len(widths)), [f"{width}" for width in widths])
    axes.tick_params(length=0)


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def summary(results: Results) -> str:
    """Where it was measured, and how many networks are won and lost."""
    ratios = [cell["ratio"] for of in panels(results).values() for cell in of.values() if cell["ratio"] is not None]
    dtypes = {cell["dtype"] for cell in results["cells"]}
    measured = [(dtype, peak) for dtype, peak in results["fma_peaks"].items() if dtype in dtypes]
    peaks = ", ".join(f"{peak:.0f} GFLOP/s in {dtype}" for dtype, peak in measured)
    either = "In bfloat16 the peers may use float32 as well. " if "bfloat16" in dtypes else ""
    return (
        f"{results['started'][:10]}, {results['machine']['cpu']}, {results['isa']}; FMA peak of one core {peaks}; took "
        f"{minutes(results['seconds'])}. Of {len(ratios)} networks fastmlp is ahead of every peer by "
        f"{100 * (CLEAR - 1):.0f} % and more in {sum(ratio >= CLEAR for ratio in ratios)}; in {len(lost(results))} a "
        f"peer is faster. {either}The compiled PyTorch is left out: it compiles for seconds in each."
    )


def section(results: Results, picture: str) -> str:
    """Of the page: the picture, given as HTML, and what is lost."""
    every = [cell for of in panels(results).values() for cell in of.values()]
    below = lost(results)
    text = f"<h2>{title(results)}</h2><p class=soft>{html.escape(summary(results))}</p>{picture}"
    if below:
        text += "<div class=scroll><table><tr><th>a peer is faster</th><th>width</th><th>rows</th><th>ratio</th>"
        text += "<th>peer</th></tr>\n"
    for panel, cell in below:
        cells = [panel, cell["width"], cell["n_rows"], f"<b>{cell['ratio']:.2f} ×</b>", ENGINES[cell["peer"]].title]
        text += f"<tr>{''.join(f'<td class=lost>{each}</td>' for each in cells)}</tr>\n"
    text += "</table></div>\n" if below else ""
    failed = [cell for cell in every if cell["error"]]
    return text + "".join(
        f"<p class=error>{cell['dtype']}, {cell['optimizer'] or 'predict'}, {cell['width']} × {cell['n_rows']}: "
        f"{html.escape(cell['error'])}</p>\n"
        for cell in failed
    )
