"""The trainer: the bare network over arrays, with class numbers as labels and the network's outputs as predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length

from fastmlp._core import LOSSES
from fastmlp.base import BaseMLP
from fastmlp.call import Call
from fastmlp.fitted import Fitted
from fastmlp.hyperparameters import constraints
from fastmlp.layers import quantiles
from fastmlp.listener import warn
from fastmlp.targets import check_targets, score


class Trainer(BaseMLP):
    """Trains a multi-layer perceptron on arrays.

    Hyper-parameters, attributes and random numbers are those of scikit-learn's ``MLPClassifier`` and
    ``MLPRegressor``: the same seed gives the same initial weights and batches. Classes are numbers from 0.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units of each hidden layer; ``()`` for a linear model.
    activation : str or list of str, default="relu"
        One of "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu", "mish".
        Of the hidden layers; or a list, one for each of them.
    loss : str, default="log_loss"
        One of "log_loss", "binary_log_loss", "squared_error", "poisson", "hinge", "squared_hinge", "perceptron",
        "absolute_error", "huber", "quantile", "gamma". What the outputs mean: probabilities of classes (log_loss) or of
        labels (binary_log_loss), margins (hinge, squared_hinge, perceptron), positive values (poisson, gamma: half
        their deviances) or values (the others).
    solver : {"lbfgs", "sgd", "adam", "rmsprop", "adagrad"}, default="adam"
        "lbfgs" minimises the loss of all rows at once, in float64. It refuses `dropout`, `input_noise`, `weight_decay`,
        `clip_norm`, `l1_ratio`, `warmup`, schedules that change in each step, and checkpoints. The others take batches.
    alpha : float, default=0.0001
        Strength of the L2 penalty; biases are exempt. It is divided by the number of rows in the batch, or by the sum
        of their sample weights.
    batch_size : int or "auto", default="auto"
        "auto" is ``min(200, n_rows)``.
    learning_rate : str or callable, default="constant"
        One of "constant", "invscaling", "adaptive", "cosine", "one_cycle", "linear", "coslog". Schedule of the learning
        rate. With ``solver="sgd"`` alone: "invscaling", ``learning_rate_init / (t_ + 1) ** power_t``, and "adaptive",
        divided by 5 where the loss, or the validation score, has stopped improving. The others change in each step and
        reach their end after `max_iter` epochs: "cosine" and "linear" fall to zero, "one_cycle" rises and falls,
        "coslog" goes through four waves. A function of the progress, from 0 to 1, returns a factor.
    learning_rate_init : float, default=0.001
        The learning rate. Schedules multiply it by factors of at most 1; a function of yours may return larger ones.
    power_t : float, default=0.5
        Exponent of the schedule "invscaling".
    max_iter : int, default=200
        Largest number of epochs of one call of `fit`, or of iterations of "lbfgs".
    shuffle : bool, default=True
        Whether each epoch uses the rows in another random order.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, of the validation rows and of the order of the rows.
    tol : float, default=0.0001
        An epoch whose loss, or validation score, is not better than the best by this much has not improved. With
        "lbfgs" the largest component of the gradient at the end.
    verbose : bool, int or "progress", default=False
        Whether to print the loss of each epoch; "progress" for a progress bar, which needs tqdm.
    warm_start : bool, default=False
        Whether `fit` goes on from the fitted parameters and the optimizer's state.
    momentum : float, default=0.9
        Share of the last step that is added to the next, from 0 to 1; for ``solver="sgd"``.
    nesterovs_momentum : bool, default=True
        Whether the momentum is Nesterov's.
    early_stopping : bool, default=False
        Whether to stop where the validation score has stopped improving, and to restore the best parameters. Ignored by
        "lbfgs".
    validation_fraction : float, default=0.1
        Share of the rows that `early_stopping` keeps out of the training, where `fit` is given none to validate on. In
        a binary classification each class gives the same share of its rows.
    beta_1 : float, default=0.9
        Decay rate of adam's mean of the gradient, in [0, 1).
    beta_2 : float, default=0.999
        Decay rate of the mean of the squared gradient, of adam and rmsprop, in [0, 1).
    epsilon : float, default=1e-08
        Keeps the denominator of adam, rmsprop and adagrad from zero.
    n_iter_no_change : int, default=10
        Training stops after more than this many epochs in a row that have not improved; ``np.inf`` for never.
    max_fun : int, default=15000
        Largest number of evaluations of the loss with "lbfgs".
    label_smoothing : float, default=0.0
        Share of each target of the log loss that is spread evenly over the classes.
    huber_delta : float, default=1.0
        Error at which Huber's loss turns from a square to a line.
    quantile : float or list of float, default=0.5
        Quantile that ``loss="quantile"`` predicts; of several each has an output, in ascending order.
    l1_ratio : float, default=0.0
        Part of the penalty that is L1: ``alpha * ((1 - l1_ratio) / 2 * sum(W**2) + l1_ratio * sum(abs(W)))``.
    weight_decay : float, default=0.0
        Decay apart from the gradient: each step multiplies the weights by ``1 - learning rate * weight_decay``; biases
        are exempt. With adam this is AdamW.
    clip_norm : float | None, default=None
        Longer gradients, of all parameters, are shortened to this norm.
    dropout : float or list of float, default=0.0
        Share of the units of each hidden layer that are zero in a step, drawn anew for each row; a list begins with the
        inputs, and has one number more than there are hidden layers.
    input_noise : float, default=0.0
        Standard deviation of the normal noise that each step adds to the inputs.
    warmup : float, default=0.0
        Share of the steps in which the learning rate rises from zero to where the schedule begins.
    weight_init : str, default="auto"
        One of "auto", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal", "orthogonal". How
        the first weights are drawn; "auto" is scikit-learn's: uniform after Glorot and Bengio, the biases too, which
        are zero with the others.
    n_restarts : int, default=0
        Number of further trainings, from other random weights; the best is kept, by its validation score or else its
        loss.
    max_time : float | None, default=None
        Seconds after which one call of `fit` ends, in the middle of an epoch too.
    target_loss : float | None, default=None
        Training ends with the first epoch whose loss is not above it.
    scoring : str, callable or None, default=None
        The validation score: a scorer or its name, "loss" for the negative loss, None for the accuracy or R².
    n_threads : int or None, default=None
        None: as many as this process may use and a step of this network has work for. The result does not depend on it.
    dtype : {"float32", "float64", "bfloat16"} or None, default=None
        What to compute in. None: float32 where X is float32 or uint8, else float64. X is not converted for it.
        "bfloat16" rounds the factors of matrix products to eight bits and keeps all else in float32: on a CPU with
        AVX-512 BF16 (`show_config` tells) faster than float32, from layers of 64 units and batches of 32 rows; slower
        than float32 in batches of a few rows, and on other CPUs, of which those with FMA compute the same bits. The
        solver "lbfgs" computes in float64 whatever this is.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (fan_in, fan_out)
        Weight matrices: views into one vector. Assigning to the list or to an item of it copies the values.
    intercepts_ : list of ndarray of shape (fan_out,)
        Bias vectors, likewise.
    loss_ : float
        Mean loss of the last epoch, penalty included.
    loss_curve_ : list of float
        The same of each epoch. Pickles and files leave out what `partial_fit` has added, which would make them grow.
    best_loss_ : float or None
        The lowest of them; None with `early_stopping`.
    validation_scores_, validation_loss_curve_ : list of float or None
        Score and loss (without penalty) of the validation rows after each epoch, where there are any.
    best_validation_score_ : float or None
        The highest of the scores.
    best_epoch_ : int or None
        Number of the epoch, from 1, with the best validation score, or else the lowest loss.
    n_iter_ : int
        Number of epochs or iterations of the last call.
    t_ : int
        Number of rows used in all calls, each epoch again; 0 with "lbfgs".
    n_features_in_, n_outputs_, n_layers_ : int
        Number of inputs, of outputs, and of layers of units, inputs and outputs included.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Where X has string names of columns.
    out_activation_ : str
        Function of the outputs.

    See Also
    --------
    MLPClassifier : For any labels.
    MLPRegressor : For values.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastmlp import Trainer
    >>> X, y = load_digits(return_X_y=True)
    >>> trainer = Trainer((64,), random_state=0, max_iter=50, tol=0).fit(X / 16, y)
    >>> trainer.score(X / 16, y) > 0.97
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = constraints("Trainer")

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        loss: str = "log_loss",
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str | Callable[[float], float] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 0.0001,
        verbose: bool | int | str = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-08,
        n_iter_no_change: int | float = 10,
        max_fun: int = 15000,
        label_smoothing: float = 0.0,
        huber_delta: float = 1.0,
        quantile: float | Sequence[float] = 0.5,
        l1_ratio: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        dropout: float | Sequence[float] = 0.0,
        input_noise: float = 0.0,
        warmup: float = 0.0,
        weight_init: str = "auto",
        n_restarts: int = 0,
        max_time: float | None = None,
        target_loss: float | None = None,
        scoring: str | Callable[..., float] | None = None,
        n_threads: int | None = None,
        dtype: str | type | None = None,
    ) -> None:
        self._set_parameters(locals())

    @available_if(BaseMLP._has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch over the given rows, going on from the parameters and the optimizer's state so far.

        Errors and warnings are those of `fit`; the first call decides the shape of the network.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        X_val, y_val, sample_weight_val
            As for `fit`: rows to monitor.

        Returns
        -------
        self : Trainer
            The same, trained further.
        """
        held_out = (X_val, y_val, sample_weight_val)
        with Call(self, (X, y, sample_weight), held_out, resumes=True) as (fit, n_epochs, listeners):
            fit.run(n_epochs, listeners)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the outputs of the network: probabilities, margins or values, as the loss defines them.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_outputs), or (n_rows,) with one output, in the dtype of the parameters
            Outputs.

        Raises
        ------
        NotFittedError
            If the trainer has not been fitted.
        ValueError
            If X is invalid or does not have the columns of the fit.
        """
        outputs, _ = self._predict(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy where the loss compares classes, R² where it compares values.

        A matrix of labels counts as right where the whole row is.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)
            As for `predict`.
        y : array-like
            As for `fit`.
        sample_weight : array-like of shape (n_rows,), default=None
            Not negative; None for ones.

        Returns
        -------
        float
            The score.
        """
        outputs, fitted = self._predict(X)
        loss = fitted.fit.network.loss
        n_outputs = outputs.shape[1] if LOSSES[loss].threshold is None else None
        targets, _ = check_targets(y, loss, n_outputs, self)
        check_consistent_length(outputs, targets, sample_weight)
        if n_outputs is None and targets.ndim == 2 and targets.shape[1] != outputs.shape[1]:
            raise ValueError(f"`y` has {targets.shape[1]} columns, but the network has {outputs.shape[1]} outputs.")
        return score(targets, outputs, loss, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _understand(self, y: Any, classes: Any) -> tuple[NDArray[Any], int, str, None]:
        several = quantiles(self.quantile) if self.loss == "quantile" else ()
        targets, n_outputs = check_targets(y, self.loss, len(several) if len(several) > 1 else None, self)
        if targets.ndim == 1 and targets.min() == 1 < targets.max():
            warn(
                f"y holds class numbers from 1 to {targets.max()}: there is an output for class 0, too, which no row "
                "has. Subtract 1, or use MLPClassifier, which takes any labels."
            )
        return targets, n_outputs, self.loss, None

    def _encode(self, y: Any, fitted: Fitted, exact: bool = False) -> NDArray[Any]:
        network = fitted.fit.network
        return check_targets(y, network.loss, network.n_units[-1], self)[0]

    def _memory_error(self, error: MemoryError, n_units: tuple[int, ...]) -> MemoryError:
        if n_units[-1] < max(n_units) or LOSSES[self.loss].threshold is None:
            return error
        return MemoryError(
            f"y holds class numbers up to {n_units[-1] - 1}, which makes as many outputs: this machine has no "
            "memory for them. Number the classes 0, 1, 2, …, or use MLPClassifier, which takes any labels."
        )
