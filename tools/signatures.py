"""Write signatures and docstrings of the estimators from `fastmlp.hyperparameters`: `python -m tools.signatures`.

They stay literal in the sources, where editors and readers look for them; the suite fails where they differ.
"""

import re
import sys
import textwrap
from pathlib import Path

from fastmlp.hyperparameters import ATTRIBUTES, HYPERPARAMETERS, Hyperparameter

PACKAGE = Path(__file__).resolve().parents[1] / "fastmlp"
FILES = {"Trainer": "trainer.py", "MLPClassifier": "classifier.py", "MLPRegressor": "regressor.py"}
POSITIONAL = ("loss", "hidden_layer_sizes", "activation")
"""Names that may be passed without their keyword, where the signature begins with them."""
WIDTH = 120


def _described(name: str, kind: str, text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - 8)
    return "\n".join([f"    {name} : {kind}", *(f"        {line}" for line in lines)])


def _default(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _parameter(name: str, entry: Hyperparameter) -> str:
    kind, text, default = entry.documented or entry.annotation, entry.description, _default(entry.default)
    if len(f"    {name} : {kind}, default={default}") > WIDTH:  # a long list of names does not fit on its line
        names, rest = kind[1:].split("}")
        kind, text = f"str{rest}", f"One of {names}. {text}"
    return _described(name, f"{kind}, default={default}", text)


def parameters(estimator: str) -> str:
    """The section "Parameters" of its docstring."""
    return "\n".join(_parameter(name, entry) for name, entry in HYPERPARAMETERS[estimator].items())


def attributes() -> str:
    """The section "Attributes", of those that every estimator has."""
    return "\n".join(_described(name, kind, text) for name, (kind, text) in ATTRIBUTES.items())


def signature(estimator: str) -> str:
    """The parameters of its constructor."""
    lines, free = [], True
    for name, entry in HYPERPARAMETERS[estimator].items():
        if free and name not in POSITIONAL:
            lines, free = [*lines, "        *,"], False
        lines.append(f"        {name}: {entry.annotation} = {_default(entry.default)},")
    return "\n".join(lines)


def written(estimator: str, source: str) -> str:
    """The source with docstring and signature as they are to be."""
    first = next(iter(ATTRIBUTES))
    for pattern, text in (
        (r"(?<=    Parameters\n    ----------\n).*?(?=\n\n    Attributes\n)", parameters(estimator)),
        (rf"(?:    {first} :|    @attributes).*?(?=\n\n    Examples\n)", attributes()),
        (r"(?<=    def __init__\(\n        self,\n).*?(?=\n    \) -> None:\n)", signature(estimator)),
    ):
        source, n = re.subn(pattern, lambda _, text=text: text, source, count=1, flags=re.DOTALL)  # type: ignore[misc]
        assert n == 1, (estimator, pattern)
    return source


def differences() -> list[str]:
    """Files that are not as they are to be."""
    return [
        name
        for estimator, name in FILES.items()
        if (source := (PACKAGE / name).read_text(encoding="utf-8")) != written(estimator, source)
    ]


if __name__ == "__main__":
    for estimator, name in FILES.items():
        path = PACKAGE / name
        path.write_text(written(estimator, path.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(0)
