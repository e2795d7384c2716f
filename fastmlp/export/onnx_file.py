"""MLPClassifier, MLPRegressor and Trainer as ONNX files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmlp
from fastmlp.export.contents import Contents, contents_of
from fastmlp.export.onnx_graph import ML, Graph, add_layers
from fastmlp.optional import optional

OPSETS = {"": 17, ML: 3}
IR_VERSION = 8
"""What ONNX Runtime reads from 1.12 on."""

Port = tuple[str, Any, list[int | None]]
"""Name, dtype and shape of an input or output; None for the number of rows."""


def new_graph(taken: Collection[str] = ()) -> Graph:
    """A graph whose names are numbered, and none of them taken."""
    counts: Counter[str] = Counter()

    def unique(name: str) -> str:
        counts[name] += 1
        numbered = f"{name}_{counts[name]}"
        return unique(name) if numbered in taken else numbered

    return Graph(unique)


def write(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write an MLPClassifier, MLPRegressor or Trainer."""
    contents = contents_of(estimator)
    dtype = contents.layers.coefs[0].dtype
    graph = new_graph()
    outputs = add_layers(graph, "X", contents.layers)
    ports = add_predictions(graph, outputs, contents, dtype)
    write_graph(graph, [("X", dtype, [None, contents.layers.n_units[0]])], ports, contents.kind, path)


def write_graph(
    graph: Graph, inputs: Sequence[Port], outputs: Sequence[Port], kind: str, path: str | os.PathLike[str]
) -> None:
    """Check a graph and write it."""
    onnx = optional("onnx", "onnx", "to_onnx")
    infos = [
        [onnx.helper.make_tensor_value_info(name, graph.tensor_type(dtype), shape) for name, dtype, shape in ports]
        for ports in (inputs, outputs)
    ]
    body = onnx.helper.make_graph(graph.nodes, kind, *infos, initializer=graph.constants)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    about = {"producer_name": "fastmlp", "producer_version": fastmlp.__version__, "ir_version": IR_VERSION}
    model = onnx.helper.make_model(body, opset_imports=opsets, **about)
    onnx.checker.check_model(model, full_check=True)
    with open(path, "wb") as file:
        file.write(model.SerializeToString())


def add_predictions(graph: Graph, outputs: str, contents: Contents, dtype: Any) -> list[Port]:
    """Add what `predict` makes of the outputs (n_rows, n_outputs) of a network; return the outputs of the graph."""
    n_outputs = contents.layers.n_units[-1]
    if contents.classes is not None:
        scores = scores_of(graph, outputs, contents)
        name = "probabilities" if contents.has_probabilities else "scores"
        label = add_label(graph, outputs, contents, "label")
        graph.node("Identity", scores, name=name)
        is_vector = not contents.has_probabilities and contents.meaning == "binary"
        n_scores = 2 if contents.meaning == "binary" else n_outputs
        return [label, (name, dtype, [None] if is_vector else [None, n_scores])]
    if contents.meaning == "quantiles":
        outputs = sorted_columns(graph, outputs, n_outputs)
    name = "outputs" if contents.meaning == "outputs" else "variable"
    if n_outputs == 1:
        graph.node("Squeeze", outputs, graph.constant(np.array([1])), name=name)
        return [(name, dtype, [None])]
    graph.node("Identity", outputs, name=name)
    return [(name, dtype, [None, n_outputs])]


def sorted_columns(graph: Graph, outputs: str, n_outputs: int) -> str:
    """Quantiles in ascending order, as `predict` gives those that cross."""
    values, numbers = graph.node("Identity", outputs), graph.constant(np.array([n_outputs]))
    # TopK has a second output, the indices, which nobody reads.
    top = graph.node("TopK", values, numbers, axis=1, largest=0, sorted=1)
    graph.nodes[-1].output.append(f"{top}_indices")
    return top


def scores_of(graph: Graph, outputs: str, contents: Contents) -> str:
    """The probabilities of the classes, or the margins as `decision_function` gives them."""
    if contents.meaning != "binary":
        return outputs
    if not contents.has_probabilities:
        return graph.node("Squeeze", outputs, graph.constant(np.array([1])))
    other = graph.node("Sub", graph.constant(1, contents.layers.coefs[0]), outputs)
    return graph.node("Concat", other, outputs, axis=1)


def add_label(graph: Graph, outputs: str, contents: Contents, name: str) -> Port:
    """Add the labels that `predict` gives."""
    assert contents.classes is not None
    if contents.meaning == "multilabel":
        above = _above_threshold(graph, outputs, contents)
        graph.node("Identity", above, name=name)
        return name, np.int64, [None, contents.layers.n_units[-1]]
    labels = label_array(contents.classes)
    if contents.meaning == "multiclass":
        numbers = graph.node("ArgMax", outputs, axis=1, keepdims=0)
    else:
        numbers = graph.node("Squeeze", _above_threshold(graph, outputs, contents), graph.constant(np.array([1])))
        labels = labels[[0, -1]]  # there may be but one class
    graph.node("Gather", graph.constant(labels), numbers, name=name)
    return name, labels.dtype, [None]


def _above_threshold(graph: Graph, outputs: str, contents: Contents) -> str:
    """0 and 1: whether each output stands for its class."""
    threshold = graph.constant(contents.threshold, contents.layers.coefs[0])
    return graph.cast(graph.node("Greater", outputs, threshold), np.int64)


def label_array(classes: NDArray[Any]) -> NDArray[Any]:
    """Classes as ONNX has them: text, whole numbers, numbers or booleans.

    Raises
    ------
    ValueError
        If they are of other kinds.
    """
    if classes.dtype.kind in "iu":
        return classes.astype(np.int64)
    if classes.dtype.kind in "Ub" or classes.dtype in (np.float32, np.float64):
        return classes
    if classes.dtype == object and all(isinstance(label, str) for label in classes):
        return classes
    raise ValueError(
        f"ONNX knows classes that are text, numbers or booleans, all of one kind: got {classes.tolist()!r}."
    )
