"""A slower network between the processes of this machine: `tc` on the loopback of a network namespace of their own."""

import ctypes
import multiprocessing
import os
import subprocess
from collections.abc import Callable
from typing import Any

NEW_NETWORK = 0x40000000  # CLONE_NEWNET


def shapes(latency: float, bandwidth: float) -> dict[str, list[str]]:
    """What to ask of `tc`, the best first. Both directions pass the same device: it has twice the bandwidth."""
    rate = ["rate", f"{2 * bandwidth * 8 / 1e6:.0f}mbit"]
    return {
        "netem": ["netem", "delay", f"{latency * 1e6:.0f}us", *rate, "limit", "100000"],
        "tbf": ["tbf", *rate, "burst", "256kb", "latency", "1s"],  # knows no latency
    }


def inside(latency: float, bandwidth: float, function: Callable[..., Any], *arguments: Any) -> tuple[str, Any]:
    """Call a function where the loopback is such a network.

    Returns
    -------
    (str, object)
        Which of `shapes` the kernel has, "" for none or without the rights to ask; what the function returns.
    """
    context = multiprocessing.get_context("fork")
    out = context.Queue()

    def call() -> None:
        found = _enter(latency, bandwidth)
        out.put((found, function(*arguments) if found else None))

    process = context.Process(target=call)
    process.start()
    found: tuple[str, Any] = out.get(timeout=300)
    process.join()
    return found


def _enter(latency: float, bandwidth: float) -> str:
    if os.name != "posix" or getattr(ctypes.CDLL(None), "unshare", lambda flag: -1)(NEW_NETWORK):
        return ""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False)
    for name, words in shapes(latency, bandwidth).items():
        command = ["tc", "qdisc", "add", "dev", "lo", "root", *words]
        if not subprocess.run(command, capture_output=True, check=False).returncode:
            return name
    return ""
