"""TabularClassifier and TabularRegressor as ONNX files: the preparation of the columns, the members, and their mean."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastmlp.export.contents import layers_of
from fastmlp.export.onnx_file import Port, label_array, new_graph, sorted_columns, write_graph
from fastmlp.export.onnx_graph import ML, Graph, add_layers
from fastmlp.tabular_preparation import CLIP, FARTHEST, Categories, Encoding, Numbers


def write(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a TabularClassifier or TabularRegressor."""
    check_is_fitted(estimator)
    fitted = estimator._require_fitted()
    encodings = fitted.preparation.encodings
    names = {encoding.name for encoding in encodings}
    graph = new_graph(names)
    dtypes = [np.dtype("float64") if _takes_numbers(encoding) else np.dtype(object) for encoding in encodings]
    if fitted.names is None and object not in dtypes:
        inputs: list[Port] = [("X", np.float64, [None, len(encodings)])]
        columns = [graph.node("Gather", "X", graph.constant(np.array([j])), axis=1) for j in range(len(encodings))]
    else:
        inputs = [(encoding.name, dtype, [None, 1]) for encoding, dtype in zip(encodings, dtypes, strict=True)]
        columns = [encoding.name for encoding in encodings]
    if unfit := names & {"", *(("label", "probabilities") if fitted.classes is not None else ("variable",))}:
        raise ValueError(
            f"column {min(unfit)!r}: ONNX takes no input without a name, or with that of an output: rename it"
        )
    outputs = _mean_of_members(graph, _prepared(graph, encodings, columns, inputs[0][0]), fitted)
    ports = _classes(graph, outputs, fitted) if fitted.classes is not None else _values(graph, outputs, fitted)
    write_graph(graph, inputs, ports, type(estimator).__name__, path)


def _takes_numbers(encoding: Encoding) -> bool:
    """Whether the input of a column is a number, rather than text.

    Raises
    ------
    ValueError
        If its categories are both, or neither.
    """
    if isinstance(encoding, Numbers):
        return True
    if all(isinstance(value, (bool, int, float, np.bool_)) for value in encoding.values):
        return bool(encoding.values)
    if all(isinstance(value, str) for value in encoding.values):
        return False
    kinds = sorted({type(value).__name__ for value in encoding.values})
    raise ValueError(
        f"column {encoding.name!r} holds categories of the types {', '.join(kinds)}; ONNX knows columns of text and "
        "columns of numbers or booleans: turn the column into one of them before fit."
    )


def _prepared(graph: Graph, encodings: tuple[Encoding, ...], columns: list[str], first: str) -> str:
    """The inputs (n_rows, n_inputs) of the networks."""
    parts, ramps = [], []
    for encoding, column in zip(encodings, columns, strict=True):
        if isinstance(encoding, Numbers):
            parts += _numbers(graph, encoding, column)
            ramps += [_ramps(graph, encoding, column)] if encoding.edges else []
        elif encoding.values:
            parts.append(_categories(graph, encoding, column))
    if parts:
        return graph.cast(graph.node("Concat", *parts, *ramps, axis=1), np.float32)
    # Columns that say nothing make one input, which is 0.
    n_rows = graph.node("Gather", graph.node("Shape", first), graph.constant(np.array([0])))
    return graph.node("ConstantOfShape", graph.node("Concat", n_rows, graph.constant(np.array([1])), axis=0))


def _numbers(graph: Graph, encoding: Numbers, column: str) -> list[str]:
    """The steps of `Numbers.write`, in float64 as there."""
    centred = graph.node("Sub", column, graph.constant(encoding.center))
    scaled = graph.node("Mul", centred, graph.constant(encoding.factor))
    near = graph.node("Clip", scaled, graph.constant(-FARTHEST), graph.constant(FARTHEST))
    relative = graph.node("Div", near, graph.constant(CLIP))
    square = graph.node("Mul", relative, relative)
    root = graph.node("Sqrt", graph.node("Add", square, graph.constant(1.0)))
    zero = graph.constant(0.0)
    parts = [graph.node("Where", graph.node("IsNaN", scaled), zero, graph.node("Div", near, root))]
    return [*parts, graph.cast(graph.node("IsNaN", column), np.float64)] if encoding.has_missing else parts


def _ramps(graph: Graph, encoding: Numbers, column: str) -> str:
    """The steps of `Numbers.write_ramps`."""
    edges = np.array(encoding.edges)
    below = graph.node("Where", graph.node("IsNaN", column), graph.constant(edges[0]), column)
    risen = graph.node("Sub", below, graph.constant(edges[:-1]))
    share = graph.node("Div", risen, graph.constant(np.diff(edges)))
    return graph.node("Clip", share, graph.constant(0.0), graph.constant(1.0))


def _categories(graph: Graph, encoding: Categories, column: str) -> str:
    """The steps of `Categories.write`: what was never seen is 0."""
    values = encoding.values
    if not _takes_numbers(encoding):
        numbers = list(range(len(values)))
        keys: dict[str, Any] = {"keys_strings": list(values), "values_int64s": numbers, "default_int64": -1}
        code = graph.node("LabelEncoder", column, domain=ML, **keys)
        equal = graph.node("Equal", code, graph.constant(np.arange(len(values))))
    else:
        equal = graph.node("Equal", column, graph.constant(np.array(values, np.float64)))
    ones = graph.cast(equal, np.float64)
    if len(values) != 2:
        return ones
    return graph.node("MatMul", ones, graph.constant(np.array([[-1.0], [1.0]])))


def _mean_of_members(graph: Graph, inputs: str, fitted: Any) -> str:
    """Mean of the members' outputs, in float64."""
    total = ""
    for member in fitted.members:
        rows = graph.node("Slice", inputs, *(graph.constant(np.array([part])) for part in (0, member.n_inputs, 1)))
        layers = layers_of(fitted.network_of(member), member.params)
        outputs = graph.cast(add_layers(graph, rows, layers), np.float64)
        total = graph.node("Add", total, outputs) if total else outputs
    return graph.node("Div", total, graph.constant(float(len(fitted.members))))


def _classes(graph: Graph, outputs: str, fitted: Any) -> list[Port]:
    n_outputs = fitted.n_units[-1]
    if fitted.loss == "binary_log_loss":
        above = graph.node("Greater", outputs, graph.constant(0.5))
        graph.node("Cast", above, to=graph.tensor_type(np.int64), name="label")
        graph.node("Identity", outputs, name="probabilities")
        return [("label", np.int64, [None, n_outputs]), ("probabilities", np.float64, [None, n_outputs])]
    labels = label_array(fitted.classes)
    graph.node("Gather", graph.constant(labels), graph.node("ArgMax", outputs, axis=1, keepdims=0), name="label")
    total = graph.node("ReduceSum", outputs, graph.constant(np.array([1])), keepdims=1)
    graph.node("Div", outputs, total, name="probabilities")
    return [("label", labels.dtype, [None]), ("probabilities", np.float64, [None, n_outputs])]


def _values(graph: Graph, outputs: str, fitted: Any) -> list[Port]:
    n_outputs = fitted.n_units[-1]
    values = graph.node("Mul", outputs, graph.constant(fitted.scale))
    values = graph.node("Add", values, graph.constant(fitted.center))
    if fitted.loss == "quantile":
        values = sorted_columns(graph, values, n_outputs)
    if fitted.is_single and n_outputs == 1:
        graph.node("Squeeze", values, graph.constant(np.array([1])), name="variable")
        return [("variable", np.float64, [None])]
    graph.node("Identity", values, name="variable")
    return [("variable", np.float64, [None, n_outputs])]
