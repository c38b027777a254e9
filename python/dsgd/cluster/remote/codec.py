"""Values as messages of a channel: JSON and arrays, and never pickle, which would run code of whoever sends it.

Besides what JSON holds, values are arrays, dtypes, tuples, mappings with any keys, sparse matrices in compressed rows,
and dataclasses and named tuples of this package. A loss, an algorithm or a schedule may be a class of another module
that both sides can import.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dsgd._common.checks import shown
from dsgd.algorithms.base import Algorithm
from dsgd.errors import DsgdError, ProtocolError
from dsgd.losses import Loss
from dsgd.schedules import Schedule

__all__ = ["Packed", "pack", "unpack"]

Packed = tuple[Any, dict[str, NDArray[Any]]]

_PLAIN = (bool, int, float, str, type(None))
_SPARSE = {"csr_array": scipy.sparse.csr_array, "csr_matrix": scipy.sparse.csr_matrix}
_BASES = (Algorithm, Loss, Schedule)


def pack(value: Any) -> Packed:
    """Return a value as something that JSON holds, and the arrays in it; `ProtocolError` if it cannot be sent."""
    arrays: dict[str, NDArray[Any]] = {}
    return _packed(value, arrays), arrays


def unpack(packed: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Return the value that was packed; `ProtocolError` if it is none, or names a class that is not sent.

    Raises
    ------
    ConfigError, DataError
        If a class refuses its fields.
    """
    try:
        return _unpacked(packed, arrays)
    except (ValueError, TypeError, KeyError, IndexError, StopIteration, RecursionError) as error:
        if isinstance(error, DsgdError):
            raise
        raise ProtocolError(f"a message holds something that was not packed: {error!r}") from error


def _unpacked(packed: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if not isinstance(packed, dict):
        return packed
    kind, content = next(iter(packed.items()))
    inner: Any = [_unpacked(each, arrays) for each in content] if isinstance(content, list) else content
    match kind:
        case "list":
            return inner
        case "tuple":
            return tuple(inner)
        case "map":
            return dict(inner)
        case "array":
            return arrays[inner]
        case "scalar":
            return arrays[inner][()]
        case "dtype":
            return np.dtype(inner)
        case "csr_array" | "csr_matrix":
            data, indices, indptr, shape = inner
            return _SPARSE[kind]((data, indices, indptr), shape=shape)
    return _class_of(kind)(**dict(inner))


def _packed(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise ProtocolError(f"objects such as {shown(value)} are not sent between hosts: use numbers or text")
        name = str(len(arrays))
        arrays[name] = array
        return {"array" if isinstance(value, np.ndarray) else "scalar": name}
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, np.dtype):
        return {"dtype": value.str}
    if scipy.sparse.issparse(value) and type(value).__name__ in _SPARSE:
        content = (value.data, value.indices, value.indptr, tuple(map(int, value.shape)))
        return {type(value).__name__: [_packed(each, arrays) for each in content]}
    if isinstance(value, Mapping):
        return {"map": [_packed(item, arrays) for item in value.items()]}
    fields = _fields_of(value)
    if fields is not None:
        kind = f"{type(value).__module__}:{type(value).__qualname__}"
        _check(kind, type(value))
        return {kind: [_packed(item, arrays) for item in fields.items()]}
    if isinstance(value, list | tuple):
        return {"list" if isinstance(value, list) else "tuple": [_packed(each, arrays) for each in value]}
    raise ProtocolError(f"{shown(value)} is not sent between hosts")


def _fields_of(value: Any) -> dict[str, Any] | None:
    """Return the fields of a dataclass or a named tuple by name; None for anything else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value) if each.init}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    return None


def _class_of(kind: str) -> Any:
    """Return the class of a name ``module:class``, if it is one whose objects are sent."""
    module, _, path = kind.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ProtocolError(
            f"{kind!r} cannot be imported here: {error}; install the same packages everywhere"
        ) from error
    _check(kind, found)
    return found


def _check(kind: str, found: Any) -> None:
    """Raise `ProtocolError` for a class whose objects are not sent."""
    if isinstance(found, type):
        ours = found.__module__.split(".")[0] == "dsgd" and (
            dataclasses.is_dataclass(found) or (issubclass(found, tuple) and hasattr(found, "_fields"))
        )
        if ours or issubclass(found, _BASES):
            return
    raise ProtocolError(f"{kind!r} is not sent between hosts")
