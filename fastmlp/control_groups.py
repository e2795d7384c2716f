"""The control groups around this process (Linux), which may limit what it gets of the machine."""

from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def own_folders(controller: str, mount: Path = CGROUPS, own_groups: Path = OWN_CGROUPS) -> Iterator[Path]:
    """Folder of each group around this process that may limit "cpu" or "memory", from the inside out."""
    try:
        own = [line.split(":", 2) for line in own_groups.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in own:
        if controllers and controller not in controllers.split(","):
            continue
        # Inside a container the path may be that of the host: then only the root of the hierarchy is there.
        top = mount / controller if controllers else mount
        group = top / path.lstrip("/")
        for folder in [group, *group.parents]:
            yield folder
            if folder == top:
                break
