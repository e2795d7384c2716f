"""Inventories of other projects' references, so that the site links to them without a look at the network.

``python docs/inventories.py`` writes them anew, of the names that the installed packages have; where the pages of these
names are is the packages' own rule.
"""

import inspect
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy
import sklearn

FOLDER = Path(__file__).parent / "inventories"
HEAD = (
    "# Sphinx inventory version 2\n# Project: {}\n# Version: {}\n"
    "# The remainder of this file is compressed using zlib.\n"
)


def of_sklearn() -> Iterator[str]:
    """Classes and functions that the modules of scikit-learn make public."""
    for part in sorted(sklearn.__all__):
        try:
            module = import_module(f"sklearn.{part}")
        except ImportError:  # a name that is no module
            continue
        for name in sorted(getattr(module, "__all__", [])):
            try:
                value = getattr(module, name, None)
            except ImportError:  # experimental
                continue
            role = "class" if inspect.isclass(value) else "function"
            if callable(value):
                yield f"{module.__name__}.{name} py:{role} 1 modules/generated/$.html#$ -"


def of_numpy() -> Iterator[str]:
    """Classes and functions of NumPy's main module."""
    for name in sorted(numpy.__all__):
        value = getattr(numpy, name)
        if callable(value) and not inspect.isclass(value):
            yield f"numpy.{name} py:function 1 reference/generated/$.html#$ -"
    yield "numpy.ndarray py:class 1 reference/generated/$.html#$ -"


def main() -> None:
    """Write both."""
    FOLDER.mkdir(exist_ok=True)
    for name, version, lines in (
        ("scikit-learn", sklearn.__version__, of_sklearn()),
        ("numpy", numpy.__version__, of_numpy()),
    ):
        # In an inventory only a name at the end of an address may be abbreviated.
        text = "".join(f"{line.replace('$.html', line.split()[0] + '.html')}\n" for line in lines)
        path = FOLDER / f"{name}.inv"
        path.write_bytes(HEAD.format(name, version).encode() + zlib.compress(text.encode(), 9))
        print(f"{path}: {text.count(chr(10))} names")


if __name__ == "__main__":
    main()
