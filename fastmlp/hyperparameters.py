"""Each hyper-parameter once: default, type, constraint and description.

`python -m tools.signatures` writes signatures and docstrings of the estimators from it.
"""

from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from fastmlp._core import ACTIVATIONS, LOSSES, MAX_THREADS, OPTIMIZERS
from fastmlp.initialization import INITIALIZERS
from fastmlp.schedules import SCHEDULES


class ThreadCounts(Interval):  # type: ignore[misc]  # scikit-learn has no types
    """Numbers of threads; who knows -1 for all of them from scikit-learn is told how to say so."""

    def __str__(self) -> str:
        return f"{super().__str__()}, where None is all that this process may use"


@dataclass(frozen=True)
class Hyperparameter:
    """A hyper-parameter of the estimators.

    Attributes
    ----------
    default : object
    annotation : str
        Its type, as it stands in the signature.
    constraint : list
        As scikit-learn's ``_parameter_constraints`` has it.
    description : str
        What it does; in numpydoc.
    documented : str
        Its type as the docstring words it; empty: the annotation.
    """

    default: Any
    annotation: str
    constraint: list[Any]
    description: str
    documented: str = ""


def _names(*names: str) -> str:
    return "{" + ", ".join(f'"{name}"' for name in names) + "}"


SOLVERS = ("lbfgs", *dict.fromkeys(name.split("_")[0] for name in OPTIMIZERS))  # momentum is not part of the name
NOT_NEGATIVE = Interval(Real, 0, inf, closed="left")
POSITIVE = Interval(Real, 0, inf, closed="neither")
BELOW_ONE = Interval(Real, 0, 1, closed="left")
SHARE = Interval(Real, 0, 1, closed="both")
COUNT = Interval(Integral, 1, None, closed="left")

SHARED = {
    "hidden_layer_sizes": Hyperparameter(
        (100,),
        "int | Sequence[int]",
        ["array-like", COUNT],
        "Number of units of each hidden layer; ``()`` for a linear model.",
        "int or array-like of int",
    ),
    "activation": Hyperparameter(
        "relu",
        "str | Sequence[str]",
        [StrOptions(set(ACTIVATIONS)), "array-like"],
        "Of the hidden layers; or a list, one for each of them.",
        _names(*ACTIVATIONS) + " or list of str",
    ),
    "solver": Hyperparameter(
        "adam",
        "str",
        [StrOptions(set(SOLVERS))],
        '"lbfgs" minimises the loss of all rows at once, in float64. It refuses `dropout`, `input_noise`, '
        "`weight_decay`, `clip_norm`, `l1_ratio`, `warmup`, schedules that change in each step, and checkpoints. The "
        "others take batches.",
        _names(*SOLVERS),
    ),
    "alpha": Hyperparameter(
        0.0001,
        "float",
        [NOT_NEGATIVE],
        "Strength of the L2 penalty; biases are exempt. It is divided by the number of rows in the batch, or by the "
        "sum of their sample weights.",
    ),
    "batch_size": Hyperparameter(
        "auto", "int | str", [StrOptions({"auto"}), COUNT], '"auto" is ``min(200, n_rows)``.', 'int or "auto"'
    ),
    "learning_rate": Hyperparameter(
        "constant",
        "str | Callable[[float], float]",
        [StrOptions(set(SCHEDULES)), callable],
        'Schedule of the learning rate. With ``solver="sgd"`` alone: "invscaling", ``learning_rate_init / (t_ + 1) ** '
        'power_t``, and "adaptive", divided by 5 where the loss, or the validation score, has stopped improving. '
        'The others change in each step and reach their end after `max_iter` epochs: "cosine" and "linear" fall to '
        'zero, "one_cycle" rises and falls, "coslog" goes through four waves. A function of the progress, from 0 to 1, '
        "returns a factor.",
        _names(*SCHEDULES) + " or callable",
    ),
    "learning_rate_init": Hyperparameter(
        0.001,
        "float",
        [POSITIVE],
        "The learning rate. Schedules multiply it by factors of at most 1; a function of yours may return larger ones.",
    ),
    "power_t": Hyperparameter(
        0.5, "float", [Interval(Real, 0, None, closed="left")], 'Exponent of the schedule "invscaling".'
    ),
    "max_iter": Hyperparameter(
        200, "int", [COUNT], 'Largest number of epochs of one call of `fit`, or of iterations of "lbfgs".'
    ),
    "shuffle": Hyperparameter(True, "bool", ["boolean"], "Whether each epoch uses the rows in another random order."),
    "random_state": Hyperparameter(
        None,
        "int | np.random.RandomState | None",
        ["random_state"],
        "Source of the initial weights, of the validation rows and of the order of the rows.",
        "int, RandomState instance or None",
    ),
    "tol": Hyperparameter(
        1e-4,
        "float",
        [Interval(Real, 0, None, closed="left")],
        "An epoch whose loss, or validation score, is not better than the best by this much has not improved. With "
        '"lbfgs" the largest component of the gradient at the end.',
    ),
    "verbose": Hyperparameter(
        False,
        "bool | int | str",
        ["verbose", StrOptions({"progress"})],
        'Whether to print the loss of each epoch; "progress" for a progress bar, which needs tqdm.',
        'bool, int or "progress"',
    ),
    "warm_start": Hyperparameter(
        False, "bool", ["boolean"], "Whether `fit` goes on from the fitted parameters and the optimizer's state."
    ),
    "momentum": Hyperparameter(
        0.9,
        "float",
        [Interval(Real, 0, 1, closed="both")],
        'Share of the last step that is added to the next, from 0 to 1; for ``solver="sgd"``.',
    ),
    "nesterovs_momentum": Hyperparameter(True, "bool", ["boolean"], "Whether the momentum is Nesterov's."),
    "early_stopping": Hyperparameter(
        False,
        "bool",
        ["boolean"],
        "Whether to stop where the validation score has stopped improving, and to restore the best parameters. Ignored "
        'by "lbfgs".',
    ),
    "validation_fraction": Hyperparameter(
        0.1,
        "float",
        [BELOW_ONE],
        "Share of the rows that `early_stopping` keeps out of the training, where `fit` is given none to validate on. "
        "In a binary classification each class gives the same share of its rows.",
    ),
    "beta_1": Hyperparameter(0.9, "float", [BELOW_ONE], "Decay rate of adam's mean of the gradient, in [0, 1)."),
    "beta_2": Hyperparameter(
        0.999, "float", [BELOW_ONE], "Decay rate of the mean of the squared gradient, of adam and rmsprop, in [0, 1)."
    ),
    "epsilon": Hyperparameter(
        1e-8, "float", [POSITIVE], "Keeps the denominator of adam, rmsprop and adagrad from zero."
    ),
    "n_iter_no_change": Hyperparameter(
        10,
        "int | float",
        [COUNT, Options(Real, {inf})],
        "Training stops after more than this many epochs in a row that have not improved; ``np.inf`` for never.",
        "int",
    ),
    "max_fun": Hyperparameter(15000, "int", [COUNT], 'Largest number of evaluations of the loss with "lbfgs".'),
    "l1_ratio": Hyperparameter(
        0.0,
        "float",
        [SHARE],
        "Part of the penalty that is L1: ``alpha * ((1 - l1_ratio) / 2 * sum(W**2) + l1_ratio * sum(abs(W)))``.",
    ),
    "weight_decay": Hyperparameter(
        0.0,
        "float",
        [NOT_NEGATIVE],
        "Decay apart from the gradient: each step multiplies the weights by ``1 - learning rate * weight_decay``; "
        "biases are exempt. With adam this is AdamW.",
    ),
    "clip_norm": Hyperparameter(
        None, "float | None", [None, POSITIVE], "Longer gradients, of all parameters, are shortened to this norm."
    ),
    "dropout": Hyperparameter(
        0.0,
        "float | Sequence[float]",
        [BELOW_ONE, "array-like"],
        "Share of the units of each hidden layer that are zero in a step, drawn anew for each row; a list begins with "
        "the inputs, and has one number more than there are hidden layers.",
        "float or list of float",
    ),
    "input_noise": Hyperparameter(
        0.0, "float", [NOT_NEGATIVE], "Standard deviation of the normal noise that each step adds to the inputs."
    ),
    "warmup": Hyperparameter(
        0.0,
        "float",
        [BELOW_ONE],
        "Share of the steps in which the learning rate rises from zero to where the schedule begins.",
    ),
    "weight_init": Hyperparameter(
        "auto",
        "str",
        [StrOptions(set(INITIALIZERS))],
        'How the first weights are drawn; "auto" is scikit-learn\'s: uniform after Glorot and Bengio, the biases too, '
        "which are zero with the others.",
        _names(*INITIALIZERS),
    ),
    "n_restarts": Hyperparameter(
        0,
        "int",
        [Interval(Integral, 0, None, closed="left")],
        "Number of further trainings, from other random weights; the best is kept, by its validation score or else its "
        "loss.",
    ),
    "max_time": Hyperparameter(
        None,
        "float | None",
        [None, POSITIVE],
        "Seconds after which one call of `fit` ends, in the middle of an epoch too.",
    ),
    "target_loss": Hyperparameter(
        None, "float | None", [None, Real], "Training ends with the first epoch whose loss is not above it."
    ),
    "scoring": Hyperparameter(
        None,
        "str | Callable[..., float] | None",
        [str, callable, None],
        'The validation score: a scorer or its name, "loss" for the negative loss, None for the accuracy or R².',
        "str, callable or None",
    ),
    "n_threads": Hyperparameter(
        None,
        "int | None",
        [None, ThreadCounts(Integral, 1, MAX_THREADS, closed="both")],
        "None: as many as this process may use and a step of this network has work for. The result does not depend on "
        "it.",
        "int or None",
    ),
    "dtype": Hyperparameter(
        None,
        "str | type | None",
        [None, StrOptions({"float32", "float64", "bfloat16"}), Options(type, {np.float32, np.float64})],
        "What to compute in. None: float32 where X is float32 or uint8, else float64. X is not converted for it. "
        '"bfloat16" rounds the factors of matrix products to eight bits and keeps all else in float32: on a CPU with '
        "AVX-512 BF16 (`show_config` tells) faster than float32, from layers of 64 units and batches of 32 rows; "
        "slower than float32 in batches of a few rows, and on other CPUs, of which those with FMA compute the same "
        'bits. The solver "lbfgs" computes in float64 whatever this is.',
        '{"float32", "float64", "bfloat16"} or None',
    ),
}
"""What every estimator has, in the order of the signatures."""


def _with(own: dict[str, tuple[str, Hyperparameter]], first: dict[str, Hyperparameter]) -> dict[str, Hyperparameter]:
    """`SHARED` after `first`, with each of `own` in front of the name given with it."""
    result = dict(first)
    for name, entry in SHARED.items():
        result |= {key: value for key, (before, value) in own.items() if before == name}
        result[name] = entry
    return result


TRAINER_LOSS = Hyperparameter(
    "log_loss",
    "str",
    [StrOptions(set(LOSSES))],
    "What the outputs mean: probabilities of classes (log_loss) or of labels (binary_log_loss), margins (hinge, "
    "squared_hinge, perceptron), positive values (poisson, gamma: half their deviances) or values (the others).",
    _names(*LOSSES),
)
VALUE_LOSSES = tuple(name for name, loss in LOSSES.items() if loss.threshold is None)
REGRESSOR_LOSS = Hyperparameter(
    "squared_error",
    "str",
    [StrOptions(set(VALUE_LOSSES))],
    '"squared_error": half the square; "poisson", "gamma": half the deviance, of positive predictions; '
    '"absolute_error": the absolute value; "huber": half the square below `huber_delta` and a line above; "quantile": '
    "the pinball loss of the `quantile`.",
    _names(*VALUE_LOSSES),
)
MARGIN_LOSSES = tuple(name for name, loss in LOSSES.items() if loss.threshold == 0)
CLASSIFIER_LOSS = Hyperparameter(
    "log_loss",
    "str",
    [StrOptions({"log_loss", *MARGIN_LOSSES})],
    "The log loss, of softmax or of independent labels; or a loss of margins, one against the rest, which gives "
    "`decision_function` in place of probabilities.",
    _names("log_loss", *MARGIN_LOSSES),
)
LABEL_SMOOTHING = Hyperparameter(
    0.0,
    "float",
    [BELOW_ONE],
    "Share of each target of the log loss that is spread evenly over the classes.",
)
HUBER_DELTA = Hyperparameter(1.0, "float", [POSITIVE], "Error at which Huber's loss turns from a square to a line.")
QUANTILE = Hyperparameter(
    0.5,
    "float | Sequence[float]",
    [Interval(Real, 0, 1, closed="neither"), "array-like"],
    'Quantile that ``loss="quantile"`` predicts; of several each has an output, in ascending order.',
    "float or list of float",
)
CLASS_WEIGHT = Hyperparameter(
    None,
    "ClassWeight",
    [dict, list, StrOptions({"balanced"}), None],
    'Factors of the sample weights by class; "balanced" is ``n_rows / (n_classes * n_rows_of_the_class)``. For several '
    "labels a list with a dict for each label.",
    'dict, list of dict, "balanced" or None',
)

HYPERPARAMETERS = {
    "Trainer": _with(
        {
            "loss": ("solver", TRAINER_LOSS),
            "label_smoothing": ("l1_ratio", LABEL_SMOOTHING),
            "huber_delta": ("l1_ratio", HUBER_DELTA),
            "quantile": ("l1_ratio", QUANTILE),
        },
        {},
    ),
    "MLPClassifier": _with(
        {
            "loss": ("l1_ratio", CLASSIFIER_LOSS),
            "label_smoothing": ("l1_ratio", LABEL_SMOOTHING),
            "class_weight": ("scoring", CLASS_WEIGHT),
        },
        {},
    ),
    "MLPRegressor": _with(
        {"huber_delta": ("l1_ratio", HUBER_DELTA), "quantile": ("l1_ratio", QUANTILE)}, {"loss": REGRESSOR_LOSS}
    ),
}
"""Those of each estimator, in the order of its signature."""


def constraints(estimator: str) -> dict[str, list[Any]]:
    """scikit-learn's ``_parameter_constraints`` of the estimator of that name."""
    return {name: entry.constraint for name, entry in HYPERPARAMETERS[estimator].items()}
