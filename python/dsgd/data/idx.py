"""The IDX format, in which MNIST and its relatives are published."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dsgd._common.checks import check_real, check_real_dtype
from dsgd.data.dataset import Dataset
from dsgd.data.text import read_text
from dsgd.errors import DataError

__all__ = ["load_idx", "read_idx"]

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_DIMENSIONS = 32  # the most that every supported numpy allows


def load_idx(
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    *,
    dtype: DTypeLike = np.float32,
    scale: float | None = None,
) -> Dataset:
    """Read samples and their labels from a pair of IDX files, as MNIST has.

    Parameters
    ----------
    images : path-like
        The first dimension is that of the samples; the others become one row of X. Plain, or packed
        by gzip, xz, bzip2 or zstd.
    labels : path-like
        Whole numbers, one dimension.
    dtype : {float32, float64}, default=float32
        Type of X.
    scale : float, optional
        Factor of the values. By default 1/255 for unsigned bytes, so that pixels lie in [0, 1], and
        1 for every other type.

    Returns
    -------
    Dataset
        Dense X of shape (n_samples, n_pixels); y of int64.

    Raises
    ------
    DataError
        If a file is not IDX, is cut off or too long, or the two do not belong together.
    OSError
        If a file cannot be read.

    Notes
    -----
    The format is described by its author at http://yann.lecun.com/exdb/mnist/.
    """
    real = check_real_dtype(dtype)
    pixels, y = read_idx(images), read_idx(labels)
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(
            f"{os.fsdecode(labels)} holds {y.dtype} of shape {y.shape}; labels are whole numbers in one dimension. "
            "Are the two files swapped?"
        )
    if pixels.ndim < 2 or len(pixels) != len(y):
        raise DataError(
            f"{os.fsdecode(images)} has shape {pixels.shape} and {os.fsdecode(labels)} {len(y)} labels; give the two "
            "files of one data set"
        )
    if scale is None:
        scale = 1 / 255 if pixels.dtype == np.uint8 else 1.0
    factor = check_real("scale", scale, -math.inf)
    with np.errstate(over="ignore"):
        X = pixels.reshape(len(y), math.prod(pixels.shape[1:])).astype(real)
        X *= real.type(factor)
    _check_finite(X, os.fsdecode(images), f" in {real}")
    return Dataset(X=X, y=y.astype(np.int64), source=os.fsdecode(images))


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read the array of an IDX file, of whatever type and shape.

    Parameters
    ----------
    path : path-like
        Plain, or packed by gzip, xz, bzip2 or zstd.

    Returns
    -------
    ndarray
        uint8, int8, int16, int32, float32 or float64, in this machine's byte order; finite.

    Raises
    ------
    DataError
        If the file does not begin like IDX, is shorter or longer than its header says, or has a number that is not
        finite.
    OSError
        If it cannot be read.
    """
    name, content = os.fsdecode(path), read_text(path)
    start = bytes(content[:4])
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES:
        raise DataError(f"{name} begins with {start!r}, so it is not IDX; load_libsvm and load_csv read text")
    n_dimensions, header = start[3], 4 + 4 * start[3]
    if n_dimensions > _MAX_DIMENSIONS:
        raise DataError(f"{name} claims {n_dimensions} dimensions, more than {_MAX_DIMENSIONS}; get it again")
    if len(content) < header:
        raise DataError(f"{name} ends within its header; get it again")
    stored = np.dtype(_TYPES[start[2]])
    shape = tuple(int(size) for size in np.frombuffer(content[4:header], ">u4"))
    expected = header + math.prod(shape) * stored.itemsize  # in Python's integers, which do not overflow
    if len(content) != expected:
        what = "is cut off" if len(content) < expected else "is too long"
        raise DataError(f"{name} {what}: {len(content)} bytes where shape {shape} needs {expected}; get it again")
    values = np.frombuffer(content, stored, offset=header)
    _check_finite(values, name)
    try:
        return values.reshape(shape).astype(stored.newbyteorder("="))  # a copy, so that the file may be closed
    except ValueError as error:  # an empty array whose other dimensions are too large for numpy
        raise DataError(f"{name} has the impossible shape {shape}; get it again") from error


def _check_finite(values: NDArray[Any], name: str, where: str = "") -> None:
    """Refuse numbers that are not finite, as a damaged file has."""
    finite = np.isfinite(values)
    if not finite.all():
        raise DataError(f"{name} has the number {values[~finite][0]}{where}; get it again")
