"""A multi-layer perceptron that scikit-learn has trained becomes one of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import neural_network
from sklearn.utils.validation import check_is_fitted

import fastmlp
from fastmlp.engine_settings import optimizer_name, zeros
from fastmlp.estimator_state import check_state

KINDS = {neural_network.MLPClassifier: "MLPClassifier", neural_network.MLPRegressor: "MLPRegressor"}


def from_sklearn(mlp: Any) -> Any:
    """Turn a fitted MLPClassifier or MLPRegressor of scikit-learn into ours: the same parameters and predictions.

    What scikit-learn's optimizer has kept comes along: `partial_fit`, and `fit` with ``warm_start=True``, go on.

    Parameters
    ----------
    mlp : sklearn.neural_network.MLPClassifier or sklearn.neural_network.MLPRegressor
        Fitted. It is not changed, and shares no memory with the result.

    Returns
    -------
    MLPClassifier or MLPRegressor
        Fitted, ready to predict and to be trained further.

    Raises
    ------
    NotFittedError
        If it has not been fitted.
    TypeError
        If it is of another class.

    See Also
    --------
    load : Reads a file that `save` has written.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from fastmlp import from_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> trained = MLPClassifier(max_iter=1000, random_state=0).fit(X, y)
    >>> model = from_sklearn(trained)
    >>> bool((model.predict(X) == trained.predict(X)).all())
    True
    """
    kind = KINDS.get(type(mlp))
    if kind is None:
        known = " and ".join(f"{each.__module__.rsplit('.', 1)[0]}.{each.__name__}" for each in KINDS)
        raise TypeError(f"from_sklearn takes {known}, got {type(mlp).__module__}.{type(mlp).__name__}.")
    check_is_fitted(mlp)
    estimator_class = getattr(fastmlp, kind)
    names = estimator_class().get_params()
    parameters = {name: value for name, value in mlp.get_params().items() if name in names}
    state = _state(mlp, estimator_class(**parameters))
    check_state(kind, state)
    return estimator_class._from_state(parameters, state)


def _state(mlp: Any, settings: Any) -> dict[str, Any]:
    """The fitted state in our words."""
    params = _vector([*mlp.coefs_, *mlp.intercepts_])
    optimizer = optimizer_name(settings)
    of_optimizer = getattr(mlp, "_optimizer", None)
    slots = [_vector(getattr(of_optimizer, name)) for name in ("velocities", "ms", "vs") if hasattr(of_optimizer, name)]
    slots = [] if optimizer == "sgd" else slots  # without momentum velocities are not used
    loss = _loss(mlp)
    curve = [float(value) for value in getattr(mlp, "loss_curve_", [])]
    scores = getattr(mlp, "validation_scores_", None)
    best_loss = getattr(mlp, "best_loss_", mlp.loss_)  # which L-BFGS does not keep
    lowered = mlp.solver == "sgd" and mlp.learning_rate == "adaptive"
    rate = getattr(of_optimizer if lowered else None, "learning_rate", mlp.learning_rate_init)
    state = {
        "n_units": (mlp.coefs_[0].shape[0], *(len(b) for b in mlp.intercepts_)),
        "activation": mlp.activation,
        "loss": loss,
        "params": params,
        "slots": np.array(slots, params.dtype) if slots else zeros((0, len(params)), params.dtype),
        "optimizer": optimizer,
        "rate": float(rate),
        "last_loss": float(mlp.loss_),
        "best_loss": None if best_loss is None else float(best_loss),
        "best_validation_score": getattr(mlp, "best_validation_score_", None),
        "step": int(getattr(of_optimizer, "t", 0)),
        "n_iter": int(mlp.n_iter_),
        "t": int(mlp.t_),
        "no_improvement_count": int(getattr(mlp, "_no_improvement_count", 0)),
        "n_epochs_of_fit": len(curve),
        "epochs_scheduled": int(mlp.n_iter_),
        "best_epoch": int(np.argmax(scores) if scores else np.argmin(curve)) + 1 if curve else 0,
        "seed": 0,
        "loss_curve": curve,
        "validation_scores": None if scores is None else [float(score) for score in scores],
        "validation_loss_curve": None if scores is None else [float("nan")] * len(scores),
        "n_features": int(mlp.n_features_in_),
        "feature_names": getattr(mlp, "feature_names_in_", None),
    }
    if hasattr(mlp, "_label_binarizer"):
        binarizer = mlp._label_binarizer
        state |= {"classes": mlp.classes_, "y_type": binarizer.y_type_, "sparse_output": bool(binarizer.sparse_input_)}
    return state


def _vector(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """Weights and biases one after the other."""
    return np.concatenate([np.ravel(array) for array in arrays])


def _loss(mlp: Any) -> str:
    """The engine's word for the loss."""
    if hasattr(mlp, "_label_binarizer"):
        return "log_loss" if mlp.out_activation_ == "softmax" else "binary_log_loss"
    return str(getattr(mlp, "loss", "squared_error"))
