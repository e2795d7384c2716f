"""Does a test notice? One small mistake at a time, in a copy of the tree, tested until the first failure.

    python -m tools.mutants engine                    the mistakes of engine_mutants.py, each of which is compiled
    python -m tools.mutants python --sample 100       mistakes of this many places of fastmlp/*.py, drawn by --seed
    python -m tools.mutants python --only validation  of the files whose name holds this

A mutant is killed when a test fails twice, hangs or crashes; it survives when the tests of its room pass: of the engine
all that run on each instruction set, of a line of Python those that reach it. Where no test does, as the line runs at
import or in another process, its room is all tests. One that no test can notice is named with the reason, in
engine_mutants.py, python_mutants.py or python_mutants_folders.py. Exit code 1 below GOAL, or where a text of these is
not found, or one does not compile.
"""

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from tools.engine_mutants import MUTANTS
from tools.python_mutants import EQUIVALENT
from tools.python_mutants_folders import IN_FOLDERS

ROOT = Path(__file__).resolve().parents[1]
GOAL = 0.95
SECONDS = 300
"""After which a test hangs: ten times as long as the longest takes on two cores."""
LEFT_OUT = {"test_house.py", "test_typing.py", "test_bench.py"}
"""Tests that look at the text rather than at what it does, or at the workshop."""
ENGINE_TESTS = {
    "activations.h": ["test_activations.py"],
    "losses.h": ["test_losses.py"],
    "optimizers.h": ["test_optimizers.py"],
    "noise.h": ["test_regularisation.py"],
    "sparse.h": ["test_gather.py"],
    "gather.h": ["test_gather.py"],
    "vec_math.h": ["test_elementwise.py"],
    "team.h": ["test_threads.py", "test_bits.py"],
    "operand.h": ["test_bfloat16.py"],
    "vec.h": ["test_bfloat16.py"],
    "input_scale.h": ["test_input_scale.py"],
}
"""Files of tests that are likely to notice, for each file of the engine; the others of its room come next."""
ENGINE_FIRST = [
    f"test_{name}.py"
    for name in ("gemm", "door", "door_training", "door_scratch", "gather", "regularisation", "optimizers", "network")
]
"""Of all others those that notice most in the least time."""


NO_BUILD = "DOES NOT COMPILE"


@dataclass(frozen=True)
class Mutant:
    """One change: the span of a file that is replaced."""

    path: Path  # from the root of the tree
    begin: int
    end: int
    text: str
    tests: tuple[str, ...]  # of its room, in the order in which they are tried
    reason: str = ""  # why no test can notice

    def name(self, source: str) -> str:
        line = source.count("\n", 0, self.begin) + 1
        old = " ".join(source[self.begin : self.end].split())
        return f"{self.path}:{line}: {old[:60]} -> {self.text[:60] or 'nothing'}"


def engine_mutants(only: str) -> tuple[list[Mutant], list[str]]:
    """The list, and what is not found of it."""
    mutants, lost = [], []
    for file, old, new, *reason in MUTANTS:
        path = Path("csrc/engine") / file
        found = places(path, old)
        if len(found) != 1:
            lost.append(f"{path}: {old!r} stands there {len(found)} times")
        elif only in file:
            tests = dict.fromkeys([*ENGINE_TESTS.get(file, []), *ENGINE_FIRST, *engine_rooms()])
            mutants.append(Mutant(path, *found[0], new, tuple(f"tests/{name}" for name in tests), *reason))
    return mutants, lost


def places(path: Path, text: str) -> list[tuple[int, int]]:
    """Where a text stands in a file; white space does not count."""
    pattern = r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", text)))
    return [found.span() for found in re.finditer(pattern, (ROOT / path).read_text(encoding="utf-8"))]


def engine_rooms() -> list[str]:
    """Files with tests that run on each instruction set."""
    paths = sorted((ROOT / "tests").glob("test_*.py"))
    return [path.name for path in paths if re.search(r"[(,] ?isa: str", path.read_text(encoding="utf-8"))]


COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
WORDS = {"is not": "is", "is": "is not", "not in": "in", "in": "not in", "and": "or", "or": "and"}
ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "/", "%": "*", "**": "*"}


def python_changes(source: str) -> Iterator[tuple[int, int, str]]:
    """Spans of a module and what to put there: operators, numbers, truths, and statements that are left out."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def at(line: int, column: int) -> int:  # ast counts bytes
        return len(source.encode()[: starts[line - 1] + column].decode())

    def span(node: ast.expr | ast.stmt) -> tuple[int, int]:
        return at(node.lineno, node.col_offset), at(node.end_lineno or 0, node.end_col_offset or 0)

    def between(left: ast.expr, right: ast.expr, swaps: dict[str, str]) -> Iterator[tuple[int, int, str]]:
        begin, end = span(left)[1], span(right)[0]
        words = sorted(map(re.escape, swaps), key=len, reverse=True)
        found = re.search(rf"(?:{'|'.join(words)})", source[begin:end])
        if found:
            yield begin + found.start(), begin + found.end(), swaps[found.group()]

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            for left, right in zip([node.left, *node.comparators], node.comparators, strict=False):
                yield from between(left, right, COMPARISONS | WORDS)
        elif isinstance(node, ast.BoolOp):
            yield from between(node.values[0], node.values[1], WORDS)
        elif isinstance(node, ast.BinOp):
            yield from between(node.left, node.right, ARITHMETIC)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            begin = span(node)[0]
            yield begin, begin + len("not "), ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield *span(node), str(not node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            yield *span(node), repr(node.value + 1)
        elif isinstance(node, (ast.Raise, ast.AugAssign)) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        ):
            yield *span(node), "pass"


def changed(source: str, begin: int, end: int, text: str) -> str:
    return source[:begin] + text + source[end:]


def equivalents() -> tuple[dict[tuple[Path, str], str], list[str]]:
    """Why no test can notice: the reason for each file and its changed text; and what is not found of the list."""
    reasons, lost = {}, []
    for file, old, new, reason in EQUIVALENT + IN_FOLDERS:
        path = Path("fastmlp") / file
        found = places(path, old)
        if len(found) == 1:
            reasons[path, changed((ROOT / path).read_text(encoding="utf-8"), *found[0], new)] = reason
        else:
            lost.append(f"{path}: {old!r} stands there {len(found)} times")
    return reasons, lost


def python_mutants(only: str, sample: int, seed: int) -> tuple[list[Mutant], list[str]]:
    """A sample of all changes, with the tests that reach their lines; and what is not found of the two lists."""
    reasons, lost = equivalents()
    changes = []
    for path in sorted((ROOT / "fastmlp").rglob("*.py")):
        if only in path.name and path.name != "numpy_training.py":  # the naive twin is a test itself
            source = path.read_text(encoding="utf-8")
            changes += [(path, source, *change) for change in python_changes(source)]
    random.Random(seed).shuffle(changes)
    tests = reaching_tests()
    mutants = []
    for path, source, begin, end, text in changes[:sample]:
        name = path.relative_to(ROOT)
        reaching = tests.get((str(name), source.count("\n", 0, begin) + 1), ["tests"])
        reason = reasons.get((name, changed(source, begin, end, text)), "")
        mutants.append(Mutant(name, begin, end, text, tuple(reaching), reason))
    return mutants, lost


def reaching_tests() -> dict[tuple[str, int], list[str]]:
    """The tests that reach each line of fastmlp/*.py, from a run of them all; first those that reach the fewest."""
    from coverage import CoverageData

    print("which test reaches which line ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data_file, config = Path(folder) / "data", Path(folder) / "coveragerc"
        config.write_text("[run]\nsource = fastmlp\ndynamic_context = test_function\n")
        run = [sys.executable, "-m", "coverage", "run", f"--rcfile={config}", f"--data-file={data_file}"]
        ended = subprocess.run([*run, "-m", "pytest", "-q", *left_out(), "tests"], cwd=ROOT, check=False)
        if ended.returncode not in (0, 1):  # judge tries a test that failed again: was only the machine too busy?
            raise SystemExit("the tests did not run to their end")
        data = CoverageData(str(data_file))
        data.read()
    reached: dict[tuple[str, int], list[str]] = {}
    for path in data.measured_files():
        for line, contexts in data.contexts_by_lineno(path).items():
            names = [context.replace(".", ".py::") for context in contexts if context.count(".") == 1]
            if names:
                reached[str(Path(path).relative_to(ROOT)), line] = [f"tests/{name}" for name in names]
    n_lines = Counter(test for tests in reached.values() for test in tests)
    return {line: sorted(tests, key=lambda test: (n_lines[test], test)) for line, tests in reached.items()}


def left_out() -> list[str]:
    return [f"--ignore=tests/{name}" for name in sorted(LEFT_OUT)]


def copy_of_the_tree(folder: Path) -> Path:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tree = folder / ROOT.name  # data beside the checkout stay beside it
    for name in [*files.split("\0")[:-1], *(str(path.relative_to(ROOT)) for path in ROOT.glob("fastmlp/*.so"))]:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    if (ROOT.parent / "shared").exists():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    return tree


def run(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, on what is in the copy."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "FASTMLP_QUICK": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )


PYTEST = ["-m", "pytest", "-x", "-v", "--tb=short", "-p", "no:cacheprovider"]
HANGS = ["-o", f"faulthandler_timeout={SECONDS}", "-o", "faulthandler_exit_on_timeout=true"]


def failure(tree: Path, *tests: str) -> tuple[str, str]:
    """The first test that fails, hangs or crashes, and what pytest said; two empty texts if all pass."""
    ended = run(tree, *PYTEST, *HANGS, *left_out(), *tests)
    if ended.returncode == 0:
        return "", ""
    begun = re.findall(r"^(tests/\S+::.+?)(?: [A-Z]+(?: .*)?)?\s*$", ended.stdout, re.MULTILINE)
    return begun[-1] if begun else "before the first test", ended.stdout + ended.stderr


def noticed_by(tree: Path, *tests: str) -> str:
    """The first test that fails twice: one that only a busy machine made too slow passes when it is run again."""
    for _ in range(2):
        test, _ = failure(tree, *tests)
        if not test or "::" not in test or failure(tree, test)[0]:
            return test
    return test


def killer(mutant: Mutant, tree: Path) -> str:
    """Change the copy, build it if need be, test it and change it back; which test noticed."""
    path = tree / mutant.path
    source = path.read_text(encoding="utf-8")
    path.write_text(changed(source, mutant.begin, mutant.end, mutant.text), encoding="utf-8")
    try:
        if mutant.path.suffix != ".py" and run(tree, "setup.py", "build_ext", "--inplace").returncode:
            return NO_BUILD
        return noticed_by(tree, *mutant.tests)
    finally:
        path.write_text(source, encoding="utf-8")


def judge(mutants: list[Mutant], jobs: int) -> tuple[list[Mutant], int]:
    """Print what becomes of each; return the survivors, and how many do not compile."""
    survivors: list[Mutant] = []
    broken, start = 0, time.monotonic()
    trees: Queue[Path] = Queue()

    def one(mutant: Mutant) -> str:
        tree = trees.get()
        try:
            return killer(mutant, tree)
        finally:
            trees.put(tree)

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        for job in range(jobs):
            trees.put(copy_of_the_tree(Path(folder) / str(job)))
        tests = dict.fromkeys(test for mutant in mutants for test in mutant.tests)
        test = noticed_by(trees.queue[0], *(["tests"] if "tests" in tests else tests))
        if test:
            raise SystemExit(f"{failure(trees.queue[0], test)[1][-10000:]}\n{test} does not pass without a mistake")
        for done, (mutant, test) in enumerate(zip(mutants, pool.map(one, mutants), strict=True), 1):
            name = mutant.name((ROOT / mutant.path).read_text(encoding="utf-8"))
            word = f"killed by {test}" if "::" in test else test or "SURVIVED " + mutant.reason
            print(f"{done}/{len(mutants)} {time.monotonic() - start:5.0f} s  {name}\n    {word}", flush=True)
            survivors += [] if test else [mutant]
            broken += test == NO_BUILD
    return survivors, broken


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["engine", "python"])
    parser.add_argument("--only", default="", help="part of the name of the files to change")
    parser.add_argument("--sample", type=int, default=100, help="number of mutants of Python")
    parser.add_argument("--seed", type=int, default=0, help="which of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if arguments.what == "engine":
        mutants, lost = engine_mutants(arguments.only)
    else:
        mutants, lost = python_mutants(arguments.only, arguments.sample, arguments.seed)
    for message in lost:
        print("NOT FOUND", message)
    survivors, broken = judge(mutants, arguments.jobs)
    unexplained = [mutant for mutant in survivors if not mutant.reason]
    killed = len(mutants) - len(survivors) - broken
    print(f"{killed} of {len(mutants)} killed, {len(unexplained)} survived without a reason, ", end="")
    print(f"{len(lost)} not found, {broken} do not compile")
    return int(bool(lost or broken) or len(unexplained) > (1 - GOAL) * len(mutants))


if __name__ == "__main__":
    sys.exit(main())
