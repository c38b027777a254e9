"""The hosts of the tests: they reach each other alone, and do with their links what a test says."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hosts.namespaces import Host
from hosts.switch import Link, decode_link, encode_link
from leftovers import runs

MakeHosts = Callable[[int], list[Host]]
PORT = 5000
SECONDS = 60.0  # within which whatever is waited for must come
ECHO = f"""
import socket, sys, threading
def answer(connection):
    while data := connection.recv(65536):
        connection.sendall(data)
for port in (*map(int, sys.argv[1:]), {PORT}):
    listener = socket.create_server(("", port))
    listening = threading.Thread(target=lambda l=listener: [answer(l.accept()[0]) for _ in iter(int, 1)])
    listening.start()
print("listening", flush=True)
"""
# Each line that it reads is sent to the peer; each answer of the peer is printed, with its seconds.
ASK = f"""
import socket, sys, time
connection = socket.create_connection((sys.argv[1], {PORT}), timeout={SECONDS})
print("connected", flush=True)
for line in sys.stdin:
    begin = time.monotonic()
    connection.sendall(line.encode())
    left = len(line)
    while left:
        left -= len(connection.recv(65536))
    print(time.monotonic() - begin, flush=True)
"""


def echo(host: Host, *ports: int) -> None:
    """Start a server that returns what it is sent; it listens when this returns."""
    server = host.run([sys.executable, "-c", ECHO, *map(str, ports)])
    assert server.stdout is not None
    assert server.stdout.readline() == "listening\n"


class Peer:
    """A connection from one host to the server on another."""

    def __init__(self, host: Host, server: Host) -> None:
        self._process = host.run([sys.executable, "-c", ASK, server.address], stdin=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        assert self._out.readline() == "connected\n"

    def say(self, n_bytes: int = 2) -> None:
        self._in.write("x" * (n_bytes - 1) + "\n")
        self._in.flush()

    def answered(self) -> float:
        """Wait for the answer; return the seconds that it took."""
        return float(self._out.readline())

    def silent(self, seconds: float) -> bool:
        """Return whether no answer comes for some time, and no end of the connection."""
        return not select.select([self._out], [], [], seconds)[0]


def connects(host: Host, address: str, port: int, seconds: float = SECONDS) -> str:
    """Return ``connected``, or the name of the error with which a host fails to connect."""
    script = f"""
import socket
try:
    socket.create_connection(({address!r}, {port}), timeout={seconds})
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""
    return host.run([sys.executable, "-c", script]).communicate(timeout=2 * SECONDS)[0].strip()


def test_hosts_reach_each_other_by_their_addresses_and_have_no_other_interface(hosts: MakeHosts) -> None:
    first, second, third = hosts(3)
    echo(first)
    assert len({host.address for host in (first, second, third)}) == 3
    assert connects(second, first.address, PORT) == connects(third, first.address, PORT) == "connected"
    assert connects(first, first.address, PORT) == connects(first, "127.0.0.1", PORT) == "connected"
    assert connects(second, "127.0.0.1", PORT) == connects(second, third.address, PORT) == "ConnectionRefusedError"
    there = first.run([sys.executable, "-c", "import socket; print(*socket.if_nameindex())"])
    assert there.communicate(timeout=SECONDS)[0] == "(1, 'lo') (2, 'eth0')\n"


def test_a_command_gets_an_environment_and_its_exit_code_is_kept(hosts: MakeHosts) -> None:
    (host,) = hosts(1)
    process = host.run(["sh", "-c", "echo $NAME; exit 3"], env={"NAME": "Ada"})
    assert process.communicate(timeout=SECONDS) == ("Ada\n", "")
    assert process.returncode == 3


def test_a_slow_link_delays_both_ways_and_has_a_rate(hosts: MakeHosts) -> None:
    server, client = hosts(2)
    echo(server)
    peer = Peer(client, server)
    client.slow_link(delay=0.05)
    peer.say()
    assert peer.answered() >= 0.1
    client.slow_link(rate=1e6)
    peer.say(25_000)  # 0.2 s each way, of which the answer may use what the question has passed
    assert peer.answered() >= 0.2
    server.slow_link(loss=0.2)
    peer.say(25_000)
    assert peer.answered() >= 0.2  # TCP sends again what was lost


def test_a_connection_of_a_host_that_is_cut_off_is_silent_and_lives_again(hosts: MakeHosts) -> None:
    server, client, other = hosts(3)
    echo(server)
    peer = Peer(client, server)
    client.cut()
    peer.say()
    assert peer.silent(0.5)
    assert connects(client, server.address, PORT, 0.2) == "TimeoutError"
    assert connects(other, server.address, PORT) == "connected"
    client.mend()
    assert peer.answered() >= 0.5


def test_a_host_with_closed_ports_dials_out_and_takes_no_connections(hosts: MakeHosts) -> None:
    server, closed = hosts(2)
    echo(server)
    echo(closed, PORT + 1)
    before = Peer(server, closed)
    closed.close_inbound()
    assert connects(server, closed.address, PORT, 0.5) == "TimeoutError"
    assert connects(closed, server.address, PORT) == connects(closed, "127.0.0.1", PORT) == "connected"
    before.say()
    assert before.answered() >= 0  # an open connection goes on
    closed.close_inbound(but=[PORT + 1])
    assert connects(server, closed.address, PORT + 1) == "connected"
    assert connects(server, closed.address, PORT, 0.5) == "TimeoutError"


KEPT = """
import json, sys
from hosts.namespaces import hosts
with hosts(2) as made:
    shell = made[0].run(["sh", "-c", "sleep 1000 & echo $!; wait"])
    python = made[1].run(["sleep", "1000"])
    print(json.dumps([int(shell.stdout.readline()), shell.pid, python.pid]), flush=True)
    if sys.argv[1] == "fails":
        raise RuntimeError("a test fails")
    sys.stdin.readline()
"""


@pytest.mark.parametrize("end", ["ends", "fails", "is killed"])
def test_nothing_runs_on_when_the_test(end: str, hosts: MakeHosts) -> None:
    hosts(1)  # skip where there are none
    script = subprocess.Popen(
        [sys.executable, "-c", KEPT, end],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with script:
        assert script.stdout is not None
        processes = json.loads(script.stdout.readline())
        if end == "is killed":
            assert all(map(runs, processes))
            script.send_signal(signal.SIGKILL)
        errors = script.communicate(timeout=SECONDS)[1]
    assert ("a test fails" in errors) == (end == "fails")
    limit = time.monotonic() + SECONDS
    while any(map(runs, processes)) and time.monotonic() < limit:
        time.sleep(0.02)
    assert not any(map(runs, processes))


def test_a_link_is_told_to_the_switch() -> None:
    for link in (Link(), Link(delay=0.1, rate=1e6, loss=0.5, cut=True, open_ports=(1, 2)), Link(open_ports=())):
        assert decode_link(encode_link(1, link)) == (1, link)
