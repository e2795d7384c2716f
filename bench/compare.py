"""The guard against getting slower: rows of which the lead over NumPy is smaller than it was."""

from collections.abc import Iterator
from typing import Any

RIVAL = "numpy"
TOLERATED = 0.9


def slower_rows(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Name the rows of the new results whose ratio to NumPy is below 0.9 of the old one, or that have failed since."""
    before = {row["name"]: row for row in old["rows"] if not row["error"]}
    for row in new["rows"]:
        if row["name"] not in before:
            continue
        if row["error"]:
            yield f"{row['name']}: has failed: {row['error'].strip().splitlines()[-1]}"
            continue
        was, now = (result["ratios"].get(RIVAL) for result in (before[row["name"]], row))
        if was and now and now < TOLERATED * was:
            yield f"{row['name']}: {now:.2f} × NumPy, was {was:.2f} ×"
