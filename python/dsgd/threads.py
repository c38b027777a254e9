"""How many threads a fit may use."""

from __future__ import annotations

import os

from dsgd.checks import check_integer

__all__ = ["default_threads", "resolve_threads"]

# libgomp ends the process when the system refuses it a thread; no machine gains from more than this.
_MAX_THREADS = 1024


def default_threads() -> int:
    """Return the number of processors this process may run on, cut by ``OMP_NUM_THREADS``.

    Returns
    -------
    int
        At least 1.
    """
    available = len(os.sched_getaffinity(0))
    # OpenMP allows a list, one number for every nesting level; the first is ours.
    requested = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if requested.isdigit() and int(requested) > 0:
        available = min(available, int(requested))
    return max(1, min(available, _MAX_THREADS))


def resolve_threads(n_threads: int | None) -> int:
    """Return `n_threads` checked, or the default for None."""
    if n_threads is None:
        return default_threads()
    return check_integer("n_threads", n_threads, 1, _MAX_THREADS)
