"""What a training leaves: a line or a JSON object on the screen, a model file, a picture of its losses."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

INTERRUPTED = "Training interrupted by user."


def check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse before the training what could not be written after it.

    Raises
    ------
    ValueError, ImportError
        In words that name the option.
    """
    if arguments.save:
        require_writable(arguments.save, "--save")
    if arguments.plot:
        require_writable(arguments.plot, "--plot")
        kinds = _figure().canvas.get_supported_filetypes()
        if (kind := arguments.plot.suffix.removeprefix(".").lower()) not in kinds:
            raise ValueError(f"--plot: pictures of the kind {kind or 'without a suffix'!r} are unknown: use {'.png'!r}")


def require_writable(path: Path, option: str) -> None:
    """Refuse a path that cannot become a file."""
    if path.is_dir():
        raise ValueError(f"{option}: {path} is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise ValueError(f"{option}: {path} is not a file that can be replaced")
    if not path.parent.is_dir():
        raise ValueError(f"{option}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(f"{option}: no permission to write into the folder {path.parent}")


def has_progress_bars() -> bool:
    """Whether tqdm is installed."""
    return find_spec("tqdm") is not None


@contextmanager
def told_warnings(quiet: bool) -> Iterator[list[str]]:
    """Tell warnings as the command line does, at once; what is yielded is not empty after Ctrl-C has ended training."""
    interrupted: list[str] = []

    def tell(message: Warning | str, *_: Any, **__: Any) -> None:
        said = " ".join(str(message).split())
        if said == INTERRUPTED:
            interrupted.append(said)
        # The number of epochs is the user's choice, so that it was reached is no news.
        if "Maximum iterations" not in said and (said == INTERRUPTED or not quiet):
            print(f"fastmlp: warning: {said}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = tell
        yield interrupted


def conclude(arguments: argparse.Namespace, model: Any, line: str, result: dict[str, Any]) -> None:
    """Write the files that were asked for, and tell the result."""
    written = {}
    if arguments.save:
        model.save(arguments.save)
        written["saved"] = str(arguments.save)
    if arguments.plot:
        _plot(model, arguments.plot)
        written["plotted"] = str(arguments.plot)
    if arguments.json:
        print(json.dumps(_plain(result | written)))
        return
    print(line)
    if not arguments.quiet:
        for done, path in written.items():
            print(f"{done} {path}")


def _plain(value: Any) -> Any:
    """As JSON has it: null for what is no finite number."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f'--plot needs matplotlib ({error}): pip install "fastmlp[cli]"') from error
    return Figure(layout="constrained")


def _plot(model: Any, path: Path) -> None:
    from fastmlp import LossCurveDisplay

    figure = _figure()
    LossCurveDisplay.from_estimator(model, ax=figure.subplots())
    figure.savefig(path)
