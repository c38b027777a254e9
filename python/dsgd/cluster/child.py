"""A process that a local cluster has started: how it is started, heard, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from dsgd.cluster.channel import Channel, Message

__all__ = ["Child"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LINES = 12


class Child:
    """One process, from its start until it has been waited for.

    Parameters
    ----------
    module : str
        Run as ``python -m``.
    name : str
        As log and errors call it.
    n_threads : int
        That it may use.
    descriptors : iterable of int
        Open files that it is given.
    log : path-like or None
        Where its log goes; None: nowhere, but for its last lines while it runs.
    told : dict
        Its first message.

    Attributes
    ----------
    channel : Channel
    heard : float
        When it last said something, or was started, by `time.monotonic`.
    spoke : bool
        Whether it has said anything.
    done : bool
        Whether it has said that its work is done.
    """

    def __init__(
        self, module: str, name: str, n_threads: int, descriptors: Iterable[int], log: Path | None, told: dict[str, Any]
    ) -> None:
        self.name = name
        self.heard = time.monotonic()
        self.spoke = False
        self.done = False
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self._log: IO[bytes] = tempfile.TemporaryFile() if log is None else log.open("ab+")  # noqa: SIM115  # see `end`
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            **dict.fromkeys(_THREADS, str(n_threads)),
        }
        try:
            with theirs:
                # Without the current folder on the path (-P), and out of reach of the Ctrl-C of a terminal.
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    env=environment,
                    pass_fds=[theirs.fileno(), *descriptors],
                    process_group=0,
                )
        except BaseException:
            self.channel.close()
            self._log.close()
            raise
        self.tell("begin", name=name, **told)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def tell(self, kind: str, **fields: Any) -> None:
        """Send it a message; that it has ended meanwhile is noticed by who listens."""
        with contextlib.suppress(OSError):
            self.channel.send(kind, **fields)

    def arrived(self) -> list[Message]:
        """Return what it has said; `EOFError` where it has ended."""
        messages = self.channel.arrived()
        self.heard = time.monotonic()
        self.spoke = True
        return messages

    def kill(self) -> None:
        """Send it SIGKILL, if it still runs."""
        self._process.kill()

    def end(self) -> None:
        """Kill it where it still runs, and wait for it."""
        self.kill()
        self.channel.close()
        self._process.wait()
        self._log.close()

    def how_it_ended(self) -> str:
        """Return what is known of the end of a process that was killed, or stopped with an error."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "closed its channel"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()[-_LINES:]
        return "; the last lines of its log:\n  ".join([how, "\n  ".join(lines)]) if lines and code >= 0 else how
