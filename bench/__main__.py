"""``python -m bench``: measure fastmlp against every other way to train, print the tables and keep the results."""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import accuracy, grid, machine, report
from bench.compare import slower_rows
from bench.engines import BLAS_ONE_THREAD, ENGINES, TORCH_COMPILES, runnable
from bench.measure import ROOT, Workers, measure
from bench.rows import NETWORKS, rows
from bench.workloads import Row, Run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a row failed, became slower, or nothing could be measured."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["scale"]:
        return _on_one_thread("bench.scale", argv[1:])
    if argv[:1] == ["tables"]:
        return _on_one_thread("bench.tables", argv[1:])
    if argv[:1] == ["grid"]:
        return grid.main(argv[1:])
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.again and (arguments.quick or arguments.engines or arguments.isa or not arguments.rows):
        parser.error("--again needs --rows, and measures them with every engine")
    try:
        if arguments.readme:
            from bench import tables_report  # needs matplotlib

            report.rewrite_readme("benchmark", report.markdown(report.newest_results()))
            report.rewrite_readme("tables", tables_report.summary(tables_report.kept()))
            return 0
        if arguments.report:
            from bench.page import write_page  # needs matplotlib

            print(f"written: {write_page(report.newest_results())}")
            return 0
        if arguments.real_data:
            return _run_on_one_thread("bench.estimators", arguments)
        before = report.newest_results() if arguments.again else {}
        old = json.loads(arguments.compare.read_text(encoding="utf-8")) if arguments.compare else None
        with Workers(arguments.isa) as workers:
            if arguments.test_error:
                return _test_errors(workers, arguments)
            results = run(workers, arguments)
        if arguments.again:
            results = report.renewed(before, results)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"bench: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: interrupted, nothing is written", file=sys.stderr)
        return 1
    is_full = arguments.again or not (arguments.quick or arguments.rows or arguments.engines or arguments.isa)
    output = arguments.output or (_results_path(results) if is_full else None)
    if output:
        output.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"\nwritten: {output}")
    slower = list(slower_rows(old, results)) if old else []
    if old:
        print(f"\nslower than in {arguments.compare}:", *(slower or ["none"]), sep="\n")
    return int(bool(slower) or any(row["error"] for row in results["rows"]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main table in a minute or two; not kept")
    parser.add_argument("--isa", default="", help="instruction set that fastmlp must use; the results are not kept")
    parser.add_argument("--rows", default="", metavar="SUBSTRING", help="only rows whose name contains this; not kept")
    parser.add_argument("--engines", default="", metavar="A,B", help="only these beside fastmlp; not kept")
    parser.add_argument("--again", action="store_true", help="put the selected rows into the newest results")
    parser.add_argument("--targets", action="store_true", help="show what each row should reach")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the results here, whatever was measured")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="list the rows whose lead over NumPy is 10 %% below this file's"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--readme", action="store_true", help="measure nothing: rewrite the README from the newest results"
    )
    instead.add_argument(
        "--report", action="store_true", help="measure nothing: write bench/report.html from the newest results"
    )
    instead.add_argument(
        "--real-data", action="store_true", help="measure the estimators on real data against scikit-learn's instead"
    )
    instead.add_argument(
        "--accuracy", action="store_true", help="measure the time to an accuracy only; part of the full run"
    )
    instead.add_argument(
        "--test-error",
        action="store_true",
        help="train as is done today to the end: test error and time, and PyTorch's",
    )
    return parser


def _run_on_one_thread(module: str, arguments: argparse.Namespace) -> int:
    """Run a module in a process in which every library uses one thread."""
    options = ["--rows", arguments.rows]
    if arguments.quick:
        options += ["--rounds", "1"]
    output = arguments.output
    if not (output or arguments.quick or arguments.rows):
        output = report.RESULTS / "estimators" / f"{datetime.now(UTC).date().isoformat()}.json"
    if output:
        options += ["--output", str(output.absolute())]
    return _on_one_thread(module, options)


def _on_one_thread(module: str, options: Sequence[str]) -> int:
    environment = {**os.environ, **BLAS_ONE_THREAD, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", module, *options], env=environment, cwd=ROOT, check=False).returncode


def _test_errors(workers: Workers, arguments: argparse.Namespace) -> int:
    """Print them; 1 where fastmlp leaves more than it should."""
    present, _ = _present(arguments, ())
    missed = False
    for text in accuracy.test_errors(workers, present):
        print(text, flush=True)
        missed |= "MISSED" in text
    return int(missed)


def run(workers: Workers, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what the arguments select, print it, and return what the results file holds."""
    network, _ = NETWORKS[0]
    about = workers.of(Run("fastmlp", network)).ask("describe")
    n_cpus = machine.n_cpus()
    present, absent = _present(arguments, about["isas"])
    results = {
        "started": machine.now(),
        "machine": machine.describe(),
        "isa": about["isa"],
        "versions": about["versions"],
        "absent": absent,
        "blas": {n: workers.of(Run(n, network)).ask("blas") for n in ("numpy", "numpy-avx512") if n in present},
        "rows": [],
        "races": [],
    }
    _print_head(results)
    if not arguments.accuracy:
        print(f"\n{report.HEADER}")
        selected = _selected(arguments, n_cpus, about["isa"], present)
        results["rows"] = list(_measured(workers, arguments, selected, n_cpus))
    if arguments.accuracy or not (arguments.quick or arguments.rows):
        for race in accuracy.races(workers, present):
            print(*accuracy.lines(race), sep="\n", flush=True)
            results["races"].append(race)
    return results


def _present(arguments: argparse.Namespace, isas: Sequence[str]) -> tuple[list[str], list[str]]:
    """Engines to measure, and those that are not installed."""
    wanted = arguments.engines.split(",") if arguments.engines else list(ENGINES)
    if arguments.quick and not arguments.engines:
        wanted = [name for name in wanted if ENGINES[name].environment != TORCH_COMPILES]  # longer than the rest
    return runnable(wanted, isas)


def _selected(arguments: argparse.Namespace, n_cpus: int, isa: str, present: Sequence[str]) -> list[Row]:
    every = arguments.rows or not arguments.quick
    selected = [
        _without(row, present)
        for row in rows(n_cpus, isa)
        if arguments.rows in row.name and (every or row.group == "one thread")
    ]
    if not selected:
        raise ValueError(f"no row's name contains {arguments.rows!r}")
    return selected


def _measured(
    workers: Workers, arguments: argparse.Namespace, selected: Sequence[Row], n_cpus: int
) -> Iterator[dict[str, Any]]:
    seconds, rounds = (0.5, 3) if arguments.quick else (4.0, 5)
    for number, row in enumerate(selected, 1):
        machine.progress(f"[{number}/{len(selected)}] {row.name}")
        try:
            result = measure(row, workers, n_cpus, seconds, rounds)
        except RuntimeError as error:
            result = {"name": row.name, "group": row.group, "goals": row.goals, "error": str(error)}
        machine.progress("")
        print(report.line(result, arguments.targets), flush=True)
        yield result


def _without(row: Row, present: Sequence[str]) -> Row:
    """The row without the runs of engines that this machine cannot run."""
    return replace(row, runs={label: run for label, run in row.runs.items() if run.engine in present})


def _print_head(results: dict[str, Any]) -> None:
    about = results["machine"]
    if results["absent"]:
        print(f"not installed, left out: {', '.join(results['absent'])}")
    print(f"{about['cpu']}, {about['n_cpus']} CPUs, {results['isa']}, {about['system']}")
    print(", ".join(f"{name} {version}" for name, version in results["versions"].items()))
    for name, blas in results["blas"].items():
        print(f"{name}: {blas}")
    machine.warn_if_busy(about)


def _results_path(results: dict[str, Any]) -> Path:
    machine = re.sub(r"[^a-z0-9]+", "-", results["machine"]["cpu"].lower()).strip("-")
    return report.RESULTS / f"{results['started'][:10]}-{machine}.json"


if __name__ == "__main__":
    sys.exit(main())
