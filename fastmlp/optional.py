"""Packages that only some need: imported where they are used, and named where they are missing."""

from importlib import import_module
from typing import Any


def optional(module: str, extra: str, what: str) -> Any:
    """The module, or an error that says how to install it.

    Parameters
    ----------
    module : str
        Its full name.
    extra : str
        The extra of fastmlp that brings it along.
    what : str
        Whatever needs it, to begin the sentence with.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ImportError(f'{what} needs {package}: pip install "fastmlp[{extra}]"', name=package) from error
