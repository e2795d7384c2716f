"""``fastmlp train FILE``: a table, learned by `TabularClassifier` or `TabularRegressor`."""

from __future__ import annotations

import argparse
import sys
from time import perf_counter
from typing import Any

import numpy as np

from fastmlp import TabularClassifier, TabularRegressor
from fastmlp._core import isa
from fastmlp.cli import outcome
from fastmlp.cli.scores import in_words, scores_of
from fastmlp.cli.tables import Data, choose_task, hold_out, read_data


def train(arguments: argparse.Namespace) -> int:
    """Train on a file, tell how good the predictions of other rows are, and save the model."""
    outcome.check_outputs(arguments)
    data = read_data(arguments.data, arguments.target, arguments.drop or [])
    choose_task(data, arguments.task)
    hold_out(data, arguments.test_fraction, arguments.seed)
    speaks = not (arguments.quiet or arguments.json)
    for hint in data.hints if not arguments.quiet else []:
        print(f"fastmlp: hint: {hint}", file=sys.stderr)
    if speaks:
        print(_announcement(data))
    model = _estimator(arguments, data.task, speaks)
    start = perf_counter()
    with outcome.told_warnings(arguments.quiet) as interrupted:
        model.fit(data.X, _named(data))
    seconds = perf_counter() - start
    scores = scores_of(model, data.X_test, data.y_test)
    if speaks:
        print(model.summary())
    outcome.conclude(arguments, model, _in_words(model, scores, data, seconds), _result(model, scores, data, seconds))
    return int(bool(interrupted))


def _named(data: Data) -> Any:
    """y, with its name where it has one."""
    if not data.has_names:
        return data.y
    import pandas

    return pandas.Series(data.y, name=data.target)


def _estimator(arguments: argparse.Namespace, task: str, speaks: bool) -> TabularClassifier | TabularRegressor:
    options = {name: getattr(arguments, name) for name in ("preset", "max_time")}
    options |= {"random_state": arguments.seed, "n_threads": arguments.threads}
    options["verbose"] = "progress" if speaks and sys.stderr.isatty() and outcome.has_progress_bars() else False
    return TabularClassifier(**options) if task == "classification" else TabularRegressor(**options)


def _announcement(data: Data) -> str:
    dropped = f" ({data.n_dropped} without a target left out)" if data.n_dropped else ""
    into = f" into {len(np.unique(data.y))} classes" if data.task == "classification" else ""
    reason = f" ({data.reason})" if data.reason else ""
    return (
        f"{data.title}: {len(data.y)} rows to train on, {len(data.y_test)} to test on{dropped}; "
        f"{data.task} of {data.target}{into}{reason}"
    )


def _in_words(model: Any, scores: dict[str, float], data: Data, seconds: float) -> str:
    told = f"test {in_words(scores, data.target)}; " if scores else ""
    n_members = model.n_members_
    return f"{told}{n_members} network{'s' if n_members > 1 else ''} in {seconds:.3g} s on {isa()}"


def _result(model: Any, scores: dict[str, float], data: Data, seconds: float) -> dict[str, Any]:
    """What --json tells."""
    settings = {name: value for name, value in model.get_params().items() if name != "verbose"}
    names = [str(name) for name in data.X.columns] if data.has_names else [f"x{j}" for j in range(data.X.shape[1])]
    categories = {name: len(values) for name, values in model.categories_.items()}
    columns = [
        {"name": name, "kind": "categories", "n_categories": categories[name]}
        if name in categories
        else {"name": name, "kind": "numbers"}
        for name in names
    ]
    classes = {"classes": model.classes_.tolist()} if data.task == "classification" else {}
    return {
        "data": data.title,
        "target": data.target,
        "task": data.task,
        **classes,
        "n_train_rows": len(data.y),
        "n_test_rows": len(data.y_test),
        "n_rows_without_target": data.n_dropped,
        "columns": columns,
        "estimator": type(model).__name__,
        "settings": settings,
        "n_members": model.n_members_,
        "n_epochs": model.n_iter_,
        "best_epoch": model.best_epoch_,
        "seconds": seconds,
        "instruction_set": isa(),
        "scores": scores,
    }
