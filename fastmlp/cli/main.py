"""The command line: ``fastmlp train`` and ``fastmlp predict``."""

import argparse
import csv
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from math import inf, isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastmlp import __version__, _core
from fastmlp.cli import tables
from fastmlp.cli.model import Model, Scaler

if TYPE_CHECKING:
    from fastmlp.cli.report import Report
    from fastmlp.trainer import Trainer

Array = NDArray[Any]

LEARNING_RATES = {"sgd": 0.1, "adam": 0.001}
"""Solvers of the command line (sgd without momentum), and a learning rate that suits standardised data."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; those of the process by default.

    Returns
    -------
    int
        0; 1 if the command failed or was interrupted. Wrong usage ends in ``SystemExit(2)``.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is train:
        if arguments.compare and arguments.solver != "sgd":
            parser.error("--compare needs --solver sgd")
        is_csv = arguments.data is not None and arguments.data.suffix != ".npz"
        if arguments.target and not is_csv:
            parser.error("--target names a column of a CSV file; an .npz file holds the target as y")
        if is_csv and not arguments.target and arguments.data.exists():
            parser.error("name the column to predict with --target")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As CSV files are read: into a file Windows would write its code page, which lacks most letters.
        sys.stdout.reconfigure(encoding="utf-8", errors=sys.stdout.errors)
    try:
        if arguments.data and not arguments.data.exists():
            raise ValueError(f"no such file: {arguments.data}")
        return int(arguments.command(arguments))
    except BrokenPipeError:
        # Whoever read the output has had enough; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("fastmlp: interrupted", file=sys.stderr)
        return 1
    except (OSError, ValueError, MemoryError) as error:
        print(f"fastmlp: error: {error or type(error).__name__}", file=sys.stderr)
        return 1


def train(arguments: argparse.Namespace) -> int:
    """Train on the digits or on a file, report each epoch, and save the model."""
    if arguments.save:
        _require_writable(arguments.save)
    data = tables.read_data(arguments.data, arguments.target, arguments.task, arguments.test_fraction, arguments.seed)
    is_regression = (arguments.task or ("regression" if data.y.dtype.kind == "f" else "classification")) == "regression"
    inputs, outputs, classes = Scaler.fit(data.X), None, None
    y: Array
    y_test: Array
    if is_regression:
        outputs = _target_scaler(data)
        y, y_test = (outputs.transform(values[:, None])[:, 0] for values in (data.y, data.y_test))
    else:
        classes, y, y_test = _class_numbers(data)
    if arguments.task is None and (hint := _other_task(data)):
        print(f"fastmlp: hint: {hint}", file=sys.stderr)
    trainer = _trainer(arguments, "squared_error" if is_regression else "log_loss", len(y))
    _announce(arguments, data, classes, trainer)

    X = inputs.transform(data.X)
    report = _fit(trainer, X, y, inputs.transform(data.X_test), y_test)
    print(report.summary())
    if arguments.save:
        network = (trainer.coefs_, trainer.intercepts_, trainer.activation, trainer.loss)
        Model(*network, data.features, data.target, inputs, outputs, classes).save(arguments.save)
        print(f"saved {arguments.save}")
    if trainer.n_iter_ < arguments.epochs:
        return 1
    compare = arguments.compare
    if compare is None:
        compare = arguments.data is None and arguments.solver == "sgd"
    if compare:
        _compare(trainer, report, X, y)
    return 0


def predict(arguments: argparse.Namespace) -> int:
    """Print a prediction for each row of a file, as CSV."""
    model = Model.load(arguments.model)
    predictions = model.predict(tables.read_rows(arguments.data, model.features))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([model.target])
    # Nine digits tell any two float32 values apart.
    is_real = model.classes is None
    writer.writerows([f"{prediction:.9g}" if is_real else prediction] for prediction in predictions)
    sys.stdout.flush()
    return 0


def _require_writable(path: Path) -> None:
    """Refuse before the training what could not be saved after it."""
    if path.is_dir():
        raise ValueError(f"--save: {path} is a folder; name a file, such as {path / 'model.npz'}")
    if path.exists() and not path.is_file():
        raise ValueError(f"--save: {path} is not a file that can be replaced")
    if not path.parent.is_dir():
        raise ValueError(f"--save: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(f"--save: no permission to write into the folder {path.parent}")


def _class_numbers(data: tables.Data) -> tuple[Array, Array, Array]:
    """The classes in sorted order, and y and y_test as positions in it."""
    classes = np.unique(data.y)
    if len(classes) < 2:
        raise ValueError(f"{data.title}: all rows to train on are of the class {classes[0]}")
    y, y_test = (np.searchsorted(classes, labels) for labels in (data.y, data.y_test))
    # No prediction can be right for a test row of a class that the training rows do not have.
    return classes, y, np.where(np.isin(data.y_test, classes), y_test, -1)


def _other_task(data: tables.Data) -> str:
    """What to say where the numbers of the target may mean the other task; empty where they hardly do."""
    n_values, many = len(np.unique(data.y)), min(100, len(data.y) / 3)
    if data.y.dtype.kind in "iu" and n_values > many:
        return f"{n_values} classes: if {data.target} is a quantity, use --task regression"
    # Software that cannot mark an integer as missing writes all of the column as 0.0, 1.0, 2.0.
    if data.y.dtype.kind == "f" and 1 < n_values <= many and not np.any(data.y % 1):
        return f"{n_values} values, all whole numbers: if {data.target} is a class, use --task classification"
    return ""


def _target_scaler(data: tables.Data) -> Scaler:
    if data.y.dtype.kind not in "biuf":
        raise ValueError(f"{data.title}: {data.target} is text; a regression needs numbers")
    return Scaler.fit(data.y[:, None])


def _trainer(arguments: argparse.Namespace, loss: str, n_rows: int) -> "Trainer":
    # Here because it brings scikit-learn, which neither --help nor predict needs.
    from fastmlp.trainer import Trainer

    return Trainer(
        arguments.hidden,
        arguments.activation,
        loss=loss,
        solver=arguments.solver,
        alpha=0.0,
        batch_size=min(arguments.batch_size, n_rows),
        learning_rate_init=arguments.lr or LEARNING_RATES[arguments.solver],
        max_iter=arguments.epochs,
        random_state=arguments.seed,
        momentum=0.0,
        n_iter_no_change=inf,
        n_threads=arguments.threads,
        dtype="float32",
    )


def _announce(arguments: argparse.Namespace, data: tables.Data, classes: Array | None, trainer: "Trainer") -> None:
    task = f"regression of {data.target}" if classes is None else f"classification into {len(classes)} classes"
    print(f"{data.title}: {len(data.X)} rows to train on, {len(data.X_test)} to test on; {task}")
    widths = (data.X.shape[1], *arguments.hidden, 1 if classes is None else len(classes))
    print(
        f"{'-'.join(map(str, widths))}, {trainer.activation}, {trainer.solver}, learning rate "
        f"{trainer.learning_rate_init:g}, batches of {trainer.batch_size}, {trainer.dtype}"
    )


def _fit(trainer: "Trainer", X: Array, y: Array, X_test: Array, y_test: Array) -> "Report":
    """Train, telling each epoch; return who tells."""
    from fastmlp.cli.report import Report

    report = Report(trainer, X_test, y_test)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report.train(X, y)
    for warning in caught:
        # The number of epochs is the user's choice, so that it was reached is no news.
        if "Maximum iterations" not in str(warning.message):
            print(f"fastmlp: warning: {warning.message}", file=sys.stderr)
    return report


def _compare(trainer: "Trainer", report: "Report", X: Array, y: Array) -> None:
    seconds, loss, n_threads = report.time_in_numpy(X, y)
    threads = f", {n_threads} BLAS thread{'s' if n_threads > 1 else ''}" if n_threads else ""
    # Rounding differs, and grows from step to step; a wrong step would show in the first digit.
    if not isclose(loss, trainer.loss_, rel_tol=0.01, abs_tol=1e-4):
        raise ValueError(f"the same training in NumPy ended with the loss {loss:.6g}, not {trainer.loss_:.6g}")
    print(
        f"plain NumPy {np.__version__}{threads}, same weights, same batches: loss {loss:.4f} in {seconds:.3g} s; "
        f"fastmlp was {seconds / report.seconds:.1f} times faster"
    )


def _number(kind: type[int] | type[float], name: str, accepts: Callable[[float], bool]) -> Callable[[str], float]:
    """A type for argparse, which calls it by its name when it refuses a text."""

    def convert(text: str) -> float:
        value = kind(text)
        if not accepts(value):
            raise ValueError
        return value

    convert.__name__ = name
    return convert


def _widths(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    if not all(width.strip().isdecimal() and int(width) for width in text.split(",")):
        expected = "positive integers separated by commas, such as 256,128, or none"
        raise argparse.ArgumentTypeError(f"{text!r} given; expected {expected}")
    return tuple(map(int, text.split(",")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("fastmlp", description="Train multi-layer perceptrons on the CPU, fast.")
    parser.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    commands = parser.add_subparsers(required=True, metavar="train | predict")
    positive = _number(int, "positive integer", lambda value: value >= 1)
    threads = _number(int, f"1 to {_core.MAX_THREADS}", lambda value: 1 <= value <= _core.MAX_THREADS)
    seed = _number(int, "0 to 2**32 - 1", lambda value: 0 <= value < 2**32)
    rate = _number(float, "positive number", lambda value: 0 < value < inf)
    fraction = _number(float, "0 to below 1", lambda value: 0 <= value < 1)

    what = "train a network on a file, or on scikit-learn's handwritten digits where none is given"
    command = commands.add_parser("train", help=what, description=what)
    command.set_defaults(command=train)
    add = command.add_argument
    add("data", nargs="?", type=Path, help="data.csv, or data.npz with X, y and perhaps X_test, y_test")
    add("--target", metavar="COLUMN", help="column of the CSV file to predict")
    add("--task", choices=("classification", "regression"), help="default: regression where the target is real-valued")
    add("--hidden", type=_widths, default="64,64", metavar="N,N", help="hidden layers, or none; default: %(default)s")
    add("--activation", choices=_core.ACTIVATIONS, default="relu", help="of the hidden layers; default: %(default)s")
    add("--solver", choices=LEARNING_RATES, default="sgd", help="sgd is without momentum; default: %(default)s")
    rates = ", ".join(f"{value} with {solver}" for solver, value in LEARNING_RATES.items())
    add("--lr", type=rate, metavar="RATE", help=f"learning rate; default: {rates}")
    add("--batch-size", type=positive, default=32, metavar="N", help="rows of a step; default: %(default)s")
    add("--epochs", type=positive, default=30, metavar="N", help="passes over the rows; default: %(default)s")
    add("--threads", type=threads, metavar="N", help="default: as many as this process may use and the work is worth")
    add("--seed", type=seed, default=0, metavar="N", help="of weights, batches and test rows; default: %(default)s")
    add(
        "--test-fraction",
        type=fraction,
        default=0.2,
        metavar="F",
        help="of the rows, to test on; default: %(default)s",
    )
    add("--compare", action=argparse.BooleanOptionalAction, help="time plain NumPy too; default: with the digits")
    add("--save", type=Path, metavar="FILE.npz", help="write the trained model to this file")

    what = "print a prediction for each row of a file, as CSV"
    command = commands.add_parser("predict", help=what, description=what)
    command.set_defaults(command=predict)
    command.add_argument("model", type=Path, metavar="FILE.npz", help="written by fastmlp train --save")
    command.add_argument("data", type=Path, help="data.csv with the columns of the training, or data.npz with X")
    return parser
