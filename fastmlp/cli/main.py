"""The command line: ``fastmlp train`` and ``fastmlp predict``."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path

from fastmlp import __version__, _core
from fastmlp.cli.files import UsageError
from fastmlp.cli.numpy_training import ACTIVATIONS

SOLVERS = ("sgd", "adam")
"""Of the demonstration."""
OF_THE_DEMONSTRATION = {
    "hidden": (64, 64),
    "activation": "relu",
    "solver": "sgd",
    "lr": None,
    "batch_size": 32,
    "epochs": 30,
    "compare": None,
}
"""Options and their defaults."""
OF_A_TABLE = {"target": None, "task": None, "drop": None, "preset": "default"}
READ = (("data", "the table that is read"), ("model", "the model that is read"))
WRITTEN = ("save", "plot", "output")
EXPECTED = (OSError, ValueError, TypeError, ImportError, MemoryError)
"""Errors whose message is a sentence for the user."""


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
    _settle(parser, arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As CSV files are read: into a file Windows would write its code page, which lacks most letters.
        sys.stdout.reconfigure(encoding="utf-8", errors=sys.stdout.errors)
    try:
        if arguments.data and str(arguments.data) != "-" and not arguments.data.exists():
            raise ValueError(f"no such file: {arguments.data}")
        _require_different_files(arguments)
        return _command(arguments)(arguments)
    except BrokenPipeError:
        # Whoever read the output has had enough; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("fastmlp: interrupted", file=sys.stderr)
        return 1
    except UsageError as error:
        parser.error(str(error))
    except Exception as error:  # a traceback says nothing to whoever has written no program
        said = " ".join(str(error).split())
        if not (said and isinstance(error, EXPECTED)):
            said = f"{type(error).__name__}: {said}".removesuffix(": ")
        print(f"fastmlp: error: {said}", file=sys.stderr)
        return 1


def _settle(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse options that do not go with the others; fill in the defaults."""
    if arguments.command != "train":
        return
    options, defaults = vars(arguments), OF_A_TABLE if arguments.data else OF_THE_DEMONSTRATION
    for name in OF_THE_DEMONSTRATION if arguments.data else OF_A_TABLE:
        if options[name] is not None:
            option = "--" + name.replace("_", "-")
            parser.error(
                f"{option} is only for the digits, without FILE; with a FILE use --preset or --max-time"
                if arguments.data
                else f"{option} is only for a FILE to train on"
            )
    options |= {name: default for name, default in defaults.items() if options[name] is None}
    if arguments.data:
        return
    possible = arguments.solver == "sgd" and not arguments.max_time and arguments.activation in ACTIVATIONS
    if arguments.compare is None:
        arguments.compare = possible and not (arguments.quiet or arguments.json)
    elif arguments.compare and not possible:
        known = ", ".join(ACTIVATIONS)
        parser.error(f"--compare needs --solver sgd, one of the activations {known}, and no --max-time")


def _require_different_files(arguments: argparse.Namespace) -> None:
    """Refuse to write over what is read, or one result over another."""
    known = [(getattr(arguments, name, None), words) for name, words in READ]
    taken = {path.resolve(): words for path, words in known if path and str(path) != "-"}
    for name in WRITTEN:
        if path := getattr(arguments, name, None):
            if path.resolve() in taken:
                raise ValueError(f"--{name}: {path} is {taken[path.resolve()]}; name another file")
            taken[path.resolve()] = f"the file of --{name}"


def _command(arguments: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """What does it. Imported here, because it brings scikit-learn, which --help does not need."""
    if arguments.command == "predict":
        from fastmlp.cli.predicting import predict

        return predict
    if arguments.data:
        from fastmlp.cli.training import train
    else:
        from fastmlp.cli.demonstration import train
    return train


def _number(kind: type[int] | type[float], name: str, accepts: Callable[[float], bool]) -> Callable[[str], float]:
    """A type for argparse, and what it must be when it refuses a text."""

    def convert(text: str) -> float:
        with suppress(ValueError):
            if accepts(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"must be {name}, got {text}")

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
    commands = parser.add_subparsers(required=True, metavar="train | predict", dest="command")
    what = "train on a table, or on scikit-learn's handwritten digits where no file is given"
    _add_train_options(commands.add_parser("train", help=what, description=what))
    what = "write a prediction for each row of a file, as CSV"
    add = commands.add_parser("predict", help=what, description=what).add_argument
    add("model", type=Path, metavar="MODEL", help="written by fastmlp train --save, or by the method save in Python")
    add("data", type=Path, metavar="FILE", help="rows with the columns of the training, in files as for train; or -")
    add("--proba", action="store_true", help="a column with the probability of each class")
    add("--output", type=Path, metavar="FILE.csv", help="write to this file instead of the screen")
    return parser


def _add_train_options(command: argparse.ArgumentParser) -> None:
    positive = _number(int, "a positive integer", lambda value: value >= 1)
    threads = _number(int, f"from 1 to {_core.MAX_THREADS}", lambda value: 1 <= value <= _core.MAX_THREADS)
    seed = _number(int, "from 0 to 2**32 - 1", lambda value: 0 <= value < 2**32)
    above_zero = _number(float, "a positive number", lambda value: 0 < value < inf)
    fraction = _number(float, "from 0 to below 1", lambda value: 0 <= value < 1)
    add = command.add_argument
    files = ".csv, .csv.gz, .tsv, .tsv.gz, .parquet, .npz with X, y and perhaps X_test, y_test; - for standard input"
    add("data", nargs="?", type=Path, metavar="FILE", help=files)
    add("--save", type=Path, metavar="MODEL", help="write the trained model to this file")
    add("--plot", type=Path, metavar="FILE.png", help="draw the loss of each epoch into this file")
    add("--max-time", type=above_zero, metavar="SECONDS", help="end the training after so many seconds")
    add("--quiet", action="store_true", default=False, help="print the result in one line, and errors")
    add("--json", action="store_true", default=False, help="print the result as one JSON object")
    add("--threads", type=threads, metavar="N", help="default: as many as this process may use and the work is worth")
    add("--seed", type=seed, default=0, metavar="N", help="of weights, batches and test rows; default: %(default)s")
    what = "of the rows, to test on; default: %(default)s"
    add("--test-fraction", type=fraction, default=0.2, metavar="F", help=what)

    add = command.add_argument_group("with FILE").add_argument
    add("--target", metavar="COLUMN", help="column to predict (in an .npz file: y)")
    what = "default: classification of text, truth values and few integers, regression of other numbers"
    add("--task", choices=("classification", "regression"), help=what)
    add("--drop", action="append", metavar="COLUMN,…", help="columns to leave out")
    what = f"accurate makes fewer errors and takes longer; default: {OF_A_TABLE['preset']}"
    add("--preset", choices=("default", "accurate"), help=what)

    default = OF_THE_DEMONSTRATION
    add = command.add_argument_group("without FILE (digits)").add_argument
    add("--hidden", type=_widths, metavar="N,N", help="hidden layers, or none; default: 64,64")
    what = f"of the hidden layers; default: {default['activation']}"
    add("--activation", choices=_core.ACTIVATIONS, help=what)
    add("--solver", choices=SOLVERS, help=f"sgd is without momentum; default: {default['solver']}")
    add("--lr", type=above_zero, metavar="RATE", help="learning rate; default: 0.1 with sgd, 0.001 with adam")
    add("--batch-size", type=positive, metavar="N", help=f"rows of a step; default: {default['batch_size']}")
    add("--epochs", type=positive, metavar="N", help=f"passes over the rows; default: {default['epochs']}")
    what = f"time plain NumPy too, which knows sgd, {', '.join(ACTIVATIONS)}; default: where all is printed"
    add("--compare", action=argparse.BooleanOptionalAction, help=what)
