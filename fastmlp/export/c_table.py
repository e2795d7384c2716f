"""TabularClassifier and TabularRegressor as a C99 header: preparation of the columns, members, and their mean."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

from sklearn.utils.validation import check_is_fitted

import fastmlp
from fastmlp.export.c_header import buffers, classes, declared, n_bytes, network, parameters, write_header
from fastmlp.export.contents import Layers, layers_of
from fastmlp.tabular_preparation import Categories, Encoding, Numbers, Preparation


def write(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator of tables as a header."""
    check_is_fitted(estimator)
    fitted = estimator._require_fitted()
    members = [layers_of(fitted.network_of(member), member.params) for member in fitted.members]
    labels = fitted.classes if fitted.loss == "log_loss" else None
    constants = [] if labels is None else [classes(labels)]
    constants += [text for i, layers in enumerate(members) for text in parameters(layers, f"m{i}_")]
    n_ports = len(fitted.preparation.encodings), fitted.n_units[-1]
    comment = _comment(type(estimator).__name__, fitted, members)
    write_header(path, comment, n_ports, constants, _body(fitted, members))


def _signature(fitted: Any) -> str:
    returned = "int" if fitted.loss == "log_loss" else "void"
    return f"static inline {returned} @predict(const double *x, double *y)"


def _comment(kind: str, fitted: Any, members: list[Layers]) -> str:
    outputs = {
        "log_loss": "y[@N_OUTPUTS] gets the probabilities; returned is the number of the class in @classes.",
        "binary_log_loss": "y[@N_OUTPUTS] gets the probability of each label.",
        "squared_error": "y[@N_OUTPUTS] gets the values.",
        "quantile": "y[@N_OUTPUTS] gets the quantiles in ascending order.",
    }[fitted.loss]
    columns = [f"x[{j}]  {_described(encoding)}" for j, encoding in enumerate(fitted.preparation.encodings)]
    units = ", ".join(map(str, fitted.n_units[1:-1]))
    static = 4 * (sum(buffers(members[0])) + fitted.n_units[0] + fitted.n_units[-1])
    lines = [
        f"{kind} of fastmlp {fastmlp.__version__}: {len(members)} networks with hidden layers of {units} units.",
        "",
        f"{_signature(fitted)}: x[@N_INPUTS] are the columns.",
        outputs,
        "",
        *columns,
        "",
        f"{sum(map(n_bytes, members))} bytes of constants, {static} bytes of static memory: one call at a time.",
    ]
    return "/* " + "\n".join(f" * {line}".rstrip() for line in lines).removeprefix(" * ") + "\n */"


def _described(encoding: Encoding) -> str:
    """What a column takes, in text that ends no comment and is no name."""
    words = f"{encoding.name}: a number; NAN where it is missing"
    if isinstance(encoding, Categories):
        numbered = ", ".join(f"{number} for {value!r}" for number, value in enumerate(encoding.values))
        words = f"{encoding.name}: {numbered or 'anything'}; -1 for what is missing or anything else"
    return "".join(c if c.isprintable() and c not in "*@" else f"\\u{ord(c):04x}" for c in words)


def _body(fitted: Any, members: list[Layers]) -> str:
    """The function."""
    n_outputs = fitted.n_units[-1]
    lines = [f"{_signature(fitted)} {{", f"    static float inputs[{fitted.n_units[0]}], outputs[{n_outputs}];"]
    lines += declared(members[0])
    lines += _prepared(fitted.preparation) or ["    (void)x;", "    inputs[0] = 0.0f;"]
    every = f"    for (int k = 0; k < {n_outputs}; k++)"
    lines.append(f"{every} y[k] = 0.0;")
    for i, layers in enumerate(members):
        lines += [*network(layers, "inputs", "outputs", f"m{i}_"), f"{every} y[k] += (double)outputs[k];"]
    lines.append(f"{every} y[k] /= {len(members)}.0;")
    return "\n".join([*lines, *_conclusion(fitted, every), "}"])


def _prepared(preparation: Preparation) -> list[str]:
    """Lines that write the inputs, as `write` and `write_ramps` of each encoding do."""
    lines, at, ramps_at = [], 0, preparation.n_plain
    for j, encoding in enumerate(preparation.encodings):
        if isinstance(encoding, Numbers):
            lines.append(f"    inputs[{at}] = @number(x[{j}], {encoding.center!r}, {encoding.factor!r});")
            if encoding.has_missing:
                lines.append(f"    inputs[{at + 1}] = x[{j}] != x[{j}] ? 1.0f : 0.0f;")
            for low, high in pairwise(encoding.edges):
                lines.append(f"    inputs[{ramps_at}] = @ramp(x[{j}], {low!r}, {high!r});")
                ramps_at += 1
        elif len(encoding.values) == 2:
            lines.append(f"    inputs[{at}] = x[{j}] == 1.0 ? 1.0f : x[{j}] == 0.0 ? -1.0f : 0.0f;")
        elif encoding.values:
            n = len(encoding.values)
            lines.append(f"    for (int k = 0; k < {n}; k++) inputs[{at} + k] = x[{j}] == k ? 1.0f : 0.0f;")
        at += encoding.n_inputs
    return lines


def _conclusion(fitted: Any, every: str) -> list[str]:
    """What `predict` makes of the mean of the members."""
    n_outputs = fitted.n_units[-1]
    if fitted.loss == "log_loss":
        total = ["    double total = 0.0;", "    int best = 0;", f"{every} total += y[k];", f"{every} y[k] /= total;"]
        return [*total, f"{every} best = y[k] > y[best] ? k : best;", "    return best;"]
    if fitted.loss == "binary_log_loss":
        return []
    scaled = zip(fitted.scale.tolist(), fitted.center.tolist(), strict=True)
    lines = [f"    y[{k}] *= {scale!r};\n    y[{k}] += {center!r};" for k, (scale, center) in enumerate(scaled)]
    if fitted.loss != "quantile" or n_outputs == 1:
        return lines
    return [
        *lines,
        f"    for (int i = 1; i < {n_outputs}; i++)",
        "        for (int j = i; j > 0 && y[j] < y[j - 1]; j--) {",
        "            double above = y[j - 1];",
        "            y[j - 1] = y[j];",
        "            y[j] = above;",
        "        }",
    ]
