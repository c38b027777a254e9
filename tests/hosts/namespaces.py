"""Several hosts on one machine: network namespaces with addresses of their own, and links that a test may harm.

`switch.py` makes the namespaces and carries the packets.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from hosts.switch import Link, encode_link

__all__ = ["Host", "NoHostsError", "hosts"]

_SECONDS = 60.0  # for the end of a process that was killed


class NoHostsError(Exception):
    """This machine or this user may not make network namespaces; the message says why."""


class Host:
    """A network namespace that is joined to the others by one link.

    Attributes
    ----------
    address : str
        Its IPv4 address, which the other hosts reach and the machine does not.
    """

    def __init__(self, switch: subprocess.Popen[str], number: int, address: str, namespace: str) -> None:
        self.address = address
        self._switch = switch
        self._number = number
        self._namespace = namespace
        self._link = Link()
        self._started: list[subprocess.Popen[str]] = []

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.PIPE,
        stderr: int | IO[Any] = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start a command on this host; `env` is added to the environment of the test.

        It is killed with the host, and so are all processes that it starts.
        """
        process = subprocess.Popen(
            ["nsenter", f"--net={self._namespace}", "--", *command],
            env={**os.environ, **(env or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            start_new_session=True,  # Control-C reaches the test alone
        )
        self._started.append(process)
        return process

    def slow_link(self, *, delay: float = 0.0, rate: float = math.inf, loss: float = 0.0) -> None:
        """Delay each packet to and from this host.

        Parameters
        ----------
        delay : float
            Seconds in each direction; a round trip takes twice as long.
        rate : float
            Bits a second in each direction.
        loss : float
            Share of the packets that are lost.
        """
        self._set(delay=delay, rate=rate, loss=loss)

    def cut(self) -> None:
        """Lose all packets from now on; connections stay open and are silent."""
        self._set(cut=True)

    def mend(self) -> None:
        """Undo `cut`."""
        self._set(cut=False)

    def close_inbound(self, *, but: Sequence[int] = ()) -> None:
        """Lose what asks for a TCP connection to this host, except to some ports; the host may still dial out.

        A firewall would do the same: who dials hears nothing.
        """
        self._set(open_ports=tuple(but))

    def collect(self) -> None:
        """Wait for the processes, which have been killed."""
        for process in self._started:
            with process:
                process.kill()
                process.wait(_SECONDS)

    def _set(self, **changes: Any) -> None:
        self._link = replace(self._link, **changes)
        assert self._switch.stdin is not None
        self._switch.stdin.write(encode_link(self._number, self._link) + "\n")
        self._switch.stdin.flush()
        if _heard(self._switch).get("set") != self._number:
            raise RuntimeError("the switch of the hosts has ended; its error is on standard error")


def _heard(switch: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the next message of the switch; an empty one if it has ended."""
    assert switch.stdout is not None
    message: dict[str, Any] = json.loads(switch.stdout.readline() or "{}")
    return message


@contextlib.contextmanager
def hosts(n: int) -> Iterator[list[Host]]:
    """Make hosts that reach each other and nobody else; remove them, and all that runs on them, at the end.

    Nothing is left if the test is killed: the switch then reads the end of its standard input.

    Raises
    ------
    NoHostsError
        If hosts cannot be made here.
    """
    if shutil.which("nsenter") is None:
        raise NoHostsError("nsenter is missing: apt-get install util-linux")
    with subprocess.Popen(
        [sys.executable, "-I", str(Path(__file__).with_name("switch.py")), str(n)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as switch:
        told = _heard(switch)
        if "refused" in told:
            raise NoHostsError(f"no network namespaces here, which root may make: {told['refused']}")
        made = [
            Host(switch, i, *each) for i, each in enumerate(zip(told["addresses"], told["namespaces"], strict=True))
        ]
        try:
            yield made
        finally:
            assert switch.stdin is not None
            switch.stdin.close()
            switch.wait(_SECONDS)
            for host in made:
                host.collect()
