"""What a run on this machine may have left behind: processes, descriptors, mappings, files."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["children_of", "left_since", "leftovers", "runs"]

_PROC = Path("/proc")
_SECONDS = 10.0


def children_of(pid: int | str = "self") -> dict[int, str]:
    """Return the processes that one has started, with their command lines; those of zombies are empty."""
    found = {}
    for task in (_PROC / str(pid) / "task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                command = (_PROC / child / "cmdline").read_bytes()
            except OSError:  # it has ended
                continue
            found[int(child)] = command.replace(b"\0", b" ").decode()
    return found


def runs(pid: int) -> bool:
    """Return whether a process is there, and no zombie: an orphan's end may not be looked for by whoever has got it."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _descriptors() -> Iterator[str]:
    for path in (_PROC / "self/fd").iterdir():
        try:
            target = os.readlink(path)  # noqa: PTH115  # it names no path
        except OSError:  # that of the listing itself
            continue
        if re.match(r"socket:|.*\(deleted\)|anon_inode:\[eventpoll\]", target):
            yield f"descriptor {path.name}: {target}"


def _files() -> set[str]:
    folders = {Path("/dev/shm"), Path(tempfile.gettempdir())}
    return {str(path) for folder in folders for path in folder.glob("dsgd-*")}


def leftovers() -> set[str]:
    """Return a line for everything that is there; `left_since` compares."""
    maps = [line for line in (_PROC / "self/maps").read_text().splitlines() if "dsgd-" in line]
    processes = [f"process {pid}: {command}" for pid, command in children_of().items()]
    return {*_files(), *maps, *processes, *_descriptors()}


def left_since(before: set[str]) -> set[str]:
    """Return a line for everything that a test has left, which is what was not there before.

    A file may be that of a test in another process, which unlinks it as soon as it is written: one that is left stays.
    """
    left = leftovers() - before
    end = time.monotonic() + _SECONDS
    while (files := left & _files()) and time.monotonic() < end:
        time.sleep(0.01)
        left -= files - _files()
    return left
