"""Model files: the same bits after loading, and nothing but an error from whatever is not one."""

import json
import os
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp import model_file
from fastmlp.model_file import ModelFile, ModelFileError, read, write

MODEL = ModelFile(
    "test",
    {"alpha": 0.1 + 0.2, "names": ["a", "é"], "none": None, "nested": {"n": 3}},
    {
        "W": np.array([[1.5, np.nan], [-0.0, np.inf]], np.float32),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.array(7, np.int64),
        "empty": np.empty((0, 3)),
        "text": np.array(["Setosa", "ñandú"]),
        "file": np.arange(2, dtype=np.uint8),
        "dates": np.array(["2020-02-29"], "M8[D]"),
        "big_endian": np.arange(3, dtype=">i4"),
    },
)


def assert_same(model: ModelFile, expected: ModelFile) -> None:
    assert (model.kind, model.parameters) == (expected.kind, expected.parameters)
    assert list(model.arrays) == list(expected.arrays)
    for name, array in expected.arrays.items():
        found = model.arrays[name]
        assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes()), name


def test_same_bits_after_reading(tmp_path: Path) -> None:
    write(tmp_path / "model", MODEL)
    assert_same(read(tmp_path / "model"), MODEL)


def test_numpy_reads_it(tmp_path: Path) -> None:
    write(tmp_path / "model.npz", MODEL)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as content:
        assert set(content.files) == {*MODEL.arrays, model_file.HEADER}


def test_the_header_is_what_the_manual_says(tmp_path: Path) -> None:
    """So that other programs can write such files, and see whether one is whole."""
    parameters = {"b": [0.1, {"d": 1, "c": None}], "a": "é"}
    arrays = {"z": np.arange(6.0).reshape(2, 3), "W": np.array(["ñ"])}
    write(tmp_path / "model.npz", ModelFile("test", parameters, arrays))
    with np.load(tmp_path / "model.npz") as content:
        header = json.loads(content["fastmlp"].tobytes())
    digest = sha256(rb'{"format":2,"kind":"test","parameters":{"a":"\u00e9","b":[0.1,{"c":null,"d":1}]}}')
    for text, name in ((b'["W","<U1",[1]]', "W"), (b'["z","<f8",[2,3]]', "z")):
        digest.update(text + arrays[name].tobytes())
    assert header == {"format": 2, "kind": "test", "parameters": parameters, "checksum": digest.hexdigest()}


def test_arrays_of_more_than_two_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose length zip writes in 64 bits, which it must know before it has seen them."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    expected = ModelFile("test", {}, {"W": np.arange(1000.0)})
    write(tmp_path / "model", expected)
    assert_same(read(tmp_path / "model"), expected)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write(path, MODEL)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match="model"):
            read(path)


def test_a_damaged_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write(path, MODEL)
    content = path.read_bytes()
    n_refused = 0
    for position in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            model = read(path)
        except ModelFileError:
            n_refused += 1
        else:  # a byte that carries nothing, such as a date in the zip directory
            assert_same(model, MODEL)
    assert n_refused > len(content) / 3 / 2


def test_changed_contents_fail_the_checksum(tmp_path: Path) -> None:
    """Unlike damage, which the zip's own checksum finds, a file rewritten by another tool is consistent as a zip."""
    path = tmp_path / "model.npz"
    write(path, MODEL)
    with np.load(path) as content:
        arrays = dict(content)
    arrays["scalar"] = arrays["scalar"] + 1
    header = arrays.pop("fastmlp")
    file = arrays.pop("file")
    np.savez(path, fastmlp=header, **arrays)
    with pytest.raises(ModelFileError, match="checksum"):
        read(path)
    assert file.size


def test_newer_format_says_to_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "FORMAT", model_file.FORMAT + 1)
    write(tmp_path / "model", MODEL)
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match=r"newer version.*upgrade"):
        read(tmp_path / "model")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("npz", "not a fastmlp model file"),
        ("pickle", "damaged: an array whose header is not one that fastmlp writes"),
        ("text", "not a fastmlp model file, or a damaged one"),
        ("compressed", "damaged: 'fastmlp.npy' is compressed, as model files never are"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, kind: str, message: str) -> None:
    path = tmp_path / "model.npz"
    if kind == "npz":
        np.savez(path, X=np.arange(3))
    elif kind == "pickle":
        np.savez(path, fastmlp=np.array([print], dtype=object))
    elif kind == "compressed":  # a small file that unpacks to something huge
        np.savez_compressed(path, fastmlp=np.zeros(10**6, np.uint8))
    else:
        path.write_text("a,b\n1,2\n")
    with pytest.raises(ModelFileError, match=rf"model\.npz: {message}$"):
        read(path)


@pytest.mark.parametrize(("kind", "parameters"), [(3, {}), ("test", []), (None, None)])
def test_headers_of_other_values_are_refused(tmp_path: Path, kind: Any, parameters: Any) -> None:
    write(tmp_path / "model", ModelFile(kind, parameters, {}))
    with pytest.raises(ModelFileError, match=r": damaged: its header is not that of a model file$"):
        read(tmp_path / "model")


def test_failing_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write(path, MODEL)
    with pytest.raises(ValueError, match="object"):
        write(path, ModelFile("test", {}, {"objects": np.array([None])}))
    with pytest.raises(ValueError, match="JSON compliant"):
        write(path, ModelFile("test", {"nan": float("nan")}, {}))
    with pytest.raises(ValueError, match="name of the header"):
        write(path, ModelFile("test", {}, {model_file.HEADER: np.arange(3)}))
    assert_same(read(path), MODEL)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_errors_of_writing_name_the_file_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name, kind in {"folder": IsADirectoryError, "absent/model": FileNotFoundError}.items():
        with pytest.raises(kind) as info:
            write(tmp_path / name, MODEL)
        assert info.value.filename == str(tmp_path / name)
        assert ".part" not in str(info.value)
    with pytest.raises(OSError, match="model") as info:  # of another class on each system
        write(tmp_path / "file" / "model", MODEL)
    assert ".part" not in str(info.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe with a name")
def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """Such as /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match="not a file to write a model to"):
            write(tmp_path / name, MODEL)
    assert (tmp_path / "pipe").is_fifo()


def test_all_is_on_the_disk_before_the_old_file_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else a power cut could leave half a file."""
    lengths, fsync = [], os.fsync

    def synced(file: int) -> None:
        fsync(file)
        lengths.append(os.fstat(file).st_size)

    monkeypatch.setattr(os, "fsync", synced)
    write(tmp_path / "model", MODEL)
    assert lengths == [(tmp_path / "model").stat().st_size]


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "model")


def test_the_longest_file_name_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / ("m" * 255)
    write(path, MODEL)
    assert_same(read(path), MODEL)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not replace a file that has another name")
def test_the_old_file_is_replaced_not_overwritten(tmp_path: Path) -> None:
    """A copy onto the old file would be half a file for a moment, for readers and for a process that ends then."""
    path, other_name = tmp_path / "model", tmp_path / "other name"
    write(path, MODEL)
    os.link(path, other_name)
    write(path, ModelFile("second", {}, {}))
    assert read(path).kind == "second"
    assert_same(read(other_name), MODEL)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
@pytest.mark.parametrize("call", ["numpy.lib.format.write_array", "os.fsync", "os.replace", "pathlib.Path.unlink"])
def test_a_killed_save_leaves_a_whole_file(tmp_path: Path, call: str) -> None:
    """Killed at any of these calls: before the replacement the old file is there, after it the new one."""
    path = tmp_path / "model"
    write(path, MODEL)
    module, _, name = call.rpartition(".")
    code = f"""
import importlib, os, signal
from fastmlp.model_file import ModelFile, write
def die(*args, **kwargs): os.kill(os.getpid(), signal.SIGKILL)
import numpy.lib.format, os, pathlib
{module}.{name} = die
write({str(path)!r}, ModelFile("second", {{}}, {{}}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
    assert done.returncode == -signal.SIGKILL
    assert read(path).kind == ("second" if name == "unlink" else "test")


def test_the_checksum_is_of_the_bytes_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a model is written, another thread may train it and lengthen its curves."""
    W, curve = np.zeros(4), [1.0]
    checksum = model_file._checksum

    def then_changed(*args: object) -> str:
        found = checksum(*args)  # type: ignore[arg-type]
        W[:] = 1
        curve.append(2.0)
        return found

    monkeypatch.setattr(model_file, "_checksum", then_changed)
    write(tmp_path / "model", ModelFile("test", {"curve": curve}, {"W": W}))
    monkeypatch.undo()
    model = read(tmp_path / "model")
    assert (model.arrays["W"].tolist(), model.parameters) == ([0.0] * 4, {"curve": [1.0]})
    assert curve == [1.0, 2.0]


def rewritten(path: Path, change: Callable[[zipfile.ZipFile, str, bytes], None]) -> None:
    """Write each member of the archive anew, as ``change`` does."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            change(archive, name, content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda archive, name, content: archive.writestr(name, content, zipfile.ZIP_DEFLATED), "is compressed"),
        (lambda archive, name, content: [archive.writestr(name, content) for _ in range(2)], "have one name"),
        (
            lambda archive, name, content: archive.writestr(name.replace("W.", "../W."), content),
            "is a folder, encrypted, or not an array",
        ),
        (
            lambda archive, name, content: archive.writestr(name.replace("W.npy", "W.txt"), content),
            "is a folder, encrypted, or not an array",
        ),
        (
            lambda archive, name, content: archive.writestr(name, content.replace(b"'<f8'", b"'|O' ")),
            "not one that fastmlp writes",
        ),
        (
            lambda archive, name, content: archive.writestr(name, content.replace(b"'<f8'", b"'V8' ")),
            "not one that fastmlp writes",
        ),
        (
            lambda archive, name, content: archive.writestr(name, content.replace(b"(2, 3)", b"(9, 3)")),
            "another length than its header says",
        ),
        (lambda archive, name, content: archive.writestr(name, b"\x93NUMPY\x02" + content[7:]), "unknown .npy version"),
    ],
)  # fmt: skip
def test_other_archives_are_refused(
    tmp_path: Path, change: Callable[[zipfile.ZipFile, str, bytes], None], message: str
) -> None:
    path = tmp_path / "model"
    write(path, MODEL)
    rewritten(path, lambda archive, name, content: archive.writestr(name, content))
    assert_same(read(path), MODEL)  # so it is the change that is refused
    rewritten(path, change)
    with pytest.raises(ModelFileError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("place", "form", "values", "message"),
    [
        (8, "<H", [1], "'big_endian.npy' is a folder, encrypted, or not an array"),
        (10, "<H", [zipfile.ZIP_DEFLATED], "'big_endian.npy' is compressed, as model files never are"),
        (20, "<II", [2**31, 2**31], "its contents claim to be larger than the file"),
    ],
    ids=["encrypted", "of the same length compressed", "longer than the file"],
)
def test_what_the_directory_of_the_archive_says_is_believed(
    tmp_path: Path, place: int, form: str, values: list[int], message: str
) -> None:
    """Of its last entry: flags, method, and the lengths compressed and not."""
    path = tmp_path / "model"
    write(path, MODEL)
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, content.rindex(b"PK\x01\x02") + place, *values)
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=f": damaged: {message}$"):
        read(path)


@pytest.mark.parametrize("array", [np.array([None]), np.zeros(2, [("a", "f4")]), np.array(b"x").astype("V3")])
def test_arrays_that_are_not_written(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="which a model file does not hold"):
        write(tmp_path / "model", ModelFile("test", {}, {"array": array}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None, [1]])
def test_other_words_for_the_format_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: object
) -> None:
    monkeypatch.setattr(model_file, "FORMAT", version)
    write(tmp_path / "model", MODEL)
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match="a file format of"):
        read(tmp_path / "model")
