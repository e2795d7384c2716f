"""Does a test notice? One small mistake at a time, in a copy of the tree, tested until the first failure.

    python -m tools.mutants engine                    the mistakes of engine_mutants.py, each of which is compiled
    python -m tools.mutants python --sample 100       mistakes of this many places of fastmlp/*.py, drawn by --seed
    python -m tools.mutants python --only validation  of the files whose name holds this

A mutant is killed when a test fails, the build fails or time is up; it survives when all tests pass. The tests that
reach the changed line come first. Exit code 1 below GOAL, or where a text of engine_mutants.py is not found.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from tools.engine_mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[1]
GOAL = 0.95
SECONDS = 1800
"""After which a mutant hangs: more than the whole suite takes."""
LEFT_OUT = {"test_house.py", "test_typing.py", "test_bench.py"}
"""Tests that look at the text rather than at what it does, or at the workshop."""
ENGINE_TESTS = {
    "activations.h": ["test_activations.py", "test_network.py"],
    "losses.h": ["test_losses.py", "test_network.py"],
    "optimizers.h": ["test_optimizers.py", "test_network.py"],
    "sparse.h": ["test_gather.py", "test_gemm.py"],
    "gather.h": ["test_gather.py", "test_losses.py", "test_network.py"],
    "vec_math.h": ["test_elementwise.py", "test_activations.py", "test_losses.py"],
    "team.h": ["test_threads.py", "test_bits.py"],
    "operand.h": ["test_bfloat16.py"],
    "vec.h": ["test_bfloat16.py"],
}
"""Files of tests that are likely to notice, for each file of the engine; the rest of the engine's come next."""
ENGINE_REST = [
    "test_gemm.py",
    "test_network.py",
    "test_threads.py",
    "test_bits.py",
    "test_optimizers.py",
    "test_door.py",
    "test_bfloat16.py",
    "test_uninitialised.py",
]


@dataclass(frozen=True)
class Mutant:
    """One change: the span of a file that is replaced."""

    path: Path  # from the root of the tree
    begin: int
    end: int
    text: str
    tests: tuple[str, ...]  # arguments of pytest, likely ones first
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
        pattern = r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", old)))
        found = list(re.finditer(pattern, (ROOT / path).read_text(encoding="utf-8")))
        if len(found) != 1:
            lost.append(f"{path}: {old!r} stands there {len(found)} times")
        elif only in file:
            tests = dict.fromkeys([*ENGINE_TESTS.get(file, []), *ENGINE_REST])
            first = tuple(f"tests/{name}" for name in tests if (ROOT / "tests" / name).exists())
            mutants.append(Mutant(path, *found[0].span(), new, (*first, "tests"), *reason))
    return mutants, lost


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


def python_mutants(only: str, sample: int, seed: int) -> list[Mutant]:
    """A sample of all changes, with the tests that reach their lines."""
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
        first = tests.get((str(name), source.count("\n", 0, begin) + 1), ())
        mutants.append(Mutant(name, begin, end, text, (*first, "tests")))
    return mutants


def reaching_tests() -> dict[tuple[str, int], tuple[str, ...]]:
    """The tests that reach each line of fastmlp/*.py, from a run of them all."""
    from coverage import CoverageData

    print("which test reaches which line ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data_file, config = Path(folder) / "data", Path(folder) / "coveragerc"
        config.write_text("[run]\nsource = fastmlp\ndynamic_context = test_function\n")
        run = [sys.executable, "-m", "coverage", "run", f"--rcfile={config}", f"--data-file={data_file}"]
        subprocess.run([*run, "-m", "pytest", "-q", *left_out(), "tests"], cwd=ROOT, check=True)
        data = CoverageData(str(data_file))
        data.read()
        reached: dict[tuple[str, int], tuple[str, ...]] = {}
        for path in data.measured_files():
            for line, contexts in data.contexts_by_lineno(path).items():
                names = sorted({context for context in contexts if context.startswith("test_")})
                ids = tuple(f"tests/{name.partition('.')[0]}.py::{name.partition('.')[2]}" for name in names)
                reached[str(Path(path).relative_to(ROOT)), line] = tuple(i for i in ids if i.count(".") == 1)
    return reached


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


def passes(tree: Path, *command: str) -> bool:
    """Whether Python ends well with these arguments."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(
            [sys.executable, *command], cwd=tree, env=environment, capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0


def tests_pass(tree: Path, *tests: str) -> bool:
    return passes(tree, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *left_out(), *tests)


def is_killed(mutant: Mutant, tree: Path) -> bool:
    """Change the copy, build it if need be, test it and change it back."""
    path = tree / mutant.path
    source = path.read_text(encoding="utf-8")
    path.write_text(source[: mutant.begin] + mutant.text + source[mutant.end :], encoding="utf-8")
    try:
        if mutant.path.suffix != ".py" and not passes(tree, "setup.py", "build_ext", "--inplace"):
            return True
        *first, rest = mutant.tests
        return (bool(first) and not tests_pass(tree, *first)) or not tests_pass(tree, rest)
    finally:
        path.write_text(source, encoding="utf-8")


def judge(mutants: list[Mutant], jobs: int) -> list[Mutant]:
    """Print what becomes of each; return the survivors."""
    survivors: list[Mutant] = []
    done, start = 0, time.monotonic()
    trees: Queue[Path] = Queue()

    def one(mutant: Mutant) -> tuple[Mutant, bool]:
        tree = trees.get()
        try:
            return mutant, is_killed(mutant, tree)
        finally:
            trees.put(tree)

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        for job in range(jobs):
            trees.put(copy_of_the_tree(Path(folder) / str(job)))
        if not tests_pass(trees.queue[0], "tests"):
            raise SystemExit("the tests do not pass without a mistake")
        for mutant, killed in pool.map(one, mutants):
            done += 1
            word = "killed  " if killed else "SURVIVED"
            print(f"{done}/{len(mutants)} {time.monotonic() - start:5.0f} s  {word}", end="  ")
            print(mutant.name((ROOT / mutant.path).read_text(encoding="utf-8")), mutant.reason, flush=True)
            survivors += [] if killed else [mutant]
    return survivors


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["engine", "python"])
    parser.add_argument("--only", default="", help="part of the name of the files to change")
    parser.add_argument("--sample", type=int, default=100, help="number of mutants of Python")
    parser.add_argument("--seed", type=int, default=0, help="which of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    lost: list[str] = []
    if arguments.what == "engine":
        mutants, lost = engine_mutants(arguments.only)
    else:
        mutants = python_mutants(arguments.only, arguments.sample, arguments.seed)
    for message in lost:
        print("NOT FOUND", message)
    survivors = judge(mutants, arguments.jobs)
    unexplained = [mutant for mutant in survivors if not mutant.reason]
    killed = len(mutants) - len(survivors)
    print(f"{killed} of {len(mutants)} killed, {len(unexplained)} survived without a reason, {len(lost)} not found")
    return int(bool(lost) or len(unexplained) > (1 - GOAL) * len(mutants))


if __name__ == "__main__":
    sys.exit(main())
