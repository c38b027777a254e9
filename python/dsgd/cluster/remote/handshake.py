"""How a node and the gate of a driver convince each other that both know the token of a run.

The node opens the connection with `PREFACE`, by which the gate tells it from a connection to the parameter server. With
certificates TLS follows. Then each side sends a nonce, and proves by HMAC-SHA-256 over both that it knows the token.
Until then only messages of fixed length are read.
"""

from __future__ import annotations

import hmac
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsgd import _core
from dsgd.cluster.remote.pump import plain
from dsgd.errors import AuthenticationError, ConfigError

__all__ = ["PREFACE", "Certificates", "admit", "enter"]

PREFACE = b"dsgd gate\n"
_NONCE, _PROOF = 32, 32


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """PEM files for TLS 1.3: all nodes have a certificate that `authority` has signed.

    Parameters
    ----------
    certificate, key, authority : str
        Paths: the certificate of this host, its private key, which may be in the same file, and the certificate that
        signed those of all hosts.
    check_host : bool, default=False
        Whether the certificate of whoever is dialled must name its host.

    Raises
    ------
    ConfigError
        If a path is no file.
    """

    certificate: str
    key: str
    authority: str
    check_host: bool = False

    def __post_init__(self) -> None:
        for name in ("certificate", "key", "authority"):
            if not Path(getattr(self, name)).is_file():
                raise ConfigError(f"{name} {getattr(self, name)} is no file; name a PEM file")

    def of_core(self) -> _core.TlsConfig:
        """Return the options of TLS for the connections to the parameter server."""
        return _core.TlsConfig(
            "certificates",
            certificate=self.certificate,
            key=self.key,
            authority=self.authority,
            check_host=self.check_host,
        )

    def context(self, server: bool) -> ssl.SSLContext:
        """Return the context of one side of a connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.certificate, self.key)
        context.load_verify_locations(self.authority)
        context.check_hostname = self.check_host and not server
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def enter(connection: socket.socket, host: str, token: bytes, tls: Certificates | None) -> socket.socket:
    """Prove to a gate that this node knows the token; return the socket to go on with.

    Raises
    ------
    AuthenticationError
        If the gate has another token.
    OSError
        If the connection ends, or the timeout of the socket passes.
    """
    connection.sendall(PREFACE)
    if tls is not None:
        connection = tls.context(server=False).wrap_socket(connection, server_hostname=host)
    ours = os.urandom(_NONCE)
    theirs = _exactly(connection, _NONCE, "the gate closed the connection")
    connection.sendall(ours + _proof(token, b"node", theirs, ours))
    answer = _exactly(connection, _PROOF, "the gate refused the token: both sides must have the same")
    if not hmac.compare_digest(answer, _proof(token, b"gate", theirs, ours)):
        raise AuthenticationError("the gate does not know the token: is this the right address?")
    return plain(connection)


def admit(connection: socket.socket, token: bytes, tls: Certificates | None) -> socket.socket:
    """Let a node prove that it knows the token; return the socket to go on with. Errors as of `enter`."""
    _exactly(connection, len(PREFACE), "the peer left")
    if tls is not None:
        connection = tls.context(server=True).wrap_socket(connection, server_side=True)
    ours = os.urandom(_NONCE)
    connection.sendall(ours)
    told = _exactly(connection, _NONCE + _PROOF, "the peer left before its proof")
    theirs, proof = told[:_NONCE], told[_NONCE:]
    if not hmac.compare_digest(proof, _proof(token, b"node", ours, theirs)):
        raise AuthenticationError("the peer does not know the token")
    connection.sendall(_proof(token, b"gate", ours, theirs))
    return plain(connection)


def _proof(token: bytes, role: bytes, of_gate: bytes, of_node: bytes) -> bytes:
    return hmac.digest(token, b"dsgd " + role + of_gate + of_node, "sha256")


def _exactly(connection: Any, size: int, otherwise: str) -> bytes:
    """Return exactly `size` bytes; `AuthenticationError` if the connection ends before."""
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise AuthenticationError(otherwise)
        data += more
    return data
