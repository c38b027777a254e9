"""Samples with targets and names of features, in memory or in a file that is mapped into it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dsgd._common.checks import check_choice, shown
from dsgd._common.threads import resolve_threads
from dsgd.data.cache import map_arrays, write_arrays
from dsgd.data.feature_names import column_names
from dsgd.data.inputs import as_matrix, as_scipy, as_table, csr_in_place
from dsgd.data.labels import as_labels
from dsgd.errors import DataError

__all__ = ["Dataset", "as_names", "errors_of"]

_FORMAT, _VERSION = "dsgd-dataset", 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Samples and their targets, as `dsgd.fit` takes them in place of X and y.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        A sparse matrix or an ndarray is kept without a copy; anything else becomes an ndarray. The
        numbers are checked when a model is trained on X.
    y : array-like of shape (n_samples,)
        Labels (numbers or strings) or real targets; becomes an ndarray.
    feature_names : iterable of str, optional
        A name for each column; becomes a tuple. By default the names of the columns of a data
        frame.
    index_base : {"zero", "one"}, optional
        Index of the first feature, 0 or 1, in the libsvm file from which X was read.
    source : str, optional
        The file from which the data was read, for messages.

    Raises
    ------
    DataError
        If X is no matrix, y no labels, or X, y and feature_names do not fit one another.
    ConfigError
        For any other `index_base`.
    """

    X: Any
    y: NDArray[Any]
    feature_names: tuple[str, ...] | None = None
    index_base: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {"X": as_table(self.X)}
        checked["y"] = as_labels(self.y, checked["X"].shape[0])
        names = column_names(self.X) if self.feature_names is None else self.feature_names
        if names is not None:
            checked["feature_names"] = as_names(names, checked["X"].shape[1])
        if self.index_base is not None:
            check_choice("index_base", self.index_base, ("zero", "one"))
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # a frozen dataclass allows no other way

    @property
    def n_samples(self) -> int:
        """Rows."""
        return int(self.X.shape[0])

    @property
    def n_features(self) -> int:
        """Columns."""
        return int(self.X.shape[1])

    @property
    def n_stored(self) -> int:
        """Stored entries: the non-zeros of a sparse X, all entries of a dense X."""
        return int(self.X.nnz if scipy.sparse.issparse(self.X) else self.X.size)

    def save(self, path: str | os.PathLike[str], *, n_threads: int | None = None) -> None:
        """Write a cache file, which `load` maps into memory instead of reading it.

        Parameters
        ----------
        path : path-like
            Created or replaced; it appears only when it is complete. The layout is that of safetensors, so that other
            programs can read the arrays.
        n_threads : int, optional
            Threads that check X; by default all that the process may use.

        Raises
        ------
        DataError
            If `dsgd.fit` would refuse the data: X is empty or not finite, or labels are of several
            kinds.
        OSError
            If the file cannot be written.
        """
        X = as_scipy(as_matrix(self.X, resolve_threads(n_threads)))
        named = {"X": X} if isinstance(X, np.ndarray) else _named(X.indptr, X.indices, X.data)
        labels, vocabulary = self.y, None
        if labels.dtype.kind == "U":
            words, labels = np.unique(labels, return_inverse=True)
            vocabulary = words.tolist()
        description = {
            "format": _FORMAT,
            "version": _VERSION,
            "n_features": self.n_features,
            "labels": vocabulary,
            "feature_names": self.feature_names,
            "index_base": self.index_base,
        }
        native = labels.astype(labels.dtype.newbyteorder("="), copy=False)
        write_arrays(path, {**named, "y": native}, description)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Dataset:
        """Map a file of `save` into memory.

        Parameters
        ----------
        path : path-like
            The file must not shrink while its data is used; replacing it, as `save` does, is safe.

        Returns
        -------
        Dataset
            The arrays are read-only views of the mapped file, and `dsgd.fit` trains on them without
            a copy. Only labels that are strings are copied into memory. The indices of a sparse X
            are checked when a model is trained on it, not here.

        Raises
        ------
        DataError
            If the file is not a cache of data, is truncated, is of a newer version, or contradicts itself.
        OSError
            If it cannot be read.
        """
        arrays, description = map_arrays(path)
        try:
            return replace(_from_description(description, arrays), source=os.fsdecode(path))
        except (DataError, AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise DataError(f"{os.fspath(path)} cannot be used as data: {reason}; write it again") from error


@contextlib.contextmanager
def errors_of(source: str | None) -> Iterator[None]:
    """Let a `DataError` of the block begin with the name of the data's file, if there is one."""
    try:
        yield
    except DataError as error:
        if source is None or source in str(error):
            raise
        raise DataError(str(error), file=source) from error


def as_names(names: Any, n_features: int) -> tuple[str, ...]:
    """Return names of features as a tuple; `DataError` unless there is a string for every feature."""
    listed = () if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
    if not listed or not all(isinstance(name, str) for name in listed):
        raise DataError(f"feature_names must be strings in a tuple or list, not {shown(names)}")
    if len(listed) != n_features:
        raise DataError(f"{len(listed)} feature_names for the {n_features} columns of X")
    return listed


def _named(indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[Any]) -> dict[str, NDArray[Any]]:
    n_entries = int(indptr[-1])  # scipy allows arrays that are longer
    return {"indptr": indptr, "indices": indices[:n_entries], "data": data[:n_entries]}


def _from_description(description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Dataset:
    """Return the data that a file describes; an error if the file is not as `Dataset.save` writes it."""
    if description["format"] != _FORMAT:
        raise DataError(f"its format is {description['format']!r}, not {_FORMAT!r}")
    if type(description["version"]) is not int or not 1 <= description["version"] <= _VERSION:
        raise DataError(
            f"its version is {description['version']!r}, and this dsgd reads up to {_VERSION}: upgrade dsgd"
        )
    X = _dense(arrays) if "X" in arrays else _sparse(arrays, description["n_features"])
    if X.shape[1] != description["n_features"]:
        raise DataError(f"X has {X.shape[1]} columns; n_features is {description['n_features']!r}")
    y = _labels(arrays["y"], description["labels"])
    return Dataset(X=X, y=y, feature_names=description["feature_names"], index_base=description["index_base"])


def _dense(arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    X = arrays["X"]
    if X.ndim != 2 or X.dtype not in (np.float32, np.float64):
        raise DataError(f"X has shape {X.shape} and dtype {X.dtype}")
    return X


def _sparse(arrays: Mapping[str, NDArray[Any]], n_features: Any) -> Any:
    indptr, indices, data = (arrays[name] for name in ("indptr", "indices", "data"))
    shapes = {"indptr": indptr.shape, "indices": indices.shape, "data": data.shape}
    if not indptr.ndim == indices.ndim == data.ndim == 1 or len(indptr) == 0 or len(indices) != len(data):
        raise DataError(f"the arrays have shapes {shapes}")
    integers = indptr.dtype in (np.int32, np.int64) and indices.dtype in (np.int32, np.int64)
    if not integers or data.dtype not in (np.float32, np.float64):
        raise DataError(f"the arrays have dtypes {indptr.dtype}, {indices.dtype} and {data.dtype}")
    if type(n_features) is not int or not 0 < n_features < 2**63:
        raise DataError(f"n_features is {n_features!r}")
    if indptr[0] != 0 or indptr[-1] != len(data):
        raise DataError(f"indptr goes from {indptr[0]} to {indptr[-1]}, not from 0 to {len(data)}")
    return csr_in_place(indptr, indices, data, n_features)


def _labels(y: NDArray[Any], vocabulary: Any) -> NDArray[Any]:
    if vocabulary is None:
        return y
    words = np.array(vocabulary)
    if words.ndim != 1 or words.dtype.kind != "U" or y.dtype.kind != "i":
        raise DataError("its labels are not strings")
    if len(y) > 0 and not (y.min() >= 0 and y.max() < len(words)):
        raise DataError(f"its labels have codes from {y.min()} to {y.max()}; there are {len(words)} strings")
    return np.asarray(words[y])
