"""Opening files that can be mapped into memory, and replacing files atomically.

A new file is written under another name in the same folder and then renamed, so that an error
leaves the old file whole.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from dsgd._common.checks import shown
from dsgd.errors import ConfigError

__all__ = [
    "HasDescriptor",
    "as_path",
    "check_replaceable",
    "copied_descriptor",
    "let_owner",
    "open_regular",
    "own_descriptor",
    "replacing",
]

# The lowest descriptor that is not a standard stream.
_STANDARD_STREAMS = 3
# Symbolic links that Linux follows in a path at most (path_resolution(7)).
_MAX_LINKS = 40


class HasDescriptor(Protocol):
    """An open file or socket."""

    def fileno(self) -> int:
        """Return the number of the file descriptor."""


def copied_descriptor(file: HasDescriptor) -> int:
    """Return a copy of the descriptor of an open file, with a number of at least 3.

    A program may be started without standard streams. The first files that it opens then get the
    numbers 0 to 2. A process that it starts needs these numbers for its own standard streams, and
    cannot inherit a file under one of them.
    """
    return fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, _STANDARD_STREAMS)


def let_owner(file: HasDescriptor) -> None:
    """Let the owner read and write an open file, whatever the umask.

    The file is opened again by its name later, which needs these permissions.
    """
    os.fchmod(file.fileno(), stat.S_IMODE(os.fstat(file.fileno()).st_mode) | stat.S_IRUSR | stat.S_IWUSR)


def as_path(path: Any) -> Path:
    """Return the path of a file, given as text, bytes or a path.

    `ConfigError` for anything else, for example for an open file.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise ConfigError(f"a file is given by its path, not {shown(path)}; give an open file by its name")
    return Path(os.fsdecode(path))


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file to read; `OSError` for anything else, at once also for a pipe."""
    path = as_path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise OSError(f"{path} is a pipe or device and cannot be mapped; write it to a file first")
    return path.open("rb")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the path of a new file to write; it takes the place of `path` when the block ends without an error.

    Parameters
    ----------
    path : path-like
        The file to create or replace. A reader sees the old file or the whole new one, never a
        part. If `path` names a descriptor of this process, as ``/dev/stdout`` does, the new file is
        copied to that descriptor.

    Yields
    ------
    pathlib.Path
        An empty file in the same directory.

    Raises
    ------
    OSError
        If the directory does not exist or is not writable, or if `path` exists and is not a regular
        file or not writable.
    """
    name, descriptor = os.fsdecode(as_path(path)), own_descriptor(path)
    if descriptor is not None:
        with tempfile.TemporaryDirectory() as folder:
            new = Path(folder, "new")
            new.touch()
            yield new
            _pour(new, descriptor, name)
        return
    target, beside = _create_beside(path)
    try:
        with _named(beside, name):
            yield beside
            with beside.open("rb") as written:
                os.fsync(written.fileno())
            if target.exists():
                beside.chmod(stat.S_IMODE(target.stat().st_mode))
            beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Raise now the `OSError` that `replacing` would raise at the end of a long run; changes nothing."""
    descriptor = own_descriptor(path)
    if descriptor is None:
        _create_beside(path)[1].unlink()
        return
    try:
        os.fstat(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fsdecode(path)) from None


def own_descriptor(path: str | os.PathLike[str]) -> int | None:
    """Return the descriptor of this process that a path names, such as 1 for ``/dev/stdout``; None for any other."""
    try:
        return _descriptor_of(as_path(path).absolute())
    except OSError:  # for example, the working directory was deleted
        return None


def _descriptor_of(place: Path) -> int | None:
    folders = ["/dev/fd", *(os.path.realpath(f"/proc/{of}/fd") for of in ("self", "thread-self"))]
    for _ in range(_MAX_LINKS):
        folder = os.path.realpath(place.parent)
        if folder in folders and place.name.isdecimal():
            return int(place.name)
        if not place.is_symlink():
            return None
        place = folder / place.readlink()
    return None


def _pour(new: Path, descriptor: int, name: str) -> None:
    """Copy a file to a descriptor, after the text that Python has buffered for it.

    Errors name the path by which the user gave the descriptor.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    try:
        with new.open("rb") as content, os.fdopen(os.dup(descriptor), "wb") as into:
            shutil.copyfileobj(content, into)
    except BrokenPipeError:
        raise BrokenPipeError(f"the reader of {name} is gone") from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from error


@contextlib.contextmanager
def _named(beside: Path, name: str) -> Iterator[None]:
    """Let an `OSError` of the block name the file that the user asked for.

    Without this it names the temporary file `beside`, or no file.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, os.fspath(beside), os.fsencode(beside)):
            raise OSError(error.errno, error.strerror, name) from error
        if os.fspath(beside) in str(error):
            raise OSError(str(error).replace(os.fspath(beside), name)) from error
        raise


def _create_beside(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Return the file that a path leads to, and a new empty file in the same directory.

    The new file is to be written and then renamed. `OSError`, which names `path`, if that is
    impossible.
    """
    try:
        target = Path(os.path.realpath(as_path(path)))
        if target.is_symlink():  # a loop; the error of `Path.resolve` depends on the version of Python
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.exists() and not target.is_file():
            raise OSError(f"{target} is not a regular file and cannot be replaced")
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        beside = target.with_name(f".dsgd-{secrets.token_hex(8)}")
        with beside.open("xb") as file:
            let_owner(file)
    except OSError as error:
        if error.errno is None:
            raise
        missing = error.errno == errno.ENOENT and as_path(path).parent != Path() and not target.parent.exists()
        why = f" (there is no folder {target.parent})" if missing else ""
        raise OSError(error.errno, f"{error.strerror}{why}", os.fsdecode(path)) from error
    return target, beside
