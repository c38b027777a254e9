"""The libsvm (svmlight) text format, read and written in parallel by the core."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, DTypeLike, NDArray

from dsgd import _core
from dsgd._common.checks import check_choice, check_integer, check_real_dtype
from dsgd._common.files import as_path, replacing
from dsgd._common.threads import resolve_threads
from dsgd.data.inputs import as_matrix, csr_in_place, short_pointers
from dsgd.data.labels import as_labels
from dsgd.data.text import read_text
from dsgd.errors import DataError

__all__ = ["ReadOptions", "load_libsvm", "load_libsvm_alike", "save_libsvm", "too_narrow"]


def load_libsvm(
    path: str | os.PathLike[str],
    *,
    n_features: int | None = None,
    dtype: DTypeLike = np.float64,
    index_base: str = "auto",
    offset: int = 0,
    length: int | None = None,
    n_threads: int | None = None,
) -> tuple[scipy.sparse.csr_array, NDArray[np.float64]]:
    r"""Read a file of lines ``label index:value index:value ... # comment``.

    Parameters
    ----------
    path : path-like
        The text file, plain or packed by gzip, xz, bzip2 or zstd (with the package zstandard). A
        plain file is mapped into memory and must not shrink while it is read. ``qid:`` after the
        label is ignored.
    n_features : int, optional
        Columns of the result; by default as many as the largest index needs.
    dtype : {float32, float64}, default=float64
        Type of the values.
    index_base : {"auto", "zero", "one"}, default="auto"
        Index of the first feature, 0 or 1. ``"auto"`` is 0 if the index 0 occurs anywhere, else 1.
    offset : int, default=0
        Read lines that begin at this byte of the unpacked text or later.
    length : int, optional
        Read lines that begin within so many bytes after `offset`; by default all. Adjacent ranges
        together read every line once, if all have the same `n_features` and `index_base`.
    n_threads : int, optional
        By default all that the process may use.

    Returns
    -------
    X : scipy.sparse.csr_array of shape (n_samples, n_features)
        With int32 columns.
    y : ndarray of float64, shape (n_samples,)
        The labels.

    Raises
    ------
    DataError
        For a malformed line (with file, line and column), or an index beyond `n_features`.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from dsgd.data import load_libsvm
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "two_rows.svm"
    >>> _ = path.write_text("+1 1:0.5 3:2\n-1 2:1\n")
    >>> X, y = load_libsvm(path)
    >>> X.toarray()
    array([[0.5, 0. , 2. ],
           [0. , 1. , 0. ]])
    >>> y
    array([ 1., -1.])
    """
    how = ReadOptions(
        n_features=n_features, dtype=dtype, index_base=index_base, offset=offset, length=length, n_threads=n_threads
    )
    [(X, y)], _ = load_libsvm_alike([path], how)
    return X, y


_ALL = 2**64 - 1


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read files; see `load_libsvm`.

    Parameters
    ----------
    n_features, dtype, index_base, offset, length, n_threads
        As for `load_libsvm`. `dtype` may be None for the dtype of the file; that of text is
        float64.

    Raises
    ------
    ConfigError
        For an impossible value.
    """

    n_features: int | None = None
    dtype: DTypeLike | None = None
    index_base: str = "auto"
    offset: int = 0
    length: int | None = None
    n_threads: int | None = None

    def __post_init__(self) -> None:
        check_choice("index_base", self.index_base, ("auto", "zero", "one"))
        if self.dtype is not None:
            check_real_dtype(self.dtype)
        if self.n_features is not None:
            check_integer("n_features", self.n_features, 1)
        check_integer("offset", self.offset, 0, _ALL)
        if self.length is not None:
            check_integer("length", self.length, 0, _ALL)


def load_libsvm_alike(
    paths: Sequence[str | os.PathLike[str]], how: ReadOptions
) -> tuple[list[tuple[scipy.sparse.csr_array, NDArray[np.float64]]], str]:
    """Read files that count features from the same index; return the data and this index.

    With ``index_base="auto"``, an index 0 in one file means that all files count from 0.

    Parameters
    ----------
    paths : sequence of path-like
    how : ReadOptions

    Returns
    -------
    data : list of (X, y)
        For each file; without `n_features` each X has as many columns as its file needs.
    index_base : {"zero", "one"}
    """
    files = [_read(path, how) for path in paths]
    index_base = how.index_base
    if index_base == "auto":
        index_base = "zero" if any(file.low == 0 for file in files) else "one"
    first = 0 if index_base == "zero" else 1
    return [_matrix(file, first, how.n_features) for file in files], index_base


class _File(NamedTuple):
    """The content of a file; `low` and `high` are the extremes of the indices in the text."""

    name: str
    indptr: NDArray[Any]
    indices: NDArray[Any]
    data: NDArray[Any]
    y: NDArray[np.float64]
    low: int
    high: int


# First bytes of files that are not libsvm text, and advice.
_STRANGE = {
    b"\xef\xbb\xbf": "the file begins with the mark of UTF-8; save it without",
    b"\xff\xfe": "the file is UTF-16; convert it to UTF-8",
    b"\xfe\xff": "the file is UTF-16; convert it to UTF-8",
    b"PK\x03\x04": "the file is a zip archive; unpack it first",
}


def _read(path: str | os.PathLike[str], how: ReadOptions) -> _File:
    name = str(as_path(path))
    text = read_text(path)
    length = _ALL if how.length is None else how.length
    threads = resolve_threads(how.n_threads)
    try:
        return _parse(name, _core.LibsvmReader(text, os.fsencode(path), how.offset, length, threads), how)
    except DataError as error:
        if cure := _cure(str(error), text[:1000]):
            error.args = (f"{error}; {cure}",)
        raise


def _cure(fault: str, head: bytes) -> str:
    """Return advice for text with an error at its first label or value; "" if there is none."""
    first = head.split(maxsplit=1)[0] if head.split() else b""
    for start, cure in _STRANGE.items():
        if head.startswith(start):
            return cure
    if b":" not in head:
        return "is this libsvm text? Tables are read by dsgd.data.load_csv"
    if "as value, found the end of the line" in fault:
        return "no blank may follow a colon"
    if "as label" not in fault:
        return ""
    if b":" in first:
        return "every line begins with a label; weights of samples are given as sample_weight"
    if b"," in first:
        return "one label a row is read; write a file for each of several"
    return "labels are numbers; number the words, or make a dsgd.data.Dataset of X and y"


def _parse(name: str, reader: _core.LibsvmReader, how: ReadOptions) -> _File:
    y = np.empty(reader.n_rows)
    data = np.empty(reader.nonzeros, np.float64 if how.dtype is None else how.dtype)
    indptr = np.empty(reader.n_rows + 1, np.int64)
    indices = np.empty(reader.nonzeros, np.int32)
    low, high = reader.parse(y, indptr, indices, data)
    return _File(name, indptr, indices, data, y, low, high)


def _matrix(file: _File, first: int, n_features: int | None) -> tuple[scipy.sparse.csr_array, NDArray[np.float64]]:
    """Return the matrix and labels of a file whose first feature has the index `first`."""
    if file.low < first:
        raise DataError(f"{file.name} has index 0; read it with index_base='zero'")
    needed = max(file.high + 1 - first, 1)
    if n_features is not None and needed > n_features:
        raise too_narrow(file.name, needed, n_features)
    if first:
        np.subtract(file.indices, first, out=file.indices)
    return csr_in_place(short_pointers(file.indptr), file.indices, file.data, n_features or needed), file.y


def too_narrow(name: str, needed: int, n_features: int) -> DataError:
    """Return the error for a file that has more than `n_features` columns."""
    return DataError(f"{name} has {needed} features; n_features={n_features} is too small")


def save_libsvm(
    path: str | os.PathLike[str],
    X: Any,
    y: ArrayLike,
    *,
    index_base: str = "one",
    n_threads: int | None = None,
) -> None:
    """Write X and y as libsvm text that reads back as exactly the same numbers.

    Parameters
    ----------
    path : path-like
        The file to create or replace; it appears only when it is complete.
    X : array-like or sparse matrix of shape (n_samples, n_features)
        All stored entries of a sparse matrix are written, also zeros; of a dense one the non-zeros.
    y : array-like of float, shape (n_samples,)
        The labels.
    index_base : {"zero", "one"}, default="one"
        Index of the first feature: 0 or 1.
    n_threads : int, optional
        By default all that the process may use.

    Raises
    ------
    DataError
        If X and y do not fit together, are not finite, or a label is a whole number that float64 does not hold.
    OSError
        If the file cannot be written.
    """
    check_choice("index_base", index_base, ("zero", "one"))
    threads = resolve_threads(n_threads)
    sparse = X if scipy.sparse.issparse(X) else scipy.sparse.csr_array(np.asarray(X))
    matrix = as_matrix(sparse, threads)
    labels = as_labels(y, matrix.n_rows)
    if labels.dtype.kind == "U":
        raise DataError(f"the labels of a libsvm file are numbers, not strings such as {labels[0].item()!r}")
    numbers = np.ascontiguousarray(labels, dtype=np.float64)
    large = np.flatnonzero(np.abs(numbers) >= 2.0**53) if labels.dtype.kind in "iu" else np.zeros(0, np.intp)
    rounded = [row for row in large if int(numbers[row]) != int(labels[row])]
    if rounded:
        raise DataError(
            f"the label of row {rounded[0]} is {labels[rounded[0]]}, but numbers of libsvm text are float64: "
            "number the labels anew, or write a cache file (dsgd.data.Dataset.save)"
        )
    with replacing(path) as beside:
        _core.write_libsvm(os.fsencode(beside), matrix, numbers, int(index_base == "one"), threads)
