"""``python -m bench``: measure fastmlp against plain NumPy, print the table and keep the results."""

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import report
from bench.engines import ENGINES
from bench.measure import ROOT, Workers, measure
from bench.workloads import NETWORKS, RIVALS, Row, Run, rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a row failed or nothing could be measured."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.readme:
            report.rewrite_readme(ROOT / "README.md", report.newest_results())
            return 0
        with Workers(arguments.isa) as workers:
            results = run(workers, arguments.rows, arguments.quick, arguments.targets)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"bench: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: interrupted, nothing is written", file=sys.stderr)
        return 1
    is_full = not (arguments.quick or arguments.rows or arguments.isa)
    output = arguments.output or (_results_path(results) if is_full else None)
    if output:
        output.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"\nwritten: {output}")
    return int(any(row["error"] for row in results["rows"]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a moment for each row; the results are not kept")
    parser.add_argument("--isa", default="", help="instruction set that fastmlp must use; the results are not kept")
    parser.add_argument("--rows", default="", metavar="SUBSTRING", help="only rows whose name contains this; not kept")
    parser.add_argument("--targets", action="store_true", help="show what each row should reach")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the results here, whatever was measured")
    parser.add_argument(
        "--readme", action="store_true", help="measure nothing: rewrite the README from the newest results"
    )
    return parser


def run(workers: Workers, substring: str, quick: bool, show_goals: bool) -> dict[str, Any]:
    """Measure the rows whose name contains the substring, print them, and return what the results file holds."""
    network, _ = NETWORKS[0]
    about = workers.of(Run("fastmlp", network)).ask("describe")
    n_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    present = [name for name, engine in ENGINES.items() if engine.needs_isa in ("", *about["isas"])]
    selected = [_without(row, present) for row in rows(n_cpus, about["isa"]) if substring in row.name]
    if not selected:
        raise ValueError(f"no row's name contains {substring!r}")
    results = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": _cpu(), "n_cpus": n_cpus, "system": platform.platform(), "load": _load()},
        "isa": about["isa"],
        "versions": about["versions"],
        "blas": {name: workers.of(Run(name, network)).ask("blas") for name in RIVALS if name in present},
        "rows": [],
    }
    _print_head(results)
    for number, row in enumerate(selected, 1):
        _progress(f"[{number}/{len(selected)}] {row.name}")
        try:
            seconds, rounds = (0.5, 3) if quick else (4.0, 5)
            result = measure(row, workers, n_cpus, seconds, rounds)
        except RuntimeError as error:
            result = {"name": row.name, "goals": row.goals, "error": str(error)}
        _progress("")
        print(report.line(result, show_goals), flush=True)
        results["rows"].append(result)
    return results


def _without(row: Row, present: Sequence[str]) -> Row:
    """The row without the runs of engines that this machine cannot run."""
    return replace(row, runs={label: run for label, run in row.runs.items() if run.engine in present})


def _print_head(results: dict[str, Any]) -> None:
    machine = results["machine"]
    print(f"{machine['cpu']}, {machine['n_cpus']} CPUs, {results['isa']}, {machine['system']}")
    print(", ".join(f"{name} {version}" for name, version in results["versions"].items()))
    for name, blas in results["blas"].items():
        print(f"{name}: {blas}")
    if machine["load"] > 0.5 * machine["n_cpus"]:
        print(f"WARNING: the machine is busy (load average {machine['load']:.1f}): do not believe these figures")
    print(f"\n{report.HEADER}")


def _progress(text: str) -> None:
    """Rewrite the progress line; only where someone watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def _load() -> float:
    """Processes that wanted a CPU during the last minute, on average; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else []
    return str(models[0]) if models else platform.processor() or platform.machine()


def _results_path(results: dict[str, Any]) -> Path:
    machine = re.sub(r"[^a-z0-9]+", "-", results["machine"]["cpu"].lower()).strip("-")
    return report.RESULTS / f"{results['started'][:10]}-{machine}.json"


if __name__ == "__main__":
    sys.exit(main())
