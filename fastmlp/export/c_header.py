"""MLPClassifier, MLPRegressor and Trainer as a C99 header."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmlp
from fastmlp.export.c_functions import FUNCTIONS, HEAD, sources
from fastmlp.export.contents import Contents, Layers, contents_of

LARGEST = np.finfo(np.float32).max
SIGNATURES = {"binary": "int", "multiclass": "int"}
"""What the function returns, where not nothing."""


def write(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator as a header."""
    contents = contents_of(estimator)
    layers = contents.layers
    constants = [*parameters(layers)]
    if contents.classes is not None and contents.meaning != "multilabel":
        constants = [classes(contents.classes), *constants]
    write_header(path, _comment(contents), (layers.n_units[0], _n_outputs(contents)), constants, _body(contents))


def write_header(
    path: str | os.PathLike[str], comment: str, n_ports: tuple[int, int], constants: list[str], body: str
) -> None:
    """Put a header together, all of whose names begin with the file's.

    Parameters
    ----------
    path : str or path-like
    comment : str
    n_ports : tuple of int
        Number of inputs and of outputs.
    constants : list of str
    body : str
        The function. `@` stands for the beginning of a name.
    """
    name = re.sub(r"\W", "_", Path(path).stem, flags=re.ASCII)
    name = name if re.match("[A-Za-z]", name) else f"model_{name}"
    used = set(re.findall(r"@(\w+)\(", body)) & set(FUNCTIONS)
    parts = [
        comment,
        "#ifndef @H\n#define @H",
        "#include <math.h>\n#include <stdint.h>\n#include <string.h>",
        f"#define @N_INPUTS {n_ports[0]}\n#define @N_OUTPUTS {n_ports[1]}",
        HEAD,
        *sources(sorted(used)),
        *constants,
        body,
        "#endif",
    ]
    text = "\n\n".join(parts)
    # Macros are upper case.
    text = re.sub(r"@(H|N_INPUTS|N_OUTPUTS|FMA)\b", lambda found: f"{name.upper()}_{found[1]}", text)
    Path(path).write_text(text.replace("@", f"{name}_") + "\n", encoding="utf-8")


def _n_outputs(contents: Contents) -> int:
    """Numbers that the function writes."""
    return 2 if contents.meaning == "binary" and contents.has_probabilities else contents.layers.n_units[-1]


def n_bytes(layers: Layers) -> int:
    """Of the constants of a network."""
    return 4 * sum(part.size for part in (*layers.coefs, *layers.intercepts))


def buffers(layers: Layers) -> list[int]:
    """Sizes of the static arrays that hold the hidden layers in turn."""
    hidden = layers.n_units[1:-1]
    return [max(units) for units in (hidden[::2], hidden[1::2]) if units]


WORDS = {
    "outputs": "y[@N_OUTPUTS] gets the outputs.",
    "values": "y[@N_OUTPUTS] gets the values.",
    "quantiles": "y[@N_OUTPUTS] gets the quantiles in ascending order.",
    "multilabel": "y[@N_OUTPUTS] gets the {scores} of the labels; a label is there where it is above {threshold:g}.",
    "binary": "y[@N_OUTPUTS] gets the {scores}; returned is the number of the class in @classes.",
    "multiclass": "y[@N_OUTPUTS] gets the {scores}; returned is the number of the class in @classes.",
}


def _comment(contents: Contents) -> str:
    constants, static = n_bytes(contents.layers), 4 * sum(buffers(contents.layers))
    scores = "probabilities" if contents.has_probabilities else "margins"
    layers = contents.layers
    lines = [
        f"/* {contents.kind} of fastmlp {fastmlp.__version__}: layers of {', '.join(map(str, layers.n_units))} units, "
        f"{', '.join([*layers.activations, layers.output])}.",
        " *",
        f" * {_signature(contents)}: x[@N_INPUTS] are the inputs.",
        f" * {WORDS[contents.meaning].format(scores=scores, threshold=contents.threshold)}",
        " *",
        f" * {constants} bytes of constants, {static} bytes of static memory: one call at a time.",
        " */",
    ]
    return "\n".join(lines)


def _signature(contents: Contents) -> str:
    return f"static inline {SIGNATURES.get(contents.meaning, 'void')} @predict(const float *x, float *y)"


def _body(contents: Contents) -> str:
    """The function."""
    layers = contents.layers
    lines = [f"{_signature(contents)} {{", *declared(layers), *network(layers, "x", "y")]
    return "\n".join([*lines, *_conclusion(contents), "}"])


def declared(layers: Layers) -> list[str]:
    """Lines that declare the arrays of the hidden layers."""
    return [f"    static float {'ab'[i]}[{size}];" for i, size in enumerate(buffers(layers))]


def network(layers: Layers, inputs: str, outputs: str, prefix: str = "") -> list[str]:
    """Lines that compute a network, whose constants have a prefix."""
    lines, source, last = [], inputs, len(layers.coefs) - 1
    for i, function in enumerate((*layers.activations, layers.output)):
        n, m = layers.coefs[i].shape
        target = outputs if i == last else "ab"[i % 2]
        lines.append(f"    @dense(@{prefix}W{i}, @{prefix}b{i}, {n}, {m}, {source}, {target});")
        lines += _applied(function, target, m)
        source = target
    return lines


def _applied(function: str, values: str, n: int) -> list[str]:
    """Lines that apply a function to n values."""
    if function == "identity":
        return []
    if function == "softmax":
        return [f"    @softmax({values}, {n});"]
    return [f"    for (int j = 0; j < {n}; j++) {values}[j] = @{function}({values}[j]);"]


def _conclusion(contents: Contents) -> list[str]:
    """What `predict` makes of the outputs."""
    n = contents.layers.n_units[-1]
    if contents.meaning == "quantiles":
        return [f"    @sort(y, {n});"]
    if contents.meaning == "multiclass":
        return [f"    return @argmax(y, {n});"]
    if contents.meaning != "binary":
        return []
    if not contents.has_probabilities:
        return ["    return y[0] > 0.0f;"]
    return ["    y[1] = y[0];", "    y[0] = 1.0f - y[1];", "    return y[1] > 0.5f;"]


def classes(labels: NDArray[Any]) -> str:
    """The table of the classes.

    Raises
    ------
    ValueError
        If they are neither text nor numbers.
    """
    found = labels.tolist()
    found = found * 2 if len(found) == 1 else found  # where the fit has seen but one
    if all(isinstance(label, str) for label in found):
        kind, words = "char *const", [text(label) for label in found]
    elif all(isinstance(label, int) and -(2**63) < label < 2**63 for label in found):
        kind, words = "int64_t", [f"{int(label)}" for label in found]
    elif all(isinstance(label, (int, float)) for label in found):
        kind, words = "double", [repr(float(label)) for label in found]
    else:
        raise ValueError(f"C knows classes that are text or numbers, all of one kind: got {found!r}.")
    return f"static const {kind} @classes[{len(words)}] = {{{', '.join(words)}}};"


def text(label: str) -> str:
    """A C string of UTF-8."""
    safe = re.compile(rb"[A-Za-z0-9 _.,:;+*()=<>/-]")
    characters = (bytes([byte]) for byte in label.encode())
    return '"' + "".join(c.decode() if safe.match(c) else f"\\{c[0]:03o}" for c in characters) + '"'


def parameters(layers: Layers, prefix: str = "") -> list[str]:
    """Weights and biases, rows of weights (inputs) one after the other.

    Raises
    ------
    ValueError
        If one is too large for float32.
    """
    if not all((np.abs(part) <= LARGEST).all() for part in (*layers.coefs, *layers.intercepts)):
        raise ValueError("A parameter is too large for float32, in which the C function computes.")
    arrays: list[tuple[str, NDArray[Any]]] = []
    for i, (W, b) in enumerate(zip(layers.coefs, layers.intercepts, strict=True)):
        arrays += [(f"{prefix}W{i}", W), (f"{prefix}b{i}", b)]
    return [_array(name, values) for name, values in arrays]


def _array(name: str, values: NDArray[Any]) -> str:
    """The digits that give the same float32 back."""
    numbers = [f"{value!s}f" for value in values.astype(np.float32).ravel()]
    lines = [", ".join(numbers[i : i + 8]) for i in range(0, len(numbers), 8)]
    shape = " * ".join(map(str, values.shape))
    return f"static const float @{name}[{shape}] = {{\n    " + ",\n    ".join(lines) + "};"
