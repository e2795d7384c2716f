"""Nodes and constants of an ONNX graph, and the layers of a network as such nodes.

Activations are made of operators that ONNX Runtime has for float32 and for float64; those that ONNX has of its own are
mostly for float32 alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.export.contents import Layers
from fastmlp.optional import optional

ML = "ai.onnx.ml"
"""The operators of traditional machine learning."""


class Graph:
    """A graph that grows node by node.

    Parameters
    ----------
    unique : callable (str) -> str
        A name that is not taken, like the one given.

    Attributes
    ----------
    nodes, constants : list of onnx.NodeProto, of onnx.TensorProto
    """

    def __init__(self, unique: Callable[[str], str]) -> None:
        self._onnx = optional("onnx", "onnx", "to_onnx")
        self._unique = unique
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = name or self._unique(operator)
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, values: Any, like: NDArray[Any] | None = None) -> str:
        """Add a constant, of the dtype of an array if asked for; return its name."""
        array = np.asarray(values, None if like is None else like.dtype)
        name = self._unique("constant")
        if array.dtype.kind in "UO":
            texts = [str(text).encode() for text in array.ravel()]
            tensor = self._onnx.helper.make_tensor(name, self._onnx.TensorProto.STRING, array.shape, texts)
        else:
            tensor = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        self.constants.append(tensor)
        return name

    def cast(self, value: str, dtype: Any) -> str:
        """The value in another dtype."""
        return self.node("Cast", value, to=self.tensor_type(dtype))

    def tensor_type(self, dtype: Any) -> int:
        """ONNX's number of a dtype."""
        if np.dtype(dtype).kind in "UO":
            return int(self._onnx.TensorProto.STRING)
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _elu(graph: Graph, z: str, like: NDArray[Any], above: float = 1.0, below: float = 1.0) -> str:
    """above z, but below (e^z - 1) where z is negative."""
    zero, one = graph.constant(0, like), graph.constant(1, like)
    negative = graph.node("Sub", graph.node("Exp", graph.node("Min", z, zero)), one)
    positive = graph.node("Mul", graph.node("Max", z, zero), graph.constant(above, like))
    return graph.node("Add", positive, graph.node("Mul", negative, graph.constant(below, like)))


def _softplus(graph: Graph, z: str, like: NDArray[Any]) -> str:
    e = graph.node("Exp", graph.node("Neg", graph.node("Abs", z)))
    logarithm = graph.node("Log", graph.node("Add", e, graph.constant(1, like)))
    return graph.node("Add", graph.node("Max", z, graph.constant(0, like)), logarithm)


def _gelu(graph: Graph, z: str, like: NDArray[Any]) -> str:
    scaled = graph.node("Mul", z, graph.constant(sqrt(0.5), like))
    # ONNX Runtime has no Erf in float64: the error is that of float32, 1e-7.
    erf = graph.cast(graph.node("Erf", graph.cast(scaled, np.float32)), like.dtype)
    half = graph.node("Mul", z, graph.constant(0.5, like))
    return graph.node("Mul", half, graph.node("Add", erf, graph.constant(1, like)))


SELU = 1.0507009873554805, 1.7580993408473766
FUNCTIONS: dict[str, Callable[[Graph, str, NDArray[Any]], str]] = {
    "identity": lambda graph, z, like: z,
    "logistic": lambda graph, z, like: graph.node("Sigmoid", z),
    "tanh": lambda graph, z, like: graph.node("Tanh", z),
    "relu": lambda graph, z, like: graph.node("Relu", z),
    "leaky_relu": lambda graph, z, like: graph.node("Max", z, graph.node("Mul", z, graph.constant(0.01, like))),
    "elu": _elu,
    "selu": lambda graph, z, like: _elu(graph, z, like, *SELU),
    "softplus": _softplus,
    "gelu": _gelu,
    "silu": lambda graph, z, like: graph.node("Mul", z, graph.node("Sigmoid", z)),
    "mish": lambda graph, z, like: graph.node("Mul", z, graph.node("Tanh", _softplus(graph, z, like))),
    "softmax": lambda graph, z, like: graph.node("Softmax", z, axis=1),
    "exp": lambda graph, z, like: graph.node("Exp", z),
}
"""Activations and functions of the outputs, of pre-activations like an array."""


def add_layers(graph: Graph, inputs: str, layers: Layers) -> str:
    """Add the nodes of a network; return the name of its outputs (n_rows, n_outputs)."""
    a = inputs
    functions: Sequence[str] = (*layers.activations, layers.output)
    for W, b, function in zip(layers.coefs, layers.intercepts, functions, strict=True):
        z = graph.node("Gemm", a, graph.constant(W), graph.constant(b))
        a = FUNCTIONS[function](graph, z, W)
    return a
