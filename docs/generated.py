"""What the site shows that code or benchmark know: tables, figures and drawings, written anew by each build."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from drawings import DRAWINGS, ENGINE, GREY, ORANGE, constants

from bench import grid, heat, page, plots, report, scale_plot, tables_report
from bench.engines import ENGINES
from fastmlp import _core

ROOT = Path(__file__).resolve().parents[1]
TABLES = "Errors on tables against seconds of a fit, one thread"


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
    scale_plot.draw(folder / "when_dask_pays.svg")


# -- numbers for the pages --


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
    words["gain_of_avx512"] = f"{_slower(variants, 'SSE2'):.1f}"
    words |= _presets()
    rows, vectors, _ = found["tiles"]["AVX-512"]
    words["accumulators"] = str(rows * vectors)
    words["registers_used"] = str(rows * vectors + vectors + 1)
    return words


def _slower(rows: dict[str, dict[str, Any]], isa: str) -> float:
    """Time of a step on an instruction set, as a multiple of that on the best one."""
    name, slow = next((name, row) for name, row in rows.items() if name.startswith(isa))
    best = rows[name.partition(", ")[2]]
    return float(slow["runs"]["fastmlp"]["microseconds"] / best["runs"]["fastmlp"]["microseconds"])


def _presets() -> dict[str, str]:
    """Seconds and errors of the presets for tables."""
    found = {each.method: each for each in tables_report.summaries(tables_report.kept())}
    default, accurate = found["fastmlp Tabular"], found["fastmlp Tabular accurate"]
    return {
        "seconds_of_default": f"{default.seconds:.1f}",
        "seconds_of_accurate": f"{accurate.seconds:.1f}",
        "cost_of_accurate": f"{accurate.seconds / default.seconds:.1f}",
        "errors_of_default": f"{100 * default.error:.0f} %",
        "errors_of_accurate": f"{100 * accurate.error:.0f} %",
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
    for caption, path in plots.write_pictures(results, folder):
        parts.append(f":::{{figure}} generated/{path.name}\n:alt: {caption}\n\n{caption}\n:::")
    for group, title in page.TITLES.items():
        rows = [row for row in results["rows"] if row["group"] == group]
        if rows:
            table = report._rival_table("X", rows).replace("X: network, batch", "network, batch")
            parts += [f"## {title}", table]
    parts += _heat_maps(report.RESULTS, folder)
    parts += ["## Tables", _tables(tables_report.kept(), folder)]
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


def _heat_maps(results: Path, folder: Path) -> list[str]:
    """The grid of networks of each instruction set that has been measured: a picture, and what is lost."""
    parts = []
    head = ["| a peer is faster | width | rows | ratio | peer |", "|---|--:|--:|--:|---|"]
    for stem, measured in heat.grids(results).items():
        path = heat.write_picture(measured, folder / f"{stem}.png")
        lost = [
            f"| {panel} | {cell['width']} | {cell['n_rows']} | {cell['ratio']:.2f} | {ENGINES[cell['peer']].title} |"
            for panel, cell in grid.lost(measured)
        ]
        figure = f":::{{figure}} generated/{path.name}\n:alt: {heat.CAPTION}\n:class: wide\n\n{heat.CAPTION}\n:::"
        parts += [f"## {heat.title(measured)}", heat.summary(measured), figure]
        parts += ["\n".join([*head, *lost])] if lost else []
    return parts


def _draw_race(race: dict[str, Any], path: Path) -> None:
    """Seconds to the goal as bars, large enough for a phone."""
    seconds = sorted((value, ENGINES[name].title) for name, value in race["seconds"].items() if value is not None)
    figure, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
    values, names = zip(*reversed(seconds), strict=True)
    bars = ax.barh(names, values, color=[ORANGE if name == "fastmlp" else GREY for name in names])
    ax.bar_label(bars, [f"{value:.1f} s" for value in values], padding=3)
    data, *_ = race["name"].split(", ")
    title = f"{report.DATA[data]}, seconds until {100 * race['goal']:g} % are right"
    ax.set_title(title, loc="left")
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.set(xticks=[], xlim=(0, 1.15 * max(values)))
    figure.savefig(path, transparent=True)
    plt.close(figure)


def _tables(runs: list[dict[str, Any]], folder: Path) -> str:
    """Errors of estimators of tables, and their seconds."""
    figure = tables_report.draw(runs)
    figure.savefig(folder / "tables.png", dpi=160, transparent=True)
    plt.close(figure)
    return f":::{{figure}} generated/tables.png\n:alt: {TABLES}\n\n{TABLES}\n:::\n\n{tables_report.markdown(runs)}"
