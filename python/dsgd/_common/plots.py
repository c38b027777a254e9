"""matplotlib, which only those need who draw."""

from __future__ import annotations

from typing import Any

__all__ = ["pyplot_for"]


def pyplot_for(what: str) -> Any:
    """Return matplotlib.pyplot; `ImportError` that says what needs it and how to install it."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(f"{what} needs matplotlib: pip install 'dsgd[plot]'") from error
    return pyplot
