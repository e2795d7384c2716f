"""Results as words: the table in the terminal, and the one in the README."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.engines import ENGINES
from bench.machine import require_same

RESULTS = Path(__file__).parent / "results"
README_GROUPS = {
    "one thread": "One thread",
    "all threads": "All threads",
    "real data": "One thread, real data",
    "predict": "One thread, a call of `predict`",
    "bfloat16": "Products in bfloat16",
    "recipe": "One thread, GELU, dropout, AdamW, clipping and a cosine schedule",
}
URL = "https://raw.githubusercontent.com/fastmlp/fastmlp/main/bench/pictures"
"""Of the pictures: the package index shows no relative links."""
PICTURES = Path(__file__).parent / "pictures"
RIVALS = {
    "scikit-learn": ("scikit-learn",),
    "PyTorch": ("torch", "torch-compile"),
    "JAX": ("jax",),
    "NumPy": ("numpy", "numpy-avx512"),
}
"""Columns of the summary: of several engines the faster one counts."""
DATA = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}
SUMMARY = ("20-32-2, 32", "784-256-256-10, 256")
"""Rows of the summary beside the races."""
README = Path(__file__).parents[1] / "README.md"

WIDTH = 42
HEADER = f"{'':{WIDTH}}{'µs/step':>10}{'median':>10}{'samples/s':>12}{'GFLOP/s':>9}{'% peak':>8}  times as fast as"


def line(result: dict[str, Any], show_goals: bool) -> str:
    """One row for the terminal."""
    if "runs" not in result:
        return f"{result['name']:{WIDTH}}ERROR {result['error'].strip().splitlines()[-1]}"
    first, *_ = result["runs"].values()
    text = (
        f"{result['name']:{WIDTH}}{first['microseconds']:10.2f}{first['median_microseconds']:10.2f}"
        f"{first['samples_per_second']:12,.0f}{first['gflops']:9.1f}{first['percent']:8.1f}  "
    )
    text += ", ".join(f"{label} {ratio:.2f}" for label, ratio in result["ratios"].items())
    starved = [label for label, run in result["runs"].items() if run["cpus"] < 0.9]
    if starved:
        text += f" (DISTURBED: other processes took CPU time from {', '.join(starved)})"
    if "barrier_latency" in result:
        text += f" (barrier {1e9 * result['barrier_latency']:.0f} ns)"
    if show_goals and result["goals"]:
        text += "  | target: " + ", ".join(_goals(result))
    return text + (f"  ERROR {result['error']}" if result["error"] else "")


def _goals(result: dict[str, Any]) -> Iterator[str]:
    first, *_ = result["runs"].values()
    for name, goal in result["goals"].items():
        if name == "microseconds":
            yield f"≤ {goal:g} µs {'met' if first[name] <= goal else 'MISSED'}"
        elif name == "percent":
            yield f"≥ {goal:g} % {'met' if first[name] >= goal else 'MISSED'}"
        elif name in result["ratios"]:
            yield f"{name} ≥ {goal:.2g} {'met' if result['ratios'][name] >= goal else 'MISSED'}"


def newest_results() -> dict[str, Any]:
    """The newest results in bench/results; FileNotFoundError when there are none."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("[0-9]*.json")]
    if not results:
        raise FileNotFoundError(f"no results in {RESULTS}: run the benchmark first (python -m bench)")
    return max(results, key=lambda result: str(result["started"]))


def renewed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Results with the rows that have been measured again in the place of those that were before.

    Raises
    ------
    ValueError
        If the machine or a library is another one.
    """
    require_same(before, now)
    again = {row["name"]: row for row in now["rows"]}
    return before | {"rows": [again.get(row["name"], row) for row in before["rows"]]}


def rewrite_readme(name: str, words: str, readme: Path = README) -> None:
    """Write words between the markers of that name in the README; ValueError when it has none."""
    text = readme.read_text(encoding="utf-8")
    before, start, rest = text.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    if not (start and end):
        raise ValueError(f"{readme} has no line <!-- {name} --> followed by <!-- /{name} -->")
    readme.write_text(f"{before}{start}{words.strip()}\n\n{end}{after}", encoding="utf-8")


def markdown(results: dict[str, Any]) -> str:
    """The tables of these results, the rows that are lost and the rows that failed included."""
    rows = results["rows"]
    groups = {group: [row for row in rows if row["group"] == group] for group in README_GROUPS}
    others = [row for row in rows if row["group"] in ("variants", "features")]
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    exact = [row for row in rows if row.get("precision") != "bfloat16"]
    peak = max((row.get("fma_peak", 0.0) for row in exact), default=0.0)
    blas = "; ".join(f"{ENGINES[name].title}: {text}" for name, text in results["blas"].items())
    text = (
        "How long training takes, and **how many times as fast** fastmlp is. 784-256-10 is a network of 784 inputs, "
        "256 hidden units and 10 outputs; batch 64: it learns from 64 rows in each step. MNIST holds pictures of "
        "handwritten digits, Fashion-MNIST of clothes, each of ten kinds.\n\n"
    )
    text += _summary(results)
    text += (
        f"{_verdict(results)}Measured on {machine['cpu']} ({machine['n_cpus']} CPUs, {results['isa']}), "
        f"{results['started'][:10]}, fastmlp {results['versions'].get('fastmlp', '')}: one thread, float32, plain "
        "gradient descent. Shown is the faster of PyTorch eager and compiled, and of NumPy as shipped and with AVX-512 "
        "switched on.\n\n"
    )
    text += _picture("races.png", "Test accuracy against seconds of training")
    more = (
        "Whole epochs of `fit` (gather and shuffle included), float32 and plain SGD where nothing else is said, "
        f"the fastest of many turns; {peak:.0f} GFLOP/s of FMA on one core. {versions}; {blas}. "
        "Each other column: its time, and how many times as fast fastmlp is; below 1 fastmlp loses. "
        "Code compiled at run time was compiled before the clock started."
    )
    if "numpy-avx512" in results["blas"] and "SkylakeX" not in results["blas"].get("numpy", ""):
        more += (
            " NumPy's OpenBLAS takes this CPU for one without AVX-512; `OPENBLAS_CORETYPE=SkylakeX` tells it better, "
            f"which is the column {ENGINES['numpy-avx512'].title}."
        )
    more += "\n\n" + _picture("ratios.png", "Time of a step as a multiple of fastmlp's")
    tables = [_rival_table(title, groups[group]) for group, title in README_GROUPS.items() if groups[group]]
    if others:
        tables.append(_other_table(others))
    more += "".join(tables)
    reasons = dict.fromkeys(reason for row in rows for reason in row.get("differs", {}).values())
    more += "".join(f"{reason}.\n" for reason in reasons)
    return f"{text}<details>\n<summary>Every row, every engine</summary>\n\n{more}\n</details>\n\n"


def _picture(name: str, says: str) -> str:
    return f"![{says}]({URL}/{name})\n\n" if (PICTURES / name).exists() else ""


def _summary(results: dict[str, Any]) -> str:
    """Few rows for who reads no more: the races to an accuracy, and steps of a small and a large network."""
    cells = [["", "fastmlp", *RIVALS]]
    for race in results.get("races", []):
        data, units, batch, *_ = race["name"].split(", ")
        what = f"{DATA[data]}, until {100 * race['goal']:g} % of the test images are right: {units}, batch {batch}"
        cells.append([what, *_compared(race["seconds"], "s", 1)])
    for row in results["rows"]:
        if row["name"] in SUMMARY and not row["error"]:
            times = {label: run["microseconds"] for label, run in row["runs"].items()}
            cells.append([f"a step of {row['name'].replace(', ', ', batch ')}", *_compared(times, "µs", 0)])
    return _table(cells) if cells[1:] else ""


def _verdict(results: dict[str, Any]) -> str:
    """The sentence that fastmlp is the fastest, where it is in every row of the summary."""
    races = [race["seconds"] for race in results.get("races", [])]
    steps = [
        {label: run["microseconds"] for label, run in row["runs"].items()}
        for row in results["rows"]
        if row["name"] in SUMMARY and not row["error"]
    ]
    wins = [min(time for time in times.values() if time) == times["fastmlp"] for times in (*races, *steps)]
    return "fastmlp is the fastest of those measured, on this machine. " if wins and all(wins) else ""


def _compared(times: dict[str, float | None], unit: str, digits: int) -> list[str]:
    """Our time, and of each rival its best and how many times as fast we are."""
    ours, texts = times["fastmlp"], []
    for engines in RIVALS.values():
        known = [time for time in (times.get(engine) for engine in engines) if time]
        texts.append(f"{min(known):.{digits}f} {unit}, **{min(known) / ours:.1f} ×**" if known and ours else "")
    return [f"{ours:.{digits + 1 - (unit == 's')}f} {unit}" if ours else "", *texts]


def _rival_table(title: str, rows: list[dict[str, Any]]) -> str:
    labels = list(dict.fromkeys(label for row in rows for label in row.get("ratios", {})))
    titles = [title_of(label) for label in labels]
    cells = [[f"{title}: network, batch", "µs a step", "samples/s", "GFLOP/s", "% of FMA peak", *titles]]
    for row in rows:
        name = row["name"].removeprefix("all threads, ")
        if row["error"]:
            cells.append([name, "error", *[""] * (len(cells[0]) - 2)])
            continue
        first, *_ = row["runs"].values()
        ratios = [
            f"{row['runs'][label]['microseconds']:,.1f} µs, **{row['ratios'][label]:.2f} ×**"
            if label in row["runs"]
            else ""
            for label in labels
        ]
        cells.append([name, *_figures(first), *ratios])
    return _table(cells)


def _other_table(rows: list[dict[str, Any]]) -> str:
    cells = [["fastmlp, one thread", "µs a step", "samples/s", "GFLOP/s", "% of FMA peak", "times as fast as"]]
    for row in rows:
        first, *_ = row["runs"].values()
        ratios = "; ".join(f"{ratio:.2f} × {title_of(label)}" for label, ratio in row["ratios"].items())
        cells.append([row["name"], *(["error", "", "", "", ""] if row["error"] else [*_figures(first), ratios])])
    return _table(cells)


def title_of(label: str) -> str:
    """Of what is compared with: another engine, or fastmlp in another way."""
    return ENGINES[label].title if label in ENGINES else f"fastmlp, {label}"


def _figures(run: dict[str, Any]) -> list[str]:
    samples = float(f"{run['samples_per_second']:.3g}")
    return [f"{run['microseconds']:,.1f}", f"{samples:,.0f}", f"{run['gflops']:.0f}", f"{run['percent']:.0f}"]


def _table(cells: list[list[str]]) -> str:
    head, *body = cells
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *body)) + "\n"
