"""The engine without Python, on every platform: ``python -m tools.portability``.

Compiles ``csrc/selftest.c`` with the compilers of this machine at two optimization levels, with gcc's ThreadSanitizer,
with gcc and the instructions of AVX512_BF16 or of all AVX-512 emulated, and with zig (``pip install ziglang``) for the
other platforms; runs what this machine can, aarch64 through qemu and Windows through Wine, and compares the digests:
they are equal for every instruction set with FMA.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["-std=gnu11", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]  # the first two as in setup.py
LEVELS = ["-O1", "-O3"]
WITHOUT_FMA = {"x86-64"}

ZIG_TARGETS = [
    "x86_64-linux-gnu.2.17",
    "x86_64-linux-musl",
    "aarch64-linux-gnu.2.17",
    "aarch64-linux-musl",
    "x86_64-macos",
    "aarch64-macos",
    "x86_64-windows-gnu",
    "aarch64-windows-gnu",
]
RUN_HERE: list[str] = []
# Of aarch64 static programs only: there are no libraries of it here.
RUN_THROUGH = {"aarch64-linux-musl": ["qemu-aarch64"], "x86_64-windows-gnu": ["wine"]}
PACKAGES = {"qemu-aarch64": "qemu-user", "wine": "wine"}  # of Debian and Ubuntu
SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}
CPUS = {"amd64": "x86_64", "arm64": "aarch64"}

Digests = dict[tuple[str, str], str]
"""Digest by instruction set and dtype."""


@dataclass
class Build:
    """One way to compile the self-test, and how to run it: a command before it, or not at all (None)."""

    name: str
    compiler: list[str]
    flags: list[str]
    runner: list[str] | None
    argument: str = ""


def builds() -> Iterator[Build]:
    """Every build that the tools of this machine allow; what they do not is printed as skipped."""
    for name in ("gcc", "clang"):
        if shutil.which(name) is None:
            skipped(name, f"{name} is not installed")
        else:
            for level in LEVELS:
                yield Build(f"{name} {level}", [name], [level], RUN_HERE)
    if shutil.which("gcc") is None or not Path(output_of(["gcc", "-print-file-name=libtsan.so"])).is_absolute():
        skipped("ThreadSanitizer", "gcc has no libtsan")
    else:
        yield Build("gcc, ThreadSanitizer", ["gcc"], ["-O1", "-g", "-fsanitize=thread"], RUN_HERE, "at-once")
    if shutil.which("gcc") is not None:
        pairs, registers = "-DFM_EMULATE_PAIRS", "-DFM_EMULATE_AVX512"
        yield Build("gcc, AVX512_BF16 emulated", ["gcc"], ["-O1", pairs], RUN_HERE)
        yield Build("gcc, AVX-512 emulated", ["gcc"], ["-O1", "-Wno-psabi", pairs, registers], RUN_HERE)
    if find_spec("ziglang") is None:
        skipped("other platforms", "ziglang is not installed: pip install ziglang")
        return
    for target in ZIG_TARGETS:
        runner = runner_of(target)
        if runner and shutil.which(runner[0]) is None:
            skipped(f"running {target}", f"{runner[0]} is not installed: apt install {PACKAGES[runner[0]]}")
            runner = None
        zig = [sys.executable, "-m", "ziglang", "cc", "-target", target]
        for level in LEVELS if target == ZIG_TARGETS[0] else LEVELS[-1:]:
            yield Build(f"zig {target} {level}", zig, [level, "-g0"], runner)


def runner_of(target: str) -> list[str] | None:
    """What runs a program of that target on this machine."""
    machine = platform.machine().lower()
    if target.startswith(f"{CPUS.get(machine, machine)}-{SYSTEMS.get(sys.platform)}"):
        return RUN_HERE
    return RUN_THROUGH.get(target)


def skipped(name: str, reason: str) -> None:
    print(f"{name}: SKIPPED, {reason}", flush=True)


def output_of(command: Sequence[str | Path]) -> str:
    """What the command prints; its errors as well where it fails, as an exception."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        words = " ".join(map(str, command))
        raise RuntimeError(f"exit code {done.returncode}: {words}\n{done.stdout}{done.stderr}".strip())
    return done.stdout.strip()


def run(build: Build, folder: Path) -> Digests:
    """Compile, and run where possible."""
    program = folder / "selftest"
    sources = sorted((ROOT / "csrc").glob("*.c"))
    output_of([*build.compiler, *FLAGS, *build.flags, *sources, "-lm", "-lpthread", "-o", program])
    if build.runner is None:
        return {}
    lines = output_of([*build.runner, program, *filter(None, [build.argument])]).splitlines()
    return {(isa, dtype): digest for isa, dtype, digest in map(str.split, lines)}


def outcome(build: Build) -> Digests | RuntimeError:
    """The digests of a build, or why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return run(build, Path(folder))
        except RuntimeError as error:
            return error


def disagreements(digests: Digests, expected: Digests) -> list[str]:
    """Digests that differ from those before; expected receives the new ones."""
    found = []
    for (isa, dtype), digest in digests.items():
        kind = isa if isa in WITHOUT_FMA else "with FMA"
        if expected.setdefault((kind, dtype), digest) != digest:
            found.append(f"{isa} {dtype}: {digest}, but {expected[kind, dtype]} above")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a build or a run failed or digests differ."""
    parser = argparse.ArgumentParser(prog="python -m tools.portability", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="REGEX", help="only builds in whose names this is found")
    only = parser.parse_args(argv).only
    expected: Digests = {}
    failed = False
    selected = [build for build in builds() if re.search(only, build.name)]
    with ThreadPoolExecutor(os.cpu_count()) as at_once:
        for build, found in zip(selected, at_once.map(outcome, selected), strict=True):
            digests = found if isinstance(found, dict) else {}
            faults = disagreements(digests, expected) if isinstance(found, dict) else [str(found)]
            failed |= bool(faults)
            engines = ", ".join(dict.fromkeys(isa for isa, _ in digests))
            print(f"{build.name}: {'FAILED' if faults else f'ran {engines}' if engines else 'compiled'}", flush=True)
            print(*faults, sep="\n", end="\n" if faults else "", flush=True)
    for (kind, dtype), digest in expected.items():
        print(f"{digest}  {dtype}, {kind}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
