"""The gate of a driver: who is let in, who is refused, and that nobody holds it up."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from network.certificates import Authority

from dsgd.cluster.remote import dial as dials
from dsgd.cluster.remote import gate as gates
from dsgd.cluster.remote.dial import dial
from dsgd.cluster.remote.gate import Gate
from dsgd.cluster.remote.handshake import PREFACE, Certificates, _proof
from dsgd.errors import AuthenticationError, ClusterError, ConfigError

TOKEN = bytes(range(32))


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate(TOKEN, n_nodes=3)
    yield gate
    gate.close()


def soon() -> float:
    return time.monotonic() + 20.0


def test_a_node_with_the_token_is_let_in_and_both_hear_each_other(gate: Gate) -> None:
    entered = dial(gate.address, "rows", 1, TOKEN)
    peer = gate.wait_for("rows", 1, soon())
    assert peer is not None
    assert entered.here == peer.about["address"] == "127.0.0.1"
    large = np.arange(3_000_000.0)  # more than the buffers of the system hold
    entered.channel.send("told", {"x": large[:1000]})
    assert peer.channel.receive(10.0).kind == "told"
    entered.channel.close()


def test_another_token_is_refused_at_once_and_the_gate_goes_on(gate: Gate) -> None:
    with pytest.raises(AuthenticationError, match="same"):
        dial(gate.address, "rows", 0, bytes(32))
    assert "token" in gate.refused()
    dial(gate.address, "rows", 0, TOKEN).channel.close()


def test_a_server_of_something_else_is_no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dials, "_HANDSHAKE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ClusterError, match="not let in"):
        dial(other.getsockname(), "rows", 0, TOKEN, patience=0.2)


def test_a_rank_is_given_once_and_again_when_its_node_is_gone(gate: Gate) -> None:
    first = dial(gate.address, "rows", 0, TOKEN)
    with pytest.raises(ClusterError, match="rows 0 is there already"):
        dial(gate.address, "rows", 0, TOKEN, patience=0.3)
    first.channel.close()
    dial(gate.address, "rows", 0, TOKEN).channel.close()


def test_ranks_that_nobody_waits_for_are_refused(gate: Gate) -> None:
    with pytest.raises(ConfigError, match="ranks 0 to 2"):
        dial(gate.address, "rows", 3, TOKEN)
    gate.refuse("rows", 2, "it was given up")
    with pytest.raises(ConfigError, match="given up"):
        dial(gate.address, "rows", 2, TOKEN)


@pytest.mark.parametrize("said", [b"", PREFACE[:4], PREFACE, PREFACE + bytes(64), PREFACE + os.urandom(500)])
def test_peers_that_prove_nothing_are_dropped(gate: Gate, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "_HANDSHAKE_SECONDS", 0.3)
    with socket.create_connection(gate.address, 10.0) as peer:
        peer.sendall(said)
        with contextlib.suppress(ConnectionResetError):
            while peer.recv(1000):  # its nonce, then the end
                pass
    dial(gate.address, "rows", 0, TOKEN).channel.close()


def test_a_proof_cannot_be_used_again(gate: Gate) -> None:
    """The gate gives another nonce to every connection, so that a proof of an earlier one is none."""

    def answers(ours: bytes, proof: bytes | None) -> tuple[bytes, bytes, bytes]:
        with socket.create_connection(gate.address, 10.0) as peer:
            peer.sendall(PREFACE)
            theirs = peer.recv(32)
            proof = _proof(TOKEN, b"node", theirs, ours) if proof is None else proof
            peer.sendall(ours + proof)
            with contextlib.suppress(ConnectionResetError):
                return theirs, proof, peer.recv(32)
            return theirs, proof, b""

    ours = os.urandom(32)
    nonce, proof, answer = answers(ours, None)
    assert answer == _proof(TOKEN, b"gate", nonce, ours)
    assert answers(ours, proof)[2] == b""


def test_connections_of_the_parameter_server_are_handed_on(gate: Gate) -> None:
    taken: list[int] = []
    gate.adopt = taken.append
    with socket.create_connection(gate.address, 10.0) as client:
        client.sendall(b"DSGD and so on")
        limit = soon()
        while not taken and time.monotonic() < limit:
            time.sleep(0.01)
        with socket.socket(fileno=taken[0]) as adopted:
            assert adopted.recv(100) == b"DSGD and so on"  # nothing was read before


def test_an_address_of_this_host_only_is_told_to_nobody_else() -> None:
    gate = Gate(TOKEN, "127.0.0.1", advertise="127.0.0.1")
    why = gate._never("rows", 0, "10.1.2.3")
    assert "127.0.0.1" in why
    assert "10.1.2.3" in why
    assert gate.fatal == why
    gate.close()


def test_ports_of_a_range_and_clashes() -> None:
    first = Gate(TOKEN)
    port = first.address[1]
    with pytest.raises(ClusterError, match=f"port {port}"):
        Gate(TOKEN, port=port)
    second = Gate(TOKEN, port=(port, port + 20))
    assert port < second.address[1] <= port + 20
    for gate in (first, second):
        gate.close()
    with pytest.raises(ConfigError, match="numeric"):
        Gate(TOKEN, bind="no.such.host.example")


@pytest.mark.parametrize("authority", ["same", "other"])
def test_certificates_of_the_same_authority_are_asked_for(tmp_path: Path, authority: str) -> None:
    one, other = Authority(tmp_path, "one"), Authority(tmp_path, "other")
    server = Certificates(**one.sign("server"))  # type: ignore[arg-type]
    node = Certificates(**(one if authority == "same" else other).sign("node"))  # type: ignore[arg-type]
    gate = Gate(TOKEN, tls=server)
    try:
        if authority == "other":
            with pytest.raises(ClusterError, match="certificate"):
                dial(gate.address, "rows", 0, TOKEN, tls=node, patience=0.3)
            return
        entered = dial(gate.address, "rows", 0, TOKEN, tls=node)
        peer = gate.wait_for("rows", 0, soon())
        assert peer is not None
        large = np.arange(2_000_000.0)
        senders = [
            threading.Thread(target=channel.send, args=("told", {"x": values}))
            for channel, values in ((entered.channel, large), (peer.channel, -large))
        ]
        for sender in senders:  # more than all buffers hold, through the pumps both ways at once
            sender.start()
        np.testing.assert_array_equal(peer.channel.receive(20.0).arrays["x"], large)
        np.testing.assert_array_equal(entered.channel.receive(20.0).arrays["x"], -large)
        for sender in senders:
            sender.join()
        entered.channel.close()
        with pytest.raises(EOFError):
            peer.channel.receive(10.0)
    finally:
        gate.close()


def test_a_gate_with_certificates_refuses_a_node_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dials, "_HANDSHAKE_SECONDS", 1.0)
    gate = Gate(TOKEN, tls=Certificates(**Authority(tmp_path).sign("server")))  # type: ignore[arg-type]
    with pytest.raises((AuthenticationError, ClusterError)):
        dial(gate.address, "rows", 0, TOKEN, patience=0.3)
    gate.close()
