"""The trainer: a perceptron on arrays, with class numbers as labels and the network's outputs as predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_consistent_length

from fastmlp._core import LOSSES
from fastmlp.data import TASKS, check_targets, score
from fastmlp.perceptron import Perceptron


class Trainer(Perceptron):
    """Trains a multi-layer perceptron on arrays.

    Hyper-parameters, attributes and random numbers are those of scikit-learn's ``MLPClassifier`` and
    ``MLPRegressor``: the same seed gives the same initial weights and batches. Classes are numbers from 0.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units of each hidden layer; ``()`` for a linear model.
    activation : {"identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu", \
"mish"}, default="relu"
        Of the hidden layers.
    loss : {"log_loss", "binary_log_loss", "squared_error", "poisson", "hinge", "squared_hinge", "perceptron", \
"absolute_error", "huber", "quantile", "gamma"}, default="log_loss"
        Softmax and cross-entropy; K independent sigmoids and their cross-entropies; half the square; half the Poisson
        deviance of an exponential output; one margin for each output, its square, or what a perceptron minimises; the
        absolute error; half the square of errors up to 1, a straight line beyond; half the absolute error; half the
        Gamma deviance of an exponential output.
    solver : {"sgd", "adam"}, default="adam"
    alpha : float, default=0.0001
        Strength of the L2 penalty; biases are exempt. It is divided by the sum of the weights of the batch.
    batch_size : int or "auto", default="auto"
        "auto" is ``min(200, n_rows)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Schedule of the learning rate with ``solver="sgd"``: constant; ``learning_rate_init / (t_ + 1) ** power_t``;
        divided by 5 where the loss has stopped improving.
    learning_rate_init : float, default=0.001
    power_t : float, default=0.5
        Exponent of the schedule "invscaling".
    max_iter : int, default=200
        Largest number of epochs of one call of `fit`.
    shuffle : bool, default=True
        Whether each epoch uses the rows in another random order.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights and of the order of the rows.
    tol : float, default=1e-4
        An epoch whose loss is not lower than the best by this much has not improved.
    verbose : bool, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether `fit` goes on from the fitted parameters and the optimizer's state.
    momentum : float, default=0.9
        From 0 to 1, with ``solver="sgd"``.
    nesterovs_momentum : bool, default=True
        Whether the momentum is Nesterov's.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay rates of Adam's two moments, in [0, 1).
    epsilon : float, default=1e-8
        Keeps Adam's denominator from zero.
    n_iter_no_change : int, default=10
        Training stops after more than this many epochs in a row that have not improved.
    n_threads : int or None, default=None
        None: as many as this process may use and a step of this network has work for. The result is the same.
    dtype : {"float32", "float64"} or None, default=None
        What to compute in. None: float32 where X is float32 or uint8, else float64. X is not converted for it.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (fan_in, fan_out)
        Weight matrices: views into one vector. Assigning to the list or to an item of it copies the values.
    intercepts_ : list of ndarray of shape (fan_out,)
        Bias vectors, likewise.
    loss_ : float
        Mean loss of the last epoch, penalty included.
    loss_curve_ : list of float
        The same of each epoch.
    best_loss_ : float
        The lowest of them.
    n_iter_ : int
        Number of epochs of the last call.
    t_ : int
        Number of rows used in all calls, each epoch again.
    n_features_in_, n_outputs_, n_layers_ : int
        Number of inputs, of outputs, and of layers of units, inputs and outputs included.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Where X has string names of columns.
    out_activation_ : str
        Function of the outputs.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastmlp import Trainer
    >>> X, y = load_digits(return_X_y=True)
    >>> trainer = Trainer((64,), random_state=0, max_iter=50, tol=0).fit(X / 16, y)
    >>> trainer.score(X / 16, y) > 0.97
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Perceptron._parameter_constraints,
        "loss": [StrOptions(set(LOSSES))],
    }

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        loss: str = "log_loss",
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int | float = 10,
        n_threads: int | None = None,
        dtype: str | type | None = None,
    ) -> None:
        self._set_parameters(locals())

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train until the loss stops improving, or for `max_iter` epochs.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)
            Read where it lies, without a copy, if float32, float64 or uint8 with contiguous rows, or CSR of these.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
            Class numbers from 0, or one-hot rows, probabilities or 0/1 labels; values where the loss compares values.
        sample_weight : array-like of shape (n_rows,), default=None
            Not negative; None for ones.

        Returns
        -------
        self : Trainer

        Raises
        ------
        ValueError
            If a hyper-parameter or an input is invalid, or if the parameters have become infinite or NaN.
        MemoryError
            If the network does not fit in the memory of this machine.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` epochs were not enough, or if the loss diverges.
        UserWarning
            If training was interrupted from the keyboard: the steps so far are kept.
        """
        self._validate_params()
        return self._fit(X, y, sample_weight, n_epochs=None)

    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one epoch over the given rows, going on from the parameters and the optimizer's state so far.

        Parameters, errors and warnings are those of `fit`; the first call decides the shape of the network.
        """
        self._validate_params()
        return self._fit(X, y, sample_weight, n_epochs=1)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the outputs of the network: probabilities, margins or values, as the loss defines them.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_outputs), or (n_rows,) with one output, in the dtype of the parameters

        Raises
        ------
        NotFittedError
            If the trainer has not been fitted.
        ValueError
            If X is invalid or does not have the columns of the fit.
        """
        outputs = self._predict(X)
        return outputs[:, 0] if self.n_outputs_ == 1 else outputs

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy where the loss compares classes, R² where it compares values.

        A matrix of labels counts as right where the whole row is.
        """
        outputs = self._predict(X)
        n_outputs = None if TASKS[self._loss()].classifies else self.n_outputs_
        targets, _ = check_targets(y, self._loss(), n_outputs, self)
        check_consistent_length(outputs, targets, sample_weight)
        return score(targets, outputs, self._loss(), sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _initialize(self, n_units: tuple[int, ...], dtype: str) -> None:
        try:
            super()._initialize(n_units, dtype)
        except MemoryError as error:
            if n_units[-1] < max(n_units) or not TASKS[self.loss].classifies:
                raise
            raise MemoryError(
                f"y holds class numbers up to {n_units[-1] - 1}, which makes as many outputs: this machine has no "
                "memory for them. Number the classes 0, 1, 2, …, or use MLPClassifier, which takes any labels."
            ) from error

    def _check_targets(self, y: Any, first: bool, resume: bool, classes: Any) -> tuple[NDArray[Any], int]:
        return check_targets(y, self.loss, None if first else self.n_outputs_, self)
