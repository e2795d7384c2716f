"""Thousands of damaged model files: each is refused with a `ModelFileError`, or is an object whose every method works.

The damage is drawn from seeded random numbers, and done in processes with little memory and time to spare. A file that
is found is kept, and its number makes it again: ``python -m tests.test_model_files FIRST LAST FOLDER``. `make fuzz`
tries 10 000.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fastmlp
from fastmlp import ModelFileError, model_file
from fastmlp.cli.main import main
from fastmlp.cli.model_0_1_0 import KIND, Model

SOURCES = Path(__file__).parent / "version_0_1_0"
N_CASES = int(os.environ.get("FASTMLP_FUZZ", "300"))
BATCH = 1000
MEMORY = 300 * 2**20  # beyond what imports take
SECONDS = 10  # for a file of a few kilobytes, on a busy machine

Random = np.random.Generator
Members = dict[str, bytes]  # of the zip archive
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 7, 10**6, 2**31, 2**63, 10**400, 0.5, -1.5, 1e308,
    "", "text", "1", "relu", "sgd", "x" * 10**5, [], [1],
    ["a", "b"], [[[]]], {}, {"a": 1}, {"float": "nan"}, {"float": "-inf"}, {"float": "x"}, {"tuple": []},
    {"tuple": [4, 4, 3]}, {"tuple": [10**9, 10**9]}, {"dict": [["low", 1]]}, {"dict": [[[], 1]]},
    {"object array": ["a", "b", "c"]}, {"object array": [None] * 3}, {"RandomState": {"dict": []}},
    {"LabelBinarizer": ["binary", False]}, {"LabelBinarizer": []}, json.loads("[" * 500 + "]" * 500),
]  # fmt: skip
"""Of every kind that JSON has, and the kinds that estimator files add."""
DTYPES = ["f2", "f4", "f8", ">f4", ">f8", "i1", "i8", "u8", "?", "c16", "U3", "S3", "M8[s]", "m8[D]"]
NUMBERS = [np.nan, np.inf, -np.inf, 1e30, -1e30, 1e300, 0.0, -1.0, 2.0**63]
SIZES = [0, 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63]


# -- damage --


def pick(rng: Random, items: Any) -> Any:
    items = list(items)
    return items[rng.integers(len(items))]


def members_of(content: bytes) -> Members:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(members: list[tuple[str, bytes]], compression: Callable[[], int] = lambda: zipfile.ZIP_STORED) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            archive.writestr(name, content, compression())
    return file.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0))
    return file.getvalue()


def forged(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> bytes:
    """A file of these contents whose checksum is right."""
    header["checksum"] = model_file._checksum({key: header[key] for key in header if key != "checksum"}, arrays)
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    return archive_of([(f"{name}.npy", npy(array)) for name, array in {model_file.HEADER: text, **arrays}.items()])


def parts_of(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    with np.load(BytesIO(content)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(arrays.pop(model_file.HEADER).tobytes()), arrays


def bit_flips(rng: Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
    return bytes(damaged)


def truncation(rng: Random, content: bytes) -> bytes:
    return content[: rng.integers(len(content))]


def splice(rng: Random, content: bytes) -> bytes:
    """A piece of a file moved, repeated, or put in place of another piece."""
    start, end, at, until = (int(place) for place in rng.integers(len(content), size=4))
    return content[:at] + content[min(start, end) : max(start, end)] + content[pick(rng, [at, max(at, until)]) :]


def sizes(rng: Random, content: bytes) -> bytes:
    """Sizes and places in the directories of the archive: fields of 4 bytes after their signatures."""
    damaged = bytearray(content)
    signature, fields = pick(rng, [(b"PK\x01\x02", (20, 24, 42)), (b"PK\x03\x04", (18, 22)), (b"PK\x05\x06", (12, 16))])
    places = [at for at in range(len(content)) if content.startswith(signature, at)]
    at = pick(rng, places) + pick(rng, fields)
    damaged[at : at + 4] = int(pick(rng, SIZES)).to_bytes(9, "little")[:4]
    return bytes(damaged)


def flags(rng: Random, content: bytes) -> bytes:
    """Encryption, other compression, other versions."""
    damaged = bytearray(content)
    signature, fields = pick(rng, [(b"PK\x01\x02", (6, 8, 10)), (b"PK\x03\x04", (4, 6, 8))])
    places = [at for at in range(len(content)) if content.startswith(signature, at)]
    damaged[pick(rng, places) + pick(rng, fields)] = rng.integers(256)
    return bytes(damaged)


def compressed(rng: Random, content: bytes) -> bytes:
    """Members that unpack to something larger."""
    members = list(members_of(content).items())
    members += [("bomb.npy", npy(np.zeros(10**7)))] * int(rng.integers(2))
    return archive_of(members, lambda: pick(rng, [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))


def other_members(rng: Random, content: bytes) -> bytes:
    """Left out, twice, renamed, exchanged."""
    members = list(members_of(content).items())
    at, other = rng.integers(len(members), size=2)
    name, inside = members[at]
    change = pick(rng, ["drop", "repeat", "rename", "exchange", "add"])
    if change == "drop":
        del members[at]
    elif change == "exchange":
        members[at] = (name, members[other][1])
    elif change == "rename":
        members[at] = (pick(rng, ["../" + name, "/" + name, name[:-4], " ", "é.npy", members[other][0]]), inside)
    else:
        members.append((name if change == "repeat" else pick(rng, ["x/", "x.npy", "x.txt"]), inside))
    return archive_of(members)


def array_headers(rng: Random, content: bytes) -> bytes:
    """Numbers in the header of an array, which promises elements that the file does not have."""
    members = members_of(content)
    name = pick(rng, members)
    inside, size = members[name], str(pick(rng, [*SIZES, -1, "9" * 5000])).encode()
    start = inside.index(b"'shape': (") + len(b"'shape': (")
    end = inside.index(b")", start)
    if rng.integers(2):
        inside = inside[:start] + pick(rng, [size + b",", size + b", 0", size + b"," + size]) + inside[end:]
    else:
        inside = inside.replace(pick(rng, [b"<f4", b"<f8", b"|u1"]), pick(rng, [b"<U" + size, b"|V" + size, b"|O"]))
    length = inside.index(b"\n") + 1 - 10
    return archive_of([*(members | {name: inside[:8] + (length % 2**16).to_bytes(2, "little") + inside[10:]}).items()])


def places_of(value: Any) -> list[tuple[Any, Any]]:
    """The places in a JSON value: what each is in, and its key there."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, (dict, list)):
        items = list(value.items() if isinstance(value, dict) else enumerate(value))
        if len(items) > 100:  # of the numbers in a generator's key a few are enough
            del items[5:-5]
    return [place for key, item in items for place in [(value, key), *places_of(item)]]


def json_values(rng: Random, content: bytes) -> bytes:
    """A value of the header of another kind, one less or one more."""
    header, arrays = parts_of(content)
    container, key = pick(rng, places_of(header))
    change = rng.integers(8)
    if change == 0:
        del container[key]
    elif change == 1 and isinstance(container, list):
        container.append(pick(rng, VALUES))
    else:
        container[key] = pick(rng, VALUES)
    return forged(header, arrays)


def shapes(rng: Random, content: bytes) -> bytes:
    header, arrays = parts_of(content)
    name = pick(rng, arrays)
    array = arrays[name]
    flat = array.ravel()
    options = [flat, flat[:-1], np.append(flat, flat[:1]), array[None], array[..., None], array.T, array[:0], flat[:1]]
    arrays[name] = np.array(pick(rng, [*options, np.zeros((), array.dtype), np.empty((0, 10**9), array.dtype)]))
    return forged(header, arrays)


def dtypes(rng: Random, content: bytes) -> bytes:
    header, arrays = parts_of(content)
    for name in {pick(rng, arrays), pick(rng, arrays)}:
        bits = arrays[name].tobytes()
        dtype = np.dtype(pick(rng, DTYPES))
        arrays[name] = np.resize(np.frombuffer(bits + bytes(-len(bits) % dtype.itemsize), dtype), arrays[name].shape)
    return forged(header, arrays)


def numbers(rng: Random, content: bytes) -> bytes:
    header, arrays = parts_of(content)
    name = pick(rng, [name for name in arrays if arrays[name].dtype.kind != "U" and arrays[name].size])
    place = rng.integers(arrays[name].size)
    with np.errstate(all="ignore"):
        arrays[name].reshape(-1)[place] = np.array(pick(rng, NUMBERS)).astype(arrays[name].dtype)
    return forged(header, arrays)


def other_arrays(rng: Random, content: bytes) -> bytes:
    header, arrays = parts_of(content)
    name, other = pick(rng, arrays), pick(rng, arrays)
    change = rng.integers(3)
    if change == 0:
        del arrays[name]
    elif change == 1:
        arrays[name] = arrays[other]
    else:
        arrays[pick(rng, ["x", "classes", "n_units", "step", "coefs_7"])] = arrays[name]
    return forged(header, arrays)


DAMAGES = [
    bit_flips, truncation, splice, sizes, flags, compressed, other_members, array_headers,
    *[json_values] * 8, shapes, shapes, dtypes, dtypes, numbers, other_arrays,
]  # fmt: skip


# -- what becomes of a damaged file --


def outcome(path: Path) -> str:
    """How the readers take it; any other exception than those that they promise goes through."""
    try:
        estimator = fastmlp.load(path)
    except ModelFileError:
        pass
    else:
        work_with(estimator, path.with_suffix(".copy"))
        return "estimator"
    assert main(["predict", str(path), str(SOURCES / "rows.csv")]) in (0, 1)
    try:
        model = Model.load(path)
    except ModelFileError:
        return "refused"
    X = np.linspace(-2, 2, 3 * len(model.coefs[0])).reshape(3, -1)
    unless_refused(lambda: model.predict(X))
    return "model"


def work_with(estimator: Any, path: Path) -> None:
    """Call everything; only what was set to values that do not fit together may say so, as a ValueError."""
    X = np.linspace(-2, 2, 3 * estimator.n_features_in_).reshape(3, -1)
    repr(estimator), clone(estimator), pickle.loads(pickle.dumps(estimator))
    for name in dir(type(estimator)):
        if name.endswith("_") and not name.startswith("_") and name != "feature_names_in_":
            getattr(estimator, name)
    estimator.save(path)
    assert fastmlp.load(path).n_outputs_ == estimator.n_outputs_
    predictions = unless_refused(lambda: estimator.predict(X))
    if hasattr(estimator, "predict_proba"):
        unless_refused(lambda: estimator.predict_log_proba(X))
    if predictions is None:  # the outputs are too large for their dtype
        return
    estimator.n_threads = None if estimator.n_threads is None else min(estimator.n_threads, 4)
    targets = predictions
    if isinstance(estimator, fastmlp.Trainer):
        targets = np.arange(3) % estimator.n_outputs_ if estimator.n_outputs_ > 1 else np.zeros(3)
    unless_refused(lambda: estimator.score(X, targets))
    if getattr(estimator, "partial_fit", None):
        unless_refused(lambda: estimator.partial_fit(X, targets))
    unless_refused(lambda: estimator.predict(X))


def unless_refused(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ValueError:
        return None


def sources() -> dict[str, bytes]:
    """Files of version 0.1.0, and the same as they are written now."""
    found = {}
    for path in sorted(SOURCES.glob("*.fastmlp")):
        found[path.stem] = path.read_bytes()
        copy = Path(sys.argv[3]) / "source"
        kind = json.loads(np.load(BytesIO(found[path.stem]))[model_file.HEADER].tobytes())["kind"]
        if kind != KIND:  # which is not written any more
            fastmlp.load(path).save(copy)
            found[f"{path.stem} now"] = copy.read_bytes()
    return found


def limit_memory() -> None:
    import resource

    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        return  # which reserves terabytes
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def fuzz(first: int, last: int, folder: Path) -> None:
    """Damage and read; print how often what came of it, as JSON. The number of the case is written down before it."""
    os.fsync = lambda _: None  # the slowest of all; what a power cut leaves is not looked at here
    files, path = sources(), folder / "damaged"
    seen: Counter[str] = Counter()
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings(action="ignore"):
        for content in files.values():
            path.write_bytes(content)
            seen[f"undamaged: {outcome(path)}"] += 1  # brings what is imported when it is needed
        limit_memory()
        for number in range(first, last):
            rng = np.random.default_rng(number)
            damage, content = pick(rng, DAMAGES), pick(rng, files.values())
            (folder / "number").write_text(f"{number} ({damage.__name__})", encoding="utf-8")
            path.write_bytes(damage(rng, content))
            signal.alarm(SECONDS)
            seen[outcome(path)] += 1
            signal.alarm(0)
    print(json.dumps(seen))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory as Linux has them")
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_refused_or_work(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for first in range(0, N_CASES, BATCH):
        arguments = [str(first), str(min(first + BATCH, N_CASES)), str(tmp_path)]
        command = [sys.executable, "-m", "tests.test_model_files", *arguments]  # which finds the package of this tree
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=SOURCES.parents[1])
        number = (tmp_path / "number").read_text(encoding="utf-8") if (tmp_path / "number").exists() else "none"
        assert done.returncode == 0, f"case {number}: exit code {done.returncode}\n{done.stderr[-3000:]}"
        seen.update(json.loads(done.stdout.splitlines()[-1]))
    assert {"undamaged: estimator", "undamaged: model", "refused", "estimator", "model"} == set(seen)
    assert seen["refused"] > N_CASES / 2 > 10 < seen["estimator"] + seen["model"]


@pytest.mark.parametrize("name", ["binary", "multilabel", "outputs", "trainer"])
def test_attributes_that_are_set_or_deleted_by_hand(name: str) -> None:
    """Refused, or of no consequence to what the estimator predicts."""
    path = SOURCES / f"{name}.fastmlp"
    X = np.linspace(-2, 2, 12).reshape(3, 4)
    expected = fastmlp.load(path).predict(X)
    attributes = [a for a in dir(fastmlp.load(path)) if a.endswith("_") and not a.startswith("_")]
    assert {"coefs_", "intercepts_", "loss_curve_", "n_iter_", "n_features_in_"} <= set(attributes)
    for attribute in attributes:
        for value in ["deleted", None, -1, 1.5, "text", [], [1], {}, np.zeros(3), [np.zeros((4, 4)), np.zeros((4, 9))]]:
            estimator = fastmlp.load(path)
            try:
                if isinstance(value, str) and value == "deleted":
                    delattr(estimator, attribute)
                else:
                    setattr(estimator, attribute, value)
            except (AttributeError, TypeError, ValueError):
                pass
            copy = pickle.loads(pickle.dumps(estimator))
            assert np.array_equal(estimator.predict(X), expected), (attribute, value)
            assert np.array_equal(copy.predict(X), expected), (attribute, value)


def test_without_its_state_an_estimator_is_not_fitted() -> None:
    estimator = fastmlp.load(SOURCES / "binary.fastmlp")
    del estimator._fitted
    with pytest.raises(NotFittedError):
        estimator.predict(np.zeros((1, 4)))


if __name__ == "__main__":
    fuzz(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
