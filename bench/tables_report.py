"""Results on tables in short: errors of each method as a part of LightGBM's, and seconds; words and picture."""

import json
from collections.abc import Callable, Mapping, Sequence
from math import exp, isnan, log, nan
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bench.plots import INK, STYLE

RESULTS = Path(__file__).parent / "results" / "tables.json"
BASE = "LightGBM"
SMALLEST = 1e-3
"""Errors below it count as this much, half a row of 500: one table without any would outweigh all others."""
OURS, OTHERS = "#e8590c", "#4c8eda"

Run = dict[str, Any]
Split = tuple[str, int]
"""Name of a table, and seed of its split."""


class Summary(NamedTuple):
    """A method on the tables and splits that it shares with the base.

    Attributes
    ----------
    method : str
    error, log_loss : float
        Geometric means of its errors, and of its log losses on tables of classes, divided by those of the base.
    seconds : float
        Mean of a fit, in CPU time.
    n_runs : int
        How many it shares.
    """

    method: str
    error: float
    log_loss: float
    seconds: float
    n_runs: int


def kept() -> list[Run]:
    """What `python -m bench tables` has measured."""
    runs: list[Run] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return runs


def summaries(runs: Sequence[Run]) -> list[Summary]:
    """One for each method that shares a table and split with the base; the fewest errors first."""
    by_method = _by_method(runs)
    base = by_method.get(BASE, {})
    found = []
    for method, of_method in by_method.items():
        shared = {split: run for split, run in of_method.items() if split in base}
        if shared:
            seconds = _mean({split: run.get("cpu", run["seconds"]) for split, run in shared.items()})
            error, loss = _ratio(shared, base, "error"), _ratio(shared, base, "log_loss")
            found.append(Summary(method, error, loss, seconds, len(shared)))
    return sorted(found, key=lambda each: each.error)


def markdown(runs: Sequence[Run]) -> str:
    """The methods over all tables, then each table."""
    return f"{summary(runs)}\n\n{by_table(runs)}"


def summary(runs: Sequence[Run]) -> str:
    """The methods over all tables, and how many runs those have that lack some."""
    found, base = summaries(runs), _by_method(runs).get(BASE, {})
    if not base:
        return f"Nothing to compare with: {BASE} has not been measured."
    n_runs, n_tables = len(base), len({table for table, _ in base})
    head = (
        f"Errors (share of wrong rows, or root of the mean squared error) and log loss as a part of those of {BASE}: "
        f"the geometric mean over {n_tables} tables of up to 8000 training rows, {n_runs} splits in all. "
        "Each method with its defaults, on one thread."
    )
    cells = [["", "errors", "log loss", "CPU seconds a fit"]]
    cells += [
        [
            f"{each.method} †" if each.n_runs < n_runs else each.method,
            f"{each.error:.2f}",
            "" if isnan(each.log_loss) else f"{each.log_loss:.2f}",
            f"{float(f'{each.seconds:.2g}'):g}",
        ]
        for each in found
    ]
    notes = [f"{each.method}: {each.n_runs} of {n_runs} splits" for each in found if each.n_runs < n_runs]
    by_the_clock = dict.fromkeys(run["method"] for run in runs if "cpu" not in run)
    lines = [f"† Compared on those that have been measured. {'; '.join(notes)}."] if notes else []
    lines += [f"Seconds of some fits are those of the clock: {', '.join(by_the_clock)}."] if by_the_clock else []
    return "\n\n".join([head, _table(cells), *lines])


def by_table(runs: Sequence[Run]) -> str:
    """The errors of each method on each table, the fewest in bold."""
    by_method = _by_method(runs)
    methods = list(dict.fromkeys([*(each.method for each in summaries(runs)), *by_method]))
    cells = [["", *methods]]
    for _, name in sorted({("log_loss" not in run, run["table"]) for run in runs}):
        errors = [[run["error"] for (table, _), run in by_method[each].items() if table == name] for each in methods]
        most = max(map(len, errors))
        fewest = min(fmean(each) for each in errors if len(each) == most)
        cells.append([name, *(_error(each, most, fewest) for each in errors)])
    head = "Each table: the mean of the errors over its splits, the fewest in bold. Tables of classes come first."
    table = _table(cells)
    return f"{head}\n\n{table}" + ("\n\n† Fewer splits than others have: never bold." if "†" in table else "")


def draw(runs: Sequence[Run]) -> Figure:
    """Errors against seconds: good is below, and left."""
    found, base = summaries(runs), _by_method(runs).get(BASE, {})
    n_runs, n_tables = len(base), len({table for table, _ in base})
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, 3.8))
        for each in found:
            ours, lacks = each.method.startswith("fastmlp Tabular"), each.n_runs < n_runs
            axes.plot(each.seconds, each.error, "o" if ours else "s", markersize=8, color=OURS if ours else OTHERS)
            label = f"{each.method}\n({each.n_runs} of {n_runs} splits)" if lacks else each.method
            # Below, where no other label stands: such a method is often near a relative of its own.
            place = {"xytext": (0, -7), "va": "top"} if lacks else {"xytext": (0, 7)}
            axes.annotate(label, (each.seconds, each.error), textcoords="offset points", ha="center", **place)
        axes.axhline(1, color=INK, linewidth=1, linestyle="--")
        axes.set(xscale="log", xlabel="seconds of a fit on one core", ylabel=f"errors / {BASE}'s, geometric mean")
        axes.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        axes.margins(0.15)
        axes.set_title(f"{n_tables} tables of up to 8000 training rows: fewer errors are below, faster fits left")
    return figure


def _by_method(runs: Sequence[Run]) -> dict[str, dict[Split, Run]]:
    found: dict[str, dict[Split, Run]] = {}
    for run in runs:
        found.setdefault(run["method"], {})[run["table"], run["seed"]] = run
    return found


def _ratio(runs: Mapping[Split, Run], base: Mapping[Split, Run], what: str) -> float:
    """Geometric mean of what runs have divided by what those of the base have; NaN where they have it nowhere."""
    logs = {
        split: log(max(run[what], SMALLEST) / max(base[split][what], SMALLEST))
        for split, run in runs.items()
        if what in run
    }
    return exp(_mean(logs)) if logs else nan


def _mean(values: Mapping[Split, float]) -> float:
    """Mean over the tables of the mean over their splits: a table of more splits counts no more."""
    tables: dict[str, list[float]] = {}
    for (table, _), value in values.items():
        tables.setdefault(table, []).append(value)
    return fmean(map(fmean, tables.values()))


def _error(errors: list[float], most: int, fewest: float) -> str:
    """A cell: the mean of the errors of a method, of which another one has `most`, and the best of these `fewest`."""
    if not errors:
        return ""
    text = f"{fmean(errors):.3g}"
    if len(errors) < most:
        return f"{text} †"
    return f"**{text}**" if text == f"{fewest:.3g}" else text


def _table(cells: list[list[str]]) -> str:
    """As Markdown, whose columns stand below each other in a terminal, too."""
    first, *others = zip(*cells, strict=True)
    columns = [_aligned(first, str.ljust, "-"), *(_aligned(each, str.rjust, ":") for each in others)]
    return "\n".join(f"| {' | '.join(row)} |" for row in zip(*columns, strict=True))


def _aligned(column: Sequence[str], align: Callable[[str, int], str], end: str) -> list[str]:
    """All texts as wide as the longest, and a rule below the first; its end says on which side they stand."""
    width = max(3, *map(len, column))
    head, *body = (align(text, width) for text in column)
    return [head, "-" * (width - 1) + end, *body]
