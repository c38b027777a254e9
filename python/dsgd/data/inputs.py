"""From a user's matrix to a matrix of the C++ core, without conversion where possible."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.checks import shown
from dsgd._common.threads import worth_waking
from dsgd.errors import DataError

__all__ = [
    "MAX_FEATURES",
    "as_array",
    "as_matrix",
    "as_real",
    "as_scipy",
    "as_table",
    "check_columns",
    "check_features",
    "csr_in_place",
    "match_features",
    "real_dtype",
    "short_pointers",
    "stored_entries",
    "take_rows",
]

_LOG = logging.getLogger("dsgd")
_REALS = (np.dtype(np.float32), np.dtype(np.float64))

MAX_FEATURES = 2**48
"""Most features of X. No machine holds so many weights, so a wider matrix is a mistake."""

_COLUMNS = np.iinfo(np.int32)  # the type of column indices in the core


def _note(what: str, bytes_copied: int) -> None:
    _LOG.info("%s: one copy of %.1f MB", what, bytes_copied / 1e6)


def as_array(value: Any, what: str) -> NDArray[Any]:
    """Return `numpy.asarray(value)`; `DataError` if it is sparse, has masked entries, or fails."""
    if scipy.sparse.issparse(value):
        raise DataError(f"{what} is a sparse matrix; give {what}.toarray()")
    if np.ma.is_masked(value):
        raise DataError(f"{what} has masked entries; fill them in or leave them out")
    try:
        return np.asarray(value)
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise DataError(f"{what} cannot be read as an array: {error}") from error


def as_real(array: NDArray[Any], what: str) -> NDArray[Any]:
    """Return the array as aligned float32 or float64 in C order, without a copy if it is that."""
    if array.dtype not in _REALS:
        if array.dtype.kind not in "biufO":
            raise DataError(f"{what} has dtype {array.dtype}; only real numbers can be trained on")
        _note(f"{what} converted from {array.dtype} to float64", array.size * 8)
        try:
            with np.errstate(over="ignore"):  # infinities are refused later, where numbers must be finite
                return np.ascontiguousarray(array, dtype=np.float64)
        except (TypeError, ValueError, OverflowError, MemoryError) as error:
            raise DataError(f"{what} cannot be converted to float64: {error}") from error
    if not (array.flags.c_contiguous and array.flags.aligned):
        _note(f"{what} copied into C order", array.nbytes)
        return np.require(array, requirements=["C", "A"])
    return array


def _as_csr(X: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return indptr, indices and data of a sparse matrix, in the types of the core.

    The core has row pointers of 64 bits, so that there may be any number of entries, and columns of
    32 bits. Indices and data that have these types already are not copied.
    """
    _check_parts(X)
    if X.format != "csr":
        X = _to_csr(X)
    indptr, indices = X.indptr, X.indices
    if len(indptr) != X.shape[0] + 1:
        raise DataError(
            f"the csr matrix is broken: indptr has {len(indptr)} elements; {X.shape[0]} rows need {X.shape[0] + 1}"
        )
    starts = np.require(indptr, np.int64, ["C", "A"])
    check_columns(X)
    if indices.dtype != np.int32:
        _note(f"columns of X narrowed from {indices.dtype} to int32", 4 * len(indices))
    return starts, np.require(indices, np.int32, ["C", "A"]), as_real(X.data, "the data of X")


def check_columns(X: Any) -> None:
    """Refuse a CSR matrix with a column index that int32 cannot hold.

    Cut to 32 bits, a wrong index could become the index of another column.
    """
    if X.indices.dtype == np.int32:
        return
    n_features, stored = X.shape[1], X.indices[: max(int(X.indptr[-1]), 0)]  # scipy allows longer arrays
    if stored.size == 0 or (stored.max() <= _COLUMNS.max and stored.min() >= _COLUMNS.min):
        return
    k = int(np.flatnonzero((stored > _COLUMNS.max) | (stored < _COLUMNS.min))[0])
    row, column = int(np.searchsorted(X.indptr, k, side="right")) - 1, int(stored[k])
    if not 0 <= column < n_features:
        raise DataError(f"the csr matrix is broken: row {row} has column {column}, outside [0, {n_features})")
    raise DataError(
        f"row {row} of X has column {column}; columns must be below 2**31. Number those that occur without gaps: "
        "names, X.indices = numpy.unique(X.indices, return_inverse=True)"
    )


# The arrays of each format, with the dimensions that they have.
_PARTS = {
    "csr": {"data": 1, "indices": 1, "indptr": 1},
    "csc": {"data": 1, "indices": 1, "indptr": 1},
    "bsr": {"data": 3, "indices": 1, "indptr": 1},
    "coo": {"data": 1, "row": 1, "col": 1},
    "dia": {"data": 2, "offsets": 1},
}


def _check_parts(X: Any) -> None:
    """Refuse a sparse matrix whose attributes were replaced by values of a wrong type or shape."""
    for name, n_dimensions in _PARTS.get(X.format, {}).items():
        part = getattr(X, name)
        kind = "numbers" if name == "data" else "integers"
        right = isinstance(part, np.ndarray) and part.ndim == n_dimensions
        if not right or (kind == "integers" and part.dtype.kind not in "iu"):
            what = f"of shape {part.shape} and dtype {part.dtype}" if isinstance(part, np.ndarray) else shown(part)
            raise DataError(
                f"the {X.format} matrix is broken: {name} is {what}; it must be an array of {kind} with {n_dimensions} "
                "dimension(s)"
            )


def _to_csr(X: Any) -> Any:
    """Return a sparse matrix of another format as CSR.

    The matrix is built anew first: scipy checks a matrix in the constructor, but the conversion of
    a broken matrix crashes.
    """
    try:
        if X.format in ("csc", "bsr"):
            X = type(X)((X.data, X.indices, X.indptr), shape=X.shape)
            X.check_format(full_check=True)
        elif X.format == "coo":
            X = type(X)((X.data, (X.row, X.col)), shape=X.shape)
        elif X.format == "dia":
            X = type(X)((X.data, X.offsets), shape=X.shape)
        _note(f"X converted from {X.format} to csr", X.nnz * (X.dtype.itemsize + 4))
        return X.tocsr()
    except (AttributeError, IndexError, OverflowError, TypeError, ValueError) as error:
        raise DataError(f"the {X.format} matrix is broken: {error}; build it anew from its entries") from error


def as_table(X: Any) -> Any:
    """Return X itself if it is sparse, else as an array; `DataError` unless it has two dimensions."""
    table = X if scipy.sparse.issparse(X) else as_array(X, "X")
    if table.ndim != 2:
        cure = {
            0: f"; it is of type {type(X).__name__}",
            1: "; X.reshape(-1, 1) is one feature, X.reshape(1, -1) one sample",
        }.get(table.ndim, "")
        raise DataError(f"X must have two dimensions (samples, features), not {table.ndim}{cure}")
    return table


def as_matrix(X: Any, n_threads: int) -> _core.Matrix:
    """Return X as a matrix of the core, without a copy if the core can read the memory of X.

    Parameters
    ----------
    X : array-like or scipy.sparse matrix or array of shape (n_samples, n_features)
        float32 or float64 in C order, or CSR with int32 columns, is used without a copy, also if it
        is read-only or memory-mapped. Columns of int64 are narrowed to int32 in one copy. Anything
        else is converted in one copy. The logger ``dsgd`` (level INFO) reports each copy with its
        bytes.
    n_threads : int
        Most threads that check the structure; fewer are used if there is little to read.

    Returns
    -------
    _core.Matrix

    Raises
    ------
    DataError
        If X is empty, has another number of dimensions, cannot be read as finite real numbers, has a column of 2**31 or
        more, or its structure is broken.
    """
    X = as_table(X)
    if scipy.sparse.issparse(X):
        if X.shape[1] > MAX_FEATURES:
            raise DataError(f"X has {X.shape[1]} features, more than {MAX_FEATURES}; number them without gaps")
        matrix = _csr_matrix(*_as_csr(X), n_features=X.shape[1], n_threads=n_threads)
    else:
        real = as_real(X, "X")
        matrix = _core.Matrix.dense(real, worth_waking(n_threads, real.size))
    if matrix.n_rows == 0 or matrix.n_features == 0:
        raise DataError(f"X has shape ({matrix.n_rows}, {matrix.n_features}); it must not be empty")
    return matrix


def _csr_matrix(
    indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[Any], *, n_features: int, n_threads: int
) -> _core.Matrix:
    threads = worth_waking(n_threads, data.size)
    matrix = _core.Matrix.csr(indptr, indices, data, n_features, threads)
    if matrix.canonical:
        return matrix
    # Duplicates do not change a sum over a row, but a step would visit a feature twice.
    _note("columns of X sorted and duplicates added up", indices.nbytes + data.nbytes)
    shape = (matrix.n_rows, n_features)
    tidy = scipy.sparse.csr_array((data, indices, indptr), shape=shape, copy=True)
    tidy.sum_duplicates()
    starts, columns = tidy.indptr.astype(np.int64, copy=False), tidy.indices.astype(np.int32, copy=False)
    return _core.Matrix.csr(starts, columns, tidy.data, n_features, threads)


def stored_entries(matrix: _core.Matrix) -> int:
    """Return how many numbers the matrix stores."""
    arrays = matrix.arrays
    return int(arrays[2].size if isinstance(arrays, tuple) else arrays.size)


def real_dtype(matrix: _core.Matrix) -> np.dtype[Any]:
    """Return the floating-point type of a matrix; targets and weights have the same type."""
    arrays = matrix.arrays
    values: NDArray[Any] = arrays[2] if isinstance(arrays, tuple) else arrays
    return values.dtype


def check_features(matrix: _core.Matrix, n_features: int) -> None:
    """Refuse a matrix whose number of features is not that of the training data."""
    if matrix.n_features != n_features:
        raise DataError(f"X has {matrix.n_features} features; the model was trained on {n_features}")


def match_features(X: Any, n_features: int) -> Any:
    """Return sparse X with exactly `n_features` columns.

    A test file may lack rare features of the training data, or have others.

    A dense matrix is returned as it is: another number of dense columns is a mistake, which later
    checks refuse.

    Parameters
    ----------
    X : scipy.sparse.csr_array or csr_matrix, or ndarray
        Columns beyond `n_features` are left out, since the model has no weights for them.
    n_features : int

    Returns
    -------
    scipy.sparse matrix or array of the same kind, X itself if it fits
    """
    if X.shape[1] == n_features or not scipy.sparse.issparse(X):
        return X
    if X.shape[1] > n_features:
        _LOG.warning("left out %d features that the model does not have", X.shape[1] - n_features)
        return X[:, :n_features]
    return csr_in_place(X.indptr, X.indices, X.data, n_features, type(X))


def csr_in_place(
    indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[Any], n_features: int, kind: Any = scipy.sparse.csr_array
) -> Any:
    """Return a sparse matrix that uses these arrays without a check or a copy.

    The constructor of scipy would read all arrays, and might copy the indices into another type.
    """
    X = kind((len(indptr) - 1, n_features), dtype=data.dtype)
    X.indptr, X.indices, X.data = indptr, indices, data
    return X


def as_scipy(matrix: _core.Matrix) -> Any:
    """Return a matrix of the core as an ndarray or a CSR matrix; only row pointers are copied.

    The row pointers get the type of the columns where possible, because every operation of scipy
    begins with a copy if the types differ.
    """
    arrays = matrix.arrays
    if not isinstance(arrays, tuple):
        return arrays
    indptr, indices, data = arrays
    return csr_in_place(short_pointers(indptr), indices, data, matrix.n_features)


def short_pointers(indptr: NDArray[np.int64]) -> NDArray[Any]:
    """Return row pointers as int32 if int32 can hold them: scipy needs them as columns are."""
    return indptr.astype(np.int32) if indptr[-1] <= _COLUMNS.max else indptr


def take_rows(matrix: _core.Matrix, rows: NDArray[np.intp]) -> Any:
    """Return a copy of some rows, as an array in C order or a CSR matrix."""
    chosen = as_scipy(matrix)[rows]
    return np.ascontiguousarray(chosen) if isinstance(chosen, np.ndarray) else chosen
