"""Warnings that point to the line of the user's program, however deep in the package their cause was found."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn"]

_INSIDE = ("dsgd", "sklearn")


def warn(message: str, category: type[Warning] = RuntimeWarning) -> None:
    """Warn, and name as origin the innermost caller outside of dsgd and scikit-learn."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
