"""`TcpServer.adopt`: connections that Python has accepted and looked at are served like the server's own."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from network.runs import TIMEOUT, Run, table

from dsgd import _core
from dsgd.errors import ConfigError


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run()
    yield run
    run.stop()


@pytest.fixture
def gate() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as gate:
        gate.settimeout(TIMEOUT)
        yield gate


def hand_over(gate: socket.socket, server: _core.TcpServer) -> bytes:
    """Accept a connection, look at its first bytes, hand it to the server and return the bytes."""
    connection, _ = gate.accept()
    connection.settimeout(TIMEOUT)
    first = connection.recv(4, socket.MSG_PEEK)
    server.adopt(connection.detach())
    return first


@pytest.mark.parametrize("tls", [None, _core.TlsConfig()])
def test_a_server_that_listens_nowhere_serves_what_it_adopts(
    run: Run, gate: socket.socket, tls: _core.TlsConfig | None
) -> None:
    server = run.server([table()], host="", n_workers=2, tls=tls)
    assert (server.host, server.port) == ("", 0)
    options: dict[str, Any] = {"shards": [gate.getsockname()], "join": False, "tls": tls}
    clients = [run.client(rank, [table()], **options) for rank in range(2)]
    for _ in clients:
        assert (hand_over(gate, server) == b"DSGD") == (tls is None)
    for client in clients:
        run.answer(client, "joined")
        client.push(time.monotonic(), "weights", np.ones(5))
        client.clock(time.monotonic())
    for client in clients:
        np.testing.assert_array_equal(run.pull(client).values, np.full(5, 2.0))
        run.answer(client, "left", client.leave(time.monotonic()))
    assert server.finished


def test_a_server_that_listens_adopts_too(run: Run, gate: socket.socket) -> None:
    server = run.server([table()], n_workers=2)
    run.client(0, [table()])
    client = run.client(1, [table()], join=False, shards=[gate.getsockname()])
    hand_over(gate, server)
    run.answer(client, "joined")


def test_a_wrong_token_is_refused_on_an_adopted_connection(run: Run, gate: socket.socket) -> None:
    server = run.server([table()], host="")
    stranger = run.client(0, [table()], join=False, shards=[gate.getsockname()], token=b"x" * 32)
    hand_over(gate, server)
    assert run.answer(stranger, "failed").name == "authentication"


def test_what_is_no_frame_closes_an_adopted_connection(run: Run, gate: socket.socket) -> None:
    server = run.server([table()], host="")
    with socket.create_connection(gate.getsockname(), TIMEOUT) as browser:
        browser.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert hand_over(gate, server) == b"GET "
        while browser.recv(1000):  # why it is refused, and the end
            pass


def test_after_the_stop_a_server_closes_what_it_is_given(run: Run, gate: socket.socket) -> None:
    server = run.server([table()], host="")
    server.stop()
    with socket.create_connection(gate.getsockname(), TIMEOUT) as late:
        server.adopt(gate.accept()[0].detach())
        assert late.recv(1) == b""


def test_what_is_no_tcp_socket_is_refused_and_closed(run: Run) -> None:
    server = run.server([table()], host="")
    with pytest.raises(ConfigError, match="descriptor -1 is no TCP socket"):
        server.adopt(-1)
    reads, writes = os.pipe()
    with pytest.raises(ConfigError, match=r"is no TCP socket.*give socket\.detach\(\)"):
        server.adopt(writes)
    assert os.read(reads, 1) == b""
    os.close(reads)
