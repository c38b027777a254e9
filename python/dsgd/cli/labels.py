"""One class, or some, against the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsgd.errors import DataError

__all__ = ["against_the_rest"]


def against_the_rest(y: NDArray[np.float64], positive: list[float]) -> NDArray[np.float64]:
    """Return +1 where the label is one of `positive` and -1 elsewhere; y itself when the list is empty."""
    if not positive:
        return y
    missing = [label for label in positive if label not in y]
    if missing:
        raise DataError(f"no row has the label {missing[0]:g}; the labels are {np.unique(y).tolist()}")
    return np.where(np.isin(y, positive), 1.0, -1.0)
