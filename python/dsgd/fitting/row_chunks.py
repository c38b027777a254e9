"""The chunks in which an engine holds rows, and how several of them become the rows of one worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dsgd.data.inputs import as_array, csr_in_place
from dsgd.errors import DataError

__all__ = ["Chunk", "ChunkFacts", "Joining", "check_alike", "chunk_of", "facts_of"]


class Chunk(NamedTuple):
    """Some rows as the engine held them; `y` and `sample_weight` may be None.

    `widens`: other chunks may have more columns, as those of a file of which each chunk is a part.
    """

    X: Any
    y: Any
    sample_weight: Any
    widens: bool = False


class ChunkFacts(NamedTuple):
    """What must be known of a chunk to deal it, and to make room for it.

    Attributes
    ----------
    n_rows, n_entries : int
        Rows, and stored entries of X.
    n_features : int
    kind : type or None
        The class of a sparse X; None if X is dense.
    dtypes : mapping of str to numpy dtype
        The types of the arrays ``X``, ``indices`` and ``indptr`` of a sparse X, ``y``, ``sample_weight``, as far as the
        chunk has them.
    fault : str
        What is wrong with the shapes of the chunk; empty if nothing is.
    widens : bool
        See `Chunk`.
    """

    n_rows: int
    n_entries: int
    n_features: int = 0
    kind: Any = None
    dtypes: Mapping[str, np.dtype[Any]] = {}
    fault: str = ""
    widens: bool = False


def chunk_of(X: Any, y: Any = None, sample_weight: Any = None) -> Chunk:
    """Return a chunk: X as an array or in CSR, the others as arrays of one dimension. Arrays are not copied.

    Parameters
    ----------
    X : array, sparse matrix or array, data frame, or an object with a method `read` that returns X and y
    y, sample_weight : array-like, series, or None
    """
    if hasattr(X, "read"):
        if y is not None:
            raise DataError("the chunks of X bring their own y; leave y out")
        shard = X
        X, y = shard.read()
        widens = scipy.sparse.issparse(X) and getattr(shard, "n_features", 0) is None
        return Chunk(X, _column("y", y), _column("sample_weight", sample_weight), widens)
    if scipy.sparse.issparse(X):
        X = X.tocsr()
    elif hasattr(X, "to_numpy"):
        # A frame holds its columns one after the other. Its copy in C order is used in place later.
        X = np.ascontiguousarray(X.to_numpy())
    else:
        X = as_array(X, "X")
    return Chunk(X, _column("y", y), _column("sample_weight", sample_weight))


def _column(name: str, values: Any) -> NDArray[Any] | None:
    if values is None:
        return None
    array = as_array(values.to_numpy() if hasattr(values, "to_numpy") else values, name)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def facts_of(chunk: Chunk, number: int) -> ChunkFacts:
    """Return the facts of a chunk. A fault is told, not raised, so that the first chunk with one can be named."""
    if chunk.X.ndim != 2:
        return ChunkFacts(0, 0, fault=f"chunk {number} of X has {chunk.X.ndim} dimension(s); give two (rows, columns)")
    n_rows, n_features = chunk.X.shape
    arrays, fault = {"X": chunk.X}, ""
    for name in ("y", "sample_weight"):
        value = getattr(chunk, name)
        if value is None:
            continue
        arrays[name] = value
        if value.ndim != 1:
            fault = f"chunk {number} of {name} has shape {value.shape}; it must have one dimension"
        elif len(value) != n_rows:
            fault = (
                f"chunk {number} of X has {n_rows} rows, and that of {name} has {len(value)}: give {name} the chunks "
                "of X"
            )
    kind = type(chunk.X) if scipy.sparse.issparse(chunk.X) else None
    if kind is not None:
        arrays |= {"indices": chunk.X.indices, "indptr": chunk.X.indptr}
    n_entries = n_rows * n_features if kind is None else int(chunk.X.indptr[-1])
    dtypes = {name: array.dtype for name, array in arrays.items()}
    return ChunkFacts(n_rows, n_entries, n_features, kind, dtypes, fault, chunk.widens)


def check_alike(facts: Mapping[int, ChunkFacts]) -> None:
    """Raise `DataError` if chunks, by their numbers, cannot be rows of one matrix. Chunks without rows always can."""
    for each in facts.values():
        if each.fault:
            raise DataError(each.fault)
    if not (used := [(number, each) for number, each in facts.items() if each.n_rows]):
        raise DataError("X has no rows")
    (first, one), *others = used
    for number, other in others:
        if (one.kind is None) != (other.kind is None):
            dense, sparse = (first, number) if one.kind is None else (number, first)
            raise DataError(f"chunk {dense} of X is dense and chunk {sparse} is sparse; use one kind")
        if one.n_features != other.n_features and not (one.widens and other.widens):
            raise DataError(
                f"chunk {first} of X has {one.n_features} features and chunk {number} has {other.n_features}; give all "
                "chunks the same columns"
            )
        for name in ("y", "sample_weight"):
            if (name in one.dtypes) != (name in other.dtypes):
                has, lacks = (first, number) if name in one.dtypes else (number, first)
                raise DataError(f"chunk {has} has {name} and chunk {lacks} has none; give {name} for all chunks")


class Joining:
    """Chunks on their way into one: arrays of the full size, into which chunks are copied one after the other.

    A chunk can be freed as soon as it is copied. The system gives memory to the arrays only where they have been
    written, so that the rows need little more than their own size at any time.

    Parameters
    ----------
    facts : sequence of ChunkFacts
        Of all chunks that will be added, in any order. All of them have rows.
    """

    def __init__(self, facts: Sequence[ChunkFacts]) -> None:
        check_alike(dict(enumerate(facts)))
        self._facts, one = list(facts), facts[0]
        self._kind, self._n_features = one.kind, max(each.n_features for each in facts)
        n_rows, n_entries = sum(each.n_rows for each in facts), sum(each.n_entries for each in facts)
        self._n_rows = self._n_entries = 0  # of the chunks that have been added
        self._columns = {name: self._room(name, n_rows) for name in ("y", "sample_weight") if name in one.dtypes}
        if self._kind is None:
            self._values = self._room("X", (n_rows, self._n_features))
            return
        self._values, self._indices = self._room("X", n_entries), self._room("indices", n_entries)
        pointers = self._room("indptr", n_rows + 1)
        self._indptr = pointers.astype(np.int64) if n_entries > np.iinfo(pointers.dtype).max else pointers
        self._indptr[0] = 0

    def _room(self, name: str, shape: Any) -> NDArray[Any]:
        return np.empty(shape, np.result_type(*(each.dtypes[name] for each in self._facts)))

    def add(self, chunk: Chunk) -> None:
        """Copy the next chunk."""
        first, end = self._n_rows, self._n_rows + chunk.X.shape[0]
        if self._kind is None:
            self._values[first:end] = chunk.X
        else:
            n_entries = int(chunk.X.indptr[-1])
            entries = slice(self._n_entries, self._n_entries + n_entries)
            self._values[entries] = chunk.X.data[:n_entries]  # scipy allows longer arrays
            self._indices[entries] = chunk.X.indices[:n_entries]
            self._indptr[first + 1 : end + 1] = chunk.X.indptr[1:]
            self._indptr[first + 1 : end + 1] += self._n_entries
            self._n_entries += n_entries
        for name, room in self._columns.items():
            room[first:end] = getattr(chunk, name)
        self._n_rows = end

    def joined(self) -> Chunk:
        """Return all chunks as one."""
        X = self._values
        if self._kind is not None:
            X = csr_in_place(self._indptr, self._indices, self._values, self._n_features, self._kind)
        return Chunk(X, self._columns.get("y"), self._columns.get("sample_weight"))
