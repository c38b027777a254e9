"""Checks of parameters; the same error has the same wording everywhere."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dsgd.errors import ConfigError

__all__ = [
    "Seed",
    "as_seed",
    "check_choice",
    "check_flag",
    "check_integer",
    "check_real",
    "check_real_dtype",
    "check_seed",
    "one_of",
    "shown",
    "unknown_name",
]


Seed = int | np.random.Generator | np.random.RandomState
"""The types of a seed."""


def shown(value: object) -> str:
    """Return the text of a value for a message: one line of at most 100 characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an integer of more than 4,300 digits cannot be printed; an object of a user may raise anything
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def one_of(names: Iterable[str]) -> str:
    """Return names as a choice between them: 'a', 'b' or 'c'."""
    *first, last = [repr(name) for name in names] or [""]
    return f"{', '.join(first)} or {last}" if first else last


def unknown_name(kind: str, name: object, known: Iterable[str], elsewhere: Iterable[str] = ()) -> ConfigError:
    """Return the error for a name that is not in `known`.

    The message suggests the most similar name of `known` or of `elsewhere`, which holds names that
    are valid in another place.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, [*names, *elsewhere], n=1) if isinstance(name, str) else []
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"unknown {kind} {shown(name)}; {hint}known: {', '.join(names)}")


def check_choice(parameter: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise unknown_name(parameter, value, choices)


def check_flag(parameter: str, value: Any) -> bool:
    """Return the value as a bool; `ConfigError` if it is not True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{parameter} must be True or False, not {shown(value)}")
    return bool(value)


def check_integer(parameter: str, value: Any, low: int, high: int | None = None) -> int:
    """Return the value as an int; `ConfigError` unless it is an integer in [low, high]."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or value < low or (high is not None and value > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{parameter} must be an integer {span}, not {shown(value)}")
    return int(value)


def check_real(parameter: str, value: Any, low: float, high: float = math.inf, *, low_open: bool = False) -> float:
    """Return the value as a float; `ConfigError` unless it is a finite number in [low, high].

    With `low_open` the interval is (low, high].
    """
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:  # an integer beyond the range of a float
        number = math.inf
    if not math.isfinite(number) or number > high or number < low or (low_open and number == low):
        bound = f"{'above' if low_open else 'of at least'} {low:g}"
        above = "" if high == math.inf else f" and at most {high:g}"
        raise ConfigError(f"{parameter} must be a finite number {bound}{above}, not {shown(value)}")
    return number


def check_real_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return float32 or float64 as a numpy dtype; refuse anything else."""
    try:
        real = np.dtype(dtype)
    except TypeError as error:
        raise ConfigError(f"dtype must be float32 or float64, not {shown(dtype)}") from error
    if real not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ConfigError(f"dtype must be float32 or float64, not {real}")
    return real


def check_seed(random_state: Any) -> int | None:
    """Return the seed as an int, or None for None; `ConfigError` for an impossible seed.

    A seed is an integer in [0, 2^64), or it is drawn from a random generator of numpy; see
    `as_seed`.
    """
    return None if random_state is None else as_seed("random_state", random_state, 2**64 - 1)


def as_seed(parameter: str, value: Any, high: int) -> int:
    """Return a seed in [0, high]: the integer that was given, or one that is drawn from a generator of numpy.

    Parameters
    ----------
    parameter : str
        Name of the parameter, for the message.
    value : int, Generator, RandomState, or the module numpy.random, which stands for its global RandomState
        Drawing a seed advances the state of a generator, so that the next call gives another seed.
    high : int
        Largest seed.

    Raises
    ------
    ConfigError
        For anything else, or an integer outside [0, high].
    """
    if isinstance(value, np.random.Generator):
        return int(value.integers(0, high, dtype=np.uint64, endpoint=True))
    if isinstance(value, np.random.RandomState) or value is np.random:
        return int(value.randint(0, high + 1, dtype=np.uint64))
    return check_integer(parameter, value, 0, high)
