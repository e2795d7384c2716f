"""Write signatures and docstrings of the estimators from `fastmlp.hyperparameters`: `python -m tools.signatures`.

They stay literal in the sources, where editors and readers look for them; the suite fails where they differ.
"""

import re
import sys
import textwrap
from pathlib import Path

from fastmlp.hyperparameters import HYPERPARAMETERS, Hyperparameter

PACKAGE = Path(__file__).resolve().parents[1] / "fastmlp"
FILES = {"Trainer": "trainer.py", "MLPClassifier": "classifier.py", "MLPRegressor": "regressor.py"}
POSITIONAL = {"Trainer": 2, "MLPClassifier": 2, "MLPRegressor": 3}
"""How many parameters, from the first on, may be passed without their keyword."""
WIDTH = 120

ATTRIBUTES = {
    "coefs_": (
        "list of ndarray of shape (fan_in, fan_out)",
        "Weight matrices: views into one vector. Assigning to the list or to an item of it copies the values.",
    ),
    "intercepts_": ("list of ndarray of shape (fan_out,)", "Bias vectors, likewise."),
    "loss_": ("float", "Mean loss of the last epoch, penalty included."),
    "loss_curve_": (
        "list of float",
        "The same of each epoch. Pickles and files leave out what `partial_fit` has added, which would make them grow.",
    ),
    "best_loss_": ("float or None", "The lowest of them; None with `early_stopping`."),
    "validation_scores_, validation_loss_curve_": (
        "list of float or None",
        "Score and loss (without penalty) of the validation rows after each epoch, where there are any.",
    ),
    "best_validation_score_": ("float or None", "The highest of the scores."),
    "best_epoch_": (
        "int or None",
        "Number of the epoch, from 1, with the best validation score, or else the lowest loss.",
    ),
    "n_iter_": ("int", "Number of epochs or iterations of the last call."),
    "t_": ("int", 'Number of rows used in all calls, each epoch again; 0 with "lbfgs".'),
    "n_features_in_, n_outputs_, n_layers_": (
        "int",
        "Number of inputs, of outputs, and of layers of units, inputs and outputs included.",
    ),
    "feature_names_in_": ("ndarray of str of shape (n_features,)", "Where X has string names of columns."),
    "out_activation_": ("str", "Function of the outputs."),
}
"""The fitted attributes that every estimator has: type and description, in numpydoc."""


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
    lines = [
        f"        {name}: {entry.annotation} = {_default(entry.default)},"
        for name, entry in HYPERPARAMETERS[estimator].items()
    ]
    lines.insert(POSITIONAL[estimator], "        *,")
    return "\n".join(lines)


def written(estimator: str, source: str) -> str:
    """The source with docstring and signature as they are to be."""
    first = next(iter(ATTRIBUTES))
    for pattern, text in (
        (r"(?<=    Parameters\n    ----------\n).*?(?=\n\n    Attributes\n)", parameters(estimator)),
        (rf"(?:    {first} :|    @attributes).*?(?=\n\n    See Also\n)", attributes()),
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
