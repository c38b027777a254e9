"""Named arrays in one file that is mapped into memory: no parsing, no copy, shared between processes.

The layout is that of safetensors: the length of the header (8 bytes, little-endian), the header
(JSON), the arrays. The library safetensors would hold a second copy of all arrays while it writes,
and would copy the arrays that it reads. This module writes one array after the other, and reads
them as views of the mapped file.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dsgd._common.files import open_regular, replacing
from dsgd.errors import DataError

__all__ = ["Pieces", "is_cache", "map_arrays", "write_arrays", "write_arrays_to"]

# Every dtype that an array here may have, by its name in safetensors.
_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    **{f"{kind}{8 * size}": np.dtype(f"<{kind.lower()}{size}") for kind in "UI" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_MAX_HEADER = 100_000_000  # bytes; the library safetensors reads no longer header
_ALIGNMENT = 64  # bytes, a cache line; the first array begins at a multiple


@dataclass(frozen=True)
class Pieces:
    """An array that is written piece by piece and never held whole.

    Parameters
    ----------
    dtype : dtype
    shape : tuple of int
    pieces : callable
        Returns the pieces in their order, an iterable of arrays in C order whose elements are those of the whole.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    pieces: Callable[[], Iterable[NDArray[Any]]]

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.dtype.itemsize * math.prod(self.shape)


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], description: object) -> None:
    """Write arrays to a new file, with a description.

    Parameters
    ----------
    path : path-like
        Created or replaced; it appears only when it is complete.
    arrays : mapping of str to ndarray
        In C order, of bools, integers or floats. They are written without a copy.
    description : object
        Anything that JSON can hold.

    Raises
    ------
    DataError
        If an array has another dtype, or the description is longer than 100 MB.
    OSError
        If the file cannot be written.
    """
    with replacing(path) as beside, beside.open("wb") as file:
        write_arrays_to(file, arrays, description)


def write_arrays_to(file: BinaryIO, arrays: Mapping[str, NDArray[Any] | Pieces], description: object) -> None:
    """Write arrays, whole or in pieces, and a description to an open file; see `write_arrays`."""
    for name, array in arrays.items():
        if array.dtype not in _NAMES:
            raise DataError(f"{name} has dtype {array.dtype}; a cache file holds native bools, integers and floats")
    # The format allows no gaps. With the largest elements first every array begins at a multiple of
    # its element size.
    ordered = sorted(arrays.items(), key=lambda item: -item[1].itemsize)
    header: dict[str, Any] = {"__metadata__": {"dsgd": json.dumps(description)}}
    end = 0
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype], "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    if len(text) > _MAX_HEADER:
        raise DataError(
            f"names and labels take {len(text) / 1e6:.0f} MB; a cache file holds {_MAX_HEADER / 1e6:.0f}: leave out "
            "feature_names, or use numbers as labels"
        )
    file.write(len(text).to_bytes(8, "little") + text)
    for _, array in ordered:
        for piece in array.pieces() if isinstance(array, Pieces) else [array]:
            file.write(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)


def is_cache(path: str | os.PathLike[str]) -> bool:
    """Return whether a file begins like a file of `write_arrays`.

    The length of its header is below 2^32, so bytes 4 to 7 are zero. Text has no zero bytes.
    """
    with open_regular(path) as file:
        head = file.read(9)
    return head[4:8] == bytes(4) and head[8:] == b"{"


def map_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], Any]:
    """Map the arrays of a file of `write_arrays` into memory.

    Parameters
    ----------
    path : path-like
        It must not shrink while the arrays are used; replacing it, as `write_arrays` does, is safe.

    Returns
    -------
    arrays : dict of str to ndarray
        Read-only views of the mapped file; their pages are read when they are touched, and shared between processes.
    description : object
        Not checked: whatever JSON the file holds.

    Raises
    ------
    DataError
        If the file is not of this kind, is truncated, or contradicts itself.
    OSError
        If it cannot be read.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _MAX_HEADER):
                raise DataError(
                    f"a header of {length} bytes does not fit {min(size, _MAX_HEADER)}; it may be truncated"
                )
            header = json.loads(file.read(length).decode())
            description = json.loads(header.pop("__metadata__")["dsgd"])
            begin = 8 + length
            layout = {name: _layout(name, entry, size - begin) for name, entry in header.items()}
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = {
            name: np.ndarray(shape, dtype, memory, begin + offset) for name, (dtype, shape, offset) in layout.items()
        }
    except (DataError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise DataError(f"{os.fspath(path)} is not a cache file of dsgd: {reason}; write it again") from error
    return arrays, description


def _layout(name: str, entry: Any, size: int) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return dtype, shape and offset of an array; `DataError` unless it is within `size` bytes."""
    dtype = _DTYPES[entry["dtype"]]
    shape, (begin, end) = entry["shape"], entry["data_offsets"]
    if len(shape) > 2 or not all(type(number) is int and 0 <= number < 2**63 for number in (*shape, begin, end)):
        raise DataError(f"{name!r} has shape {shape} and bytes {begin} to {end}")
    if end > size or end - begin != dtype.itemsize * math.prod(shape):
        raise DataError(f"{name!r} of shape {shape} cannot be bytes {begin} to {end} of {size}; it may be truncated")
    if begin % dtype.itemsize:
        raise DataError(f"{name!r} begins at byte {begin}, not a multiple of {dtype.itemsize}")
    return dtype, tuple(shape), begin
