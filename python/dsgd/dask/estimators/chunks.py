"""Collections of Dask as arrays, and what a trained estimator says of one of their chunks."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import dask
import dask.array as da
import distributed
import numpy as np
from numpy.typing import NDArray

from dsgd._common.checks import shown
from dsgd.data.inputs import as_real
from dsgd.data.labels import as_labels, check_same_kind
from dsgd.errors import ConfigError, DataError
from dsgd.fitting.worker_rows import Chunk, chunk_of, facts_of
from dsgd.models.scores import R2, Accuracy, Inertia, Score

__all__ = ["accuracy", "as_array", "inertia", "is_lazy", "part_of_score", "predicted", "r2", "whole_score"]


def is_lazy(X: Any) -> bool:
    """Return whether X is a collection of Dask, or a list of delayed chunks or futures."""
    if isinstance(X, list | tuple):
        return len(X) > 0 and all(dask.is_dask_collection(each) or isinstance(each, distributed.Future) for each in X)
    return bool(dask.is_dask_collection(X))


def as_array(X: Any, n_columns: int | None = None) -> Any:
    """Return a collection as a dask array whose chunks have all columns; without `n_columns` it has one dimension."""
    if isinstance(X, list | tuple):
        shape = (math.nan,) if n_columns is None else (math.nan, n_columns)
        plain = dask.delayed(_plain, pure=False)
        return da.concatenate([da.from_delayed(plain(each), shape, np.float64) for each in X])
    if hasattr(X, "map_partitions"):  # a data frame or a series
        X = X.map_partitions(_plain, meta=_plain(X._meta))
    if not isinstance(X, da.Array):
        raise ConfigError(f"give a dask array, a dask data frame or a list of delayed chunks, not {shown(X)}")
    return X.rechunk({1: -1}) if X.ndim == 2 and X.numblocks[1] > 1 else X


def _plain(chunk: Any) -> Any:
    return chunk_of(chunk).X


def predicted(block: Any, *, model: Any, method: str, nothing: NDArray[Any]) -> NDArray[Any]:
    """Return what a method of a local estimator says of one chunk: `nothing` if the chunk has no rows."""
    return getattr(model, method)(block).astype(nothing.dtype, copy=False) if block.shape[0] else nothing


def accuracy(model: Any, chunk: Chunk) -> Score:
    """Return the accuracy of a classifier on a chunk."""
    labels = as_labels(chunk.y, chunk.X.shape[0])
    check_same_kind(labels, model.classes_)
    return Accuracy.of(labels == model.predict(chunk.X), chunk.sample_weight)


def r2(model: Any, chunk: Chunk) -> Score:
    """Return R2 of a regression on a chunk."""
    target = as_real(as_labels(chunk.y, chunk.X.shape[0]), "y").astype(np.float64)
    return R2.of(target, model.predict(chunk.X).astype(np.float64), chunk.sample_weight)


def inertia(model: Any, chunk: Chunk) -> Score:
    """Return the inertia of k-means on a chunk."""
    return Inertia(-model.score(chunk.X, sample_weight=chunk.sample_weight))


def part_of_score(
    X: Any, y: Any, sample_weight: Any, *, score: Any, model: Any, block_id: tuple[int, ...]
) -> NDArray[np.object_]:
    """Return the score of a chunk by one of the three functions above, in an array; None if the chunk has no rows.

    `y` and `sample_weight` have one column, or are None.
    """
    labels, weights = (None if each is None else each[:, 0] for each in (y, sample_weight))
    chunk = Chunk(X, labels, weights)
    part = np.empty((1, 1), object)
    part[0, 0] = score(model, chunk) if facts_of(chunk, block_id[0]).n_rows else None
    return part


def whole_score(parts: NDArray[np.object_]) -> np.float64:
    """Return the score of the rows of all chunks."""
    counted = [part for part in parts[:, 0] if part is not None]
    if not counted:
        raise DataError("X has no rows to score")
    return np.float64(functools.reduce(operator.add, counted).value)
