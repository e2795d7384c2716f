"""The machine that is measured on, and the line that tells who watches how far it is."""

import os
import platform
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """What a results file says of it."""
    return {"cpu": _cpu(), "n_cpus": n_cpus(), "system": platform.platform(), "load": _load(), "mhz": _mhz()}


def n_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def now() -> str:
    """The time as the results files have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def warn_if_busy(machine: dict[str, Any]) -> None:
    """Say so when others use the machine."""
    if machine["load"] > 0.5 * machine["n_cpus"]:
        print(f"WARNING: the machine is busy (load average {machine['load']:.1f}): do not believe these figures")


def progress(text: str) -> None:
    """Rewrite the progress line; only where someone watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def _load() -> float:
    """Processes that wanted a CPU during the last minute, on average; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _mhz() -> float:
    """Clock of the fastest CPU as the system tells it; 0 where it does not. Virtual machines may tell a fixed one."""
    cpuinfo = Path("/proc/cpuinfo")
    clocks = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", cpuinfo.read_text(), re.M) if cpuinfo.exists() else []
    return max(map(float, clocks), default=0.0)


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else []
    return str(models[0]) if models else platform.processor() or platform.machine()


def require_same(before: dict[str, Any], now: dict[str, Any]) -> None:
    """ValueError where two results are not of the same machine and the same versions of all libraries.

    CPUs of very different kinds may go by one name on rented machines, so that the instruction set counts, too.
    """
    for what, old, new in (
        ("another machine", before["machine"]["cpu"], now["machine"]["cpu"]),
        ("another instruction set", before["isa"], now["isa"]),
        ("other versions", before["versions"], now["versions"]),
    ):
        if old != new:
            raise ValueError(f"the last results are of {what}: {old}, now {new}")
