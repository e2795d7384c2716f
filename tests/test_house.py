"""The rules of the house that a search of the sources can check: what each room may use, and what it may not."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmlp
from fastmlp import _core, fitting

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"
ENGINE = sorted((CSRC / "engine").glob("*"))
ISA_FILES = sorted(CSRC.glob("isa_*.c"))
PACKAGE = ROOT / "fastmlp"
FACE = sorted(PACKAGE.rglob("*.py"))
DOOR = PACKAGE / "_core.pyx"
TOOLS = sorted((ROOT / "tools").rglob("*.py"))
CONTRIBUTING = ROOT / "CONTRIBUTING.md"

pytestmark = pytest.mark.skipif(not ENGINE, reason="needs the sources")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code(path: Path) -> str:
    """The C source without comments and strings."""
    text = re.sub(r"/\*.*?\*/", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"//[^\n]*", " ", text)
    return re.sub(r'(?<!#include )"(?:\\.|[^"\\\n])*"', '""', text)


def includes(path: Path) -> list[str]:
    return re.findall(r"^\s*#\s*include\s+(\S+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)


def found(pattern: str, paths: list[Path]) -> list[str]:
    """Where code matches, as messages."""
    return [
        f"{relative(path)}: {match.group().strip()}"
        for path in paths
        for match in re.finditer(pattern, code(path), flags=re.MULTILINE)
    ]


def others(*names: str) -> list[Path]:
    """The engine's files but for those."""
    assert set(names) <= {path.name for path in ENGINE}
    return [path for path in ENGINE if path.name not in names]


def test_contract_is_declarations_only() -> None:
    contract = CSRC / "fastmlp.h"
    assert includes(contract) == ["<stdint.h>"]
    assert found(r"\bstatic\b|\binline\b|\bPy\w+", [contract]) == []


def test_engine_includes_the_contract_its_rooms_and_libc() -> None:
    rooms = [f'"{path.name}"' for path in others("engine.c")]
    allowed = {'"../fastmlp.h"', "<math.h>", "<string.h>", "<stddef.h>", "<stdint.h>", *rooms}
    assert set(includes(CSRC / "engine" / "engine.c")) <= allowed
    assert sorted(name for name in includes(CSRC / "engine" / "engine.c") if name in rooms) == sorted(rooms)
    assert [path.name for path in others("engine.c", "team.h") if includes(path)] == []


def test_rooms_use_only_rooms_above() -> None:
    """No forward declaration, which alone would let a room call one below it."""
    assert found(r"^(?:static|INLINE|extern)\b[^={;]*\)\s*;", ENGINE) == []


def test_engine_neither_allocates_nor_prints_nor_ends_the_process() -> None:
    memory = r"\b(?:[mc]alloc|realloc|aligned_alloc|posix_memalign|free|alloca|mmap|VirtualAlloc)\s*\("
    output = r"\b(?:v?f?printf|f?puts|putchar|perror|fopen|fwrite)\s*\("
    ending = r"\b(?:abort|_?exit|assert|raise|longjmp)\s*\("
    assert found(f"{memory}|{output}|{ending}|Py[A-Z_]\\w+", ENGINE) == []


def test_instructions_stay_in_vec() -> None:
    """But for the pause of a waiting thread, which has no portable name."""
    intrinsics = (
        r"\b_mm\d*_\w+|\bv\w+q?_[fsu]\d+\b|__builtin_ia32_(?!pause)\w+|\b__m\d+\w*|vector_size|immintrin|arm_neon"
    )
    assert found(intrinsics, others("vec.h")) == []
    assert found(r"__(?:AVX|SSE|FMA|ARM|x86|aarch|i386)\w*|_M_X64|_M_ARM64", others("vec.h", "team.h")) == []


def test_threads_stay_in_team() -> None:
    threads = (
        r"\bpthread_\w+|\bsched_\w+|__atomic_\w+|__sync_\w+|_Atomic\b|\bvolatile\b|CreateThread|WaitFor\w+|\bHANDLE\b"
    )
    assert found(threads + r"|_WIN32\b|\b_?Thread_local\b|\bomp_\w+|#\s*pragma omp", others("team.h")) == []


def test_engine_has_no_mutable_statics() -> None:
    """Every static is a function or constant, an array of pointers both in the pointers and in what they point to."""
    assert found(r"\bstatic\s+(?!inline\b)(?!.*\bconst\b)[^()\n]*(?:=|;)", ENGINE) == []
    assert found(r"\bstatic\s+const\s+\w+\s*\*\s*(?!const\b)\w+[^()\n]*=", ENGINE) == []


def test_engine_exports_its_struct_alone() -> None:
    """At the left margin stand types, statics, list macros, braces, and a single definition."""
    own = r"static|INLINE|typedef|enum|struct|union|extern|_Static_assert|FM_[A-Z_]+\(|[A-Z_]+\(|[a-z_]+:"
    definitions = found(rf"^(?!(?:{own}))[a-zA-Z_][^\n]*", ENGINE)
    assert definitions == ["csrc/engine/engine.c: const fm_engine FM_ENGINE = {"]


def test_isa_files_hold_directives_only() -> None:
    assert len(ISA_FILES) >= 8, "four instruction sets in two precisions"
    assert found(r"^\s*[^#\s][^\n]*", ISA_FILES) == []
    assert all('"engine/engine.c"' in includes(path) for path in ISA_FILES)


@pytest.mark.skipif(not sys.platform.startswith("linux") or shutil.which("nm") is None, reason="needs nm")
def test_extension_exports_its_initialisation_alone() -> None:
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", str(_core.__file__)], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    assert {line.split()[-1] for line in symbols if line} - {"_init", "_fini"} == {"PyInit__core"}


@pytest.mark.skipif(not sys.platform.startswith("linux") or shutil.which("nm") is None, reason="needs nm")
def test_extension_needs_neither_openmp_nor_blas() -> None:
    symbols = subprocess.run(
        ["nm", "-D", "--undefined-only", str(_core.__file__)], capture_output=True, text=True, check=True
    )
    assert not re.search(r"GOMP|omp_|__kmpc|gemm", symbols.stdout)


def test_door_does_no_arithmetic() -> None:
    """Its loops walk over names and layers; an element of an array is neither read nor computed in it."""
    text = DOOR.read_text(encoding="utf-8")
    without_gil = re.findall(r"^( *)with nogil:\n((?:\1 +[^\n]*\n)+)", text, flags=re.MULTILINE)
    assert without_gil
    assert not any(re.search(r"\b(?:for|while)\b", block) for _, block in without_gil), "a loop without the GIL"
    assert not re.search(r"\bprange\b|\blibc\.math\b|\bnp\.(?:exp|dot|sum|mean|matmul|maximum|add|multiply)\b", text)


def literals(tree: ast.AST) -> Iterator[set[object]]:
    """Lists, tuples and sets of strings that a module writes out."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            yield {item.value for item in node.elts if isinstance(item, ast.Constant)}


@pytest.mark.parametrize("path", FACE, ids=relative)
def test_face_asks_the_engine_for_names(path: Path) -> None:
    tree = ast.parse(path.read_bytes())
    for names in (_core.ACTIVATIONS, _core.LOSSES, tuple(_core.OPTIMIZERS)):
        repeated = [literal for literal in literals(tree) if len(literal & set(names)) >= 3]
        assert repeated == []


def imports(path: Path) -> set[str]:
    """Full names of all that a module imports: of modules, and of what is taken from them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an import names the package"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FACE, ids=relative)
def test_face_imports_neither_the_workshop_nor_pointers(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"bench", "tools", "tests", "ctypes", "cffi"}


@pytest.mark.parametrize("path", [path for path in FACE if path.parent.name != "cli"], ids=relative)
def test_command_line_is_used_by_nothing_else(path: Path) -> None:
    if path.name != "__main__.py":
        assert "fastmlp.cli" not in path.read_text(encoding="utf-8")


ENGINE_OF_TRAININGS = {f"fastmlp._core.{name}" for name in ("Training", "Scratch", "Network", "OPTIMIZERS")}
LABELS = {f"fastmlp.{module}" for module in ("targets", "trainer", "classifier", "regressor", "base", "call")}
LISTENERS = {f"fastmlp.{module}" for module in ("stopping", "validation", "callbacks", "checkpoints", "cli.report")}
UNKNOWN = {
    **dict.fromkeys(
        ["trainer.py", "classifier.py", "regressor.py", "base.py"],
        ENGINE_OF_TRAININGS | LISTENERS - {"fastmlp.callbacks"} | {"fastmlp.lbfgs", "fastmlp.schedules"},
    ),
    "fitting.py": LABELS | LISTENERS | {"sklearn"},
    "lbfgs.py": LABELS | LISTENERS,
    "schedules.py": {"fastmlp", "sklearn"},
    "stopping.py": LABELS | LISTENERS - {"fastmlp.stopping"} | ENGINE_OF_TRAININGS,
    "validation.py": LABELS - {"fastmlp.targets"} | LISTENERS - {"fastmlp.validation"} | ENGINE_OF_TRAININGS,
    "callbacks.py": LABELS | LISTENERS - {"fastmlp.callbacks"} | {"fastmlp._core"},
    "checkpoints.py": LABELS | LISTENERS - {"fastmlp.checkpoints"} | {"fastmlp._core"},
    "restarts.py": LABELS | LISTENERS | {"fastmlp._core"},
    "listener.py": LABELS | LISTENERS,
    "hyperparameters.py": LABELS | LISTENERS | ENGINE_OF_TRAININGS - {"fastmlp._core.OPTIMIZERS"} | {"fastmlp.fitting"},
    "model_file.py": {"fastmlp", "sklearn"},
    "plotting.py": {"fastmlp"},
}
"""What a module does not know: neither the modules, nor anything in them."""


@pytest.mark.parametrize("name", UNKNOWN)
def test_who_knows_what(name: str) -> None:
    known = imports(PACKAGE / name)
    assert [module for module in UNKNOWN[name] for each in known if f"{each}.".startswith(f"{module}.")] == []


@pytest.mark.parametrize("path", [path for path in FACE if path.parent.name != "dask"], ids=relative)
def test_dask_is_used_by_nothing_else(path: Path) -> None:
    assert not {name for name in imports(path) if re.match(r"(fastmlp\.)?dask\b", name)}


@pytest.mark.parametrize("name", ["plan.py", "tree.py", "shards.py", "steps.py"])
def test_shared_steps_know_neither_dask_nor_sockets(name: str) -> None:
    known = {each.split(".")[0] for each in imports(PACKAGE / "dask" / name)}
    assert not known & {"dask", "distributed", "socket", "sklearn"}


USED_BY_THE_COMMAND_LINE = {"fastmlp", "fastmlp._core", "fastmlp.cli", "fastmlp.model_file"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=relative)
def test_command_line_uses_the_package_as_users_do(path: Path) -> None:
    """But for models of version 0.1.0, which no estimator reads, and its report, which listens to a training."""
    allowed = USED_BY_THE_COMMAND_LINE | {
        "model_0_1_0.py": {"fastmlp.threads"},
        "report.py": {"fastmlp.call", "fastmlp.fitting", "fastmlp.listener"},
    }.get(path.name, set())
    modules = {name for name in imports(path) if name.split(".")[0] == "fastmlp" and is_module(name)}
    assert {name for name in modules if not name.startswith("fastmlp.cli.")} <= allowed


def is_module(name: str) -> bool:
    stem = ROOT.joinpath(*name.split("."))
    return stem.is_dir() or any(stem.with_suffix(suffix).exists() for suffix in (".py", ".pyx"))


def test_contributing_maps_every_file() -> None:
    """One line for each file of the package and of the tools, and no line for a file that is gone."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    _, face, tools = re.split(r"^\| file[^\n]*\n\|---\|---\|\n", text, flags=re.MULTILINE)
    for table, folder, files in (
        (face, PACKAGE, [*FACE, DOOR, DOOR.with_suffix(".pyi"), DOOR.with_suffix(".pxd"), PACKAGE / "py.typed"]),
        (tools, ROOT / "tools", TOOLS),
    ):
        rows = table.split("\n\n")[0].splitlines()
        mapped = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
        assert sorted(mapped) == sorted(path.relative_to(folder).as_posix() for path in files)


def test_documented_names_are_the_engines() -> None:
    """Where a docstring writes a list of names out, it is the engine's list."""
    text = (ROOT / "fastmlp" / "trainer.py").read_text(encoding="utf-8")
    for parameter, names in (("activation", _core.ACTIVATIONS), ("loss", _core.LOSSES)):
        section = rf"^    {parameter} : str[^:]*\n        One of (.*?)\.\s"
        documented = re.search(section, text, re.MULTILINE | re.DOTALL)
        assert documented
        assert re.findall(r'"(\w+)"', documented.group(1)) == list(names)


def listed_hops() -> list[tuple[str, str]]:
    """Function and file of each hop from fit to the micro-kernel, as CONTRIBUTING.md has them."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    return re.findall(r"^\d+\. `([\w.]+)` \(`([\w.]+)`\)", text, flags=re.MULTILINE)


CALLS = {
    "Training.run": "self.scratch.run(",
    "Scratch.run": "engine.run(task)",
    "run": "team_run(task->n_threads, bodies[task->job],",
    "team_run": "body(context, &crew, 0)",
    "train_body": "learn_batch(",
    "learn_batch": "learn_chunk(",
    "learn_chunk": "forward(",
    "forward": "add_terms(",
    "add_terms": "product_kernels[",
}
"""What each hop below Python calls: the next one, or a table or pointer that holds it."""


def body_of(function: str, file: str) -> str:
    """The source of a function of the door or of the engine."""
    if file == DOOR.name:
        owner, method = function.split(".")
        text = DOOR.read_text(encoding="utf-8").split(f"cdef class {owner}:")[1]
        return re.split(rf"^    (?:def|cdef [\w ]+) {method}\(", text, flags=re.MULTILINE)[1].split("\n    def ")[0]
    text = (CSRC / "engine" / file).read_text(encoding="utf-8")
    return re.split(rf"^(?:static|INLINE)[^=;(]* {function}\(", text, flags=re.MULTILINE)[1].split("\n}")[0]


def test_hops_below_python_are_those_listed() -> None:
    below = [hop for hop in listed_hops() if not hop[1].endswith(".py")]
    assert [function for function, _ in below[:-1]] == list(CALLS)
    assert [function for function, file in below[:-1] if CALLS[function] not in body_of(function, file)] == []
    engine = "".join(path.read_text(encoding="utf-8") for path in ENGINE)
    assert "[FM_TRAIN] = train_body," in engine
    assert "static void product_##width##x##rows(const tile *t) { product_tile(t, width, rows, 0); }" in engine
    assert body_of(*below[-1])


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("name", ["Trainer", "MLPClassifier", "MLPRegressor"])
def test_hops_of_python_are_those_listed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hops: list[str] = []

    class Watched(_core.Training):
        def run(self, *arguments: Any, **options: Any) -> Any:
            frame = sys._getframe(1)
            while frame.f_globals["__name__"].startswith("fastmlp."):
                hops.insert(0, frame.f_code.co_qualname)
                assert frame.f_back is not None
                frame = frame.f_back
            return super().run(*arguments, **options)

    monkeypatch.setattr(fitting, "Training", Watched)
    getattr(fastmlp, name)(hidden_layer_sizes=(2,), max_iter=1).fit(np.eye(3), [0, 1, 2])
    assert hops == [function for function, file in listed_hops() if file.endswith(".py")]


def lines_without_docstrings(path: Path) -> int:
    source = path.read_text(encoding="utf-8")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            first = node.body[0]
            docstrings += (first.end_lineno or first.lineno) - first.lineno + 1
    return len(source.splitlines()) - docstrings


@pytest.mark.parametrize("path", [*FACE, *TOOLS], ids=relative)
def test_python_stays_readable(path: Path) -> None:
    # Lists may be longer: of hyper-parameters, whose descriptions docstrings repeat, and of changes that no test sees.
    lists = {"hyperparameters.py", "python_mutants.py", "python_mutants_folders.py"}
    assert lines_without_docstrings(path) <= (400 if path.name in lists else 300)


@pytest.mark.parametrize("path", [*ENGINE, *FACE, *TOOLS, DOOR], ids=relative)
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500
    assert path.stem not in {"utils", "util", "common", "helpers", "misc"}
