"""How much memory this process may use."""

import os
from pathlib import Path

from fastmlp.control_groups import CGROUPS, OWN_CGROUPS, own_folders

UNLIMITED = 2**60
"""Version 1 writes the largest number of whole pages where there is no limit."""


def memory_limit(mount: Path = CGROUPS, own_groups: Path = OWN_CGROUPS) -> int | None:
    """Bytes of the machine, or of the control group around this process that has fewest; None where nothing tells.

    Of a group version 2 writes ``memory.max``, version 1 ``memory.limit_in_bytes``.
    """
    limits = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for folder in own_folders("memory", mount, own_groups):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                continue
            if text.isdecimal() and int(text) < UNLIMITED:
                limits.append(int(text))
    return min(limits, default=None)
