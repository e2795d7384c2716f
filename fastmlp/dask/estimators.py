"""DaskMLPClassifier and DaskMLPRegressor: the estimators of one machine, trained on the rows of a cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from inspect import Parameter, Signature, cleandoc, signature
from math import inf
from numbers import Real
from typing import Any, ClassVar, Self

import dask
import dask.array
import numpy as np
from distributed import Client, get_client
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from fastmlp.base import BaseMLP
from fastmlp.classifier import MLPClassifier
from fastmlp.dask.checkpoint import Checkpoint
from fastmlp.dask.conclusion import conclude
from fastmlp.dask.coordinator import Coordinator
from fastmlp.dask.preparation import Data, job_of
from fastmlp.dask.refusals import refuse
from fastmlp.documentation import PAGE_OF_CLASS
from fastmlp.hyperparameters import COUNT
from fastmlp.regressor import MLPRegressor

OWN: dict[str, Any] = {
    "client": None,
    "n_blocks": 8,
    "local_steps": 1,
    "compression": None,
    "transport": "sockets",
    "wait_limit": 60.0,
}
"""The hyper-parameters that the estimators of one machine do not have, and their defaults."""
CONSTRAINTS: dict[str, Any] = {
    "client": "no_validation",
    "n_blocks": [COUNT],
    "local_steps": [COUNT],
    "compression": [None, StrOptions({"bfloat16"})],
    "transport": [StrOptions({"sockets", "mpi"})],
    "wait_limit": [Interval(Real, 0, inf, closed="neither")],
}
REFUSED = """
Refused are `dropout`, `input_noise`, `n_restarts`, `warm_start` and ``solver="lbfgs"``; `early_stopping` needs `X_val`.
"""
"""What of the plain estimators' parameters, which the docstring lists, a cluster does not follow."""
DOCUMENTED = {
    "Parameters": """
client : distributed.Client, default=None
    The cluster's; None for the current one.
n_blocks : int, default=8
    Number of parts in which each batch is computed. Their gradients are summed in a fixed order. No more workers than
    this share a step. The result depends on it in the last digits, on the number of workers not at all. `batch_size`
    should be 100 times as large or more: the default of 200 is too small for 8.
local_steps : int, default=1
    Steps between two exchanges, for slow networks. Beyond 1 each of the blocks trains a copy of the network on its
    part of each batch, and the means of parameters and optimizer are taken: no longer what one machine computes.
compression : {"bfloat16"} or None, default=None
    How gradients of float32 travel and are summed: rounded to eight bits, which halves the bytes.
transport : {"sockets", "mpi"}, default="sockets"
    What gradients travel by. "mpi" needs `fastmlp[mpi]`, and workers that mpiexec has started.
wait_limit : float, default=60.0
    Seconds after which a worker that does not answer is left out.""",
    "Attributes": """
communication_ : float
    The share of the training's time that the first worker spent in waiting for others and talking to them.""",
}
"""Of the cluster alone, by section of the docstring."""
EXAMPLES = """
See Also
--------
LOCAL : The same on one machine.

Examples
--------
>>> import dask.array
>>> from distributed import Client
>>> from fastmlp.dask import CLUSTER
>>> X = dask.array.from_array([[0.0], [1.0], [2.0], [3.0]] * 25, chunks=(50, 1))
>>> y = dask.array.from_array([0, 0, 1, 1] * 25, chunks=50)
>>> with Client(processes=False, n_workers=2, dashboard_address=None):
...     model = CLUSTER((8,), learning_rate_init=0.1, random_state=0).fit(X, y)
>>> model.to_local().predict([[3.0]]).round()
array([1OF])
"""


def documented(local: type[BaseMLP], example: str) -> str:
    """The docstring of an estimator: that of the plain one, with what a cluster adds to its sections."""
    plain = cleandoc(local.__doc__ or "")
    text = f"`{local.__name__}` on a Dask cluster.\n{REFUSED}"
    for section, added in DOCUMENTED.items():
        of_plain = re.search(rf"^{section}\n-+\n(.*?)(?=\n\n\w[\w ]*\n---|\Z)", plain, re.MULTILINE | re.DOTALL)
        lines = of_plain[1] if of_plain else ""  # python -OO leaves no docstrings
        text += f"\n{section}\n{'-' * len(section)}\n{lines}{added}\n"
    return text + example.replace("LOCAL", local.__name__).replace("CLUSTER", f"Dask{local.__name__}")


class DaskMLP(BaseMLP):
    """What the estimators of a cluster share."""

    _doc_link_template = PAGE_OF_CLASS.replace("fastmlp.{", "fastmlp.dask.{")
    _local: ClassVar[type[BaseMLP]]
    _targets: ClassVar[str]
    client: Any
    n_blocks: int
    local_steps: int
    compression: str | None
    transport: str
    wait_limit: float

    def __init_subclass__(cls) -> None:
        """Give the class a constructor with the parameters of the local estimator and those of its own."""
        local = signature(cls._local.__init__).parameters.values()

        def __init__(self: DaskMLP, *positional: Any, **parameters: Any) -> None:
            plain = {name: value for name, value in parameters.items() if name not in OWN}
            own = OWN | {name: value for name, value in parameters.items() if name in OWN}
            self.__dict__.update(cls._local(*positional, **plain).get_params() | own)

        mine = [Parameter(name, Parameter.KEYWORD_ONLY, default=value) for name, value in OWN.items()]
        __init__.__signature__ = Signature([*local, *mine])  # type: ignore[attr-defined]
        cls.__init__ = __init__  # type: ignore[method-assign,assignment]
        super().__init_subclass__()

    def fit(  # type: ignore[override]
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_seconds: float = 0.0,
    ) -> Self:
        """Train on the workers of the cluster, on the rows that they hold.

        Parameters
        ----------
        X : dask array or data frame of shape (n_rows, n_features)
            Dense, or of CSR matrices; of known or unknown chunk sizes.
        y, sample_weight : dask array, series or data frame
            As for the estimator of one machine. Their chunks need not be those of X.
        X_val, y_val, sample_weight_val : likewise, default=None
            Rows to validate on, all of them on every worker.
        checkpoint : str or path-like, default=None
            A file of this machine that the client writes the training to, between epochs. Where it is there already,
            the fit goes on from it, to the bits of one never interrupted, on any number of workers.
        checkpoint_seconds : float, default=0.0
            Least time between two writings; they are half a second apart at least.

        Returns
        -------
        self : estimator
            Itself.

        Raises
        ------
        ValueError
            If a hyper-parameter or a partition is invalid, which the message names, or if the parameters have become
            infinite or NaN. The estimator is left as it was.
        RuntimeError
            If the cluster has no workers, or they do not reach each other or the rows.
        ModelFileError
            If the checkpoint is something else, or damaged.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` epochs were not enough, or if the loss diverges.
        UserWarning
            If training was interrupted from the keyboard: the steps so far are kept.
        """
        settings = self._settings()
        refuse(settings, type(self).__name__, validates=X_val is not None)
        if getattr(self, "_skl_callbacks", None):
            raise ValueError(
                f"Callbacks do not go with {type(self).__name__}: use early_stopping, target_loss, max_time or verbose."
            )
        client = self._found_client()
        local = self._local(**self._local_params())
        held_out = (X_val, y_val, sample_weight_val)
        data = Data(client, local, self._targets, (X, y, sample_weight), held_out, settings.wait_limit)
        try:
            job = job_of(local, settings, data)
            saved = None
            if checkpoint is not None:
                saved = Checkpoint(checkpoint, type(self).__name__, settings, job, data)
                job = saved.resumed(job, checkpoint_seconds)
            state, said = Coordinator(client, job, data.columns, data.held_out, saved).run()
        finally:
            data.release()
        self._fitted = conclude(local, job, data, state, said)
        self.communication_ = said["communication"] / max(said["seconds"], 1e-9)
        return self

    @property
    def partial_fit(self) -> Any:
        """Not of a cluster."""
        raise AttributeError(f"{type(self).__name__} has no partial_fit: use that of to_local().")

    @property
    def initialize(self) -> Any:
        """Not of a cluster, either."""
        raise AttributeError(f"{type(self).__name__} has no initialize: use that of to_local().")

    def to_local(self) -> Any:
        """Return the plain estimator, fitted where this one is."""
        parameters = self._local_params()
        if self._fitted is None:
            return self._local(**parameters)
        return self._local._from_state(parameters, self._state())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plain estimator to a file, as its `save` does.

        Parameters
        ----------
        path : str or path-like
            Used as it is: no suffix is added.
        """
        self.to_local().save(path)

    def _local_params(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._local._get_param_names()}

    def _found_client(self) -> Client:
        if self.client is not None:
            return self.client
        try:
            return get_client()
        except ValueError:
            raise ValueError(
                f"{type(self).__name__} needs a cluster: make a distributed.Client first, or pass client=."
            ) from None

    def _lazily(self, method: str, X: Any) -> Any:
        """Predictions for the rows of a dask collection, block by block when they are asked for."""
        if not dask.is_dask_collection(X):
            return getattr(super(), method)(X)
        fitted = self._require_fitted()
        few = np.zeros((1, fitted.n_features))
        local = self.to_local()
        like = getattr(local._view(_unnamed(local._fitted)), method)(few)[:0]
        model = dask.delayed(local, pure=True)
        if hasattr(X, "map_partitions"):
            X = X.to_delayed()
            pieces = [dask.delayed(predict_block)(part, model, method) for part in X]
            shape = (np.nan, *like.shape[1:])
            return dask.array.concatenate([dask.array.from_delayed(each, shape, meta=like) for each in pieces])
        if X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
        new_axes = {"drop_axis": 1} if like.ndim == 1 else {"chunks": (X.chunks[0], (like.shape[1],))}
        return X.map_blocks(predict_block, model, method, dtype=like.dtype, meta=like, **new_axes)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"client": None}

    def __sklearn_clone__(self) -> Any:
        parameters = self.get_params()
        client = parameters.pop("client")
        return type(self)(client=client, **{name: clone(value, safe=False) for name, value in parameters.items()})


def _unnamed(fitted: Any) -> Any:
    """What has been fitted, without the names of columns."""
    return type(fitted)(fitted.fit, fitted.n_features, None, fitted.labels)


def predict_block(rows: Any, model: Any, method: str) -> Any:
    """Predictions for one block; of no rows none."""
    if rows.shape[0]:
        return getattr(model, method)(rows)
    view = model._view(_unnamed(model._fitted))
    return getattr(view, method)(np.zeros((1, model._fitted.n_features)))[:0]


def _lazy(method: str) -> Callable[..., Any]:
    def predict(self: Any, X: Any) -> Any:
        return self._lazily(method, X)

    predict.__name__ = method
    predict.__doc__ = f"""As `{method}` of the plain estimator; of a dask collection a lazy one, block by block.

    Parameters
    ----------
    X : array or dask collection of shape (n_rows, n_features)
        The rows.

    Returns
    -------
    array or dask array
        What `{method}` of the plain estimator gives.
    """
    return predict


class DaskMLPClassifier(DaskMLP, MLPClassifier):
    __doc__ = documented(MLPClassifier, EXAMPLES.replace("OF", ""))
    _local, _targets = MLPClassifier, "labels"
    _parameter_constraints: ClassVar[dict[str, Any]] = MLPClassifier._parameter_constraints | CONSTRAINTS
    predict = _lazy("predict")
    predict_proba = available_if(MLPClassifier._has_probabilities)(_lazy("predict_proba"))
    predict_log_proba = available_if(MLPClassifier._has_probabilities)(_lazy("predict_log_proba"))
    decision_function = available_if(MLPClassifier._has_margins)(_lazy("decision_function"))


class DaskMLPRegressor(DaskMLP, MLPRegressor):
    __doc__ = documented(MLPRegressor, EXAMPLES.replace("((8,)", "(hidden_layer_sizes=(8,)").replace("OF", "."))
    _local, _targets = MLPRegressor, "values"
    _parameter_constraints: ClassVar[dict[str, Any]] = MLPRegressor._parameter_constraints | CONSTRAINTS
    predict = _lazy("predict")
