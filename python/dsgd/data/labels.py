"""Checks of labels and targets: arrays of numbers or strings, none of them missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd._common.checks import shown
from dsgd.data.inputs import as_array, as_real
from dsgd.errors import DataError

__all__ = ["as_dtype", "as_labels", "check_not_missing", "check_same_kind"]


def as_labels(y: ArrayLike | None, n_rows: int) -> NDArray[Any]:
    """Return y as an array of n_rows numbers or strings; `DataError` for anything else."""
    labels = as_array(y, "y")
    if labels.dtype.kind == "U" and isinstance(y, list | tuple):
        labels = np.asarray(y, dtype=object)  # to see whether numpy turned 1 into "1"
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != n_rows:
        raise DataError(f"y has shape {labels.shape}; X has {n_rows} rows, so it must be ({n_rows},)")
    if labels.dtype.kind in "OT":
        check_not_missing(labels)
    if labels.dtype.kind == "T":  # strings of variable width
        labels = labels.astype(str)
    if labels.dtype.kind == "O":  # as in a column of pandas; numpy finds the common type, but would turn 1 into "1"
        if len({isinstance(label, str) for label in labels}) > 1:
            raise DataError("y mixes strings and other labels; use one kind")
        labels = as_array(labels.tolist(), "y")
    if labels.dtype.kind not in "biufU" or labels.ndim != 1:
        odd = [i for i, label in enumerate(labels) if np.asarray(label).dtype.kind == "O"] if labels.ndim == 1 else []
        place = f" (y[{odd[0]}] is {shown(labels[odd[0]])})" if odd else ""
        raise DataError(f"y has dtype {labels.dtype}{place}; labels are numbers or strings")
    if labels.dtype.kind == "f":
        if labels.dtype.itemsize > 8:
            labels = as_real(labels, "y")  # no file holds a long double
        if not np.isfinite(labels).all():
            raise DataError(f"y[{int(np.argmin(np.isfinite(labels)))}] is not finite; leave the sample out")
    return labels


def check_not_missing(y: Any) -> None:
    """Refuse labels that are missing: None, nan, NaT, the NA of pandas, masked entries.

    Parameters
    ----------
    y : object
        The labels as the user gave them. If numpy makes an array of strings of a list, nan becomes
        the word "nan".

    Raises
    ------
    DataError
        If a label is missing. The message names the row, in the words of scikit-learn.
    """
    if np.ma.is_masked(y):
        raise DataError("y has masked entries; fill them in or leave them out")
    try:
        labels = np.asarray(y)
        if labels.dtype.kind == "U" and isinstance(y, list | tuple):
            labels = np.asarray(y, dtype=object)
    except (TypeError, ValueError, OverflowError):  # no array, which is refused elsewhere
        return
    if labels.ndim == 0:
        return
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
    elif labels.dtype.kind in "OT":
        missing = np.array([_is_missing(label) for label in labels.ravel()], bool).reshape(labels.shape)
    else:
        return
    if missing.any():
        row = np.argwhere(missing)[0]
        raise DataError(f"Input y contains NaN: y[{row[0]}] is missing ({labels[tuple(row)]}); leave the sample out")


def _is_missing(label: Any) -> bool:
    if label is None or type(label).__name__ == "NAType":
        return True
    try:
        return bool(label != label)  # nan is not itself
    except (TypeError, ValueError):  # no label at all
        return False


def check_same_kind(labels: NDArray[Any], classes: NDArray[Any]) -> None:
    """Refuse strings if the classes are numbers, and numbers if the classes are strings.

    numpy would compare the two without an error.
    """
    if (labels.dtype.kind == "U") != (classes.dtype.kind == "U"):
        raise DataError(f"y has dtype {labels.dtype}; the classes are {shown(classes.tolist())}")


def as_dtype(values: NDArray[Any], dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """Return values in `dtype`; `DataError` for a finite value beyond the range of `dtype`."""
    with np.errstate(over="ignore"):
        cast = values.astype(dtype, copy=False)
    lost = np.argwhere(np.isfinite(values) & ~np.isfinite(cast))
    if len(lost) > 0:
        value = values[tuple(lost[0])]
        raise DataError(f"{what}{lost[0].tolist()} is {value:g}, beyond the range of {dtype}; scale it, or use float64")
    return cast
