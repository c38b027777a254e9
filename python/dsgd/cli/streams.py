"""Writing to standard output and standard error, in any locale and into pipes that may close."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

__all__ = ["CLOSED_PIPE", "one_line", "one_line_warnings", "report", "write_out"]

CLOSED_PIPE = 128 + 13  # exit status in a shell of a program that SIGPIPE ended


def one_line(message: object) -> str:
    """Return a message without line breaks."""
    return " ".join(str(message).split("\n"))


def write_out(text: str) -> None:
    """Write to standard output, as UTF-8 if its encoding lacks a character.

    If the reader has closed the pipe, as ``head`` does, the command ends without a message.

    Raises
    ------
    OSError
        If standard output is closed or cannot be written to.
    """
    stream = sys.stdout
    if stream is None:
        raise OSError("standard output is closed")
    try:
        if _encodable(text, stream):
            stream.write(text)
        else:
            stream.flush()
            stream.buffer.write(text.encode("utf-8", "backslashreplace"))
        stream.flush()
    except OSError as error:
        _forget(stream)
        if isinstance(error, BrokenPipeError):
            raise SystemExit(CLOSED_PIPE) from None
        raise OSError(error.errno, error.strerror, "standard output") from None


def report(text: str) -> None:
    """Write a line to standard error, unless it is closed.

    Characters that its encoding lacks are escaped.
    """
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


@contextlib.contextmanager
def one_line_warnings() -> Iterator[None]:
    """Show each warning on one line, like errors, without the place in the source."""

    def format_warning(message: Any, *_: Any, **__: Any) -> str:
        return f"dsgd: warning: {one_line(message)}\n"

    before = warnings.formatwarning
    warnings.formatwarning = format_warning
    try:
        yield
    finally:
        warnings.formatwarning = before


def _encodable(text: str, stream: Any) -> bool:
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _forget(stream: Any) -> None:
    """Discard the text in the stream's buffer; Python would try again to write it when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
