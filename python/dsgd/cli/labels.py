"""Labels of one or several classes against the rest."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.errors import ConfigError, DataError

__all__ = ["against_the_rest"]


def against_the_rest(y: NDArray[Any], positive: list[str], *, part: bool = False) -> NDArray[Any]:
    """Return +1 where the label is one of `positive` and -1 elsewhere; y itself when the list is empty.

    `part`: there are other rows, which may have the labels that these lack.
    """
    if not positive:
        return y
    positive = [_as_utf8(label) for label in positive]
    chosen = [label if y.dtype.kind == "U" else _number(label) for label in positive]
    missing = [given for given, label in zip(positive, chosen, strict=True) if label not in y]
    if missing and not part:
        raise DataError(f"no row has the label {missing[0]}; the labels are {np.unique(y).tolist()}")
    return np.where(np.isin(y, chosen), 1.0, -1.0)


def _as_utf8(label: str) -> str:
    """Return a label of the command line as UTF-8, as in files, in a locale of any encoding."""
    try:
        label.encode()
    except UnicodeEncodeError:  # bytes that are no characters of the locale
        return os.fsencode(label).decode("utf-8", "replace")
    return label


def _number(label: str) -> float:
    try:
        return float(label)
    except ValueError as error:
        raise ConfigError(f"--positive {label!r} is not a number, as the labels of the data are") from error
