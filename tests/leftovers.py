"""Processes, descriptors, mappings and files that a run on this machine may have left."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["children_of", "left_since", "leftovers", "runs"]

_PROC = Path("/proc")
_SECONDS = 10.0  # for which the file of a test in another process may exist


def children_of(pid: int | str = "self") -> dict[int, str]:
    """Return the child processes of a process with their command lines; a zombie's is empty."""
    found = {}
    for task in (_PROC / str(pid) / "task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                command = (_PROC / child / "cmdline").read_bytes()
            except OSError:  # the child has ended
                continue
            found[int(child)] = command.replace(b"\0", b" ").decode()
    return found


def runs(pid: int) -> bool:
    """Return whether a process exists and is no zombie.

    The process that inherits an orphan may never collect its exit status, so a zombie counts as
    ended.
    """
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _descriptors() -> Iterator[str]:
    for path in (_PROC / "self/fd").iterdir():
        try:
            target = os.readlink(path)  # noqa: PTH115  # the target is no path
        except OSError:  # the descriptor of the listing itself
            continue
        if re.match(r"socket:|.*\(deleted\)|anon_inode:\[eventpoll\]", target):
            yield f"descriptor {path.name}: {target}"


def _files() -> set[str]:
    folders = {Path("/dev/shm"), Path(tempfile.gettempdir())}
    return {str(path) for folder in folders for path in folder.glob("dsgd-*")}


def leftovers() -> set[str]:
    """Return a line for each process, descriptor, mapping and file; `left_since` compares."""
    maps = [line for line in (_PROC / "self/maps").read_text().splitlines() if "dsgd-" in line]
    processes = [f"process {pid}: {command}" for pid, command in children_of().items()]
    return {*_files(), *maps, *processes, *_descriptors()}


def left_since(before: set[str]) -> set[str]:
    """Return a line for everything that a test has left, which did not exist before.

    A file may belong to a test in another process, which unlinks it as soon as it is written. Only
    a file that stays is left.
    """
    left = leftovers() - before
    end = time.monotonic() + _SECONDS
    while (files := left & _files()) and time.monotonic() < end:
        time.sleep(0.01)
        left -= files - _files()
    return left
