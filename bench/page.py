"""Results as one self-contained page, ``bench/report.html``, and as pictures for the README in ``bench/pictures``."""

import base64
import html
import json
from pathlib import Path
from typing import Any

from bench import heat
from bench.accuracy import lines
from bench.engines import ENGINES
from bench.plots import write_pictures
from bench.report import RESULTS, title_of

PAGE = Path(__file__).parent / "report.html"
PICTURES = Path(__file__).parent / "pictures"

TITLES = {
    "one thread": "One thread",
    "all threads": "All threads",
    "real data": "Real data, one thread",
    "variants": "Optimizers, dtypes, instruction sets, CSR",
    "features": "What regularisation, schedules and activations add",
    "bfloat16": "Products in bfloat16, against the peers' and against float32",
    "recipe": "GELU, dropout, AdamW, clipping and a cosine schedule",
    "predict": "Predict",
    "width": "Width of the layers",
    "n_samples": "Number of rows",
}
"""The tables, by the group of their rows."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #7f8791; --mark: #e8590c; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1400px; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: 3px 9px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td small { color: var(--soft); } td b { font-weight: 650; } td.lost b { color: var(--mark); }
.scroll { overflow-x: auto; } img { max-width: min(100%, 1000px); } figure { margin: 1.5rem 0; }
figcaption, .soft { color: var(--soft); } .error { color: var(--mark); }
"""


def write_page(results: dict[str, Any]) -> Path:
    """Write the page and its pictures from these results; return the page's path."""
    figures = "".join(_figure(caption, path) for caption, path in write_pictures(results, PICTURES))
    tables = "".join(_section(title, results["rows"], group) for group, title in TITLES.items())
    races = "".join(
        f"<pre>{html.escape(chr(10).join(lines(race)).strip())}</pre>\n" for race in results.get("races", [])
    )
    races = f"<h2>Time to accuracy</h2>{races}" if races else ""
    body = f"{_head(results)}{figures}{tables}{races}{_grid()}{_estimators()}"
    PAGE.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>fastmlp: benchmark</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>\n{body}</body></html>\n",
        encoding="utf-8",
    )
    return PAGE


def _head(results: dict[str, Any]) -> str:
    machine = results["machine"]
    peaks: dict[str, float] = {}
    for row in results["rows"]:
        precision = row.get("precision", "float32")
        peaks[precision] = max(row.get("fma_peak", 0.0), peaks.get(precision, 0.0))
    barriers = [1e9 * row["barrier_latency"] for row in results["rows"] if "barrier_latency" in row]
    facts = [
        f"{machine['cpu']}, {machine['n_cpus']} CPUs, {machine['system']}",
        f"fastmlp on {results['isa']}; FMA peak of one core "
        + ", ".join(f"{peak:.0f} GFLOP/s in {precision}" for precision, peak in peaks.items()),
        f"clock as the system tells it {machine['mhz']:.0f} MHz; load average at the start {machine['load']:.1f}",
        *([f"barrier of two threads {min(barriers):.0f} to {max(barriers):.0f} ns"] if barriers else []),
        ", ".join(f"{name} {version}" for name, version in results["versions"].items()),
        *(f"{ENGINES[name].title}: {text}" for name, text in results["blas"].items()),
        *([f"not installed: {', '.join(results['absent'])}"] if results.get("absent") else []),
    ]
    return (
        f"<h1>fastmlp: benchmark</h1><p class=soft>{results['started'][:10]}</p>"
        "<p>The same training by every engine: the same data, initial weights, batches in the same order, dtype, "
        "number of threads and of updates. Engines work in turn in processes of their own, the fastest turn counts, "
        "and at the end weights and losses must agree. Times are of whole epochs, gather and shuffle included; what is "
        "compiled at run time has been compiled before.</p>"
        f"<ul>{''.join(f'<li>{html.escape(fact)}</li>' for fact in facts)}</ul>\n"
    )


def _figure(caption: str, path: Path) -> str:
    return (
        f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,'
        f'{base64.b64encode(path.read_bytes()).decode()}"><figcaption>{html.escape(caption)}</figcaption></figure>\n'
    )


def _grid() -> str:
    """The heat maps, where they have been measured."""
    return "".join(
        heat.section(grid, _figure(heat.CAPTION, heat.write_picture(grid, PICTURES / f"{stem}.png")))
        for stem, grid in heat.grids(RESULTS).items()
    )


def _section(title: str, rows: list[dict[str, Any]], group: str) -> str:
    rows = [row for row in rows if row["group"] == group]
    if not rows:
        return ""
    labels = list(dict.fromkeys(label for row in rows for label in row.get("ratios", {})))
    heads = ["network, batch", "fastmlp, µs a step", "spread", "% of peak", *map(title_of, labels)]
    body = "".join(_row(row, labels) for row in rows)
    notes = dict.fromkeys(reason for row in rows for reason in row.get("differs", {}).values())
    compile_times = [
        f"{ENGINES[label].title} takes up to {max(_first_turns(rows, label)):.1f} s for the first turn, compiling"
        for label in labels
        if label in ENGINES and ENGINES[label].compiles
    ]
    foot = "".join(f"<p class=soft>{html.escape(note)}</p>" for note in (*notes, "; ".join(compile_times)) if note)
    header = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    return f"<h2>{title}</h2><div class=scroll><table><tr>{header}</tr>\n{body}</table></div>{foot}\n"


def _first_turns(rows: list[dict[str, Any]], label: str) -> list[float]:
    return [row["runs"][label]["first_turn_seconds"] for row in rows if label in row.get("runs", {})]


def _row(row: dict[str, Any], labels: list[str]) -> str:
    name = html.escape(row["name"])
    if "runs" not in row:
        return f"<tr><td>{name}</td><td class=error>error: {html.escape(row['error'].splitlines()[-1])}</td></tr>\n"
    first, *_ = row["runs"].values()
    cells = [f"{first['microseconds']:,.2f}", f"{100 * first['spread']:.0f} %", f"{first['percent']:.0f}"]
    text = "".join(f"<td>{cell}</td>" for cell in cells)
    for label in labels:
        if label not in row["ratios"]:
            text += "<td></td>"
            continue
        ratio, run = row["ratios"][label], row["runs"][label]
        lost = " class=lost" if ratio < 1 and label in ENGINES else ""
        text += f"<td{lost}><b>{ratio:.2f} ×</b> <small>{run['microseconds']:,.1f} µs</small></td>"
    error = f"<td class=error>{html.escape(row['error'])}</td>" if row["error"] else ""
    return f"<tr><td>{name}</td>{text}{error}</tr>\n"


def _estimators() -> str:
    """The newest tables of the estimators against scikit-learn's, where they have been measured."""
    files = sorted((RESULTS / "estimators").glob("*.json"))
    if not files:
        return ""
    results = json.loads(files[-1].read_text(encoding="utf-8"))
    text = "<h2>MLPClassifier and MLPRegressor against scikit-learn's, one thread</h2><div class=scroll><table>"
    text += "<tr><th>data</th><th>metric</th><th>scikit-learn</th><th>fastmlp</th><th>scikit-learn, s</th>"
    text += "<th>fastmlp, s</th><th>times</th></tr>"
    for row in results["scores"]:
        scores = [f"{mean:.4f} ± {deviation:.4f}" for mean, deviation in row["scores"].values()]
        seconds = [f"{value:.3f}" for value in row["seconds"].values()]
        cells = [row["name"], row["metric"], *scores, *seconds, f"<b>{row['ratio']:.2f} ×</b>"]
        text += "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"
    text += "</table></div><p class=soft>Whole calls</p><div class=scroll><table>"
    text += "<tr><th>call</th><th>scikit-learn, ms</th><th>fastmlp, ms</th><th>times</th></tr>"
    for row in results["times"]:
        milliseconds = [f"{1e3 * value:,.3f}" for value in row["seconds"].values()]
        cells = [html.escape(row["name"]), *milliseconds, f"<b>{row['ratio']:.2f} ×</b>"]
        text += "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"
    return text + "</table></div>\n"
