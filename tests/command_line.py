"""What the tests of the command line share: its call, what it prints, and tables."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp.cli.main import main

Captured = pytest.CaptureFixture[str]
SPECIES = ["setosa", "versicolor", "virginica"]


def write_csv(path: Path, header: list[str], *columns: Any, delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(zip(*columns, strict=True))
    return path


def table(n_rows: int = 120) -> Any:
    """Numbers, text, truth values, a few gaps, and targets of both kinds."""
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    kind = rng.choice(["round", "flat", "12"], n_rows)
    size = rng.normal(5, 2, n_rows).round(3)
    frame = pandas.DataFrame({"size": size, "kind": kind, "new": rng.random(n_rows) < 0.5})
    frame["price"] = (100 * size + 500 * (kind == "flat")).round(2)
    frame["sold"] = np.where((size > 5) ^ (kind == "flat"), "yes", "no")
    frame.loc[::9, "size"] = np.nan
    frame.loc[::7, "kind"] = None
    return frame


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def failure(capsys: Captured, *arguments: object) -> str:
    """The one line of the error of a command that fails."""
    assert run(*arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("fastmlp: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def told(capsys: Captured, *arguments: object) -> dict[str, Any]:
    """What a training tells as JSON, on stdout alone."""
    capsys.readouterr()
    assert run("train", *arguments, "--json", "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("\n") == 1
    found: dict[str, Any] = json.loads(captured.out)
    return found


def predictions(capsys: Captured, *arguments: object) -> list[list[str]]:
    capsys.readouterr()
    assert run("predict", *arguments) == 0
    return list(csv.reader(capsys.readouterr().out.splitlines()))


def save(folder: Path, X: Any) -> Path:
    np.savez(folder / "rows.npz", X=X)
    return folder / "rows.npz"
