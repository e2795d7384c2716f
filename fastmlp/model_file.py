"""Model files: arrays and parameters without pickle, the same bits after loading.

A model file is an uncompressed ``.npz`` (a zip of ``.npy`` arrays, readable by `numpy.load`) with one entry more,
``fastmlp``: a uint8 array of UTF-8 JSON with the keys

- ``format``: `FORMAT` of the writer, 1 in version 0.1.0; a reader refuses what is newer, of which it cannot know what
  it holds;
- ``kind``: what the file describes, so that each reader recognises its own;
- ``parameters``: a JSON object; floats are written with the digits that give the same bits back;
- ``checksum``: SHA-256 in hexadecimal over format, kind and parameters (compact JSON, sorted keys) followed by the
  name, dtype, shape and bytes of each array in the order of their names.

Whatever is not such a file is refused with a `ModelFileError`: nothing in it is executed, and nothing is allocated that
the file is not large enough to hold. So of all zip archives of ``.npy`` arrays only those are read that are of the form
in which `write` writes them.
"""

import errno
import hashlib
import io
import json
import os
import re
import uuid
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 2
HEADER = "fastmlp"
KINDS = "biufcSUmM"
"""Of dtypes whose elements are bytes and no more: numbers, text, dates and durations."""
ARRAY_HEADER = re.compile(
    rb"\{'descr': '([<>|](?:[biufcSU][1-9]\d*|[mM]8(?:\[\w+\])?))', "
    rb"'fortran_order': False, 'shape': \(([\d, ]*)\), \} *\n"
)
"""What `numpy.lib.format` writes before the elements of an array of numbers, text or dates in C order."""


class ModelFileError(ValueError):
    """The file is damaged, from a newer version, or not a model file of the expected kind."""


def require(condition: bool, what: str) -> None:
    """Refuse what was read, in these words as a ValueError, unless the condition holds."""
    if not condition:
        raise ValueError(what)


@dataclass(frozen=True)
class ModelFile:
    """Contents of a model file.

    Attributes
    ----------
    kind : str
        What the file describes, for example the name of an estimator's class.
    parameters : dict
        Anything JSON can hold; its floats finite.
    arrays : dict of str to ndarray
        Of any shape and of the kinds in `KINDS`; objects are refused.
    """

    kind: str
    parameters: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def write(path: str | os.PathLike[str], model: ModelFile) -> None:
    """Write a model file; an older file of that name stays until the new one is complete.

    Parameters
    ----------
    path : str or path-like
        Used as it is: no suffix is added.
    model : ModelFile
        The contents.

    Raises
    ------
    TypeError
        If a parameter is not JSON.
    ValueError
        If a parameter is infinite or NaN, or an array is not of `KINDS` or takes the name of the header.
    OSError
        If the file cannot be written.
    """
    if HEADER in model.arrays:
        raise ValueError(f"{HEADER!r} is the name of the header")
    for name, array in model.arrays.items():
        if np.asarray(array).dtype.kind not in KINDS:
            raise ValueError(f"{name!r} is an array of {np.asarray(array).dtype}, which a model file does not hold")
    # Copies: what another thread changes meanwhile would not fit the checksum.
    arrays = {name: np.array(array, order="C") for name, array in model.arrays.items()}
    header = json.loads(_json({"format": FORMAT, "kind": model.kind, "parameters": model.parameters}))
    text = _json(header | {"checksum": _checksum(header, arrays)})
    path = Path(path)
    if path.exists() and not path.is_file():
        raise OSError(errno.EISDIR if path.is_dir() else errno.EINVAL, "not a file to write a model to", str(path))
    # Not a longer form of the file's own name, which may be as long as the file system takes.
    part = path.with_name(f".fastmlp-{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                for name, array in {HEADER: np.frombuffer(text, np.uint8), **arrays}.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                        np.lib.format.write_array(entry, array, version=(1, 0), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())  # or else a power cut after the replacement could leave an empty file
        os.replace(part, path)
    except OSError as error:
        # The user knows the file by its own name; that of the part means nothing outside.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):
            part.unlink()


def read(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    ModelFile
        With the very bits that were written.

    Raises
    ------
    ModelFileError
        If the file is damaged, truncated, from a newer version, or something else altogether.
    OSError
        If the file cannot be read.
    """
    content = Path(path).read_bytes()
    try:
        return _parse(content)
    except ModelFileError as error:
        raise ModelFileError(f"{os.fspath(path)}: {error}") from None
    except Exception as error:  # whatever zipfile, NumPy or json stumble over in a damaged file
        raise ModelFileError(f"{os.fspath(path)}: not a fastmlp model file, or a damaged one") from error


def _parse(content: bytes) -> ModelFile:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        _check_entries(archive.infolist(), len(content))
        arrays = {entry.filename.removesuffix(".npy"): _array(archive.read(entry)) for entry in archive.infolist()}
    header = json.loads(arrays.pop(HEADER).tobytes())
    version = header["format"]
    if type(version) is not int or version < 1:
        raise ModelFileError(f"damaged: a file format of {version!r}")
    if version > FORMAT:
        raise ModelFileError(
            f"written by a newer version of fastmlp (file format {version}, here at most {FORMAT}): "
            "upgrade fastmlp to read it"
        )
    if header.pop("checksum") != _checksum(header, arrays):
        raise ModelFileError("damaged: the checksum does not fit the contents")
    kind, parameters = header["kind"], header["parameters"]
    if not isinstance(kind, str) or not isinstance(parameters, dict):
        raise ModelFileError("damaged: its header is not that of a model file")
    return ModelFile(kind, parameters, arrays)


def _check_entries(entries: list[zipfile.ZipInfo], length: int) -> None:
    """Refuse an archive that is not of the form of `write`, or would take more memory than the file's length."""
    names = [entry.filename for entry in entries]
    if f"{HEADER}.npy" not in names:
        raise ModelFileError("not a fastmlp model file")
    if len(set(names)) < len(names):
        raise ModelFileError("damaged: two of its arrays have one name")
    for entry in entries:
        if not entry.filename.endswith(".npy") or re.search(r"[/\\]", entry.filename) or entry.flag_bits & 1:
            raise ModelFileError(f"damaged: {entry.filename!r} is a folder, encrypted, or not an array")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ModelFileError(f"damaged: {entry.filename!r} is compressed, as model files never are")
    if sum(entry.file_size for entry in entries) > length:
        raise ModelFileError("damaged: its contents claim to be larger than the file")


def _array(content: bytes) -> NDArray[Any]:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ModelFileError(f"damaged: an array of the unknown .npy version {version}")
    start = file.tell() + 2
    end = start + int.from_bytes(content[start - 2 : start], "little")
    header = ARRAY_HEADER.fullmatch(content, start, end)
    if not header:
        raise ModelFileError("damaged: an array whose header is not one that fastmlp writes")
    dtype, shape = np.dtype(header[1].decode()), tuple(map(int, re.findall(rb"\d+", header[2])))
    # NumPy allocates an element for an array without any.
    if dtype.itemsize > len(content) or prod(shape) * dtype.itemsize != len(content) - end:
        raise ModelFileError("damaged: an array of another length than its header says")
    return np.frombuffer(content, dtype, offset=end).reshape(shape).copy()  # aligned, and writable


def _checksum(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(_json(header))
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(_json([name, array.dtype.str, array.shape]))
        digest.update(array.tobytes())
    return digest.hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()
