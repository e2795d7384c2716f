"""Model files: the same bits after loading, and nothing but an error from whatever is not one."""

from pathlib import Path

import numpy as np
import pytest
from fastmlp.persistence import ModelFile, ModelFileError, read, write

from fastmlp import persistence

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
        assert set(content.files) == {*MODEL.arrays, persistence.HEADER}


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
    monkeypatch.setattr(persistence, "FORMAT", persistence.FORMAT + 1)
    write(tmp_path / "model", MODEL)
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match=r"newer version.*upgrade"):
        read(tmp_path / "model")


@pytest.mark.parametrize("kind", ["npz", "pickle", "text", "compressed"])
def test_foreign_files_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.npz"
    if kind == "npz":
        np.savez(path, X=np.arange(3))
    elif kind == "pickle":
        np.savez(path, fastmlp=np.array([print], dtype=object))
    elif kind == "compressed":  # a small file that unpacks to something huge
        np.savez_compressed(path, fastmlp=np.zeros(10**6, np.uint8))
    else:
        path.write_text("a,b\n1,2\n")
    with pytest.raises(ModelFileError, match=r"model\.npz: "):
        read(path)


def test_failing_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write(path, MODEL)
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        write(path, ModelFile("test", {}, {"objects": np.array([None])}))
    with pytest.raises(ValueError, match="JSON compliant"):
        write(path, ModelFile("test", {"nan": float("nan")}, {}))
    with pytest.raises(ValueError, match="name of the header"):
        write(path, ModelFile("test", {}, {persistence.HEADER: np.arange(3)}))
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


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "model")
