"""The estimators in pipelines that skl2onnx converts."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.classifier import MLPClassifier
from fastmlp.export.contents import Contents, contents_of
from fastmlp.export.onnx_file import add_label, label_array, sorted_columns
from fastmlp.export.onnx_graph import Graph, add_layers
from fastmlp.optional import optional
from fastmlp.regressor import MLPRegressor
from fastmlp.trainer import Trainer


def register_onnx_converters() -> None:
    """Let skl2onnx convert pipelines that hold an MLPClassifier, MLPRegressor or Trainer; call it once.

    The network computes in the dtype of its parameters, the rest in that of the initial types. With the losses of
    margins, the second output holds the margin of each class in place of its probability.

    Raises
    ------
    ImportError
        If skl2onnx is not installed: ``pip install "fastmlp[onnx]"``.

    See Also
    --------
    MLPClassifier.to_onnx : Writes an estimator without a pipeline.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastmlp import MLPClassifier, register_onnx_converters
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), MLPClassifier(max_iter=2000, random_state=0)).fit(X, y)
    >>> register_onnx_converters()
    >>> from skl2onnx import to_onnx  # doctest: +SKIP
    >>> file = to_onnx(model, X[:1].astype("float32"))  # doctest: +SKIP
    """
    register = optional("skl2onnx", "onnx", "register_onnx_converters").update_registered_converter
    options = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}
    register(MLPClassifier, "FastmlpMLPClassifier", _classifier_shapes, _convert_classifier, options=options)
    for estimator in (MLPRegressor, Trainer):
        register(estimator, f"Fastmlp{estimator.__name__}", _values_shapes, _convert_values)


def _rows_and_type(operator: Any) -> tuple[Any, Any]:
    """Number of rows, and type of what goes on from here: float64 where it came, else float32."""
    types = optional("skl2onnx.common.data_types", "onnx", "register_onnx_converters")
    kind = operator.inputs[0].type
    is_double = isinstance(kind, types.DoubleTensorType)
    return kind.shape[0], types.DoubleTensorType if is_double else types.FloatTensorType


def _classifier_shapes(operator: Any) -> None:
    types = optional("skl2onnx.common.data_types", "onnx", "register_onnx_converters")
    n_rows, real = _rows_and_type(operator)
    contents = contents_of(operator.raw_operator)
    assert contents.classes is not None
    n_scores = max(2, contents.layers.n_units[-1])
    if contents.meaning == "multilabel":
        label = types.Int64TensorType([n_rows, n_scores])
    else:
        tensors = {"int64": types.Int64TensorType, "bool": types.BooleanTensorType}
        tensors |= {"float32": types.FloatTensorType, "float64": types.DoubleTensorType}
        label = tensors.get(label_array(contents.classes).dtype.name, types.StringTensorType)([n_rows])
    operator.outputs[0].set_type(label)
    operator.outputs[1].set_type(real([n_rows, n_scores]))


def _values_shapes(operator: Any) -> None:
    n_rows, real = _rows_and_type(operator)
    operator.outputs[0].set_type(real([n_rows, operator.raw_operator.n_outputs_]))


def _begun(scope: Any, operator: Any) -> tuple[Graph, Contents, str, Any]:
    """The graph with the outputs of the network, and the dtype to go on in."""
    contents = contents_of(operator.raw_operator)
    graph = Graph(scope.get_unique_variable_name)
    W = contents.layers.coefs[0]
    outputs = add_layers(graph, graph.cast(operator.inputs[0].full_name, W.dtype), contents.layers)
    types = optional("skl2onnx.common.data_types", "onnx", "register_onnx_converters")
    is_double = isinstance(operator.inputs[0].type, types.DoubleTensorType)
    return graph, contents, outputs, np.float64 if is_double else np.float32


def _finish(scope: Any, container: Any, graph: Graph) -> None:
    """Hand the graph over to skl2onnx."""
    helper = optional("onnx.helper", "onnx", "register_onnx_converters")
    for tensor in graph.constants:
        container.initializers.append(tensor)
    for node in graph.nodes:
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        name = scope.get_unique_operator_name(node.op_type)
        container.add_node(
            node.op_type, list(node.input), list(node.output), op_domain=node.domain, name=name, **attributes
        )


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    graph, contents, outputs, dtype = _begun(scope, operator)
    label, scores = (output.full_name for output in operator.outputs)
    add_label(graph, outputs, contents, label)
    if contents.meaning == "binary":
        one = graph.constant(1, contents.layers.coefs[0])
        other = graph.node("Sub", one, outputs) if contents.has_probabilities else graph.node("Neg", outputs)
        outputs = graph.node("Concat", other, outputs, axis=1)
    graph.node("Cast", outputs, to=graph.tensor_type(dtype), name=scores)
    _finish(scope, container, graph)


def _convert_values(scope: Any, operator: Any, container: Any) -> None:
    graph, contents, outputs, dtype = _begun(scope, operator)
    if contents.meaning == "quantiles":
        outputs = sorted_columns(graph, outputs, contents.layers.n_units[-1])
    graph.node("Cast", outputs, to=graph.tensor_type(dtype), name=operator.outputs[0].full_name)
    _finish(scope, container, graph)
