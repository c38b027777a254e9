"""A child process of a local cluster: its start, its messages and its end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from dsgd._common.files import copied_descriptor, let_owner
from dsgd.cluster.driver.channel import Channel, ChannelMessage
from dsgd.errors import ClusterError, ConfigError

__all__ = ["Child"]

_LOG = logging.getLogger("dsgd")
# Environment variables from which numerical libraries read their number of threads.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Number of last lines of its log that the error about a process quotes.
_LINES = 12
_START = str(Path(__file__).with_name("start.py"))


class Child:
    """One process, from its start until it has been waited for.

    Parameters
    ----------
    module : str
        Module whose `main` the process runs.
    name : str
        Name of the process in logs and errors.
    n_threads : int
        Number of threads that the process may use.
    descriptors : iterable of int
        Descriptors of open files that the process inherits.
    log : path-like or None
        File for its log. None: the log is kept in memory while the process runs, so that errors can
        quote its last lines.
    told : dict
        Fields of the first message to the process.

    Attributes
    ----------
    channel : Channel
    heard, spoke, done
        See `dsgd.cluster.driver.crew.Process`.

    Raises
    ------
    ConfigError
        If `sys.executable` is empty.
    ClusterError
        If the process cannot be started.
    """

    def __init__(
        self, module: str, name: str, n_threads: int, descriptors: Iterable[int], log: Path | None, told: dict[str, Any]
    ) -> None:
        self.name = name
        self.heard = time.monotonic()
        self.spoke = False
        self.done = False
        if not sys.executable:
            raise ConfigError(
                f"sys.executable is {sys.executable!r}, as in a program that embeds Python, and says how processes are "
                "started: set it to the path of a Python that has dsgd"
            )
        ours, theirs = _socket_pair()
        self.channel = Channel(ours)
        self._log = _open_log(log)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(_import_path()),
            **dict.fromkeys(_THREADS, str(n_threads)),
        }
        try:
            with theirs:
                # -P keeps the current folder off the import path. In a process group of its own the
                # process does not get the Ctrl-C of a terminal.
                self._process = subprocess.Popen(
                    [sys.executable, "-P", _START, module, str(theirs.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    env=environment,
                    pass_fds=[theirs.fileno(), *descriptors],
                    process_group=0,
                )
        except BaseException as error:
            self.channel.close()
            self._log.close()
            if isinstance(error, OSError):
                message = f"{name} could not be started by sys.executable, {sys.executable}: {error}"
                raise ClusterError(message) from error
            raise
        self.tell("begin", name=name, **told)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def fileno(self) -> int:
        """Return the descriptor of the channel, for selectors."""
        return self.channel.fileno()

    def tell(self, kind: str, **fields: Any) -> None:
        """Send a message. No error if the process has ended: `arrived` reports its end."""
        with contextlib.suppress(OSError):
            self.channel.send(kind, **fields)

    def arrived(self) -> list[ChannelMessage]:
        """Return the messages of the process that have arrived; `EOFError` if it has ended."""
        messages = self.channel.arrived()
        self.heard = time.monotonic()
        self.spoke = True
        return messages

    def kill(self) -> None:
        """Send SIGKILL to the process, if it still runs."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process if it still runs, and wait for its end."""
        self.kill()
        self.channel.close()
        self._process.wait()
        self._log.close()

    def how_it_ended(self) -> str:
        """Return how the process ended, in words: the signal, or the exit code and the log."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "closed its channel"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()[-_LINES:]
        return "; the last lines of its log:\n  ".join([how, "\n  ".join(lines)]) if lines and code >= 0 else how


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair()
    with one, other:
        return socket.socket(fileno=copied_descriptor(one)), socket.socket(fileno=copied_descriptor(other))


def _open_log(path: Path | None) -> IO[bytes]:
    """Open the log of a process: in memory if there is no path, or if it cannot be written."""
    if path is not None:
        try:
            with path.open("ab+") as file:
                let_owner(file)
                return os.fdopen(copied_descriptor(file), "ab+")
        except OSError as error:
            _LOG.warning("no log in %s: %s", path, error.strerror or error)
    with os.fdopen(os.memfd_create("dsgd-log"), "ab+") as file:
        return os.fdopen(copied_descriptor(file), "ab+")


def _import_path() -> list[str]:
    """Return the entries of `sys.path` from which this process imports.

    An import ignores entries that are not strings, and the current folder if it has been deleted.
    """
    folders: list[str] = []
    for path in sys.path:
        with contextlib.suppress(FileNotFoundError):
            if isinstance(path, str):
                folders.append(path or str(Path.cwd()))
    return folders
