"""The file of a result: a safetensors file with a checksum and with texts of any length."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from dsgd._common.checksum import checked, with_checksum
from dsgd._common.files import as_path, open_regular, replacing
from dsgd.errors import DataError

__all__ = ["read_model", "write_model"]

# Characters. The header of safetensors holds 100 MB, so a longer text is stored as a tensor of
# bytes.
_LONG = 1_000_000
_PREFIX = "text/"


def write_model(path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> None:
    """Write tensors and texts to a new file; it appears only when it is complete.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    long = {name: text.encode() for name, text in texts.items() if len(text) > _LONG}
    metadata = {name: text for name, text in texts.items() if name not in long}
    content = {**tensors, **{_PREFIX + name: np.frombuffer(text, np.uint8) for name, text in long.items()}}
    with replacing(path) as beside:
        beside.write_bytes(safetensors.numpy.save(with_checksum(content, metadata), metadata))


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the tensors and texts that `write_model` wrote.

    Raises
    ------
    DataError
        If it is not a regular file, or damaged.
    ValueError, TypeError, safetensors.SafetensorError
        If the file is of another kind.
    OSError
        If it cannot be read.
    """
    file_path = as_path(path)
    if not file_path.is_file():  # safetensors would wait for a pipe
        file_path.stat()
        raise DataError(f"{file_path} is not a regular file")
    open_regular(file_path).close()  # safetensors reports any file that it cannot open as missing
    with safetensors.safe_open(os.fspath(file_path), framework="numpy") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    tensors = checked(tensors, metadata)
    long = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_PREFIX)}
    return tensors, {**metadata, **{name.removeprefix(_PREFIX): long[name].tobytes().decode() for name in long}}
