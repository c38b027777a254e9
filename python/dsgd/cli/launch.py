"""``dsgd launch``: a worker on every host of a list, by ssh."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from dsgd.cli.streams import report, write_out
from dsgd.cluster.remote.ranks import read_token
from dsgd.errors import ClusterError, ConfigError

__all__ = ["launch"]

_GRACE = 5.0  # seconds from SIGTERM to SIGKILL
_LOOK = 0.1  # seconds between two looks for processes that have ended
_PIECE = 1 << 16  # bytes that are read at once: a full pipe of Linux
_LAST_READS = 3  # a full pipe, what came meanwhile, and the end of the file

# A host as ssh takes it. None begins with a dash, which ssh would take for an option.
_HOST = re.compile(r"([A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9_:\[][\w.:%\[\]-]*", re.ASCII)

# What a shell runs on each host, with the command of the worker as its arguments. The token is the first line of its
# standard input and goes on to the worker. Then the input stays open: its end means that ssh, and so the launcher, is
# gone. ssh alone would leave the worker behind. `printf` is a part of the shell, so that `ps` does not show the token.
_ON_HOST = (
    "exec 3<&0; IFS= read -r token <&3; "
    """printf "%s\\n" "$token" | "$@" 3<&- & worker=$!; """
    "{ while read -r line; do :; done <&3; kill $worker; sleep 5; kill -9 $worker; } >/dev/null 2>&1 & watch=$!; "
    "wait $worker; code=$?; kill $watch; exit $code"
)


def launch(
    hosts: Annotated[
        Path, typer.Argument(metavar="HOSTS", help="file with a host a line, user@host or host; # begins a comment")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- ARGS", help="arguments of `dsgd worker`, such as --server HOST:PORT"),
    ] = None,
    ssh: Annotated[str, typer.Option(metavar="COMMAND", help="what runs a command on a host")] = "ssh",
    python: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Python of the hosts, which runs `-m dsgd`; default: their command dsgd",
            show_default=False,
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="file of the run's token; default: the variable DSGD_TOKEN", show_default=False)
    ] = None,
) -> None:
    """Start `dsgd worker ARGS` on the hosts of a file: on line r the worker of rank r.

    A host that is repeated gets several workers. ssh must not ask for a password. If one worker fails, all are ended.
    """
    names = _hosts(hosts)
    token = read_token(token_file, os.environ)
    command = ["dsgd"] if python is None else [python, "-m", "dsgd"]
    worker = [*command, "worker", "--token-file", "-", *(arguments or [])]
    with _ended_by_sigterm():
        _Crew(names).run(_words(ssh), worker, token)


def _hosts(path: Path) -> list[str]:
    """Return the hosts of a file, one for each worker."""
    names = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        name = line.partition("#")[0].strip()
        if name and not _HOST.fullmatch(name):
            raise ConfigError(f"{path}:{number}: {name!r} is no host; a line holds one, as user@host or host")
        names += [name] if name else []
    if not names:
        raise ConfigError(f"{path} names no host")
    return names


def _words(ssh: str) -> list[str]:
    try:
        words = shlex.split(ssh)
    except ValueError as error:
        raise ConfigError(f"--ssh {ssh!r} is no command: {error}") from None
    if not words:
        raise ConfigError("--ssh is empty; give a command, such as ssh")
    return words


def _on_host(worker: list[str], rank: int, world: int) -> str:
    """Return the text that the shell of the host gets, where nothing is left for it to expand."""
    env = ["env", f"DSGD_RANK={rank}", f"DSGD_WORLD={world}"]
    return f"exec {shlex.join(['sh', '-c', _ON_HOST, 'dsgd-launch', *env, *worker])}"


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does, so that the workers are ended."""

    def end(*_: object) -> None:
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Crew:
    """The processes of ssh, one a rank; their output is forwarded line by line."""

    def __init__(self, hosts: list[str]) -> None:
        self._hosts = hosts
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._codes: dict[int, int] = {}  # of those that have ended
        self._pipes = selectors.DefaultSelector()
        self._rests: dict[int, bytes] = {}  # by descriptor: the beginning of a line

    def run(self, ssh: list[str], worker: list[str], token: bytes) -> None:
        """Start all and wait for all; `ClusterError` if one fails."""
        try:
            for rank, host in enumerate(self._hosts):
                self._start(rank, [*ssh, host, _on_host(worker, rank, len(self._hosts))], token)
            while self._running and not any(self._codes.values()):
                self._look()
            failed = [rank for rank, code in sorted(self._codes.items()) if code]
            ended = sorted(self._running)
        finally:
            self._end()
        if failed:
            others = f"; ended {', '.join(map(self._name, ended))}" if ended else ""
            raise ClusterError(", ".join(map(self._outcome, failed)) + others)

    def _start(self, rank: int, command: list[str], token: bytes) -> None:
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe)
        self._running[rank] = process
        for stream, is_error in ((process.stdout, False), (process.stderr, True)):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._pipes.register(stream, selectors.EVENT_READ, (rank, is_error))
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # ssh has failed, which its exit status will say
            process.stdin.write(token.hex().encode("ascii") + b"\n")

    def _look(self) -> None:
        """Forward what is there, and note who has ended."""
        self._forward(_LOOK)
        for rank, process in list(self._running.items()):
            if (code := process.poll()) is not None:
                self._codes[rank] = code
                del self._running[rank]
                for _ in range(_LAST_READS):  # what it wrote last
                    self._forward(0)
                assert process.stdin is not None
                process.stdin.close()

    def _forward(self, seconds: float) -> None:
        """Wait so long for output, and forward one piece of each that has some."""
        if not self._pipes.get_map():
            time.sleep(seconds)
            return
        for key, _ in self._pipes.select(seconds):
            rank, is_error = key.data
            content = os.read(key.fd, _PIECE)
            *lines, rest = (self._rests.pop(key.fd, b"") + content).split(b"\n")
            if content:
                self._rests[key.fd] = rest
            else:
                self._close(key.fileobj)
                lines += [rest] if rest else []
            for line in lines:
                text = f"[{self._name(rank)}] {line.decode('utf-8', 'backslashreplace').rstrip()}"
                report(text) if is_error else write_out(f"{text}\n")

    def _close(self, pipe: Any) -> None:
        self._pipes.unregister(pipe)
        pipe.close()

    def _end(self) -> None:
        """End who still runs: SIGTERM, and after five seconds SIGKILL."""
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + _GRACE
        try:
            while self._running and time.monotonic() < deadline:
                self._look()
        finally:
            for rank, process in self._running.items():
                process.kill()
                self._codes[rank] = process.wait()
            for key in list(self._pipes.get_map().values()):
                self._close(key.fileobj)
            for process in self._running.values():
                assert process.stdin is not None
                process.stdin.close()
            self._pipes.close()

    def _name(self, rank: int) -> str:
        return f"rank {rank} {self._hosts[rank]}"

    def _outcome(self, rank: int) -> str:
        code = self._codes[rank]
        if code < 0:
            return f"{self._name(rank)} was ended by signal {-code}"
        return f"{self._name(rank)} returned {code}" + (" (ssh failed)" if code == 255 else "")
