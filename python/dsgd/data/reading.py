"""Reading of data files of any kind; the first bytes of a file tell its kind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import DTypeLike

from dsgd.data.cache import is_cache
from dsgd.data.dataset import Dataset
from dsgd.data.inputs import match_features
from dsgd.data.libsvm import ReadOptions, load_libsvm_alike, too_narrow
from dsgd.errors import DataError

__all__ = ["common_base", "joined", "load", "load_alike"]


def load(
    path: str | os.PathLike[str],
    *,
    n_features: int | None = None,
    dtype: DTypeLike | None = None,
    index_base: str = "auto",
    n_threads: int | None = None,
) -> Dataset:
    """Read a libsvm text file, or map a cache file of `Dataset.save`; which of the two is found by its first bytes.

    Parameters
    ----------
    path : path-like
        Text may be packed; see `load_libsvm`.
    n_features : int, optional
        Columns of the result; as many as the file has by default.
    dtype : {float32, float64}, optional
        Type of the values; by default that of a cache file, and float64 for text. A type other than
        that of a cache file costs a copy.
    index_base : {"auto", "zero", "one"}, default="auto"
        Index of the first feature, as for `load_libsvm`. If a cache file has an index of its own,
        the two must agree.
    n_threads : int, optional
        By default all that the process may use.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If the file is malformed, needs more than `n_features` columns, or contradicts `index_base`.
    OSError
        If it cannot be read.
    """
    how = ReadOptions(n_features=n_features, dtype=dtype, index_base=index_base, n_threads=n_threads)
    return load_alike([path], how)[0]


def load_alike(paths: Sequence[str | os.PathLike[str]], how: ReadOptions) -> list[Dataset]:
    """Read text and cache files that count features from the same index.

    The `index_base` of a cache file is that of the text files too. If no cache file has one, the
    indices of the text files decide.

    Parameters
    ----------
    paths : sequence of path-like
    how : ReadOptions
        `offset` and `length` apply to text files only.

    Raises
    ------
    DataError
        As `load`; or if the files count features from different indices.
    """
    mapped = {path: Dataset.load(path) for path in paths if is_cache(path)}
    asked = None if how.index_base == "auto" else how.index_base
    base = common_base({"index_base": asked} | {os.fsdecode(path): data.index_base for path, data in mapped.items()})
    texts = [path for path in paths if path not in mapped]
    read: dict[str | os.PathLike[str], Dataset] = {}
    if texts:
        pairs, base = load_libsvm_alike(texts, replace(how, index_base=base or "auto"))
        for path, (X, y) in zip(texts, pairs, strict=True):
            read[path] = Dataset(X=X, y=y, index_base=base, source=os.fsdecode(path))
    for path, data in mapped.items():
        X = _as_asked(data.X, os.fsdecode(path), how)
        read[path] = replace(data, X=X, index_base=data.index_base or base)
    return [read[path] for path in paths]


def joined(files: Sequence[Dataset]) -> Dataset:
    """Return the rows of several files as one data set; sparse rows get the columns of the widest file.

    Raises
    ------
    DataError
        If some are dense and some are sparse, or dense ones have different columns.
    """
    if len(files) == 1:
        return files[0]
    sparse = {scipy.sparse.issparse(each.X) for each in files}
    n_features = max(each.n_features for each in files)
    if len(sparse) > 1:
        raise DataError("some files are sparse and some are dense; use one kind")
    if sparse == {False} and any(each.n_features != n_features for each in files):
        narrow = next(each for each in files if each.n_features != n_features)
        raise DataError(f"{narrow.source} has {narrow.n_features} features, and another file {n_features}")
    X = [match_features(each.X, n_features) for each in files]
    rows = scipy.sparse.vstack(X, format="csr") if sparse == {True} else np.concatenate(X)
    return Dataset(X=rows, y=np.concatenate([each.y for each in files]), index_base=files[0].index_base)


def _as_asked(X: Any, name: str, how: ReadOptions) -> Any:
    """Return X with the number of columns and the dtype of `how`, without a copy if it has them."""
    if how.n_features is not None:
        if X.shape[1] > how.n_features:
            raise too_narrow(name, X.shape[1], how.n_features)
        if X.shape[1] < how.n_features and not scipy.sparse.issparse(X):
            raise DataError(f"{name} is dense and has {X.shape[1]} features; n_features={how.n_features} is too large")
        X = match_features(X, how.n_features)
    return X if how.dtype is None else X.astype(how.dtype, copy=False)


def common_base(bases: dict[str, str | None]) -> str | None:
    """Return the index_base that is common to data sets, given by their names.

    None if no set has one; `DataError` if two sets differ.
    """
    first: tuple[str, str] | None = None
    for name, base in bases.items():
        if base is None:
            continue
        if first is not None and base != first[1]:
            raise DataError(
                f"the first feature is called {first[1]} by {first[0]} and {base} by {name}, so their columns are not "
                "the same; read the text that they come from with the same index_base"
            )
        first = first or (name, base)
    return None if first is None else first[1]
