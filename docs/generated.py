"""What the site shows that code or benchmark know: tables, figures and drawings, written anew by each build."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from json import loads
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from bench import page, plots, report, tables_report
from bench.engines import ENGINES
from fastmlp import _core

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "csrc" / "engine"
TABLES = "Errors on tables against seconds of a fit, one thread"
BLUE, ORANGE, GREY = "#1f6fb4", "#d1590b", "#6b7280"


def write(folder: Path) -> None:
    """Write all of it into a folder."""
    folder.mkdir(exist_ok=True)
    results = report.newest_results()
    (folder / "benchmarks.md").write_text(_benchmarks(results, folder), encoding="utf-8")
    (folder / "names.md").write_text(_names(), encoding="utf-8")
    (folder / "command_line.md").write_text(_command_line(), encoding="utf-8")
    _draw_race(results["races"][0], folder / "time_to_accuracy.svg")
    for name, draw in DRAWINGS.items():
        figure, ax = plt.subplots(figsize=(7.6, 2.8), layout="constrained")
        ax.set_axis_off()
        draw(ax)
        figure.savefig(folder / f"{name}.svg", transparent=True)
        plt.close(figure)


# -- the engine's constants --


def _enum(file: str, name: str) -> str:
    found = re.search(rf"\b{name} = ([^,\n}}]+)", (ENGINE / file).read_text(encoding="utf-8"))
    assert found, f"{file} has no {name}"
    return found[1].strip()


def constants() -> dict[str, Any]:
    """Of the AVX-512 engine in float32, as its sources have them.

    Raises
    ------
    AssertionError
        If the sources no longer say what the page explains.
    """
    vec = (ENGINE / "vec.h").read_text(encoding="utf-8")
    avx512 = vec.split("#if FM_VECTOR_BYTES == 64")[1].split("#elif")[0]
    avx2 = vec.split("#elif FM_VECTOR_BYTES == 32")[1].split("#elif")[0]
    register = 64 // 4
    assert _enum("panel.h", "PANEL") == "TILE_VECS * VL"
    tiles = {}
    for name, text, lanes in (("AVX-512", avx512, register), ("AVX2", avx2, register // 2)):
        vectors = re.search(r"TILE_VECS = (\d+)", text)
        rows = re.search(r"tile_rows\[TILE_VECS \+ 1\] = \{([^}]*)\}", text)
        assert vectors is not None
        assert rows is not None
        n_vectors, most = int(vectors[1]), list(map(int, rows[1].split(",")))
        tiles[name] = (most[n_vectors], n_vectors, lanes)
    return {
        "register": register,
        "tiles": tiles,
        "panel": tiles["AVX-512"][1] * register,
        "chunk_rows": int(_enum("scratch.h", "CHUNK_ROWS")),
        "lanes": register,
    }


def substitutions() -> dict[str, str]:
    """Numbers for the pages."""
    found = constants()
    words = {name: str(found[name]) for name in ("register", "panel", "chunk_rows")}
    for name, (rows, vectors, lanes) in found["tiles"].items():
        words[f"tile_{name.lower().replace('-', '')}"] = f"{rows} × {vectors * lanes}"
    n_lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in ENGINE.iterdir() if path.is_file())
    words["lines"] = f"{round(n_lines, -2):,}"
    variants = {row["name"]: row for row in report.newest_results()["rows"]}
    float64 = next(row for name, row in variants.items() if name.startswith("float64") and "float32" in row["ratios"])
    words["gain_of_float32"] = f"{1 / float64['ratios']['float32']:.1f}"
    rows, vectors, _ = found["tiles"]["AVX-512"]
    words["accumulators"] = str(rows * vectors)
    words["registers_used"] = str(rows * vectors + vectors + 1)
    return words


# -- drawings --


def _grid(ax: Axes, x: float, y: float, n_rows: int, n_columns: int, cell: float, **style: Any) -> None:
    for i in range(n_rows):
        for j in range(n_columns):
            ax.add_patch(Rectangle((x + j * cell, y - (i + 1) * cell), cell, cell, **style))


def draw_panels(ax: Axes) -> None:
    """A matrix of weights, cut into column panels."""
    panel = constants()["panel"]
    n_columns = 2 * panel + panel // 2
    colours = (BLUE, ORANGE, GREY)
    names = [f"columns {j * panel} to {min((j + 1) * panel, n_columns) - 1}" for j in range(3)]
    x = 0.0
    for j, colour in enumerate(colours):
        width = min(panel, n_columns - j * panel) / panel
        ax.add_patch(Rectangle((x, 0), width, 1.2, facecolor=colour, alpha=0.3, edgecolor=colour))
        ax.text(x + width / 2, 0.6, names[j], ha="center", va="center", fontsize=8, rotation=0 if width == 1 else 90)
        x += width
    ax.text(x / 2, 1.3, f"weights: fan_in rows, {n_columns} columns, row after row", ha="center")
    ax.annotate("", (3.45, 0.6), (2.7, 0.6), arrowprops={"arrowstyle": "->"})
    ax.text(3.07, 0.68, "packed", ha="center", fontsize=9)
    x = 3.6
    for j, colour in enumerate(colours):
        width = 0.3 if j < 2 else 0.15
        ax.add_patch(Rectangle((x, -0.3 + 0.15), width, 1.5, facecolor=colour, alpha=0.3, edgecolor=colour))
        ax.text(x + width / 2, 0.6, names[j], ha="center", va="center", fontsize=8, rotation=90)
        x += width + 0.12
    ax.text(4.0, 1.45, f"panels, each\n{panel} or fewer columns wide,\none after the other", ha="center", fontsize=9)
    ax.set(xlim=(-0.1, 4.7), ylim=(-0.3, 1.95))


def draw_tile(ax: Axes) -> None:
    """The micro-kernel: a row of a panel in registers, times single elements of A."""
    rows, vectors, lanes = constants()["tiles"]["AVX-512"]
    cell = 0.36
    _grid(ax, 0, rows * cell, rows, 1, cell, facecolor=ORANGE, alpha=0.35, edgecolor=ORANGE)
    ax.text(cell / 2, rows * cell + 0.12, f"{rows} elements\nof A, broadcast", ha="center", va="bottom", fontsize=9)
    width = 4.6 / vectors
    for v in range(vectors):
        x = 1.2 + v * width
        ax.add_patch(Rectangle((x, rows * cell + 0.25), width, cell, facecolor=GREY, alpha=0.35, edgecolor=GREY))
        for i in range(rows):
            y = (rows - i - 1) * cell
            ax.add_patch(Rectangle((x, y), width, cell, facecolor=BLUE, alpha=0.3, edgecolor=BLUE))
        ax.text(x + width / 2, rows * cell + 0.25 + cell / 2, f"{lanes} columns", ha="center", va="center", fontsize=9)
    ax.text(1.2 + 2.3, rows * cell + 0.78, f"row k of a panel: {vectors} registers", ha="center", fontsize=9)
    text = f"{rows * vectors} registers of sums:\nsum += a × row, a multiply-add each"
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "boxstyle": "round"}
    ax.text(1.2 + 2.3, rows * cell / 2, text, ha="center", va="center", fontsize=10, bbox=box)
    ax.set(xlim=(-0.7, 6), ylim=(-0.1, rows * cell + 1.1))


def draw_sums(ax: Axes) -> None:
    """The order of a sum: the same chain for every output, whatever the width of a register."""
    for row, (name, lanes) in enumerate((("AVX-512", 16), ("AVX2", 8), ("NEON", 4))):
        y = -row * 0.9
        ax.text(-0.2, y + 0.2, f"{name}\n{lanes} outputs at a time", ha="right", va="center", fontsize=9)
        for j in range(16):
            colour = BLUE if (j // lanes) % 2 == 0 else ORANGE
            ax.add_patch(Rectangle((j * 0.3, y), 0.3, 0.4, facecolor=colour, alpha=0.35, edgecolor="white"))
    ax.annotate("", (2.4, -2.5), (2.4, -1.95), arrowprops={"arrowstyle": "->"})
    chain = "each output: (((b + a₀ w₀) + a₁ w₁) + a₂ w₂) + …  rounded once a step"
    ax.text(2.4, -2.75, chain, ha="center", fontsize=10)
    ax.set(xlim=(-2.2, 5), ylim=(-2.95, 0.6))


def draw_update(ax: Axes) -> None:
    """The fused update: the gradient never leaves the registers."""
    boxes = [
        ("activations,\ntransposed", 0, GREY),
        ("delta of\nthe layer above", 1.5, GREY),
        ("sums in registers:\nthe gradient", 3.1, BLUE),
        ("W −= rate × gradient,\nin the same registers", 5.0, ORANGE),
    ]
    for text, x, colour in boxes:
        ax.add_patch(Rectangle((x, 0), 1.35, 0.7, facecolor=colour, alpha=0.3, edgecolor=colour))
        ax.text(x + 0.675, 0.35, text, ha="center", va="center", fontsize=8.5)
    ax.text(1.42, 0.35, "×", ha="center", va="center", fontsize=14)
    for left, right in ((2.87, 3.08), (4.47, 4.98)):
        ax.annotate("", (right, 0.35), (left, 0.35), arrowprops={"arrowstyle": "->"})
    ax.text(3.2, -0.3, "The gradient of the weights is never written to memory.", ha="center", fontsize=10)
    ax.set(xlim=(-0.1, 6.5), ylim=(-0.6, 1.1))


DRAWINGS: dict[str, Callable[[Axes], None]] = {
    "panels": draw_panels,
    "tile": draw_tile,
    "sums": draw_sums,
    "update": draw_update,
}


# -- the command line --


def _command_line() -> str:
    """Commands and what they print, run in a folder of their own."""
    commands = [
        "fastmlp train wine.csv --target target --save wine.fastmlp",
        "fastmlp predict wine.fastmlp wine.csv --proba > probabilities.csv",
    ]
    table = "from sklearn.datasets import load_wine; load_wine(as_frame=True).frame.to_csv('wine.csv', index=False)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = {"env": environment, "capture_output": True, "text": True, "check": True}
    with TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", table], cwd=folder, **run)
        words = shlex.split(commands[0])[1:]
        trained = subprocess.run([sys.executable, "-m", "fastmlp", *words], cwd=folder, **run)
        words = shlex.split(commands[1].partition(" > ")[0])[1:]
        predicted = subprocess.run([sys.executable, "-m", "fastmlp", *words], cwd=folder, **run)
    first = "\n".join(predicted.stdout.splitlines()[:3])
    return (
        f'```sh\npython -c "{table}"\n{commands[0]}\n{commands[1]}\n```\n\n'
        f"The training prints:\n\n```text\n{trained.stdout.strip()}\n```\n\n"
        f"`probabilities.csv` begins with:\n\n```text\n{first}\n```\n"
    )


# -- tables --


def _names() -> str:
    """What the engine knows, by the parameter that asks for it."""
    from fastmlp.initialization import INITIALIZERS
    from fastmlp.schedules import SCHEDULES

    values = [name for name, loss in _core.LOSSES.items() if loss.threshold is None]
    classes = [name for name, loss in _core.LOSSES.items() if loss.threshold is not None]
    solvers = [name for name in _core.OPTIMIZERS if not name.startswith("sgd_")]
    rows = {
        "`activation`": _core.ACTIVATIONS,
        "`loss`, of values": values,
        "`loss`, of classes": classes,
        "`solver`": [*solvers, "lbfgs"],
        "`learning_rate`": SCHEDULES,
        "`weight_init`": INITIALIZERS,
    }
    lines = [f"| {name} | {', '.join(f'`{each}`' for each in names)} |" for name, names in rows.items()]
    return "\n".join(["| parameter | values |", "|---|---|", *lines, ""])


def _benchmarks(results: dict[str, Any], folder: Path) -> str:
    """The newest results: time to accuracy first, then a step, then all the rest."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    where = f"{machine['cpu']}, {machine['n_cpus']} CPUs, {results['isa']}"
    parts = [
        f"Measured on {results['started'][:10]}: {where}; {versions}.",
        "## Time to accuracy",
        *map(_race, results.get("races", [])),
    ]
    # On a white page, as the site has it behind pictures, the grey of the README is too light to read.
    plots.STYLE.update({name: "#4b5563" for name, value in plots.STYLE.items() if value == plots.GREY})
    for caption, path in plots.write_pictures(results, folder):
        parts.append(f":::{{figure}} generated/{path.name}\n:alt: {caption}\n\n{caption}\n:::")
    for group, title in page.TITLES.items():
        rows = [row for row in results["rows"] if row["group"] == group]
        if rows:
            table = report._rival_table("X", rows).replace("X: network, batch", "network, batch")
            parts += [f"## {title}", table]
    tables = report.RESULTS / "tables.json"
    if tables.exists():
        parts += ["## Tables", _tables(loads(tables.read_text(encoding="utf-8")), folder)]
    return "\n\n".join(parts) + "\n"


def _race(race: dict[str, Any]) -> str:
    """Seconds to the goal, the fastest first."""
    seconds = sorted(((value, name) for name, value in race["seconds"].items() if value is not None))
    ours = race["seconds"]["fastmlp"]
    lines = [
        f"| {ENGINES[name].title if name in ENGINES else name} | {value:.1f} | {value / ours:.1f} |"
        for value, name in seconds
    ]
    name = plots._title(race["name"])
    head = f"Seconds of training until {100 * race['goal']:g} % of the test images are right ({name}):"
    return "\n".join([head, "", "| | seconds | as a multiple of fastmlp's |", "|---|--:|--:|", *lines])


def _draw_race(race: dict[str, Any], path: Path) -> None:
    """Seconds to the goal as bars, large enough for a phone."""
    seconds = sorted((value, ENGINES[name].title) for name, value in race["seconds"].items() if value is not None)
    figure, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
    values, names = zip(*reversed(seconds), strict=True)
    bars = ax.barh(names, values, color=[ORANGE if name == "fastmlp" else GREY for name in names])
    ax.bar_label(bars, [f"{value:.1f} s" for value in values], padding=3)
    data, units, batch, _ = plots._title(race["name"]).split(", ")
    ax.set_title(f"{data}, {units}, {batch}: seconds to {100 * race['goal']:g} %", fontsize=10, loc="left")
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.set(xticks=[], xlim=(0, 1.15 * max(values)))
    figure.savefig(path, transparent=True)
    plt.close(figure)


def _tables(runs: list[dict[str, Any]], folder: Path) -> str:
    """Errors of estimators of tables, and their seconds."""
    figure = tables_report.draw(runs)
    figure.savefig(folder / "tables.png", dpi=160, transparent=True)
    plt.close(figure)
    return f"{tables_report.markdown(runs)}\n\n:::{{figure}} generated/tables.png\n:alt: {TABLES}\n\n{TABLES}\n:::"
