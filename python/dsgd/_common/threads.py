"""How many threads a fit may use."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import threadpoolctl

from dsgd._common.checks import check_integer
from dsgd.errors import ConfigError

__all__ = ["blas_threads", "cgroup_limit", "default_threads", "resolve_threads", "worth_waking"]

# Threads. libgomp ends the process when the system refuses it a thread; no machine gains from more
# than this.
_MAX_THREADS = 1024
# Matrix entries that one thread reads in less time than another may need to wake; see
# `worth_waking`.
_ENTRIES = 2_000_000


def default_threads() -> int:
    """Return the number of threads that a fit uses by default.

    It is the number of processors that this process may run on, limited by the CPU quota of its
    control groups and by ``OMP_NUM_THREADS``.

    Returns
    -------
    int
        At least 1.
    """
    available = min(len(os.sched_getaffinity(0)), _MAX_THREADS)
    quota = _quota()
    if quota is not None:
        available = min(available, max(1, math.ceil(quota)))
    # OpenMP allows a list with one number for each nesting level; a fit is the first level.
    requested = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    # A number of ten digits is above every limit, and `int` refuses thousands of digits.
    if requested.isdecimal() and len(requested) < 10 and int(requested) > 0:
        available = min(available, int(requested))
    return max(1, available)


@functools.cache
def _quota() -> float | None:
    """Return the quota that this process had at its first fit: reading it takes half a millisecond."""
    return cgroup_limit()


def resolve_threads(n_threads: int | None) -> int:
    """Return `n_threads` checked, or the default for None."""
    if n_threads is None:
        return default_threads()
    if type(n_threads) is int and n_threads == -1:
        raise ConfigError("n_threads must be None, the default, for all that the process may use; not -1")
    return check_integer("n_threads", n_threads, 1, _MAX_THREADS)


def worth_waking(n_threads: int, n_entries: int) -> int:
    """Return how many of `n_threads` threads should share one reading of `n_entries` entries.

    A sleeping thread was seen to take 20 ms to wake. Another thread reads millions of entries in
    that time.
    """
    return max(1, min(n_threads, n_entries // _ENTRIES))


def cgroup_limit(root: Path = Path("/")) -> float | None:
    """Return the CPU quota of this process, in processors, as a container limits it.

    Parameters
    ----------
    root : pathlib.Path, default=/
        Where ``proc`` and ``sys`` are.

    Returns
    -------
    float or None
        The smallest quota of the process's control group and the groups above it, version 1 or 2;
        None if there is no quota.
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux, or no /proc
        return None
    quotas: list[float] = []
    for line in memberships:
        _, controllers, group = line.split(":", 2)
        if controllers == "":  # version 2: one tree
            quotas += _quotas_v2(root / "sys/fs/cgroup", group)
        elif "cpu" in controllers.split(","):
            quotas += _quotas_v1(root / "sys/fs/cgroup", controllers, group)
    return min(quotas, default=None)


def _to_the_top(tree: Path, group: str) -> Iterator[Path]:
    """Yield the directories of a group and of the groups above it, up to `tree`.

    Inside a container the tree may begin at the group itself.
    """
    path = tree / group.lstrip("/")
    while path != tree:
        yield path
        path = path.parent
    yield tree


def _quotas_v2(tree: Path, group: str) -> Iterator[float]:
    for directory in _to_the_top(tree, group):
        try:
            quota, period = (directory / "cpu.max").read_text().split()
            if quota != "max":
                yield int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):  # no limit here, or not in a form we know
            continue


def _quotas_v1(tree: Path, controllers: str, group: str) -> Iterator[float]:
    for name in (controllers, "cpu"):  # the directory is often "cpu,cpuacct", with a link from "cpu"
        for directory in _to_the_top(tree / name, group):
            try:
                quota = int((directory / "cpu.cfs_quota_us").read_text())
                if quota > 0:
                    yield quota / int((directory / "cpu.cfs_period_us").read_text())
            except (OSError, ValueError, ZeroDivisionError):
                continue


def blas_threads(n_threads: int) -> AbstractContextManager[Any]:
    """Return a context in which numpy's BLAS uses at most `n_threads` threads."""
    context: AbstractContextManager[Any] = _controller().limit(limits=n_threads, user_api="blas")
    return context


@functools.cache
def _controller() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()  # inspects all loaded libraries: milliseconds
