"""Model files: arrays and parameters without pickle, the same bits after loading.

A model file is an uncompressed ``.npz`` (a zip of ``.npy`` arrays, readable by `numpy.load`) with one entry more,
``fastmlp``: a uint8 array of UTF-8 JSON with the keys

- ``format``: the number of this layout, `FORMAT`; a reader refuses what is newer than itself;
- ``kind``: what the file describes, so that each reader recognises its own;
- ``parameters``: a JSON object; floats are written with the digits that give the same bits back;
- ``checksum``: SHA-256 in hexadecimal over format, kind and parameters (compact JSON, sorted keys) followed by the
  name, dtype, shape and bytes of each array in the order of their names.

Whatever is not such a file is refused with a `ModelFileError`: nothing in it is executed, and nothing is allocated that
the file is not large enough to hold.
"""

import errno
import hashlib
import io
import json
import os
import uuid
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
HEADER = "fastmlp"


class ModelFileError(ValueError):
    """The file is damaged, from a newer version, or not a model file of the expected kind."""


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
        Numbers or text of any shape and fixed-size dtype; objects are refused.
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
        If a parameter is infinite or NaN, or an array holds objects or takes the name of the header.
    OSError
        If the file cannot be written.
    """
    if HEADER in model.arrays:
        raise ValueError(f"{HEADER!r} is the name of the header")
    # C order, without turning a scalar into a vector as np.ascontiguousarray would.
    arrays = {name: np.asarray(array, order="C") for name, array in model.arrays.items()}
    header = {"format": FORMAT, "kind": model.kind, "parameters": model.parameters}
    text = _json(header | {"checksum": _checksum(header, arrays)})
    path = Path(path)
    if path.exists() and not path.is_file():
        raise OSError(errno.EISDIR if path.is_dir() else errno.EINVAL, "not a file to write a model to", str(path))
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with zipfile.ZipFile(part, "x") as archive:
            for name, array in {HEADER: np.frombuffer(text, np.uint8), **arrays}.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, version=(1, 0), allow_pickle=False)
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
        header, arrays = _parse(content)
        found, expected = header.pop("checksum"), _checksum(header, arrays)
        kind, parameters = str(header["kind"]), dict(header["parameters"])
    except ModelFileError as error:
        raise ModelFileError(f"{os.fspath(path)}: {error}") from None
    except Exception as error:  # whatever zipfile, NumPy or json stumble over in a damaged file
        raise ModelFileError(f"{os.fspath(path)}: not a fastmlp model file, or a damaged one") from error
    if found != expected:
        raise ModelFileError(f"{os.fspath(path)}: damaged: the checksum does not fit the contents")
    return ModelFile(kind, parameters, arrays)


def _parse(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # Entries are stored uncompressed, so a file that claims to hold more than its size is damaged or a zip bomb.
        if sum(entry.file_size for entry in archive.infolist()) > len(content):
            raise ModelFileError("damaged: its contents claim to be larger than the file")
        if f"{HEADER}.npy" not in archive.namelist():
            raise ModelFileError("not a fastmlp model file")
        names = [entry.filename.removesuffix(".npy") for entry in archive.infolist()]
        arrays = {name: _read_array(archive.read(f"{name}.npy")) for name in names}
    header = json.loads(arrays.pop(HEADER).tobytes())
    if header["format"] > FORMAT:
        raise ModelFileError(
            f"written by a newer version of fastmlp (file format {header['format']}, here at most {FORMAT}): "
            "upgrade fastmlp to read it"
        )
    return header, arrays


def _read_array(content: bytes) -> NDArray[Any]:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ModelFileError(f"damaged: an array of the unknown .npy version {version}")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    array = np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if fortran_order else "C")
    return array.copy()  # the file's bytes are read-only and not aligned


def _checksum(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(_json(header))
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(_json([name, array.dtype.str, array.shape]))
        digest.update(array.tobytes())
    return digest.hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()
