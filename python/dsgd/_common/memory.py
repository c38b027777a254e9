"""Errors in place of `MemoryError`: what needed the memory, its size in bytes, and the cure."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from dsgd.errors import ConfigError, DataError, DsgdError

__all__ = ["memory_for", "memory_for_model", "memory_for_rows", "naming_memory", "shown_bytes"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_FEWER_FEATURES = (
    "number the features that occur without gaps (names, X.indices = numpy.unique(X.indices, return_inverse=True)), or "
    "hash them into fewer, as sklearn.feature_extraction.FeatureHasher does"
)
# Parameters per feature. Above, the message also advises fewer clusters, units or classes.
_FEW = 4
_FEWER_UNITS = "ask for fewer clusters, units or classes"


def shown_bytes(size: float) -> str:
    """Return a number of bytes as text, in a unit that suits its size."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


@contextlib.contextmanager
def memory_for(what: str, cure: str, kind: type[DsgdError] = DataError) -> Iterator[None]:
    """Turn a `MemoryError` of the block into an error of class `kind`.

    The message says that there is no memory for `what`, and names the cure.
    """
    try:
        yield
    except MemoryError as error:
        raise _error(what, cure, kind) from error


def memory_for_model(n_features: int, n_parameters: int, dtype: DTypeLike) -> AbstractContextManager[None]:
    """Refuse a model that is larger than the memory of the machine.

    For a smaller model return a context, which turns a `MemoryError` of its block into an error
    that names the size of the model.

    Parameters
    ----------
    n_features : int
    n_parameters : int
        Parameters of all problems together.
    dtype : dtype
        Type of the weights.

    Raises
    ------
    DataError
        If memory does not suffice, and the number of features is the larger factor.
    ConfigError
        If memory does not suffice, and the number of clusters, units or classes is the larger
        factor.
    """
    size = n_parameters * np.dtype(dtype).itemsize
    what = f"a model of {n_features} features: its {n_parameters} weights take {shown_bytes(size)} ({np.dtype(dtype)})"
    per_feature = n_parameters / n_features
    kind: type[DsgdError] = DataError if n_features >= per_feature else ConfigError
    cure = _FEWER_FEATURES if kind is DataError else _FEWER_UNITS
    if kind is DataError and per_feature > _FEW:
        cure += f"; or {_FEWER_UNITS}"
    # Linux may grant the memory of such a model, and end the process when the memory is used.
    if size > _machine_memory():
        raise _error(what, cure, kind)
    return memory_for(what, cure, kind)


def memory_for_rows(X: Any, n_vectors: int) -> AbstractContextManager[None]:
    """Return `memory_for_model` of `n_vectors` vectors that are as long as the rows of X."""
    return memory_for_model(X.shape[1], int(n_vectors) * X.shape[1], X.dtype)


def naming_memory(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate a function whose parameters determine the size of its result.

    If there is no memory for the result, the function raises a `ConfigError` that says so.
    """

    @functools.wraps(function)
    def named(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except (MemoryError, OverflowError) as error:
            raise _error(
                f"the result of {function.__name__} ({error})", "ask for a smaller one", ConfigError
            ) from error
        except ValueError as error:
            if isinstance(error, DsgdError) or not any(words in str(error) for words in _NUMPYS_WORDS):
                raise
            raise _error(
                f"the result of {function.__name__} ({error})", "ask for a smaller one", ConfigError
            ) from error

    return named


# Parts of the messages of numpy's `ValueError` for an array that is too large.
_NUMPYS_WORDS = ("Maximum allowed dimension exceeded", "array is too big")


def _error(what: str, cure: str, kind: type[DsgdError]) -> DsgdError:
    return kind(f"no memory for {what}; {cure}")


@functools.cache
def _machine_memory() -> float:
    """Return the bytes of memory and swap of the machine; infinity if the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = dict(line.split(":") for line in lines)
        return 1024.0 * sum(int(sizes[name].split()[0]) for name in ("MemTotal", "SwapTotal"))
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return float("inf")
