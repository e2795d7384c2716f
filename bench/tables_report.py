"""Results on tables in short: errors of each method as a part of LightGBM's, and seconds; words and picture."""

from collections.abc import Sequence
from math import exp, log
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bench.plots import INK, STYLE

BASE = "LightGBM"
SMALLEST = 1e-9
"""Errors below it count as this much: the logarithm of 0 does not exist."""
OURS, OTHERS = "#e8590c", "#4c8eda"


class Summary(NamedTuple):
    """A method on all tables and splits of the base.

    Attributes
    ----------
    method : str
    error : float
        Geometric mean of its errors divided by those of the base.
    seconds : float
        Mean of a fit, in CPU time.
    """

    method: str
    error: float
    seconds: float


def summaries(runs: Sequence[dict[str, Any]]) -> list[Summary]:
    """One for each method that has done them all, since some tables are easier than others; the fewest errors first."""
    by_method: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}
    for run in runs:
        by_method.setdefault(run["method"], {})[run["table"], run["seed"]] = run
    base = by_method.get(BASE, {})
    found = []
    for method, of_method in by_method.items():
        if base and base.keys() <= of_method.keys():
            pairs = [(of_method[key]["error"], run["error"]) for key, run in base.items()]
            logs = [log(max(error, SMALLEST) / max(of_base, SMALLEST)) for error, of_base in pairs]
            seconds = [run.get("cpu", run["seconds"]) for key, run in of_method.items() if key in base]
            found.append(Summary(method, exp(_mean(logs)), _mean(seconds)))
    return sorted(found, key=lambda each: each.error)


def markdown(runs: Sequence[dict[str, Any]]) -> str:
    """The summaries as a table."""
    head = f"Errors as a part of those of {BASE} (1 − accuracy, or root of the mean squared error), the geometric mean:"
    lines = [f"| {each.method} | {each.error:.2f} | {each.seconds:.2g} |" for each in summaries(runs)]
    return "\n".join([head, "", "| | errors | CPU seconds a fit |", "|---|--:|--:|", *lines])


def draw(runs: Sequence[dict[str, Any]]) -> Figure:
    """Errors against seconds: good is below, and left."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, 3.8))
        for each in summaries(runs):
            ours = each.method.startswith("fastmlp Tabular")
            axes.plot(each.seconds, each.error, "o" if ours else "s", markersize=8, color=OURS if ours else OTHERS)
            axes.annotate(each.method, (each.seconds, each.error), (0, 7), textcoords="offset points", ha="center")
        axes.axhline(1, color=INK, linewidth=1, linestyle="--")
        axes.set(xscale="log", xlabel="seconds of a fit on one core", ylabel=f"errors / {BASE}'s, geometric mean")
        axes.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        axes.margins(0.15)
        n_tables = len({run["table"] for run in runs})
        axes.set_title(f"{n_tables} tables of up to 8000 training rows: fewer errors are below, faster fits left")
    return figure


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
