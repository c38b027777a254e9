"""Where memory does not suffice: an error that says for what, how many bytes it takes, and what to do."""

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
_FEW = 4
_FEWER_UNITS = "ask for fewer clusters, units or classes"


def shown_bytes(size: float) -> str:
    """Return a number of bytes in a unit that a person reads."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


@contextlib.contextmanager
def memory_for(what: str, cure: str, kind: type[DsgdError] = DataError) -> Iterator[None]:
    """Let a `MemoryError` be one of dsgd that says what there is no memory for, and the cure."""
    try:
        yield
    except MemoryError as error:
        raise _error(what, cure, kind) from error


def memory_for_model(n_features: int, n_parameters: int, dtype: DTypeLike) -> AbstractContextManager[None]:
    """Refuse a model that is larger than the memory of the machine; of one that is not, name what takes the memory.

    Parameters
    ----------
    n_features : int
    n_parameters : int
        Of all problems together.
    dtype : dtype
        Of the weights.

    Raises
    ------
    DataError
        If there is no memory, and the features are to blame.
    ConfigError
        If clusters, units or classes are.
    """
    size = n_parameters * np.dtype(dtype).itemsize
    what = f"a model of {n_features} features: its {n_parameters} weights take {shown_bytes(size)} ({np.dtype(dtype)})"
    per_feature = n_parameters / n_features
    kind: type[DsgdError] = DataError if n_features >= per_feature else ConfigError
    cure = _FEWER_FEATURES if kind is DataError else _FEWER_UNITS
    if kind is DataError and per_feature > _FEW:
        cure += f"; or {_FEWER_UNITS}"
    if size > _machine_memory():  # else the system may grant it, and end the process when it is used
        raise _error(what, cure, kind)
    return memory_for(what, cure, kind)


def memory_for_rows(X: Any, n_vectors: int) -> AbstractContextManager[None]:
    """Do the same for so many vectors that are as long as the rows of X."""
    return memory_for_model(X.shape[1], int(n_vectors) * X.shape[1], X.dtype)


def naming_memory(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate a function whose parameters say how large its result is."""

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


_NUMPYS_WORDS = ("Maximum allowed dimension exceeded", "array is too big")


def _error(what: str, cure: str, kind: type[DsgdError]) -> DsgdError:
    return kind(f"no memory for {what}; {cure}")


@functools.cache
def _machine_memory() -> float:
    """Return the bytes of memory and swap; infinite where nothing says so."""
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
