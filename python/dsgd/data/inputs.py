"""From what a user has to what the core takes: matrices without conversion where possible, targets as -1 and +1."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from dsgd import _core
from dsgd.checks import check_real
from dsgd.errors import ConfigError, DataError
from dsgd.losses import Loss

__all__ = [
    "as_initial_weights",
    "as_labels",
    "as_matrix",
    "as_sample_weight",
    "as_targets",
    "check_features",
    "match_features",
    "real_dtype",
]

_LOG = logging.getLogger("dsgd")
_REALS = (np.dtype(np.float32), np.dtype(np.float64))


def _note(what: str, bytes_copied: int) -> None:
    _LOG.info("%s: one copy of %.1f MB", what, bytes_copied / 1e6)


def _as_real(array: NDArray[Any], what: str) -> NDArray[Any]:
    """Return the array as aligned float32 or float64 in C order, itself if it is that already."""
    if array.dtype not in _REALS:
        if array.dtype.kind not in "biufO":
            raise DataError(f"{what} has dtype {array.dtype}; only real numbers can be trained on")
        _note(f"{what} converted from {array.dtype} to float64", array.size * 8)
        try:
            return np.ascontiguousarray(array, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{what} cannot be converted to float64: {error}") from error
    if not (array.flags.c_contiguous and array.flags.aligned):
        _note(f"{what} copied into C order", array.nbytes)
        return np.require(array, requirements=["C", "A"])
    return array


def _as_csr(X: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return indptr, indices and data of a sparse matrix, in place where the core takes them as they are."""
    if X.format != "csr":
        _note(f"X converted from {X.format} to csr", X.nnz * (X.dtype.itemsize + 4))
        X = X.tocsr()
    indptr, indices = X.indptr, X.indices
    if indptr.dtype != indices.dtype or indices.dtype not in (np.dtype(np.int32), np.dtype(np.int64)):
        # Never to a narrower type, in which a wrong index could pass for a right one.
        _note(f"indptr and indices converted from {indptr.dtype} and {indices.dtype} to int64", 8 * len(indices))
        indptr, indices = indptr.astype(np.int64, copy=False), indices.astype(np.int64, copy=False)
    required = [np.require(array, requirements=["C", "A"]) for array in (indptr, indices)]
    return required[0], required[1], _as_real(X.data, "the data of X")


def as_matrix(X: Any, n_threads: int) -> _core.Matrix:
    """Return X for the core, in the memory of X where the core can read it as it is.

    Parameters
    ----------
    X : array-like or scipy.sparse matrix or array of shape (n_samples, n_features)
        float32 or float64, in C order or CSR with int32 or int64 indices, is taken without conversion, read-only and
        memory-mapped arrays too. Anything else is converted once, which the log says (logger ``dsgd``, level INFO).
    n_threads : int
        Threads that check the structure.

    Returns
    -------
    _core.Matrix

    Raises
    ------
    DataError
        If X is empty, has another number of dimensions, cannot be read as finite real numbers, or its structure is
        broken.
    """
    if scipy.sparse.issparse(X):
        if X.ndim != 2:
            raise DataError(f"X must have two dimensions (samples, features), not {X.ndim}")
        matrix = _csr_matrix(*_as_csr(X), n_features=X.shape[1], n_threads=n_threads)
    else:
        try:
            dense = np.asarray(X)
        except ValueError as error:
            raise DataError(f"X cannot be read as a matrix: {error}") from error
        if dense.ndim != 2:
            raise DataError(f"X must have two dimensions (samples, features), not {dense.ndim}")
        matrix = _core.Matrix.dense(_as_real(dense, "X"), n_threads)
    if matrix.n_rows == 0 or matrix.n_features == 0:
        raise DataError(f"X has shape ({matrix.n_rows}, {matrix.n_features}); it must not be empty")
    return matrix


def _csr_matrix(
    indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[Any], *, n_features: int, n_threads: int
) -> _core.Matrix:
    matrix = _core.Matrix.csr(indptr, indices, data, n_features, n_threads)
    if matrix.canonical:
        return matrix
    # A sum over a row does not mind, but a step would visit a feature twice.
    _note("columns of X sorted and duplicates added up", indices.nbytes + data.nbytes)
    shape = (matrix.n_rows, n_features)
    tidy = scipy.sparse.csr_array((data, indices, indptr), shape=shape, copy=True)
    tidy.sum_duplicates()
    return _core.Matrix.csr(tidy.indptr, tidy.indices, tidy.data, n_features, n_threads)


def real_dtype(matrix: _core.Matrix) -> np.dtype[Any]:
    """Return the floating-point type of a matrix, which is that of its targets and weights."""
    arrays = matrix.arrays
    values: NDArray[Any] = arrays[2] if isinstance(arrays, tuple) else arrays
    return values.dtype


def check_features(matrix: _core.Matrix, n_features: int) -> None:
    """Refuse a matrix that has not the features of the training data."""
    if matrix.n_features != n_features:
        raise DataError(f"X has {matrix.n_features} features; the model was trained on {n_features}")


def as_labels(y: ArrayLike, n_rows: int) -> NDArray[Any]:
    """Return y as an array of numbers or strings of shape (n_rows,); `DataError` if it is not that."""
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != n_rows:
        raise DataError(f"y has shape {labels.shape}; X has {n_rows} rows, so it must be ({n_rows},)")
    if labels.dtype.kind == "T":  # strings of variable width
        labels = labels.astype(str)
    if labels.dtype.kind == "O":  # as in a column of pandas; numpy finds the common type, but would turn 1 into "1"
        if len({isinstance(label, str) for label in labels}) > 1:
            raise DataError("y mixes strings and other labels; use one kind")
        labels = np.asarray(labels.tolist())
    if labels.dtype.kind not in "biufU" or labels.ndim != 1:
        raise DataError(f"y has dtype {labels.dtype}; labels are numbers or strings")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise DataError(f"y[{int(np.argmin(np.isfinite(labels)))}] is not finite")
    return labels


def as_targets(y: ArrayLike, loss: Loss, n_rows: int, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the targets for the core, and the two classes that they stand for.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Class labels of any kind for classification, real numbers for regression.
    loss : Loss
        Says which of the two.
    n_rows : int
        Rows of X.
    dtype : numpy dtype
        float32 or float64.

    Returns
    -------
    targets : ndarray of shape (n_samples,)
        For classification -1 for the smaller class and +1 for the larger.
    classes : ndarray of shape (2,) or None
        Sorted; None for regression.

    Raises
    ------
    DataError
        If the length is not that of X, a target is not finite, or there are not two classes.
    """
    labels = as_labels(y, n_rows)
    if not loss.classification:
        return np.ascontiguousarray(_as_real(labels, "y"), dtype=dtype), None
    classes = np.unique(labels)
    if len(classes) != 2:
        shown = ", ".join(map(str, classes[:5])) + (", ..." if len(classes) > 5 else "")
        cure = f"pass y == {classes[0].item()!r}, say, to train one class against the rest"
        raise DataError(f"{loss.name} needs two classes, y has {len(classes)} ({shown}); {cure}")
    return np.where(labels == classes[1], 1, -1).astype(dtype), classes


def as_sample_weight(
    sample_weight: ArrayLike | None,
    class_weight: Any,
    y: ArrayLike,
    classes: NDArray[Any] | None,
    n_rows: int,
    dtype: np.dtype[Any],
) -> NDArray[Any] | None:
    """Return the weight of every sample, its own times that of its class; None if all are 1.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or None
    class_weight : dict from class to weight, "balanced" or None
        A class that a dict does not name has weight 1; ``"balanced"``: n_samples / (n_classes * samples of the class).
    y : array-like of shape (n_samples,)
    classes : ndarray or None
        None for regression.
    n_rows : int
    dtype : numpy dtype

    Returns
    -------
    ndarray of shape (n_samples,) or None

    Raises
    ------
    DataError
        For a weight that is negative or not finite, a wrong length, or weights that are all zero.
    ConfigError
        For a class_weight that is neither of the three, or with regression.
    """
    if sample_weight is None and class_weight is None:
        return None
    weight = np.ones(n_rows)
    if sample_weight is not None:
        weight = np.asarray(_as_real(np.asarray(sample_weight), "sample_weight"), dtype=np.float64)
        if weight.shape != (n_rows,):
            raise DataError(f"sample_weight has shape {weight.shape}; X has {n_rows} rows, so it must be ({n_rows},)")
    if class_weight is not None:
        if classes is None:
            raise ConfigError("class_weight needs classes; regression takes sample_weight")
        member = np.searchsorted(classes, as_labels(y, n_rows))
        weight = weight * _class_weights(class_weight, classes, member)[member]
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        raise DataError(f"the weight of sample {int(np.argmax(wrong))} is {weight[wrong][0]}; weights are at least 0")
    if not weight.any():
        raise DataError("all sample weights are 0; there is nothing to train on")
    return weight.astype(dtype)


def _class_weights(class_weight: Any, classes: NDArray[Any], member: NDArray[Any]) -> NDArray[np.float64]:
    if class_weight == "balanced":
        return np.asarray(len(member) / (len(classes) * np.bincount(member, minlength=len(classes))))
    if not isinstance(class_weight, Mapping):
        raise ConfigError(f"class_weight must be a dict, 'balanced' or None, not {class_weight!r}")
    names = classes.tolist()
    for label in class_weight:
        if label not in names:
            raise ConfigError(f"class_weight has the class {label!r}; the classes are {names}")
    return np.array([check_real(f"class_weight[{name!r}]", class_weight.get(name, 1), 0) for name in names])


def as_initial_weights(init: ArrayLike | None, n_parameters: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the weights to start from, zeros for None; `DataError` unless finite and of shape (n_parameters,)."""
    if init is None:
        return np.zeros(n_parameters, dtype)
    weights = _as_real(np.asarray(init), "init").astype(dtype)  # a copy: training changes it
    if weights.shape != (n_parameters,):
        raise DataError(
            f"init has shape {weights.shape}; it must be ({n_parameters},): a weight for every feature, then the "
            "intercept if there is one"
        )
    if not np.isfinite(weights).all():
        raise DataError(f"init[{int(np.argmin(np.isfinite(weights)))}] is not finite")
    return weights


def match_features(X: Any, n_features: int) -> Any:
    """Return sparse X with exactly `n_features` columns, as for a test file that lacks, or adds, rare features.

    Parameters
    ----------
    X : scipy.sparse.csr_array or csr_matrix
        What lies beyond `n_features` is left out: a model has no weight for it.
    n_features : int

    Returns
    -------
    scipy.sparse matrix or array of the same kind, X itself if it fits
    """
    if X.shape[1] == n_features:
        return X
    if X.shape[1] > n_features:
        _LOG.warning("left out %d features that the model does not have", X.shape[1] - n_features)
        return X[:, :n_features]
    return type(X)((X.data, X.indices, X.indptr), shape=(X.shape[0], n_features))
