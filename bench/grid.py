"""``python -m bench grid``: networks from narrow to wide, from one row to thousands, against the best peer of each.

Every optimizer, dtype and number of threads, and `predict`. It says before it starts how long it will take, and after
it how long it took. As everywhere in the benchmark, the peers must have computed the same for a time to count.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import machine
from bench.cells import DTYPES, PEERS, SECONDS, Cell, cells, estimate
from bench.engines import ENGINES, runnable
from bench.measure import Workers, measure
from bench.report import PICTURES, RESULTS
from bench.workloads import Row, Run, Workload

CLEAR = 1.10
"""Times as fast as the best peer: below, noise decides."""

Results = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a cell failed or nothing could be measured."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.again and (arguments.quick or arguments.engines):
        parser.error("--again needs every engine, and cells of the whole grid")
    try:
        with Workers() as workers:
            results = run(workers, arguments)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"bench grid: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench grid: interrupted, nothing is written", file=sys.stderr)
        return 1
    is_full = arguments.again or not (arguments.quick or arguments.rows or arguments.engines)
    output = arguments.output or (kept(results) if is_full else None)
    if output:
        write(results, output)
        print(f"written: {output}")
    if output and is_full and find_spec("matplotlib"):
        from bench.heat import write_picture

        print(f"written: {write_picture(results, (PICTURES / output.name).with_suffix('.png'))}")
    return int(any(cell["error"] for cell in results["cells"]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench grid", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only a few cells of each heat map; not kept")
    parser.add_argument("--rows", default="", metavar="SUBSTRING", help="only cells whose name contains this; not kept")
    parser.add_argument("--engines", default="", metavar="A,B", help="only these beside fastmlp; not kept")
    parser.add_argument(
        "--again", action="store_true", help="put the selected cells into the results kept for this instruction set"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the results here, whatever was measured")
    return parser


def run(workers: Workers, arguments: argparse.Namespace) -> Results:
    """Measure the cells that the arguments select, print them, and return what the results file is to hold.

    Raises
    ------
    ValueError
        If no cell is selected, or if the results to put them into are of another machine or library.
    """
    worker = workers.of(Run("fastmlp", Workload((1, 1), 1)))
    about = worker.ask("describe")
    wanted = arguments.engines.split(",") if arguments.engines else list(ENGINES)
    present, absent = runnable(wanted, about["isas"])
    n_cpus = machine.n_cpus()
    selected = [cell for cell in cells(arguments.quick, n_cpus) if arguments.rows in cell.name]
    if not selected:
        raise ValueError(f"no cell's name contains {arguments.rows!r}")
    peaks = {dtype: worker.ask("fma_peak", dtype) for dtype in DTYPES}
    rows = [cell.row(present, peaks[cell.dtype], n_cpus) for cell in selected]
    estimated = estimate(selected, rows, peaks, n_cpus)
    results: Results = {
        "started": machine.now(),
        "machine": machine.describe(),
        "isa": about["isa"],
        "versions": about["versions"],
        "absent": [name for name in absent if any(name in peers for peers in PEERS.values())],
        "fma_peaks": peaks,
        "estimated": estimated,
    }
    file = kept(results)
    before = json.loads(file.read_text(encoding="utf-8")) if arguments.again and file.exists() else None
    if before:
        machine.require_same(before, results)
    machine.warn_if_busy(results["machine"])
    if results["absent"]:
        print(f"not installed, left out: {', '.join(results['absent'])}")
    print(f"{len(selected)} cells: about {minutes(estimated)}", flush=True)
    start = time.perf_counter()
    results["cells"] = list(_measured(workers, selected, rows, n_cpus, peaks))
    results["seconds"] = time.perf_counter() - start
    print(*lines(results), sep="\n")
    return renewed(before, results) if before else results


def _measured(
    workers: Workers, selected: Sequence[Cell], rows: Sequence[Row], n_cpus: int, peaks: dict[str, float]
) -> Iterator[Results]:
    for number, (cell, row) in enumerate(zip(selected, rows, strict=True), 1):
        machine.progress(f"[{number}/{len(selected)}] {cell.name}")
        result = vars(cell) | {"error": ""}
        try:
            rounds = cell.rounds(peaks[cell.dtype], n_cpus)
            measured = measure(row, workers, n_cpus, SECONDS, rounds, peaks)
        except RuntimeError as error:
            yield result | {"error": str(error).strip().splitlines()[-1], "microseconds": {}}
            continue
        first, *_ = measured["runs"].values()
        times = {engine: round(of["microseconds"], 3) for engine, of in measured["runs"].items()}
        yield result | {"error": measured["error"], "percent": round(first["percent"], 1), "microseconds": times}
    machine.progress("")


def kept(results: Results) -> Path:
    """The file of a whole grid: one for each instruction set."""
    return RESULTS / f"grid-{results['isa']}.json"


def renewed(before: Results, now: Results) -> Results:
    """Results with the cells that have been measured again in the place of those that were before, and the new ones."""

    def key(cell: Results) -> Any:
        return *_key(cell), cell["dtype"]

    known = {key(cell): cell for cell in before["cells"]}
    again = {key(cell): cell for cell in now["cells"]}
    times = ("estimated", "seconds") if again.keys() - known.keys() else ()
    return before | {name: before[name] + now[name] for name in times} | {"cells": [*(known | again).values()]}


def write(results: Results, path: Path) -> None:
    """A cell a line."""
    head = json.dumps({name: value for name, value in results.items() if name != "cells"}, indent=1)
    body = ",\n  ".join(json.dumps(cell) for cell in results["cells"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{head[:-2]},\n "cells": [\n  {body}\n ]\n}}\n', encoding="utf-8")


def panels(results: Results) -> dict[str, dict[tuple[int, int], Results]]:
    """The cells of each heat map, by width and number of rows, with ``ratio`` and ``peer``, the best one, in them.

    Cells in bfloat16 are compared with what peers do in float32, too. None without a peer, and where one has computed
    something else.
    """
    known = {(*_key(cell), cell["dtype"]): cell["microseconds"] for cell in results["cells"]}
    found: dict[str, dict[tuple[int, int], Results]] = {}
    for cell in results["cells"]:
        ours, *peers = [*cell["microseconds"].items()] or [("", 0.0)]
        if cell["dtype"] == "bfloat16":
            peers += [*known.get((*_key(cell), "float32"), {}).items()][1:]
        peer, best = min(peers, key=lambda item: item[1], default=("", 0.0))
        ratio = best / ours[1] if peer and ours[1] and not cell["error"] else None
        panel = Cell(*(cell[name] for name in Cell.__dataclass_fields__)).panel
        found.setdefault(panel, {})[cell["width"], cell["n_rows"]] = cell | {"ratio": ratio, "peer": peer}
    return found


def _key(cell: Results) -> tuple[Any, ...]:
    return tuple(cell[name] for name in ("task", "optimizer", "n_threads", "width", "n_rows"))


def lost(results: Results) -> list[tuple[str, Results]]:
    """The cells in which a peer is faster, and their panels; the worst first."""
    cells_of = [(panel, cell) for panel, of in panels(results).items() for cell in of.values()]
    below = [(panel, cell) for panel, cell in cells_of if cell["ratio"] is not None and cell["ratio"] < 1]
    return sorted(below, key=lambda item: float(item[1]["ratio"]))


def lines(results: Results) -> Iterator[str]:
    """The heat maps as words, what is lost and what failed, and the time that it took."""
    for panel, of in panels(results).items():
        widths, n_rows = (sorted({key[place] for key in of}) for place in (0, 1))
        yield f"\n{panel}: time of the best peer as a multiple of ours, by width (down) and rows"
        yield f"{'':6}" + "".join(f"{n:>8}" for n in n_rows)
        for width in widths:
            ratios = [of[width, n]["ratio"] if (width, n) in of else None for n in n_rows]
            yield f"{width:6}" + "".join("       -" if ratio is None else f"{ratio:8.2f}" for ratio in ratios)
        yield f"at most {max(cell.get('percent', 0.0) for cell in of.values()):.0f} % of the FMA peak"
    ratios = [cell["ratio"] for of in panels(results).values() for cell in of.values() if cell["ratio"] is not None]
    yield f"\n{len(ratios)} cells: {sum(r < 1 for r in ratios)} lost, {sum(1 <= r < CLEAR for r in ratios)} within 10 %"
    for panel, cell in lost(results):
        yield f"{cell['ratio']:.2f} {panel}, {cell['width']} × {cell['n_rows']}: {ENGINES[cell['peer']].title}"
    for cell in results["cells"]:
        if cell["error"]:
            yield f"ERROR {Cell(*(cell[name] for name in Cell.__dataclass_fields__)).name}: {cell['error']}"
    yield f"took {minutes(results['seconds'])}, {minutes(results['estimated'])} were estimated"


def minutes(seconds: float) -> str:
    """As words."""
    return f"{seconds / 60:.1f} min" if seconds < 600 else f"{seconds / 60:.0f} min"
