"""Build of the engine: one extension, the same flags for every file; each file picks its own instruction set."""

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from typing import Any

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# Switches for development: sanitizers, counters of lines, a build for the debugger, timers of the phases, a fast build.
SANITIZE = os.environ.get("FASTMLP_SANITIZE")  # 1: addresses and undefined behaviour; thread: data races
COVERAGE = os.environ.get("FASTMLP_COVERAGE") == "1"
DEBUG = os.environ.get("FASTMLP_DEBUG") == "1"
TIMERS = os.environ.get("FASTMLP_TIMERS") == "1"
EMULATE = os.environ.get("FASTMLP_EMULATE")  # pairs: AVX512_BF16; avx512: AVX-512 as well; slow, for tests (gcc)
QUICK = os.environ.get("FASTMLP_QUICK") == "1"  # fast to compile, slow to run

# Contraction is off because it differs between instruction sets: the engine writes its fused multiply-adds itself.
# gnu11, not c11: the engine uses vector extensions. -ffast-math would change the arithmetic of the whole process.
COMPILE = ["-std=gnu11", "-ffp-contract=off", "-fvisibility=hidden", "-pthread"]
# Without the engine's own always_inline, which copies a function to each of its callers: the same code once.
NO_COPIES = ["-O1", "-Dalways_inline=unused"]
OPTIMIZE = ["-O0", "-g"] if DEBUG else NO_COPIES if QUICK else ["-O3", "-g0", "-fno-asynchronous-unwind-tables"]
EMULATIONS = {"pairs": ["FM_EMULATE_PAIRS"], "avx512": ["FM_EMULATE_PAIRS", "FM_EMULATE_AVX512"]}
SANITIZERS = {
    "1": [
        *("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g"),
        *NO_COPIES,  # a third of the time to compile
    ],
    "thread": ["-fsanitize=thread", "-fno-omit-frame-pointer", "-g"],
}
# Compiled to be small: the door, whose generated code is long, and the engine for processors without FMA.
SMALL = () if DEBUG or COVERAGE else ("_core.c", "isa_x86_64_float32.c", "isa_x86_64_float64.c")
# A line and a branch of the source is still one; several threads count.
COUNTERS = ["--coverage", "-fprofile-update=atomic", "-fno-early-inlining", *NO_COPIES]
# The same for clang-cl, whose optimizer is the one of clang.
COMPILE_CLANG_CL = ["/clang:-std=gnu11", "/clang:-ffp-contract=off", "/clang:-O3"]
CLANG_CL_TARGETS = {"win-amd64": "x86_64-pc-windows-msvc", "win-arm64": "aarch64-pc-windows-msvc"}


class BuildEngine(build_ext):
    """Compile the files side by side; on Windows with clang-cl, since MSVC has no vector extensions."""

    def build_extensions(self) -> None:
        if self.compiler.compiler_type == "msvc":
            self.use_clang_cl()
        else:
            self.require_compiler()
        if self.compiler.compiler_type != "msvc" and not SANITIZE:
            # Nothing is needed from the folder of the interpreter's libraries, and its path is this machine's.
            linker = self.compiler.linker_so
            self.compiler.set_executable("linker_so", [word for word in linker if not word.startswith("-Wl,-rpath")])
        compile_files = self.compiler.compile

        def compile_side_by_side(sources: Sequence[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                objects = pool.map(lambda source: compile_files([source], **small(source, options)), sources)
                return [path for paths in objects for path in paths]

        def small(source: str, options: dict[str, Any]) -> dict[str, Any]:
            if os.path.basename(source) not in SMALL:
                return options
            return {**options, "extra_postargs": [*options["extra_postargs"], "-Os"]}

        self.compiler.compile = compile_side_by_side
        super().build_extensions()

    def require_compiler(self) -> None:
        command = self.compiler.compiler[0]
        if shutil.which(command) is None:
            raise SystemExit(
                f"fastmlp is built with a C compiler, and there is no {command!r} on the PATH. Install gcc or clang "
                "(on Debian and Ubuntu: apt install gcc; on Fedora: dnf install gcc; on macOS: xcode-select --install) "
                "or name another compiler in the environment variable CC."
            )

    def use_clang_cl(self) -> None:
        if not self.compiler.initialized:
            self.compiler.initialize(self.plat_name)
        self.compiler.cc = shutil.which("clang-cl")
        if self.compiler.cc is None:
            raise SystemExit("fastmlp is built with clang-cl on Windows: install LLVM and put clang-cl on the PATH")
        for extension in self.extensions:
            extension.extra_compile_args = [f"--target={CLANG_CL_TARGETS[self.plat_name]}", *COMPILE_CLANG_CL]
            extension.extra_link_args = []


def engine() -> Extension:
    extra = [*(SANITIZERS[SANITIZE] if SANITIZE else []), *(COUNTERS if COVERAGE else [])]
    extra += ["-Wno-psabi"] if EMULATE else []
    macros = [*(["FM_TIMERS"] if TIMERS else []), *(EMULATIONS[EMULATE] if EMULATE else [])]
    compile_args = [*COMPILE, *OPTIMIZE, *extra]
    link_args = ["-pthread", *extra]
    return Extension(
        "fastmlp._core",
        sources=["fastmlp/_core.pyx", "csrc/select.c", *sorted(glob("csrc/isa_*.c"))],
        depends=["fastmlp/_core.pxd", "csrc/fastmlp.h", *sorted(glob("csrc/engine/*"))],
        include_dirs=["csrc"],
        define_macros=[(name, "1") for name in macros],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )


setup(ext_modules=cythonize([engine()], build_dir="build"), cmdclass={"build_ext": BuildEngine})
