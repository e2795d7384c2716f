"""``fastmlp train`` without a file: a network that learns handwritten digits, timed beside the same in plain NumPy."""

from __future__ import annotations

import argparse
from copy import deepcopy
from math import inf, isclose
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier
from fastmlp._core import isa
from fastmlp.cli import outcome
from fastmlp.cli.report import Report
from fastmlp.cli.scores import scores_of

LEARNING_RATES = {"sgd": 0.1, "adam": 0.001}
"""Solvers of the demonstration (sgd without momentum), and a learning rate that suits standardised data."""


def train(arguments: argparse.Namespace) -> int:
    """Train on the digits, report each epoch, save the model and compare with NumPy."""
    outcome.check_outputs(arguments)
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(arguments.seed).permutation(len(pixels))
    test, rest = np.split(order, [int(arguments.test_fraction * len(pixels))])
    scaler = StandardScaler().fit(pixels[rest])
    standard = scaler.transform(pixels).astype(np.float32)
    X, X_test, y, y_test = standard[rest], standard[test], labels[rest], labels[test]
    classifier = _classifier(arguments, len(y))
    speaks = not (arguments.quiet or arguments.json)
    if speaks:
        _announce(classifier, X, y, y_test)
    report = Report(classifier, X_test, y_test, speaks)
    with outcome.told_warnings(arguments.quiet) as interrupted:
        report.train(X, y)
    compare = arguments.compare and not interrupted
    result = _result(classifier, report, scores_of(classifier, X_test, y_test), len(y), len(y_test))
    if compare and arguments.json:
        _, result["plain_numpy"] = _compare(classifier, report, X, y)
    outcome.conclude(arguments, _of_pixels(classifier, scaler), report.summary(), result)
    if compare and not arguments.json:
        print(_compare(classifier, report, X, y)[0])
    return int(bool(interrupted))


def _classifier(arguments: argparse.Namespace, n_rows: int) -> MLPClassifier:
    return MLPClassifier(
        arguments.hidden,
        arguments.activation,
        solver=arguments.solver,
        alpha=0.0,
        batch_size=min(arguments.batch_size, n_rows),
        learning_rate_init=arguments.lr or LEARNING_RATES[arguments.solver],
        max_iter=arguments.epochs,
        random_state=arguments.seed,
        momentum=0.0,
        n_iter_no_change=inf,
        max_time=arguments.max_time,
        n_threads=arguments.threads,
        dtype="float32",
    )


def _announce(classifier: MLPClassifier, X: Any, y: Any, y_test: Any) -> None:
    print(f"handwritten digits: {len(y)} rows to train on, {len(y_test)} to test on; classification into 10 classes")
    widths = "-".join(map(str, (X.shape[1], *classifier.hidden_layer_sizes, 10)))
    print(
        f"{widths}, {classifier.activation}, {classifier.solver}, learning rate {classifier.learning_rate_init:g}, "
        f"batches of {classifier.batch_size}, float32"
    )


def _of_pixels(classifier: MLPClassifier, scaler: StandardScaler) -> MLPClassifier:
    """The same network for digits as they are: standardisation is part of its first layer."""
    alone = deepcopy(classifier)
    (first, *others), (bias, *biases) = alone.coefs_, alone.intercepts_
    first = first / scaler.scale_[:, None]
    alone.coefs_, alone.intercepts_ = [first, *others], [bias - scaler.mean_ @ first, *biases]
    return alone


def _compare(classifier: MLPClassifier, report: Report, X: Any, y: Any) -> tuple[str, dict[str, Any]]:
    """The same training in NumPy, in words and in numbers."""
    seconds, loss, n_threads = report.time_in_numpy(X, y)
    # Rounding differs, and grows from step to step; a wrong step would show in the first digit.
    if not isclose(loss, classifier.loss_, rel_tol=0.01, abs_tol=1e-4):
        raise ValueError(f"the same training in NumPy ended with the loss {loss:.6g}, not {classifier.loss_:.6g}")
    threads = f", {n_threads} BLAS thread{'s' if n_threads > 1 else ''}" if n_threads else ""
    faster = seconds / report.seconds
    line = (
        f"plain NumPy {np.__version__}{threads}, same weights, same batches: loss {loss:.4f} in {seconds:.3g} s; "
        f"fastmlp was {faster:.1f} times as fast"
    )
    return line, {"seconds": seconds, "loss": loss, "blas_threads": n_threads, "times_as_fast": faster}


def _result(
    classifier: MLPClassifier, report: Report, scores: dict[str, float], n_rows: int, n_test: int
) -> dict[str, Any]:
    """What --json tells."""
    names = ("hidden_layer_sizes", "activation", "solver", "learning_rate_init", "batch_size", "random_state")
    return {
        "data": "handwritten digits",
        "task": "classification",
        "n_train_rows": n_rows,
        "n_test_rows": n_test,
        "estimator": "MLPClassifier",
        "settings": {name: getattr(classifier, name) for name in names},
        "n_epochs": classifier.n_iter_,
        "loss": classifier.loss_,
        "seconds": report.seconds,
        "n_threads": report.n_threads,
        "instruction_set": isa(),
        "scores": scores,
    }
