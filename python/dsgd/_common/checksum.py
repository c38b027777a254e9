"""A checksum of the content of a safetensors file, one of its tensors: what a disk or a copy has damaged is refused.

It is a CRC-32, which is against accidents and not against people: it finds all damage to at most 32 neighbouring bits,
and of any other damage all but one case in four thousand million. It takes 0.2 s for a model of 400 MB, whose writing
takes 0.75 s; SHA-256 takes 0.4 s. It is not kept in the metadata: safetensors writes these in another order
each time, and the same trace is to be the same bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.errors import DataError

__all__ = ["checked", "with_checksum"]

_NAME = "crc32"


def with_checksum(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file, and the checksum of its content as another.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        All that the file is to hold.
    metadata : mapping of str to str
        All that it is to hold.

    Returns
    -------
    dict of str to ndarray
    """
    return {**tensors, _NAME: np.array([_checksum(tensors, metadata)], np.uint32)}


def checked(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file without the checksum; one from before there were checksums is taken as it is.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        All that the file holds.
    metadata : mapping of str to str
        All that it holds.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    DataError
        If the content is not what was written.
    """
    content = dict(tensors)
    written = content.pop(_NAME, None)
    if written is not None and written.tolist() != [_checksum(content, metadata)]:
        raise DataError("it is damaged: its content does not have its checksum; use another copy, or write it again")
    return content


def _checksum(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> int:
    """Return the checksum of names, types, shapes, numbers and texts; where they lie in the file does not count."""
    value = zlib.crc32(json.dumps(sorted(metadata.items())).encode())
    for name, array in sorted(tensors.items()):
        value = zlib.crc32(json.dumps([name, array.dtype.str, array.shape]).encode(), value)
        value = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, value)
    return value
