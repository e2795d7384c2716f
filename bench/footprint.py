"""What an engine costs before and beside the arithmetic: ``python -m bench.footprint``.

For each installed engine, in fresh processes: the size of the package and of all that it needs on the disk, the seconds
of its import, and the peak memory of a training beyond the libraries and the data.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from bench.engines import ENGINES
from bench.workloads import Workload

ROOT = Path(__file__).parents[1]
WORKLOAD = Workload((784, 256, 256, 10), 256, n_rows=60000, n_epochs=1)
IMPORTS = {
    "fastmlp": ("fastmlp", "from fastmlp import Trainer"),
    "numpy": ("numpy", "import numpy"),
    "scikit-learn": ("scikit-learn", "import sklearn.neural_network"),
    "torch": ("torch", "import torch"),
    "torch-compile": ("torch", "import torch"),
    "jax": ("jax", "import jax.numpy"),
}
"""Distribution and import of each engine."""

TIME_IMPORT = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"

MEASURE_MEMORY = """
import sys, warnings
from pathlib import Path
from bench.engines import ENGINES
from bench.footprint import WORKLOAD
def kilobytes(field):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])
warnings.simplefilter("ignore")
name, statement = sys.argv[1:]
exec(statement)
before = kilobytes("VmRSS")
session = ENGINES[name].open(WORKLOAD, 1)
session.reset()
session.turn()
peak = kilobytes("VmHWM")
X, y = WORKLOAD.data()
print(peak - before - (X.nbytes + y.nbytes) / 1024)
"""


def bytes_on_disk(name: str) -> tuple[int, int]:
    """Size of a distribution alone, and with all the distributions that it requires."""
    sizes = {required: _own_size(required) for required in _requirements(name, set())}
    return sizes[name], sum(sizes.values())


def _requirements(name: str, seen: set[str]) -> Iterator[str]:
    """The distribution and those that it needs, extras not counted."""
    if name in seen:
        return
    seen.add(name)
    yield name
    for requirement in _requires(name):
        # "extra ==" marks what only an extra asks for; what another platform asks for is not installed.
        if "extra ==" not in requirement:
            yield from _requirements(re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower(), seen)


def _requires(name: str) -> list[str]:
    if name == "fastmlp":  # may run from a checkout
        return ["numpy", "scikit-learn"]
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:
        return []


def _own_size(name: str) -> int:
    if name == "fastmlp":
        suffixes = (".py", ".pyi", ".so", ".pyd")
        return sum(path.stat().st_size for path in (ROOT / "fastmlp").iterdir() if path.suffix in suffixes)
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return 0
    return sum(path.stat().st_size for file in files if (path := Path(str(file.locate()))).is_file())


def _run(code: str, *arguments: str) -> float:
    command = [sys.executable, "-c", code, *arguments]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()[-1])


def main() -> None:
    """Print the table."""
    print(f"training: {WORKLOAD.name}, {WORKLOAD.n_rows} rows of float32\n")
    print(f"{'':20}{'MB alone':>10}{'MB with all':>12}{'import, s':>11}{'fit, MB above data':>20}")
    for name, (distribution_name, statement) in IMPORTS.items():
        engine = ENGINES[name]
        if not engine.is_installed():
            print(f"{engine.title:20}not installed")
            continue
        alone, with_all = bytes_on_disk(distribution_name)
        seconds = min(_run(TIME_IMPORT.format(statement)) for _ in range(3))
        memory = f"{_run(MEASURE_MEMORY, name, statement) / 1024:.0f}" if Path("/proc/self/status").exists() else "?"
        print(f"{engine.title:20}{alone / 1e6:10.1f}{with_all / 1e6:12.1f}{seconds:11.3f}{memory:>20}", flush=True)


if __name__ == "__main__":
    main()
