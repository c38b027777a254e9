"""The libsvm (svmlight) text format, read and written in parallel by the core."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, DTypeLike, NDArray

from dsgd import _core
from dsgd.checks import check_choice, check_integer
from dsgd.data.inputs import as_matrix
from dsgd.errors import ConfigError, DataError
from dsgd.files import replacing
from dsgd.threads import resolve_threads

__all__ = ["load_libsvm", "save_libsvm"]


def load_libsvm(
    path: str | os.PathLike[str],
    *,
    n_features: int | None = None,
    dtype: DTypeLike = np.float64,
    index_base: Literal["auto", "zero", "one"] = "auto",
    n_threads: int | None = None,
) -> tuple[scipy.sparse.csr_array, NDArray[np.float64]]:
    r"""Read a file of lines ``label index:value index:value ... # comment``.

    Parameters
    ----------
    path : path-like
        The text file. It is mapped into memory and must not shrink while it is read.
    n_features : int, optional
        Columns of the result; the largest index by default.
    dtype : {float32, float64}, default=float64
        Type of the values.
    index_base : {"auto", "zero", "one"}, default="auto"
        What the first feature is called. ``"auto"`` takes 0 if that index occurs anywhere, else 1.
    n_threads : int, optional
        By default all that the process may use.

    Returns
    -------
    X : scipy.sparse.csr_array of shape (n_samples, n_features)
        With int32 indices where they suffice, else int64.
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
    check_choice("index_base", index_base, ("auto", "zero", "one"))
    real = np.dtype(dtype)
    if real not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ConfigError(f"dtype must be float32 or float64, not {real}")
    if n_features is not None:
        check_integer("n_features", n_features, 1)
    reader = _core.LibsvmReader(os.fspath(path), resolve_threads(n_threads))
    y = np.empty(reader.n_rows)
    data = np.empty(reader.nonzeros, real)
    first_try = np.int32 if reader.nonzeros <= np.iinfo(np.int32).max else np.int64
    index_range, indptr, indices = _parse(reader, y, data, first_try)
    if index_range is None:  # an index needs 64 bits
        index_range, indptr, indices = _parse(reader, y, data, np.int64)
        assert index_range is not None
    low, high = index_range
    if index_base == "one" and low == 0:
        raise DataError(f"{os.fspath(path)} has index 0; read it with index_base='zero'")
    first = 0 if index_base == "zero" or low == 0 else 1
    indices -= first
    needed = max(high + 1 - first, 1)
    if n_features is not None and needed > n_features:
        raise DataError(f"{os.fspath(path)} has {needed} features; n_features={n_features} is too small")
    shape = (reader.n_rows, n_features or needed)
    return scipy.sparse.csr_array((data, indices, indptr), shape=shape), y


def _parse(
    reader: _core.LibsvmReader, y: NDArray[np.float64], data: NDArray[Any], index_dtype: Any
) -> tuple[list[int] | None, NDArray[Any], NDArray[Any]]:
    indptr = np.empty(reader.n_rows + 1, index_dtype)
    indices = np.empty(reader.nonzeros, index_dtype)
    return reader.parse(y, indptr, indices, data), indptr, indices


def save_libsvm(
    path: str | os.PathLike[str],
    X: Any,
    y: ArrayLike,
    *,
    index_base: Literal["zero", "one"] = "one",
    n_threads: int | None = None,
) -> None:
    """Write X and y as libsvm text that reads back as exactly the same numbers.

    Parameters
    ----------
    path : path-like
        The file to create or replace; it appears only when it is complete.
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Stored entries of a sparse matrix are written, zeros too; of a dense one those that are not zero.
    y : array-like of float, shape (n_samples,)
        The labels.
    index_base : {"zero", "one"}, default="one"
        What the first feature is called.
    n_threads : int, optional
        By default all that the process may use.

    Raises
    ------
    DataError
        If X and y do not fit together.
    OSError
        If the file cannot be written.
    """
    check_choice("index_base", index_base, ("zero", "one"))
    threads = resolve_threads(n_threads)
    sparse = X if scipy.sparse.issparse(X) else scipy.sparse.csr_array(np.asarray(X))
    matrix = as_matrix(sparse, threads)
    labels = np.ascontiguousarray(y, dtype=np.float64)
    with replacing(path) as beside:
        _core.write_libsvm(str(beside), matrix, labels, int(index_base == "one"), threads)
