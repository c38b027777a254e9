"""Parts of libsvm files, so that every process reads its own rows only."""

from __future__ import annotations

import heapq
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dsgd._common.checks import check_choice, check_integer
from dsgd._common.files import as_path
from dsgd.data.cache import is_cache
from dsgd.data.dataset import Dataset
from dsgd.data.libsvm import ReadOptions, load_libsvm_alike
from dsgd.data.reading import common_base, load
from dsgd.data.text import is_packed
from dsgd.errors import ConfigError, DataError

__all__ = ["Shard", "read_libsvm_files"]

# Bytes of a file in which `read_libsvm_files` looks for the index 0.
_LOOKED_AT = 1 << 20


@dataclass(frozen=True)
class Shard:
    """The lines of a libsvm text file that begin within a range of its bytes.

    Shards whose ranges tile a file together have every row of it once, in order. A shard is small and can be pickled:
    it is sent to the machine that reads it, where `path` must lead to the file.

    Parameters
    ----------
    path : path-like
        The file. One that is packed, and a cache file of `Dataset.save`, is read whole only.
    offset : int, default=0
        First byte of the range.
    length : int, optional
        Bytes of the range; by default all to the end of the file. A line that begins in the range belongs to it to its
        end, even if that is beyond the range. A line that begins before the range does not belong to it.
    index_base : {"auto", "zero", "one"}, default="auto"
        Index of the first feature, 0 or 1, as for `load_libsvm`. A part of a file needs ``"zero"`` or ``"one"``:
        the index 0 may occur in another part.
    n_features : int, optional
        Columns; by default as many as the rows of this shard need. Before rows of several shards are joined, they need
        the same number: the largest of all shards.
    dtype : {float32, float64}, optional
        Type of the values; by default that of a cache file, and float64 for text.

    Raises
    ------
    ConfigError
        For an impossible value, or ``index_base="auto"`` of a part of a file.

    Notes
    -----
    `sklearn.datasets.load_svmlight_file` has `offset` and `length` too. There a line that begins exactly at the border
    of two ranges belongs to the first of them; here it belongs to the second.
    """

    path: str | os.PathLike[str]
    offset: int = 0
    length: int | None = None
    index_base: str = "auto"
    n_features: int | None = None
    dtype: DTypeLike | None = None

    def __post_init__(self) -> None:
        as_path(self.path)
        self._how(None)
        if self.index_base == "auto" and not self.is_whole:
            raise ConfigError(
                "index_base='auto' cannot be told from a part of a file: the index 0 may occur in another part; give "
                "index_base='one' or 'zero'"
            )

    @property
    def is_whole(self) -> bool:
        """Whether the shard is a whole file."""
        return self.offset == 0 and self.length is None

    def read(self, *, n_threads: int | None = None) -> tuple[Any, NDArray[Any]]:
        """Read the rows. Of a plain file only the bytes of the range are read.

        Parameters
        ----------
        n_threads : int, optional
            By default all that the process may use.

        Returns
        -------
        X : scipy.sparse.csr_array of shape (n_samples, n_features)
            Of a cache file whatever it holds, which may be dense.
        y : ndarray of shape (n_samples,)
            The labels.

        Raises
        ------
        DataError
            For a malformed line (with its place in the whole file), an index that contradicts `index_base` or
            `n_features`, or a part of a file that is packed or a cache file.
        OSError
            If the file cannot be read.
        """
        kind = _indivisible(self.path)
        if kind and not self.is_whole:
            raise DataError(
                f"{os.fsdecode(self.path)} is {kind} and can only be read whole; leave out offset and length, or write "
                "it as plain text"
            )
        how = self._how(n_threads)
        if kind == _CACHE:
            data = load(
                self.path,
                n_features=how.n_features,
                dtype=how.dtype,
                index_base=how.index_base,
                n_threads=how.n_threads,
            )
            return data.X, data.y
        [(X, y)], _ = load_libsvm_alike([self.path], how)
        return X, y

    def _how(self, n_threads: int | None) -> ReadOptions:
        return ReadOptions(
            n_features=self.n_features,
            dtype=self.dtype,
            index_base=self.index_base,
            offset=self.offset,
            length=self.length,
            n_threads=n_threads,
        )


def read_libsvm_files(
    paths: Sequence[str | os.PathLike[str]],
    *,
    n_parts: int | None = None,
    n_features: int | None = None,
    index_base: str = "auto",
    dtype: DTypeLike | None = None,
) -> list[Shard]:
    r"""Divide libsvm files into shards, which other processes may read.

    Parameters
    ----------
    paths : sequence of path-like
        Text files, plain or packed, or cache files of `Dataset.save`.
    n_parts : int, optional
        Number of shards; by default one a file. No shard has rows of two files, so there are as many shards as files at
        least. Plain text files are cut where this makes the largest shard smallest; others are not cut.
    n_features : int, optional
        Columns of all shards; by default each has as many as its rows need, and whoever joins them widens them
        (`dsgd.data.inputs.match_features`).
    index_base : {"auto", "zero", "one"}, default="auto"
        Index of the first feature in all files, 0 or 1. ``"auto"`` is what a cache file says; without one it is 0 if
        the index 0 occurs in the first 2^20 bytes of any file, else 1. If it occurs only later, reading that shard is a
        `DataError` that names the cure: no column is ever shifted in silence.
    dtype : {float32, float64}, optional
        As for `Shard`.

    Returns
    -------
    list of Shard
        In the order of the files and of their rows. The files are opened only if `n_parts` is given or `index_base` is
        ``"auto"``; otherwise they need not exist on this machine.

    Raises
    ------
    ConfigError
        For an impossible value.
    DataError
        If a file is malformed where it is looked at, or cache files number their features differently.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from dsgd.data import read_libsvm_files
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "three_rows.svm"
    >>> _ = path.write_text("+1 1:0.5 3:2\n-1 2:1\n+1 1:4\n")
    >>> [shard.read()[1].tolist() for shard in read_libsvm_files([path], n_parts=2)]
    [[1.0], [-1.0, 1.0]]
    """
    if isinstance(paths, str | bytes | os.PathLike):
        raise ConfigError(f"paths is a sequence of files, not one path; give [{paths!r}]")
    files = list(paths)
    check_choice("index_base", index_base, ("auto", "zero", "one"))
    if n_parts is not None:
        check_integer("n_parts", n_parts, 1)
    base = _first_index(files) if index_base == "auto" and files else index_base
    counts = [1] * len(files) if n_parts is None else _parts_of_files(files, n_parts)
    shards = []
    for path, count in zip(files, counts, strict=True):
        ranges: list[tuple[int, int | None]] = (
            [(0, None)] if count == 1 else _ranges(as_path(path).stat().st_size, count)
        )
        shards += [Shard(path, offset, length, base, n_features, dtype) for offset, length in ranges]
    return shards


_CACHE = "a cache file"


def _indivisible(path: str | os.PathLike[str]) -> str:
    """Return what a file is of which no part can be read; "" for plain text."""
    if is_cache(path):
        return _CACHE
    return "packed" if is_packed(path) else ""


def _first_index(files: list[str | os.PathLike[str]]) -> str:
    """Return the index_base of files: that of the cache files, or what the first lines of the text files say."""
    known = common_base({os.fsdecode(path): Dataset.load(path).index_base for path in files if is_cache(path)})
    texts = [path for path in files if not is_cache(path)]
    if known is not None or not texts:
        return known or "auto"
    return load_libsvm_alike(texts, ReadOptions(dtype=np.float32, length=_LOOKED_AT))[1]


def _parts_of_files(files: list[str | os.PathLike[str]], n_parts: int) -> list[int]:
    """Return in how many parts each file is cut: again and again, the one with the longest parts in one more."""
    counts = [1] * len(files)
    sizes = [0 if _indivisible(path) else as_path(path).stat().st_size for path in files]
    longest: list[tuple[float, int]] = [(-size, i) for i, size in enumerate(sizes) if size > 0]
    heapq.heapify(longest)
    for _ in range(n_parts - len(files)):
        if not longest:  # no file can be cut
            break
        _, i = longest[0]
        counts[i] += 1
        heapq.heapreplace(longest, (-sizes[i] / counts[i], i))
    return counts


def _ranges(size: int, count: int) -> list[tuple[int, int | None]]:
    """Return the offsets and lengths of `count` ranges that tile `size` bytes and differ by one byte at most."""
    borders = [size * k // count for k in range(count + 1)]
    return [(begin, end - begin) for begin, end in pairwise(borders)]
