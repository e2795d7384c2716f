"""The command line as a user calls it: its arguments, and the demonstration on the digits."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_info

import fastmlp
from fastmlp._core import MAX_THREADS
from fastmlp.cli.main import _parser, main


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of the error of a command that fails."""
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastmlp: error: ")
    assert error.count("\n") == 1
    return error


def test_train_on_the_digits() -> None:
    """The first thing a new user runs, as a process of its own."""
    done = subprocess.run([sys.executable, "-m", "fastmlp", "train"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    rates = [
        int(found[1].replace(",", ""))
        for line in lines
        if (found := re.match(r"epoch +\d+/30  loss \d\.\d+  test accuracy \d+\.\d+ %  ([\d,]+) samples/s$", line))
    ]
    assert len(rates) == 30
    accuracy = re.match(r"test accuracy (\S+) % after 30 epochs in (\S+) s on \S+, \d+ threads?$", lines[-2])
    # scikit-learn's MLPClassifier reaches 97 to 98 % on such a split.
    assert accuracy is not None
    assert float(accuracy[1]) > 96
    n_rows = 1797 - int(0.2 * 1797)  # without those to test on
    assert sum(n_rows / rate for rate in rates) == pytest.approx(float(accuracy[2]), rel=0.01)  # of three digits
    numpy = r"plain NumPy \S+(, \d+ BLAS threads?)?, same weights, same batches: loss \S+ in \S+ s"
    assert re.match(rf"{numpy}; fastmlp was \S+ times as fast$", lines[-1])
    assert "\x1b" not in done.stdout, "colour without a terminal"


def test_numpy_is_timed_with_one_thread_and_with_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fastest of all passes is the one that is compared with."""
    from fastmlp.cli.report import PASSES, Report

    in_numpy, limits = Report._in_numpy, []

    def timed(self: Report, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        limits.append(max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"))
        _, loss = in_numpy(self, X, y)
        return 10.0 - (len(limits) in (3, 5)) * limits[-1], loss

    n_all = max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=0)
    if not n_all:
        pytest.skip("a BLAS that cannot be limited")
    monkeypatch.setattr(Report, "_in_numpy", timed)
    assert run("train", "--epochs", 1) == 0
    assert limits == sorted({1, n_all}) * PASSES
    assert ", 1 BLAS thread, " in capsys.readouterr().out
    assert max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas") == n_all


def test_numpy_is_timed_until_two_seconds_are_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on by a quarter of a second when it is looked at, and by another in each epoch."""
    from fastmlp.cli import report

    class Timed(report.NumpyTraining):
        def epoch(self, order: np.ndarray) -> float:
            clock.append(clock[-1] + 0.25)
            epochs.append(len(order))
            return super().epoch(order)

    def look() -> float:
        clock.append(clock[-1] + 0.25)
        return clock[-1]

    clock, epochs = [100.0], list[int]()
    monkeypatch.setattr(report, "perf_counter", look)
    monkeypatch.setattr(report, "NumpyTraining", Timed)
    monkeypatch.setattr("threadpoolctl.threadpool_info", list)  # a BLAS that cannot be limited
    assert run("train", "--epochs", 1, "--json", "--compare") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seconds"] == 0.25
    assert told["plain_numpy"] == {
        "seconds": 0.5,
        "loss": pytest.approx(told["loss"], rel=1e-3),
        "blas_threads": 0,
        "times_as_fast": 2.0,
    }
    assert epochs == 3 * [1438], "of a second each"


def test_each_epoch_is_seen_when_it_ends(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a pipe, too: what is printed does not wait for more."""
    flushed = list[int]()
    monkeypatch.setattr(sys.stdout, "flush", lambda: flushed.append(1))
    assert run("train", "--epochs", 3, "--no-compare") == 0
    assert len(flushed) >= 3


def test_the_saved_network_reads_digits_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In Python and on the command line, without the standardisation that it was trained behind."""
    model, data = tmp_path / "digits.fastmlp", tmp_path / "digits.npz"
    assert run("train", "--epochs", 5, "--hidden", "32", "--seed", 1, "--save", model, "--quiet", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert "plain_numpy" not in told
    X, y = load_digits(return_X_y=True)
    at_test = np.random.RandomState(1).permutation(len(y))[: told["n_test_rows"]]
    X, y = X[at_test], y[at_test]
    loaded = fastmlp.load(model)
    assert isinstance(loaded, fastmlp.MLPClassifier)
    # Scaling the weights instead of the rows is another rounding, which may decide one row of 359.
    assert loaded.score(X, y) == pytest.approx(told["scores"]["accuracy"], abs=1.5 / len(y))
    assert told["scores"]["accuracy"] > 0.9
    np.savez(data, X=X)
    assert run("predict", model, data) == 0
    assert np.array_equal(np.array(capsys.readouterr().out.split()[1:], int), loaded.predict(X))


def test_demonstration_in_one_line_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "--epochs", 2, "--quiet") == 0
    captured = capsys.readouterr()
    assert re.fullmatch(r"test accuracy \S+ % after 2 epochs in \S+ s on \S+, \d+ threads?\n", captured.out)
    assert captured.err == ""
    assert run("train", "--epochs", 2, "--json", "--compare", "--test-fraction", 0) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["settings"].items() >= {"hidden_layer_sizes": [64, 64], "batch_size": 32, "random_state": 0}.items()
    assert told["plain_numpy"]["times_as_fast"] == told["plain_numpy"]["seconds"] / told["seconds"]
    assert 0 < told["plain_numpy"]["seconds"] < 60
    assert told["plain_numpy"]["loss"] == pytest.approx(told["loss"], rel=0.01)  # rounding of two epochs
    assert (told["scores"], told["n_train_rows"], told["n_epochs"]) == ({}, 1797, 2)


@pytest.mark.parametrize("options", [["--activation", "gelu"], ["--solver", "adam"]])
def test_what_numpy_cannot_do_is_not_compared(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "--epochs", 1, *options) == 0
    assert "plain NumPy" not in capsys.readouterr().out


def test_demonstration_ends_in_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "--epochs", 10**6, "--max-time", 0.2) == 0
    assert " epochs in " in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["train", __file__, "--epochs", "3"],
        ["train", "--target", "y"],
        ["train", "--drop", "y"],
        ["train", "--preset", "accurate"],
        ["train", "data.csv", "--hidden", "8"],
        ["train", "data.csv", "--no-compare"],
        ["train", "--hidden", "8,x"],
        ["train", "--hidden", "0"],
        ["train", "--lr", "0"],
        ["train", "--lr", "inf"],
        ["train", "--epochs", "1.5"],
        ["train", "--threads", "0"],
        ["train", "--max-time", "0"],
        ["train", "--seed", "-1"],
        ["train", "--activation", "step"],
        ["train", "--test-fraction", "1"],
        ["train", "--solver", "adam", "--compare"],
        ["train", "--activation", "gelu", "--compare"],
        ["train", "--max-time", "1", "--compare"],
        ["predict", "model.fastmlp"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "usage: fastmlp" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--version"])
    assert (exit_info.value.code, capsys.readouterr().out) == (0, f"fastmlp {fastmlp.__version__}\n")


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--test-fraction", "2", "from 0 to below 1"),
        ("--epochs", "1.5", "a positive integer"),
        ("--seed", "x", "from 0"),
    ],
)
def test_numbers_that_are_refused(option: str, value: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", option, value])
    assert re.search(rf"argument {option}: must be {expected}.*, got {value}\n$", capsys.readouterr().err)


def test_the_demonstration_says_what_it_trains(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--epochs", 1, "--no-compare"]
    for more, how in (([], "sgd, learning rate 0.1"), (["--solver", "adam"], "adam, learning rate 0.001")):
        assert run("train", *options, *more) == 0
        assert capsys.readouterr().out.splitlines()[:2] == [
            "handwritten digits: 1438 rows to train on, 359 to test on; classification into 10 classes",
            f"64-64-64-10, relu, {how}, batches of 32, float32",
        ]


def test_another_loss_in_numpy_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding may make a hundredth, not two."""
    from fastmlp.cli.report import Report

    def ended(factor: float, n_threads: int) -> None:
        monkeypatch.setattr(Report, "time_in_numpy", lambda self, *_: (1.0, factor * self._classifier.loss_, n_threads))

    for n_threads, threads in ((2, ", 2 BLAS threads"), (0, "")):
        ended(1.005, n_threads)
        assert run("train", "--epochs", 1) == 0
        assert f"plain NumPy {np.__version__}{threads}, same weights" in capsys.readouterr().out
    ended(1.02, 1)
    assert "the same training in NumPy ended with the loss" in failure(capsys, "train", "--epochs", 1)


@pytest.mark.parametrize(
    ("option", "accepted", "refused"),
    [
        ("--seed", ["0", "4294967295"], ["-1", "4294967296"]),
        ("--threads", ["1", str(MAX_THREADS)], ["0", str(MAX_THREADS + 1)]),
        ("--test-fraction", ["0", "0.99"], ["-0.01", "1"]),
        ("--max-time", ["1e-9", "1e9"], ["0", "inf"]),
        ("--batch-size", ["1", "1000"], ["0", "2.5"]),
    ],
)
def test_numbers_that_an_option_takes(option: str, accepted: list[str], refused: list[str]) -> None:
    for text in accepted:
        assert _parser().parse_args(["train", option, text])
    for text in refused:
        with pytest.raises(SystemExit):
            _parser().parse_args(["train", f"{option}={text}"])


@pytest.mark.parametrize("widths", ["8,x", "0", "", "8,", "-1", "1.5"])
def test_hidden_layers_that_are_none(widths: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", f"--hidden={widths}"])
    expected = f"{widths!r} given; expected positive integers separated by commas, such as 256,128, or none\n"
    assert capsys.readouterr().err.endswith(expected)


def test_files_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.csv"
    assert f"no such file: {data}" in failure(capsys, "train", data)
    assert f"no such file: {data}" in failure(capsys, "predict", tmp_path / "model.fastmlp", data)
    data.write_text("a\n1\n")
    assert "No such file" in failure(capsys, "predict", tmp_path / "model.fastmlp", data)


@pytest.mark.parametrize("option", ["--save", "--plot"])
def test_where_to_write_is_checked_before_the_training(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> str:
        return failure(capsys, "train", tmp_path / "empty.npz", option, path)

    np.savez(tmp_path / "empty.npz")  # would be refused next
    assert f"{option}: there is no folder {tmp_path / 'folder'}" in refused(tmp_path / "folder" / "loss.png")
    assert f"{option}: {tmp_path} is a folder; name a file in it" in refused(tmp_path)
    assert "no array X" in refused(tmp_path / "loss.png")
    if os.path.exists("/dev/null"):
        assert f"{option}: /dev/null is not a file that can be replaced" in refused(Path("/dev/null"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert f"no permission to write into the folder {tmp_path}" in refused(tmp_path / "loss.png")


def test_the_picture_is_of_a_known_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert "--plot: pictures of the kind 'doc'" in failure(capsys, "train", "--plot", tmp_path / "loss.doc")
    assert run("train", "--epochs", 2, "--quiet", "--plot", tmp_path / "loss.svg") == 0
    assert "<svg" in (tmp_path / "loss.svg").read_text(encoding="utf-8")


def test_without_matplotlib_there_is_no_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    error = failure(capsys, "train", "--plot", tmp_path / "loss.png")
    assert error.endswith('pip install "fastmlp[cli]"\n')


def test_an_interrupted_demonstration_is_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastmlp.cli.report import Report
    from fastmlp.fitting import Fit

    ended = Report.epoch_ended

    def interrupt(self: Report, fit: Fit) -> bool:
        if fit.n_iter == 4:
            raise KeyboardInterrupt
        return ended(self, fit)

    monkeypatch.setattr(Report, "epoch_ended", interrupt)
    model = tmp_path / "model"
    assert run("train", "--save", model) == 1
    captured = capsys.readouterr()
    assert captured.err == "fastmlp: warning: Training interrupted by user.\n"
    assert "after 4 epochs" in captured.out
    assert "NumPy" not in captured.out
    assert fastmlp.load(model).n_iter_ == 4


def test_an_interrupted_line_is_ended(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stdout is not buffered, Ctrl-C is seen when a piece of the line has been written."""
    write = sys.stdout.write

    def interrupted(text: str) -> int:
        n = write(text)
        if text.startswith("epoch  2/"):
            raise KeyboardInterrupt
        return n

    monkeypatch.setattr(sys.stdout, "write", interrupted)
    assert run("train", "--epochs", 10) == 1
    monkeypatch.undo()
    assert re.search(r"^epoch  2/10 .* samples/s\ntest accuracy", capsys.readouterr().out, flags=re.MULTILINE)


def test_a_diverging_training_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    error = failure(capsys, "train", "--lr", 1e38, "--activation", "identity", "--no-compare")
    assert error.endswith("non-finite parameter weights. Use a smaller --lr than 1e+38.\n")
    assert run("train", "--hidden", "none", "--lr", 1e9, "--epochs", 2, "--no-compare") == 0
    warning = capsys.readouterr().err
    assert re.match(
        r"fastmlp: warning: Training diverges: .* learned nothing has 2\.3\. Use a smaller --lr than 1e\+09\.\n$",
        warning,
    )


def test_errors_of_any_kind_are_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that nobody has thought of, too; what they are called is said, for whoever reports them."""
    from fastmlp.cli import demonstration

    def broken(**options: object) -> None:
        raise errors.pop()

    errors: list[Exception] = [MemoryError(), ValueError("two\n  lines"), KeyError("key")]
    monkeypatch.setattr(demonstration, "load_digits", broken)
    said = [failure(capsys, "train").removeprefix("fastmlp: error: ") for _ in range(3)]
    assert said == ["KeyError: 'key'\n", "two lines\n", "MemoryError\n"]


def test_ctrl_c_at_any_other_time(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from fastmlp.cli import demonstration

    def interrupted(**options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demonstration, "load_digits", interrupted)
    assert run("train") == 1
    assert capsys.readouterr().err == "fastmlp: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pipe that breaks")
def test_nobody_reads_what_is_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails without a word, when the command ends and when Python closes stdout."""
    np.savez(tmp_path / "rows.npz", X=np.eye(4))
    model = fastmlp.MLPRegressor(hidden_layer_sizes=(), solver="lbfgs").fit(np.eye(4), np.arange(4.0))
    model.save(tmp_path / "model")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert run("predict", tmp_path / "model", tmp_path / "rows.npz") == 1
    assert capsys.readouterr().err == ""


def test_whoever_reads_may_have_had_enough() -> None:
    """No complaint where the reader of the output ends before it."""
    command = f"{sys.executable} -u -m fastmlp train --epochs 200 --no-compare | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("handwritten digits")
    assert done.stderr == ""
