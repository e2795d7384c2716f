"""Libraries that are loaded before the C library, to count its allocations or to let them fail."""

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest


def preloaded(source: str, folder: Path) -> dict[str, str]:
    """Compile the library; return the environment of a process that is to have it. Where that cannot be, skip."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    if not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "__libc_memalign"):
        pytest.skip("works in the way of the GNU C library")
    if shutil.which(compiler[0]) is None:
        pytest.skip("needs a C compiler")
    (folder / "preloaded.c").write_text(source)
    library = folder / "preloaded.so"
    flags = ["-shared", "-fPIC", "-O1", "-fno-builtin"]
    subprocess.run([*compiler, *flags, "preloaded.c", "-o", library], cwd=folder, check=True)
    return {**os.environ, "LD_PRELOAD": str(library), "OPENBLAS_NUM_THREADS": "1"}
